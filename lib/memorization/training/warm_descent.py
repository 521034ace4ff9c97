"""AdamW with a linear warm-up by steps, a cosine to zero and clipped gradients, for any module."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from memorization.training.loop import TrainingError

_LOOK_EVERY = 50  # steps between two looks at the losses: on a GPU each look waits for the device


@dataclass(frozen=True)
class WarmRecipe:
    """One way to descend; the defaults are those of Zhang et al. (ICML 2024) for distilling CLIP's RN50.

    Attributes:
        epochs: passes over the examples, >= 1.
        learning_rate: largest one, > 0.
        weight_decay: decoupled from the gradient, >= 0.
        warmup: steps of linear increase from zero, >= 0; the cosine takes the others.
        clip: largest norm of the gradient of all parameters together, > 0.
    """

    epochs: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 10_000
    clip: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that cannot train anything."""
        if self.epochs < 1 or self.warmup < 0:
            raise ValueError(
                f"epochs={self.epochs}, warmup={self.warmup}; allowed: epochs >= 1, warmup >= 0 steps"
            )
        for name in ("learning_rate", "clip"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name}={getattr(self, name)}; allowed: a finite number above 0")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay}; allowed: a number >= 0")

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0, of ``steps`` in all."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / (steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class WarmDescent:
    """A descent that is under way.

    Attributes:
        step: optimizer steps done.
        steps: optimizer steps in all.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: WarmRecipe, steps: int) -> None:
        """Begin.

        Args:
            parameters: what is trained; those without ``requires_grad`` stay as they are.
            recipe: how.
            steps: optimizer steps in one epoch, >= 1.

        Raises:
            ValueError: if the warm-up would fill the whole training, or nothing can be trained.
        """
        self.step, self.steps, self._recipe = 0, recipe.epochs * steps, recipe
        if recipe.warmup >= self.steps:
            raise ValueError(
                f"warmup={recipe.warmup} steps, but {recipe.epochs} epochs have only {self.steps}; "
                "allowed: fewer, so that the learning rate comes down again"
            )
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        if not self._parameters:
            raise ValueError("no parameter has requires_grad=True: nothing would be trained")
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._losses: list[Tensor] = []
        self._looked = 0

    def down(self, loss: Tensor) -> None:
        """Take one step down the gradient of a scalar loss.

        Raises:
            TrainingError: if a loss was infinite or not a number; names its step.
        """
        rate = self._recipe.rate(self.step, self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip)
        self._optimizer.step()
        self._losses.append(loss.detach())
        self.step += 1
        if len(self._losses) - self._looked >= _LOOK_EVERY:
            self._look()

    def end_epoch(self) -> dict[str, float]:
        """Return the mean loss of the steps since the last call, and the last learning rate.

        Raises:
            TrainingError: as :meth:`down`.
        """
        self._look()
        mean = torch.stack(self._losses).double().mean().item() if self._losses else math.nan
        self._losses, self._looked = [], 0
        return {"loss": mean, "learning_rate": self._recipe.rate(max(0, self.step - 1), self.steps)}

    def saved(self) -> dict[str, Any]:
        """Return the state between two epochs as tensors and numbers."""
        return {"step": self.step, "optimizer": self._optimizer.state_dict()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a saved state of the same descent."""
        self.step = saved["step"]
        self._optimizer.load_state_dict(saved["optimizer"])

    def _look(self) -> None:
        values = (
            torch.stack(self._losses[self._looked :]).tolist() if len(self._losses) > self._looked else []
        )
        before = self.step - len(values)
        self._looked = len(self._losses)
        for number, value in enumerate(values, start=before + 1):
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss became {value} at step {number} of {self.steps}; lower the learning rate, or "
                    "look for inputs that are not finite"
                )
