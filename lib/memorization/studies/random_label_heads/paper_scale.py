"""Random-label heads at every block of a wide ResNet, at the size of the paper.

Of the experiments of Becker & Risse (2024) no setting could be read. The recipe here is that of
configurations which the group published with another paper (WRN-16-4 on CIFAR-100), and that the 2024 paper
uses the same is our inference; so are the places of the heads, after the first convolution and after each
block. What a head tells is read in the two ways that a log and a measure read it: as the mean over the
training batches of an epoch (training mode, augmented images, weights that move), and in evaluation mode on
the images themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memorization.checks import check_choice, check_whole
from memorization.data.augmentation.policies import Policy
from memorization.data.augmentation.small_images import FlipCutoutCrop
from memorization.data.image_sets import ImageSet
from memorization.data.labels import balanced_labels
from memorization.data.splits import MemorizedSplit, memorized_split
from memorization.draws import generator
from memorization.measures.accuracy import calibrated
from memorization.measures.random_labels import frozen_accuracy, random_label_accuracy
from memorization.models.heads import HeadedNetwork, TappedNetwork
from memorization.models.networks import evaluating, wide_resnet
from memorization.models.stacked import StackedNetwork
from memorization.runs.sweep import experiment
from memorization.training.batches import LabelledViews
from memorization.training.random_labels import HeadRecipe, RandomLabelLoss
from memorization.training.recipe import Recipe
from memorization.training.train import Trained, train

Row = dict[str, Any]
_BATCH = 1024  # images of a forward pass in evaluation mode
_NAN = float("nan")
# Mean and standard deviation of each channel, as those configurations have them; of other sets: measured.
_PUBLISHED = {"cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))}
_RECIPE: dict[str, Any] = {
    "batch": 256,
    "optimizer": "sgd",
    "learning_rate": 0.5,
    "momentum": 0.9,
    "weight_decay": 5e-4,  # on all parameters of the network; the heads are none of them
    "schedule": "ramped_cosine",
    "warmup": 1,
}


@experiment("random_label_wide")
def random_label_wide(
    *,
    dataset: str = "cifar100",
    n_train: int = 50_000,
    n_test: int = 10_000,
    side: int = 32,
    size: Sequence[int] = (16, 4),
    dropout: float = 0.0,
    smoothing: float = 0.1,
    augmented: bool = True,
    class_wise: bool = True,
    labels: int = 10,
    sites: Sequence[str] = (),
    mode: str = "probe",
    strength: float | None = None,
    acting: Sequence[str] = ("embedding",),
    regularizer: str = "bounded",
    head: Mapping[str, Any] | None = None,
    epochs: int = 200,
    recipe: Mapping[str, Any] | None = None,
    look_at: Sequence[int] = (),
    data_root: str | None = None,
    device: str = "cpu",
    checkpoints: str = "",
    seed: int,
) -> list[Row]:
    """Train one wide ResNet beside random-label heads at its sites, and read the heads.

    One network a call: it fills a GPU by itself, and a machine that is lent for minutes keeps each that ends.

    Args:
        dataset: name of a data set of ``IMAGE_SETS``; ``cifar10`` and ``cifar100`` are of the paper's kind.
        n_train: training images, drawn at random where they are not all.
        n_test: test images, likewise.
        side: side of the images in pixels, a divisor of the data set's own.
        size: depth and width of the network, see ``wide_resnet``: (16, 4), (28, 10).
        dropout: between the convolutions of a block, in [0, 1).
        smoothing: label smoothing of the class loss, spread over the other classes.
        augmented: flip, cutout and crop, see ``FlipCutoutCrop``.
        class_wise: a head for each class, or one shared head.
        labels: the number n of random labels, of each class or of all images.
        sites: of the network, with a head each; none: the first convolution, each block, and the embedding.
        mode: ``probe``, ``joint`` or ``unlearning``.
        strength: alpha in joint mode (None: 1), lambda as a multiple of n in unlearning mode.
        acting: the sites whose heads act on the network; those of the others look on.
        regularizer: in unlearning mode, see ``RandomLabelLoss``.
        head: what differs from the defaults of ``HeadRecipe``.
        epochs: passes over the images.
        recipe: what differs from the published recipe in ``Recipe``, such as ``precision`` and ``compiled``
            for a GPU.
        look_at: epochs after which the heads are read, beside the first and the last.
        data_root: folder of the data sets.
        device: where to compute.
        checkpoints: folder for checkpoints, to go on from after a loss; empty: none.
        seed: of weights, random labels, order, views and dropout.

    Returns:
        One row for each look and site: ``at`` (``start``, ``during`` or ``end``), ``epoch``, ``site``,
        ``depth``, ``dimension`` d of the features, and accuracies in [0, 1]: of the classes
        ``train_accuracy`` and ``test_accuracy`` in evaluation mode and ``batch_accuracy`` as the batches of
        the last epoch gave it; of the random labels ``online`` and ``batch_online`` likewise, ``held_out`` on
        test images with random labels, which nothing can learn, ``frozen`` and ``fresh`` of new heads on the
        trained and on other labels, ``null`` of new heads on d independent normal features; and ``loss``,
        what the network made small, in the last epoch. Before the first step batch norm is calibrated, heads
        are at zero, and there is no batch yet (NaN).

    Raises:
        ValueError, TypeError, KeyError: for values that do not fit, see the functions named above.
        FileNotFoundError: if the data set is absent.
        TrainingError: the loss became infinite or not a number.
    """
    check_whole("labels", labels, 2)
    plan = Recipe(**{**_RECIPE, "epochs": epochs, **(recipe or {})})
    split = _on(device, memorized_split(
        dataset, memorized=n_train, reference=n_train, test=n_test, side=side, root=data_root
    ))  # fmt: skip
    mean, std = _channels(split.memorized)
    heard = () if mode == "probe" else acting
    network = _tapped(split, size, sites, heard, seed, dropout=dropout, mean=mean, std=std).to(device)
    for name in acting:
        check_choice("acting site", name, network.widths)
    known, held_out = (
        _labels(images, labels, class_wise, seed, few)
        for images, few in ((split.memorized, False), (split.test, True))
    )
    given = 1.0 if strength is None and mode == "joint" else strength
    objective = RandomLabelLoss(
        network,
        known[None],
        labels,
        class_wise=class_wise,
        mode=mode,
        strength=None if given is None else dict.fromkeys(acting, given),
        regularizer=regularizer,
        smoothing=smoothing,
        head=HeadRecipe(**(head or {})),
    )
    policy = partial(Policy("flip, cutout, crop", FlipCutoutCrop(mean)), check=False) if augmented else None
    shown = LabelledViews(
        split.memorized.floats(), split.memorized.labels[None], (seed,), split.test.classes, policy=policy
    )
    what = [dataset, n_train, n_test, side, list(size), list(network.widths), dropout, list(acting), seed]
    reader = HeadReader(split, known, held_out, labels, class_wise, seed)
    devices = [split.memorized.images.device.index] if split.memorized.images.is_cuda else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(generator(seed, "dropout").initial_seed())
        done = train(
            StackedNetwork([network], "loop"),
            shown,
            objective,
            plan,
            watch=reader,
            watch_at=look_at,
            checkpoint=_file(checkpoints, what),
            checkpoint_every=5,
        )
    return _rows(done)


def _on(device: str, split: MemorizedSplit) -> MemorizedSplit:
    return MemorizedSplit(split.reference.to(device), split.test.to(device), split.n)


def _channels(images: ImageSet) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel: those published, or those of the training images."""
    if images.name in _PUBLISHED:
        return _PUBLISHED[images.name]
    pixels = images.floats()
    std, mean = torch.std_mean(pixels, (0, 2, 3), correction=0)
    return tuple(mean.tolist()), tuple(std.tolist())


