"""From records to numbers: what a check asks for, at each place, with its interval over seeds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memorization.report.claims import Check, ClaimError, Value
from memorization.report.intervals import REPLICATES, Reduction, mean_interval, reduction, resampling

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What the records say at one place.

    Attributes:
        place: the values of ``each`` (and the pair of an order), empty where there is one place only.
        value: mean over seeds.
        low: lower end of the interval of ``value``.
        high: upper end.
        gap: interval of ``value - expected``, as two numbers.
        expected: what ``value`` is compared with, the mean over seeds.
        tolerance: allowed deviation.
        per_seed: ``value - expected`` and ``value`` of each seed, shape (2, S); empty for averaged curves.
        seeds: how many seeds.
    """

    place: str
    value: float
    low: float
    high: float
    gap: tuple[float, float]
    expected: float
    tolerance: float
    per_seed: Numbers
    seeds: int


def selected(frame: pd.DataFrame, check: Check) -> pd.DataFrame:
    """Return the rows that a check speaks of.

    Raises:
        ClaimError: The query cannot be evaluated.
    """
    if frame.empty or not check.where:
        return frame
    try:
        return frame.query(check.where, engine="python", local_dict={}, global_dict={})
    except Exception as error:
        raise ClaimError(
            f"check {check.what!r}: the selection {check.where!r} fails ({error}); "
            f"columns of {check.records!r}: {_columns(frame)}"
        ) from None


def evidence(frame: pd.DataFrame, check: Check) -> list[Evidence]:
    """Evaluate a check at each of its places.

    Args:
        frame: The selected rows, with a column ``seed``.
        check: What to evaluate.

    Returns:
        One ``Evidence`` per place, in sorted order of the places.

    Raises:
        ClaimError: A column is missing, an expression fails, or a group of an order has no rows.
    """
    needed = ("seed", *check.each, *check.average_first, *check.by)
    missing = [column for column in needed if column not in frame]
    if missing:
        raise ClaimError(
            f"check {check.what!r}: no column {missing[0]!r} in {check.records!r}; it has {_columns(frame)}"
        )
    one = _averaged if check.average_first else _by_seed
    return [
        one(parts, ", ".join(filter(None, (place, pair))), check)
        for place, rows in _places(frame, check)
        for pair, parts in _parts(rows, check)
    ]


def _places(frame: pd.DataFrame, check: Check) -> Iterator[tuple[str, pd.DataFrame]]:
    if not check.each:
        yield "", frame
        return
    for key, rows in frame.groupby(list(check.each), sort=True):
        yield ", ".join(f"{column} = {value}" for column, value in zip(check.each, key, strict=True)), rows


def _parts(rows: pd.DataFrame, check: Check) -> Iterator[tuple[str, list[pd.DataFrame]]]:
    """Yield what is measured: all rows, or the pairs whose difference is measured."""
    if not check.by:
        yield "", [rows]
        return
    groups = [_group(rows, check, wanted) for wanted in check.sequence]
    names = [" ".join(map(str, wanted)) for wanted in check.sequence]
    ends = (
        [(0, len(groups) - 1)]
        if check.reduce == "difference"
        else [(place, place + 1) for place in range(len(groups) - 1)]
    )
    for first, second in ends:
        yield f"{names[first]} over {names[second]}", [groups[first], groups[second]]


def _group(rows: pd.DataFrame, check: Check, wanted: tuple[object, ...]) -> pd.DataFrame:
    chosen = rows
    for column, value in zip(check.by, wanted, strict=True):
        chosen = chosen[chosen[column] == value]
    if chosen.empty:
        have = ", ".join(
            map(str, sorted({tuple(row) for row in rows[list(check.by)].to_numpy().tolist()}, key=str))
        )
        raise ClaimError(f"check {check.what!r}: no rows with {check.by} = {wanted}; the records have {have}")
    return chosen


def _by_seed(parts: list[pd.DataFrame], place: str, check: Check) -> Evidence:
    reduce = reduction(_plain(check))
    seeds = sorted(set.intersection(*(set(part["seed"]) for part in parts)))
    value, expected = np.empty(len(seeds)), np.empty(len(seeds))
    for row, seed in enumerate(seeds):
        mine = [part[part["seed"] == seed] for part in parts]
        numbers = [_reduced(frame, reduce, check) for frame in mine]
        value[row] = numbers[0] - numbers[1] if len(numbers) == 2 else numbers[0]
        expected[row] = _scalar(mine[0], check.target, check)
    tolerance = _scalar(parts[0], check.tolerance, check)
    low, high = mean_interval(value)
    per_seed = np.stack([value - expected, value])
    mean = [_mean(array) for array in (value, expected)]
    return Evidence(
        place, mean[0], low, high, mean_interval(value - expected), mean[1], tolerance, per_seed, len(seeds)
    )


