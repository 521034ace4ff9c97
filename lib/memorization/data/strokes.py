"""Digits as strokes of ink: drawn by a procedure that needs no files, or taken from MNIST.

A picture is a mask of ink in [0, 1] on 14 x 14 pixels; :mod:`memorization.data.grounds` puts it on a colored
ground. Together they are the image stand-in for the experiments of Zhang et al. (ICML 2024), whose
networks learn a background that says nothing about the label.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from memorization.data.image_sets import ImageSet, as_image_set
from memorization.data.images import load_images
from memorization.data.seeds import generator
from memorization.data.words import did_you_mean

STROKES = ("procedural", "mnist")
SIDE = 14

# The six corners of a seven-segment display in pixels from the center, x to the right and y down.
_CORNERS = ((-2.5, -4.5), (2.5, -4.5), (-2.5, 0.0), (2.5, 0.0), (-2.5, 4.5), (2.5, 4.5))
# Segments as pairs of corners: top, upper left, upper right, middle, lower left, lower right, bottom.
_SEGMENTS = ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5))
_LIT = ("1110111", "0010010", "1011101", "1011011", "0111010",
        "1101011", "1101111", "1010010", "1111111", "1111011")  # fmt: skip
_JITTER = 0.4  # of each corner, in pixels to each side
_STRETCH = (0.9, 1.1)  # of width and of height
_SHEAR = 0.3  # pixels to the side per pixel of height
_SHIFT = 1.5  # of the whole digit, in pixels to each side
_HALF_WIDTH = (0.9, 1.5)  # of a stroke, in pixels
_NOISE = 0.15  # standard deviation of the noise of a pixel


def stroke_images(
    digits: str, n: int, seed: int, split: str = "train", root: str | Path | None = None
) -> ImageSet:
    """Return digits as masks of ink.

    Args:
        digits: ``procedural``, drawn by :func:`draw_digits` with labels uniform on 0..9; or ``mnist``, a
            random subset, average-pooled from 28 x 28 to 14 x 14 pixels.
        n: number N of pictures, >= 1.
        seed: of the pictures, a whole number >= 0.
        split: ``train`` or ``test``; the two are independent draws, or the two halves of MNIST.
        root: folder of the data sets, used for ``mnist`` only.

    Returns:
        Masks of shape (N, 1, 14, 14), float32 in [0, 1] with 1 for ink, and labels in 0..9.

    Raises:
        ValueError: for an unknown name or split, or more pictures than there are.
        FileNotFoundError: if MNIST is absent.
    """
    if digits not in STROKES:
        raise ValueError(
            f"unknown digits {digits!r}{did_you_mean(digits, STROKES)}; choose one of {', '.join(STROKES)}"
        )
    if split not in ("train", "test"):
        raise ValueError(f"unknown split {split!r}; choose train or test")
    source = generator(seed, "strokes", digits, split)
    stored = load_images("mnist", split, root) if digits == "mnist" else None
    _check_count(n, None if stored is None else len(stored))
    if stored is not None:
        return as_image_set(stored.take(torch.randperm(len(stored), generator=source)[:n]), side=SIDE)
    labels = torch.randint(10, (n,), generator=source)
    names = tuple(str(digit) for digit in range(10))
    return ImageSet(draw_digits(labels, source), labels, names, "procedural digits")


def draw_digits(labels: Tensor, source: torch.Generator) -> Tensor:
    """Draw digits in the style of a seven-segment display, each with a hand of its own.

    Every digit has its own shear, stretch, place, stroke width and jittered corners, and noise on all pixels.

    Args:
        labels: which digits, shape (N,), int64 in 0..9.
        source: generator of the random numbers, on the device of the labels.

    Returns:
        Masks of shape (N, 1, 14, 14), float32 in [0, 1].

    Raises:
        ValueError: for labels outside 0..9.
    """
    if bool(((labels < 0) | (labels > 9)).any()):
        raise ValueError(
            f"digits are drawn for labels 0..9; got labels from {labels.min()} to {labels.max()}"
        )
    numbers = torch.rand(len(labels), 18, generator=source, device=labels.device)
    corners, half_width = _corners(numbers[:, :17]), _between(_HALF_WIDTH, numbers[:, 17:])
    lit = torch.tensor([[float(on) for on in row] for row in _LIT], device=labels.device)[labels]  # (N, 7)
    axis = torch.arange(SIDE, device=labels.device) - (SIDE - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()])  # (2, 196)
    ink = torch.zeros(len(labels), SIDE * SIDE, device=labels.device)
    for segment, (start, end) in enumerate(_SEGMENTS):
        distance = _distance(places, corners[:, start], corners[:, end])
        stroke = (half_width + 0.5 - distance).clamp_(0, 1)  # an edge one pixel wide
        ink = torch.maximum(ink, stroke * lit[:, segment, None])
    ink += _NOISE * torch.randn(ink.shape, generator=source, device=labels.device)
    return ink.clamp_(0, 1).view(-1, 1, SIDE, SIDE)


def _corners(numbers: Tensor) -> Tensor:
    """Return the places of the corners of each digit, (N, 6, 2), from 17 uniform numbers each."""
    jitter, stretch, shear, shift = numbers.split([12, 2, 1, 2], dim=1)
    corners = torch.tensor(_CORNERS, device=numbers.device) + _JITTER * (2 * jitter - 1).view(-1, 6, 2)
    corners = corners * _between(_STRETCH, stretch)[:, None]
    slant = _SHEAR * (2 * shear - 1) * corners[..., 1]  # (N, 6)
    return corners + torch.stack([slant, torch.zeros_like(slant)], 2) + _SHIFT * (2 * shift - 1)[:, None]


def _distance(places: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return how far places (2, pixels) are from the segments between two corners (N, 2): (N, pixels)."""
    along = end - start
    squared = along.square().sum(1, keepdim=True).clamp(min=1e-6)  # two corners can meet
    x, y = (places[i] - start[:, i, None] for i in (0, 1))
    nearest = ((x * along[:, :1] + y * along[:, 1:]) / squared).clamp_(0, 1)
    return torch.hypot(x - nearest * along[:, :1], y - nearest * along[:, 1:])


def _between(ends: tuple[float, float], numbers: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * numbers


def _check_count(n: int, most: int | None) -> None:
    if isinstance(n, bool) or not isinstance(n, int) or n < 1 or (most is not None and n > most):
        allowed = "1 or more" if most is None else f"1..{most}, the images of this half of MNIST"
        raise ValueError(f"n={n!r} pictures; allowed: a whole number, {allowed}")
