"""How stacked two-layer networks descend: the risk of a signed loss, and its gradient in closed form.

Zhang et al. (ICML 2024): online SGD of the theory (a fresh batch each step), and full-batch SGD with momentum
or AdamW of the published code. In closed form a step is three batched products and no graph; autograd is
the reference that tests hold it against.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.checks import check_choice
from memorization.studies.feature_contamination.data import check_signs
from memorization.studies.feature_contamination.networks import TwoLayerNetworks
from memorization.training.batches import Batch
from memorization.training.objectives import SignedLoss, signed_loss
from memorization.training.recipe import numbers

WEIGHTS = ("first", "bias", "second", "offset")
GRADIENTS = ("closed", "autograd")
_IN_CACHE = 2**18  # numbers of one layer that a processor works on at once: 1 MiB of float32


@dataclass(frozen=True)
class SignedRisk:
    """The mean of a signed loss over a batch, and the variance between the risks of two environments.

    Attributes:
        loss: ``hinge``, ``logistic`` or ``squared``.
        penalty: weight >= 0 of the variance between the risks of two environments, the two halves of a batch
            (Krueger et al., 2021, V-REx); one number, or one for each network.

    Raises:
        ValueError: an unknown loss, or a weight below 0.
    """

    loss: str = "hinge"
    penalty: float | Sequence[float] = 0.0

    def __post_init__(self) -> None:
        signed_loss(self.loss)
        if not all(penalty >= 0 for penalty in numbers(self.penalty)):
            raise ValueError(f"penalty={self.penalty}; allowed: a weight of 0 or more")

    @property
    def signed(self) -> SignedLoss:
        """The loss of an example, with its derivative."""
        return signed_loss(self.loss)

    def weights(self, like: Tensor) -> Tensor | None:
        """Return the penalty of each network, shape (M,), or None where there is none."""
        if not any(numbers(self.penalty)):
            return None
        return torch.tensor(numbers(self.penalty), dtype=like.dtype, device=like.device).expand(len(like))


class DescendingNetworks:
    """Two-layer networks in training, which bring their own gradient.

    Args:
        networks: where to begin; not changed.
        trained: which weights are trained, names of ``TwoLayerNetworks.tensors``; those that a network does
            not have are passed over.
        gradient: ``closed`` (no graph) or ``autograd``, the reference.

    Attributes:
        networks: the networks of today, without a graph behind them.
    """

    def __init__(
        self, networks: TwoLayerNetworks, trained: Sequence[str] = ("first",), gradient: str = "closed"
    ) -> None:
        check_choice("gradient", gradient, GRADIENTS)
        for name in trained:
            check_choice("weight to train", name, WEIGHTS)
        self._weights = {name: value.detach().clone() for name, value in networks.tensors().items()}
        self.networks = networks.with_tensors(**self._weights)
        self._trained = [name for name in trained if name in self._weights]
        if not self._trained:
            raise ValueError(
                f"trained={tuple(trained)} names no weight of these networks, nothing would change; they "
                f"have {', '.join(self._weights)}"
            )
        self._closed = gradient == "closed"
        self._parts: list[tuple[slice, TwoLayerNetworks]] = []
        self._scratch, self._examples = self.networks.first, 0
        self._risk: tuple[SignedRisk, SignedLoss, Tensor | None] | None = None  # looked up once

    @property
    def size(self) -> int:
        """The number M of networks."""
        return self.networks.size

    def parameters(self) -> list[Tensor]:
        """Return the weights that are trained, each with the networks on its first axis."""
        return [self._weights[name] for name in self._trained]

    def state_dict(self) -> dict[str, Tensor]:
        """Return all weights by name."""
        return dict(self._weights)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from other weights, in place."""
        for name, value in state.items():
            self._weights[name].copy_(value)

    def check(self, batch: Batch, objective: SignedRisk) -> None:
        """Refuse a first batch that does not fit networks, loss or penalty."""
        x, targets = batch.inputs, batch.targets
        models, outputs, _ = self.networks.second.shape
        inputs = self.networks.first.shape[2]
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
        if (given := len(numbers(objective.penalty))) not in (1, models):
            raise ValueError(f"{given} numbers as penalty of {models} networks; give one, or one for each")
        if objective.weights(x) is not None and x.shape[1] % 2:
            raise ValueError(
                f"{x.shape[1]} examples; with a penalty their number must be even: two environments"
            )
        if objective.signed.labels:
            check_signs(targets)

    def gradients(self, batch: Batch, objective: SignedRisk) -> Tensor:
        """Set the gradient of each network's own risk, and return the mean losses (M,), without a graph."""
        if self._risk is None or self._risk[0] is not objective:
            self._risk = objective, objective.signed, objective.weights(self.networks.first)
        one = self._by_formula if self._closed else self._by_autograd
        losses, found = one(batch.inputs, batch.targets, *self._risk[1:])
        for name, gradient in found.items():
            self._weights[name].grad = gradient.contiguous()  # a fused step reads memory in order
        return losses

    def _by_formula(
        self, x: Tensor, targets: Tensor, loss: SignedLoss, penalty: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """In closed form, for as many networks at once as a cache holds."""
        if x.shape[1] != self._examples:
            self._split(x.shape[1])
        done = []
        for rows, part in self._parts:
            outputs, back = part.outputs_and_back(x[rows], self._scratch)
            each = loss.value(outputs, targets[rows])
            slope = loss.derivative(outputs, targets[rows]).div_(x.shape[1])
            if penalty is not None:
                slope *= _weights_of_environments(each, penalty[rows])[..., None]
            done.append((each.mean(1), back.gradients(slope, self._trained)))
        if len(done) == 1:
            return done[0]
        joined = {name: torch.cat([found[name] for _, found in done]) for name in self._trained}
        return torch.cat([values for values, _ in done]), joined

    def _split(self, examples: int) -> None:
        """Split the stack; the parts' weights are views, so they follow the training."""
        networks = self.networks
        each = networks.first.shape[1] * examples
        whole = networks.first.is_cuda or each * networks.size <= _IN_CACHE
        at_once = networks.size if whole else max(1, _IN_CACHE // each)
        rows = [slice(first, first + at_once) for first in range(0, networks.size, at_once)]
        self._parts = [(part, networks.take(part)) for part in rows]
        self._scratch = networks.first.new_empty(each * at_once)
        self._examples = examples

    def _by_autograd(
        self, x: Tensor, targets: Tensor, loss: SignedLoss, penalty: Tensor | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The same by autograd."""
        leaves = {
            name: value.detach().requires_grad_(name in self._trained)
            for name, value in self._weights.items()
        }
        each = loss.value(self.networks.with_tensors(**leaves)(x), targets)
        total = each.mean(1)
        if penalty is not None:
            total = total + penalty * _environment_risks(each).var(1, correction=0)
        found = torch.autograd.grad(total.sum(), [leaves[name] for name in self._trained])
        return each.detach().mean(1), dict(zip(self._trained, found, strict=True))


def _environment_risks(each: Tensor) -> Tensor:
    """Risks of the two environments, (M, 2): the first and the second half of the batch (equal halves)."""
    half = each.shape[1] // 2
    return torch.stack([each[:, :half].mean(1), each[:, half:].mean(1)], dim=1)


def _weights_of_environments(each: Tensor, penalty: Tensor) -> Tensor:
    """What V-REx multiplies an example's derivative by, (M, N): the variance is ((R1 - R2) / 2)^2."""
    risks = _environment_risks(each)
    tilt = penalty * (risks[:, 0] - risks[:, 1])
    return torch.stack([1 + tilt, 1 - tilt], dim=1).repeat_interleave(each.shape[1] // 2, dim=1)
