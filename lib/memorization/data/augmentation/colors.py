"""How bright, sharp and colorful a view is: color jitter, grayscale and blur of a whole batch.

Anagnostidis et al. use SimCLR-like color augmentations. All functions take one number per image, follow
torchvision's functions on float tensors, and where that saves copies change the images that they are given
(``_`` at the end of the name).

The authors' release worked on Pillow images. Pillow has the same formulas on bytes: every step rounds to 256
levels, the mean gray of the contrast is a whole level, and the hue moves in steps of 1/256 of the circle.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

from memorization.draws import Draws

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
_GRAY = (0.2989, 0.587, 0.114)  # torchvision's weights; they add up to 0.9999


@dataclass(frozen=True)
class Jitter:
    """Color jitter of B images.

    Attributes:
        factors: brightness, contrast and saturation factor (1 changes nothing) and hue shift as a fraction of
            the color circle (0 changes nothing), shape (B, 4).
        order: which of the four (numbered as in ``factors``) comes first, second, third and fourth, (B, 4).
    """

    factors: Tensor
    order: Tensor


def draw_jitter(
    draws: Draws, probability: float | Tensor, ranges: tuple[float, ...], strength: float | Tensor
) -> Jitter:
    """Draw a color jitter: factors U[max(0, 1-v s), 1+v s], hue shift U[-v s, v s], random order.

    Args:
        draws: random numbers of B views.
        probability: of any jitter at all; a number or (B, 1).
        ranges: v for brightness, contrast, saturation and hue, each >= 0 (hue: at most 0.5).
        strength: factor s of the ranges; a number or (B, 1).
    """
    numbers = draws.uniform(9)
    reach = torch.tensor(ranges, device=draws.device) * strength  # (4,) or (B, 4)
    most = torch.tensor([torch.inf, torch.inf, torch.inf, 0.5], device=draws.device)
    high = torch.minimum(reach, most)
    low = torch.cat([high[..., :3].clamp(max=1), high[..., 3:]], dim=-1)  # no factor below 0
    change = (numbers[:, :4] * (low + high) - low) * (numbers[:, 8:] < probability)
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0], device=draws.device)
    return Jitter(change + neutral, numbers[:, 4:8].argsort(dim=1))


def jitter_(images: Tensor, jitter: Jitter) -> Tensor:
    """Apply a color jitter in place; every image has its own order, and values are clamped after each step.

    Brightness, contrast and saturation are one formula with different numbers, so all images take three such
    steps together; hue comes before, between or after them, for those images whose turn it is.

    Args:
        images: shape (B, 3, H, W), floats in [0, 1]; overwritten.
        jitter: B jitters.
    """
    hue = (jitter.order == HUE).nonzero()[:, 1]  # (B,) place of hue among the four
    others = jitter.order[jitter.order != HUE].view(-1, 3)
    factors = jitter.factors.to(images.dtype)
    shift = factors[:, HUE]
    turn = torch.where(shift == 0, -1, hue)
    for step in range(4):
        chosen = (turn == step).nonzero().flatten()
        if len(chosen):
            images[chosen] = shift_hue(images[chosen], shift[chosen])
        if step < 3:
            kind = others[:, step]
            blend_(images, factors.gather(1, kind.unsqueeze(1)).squeeze(1), kind)
    return images


def blend_(images: Tensor, factor: Tensor, kind: Tensor) -> Tensor:
    """Change brightness, contrast or saturation in place: factor x + (1 - factor) target, clamped to [0, 1].

    The target is black, the mean gray of the image, or the gray of the pixel.

    Args:
        images: shape (B, 3 or 1, H, W), floats in [0, 1]; overwritten.
        factor: >= 0, shape (B,).
        kind: ``BRIGHTNESS``, ``CONTRAST`` or ``SATURATION``, shape (B,), int64.
    """
    rest = (1 - factor)[:, None, None, None]
    per_pixel, per_image = ((kind == k)[:, None, None, None] for k in (SATURATION, CONTRAST))
    gray = gray_of(images)
    level = gray.mean(dim=(1, 2, 3), keepdim=True) * (rest * per_image)
    gray.mul_(rest * per_pixel).add_(level)
    return images.mul_(factor[:, None, None, None]).add_(gray).clamp_(0, 1)


def gray_of(images: Tensor) -> Tensor:
    """Return the gray of every pixel, shape (B, 1, H, W); a copy of images with one channel."""
    if images.shape[1] == 1:
        return images.clone()
    red, green, blue = images.split(1, dim=1)
    return (red * _GRAY[0]).add_(green, alpha=_GRAY[1]).add_(blue, alpha=_GRAY[2])


def grayscale_(images: Tensor, chosen: Tensor) -> Tensor:
    """Turn the images where ``chosen`` (B,), bool, is set to gray, in place."""
    rows = chosen.nonzero().flatten()
    images[rows] = gray_of(images[rows]).expand(-1, images.shape[1], -1, -1)
    return images


def shift_hue(images: Tensor, shift: Tensor) -> Tensor:
    """Turn every color along the color circle: hue of HSV, exactly as torchvision's ``adjust_hue``.

    Args:
        images: shape (B, 3, H, W), floats in [0, 1].
        shift: fraction of the circle, -0.5..0.5, shape (B,).

    Returns:
        Images of the same shape.
    """
    red, green, blue = images.unbind(1)
    high = torch.maximum(torch.maximum(red, green), blue)
    low = torch.minimum(torch.minimum(red, green), blue)
    chroma = high - low
    scale = chroma.clamp(min=torch.finfo(images.dtype).tiny).reciprocal_()  # gray pixels: 0 * scale = 0
    hue = torch.where(high == green, (blue - red).mul_(scale).add_(2), (red - green).mul_(scale).add_(4))
    hue = torch.where(high == red, (green - blue).mul_(scale), hue)  # (B, H, W), in sixths of the circle
    hue += 6 * shift[:, None, None]
    hue -= (hue / 6).floor_().mul_(6)
    # Pure colors: red is |h - 3| - 1, green 2 - |h - 2|, blue 2 - |h - 4|, all clamped to [0, 1].
    out = torch.empty_like(images)
    for channel, (center, slope, offset) in enumerate(((3, 1, -1), (2, -1, 2), (4, -1, 2))):
        pure = (hue - center).abs_().mul_(slope).add_(offset).clamp_(0, 1)
        torch.addcmul(low, pure, chroma, out=out[:, channel])
    return out


def hue_rotation(angle: Tensor) -> Tensor:
    """Return matrices that turn colors about the gray axis; unlike a shift of the hue this is linear.

    Args:
        angle: fraction of the circle, shape (B,).

    Returns:
        Matrices for (red, green, blue), shape (B, 3, 3); brightness r+g+b is kept.
    """
    turn = angle * (2 * torch.pi)
    cos, sin = turn.cos()[:, None, None], turn.sin()[:, None, None]
    third = torch.full((3, 3), 1 / 3, dtype=angle.dtype, device=angle.device)
    identity = torch.eye(3, dtype=angle.dtype, device=angle.device)
    cross = (identity.roll(-1, 0) - identity.roll(1, 0)) / 3**0.5
    return cos * identity + (1 - cos) * third - sin * cross


def blur_(images: Tensor, sigma: Tensor) -> Tensor:
    """Blur with a 3 x 3 Gaussian of standard deviation ``sigma`` (B,) pixels, in place; 0 blurs nothing."""
    rows = (sigma > 0).nonzero().flatten()
    if not len(rows):
        return images
    side = torch.exp(-0.5 / sigma[rows].to(images.dtype) ** 2)[:, None, None, None]
    center, side = 1 / (1 + 2 * side), side / (1 + 2 * side)
    blurred = pad(images[rows], (1, 1, 1, 1), mode="reflect")
    blurred = (blurred[..., :-2, :] + blurred[..., 2:, :]) * side + blurred[..., 1:-1, :] * center
    images[rows] = (blurred[..., :-2] + blurred[..., 2:]) * side + blurred[..., 1:-1] * center
    return images


def sharpen(images: Tensor, factor: Tensor) -> Tensor:
    """Move images away from (factor > 1) or towards (< 1) a smoothed copy; the outermost pixels stay.

    Args:
        images: shape (B, c, H, W), floats in [0, 1].
        factor: >= 0, shape (B,).
    """
    if min(images.shape[-2:]) <= 2:
        return images
    channels = images.shape[1]
    kernel = torch.ones(channels, 1, 3, 3, dtype=images.dtype, device=images.device)
    kernel[:, :, 1, 1] = 5
    smooth = images.clone()
    smooth[..., 1:-1, 1:-1] = conv2d(images, kernel / 13, groups=channels)
    return torch.lerp(smooth, images, factor.to(images.dtype)[:, None, None, None]).clamp_(0, 1)
