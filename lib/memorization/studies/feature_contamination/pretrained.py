"""ImageNet and the sets that shift it, in the folders in which their authors publish them.

Zhang et al. (ICML 2024) train on ImageNet and test on ImageNet-V2 (matched frequency), -R, -A, -Sketch and
ObjectNet. A network has one output per ImageNet class; a set says which of them count for it. ImageNet-R and
-A hold 200 of the classes, so the other columns are left out; a class of ObjectNet stands for one or several
ImageNet classes, and its output is the largest of theirs. Nothing here is ever downloaded.

Views of picture files that are too large and too many for memory, decoded by worker processes.

A view is a function of (seed, epoch, picture), whatever the number of worker processes: a resumed training
sees what the lost one would have seen, and no global generator is touched.

CLIP's image towers: the teacher with OpenAI's weights, and a student of the same architecture.

Zhang et al. (ICML 2024) distill a tower of CLIP (Radford et al., ICML 2021) into a network of the same
architecture that starts at random. The architectures come from the optional package open_clip; the weights
are read from a file, and never fetched.

Distillation: a student learns a teacher's features from pictures alone, without labels.

Zhang et al. (ICML 2024): if a network of the teacher's own architecture, trained to give the teacher's
features on one distribution, fails on others, then what fails is the learning, not what it can represent.

A linear classifier on frozen features, trained as in the papers on distribution shift.

Accuracy of networks on ImageNet and its shifts, from features or outputs that are computed once.

Standard models: networks trained on ImageNet's labels alone, the baseline of effective robustness.

The experiment on CLIP: a student that learned CLIP's features on ImageNet, tested under shift.

Zhang et al. (ICML 2024), distillation: the student has the teacher's architecture and sees the teacher's
features as targets, so neither labels nor capacity explain where it falls behind the teacher.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import os
import pickle
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from torch.utils.data import DataLoader, Dataset

from memorization.checks import did_you_mean
from memorization.data.files import load_torchvision
from memorization.data.image_sets import data_root
from memorization.draws import generator
from memorization.models.layers import build
from memorization.runs.sweep import experiment
from memorization.studies.feature_contamination.distillation import distillation_error
from memorization.training.checkpoint import load_checkpoint, save_checkpoint
from memorization.training.train import WarmDescent, WarmRecipe

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


Box = tuple[int, int, int, int]
_TRIES = 10  # as torchvision: after ten boxes that do not fit, the crop is a centered one


@dataclass(frozen=True)
class Preparation:
    """How a picture becomes the input of a network.

    The defaults are CLIP's: shorter side to ``pixels``, bicubic, and the central square of it.

    Attributes:
        pixels: side of the input, >= 1.
        shorter: length of the shorter side before the central crop, >= ``pixels``; None: ``pixels``.
        filter: ``bicubic`` or ``bilinear``.
        mean: of the red, green and blue values in [0, 1]; subtracted.
        deviation: divided by.
    """

    pixels: int
    shorter: int | None = None
    filter: str = "bicubic"
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    deviation: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)

    def __post_init__(self) -> None:
        """Refuse sizes and filters that cannot be."""
        if self.pixels < 1 or (self.shorter or self.pixels) < self.pixels:
            raise ValueError(f"pixels={self.pixels}, shorter={self.shorter}; allowed: 1 <= pixels <= shorter")
        if self.filter not in ("bicubic", "bilinear"):
            raise ValueError(f"filter={self.filter!r}; allowed: bicubic, bilinear")

    def shrink(self, picture: Any, size: tuple[int, int]) -> Any:
        """Return the picture with width and height ``size``."""
        from PIL import Image  # slow to import, and only large pictures need it

        return picture.resize(size, Image.Resampling[self.filter.upper()])

    def tensor(self, picture: Any) -> Tensor:
        """Return the picture as a network's input: shape (3, height, width), float32."""
        values = torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div_(255)
        mean, deviation = torch.tensor(self.mean), torch.tensor(self.deviation)
        return values.sub_(mean[:, None, None]).div_(deviation[:, None, None])


