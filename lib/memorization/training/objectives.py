"""Objectives: what a network is asked to make small, one number for each stacked network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.words import did_you_mean

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps outputs (M, B, C), labels (M, B) and example numbers (M, B), both int64, to losses (M,)."""


def mean_squared_error(outputs: Tensor, labels: Tensor, examples: Tensor) -> Tensor:
    """Return the mean squared distance to one-hot targets, over batch and classes.

    Anagnostidis et al. (ICLR 2023), objective of the published code. Predicting 1/C everywhere gives
    (1 - 1/C)/C, which is 0.09 for ten classes; predicting 0 gives 1/C.

    Args:
        outputs: shape (M, B, C).
        labels: shape (M, B), int64 in 0..C-1.
        examples: shape (M, B), int64, numbers of the examples; not used.

    Returns:
        Shape (M,), float32 or wider.
    """
    outputs = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
    # |z - e_y|^2 = |z|^2 - 2 z_y + 1 without making the one-hot targets would lose digits near zero loss
    targets = F.one_hot(labels, outputs.shape[-1]).to(outputs.dtype)
    return (outputs - targets).square().mean((1, 2))


def cross_entropy(outputs: Tensor, labels: Tensor, examples: Tensor) -> Tensor:
    """Return the mean cross-entropy [nats] of the labels.

    Args: as :func:`mean_squared_error`.

    Returns:
        Shape (M,), float32 or wider.
    """
    outputs = outputs.float() if outputs.dtype in (torch.bfloat16, torch.float16) else outputs
    losses = F.cross_entropy(outputs.flatten(0, 1), labels.flatten(), reduction="none")
    return losses.view(labels.shape).mean(1)


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
