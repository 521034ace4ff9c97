"""Held-out predictions: what a network says of training examples that it was not trained on, and what they
are for.

Cross-Risk Minimization (XRM; Pezeshki et al., ICML 2024) trains twin networks on the two halves of the
training set; each is held out from the other's half, and labels that a twin is sure are wrong are flipped on
the way, so that both come to lean on what is spurious. K-fold held-out predictions stand beside it.
Memorization-aware training (MAT; Bayat et al., ICLR 2025) adds to the outputs the logarithm of what held-out
predictions say of the label, and leaves the network the rest. Predictions carry the ids of their examples,
and are refused where these do not fit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_finite, check_tensor, check_whole
from memorization.data.groups import GroupedSet, check_groups_present, check_one_each
from memorization.draws import Draws, generator, view_keys
from memorization.models.networks import evaluating
from memorization.training.batches import TensorBatches
from memorization.training.objectives import ExampleCrossEntropy
from memorization.training.recipe import Recipe
from memorization.training.train import train

_DEGENERATE = (
    "inferred groups are degenerate: a class has only one of them; train the twins longer, or select on the "
    "last step"
)
_NUMBERS_AT_ONCE = 50_000_000  # of the inputs of one forward pass: 332 photographs of 224 x 224
_FLOOR = 1e-6  # inside the logarithm of a shift, as in the published code: no class is ruled out altogether


@dataclass(frozen=True)
class HeldOut:
    """Held-out logits of a training set, in its order.

    Attributes:
        ids: the examples, shape (N,), int64, each once.
        logits: shape (N, C), floating point, without a temperature.

    Raises:
        ValueError: logits of another shape, or not finite.
    """

    ids: Tensor
    logits: Tensor

    def __post_init__(self) -> None:
        """Refuse what is no finite prediction of each example."""
        check_tensor("ids", self.ids)
        check_tensor("logits", self.logits)
        fits = self.logits.ndim == 2 and self.logits.shape[1] >= 2 and self.ids.shape == self.logits.shape[:1]
        if not fits or not self.logits.is_floating_point() or not bool(self.logits.isfinite().all()):
            raise ValueError(
                f"held-out predictions must have shape (n_train, K) and be finite; got {self.logits.dtype} "
                f"of shape {tuple(self.logits.shape)} for {len(self.ids)} ids"
            )

    def check(self, ids: Tensor, classes: int) -> None:
        """Refuse to be used for other examples than these, in another order, or with other classes.

        Raises:
            ValueError: naming the first place at which ids differ.
        """
        if self.logits.shape[1] != classes:
            raise ValueError(
                "held-out predictions must have shape (n_train, K) and be finite; got "
                f"K={self.logits.shape[1]} for {classes} classes"
            )
        if ids.shape != self.ids.shape or not bool((ids.cpu() == self.ids.cpu()).all()):
            place = (
                "their number"
                if ids.shape != self.ids.shape
                else f"place {int((ids.cpu() != self.ids.cpu()).nonzero()[0])}"
            )
            raise ValueError(
                f"held-out predictions are not aligned with the training set: {place} differs; predict the "
                "examples of this very set, in its order"
            )


# ---- what is added to the outputs, and how examples are weighed


def memorization_shift(held_out: HeldOut, labels: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Return the shift of memorization-aware training, ``log p_ho(y | x)`` of each example and class.

    Bayat et al. (ICLR 2025), algorithm of the paper: held-out predictions are sharpened, their confusion with
    the true labels is counted over the whole training set, and each prediction is read through it. (The
    published code counts within a mini-batch; a class that the batch lacks then gives no number.)

    Args:
        held_out: predictions of the training examples.
        labels: true labels, shape (N,), int64 in 0..C-1.
        ids: ids of the training examples, shape (N,).
        temperature: tau > 0; the smaller, the more a prediction counts as certain.

    Returns:
        Shape (N, C), float32, between log 1e-6 and about 0. Where no prediction is of a class, its row of the
        confusion is the share of each label.

    Raises:
        ValueError: ``temperature must be > 0``, or predictions of other examples.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature must be > 0; got {temperature}")
    classes = held_out.logits.shape[1]
    held_out.check(ids, classes)
    check_tensor("labels", labels)
    if labels.dtype != torch.int64 or not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(
            f"labels must be integers in [0, K); got {labels.dtype} in {labels.min():g}..{labels.max():g}, "
            f"K={classes}"
        )
    check_one_each("labels", labels, len(ids), classes)
    said = (held_out.logits.double() / temperature).softmax(1)  # (N, C), of the held-out class
    true = F.one_hot(labels, classes).double()
    joint = said.T @ true  # (held-out class, label)
    total = joint.sum(1, keepdim=True)
    rows = torch.where(total > 1e-12, joint / total.clamp(min=1e-12), true.mean(0))
    return (said @ rows + _FLOOR).log().float()


def attribute_shift(labels: Tensor, attributes: Tensor, classes: int, values: int) -> Tensor:
    """Return ``log p(y | a)``: the shift of logit correction, with the attribute annotated (MAT-oracle) or
    estimated.

    Args:
        labels: shape (N,), int64 in 0..C-1.
        attributes: shape (N,), int64 in 0..A-1; for logit correction (Liu et al., ICLR 2023) what a biased
            network says of each example.
        classes: C.
        values: A.

    Returns:
        Shape (N, C), float32.
    """
    check_one_each("labels", labels, len(labels), classes)
    check_one_each("attributes", attributes, len(labels), values)
    joint = (
        torch.bincount(values * labels + attributes, minlength=classes * values)
        .double()
        .view(classes, values)
    )
    rows = (joint / joint.sum(0).clamp(min=1)).T  # (A, C)
    return (rows[attributes] + _FLOOR).log().float()


def group_weights(groups: Tensor, count: int) -> Tensor:
    """Return weights of mean 1 under which each of ``count`` groups counts alike: shape (N,).

    Raises:
        ValueError: a group has no member.
    """
    check_groups_present(groups, count)
    members = torch.bincount(groups, minlength=count)
    return len(groups) / (count * members[groups].float())


def subsample_weights(groups: Tensor, count: int, source: torch.Generator) -> Tensor:
    """Return weights of mean 1 that keep as many random examples of each group as the smallest has: shape
    (N,).

    Raises:
        ValueError: a group has no member.
    """
    check_groups_present(groups, count)
    size = int(torch.bincount(groups, minlength=count).min())
    weights = torch.zeros(len(groups))
    for group in range(count):
        members = (groups == group).nonzero().flatten()
        weights[members[torch.randperm(len(members), generator=source)[:size]]] = len(groups) / (count * size)
    return weights


def error_weights(logits: Tensor, labels: Tensor, factor: float) -> Tensor:
    """Return weights of mean 1 in which examples that a first network gets wrong count ``factor`` times.

    Just Train Twice (Liu et al., ICML 2021).

    Args:
        logits: of the first network at its training examples, shape (N, C).
        labels: shape (N,), int64.
        factor: > 0.
    """
    check_finite("factor", factor)
    if factor <= 0:
        raise ValueError(f"factor={factor}; allowed: a number above 0")
    weights = torch.where(logits.argmax(1) == labels, 1.0, factor)
    return weights / weights.mean()


# ---- twins


class LabelFlipping(nn.Module):
    """The objective of twins: each learns its half, with labels that the other's sure mistakes have flipped.

    Twins stand side by side on the model axis and see the same batches. After a step the label of an example
    becomes the class k that the twin held out from it predicts, with probability ``(p - 1/C) C / (C - 1)``, p
    its probability of k. The state (labels, and how many steps were taken) belongs to each network.

    Args:
        labels: true labels, shape (M, N), alike for twins.
        held_in: whether a network learns an example, shape (M, N), bool: of two twins, exactly one does.
        seeds: M whole numbers >= 0, alike for twins: flips are drawn by seed, example and step.
        classes: C.
        balanced: the loss is the sum over classes of the mean loss in the class, as in the XRM repository;
            False: the mean over all examples, as in the published linear experiment. Both are over both
            halves together.
        flipping: False leaves labels as they are.
    """

    together = 2
    labels: Tensor
    held_in: Tensor
    seeds: Tensor
    steps: Tensor

    def __init__(
        self,
        labels: Tensor,
        held_in: Tensor,
        seeds: Sequence[int],
        classes: int,
        *,
        balanced: bool = True,
        flipping: bool = True,
    ) -> None:
        super().__init__()
        if labels.ndim != 2 or labels.shape != held_in.shape or len(labels) % 2 or len(seeds) != len(labels):
            raise ValueError(
                f"labels have shape {tuple(labels.shape)}, held_in {tuple(held_in.shape)}, {len(seeds)} "
                "seeds; allowed: (M, N) both and M seeds, M even: twins side by side"
            )
        if not bool((held_in[::2] ^ held_in[1::2]).all()):
            raise ValueError("each example must be held in by exactly one of two twins")
        self.classes, self.balanced, self.flipping = classes, balanced, flipping
        self.register_buffer("labels", labels.clone())
        self.register_buffer("held_in", held_in)
        self.register_buffer("seeds", torch.tensor(list(seeds), device=labels.device))
        self.register_buffer("steps", torch.zeros(len(labels), dtype=torch.int64, device=labels.device))

    def forward(self, outputs: Tensor, targets: Tensor, examples: Tensor) -> Tensor:
        """Return the losses (M,): those of two twins add up to that of the pair."""
        current = self.labels.gather(1, examples)
        each = F.cross_entropy(outputs.flatten(0, 1), current.flatten(), reduction="none").view(current.shape)
        if self.balanced:
            counts = torch.zeros(len(current), self.classes, device=current.device)
            counts.scatter_add_(1, current, torch.ones_like(each, dtype=counts.dtype))
            each = each / counts.gather(1, current).to(each.dtype)
        else:
            each = each / current.shape[1]
        return (each * self.held_in.gather(1, examples)).sum(1)

    @torch.no_grad()
    def after_step(self, outputs: Tensor, targets: Tensor, examples: Tensor) -> None:
        """Flip labels by what the twin that is held out said before the step."""
        if self.flipping:
            held_out = held_out_of(outputs, self.held_in.gather(1, examples))
            sure, said = held_out.float().softmax(-1).max(-1)  # (M/2, B)
            chance = ((sure - 1 / self.classes) * self.classes / (self.classes - 1)).clamp(0, 1)
            keys = view_keys(self.seeds[::2, None], examples[::2], self.steps[::2, None])
            draws = Draws.keyed(keys.flatten()).uniform().view(chance.shape)
            labels = torch.where(draws < chance, said, self.labels[::2].gather(1, examples[::2]))
            self.labels.scatter_(1, examples, labels.repeat_interleave(2, 0))
        self.steps += 1

    def extra_repr(self) -> str:
        """Return what a checkpoint must agree with beside the tables."""
        return f"balanced={self.balanced}, flipping={self.flipping}"


def held_out_of(outputs: Tensor, held_in: Tensor) -> Tensor:
    """Take each example's outputs from the twin that did not learn it.

    Args:
        outputs: shape (M, B, C), twins side by side.
        held_in: shape (M, B), bool.

    Returns:
        Shape (M/2, B, C).
    """
    return torch.where(held_in[::2, :, None], outputs[1::2], outputs[::2])


@dataclass(frozen=True)
class CrossRisk:
    """What twins found out about a training set.

    Attributes:
        held_out: raw held-out logits of the training examples, in their order.
        flipped: whether an example's label was another one at the end, shape (N,), bool.
        mistakes: the inferred groups, 1 where a twin disagrees with the true label: shape (N,), int64.
        twins: the two networks.
        degenerate: whether a class has training examples of one inferred group only.
    """

    held_out: HeldOut
    flipped: Tensor
    mistakes: Tensor
    twins: tuple[nn.Module, nn.Module]
    degenerate: bool

    @property
    def flip_rate(self) -> float:
        """Share of flipped labels, 0 for a degenerate run: what chooses among runs without annotations."""
        return 0.0 if self.degenerate else float(self.flipped.float().mean())

    def mistakes_at(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return inferred groups of other examples, such as the validation set's: shape (N,), int64.

        Raises:
            RuntimeError: ``inferred groups are degenerate``, for a degenerate run: nothing can be selected by
                them.
        """
        if self.degenerate:
            raise RuntimeError(_DEGENERATE)
        return cross_mistakes([predict(twin, inputs).to(labels.device) for twin in self.twins], labels)