def _tapped(
    split: MemorizedSplit,
    size: Sequence[int],
    sites: Sequence[str],
    acting: Sequence[str],
    seed: int,
    **options: Any,
) -> TappedNetwork:
    """The untrained network with its features at the sites, of which some act on it."""
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise ValueError(f"size={size!r}; allowed: depth and width of the network, such as (16, 4)")
    images = split.memorized
    network = wide_resnet(
        depth=size[0],
        width=size[1],
        channels=images.channels,
        classes=images.classes,
        generator=generator(seed, "weights"),
        **options,
    )
    usual = [site for site in network.sites if site != "logits"]
    return TappedNetwork(network, list(sites) or usual, images.floats(slice(2)).cpu(), acting)


def _labels(images: ImageSet, count: int, class_wise: bool, seed: int, few: bool) -> Tensor:
    """Random labels of images, (N,); of the test images others, and some may have no image."""
    ids = torch.arange(len(images), device=images.labels.device)
    own = generator(seed, "held-out labels").initial_seed() if few else seed
    return balanced_labels(ids, count, own, images.labels if class_wise else None, few=few)


def _file(folder: str, what: Sequence[Any]) -> Path | None:
    """A file for this training; the checkpoint itself knows what else must agree, and refuses the rest."""
    digest = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:12]
    return Path(folder) / f"wide-{digest}.pt" if folder else None


