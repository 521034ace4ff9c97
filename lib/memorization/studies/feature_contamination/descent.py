"""How stacked two-layer networks descend: loss, optimizer, and rates that may differ between them.

Zhang et al. (ICML 2024): online SGD of the theory (a fresh batch each step), and full-batch SGD with momentum
or AdamW of the published code.

Gradient descent on stacked two-layer networks, with the gradient in closed form or by autograd.

Zhang et al. (ICML 2024). In closed form a step is three batched matrix products and no graph; autograd is the
reference that tests hold it against.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from memorization.checks import check_finite, check_whole, did_you_mean
from memorization.studies.feature_contamination.data import check_labels
from memorization.studies.feature_contamination.networks import TwoLayerNetworks
from memorization.training.objectives import SignedLoss, signed_loss
from memorization.training.train import LossWatch

OPTIMIZERS = ("sgd", "adam", "adamw")
SCHEDULES = ("constant", "cosine")
GRADIENTS = ("closed", "autograd")
WEIGHTS = ("first", "bias", "second", "offset")
Stepper = Callable[[Mapping[str, Tensor], int], None]


@dataclass(frozen=True)
class Descent:
    """How stacked two-layer networks are trained.

    Attributes:
        steps: T >= 0.
        loss: ``hinge``, ``logistic`` or ``squared``.
        optimizer: ``sgd``, ``adam`` or ``adamw`` (PyTorch's own; these take one rate and one decay).
        rate: learning rate, > 0; one number, or one for each network.
        decay: weight decay, >= 0, the same way; for SGD and Adam it is added to the gradient.
        momentum: of SGD, in [0, 1).
        schedule: ``constant``, or ``cosine`` to 0 after the last step.
        gradient: ``closed`` (no graph) or ``autograd``, the reference.
        trained: which weights are trained, names of ``TwoLayerNetworks.tensors``; those that a network does
            not have are passed over.
        penalty: weight >= 0 of the variance between the risks of two environments, the two halves of a batch
            (Krueger et al., 2021, V-REx); one number, or one for each network.

    Raises:
        ValueError: for a value that is not allowed; names it.
    """

    steps: int
    loss: str = "hinge"
    optimizer: str = "sgd"
    rate: float | Sequence[float] = 0.5
    decay: float | Sequence[float] = 0.0
    momentum: float = 0.0
    schedule: str = "constant"
    gradient: str = "closed"
    trained: tuple[str, ...] = ("first",)
    penalty: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        _check_name("optimizer", self.optimizer, OPTIMIZERS)
        _check_name("schedule", self.schedule, SCHEDULES)
        _check_name("gradient", self.gradient, GRADIENTS)
        for name in self.trained:
            _check_name("weight to train", name, WEIGHTS)
        signed_loss(self.loss)
        check_whole("steps", self.steps)
        check_finite("momentum", self.momentum)
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum={self.momentum}; allowed: 0 up to, not including, 1")
        if self.momentum and self.optimizer != "sgd":
            raise ValueError(
                f"momentum={self.momentum} with optimizer={self.optimizer!r}; only 'sgd' has one"
            )
        rates, decays, penalties = (_numbers_of(self, name) for name in ("rate", "decay", "penalty"))
        if not all(rate > 0 for rate in rates):
            raise ValueError(f"rate={self.rate}; allowed: a learning rate above 0")
        if not all(decay >= 0 for decay in decays):
            raise ValueError(f"decay={self.decay}; allowed: a weight decay of 0 or more")
        if not all(penalty >= 0 for penalty in penalties):
            raise ValueError(f"penalty={self.penalty}; allowed: a weight of 0 or more")
        if not all(rate * decay < 1 for rate, decay in _side_by_side(rates, decays)):
            raise ValueError(f"rate={self.rate} times decay={self.decay} must be below 1: weights would flip")
        if self.optimizer != "sgd" and len({*rates}) * len({*decays}) > 1:
            raise ValueError(
                f"optimizer={self.optimizer!r} takes one rate and one decay for all stacked networks; use "
                "'sgd', or train them in stacks of their own"
            )

    def check_latent(self) -> None:
        """Raise a ValueError if training in latent coordinates would not be exact."""
        if self.optimizer != "sgd":
            raise ValueError(
                f"optimizer={self.optimizer!r} needs ambient coordinates: only SGD follows the same path in "
                "latent ones (Adam scales each coordinate by itself); use 'sgd', or coordinates='ambient'"
            )

    def stepper(self, weights: Mapping[str, Tensor]) -> Stepper:
        """Return ``step(gradients, number)``, which changes the weights in place; steps count from 0.

        Args:
            weights: by name, stacked tensors of three axes, the first of length M.

        Raises:
            ValueError: if none of them is trained, or rates, decays or penalties are not one or M.
        """
        trained = {name: weights[name] for name in self.trained if name in weights}
        if not trained:
            raise ValueError(
                f"trained={self.trained} names no weight of these networks, nothing would change; they have "
                f"{', '.join(weights)}"
            )
        models = len(next(iter(trained.values())))
        for name in ("rate", "decay", "penalty"):
            given = len(numbers(getattr(self, name)))
            if given not in (1, models):
                raise ValueError(f"{given} numbers as {name} of {models} networks; give one, or one for each")
        if self.optimizer == "sgd":
            return _Sgd(trained, self).step
        return _adaptive(trained, self)

    def factor(self, step: int) -> float:
        """Return what the rate is multiplied by at a step, counted from 0."""
        return 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.schedule == "cosine" else 1.0


class _Sgd:
    """PyTorch's SGD with momentum, with a rate and a decay for each stacked network."""

    def __init__(self, weights: Mapping[str, Tensor], descent: Descent) -> None:
        like = next(iter(weights.values()))
        self.weights, self.descent = weights, descent
        self.rate, self.decay = (stacked(x, like) for x in (descent.rate, descent.decay))
        self.decays = bool((self.decay > 0).any())
        kept = weights.items() if descent.momentum else ()
        self.buffers = {name: torch.zeros_like(weight) for name, weight in kept}

    def step(self, gradients: Mapping[str, Tensor], number: int) -> None:
        factor = self.descent.factor(number)
        for name, gradient in gradients.items():
            weight = self.weights[name]
            if self.decays:
                gradient.addcmul_(weight, self.decay)
            if self.descent.momentum:
                gradient = self.buffers[name].mul_(self.descent.momentum).add_(gradient)
            weight.addcmul_(gradient, self.rate, value=-factor)


def _adaptive(weights: Mapping[str, Tensor], descent: Descent) -> Stepper:
    kinds: dict[str, Any] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    rate, decay = numbers(descent.rate)[0], numbers(descent.decay)[0]
    optimizer = kinds[descent.optimizer](list(weights.values()), lr=rate, weight_decay=decay, fused=True)

    def step(gradients: Mapping[str, Tensor], number: int) -> None:
        optimizer.param_groups[0]["lr"] = rate * descent.factor(number)
        for name, gradient in gradients.items():
            weights[name].grad = gradient.contiguous()  # the fused step reads memory in order
        optimizer.step()

    return step


def numbers(value: float | Sequence[float]) -> list[float]:
    """Return one number, or one for each network, as a list."""
    return [float(v) for v in value] if isinstance(value, Sequence) else [float(value)]


def stacked(value: float | Sequence[float], like: Tensor) -> Tensor:
    """Return one number, or one for each network, as a tensor (1 or M, 1, 1)."""
    return torch.tensor(numbers(value), dtype=like.dtype, device=like.device).view(-1, 1, 1)


def _numbers_of(descent: Descent, name: str) -> list[float]:
    """One number, or one for each network, where a person gave them."""
    given = getattr(descent, name)
    several = isinstance(given, Sequence) and not isinstance(given, str)
    for value in given if several else [given]:
        check_finite(name, value)
    if several and not given:
        raise ValueError(f"{name}={given!r}; give one number, or one for each network")
    return numbers(given)


def _side_by_side(first: list[float], second: list[float]) -> list[tuple[float, float]]:
    """The two of each network; one number is for all of them."""
    most = max(len(first), len(second))
    return list(zip(first * (most // len(first)), second * (most // len(second)), strict=False))


def _check_name(what: str, given: str, allowed: Sequence[str]) -> None:
    if given not in allowed:
        raise ValueError(
            f"unknown {what} {given!r}{did_you_mean(given, allowed)}; choose one of {', '.join(allowed)}"
        )


Found = tuple[Tensor, dict[str, Tensor]]
Batches = Callable[[int], tuple[Tensor, Tensor]]
_IN_CACHE = 2**18  # numbers of one layer that a processor works on at once: 1 MiB of float32


def descend(
    networks: TwoLayerNetworks,
    batches: Batches,
    descent: Descent,
    *,
    watch: Callable[[int, TwoLayerNetworks], None] | None = None,
    watch_at: Collection[int] = (),
) -> TwoLayerNetworks:
    """Train M stacked networks; each descends its own mean loss.

    Args:
        networks: where to begin; not changed, and without a graph behind the result.
        batches: ``batches(step)``, steps counted from 0, returns inputs (M, N, D) and targets (M, N, K):
            labels -1 and +1 for hinge and logistic loss (looked at in the first batch).
        descent: how.
        watch: called as ``watch(step, networks)`` after so many steps; 0 is before the first. The networks
            are those in training: what is to be kept of them has to be copied.
        watch_at: after which numbers of steps.

    Returns:
        The trained networks.

    Raises:
        ValueError: a first batch that does not fit networks, loss or penalty.
        TrainingError: a loss that is not finite; says step and network.
    """
    weights = {name: value.detach().clone() for name, value in networks.tensors().items()}
    networks = networks.with_tensors(**weights)
    step_of = descent.stepper(weights)
    gradients = _Closed(networks) if descent.gradient == "closed" else _autograd
    loss, penalty = signed_loss(descent.loss), _penalty(descent, networks.first)
    wanted = [name for name in descent.trained if name in weights]
    if watch is not None and 0 in watch_at:
        watch(0, networks)
    losses = LossWatch(descent.steps, "rate")
    for step in range(descent.steps):
        x, targets = batches(step)
        if step == 0:
            _check_batch(networks, x, targets, loss, penalty)
        values, found = gradients(networks, x, targets, loss, wanted, penalty)
        losses.add(values)
        step_of(found, step)
        if watch is not None and step + 1 in watch_at:
            watch(step + 1, networks)
    return networks


class _Closed:
    """Mean losses (M,) and gradients in closed form, for as many networks at once as a cache holds."""

    def __init__(self, networks: TwoLayerNetworks) -> None:
        self.scratch = networks.first
        self.parts: list[tuple[slice, TwoLayerNetworks]] = []
        self.examples = 0

    def _prepare(self, networks: TwoLayerNetworks, examples: int) -> None:
        """Split the stack; the parts' weights are views, so they follow the training."""
        each = networks.first.shape[1] * examples
        whole = networks.first.is_cuda or each * networks.size <= _IN_CACHE
        at_once = networks.size if whole else max(1, _IN_CACHE // each)
        rows = [slice(first, first + at_once) for first in range(0, networks.size, at_once)]
        self.parts = [(part, networks.take(part)) for part in rows]
        self.scratch = networks.first.new_empty(each * at_once)
        self.examples = examples

    def __call__(
        self,
        networks: TwoLayerNetworks,
        x: Tensor,
        targets: Tensor,
        loss: SignedLoss,
        wanted: Sequence[str],
        penalty: Tensor | None,
    ) -> Found:
        if x.shape[1] != self.examples:
            self._prepare(networks, x.shape[1])
        done = []
        for rows, part in self.parts:
            outputs, back = part.outputs_and_back(x[rows], self.scratch)
            each = loss.value(outputs, targets[rows])
            slope = loss.derivative(outputs, targets[rows]).div_(x.shape[1])
            if penalty is not None:
                slope *= _weights_of_environments(each, penalty[rows])[..., None]
            done.append((each.mean(1), back.gradients(slope, wanted)))
        if len(done) == 1:
            return done[0]
        joined = {name: torch.cat([found[name] for _, found in done]) for name in wanted}
        return torch.cat([values for values, _ in done]), joined


def _autograd(
    networks: TwoLayerNetworks,
    x: Tensor,
    targets: Tensor,
    loss: SignedLoss,
    wanted: Sequence[str],
    penalty: Tensor | None,
) -> Found:
    """The same by autograd."""
    leaves = {
        name: value.detach().requires_grad_(name in wanted) for name, value in networks.tensors().items()
    }
    each = loss.value(networks.with_tensors(**leaves)(x), targets)
    total = each.mean(1)
    if penalty is not None:
        total = total + penalty * _environment_risks(each).var(1, correction=0)
    found = torch.autograd.grad(total.sum(), [leaves[name] for name in wanted])
    return each.detach().mean(1), dict(zip(wanted, found, strict=True))


def _environment_risks(each: Tensor) -> Tensor:
    """Risks of the two environments, (M, 2): the first and the second half of the batch (equal halves)."""
    half = each.shape[1] // 2
    return torch.stack([each[:, :half].mean(1), each[:, half:].mean(1)], dim=1)


def _weights_of_environments(each: Tensor, penalty: Tensor) -> Tensor:
    """What V-REx multiplies an example's derivative by, (M, N): the variance is ((R1 - R2) / 2)^2."""
    risks = _environment_risks(each)
    tilt = penalty * (risks[:, 0] - risks[:, 1])
    return torch.stack([1 + tilt, 1 - tilt], dim=1).repeat_interleave(each.shape[1] // 2, dim=1)


def _penalty(descent: Descent, like: Tensor) -> Tensor | None:
    if not any(numbers(descent.penalty)):
        return None
    return stacked(descent.penalty, like).flatten().expand(len(like))


def _check_batch(
    networks: TwoLayerNetworks, x: Tensor, targets: Tensor, loss: SignedLoss, penalty: Tensor | None
) -> None:
    models, outputs, _ = networks.second.shape
    inputs = networks.first.shape[2]
    if x.ndim != 3 or (x.shape[0], x.shape[2]) != (models, inputs):
        raise ValueError(
            f"inputs of shape {tuple(x.shape)}; {models} networks of {inputs} inputs need "
            f"({models}, N, {inputs})"
        )
    if targets.shape != (*x.shape[:2], outputs):
        raise ValueError(
            f"targets of shape {tuple(targets.shape)}; {models} networks of {outputs} outputs on these "
            f"inputs need {(*x.shape[:2], outputs)}"
        )
    if penalty is not None and x.shape[1] % 2:
        raise ValueError(f"{x.shape[1]} examples; with a penalty their number must be even: two environments")
    if loss.labels:
        check_labels(targets)
