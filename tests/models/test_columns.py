"""Columns are what PyTorch's own unfold copies, and their gradient what its fold adds up."""

import itertools

import pytest
import torch
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.models.stacked import Window, columns_of

WINDOWS = [
    Window(*sizes)
    for sizes in itertools.product(
        [(3, 3), (2, 1)], [(1, 1), (2, 1), (3, 2)], [(0, 0), (1, 1), (2, 1)], [(1, 1), (2, 1)]
    )
]


def pictures(height=5, width=6):
    source = torch.Generator().manual_seed(0)
    shape = (2, 3, height, width, 4)
    return torch.rand(shape, generator=source, dtype=torch.float64).requires_grad_()


def unfolded(images, window):
    examples = images.movedim(-1, 1).flatten(0, 1)
    rows = F.unfold(examples, window.kernel, window.dilation, window.padding, window.stride)
    sides = [window.positions(axis, side) for axis, side in enumerate(images.shape[2:4])]
    return rows.view(len(images), -1, images.shape[1], *window.kernel, *sides).movedim(1, -1)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_columns_are_the_pixels_under_the_kernel(window):
    images = pictures()
    assert torch.equal(columns_of(images, window), unfolded(images, window))


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_gradient_of_a_pixel_is_the_sum_over_its_copies(window):
    images = pictures()
    columns = columns_of(images, window)
    weights = torch.rand_like(columns)
    ours, theirs = (
        torch.autograd.grad(made, images, weights)[0] for made in (columns, unfolded(images, window))
    )
    torch.testing.assert_close(ours, theirs)


def test_a_tap_that_never_meets_the_image_gives_zeros():
    window = Window((3, 3), padding=(3, 3), dilation=(3, 3))
    images = pictures(1, 1)
    assert torch.equal(columns_of(images, window), unfolded(images, window))