def supervised() -> Preparation:
    """Return how torchvision's first supervised ImageNet models see a picture."""
    return Preparation(224, 256, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def open_picture(path: str, border: int = 0) -> Any:
    """Decode a picture to red, green and blue, and cut off a border.

    Raises:
        RuntimeError: if the file is damaged; names it.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            picture = image.convert("RGB")
    except OSError as error:  # Pillow's own errors are of this kind
        raise RuntimeError(f"{path} is damaged: it cannot be decoded ({error}). Unpack it again.") from error
    width, height = picture.size
    return picture.crop((border, border, width - border, height - border)) if border else picture


def central(picture: Any, how: Preparation) -> Tensor:
    """Return the central square of a picture for evaluation: shape (3, pixels, pixels), float32."""
    shorter = how.shorter or how.pixels
    width, height = picture.size
    longer = int(shorter * max(width, height) / min(width, height))
    size = (shorter, longer) if width <= height else (longer, shorter)
    left, top = (round((side - how.pixels) / 2) for side in size)
    return how.tensor(how.shrink(picture, size).crop((left, top, left + how.pixels, top + how.pixels)))


def random_crop(picture: Any, how: Preparation, source: torch.Generator) -> Tensor:
    """Return a random view for training: a crop of 90 to 100 % of the area, flipped every second time.

    Zhang et al. (ICML 2024), views for distillation: torchvision's random resized crop with scale (0.9, 1),
    and a horizontal flip.

    Returns:
        Shape (3, pixels, pixels), float32.
    """
    numbers = torch.rand(2 * _TRIES + 3, generator=source).tolist()
    box = crop_box(picture.size, (0.9, 1.0), (3 / 4, 4 / 3), numbers[1:])
    view = how.tensor(how.shrink(picture.crop(box), (how.pixels, how.pixels)))
    return view.flip(2) if numbers[0] < 0.5 else view


def crop_box(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float], numbers: list[float]
) -> Box:
    """Choose the box of a random resized crop by torchvision's rule.

    Args:
        size: width and height of the picture in pixels.
        scale: smallest and largest area as a fraction of the picture's.
        ratio: smallest and largest width over height, log-uniform.
        numbers: 22 numbers, uniform on [0, 1).

    Returns:
        Left, top, right and bottom in pixels.
    """
    width, height = size
    for first in range(2, 2 + 2 * _TRIES, 2):
        area = width * height * (scale[0] + (scale[1] - scale[0]) * numbers[first])
        low, high = math.log(ratio[0]), math.log(ratio[1])
        aspect = math.exp(low + (high - low) * numbers[first + 1])
        w, h = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < w <= width and 0 < h <= height:
            left, top = int(numbers[0] * (width - w + 1)), int(numbers[1] * (height - h + 1))
            return left, top, left + w, top + h
    aspect = min(max(width / height, ratio[0]), ratio[1])
    w, h = min(width, round(height * aspect)), min(height, round(width / aspect))
    left, top = (width - w) // 2, (height - h) // 2
    return left, top, left + w, top + h


@dataclass(frozen=True)
class _Views(Dataset[tuple[Tensor, int]]):
    pictures: PictureSet
    view: Callable[[Any, int], Tensor] = field(repr=False)

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = open_picture(self.pictures.files[index], self.pictures.border)
        return self.view(picture, index), int(self.pictures.labels[index])


def _central(picture: Any, index: int, how: Preparation) -> Tensor:
    return central(picture, how)


def _random(picture: Any, index: int, how: Preparation, seed: int, epoch: int) -> Tensor:
    return random_crop(picture, how, generator(seed, "view", epoch, index))


def central_batches(
    pictures: PictureSet, how: Preparation, batch: int, workers: int = 0
) -> DataLoader[tuple[Tensor, int]]:
    """Return batches of all pictures in order, each with its labels.

    Args:
        pictures: N pictures.
        how: preparation of each.
        batch: pictures a batch, >= 1; the last one may hold fewer.
        workers: worker processes that decode; 0 decodes in this process.
    """
    views = _Views(pictures, partial(_central, how=how))
    return _loader(views, batch, workers, generator(0, "workers"))


def training_batches(
    pictures: PictureSet, how: Preparation, batch: int, seed: int, workers: int = 0
) -> Callable[[int], DataLoader[tuple[Tensor, int]]]:
    """Return a function of the epoch that returns its batches of random views, in random order.

    Args:
        pictures: N pictures.
        how: preparation of each.
        batch: pictures a batch; the incomplete last batch is dropped.
        seed: of order and views.
        workers: worker processes that decode; the views do not depend on their number.

    Raises:
        ValueError: if the pictures do not fill one batch.
    """
    if not 1 <= batch <= len(pictures):
        raise ValueError(f"batch={batch}; allowed: 1 to {len(pictures)}, the pictures of {pictures.name}")

    def batches(epoch: int) -> DataLoader[tuple[Tensor, int]]:
        order = torch.randperm(len(pictures), generator=generator(seed, "order", epoch)).tolist()
        views = _Views(pictures, partial(_random, how=how, seed=seed, epoch=epoch))
        return _loader(
            views, batch, workers, generator(seed, "workers", epoch), sampler=order, drop_last=True
        )

    return batches


def _loader(
    views: _Views, batch: int, workers: int, source: torch.Generator, **options: Any
) -> DataLoader[tuple[Tensor, int]]:
    # the loader draws seeds for its workers, from the global generator unless it is given one
    pinned = torch.cuda.is_available()
    return DataLoader(views, batch, num_workers=workers, pin_memory=pinned, generator=source, **options)


@dataclass(frozen=True)
class ClipStudent:
    """How Zhang et al. (ICML 2024) trained one student; from the training scripts of their published code.

    Attributes:
        pixels: side of the images.
        dimensions: D, length of the features of teacher and student.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        epochs: passes over ImageNet's training half.
    """

    pixels: int
    dimensions: int
    learning_rate: float
    weight_decay: float
    epochs: int


CLIP_STUDENTS = {
    "RN50": ClipStudent(224, 1024, 1e-3, 0.05, 50),
    "RN101": ClipStudent(224, 512, 1e-3, 0.1, 50),
    "RN50x4": ClipStudent(288, 640, 1e-4, 0.5, 50),
    "RN50x16": ClipStudent(384, 768, 1e-4, 0.5, 100),
    "ViT-B-16": ClipStudent(224, 512, 5e-5, 0.1, 300),
}
_HUBS = {
    "RN50": "timm/resnet50_clip.openai",
    "RN101": "timm/resnet101_clip.openai",
    "RN50x4": "timm/resnet50x4_clip.openai",
    "RN50x16": "timm/resnet50x16_clip.openai",
    "ViT-B-16": "timm/vit_base_patch16_clip_224.openai",
}
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_EMBEDDINGS = ("class_embedding", "positional_embedding", "proj")


def clip_student(architecture: str, generator: torch.Generator, *, pixels: int | None = None) -> nn.Module:
    """Return an image tower of CLIP at random: every module as PyTorch initializes it by default.

    CLIP's own beginning (zero in the last normalization of each block) is not kept, as in the code of Zhang
    et al. (ICML 2024); embeddings and the projection are Gaussian with variance 1/width.

    Args:
        architecture: a name of ``CLIP_STUDENTS``.
        generator: source of the weights, on the CPU.
        pixels: side of the images; None: the architecture's own. A ResNet needs a multiple of 32.

    Returns:
        Maps (B, 3, pixels, pixels) to features (B, D), unnormalized; float32.

    Raises:
        ValueError: for an unknown architecture or a size that it cannot take.
        ImportError: if open_clip is absent.
    """
    tower = _empty_tower(architecture, pixels)
    with torch.no_grad():
        for module in reversed(list(tower.modules())):  # a module's own law comes after its parts'
            _draw(module, generator)
    return tower.train()


def clip_teacher(architecture: str, weights: str | Path = "", *, pixels: int | None = None) -> nn.Module:
    """Return an image tower of CLIP with OpenAI's weights, frozen, in evaluation mode.

    Args:
        architecture: a name of ``CLIP_STUDENTS``.
        weights: file with the weights; empty: the local caches, see :func:`clip_weights`.
        pixels: side of the images; None: the architecture's own. At another one the position embeddings are
            interpolated (bicubic), and the features are not quite those of the published tower.

    Returns:
        Maps (B, 3, pixels, pixels) to features (B, D), unnormalized (``encode_image``); float32.

    Raises:
        ValueError, ImportError: as :func:`clip_student`.
        FileNotFoundError: if no file is there; says where it was looked for.
        RuntimeError: if the file does not hold this tower.
    """
    path = clip_weights(architecture, weights)
    tower = _empty_tower(architecture, pixels)
    try:
        found = {k[7:]: v.float() for k, v in _read(path).items() if k.startswith("visual.")}
        sizes = {name: value.shape for name, value in tower.state_dict().items()}
        for name, value in found.items():
            if name.endswith("positional_embedding") and name in sizes:
                found[name] = _resized(value, sizes[name][0])
        tower.load_state_dict(found)
    except Exception as error:
        raise RuntimeError(
            f"{path} does not hold the image tower of {architecture} ({type(error).__name__}: {error})"
        ) from error
    return tower.eval().requires_grad_(False)


def clip_weights(architecture: str, weights: str | Path = "") -> Path:
    """Return the file with OpenAI's weights: the one given, else one in the caches of clip and open_clip.

    Raises:
        ValueError: for an unknown architecture.
        FileNotFoundError: if there is none; nothing is fetched.
    """
    _settings(architecture)
    original = Path.home() / ".cache" / "clip" / f"{architecture}.pt"
    places = [Path(weights)] if str(weights) else [original, *_hub_files(architecture)]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"no weights of CLIP {architecture} in {places[0]}"
        + ("" if str(weights) else f", nor in the Hugging Face cache as {_HUBS[architecture]}")
        + ". They are never fetched here: load them once with open_clip.create_model("
        f"{architecture!r}, pretrained='openai'), or give their file as weights=. {STAND_INS}"
    )


def _settings(architecture: str) -> ClipStudent:
    if architecture not in CLIP_STUDENTS:
        raise ValueError(
            f"unknown CLIP architecture {architecture!r}; choose one of {', '.join(CLIP_STUDENTS)}"
            f"{did_you_mean(architecture, CLIP_STUDENTS)}"
        )
    return CLIP_STUDENTS[architecture]


def _hub_files(architecture: str) -> list[Path]:
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        return []
    found = [hub.try_to_load_from_cache(_HUBS[architecture], file) for file in _HUB_FILES]
    return [Path(path) for path in found if isinstance(path, str)]


def _open_clip() -> ModuleType:
    load_torchvision()  # open_clip imports it, which fails beside a torch without CUDA unless done here
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise ImportError(
            f"CLIP needs the package open_clip ({error}): pip install 'memorization-measured[clip]'. "
            f"{STAND_INS}"
        ) from error


def _empty_tower(architecture: str, pixels: int | None) -> nn.Module:
    """The image tower with storage, and no numbers in it; the text tower is made without storage."""
    side = _settings(architecture).pixels if pixels is None else pixels
    step = 16 if architecture.startswith("ViT") else 32
    if side < step or side % step:
        raise ValueError(
            f"pixels={side}; allowed for {architecture}: a multiple of {step}, such as {8 * step}"
        )
    package: Any = _open_clip()
    config = package.get_model_config(architecture)
    config["vision_cfg"]["image_size"] = side
    with torch.device("meta"):
        whole = package.CLIP(**{**config, "quick_gelu": True})  # the activation of OpenAI's own networks
    return whole.visual.to_empty(device="cpu")


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    """Draw a module's own parameters by PyTorch's default laws."""
    values = dict(module.named_parameters(recurse=False))
    if isinstance(module, nn.Conv2d | nn.Linear):
        bound = 1 / math.sqrt(module.weight[0].numel())
        for value in values.values():
            value.uniform_(-bound, bound, generator=generator)
    elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    elif isinstance(module, nn.MultiheadAttention):
        nn.init.xavier_uniform_(values["in_proj_weight"], generator=generator)
        nn.init.zeros_(values["in_proj_bias"])
        nn.init.zeros_(module.out_proj.bias)
    else:
        for name, value in values.items():
            if name not in _EMBEDDINGS:
                raise TypeError(f"no law for {name} of {type(module).__name__}")
            width = value.shape[0] if name == "proj" else value.shape[-1]
            value.normal_(0, width**-0.5, generator=generator)


def _read(path: Path) -> dict[str, Tensor]:
    """All weights of a file: OpenAI's compiled archive, a state as torch saves it, or safetensors."""
    if path.suffix == ".safetensors":
        return importlib.import_module("safetensors.torch").load_file(path)
    try:
        return torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError:
        return torch.load(path, map_location="cpu", weights_only=True)


def _resized(embedding: Tensor, tokens: int) -> Tensor:
    """Interpolate the positions of a square grid, (1 + side^2, width); the first one is the whole image's."""
    if len(embedding) == tokens:
        return embedding
    old, new = math.isqrt(len(embedding) - 1), math.isqrt(tokens - 1)
    grid = embedding[1:].T.reshape(1, -1, old, old)
    grid = interpolate(grid, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([embedding[:1], grid.flatten(2)[0].T])


Batches = Callable[[int], Iterable[Tensor | Sequence[Tensor]]]
"""Returns the batches of an epoch, counted from 0: images, or images and what is not looked at."""
PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True)
class Distilled:
    """A finished distillation.

    Attributes:
        student: the trained student, in evaluation mode.
        history: one row per epoch: ``epoch`` (counted from 1), ``loss``, ``learning_rate``.
    """

    student: nn.Module
    history: pd.DataFrame


def fit_to_teacher(
    teacher: nn.Module,
    student: nn.Module,
    batches: Batches,
    steps: int,
    recipe: WarmRecipe,
    *,
    weight: float = 1.0,
    precision: str = "float32",
    device: str | torch.device = "cpu",
    data: str = "",
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Distilled:
    """Train a student to give a teacher's features.

    Zhang et al. (ICML 2024), distillation of CLIP: the loss is the squared distance of the features, averaged
    over batch and dimensions. The student is in training mode throughout. The teacher is in evaluation mode
    and frozen, sees the same views, and computes in float32.

    Args:
        teacher: maps images (B, ...) to features (B, D); moved to ``device`` and frozen.
        student: the same shapes; trained in place.
        batches: the batches of an epoch.
        steps: batches in each epoch, >= 1.
        recipe: how to descend.
        weight: factor of the loss, > 0; it matters beside the clipping of gradients only.
        precision: ``float32``, or ``bf16`` for the student's arithmetic (weights and loss stay float32).
        device: where to compute.
        data: what the batches are, in words or as a digest: a checkpoint of others is refused.
        checkpoint: file to go on from, where it exists; written after each epoch.
        progress: called as ``progress(epochs done, epochs)``.

    Returns:
        The student and its history.

    Raises:
        ValueError: for values out of range, features of different shapes, an epoch with another number of
            batches, or a checkpoint of another training.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    _check(steps, weight, precision)
    _placed(teacher, device).eval().requires_grad_(False)
    _placed(student, device).train()
    descent = WarmDescent(student.parameters(), recipe, steps)
    name = {
        "recipe": json.dumps({**asdict(recipe), "weight": weight, "precision": precision, "steps": steps}),
        "data": data,
        "teacher": weights_digest(teacher),
        "initial weights": weights_digest(student),
    }
    history: list[dict[str, Any]] = []
    found = load_checkpoint(checkpoint, name)
    if found is not None:
        student.load_state_dict(found["student"])
        descent.restore(found["descent"])
        history = found["history"]
    for epoch in range(len(history), recipe.epochs):
        _epoch(teacher, student, batches(epoch), descent, weight, precision, device)
        if descent.step != (epoch + 1) * steps:
            raise ValueError(
                f"epoch {epoch + 1} had {descent.step - epoch * steps} batches, steps={steps} were said"
            )
        history.append({"epoch": epoch + 1, **descent.end_epoch()})
        if checkpoint is not None:
            state = {"student": student.state_dict(), "descent": descent.saved(), "history": history}
            save_checkpoint(checkpoint, name, state)
        if progress is not None:
            progress(epoch + 1, recipe.epochs)
    return Distilled(student.eval(), pd.DataFrame(history))


def weights_digest(network: nn.Module) -> str:
    """Return sixteen hexadecimal digits of all weights and buffers of a network."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _placed(network: nn.Module, device: str | torch.device) -> nn.Module:
    """On a GPU convolutions are faster with the channels last."""
    network.to(device)
    if torch.device(device).type == "cuda":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it
    return network


def _check(steps: int, weight: float, precision: str) -> None:
    if steps < 1 or not weight > 0:
        raise ValueError(f"steps={steps}, weight={weight}; allowed: steps >= 1 in an epoch, weight > 0")
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}; allowed: {', '.join(PRECISIONS)}")


def _epoch(
    teacher: nn.Module,
    student: nn.Module,
    batches: Iterable[Tensor | Sequence[Tensor]],
    descent: WarmDescent,
    weight: float,
    precision: str,
    device: str | torch.device,
) -> None:
    kind = torch.device(device).type
    for batch in batches:
        images = batch if isinstance(batch, Tensor) else batch[0]
        images = images.to(device, non_blocking=True)
        if kind == "cuda" and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            wanted = teacher(images)
        with torch.autocast(kind, torch.bfloat16) if precision == "bf16" else nullcontext():
            given = student(images)
        if given.shape != wanted.shape:
            raise ValueError(
                f"the student gives features of shape {tuple(given.shape)}, the teacher "
                f"{tuple(wanted.shape)}; allowed: the same shape"
            )
        descent.down(weight * (given.float() - wanted.float()).square().mean())


def fit_linear_head(
    features: Tensor,
    labels: Tensor,
    classes: int,
    recipe: WarmRecipe,
    *,
    seed: int,
    batch: int = 256,
    device: str | torch.device = "cpu",
) -> nn.Linear:
    """Train a linear layer by cross-entropy on features that were computed once.

    Zhang et al. (ICML 2024), linear probe: AdamW with learning rate 1e-3, 500 steps of warm-up, 10 epochs of
    batches of 256, and weight decay 0.1 on CLIP's own features, 1e-3 on distilled ones.

    Args:
        features: shape (N, D), floating point, on any device; they stay there, and batches are moved.
        labels: shape (N,), int64 in 0..C-1.
        classes: number C >= 2 of classes.
        recipe: how to descend.
        seed: of the initial weights and the order.
        batch: examples a step, in 1..N; the incomplete last batch is dropped.
        device: where to compute.

    Returns:
        The trained layer, in evaluation mode, on ``device``.

    Raises:
        ValueError: for shapes or labels that do not fit, or a batch larger than N.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    _check_linear_head(features, labels, classes, batch)
    width = features.shape[1]
    head = build(lambda: nn.Linear(width, classes), generator(seed, "head")).to(device)
    steps = len(features) // batch
    descent = WarmDescent(head.parameters(), recipe, steps)
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(features), generator=generator(seed, "head order", epoch))
        for chosen in order[: steps * batch].to(features.device).view(steps, batch):
            seen, wanted = features[chosen].to(device).float(), labels[chosen.to(labels.device)].to(device)
            descent.down(cross_entropy(head(seen), wanted))
        descent.end_epoch()
    return head.eval().requires_grad_(False)


def _check_linear_head(features: Tensor, labels: Tensor, classes: int, batch: int) -> None:
    if features.ndim != 2 or not features.is_floating_point() or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features are {features.dtype} of shape {tuple(features.shape)}, labels of shape "
            f"{tuple(labels.shape)}; allowed: floating point (N, D) and (N,)"
        )
    if classes < 2 or bool(((labels < 0) | (labels >= classes)).any()):
        raise ValueError(f"labels must be in 0..{classes - 1} (classes={classes}; at least 2)")
    if not 1 <= batch <= len(features):
        raise ValueError(f"batch={batch}; allowed: 1 to {len(features)}, the number of examples")


@torch.no_grad()
def collected(
    network: nn.Module, batches: Iterable[Sequence[Tensor]], examples: int, device: str | torch.device = "cpu"
) -> Tensor:
    """Return what a network gives for all examples, in evaluation mode.

    Args:
        network: maps (B, ...) to (B, D); moved to ``device`` and left in evaluation mode.
        batches: of images first, in order.
        examples: number N of examples in all the batches.
        device: where to compute.

    Returns:
        Shape (N, D), float32, on the CPU; memory is taken once (ImageNet's training half: 5 GB for D = 1024).

    Raises:
        ValueError: if the batches hold another number of examples.
    """
    network.to(device).eval()
    rows: Tensor | None = None
    done = 0
    for batch in batches:
        given = network(batch[0].to(device, non_blocking=True)).float().cpu()
        if rows is None:
            rows = torch.empty(examples, given.shape[1])
        if done + len(given) <= examples:
            rows[done : done + len(given)] = given
        done += len(given)
    if rows is None or done != examples:
        raise ValueError(f"the batches held {done} examples, {examples} were said")
    return rows


@torch.no_grad()
def top1(outputs: Tensor, pictures: PictureSet) -> float:
    """Return the fraction of pictures whose largest output is that of their class, ties to the first.

    Args:
        outputs: shape (N, C), one column per ImageNet class.
        pictures: N pictures, which also say which columns count.

    Returns:
        In [0, 1].
    """
    guesses = [set_outputs(part, pictures.groups).argmax(1).cpu() for part in outputs.split(4096)]
    return (torch.cat(guesses) == pictures.labels).double().mean().item()


STANDARD_MODELS = (
    "alexnet",
    "squeezenet1_1",
    "shufflenet_v2_x1_0",
    "mobilenet_v2",
    "vgg11",
    "vgg16",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
)
"""torchvision's networks whose first published weights come from plain supervised training at 224 pixels.
A choice of ours: Zhang et al. (ICML 2024) publish no list of theirs."""


@experiment("standard_accuracies")
def standard_accuracies(
    *,
    root: str = "",
    models: Sequence[str] = STANDARD_MODELS,
    cache: str = "",
    classes: int | None = None,
    shifts: Sequence[str] = IMAGENET_SHIFTS,
    batch: int = 256,
    workers: int = 8,
    device: str = "cpu",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Test torchvision's supervised networks on ImageNet and its shifts, as far as their weights are here.

    Taori et al. (NeurIPS 2020) and Miller et al. (ICML 2021): on such models the accuracy under shift is a
    function of the accuracy without, see :func:`robustness_line`.

    Args:
        root: folder that holds ``imagenet`` and the shifts; empty: ``$MEMORIZATION_DATA`` or ``data``.
        models: names of ``STANDARD_MODELS``.
        cache: folder with torchvision's weight files; empty: torch's own. Nothing is fetched.
        classes: number of ImageNet classes, spread evenly, whose outputs are compared; None: all.
        shifts: some of ``v2``, ``r``, ``a``, ``sketch``, ``objectnet``.
        batch: pictures a batch.
        workers: worker processes that decode pictures.
        device: where to compute.
        seed: not used: the networks are given; a sweep hands one to every function.

    Returns:
        One row per model and set: ``model``, ``set``, ``images``, ``accuracy`` (top-1). Models without
        weights have none, and a warning names their files.

    Raises:
        ValueError: for an unknown model, or other than ImageNet's 1000 classes in ``imagenet/train``.
        FileNotFoundError: if a set is absent, or no weights of any of the models are there.
        RuntimeError: if a file of weights is damaged.
    """
    sets = [imagenet_set(name, root or None, classes=classes) for name in ("val", *shifts)]
    columns = _columns(root, classes)
    folder = Path(cache) if cache else Path(torch.hub.get_dir()) / "checkpoints"
    files = {name: folder / _file(name) for name in models}
    absent = [file.name for file in files.values() if not file.is_file()]
    if absent:
        text = (
            f"no weights in {folder} for {len(absent)} of {len(files)} standard models: {', '.join(absent)}"
        )
        if len(absent) == len(files):
            raise FileNotFoundError(
                f"{text}. Put some there (torchvision names where they are), or leave them out"
            )
        warnings.warn(f"{text}; they have no rows", stacklevel=2)
    how, rows = supervised(), []
    for name, file in files.items():
        if not file.is_file():
            continue
        network = _network(name, file)
        for pictures in sets:
            outputs = collected(
                network, central_batches(pictures, how, batch, workers), len(pictures), device
            )
            row = {"model": name, "set": pictures.name, "images": len(pictures)}
            rows.append({**row, "accuracy": top1(outputs[:, columns], pictures)})
    return rows


def _columns(root: str, classes: int | None) -> list[int]:
    whole = len(class_numbers(root))
    if whole != 1000:
        raise ValueError(
            f"imagenet/train has {whole} classes; torchvision's networks have one output for each of the "
            "1000: keep the whole list there, and choose fewer with classes="
        )
    return list(class_numbers(root, classes))


def _file(name: str) -> str:
    """The name of the weight file, as torch keeps it."""
    if name not in STANDARD_MODELS:
        near = did_you_mean(name, STANDARD_MODELS)
        raise ValueError(f"unknown standard model {name!r}; choose one of {', '.join(STANDARD_MODELS)}{near}")
    models: Any = load_torchvision().models
    return str(models.get_model_weights(name).IMAGENET1K_V1.url).rsplit("/", 1)[1]


def _network(name: str, file: Path) -> nn.Module:
    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
        models: Any = load_torchvision().models
        with torch.device("meta"):
            network = models.get_model(name, weights=None)
        network = network.to_empty(device="cpu")
        network.load_state_dict(values)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise RuntimeError(f"{file} cannot be read as weights of {name} ({type(error).__name__})") from error
    return network


Row = dict[str, Any]
HEAD_DECAY = {"teacher": 0.1, "student": 1e-3}
"""Weight decay of the linear probe, from the scripts of Zhang et al. (ICML 2024)."""


@experiment("distil_clip")
def distil_clip(
    *,
    architecture: str = "RN50",
    root: str = "",
    weights: str = "",
    classes: int | None = None,
    shifts: Sequence[str] = IMAGENET_SHIFTS,
    pixels: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    warmup: int = 10_000,
    batch: int = 256,
    precision: str = "float32",
    probe_epochs: int = 10,
    probe_warmup: int = 500,
    workers: int = 8,
    device: str = "cpu",
    checkpoints: str = "",
    seed: int = 0,
) -> list[Row]:
    """Distill a CLIP image tower on ImageNet; probe teacher and student on ImageNet and its shifts.

    The paper's setting is the default; RN50 then takes days on one GPU. A cheaper variant: ``classes=100,
    pixels=160, epochs=30, warmup=1000``.

    Args:
        architecture: a name of ``CLIP_STUDENTS``, which also holds what None stands for below.
        root: folder that holds ``imagenet`` and the shifts; empty: ``$MEMORIZATION_DATA`` or ``data``.
        weights: file with OpenAI's weights; empty: the local caches.
        classes: number of ImageNet classes, spread evenly; None: all.
        shifts: some of ``v2``, ``r``, ``a``, ``sketch``, ``objectnet``.
        pixels: side of the views.
        epochs: passes over the training half.
        learning_rate: of the student.
        weight_decay: of the student.
        warmup: steps, fewer than those of the training.
        batch: pictures a step, of student and probe.
        precision: of the student's training, ``float32`` or ``bf16``.
        probe_epochs: epochs of the linear probe.
        probe_warmup: steps.
        workers: worker processes that decode pictures.
        device: where to compute.
        checkpoints: folder for a checkpoint after each epoch, to go on from after a loss; empty: none.
        seed: of the student's weights, the views and the probes.

    Returns:
        One row for ``teacher`` and ``student`` and each set (``val`` and the shifts): ``model``, ``set``,
        ``images``, ``accuracy`` (top-1), ``distillation_error`` (in units of the variance of the teacher's
        features; 0 for the teacher itself) and ``loss`` of the student's last epoch.

    Raises:
        FileNotFoundError: if a set or the weights are absent, before anything is trained.
        ImportError: if open_clip is absent.
        ValueError: for values out of range.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    if architecture not in CLIP_STUDENTS:
        meant = did_you_mean(architecture, CLIP_STUDENTS)
        names = ", ".join(CLIP_STUDENTS)
        raise ValueError(f"unknown architecture {architecture!r}{meant}; choose one of {names}")
    sets = {name: imagenet_set(name, root or None, classes=classes) for name in ("train", "val", *shifts)}
    settings = CLIP_STUDENTS.get(architecture)
    teacher = clip_teacher(architecture, weights, pixels=pixels)  # refuses an unknown architecture
    assert settings is not None
    how = Preparation(pixels or settings.pixels)
    student = clip_student(architecture, generator(seed, "student"), pixels=pixels)
    recipe = WarmRecipe(
        settings.epochs if epochs is None else epochs,
        settings.learning_rate if learning_rate is None else learning_rate,
        settings.weight_decay if weight_decay is None else weight_decay,
        warmup,
    )
    file = _checkpoint(checkpoints, architecture, seed, recipe, how, sets["train"], batch)
    views = training_batches(sets["train"], how, batch, seed, workers)
    done = fit_to_teacher(
        teacher,
        student,
        views,
        len(sets["train"]) // batch,
        recipe,
        precision=precision,
        device=device,
        data=f"{sets['train'].digest()} {how} {batch} {seed}",
        checkpoint=file,
    )
    probe = WarmRecipe(probe_epochs, 1e-3, 0.0, probe_warmup)
    return _rows(teacher, done, sets, how, probe, batch, workers, device, seed)


def _checkpoint(folder: str, architecture: str, seed: int, *what: Any) -> Path | None:
    """A file for this training; the checkpoint itself knows what else must agree."""
    if not folder:
        return None
    *settings, pictures, batch = what
    text = f"{settings} {pictures.digest()} {batch}"
    return Path(folder) / f"clip-{architecture}-{seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.pt"


def _rows(
    teacher: nn.Module,
    done: Distilled,
    sets: dict[str, PictureSet],
    how: Preparation,
    probe: WarmRecipe,
    batch: int,
    workers: int,
    device: str,
    seed: int,
) -> list[Row]:
    """Probe both towers: their features are computed once for each set."""
    rows: list[Row] = []
    classes = len(sets["train"].groups)
    wanted: dict[str, Tensor] = {}
    for model, tower in (("teacher", teacher), ("student", done.student)):
        found = {
            name: collected(tower, central_batches(pictures, how, batch, workers), len(pictures), device)
            for name, pictures in sets.items()
        }
        recipe = replace(probe, weight_decay=HEAD_DECAY[model])
        train = found.pop("train")
        labels = sets["train"].labels
        head = fit_linear_head(train, labels, classes, recipe, seed=seed, batch=batch, device=device).cpu()
        del train  # 5 GB
        wanted = wanted or found
        for name, features in found.items():
            row = {"model": model, "set": name, "images": len(sets[name])}
            row |= {"accuracy": top1(head(features), sets[name])}
            row |= {"distillation_error": distillation_error(features, wanted[name]).item()}
            rows.append({**row, "loss": float(done.history["loss"].iloc[-1])})
    return rows