def cross_mistakes(logits: Sequence[Tensor], labels: Tensor) -> Tensor:
    """Return 1 where one of the networks' predictions (N, C) is not the label (N,), else 0."""
    return torch.stack([one.argmax(1) != labels for one in logits]).any(0).long()


def check_inferred(mistakes: Tensor, labels: Tensor, classes: int) -> None:
    """Refuse inferred groups (N,) of which a class has only one: nothing can be selected by them.

    Raises:
        RuntimeError: ``inferred groups are degenerate``.
    """
    if bool((_inferred_counts(mistakes, labels, classes) == 0).any()):
        raise RuntimeError(_DEGENERATE)


def _inferred_counts(mistakes: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Members by class and inferred group: shape (C, 2)."""
    return torch.bincount(2 * labels + mistakes, minlength=2 * classes).view(classes, 2)


def predict(network: nn.Module, inputs: Tensor) -> Tensor:
    """Return a network's outputs in evaluation mode, in the order of the inputs: shape (N, C)."""
    batch = max(1, min(4096, _NUMBERS_AT_ONCE // inputs[0].numel()))
    device = next(network.parameters()).device
    with evaluating(network):
        return torch.cat([network(part.to(device)) for part in inputs.split(batch)])


def check_halves(labels: Tensor, held_in: Tensor, classes: int) -> None:
    """Refuse halves of which one lacks a class: its twin would never have seen it.

    Args:
        labels: shape (N,), int64 in 0..C-1.
        held_in: whether the first twin learns an example, shape (N,), bool; the second one learns the others.
        classes: C.

    Raises:
        ValueError: ``class k is missing from one half``.
    """
    for half in (held_in, ~held_in):
        missing = (torch.bincount(labels[half], minlength=classes) == 0).nonzero().flatten()
        if len(missing):
            raise ValueError(
                f"class {int(missing[0])} is missing from one half; use stratified halves or more data"
            )


def train_twins(
    twins: Sequence[nn.Module],
    sets: Sequence[GroupedSet],
    seeds: Sequence[int],
    recipe: Recipe,
    *,
    draw: str = "whole",
    balanced: bool = True,
    flipping: bool = True,
    device: str | torch.device = "cpu",
) -> list[CrossRisk]:
    """Run Cross-Risk Minimization on several training sets of one size at once.

    Args:
        twins: 2 networks of one shape for each set, side by side.
        sets: P training sets of N examples.
        seeds: one for each set: of halves, batches and flips.
        recipe: how they are trained.
        draw: of the batches, see ``TensorBatches``.
        balanced: see :class:`LabelFlipping`, like the next.
        flipping: whether labels are flipped.
        device: where to compute.

    Returns:
        One for each set. A degenerate one (a class with one inferred group only) is warned of.

    Raises:
        ValueError: ``class k is missing from one half``; or sets of several sizes.
    """
    each = [seed for seed in seeds for _ in range(2)]
    batches = stacked_batches([one for one in sets for _ in range(2)], each, draw=draw, device=device)
    halves = []
    for one, seed in zip(sets, seeds, strict=True):
        held_in = torch.rand(len(one), generator=generator(seed, "twins")) < 0.5
        check_halves(one.labels, held_in, one.classes)
        halves += [held_in, ~held_in]
    in_halves = torch.stack(halves).to(device)
    labels = torch.stack([one.labels for one in sets for _ in range(2)]).to(device)
    objective = LabelFlipping(labels, in_halves, each, sets[0].classes, balanced=balanced, flipping=flipping)
    trained = train([twin.to(device) for twin in twins], batches, objective, recipe)
    trained.raise_failed()
    found = []
    for number, one in enumerate(sets):
        pair = trained.networks[2 * number], trained.networks[2 * number + 1]
        logits = torch.stack([predict(twin, one.inputs) for twin in pair]).float()
        held_out = held_out_of(logits, in_halves[2 * number : 2 * number + 2])[0].cpu()
        flipped = trained.states[2 * number]["labels"].cpu() != one.labels
        mistakes = cross_mistakes(list(logits.cpu()), one.labels)
        counts = _inferred_counts(mistakes, one.labels, one.classes)
        degenerate = bool((counts == 0).any())
        if degenerate:
            warnings.warn(
                f"Cross-Risk Minimization is degenerate at seed {seeds[number]}: a class has only one "
                f"inferred group (members by class and group: {counts.tolist()})",
                RuntimeWarning,
                stacklevel=2,
            )
        found.append(CrossRisk(HeldOut(one.ids, held_out), flipped, mistakes, pair, degenerate))
    return found


def stacked_batches(
    sets: Sequence[GroupedSet],
    seeds: Sequence[int],
    *,
    draw: str = "whole",
    device: str | torch.device = "cpu",
) -> TensorBatches:
    """Return batches in which each network has a set of its own; one set that all share is kept once,
    where it is.

    Raises:
        ValueError: sets of several sizes.
    """
    if len({tuple(one.inputs.shape) for one in sets}) > 1:
        sizes = sorted({len(one) for one in sets})
        raise ValueError(f"stacked networks need training sets of one shape; got {sizes} examples")
    labels = torch.stack([one.labels for one in sets]).to(device)
    shared = all(one is sets[0] for one in sets)
    inputs = sets[0].inputs if shared else torch.stack([one.inputs for one in sets]).to(device)
    return TensorBatches(inputs, labels, tuple(seeds), sets[0].classes, draw, own=not shared, to=device)


def k_fold_predictions(
    networks: Sequence[nn.Module],
    one: GroupedSet,
    recipe: Recipe,
    *,
    seed: int,
    draw: str = "whole",
    device: str | torch.device = "cpu",
) -> HeldOut:
    """Predict each training example by a network that was trained on the other folds.

    Args:
        networks: K networks of one shape, one a fold; K >= 2 and at most the number of examples.
        one: the training set.
        recipe: how they are trained, all at once.
        seed: of the folds and the batches.
        draw: see ``TensorBatches``.
        device: where to compute.

    Raises:
        ValueError: for fewer than 2 networks, or more than examples.
    """
    folds = len(networks)
    check_whole("folds", folds, 2)
    if folds > len(one):
        raise ValueError(f"{folds} folds of {len(one)} examples; allowed: at most one fold an example")
    order = torch.randperm(len(one), generator=generator(seed, "folds"))
    fold = torch.empty_like(order).scatter_(0, order, torch.arange(len(one)) % folds)
    inside = fold != torch.arange(folds)[:, None]  # (K, N)
    weights = inside * (len(one) / inside.sum(1, keepdim=True))
    batches = stacked_batches([one] * folds, [seed] * folds, draw=draw, device=device)
    trained = train(
        [n.to(device) for n in networks], batches, ExampleCrossEntropy(weights.to(device)), recipe
    )
    trained.raise_failed()
    logits = torch.stack([predict(network, one.inputs).cpu() for network in trained.networks])
    return HeldOut(one.ids, logits[fold, torch.arange(len(one))].float())
