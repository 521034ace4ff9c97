"""ImageNet and the sets that shift it, in the folders in which their authors publish them.

Zhang et al. (ICML 2024) train on ImageNet and test on ImageNet-V2 (matched frequency), -R, -A, -Sketch and
ObjectNet. A network has one output per ImageNet class; a set says which of them count for it. ImageNet-R and
-A hold 200 of the classes, so the other columns are left out; a class of ObjectNet stands for one or several
ImageNet classes, and its output is the largest of theirs. Nothing here is ever downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from memorization.data.images import data_root
from memorization.data.words import did_you_mean

STAND_INS = (
    "Two experiments of the page feature_contamination ask the same question and need no files: 'distil' on "
    "the structured feature model, and on procedural digits with a colored ground."
)
_HOLDS = {
    "train": ("imagenet/train", "one folder per class, train/n01440764/*.JPEG: the ILSVRC 2012 images"),
    "val": ("imagenet/val", "one folder per class, val/n01440764/*.JPEG: the ILSVRC 2012 images"),
    "v2": (
        "imagenetv2-matched-frequency-format-val",
        "folders 0 to 999, numbers of the sorted classes: ImageNet-V2, matched frequency",
    ),
    "r": ("imagenet-r", "200 folders n01443537/*.jpg: ImageNet-R"),
    "a": ("imagenet-a", "200 folders n01498041/*.jpg: ImageNet-A"),
    "sketch": ("sketch", "1000 folders n01440764/*.JPEG: ImageNet-Sketch"),
    "objectnet": ("objectnet-1.0/images", "one folder per object, images/alarm_clock/*.png: ObjectNet 1.0"),
}
IMAGENET_SETS = tuple(_HOLDS)
IMAGENET_SHIFTS = ("v2", "r", "a", "sketch", "objectnet")
_SUFFIXES = (".jpeg", ".jpg", ".png")
_OBJECTNET_BORDER = 2  # pixels: ObjectNet's pictures have a red frame, by which they are known
_MAPPINGS = (
    "folder_to_objectnet_label.json",
    "objectnet_to_imagenet_1k.json",
    "pytorch_to_imagenet_2012_id.json",
    "imagenet_to_label_2012_v2",
)


@dataclass(frozen=True)
class PictureSet:
    """Labelled picture files, and the network outputs that count for them.

    Attributes:
        name: name of the set.
        files: paths of the N pictures.
        labels: shape (N,), int64 in 0..G-1, numbers of the groups.
        groups: for each of the G classes of this set the columns, in 0..C-1, of the network's outputs.
        border: pixels to cut off at each side.
    """

    name: str
    files: tuple[str, ...]
    labels: Tensor
    groups: tuple[tuple[int, ...], ...]
    border: int = 0

    def __len__(self) -> int:
        return len(self.files)

    def digest(self) -> str:
        """Return sixteen hexadecimal digits of the file names and labels, wherever the folder lies."""
        names = "\n".join("/".join(Path(file).parts[-2:]) for file in self.files)
        return hashlib.sha256(f"{names}\n{self.labels.tolist()}\n{self.groups}".encode()).hexdigest()[:16]


def imagenet_set(name: str, root: str | Path | None = None, *, classes: int | None = None) -> PictureSet:
    """List the pictures of ImageNet or of one of its shifts.

    Args:
        name: ``train``, ``val``, ``v2``, ``r``, ``a``, ``sketch`` or ``objectnet``.
        root: folder that holds ``imagenet``, ``imagenet-r`` and so on; see ``data_root``.
        classes: number C >= 2 of classes for a cheaper experiment, spread evenly over the sorted list (the
            first hundred would all be animals); None for all. A shift keeps those of its classes that are
            among them.

    Returns:
        The pictures, sorted by class and file name.

    Raises:
        ValueError: for an unknown set, a number of classes out of range, or folders that do not fit.
        FileNotFoundError: if the folder is absent or empty; says what it should hold.
    """
    if name not in IMAGENET_SETS:
        near = did_you_mean(name, IMAGENET_SETS)
        raise ValueError(f"unknown ImageNet set {name!r}; choose one of {', '.join(IMAGENET_SETS)}{near}")
    wnids = _all_classes(data_root(root))
    chosen = _spread(len(wnids), classes)
    folder = _folder(name, data_root(root))
    groups = _groups(name, folder, wnids, chosen)
    files: list[str] = []
    labels: list[int] = []
    for label, place in enumerate(groups):
        found = _pictures(folder / place)
        files += found
        labels += [label] * len(found)
    if len(groups) < 2 or not files:
        raise FileNotFoundError(
            f"{folder} holds {len(files)} pictures of {len(groups)} of the {len(chosen)} classes; at least "
            f"two classes are needed. It should hold {_HOLDS[name][1]}"
        )
    border = _OBJECTNET_BORDER if name == "objectnet" else 0
    return PictureSet(name, tuple(files), torch.tensor(labels), tuple(groups.values()), border)


def class_numbers(root: str | Path | None = None, classes: int | None = None) -> tuple[int, ...]:
    """Return which classes of the whole sorted list are the columns 0..C-1; see :func:`imagenet_set`."""
    return _spread(len(_all_classes(data_root(root))), classes)


def set_outputs(outputs: Tensor, groups: Sequence[Sequence[int]]) -> Tensor:
    """Return the outputs for the classes of a set: of each group of columns the largest.

    Args:
        outputs: shape (B, C), floating point, of a network with one output per ImageNet class.
        groups: columns in 0..C-1 of each of the G classes, at least one each, see :class:`PictureSet`.

    Returns:
        Shape (B, G).
    """
    widest = max(len(group) for group in groups)
    padded = [[*group, *[group[0]] * (widest - len(group))] for group in groups]  # twice one column: same max
    return outputs[:, torch.tensor(padded, device=outputs.device)].amax(2)


def _all_classes(root: Path) -> tuple[str, ...]:
    """The WordNet ids of the classes, sorted, which numbers them as torchvision does."""
    for name in ("train", "val"):
        folder = root / _HOLDS[name][0]
        wnids = _folders(folder) if folder.is_dir() else []
        if wnids:
            return tuple(wnids)
    raise _absent(root / _HOLDS["train"][0], "train")


def _spread(total: int, classes: int | None) -> tuple[int, ...]:
    wanted = total if classes is None else classes
    if not 2 <= wanted <= total:
        raise ValueError(
            f"classes={wanted}; allowed: 2 to {total}, the classes of the folder, or None for all"
        )
    return tuple(i * total // wanted for i in range(wanted))


def _folder(name: str, root: Path) -> Path:
    folder = root / _HOLDS[name][0]
    if not folder.is_dir():
        raise _absent(folder, name)
    return folder


def _absent(path: Path, name: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{path} was not found. It should hold {_HOLDS[name][1]}. Put it there, or point MEMORIZATION_DATA "
        f"at the folder above {_HOLDS[name][0]}; it is never downloaded. {STAND_INS}"
    )


def _groups(
    name: str, folder: Path, wnids: tuple[str, ...], chosen: tuple[int, ...]
) -> dict[str, tuple[int, ...]]:
    """Which folder holds which columns: numbers among the chosen classes."""
    columns = {number: column for column, number in enumerate(chosen)}
    present = _folders(folder)
    if name == "objectnet":
        named = _objectnet_classes(folder.parent / "mappings", len(wnids))
    elif name == "v2":
        _check_numbers(folder, present, len(wnids))
        named = {place: [int(place)] for place in sorted(present, key=int)}
    else:
        numbers = {wnid: number for number, wnid in enumerate(wnids)}
        _check_known(folder, present, numbers)
        named = {place: [numbers[place]] for place in present}
    kept = {place: tuple(columns[n] for n in named[place] if n in columns) for place in named}
    return {place: group for place, group in kept.items() if group and place in present}


def _check_numbers(folder: Path, present: list[str], classes: int) -> None:
    if sorted(present) != sorted(str(number) for number in range(classes)):
        raise ValueError(
            f"the folders of {folder} are not 0 to {classes - 1}, the numbers of the {classes} classes of "
            "imagenet/train. They number the sorted list of all classes: keep the whole list there, and "
            "choose fewer with classes="
        )


def _check_known(folder: Path, present: list[str], numbers: dict[str, int]) -> None:
    strange = [place for place in present if place not in numbers]
    if strange:
        raise ValueError(
            f"{folder} has {len(strange)} folders that are no class of imagenet/train, such as {strange[0]}; "
            "keep the whole list of classes in imagenet/train, and choose fewer with classes="
        )


def _objectnet_classes(mappings: Path, classes: int) -> dict[str, list[int]]:
    """The ImageNet classes of each folder of ObjectNet, from the four files published with it."""
    labels, names, ids, lines = (_mapping(mappings / file) for file in _MAPPINGS)
    number_of = {line: number for number, line in ids.items()}  # line of the list of names -> sorted class
    class_of = {name.strip(): int(number_of[i]) for i, name in enumerate(lines) if i in number_of}
    folder_of = {label: folder for folder, label in labels.items()}
    found = {}
    for label, joined in names.items():
        missing = [name for name in joined.split("; ") if class_of.get(name, classes) >= classes]
        if missing or label not in folder_of:
            raise ValueError(
                f"the files of {mappings} do not fit each other or imagenet/train: {label!r} stands for "
                f"{joined!r}, which is not there; unpack ObjectNet again"
            )
        found[folder_of[label]] = [class_of[name] for name in joined.split("; ")]
    return dict(sorted(found.items()))


def _mapping(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} was not found. ObjectNet brings {', '.join(_MAPPINGS)} in its folder 'mappings', which "
            f"say what its folders stand for. {STAND_INS}"
        )
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else text.splitlines()


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name[0] != ".")


def _pictures(folder: Path) -> list[str]:
    names = sorted(entry.name for entry in os.scandir(folder) if entry.name.lower().endswith(_SUFFIXES))
    return [str(folder / name) for name in names]
