"""The experiments on benign memorization: train networks on random labels and watch what they know, where.

Anagnostidis et al. (ICLR 2023). All arms of one seed start from the same weights, with the same images,
random labels and order of examples, so differences between arms are paired. The scales are the recipe of
the published code, and smaller ones for a processor. How the settings of the page must fit together is
asked before anything is trained, and without reading any data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from memorization.checks import check_choice, check_seeds, did_you_mean
from memorization.data.augmentation.mixing import cutmix, mixup
from memorization.data.augmentation.policies import augmentation
from memorization.data.image_sets import EXTENTS
from memorization.data.labels import class_groups, random_labels
from memorization.data.splits import MemorizedSplit, memorized_split, splits_of
from memorization.draws import generator
from memorization.measures.accuracy import (
    Policy,
    bank_accuracy,
    calibrated,
    class_scores,
    memorization_accuracies,
)
from memorization.measures.probes import knn_probe
from memorization.measures.sites import SiteProber, invariance
from memorization.models.networks import StagedNetwork, network
from memorization.runs.sweep import experiment
from memorization.training.batches import LabelledViews, Mix
from memorization.training.recipe import Recipe
from memorization.training.train import Trained, TrainingError, train

Row = dict[str, Any]
Point = dict[str, Any]
Settings = Mapping[str, Any]
_NAN = float("nan")
_BANK_VIEWS = 64  # of a larger bank the first ones are looked at
_INVARIANCE_IMAGES = 256


@experiment("memorize")
def memorize(
    *,
    dataset: str = "digits",
    memorized: int | None = None,
    reference: int | None = None,
    test: int | None = None,
    side: int | None = None,
    split: str = "fixed",
    architecture: str = "small_cnn",
    widths: Sequence[int] = (16, 32, 64),
    strides: Sequence[int] = (1, 2, 2),
    hidden: Sequence[int] = (1024,),
    policy: str = "small_digits",
    strength: float = 0.5,
    views: int = 0,
    view_labels: str = "shared",
    noise: float = 1.0,
    group: int = 1,
    mix: str = "none",
    objective: str = "mse",
    recipe: Mapping[str, Any] | None = None,
    probe_at: Sequence[int] = (),
    probe_strength: float = 0.5,
    k: int = 20,
    device: str = "cpu",
    checkpoints: str = "",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Train one network per seed, stacked, and probe every site before, during and after.

    Args:
        dataset: name of a data set of ``IMAGE_SETS``; its split is that of ``memorized_split``.
        memorized: N, images to memorize; None: that split's own number, as for the next three.
        reference: images that vote in the clean probe, with true labels; the memorized ones are among them.
        test: test images.
        side: side of the images in pixels.
        split: ``fixed``: memorized, reference and test images are the same for all seeds; ``seed``: each seed
            draws its own.
        architecture: a network of ``NETWORKS``.
        widths: channels (or neurons) of the encoder's blocks, for ``small_cnn`` and ``mlp``.
        strides: of the blocks of ``small_cnn``.
        hidden: widths of the projector's hidden layers; a ResNet takes one.
        policy: augmentation, a name that ``augmentation`` knows.
        strength: of the augmentation in training, >= 0; 0 shows the images as they are.
        views: number K of fixed views of an image; 0: a fresh view at each visit.
        view_labels: ``shared`` or ``independent`` (each of the K views has a label of its own).
        noise: fraction p of images with a random label, 0..1; 0 trains on the true labels.
        group: images of one class that share one random label, as if they were views of one image.
        mix: ``none``; ``mixup`` or ``cutmix`` with the label of the first image, as the authors ran them, or
            with mixed labels: ``mixup_mixed``, ``cutmix_mixed``.
        objective: ``mse`` or ``cross_entropy``.
        recipe: what differs from the defaults of ``Recipe``.
        probe_at: epochs after which to probe, beside the first and the last.
        probe_strength: strength of the policy at which the invariance is measured, the same for all arms.
        k: neighbors of the probes.
        device: where to compute.
        checkpoints: folder for checkpoints, to go on from after a loss; empty: none.
        seeds: of weights, labels, order and views, and of the split where each has its own; the networks are
            trained stacked.

    Returns:
        For each seed one row per probed epoch and site: ``at`` (``start``, ``during`` or ``end``), ``epoch``,
        ``site``, ``depth``, the probes and accuracies of ``Watcher``, and ``batch_accuracy`` and ``loss`` of
        that epoch of training (NaN at the start).

    Raises:
        ValueError, TypeError: for values that do not fit, see the functions named above; and for groups
            together with each seed's own split, whose classes fill different numbers of groups.
        FileNotFoundError: if the data set is absent.
    """
    seeds = check_seeds(seeds)
    _check_split(split, group)
    sizes: dict[str, Any] = {"memorized": memorized, "reference": reference, "test": test, "side": side}
    splits = splits_of(split, dataset, sizes, seeds, device)
    images, labels = _training_set(splits, noise, group, seeds)
    chosen = augmentation(policy)
    shown = LabelledViews(
        images,
        labels,
        seeds,
        splits[0].reference.classes,
        policy=partial(chosen, check=False) if strength > 0 else None,
        strength=torch.tensor([float(strength)]),
        bank=torch.tensor([views]),
        view_labels=view_labels,
        mix=mixer(mix),
    )
    shape = {"widths": widths, "strides": strides, "hidden": hidden}
    networks = [_network(architecture, splits[0], shape, seed).to(device) for seed in seeds]
    what = [*shape.values(), dataset, *sizes.values(), noise, group, *([] if split == "fixed" else [split])]
    file = _checkpoint(checkpoints, architecture, what)
    watcher = Watcher(splits, shown, chosen, probe_strength, k)
    given = Recipe(**(recipe or {}))
    done = train(networks, shown, objective, given, watch=watcher, watch_at=probe_at, checkpoint=file)
    return _rows(done, len(seeds))


