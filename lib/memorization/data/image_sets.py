"""Images as networks take them: floating point in [0, 1], at the side that is asked for.

:func:`memorization.data.images.load_images` keeps the bytes of the files; here they become the inputs of a
network, without any standardization (Anagnostidis et al., ICLR 2023, use none). CIFAR-100 and TinyImageNet
join the data sets that the library reads.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from memorization.data.cifar100 import read_cifar100
from memorization.data.images import DATASETS, SPLITS, Images, data_root, load_images
from memorization.data.tiny_imagenet import read_tiny_imagenet
from memorization.data.words import did_you_mean

IMAGE_SETS = (*DATASETS, "cifar100", "tiny_imagenet")
LARGE = 2**30  # bytes of float32 above which a set stays in the bytes of its files
_CHUNK = 4096


@dataclass(frozen=True)
class ImageSet:
    """Images and labels for a network.

    Attributes:
        images: shape (N, channels, side, side); float32 in [0, 1], or, for a set that would be large in
            floating point, uint8 in 0..levels. :meth:`floats` gives floating point in both cases.
        labels: shape (N,), int64, class numbers 0..C-1.
        class_names: the names of the classes, C of them.
        name: name of the data set.
        levels: the largest value of a uint8 image (16 for digits, 255 otherwise).

    Raises:
        TypeError: if labels are not whole numbers.
        ValueError: if the images are no square images with 1 or 3 channels in [0, 1], or a label is outside
            0..C-1.
    """

    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    name: str
    levels: int = 255

    def __post_init__(self) -> None:
        _check_images(self.name, self.images)
        _check_labels(self.name, self.labels, len(self.images), len(self.class_names))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> int:
        """C, the number of classes."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Channels of an image, 1 or 3."""
        return self.images.shape[1]

    @property
    def side(self) -> int:
        """Height and width of an image in pixels."""
        return self.images.shape[2]

    def floats(self, indices: Tensor | slice = slice(None)) -> Tensor:
        """Return images as float32 in [0, 1]; floating-point images in a slice are shared, not copied."""
        chosen = self.images[indices]
        return chosen if chosen.is_floating_point() else chosen.to(torch.float32) / self.levels

    def take(self, indices: Tensor | slice) -> ImageSet:
        """Return the images at ``indices`` as a set of their own; a slice shares the memory."""
        return replace(self, images=self.images[indices], labels=self.labels[indices])

    def to(self, device: torch.device | str) -> ImageSet:
        """Return the set with its tensors on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def image_set(
    name: str,
    split: str = "train",
    *,
    side: int | None = None,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    download: bool = False,
) -> ImageSet:
    """Load a data set as inputs for a network; ``digits`` needs no files.

    Args:
        name: ``digits``, ``mnist``, ``fashion_mnist``, ``cifar10``, ``cifar100`` or ``tiny_imagenet``.
        split: ``train``, ``test`` or ``all``; of TinyImageNet the published validation half is ``test``.
        side: average-pool the images to this side in pixels, a divisor of the data set's own; None keeps it.
        root: folder of the data sets, see :func:`memorization.data.images.data_root`.
        cache: folder for the decoded images of TinyImageNet, so that they are decoded once; None keeps none.
        download: let torchvision fetch absent files into ``root``; nothing is ever fetched otherwise.

    Returns:
        The images, float32 in [0, 1]: pixels divided by 255, and by 16 for digits. At its own side, a set
        of more than 1 GiB in float32 (TinyImageNet's training half) keeps its bytes.

    Raises:
        ValueError: for an unknown name or split, or a side that does not divide.
        FileNotFoundError: if the data set is absent.
        RuntimeError: if a file is damaged.
    """
    stored = stored_images(name, split, root=root, cache=cache, download=download)
    return as_image_set(stored, side=side)


def stored_images(
    name: str,
    split: str,
    *,
    root: str | Path | None = None,
    cache: str | Path | None = None,
    download: bool = False,
) -> Images:
    """Load any data set of ``IMAGE_SETS`` in the bytes of its files; arguments as in :func:`image_set`."""
    if name not in IMAGE_SETS:
        raise ValueError(
            f"unknown data set {name!r}{did_you_mean(name, IMAGE_SETS)}; "
            f"choose one of {', '.join(IMAGE_SETS)}"
        )
    if name in DATASETS:
        return load_images(name, split, root, download=download)
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; choose one of {', '.join(SPLITS)}")
    halves = [half for half in ("train", "test") if split in (half, "all")]
    parts = [_half(name, half, str(data_root(root)), cache and str(cache), download) for half in halves]
    if len(parts) == 1:
        return parts[0]
    pixels, labels = torch.cat([p.pixels for p in parts]), torch.cat([p.labels for p in parts])
    return replace(parts[0], pixels=pixels, labels=labels)


def as_image_set(stored: Images, *, side: int | None = None) -> ImageSet:
    """Turn stored bytes into inputs for a network, average-pooled to ``side``; see :func:`image_set`."""
    own = stored.pixels.shape[-1]
    if side is not None and (side < 1 or own % side):
        divisors = [s for s in range(1, own + 1) if own % s == 0]
        raise ValueError(
            f"{stored.name} has {own}x{own} pixels; side={side} does not divide that: "
            f"choose one of {divisors}"
        )
    factor = own // side if side else 1
    images = stored.pixels
    if factor > 1 or images.numel() * 4 <= LARGE:
        images = _pooled(images, stored.levels, factor)
    return ImageSet(images, stored.labels, stored.class_names, stored.name, stored.levels)


def _pooled(pixels: Tensor, levels: int, factor: int) -> Tensor:
    n, channels, height, width = pixels.shape
    images = torch.empty((n, channels, height // factor, width // factor))
    for chunk, out in zip(pixels.split(_CHUNK), images.split(_CHUNK), strict=True):
        inputs = chunk.to(torch.float32).div_(levels)
        out.copy_(inputs if factor == 1 else avg_pool2d(inputs, factor))
    return images


@lru_cache(maxsize=2)  # a sweep asks for the same files at every seed
def _half(name: str, half: str, root: str, cache: str | None, download: bool) -> Images:
    if name == "cifar100":
        return read_cifar100(half, Path(root), download=download)
    if download:
        raise ValueError(
            "torchvision cannot fetch tiny_imagenet; call without download=True to read how to get it"
        )
    return read_tiny_imagenet(half, Path(root), cache=Path(cache) if cache else None)


def _check_images(name: str, images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.shape[2] != images.shape[3]:
        raise ValueError(
            f"{name}: images have shape {tuple(images.shape)}; allowed: (N, channels, side, side) with 1 or "
            "3 channels"
        )
    if images.dtype == torch.uint8:
        return
    if not images.is_floating_point():
        raise ValueError(
            f"{name}: expected float images in [0,1]; got {images.dtype}: divide by the largest value"
        )
    if len(images) and not (images.min() >= 0 and images.max() <= 1):  # false for NaN too
        raise ValueError(
            f"{name}: expected float images in [0,1]; got values from {images.min():.4g} to "
            f"{images.max():.4g}"
        )


def _check_labels(name: str, labels: Tensor, images: int, classes: int) -> None:
    if labels.dtype != torch.int64:
        raise TypeError(f"{name}: labels must be int64 class numbers; got {labels.dtype}")
    if labels.shape != (images,):
        raise ValueError(
            f"{name}: {images} images but labels of shape {tuple(labels.shape)}; give one label per image"
        )
    outside = (labels < 0) | (labels >= classes)
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        raise ValueError(
            f"{name}: label {int(labels[first])} of image {first} is outside 0..{classes - 1} "
            f"(its {classes} classes)"
        )
