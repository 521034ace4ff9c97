"""One training of networks with random-label heads, read in every way that the page needs, and its control.

Becker & Risse (2024) and the follow-up (Becker et al., ICLR 2026). Of the 2024 paper no setting was at hand:
networks, data and numbers are of a size for a laptop, and what is compared are directions. All seeds are one
stack; the same seeds have the same first weights, random labels and batches under every condition, so that
differences are paired.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_choice, check_finite, check_seeds, check_whole
from memorization.data.labels import balanced_labels, label_digest, random_labels
from memorization.data.splits import splits_of
from memorization.draws import Draws, generator
from memorization.measures.probes import linear_probe
from memorization.measures.random_labels import (
    FROZEN_HEAD,
    ConstantFeatureWarning,
    chance_corrected,
    frozen_accuracy,
    random_label_accuracy,
)
from memorization.models.heads import HeadedNetwork, TappedNetwork
from memorization.models.layers import check_share
from memorization.runs.sweep import experiment
from memorization.studies.random_label_heads.networks import make_network, sites_of
from memorization.training.batches import LabelledViews
from memorization.training.random_labels import MODES, HeadRecipe, RandomLabelLoss
from memorization.training.recipe import PerNetwork, Recipe
from memorization.training.train import Trained, TrainingError, train

Row = dict[str, Any]
NAN = float("nan")
_DIGITS = 1400  # training images of the digits; the other 397 are the test, however many are trained on


@dataclass(frozen=True)
class HeadedTask:
    """Images, classes and random labels of M networks, and the networks before training.

    Attributes:
        images: for training, (N, c, side, side), or (M, N, c, side, side), each network's own.
        true: their classes, shape (M, N).
        given: classes that are trained with, some of them wrong, shape (M, N).
        labels: random labels, shape (M, N), in 0..n-1.
        test: test images of each network, (T, c, side, side) each.
        test_true: their classes, (T,) each.
        test_labels: random labels that no training sees, (T,) each.
        networks: with their features at the sites.
        depths: name of the site to depth.
        count: n, the number of random labels.
        class_wise: whether there is a head for each class.
        seeds: of the networks.
    """

    images: Tensor
    true: Tensor
    given: Tensor
    labels: Tensor
    test: Sequence[Tensor]
    test_true: Sequence[Tensor]
    test_labels: Sequence[Tensor]
    networks: Sequence[TappedNetwork]
    depths: Mapping[str, int]
    count: int
    class_wise: bool
    seeds: tuple[int, ...]

    @property
    def classes(self) -> int:
        """The number C of classes."""
        return self.networks[0].classes

    def images_of(self, member: int) -> Tensor:
        """Return the training images of one network."""
        return self.images[member] if self.images.ndim == 5 else self.images

    def heads_of(self, classes: Tensor) -> Tensor | None:
        """Return whose head reads each example: its class's, or None, the one head."""
        return classes if self.class_wise else None


