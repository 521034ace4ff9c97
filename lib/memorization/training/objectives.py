"""Objectives: what a network is asked to make small, one number for each stacked network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.words import did_you_mean

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps outputs (M, B, C), targets (labels (M, B), int64, or soft ones (M, B, C)) and example numbers (M, B),
int64, to losses (M,)."""


def mean_squared_error(outputs: Tensor, targets: Tensor, examples: Tensor) -> Tensor:
    """Return the mean squared distance to the targets, over batch and classes.

    Anagnostidis et al. (ICLR 2023), objective of the published code. Predicting 1/C everywhere gives
    (1 - 1/C)/C, which is 0.09 for ten classes; predicting 0 gives 1/C.

    Args:
        outputs: shape (M, B, C).
        targets: labels of shape (M, B), int64 in 0..C-1, or soft targets of shape (M, B, C).
        examples: shape (M, B), int64, numbers of the examples; not used.

    Returns:
        Shape (M,), float32 or wider.
    """
    outputs = _wide(outputs)
    if not targets.is_floating_point():
        targets = F.one_hot(targets, outputs.shape[-1]).to(outputs.dtype)
    return (outputs - targets).square().mean((1, 2))


def cross_entropy(outputs: Tensor, targets: Tensor, examples: Tensor) -> Tensor:
    """Return the mean cross-entropy [nats] of the targets.

    Args: as :func:`mean_squared_error`.

    Returns:
        Shape (M,), float32 or wider.
    """
    losses = F.cross_entropy(_wide(outputs).flatten(0, 1), targets.flatten(0, 1), reduction="none")
    return losses.view(outputs.shape[:2]).mean(1)


def _wide(outputs: Tensor) -> Tensor:
    """Losses of half-precision outputs are taken in float32."""
    return outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs


OBJECTIVES: dict[str, Objective] = {"mse": mean_squared_error, "cross_entropy": cross_entropy}


def objective(name: str) -> Objective:
    """Return an objective by name.

    Raises:
        ValueError: for an unknown name, with those there are.
    """
    if name not in OBJECTIVES:
        meant = did_you_mean(name, OBJECTIVES)
        raise ValueError(f"unknown objective {name!r}{meant}; choose one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name]
