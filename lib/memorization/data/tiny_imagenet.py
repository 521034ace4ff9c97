"""Read TinyImageNet from its published folders: 200 classes, 64x64 JPEG files.

The published test half has no labels, so the 10,000 images of ``val`` are the test half here, as in the code
of Anagnostidis et al. (ICLR 2023). Classes are numbered in the order of their WordNet ids.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from memorization.data.images import Images

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
