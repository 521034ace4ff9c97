"""Objectives: what a network is asked to make small, one number for each stacked network.

:class:`ExampleCrossEntropy` is that of networks that weigh, shift or group examples in their own way. Beside
them the losses of stacked networks with their derivatives, on labels -1 and +1 or on real targets: hinge,
logistic and squared loss (Zhang et al., ICML 2024, published code; the squared loss serves regression too).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_choice, check_finite

Objective = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps outputs (M, B, C), targets (labels (M, B), int64, or soft ones (M, B, C)) and example numbers (M, B),
int64, to losses (M,).

One with a state is a module whose persistent buffers have the networks on the first axis. It may have
``after_step(outputs, targets, examples)``, after each step; ``together``, how many networks side by side need
each other; ``scores``, how many of the outputs are class logits; ``check(outputs, batch, examples)`` of the
first batch; ``follow(factor)`` of the schedule, before each step; ``blame(row)``, why a loss is not finite;
``dress(network, state)``, which gives a network what was trained beside it before it is shown or returned.
"""


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


class ExampleCrossEntropy(nn.Module):
    """Cross-entropy with weights and logit shifts of examples, each network its own; or that of its worst
    group.

    One stack can so hold networks that are trained in different ways: plainly (weight 1, shift 0), with
    group-balanced weights or on a subset (weights), memorization-aware or with another logit correction
    (shifts), and by group distributionally robust optimization (GroupDRO; Sagawa et al., ICLR 2020), whose
    group weights ``q`` are the state: the loss is ``sum_g q_g loss_g``, and after each step ``q_g`` is
    multiplied by ``exp(eta loss_g)`` and all are scaled to sum 1. A group without an example in the batch has
    no loss: its ``q`` is not multiplied, and in the loss those of the others are scaled to sum 1.

    Args:
        weights: shape (M, N), >= 0, of mean 1 over the examples of a network; None: 1.
        shifts: shape (M, N, C), added to the outputs in training only; None: 0.
        groups: shape (M, N), int64, number of each example's group; -1 in all of a network's row: no
            GroupDRO.
        eta: step of GroupDRO, > 0.

    Raises:
        ValueError: tables of other shapes, weights below 0 or not finite, shifts that are not finite, an eta
            that is not above 0.
    """

    weights: Tensor | None
    shifts: Tensor | None
    groups: Tensor | None
    q: Tensor | None

    def __init__(
        self,
        weights: Tensor | None = None,
        shifts: Tensor | None = None,
        groups: Tensor | None = None,
        eta: float = 0.1,
    ) -> None:
        super().__init__()
        check_finite("eta", eta)
        if eta <= 0:
            raise ValueError(f"eta={eta}; allowed: a number above 0")
        tables = {"weights": (weights, 2), "shifts": (shifts, 3), "groups": (groups, 2)}
        given = [table.shape[:2] for table, _ in tables.values() if table is not None]
        for name, (table, axes) in tables.items():
            if table is not None and (table.ndim != axes or table.shape[:2] != given[0]):
                shape = tuple(table.shape)
                raise ValueError(
                    f"{name} have shape {shape}; allowed: (M, N{', C' * (axes == 3)}), alike for all tables"
                )
            if table is not None and not bool(table.isfinite().all()):
                raise ValueError(f"{name} hold numbers that are not finite")
        if weights is not None and bool((weights < 0).any()):
            raise ValueError(f"weights go down to {float(weights.min()):g}; allowed: 0 and above")
        self.eta = eta
        self.register_buffer("weights", weights)
        self.register_buffer("shifts", shifts)
        self.register_buffer("groups", groups)
        self.register_buffer("q", None if groups is None else _even(groups))

    def forward(self, outputs: Tensor, targets: Tensor, examples: Tensor) -> Tensor:
        """Return the losses (M,); see ``Objective``."""
        each = self._each(outputs, targets, examples)
        weighted = each if self.weights is None else each * self.weights.gather(1, examples)
        plain = weighted.mean(1)
        if self.groups is None or self.q is None:
            return plain
        losses, there = self._by_group(each, examples)
        q = self.q * there
        robust = (losses * q).sum(1) / q.sum(1).clamp(min=1e-30)
        return torch.where((self.groups[:, 0] >= 0), robust, plain)

    @torch.no_grad()
    def after_step(self, outputs: Tensor, targets: Tensor, examples: Tensor) -> None:
        """Move the group weights."""
        if self.q is not None:
            losses, there = self._by_group(self._each(outputs, targets, examples), examples)
            moved = self.q * (self.eta * losses * there).exp()
            self.q.copy_(moved / moved.sum(1, keepdim=True).clamp(min=1e-30))

    def extra_repr(self) -> str:
        """Return what a checkpoint must agree with beside the tables."""
        return f"eta={self.eta}"

    def _each(self, outputs: Tensor, targets: Tensor, examples: Tensor) -> Tensor:
        outputs = _wide(outputs)
        if self.shifts is not None:
            outputs = outputs + self.shifts.gather(
                1, examples[..., None].expand(-1, -1, self.shifts.shape[2])
            )
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)

    def _by_group(self, each: Tensor, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss of each group in the batch (M, G), and whether it is there."""
        assert self.groups is not None
        assert self.q is not None
        groups = self.groups.gather(1, examples).clamp(min=0)
        sums = torch.zeros_like(self.q).scatter_add_(1, groups, each.to(self.q.dtype))
        counts = torch.zeros_like(self.q).scatter_add_(1, groups, torch.ones_like(each, dtype=self.q.dtype))
        return sums / counts.clamp(min=1), counts > 0


def _even(groups: Tensor) -> Tensor:
    """The same weight for each group that a network's examples have: shape (M, G)."""
    count = int(groups.max()) + 1
    there = torch.stack(
        [torch.bincount(row[row >= 0], minlength=max(1, count)) > 0 for row in groups]
    ).float()
    return there / there.sum(1, keepdim=True).clamp(min=1)
