"""Losses of stacked networks with their derivatives: on labels -1 and +1, or on real targets.

Zhang et al. (ICML 2024): hinge, logistic and squared loss of the published code; the squared loss serves
regression too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.words import did_you_mean


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
    if name not in SIGNED_LOSSES:
        meant = did_you_mean(name, SIGNED_LOSSES)
        raise ValueError(f"unknown loss {name!r}{meant}; choose one of {', '.join(SIGNED_LOSSES)}")
    return SIGNED_LOSSES[name]
