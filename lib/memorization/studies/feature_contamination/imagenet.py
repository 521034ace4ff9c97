"""ImageNet and the sets that shift it: which pictures, which classes, and what a network makes of them.

Zhang et al. (ICML 2024) train on ImageNet and test on ImageNet-V2 (matched frequency), -R, -A, -Sketch and
ObjectNet, each in the folders in which its authors publish it. A network has one output per ImageNet class; a
set says which of them count for it. ImageNet-R and -A hold 200 of the classes, so the other columns are left
out; a class of ObjectNet stands for one or several ImageNet classes, and its output is the largest of theirs.

The pictures are too large and too many for memory: worker processes decode them batch by batch. A random view
is a function of (seed, epoch, picture), whatever the number of workers, so that a resumed training sees what
the lost one would have seen. Nothing here is ever downloaded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from memorization.checks import check_choice, check_whole
from memorization.data.files import load_torchvision
from memorization.data.image_sets import data_root
from memorization.draws import generator

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
_OBJECTNET_BORDER = 2  # pixels: ObjectNet's pictures have a red frame, by which they are known
_MAPPINGS = (
    "folder_to_objectnet_label.json",
    "objectnet_to_imagenet_1k.json",
    "pytorch_to_imagenet_2012_id.json",
    "imagenet_to_label_2012_v2",
)
_CLIP_MEAN, _CLIP_DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)

View = Callable[[Any], Tensor]
"""Makes of a picture (of Pillow, red, green and blue) the input of a network, (3, height, width), float32."""


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
    check_choice("ImageNet set", name, IMAGENET_SETS)
    wnids = _wnids(data_root(root))
    columns = {number: column for column, number in enumerate(_spread(len(wnids), classes))}
    folder = data_root(root) / _HOLDS[name][0]
    if not folder.is_dir():
        raise _absent(folder, name)
    groups = {
        place: group
        for place, numbers in _numbers(name, folder, wnids).items()
        if (group := tuple(columns[number] for number in numbers if number in columns))
    }
    listed: Any = load_torchvision().datasets.folder
    labels = {place: label for label, place in enumerate(groups)}
    files: list[tuple[str, int]] = []
    if labels:
        files = listed.make_dataset(str(folder), labels, extensions=listed.IMG_EXTENSIONS, allow_empty=True)
    if len(groups) < 2 or not files:
        raise FileNotFoundError(
            f"{folder} holds {len(files)} pictures of {len(groups)} of the {len(columns)} classes; at least "
            f"two classes are needed. It should hold {_HOLDS[name][1]}"
        )
    files.sort(key=itemgetter(1))  # torchvision sorts the folders of V2 as words: 0, 1, 10
    paths, numbered = zip(*files, strict=True)
    border = _OBJECTNET_BORDER if name == "objectnet" else 0
    return PictureSet(name, paths, torch.tensor(numbered), tuple(groups.values()), border)


def class_numbers(root: str | Path | None = None, classes: int | None = None) -> tuple[int, ...]:
    """Return which classes of the whole sorted list are the columns 0..C-1; see :func:`imagenet_set`."""
    return _spread(len(_wnids(data_root(root))), classes)


def _wnids(root: Path) -> list[str]:
    """The WordNet ids of the classes, sorted, which numbers them as torchvision does."""
    for name in ("train", "val"):
        folder = root / _HOLDS[name][0]
        if folder.is_dir() and _folders(folder):
            return _folders(folder)
    raise _absent(root / _HOLDS["train"][0], "train")


def _folders(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != ".")


def _spread(total: int, classes: int | None) -> tuple[int, ...]:
    wanted = total if classes is None else classes
    check_whole("classes", wanted, 2)
    if wanted > total:
        raise ValueError(f"classes={wanted}; allowed: 2 to {total}, the classes there are, or None for all")
    return tuple(i * total // wanted for i in range(wanted))


def _absent(path: Path, name: str) -> FileNotFoundError:
    return FileNotFoundError(
        f"{path} was not found. It should hold {_HOLDS[name][1]}. Put it there, or point MEMORIZATION_DATA "
        f"at the folder above {_HOLDS[name][0]}; it is never downloaded. {STAND_INS}"
    )


def _numbers(name: str, folder: Path, wnids: Sequence[str]) -> dict[str, list[int]]:
    """Which classes of the whole list each folder of a set stands for."""
    present = _folders(folder)
    if name == "objectnet":
        named = _objectnet_classes(folder.parent / "mappings", len(wnids))
        return {place: named[place] for place in present if place in named}
    if name == "v2":
        numbered = {str(number): [number] for number in range(len(wnids))}
        if set(present) != set(numbered):
            raise ValueError(
                f"the folders of {folder} are not 0 to {len(wnids) - 1}, the numbers of the {len(wnids)} "
                "classes of imagenet/train. They number the sorted list of all classes: keep the whole list "
                "there, and choose fewer with classes="
            )
        return numbered
    known = {wnid: [number] for number, wnid in enumerate(wnids)}
    strange = [place for place in present if place not in known]
    if strange:
        raise ValueError(
            f"{folder} has {len(strange)} folders that are no class of imagenet/train, such as {strange[0]}; "
            "keep the whole list of classes in imagenet/train, and choose fewer with classes="
        )
    return {place: known[place] for place in present}


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
    return found


def _mapping(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} was not found. ObjectNet brings {', '.join(_MAPPINGS)} in its folder 'mappings', which "
            f"say what its folders stand for. {STAND_INS}"
        )
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else text.splitlines()


def clip_view(pixels: int, *, training: bool = False) -> View:
    """Return CLIP's view of a picture: the shorter side to ``pixels``, bicubic, and the central square of it.

    Args:
        pixels: side of the view, >= 1.
        training: the view for distillation of Zhang et al. (ICML 2024): a random crop of 90 to 100 % of the
            area, flipped every second time. It draws from torch's global generator.
    """
    check_whole("pixels", pixels, 1)
    of: Any = load_torchvision().transforms
    bicubic = of.InterpolationMode.BICUBIC
    if training:
        cut = [of.RandomResizedCrop(pixels, (0.9, 1.0), interpolation=bicubic), of.RandomHorizontalFlip()]
    else:
        cut = [of.Resize(pixels, bicubic), of.CenterCrop(pixels)]
    view: View = of.Compose([*cut, of.ToTensor(), of.Normalize(_CLIP_MEAN, _CLIP_DEVIATION)])
    return view


@dataclass(frozen=True)
class _Views(Dataset[tuple[Tensor, int]]):
    """Views of all pictures of a set in one epoch, with their labels."""

    pictures: PictureSet
    view: View
    seed: int = 0
    epoch: int = 0

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        path, border = self.pictures.files[index], self.pictures.border
        try:
            picture = load_torchvision().datasets.folder.pil_loader(path)
        except OSError as error:  # Pillow's own errors are of this kind
            raise RuntimeError(
                f"{path} is damaged: it cannot be decoded ({error}). Unpack it again."
            ) from error
        width, height = picture.size
        picture = picture.crop((border, border, width - border, height - border))
        with torch.random.fork_rng(devices=[]):  # torchvision's random views take the global generator alone
            torch.set_rng_state(generator(self.seed, "view", self.epoch, index).get_state())
            return self.view(picture), int(self.pictures.labels[index])

    def loader(self, batch: int, workers: int, **options: Any) -> DataLoader[tuple[Tensor, int]]:
        """Batches in order, or as ``options`` of PyTorch's loader say."""
        source = generator(self.seed, "workers", self.epoch)  # else it draws from the global generator
        pinned = torch.cuda.is_available()
        return DataLoader(self, batch, num_workers=workers, pin_memory=pinned, generator=source, **options)


