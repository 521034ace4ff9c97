"""Real images as whole tensors: digits (bundled), MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100 and TinyImageNet.

:func:`load_images` keeps the bytes of the files; :class:`ImageSet` makes of them what a network takes:
floating point in [0, 1] at the side that is asked for, without standardization (Anagnostidis et al., ICLR
2023, use none). TinyImageNet is read from its published folders (200 classes, 64x64 JPEG files, numbered in
the order of their WordNet ids); its published test half has no labels, so the 10,000 images of ``val`` are
the test half, as in the code of Anagnostidis et al.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from memorization.checks import check_choice, check_images
from memorization.data.files import load_torchvision, read_torchvision

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
    check_choice("data set", name, DATASETS)
    check_choice("split", split, SPLITS)
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


def read_cifar100(half: str, root: Path, *, download: bool = False) -> Images:
    """Read one half of CIFAR-100.

    Args:
        half: ``train`` (50,000 images) or ``test`` (10,000).
        root: folder that holds ``cifar-100-python``.
        download: let torchvision fetch absent files into ``root``.

    Returns:
        The images, (N, 3, 32, 32), with the 100 fine labels.

    Raises:
        FileNotFoundError: if a file is absent, with the folder that was searched.
        RuntimeError: if a file's checksum is wrong, naming the file, or if fetching fails.
    """
    kind = load_torchvision().datasets.CIFAR100
    if download:
        _fetch(kind, root)
    folder = root / kind.base_folder
    for file, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        _verify(folder / file, md5)
    stored = kind(root=str(root), train=half == "train", download=False)
    pixels = torch.from_numpy(np.ascontiguousarray(stored.data.transpose(0, 3, 1, 2)))
    return Images(pixels, torch.tensor(stored.targets), tuple(stored.classes), "cifar100", 255)


def _fetch(kind: Any, root: Path) -> None:
    try:
        kind(root=str(root), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"downloading cifar100 into {root} failed ({error}). Check the network, or copy the files there "
            "by hand in torchvision's layout; the data set 'digits' needs no files at all."
        ) from error


def _verify(path: Path, md5: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(
            f"cifar100 was not found in {path.parent} (no file {path.name}). Fetch it once with "
            "image_set('cifar100', root=..., download=True), or point MEMORIZATION_DATA at a folder that "
            "holds it in torchvision's layout. The data set 'digits' needs no files at all."
        )
    if not load_torchvision().datasets.utils.check_integrity(str(path), md5):
        raise RuntimeError(
            f"{path} is damaged: its md5 sum is not the published one. Delete it and fetch it again with "
            "download=True."
        )


FOLDER = "tiny-imagenet-200"
_ADDRESS = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"


def read_tiny_imagenet(half: str, root: Path, *, cache: Path | None = None) -> Images:
    """Read one half of TinyImageNet; decoding 100,000 files takes about a minute.

    Args:
        half: ``train`` (500 images a class) or ``test`` (the published ``val``, 50 a class).
        root: folder that holds ``tiny-imagenet-200`` with ``train``, ``val``, ``wnids.txt``, ``words.txt``.
        cache: folder in which the decoded images are kept as one file, made if absent; None keeps nothing.
            The file is made anew when the list of JPEG files or their sizes change.

    Returns:
        The images, (N, 3, 64, 64), gray files repeated over three channels.

    Raises:
        FileNotFoundError: if the data set or a part of it is absent, with the folder that was searched.
        RuntimeError: if a file is damaged or the folders are incomplete, naming the place.
    """
    folder = root / FOLDER
    classes = sorted(_lines(folder / "wnids.txt", folder))
    files = _training_files(folder, classes) if half == "train" else _validation_files(folder, classes)
    _check_complete(files, classes, folder / ("train" if half == "train" else "val"))
    labels = torch.tensor([label for _, label in files])
    pixels = _decoded([path for path, _ in files], cache, f"tiny_imagenet-{half}.pt")
    return Images(pixels, labels, _class_names(folder, classes), "tiny_imagenet", 255)


def _absent(path: Path, folder: Path) -> FileNotFoundError:
    return FileNotFoundError(
        f"tiny_imagenet was not found in {folder} (no {path.relative_to(folder)}). Fetch {_ADDRESS}, unpack "
        f"it so that {folder} holds train, val, wnids.txt and words.txt, or point MEMORIZATION_DATA at the "
        "folder above it. The data set 'digits' needs no files at all."
    )


def _lines(path: Path, folder: Path) -> list[str]:
    if not path.is_file():
        raise _absent(path, folder)
    return [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _training_files(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    files = []
    for label, wnid in enumerate(classes):
        images = folder / "train" / wnid / "images"
        if not images.is_dir():
            raise _absent(images, folder)
        files += [(path, label) for path in sorted(images.glob("*.JPEG"))]
    return files


def _validation_files(folder: Path, classes: list[str]) -> list[tuple[Path, int]]:
    annotations = folder / "val" / "val_annotations.txt"
    files, numbers = [], {wnid: label for label, wnid in enumerate(classes)}
    for number, line in enumerate(_lines(annotations, folder), start=1):
        name, wnid, *_ = [*line.split("\t"), ""]
        if wnid not in numbers:
            raise RuntimeError(
                f"{annotations} is damaged: line {number} names no class of wnids.txt: {line!r}"
            )
        path = folder / "val" / "images" / name
        if not path.is_file():
            raise _absent(path, folder)
        files.append((path, numbers[wnid]))
    return files


def _check_complete(files: list[tuple[Path, int]], classes: list[str], place: Path) -> None:
    counts = Counter(label for _, label in files)
    most = max(counts.values(), default=0)
    for label, wnid in enumerate(classes):
        if counts[label] < max(most, 1):
            raise RuntimeError(
                f"{place} is incomplete: class {wnid} has {counts[label]} images, others have {most}. "
                f"Unpack {_ADDRESS} again."
            )


def _class_names(folder: Path, classes: list[str]) -> tuple[str, ...]:
    words = dict(line.split("\t", 1) for line in _lines(folder / "words.txt", folder) if "\t" in line)
    return tuple(words.get(wnid, wnid).split(",")[0].strip() for wnid in classes)


def _decoded(paths: list[Path], cache: Path | None, name: str) -> Tensor:
    if cache is None:
        return _decode(paths)
    listing = "\n".join(f"{path.name} {path.stat().st_size}" for path in paths)
    key = hashlib.sha256(listing.encode()).hexdigest()
    pixels = _from_cache(cache / name, key)
    if pixels is None:
        pixels = _decode(paths)
        cache.mkdir(parents=True, exist_ok=True)
        draft = cache / f"{name}.{os.getpid()}.draft"  # a killed run leaves no half-written file by that name
        torch.save({"key": key, "pixels": pixels}, draft)
        draft.replace(cache / name)
    return pixels


def _from_cache(path: Path, key: str) -> Tensor | None:
    if not path.is_file():
        return None
    try:
        kept = torch.load(path, weights_only=True)
        return kept["pixels"] if kept["key"] == key else None
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        # torch's own message is long, and recommends to load the file without safety
        warnings.warn(f"{path} cannot be read ({type(error).__name__}) and is made anew", stacklevel=4)
        return None


def _decode(paths: list[Path]) -> Tensor:
    from PIL import Image  # slow to import, and only this data set needs it

    pixels: Tensor | None = None
    for number, path in enumerate(paths):
        try:
            with Image.open(path) as image:
                array = np.array(image.convert("RGB"))
        except OSError as error:  # Pillow's own errors are of this kind
            raise RuntimeError(
                f"{path} is damaged: it cannot be decoded ({error}). Unpack it again."
            ) from error
        if pixels is None:
            pixels = torch.empty((len(paths), 3, *array.shape[:2]), dtype=torch.uint8)
        if array.shape[:2] != pixels.shape[2:]:
            expected = "x".join(str(side) for side in pixels.shape[2:])
            raise RuntimeError(
                f"{path} has {array.shape[0]}x{array.shape[1]} pixels; the others have {expected}. "
                "Unpack it again."
            )
        pixels[number] = torch.from_numpy(array).permute(2, 0, 1)
    assert pixels is not None  # an empty list was refused as incomplete
    return pixels


IMAGE_SETS = (*DATASETS, "cifar100", "tiny_imagenet")
LARGE = 2**30  # bytes of float32 above which a set stays in the bytes of its files
_CHUNK = 4096


@dataclass(frozen=True)
class Extent:
    """Sizes of one data set, known without its files.

    Attributes:
        train: images of the training half; of ``digits``, which come as one set, all of them.
        test: images of the test half; 0 where there is one set.
        side: height and width in pixels.
        channels: 1 or 3.
    """

    train: int
    test: int
    side: int
    channels: int


EXTENTS = {
    "digits": Extent(1797, 0, 8, 1),
    "mnist": Extent(60_000, 10_000, 28, 1),
    "fashion_mnist": Extent(60_000, 10_000, 28, 1),
    "cifar10": Extent(50_000, 10_000, 32, 3),
    "cifar100": Extent(50_000, 10_000, 32, 3),
    "tiny_imagenet": Extent(100_000, 10_000, 64, 3),
}


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
        check_images(self.images, f"{self.name}: images", square=True, channels=(1, 3))
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
        root: folder of the data sets, see :func:`memorization.data.image_sets.data_root`.
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
    check_choice("data set", name, IMAGE_SETS)
    check_choice("split", split, SPLITS)
    if name in DATASETS:
        return load_images(name, split, root, download=download)
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
