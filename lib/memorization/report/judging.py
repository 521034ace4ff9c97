"""Judging claims by records: one verdict per claim, with the numbers that decided it.

A claim has checks, a check has places (the values of ``each``), and a place has one number per seed, or one
curve. The module goes down these steps, and ends with the intervals over seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from memorization.checks import check_choice
from memorization.report.claims import Check, Claim, ClaimError, Value, located, read_claims
from memorization.report.expressions import check_column, select, values
from memorization.report.files import write_json

if TYPE_CHECKING:
    from memorization.runs.start import Run

REPRODUCED, PARTLY, NOT, UNTESTED = "reproduced", "partly", "not reproduced", "not tested at this scale"
VERDICTS = (REPRODUCED, PARTLY, NOT, UNTESTED)
LEVEL = 0.95
REPLICATES = 1000
_SEED = 20240

Row = dict[str, Any]
Numbers = NDArray[np.float64]
Tables = Mapping[str, pd.DataFrame]


def judge(
    run: Run,
    claims: Sequence[Claim] | Path | None,
    tables: Tables,
    dataset: str | Mapping[str, str] | None = None,
) -> list[Row]:
    """Judge claims by records, store the verdicts at ``run.verdicts_path``, and return them.

    A claim is *reproduced* when all its checks of this profile hold, *partly* when some do, *not reproduced*
    when none does, *not tested at this scale* when none could be made: another profile, no records, or fewer
    than two seeds for a mean. A check without records never counts as one that holds; its note says which
    records are not there, also where only some of its places lack them.

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


def _judge_claim(run: Run, claim: Claim, tables: Tables, dataset: str | Mapping[str, str] | None) -> Row:
    results, asked, used = [], [], []
    for check in claim.checks:
        if run.profile not in check.profiles:
            results.append(_untested(check, f"not made at profile {run.profile}"))
            continue
        with located(f"claim {claim.id}, check {check.what!r}"):
            try:
                rows = _selected(check, tables)
                results.append(_judge_check(check, rows))
                used.append((check, rows))
            except ValueError as error:
                if run.own:  # with other parameters, a column may not be there either
                    raise
                results.append(_untested(check, str(error)))
        asked.append(results[-1])
    decisive = min(asked or results, key=_rank)
    return {
        "id": claim.id,
        "paper": claim.paper,
        "place": claim.place,
        "statement": claim.statement,
        "quantity": decisive["what"],
        **{key: decisive[key] for key in ("test", "value", "low", "high", "expected")},
        **{key: decisive[key] for key in ("tolerance", "tolerance_origin", "seeds")},
        "verdict": _verdict(asked),
        **_provenance(used, dataset),
        "profile": run.profile,
        "notebook": run.name,
        "checks": [{key: result[key] for key in result if key not in _INTERNAL} for result in results],
        "note": _note(decisive, asked),
    }


def _selected(check: Check, tables: Tables) -> pd.DataFrame:
    """The rows that a check speaks of; none of an empty table, which needs no columns."""
    try:
        check_choice("table", check.records, tables)
    except ValueError as error:
        way_out = "leave the profile out of the check, or pass an empty DataFrame"
        raise ClaimError(f"{error}. Where a table is not made at this profile, {way_out}") from None
    frame = tables[check.records]
    return frame if frame.empty or not check.where else select(frame, check.where)


def _verdict(asked: list[Row]) -> str:
    holds = [result["holds"] for result in asked]
    if all(one is None for one in holds):
        return UNTESTED
    if all(holds):
        return REPRODUCED
    return PARTLY if any(holds) else NOT


def _note(decisive: Row, asked: list[Row]) -> str:
    if decisive["holds"] is None:
        return str(decisive["note"])
    others = [result for result in asked if result is not decisive]
    silent = "; ".join(result["what"] for result in others if result["holds"] is None)
    partly = "; ".join(result["what"] for result in others if result["holds"] is not None and result["lacks"])
    said = (f"not tested: {silent}" if silent else "", f"tested in part: {partly}" if partly else "")
    return _joined(decisive["note"], *said)


