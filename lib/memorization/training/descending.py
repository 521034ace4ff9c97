"""Gradient descent on stacked two-layer networks, with the gradient in closed form or by autograd.

Zhang et al. (ICML 2024). In closed form a step is three batched matrix products and no graph; autograd is the
reference that tests hold it against.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from memorization.data.structured import check_labels
from memorization.models.two_layer import TwoLayerNetworks
from memorization.training.descent import Descent, numbers, stacked
from memorization.training.finite import LossWatch
from memorization.training.signed_losses import SignedLoss, signed_loss

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
