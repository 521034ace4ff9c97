"""Accuracies of groups, and what is made of them: the worst group's, and two averages that are not the same.

Sagawa et al. (ICLR 2020). A group without an example has no accuracy: NaN, never 0, and it is not the worst
one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.checks import check_tensor, check_whole


@dataclass(frozen=True)
class GroupAccuracies:
    """Accuracies on one split.

    Attributes:
        groups: accuracy of each of G groups, in [0, 1], NaN for one without an example; shape (G,), float64.
        counts: examples of each group in this split, shape (G,).
        average: the plain mean over the examples of the split.
    """

    groups: Tensor
    counts: Tensor
    average: float

    @property
    def worst(self) -> float:
        """Worst-group accuracy: the smallest accuracy of a group that is present."""
        return float(self.groups[self.counts > 0].min())

    def average_at(self, counts: Tensor) -> float:
        """Average accuracy if the groups were as large as ``counts``, those of the training set, say.

        This is the average that tables on Waterbirds print, whose test set has another mix than its training
        set.

        Args:
            counts: shape (G,), >= 0, one above 0.

        Returns:
            The weighted mean; NaN where a group with a weight has no example here.
        """
        weights = counts.double() / counts.double().sum()
        there = weights > 0
        return float((weights[there] * self.groups[there]).sum()) if bool(there.any()) else math.nan


def group_accuracies(predictions: Tensor, labels: Tensor, groups: Tensor, count: int) -> GroupAccuracies:
    """Measure the accuracy of each group.

    Args:
        predictions: predicted classes, shape (N,), int64.
        labels: true classes, shape (N,), int64.
        groups: number of each example's group, shape (N,), int64 in 0..G-1.
        count: the number G of groups, >= 1.

    Raises:
        ValueError: columns of another length, no example, or a group outside 0..G-1.
    """
    check_whole("count", count, 1)
    for name, column in (("predictions", predictions), ("labels", labels), ("groups", groups)):
        check_tensor(name, column)
        if column.ndim != 1 or len(column) != len(labels) or len(column) == 0:
            raise ValueError(
                f"{name} have shape {tuple(column.shape)} for {len(labels)} labels; allowed: one for each "
                "example, at least one"
            )
    if not 0 <= int(groups.min()) <= int(groups.max()) < count:
        raise ValueError(f"groups lie in {int(groups.min())}..{int(groups.max())}; allowed: 0..{count - 1}")
    right = (predictions == labels).double()
    counts = torch.bincount(groups, minlength=count)
    sums = torch.zeros(count, dtype=torch.float64, device=right.device).scatter_add_(0, groups, right)
    found = torch.where(counts > 0, sums / counts.clamp(min=1), math.nan)
    return GroupAccuracies(found.cpu(), counts.cpu(), float(right.mean()))
