"""Statistics over seeds: reductions of the rows of one seed, t intervals, bootstrap weights.

From records to numbers: what a check asks for, at each place, with its interval over seeds.

What one check finds in the records: a value, its interval, and whether it holds.

Judging a paper's claims by the records: one verdict per claim, with the numbers that decided it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from memorization.report.claims import Check, Claim, ClaimError, Value, read_claims
from memorization.report.expressions import evaluate
from memorization.report.files import RunLike, write_json
from memorization.runs.parameters import suggestion

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
        return frame[np.asarray(evaluate(check.where, frame), dtype=bool)]
    except Exception as error:
        raise ClaimError(
            f"check {check.what!r}: the selection {check.where!r} fails ({error}); "
            f"columns of {check.records!r}: {_columns(frame)}"
        ) from None


class LackingError(ClaimError):
    """The records do not hold what a check asks for; says what is lacking."""


def evidence(frame: pd.DataFrame, check: Check) -> tuple[list[Evidence], list[str]]:
    """Evaluate a check at each of its places.

    Args:
        frame: The selected rows, with a column ``seed``.
        check: What to evaluate.

    Returns:
        One ``Evidence`` per place, in sorted order of the places; and what other places lack, in words.

    Raises:
        LackingError: No place has the rows that are asked for.
        ClaimError: A column is missing, or an expression fails.
    """
    needed = ("seed", *check.each, *check.average_first, *check.by)
    missing = [column for column in needed if column not in frame]
    if missing:
        raise ClaimError(
            f"check {check.what!r}: no column {missing[0]!r} in {check.records!r}; it has {_columns(frame)}"
        )
    one = _averaged if check.average_first else _by_seed
    found: list[Evidence] = []
    lacking: list[str] = []
    for place, rows in _places(frame, check):
        try:
            pairs = list(_parts(rows, check))
            _check_curve(rows, check)
        except LackingError as error:
            lacking.append(f"{place}: {error}" if place else str(error))
            continue
        found += [one(parts, ", ".join(filter(None, (place, pair))), check) for pair, parts in pairs]
    if not found:
        raise LackingError("; ".join(lacking))
    return found, lacking


def _check_curve(rows: pd.DataFrame, check: Check) -> None:
    """A rank correlation needs a curve of at least two points."""
    if check.reduce == "spearman" and len(np.unique(_evaluate(rows, check.against, check))) < 2:
        raise LackingError(f"a rank correlation needs at least two values of {check.against}, there is one")


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
        asked = ", ".join(f"{column} = {value}" for column, value in zip(check.by, wanted, strict=True))
        raise LackingError(f"no records with {asked}; there are {have}")
    return chosen


def _by_seed(parts: list[pd.DataFrame], place: str, check: Check) -> Evidence:
    reduce = reduction(_plain(check))
    seeds = sorted(set.intersection(*(set(part["seed"]) for part in parts)))
    wanted = (check.value, check.against or 0.0)
    sides = [(part["seed"].to_numpy(), *(_evaluate(part, one, check) for one in wanted)) for part in parts]
    target = None if isinstance(check.target, float) else _evaluate(parts[0], check.target, check)
    value, expected = np.empty(len(seeds)), np.empty(len(seeds))
    for row, seed in enumerate(seeds):
        mine = [owner == seed for owner, *_ in sides]
        numbers = [float(reduce(v[own], a[own])) for own, (_, v, a) in zip(mine, sides, strict=True)]
        value[row] = numbers[0] - numbers[1] if len(numbers) == 2 else numbers[0]
        expected[row] = check.target if target is None else target[mine[0]].mean()
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


def _evaluate(frame: pd.DataFrame, wanted: Value, check: Check) -> Numbers:
    """Evaluate a number or an expression on every row."""
    if isinstance(wanted, float | int):
        return np.full(len(frame), float(wanted))
    try:
        found = frame[wanted] if wanted in frame else evaluate(str(wanted), frame)
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


Row = dict[str, Any]


def judge_check(check: Check, rows: pd.DataFrame) -> Row:
    """Return what one check finds in the rows that it selects.

    Returns:
        ``what``, ``test``, ``value``, ``low``, ``high``, ``expected``, ``tolerance``, ``tolerance_origin``,
        ``seeds``, ``holds`` (None where it could not be made), ``note``, and ``slack``: the distance from the
        bound in units of the tolerance (of the bound where there is no tolerance), negative beyond it.
    """
    if rows.empty:
        return untested(
            check, f"no records in {check.records!r}" + (f" with {check.where}" if check.where else "")
        )
    try:
        found, lacking = evidence(rows, check)
    except LackingError as error:
        return untested(check, str(error))
    fewest = min(found, key=lambda one: one.seeds)
    if fewest.seeds < (1 if check.over_seeds == "worst" else 2):
        return untested(check, f"{fewest.seeds} complete seed(s): a mean needs at least 2", fewest.seeds)
    judged = [_judge_place(check, one) for one in found]
    worst = min(judged, key=rank)
    if len(judged) > 1:
        broken = sum(not one["holds"] for one in judged)
        where = f"{'worst' if broken else 'closest'} of {len(judged)} places: {worst['place']}"
        worst["note"] = joined(where, f"{broken} of {len(judged)} fail" if broken else "", worst["note"])
    worst["note"] = joined(worst["note"], *(f"not tested at {place}" for place in lacking))
    del worst["place"]
    return worst


def _judge_place(check: Check, one: Evidence) -> Row:
    if check.over_seeds == "worst":
        return _judge_worst(check, one)
    gap = one.value - one.expected
    slack = _slack(check, gap, one)
    row = _result(check, one, value=one.value, low=one.low, high=one.high, slack=slack)
    ends = [_slack(check, end, one) for end in one.gap]
    if not math.isfinite(one.value):
        bad = int((~np.isfinite(one.per_seed[1])).sum())
        row["note"] = (
            f"no number in {bad} of {one.seeds} seeds" if bad else "the averaged curve has no number"
        )
    elif math.isfinite(min(ends)) and row["holds"] and not _holds(check, min(ends)):
        row["note"] = "the mean passes, but the 95 % interval crosses the bound"
    elif not row["holds"] and _interval_reaches(check, one, ends):
        row["note"] = "the mean fails, but the 95 % interval reaches the bound"
    return row


def _judge_worst(check: Check, one: Evidence) -> Row:
    gaps, values = one.per_seed.tolist()  # Python floats, as JSON and `is False` want them
    slacks = [_slack(check, gap, one) for gap in gaps]
    place = min(range(len(slacks)), key=lambda i: slacks[i] if math.isfinite(slacks[i]) else -math.inf)
    row = _result(check, one, values[place], min(values), max(values), slacks[place])
    row["note"] = joined(row["note"], f"worst of {one.seeds} seeds; the range is over seeds")
    return row


def _result(check: Check, one: Evidence, value: float, low: float, high: float, slack: float) -> Row:
    finite = math.isfinite(slack)
    scale = one.tolerance or abs(one.expected) or 1.0
    return {
        "place": one.place,
        "what": check.what,
        "test": check.test,
        "value": _number(value),
        "low": _number(low),
        "high": _number(high),
        "expected": list(check.bound) if isinstance(check.bound, tuple) else _number(one.expected),
        "tolerance": _number(one.tolerance),
        "tolerance_origin": check.tolerance_origin,
        "seeds": one.seeds,
        "holds": finite and _holds(check, slack),
        "note": "" if finite else "no number",
        "slack": slack / scale if finite else -math.inf,
    }


def _slack(check: Check, gap: float, one: Evidence) -> float:
    """The distance of ``value - expected`` from where the check would fail; negative beyond it."""
    if check.test == "at_most":
        return one.tolerance - gap
    if check.test == "equals":
        return one.tolerance - abs(gap)
    if isinstance(check.bound, tuple):
        return min(gap - check.bound[0], check.bound[1] - gap) + one.tolerance
    return gap + one.tolerance


def _holds(check: Check, slack: float) -> bool:
    return bool(slack > 0 if check.test in ("positive", "order") else slack >= 0)


def _interval_reaches(check: Check, one: Evidence, ends: list[float]) -> bool:
    if not all(map(math.isfinite, one.gap)):
        return False
    inside = one.gap[0] <= 0 <= one.gap[1] and check.test == "equals"
    return inside or any(_holds(check, end) for end in ends)


def untested(check: Check, why: str, seeds: int = 0) -> Row:
    """Return the result of a check that could not be made, and why."""
    target = list(check.bound) if isinstance(check.bound, tuple) else check.target
    return {
        "what": check.what,
        "test": check.test,
        "value": None,
        "low": None,
        "high": None,
        "expected": None if isinstance(target, str) else target,
        "tolerance": None if isinstance(check.tolerance, str) else check.tolerance,
        "tolerance_origin": check.tolerance_origin,
        "seeds": seeds,
        "holds": None,
        "note": why,
        "slack": math.inf,
    }


def rank(row: Row) -> tuple[bool, float]:
    """Failing checks first, the furthest beyond its bound before the others; untested ones last."""
    return row["holds"] is not False, row["slack"]


def joined(*parts: str) -> str:
    """Join the parts of a note that say something."""
    return "; ".join(part for part in parts if part)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


REPRODUCED, PARTLY, NOT, UNTESTED = "reproduced", "partly", "not reproduced", "not tested at this scale"
VERDICTS = (REPRODUCED, PARTLY, NOT, UNTESTED)


def judge(
    run: RunLike,
    claims: Sequence[Claim] | Path | None,
    tables: Mapping[str, pd.DataFrame],
    dataset: str | Mapping[str, str] | None = None,
) -> list[Row]:
    """Judge claims by records, store the verdicts at ``run.verdicts_path``, and return them.

    A claim is *reproduced* when all its checks of this profile hold, *partly* when some do, *not reproduced*
    when none does, *not tested at this scale* when none could be made: another profile, no records, or fewer
    than two seeds for a mean. A check without records never counts as one that holds.

    Args:
        run: The started run.
        claims: What ``read_claims`` returned, a path to read from, or None for ``run.claims_path``.
        tables: Records by the name that the checks use.
        dataset: Name of the data, or one name per table; a column ``dataset`` in a table goes before it.

    Returns:
        One row per claim, in the order of the claims; the quantity, value, interval and bound are those of
        the check that is furthest beyond its bound or, where all hold, nearest to it.

    Raises:
        ClaimError: A check of this profile names a table or column that is not there; where the parameters
            are not the profile's own, such a check is not tested.
    """
    if claims is None or isinstance(claims, Path):
        claims = read_claims(run.claims_path if claims is None else claims)
    rows = [_judge_claim(run, claim, tables, dataset) for claim in claims]
    write_json(run.verdicts_path, rows)
    return rows


def _judge_claim(
    run: RunLike, claim: Claim, tables: Mapping[str, pd.DataFrame], dataset: str | Mapping[str, str] | None
) -> Row:
    made = [(check, run.profile in check.profiles) for check in claim.checks]
    frames, results = [], []
    for check, now in made:
        try:
            frame = _rows(check, tables, claim.id) if now else pd.DataFrame()
            found = (
                judge_check(check, frame) if now else untested(check, f"not made at profile {run.profile}")
            )
        except ClaimError as error:
            if getattr(run, "own", True):  # with other parameters, a column may not be there either
                raise
            frame, found = pd.DataFrame(), untested(check, str(error))
        frames.append(frame)
        results.append(found)
    asked = [result for result, (_, now) in zip(results, made, strict=True) if now]
    verdict = _verdict(asked)
    decisive = min(asked or results, key=rank)
    used = [(check, frame) for (check, _), frame in zip(made, frames, strict=True) if not frame.empty]
    return {
        "id": claim.id,
        "paper": claim.paper,
        "place": claim.place,
        "statement": claim.statement,
        "quantity": decisive["what"],
        **{key: decisive[key] for key in ("test", "value", "low", "high", "expected")},
        **{key: decisive[key] for key in ("tolerance", "tolerance_origin", "seeds")},
        "verdict": verdict,
        **_provenance(used, dataset),
        "profile": run.profile,
        "notebook": run.name,
        "checks": [{key: value for key, value in result.items() if key != "slack"} for result in results],
        "note": _note(verdict, decisive, asked),
    }


def _verdict(results: list[Row]) -> str:
    holds = [result["holds"] for result in results]
    if all(one is None for one in holds):
        return UNTESTED
    if all(holds):
        return REPRODUCED
    return PARTLY if any(holds) else NOT


def _note(verdict: str, decisive: Row, asked: list[Row]) -> str:
    others = [result for result in asked if result["holds"] is None and result is not decisive]
    if not asked or verdict == UNTESTED:
        return decisive["note"]
    open_ones = f"not tested: {'; '.join(result['what'] for result in others)}" if others else ""
    return joined(decisive["note"], open_ones)


def _rows(check: Check, tables: Mapping[str, pd.DataFrame], claim: str) -> pd.DataFrame:
    if check.records not in tables:
        hint = suggestion(check.records, tables) or f" Tables: {', '.join(tables) or 'none'}."
        raise ClaimError(
            f"claim {claim}, check {check.what!r}: there is no table {check.records!r}.{hint} A table that "
            "is not made at this profile: leave the profile out of the check, or pass an empty DataFrame"
        )
    return selected(tables[check.records], check)


def _provenance(used: list[tuple[Check, pd.DataFrame]], dataset: str | Mapping[str, str] | None) -> Row:
    """Where the records come from; the date is the newest record's, so equal records give equal rows."""

    def values(column: str) -> str:
        found = {str(value) for _, frame in used if column in frame for value in frame[column].unique()}
        return ", ".join(sorted(found))

    named: set[str] = set()
    for check, frame in used:
        if "dataset" in frame:
            named |= set(map(str, frame["dataset"].unique()))
        elif dataset is not None:
            named.add(dataset if isinstance(dataset, str) else dataset.get(check.records, ""))
    changed = any("_code_changed" in frame and frame["_code_changed"].any() for _, frame in used)
    return {
        "dataset": ", ".join(sorted(named - {""})),
        "device": values("_device"),
        "date": max((str(frame["_date"].max()) for _, frame in used if "_date" in frame), default=""),
        "code_version": values("_code") + (" (older than the code beside it)" if changed else ""),
    }