def mixer(name: str) -> Mix | None:
    """Return how batches are mixed, by name; see :func:`memorize`.

    Raises:
        ValueError: for an unknown name.
    """
    check_choice("mix", name, ("none", *_MIXES))
    return _MIXES.get(name)


_MIXES: dict[str, Mix] = {
    f"{kind.__name__}{suffix}": partial(kind, targets=targets)
    for kind in (mixup, cutmix)
    for suffix, targets in (("", "first"), ("_mixed", "mixed"))
}


def _check_split(split: str, group: int) -> None:
    check_choice("split", split, ("fixed", "seed"))
    if split == "seed" and group > 1:
        raise ValueError(
            f"group={group} with split='seed': the classes of each seed's own images fill another number of "
            "groups, and stacked networks need as many images each; give split='fixed', or group=1"
        )


def _training_set(
    splits: Sequence[MemorizedSplit], noise: float, group: int, seeds: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The images, (N, c, height, width) of a fixed split or (M, N, ...), and each network's labels (M, N).

    Random labels are each network's own. With groups, each image of a class belongs to one of them and all of
    a group share its random label. In the paper an anchor shows one of its group at each visit: the same law
    of images and labels, in shorter epochs.
    """
    memorized = splits[0].memorized
    true, device, classes = memorized.labels.cpu(), memorized.images.device, memorized.classes
    sources = [generator(seed, "labels") for seed in seeds]
    if group > 1:
        groups = class_groups(true, None, group, generator(0, "groups"))
        labels = [random_labels(len(groups), classes, source) for source in sources]
        whole = torch.stack(labels).repeat_interleave(group, dim=1)
        return memorized.floats(groups.flatten().to(device)), whole.to(device)
    labels = [
        random_labels(len(true), classes, source, noise, one.memorized.labels.cpu())
        for one, source in zip(splits, sources, strict=True)
    ]
    shared = all(one is splits[0] for one in splits)
    images = memorized.floats() if shared else torch.stack([one.memorized.floats() for one in splits])
    return images, torch.stack(labels).to(device)


def _network(
    architecture: str, split: MemorizedSplit, shape: Mapping[str, Sequence[int]], seed: int
) -> StagedNetwork:
    """The untrained network of one seed."""
    images = split.reference
    given: dict[str, Any] = {name: tuple(sizes) for name, sizes in shape.items()}
    given |= {"classes": images.classes, "channels": images.channels}
    given["inputs"] = images.channels * images.side**2
    takes = {"mlp": ["inputs", "widths"], "small_cnn": ["channels", "widths", "strides"]}
    options = {name: given[name] for name in ["classes", "hidden", *takes.get(architecture, ["channels"])]}
    return network(architecture, generator=generator(seed, "weights"), **options)


def _checkpoint(folder: str, architecture: str, what: Sequence[Any]) -> Path | None:
    """A file for this training; the checkpoint itself knows what else must agree."""
    if not folder:
        return None
    digest = hashlib.sha256(json.dumps([architecture, *what]).encode()).hexdigest()[:12]
    return Path(folder) / f"{architecture}-{digest}.pt"


def _rows(done: Trained, networks: int) -> list[list[Row] | TrainingError]:
    """Put the numbers of training beside those of the probes, by network."""
    trained: Any = done.history.set_index(["member", "epoch"])[["loss", "batch_accuracy"]].to_dict("index")
    nothing = {"loss": _NAN, "batch_accuracy": _NAN}
    rows: list[list[Row]] = [[] for _ in range(networks)]
    for record in done.watched.to_dict("records"):
        row: Row = {str(name): value for name, value in record.items()}
        member, epoch = int(row.pop("member")), int(row["epoch"])
        at = "start" if epoch == 0 else "end" if epoch == done.epochs[member] else "during"
        rows[member].append({"at": at, **row, **trained.get((member, epoch), nothing)})
    return [done.failed.get(member) or own for member, own in enumerate(rows)]


@dataclass(frozen=True)
class Watcher:
    """Measures a network in training; called by the training loop as ``watch(epoch, member, network)``.

    Attributes:
        splits: memorized images, reference and test set of each network, on the networks' device.
        views: what the networks see.
        policy: the augmentation of fresh views and of the invariance.
        strength: of that policy, for the invariance; the same for all arms, so that they can be compared.
        k: neighbors of the probes.
    """

    splits: Sequence[MemorizedSplit]
    views: LabelledViews
    policy: Policy
    strength: float
    k: int

    def __call__(self, epoch: int, member: int, network: nn.Module) -> list[Row]:
        """Return one row per site; what belongs to the whole network stands in each.

        Before the first step (epoch 0) the network is measured with calibrated batch-norm statistics, and
        ``uncalibrated_probe`` is its clean probe without.
        """
        known, test = self.splits[member].reference, self.splits[member].test
        prober = SiteProber(known.floats(), known.labels, test.floats(), test.labels, self.k)
        sites = cast(StagedNetwork, network).sites
        raw = prober.probes(network, sites) if epoch == 0 else {}
        if epoch == 0:
            network = calibrated(network, self.splits[member].memorized.floats())
        whole = self._accuracies(network, member)
        some = prober.test[:_INVARIANCE_IMAGES]
        source = generator(self.views.seeds[member], "views for invariance")
        spread = invariance(network, some, self.policy, sites, source, strength=self.strength)
        probed = prober.probes(network, sites, self.views.images_of(member), self.views.labels[member])
        return [
            {
                "site": site,
                "depth": depth,
                "clean_probe": found["clean_probe"],
                "uncalibrated_probe": raw[site]["clean_probe"] if raw else _NAN,
                "noise_probe": found["noise_probe"],
                "invariance": spread[site],
                **whole,
            }
            for depth, (site, found) in enumerate(probed.items())
        ]

    def _accuracies(self, network: nn.Module, member: int) -> dict[str, float]:
        """The memorization accuracies kept apart, and the test accuracy of the network's own answers."""
        images, labels = self.views.images_of(member), self.views.labels[member]
        test = self.splits[member].test
        source = generator(self.views.seeds[member], "fresh views")
        strength = float(self.views.strength[member])
        found = memorization_accuracies(network, images, labels, self.policy, source, strength=strength)
        answers = class_scores(network, test.floats()).argmax(1)
        return {
            **found,
            "bank_view": self._bank(network, member),
            "test_accuracy": float((answers == test.labels).double().mean()),
        }

    def _bank(self, network: nn.Module, member: int) -> float:
        """Accuracy on the fixed views themselves, NaN where each visit shows a fresh one."""
        fixed = min(int(self.views.bank[member]), _BANK_VIEWS)
        if fixed == 0:
            return _NAN
        mine = self.views.take([member])
        examples = torch.arange(mine.examples, device=mine.images.device)[None]
        numbers = [torch.full_like(examples, k) for k in range(fixed)]
        bank = torch.stack([mine.show(examples, k)[0] for k in numbers], 1)
        labels = torch.stack([mine.label(examples, k)[0] for k in numbers], 1)
        return bank_accuracy(network, bank, labels)


@experiment("pixel_probe")
def pixel_probe(
    *,
    dataset: str = "digits",
    memorized: int | None = None,
    reference: int | None = None,
    test: int | None = None,
    side: int | None = None,
    k: int = 20,
    seed: int = 0,
) -> dict[str, float]:
    """Classify test images by their nearest neighbors in pixel space, divided by their norms.

    The protocol is that of the k-NN probe of Anagnostidis et al. (ICLR 2023), on the images themselves.

    Args:
        dataset: name of a data set of ``IMAGE_SETS``, split by ``memorized_split`` like the next four.
        memorized: images that are memorized.
        reference: images that vote.
        test: test images.
        side: side of the images in pixels.
        k: neighbors that vote.
        seed: not used: nothing is drawn.

    Returns:
        ``pixel_probe``: accuracy on the test images, in [0, 1].
    """
    split = memorized_split(dataset, memorized=memorized, reference=reference, test=test, side=side)
    rows, queries = (part.floats().flatten(1) for part in (split.reference, split.test))
    found = knn_probe(rows, split.reference.labels, queries, split.test.labels, k)
    return {"pixel_probe": found.accuracy}


@dataclass(frozen=True)
class Scale:
    """How large an experiment on one data set is.

    Attributes:
        common: arguments of ``memorize`` that all arms share, without the epochs.
        strength: of the augmentation in the standard arm.
        epochs: of the arms without augmentation, with it, and with true labels.
    """

    common: Mapping[str, Any]
    strength: float
    epochs: tuple[int, int, int]

    @property
    def arms(self) -> list[Point]:
        """The three core arms, each a mapping of arguments of ``memorize``."""
        recipe = self.common.get("recipe", {})
        arms = core_arms(self.strength, self.epochs, recipe)
        return [{**self.common, **arm} for arm in arms]


def core_arms(strength: float, epochs: Sequence[int], recipe: Mapping[str, Any]) -> list[Point]:
    """Return the three arms that everything is compared with.

    Args:
        strength: of the augmentation, > 0.
        epochs: of the arms without augmentation, with it, and with true labels (and augmentation).
        recipe: what else differs from the defaults of ``Recipe``.

    Returns:
        Three mappings: random labels without augmentation, random labels with it, true labels with it.
    """
    plain, augmented, true = ({**recipe, "epochs": count} for count in epochs)
    return [
        {"strength": 0.0, "recipe": plain},
        {"strength": strength, "recipe": augmented},
        {"strength": strength, "noise": 0.0, "recipe": true},
    ]


def longest_first(points: Sequence[Point]) -> list[Point]:
    """Sort points by their epochs, so that workers side by side finish at about the same time."""
    return sorted(points, key=lambda point: -point["recipe"]["epochs"])


def checkpoint_folders(root: Path) -> Callable[[Mapping[str, Any]], str]:
    """Return a function that gives each point a folder of its own under ``root``, for its checkpoints.

    The number of epochs does not count, so that a training can be prolonged from where it stands.
    """

    def folder(point: Mapping[str, Any]) -> str:
        recipe = {name: value for name, value in (point["recipe"] or {}).items() if name != "epochs"}
        text = json.dumps({**point, "recipe": recipe}, sort_keys=True)
        return str(root / hashlib.sha256(text.encode()).hexdigest()[:16])

    return folder


_SMALL = {"policy": "small_mnist", "widths": [16, 32, 64], "strides": [1, 2, 2], "hidden": [1024]}
_COLOR = {"policy": "small_color", "widths": [32, 64, 128], "hidden": [2048], "probe_strength": 1.0}
_PAPER = {
    "policy": "full",
    "hidden": [65_536],
    "probe_strength": 1.0,
    "recipe": {"batch": 256, "learning_rate": 3e-4, "precision": "bf16"},
}
SCALES: dict[str, Scale] = {
    "digits": Scale({"dataset": "digits"}, 0.5, (300, 800, 200)),
    "mnist": Scale({"dataset": "mnist", **_SMALL}, 0.5, (200, 600, 150)),
    "fashion_mnist": Scale(
        {"dataset": "fashion_mnist", **_SMALL, "policy": "small_fashion"}, 0.5, (200, 600, 150)
    ),
    "cifar10": Scale({"dataset": "cifar10", **_COLOR, "strides": [2, 1, 2]}, 1.0, (100, 300, 150)),
    "cifar10_32": Scale(
        {"dataset": "cifar10", "side": 32, **_COLOR, "strides": [2, 2, 2]}, 1.0, (100, 300, 150)
    ),
    "cifar10_paper": Scale(
        {"dataset": "cifar10", "side": 32, "memorized": 50_000, "reference": 50_000, "test": 10_000}
        | {"architecture": "resnet18_small", **_PAPER},
        1.0,
        (10_000, 10_000, 10_000),
    ),
    "cifar100_paper": Scale(
        {"dataset": "cifar100", "architecture": "resnet18_small", **_PAPER}, 1.0, (10_000, 10_000, 10_000)
    ),
    "tiny_imagenet_paper": Scale(
        {"dataset": "tiny_imagenet", "architecture": "resnet18_medium", **_PAPER},
        1.0,
        (10_000, 10_000, 10_000),
    ),
}


def scale(name: str) -> Scale:
    """Return a scale by name.

    Raises:
        ValueError: for an unknown name, with those there are.
    """
    check_choice("scale", name, SCALES)
    return SCALES[name]


def check_relations(settings: Settings) -> None:
    """Refuse settings of which each is allowed, and that do not fit together.

    Args:
        settings: the page's parameters by name: ``dataset``, ``memorized``, ``reference``, ``n_test``,
            ``side``, ``architecture``, ``widths``, ``strides``, ``policy``, ``batch``, ``k`` and ``scales``.

    Raises:
        ValueError: lists everything that does not fit, all at once, with what is allowed.
    """
    problems = [*_of_the_data(settings), *_of_the_training(settings)]
    if problems:
        raise ValueError("\n".join(problems))


def _of_the_data(settings: Settings) -> Iterator[str]:
    """Sizes against those of the data set."""
    name, extent = settings["dataset"], EXTENTS[settings["dataset"]]
    memorized, reference = settings["memorized"], settings["reference"]
    one_set = extent.test == 0  # the test images are then what the reference set leaves
    most = extent.train - one_set
    if reference > most:
        last = ", one of them for the test" if one_set else " to train on"
        yield f"reference = {reference}; allowed: 1..{most} ({name} has {extent.train} images{last})."
    if memorized > min(reference, most):
        yield (
            f"memorized = {memorized}; allowed: 1..{min(reference, most)} (the memorized images are among "
            f"the reference ones, reference = {reference}: give a larger one, too)."
        )
    tests = extent.train - reference if one_set else extent.test
    if settings["n_test"] > tests > 0:
        rest = f"that is left of {extent.train} images" if one_set else "of its test half"
        yield f"n_test = {settings['n_test']}; allowed: 1..{tests} ({name}, all {rest})."
    if extent.side % settings["side"]:
        sides = [side for side in range(1, extent.side + 1) if extent.side % side == 0]
        yield f"side = {settings['side']}; allowed: {sides}, which divide the {extent.side} pixels of {name}."
    if augmentation(settings["policy"]).plan.colors and extent.channels == 1:
        yield (
            f"policy = {settings['policy']!r} changes colors, and {name} is gray; allowed: small_digits, "
            "small_mnist, small_fashion, isometry."
        )


def _of_the_training(settings: Settings) -> Iterator[str]:
    """Sizes against each other, and names of scales."""
    memorized, reference = settings["memorized"], settings["reference"]
    most = min(memorized - 1, reference)
    if settings["k"] > most:
        yield (
            f"k = {settings['k']}; allowed: 1..{most} (k neighbors are sought among reference = {reference} "
            f"images, and by the noise probe among the memorized = {memorized} without the image itself)."
        )
    if settings["batch"] > memorized:
        yield (
            f"batch = {settings['batch']}; allowed: 2..{memorized} (a step takes one whole batch of "
            f"the memorized = {memorized} images)."
        )
    widths, strides = settings["widths"], settings["strides"]
    if settings["architecture"] == "small_cnn" and len(widths) != len(strides):
        yield f"strides = {strides}; allowed: {len(widths)} numbers, one for each of widths = {widths}."
    for name in settings["scales"]:
        if name not in SCALES:
            yield f"scales holds {name!r}{did_you_mean(name, SCALES)}; allowed: {', '.join(SCALES)}."
