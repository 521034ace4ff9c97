"""Networks trained on classes beside random-label heads that observe them, are served by them, or fought.

Each head learns the random labels of the training examples from the features at its site. What the network
gets of it is a matter of routing, as published notes on the follow-up (Becker et al., ICLR 2026) describe it:
the heads get the gradient of their own cross-entropy alone, the class head that of the class loss alone, and
the rest of the network (the *trunk*) that of ``class + alpha heads + lambda regularizer``. Of Becker & Risse
(2024) only "three losses" is known, and which mode its figures show is not; all three are here.

* ``probe``: alpha = lambda = 0. The network is, bit for bit, the one that is trained without heads.
* ``joint``: alpha > 0. Random labels are learned by the trunk next to the classes.
* ``unlearning``: lambda > 0. The trunk is trained so that the heads do not find the labels.

The heads are no parameters of the networks but a state of the objective, trained on the features of the same
forward pass: weight decay and clipping norm of the trunk do not see them, and they have a rate of their own.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_choice, check_finite, check_tensor, check_whole
from memorization.data.labels import check_label_count
from memorization.models.heads import HeadedNetwork, RandomLabelHeads, TappedNetwork, split_outputs
from memorization.training.batches import Batch
from memorization.training.recipe import PerNetwork, numbers

MODES = ("probe", "joint", "unlearning")
_LOSSES = ("class loss", "loss of the heads", "regularizer")


def bounded(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``-log(1 - p)`` of the random label's probability p, the regularizer of the follow-up.

    Published notes print it with the other sign, which would reward memorization; the stated purpose, a steep
    penalty near p = 1, needs this one. Derived: its derivative by logit j is ``p/(1 - p) (1[j = r] - p_j)``,
    of l1 norm 2p. It is bounded, goes away as the label is forgotten, and its minimum is at p = 0 and not at
    1/n. Computed as ``log(1 + exp(o_r - logsumexp of the others))``, exact where p is nearly 0 or 1.

    Args:
        logits: o, shape (..., n), n >= 2.
        labels: r, shape (...), int64 in 0..n-1.

    Returns:
        Shape (...).
    """
    own = logits.gather(-1, labels[..., None])
    least = torch.finfo(logits.dtype).min
    others = logits.scatter(-1, labels[..., None], least).logsumexp(-1)
    return -F.logsigmoid(others - own.squeeze(-1))


def reversal(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy with the sign turned: gradient reversal (Ganin & Lempitsky, 2015), as a loss.

    Derived: it pushes hardest where the label is forgotten already, and has no lower bound.

    Args and returns: as :func:`bounded`.
    """
    return logits.log_softmax(-1).gather(-1, labels[..., None]).squeeze(-1)


def confusion(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``-1/n sum_k log p_k``, the distance to the uniform law (Tzeng et al., 2015; Alvi et al., 2018).

    Derived: its derivative by logit j is ``p_j - 1/n``; it never pushes below chance.

    Args and returns: as :func:`bounded`; the labels are not used.
    """
    return -logits.log_softmax(-1).mean(-1)


def literal(logits: Tensor, labels: Tensor) -> Tensor:
    """Return ``+log(1 - p)``, the regularizer as notes on the follow-up print it: it rewards memorization.

    Args and returns: as :func:`bounded`.
    """
    return -bounded(logits, labels)


REGULARIZERS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bounded": bounded,
    "reversal": reversal,
    "confusion": confusion,
    "literal": literal,
}
_SCALED = ("bounded", "literal")


@dataclass(frozen=True)
class HeadRecipe:
    """How heads are trained: SGD with momentum, on the schedule of the networks' own recipe.

    Attributes:
        learning_rate: > 0; the default, like the other ones, is that of our runs.
        momentum: in [0, 1).
        weight_decay: >= 0, added to the gradient.
        steps: head steps for each step of the network, >= 1, on the features of the same forward pass; more
            than one make a stronger adversary (ours).

    Raises:
        ValueError: for numbers out of range.
    """

    learning_rate: float = 0.5
    momentum: float = 0.9
    weight_decay: float = 0.0
    steps: int = 1

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        for name in ("learning_rate", "momentum", "weight_decay"):
            check_finite(f"{name} of the heads", getattr(self, name))
        check_whole("steps of the heads", self.steps, 1)
        if not self.learning_rate > 0 or not 0 <= self.momentum < 1 or self.weight_decay < 0:
            raise ValueError(
                f"heads with learning_rate={self.learning_rate}, momentum={self.momentum}, weight_decay="
                f"{self.weight_decay}; allowed: learning_rate > 0, momentum in [0, 1), weight_decay >= 0"
            )


