"""Mild augmentations for small images: one resampling, then brightness, color and noise; cutout."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from memorization.data.augmentation.colors import hue_rotation
from memorization.draws import Draws

Number = float | Tensor  # one for all views, or one per view as (B, 1)
_GRAY = (0.299, 0.587, 0.114)  # adds up to 1, so that gray stays gray under all of the linear maps below
_LEAST = 0.05  # smallest area and aspect of a crop


@dataclass(frozen=True)
class SmallViews:
    """The random numbers of B views.

    Attributes:
        maps: places in the image for places in the view, in units of the half side, (B, 2, 3).
        factor: of brightness and contrast together, (B, 1, 1, 1).
        level: how much of the mean gray is added, (B, 1, 1, 1); None for no contrast.
        colors: matrices for (red, green, blue), the factor included, (B, 3, 3); None leaves colors alone.
        noise: what is added in the end, (B, c, S, S); None for no noise.
    """

    maps: Tensor
    factor: Tensor
    level: Tensor | None = None
    colors: Tensor | None = None
    noise: Tensor | None = None


@dataclass(frozen=True)
class SmallDigits:
    """Rotation, scale, anisotropy, shift, brightness and noise, for handwritten digits.

    The map from the view to the image is x -> R diag(c e^a, c e^-a) x + t with all ranges proportional to the
    strength s. There is no probability to scale, and any strength >= 0 makes sense up to scale s < 1.

    Attributes:
        degrees: rotation R by U(-degrees s, degrees s).
        scale: c = 1 + U(-scale s, scale s).
        anisotropy: a = U(-anisotropy s, anisotropy s).
        shift: t = U(-shift s, shift s) of the half side, per axis; zeros come in.
        brightness: factor 1 + U(-brightness s, brightness s).
        noise: standard deviation noise s of the Gaussian noise. Nothing is clamped.
    """

    degrees: float = 20.0
    scale: float = 0.2
    anisotropy: float = 0.15
    shift: float = 0.25
    brightness: float = 0.3
    noise: float = 0.1
    colors: bool = False  # no three channels needed

    def draw(self, draws: Draws, channels: int, size: int, strength: Number) -> SmallViews:
        """Draw the random numbers of B views."""
        ranges = _constants(
            (
                math.radians(self.degrees),
                self.scale,
                self.anisotropy,
                self.shift,
                self.shift,
                self.brightness,
            ),
            draws.device,
        )
        numbers = draws.uniform(6).mul_(2).sub_(1).mul_(ranges * strength)
        angle, scale, anisotropy, x, y, brightness = numbers.unbind(1)
        stretch = anisotropy.exp()
        width = (scale + 1).mul_(stretch)
        height = (scale + 1).div_(stretch)
        cos, sin = angle.cos(), angle.sin()
        maps = torch.stack([cos * width, -sin * height, x, sin * width, cos * height, y], dim=1).view(
            -1, 2, 3
        )
        noise = _noise(draws, channels, size, self.noise * strength)
        return SmallViews(maps, (brightness + 1).view(-1, 1, 1, 1), noise=noise)

    def apply(self, images: Tensor, views: SmallViews) -> Tensor:
        """Return the views of images (B, c, S, S)."""
        return _apply(images, views)


@dataclass(frozen=True)
class SmallPhotos:
    """Crop, flip, brightness, contrast, for three channels also saturation, hue rotation and grayscale,
    noise.

    At strength s the crop's area is U(1 - area s, 1) of the image and its aspect log-uniform between
    1 - aspect s and its inverse (both at least 0.05, sides at most the image's). The flip has probability 1/2
    at every s > 0. With probability 0.8 the colors change: all factors are 1 + U(-jitter s, jitter s), the
    hue turns by U(-hue s, hue s) of the circle, and these linear maps are one matrix per image. Nothing is
    clamped.

    Attributes:
        colors: whether the images have three channels, and all of their changes are applied.
        area: see above.
        aspect: see above.
        jitter: see above.
        hue: see above.
        gray: probability gray min(s, 1) of grayscale.
        noise: standard deviation noise s of the Gaussian noise.
    """

    colors: bool
    noise: float
    area: float = 0.5
    aspect: float = 0.25
    jitter: float = 0.4
    hue: float = 0.1
    gray: float = 0.2

    def draw(self, draws: Draws, channels: int, size: int, strength: Number) -> SmallViews:
        """Draw the random numbers of B views."""
        numbers = draws.uniform(11 if self.colors else 8)
        maps = self._maps(numbers[:, :5], strength)
        ranges = (self.jitter, self.jitter, self.jitter, self.hue)[: 4 if self.colors else 2]
        change = (numbers[:, 6 : 6 + len(ranges)] * 2 - 1) * (_constants(ranges, draws.device) * strength)
        change *= numbers[:, 5:6] < 0.8
        brightness, contrast = (1 + change[:, i].view(-1, 1, 1, 1) for i in (0, 1))
        factor, level = brightness * contrast, brightness * (1 - contrast)
        noise = _noise(draws, channels, size, self.noise * strength) if self.noise else None
        if not self.colors:
            return SmallViews(maps, factor, level, None, noise)
        most = strength.clamp(max=1) if isinstance(strength, Tensor) else min(strength, 1)
        gray = (numbers[:, 10:] < self.gray * most).view(-1, 1, 1)
        return SmallViews(maps, factor, level, factor[..., 0] * _colors(change[:, 2:], gray), noise)

    def apply(self, images: Tensor, views: SmallViews) -> Tensor:
        """Return the views of images (B, c, S, S)."""
        return _apply(images, views)

    def _maps(self, numbers: Tensor, strength: Number) -> Tensor:
        area, aspect, x, y, coin = numbers.split(1, dim=1)  # each (B, 1)
        area = 1 - (area * (self.area * strength)).clamp(max=1 - _LEAST)
        least = torch.as_tensor(1 - self.aspect * strength, device=area.device).clamp(min=_LEAST)
        root = ((2 * aspect - 1) * (least.log() / 2)).exp()
        width, height = ((area.sqrt() * r).clamp(max=1) for r in (root, 1 / root))
        x, y = (2 * x - 1) * (1 - width), (2 * y - 1) * (1 - height)
        width = torch.where(coin < 0.5, -width, width)
        zero = torch.zeros_like(width)
        return torch.cat([width, zero, x, zero, height, y], dim=1).view(-1, 2, 3)


@dataclass(frozen=True)
class CutoutViews:
    """The random numbers of B views.

    Attributes:
        flips: whether mirrored left-right, (B,), bool.
        erased: boxes of left, top, width, height in pixels, after the flip, (B, 4); no pixels for none.
        corner: left and top of the crop in the image, in whole pixels, negative in the padding, (B, 2).
    """

    flips: Tensor
    erased: Tensor
    corner: Tensor


@dataclass(frozen=True)
class FlipCutoutCrop:
    """Left-right flip, cutout filled with a color, and a crop of the padded image, in this order.

    For images of 32 x 32 the augmentation of the configurations that the group of Becker & Risse (2024)
    published with another paper: cutout of 16 x 16 filled with the mean of the data, with probability 1/2; a
    crop of 32 x 32 after padding by 4. Ours: other sides in proportion; as in DeVries & Taylor (2017) the
    middle of the box is any pixel, so the border cuts some boxes; the padding is zeros.

    A strength s multiplies both probabilities (up to 1) and the reach of the crop.

    Attributes:
        fill: of the cut out box, one number for each channel.
        mirror: probability of the flip.
        cutout: probability of the cutout.
        cut: side of the box as a fraction of the image's.
        padding: on each side, as a fraction of the side.
        colors: whether three channels are needed.
    """

    fill: tuple[float, ...]
    mirror: float = 0.5
    cutout: float = 0.5
    cut: float = 0.5
    padding: float = 0.125
    colors: bool = False

    def draw(self, draws: Draws, channels: int, size: int, strength: Number) -> CutoutViews:
        """Draw the random numbers of B views."""
        side, reach = max(1, round(self.cut * size)), round(self.padding * size)
        coins, places = draws.uniform(2), draws.integers(size, 2)
        offsets = draws.integers(2 * reach + 1, 2) - reach
        there = coins[:, 1:] < self.cutout * strength
        box = torch.cat([places - side // 2, torch.full_like(places, side)], dim=1) * there
        flips = (coins[:, :1] < self.mirror * strength)[:, 0]
        return CutoutViews(flips, box, (offsets * strength).round().long())

    def apply(self, images: Tensor, views: CutoutViews) -> Tensor:
        """Return the views of images (B, c, S, S)."""
        size, axes = images.shape[-1], []
        for i in range(2):  # where the pixels of a view lie after flip and cutout, x and y: (B, S)
            place = torch.arange(size, device=images.device) + views.corner[:, i : i + 1]
            first, side = views.erased[:, i : i + 1], views.erased[:, i + 2 : i + 3]
            axes.append((place, (place >= 0) & (place < size), (place >= first) & (place < first + side)))
        (x, across, cut_x), (y, down, cut_y) = axes
        x = torch.where(views.flips[:, None], size - 1 - x, x).clamp(0, size - 1)
        rows = y.clamp(0, size - 1)[:, None, :, None].expand_as(images)
        out = images.gather(2, rows).gather(3, x[:, None, None, :].expand_as(images))
        fill = _constants(self.fill, images.device).to(images.dtype).view(-1, 1, 1)
        out = torch.where((cut_y[:, :, None] & cut_x[:, None, :])[:, None], fill, out)
        return out.mul_((down[:, :, None] & across[:, None, :])[:, None])


def _colors(change: Tensor, gray: Tensor) -> Tensor:
    """Return matrices (B, 3, 3): saturation 1 + change, then a hue rotation, then gray where chosen."""
    to_gray = _constants(_GRAY, change.device).expand(3, 3)
    identity = torch.eye(3, device=change.device)
    saturated = identity + change[:, 0].view(-1, 1, 1) * (identity - to_gray)
    colored = hue_rotation(change[:, 1]) @ saturated
    return torch.where(gray, to_gray @ colored, colored)


def _apply(images: Tensor, views: SmallViews) -> Tensor:
    out = _sample(images, views.maps.to(images.dtype))
    level = None
    if views.level is not None:
        level = _mean_gray(out).mul_(views.level.to(images.dtype))
    if views.colors is None:
        out.mul_(views.factor.to(images.dtype))
    else:
        out = torch.einsum("bij,bjhw->bihw", views.colors.to(images.dtype), out)
    if level is not None:
        out.add_(level)
    return out if views.noise is None else out.add_(views.noise)


def _mean_gray(images: Tensor) -> Tensor:
    means = images.mean(dim=(2, 3), keepdim=True)
    if images.shape[1] == 1:
        return means
    return sum(means[:, i : i + 1] * weight for i, weight in enumerate(_GRAY))  # type: ignore[return-value]


def _sample(images: Tensor, maps: Tensor) -> Tensor:
    """Sample images at affinely mapped places, bilinear, zeros outside."""
    size = images.shape[-1]
    x, y = _centers(size, images.device, images.dtype)
    grid = torch.empty(len(images), size * size, 2, dtype=images.dtype, device=images.device)
    for i in range(2):
        row = maps[:, i]
        grid[..., i] = torch.addcmul(row[:, 2:], row[:, :1], x).addcmul_(row[:, 1:2], y)
    return grid_sample(images, grid.view(-1, size, size, 2), padding_mode="zeros", align_corners=False)


def _noise(draws: Draws, channels: int, size: int, deviation: Number) -> Tensor:
    return draws.normal(channels * size * size).mul_(deviation).view(-1, channels, size, size)


@lru_cache(maxsize=32)
def _centers(size: int, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return where the pixels lie between -1 and 1, x and y, each (S * S,)."""
    axis = torch.arange(1 - size, size, 2, device=device, dtype=dtype) / size
    return axis.repeat(size), axis.repeat_interleave(size)


@lru_cache(maxsize=32)
def _constants(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, device=device)


SMALL_IMAGES: dict[str, SmallDigits | SmallPhotos] = {
    "small_digits": SmallDigits(),
    "small_mnist": SmallDigits(degrees=15.0, scale=0.15, anisotropy=0.1, shift=0.15),
    "small_fashion": SmallPhotos(colors=False, noise=0.05),
    "small_color": SmallPhotos(colors=True, noise=0.0),
}
