"""What one check finds in the records: a value, its interval, and whether it holds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from memorization.report.claims import Check
from memorization.report.evidence import Evidence, evidence

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
    found = evidence(rows, check)
    fewest = min(found, key=lambda one: one.seeds)
    if fewest.seeds < (1 if check.over_seeds == "worst" else 2):
        return untested(check, f"{fewest.seeds} complete seed(s): a mean needs at least 2", fewest.seeds)
    judged = [_judge_place(check, one) for one in found]
    worst = min(judged, key=rank)
    if len(judged) > 1:
        broken = sum(not one["holds"] for one in judged)
        where = f"{'worst' if broken else 'closest'} of {len(judged)} places: {worst['place']}"
        worst["note"] = joined(where, f"{broken} of {len(judged)} fail" if broken else "", worst["note"])
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