def training_batches(
    pictures: PictureSet, view: View, batch: int, seed: int, workers: int = 0
) -> Callable[[int], DataLoader[tuple[Tensor, int]]]:
    """Return a function of the epoch that returns its batches of views and labels, in random order.

    Args:
        pictures: N pictures.
        view: of each picture; what it draws from torch's global generator depends on seed, epoch and picture.
        batch: pictures a batch; the incomplete last batch is dropped.
        seed: of order and views.
        workers: worker processes that decode; 0 decodes in this process.

    Raises:
        ValueError: if the pictures do not fill one batch.
    """
    if not 1 <= batch <= len(pictures):
        raise ValueError(f"batch={batch}; allowed: 1 to {len(pictures)}, the pictures of {pictures.name}")

    def batches(epoch: int) -> DataLoader[tuple[Tensor, int]]:
        order = torch.randperm(len(pictures), generator=generator(seed, "order", epoch)).tolist()
        return _Views(pictures, view, seed, epoch).loader(batch, workers, sampler=order, drop_last=True)

    return batches


@torch.no_grad()
def picture_outputs(
    network: nn.Module,
    pictures: PictureSet,
    view: View,
    batch: int = 256,
    workers: int = 0,
    device: str | torch.device = "cpu",
) -> Tensor:
    """Return what a network gives for all pictures of a set, in evaluation mode.

    Args:
        network: maps views (B, 3, height, width) to (B, D); moved to ``device``, left in evaluation mode.
        pictures: N pictures.
        view: of each picture.
        batch: pictures a batch.
        workers: worker processes that decode; 0 decodes in this process.
        device: where to compute.

    Returns:
        Shape (N, D), float32, on the CPU; memory is taken once (ImageNet's training half: 5 GB for D = 1024).
    """
    network.to(device).eval()
    rows, done = torch.empty(0), 0
    for views, _ in _Views(pictures, view).loader(batch, workers):
        given = network(views.to(device, non_blocking=True)).float().cpu()
        rows = rows if done else torch.empty(len(pictures), given.shape[1])
        rows[done : done + len(given)] = given
        done += len(given)
    return rows


def top1(outputs: Tensor, pictures: PictureSet) -> float:
    """Return the fraction of pictures whose largest output is that of their class, ties to the first.

    Args:
        outputs: shape (N, C), one column per ImageNet class.
        pictures: N pictures, which also say which columns count: of a class of several, the largest.

    Returns:
        In [0, 1].
    """
    competing = torch.stack([outputs[:, list(group)].amax(1) for group in pictures.groups], 1)  # (N, G)
    return (competing.argmax(1).cpu() == pictures.labels).double().mean().item()
