"""Judging claims by records: one verdict per claim, with the numbers that decided it.

A claim has checks, a check has places (the values of ``each``, and pairs of groups), and a place has one
number per seed. The module goes down these steps; what decides is the interval over seeds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from memorization.checks import check_choice
from memorization.report.claims import LINES, Check, Claim, ClaimError, Value, located, read_claims
from memorization.report.expressions import check_column, select, values
from memorization.report.files import read_rows, write_json
from memorization.report.intervals import LEVEL, mean_interval, seeds_to_decide
from memorization.runs.parameters import PROFILES

if TYPE_CHECKING:
    from memorization.runs.start import Run

REPRODUCED, PARTLY, NOT, UNDECIDED = "reproduced", "partly", "not reproduced", "undecided"
UNTESTED, NOT_CLAIMED = "not tested at this scale", "not claimed"
VERDICTS = (REPRODUCED, PARTLY, NOT, UNDECIDED, UNTESTED, NOT_CLAIMED)
HOLDS, FAILS, OPEN, UNMADE = "holds", "fails", "undecided", "not tested"
OLDER = " (older than the code beside it)"  # the end of the code version of such records
_HELD = {HOLDS: True, FAILS: False}

Row = dict[str, Any]
Numbers = NDArray[np.float64]
Tables = Mapping[str, pd.DataFrame]
_SHOWN = ("test", "value", "low", "high", "expected", "tolerance", "tolerance_origin", "seeds")
_GAP = ("gap_low", "gap_high")
_DUST = 1e-12


def judge(
    run: Run,
    claims: Sequence[Claim] | Path | None,
    tables: Tables,
    dataset: str | Mapping[str, str] | None = None,
    untrained: Tables | None = None,
) -> list[Row]:
    """Judge claims by records, store the verdicts at ``run.verdicts_path``, and return them.

    A check *holds* where the whole 95 % interval of value - bound lies on the right side, *fails* where it
    lies on the wrong side, and is *undecided* where the bound is inside it. Equality holds where the interval
    lies within the tolerance. At several places all must hold, and one that fails is judged at a level
    corrected for their number. The paper's checks decide the claim: *reproduced* when all hold, *not
    reproduced* when the primary one (the first) fails, *partly* when it holds and another fails, *not tested
    at this scale* when none could be made, else *undecided*. Where a claim has only checks of ours
    (origin ``pilot``), they decide, and its ``tally`` is ``ours``, as is that of a question of ours.

    The numbers of each seed that all this rests on are stored at ``run.evidence_path``.

    Args:
        run: The started run.
        claims: What ``read_claims`` returned, a path to read from, or None for ``run.claims_path``.
        tables: Records by the name that the checks use.
        dataset: Name of the data, or one name per table; a column ``dataset`` in a table goes before it.
        untrained: The same tables of untrained networks, for claims whose null these are.

    Returns:
        One row per claim, in the order of the claims; quantity, value, intervals and bound are those of the
        primary check, at the place that is nearest to failing. Beyond what is stored, ``elsewhere`` has the
        published verdicts of other profiles, by profile.

    Raises:
        ClaimError: A check of this profile names a table or column that is not there; where the parameters
            are not the profile's own, such a check is not tested.
    """
    if claims is None or isinstance(claims, Path):
        claims = read_claims(run.claims_path if claims is None else claims)
    replicated, evidence = _replicated(run), []
    rows = []
    for claim in claims:
        judged = [_judge_check(run, claim, check, tables) for check in claim.checks]
        evidence += [place for one in judged for place in one.evidence]
        row = _row(run, claim, judged, dataset)
        row["null"] = _null_verdict(run, claim, tables, untrained)
        row["replication"] = _agreement(replicated, claim, row)
        rows.append(row)
    write_json(run.verdicts_path, rows)
    write_json(run.evidence_path, evidence)
    elsewhere = _elsewhere(run)
    return [row | {"elsewhere": elsewhere.get(row["id"], {})} for row in rows]


def _elsewhere(run: Run) -> dict[str, dict[str, str]]:
    """The published verdicts of each claim at the profiles that are not the run's, where it was tested."""
    found: dict[str, dict[str, str]] = {}
    for profile in PROFILES:
        path = run.published / "verdicts" / f"{run.name}.{profile}.json"
        if profile != run.profile and path.is_file():
            for row in read_rows(path):
                if row["verdict"] not in (UNTESTED, NOT_CLAIMED):
                    found.setdefault(row["id"], {})[profile] = row["verdict"]
    return found


