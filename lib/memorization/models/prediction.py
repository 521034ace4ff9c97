"""Predict many inputs with random features, without a kernel between them and the training rows.

Gram blocks cost ``N k`` per predicted row beside its ``D k`` for the features. Predictions alone need only
the features: the weights ``theta = features^T a`` are formed block by block, after the training kernel has
been factored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from memorization.data.synthetic import check_floating
from memorization.draws import generator, normal_rows
from memorization.models.activations import activation
from memorization.models.kernels import GramBlocks, add_gram, mirror
from memorization.models.regression import fit

_BLOCK = 2048  # directions; the same multiple of 16 as in the Gram blocks
_KEEP = 2**24  # training features are kept (64 MiB in float32) rather than computed twice up to this number


def predict_random_features(
    train: Tensor,
    targets: Tensor,
    queries: Sequence[Tensor],
    *,
    activation_name: str,
    width: int,
    seed: int,
    ridge: float = 0.0,
    purpose: str | int = "weights",
) -> list[Tensor]:
    """Fit random-feature regression and predict; equal to Gram blocks and :func:`fit`, up to rounding.

    Args:
        train: shape (N, D), floating point.
        targets: shape (N,).
        queries: sets of inputs, each of shape (B, D).
        activation_name: name of the activation.
        width: k >= 1 directions.
        seed: seed of the directions.
        ridge: added to the kernel per unit of width, >= 0.
        purpose: names the stream of directions.

    Returns:
        Predictions at the training rows, shape (N,), then for each set of queries, shape (B,); float64.

    Raises:
        TypeError, ValueError: for inputs that are not finite floating-point matrices, or a singular kernel.
    """
    for rows in (train, *queries):
        check_floating("inputs", rows)
    if width < 1:
        raise ValueError(f"width must be at least 1 to predict from features; got {width}")
    apply_ = activation(activation_name, "rf").apply_
    kernel, kept = _kernel(train, width, generator(seed, purpose), apply_)
    nothing = kernel[:0]
    solution = fit(GramBlocks(kernel, nothing, nothing, width), targets, ridge=ridge, train=train).at()
    dual = solution.coefficients.to(train.dtype) / width
    scaled = [rows / rows.shape[1] ** 0.5 for rows in queries]
    found = [torch.zeros(len(rows), dtype=torch.float64, device=rows.device) for rows in queries]
    for number, weights in enumerate(_weights(train, width, generator(seed, purpose))):
        hidden = kept[number] if kept else apply_(train / train.shape[1] ** 0.5 @ weights)
        theta = hidden.T @ dual  # (block,)
        for rows, sums in zip(scaled, found, strict=True):
            sums += apply_(rows @ weights) @ theta
    return [solution.train_predictions, *found]


def _weights(train: Tensor, width: int, source: torch.Generator) -> Iterator[Tensor]:
    """Yield blocks of standard normal directions, shape (D, block)."""
    for start in range(0, width, _BLOCK):
        size = min(_BLOCK, width - start)
        yield normal_rows(size, train.shape[1], source, train.dtype).to(train.device).T


def _kernel(
    train: Tensor, width: int, source: torch.Generator, apply_: Callable[[Tensor], Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Return the training kernel, and the training features if they are few enough to be kept."""
    n, d = train.shape
    scaled, kept = train / d**0.5, []
    total = torch.zeros(n, n, dtype=torch.float64, device=train.device)
    space = torch.empty(n * n, dtype=train.dtype, device=train.device)
    for weights in _weights(train, width, source):
        hidden = apply_(scaled @ weights)
        add_gram(total, hidden, space)
        if n * width <= _KEEP:
            kept.append(hidden)
    mirror(total)
    return total.div_(width), kept
