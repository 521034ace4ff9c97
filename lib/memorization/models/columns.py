"""Convolution as one matrix product for each network: from images to columns, and back.

The columns of an image are what the kernel sees, one column for each place and example. Images lie with the
examples last, (M, c, height, width, B), so that every copy below moves long runs of memory and a convolution
is one batched product of the weights with the columns, without a transposition. On a CPU and for small
images this is several times faster than grouped convolutions, most of all backwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """How a kernel moves over images; each pair is (vertical, horizontal).

    Attributes:
        kernel: places that the kernel covers.
        stride: step between two of its positions.
        before: rows of zeros above, columns of zeros to the left.
        after: rows of zeros below, columns of zeros to the right.
        dilation: distance between neighboring places of the kernel.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    before: Pair = (0, 0)
    after: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def positions(self, sides: Pair) -> Pair:
        """Return how many positions the kernel has on images of these sides (height, width)."""
        height, width = (
            (side + self.before[i] + self.after[i] - self.dilation[i] * (self.kernel[i] - 1) - 1)
            // self.stride[i]
            + 1
            for i, side in enumerate(sides)
        )
        return height, width

    def taps(self, axis: int, side: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield each place of the kernel with the positions at which it lies on the image, and where."""
        count = self.positions((side, side))[axis]
        stride = self.stride[axis]
        for tap in range(self.kernel[axis]):
            offset = tap * self.dilation[axis] - self.before[axis]  # its pixel at position 0
            first = max(0, -(offset // stride))
            last = min(count, (side - 1 - offset) // stride + 1)
            if first < last:
                start = offset + first * stride
                yield tap, slice(first, last), slice(start, start + (last - first - 1) * stride + 1, stride)


def columns_of(images: Tensor, window: Window) -> Tensor:
    """Return what the kernel sees at each position; zeros outside the image.

    Args:
        images: shape (M, c, height, width, B), floating point.
        window: how the kernel moves.

    Returns:
        Shape (M, c, kernel height, kernel width, rows, columns, B).
    """
    return _Columns.apply(images, window)


class _Columns(torch.autograd.Function):
    """Copies pixels into columns; backwards every pixel gets the sum over its copies."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, window: Window) -> Tensor:
        ctx.window, ctx.shape = window, images.shape
        models, channels, height, width, batch = images.shape
        places = window.positions((height, width))
        padded = any((*window.before, *window.after))
        make = images.new_zeros if padded else images.new_empty
        columns = make(models, channels, *window.kernel, *places, batch)
        for part, pixels in _parts(columns, images, window):
            part.copy_(pixels)
        return columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        images = gradient.new_zeros(ctx.shape)
        for part, pixels in _parts(gradient, images, ctx.window):
            pixels.add_(part)
        return images, None


def _parts(columns: Tensor, images: Tensor, window: Window) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each place of the kernel, the columns' entries and the pixels that belong together."""
    height, width = images.shape[2:4]
    across = list(window.taps(1, width))
    for y, rows, pixel_rows in window.taps(0, height):
        for x, places, pixel_columns in across:
            yield columns[:, :, y, x, rows, places], images[:, :, pixel_rows, pixel_columns]
