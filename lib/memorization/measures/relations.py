"""How the settings of the benign-memorization page must fit together, asked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from memorization.data.extents import EXTENTS
from memorization.data.policies import augmentation
from memorization.data.words import did_you_mean
from memorization.measures.arms import SCALES

Settings = Mapping[str, Any]


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
