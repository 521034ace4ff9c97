"""How a network is trained, as plain values that a record can keep."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "step")
PRECISIONS = ("float32", "bf16")
_WHOLE = ("epochs", "batch", "warmup", "stop_after")
_NUMBERS = ("learning_rate", "momentum", "weight_decay", "stop_at")


@dataclass(frozen=True)
class Recipe:
    """One way to train; the defaults are the laptop recipe for Anagnostidis et al. (ICLR 2023).

    Attributes:
        epochs: passes over the examples, >= 1.
        batch: examples a step, >= 1; an incomplete last batch is dropped.
        optimizer: ``adam``, ``adamw`` or ``sgd``.
        learning_rate: > 0.
        momentum: of ``sgd``, in [0, 1).
        weight_decay: >= 0; decoupled from the gradient for ``adamw``, added to it otherwise.
        schedule: ``constant``; ``cosine`` down to zero; ``step``, a tenth after each third of the epochs.
        warmup: epochs of linear increase from zero, >= 0.
        stop_at: a network stops once its batch accuracy was at least this for ``stop_after`` epochs in
            a row; None trains to the end. In (0, 1].
        stop_after: >= 1.
        precision: ``float32``, or ``bf16`` for the network's own arithmetic (weights and loss stay float32).
        compiled: compile the network's forward and backward pass (a GPU; needs a C++ compiler on a CPU).
    """

    epochs: int = 800
    batch: int = 100
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup: int = 0
    stop_at: float | None = None
    stop_after: int = 10
    precision: str = "float32"
    compiled: bool = False

    def __post_init__(self) -> None:
        """Refuse values that cannot train anything."""
        self._check_types()
        for name, allowed in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}; allowed: {', '.join(allowed)}")
        for name in ("epochs", "batch", "stop_after"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}={getattr(self, name)}: no optimizer step would be taken; allowed: 1 or more"
                )
        if not (self.learning_rate > 0 and math.isfinite(self.learning_rate)):
            raise ValueError(f"learning_rate={self.learning_rate}; allowed: a number above 0")
        if not 0 <= self.weight_decay < math.inf or self.warmup < 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                f"weight_decay={self.weight_decay}, warmup={self.warmup}, momentum={self.momentum}; allowed: "
                "weight_decay >= 0, warmup >= 0, momentum in [0, 1)"
            )
        if self.stop_at is not None and not 0 < self.stop_at <= 1:
            raise ValueError(f"stop_at={self.stop_at}; allowed: an accuracy in (0, 1], or None")

    def _check_types(self) -> None:
        """Refuse 1.5 epochs, and numbers that are text: they would fail, or be cut off, somewhere inside."""
        for name in _WHOLE:
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"{name}={value!r} ({type(value).__name__}); allowed: a whole number (int)")
        for name in _NUMBERS:
            value = getattr(self, name)
            left_out = value is None and name == "stop_at"
            if isinstance(value, bool) or not (isinstance(value, int | float) or left_out):
                raise TypeError(f"{name}={value!r} ({type(value).__name__}); allowed: a number")
        if type(self.compiled) is not bool:
            kind = type(self.compiled).__name__
            raise TypeError(f"compiled={self.compiled!r} ({kind}); allowed: True or False")

    def steps(self, examples: int) -> int:
        """Return the optimizer steps of one epoch.

        Raises:
            ValueError: if one batch needs more examples than there are.
        """
        if examples < self.batch:
            raise ValueError(
                f"batch={self.batch} is larger than the {examples} examples, and incomplete batches are "
                f"dropped: no optimizer step would be taken; allowed: batch <= {examples}"
            )
        return examples // self.batch

    def build(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        """Return the optimizer of these parameters; it works entry by entry: stacked networks stay apart.

        Raises:
            ValueError: if all of them are frozen.
        """
        values = [value for value in parameters if value.requires_grad]  # frozen ones stay as they are
        if not values:
            raise ValueError(
                "no parameter of the networks has requires_grad=True: nothing would be trained; "
                "unfreeze at least one"
            )
        common: dict[str, Any] = {
            "lr": self.learning_rate,
            "weight_decay": self.weight_decay,
            "fused": _can_fuse(values),
        }
        if self.optimizer == "sgd":
            return torch.optim.SGD(values, momentum=self.momentum, **common)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(values, **common)

    def arithmetic(self, device: torch.device) -> torch.autocast:
        """Return the context in which the networks compute, by ``precision``."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step (counted from 0) where an epoch has ``steps`` steps."""
        warm = self.warmup * steps
        if step < warm:
            return self.learning_rate * (step + 1) / warm
        if self.schedule == "cosine":
            done = (step - warm) / max(1, self.epochs * steps - warm)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        if self.schedule == "step":
            return self.learning_rate * 0.1 ** min(2, (step // steps) // max(1, self.epochs // 3))
        return self.learning_rate


def _can_fuse(parameters: list[Tensor]) -> bool:
    return all(p.is_floating_point() and p.device.type in ("cpu", "cuda") for p in parameters)