def _provenance(used: list[tuple[Check, pd.DataFrame]], dataset: str | Mapping[str, str] | None) -> Row:
    """Where the records come from; the date is the newest record's, so equal records give equal rows."""

    def distinct(column: str) -> str:
        found = {str(value) for _, frame in used if column in frame for value in frame[column].unique()}
        return ", ".join(sorted(found))

    used = [(check, frame) for check, frame in used if not frame.empty]
    named: set[str] = set()
    for check, frame in used:
        if "dataset" in frame:
            named |= set(map(str, frame["dataset"].unique()))
        elif dataset is not None:
            named.add(dataset if isinstance(dataset, str) else dataset.get(check.records, ""))
    changed = any("_code_changed" in frame and frame["_code_changed"].any() for _, frame in used)
    return {
        "dataset": ", ".join(sorted(named - {""})),
        "device": distinct("_device"),
        "date": max((str(frame["_date"].max()) for _, frame in used if "_date" in frame), default=""),
        "code_version": distinct("_code") + (" (older than the code beside it)" if changed else ""),
    }


_INTERNAL = ("place", "slack", "lacks")


def _judge_check(check: Check, rows: pd.DataFrame) -> Row:
    """Return what one check finds in the rows that it selects: at its worst place, or its closest.

    Returns:
        ``what``, ``test``, ``value``, ``low``, ``high``, ``expected``, ``tolerance``, ``tolerance_origin``,
        ``seeds``, ``holds`` (None where it could not be made) and ``note``; and for judging the claim
        ``slack``, the distance from the bound in units of the tolerance (of the bound where there is no
        tolerance), negative beyond it, and ``lacks``, how many places could not be judged.
    """
    if rows.empty:
        where = f" with {check.where}" if check.where else ""
        return _untested(check, f"no records in {check.records!r}{where}")
    found, lacking = _evidence(rows, check)
    if not found:
        places = f"none of {len(lacking)} places has its records, such as " if len(lacking) > 1 else ""
        return _untested(check, places + lacking[0].words, lacking[0].seeds)
    judged = [_judge_place(check, one) for one in found]
    worst = min(judged, key=_rank)
    if len(judged) > 1:
        broken = sum(not one["holds"] for one in judged)
        where = f"{'worst' if broken else 'closest'} of {len(judged)} places: {worst['place']}"
        worst["note"] = _joined(where, f"{broken} of {len(judged)} fail" if broken else "", worst["note"])
    if lacking:
        worst["lacks"] = len(lacking)
        places = f"{len(lacking)} places, such as " if len(lacking) > 1 else ""
        worst["note"] = _joined(worst["note"], f"not tested at {places}{lacking[0].words}")
    return worst


def _judge_place(check: Check, one: _Evidence) -> Row:
    if check.over_seeds == "worst":
        return _judge_worst(check, one)
    slack = _slack(check, one.value - one.expected, one)
    row = _result(check, one, one.value, one.low, one.high, slack)
    ends = [_slack(check, end, one) for end in one.gap]
    known = all(map(math.isfinite, one.gap))
    inside = check.test == "equals" and one.gap[0] <= 0 <= one.gap[1]
    if not math.isfinite(one.value):
        bad = int((~np.isfinite(one.per_seed[1])).sum())
        row["note"] = (
            f"no number in {bad} of {one.seeds} seeds" if bad else "the averaged curve has no number"
        )
    elif known and row["holds"] and not _holds(check, min(ends)):
        row["note"] = "the mean passes, but the 95 % interval crosses the bound"
    elif known and not row["holds"] and (inside or any(_holds(check, end) for end in ends)):
        row["note"] = "the mean fails, but the 95 % interval reaches the bound"
    return row