class RandomLabelLoss(nn.Module):
    """Class cross-entropy of M tapped networks, with random-label heads at their sites.

    The loss is what the trunk makes small, ``class + alpha heads + lambda regularizer`` (of probes the class
    loss alone), the heads being constants; after each step the heads take theirs, from the same features, so
    that both see each other as they were. Of several labellings each has heads of its own, and the trunk gets
    the mean. Everything of a network is on the first axis: networks of several modes can be one stack.

    Attributes:
        labels: the random labels, shape (M, K, N).
        heads: those of each site, in the order of ``widths``.
        weights: shape (M, T): what each network's loss at each of T sites is multiplied by, alpha or lambda.
        last: shape (M, 3): class loss, loss of the heads (mean over sites) and weighted regularizer or joint
            loss of the last step.
        told: shape (M, T + 1): for each site the accuracies of the heads on the batches of the epoch that
            runs, summed up, in training mode and before each step; and the number of these batches.
        scores: how many of the outputs are class logits: what the batch accuracy is taken of.
    """

    labels: Tensor
    weights: Tensor
    joint: Tensor
    done: Tensor
    last: Tensor
    told: Tensor
    broken: Tensor
    heads: Any
    velocities: Any

    def __init__(
        self,
        network: TappedNetwork,
        labels: Tensor,
        count: int,
        *,
        class_wise: bool = True,
        mode: str | Sequence[str] = "probe",
        strength: PerNetwork | Mapping[str, PerNetwork] | None = None,
        regularizer: str = "bounded",
        smoothing: float = 0.0,
        spread: str = "others",
        head: HeadRecipe | None = None,
        hidden: int | None = None,
        seeds: Sequence[int] = (),
        begin: int = 0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        """Make heads for networks of one shape.

        Args:
            network: one of them, for its number of classes and its sites.
            labels: random labels by example number, shape (M, N), or (M, K, N) for K labellings at once;
                int64 in 0..n-1. Heads and tables are on their device.
            count: the number n of random labels, >= 2.
            class_wise: a head per class, which reads the examples of that class (the 2024 version, as a
                summary has it), or one shared head (the follow-up). The class is the one that is trained
                with, wrong or right.
            mode: of all networks, or one for each.
            strength: of all networks, one for each, or {site: either}, sites left out being observed only. In
                joint mode alpha, 1 if left out; in unlearning mode what lambda is multiplied by n: the
                bounded loss is at chance 1/(n - 1) times that of gradient reversal (derived), so lambda has
                to grow with n. Reversal and confusion take it as lambda, so that at chance equal strengths
                of all three push about alike.
            regularizer: ``bounded``, ``reversal``, ``confusion`` or ``literal``; in unlearning mode.
            smoothing: label smoothing epsilon of the class loss alone, in [0, 1).
            spread: where epsilon goes: to the ``others`` of the C classes, as in the code that the group
                published with another paper, or to ``all`` of them, as PyTorch does it.
            head: how the heads are trained.
            hidden: numbers of a layer between features and heads; None: the heads are linear.
            seeds: of that layer, one for each network.
            begin: steps during which the trunk does not hear of the heads, >= 0.
            dtype: of the heads and their losses.

        Raises:
            TypeError: a network that is no TappedNetwork, or labels that are no int64 tensor.
            ValueError: labels outside 0..n-1 (with the first place) or of another shape, unknown names,
                strengths below 0 or not finite, of another mode, or not one for each network, or heads that
                are to act at a site where the network lets them look on alone.
            KeyError: a strength for a site without a head.
        """
        super().__init__()
        if not isinstance(network, TappedNetwork):
            raise TypeError(f"a {type(network).__name__} gives no features; allowed: a TappedNetwork")
        table = _table(labels, count)
        models, labellings = table.shape[:2]
        self.count, self.scores, self.widths = count, network.classes, dict(network.widths)
        check_whole("begin", begin)
        self.class_wise, self.regularizer, self.begin = class_wise, regularizer, begin
        self.head = head or HeadRecipe()
        self.factor = 1.0  # of the schedule, see ``follow``
        check_choice("regularizer", regularizer, REGULARIZERS)
        self.smoothing = _smoothing(smoothing, spread, network.classes)
        modes = [mode] * models if isinstance(mode, str) else list(mode)
        weights = _strengths(strength, modes, models, self.widths)
        for site, acts in zip(self.widths, weights.any(0).tolist(), strict=True):
            if acts and site not in network.acting:
                allowed = ", ".join(sorted(network.acting)) or "none of its sites"
                raise ValueError(
                    f"heads are to act at {site!r}, where the network only lets them look on; allowed: "
                    f"{allowed}: give TappedNetwork acting=[...]"
                )
        joint = torch.tensor([name == "joint" for name in modes])
        if regularizer in _SCALED:
            weights = torch.where(joint[:, None], weights, weights * count)
        self.acting = weights.any(0).tolist()  # at which sites a trunk hears of the heads
        self.register_buffer("labels", table)
        self.register_buffer("weights", weights.to(table.device, dtype))
        self.register_buffer("joint", joint.to(table.device))
        groups = network.classes if class_wise else 1
        shape: dict[str, Any] = {"models": models, "groups": groups, "labellings": labellings}
        shape |= {"hidden": hidden, "seeds": seeds, "dtype": dtype, "device": table.device}
        self.heads = nn.ModuleList(RandomLabelHeads(d, count, **shape) for d in self.widths.values())
        self.velocities = copy.deepcopy(self.heads)
        for value in self.velocities.buffers():
            value.zero_()
        self.register_buffer("done", torch.zeros(models, dtype=torch.int64, device=table.device))
        self.register_buffer("last", torch.zeros(models, 3, dtype=dtype, device=table.device))
        sites = len(self.widths)
        self.register_buffer("told", torch.zeros(models, sites + 1, dtype=dtype, device=table.device))
        self.per_epoch = 1  # batches of an epoch, see ``check``
        self.register_buffer("broken", torch.zeros(models, 3, dtype=torch.bool, device=table.device))

    # ---- what the training core asks

    def check(self, outputs: Tensor, batch: Batch, examples: int | None) -> None:
        """Look at the first batch.

        Args:
            outputs: of the first network, shape (B, C + d_1 + ...).
            batch: the first one.
            examples: the number N of examples in all, where it is known.

        Raises:
            TypeError: targets that are no class numbers, or batches that do not say which examples they hold.
            ValueError: outputs of another network, labels of another number of networks, mixed labels, or a
                table of random labels that does not cover the examples.
        """
        wanted = self.scores + sum(self.widths.values())
        if outputs.shape[1] != wanted:
            raise ValueError(
                f"the networks have {outputs.shape[1]} outputs; allowed: {wanted}, class logits and features "
                "side by side: give networks like the TappedNetwork that the heads were made for"
            )
        if batch.targets.ndim != 2 or batch.targets.dtype != torch.int64:
            raise ValueError(
                f"targets are {batch.targets.dtype} of shape {tuple(batch.targets.shape)}; allowed: class "
                "numbers (M, B), int64: a mixed image (mixup, cutmix) has no random label of its own, so "
                "leave mixing out"
            )
        if len(batch.targets) != len(self.labels):
            raise ValueError(
                f"random labels of {len(self.labels)} networks for {len(batch.targets)}; give one table (N,) "
                "for each network"
            )
        if batch.examples.shape != batch.targets.shape or int(batch.examples.min()) < 0:
            raise TypeError(
                "the batches do not say which examples they hold; random labels belong to example numbers: "
                "give batches that number their examples (x, y, id), such as TensorBatches"
            )
        if int(batch.targets.max()) >= self.scores:
            raise ValueError(
                f"class {int(batch.targets.max())} for networks with {self.scores} class logits; allowed: "
                f"0..{self.scores - 1}"
            )
        known, most = self.labels.shape[2], examples or int(batch.examples.max()) + 1
        if most != known if examples else most > known:
            raise ValueError(
                f"random labels of {known} examples for {most}; give one label for each example, in the "
                "order of the batches' example numbers"
            )
        self.per_epoch = max(1, known // len(outputs))

    def follow(self, factor: float) -> None:
        """Take the factor of the schedule at the next step: the heads follow that of the networks."""
        self.factor = factor

    def forward(self, outputs: Tensor, targets: Tensor, examples: Tensor) -> Tensor:
        """Return what the trunk makes small, the losses (M,); see ``Objective``."""
        logits, features = split_outputs(outputs, self.scores, self.widths)
        total = self._class_loss(logits, targets)
        parts = [total.detach()]
        acting = [t for t, acts in enumerate(self.acting) if acts]
        if acting:
            labels, rows = self._labels_of(examples), list(features.values())
            each = [self.weights[:, t] * self._acting(t, rows[t], targets, labels) for t in acting]
            added = torch.stack(each).sum(0)
            if self.begin:
                added = torch.where(self.done < self.begin, torch.zeros_like(added), added)
            parts.append(added.detach())
            total = total + added
        self._parts = parts
        return total + 0 * self.last[:, 1].to(total.dtype)  # heads that are not finite fail their network

    @torch.no_grad()
    def after_step(self, outputs: Tensor, targets: Tensor, examples: Tensor) -> None:
        """Let the heads take their steps, on the features of the networks' forward pass."""
        _, features = split_outputs(outputs, self.scores, self.widths)
        labels = self._labels_of(examples)
        taken = [
            self._head_step(t, rows, targets, labels)
            for _ in range(self.head.steps)
            for t, rows in enumerate(features.values())
        ]
        self.done += 1
        first = taken[: len(self.widths)]
        own = torch.stack([losses for losses, _ in first]).mean(0)
        shares = torch.stack([*(share for _, share in first), torch.ones_like(own)], 1)
        self.told.masked_fill_(self.told[:, -1:] >= self.per_epoch, 0).add_(shares)
        parts = self._parts if len(self._parts) == 2 else [*self._parts, torch.zeros_like(own)]
        self.last.copy_(torch.stack([parts[0].to(own.dtype), own, parts[1].to(own.dtype)], 1))
        broken = ~self.last.isfinite()
        self.broken |= broken & ~self.broken.any(1, keepdim=True)  # those that were the first

    def blame(self, row: int) -> str:
        """Return which of a network's losses was the first that is not finite, and what may help; or ''."""
        names = [name for name, bad in zip(_LOSSES, self.broken[row].tolist(), strict=True) if bad]
        if not names:
            return ""
        advice = "" if self.regularizer == "bounded" else "; regularizer='bounded' does not diverge by itself"
        strengths = ", ".join(f"{value:g}" for value in self.weights[row].tolist())
        what = f"the {' and the '.join(names)} first"
        return f", {what} ({self.regularizer}, alpha or lambda {strengths}){advice}"

    def dress(self, network: nn.Module, state: Mapping[str, Tensor]) -> HeadedNetwork:
        """Return one network with its heads.

        Args:
            network: a TappedNetwork.
            state: what the objective keeps of it, such as ``Trained.states[m]``.
        """
        heads = []
        for t, given in enumerate(self.heads):
            one = copy.deepcopy(given)
            for name in one._buffers:
                one._buffers[name] = state[f"heads.{t}.{name}"][None].clone()
            heads.append(one)
        if not isinstance(network, TappedNetwork):
            raise TypeError(f"a {type(network).__name__} gives no features; allowed: a TappedNetwork")
        told = (state["told"][:-1] / state["told"][-1]).tolist()  # NaN before the first step
        batch_accuracy = dict(zip(self.widths, told, strict=True))
        return HeadedNetwork(network, heads, batch_accuracy).train(network.training)

    def extra_repr(self) -> str:
        """Return what a checkpoint must agree with beside the tables."""
        return (
            f"count={self.count}, class_wise={self.class_wise}, sites={self.widths}, regularizer="
            f"{self.regularizer}, smoothing={self.smoothing}, begin={self.begin}, {self.head}"
        )

    # ---- the parts

    def _class_loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        each = F.cross_entropy(
            _wide(logits).flatten(0, 1), targets.flatten(), reduction="none", label_smoothing=self.smoothing
        )
        return each.view(targets.shape).mean(1)

    def _labels_of(self, examples: Tensor) -> Tensor:
        """Random labels of these examples (M, B), shape (M, B, K)."""
        table = self.labels.transpose(1, 2)
        return table.gather(1, examples[..., None].expand(-1, -1, table.shape[2]))

    def _acting(self, site: int, features: Tensor, classes: Tensor, labels: Tensor) -> Tensor:
        """What the trunk hears at a site, the heads being constants: losses (M,)."""
        logits = self.heads[site](features, classes if self.class_wise else None)
        unlearned = REGULARIZERS[self.regularizer](logits, labels)
        each = torch.where(self.joint[:, None, None], -reversal(logits, labels), unlearned)  # (M, B, K)
        return each.mean((1, 2))

    def _head_step(
        self, site: int, features: Tensor, classes: Tensor, labels: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One step of all heads of a site, on features without a graph; their losses and accuracies before.

        Both have shape (M,): means over the batch and the labellings.
        """
        head, velocity = self.heads[site], self.velocities[site].values()
        own = classes if self.class_wise else None
        known = head(features, own).log_softmax(-1)  # (M, B, K, n)
        told = known.gather(-1, labels[..., None])
        slopes = known.exp().scatter_add_(-1, labels[..., None], -torch.ones_like(told))
        gradients = head.gradients(features, slopes.div_(features.shape[1]), own)
        for name, value in head.values().items():
            gradient = gradients[name]
            if self.head.weight_decay:
                gradient = gradient.add(value, alpha=self.head.weight_decay)
            moved = velocity[name].mul_(self.head.momentum).add_(gradient)
            value.sub_(moved, alpha=self.head.learning_rate * self.factor)
        right = (known.argmax(-1) == labels).to(known.dtype)
        return -told.mean((1, 2, 3)), right.mean((1, 2))


def _wide(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def _table(labels: Tensor, count: int) -> Tensor:
    """Random labels as (M, K, N), checked."""
    check_label_count(count)
    check_tensor("random labels", labels)
    if labels.dtype != torch.int64:
        raise TypeError(f"random labels are {labels.dtype}; allowed: int64 in 0..{count - 1}")
    if labels.ndim not in (2, 3) or not labels.numel():
        raise ValueError(
            f"random labels have shape {tuple(labels.shape)}; allowed: (M, N), one for each network and "
            "example, or (M, K, N) for K labellings"
        )
    outside = ((labels < 0) | (labels >= count)).nonzero()
    if len(outside):
        place = outside[0].tolist()
        raise ValueError(
            f"random label {int(labels[tuple(place)])} at {tuple(place)} is outside 0..{count - 1}"
        )
    return labels[:, None] if labels.ndim == 2 else labels


def _smoothing(epsilon: float, spread: str, classes: int) -> float:
    """The epsilon of PyTorch, which spreads it over all classes."""
    check_finite("smoothing", epsilon)
    check_choice("spread", spread, ("others", "all"))
    if not 0 <= epsilon < 1:
        raise ValueError(f"smoothing={epsilon}; allowed: a number in [0, 1)")
    found = epsilon * classes / (classes - 1) if spread == "others" and classes > 1 else epsilon
    if found > 1:
        raise ValueError(
            f"smoothing={epsilon} on the others of {classes} classes; allowed: up to {1 - 1 / classes:g}"
        )
    return found


def _strengths(
    given: PerNetwork | Mapping[str, PerNetwork] | None,
    modes: Sequence[str],
    models: int,
    sites: Mapping[str, int],
) -> Tensor:
    """The strengths of M networks at T sites, shape (M, T)."""
    for mode in modes:
        check_choice("mode", mode, MODES)
    if len(modes) != models:
        raise ValueError(f"{len(modes)} modes for {models} networks; give one, or one for each")
    if given is None:
        if "unlearning" in modes:
            raise ValueError("mode='unlearning' needs a strength: lambda as a multiple of n, such as 0.1")
        given = [float(mode == "joint") for mode in modes]
    by_site = given if isinstance(given, Mapping) else dict.fromkeys(sites, given)
    for site in by_site:
        if site not in sites:
            raise KeyError(f"no head at {site!r}; available are {', '.join(sites)}")
    columns = [_column(by_site.get(site, 0.0), models) for site in sites]
    found = torch.tensor(columns, dtype=torch.float64).T
    for m, mode in enumerate(modes):
        if mode == "probe" and bool(found[m].any()):
            raise ValueError(
                f"strength={given} for network {m} in mode 'probe', whose heads only look on; allowed: 0, or "
                "mode 'joint' or 'unlearning'"
            )
    return found


def _column(value: PerNetwork, models: int) -> list[float]:
    each = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for one in each:
        if isinstance(one, bool) or not isinstance(one, int | float) or not 0 <= one < math.inf:
            raise ValueError(
                f"strength={value!r}; allowed: finite numbers >= 0 (a negative lambda rewards memorization)"
            )
    if len(each) not in (1, models):
        raise ValueError(f"{len(each)} strengths for {models} networks; give one, or one for each")
    found = numbers(each)
    return found * models if len(found) == 1 else found
