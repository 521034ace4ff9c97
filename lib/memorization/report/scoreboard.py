"""Verdicts shown: those of a page as a table and a sentence, those of the whole book as a scoreboard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
from IPython.display import HTML

from memorization.report.claims import Claim, read_claims
from memorization.report.files import read_rows
from memorization.report.judging import NOT, NOT_CLAIMED, PARTLY, REPRODUCED, UNDECIDED, UNTESTED, VERDICTS
from memorization.report.tables import number, table
from memorization.runs.parameters import PROFILES

Row = Mapping[str, Any]

# The papers' short names; the keys are those of the bibliography.
PAPERS = MappingProxyType(
    {
        "bombari2024spurious": "Bombari & Mondelli, ICML 2024",
        "anagnostidis2023curious": "Anagnostidis et al., ICLR 2023",
        "zhang2024feature": "Zhang et al., ICML 2024",
        "becker2024learned": "Becker & Risse, 2024",
        "bayat2025pitfalls": "Bayat et al., ICLR 2025",
    }
)
_NEEDED = {"id", "paper", "place", "statement", "quantity", "test", "value", "low", "high", "expected"}
_NEEDED |= {"tolerance", "seeds", "verdict", "profile", "notebook", "checks", "note"}
_SCALES = [profile for profile in PROFILES if profile != "smoke"]  # small to large; smoke runs prove nothing
_SIGNS = {REPRODUCED: ("✓", "yes"), PARTLY: ("◐", "partly"), NOT: ("✗", "no"), UNTESTED: ("○", "open")}
_SIGNS |= {UNDECIDED: ("?", "open"), NOT_CLAIMED: ("–", "open")}


def verdict_table(rows: Sequence[Row], caption: str = "What holds here") -> HTML:
    """Return the verdicts as a table; the checks of a claim unfold below its verdict.

    Args:
        rows: What ``judge`` returned.
        caption: What the table is about.
    """
    frame = pd.DataFrame([_claim_cells(row) for row in rows])
    return table(frame, caption, markup=frame.columns.tolist(), stacked=True)


def verdict_sentence(rows: Sequence[Row]) -> str:
    """Say how many claims hold, and name those that do not or were not tested."""
    if not rows:
        return "No claim was judged."
    ids = {kind: [row["id"] for row in rows if row["verdict"] == kind] for kind in _SIGNS}
    text = f"Of {len(rows)} claims {len(ids[REPRODUCED])} are reproduced at this scale"
    for kind in (PARTLY, NOT, UNTESTED):
        if ids[kind]:
            text += f"; {kind}: {', '.join(ids[kind])}"
    return text + "."


def _claim_cells(row: Row) -> dict[str, str]:
    """Return the cells of one claim as HTML: what is claimed and where, what decided it, the verdict."""
    head = f"<b>{escape(row['id'])}</b> · {escape(row['place'])}"
    numbers = f"{escape(row['quantity'])}: <b>{escape(_measured(row))}</b>"
    data = f"; data: {escape(row['dataset'])}" if row.get("dataset") else ""
    against = f"<p>expected {escape(_expected(row))}; {row['seeds']} seeds{data}</p>" if row["seeds"] else ""
    return {
        "claim": f"{head}<p>{escape(row['statement'])}</p>{_checks(row['checks'])}",
        "what decided it": numbers + against,
        "verdict": _badge(row["verdict"]) + (f"<p>{escape(row['note'])}</p>" if row["note"] else ""),
    }


def _badge(verdict: str) -> str:
    """Return a verdict as a sign and words, so that it does not hang on color alone."""
    sign, kind = _SIGNS[verdict]
    return f'<span class="verdict verdict-{kind}"><span aria-hidden="true">{sign}</span> {verdict}</span>'


def _measured(row: Row) -> str:
    """Return value and interval of a verdict or check, for example ``0.71 [0.69, 0.73]``."""
    if row["value"] is None or row["low"] is None:
        return number(row["value"])
    return f"{number(row['value'])} [{number(row['low'])}, {number(row['high'])}]"


def _expected(row: Row) -> str:
    """Return the bound of a verdict or check, for example ``≤ 0.72`` or ``0.345 ± 0.01``."""
    bound, tolerance = row["expected"], row["tolerance"]
    if isinstance(bound, Sequence) and not isinstance(bound, str):
        return f"{number(bound[0])} to {number(bound[1])}"
    slack = f" ± {number(tolerance)}" if tolerance else ""
    sign = {"at_most": "≤ ", "at_least": "≥ ", "positive": "> ", "order": "each step > "}.get(row["test"], "")
    return f"{sign}{number(bound)}{slack}"


def _checks(checks: Sequence[Row]) -> str:
    items = "".join(f"<li>{_check(check)}</li>" for check in checks)
    count = f"{len(checks)} check{'s' if len(checks) > 1 else ''}"
    return f'<details class="checks"><summary>{count}</summary><ul>{items}</ul></details>'


def _check(check: Row) -> str:
    outcome = {True: "holds", False: "fails", None: "not tested"}[check["holds"]]
    numbers = f": {_measured(check)}, expected {_expected(check)}" if check["value"] is not None else ""
    origin = f" (from: {check['tolerance_origin']})" if check["tolerance_origin"] else ""
    note = f"; {check['note']}" if check["note"] else ""
    return escape(f"{outcome}: {check['what']}{numbers}{origin}{note}")


@dataclass(frozen=True)
class Scoreboard:
    """Verdicts of all notebooks and profiles, and the claims that they are about.

    Attributes:
        rows: the verdicts, each with ``source``: ``this build`` or ``published``.
        claims: every claim of the claims files.
    """

    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()

    @property
    def papers(self) -> list[str]:
        """The papers, in the order of their first claim."""
        return list(
            dict.fromkeys([claim.paper for claim in self.claims] + [row["paper"] for row in self.rows])
        )

    def of(self, paper: str) -> Scoreboard:
        """Return the part of one paper.

        Raises:
            ValueError: There is no such paper; lists those there are.
        """
        if paper not in self.papers:
            raise ValueError(
                f"no verdict or claim is about {paper!r}; papers are {', '.join(self.papers) or 'none'}"
            )
        rows = tuple(row for row in self.rows if row["paper"] == paper)
        return Scoreboard(rows, tuple(claim for claim in self.claims if claim.paper == paper))

    def counts(self) -> pd.DataFrame:
        """Count verdicts: one row per paper and profile, one column per verdict.

        A claim without a verdict at that profile counts as not tested.
        """
        found = []
        for paper in self.papers:
            part = self.of(paper)
            for profile in [p for p in _SCALES if any(row["profile"] == p for row in part.rows)]:
                rows = [row for row in part.rows if row["profile"] == profile]
                judged = [row["verdict"] for row in rows]
                silent = {claim.id for claim in part.claims} - {row["id"] for row in rows}
                judged += [UNTESTED] * len(silent)
                found.append({"paper": paper, "profile": profile, **{v: judged.count(v) for v in VERDICTS}})
        return pd.DataFrame(found, columns=["paper", "profile", *VERDICTS])

    def best(self) -> list[Row]:
        """Return per claim the verdict of the largest scale at which it was tested (else any verdict)."""
        chosen: dict[str, Row] = {}
        for row in sorted(self.rows, key=lambda r: (r["verdict"] != UNTESTED, _SCALES.index(r["profile"]))):
            chosen[row["id"]] = row
        order = [claim.id for claim in self.claims]
        return sorted(
            chosen.values(), key=lambda r: (order.index(r["id"]) if r["id"] in order else len(order), r["id"])
        )

    def untested(self) -> pd.DataFrame:
        """List the claims that no verdict decides, with the profiles at which they can be judged."""
        decided = {row["id"] for row in self.rows if row["verdict"] != UNTESTED}
        left = [claim for claim in self.claims if claim.id not in decided]
        rows = [
            (claim.id, PAPERS.get(claim.paper, claim.paper), claim.statement, ", ".join(claim.profiles))
            for claim in left
        ]
        return pd.DataFrame(rows, columns=["claim", "paper", "statement", "can be judged at"])

    def headline(self) -> str:
        """Say in one sentence how many claims hold, each at the largest scale at which it was tested."""
        judged = [row["verdict"] for row in self.best()]
        total = len({claim.id for claim in self.claims} | {row["id"] for row in self.rows})
        counts = [judged.count(verdict) for verdict in (REPRODUCED, PARTLY, NOT)]
        return (
            f"Of **{total}** claims, **{counts[0]}** are reproduced, **{counts[1]}** partly and "
            f"**{counts[2]}** not, each at the largest scale at which it was tested; "
            f"**{total - sum(counts)}** have not been tested yet."
        )

    def summary(self) -> HTML:
        """Show the counts, or say that there are no verdicts yet."""
        counts = self.counts()
        if counts.empty:
            return HTML("<p>No verdicts yet: run a notebook at the profile book, desktop or paper.</p>")
        counts["paper"] = counts["paper"].map(lambda key: PAPERS.get(key, key))
        return table(counts, "Claims by verdict, for each paper and scale")

    def table(self, caption: str = "Every claim, with its best evidence") -> HTML:
        """Show each claim with the verdict of the largest scale at which it was tested."""
        rows = self.best()
        if not rows:
            return self.summary()
        frame = pd.DataFrame([self._cells(row) for row in rows])
        return table(frame, caption, markup=frame.columns.tolist(), stacked=True)

    def open_table(self, caption: str = "Claims that no run has tested yet") -> HTML:
        """Show the claims that no verdict decides."""
        left = self.untested()
        if left.empty:
            return HTML("<p>Every claim has been tested at one scale at least.</p>")
        return table(left, caption, stacked=True)

    def _cells(self, row: Row) -> dict[str, str]:
        """The cells of a claim, with the scale and the verdicts at the others."""
        cells = _claim_cells(row)
        others = [other for other in self.rows if other["id"] == row["id"] and other is not row]
        where = f"{row['profile']}, {row['source']}, {str(row.get('date', ''))[:10]}"
        cells["what decided it"] += f"<p>{escape(where.rstrip(', '))}</p>"
        cells["verdict"] += "".join(f"<p>{_badge(o['verdict'])} at {o['profile']}</p>" for o in others)
        return cells


def scoreboard(live: Path, published: Path, claims: Path | None = None) -> Scoreboard:
    """Read all verdicts: live ones where there are any for a notebook and profile, published ones elsewhere.

    Args:
        live: Folder of ``NAME.PROFILE.json`` files that this build made; it need not exist.
        published: The same of published runs.
        claims: Folder of claims files, to see which claims have no verdict; None leaves that out.

    Returns:
        The scoreboard. Verdicts of the profile ``smoke`` are left out: such runs only test the machinery.

    Raises:
        ValueError: A file is damaged or no verdict file; the message names it.
    """
    rows: list[Row] = []
    mine, theirs = _files(live), _files(published)
    for name, path in sorted({**theirs, **mine}.items()):
        source = "this build" if name in mine else "published"
        rows += [{**row, "source": source} for row in _read(path)]
    known = [claim for path in sorted(claims.glob("*.yaml")) for claim in read_claims(path)] if claims else []
    return Scoreboard(tuple(rows), tuple(known))


def _files(folder: Path) -> dict[str, Path]:
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return {path.name: path for path in paths if not path.name.endswith(".smoke.json")}


def _read(path: Path) -> Sequence[Row]:
    rows = read_rows(path)
    for row in rows:
        missing = sorted(_NEEDED - set(row))
        if missing or row["verdict"] not in VERDICTS or row["profile"] not in _SCALES:
            wrong = f"no {missing[0]!r}" if missing else f"verdict {row['verdict']!r} at {row['profile']!r}"
            raise ValueError(
                f"{path} is not a verdict file: a row has {wrong}; delete it and run its notebook again"
            )
    return rows