def _judge_worst(check: Check, one: _Evidence) -> Row:
    gaps, found = one.per_seed.tolist()  # Python floats, as JSON and `is False` want them
    slacks = [_slack(check, gap, one) for gap in gaps]
    place = min(range(len(slacks)), key=lambda i: slacks[i] if math.isfinite(slacks[i]) else -math.inf)
    row = _result(check, one, found[place], min(found), max(found), slacks[place])
    row["note"] = _joined(row["note"], f"worst of {one.seeds} seeds; the range is over seeds")
    return row


def _slack(check: Check, gap: float, one: _Evidence) -> float:
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


def _result(check: Check, one: _Evidence, value: float, low: float, high: float, slack: float) -> Row:
    finite = math.isfinite(slack)
    scale = one.tolerance or abs(one.expected) or 1.0
    row = _untested(check, "" if finite else "no number", one.seeds)
    row |= {"place": one.place, "value": _finite(value), "low": _finite(low), "high": _finite(high)}
    if not isinstance(check.bound, tuple):
        row["expected"] = _finite(one.expected)
    row |= {"tolerance": _finite(one.tolerance), "holds": finite and _holds(check, slack)}
    return row | {"slack": slack / scale if finite else -math.inf}


def _untested(check: Check, why: str, seeds: int = 0) -> Row:
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
        "lacks": 0,
    }


def _rank(row: Row) -> tuple[bool, float]:
    """Failing checks first, the furthest beyond its bound before the others; untested ones last."""
    return row["holds"] is not False, row["slack"]


def _joined(*parts: str, by: str = "; ") -> str:
    return by.join(part for part in parts if part)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class _Evidence:
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


class _LackingError(Exception):
    """The records of a place are not what a check needs: in words, and how many seeds there are."""

    def __init__(self, words: str, seeds: int = 0) -> None:
        super().__init__(words)
        self.words, self.seeds = words, seeds


def _evidence(rows: pd.DataFrame, check: Check) -> tuple[list[_Evidence], list[_LackingError]]:
    """Evaluate a check at each of its places, in their sorted order; and say what other places lack."""
    for column in ("seed", *check.each, *check.average_first, *check.by):
        check_column(column, rows)
    evaluate = _averaged if check.average_first else _by_seed
    found, lacking = [], []
    for place, here in _places(rows, check):
        try:
            for pair, parts in _parts(here, check):
                found.append(evaluate(parts, _joined(place, pair, by=", "), check))
        except _LackingError as error:
            lacking.append(_LackingError(_joined(place, error.words, by=": "), error.seeds))
    return found, lacking


def _places(rows: pd.DataFrame, check: Check) -> Iterator[tuple[str, pd.DataFrame]]:
    if not check.each:
        yield "", rows
        return
    for key, here in rows.groupby(list(check.each), sort=True):
        yield _named(check.each, key), here


def _named(columns: Sequence[str], key: Sequence[object]) -> str:
    return ", ".join(f"{column} = {value}" for column, value in zip(columns, key, strict=True))


def _parts(rows: pd.DataFrame, check: Check) -> list[tuple[str, list[pd.DataFrame]]]:
    """Return what is measured: all rows, or the pairs of groups whose difference is measured."""
    if check.reduce == "spearman" and len(np.unique(_numbers(rows, check.against))) < 2:
        raise _LackingError(f"a rank correlation needs at least two values of {check.against}, there is one")
    if not check.by:
        return [("", [rows])]
    groups = [_group(rows, check, wanted) for wanted in check.sequence]
    names = [" ".join(map(str, wanted)) for wanted in check.sequence]
    last = len(groups) - 1
    ends = [(0, last)] if check.reduce == "difference" else [(place, place + 1) for place in range(last)]
    return [(f"{names[one]} over {names[two]}", [groups[one], groups[two]]) for one, two in ends]


