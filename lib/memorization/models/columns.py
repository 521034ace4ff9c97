"""Convolution as one matrix product for each network: from images to columns, and back.

The columns of an image are what a kernel sees, one column for each position and example. Images lie with the
examples last, (M, c, height, width, B), so that every copy moves long runs of memory and a convolution is one
batched product of the weights with the columns, without a transposition.
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
        kernel: pixels that the kernel covers.
        stride: pixels between two of its positions.
        padding: zeros on both sides of the image.
        dilation: pixels between two neighboring taps of the kernel.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def positions(self, axis: int, side: int) -> int:
        """Return how many positions the kernel has along an axis (0: vertical) of ``side`` pixels."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (side + 2 * self.padding[axis] - reach) // self.stride[axis] + 1

    def taps(self, axis: int, side: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield each tap of the kernel, the positions at which it lies on the image, and its pixels there."""
        stride, count = self.stride[axis], self.positions(axis, side)
        for tap in range(self.kernel[axis]):
            offset = tap * self.dilation[axis] - self.padding[axis]  # its pixel at position 0
            first = max(0, -(offset // stride))
            last = min(count - 1, (side - 1 - offset) // stride)
            if first <= last:
                pixels = slice(offset + first * stride, offset + last * stride + 1, stride)
                yield tap, slice(first, last + 1), pixels


def columns_of(images: Tensor, window: Window) -> Tensor:
    """Return what a kernel sees at each position: copied pixels, and zeros outside the image.

    Args:
        images: shape (M, c, height, width, B), floating point.
        window: how the kernel moves.

    Returns:
        Shape (M, c, kernel height, kernel width, positions down, positions across, B). Its gradient can be
        taken once.
    """
    return _Columns.apply(images, window)


class _Columns(torch.autograd.Function):
    """Copies pixels into columns; backwards, every pixel gets the sum over its copies."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, window: Window) -> Tensor:
        ctx.window, ctx.shape = window, images.shape
        models, channels, height, width, batch = images.shape
        positions = (window.positions(0, height), window.positions(1, width))
        columns = images.new_zeros(models, channels, *window.kernel, *positions, batch)
        for part, pixels in _pairs(columns, images, window):
            part.copy_(pixels)
        return columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        images = gradient.new_zeros(ctx.shape)
        for part, pixels in _pairs(gradient, images, ctx.window):
            pixels.add_(part)
        return images, None


def _pairs(columns: Tensor, images: Tensor, window: Window) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each tap of the kernel, the entries of the columns and the pixels that they stand for."""
    height, width = images.shape[2:4]
    across = list(window.taps(1, width))
    for y, down, rows in window.taps(0, height):
        for x, along, pixels in across:
            yield columns[:, :, y, x, down, along], images[:, :, rows, pixels]
