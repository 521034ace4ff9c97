"""All verdicts of the book in one place: which claims hold, at which scale, with what spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from memorization.report.claims import PROFILES, Claim
from memorization.report.claims_file import read_claims
from memorization.report.files import read_rows
from memorization.report.markup import table_html
from memorization.report.papers import paper_name
from memorization.report.verdict_view import badge, claim_cells
from memorization.report.verdicts import NOT, PARTLY, REPRODUCED, UNTESTED, VERDICTS

_NEEDED = {"id", "paper", "statement", "verdict", "profile", "notebook", "checks"}
_SCALES = [profile for profile in PROFILES if profile != "smoke"]  # small to large; smoke runs prove nothing

Row = Mapping[str, Any]


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
            (claim.id, paper_name(claim.paper), claim.statement, ", ".join(claim.profiles)) for claim in left
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
        counts["paper"] = counts["paper"].map(paper_name)
        return HTML(table_html(counts, "Claims by verdict, for each paper and scale"))

    def table(self, caption: str = "Every claim, with its best evidence") -> HTML:
        """Show each claim with the verdict of the largest scale at which it was tested."""
        rows = self.best()
        if not rows:
            return self.summary()
        frame = pd.DataFrame([_cells(row, self._also(row)) for row in rows])
        return HTML(table_html(frame, caption, markup=frame.columns.tolist(), stacked=True))

    def open_table(self, caption: str = "Claims that no run has tested yet") -> HTML:
        """Show the claims that no verdict decides."""
        left = self.untested()
        if left.empty:
            return HTML("<p>Every claim has been tested at one scale at least.</p>")
        return HTML(table_html(left, caption, stacked=True))

    def _also(self, best: Row) -> list[Row]:
        return [row for row in self.rows if row["id"] == best["id"] and row is not best]


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
            wrong = (
                f"has no {missing[0]!r}"
                if missing
                else f"has verdict {row['verdict']!r} at {row['profile']!r}"
            )
            raise ValueError(
                f"{path} is not a verdict file: a row {wrong}; delete it and run its notebook again"
            )
    return rows


def _cells(row: Row, others: Sequence[Row]) -> dict[str, str]:
    cells = claim_cells(row)
    also = "".join(f"<p>{badge(other['verdict'])} at {other['profile']}</p>" for other in others)
    where = f"{row['profile']}, {row['source']}, {str(row.get('date', ''))[:10]}"
    scale = f"<p>{escape(where.rstrip(', '))}</p>"
    return {**cells, "what decided it": cells["what decided it"] + scale, "verdict": cells["verdict"] + also}