def _group(rows: pd.DataFrame, check: Check, wanted: Sequence[object]) -> pd.DataFrame:
    chosen = rows
    for column, value in zip(check.by, wanted, strict=True):
        chosen = chosen[chosen[column] == value]
    if chosen.empty:
        have = {tuple(row) for row in rows[list(check.by)].to_numpy().tolist()}
        there = ", ".join(map(str, sorted(have, key=str)))
        raise _LackingError(f"no records with {_named(check.by, wanted)}; there are {there}")
    return chosen


def _by_seed(parts: list[pd.DataFrame], place: str, check: Check) -> _Evidence:
    seeds = _common_seeds(parts, 1 if check.over_seeds == "worst" else 2)
    reduce = _reduction(check)
    sides = [
        (part["seed"].to_numpy(), _numbers(part, check.value), _numbers(part, check.against or 0.0))
        for part in parts
    ]
    target = _numbers(parts[0], check.target)
    value, expected = np.empty(len(seeds)), np.empty(len(seeds))
    for row, seed in enumerate(seeds):
        mine = [owner == seed for owner, _, _ in sides]
        numbers = [float(reduce(v[own], a[own])) for own, (_, v, a) in zip(mine, sides, strict=True)]
        value[row] = numbers[0] - numbers[1] if len(numbers) == 2 else numbers[0]
        # A number stays itself: the mean of equal numbers may differ from them in the last bit.
        expected[row] = check.target if isinstance(check.target, float) else target[mine[0]].mean()
    return _Evidence(
        place=place,
        value=float(value.mean()),
        low=mean_interval(value)[0],
        high=mean_interval(value)[1],
        gap=mean_interval(value - expected),
        expected=float(expected.mean()),
        tolerance=_scalar(parts[0], check.tolerance),
        per_seed=np.stack([value - expected, value]),
        seeds=len(seeds),
    )


def _averaged(parts: list[pd.DataFrame], place: str, check: Check) -> _Evidence:
    """Average the curve over seeds first; row 0 of the resampling is the plain average."""
    complete = [_complete(part, check) for part in parts]
    seeds = _common_seeds(complete, 2)
    counts = _resampling(len(seeds))  # (1 + REPLICATES, S)
    curves = [_resampled(part[part["seed"].isin(seeds)], counts, check) for part in complete]
    numbers = [_over_curve(curve, check) for curve in curves]
    value = numbers[0] - numbers[1] if len(numbers) == 2 else numbers[0]
    expected = _scalar(curves[0], check.target)
    spread = np.percentile(value[1:], [2.5, 97.5]) if np.isfinite(value[1:]).all() else np.full(2, np.nan)
    low, high = spread.tolist()
    return _Evidence(
        place=place,
        value=float(value[0]),
        low=low,
        high=high,
        gap=(low - expected, high - expected),
        expected=expected,
        tolerance=_scalar(parts[0], check.tolerance),
        per_seed=np.empty((2, 0)),
        seeds=len(seeds),
    )


def _common_seeds(parts: list[pd.DataFrame], least: int) -> list[int]:
    seeds = sorted(set.intersection(*(set(part["seed"]) for part in parts)))
    if len(seeds) < least:
        raise _LackingError(f"{len(seeds)} complete seed(s): a mean needs at least 2", len(seeds))
    return seeds


def _complete(part: pd.DataFrame, check: Check) -> pd.DataFrame:
    """Keep seeds that have every point of the curve, so that no average mixes different seeds."""
    points = list(check.average_first)
    have = part.groupby(["seed", *points]).size().groupby("seed").size()
    return part[part["seed"].isin(have[have == part.groupby(points).ngroups].index)]


