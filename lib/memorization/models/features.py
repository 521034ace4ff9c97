"""Random features and tangent features: explicit (plain), and as Gram blocks (fast).

Bombari & Mondelli (ICML 2024). Random features ``phi(V z)`` have P = k of them; tangent features
``z (x) phi'(W z)`` have P = dk. Rows of V and W are N(0, 1/d). The Gram blocks never hold an N x P matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.data.seeds import generator, normal_rows
from memorization.data.task import check_floating
from memorization.models.activations import activation
from memorization.models.gram import LinearInputs, hidden_gram
from memorization.models.kernels import infinite_width_kernel


@dataclass(frozen=True)
class GramBlocks:
    """Kernel between training rows and everything that is predicted, per unit of width.

    Random features: ``Phi Phi^T / k``; tangent features: ``Phi Phi^T / (k d)``. Predictions, stability and
    feature alignment do not depend on this scale; a ridge does.

    Attributes:
        train: shape (N, N), float64.
        spurious: shape (N, N), float64; row i is the spurious query of training row i.
        test: shape (T, N), float64.
        parameters: P, the number of features; None for infinite width.
    """

    train: Tensor
    spurious: Tensor
    test: Tensor
    parameters: int | None


def directions(width: int, d: int, source: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw rows of V or W, i.i.d. N(0, 1/d), shape (width, d)."""
    return normal_rows(width, d, source, dtype) / d**0.5


def explicit_features(rows: Tensor, weights: Tensor, *, feature_map: str, activation_name: str) -> Tensor:
    """Compute the feature matrix itself: the plain way, for small sizes and for checks.

    Args:
        rows: inputs, shape (B, D).
        weights: directions, shape (k, D), see :func:`directions`.
        feature_map: ``rf`` or ``ntk``.
        activation_name: name of the activation.

    Returns:
        Features, shape (B, k) for ``rf`` and (B, D k) for ``ntk``, without a factor for the width.
    """
    hidden = activation(activation_name, feature_map).apply_(rows @ weights.T)
    if feature_map == "rf":
        return hidden
    return torch.einsum("bd,bk->bdk", rows, hidden).flatten(1)


def gram_blocks(
    train: Tensor,
    spurious: Tensor,
    test: Tensor,
    *,
    feature_map: str,
    activation_name: str,
    width: int | None,
    seed: int,
    purpose: str | int = "weights",
) -> GramBlocks:
    """Compute the three kernel blocks of a task without any feature matrix.

    Features are computed block by block in the inputs' floating-point type and accumulated in float64.

    Args:
        train: shape (N, D). float32 or float64; raw pixels are exact in both.
        spurious: shape (N, D).
        test: shape (T, D).
        feature_map: ``rf`` or ``ntk``.
        activation_name: name of the activation.
        width: k >= 1 directions; 0 or None for the infinite-width kernel.
        seed: seed of the directions.
        purpose: names the stream of directions.

    Returns:
        The blocks, on the inputs' device.

    Raises:
        TypeError, ValueError: for inputs that are not finite floating-point matrices, or unknown names.
    """
    for name, part in (("train", train), ("spurious", spurious), ("test", test)):
        check_floating(name, part)
    n, d = train.shape
    act = activation(activation_name, feature_map)
    if not width:
        rows = torch.cat([train, spurious, test]).double()
        kernel = infinite_width_kernel(
            rows, train.double(), feature_map=feature_map, activation_name=activation_name
        )
    elif width < 0:
        raise ValueError(f"width must be at least 1, or 0 for the infinite-width kernel; got {width}")
    else:
        inputs = LinearInputs(train, spurious, test)
        kernel = hidden_gram(inputs, width, generator(seed, purpose), act.apply_)
        if feature_map == "ntk":
            kernel.mul_(torch.cat([train, spurious, test]) @ (train / d).T)
    parameters = None if not width else width if feature_map == "rf" else width * d
    top = kernel[:n]
    return GramBlocks((top + top.T).mul_(0.5), kernel[n : 2 * n], kernel[2 * n :], parameters)
