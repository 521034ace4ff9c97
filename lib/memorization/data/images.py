"""Real images as whole tensors: digits (bundled), MNIST, Fashion-MNIST and CIFAR-10."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from memorization.data.archives import read_torchvision

DATASETS = ("digits", "mnist", "fashion_mnist", "cifar10")
SPLITS = ("train", "test", "all")
_DIGITS_TRAIN = 1437  # the first 80 %; scikit-learn ships one set and no split


@dataclass(frozen=True)
class Images:
    """A labelled set of images.

    Attributes:
        pixels: shape (N, channels, height, width), uint8, values 0..levels.
        labels: shape (N,), int64; class numbers 0..C-1, or -1 and +1 after :func:`two_classes`.
        class_names: the names of the classes, C of them.
        name: name of the data set.
        levels: the largest value a pixel can have (16 for digits, 255 otherwise).
    """

    pixels: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    name: str
    levels: int

    def __post_init__(self) -> None:
        """Refuse images and labels that do not fit each other."""
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 4:
            raise ValueError(
                f"{self.name}: pixels are {self.pixels.dtype} of shape {tuple(self.pixels.shape)}; "
                "allowed: uint8 of shape (N, channels, height, width)"
            )
        if self.labels.shape != self.pixels.shape[:1]:
            raise ValueError(
                f"{self.name}: {len(self.pixels)} images but labels of shape {tuple(self.labels.shape)}; "
                "give one label per image"
            )
        signs = len(self.class_names) == 2 and bool((self.labels.abs() == 1).all())
        outside = (self.labels < 0) | (self.labels >= len(self.class_names))
        if not signs and bool(outside.any()):
            first = int(outside.nonzero()[0])
            raise ValueError(
                f"{self.name}: label {int(self.labels[first])} of image {first} is outside "
                f"0..{len(self.class_names) - 1} (its {len(self.class_names)} classes)"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Tensor) -> Images:
        """Return the images at ``indices`` (shape (B,), int64) as a set of their own."""
        return replace(self, pixels=self.pixels[indices], labels=self.labels[indices])


def data_root(root: str | Path | None = None) -> Path:
    """Return the folder of the data sets: ``root``, else ``$MEMORIZATION_DATA``, else ``data``."""
    return Path(root or os.environ.get("MEMORIZATION_DATA") or "data").expanduser()


def load_images(
    name: str, split: str = "train", root: str | Path | None = None, *, download: bool = False
) -> Images:
    """Load a data set; ``digits`` needs no files, the others are read by torchvision's own classes.

    Args:
        name: one of ``digits``, ``mnist``, ``fashion_mnist``, ``cifar10``.
        split: ``train``, ``test`` or ``all``. ``digits`` comes as one set: its first 1,437 images are
            ``train`` here, the other 360 (other writers) ``test``.
        root: folder that holds the data sets in torchvision's layout; see :func:`data_root`.
        download: let torchvision fetch absent files into ``root``; nothing is ever fetched otherwise.

    Returns:
        The images, in the order of their files.

    Raises:
        ValueError: for an unknown name or split.
        FileNotFoundError: if the data set is absent.
        RuntimeError: if a file is damaged.
    """
    if name not in DATASETS:
        raise ValueError(f"unknown data set {name!r}; choose one of {', '.join(DATASETS)}")
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    if name == "digits":
        return _digits(split)
    return _from_files(name, split, str(data_root(root)), download)


def two_classes(images: Images, negative: int, positive: int) -> Images:
    """Keep two classes and label them -1 and +1.

    Args:
        images: labelled images with class numbers.
        negative: number of the class that gets label -1.
        positive: number of the class that gets label +1.

    Returns:
        The images of both classes in their original order; labels int64 in {-1, +1}.

    Raises:
        ValueError: if the two classes are the same, or one has no image.
    """
    if negative == positive:
        raise ValueError(f"two different classes are needed; got {negative} twice")
    present = sorted(set(images.labels.tolist()))
    for wanted in (negative, positive):
        if wanted not in present:
            raise ValueError(f"{images.name} has no image of class {wanted}; it holds classes {present}")
    kept = images.take(torch.nonzero((images.labels == negative) | (images.labels == positive)).flatten())
    labels = torch.where(kept.labels == positive, 1, -1)  # int64: -1 would wrap to 255 in uint8
    names = tuple(
        images.class_names[c] if 0 <= c < len(images.class_names) else str(c) for c in (negative, positive)
    )
    return replace(kept, labels=labels, class_names=names)


@lru_cache(maxsize=1)
def _all_digits() -> Images:
    from sklearn.datasets import load_digits  # slow to import, and only this data set needs it

    bunch = load_digits()
    pixels = torch.as_tensor(bunch.images, dtype=torch.uint8).unsqueeze(1)  # (1797, 1, 8, 8)
    labels = torch.as_tensor(bunch.target, dtype=torch.int64)
    return Images(pixels, labels, tuple(str(c) for c in range(10)), "digits", 16)


def _digits(split: str) -> Images:
    images = _all_digits()
    order = torch.arange(len(images))
    parts = {"train": order[:_DIGITS_TRAIN], "test": order[_DIGITS_TRAIN:], "all": order}
    return images.take(parts[split])


@lru_cache(maxsize=4)  # a sweep asks for the same files at every seed
def _from_files(name: str, split: str, root: str, download: bool) -> Images:
    halves = [read_torchvision(name, half, Path(root), download) for half in ("train", "test")
              if split in (half, "all")]  # fmt: skip
    pixels = torch.cat([half[0] for half in halves])
    labels = torch.cat([half[1] for half in halves])
    return Images(pixels, labels, halves[0][2], name, 255)
