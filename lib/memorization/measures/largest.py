"""The largest entries of many long rows, ties settled by place."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def grid_shape(n: int, k: int) -> tuple[int, int]:
    """Return (groups, width) of the cheapest grid for n entries; groups * width >= n, width > k."""
    groups = max(1, math.isqrt(n // (k + 1)))  # about as many maxima as candidates
    return groups, max(-(-n // groups), k + 1)


def largest(grid: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest entries of each (groups, width) grid and their places, smaller places first.

    Two steps are cheaper than one pass over everything, whatever the order of the entries: the k + 1 largest
    are in the k + 1 columns with the largest maxima.

    Args:
        grid: entries in any order, shape (B, groups, width) with width > k; filled up with -inf.
        k: how many, of which none may be -inf.

    Returns:
        Values in descending order, shape (B, k), and places 0..groups * width - 1, shape (B, k), int64. Of
        equal values the smaller place comes first, and goes in first.
    """
    columns = grid.amax(dim=1).topk(k + 1).indices  # (B, k + 1)
    candidates = grid.gather(2, columns[:, None, :].expand(-1, grid.shape[1], -1)).flatten(1)
    values, at = candidates.topk(k + 1)
    places = at // (k + 1) * grid.shape[2] + columns.gather(1, at % (k + 1))
    tied = values[:, k - 1] == values[:, k]  # the last place goes to one of several
    places, order = places[:, :k].sort(dim=1)
    values, order = values[:, :k].gather(1, order).sort(dim=1, descending=True, stable=True)
    places = places.gather(1, order)
    for rows in tied.nonzero()[:, 0].split(64):
        places[rows] = _smallest_places(grid[rows].flatten(1), values[rows], places[rows])
    return values, places


def _smallest_places(entries: Tensor, values: Tensor, places: Tensor) -> Tensor:
    """Give the places of the last value's ties to the first of all entries that have it; shape (B, k)."""
    k, width = values.shape[1], entries.shape[1]
    numbers = torch.arange(width, device=entries.device)
    ties = torch.where(entries == values[:, -1:], numbers, width).topk(k, largest=False).values
    above = (values > values[:, -1:]).sum(dim=1, keepdim=True)
    rank = torch.arange(k, device=entries.device).expand_as(places)
    return torch.where(rank < above, places, ties.gather(1, (rank - above).clamp(min=0)))