def _resampled(part: pd.DataFrame, counts: Numbers, check: Check) -> pd.DataFrame:
    """Return the averaged curve of every resampling: ``replicates`` × points rows, sorted by replicate."""
    points = list(check.average_first)
    numeric = [str(column) for column in part.select_dtypes(["number", "bool"])]
    names = [name for name in numeric if name != "seed" and name not in points and not name.startswith("_")]
    means = part.groupby(["seed", *points], sort=True)[names].mean()
    shape = (counts.shape[1], -1, len(names))
    cube = np.einsum("bs,spc->bpc", counts, means.to_numpy(dtype=float).reshape(shape))  # B, P, C
    cube /= counts.shape[1]
    curve = pd.DataFrame(cube.reshape(-1, len(names)), columns=names)
    grid = part[points].drop_duplicates().sort_values(points)
    for column in points:
        curve[column] = np.tile(grid[column].to_numpy(), counts.shape[0])
    return curve


def _over_curve(curve: pd.DataFrame, check: Check) -> Numbers:
    """Reduce the curve of every resampling; shape (1 + REPLICATES,)."""
    shape = (REPLICATES + 1, -1)
    found, against = (
        _numbers(curve, wanted).reshape(shape) for wanted in (check.value, check.against or 0.0)
    )
    return _reduction(check)(found, against)


def _numbers(frame: pd.DataFrame, wanted: Value) -> Numbers:
    """A number or an expression on every row."""
    return values(wanted, frame) if isinstance(wanted, str) else np.full(len(frame), float(wanted))


def _scalar(frame: pd.DataFrame, wanted: Value) -> float:
    """A bound or tolerance: the number itself (no rounding), or an expression's mean over the rows."""
    return float(values(wanted, frame).mean()) if isinstance(wanted, str) else wanted


def _reduction(check: Check) -> Callable[[Numbers, Numbers], Numbers]:
    """Return the function of (values, against), both of shape (…, P), that reduces the last axis."""
    return {
        "mean": lambda found, _: found.mean(-1),
        "difference": lambda found, _: found.mean(-1),  # of two groups, each with its mean
        "max": lambda found, _: found.max(-1),
        "min": lambda found, _: found.min(-1),
        "range": lambda found, _: found.max(-1) - found.min(-1),
        "spearman": _spearman,
    }[check.reduce]


def _spearman(found: Numbers, against: Numbers) -> Numbers:
    """Return Spearman's rank correlation along the last axis, shape (…); NaN where one side is constant.

    scipy.stats.spearmanr takes one pair of curves a call; here are 1 + REPLICATES at once.
    """
    ranks = [stats.rankdata(side, axis=-1) for side in (found, against)]
    first, second = (side - side.mean(axis=-1, keepdims=True) for side in ranks)
    scale = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        result = np.where(scale > 0, (first * second).sum(-1) / scale, np.nan)
    return np.where(np.isfinite(found).all(-1) & np.isfinite(against).all(-1), result, np.nan)


def mean_interval(numbers: Numbers) -> tuple[float, float]:
    """Return the 95 % t interval of a mean.

    Args:
        numbers: One per seed, shape (S,).

    Returns:
        Lower and upper end; NaN for fewer than two numbers or where one is not finite.
    """
    count = len(numbers)
    if count < 2 or not np.isfinite(numbers).all():
        return float("nan"), float("nan")
    half = stats.t.ppf((1 + LEVEL) / 2, count - 1) * numbers.std(ddof=1) / np.sqrt(count)
    return float(numbers.mean() - half), float(numbers.mean() + half)


def _resampling(seeds: int) -> Numbers:
    """Return how often each seed counts in a bootstrap over seeds: row 0 is every seed once.

    scipy.stats.bootstrap would call the reduction on resampled records; with counts, one product averages
    the curves of all replicates. Counts, not shares: ten times a tenth is not one.

    Args:
        seeds: Number of seeds S, 1 or more.

    Returns:
        Shape (1 + REPLICATES, S), S in all in each row; the same at every call.
    """
    generator = np.random.default_rng(_SEED)
    drawn = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=REPLICATES)
    return np.vstack([np.ones(seeds), drawn])
