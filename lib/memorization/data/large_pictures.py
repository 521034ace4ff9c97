"""Views of picture files that are too large and too many for memory, decoded by worker processes.

A view is a function of (seed, epoch, picture), whatever the number of worker processes: a resumed training
sees what the lost one would have seen, and no global generator is touched.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from memorization.data.imagenet import PictureSet
from memorization.data.seeds import generator

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
