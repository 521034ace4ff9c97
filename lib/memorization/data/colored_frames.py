"""Frames of one color around images: the padded CIFAR-10 of Zhang et al. (ICML 2024).

Training images are padded with brick red (150, 50, 50) and cropped at random, so that a frame of that color,
which says nothing about the label, shows at up to two sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad as padded_by

from memorization.data.draws import Draws
from memorization.data.words import did_you_mean

FRAME_COLORS = {
    name: tuple(level / 255 for level in levels)
    for name, levels in {"red": (150, 50, 50), "blue": (50, 50, 150), "green": (50, 150, 50)}.items()
}
FRAME_KINDS = ("padded", "raw", "random")
_RAW_PAD = 1


@dataclass(frozen=True)
class ColoredFrames:
    """A policy: pad every image, cut a window of its own size at a random place, and flip it or not.

    Attributes:
        kind: ``padded`` with one color (Zhang et al.: 8 pixels of brick red for 32 x 32 images); ``random``,
            padded with a color of its own for each view, uniform on [0, 1] in each channel; or ``raw``,
            padded with 1 pixel of the image's own reflection, whatever ``pad`` and ``color`` are.
        pad: width of the padding in pixels, >= 1.
        color: of ``padded``: red, green and blue in [0, 1].
        flip: probability of a left-right flip.

    Raises:
        ValueError: for an unknown kind or numbers out of range.
    """

    kind: str = "padded"
    pad: int = 4
    color: Sequence[float] = FRAME_COLORS["red"]
    flip: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no frame."""
        if self.kind not in FRAME_KINDS:
            meant = did_you_mean(self.kind, FRAME_KINDS)
            raise ValueError(f"unknown frame {self.kind!r}{meant}; choose one of {', '.join(FRAME_KINDS)}")
        _check_frame(self.pad, self.color)
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip={self.flip} is a probability; allowed: 0..1")

    @property
    def name(self) -> str:
        """What a checkpoint knows the policy by."""
        return f"{self.kind} pad={self.pad} color={tuple(self.color)} flip={self.flip}"

    def __call__(
        self, images: Tensor, chance: torch.Generator | Draws, strength: float | Tensor = 1.0
    ) -> Tensor:
        """Return one view of each image.

        Args:
            images: shape (B, 3, S, S), floating point in [0, 1].
            chance: a generator, or draws for the B views.
            strength: s in [0, 1], multiplies the largest shift of the window (in whole pixels) and the
                probability of the flip; 0 changes nothing. A tensor (B,) gives each view its own.

        Returns:
            Views of the shape, type and device of ``images``.

        Raises:
            ValueError: for images that are not square color images, or a strength out of range.
        """
        _check_images(images)
        draws = chance if isinstance(chance, Draws) else Draws.of(chance, len(images), images.device)
        numbers = draws.uniform(6)
        amount = _checked(torch.as_tensor(strength, dtype=numbers.dtype, device=numbers.device))
        pad = _RAW_PAD if self.kind == "raw" else self.pad
        corner = _corner(numbers[:, :2], pad, amount)
        views = _windows(self._padded(images, numbers[:, 3:]), corner, images.shape[-1])
        flipped = numbers[:, 2:3] < self.flip * amount  # (B, 1)
        return torch.where(flipped[:, :, None, None], views.flip(3), views)

    def _padded(self, images: Tensor, numbers: Tensor) -> Tensor:
        if self.kind == "raw":
            return padded_by(images, (_RAW_PAD,) * 4, mode="reflect")
        colors = numbers if self.kind == "random" else numbers.new_tensor(self.color).expand_as(numbers)
        return _framed(images, colors, self.pad)


def framed_test(images: Tensor, color: Sequence[float], pad: int, source: torch.Generator) -> Tensor:
    """Return test images in a frame of one color, cut as in training but not flipped.

    A centered window would show no frame. With generators of one seed, images in frames of two colors
    show the same windows and differ in the color alone.

    Args:
        images: shape (N, 3, S, S), floating point in [0, 1].
        color: red, green and blue in [0, 1], see ``FRAME_COLORS``.
        pad: width of the padding in pixels, >= 1.
        source: generator of the places of the windows, uniform on the (2 pad + 1)^2 there are.

    Returns:
        Views of the shape, type and device of ``images``.

    Raises:
        ValueError: for images that are not square color images, or a frame out of range.
    """
    _check_frame(pad, color)
    return ColoredFrames("padded", pad, color, flip=0.0)(images, source)


def _framed(images: Tensor, colors: Tensor, pad: int) -> Tensor:
    """Return images in frames of the colors (B, 3): (B, 3, S + 2 pad, S + 2 pad)."""
    side = images.shape[-1] + 2 * pad
    out = colors.to(images.dtype)[:, :, None, None].expand(-1, -1, side, side).contiguous()
    out[:, :, pad:-pad, pad:-pad] = images
    return out


def _corner(numbers: Tensor, pad: int, strength: Tensor) -> Tensor:
    """Return where windows begin (B, 2): whole numbers, uniform on pad - reach .. pad + reach."""
    reach = (pad * strength).round()
    places = torch.minimum((numbers * (2 * reach + 1)).floor(), 2 * reach)  # the product can round up
    return (places - reach + pad).long()


def _windows(images: Tensor, corner: Tensor, side: int) -> Tensor:
    """Cut a window of this side out of each image; corner (B, 2) is its left and top."""
    every = images.unfold(2, side, 1).unfold(3, side, 1)  # a view (B, 3, top, left, side, side), no copy
    return every[torch.arange(len(images), device=images.device), :, corner[:, 1], corner[:, 0]]


def _checked(strength: Tensor) -> Tensor:
    """Return strengths as a column, one for all views or one for each."""
    wrong = ~((strength >= 0) & (strength <= 1))
    if bool(wrong.any()):
        raise ValueError(
            f"strength={strength[wrong][0].item():g} is out of range; allowed: numbers in [0, 1]"
        )
    return strength.reshape(-1, 1)


def _check_frame(pad: int, color: Sequence[float]) -> None:
    if isinstance(pad, bool) or not isinstance(pad, int) or pad < 1:
        raise ValueError(f"pad={pad!r}: the frame must be at least 1 pixel wide, in whole pixels")
    if len(color) != 3 or not all(0 <= level <= 1 for level in color):
        raise ValueError(
            f"color={tuple(color)!r}; allowed: red, green and blue in [0, 1] (divide levels 0..255 by 255)"
        )


def _check_images(images: Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(
            f"images have shape {tuple(images.shape)}; allowed: (B, 3, S, S): a frame has a color"
        )