@dataclass(frozen=True)
class Answers:
    """What a network and its heads say of some images, in evaluation mode.

    Attributes:
        accuracy: of the classes.
        told: name of the site to accuracy of its heads on the random labels.
        features: name of the site to what its heads read, (N, d).
    """

    accuracy: float
    told: dict[str, float]
    features: dict[str, Tensor]


def answers(network: HeadedNetwork, images: ImageSet, labels: Tensor, class_wise: bool) -> Answers:
    """Ask a network and its heads about images, all sites in one pass.

    Args:
        network: with heads for one labelling.
        images: un-augmented, on the network's device.
        labels: random labels, shape (N,), int64.
        class_wise: whether each class has a head of its own.
    """
    right, told, features = 0.0, dict.fromkeys(network.tapped.widths, 0.0), []
    with evaluating(network):
        for start in range(0, len(images), _BATCH):
            part = slice(start, start + _BATCH)
            logits, seen = network.tapped.split(network.tapped(images.floats(part)))
            classes, wanted = images.labels[part], labels[part]
            right += float((logits.argmax(1) == classes).sum())
            for site, rows in seen.items():
                guessed = network.told(site, rows, classes if class_wise else None)[:, 0]
                told[site] += float(random_label_accuracy(guessed, wanted)) * len(wanted)
            features.append(seen)
    whole = {site: torch.cat([part[site] for part in features]) for site in told}
    return Answers(right / len(images), {site: hits / len(images) for site, hits in told.items()}, whole)


@dataclass(frozen=True)
class HeadReader:
    """Reads the heads of a network in training; called by the training loop.

    Attributes:
        split: training images (``memorized``) and test images, on the network's device.
        labels: random labels of the training images, shape (N,).
        held_out: those of the test images.
        count: the number n of random labels.
        class_wise: whether each class has a head of its own.
        seed: of fresh labels and of the null.
        nulls: length d of features to accuracy of new heads on as many normal numbers, as far as known.
    """

    split: MemorizedSplit
    labels: Tensor
    held_out: Tensor
    count: int
    class_wise: bool
    seed: int
    nulls: dict[int, float] = field(default_factory=dict)

    def __call__(self, epoch: int, member: int, network: Any) -> list[Row]:
        """Return one row for each site."""
        train, test = self.split.memorized, self.split.test
        if epoch == 0:
            network = calibrated(network, train.floats())
        here = answers(network, train, self.labels, self.class_wise)
        there = answers(network, test, self.held_out, self.class_wise)
        rows = []
        for depth, (site, features) in enumerate(here.features.items()):
            given, fresh = self._new_heads(features)
            rows.append({
                "site": site,
                "depth": depth,
                "dimension": features.shape[1],
                "train_accuracy": here.accuracy,
                "test_accuracy": there.accuracy,
                "online": here.told[site],
                "batch_online": network.batch_accuracy[site],
                "held_out": there.told[site],
                "frozen": given,
                "fresh": fresh,
                "null": self._null(features),
            })  # fmt: skip
        return rows

    def _new_heads(self, features: Tensor) -> tuple[float, float]:
        """Accuracies of new heads, on the labels of the training and on fresh ones."""
        source = generator(self.seed, "fresh labels")
        classes = self.split.memorized.labels if self.class_wise else None
        found = frozen_accuracy(features, self.labels[None], self.count, source, classes)
        return float(found.given), float(found.fresh)

    def _null(self, features: Tensor) -> float:
        """The same of features that mean nothing: the mean over both labellings."""
        width = features.shape[1]
        if width not in self.nulls:
            source = generator(self.seed, "null features", width)
            noise = torch.randn(features.shape, generator=source).to(features.device)
            self.nulls[width] = sum(self._new_heads(noise)) / 2
        return self.nulls[width]


def _rows(done: Trained) -> list[Row]:
    """Put the numbers of training beside those of the looks."""
    trained: Any = done.history.set_index("epoch")[["loss", "batch_accuracy"]].to_dict("index")
    nothing = {"loss": _NAN, "batch_accuracy": _NAN}
    rows = []
    for record in done.watched.to_dict("records"):
        row = {str(name): value for name, value in record.items() if name != "member"}
        epoch = int(row["epoch"])
        at = "start" if epoch == 0 else "end" if epoch == done.epochs[0] else "during"
        rows.append({"at": at, **row, **trained.get(epoch, nothing)})
    return rows
