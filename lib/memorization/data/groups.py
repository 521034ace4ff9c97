"""Examples in groups: a label, and an attribute that goes with it in training and need not elsewhere.

A group is a pair of label and attribute (Sagawa et al., ICLR 2020): a waterbird on land, a digit in the color
of the other class. Here are the sets of which nothing needs to be fetched but MNIST or Fashion-MNIST: digits
in two colors, digits on a background that tells the label most of the time, and the ColorMNIST of the XRM
repository (Pezeshki et al., ICML 2024) with its variants. The published benchmarks are read by
``data.group_benchmarks``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from memorization.checks import check_choice, check_finite, check_tensor, check_whole
from memorization.data.image_sets import load_images
from memorization.draws import generator


@dataclass(frozen=True)
class GroupedSet:
    """Labelled examples with an attribute each.

    Attributes:
        inputs: shape (N, ...): what a network takes.
        labels: shape (N,), int64 in 0..C-1.
        attributes: shape (N,), int64 in 0..A-1.
        ids: shape (N,), int64, each once: what held-out predictions and scores of examples are joined by.
        classes: the number C of classes, >= 2.
        values: the number A of values that the attribute can have, >= 1.
        name: name of the data set.

    Raises:
        TypeError: for what is no tensor.
        ValueError: labels or attributes that are outside their range or not one for each example, an id that
            is there twice, or no example.
    """

    inputs: Tensor
    labels: Tensor
    attributes: Tensor
    ids: Tensor
    classes: int
    values: int
    name: str

    def __post_init__(self) -> None:
        """Refuse columns that do not fit each other."""
        check_whole("classes", self.classes, 2)
        check_whole("values", self.values, 1)
        check_tensor("inputs", self.inputs)
        for column, count in (("labels", self.classes), ("attributes", self.values), ("ids", 0)):
            check_one_each(f"{self.name}: {column}", getattr(self, column), len(self.inputs), count)
        if len(self.ids.unique()) < len(self.ids):
            values, counts = self.ids.unique(return_counts=True)
            raise ValueError(f"{self.name}: id {int(values[counts > 1][0])} is there twice; give each once")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def groups(self) -> Tensor:
        """Number of each example's group, ``A * label + attribute``: shape (N,), int64 in 0..C*A-1."""
        return self.values * self.labels + self.attributes

    @property
    def counts(self) -> Tensor:
        """Examples of each group: shape (C*A,), int64."""
        return torch.bincount(self.groups, minlength=self.classes * self.values)

    def take(self, indices: Tensor) -> GroupedSet:
        """Return the examples at ``indices`` (shape (B,), int64) as a set of their own, with their ids."""
        columns = {name: getattr(self, name)[indices] for name in ("inputs", "labels", "attributes", "ids")}
        return replace(self, **columns)


class GroupedSplits(NamedTuple):
    """The three parts of a grouped data set."""

    train: GroupedSet
    validation: GroupedSet
    test: GroupedSet


def check_one_each(name: str, column: Tensor, rows: int, count: int) -> None:
    """Refuse a column that is not one int64 number for each example, in 0..count-1 where there is a count."""
    check_tensor(name, column)
    if column.dtype != torch.int64 or tuple(column.shape) != (rows,) or rows == 0:
        raise ValueError(
            f"{name} are {column.dtype} of shape {tuple(column.shape)} for {rows} examples; allowed: int64, "
            "one for each example, of which there is at least one"
        )
    if count and not 0 <= int(column.min()) <= int(column.max()) < count:
        raise ValueError(
            f"{name} lie in {int(column.min())}..{int(column.max())}; allowed: whole numbers in "
            f"0..{count - 1}"
        )


def check_groups_present(groups: Tensor, count: int, what: str = "training") -> None:
    """Refuse a set in which a group has no member: no weight or loss of it could be computed.

    Args:
        groups: number of each example's group, shape (N,), int64.
        count: how many groups there are.
        what: what to call the set.

    Raises:
        ValueError: naming the first group without a member.
    """
    members = torch.bincount(groups, minlength=count)
    if bool((members == 0).any()):
        empty = int((members == 0).nonzero()[0])
        raise ValueError(
            f"group {empty} of {count} has no member in the {what} set (members: {members.tolist()}); merge "
            "groups, or give more data"
        )


