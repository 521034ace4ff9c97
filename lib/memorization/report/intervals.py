"""Intervals over seeds: Student's, how often it holds what it promises, and how many seeds would decide.

Whatever a check looks at becomes one number per seed, so the interval of a mean is all that is needed.
Which interval that is was chosen by its coverage on this project's own numbers (``coverage``).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
MOST_SEEDS = 10_000  # more than these nobody would run

Numbers = NDArray[np.float64]
Interval = Callable[[Numbers], tuple[Numbers, Numbers]]
_RESAMPLED = 200


def mean_interval(numbers: Numbers, level: float = LEVEL) -> tuple[float, float]:
    """Return Student's interval of a mean.

    Args:
        numbers: One per seed, shape (S,).
        level: Coverage, 0..1.

    Returns:
        Lower and upper end; NaN for fewer than two numbers or where one is not finite.
    """
    if len(numbers) < 2 or not np.isfinite(numbers).all():
        return float("nan"), float("nan")
    low, high = student(numbers, level)
    return float(low), float(high)


def half_width(numbers: pd.Series) -> float:
    """Return half the width of Student's 95 % interval of a mean; NaN for fewer than two numbers."""
    low, high = mean_interval(numbers.to_numpy(dtype=float))
    return (high - low) / 2


def student(numbers: Numbers, level: float = LEVEL) -> tuple[Numbers, Numbers]:
    """Return Student's interval of the mean along the last axis, two arrays of shape (…) for (…, S)."""
    count = numbers.shape[-1]
    half = stats.t.ppf((1 + level) / 2, count - 1) * numbers.std(axis=-1, ddof=1) / np.sqrt(count)
    return numbers.mean(-1) - half, numbers.mean(-1) + half


def seeds_to_decide(numbers: Numbers, distance: float) -> int | None:
    """Return how many seeds would make half of the interval shorter than a distance.

    Args:
        numbers: One per seed, shape (S,), finite; their spread is taken for that of more seeds.
        distance: From their mean to the bound that is inside their interval.

    Returns:
        A number of seeds above S; None where 10,000 do not suffice.
    """
    count, spread = np.arange(len(numbers) + 1, MOST_SEEDS + 1), numbers.std(ddof=1)
    half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * spread / np.sqrt(count)
    enough = count[half < distance]
    return int(enough[0]) if len(enough) else None


def percentile_bootstrap(numbers: Numbers) -> tuple[Numbers, Numbers]:
    """Return the percentile bootstrap's interval of the mean along the last axis, as ``student`` does."""
    return _bootstrap(numbers, "percentile")


def accelerated_bootstrap(numbers: Numbers) -> tuple[Numbers, Numbers]:
    """Return the bias-corrected and accelerated bootstrap's interval (Efron, 1987), as ``student`` does."""
    return _bootstrap(numbers, "BCa")


def _bootstrap(numbers: Numbers, method: str) -> tuple[Numbers, Numbers]:
    with warnings.catch_warnings(action="ignore"), np.errstate(invalid="ignore", divide="ignore"):
        found = stats.bootstrap(
            (numbers,), np.mean, axis=-1, method=method, n_resamples=_RESAMPLED, rng=np.random.default_rng(0)
        )  # fmt: skip
    low, high = found.confidence_interval.low, found.confidence_interval.high
    same = np.ptp(numbers, axis=-1) == 0  # of equal numbers scipy gives NaN
    mean = numbers.mean(-1)
    return np.where(same, mean, low), np.where(same, mean, high)


METHODS: dict[str, Interval] = {
    "Student's": student,
    "percentile bootstrap": percentile_bootstrap,
    "accelerated bootstrap": accelerated_bootstrap,
}


def coverage(pool: Numbers, size: int, interval: Interval = student, draws: int = 200) -> float:
    """Return how often the interval of a few seeds holds the mean of very many.

    Args:
        pool: One number of many seeds each, shape (P,): they stand for all seeds there could be.
        size: Number of seeds S that are drawn from them, with replacement, at each draw.
        interval: Of numbers of shape (draws, S).
        draws: How often.

    Returns:
        A fraction, 0..1; the same at every call. Drawn numbers that are all equal miss a mean other than
        themselves.
    """
    drawn = np.random.default_rng(size).choice(pool, (draws, size))
    low, high = interval(drawn)
    slack = 1e-12 * (1 + abs(pool).max())  # a mean of equal numbers may differ from them in the last bit
    return float(((low - slack <= pool.mean()) & (pool.mean() <= high + slack)).mean())


def replicated_pools(folder: Path) -> list[Numbers]:
    """Return what the checks of all replicated notebooks looked at: one number of each seed of all sets.

    Args:
        folder: Holds what ``memorization replicate`` wrote; it need not exist.

    Returns:
        Of up to three places of each check value minus bound, shape (P,); places at which all seeds agree
        are left out, since every interval covers there.
    """
    files = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    pools = [np.array(place["gaps"], dtype=float) for file in files for place in file["gaps"]]
    return [pool for pool in pools if np.ptp(pool) > 1e-9 * (1 + abs(pool).max())]


def coverage_table(pools: Sequence[Numbers], sizes: Sequence[int]) -> pd.DataFrame:
    """Return the coverage of each method, mean over pools: one row per number of seeds."""
    return pd.DataFrame(
        {"seeds": size}
        | {
            name: float(np.mean([coverage(pool, size, method) for pool in pools]))
            for name, method in METHODS.items()
        }
        for size in sizes
    )