@experiment("random_label_heads")
def random_label_heads(
    *,
    dataset: str = "digits",
    network: str = "mlp",
    widths: Sequence[int] = (64, 64, 24),
    class_wise: bool = True,
    count: int = 14,
    sites: str = "last",
    mode: str = "probe",
    strength: float = 0.0,
    regularizer: str = "bounded",
    acting: str = "last",
    late: float = 0.0,
    trained: bool = True,
    head_rate: float = 0.5,
    head_steps: int = 1,
    head_decay: float = 0.0,
    label_noise: float = 0.0,
    weight_decay: float = 0.0,
    dropout: float = 0.0,
    smoothing: float = 0.0,
    shift: int = 0,
    epochs: int = 60,
    batch: int = 128,
    rate: float = 0.1,
    n_train: int = 1400,
    n_test: int | None = None,
    split: str = "seed",
    watch_at: Sequence[int] = (),
    frozen_steps: int = 300,
    data_root: str | None = None,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Train networks on their classes beside random-label heads, all seeds in one stack, and read the heads.

    SGD with momentum 0.9 and a cosine after a linear ramp over 2 % of the steps, for trunk and heads alike;
    weight decay on weights of the trunk and class head alone, label smoothing on the class loss alone.
    Everything is measured in evaluation mode, on images without augmentation.

    Args:
        dataset: of ``IMAGE_SETS``; split as by ``memorized_split``, of the digits 1,400 are for training.
        network: ``mlp`` or ``small_cnn``.
        widths: of its hidden layers.
        class_wise: a head for each class (the 2024 version, as a summary has it), or one for all.
        count: the number n of random labels, >= 2; of each class for class-wise heads.
        sites: where heads read: ``last`` (what the class head reads), ``hidden`` (every hidden layer) or
            ``all`` (these and the pixels).
        mode: ``probe``, ``joint`` or ``unlearning``, see ``training.random_labels``.
        strength: alpha of the joint mode, or lambda of unlearning, as the papers count it; 0 in probe mode.
        regularizer: of unlearning: ``bounded``, ``reversal``, ``confusion`` or ``literal``.
        acting: sites at which the trunk hears of the heads: ``last`` or ``hidden``.
        late: share of the steps before it does, in [0, 1).
        trained: whether the trunk and the class head learn; the random-label heads do in any case.
        head_rate: learning rate of the random-label heads.
        head_steps: their steps for each one of the trunk.
        head_decay: their weight decay.
        label_noise: share of examples whose class is drawn at random, in [0, 1].
        weight_decay: >= 0.
        dropout: share of each hidden layer's numbers that is lost in training, in [0, 1).
        smoothing: of the classes, in [0, 1).
        shift: largest random shift in pixels, zeros come in.
        epochs: >= 1.
        batch: examples a step; the incomplete last batch of an epoch is dropped.
        rate: learning rate of trunk and class head.
        n_train: images to train on.
        n_test: test images; None: the data set's usual number (397 of the digits).
        split: ``seed``: each seed has images of its own; ``fixed``: the same for all.
        watch_at: epochs after which everything is read, too.
        frozen_steps: of new heads on frozen features; 0: there are none.
        data_root: folder of the data sets.
        device: where to compute.
        seeds: of everything that is drawn.

    Returns:
        For each seed one row for each look and site (an error for one that failed): ``epoch``, ``site``,
        ``depth`` (0 the pixels), ``width`` d; accuracies on the classes ``train`` (as given), ``train_true``,
        ``wrong_fitted`` (of wrong ones, NaN without any), ``test``, and ``class_loss``; accuracies of random
        labels ``online`` (heads trained along), ``held_out`` (the same on test images with random labels,
        which is chance), ``frozen`` (new heads, the same labels), ``fresh`` (new heads, new labels), each
        with its chance-corrected ``..._rho``; ``class_probe``, a linear probe of the classes on test images;
        ``leverage``, d over the examples of a head; ``dead``, the share of features that never change;
        ``label_digest``, a number that names the labels.
    """
    seeds = check_seeds(seeds)
    check_whole("shift", shift)
    check_whole("frozen_steps", frozen_steps)
    check_finite("strength", strength)
    check_share("late", late)
    check_choice("mode", mode, MODES)
    if mode == "unlearning" and strength == 0:
        raise ValueError(f"strength={strength} with mode='unlearning'; allowed: > 0, or mode='probe'")
    check_looks(watch_at, epochs)
    check_choice("acting", acting, ("last", "hidden"))
    if acting == "hidden" and sites == "last":
        raise ValueError("acting='hidden' needs heads at every hidden layer: give sites='hidden' or 'all'")
    task = headed_task(
        seeds, dataset=dataset, network=network, widths=widths, class_wise=class_wise, count=count,
        sites=sites, label_noise=label_noise, dropout=dropout, n_train=n_train, n_test=n_test, split=split,
        data_root=data_root, device=device, probe=mode == "probe",
    )  # fmt: skip
    recipe = page_recipe(
        epochs, batch, rate if trained else [0.0], n_train, weight_decay=weight_decay if trained else 0.0
    )
    head = HeadRecipe(learning_rate=head_rate, weight_decay=head_decay, steps=head_steps)
    objective = RandomLabelLoss(
        task.networks[0], task.labels, count, class_wise=class_wise, mode=mode,
        strength=_strengths(task, mode, strength, regularizer, acting), regularizer=regularizer,
        smoothing=smoothing, head=head, begin=round(late * epochs * (n_train // batch)),
    )  # fmt: skip
    views = LabelledViews(task.images, task.given, seeds, task.classes)
    if shift:
        views = replace(views, policy=random_shift, strength=torch.full((len(seeds),), float(shift)))
    looks: dict[int, dict[int, HeadedNetwork]] = {epoch: {} for epoch in sorted({*watch_at, epochs})}

    def watch(epoch: int, member: int, seen: nn.Module) -> list[Row]:
        if epoch in looks:
            looks[epoch][member] = seen  # type: ignore[assignment]
        return []

    result = train(task.networks, views, objective, recipe, watch=watch, watch_at=watch_at)
    digests = _digests(task, result)
    rows: dict[int, list[Row]] = {member: [] for member in range(len(seeds))}
    for epoch, seen in looks.items():
        for member, found in readings(task, seen, frozen_steps).items():
            rows[member] += [{"epoch": epoch, **row, "label_digest": digests[member]} for row in found]
    return [result.failed.get(member, rows[member]) for member in rows]


def headed_task(
    seeds: Sequence[int],
    *,
    dataset: str,
    network: str,
    widths: Sequence[int],
    class_wise: bool,
    count: int,
    sites: str,
    label_noise: float,
    dropout: float,
    n_train: int,
    n_test: int | None,
    split: str,
    data_root: str | None,
    device: str,
    probe: bool = False,
) -> HeadedTask:
    """Draw what :func:`random_label_heads` trains, with its arguments; heads of a probe only look on."""
    check_choice("split", split, ("fixed", "seed"))
    check_whole("n_train", n_train, 1)
    reference = max(_DIGITS, n_train) if dataset == "digits" else None
    sizes = {"memorized": n_train, "reference": reference, "test": n_test, "root": data_root}
    splits = splits_of(split, dataset, sizes, seeds, device)
    images = [one.memorized.floats() for one in splits]
    classes, true = splits[0].reference.classes, torch.stack([one.memorized.labels for one in splits])
    given, labels, held_out, ids = [], [], [], torch.arange(n_train)
    for seed, one, right in zip(seeds, splits, true, strict=True):
        wrong = random_labels(n_train, classes, generator(seed, "label noise"), label_noise, right)
        given.append(wrong if label_noise else right)
        labels.append(balanced_labels(ids, count, seed, given[-1] if class_wise else None))
        wanted = one.test.labels if class_wise else None
        numbers = torch.arange(n_train, n_train + len(one.test))
        held_out.append(balanced_labels(numbers, count, seed, wanted, few=True).to(device))
    made = [
        make_network(network, pictures, widths, classes, dropout=dropout, seed=seed)
        for pictures, seed in zip(images, seeds, strict=True)
    ]
    depths = sites_of(made[0], sites)
    acting = () if probe else None
    tapped = [TappedNetwork(one, list(depths), images[0][:2], acting) for one in made]
    return HeadedTask(
        images[0] if split == "fixed" else torch.stack(images), true, torch.stack(given),
        torch.stack(labels).to(device), [one.test.floats() for one in splits],
        [one.test.labels for one in splits], held_out, tapped, depths, count, class_wise, tuple(seeds),
    )  # fmt: skip


def check_looks(watch_at: Sequence[int], epochs: int) -> None:
    """Refuse epochs to look at that a training does not have."""
    for epoch in watch_at:
        check_whole("watch_at", epoch)
        if epoch > epochs:
            raise ValueError(f"watch_at={list(watch_at)} with {epochs} epochs; allowed: 0..{epochs}")


def page_recipe(
    epochs: int, batch: int, rate: PerNetwork, examples: int, *, weight_decay: float = 0.0
) -> Recipe:
    """Return how the page trains: see :func:`random_label_heads`, with its arguments.

    Raises:
        ValueError: for numbers out of range.
    """
    check_whole("epochs", epochs, 1)
    check_whole("batch", batch, 1)
    return Recipe(
        epochs=epochs, batch=batch, optimizer="sgd", learning_rate=rate, weight_decay=weight_decay,
        decay_on="weights", schedule="cosine", warmup_steps=round(0.02 * epochs * (examples // batch)),
    )  # fmt: skip


def _strengths(
    task: HeadedTask, mode: str, strength: float, regularizer: str, acting: str
) -> dict[str, float] | None:
    """The strength at each acting site; of bounded losses lambda / n, which is how the objective counts."""
    if mode == "probe" and not strength:
        return None
    scale = task.count if mode == "unlearning" and regularizer in ("bounded", "literal") else 1
    deepest = max(task.depths.values())
    heard = [
        site for site, depth in task.depths.items() if depth == deepest or (acting == "hidden" and depth)
    ]
    return dict.fromkeys(heard, strength / scale)


def random_shift(images: Tensor, draws: Draws, strength: Tensor) -> Tensor:
    """Move images by whole pixels; zeros come in.

    Args:
        images: shape (B, c, side, side).
        draws: of the B views.
        strength: largest shift per axis in pixels, shape (B,); shifts are uniform on -s..s.

    Returns:
        Shape (B, c, side, side).
    """
    side, most = images.shape[-1], strength.long()[:, None]
    offsets = draws.integers(2 * most + 1, 2) - most  # (B, 2)
    places = torch.arange(side, device=images.device) - offsets[..., None]  # (B, 2, side): where pixels were
    inside = ((places >= 0) & (places < side)).to(images.dtype)
    rows, columns = places.clamp(0, side - 1)[:, :, None].unbind(1)  # (B, 1, side)
    moved = images.gather(2, rows[..., None].expand_as(images))
    moved = moved.gather(3, columns[:, :, None].expand_as(images))
    return moved * (inside[:, 0, :, None] * inside[:, 1, None, :])[:, None]


def _digests(task: HeadedTask, result: Trained) -> dict[int, int]:
    """A number for the labels of each network, if they are at the end of the training what they were."""
    ids = torch.arange(task.labels.shape[1])
    found = {}
    for member, state in result.states.items():
        digest = label_digest(ids, state["labels"][0])
        if digest != label_digest(ids, task.labels[member]):
            raise RuntimeError(
                f"random labels must stay fixed; those of network {member} changed in training"
            )
        found[member] = int(digest[:12], 16)  # 48 bits, which a table of float64 keeps
    return found


# ---- reading


@torch.no_grad()
def readings(
    task: HeadedTask, networks: Mapping[int, HeadedNetwork], frozen_steps: int
) -> dict[int, list[Row]]:
    """Read trained networks, in evaluation mode: the rows of :func:`random_label_heads` by network.

    Args:
        task: what they were trained on.
        networks: number of the network to the network with its heads.
        frozen_steps: of new heads on the frozen features; 0: there are none.
    """
    rows: dict[int, list[Row]] = {}
    seen: dict[str, list[Tensor]] = {site: [] for site in task.depths}
    for member, network in networks.items():
        part = _Part(task, member, network)
        common = part.class_accuracies()
        rows[member] = [{**part.at(site), **common} for site in task.depths]
        for site, features in part.features.items():
            seen[site].append(features)
    for place, site in enumerate(task.depths):
        found = _frozen(task, list(networks), seen[site], frozen_steps)
        for member, extra in zip(networks, found, strict=True):
            row = rows[member][place]
            row |= extra
            row |= {
                f"{name}_rho": _corrected(row[name], task.count)
                for name in ("online", "held_out", "frozen", "fresh")
            }
    return rows


class _Part:
    """What one network says of its training and its test images."""

    def __init__(self, task: HeadedTask, member: int, network: HeadedNetwork) -> None:
        self.task, self.member, self.network = task, member, network
        self.logits, self.features = network.tapped.split(network.tapped(task.images_of(member)))
        self.test_logits, self.test_features = network.tapped.split(network.tapped(task.test[member]))

    def class_accuracies(self) -> Row:
        """What the class head gets right."""
        given, true = self.task.given[self.member], self.task.true[self.member]
        said, wrong = self.logits.argmax(1), given != true
        return {
            "train": share_of(said == given),
            "train_true": share_of(said == true),
            "wrong_fitted": share_of((said == given)[wrong]),
            "test": share_of(self.test_logits.argmax(1) == self.task.test_true[self.member]),
            "class_loss": float(F.cross_entropy(self.logits, given)),
        }

    def at(self, site: str) -> Row:
        """What the heads at a site get right, and a probe of the classes."""
        task, m = self.task, self.member
        features, width = self.features[site], self.features[site].shape[1]
        online = self._online(site, features, task.given[m], task.labels[m])
        held_out = self._online(site, self.test_features[site], task.test_true[m], task.test_labels[m])
        probe = NAN
        if bool(features.isfinite().all()):
            probe = linear_probe(features, task.true[m], self.test_features[site], task.test_true[m]).accuracy
        heads = task.classes if task.class_wise else 1
        return {
            "site": site, "depth": task.depths[site], "width": width, "online": online, "held_out": held_out,
            "class_probe": probe, "leverage": width * heads / len(features),
            "dead": share_of(features.amax(0) == features.amin(0)),
        }  # fmt: skip

    def _online(self, site: str, features: Tensor, classes: Tensor, labels: Tensor) -> float:
        logits = self.network.told(site, features, self.task.heads_of(classes))[:, 0]
        return float(random_label_accuracy(logits, labels)) if bool(logits.isfinite().all()) else NAN


def _frozen(
    task: HeadedTask, members: Sequence[int], features: Sequence[Tensor], steps: int
) -> list[dict[str, float]]:
    """Accuracies of new heads of all networks, in one product; NaN for features that are not finite."""
    found = [{"frozen": NAN, "fresh": NAN} for _ in members]
    fit = [k for k, rows in enumerate(features) if bool(rows.isfinite().all())]
    if not steps or not fit:
        return found
    rows = [members[k] for k in fit]
    sources = [generator(task.seeds[m], "fresh labels") for m in rows]
    with warnings.catch_warnings():  # dead features are told in the rows
        warnings.simplefilter("ignore", ConstantFeatureWarning)
        measured = frozen_accuracy(
            torch.stack([features[k] for k in fit]), task.labels[rows][:, None], task.count, sources,
            task.heads_of(task.given[rows]), replace(FROZEN_HEAD, steps=steps),
        )  # fmt: skip
    for place, k in enumerate(fit):
        found[k] = {"frozen": float(measured.given[place, 0]), "fresh": float(measured.fresh[place, 0])}
    return found


def share_of(right: Tensor) -> float:
    """Return the share of the examples that are right, NaN without any."""
    return float(right.double().mean()) if len(right) else NAN


def _corrected(accuracy: float, count: int) -> float:
    return chance_corrected(accuracy, count) if accuracy == accuracy else NAN


# ---- a control: probes disturb nothing


@experiment("probe_disturbance")
def probe_disturbance(
    *,
    dataset: str = "digits",
    network: str = "mlp",
    widths: Sequence[int] = (64, 64, 24),
    count: int = 14,
    epochs: int = 5,
    batch: int = 128,
    rate: float = 0.1,
    n_train: int = 1400,
    data_root: str | None = None,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row]]:
    """Train the same networks without heads, with probes and with heads that they serve; compare the weights.

    Args:
        dataset: as in :func:`random_label_heads`, like all that follow.
        network: likewise.
        widths: likewise.
        count: likewise.
        epochs: likewise.
        batch: likewise.
        rate: likewise.
        n_train: likewise.
        data_root: likewise.
        device: likewise.
        seeds: likewise.

    Returns:
        For each seed one row for each ``heads``: ``one probe`` (at the last hidden layer), ``all probes`` (at
        every hidden layer) and ``joint`` (one, which the trunk serves): ``difference``, the largest
        difference of a number of the network, running statistics included, from the one that was trained
        without heads, and ``changed``, the share of numbers that differ.
    """
    seeds = check_seeds(seeds)
    drawn: dict[str, Any] = {
        "dataset": dataset, "network": network, "widths": widths, "class_wise": True, "count": count,
        "label_noise": 0.0, "dropout": 0.0, "n_train": n_train, "n_test": None, "split": "seed",
        "data_root": data_root, "device": device,
    }  # fmt: skip
    recipe = Recipe(epochs=epochs, batch=batch, optimizer="sgd", learning_rate=rate, schedule="cosine")
    arms = {"one probe": ("last", "probe"), "all probes": ("hidden", "probe"), "joint": ("last", "joint")}
    tasks = {
        arm: headed_task(seeds, sites=sites, probe=mode == "probe", **drawn)
        for arm, (sites, mode) in arms.items()
    }
    first = tasks["one probe"]
    views = LabelledViews(first.images, first.given, seeds, first.classes)
    alone = train([one.network for one in first.networks], views, "cross_entropy", recipe).networks
    rows: list[list[Row]] = [[] for _ in seeds]
    for arm, task in tasks.items():
        objective = RandomLabelLoss(task.networks[0], task.labels, count, mode=arms[arm][1])
        beside = train(task.networks, views, objective, recipe).networks
        for found, one, other in zip(rows, alone, beside, strict=True):
            pairs = zip(one.state_dict().values(), other.network.state_dict().values(), strict=True)
            gaps = torch.cat([(a.double() - b.double()).abs().flatten() for a, b in pairs])
            found.append({"heads": arm, "difference": float(gaps.max()), "changed": share_of(gaps > 0)})
    return rows
