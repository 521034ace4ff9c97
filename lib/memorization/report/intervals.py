"""Statistics over seeds: reductions of the rows of one seed, t intervals, bootstrap weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Numbers = NDArray[np.float64]
Reduction = Callable[[Numbers, Numbers], Numbers]

LEVEL = 0.95
REPLICATES = 1000
_SEED = 20240


def reduction(name: str) -> Reduction:
    """Return the function of (values, against), both of shape (…, P), that reduces the last axis."""
    return _REDUCTIONS[name]


def mean_interval(values: Numbers) -> tuple[float, float]:
    """Return the 95 % t interval of a mean.

    Args:
        values: One number per seed, shape (S,).

    Returns:
        Lower and upper end; NaN for fewer than two values or where one is not finite.
    """
    count = len(values)
    if count < 2 or not np.isfinite(values).all():
        return float("nan"), float("nan")
    half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * values.std(ddof=1) / np.sqrt(count)
    return float(values.mean() - half), float(values.mean() + half)


def resampling(seeds: int) -> Numbers:
    """Return how often each seed counts in a bootstrap over seeds: row 0 is every seed once.

    Args:
        seeds: Number of seeds S, 1 or more.

    Returns:
        Counts of shape (1 + REPLICATES, S) that sum to S in each row; the same at every call. Counts, not
        shares: ten times a tenth is not one.
    """
    generator = np.random.default_rng(_SEED)
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=REPLICATES)
    return np.vstack([np.ones(seeds), drawn])


def spearman(values: Numbers, against: Numbers) -> Numbers:
    """Return Spearman's rank correlation along the last axis; NaN where one side is constant.

    Args:
        values: Shape (…, P).
        against: Same shape.

    Returns:
        Shape (…).
    """
    ranks = [stats.rankdata(side, axis=-1) for side in (values, against)]
    first, second = (side - side.mean(axis=-1, keepdims=True) for side in ranks)
    scale = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        result = np.where(scale > 0, (first * second).sum(-1) / scale, np.nan)
    return np.where(np.isfinite(values).all(-1) & np.isfinite(against).all(-1), result, np.nan)


_REDUCTIONS: dict[str, Reduction] = {
    "mean": lambda values, _: values.mean(-1),
    "max": lambda values, _: values.max(-1),
    "min": lambda values, _: values.min(-1),
    "range": lambda values, _: values.max(-1) - values.min(-1),
    "spearman": spearman,
}