def minority_attributes(labels: Tensor, fraction: float, source: torch.Generator) -> Tensor:
    """Give each example of two classes the attribute of its class, but for a few of each class.

    Args:
        labels: shape (N,), int64, 0 or 1.
        fraction: of each class that gets the other attribute, in (0, 1); at least two examples do.
        source: CPU generator of the choice.

    Returns:
        Attributes 0 or 1, shape (N,), int64.

    Raises:
        ValueError: a fraction outside (0, 1), or a class with fewer than 3 examples.
    """
    check_finite("minority", fraction)
    if not 0 < fraction < 1:
        raise ValueError(f"minority={fraction}; allowed: a fraction in (0, 1)")
    attributes = labels.clone()
    for label in (0, 1):
        members = (labels == label).nonzero().flatten()
        if len(members) < 3:
            raise ValueError(
                f"class {label} has {len(members)} examples; 3 or more are needed for a minority"
            )
        chosen = torch.randperm(len(members), generator=source)[: max(2, round(fraction * len(members)))]
        attributes[members[chosen]] = 1 - label
    return attributes


def colored(vectors: Tensor, attributes: Tensor) -> Tensor:
    """Show each image vector (N, D) in the channel that its attribute names, 0 or 1: shape (N, 2 D)."""
    channels = torch.zeros(len(vectors), 2, vectors.shape[1], dtype=vectors.dtype)
    channels[torch.arange(len(vectors)), attributes] = vectors
    return channels.flatten(1)


_BACKGROUND = 3.0  # the value of the coordinate that stands for the background


def on_background(vectors: Tensor, attributes: Tensor) -> Tensor:
    """Put two coordinates beside image vectors (N, D), 3 at the attribute's place, else 0: (N, D + 2)."""
    marks = _BACKGROUND * torch.nn.functional.one_hot(attributes, 2).to(vectors.dtype)
    return torch.cat([vectors, marks], dim=1)


SHOWN = {"colored": colored, "background": on_background}
_SIZES = {"digits": (900, 300, 597), "mnist": (4000, 1000, 2000), "fashion_mnist": (4000, 1000, 2000)}


def spurious_digits(
    dataset: str,
    *,
    minority: float,
    seed: int,
    shown: str = "colored",
    n_train: int | None = None,
    root: str | Path | None = None,
) -> GroupedSplits:
    """Make two classes of real images whose attribute goes with the label, but for a minority.

    The label is 1 for digits 5 to 9 of ``digits``, and for the first five classes of MNIST and Fashion-MNIST.
    Every test image is there twice, once with each attribute, so its four groups are equally hard and equally
    large.

    Args:
        dataset: ``digits`` (64 numbers an image), ``mnist`` or ``fashion_mnist`` (every second pixel, 196).
        minority: fraction of each class whose attribute is the other class's, in (0, 1).
        seed: of the split and the minority, >= 0.
        shown: ``colored``: the attribute is the channel that holds the image; ``background``: two coordinates
            beside the pixels tell it.
        n_train: training images, at most 900 of digits, 59,000 of the others; None: 900 and 4,000.
        root: folder of the data sets.

    Returns:
        Training, validation (300 of digits, else 1,000) and test set (2 × 597, else 2 × 2,000), pixels in [0,
        1].

    Raises:
        ValueError: an unknown name, or sizes and fractions out of range.
        FileNotFoundError: if the data set is absent.
    """
    check_choice("data set", dataset, _SIZES)
    check_choice("way of showing the attribute", shown, SHOWN)
    usual, held, tested = _SIZES[dataset]
    n = usual if n_train is None else n_train
    check_whole("n_train", n, 10)
    train = load_images(dataset, "all" if dataset == "digits" else "train", root)
    most = usual if dataset == "digits" else len(train) - held
    if n > most:
        raise ValueError(f"n_train={n}; {dataset} has {most} images for training: choose a number up to that")
    order = torch.randperm(len(train), generator=generator(seed, "groups", "split"))
    test, left = train, order[usual + held :]
    if dataset != "digits":
        test = load_images(dataset, "test", root)
        left = torch.randperm(len(test), generator=generator(seed, "groups", "test"))
    picked = {"train": order[:n], "validation": order[most : most + held], "test": left[:tested]}
    parts = []
    for part, rows in picked.items():
        images = (test if part == "test" else train).take(rows)
        step = 1 if dataset == "digits" else 2
        vectors = images.pixels[:, 0, ::step, ::step].flatten(1).float() / images.levels
        labels = (images.labels >= 5 if dataset == "digits" else images.labels < 5).long()
        ids = rows
        if part == "test":
            attributes = torch.arange(2).repeat_interleave(len(labels))
            vectors, labels, ids = vectors.repeat(2, 1), labels.repeat(2), torch.cat([rows, rows + len(test)])
        else:
            attributes = minority_attributes(labels, minority, generator(seed, "groups", "minority", part))
        inputs = SHOWN[shown](vectors, attributes)
        parts.append(GroupedSet(inputs, labels, attributes, ids, 2, 2, f"{shown} {dataset}"))
    return GroupedSplits(*parts)


