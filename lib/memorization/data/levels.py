"""Operations on the gray levels of each image: contrast stretching, equalization, posterizing, solarizing.

These are RandAugment's operations, as torchvision has them, for whole batches of floats in [0, 1]. Two of
them are defined on 256 levels (``equalize``, ``posterize``): there values are rounded to multiples of 1/255
first.
"""

from __future__ import annotations

import torch
from torch import Tensor

_TOP = 255  # the largest level


def auto_contrast(images: Tensor) -> Tensor:
    """Stretch every channel of images (B, c, H, W) to [0, 1]; a channel of one value stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = high == low
    low = torch.where(flat, 0, low)
    return ((images - low) / torch.where(flat, 1, high - low)).clamp_(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Spread the 256 levels of every channel evenly, by its histogram.

    A channel stays as it is where fewer than 255 of its pixels are below its largest level, and therefore
    always in images of less than 16 x 16 pixels.

    Args:
        images: shape (B, c, H, W), floats in [0, 1].

    Returns:
        Images of the same shape.
    """
    levels = (images * _TOP).round().long().flatten(0, 1).flatten(1)  # (B c, H W)
    counts = torch.zeros(len(levels), _TOP + 1, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    at_top = counts.gather(1, levels.amax(dim=1, keepdim=True))
    step = (levels.shape[1] - at_top) // _TOP  # (B c, 1)
    table = (counts.cumsum(dim=1) + step // 2) // step.clamp(min=1)
    table = torch.cat([torch.zeros_like(step), table[:, :-1]], dim=1).clamp_(0, _TOP)
    spread = (table.gather(1, levels).to(images.dtype) / _TOP).view_as(images)
    return torch.where(step.view(*images.shape[:2], 1, 1) == 0, images, spread)


def invert(images: Tensor) -> Tensor:
    """Return the negative."""
    return 1 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper ``bits`` (B,) of 8 bits of every value; 8 keeps all, 0 none."""
    width = (2 ** (8 - bits.to(images.dtype)))[:, None, None, None]
    return ((images * _TOP).round() / width).floor_().mul_(width).div_(_TOP)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert all values that reach ``threshold`` (B,)."""
    return torch.where(images >= threshold.to(images.dtype)[:, None, None, None], 1 - images, images)


def solarize_add(images: Tensor, addition: Tensor) -> Tensor:
    """Add ``addition`` (B,), clamp, and invert all values that reach level 128 of 255."""
    brighter = (images + addition.to(images.dtype)[:, None, None, None]).clamp_(0, 1)
    return solarize(brighter, torch.full_like(addition, 128 / _TOP))