def _averaged(parts: list[pd.DataFrame], place: str, check: Check) -> Evidence:
    """Average the curve over seeds first; row 0 of the resampling is the plain average."""
    complete = [_complete(part, check) for part in parts]
    seeds = sorted(set.intersection(*(set(part["seed"]) for part in complete)))
    if len(seeds) < 2:
        nothing = float("nan")
        return Evidence(
            place, nothing, nothing, nothing, (nothing,) * 2, nothing, nothing, np.empty((2, 0)), len(seeds)
        )
    counts = resampling(len(seeds))  # (1 + replicates, S)
    reduce = reduction(_plain(check))
    curves = [_resampled(part[part["seed"].isin(seeds)], counts, check) for part in complete]
    numbers = [_over_curve(curve, reduce, check) for curve in curves]
    value = numbers[0] - numbers[1] if len(numbers) == 2 else numbers[0]
    expected = _scalar(curves[0], check.target, check)
    tolerance = _scalar(parts[0], check.tolerance, check)
    low, high = _percentiles(value[1:])
    gap = (low - expected, high - expected)
    return Evidence(place, float(value[0]), low, high, gap, expected, tolerance, np.empty((2, 0)), len(seeds))


def _complete(part: pd.DataFrame, check: Check) -> pd.DataFrame:
    """Keep seeds that have every point of the curve, so that no average mixes different seeds."""
    points = part.groupby(list(check.average_first)).ngroups
    have = part.groupby("seed").apply(lambda rows: rows.groupby(list(check.average_first)).ngroups)
    return part[part["seed"].isin(have[have == points].index)]


def _resampled(part: pd.DataFrame, counts: Numbers, check: Check) -> pd.DataFrame:
    """Return the averaged curve of every resampling: ``replicates`` × points rows, sorted by replicate."""
    points = list(check.average_first)
    numeric = [
        c for c in part.select_dtypes(["number", "bool"]) if c != "seed" and not str(c).startswith("_")
    ]
    names = [column for column in numeric if column not in points]
    means = part.groupby(["seed", *points], sort=True)[names].mean()
    shape = (counts.shape[1], -1, len(names))
    cube = np.einsum("bs,spc->bpc", counts, means.to_numpy(dtype=float).reshape(shape))  # B, P, C
    cube /= counts.shape[1]
    curve = pd.DataFrame(cube.reshape(-1, len(names)), columns=names)
    grid = part[points].drop_duplicates().sort_values(points)
    for column in points:
        curve[column] = np.tile(grid[column].to_numpy(), counts.shape[0])
    return curve


def _over_curve(curve: pd.DataFrame, reduce: Reduction, check: Check) -> Numbers:
    """Reduce the curve of every resampling; shape (1 + replicates,)."""
    values, against = (
        _evaluate(curve, wanted, check).reshape(REPLICATES + 1, -1)
        for wanted in (check.value, check.against or 0.0)
    )
    return reduce(values, against)


def _reduced(frame: pd.DataFrame, reduce: Reduction, check: Check) -> float:
    return float(reduce(_evaluate(frame, check.value, check), _evaluate(frame, check.against or 0.0, check)))


def _evaluate(frame: pd.DataFrame, wanted: Value, check: Check) -> Numbers:
    """Evaluate a number or an expression on every row."""
    if isinstance(wanted, float | int):
        return np.full(len(frame), float(wanted))
    try:
        found = frame[wanted] if wanted in frame else frame.eval(str(wanted), engine="python", local_dict={})
        return np.broadcast_to(np.asarray(found, dtype=float), len(frame)).copy()
    except Exception as error:
        raise ClaimError(
            f"check {check.what!r}: cannot evaluate {wanted!r} ({error}); "
            f"columns of {check.records!r}: {_columns(frame)}"
        ) from None


def _scalar(frame: pd.DataFrame, wanted: Value, check: Check) -> float:
    """A bound or tolerance: the number itself (no rounding), or an expression's mean over the rows."""
    return wanted if isinstance(wanted, float) else float(_evaluate(frame, wanted, check).mean())


def _mean(values: Numbers) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _plain(check: Check) -> str:
    return "mean" if check.reduce == "difference" else check.reduce


def _percentiles(values: Numbers) -> tuple[float, float]:
    low, high = np.percentile(values, [2.5, 97.5]) if np.isfinite(values).all() else (np.nan, np.nan)
    return float(low), float(high)


def _columns(frame: pd.DataFrame) -> str:
    return ", ".join(str(column) for column in frame if not str(column).startswith("_"))