class ColorVariant(NamedTuple):
    """Noise rates of a ColorMNIST: in the two training environments, then in the test set."""

    label: tuple[float, float]
    color: tuple[float, float]
    test_label: float
    test_color: float


# What the XRM repository calls ColorMNIST, InverseColorMNIST, MColor and V3.
COLOR_VARIANTS = {
    "color": ColorVariant((0.25, 0.25), (0.2, 0.1), 0.25, 0.9),
    "inverse": ColorVariant((0.15, 0.15), (0.2, 0.3), 0.15, 0.9),
    "m_color": ColorVariant((0.2, 0.3), (0.15, 0.15), 0.9, 0.15),
    "v3": ColorVariant((0.2, 0.1), (0.25, 0.25), 0.9, 0.25),
}


def color_mnist(
    variant: str = "color",
    *,
    seed: int,
    sizes: Sequence[int] = (50_000, 10_000, 10_000),
    root: str | Path | None = None,
) -> GroupedSplits:
    """Make the ColorMNIST of the XRM repository: noisy labels, and a color that tells more than the digit.

    The label is 1 for digits 0 to 4, then flipped at a rate; the color is the noisy label, flipped at a rate
    that is one for examples at even places and another for those at odd ones: two environments, which are the
    annotated attribute. In the test set the color goes against the label and there is one environment, so
    worst-group accuracy is that of the worse class. The image lies in the channel of its color, every second
    pixel.

    Args:
        variant: of ``COLOR_VARIANTS``.
        seed: of the flips, >= 0; ids hold it and the variant, so predictions for other labels do not fit.
        sizes: first so many training images train, the next are for validation; so many test images.
        root: folder of the data sets.

    Returns:
        Inputs (N, 392), labels with their noise, and the environment.

    Raises:
        ValueError: an unknown variant, or more images than there are. FileNotFoundError: MNIST is absent.
    """
    check_choice("variant", variant, COLOR_VARIANTS)
    rates, place = COLOR_VARIANTS[variant], list(COLOR_VARIANTS).index(variant)
    train, test = (load_images("mnist", half, root) for half in ("train", "test"))
    if len(sizes) != 3 or sizes[0] + sizes[1] > len(train) or sizes[2] > len(test) or min(sizes) < 10:
        raise ValueError(
            f"sizes={tuple(sizes)}; allowed: three numbers from 10, up to 60,000 in training and validation"
        )
    begin = {"train": 0, "validation": sizes[0], "test": 0}
    parts = []
    for (part, first), size in zip(begin.items(), sizes, strict=True):
        images = (test if part == "test" else train).take(torch.arange(first, first + size))
        source = generator(seed, "color mnist", part)
        environment = torch.arange(size) % 2
        label_rate, color_rate = (
            torch.full((size,), getattr(rates, f"test_{what}")) if part == "test"
            else torch.tensor(getattr(rates, what))[environment] for what in ("label", "color")
        )  # fmt: skip
        labels = (images.labels < 5).long() ^ (torch.rand(size, generator=source) < label_rate).long()
        colors = labels ^ (torch.rand(size, generator=source) < color_rate).long()
        vectors = images.pixels[:, 0, ::2, ::2].flatten(1).float() / 255
        ids = torch.arange(first, first + size) + 100_000 * (len(COLOR_VARIANTS) * seed + place)
        environment = environment * (part != "test")
        inputs = colored(vectors, colors)
        parts.append(GroupedSet(inputs, labels, environment, ids, 2, 2, f"ColorMNIST {variant}"))
    return GroupedSplits(*parts)
