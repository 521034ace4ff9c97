"""How networks are trained, as plain values that a record can keep, and the optimizer that this makes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from memorization.checks import check_choice

OPTIMIZERS = ("adam", "adamw", "sgd")
SCHEDULES = ("constant", "cosine", "ramped_cosine", "step")
PRECISIONS = ("float32", "bf16")
DECAYS = ("all", "weights")
PerNetwork = float | Sequence[float]
_WHOLE = ("epochs", "batch", "warmup", "warmup_steps", "stop_after")
_NUMBERS = ("momentum", "stop_at", "clip", "stop_below")


class Optimizer(Protocol):
    """What the training loop asks of an optimizer; PyTorch's own have it."""

    def step(self) -> Any:
        """Change the parameters by their gradients."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""


@dataclass(frozen=True)
class Recipe:
    """One way to train; the defaults are the laptop recipe for Anagnostidis et al. (ICLR 2023).

    Attributes:
        epochs: passes over the examples, >= 1; not used where ``steps`` counts.
        batch: examples a step, >= 1; an incomplete last batch is dropped.
        optimizer: ``adam``, ``adamw`` or ``sgd``.
        learning_rate: > 0; one number, or one for each stacked network (``sgd`` only), of which 0 keeps a
            network as it is, beside what an objective trains.
        momentum: of ``sgd``, in [0, 1).
        weight_decay: >= 0, the same way; decoupled from the gradient for ``adamw``, added to it otherwise.
        schedule: ``constant``; ``cosine`` down to zero, from the end of the warmup on; ``ramped_cosine``, the
            same from the first step on, times the ramp of the warmup; ``step``, a tenth after each third of
            the epochs.
        warmup: epochs of linear increase from zero, >= 0.
        stop_at: a network stops once its batch accuracy was at least this for ``stop_after`` epochs in
            a row; None trains to the end. In (0, 1].
        stop_after: >= 1.
        stop_below: likewise, once its mean loss was at most this; None or > 0, and not beside ``stop_at``.
        decay_on: ``all`` parameters, or ``weights``: matrices and kernels alone, not biases and what
            normalization multiplies with and adds.
        precision: ``float32``, or ``bf16`` for the network's own arithmetic (weights and loss stay float32).
        compiled: compile the network's forward and backward pass (a GPU; needs a C++ compiler on a CPU).
        steps: optimizer steps in all, >= 0, counted instead of epochs; None counts epochs.
        warmup_steps: as ``warmup``, in steps; one of the two is 0.
        clip: largest norm of the gradient of all parameters of a stack together, > 0; None: any.
    """

    epochs: int = 800
    batch: int = 100
    optimizer: str = "adam"
    learning_rate: PerNetwork = 1e-3
    momentum: float = 0.9
    weight_decay: PerNetwork = 0.0
    schedule: str = "constant"
    warmup: int = 0
    stop_at: float | None = None
    stop_after: int = 10
    precision: str = "float32"
    compiled: bool = False
    steps: int | None = None
    warmup_steps: int = 0
    clip: float | None = None
    stop_below: float | None = None
    decay_on: str = "all"

    def __post_init__(self) -> None:
        """Refuse values that cannot train anything."""
        self._check_types()
        choices = {
            "optimizer": OPTIMIZERS,
            "schedule": SCHEDULES,
            "precision": PRECISIONS,
            "decay_on": DECAYS,
        }
        for name, allowed in choices.items():
            check_choice(name, getattr(self, name), allowed)
        for name in ("epochs", "batch", "stop_after"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name}={getattr(self, name)}: no optimizer step would be taken; allowed: 1 or more"
                )
        rates, decays = (numbers(getattr(self, name)) for name in ("learning_rate", "weight_decay"))
        each = isinstance(self.learning_rate, Sequence)
        if not all(math.isfinite(rate) and (rate > 0 or (each and rate == 0)) for rate in rates):
            raise ValueError(
                f"learning_rate={self.learning_rate}; allowed: a number above 0"
                + (" for each network, or 0, which keeps it as it is" if each else "")
            )
        decays_fit = all(0 <= decay < math.inf for decay in decays)
        if not decays_fit or min(self.warmup, self.warmup_steps) < 0 or not 0 <= self.momentum < 1:
            raise ValueError(
                f"weight_decay={self.weight_decay}, warmup={self.warmup}, momentum={self.momentum}; allowed: "
                "weight_decay >= 0, warmup >= 0, momentum in [0, 1)"
            )
        if self.warmup and self.warmup_steps:
            raise ValueError(f"warmup={self.warmup} epochs and {self.warmup_steps} steps; give one of them")
        if self.stop_at is not None and not 0 < self.stop_at <= 1:
            raise ValueError(f"stop_at={self.stop_at}; allowed: an accuracy in (0, 1], or None")
        if self.stop_below is not None and (
            not self.stop_below > 0 or self.stop_at is not None or self.steps is not None
        ):
            raise ValueError(
                f"stop_below={self.stop_below}, stop_at={self.stop_at}, steps={self.steps}; allowed: a loss "
                "above 0, and then no stop_at, and epochs to count"
            )
        if self.clip is not None and not (self.clip > 0 and math.isfinite(self.clip)):
            raise ValueError(f"clip={self.clip}; allowed: a finite number above 0, or None")
        self._check_each_network(rates, decays)

    def _check_types(self) -> None:
        """Refuse 1.5 epochs, and numbers that are text: they would fail, or be cut off, somewhere inside."""
        for name in _WHOLE:
            value = getattr(self, name)
            if type(value) is not int:
                raise TypeError(f"{name}={value!r} ({type(value).__name__}); allowed: a whole number (int)")
        if self.steps is not None and (type(self.steps) is not int or self.steps < 0):
            raise ValueError(f"steps={self.steps!r}; allowed: a whole number, 0 or more, or None")
        for name in _NUMBERS:
            value = getattr(self, name)
            left_out = value is None and name != "momentum"
            if isinstance(value, bool) or not (isinstance(value, int | float) or left_out):
                raise TypeError(f"{name}={value!r} ({type(value).__name__}); allowed: a number")
        for name in ("learning_rate", "weight_decay"):
            value = getattr(self, name)
            each = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
            if not each or any(isinstance(v, bool) or not isinstance(v, int | float) for v in each):
                raise TypeError(
                    f"{name}={value!r} ({type(value).__name__}); allowed: a number, or one for each network"
                )
        if type(self.compiled) is not bool:
            kind = type(self.compiled).__name__
            raise TypeError(f"compiled={self.compiled!r} ({kind}); allowed: True or False")

    def _check_each_network(self, rates: list[float], decays: list[float]) -> None:
        if self.optimizer != "sgd" and len({*rates}) * len({*decays}) > 1:
            raise ValueError(
                f"optimizer={self.optimizer!r} takes one rate and one decay for all stacked networks; use "
                "'sgd', or train them in stacks of their own"
            )
        most = max(len(rates), len(decays))  # one number is for all networks
        pairs = zip(rates * (most // len(rates)), decays * (most // len(decays)), strict=False)
        if not all(rate * decay < 1 for rate, decay in pairs):
            raise ValueError(
                f"learning_rate={self.learning_rate} times weight_decay={self.weight_decay} must be below 1: "
                "weights would flip"
            )

    def build(self, parameters: Iterable[Tensor], *, frozen_too: bool = False) -> Optimizer:
        """Return the optimizer of these parameters; it works entry by entry: stacked networks stay apart.

        Args:
            parameters: stacked, with the networks on the first axis; those that are frozen are passed over.
            frozen_too: take all of them; for networks that bring their own gradient.

        Raises:
            ValueError: all of them are frozen, or rates or decays are not one or one for each network.
        """
        values = [value for value in parameters if frozen_too or value.requires_grad]
        if not values:
            raise ValueError(
                "no parameter of the networks has requires_grad=True: nothing would be trained; "
                "unfreeze at least one"
            )
        if isinstance(self.learning_rate, Sequence) or isinstance(self.weight_decay, Sequence):
            for name in ("learning_rate", "weight_decay"):
                if (given := len(numbers(getattr(self, name)))) not in (1, len(values[0])):
                    raise ValueError(
                        f"{given} numbers as {name} of {len(values[0])} networks; give one, or one for each"
                    )
            if self.optimizer == "sgd":
                return StackedSgd(values, self)
        groups = [{"params": values}]
        if self.decay_on == "weights" and any(numbers(self.weight_decay)):
            kinds = [[v for v in values if is_weight(v) is wanted] for wanted in (True, False)]
            groups = [{"params": kinds[0]}, {"params": kinds[1], "weight_decay": 0.0}]  # type: ignore[dict-item]
            groups = [group for group in groups if group["params"]]
        common: dict[str, Any] = {
            "lr": numbers(self.learning_rate)[0],
            "weight_decay": numbers(self.weight_decay)[0],
            "fused": all(v.is_floating_point() and v.device.type in ("cpu", "cuda") for v in values),
        }
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, momentum=self.momentum, **common)
        kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
        return kind(groups, **common)

    def take(self, members: Sequence[int]) -> Recipe:
        """Return the recipe of some of the networks, by their numbers, where each has a rate or decay."""
        found: dict[str, Any] = {}
        for name in ("learning_rate", "weight_decay"):
            each = numbers(getattr(self, name))
            if isinstance(getattr(self, name), Sequence) and len(each) > 1:
                found[name] = [each[m] for m in members]
        return replace(self, **found)

    def arithmetic(self, device: torch.device) -> torch.autocast:
        """Return the context in which the networks compute, by ``precision``."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def total(self, steps: int) -> int:
        """Return the number of optimizer steps in all, where an epoch has ``steps`` steps."""
        return self.epochs * steps if self.steps is None else self.steps

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step (counted from 0) where an epoch has ``steps`` steps."""
        return self.scheduled(numbers(self.learning_rate)[0], step, steps)

    def scheduled(self, largest: float, step: int, steps: int) -> float:
        """Return what the schedule makes of a largest learning rate at a step, counted from 0."""
        warm = self.warmup_steps or self.warmup * steps
        ramp = min(1.0, (step + 1) / warm) if warm else 1.0
        if self.schedule == "ramped_cosine":
            return largest * ramp * 0.5 * (1 + math.cos(math.pi * min(1.0, step / self.total(steps))))
        if step < warm:
            return largest * ramp
        if self.schedule == "cosine":
            done = (step - warm) / max(1, self.total(steps) - warm)
            return largest * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        if self.schedule == "step":
            return largest * 0.1 ** min(2, (step // steps) // max(1, self.epochs // 3))
        return largest


class StackedSgd:
    """PyTorch's SGD with momentum, with a learning rate and a decay for each stacked network.

    Attributes:
        factor: what the rates are multiplied by at the next step, from the schedule.
    """

    def __init__(self, parameters: Sequence[Tensor], recipe: Recipe) -> None:
        self.factor = 1.0
        self._parameters, self._momentum = list(parameters), recipe.momentum
        self._rates = [_each(recipe.learning_rate, value) for value in parameters]
        decays = [is_weight(v) or recipe.decay_on == "all" for v in parameters]
        self._decays = [_each(recipe.weight_decay, v) * on for v, on in zip(parameters, decays, strict=True)]
        self._decaying = any(numbers(recipe.weight_decay))
        self._buffers = [torch.zeros_like(value) for value in parameters if recipe.momentum]

    @torch.no_grad()
    def step(self) -> None:
        """Change the parameters by their gradients, which are overwritten."""
        for k, value in enumerate(self._parameters):
            gradient = value.grad
            if gradient is None:
                continue
            if self._decaying:
                gradient.addcmul_(value, self._decays[k])
            if self._momentum:
                gradient = self._buffers[k].mul_(self._momentum).add_(gradient)
            value.addcmul_(gradient, self._rates[k], value=-self.factor)

    def state_dict(self) -> dict[str, Any]:
        """Return the state in the shape of PyTorch's own, with the networks on the first axis."""
        return {"state": {k: {"buffer": b} for k, b in enumerate(self._buffers)}, "param_groups": []}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state of the same networks."""
        self._buffers = [one["buffer"].to(self._parameters[k]) for k, one in state["state"].items()]


def is_weight(parameter: Tensor) -> bool:
    """Whether a stacked parameter is a matrix or a kernel of each network, and no vector."""
    return parameter.ndim > 2


def numbers(value: PerNetwork) -> list[float]:
    """Return one number, or one for each network, as a list."""
    return [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]


def _each(value: PerNetwork, like: Tensor) -> Tensor:
    """One number, or one for each network, as a tensor that fits a stacked parameter."""
    shape = (-1, *[1] * (like.ndim - 1))
    return torch.tensor(numbers(value), dtype=like.dtype, device=like.device).view(shape)
