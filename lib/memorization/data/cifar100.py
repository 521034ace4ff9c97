"""Read CIFAR-100 through torchvision's own class, telling an absent file from a damaged one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from memorization.data.images import Images
from memorization.data.vision import load_torchvision


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
