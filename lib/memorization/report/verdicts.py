"""Judging a paper's claims by the records: one verdict per claim, with the numbers that decided it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from memorization.report.checking import Row, joined, judge_check, rank, untested
from memorization.report.claims import Check, Claim, ClaimError
from memorization.report.claims_file import read_claims
from memorization.report.contract import RunLike
from memorization.report.evidence import selected
from memorization.report.files import write_json
from memorization.runs.parameters import did_you_mean

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
        ClaimError: A check of this profile names a table, column or group that is not there.
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
    frames = [_rows(check, tables, claim.id) if now else pd.DataFrame() for check, now in made]
    results = [
        judge_check(check, frame) if now else untested(check, f"not made at profile {run.profile}")
        for (check, now), frame in zip(made, frames, strict=True)
    ]
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
        hint = did_you_mean(check.records, tables) or f" Tables: {', '.join(tables) or 'none'}."
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
