"""Read MNIST, Fashion-MNIST and CIFAR through torchvision, with errors that say what to do.

torchvision checks the published md5 sums. What it does not do is tell an absent file from a damaged one, read
a folder that it may not write to, or stay away from the network while it extracts: that is done here.

Its wheel on PyPI is linked against CUDA libraries. Beside a CPU-only torch its compiled operators stay
unloaded, and the import stops at ``operator torchvision::nms does not exist``, because two registrations in
Python (``nms`` and ``qnms``) are unconditional. Declaring both is enough: transforms, models and data sets
are pure Python. Where the builds match, nothing is declared.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

_OPERATORS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared: list[torch.library.Library] = []  # a declaration lasts as long as its object lives


def load_torchvision() -> ModuleType:
    """Return the ``torchvision`` module, declaring its two missing operators where that is needed.

    Returns:
        The module ``torchvision`` with ``datasets``, ``transforms`` and ``models`` importable.

    Raises:
        ImportError: if torchvision is not installed.
        RuntimeError: if torchvision fails to import for another reason than the missing operators.
    """
    try:
        return importlib.import_module("torchvision")
    except RuntimeError as error:
        if "operator torchvision::" not in str(error) or _declared:
            raise
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half-imported: a second import would return the broken module
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _OPERATORS:
        library.define(schema)
    _declared.append(library)
    return importlib.import_module("torchvision")


_CLASSES = {"mnist": "MNIST", "fashion_mnist": "FashionMNIST", "cifar10": "CIFAR10"}

Read = tuple[Tensor, Tensor, tuple[str, ...]]


def read_torchvision(name: str, half: str, root: Path, download: bool = False) -> Read:
    """Read one half of a data set through torchvision's own class.

    Args:
        name: ``mnist``, ``fashion_mnist`` or ``cifar10``.
        half: ``train`` or ``test``.
        root: folder in torchvision's layout; it may be read-only and may hold MNIST compressed only.
        download: let torchvision fetch absent files into ``root``.

    Returns:
        Pixels (N, channels, height, width) uint8, labels (N,) int64, and the names of the classes.

    Raises:
        FileNotFoundError: if files are absent, with the folder that was searched.
        RuntimeError: if a file's checksum or content is wrong, naming the file.
    """
    kind = getattr(load_torchvision().datasets, _CLASSES[name])
    if download:
        _fetch(kind, name, root)
    reader = _read_cifar if name == "cifar10" else _read_mnist
    return reader(kind, name, half, root)


def _fetch(kind: Any, name: str, root: Path) -> None:
    try:
        kind(root=str(root), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(
            f"downloading {name} into {root} failed ({error}). Check the network, or copy the files there by "
            "hand in torchvision's layout; the data set 'digits' needs no files at all."
        ) from error


def _absent(name: str, searched: Path) -> FileNotFoundError:
    return FileNotFoundError(
        f"{name} was not found in {searched}. Fetch it once with "
        f"load_images({name!r}, root=..., download=True), or point MEMORIZATION_DATA at a folder that holds "
        f"it in torchvision's layout. The data set 'digits' needs no files at all."
    )


def _damaged(path: Path, advice: str) -> RuntimeError:
    return RuntimeError(f"{path} is damaged: {advice}. Delete it and fetch it again with download=True.")


def _read_cifar(kind: Any, name: str, half: str, root: Path) -> Read:
    folder = root / kind.base_folder
    for file, md5 in [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]:
        _verify(folder / file, md5, name, folder)
    dataset = kind(root=str(root), train=half == "train", download=False)
    pixels = torch.from_numpy(np.ascontiguousarray(dataset.data.transpose(0, 3, 1, 2)))
    return pixels, torch.tensor(dataset.targets, dtype=torch.int64), tuple(dataset.classes)


def _verify(path: Path, md5: str, name: str, folder: Path) -> None:
    if not path.is_file():
        raise _absent(name, folder)
    if not load_torchvision().datasets.utils.check_integrity(str(path), md5):
        raise _damaged(path, "its md5 sum is not the published one")


def _read_mnist(kind: Any, name: str, half: str, root: Path) -> Read:
    folder = root / kind.__name__ / "raw"
    names = [file for file, _ in kind.resources]
    if all((folder / file.removesuffix(".gz")).is_file() for file in names):
        return _open_mnist(kind, half, root, folder)
    for file, md5 in kind.resources:
        _verify(folder / file, md5, name, folder)
    # Compressed only, maybe in a folder that we may not write to: torchvision checks and extracts links to
    # the files somewhere else. The sums are right (checked above), so it has nothing to fetch.
    with tempfile.TemporaryDirectory(prefix="memorization-") as scratch:
        copy = Path(scratch) / kind.__name__ / "raw"
        copy.mkdir(parents=True)
        for file in names:
            (copy / file).symlink_to((folder / file).resolve())
        return _open_mnist(kind, half, Path(scratch), copy, extract=True)


def _open_mnist(kind: Any, half: str, root: Path, folder: Path, extract: bool = False) -> Read:
    prefix = "train" if half == "train" else "t10k"
    try:
        dataset = kind(root=str(root), train=half == "train", download=extract)
    except (ValueError, AssertionError, EOFError, RuntimeError) as error:  # a cut-off or foreign file
        raise _damaged(folder / f"{prefix}-*-ubyte", f"torchvision cannot read it ({error})") from error
    if len(dataset.data) != len(dataset.targets):
        raise _damaged(folder / f"{prefix}-labels-idx1-ubyte", "it has another length than the images")
    return dataset.data.unsqueeze(1), dataset.targets.to(torch.int64), tuple(dataset.classes)
