"""Where a view looks: crops, flips, rotations and shifts of a whole batch, sampled once.

Anagnostidis et al. augment with random crops, flips, rotations and shifts. All of them together are one map
from the pixels of a view to places in its image, so a batch is sampled once, whatever the number of steps.
The result equals the steps one after another: the crop is interpolated (bilinear, never beyond its border),
the rotation and shift take the nearest pixel and fill with zeros, as torchvision's RandomResizedCrop and
RandomAffine do with their default settings.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from memorization.draws import Draws

Number = float | Tensor  # one for all views, or one per view as (B, 1)
_TRIES = 10  # as torchvision: after ten boxes that do not fit, the crop is a centered one


def check_range(name: str, low: float, high: float, most: float = math.inf) -> None:
    """Raise a ValueError that names the range, unless 0 < low <= high <= most."""
    if not 0 < low <= high <= most:
        limit = "" if most == math.inf else f" <= {most:g}"
        raise ValueError(f"{name}=({low}, {high}) is no range; allowed: 0 < smallest <= largest{limit}")


def crop_boxes(draws: Draws, size: int, scale: tuple[Number, Number], ratio: tuple[Number, Number]) -> Tensor:
    """Draw the boxes of random resized crops by torchvision's rule, without a loop over images.

    Of ten boxes with area U(scale) S^2 and aspect log-uniform on ``ratio``, rounded to whole pixels, the
    first that fits into the image is placed uniformly; if none fits, the largest centered box of an allowed
    aspect is taken. With scale (0.08, 1) and ratio (3/4, 4/3) the mean area is 0.491 of the image, not 0.54:
    large boxes of extreme aspect do not fit.

    Args:
        draws: random numbers of B views.
        size: side S of the images in pixels.
        scale: smallest and largest area as a fraction, 0 < smallest <= largest <= 1.
        ratio: smallest and largest width over height, > 0.

    Returns:
        Left, top, width, height in whole pixels, shape (B, 4), float32.

    Raises:
        ValueError: for numbers out of range (tensors are not looked at).
    """
    if not any(isinstance(end, Tensor) for end in (*scale, *ratio)):
        check_range("crop scale", *scale, most=1)  # type: ignore[arg-type]
        check_range("crop ratio", *ratio)  # type: ignore[arg-type]
    numbers = draws.uniform(2 * _TRIES + 2)
    width, height, fits = _candidates(numbers[:, 2:], size, scale, ratio)
    fits &= (width <= size) & (height <= size)
    first, found = fits.int().argmax(dim=1, keepdim=True), fits.any(dim=1, keepdim=True)
    least, most = (torch.as_tensor(end, device=draws.device) for end in ratio)
    width = torch.where(found, width.gather(1, first), (size * most.clamp(max=1)).round())
    height = torch.where(found, height.gather(1, first), (size / least.clamp(min=1)).round())
    box = torch.cat([width, height], dim=1)  # (B, 2)
    corner = torch.where(found, _place(numbers[:, :2], size - box), ((size - box) / 2).floor())
    return torch.cat([corner, box], dim=1)


def erase_boxes(draws: Draws, size: int, scale: tuple[float, float], ratio: tuple[float, float]) -> Tensor:
    """Draw the boxes of random erasing by torchvision's rule; a box of zero pixels where none of ten fits.

    Args, Returns and Raises as :func:`crop_boxes`; ``ratio`` is height over width here, as in torchvision.
    """
    check_range("erasing scale", *scale, most=1)
    check_range("erasing ratio", *ratio)
    numbers = draws.uniform(2 * _TRIES + 2)
    height, width, fits = _candidates(numbers[:, 2:], size, scale, ratio)
    fits &= (width < size) & (height < size)
    first, found = fits.int().argmax(dim=1, keepdim=True), fits.any(dim=1, keepdim=True)
    box = torch.cat([width.gather(1, first), height.gather(1, first)], dim=1) * found
    return torch.cat([_place(numbers[:, :2], size - box), box], dim=1)


def erase(images: Tensor, boxes: Tensor, value: Number = 0.0) -> Tensor:
    """Return images (B, c, S, S) with ``value`` inside boxes (B, 4) of left, top, width, height."""
    pixel = torch.arange(images.shape[-1], device=images.device)
    corner, side = boxes[:, :2, None], boxes[:, 2:, None]
    inside = (pixel >= corner) & (pixel < corner + side)  # (B, 2, S)
    mask = inside[:, 1, :, None] & inside[:, 0, None, :]
    return torch.where(
        mask.unsqueeze(1), torch.as_tensor(value, dtype=images.dtype).to(images.device), images
    )


def rotations(degrees: Tensor, shift: Tensor) -> Tensor:
    """Return maps that rotate clockwise about the center, then shift.

    Args:
        degrees: shape (B,).
        shift: to the right and down in pixels, shape (B, 2).

    Returns:
        For each view the map from its pixels to those of its image, both counted from the center, (B, 2, 3).
    """
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    x, y = shift.unbind(1)
    entries = (cos, sin, -cos * x - sin * y, -sin, cos, sin * x - cos * y)
    return torch.stack(entries, dim=1).view(-1, 2, 3)


def look(
    images: Tensor, boxes: Tensor | None = None, flips: Tensor | None = None, maps: Tensor | None = None
) -> Tensor:
    """Crop, then flip, then move images, sampling them once.

    Args:
        images: shape (B, c, S, S), floating point.
        boxes: crop boxes as from :func:`crop_boxes`; None crops nothing.
        flips: whether to mirror (left-right, up-down), shape (B, 2), bool; None mirrors nothing.
        maps: maps as from :func:`rotations`, nearest pixel, zeros outside; None moves nothing.

    Returns:
        Views of the shape and type of ``images``.
    """
    size = images.shape[-1]
    axis = torch.arange(size, device=images.device, dtype=images.dtype)
    places, inside = [axis.view(1, 1, -1), axis.view(1, -1, 1)], None  # x, y: each (B or 1, S or 1, S or 1)
    if maps is not None:
        places = _moved(places, maps.to(images.dtype), (size - 1) / 2)
        inside = ((places[0] >= 0) & (places[0] < size)) & ((places[1] >= 0) & (places[1] < size))
    for i in range(2):
        if flips is not None:
            places[i] = torch.where(flips[:, i, None, None], size - 1 - places[i], places[i])
        if boxes is not None:
            start, side = (boxes[:, k, None, None].to(images.dtype) for k in (i, i + 2))
            place = (places[i] + 0.5) * (side / size) + (start - 0.5)
            places[i] = torch.minimum(torch.maximum(place, start), start + (side - 1))
    grid = torch.empty(len(images), size, size, 2, dtype=images.dtype, device=images.device)
    for i in range(2):
        grid[..., i] = places[i] * (2 / size) + (1 / size - 1)
    mode = "nearest" if boxes is None else "bilinear"  # without a crop every place is a pixel
    views = grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)
    return views if inside is None else views.mul_(inside.unsqueeze(1))


def _moved(places: list[Tensor], maps: Tensor, center: float) -> list[Tensor]:
    x, y = (place - center for place in places)
    entry = maps[..., None, None]  # (B, 2, 3, 1, 1)
    return [(entry[:, i, 0] * x + entry[:, i, 1] * y + (entry[:, i, 2] + center)).round() for i in range(2)]


def _candidates(
    numbers: Tensor, size: int, scale: tuple[Number, Number], ratio: tuple[Number, Number]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return two sides of ten boxes, their quotient distributed as ``ratio``, and where both are > 0."""
    area = (scale[0] + numbers[:, :_TRIES] * (scale[1] - scale[0])) * size**2
    low, high = (torch.as_tensor(end, device=numbers.device).log() for end in ratio)
    root = ((low + numbers[:, _TRIES:] * (high - low)) / 2).exp()
    side = area.sqrt()
    first, second = (side * root).round(), (side / root).round()
    return first, second, (first > 0) & (second > 0)


def _place(numbers: Tensor, free: Tensor) -> Tensor:
    """Return whole numbers uniform on 0..free."""
    return torch.minimum((numbers * (free + 1)).floor(), free)  # the product can round up to free + 1
