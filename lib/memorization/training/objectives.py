"""Objectives: what a network is asked to make small, one number for each stacked network.

Beside them the losses of stacked networks with their derivatives, on labels -1 and +1 or on real targets:
hinge, logistic and squared loss (Zhang et al., ICML 2024, published code; the squared loss serves regression
too).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_choice

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
    check_choice("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


@dataclass(frozen=True)
class SignedLoss:
    """A loss of one example, and its derivative by the outputs.

    Attributes:
        name: of the loss.
        value: maps outputs (M, N, K) and targets (M, N, K) to losses (M, N).
        derivative: maps the same to derivatives (M, N, K), without a graph.
        labels: whether the targets have to be labels, -1 and +1.
    """

    name: str
    value: Callable[[Tensor, Tensor], Tensor]
    derivative: Callable[[Tensor, Tensor], Tensor]
    labels: bool


SIGNED_LOSSES = {
    # Where the margin is exactly 1 the derivative is 0, as autograd of relu(1 - y h) has it.
    "hinge": SignedLoss(
        "hinge",
        lambda h, y: torch.relu(1 - y * h).sum(-1),
        lambda h, y: torch.where(y * h < 1, -y, 0.0),
        labels=True,
    ),
    # softplus, since log(1 + exp(-y h)) overflows in float32 below a margin of -88
    "logistic": SignedLoss(
        "logistic",
        lambda h, y: F.softplus(-y * h).sum(-1),
        lambda h, y: -y * torch.sigmoid(-y * h),
        labels=True,
    ),
    "squared": SignedLoss(
        "squared",
        lambda h, y: (h - y).square().sum(-1),
        lambda h, y: 2 * (h - y),
        labels=False,
    ),
}


def signed_loss(name: str) -> SignedLoss:
    """Return a loss by name.

    Raises:
        ValueError: for an unknown name, with those there are.
    """
    check_choice("loss", name, SIGNED_LOSSES)
    return SIGNED_LOSSES[name]