@dataclass(frozen=True)
class _Judged:
    """A check with what it found: its row for the file, the records that it used, its numbers by seed."""

    check: Check
    row: Row
    rows: pd.DataFrame
    evidence: list[Row]


def _row(run: Run, claim: Claim, judged: Sequence[_Judged], dataset: str | Mapping[str, str] | None) -> Row:
    deciding = claim.deciding(run.profile)
    decide = [one for check in deciding for one in judged if one.check is check]
    primary = next(iter(decide or judged), None)
    checks = [{**one.row, "primary": one is primary} for one in judged]
    shown = primary.row if primary else _untested(None, claim.not_claimed)
    return {
        "id": claim.id,
        "paper": claim.paper,
        "place": claim.place,
        "statement": claim.statement,
        "quantity": shown["what"],
        **{key: shown[key] for key in (*_SHOWN, *_GAP)},
        "verdict": NOT_CLAIMED if claim.not_claimed else _verdict([one.row["outcome"] for one in decide]),
        "tally": "ours" if claim.extension or (deciding and deciding[0].origin == "pilot") else "paper",
        "identity": bool(deciding) and deciding[0].identity,
        "digest": claim.digest,
        **_provenance([one for one in judged if not one.rows.empty], dataset),
        "profile": run.profile,
        "notebook": run.name,
        "checks": checks,
        "note": _note(shown, [one.row for one in decide[1:]]),
        "seeds_to_decide": _most([one.row for one in decide]),
    }


def _most(deciding: Sequence[Row]) -> int | None:
    """How many seeds would decide each undecided check; None where none is, or too many were needed."""
    needed = [
        row["seeds_to_decide"] for row in deciding if row["outcome"] == OPEN and row["value"] is not None
    ]
    return max(needed) if needed and None not in needed else None


def _verdict(outcomes: Sequence[str]) -> str:
    """The verdict that follows from the outcomes of the deciding checks, the primary one first."""
    if all(one == UNMADE for one in outcomes):
        return UNTESTED
    if all(one == HOLDS for one in outcomes):
        return REPRODUCED
    if outcomes[0] == FAILS:
        return NOT
    return PARTLY if outcomes[0] == HOLDS and FAILS in outcomes else UNDECIDED


def hindering(row: Mapping[str, Any]) -> list[Row]:
    """The check that keeps a claim from being reproduced although the primary one holds, if there is one."""
    if row["verdict"] not in (PARTLY, UNDECIDED) or not any(
        check["primary"] and check["outcome"] == HOLDS for check in row["checks"]
    ):
        return []
    wanted = FAILS if row["verdict"] == PARTLY else OPEN
    found = [check for check in row["checks"] if check["outcome"] == wanted and check["origin"] != "pilot"]
    return found[:1]


def _note(primary: Row, others: Sequence[Row]) -> str:
    said = []
    for outcome in (FAILS, OPEN, UNMADE):
        found = [other["what"] for other in others if other["outcome"] == outcome]
        said += [f"{outcome}, too: {'; '.join(found)}"] if found and primary["outcome"] == outcome else []
        said += [f"{outcome}: {'; '.join(found)}"] if found and primary["outcome"] != outcome else []
    return _joined(primary["note"], *said)


