"""The images that a network memorizes, and those that probe what it learned.

Anagnostidis et al. (ICLR 2023) memorize the training half and probe with it as reference. At laptop scale
fewer images are memorized; the reference set of the nearest-neighbor probe then holds them and more, with
true labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memorization.checks import check_choice
from memorization.data.image_sets import IMAGE_SETS, Images, ImageSet, as_image_set, stored_images
from memorization.draws import generator

SPLIT_SEED = 1234


@dataclass(frozen=True)
class _Sizes:
    memorized: int
    reference: int
    test: int
    side: int
    pool: int  # the reference set is drawn from this many first training images


_DEFAULTS = {
    "digits": _Sizes(400, 400, 1397, 8, 1797),
    "mnist": _Sizes(400, 5000, 2000, 14, 60_000),
    "fashion_mnist": _Sizes(400, 5000, 2000, 14, 60_000),
    "cifar10": _Sizes(500, 5000, 2000, 16, 10_000),
    "cifar100": _Sizes(50_000, 50_000, 10_000, 32, 50_000),
    "tiny_imagenet": _Sizes(100_000, 100_000, 10_000, 64, 100_000),
}


@dataclass(frozen=True)
class MemorizedSplit:
    """Memorized images, reference and test set of one experiment.

    Attributes:
        reference: images with true labels for the probe; the memorized images are its first ones.
        test: images that are in no other part.
        n: N, how many images are memorized.
    """

    reference: ImageSet
    test: ImageSet
    n: int

    @cached_property
    def memorized(self) -> ImageSet:
        """The N images whose random labels are fitted, here with their true labels; it shares memory."""
        return self.reference.take(slice(self.n))


def memorized_split(
    name: str,
    *,
    memorized: int | None = None,
    reference: int | None = None,
    test: int | None = None,
    side: int | None = None,
    seed: int = SPLIT_SEED,
    root: str | Path | None = None,
    cache: str | Path | None = None,
) -> MemorizedSplit:
    """Draw a random split of one data set; by default one and the same, whatever the seed of training.

    One permutation of the training images gives the reference set, a second one of the test images the test
    set. Digits come as one set: the reference set is the beginning of one permutation, the test set follows.

    Args:
        name: a data set of ``IMAGE_SETS``.
        memorized: N, images to memorize; None: 400 (500 for ``cifar10``), and all of the larger sets.
        reference: images in the reference set, at least ``memorized``; None: the memorized ones for digits,
            else 5,000, or ``memorized`` if that is more.
        test: test images; None: all that are left for digits, 2,000 otherwise, and all of the larger sets.
        side: side in pixels after average-pooling; None: 14 for MNIST and Fashion-MNIST, 16 for ``cifar10``,
            else the data set's own.
        seed: seed of the permutations.
        root: folder of the data sets.
        cache: folder for decoded images, see :func:`memorization.data.image_sets.image_set`.

    Returns:
        The split. For ``cifar10`` the reference set is drawn from the first 10,000 training images, or from
        as many as it needs.

    Raises:
        ValueError: for an unknown name, or sizes that the data set does not hold.
        FileNotFoundError: if the data set is absent.
    """
    check_choice("data set", name, IMAGE_SETS)
    usual = _DEFAULTS[name]
    n = usual.memorized if memorized is None else memorized
    kept = max(n, usual.reference) if reference is None else reference
    source = torch.Generator().manual_seed(seed)
    train = stored_images(name, "all" if name == "digits" else "train", root=root, cache=cache)
    _check(name, "reference", kept, len(train) - (name == "digits"))  # at least one digit is for the test
    _check(name, "memorized", n, kept, whole="the reference set")
    order = torch.randperm(min(len(train), max(usual.pool, kept)), generator=source)
    if name == "digits":
        others, left = train, order[kept:]
        wanted = len(left) if test is None else test
    else:
        others = stored_images(name, "test", root=root, cache=cache)
        left = torch.randperm(len(others), generator=source)
        wanted = usual.test if test is None else test
    _check(name, "test", wanted, len(left))
    side = usual.side if side is None else side
    return MemorizedSplit(_taken(train, order[:kept], side), _taken(others, left[:wanted], side), n)


def splits_of(
    split: str, dataset: str, sizes: Mapping[str, Any], seeds: Sequence[int], device: str = "cpu"
) -> list[MemorizedSplit]:
    """Return the split of each seed, on the device; a fixed one is one and the same object.

    Args:
        split: ``fixed``: one split for all seeds; ``seed``: each seed has its own.
        dataset: a data set of ``IMAGE_SETS``.
        sizes: ``memorized``, ``reference``, ``test`` and more, see :func:`memorized_split`.
        seeds: whose splits.
        device: where the images go.
    """

    def drawn(seed: int) -> MemorizedSplit:
        found = memorized_split(dataset, **sizes, seed=seed)
        return MemorizedSplit(found.reference.to(device), found.test.to(device), found.n)

    if split == "fixed":
        return [drawn(SPLIT_SEED)] * len(seeds)
    return [drawn(generator(seed, "split").initial_seed()) for seed in seeds]


def _taken(images: Images, indices: Tensor, side: int) -> ImageSet:
    return as_image_set(images.take(indices), side=side)


def _check(name: str, what: str, size: int, available: int, whole: str = "the data set") -> None:
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= available:
        raise ValueError(
            f"{name}: {what}={size!r}, but {whole} has {available} images for it; choose a whole number in "
            f"1..{available}"
        )
