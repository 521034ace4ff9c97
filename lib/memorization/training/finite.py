"""A look at the losses of stacked networks: a training that cannot go on says where it broke."""

from __future__ import annotations

import torch
from torch import Tensor

from memorization.training.loop import TrainingError

LOOK_EVERY = 50  # steps between two looks: each costs a GPU a wait


class LossWatch:
    """Looks at the losses of every step, many steps at once.

    Attributes:
        steps: T, after which the last look is taken.
        remedy: what to lower, in the words of the caller's arguments.
    """

    def __init__(self, steps: int, remedy: str) -> None:
        self.steps, self.remedy = steps, remedy
        self._done = 0
        self._waiting: list[Tensor] = []

    def add(self, losses: Tensor) -> None:
        """Take the losses (M,) of the next step.

        Raises:
            TrainingError: one of the waiting losses is not finite; names the first step and its network.
        """
        self._done += 1
        self._waiting.append(losses)
        if len(self._waiting) == LOOK_EVERY or self._done == self.steps:
            check_finite_losses(torch.stack(self._waiting), self._done, self.remedy)
            self._waiting.clear()


def check_finite_losses(losses: Tensor, done: int, remedy: str) -> None:
    """Refuse losses that are not finite.

    Args:
        losses: shape (steps, M), of the last steps.
        done: number of the last of them, counted from 1.
        remedy: what to lower, in the words of the caller's arguments.

    Raises:
        TrainingError: names the first such step, and its first network.
    """
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        row, member = bad[0].tolist()
        raise TrainingError(
            f"the loss of network {member} became {losses[row, member].item()} at step "
            f"{done - len(losses) + row + 1}; lower the {remedy}, or look for inputs that are not finite"
        )
