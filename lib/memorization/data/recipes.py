"""Augmentation policies made of crops, flips, rotations, color jitter, blur, grayscale and erasing."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from memorization.data.draws import Draws
from memorization.data.geometry import check_range, crop_boxes, erase, erase_boxes, look, rotations
from memorization.data.photometric import Jitter, blur_, draw_jitter, grayscale_, jitter_

Number = float | Tensor  # one for all views, or one per view as (B, 1)
_LEAST_AREA = 0.01  # of a crop, where a strength above 1 would ask for less
_RATIO = (3 / 4, 4 / 3)
_SIGMA = (0.1, 2.0)
_ERASED_AREA, _ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)


@dataclass(frozen=True)
class Views:
    """The random numbers of B views; None where a policy lacks the step.

    Attributes:
        boxes: crops: left, top, width, height in pixels, (B, 4).
        flips: mirrored left-right, up-down, (B, 2), bool.
        degrees: clockwise rotation, (B,).
        shift: to the right and down in whole pixels, (B, 2).
        jitter: color jitter.
        sigma: standard deviation of the blur in pixels, 0 for none, (B,).
        gray: whether turned to gray, (B,), bool.
        erased: boxes set to zero, as ``boxes``; no pixels for none.
    """

    boxes: Tensor | None = None
    flips: Tensor | None = None
    degrees: Tensor | None = None
    shift: Tensor | None = None
    jitter: Jitter | None = None
    sigma: Tensor | None = None
    gray: Tensor | None = None
    erased: Tensor | None = None


@dataclass(frozen=True)
class Recipe:
    """Which steps a policy has, in this order; a probability of 0 leaves a step out.

    A strength s multiplies every probability (up to 1), the rotation, the shift, the jitter's ranges and the
    logarithm of the crop's aspect, and moves the crop's areas from 1 towards the recipe's: 1 - s (1 - area),
    at least 0.01. s = 1 is the recipe itself, s = 0 changes nothing.

    Attributes:
        crop: smallest and largest area of a crop as a fraction of the image (aspect 3/4 to 4/3); None: no
            crop.
        mirror: probability of a left-right flip.
        upside_down: probability of an up-down flip.
        degrees: rotation U[0, degrees].
        shift: largest shift per axis as a fraction of the side, rounded to whole pixels; zeros come in.
        jitter: probability of color jitter.
        ranges: of the jitter: brightness, contrast, saturation, hue.
        blur: probability of a 3 x 3 Gaussian blur, standard deviation U[0.1, 2] pixels.
        gray: probability of grayscale.
        erase: probability that a box (area 0.02 to 0.33, aspect 0.3 to 3.3) is set to zero.

    Raises:
        ValueError: for a probability outside [0, 1], an area outside (0, 1] or a negative range.
    """

    crop: tuple[float, float] | None = None
    mirror: float = 0.0
    upside_down: float = 0.0
    degrees: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0
    ranges: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2)
    blur: float = 0.0
    gray: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.crop is not None:
            check_range("crop scale", *self.crop, most=1)
        for name in ("mirror", "upside_down", "jitter", "blur", "gray", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is a probability; allowed: 0..1")
        if not (self.degrees >= 0 and self.shift >= 0 and all(v >= 0 for v in self.ranges)):
            raise ValueError(
                f"degrees={self.degrees}, shift={self.shift}, ranges={self.ranges}; none may be negative"
            )

    @property
    def colors(self) -> bool:
        """Whether the policy needs three channels."""
        return self.jitter > 0 or self.gray > 0

    def draw(self, draws: Draws, channels: int, size: int, strength: Number) -> Views:
        """Draw the random numbers of B views of images with side ``size``."""
        drawn: dict[str, Tensor | Jitter | None] = {}
        if self.crop is not None:
            drawn["boxes"] = self._boxes(draws, size, strength)
        if self.mirror or self.upside_down:
            coins = torch.tensor([self.mirror, self.upside_down], device=draws.device)
            drawn["flips"] = draws.uniform(2) < coins * strength
        if self.degrees or self.shift:
            numbers = draws.uniform(3)
            drawn["degrees"] = (numbers[:, :1] * (self.degrees * strength)).squeeze(1)
            drawn["shift"] = ((2 * numbers[:, 1:] - 1) * (self.shift * size * strength)).round()
        if self.jitter:
            drawn["jitter"] = draw_jitter(draws, self.jitter * strength, self.ranges, strength)
        if self.blur:
            numbers = draws.uniform(2)
            sigma = _SIGMA[0] + numbers[:, :1] * (_SIGMA[1] - _SIGMA[0])
            drawn["sigma"] = (sigma * (numbers[:, 1:] < self.blur * strength)).squeeze(1)
        if self.gray:
            drawn["gray"] = (draws.uniform() < self.gray * strength).squeeze(1)
        if self.erase:
            boxes = erase_boxes(draws, size, _ERASED_AREA, _ERASED_RATIO)
            drawn["erased"] = boxes * (draws.uniform() < self.erase * strength)
        return Views(**drawn)  # type: ignore[arg-type]

    def _boxes(self, draws: Draws, size: int, strength: Number) -> Tensor:
        assert self.crop is not None
        areas = [1 - strength * (1 - end) for end in self.crop]
        low, high = (
            a.clamp(min=_LEAST_AREA) if isinstance(a, Tensor) else max(a, _LEAST_AREA) for a in areas
        )
        ratio = (_RATIO[0] ** strength, _RATIO[1] ** strength)
        return crop_boxes(draws, size, (low, high), ratio)

    def apply(self, images: Tensor, views: Views) -> Tensor:
        """Return the views of images (B, c, S, S), floats in [0, 1]; the images stay as they are."""
        maps = None
        if views.degrees is not None and views.shift is not None:
            maps = rotations(views.degrees, views.shift)
        if views.boxes is None and views.flips is None and maps is None:
            images = images.clone()  # the steps below write into it
        else:
            images = look(images, views.boxes, views.flips, maps)
        if views.jitter is not None:
            images = jitter_(images, views.jitter)
        if views.sigma is not None:
            images = blur_(images, views.sigma)
        if views.gray is not None:
            images = grayscale_(images, views.gray)
        return images if views.erased is None else erase(images, views.erased)


def part_of(views: object, rows: slice) -> object:
    """Return some rows of a dataclass of tensors, of dataclasses of them, or None."""
    if views is None or isinstance(views, Tensor):
        return None if views is None else views[rows]
    parts = {f.name: part_of(getattr(views, f.name), rows) for f in fields(views)}  # type: ignore[arg-type]
    return type(views)(**parts)


_FULL = Recipe(crop=(0.08, 1.0), mirror=0.5, jitter=0.8, gray=0.2)
RECIPES = {
    "none": Recipe(),
    "full": _FULL,
    "full_rotations": Recipe(crop=(0.08, 1.0), mirror=0.5, degrees=180, shift=0.2, jitter=0.8, gray=0.2),
    "most_difficult": Recipe(
        crop=(0.08, 1.0), mirror=0.5, upside_down=0.5, degrees=180, shift=0.2, jitter=0.8, blur=0.3, gray=0.2,
        erase=0.5,
    ),
    "isometry": Recipe(mirror=0.5, degrees=180, shift=0.2),
}  # fmt: skip
