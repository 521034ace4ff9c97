"""Verdicts as a table for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
from IPython.display import HTML

from memorization.report.markup import number, table_html
from memorization.report.verdicts import NOT, PARTLY, REPRODUCED, UNTESTED

_SIGNS = {REPRODUCED: ("✓", "yes"), PARTLY: ("◐", "partly"), NOT: ("✗", "no"), UNTESTED: ("○", "open")}


def verdict_table(rows: Sequence[Mapping[str, Any]], caption: str = "What holds here") -> HTML:
    """Return the verdicts as a table; the checks of a claim unfold below its verdict.

    Args:
        rows: What ``judge`` returned, at least one row.
        caption: What the table is about.
    """
    frame = pd.DataFrame([claim_cells(row) for row in rows])
    return HTML(table_html(frame, caption, markup=frame.columns.tolist(), stacked=True))


def verdict_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say how many claims hold, and name those that do not or were not tested."""
    ids = {kind: [row["id"] for row in rows if row["verdict"] == kind] for kind in _SIGNS}
    text = f"Of {len(rows)} claims {len(ids[REPRODUCED])} are reproduced at this scale"
    for kind in (PARTLY, NOT, UNTESTED):
        if ids[kind]:
            text += f"; {kind}: {', '.join(ids[kind])}"
    return text + "."


def claim_cells(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of one claim as HTML: what is claimed and where, what decided it, the verdict."""
    head = f"<b>{escape(row['id'])}</b> · {escape(row['place'])}"
    numbers = f"{escape(row['quantity'])}: <b>{escape(measured(row))}</b>"
    data = f"; data: {escape(row['dataset'])}" if row.get("dataset") else ""
    against = f"<p>expected {escape(expected(row))}; {row['seeds']} seeds{data}</p>" if row["seeds"] else ""
    return {
        "claim": f"{head}<p>{escape(row['statement'])}</p>{_checks(row['checks'])}",
        "what decided it": numbers + against,
        "verdict": badge(row["verdict"]) + (f"<p>{escape(row['note'])}</p>" if row["note"] else ""),
    }


def badge(verdict: str) -> str:
    """Return a verdict as a sign and words, so that it does not hang on color alone."""
    sign, kind = _SIGNS[verdict]
    return f'<span class="verdict verdict-{kind}"><span aria-hidden="true">{sign}</span> {verdict}</span>'


def measured(row: Mapping[str, Any]) -> str:
    """Return value and interval of a verdict or check, for example ``0.71 [0.69, 0.73]``."""
    if row["value"] is None or row["low"] is None:
        return number(row["value"])
    return f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"


def expected(row: Mapping[str, Any]) -> str:
    """Return the bound of a verdict or check, for example ``≤ 0.72`` or ``0.345 ± 0.01``."""
    bound, tolerance = row["expected"], row["tolerance"]
    if isinstance(bound, Sequence) and not isinstance(bound, str):
        return f"{number(bound[0])} to {number(bound[1])}"
    slack = f" ± {number(tolerance)}" if tolerance else ""
    sign = {"at_most": "≤ ", "at_least": "≥ ", "positive": "> ", "order": "each step > "}.get(row["test"], "")
    return f"{sign}{number(bound)}{slack}"


def _checks(checks: Sequence[Mapping[str, Any]]) -> str:
    items = "".join(f"<li>{_check(check)}</li>" for check in checks)
    count = f"{len(checks)} check{'s' if len(checks) > 1 else ''}"
    return f'<details class="checks"><summary>{count}</summary><ul>{items}</ul></details>'


def _check(check: Mapping[str, Any]) -> str:
    outcome = {True: "holds", False: "fails", None: "not tested"}[check["holds"]]
    numbers = f": {measured(check)}, expected {expected(check)}" if check["value"] is not None else ""
    origin = f" (from: {check['tolerance_origin']})" if check["tolerance_origin"] else ""
    note = f"; {check['note']}" if check["note"] else ""
    return escape(f"{outcome}: {check['what']}{numbers}{origin}{note}")