def _null_verdict(run: Run, claim: Claim, tables: Tables, untrained: Tables | None) -> str | None:
    """The verdict on records in which the effect is absent; None for identities and what is not claimed."""
    if claim.null_records is None or run.profile not in claim.profiles:
        return None
    absent = _without_effect(*claim.null_records, tables, untrained or {})
    deciding = claim.deciding(run.profile)
    return _verdict([_judge_check(run, claim, check, absent).row["outcome"] for check in deciding])


def _without_effect(kind: str, of: Any, tables: Tables, untrained: Tables) -> Tables:
    if kind == "untrained":
        return {name: untrained.get(name, frame.head(0)) for name, frame in tables.items()}
    if kind == "records":
        return {**tables, **{name: tables[other] for name, other in of.items()}}
    change = _permuted if kind == "permuted" else _exchanged
    return {
        name: change(frame, list(of)) if set(of) <= set(frame) else frame.head(0)
        for name, frame in tables.items()
    }


def _permuted(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Let the values of some columns change places among the rows of each seed, together and at random."""
    seeds, order = frame["seed"].to_numpy(), np.arange(len(frame))
    for seed in np.unique(seeds):
        places = np.flatnonzero(seeds == seed)
        order[places] = np.random.default_rng(int(seed)).permutation(places)
    return frame.assign(**{name: frame[name].to_numpy()[order] for name in columns})


def _exchanged(frame: pd.DataFrame, columns: list[str]) -> pd.DataFrame:
    """Let some columns change names in turn: by none, one, two, … from one seed to the next."""
    numbers, seeds = frame[columns].to_numpy(copy=True), frame["seed"].to_numpy()
    for moved, seed in enumerate(np.unique(seeds)):
        numbers[seeds == seed] = np.roll(numbers[seeds == seed], moved, axis=1)
    return frame.assign(**dict(zip(columns, numbers.T, strict=True)))


def _replicated(run: Run) -> list[Row]:
    """The published sets of seeds; none where no replication is published."""
    path = run.published / "replications" / f"{run.name}.{run.profile}.json"
    if not path.is_file():
        return []
    return list(json.loads(path.read_text(encoding="utf-8"))["sets"])


def _agreement(replicated: Sequence[Row], claim: Claim, row: Row) -> Row | None:
    """How many sets agree; those that were judged by other checks than today's say nothing."""
    sets = [one["verdicts"][claim.id] for one in replicated if one["digests"].get(claim.id) == claim.digest]
    if not sets or row["verdict"] in (UNTESTED, NOT_CLAIMED):
        return None
    return {"sets": len(sets), "agree": sets.count(row["verdict"])}


def _provenance(used: Sequence[_Judged], dataset: str | Mapping[str, str] | None) -> Row:
    """Where the records come from; the date is the newest record's, so equal records give equal rows."""
    frames = [one.rows for one in used]

    def distinct(column: str) -> str:
        found = {str(value) for frame in frames if column in frame for value in frame[column].unique()}
        return ", ".join(sorted(found))

    named: set[str] = set()
    for one in used:
        if "dataset" in one.rows:
            named |= set(map(str, one.rows["dataset"].unique()))
        elif dataset is not None:
            named.add(dataset if isinstance(dataset, str) else dataset.get(one.check.records, ""))
    changed = any("_code_changed" in frame and frame["_code_changed"].any() for frame in frames)
    return {
        "dataset": ", ".join(sorted(named - {""})),
        "device": distinct("_device"),
        "date": max((str(frame["_date"].max()) for frame in frames if "_date" in frame), default=""),
        "code_version": distinct("_code") + (OLDER if changed else ""),
    }


def _judge_check(run: Run, claim: Claim, check: Check, tables: Tables) -> _Judged:
    """Return what one check finds in the rows that it selects."""
    nothing = pd.DataFrame()
    if run.profile not in check.profiles:
        return _Judged(check, _untested(check, f"not made at profile {run.profile}"), nothing, [])
    with located(f"claim {claim.id}, check {check.what!r}"):
        try:
            rows = _selected(check, tables)
            found, lacking = _evidence(rows, check)
        except _LackingError as error:
            return _Judged(check, _untested(check, error.words, error.seeds), nothing, [])
        except ValueError as error:
            if run.own:  # with other parameters, a column may not be there either
                raise
            return _Judged(check, _untested(check, str(error)), nothing, [])
    numbers = [one.numbers(claim.id, check.what) for one in found]
    return _Judged(check, _judge_places(check, found, lacking), rows, numbers)


def _selected(check: Check, tables: Tables) -> pd.DataFrame:
    """The rows that a check speaks of, of the seeds that may judge it."""
    try:
        check_choice("table", check.records, tables)
    except ValueError as error:
        way_out = "leave the profile out of the check, or pass an empty DataFrame"
        raise ClaimError(f"{error}. Where a table is not made at this profile, {way_out}") from None
    frame = tables[check.records]
    rows = frame if frame.empty or not check.where else select(frame, check.where)
    if rows.empty:  # an empty table needs no columns
        raise _LackingError(
            f"no records in {check.records!r}" + (f" with {check.where}" if check.where else "")
        )
    rows = rows[rows["seed"] >= check.pilot_seeds]
    if rows.empty:
        raise _LackingError(
            f"the seeds below {check.pilot_seeds} chose this bound and do not judge it; there are no others"
        )
    return rows


def _judge_places(check: Check, found: Sequence[_Evidence], lacking: Sequence[_LackingError]) -> Row:
    """Judge a check at its places; the row is that of the place nearest to failing, or worst."""
    if not found:
        places = f"none of {len(lacking)} places has its records, such as " if len(lacking) > 1 else ""
        return _untested(check, places + lacking[0].words, lacking[0].seeds)
    judged = [_judge_place(check, one, len(found)) for one in found]
    _, row = min(judged, key=lambda one: (_RANK.index(one[1]["outcome"]), one[0]))
    if len(judged) > 1:
        outcomes = [one["outcome"] for _, one in judged]
        counts = [f"{outcomes.count(kind)} {kind}" for kind in (FAILS, OPEN) if kind in outcomes]
        nearest = "closest" if row["outcome"] == HOLDS else "worst"
        row["note"] = _joined(f"{nearest} of {len(judged)} places", ", ".join(counts), row["note"])
    if lacking:
        places = f"{len(lacking)} places, such as " if len(lacking) > 1 else ""
        row["note"] = _joined(row["note"], f"not tested at {places}{lacking[0].words}")
        if row["outcome"] == HOLDS:  # a check must hold at all of its places
            row |= {"outcome": OPEN, "holds": None}
    return row


_RANK = (FAILS, OPEN, HOLDS)


def _judge_place(check: Check, one: _Evidence, places: int) -> tuple[float, Row]:
    """Return the slack of a place, in units of its tolerance or bound, and its row."""
    ends = one.identity_ends() if check.identity else mean_interval(one.gap)
    wide = ends if check.identity else mean_interval(one.gap, 1 - (1 - LEVEL) / places)
    least, most = allowed_gap(check.test, check.bound, one.tolerance)
    outcome = OPEN
    if not all(map(math.isfinite, ends)):
        note = f"no number in {int((~np.isfinite(one.gap)).sum())} of {len(one.seeds)} seeds"
    else:
        note = f"each of {len(one.seeds)} seeds must hold; the range is over seeds" if check.identity else ""
        outcome = _outcome(check, ends, wide, (least, most))
    slack = min(ends[0] - least, most - ends[1])
    row = _result(check, one, ends, (least, most)) | {
        "outcome": outcome,
        "holds": _HELD.get(outcome),
        "note": note,
    }
    if outcome == OPEN and all(map(math.isfinite, ends)):
        row["seeds_to_decide"] = _needed(one.gap, least, most)
    scale = one.tolerance or abs(float(one.expected.mean())) or 1.0
    return (slack / scale if math.isfinite(slack) else -math.inf), row


def _outcome(
    check: Check, ends: tuple[float, float], wide: tuple[float, float], allowed: tuple[float, float]
) -> str:
    (low, high), (least, most) = ends, allowed
    strict = check.test == "positive"  # zero itself is on the wrong side
    if (low > least if strict else low >= least) and high <= most:
        return HOLDS
    if (wide[1] <= least if strict else wide[1] < least) or wide[0] > most:
        return FAILS
    return FAILS if check.identity else OPEN  # an identity that one seed breaks is none


def allowed_gap(test: str, bound: Any, tolerance: float) -> tuple[float, float]:
    """Return from where to where value - bound may lie; of ``between``, with two bounds, the value."""
    if test == "between":
        return bound[0] - tolerance, bound[1] + tolerance
    least = -math.inf if test == "at_most" else -tolerance
    return least, tolerance if test in ("at_most", "equals") else math.inf


def _needed(gap: Numbers, least: float, most: float) -> int | None:
    mean = float(gap.mean())
    return seeds_to_decide(gap, min(abs(mean - end) for end in (least, most)))


def _result(check: Check, one: _Evidence, ends: tuple[float, float], allowed: tuple[float, float]) -> Row:
    row = _untested(check, "", len(one.seeds))
    if check.identity:
        least, most = allowed
        worst = int(np.argmin(np.minimum(one.gap - least, most - one.gap)))
        value, low, high = one.value[worst], one.value.min(), one.value.max()
    else:
        value, (low, high) = one.value.mean(), mean_interval(one.value)
    row |= {"place": one.place, "value": _finite(value), "low": _finite(low), "high": _finite(high)}
    if not isinstance(check.bound, tuple):
        row["expected"] = _finite(float(one.expected.mean()))
    row |= {"gap_low": _finite(ends[0]), "gap_high": _finite(ends[1])}
    return row | {"tolerance": _finite(one.tolerance)}


def _untested(check: Check | None, why: str, seeds: int = 0) -> Row:
    """Return the result of a check that could not be made, and why."""
    numbers = dict.fromkeys(("value", "low", "high", "gap_low", "gap_high", "seeds_to_decide"))
    target = None if check is None else list(check.bound) if isinstance(check.bound, tuple) else check.target
    tolerance = None if check is None or isinstance(check.tolerance, str) else check.tolerance
    return {
        "what": check.what if check else "",
        "test": check.test if check else "",
        **numbers,
        "expected": None if isinstance(target, str) else target,
        "tolerance": tolerance,
        "tolerance_origin": check.tolerance_origin if check else "",
        "origin": check.origin if check else "",
        "identity": check.identity if check else False,
        "place": "",
        "seeds": seeds,
        "outcome": UNMADE,
        "holds": None,
        "note": why,
    }


def _joined(*parts: str, by: str = "; ") -> str:
    return by.join(part for part in parts if part)


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


@dataclass(frozen=True)
class _Evidence:
    """What the records say at one place.

    Attributes:
        place: the values of ``each`` (and the pair of groups), empty where there is one place only.
        seeds: the seeds S.
        value: one number per seed, shape (S,).
        expected: what it is compared with, shape (S,).
        tolerance: allowed deviation.
    """

    place: str
    seeds: Sequence[int]
    value: Numbers
    expected: Numbers
    tolerance: float

    @property
    def gap(self) -> Numbers:
        """``value - expected``, shape (S,)."""
        return self.value - self.expected

    def identity_ends(self) -> tuple[float, float]:
        """The smallest and the largest gap."""
        return float(self.gap.min()), float(self.gap.max())

    def numbers(self, claim: str, what: str) -> Row:
        """What is stored of it: the gap of each seed."""
        gaps = {str(seed): _finite(gap) for seed, gap in zip(self.seeds, self.gap.tolist(), strict=True)}
        return {"claim": claim, "check": what, "place": self.place, "gaps": gaps}


class _LackingError(Exception):
    """The records of a place are not what a check needs: in words, and how many seeds there are."""

    def __init__(self, words: str, seeds: int = 0) -> None:
        super().__init__(words)
        self.words, self.seeds = words, seeds


def _evidence(rows: pd.DataFrame, check: Check) -> tuple[list[_Evidence], list[_LackingError]]:
    """Evaluate a check at each of its places, in their sorted order; and say what other places lack."""
    for column in ("seed", *check.each, *check.by):
        check_column(column, rows)
    found, lacking = [], []
    for place, here in _places(rows, check):
        try:
            for pair, parts in _parts(here, check):
                found.append(_by_seed(parts, _joined(place, pair, by=", "), check))
        except _LackingError as error:
            lacking.append(_LackingError(_joined(place, error.words, by=": "), error.seeds))
    return found, lacking


def _places(rows: pd.DataFrame, check: Check) -> Iterator[tuple[str, pd.DataFrame]]:
    if not check.each:
        yield "", rows
        return
    for key, here in rows.groupby(list(check.each), sort=True):
        yield _named(check.each, key), here


def _named(columns: Sequence[str], key: Sequence[object], *, bare: bool = False) -> str:
    """A place or group in words: ``kind = phi4, alpha = 0.5, not augmented``; bare, its texts stand alone."""
    return ", ".join(_word(column, value, bare) for column, value in zip(columns, key, strict=True))


def _word(column: str, value: object, bare: bool) -> str:
    words = column.replace("_", " ")
    if isinstance(value, bool | np.bool_):
        return words if value else f"not {words}"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if bare and isinstance(value, str) else f"{words} = {text}"


def _parts(rows: pd.DataFrame, check: Check) -> list[tuple[str, list[pd.DataFrame]]]:
    """Return what is measured: all rows, or the pairs of neighboring groups whose difference is."""
    if check.reduce in LINES and len(np.unique(_numbers(rows, check.against))) < 2:
        raise _LackingError(f"a {check.reduce} needs at least two values of {check.against}, there is one")
    if not check.by:
        return [("", [rows])]
    groups = [_group(rows, check, wanted) for wanted in check.sequence]
    names = [_named(check.by, wanted, bare=True) for wanted in check.sequence]
    pairs = range(len(groups) - 1)
    return [(f"{names[one]} minus {names[one + 1]}", groups[one : one + 2]) for one in pairs]


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
    seeds = _common_seeds(parts, 1 if check.identity else 2)
    reduce = _REDUCE[check.reduce]
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
    return _Evidence(place, seeds, value, expected, _scalar(parts[0], check.tolerance))


def _common_seeds(parts: list[pd.DataFrame], least: int) -> list[int]:
    seeds = sorted(set.intersection(*(set(part["seed"].tolist()) for part in parts)))
    if len(seeds) < least:
        raise _LackingError(f"{len(seeds)} complete seed(s): an interval needs at least 2", len(seeds))
    return seeds


def _numbers(frame: pd.DataFrame, wanted: Value) -> Numbers:
    """A number or an expression on every row."""
    return values(wanted, frame) if isinstance(wanted, str) else np.full(len(frame), float(wanted))


def _scalar(frame: pd.DataFrame, wanted: Value) -> float:
    """A tolerance: the number itself (no rounding), or an expression's mean over the rows."""
    return float(values(wanted, frame).mean()) if isinstance(wanted, str) else wanted


def _slope(found: Numbers, against: Numbers) -> float:
    """The slope of the least-squares line through the points of one seed, each of shape (rows,).

    Of equal numbers it is zero, and not the dust that rounding leaves of a sum that cancels.
    """
    away = against - against.mean()
    products = away * found
    if abs(products.sum()) < _DUST * np.abs(products).sum():
        return 0.0
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(products.sum() / (away**2).sum())


_REDUCE: Mapping[str, Callable[[Numbers, Numbers], Any]] = {
    "mean": lambda found, _: found.mean(),
    "max": lambda found, _: found.max(),
    "min": lambda found, _: found.min(),
    "range": lambda found, _: found.max() - found.min(),
    "slope": _slope,
    "intercept": lambda found, against: found.mean() - _slope(found, against) * against.mean(),
}
