"""Verdicts shown: those of a page as a table and a sentence, those of the whole book as a scoreboard."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import HTML

from memorization.report.claims import Claim, read_claims
from memorization.report.files import read_rows, write_bytes, write_json
from memorization.report.judging import (
    NOT,
    NOT_CLAIMED,
    OLDER,
    PARTLY,
    REPRODUCED,
    UNDECIDED,
    UNTESTED,
    VERDICTS,
    allowed_gap,
    hindering,
)  # fmt: skip
from memorization.report.schema import missing_key, schema
from memorization.report.tables import file_links, number, table, with_interval
from memorization.report.words import expected, judged_at
from memorization.runs.parameters import PROFILES, REPOSITORY

if TYPE_CHECKING:
    from memorization.runs.start import Run

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
# What is counted apart; what holds by construction (an identity, how data are made) is no evidence.
TALLIES = MappingProxyType({"paper": "the paper's", "ours": "ours", "identity": "true by construction"})
_SCALES = [profile for profile in PROFILES if profile != "smoke"]  # small to large; smoke runs prove nothing
_SIGNS = {
    REPRODUCED: ("✓", "yes"),
    PARTLY: ("◐", "partly"),
    NOT: ("✗", "no"),
    UNDECIDED: ("?", "undecided"),
    UNTESTED: ("○", "untested"),
    NOT_CLAIMED: ("–", "unclaimed"),
}


def verdict_table(rows: Sequence[Row], caption: str = "What holds here") -> HTML:
    """Return the verdicts as a table; the checks of a claim unfold below its statement.

    Each row has an id, such as ``claim-SM-13``, that the scoreboard links to.

    Args:
        rows: What ``judge`` returned.
        caption: What the table is about.
    """
    frame = pd.DataFrame([_claim_cells(row) for row in rows])
    places = [{"id": _anchor(row)} for row in rows]
    return table(frame, caption, markup=frame.columns.tolist(), stacked=True, attributes=places)


def verdict_sentence(rows: Sequence[Row]) -> str:
    """Say how many claims are reproduced, and name the others: one sentence for each of ``TALLIES``."""
    return " ".join(_tallied(rows, ", ".join, "The paper's claims")) or "No claim was judged."


def _tallied(rows: Sequence[Row], words: Callable[[list[str]], str], papers: str) -> list[str]:
    """Return one sentence a tally, the first beginning with ``papers``, and one on what is not claimed.

    ``words`` says which claims, or how many, have a verdict.
    """
    heads = {"paper": papers, "ours": "Ours", "identity": "True by construction, so no evidence"}
    sentences = []
    for tally, head in heads.items():
        mine = [row for row in rows if _tally(row) == tally and row["verdict"] != NOT_CLAIMED]
        ids = {kind: [row["id"] for row in mine if row["verdict"] == kind] for kind in VERDICTS}
        others = [f"; {kind}: {words(ids[kind])}" for kind in VERDICTS[1:] if ids[kind]]
        if mine:
            sentences.append(f"{head}: {len(ids[REPRODUCED])} of {len(mine)} reproduced{''.join(others)}.")
    unclaimed = [row["id"] for row in rows if row["verdict"] == NOT_CLAIMED]
    return [*sentences, f"Not claimed: {words(unclaimed)}."] if unclaimed else sentences


def _caveats(rows: Sequence[Row]) -> list[str]:
    """What else to know of these verdicts: how many came again on other seeds, or are of older code."""
    again = [row["replication"] for row in rows if row["replication"]]
    alike = [found for found in again if found["agree"] == found["sets"]]
    older = [row for row in rows if row["code_version"].endswith(OLDER)]
    said = [f"On other seeds: of {len(again)} replicated verdicts {len(alike)} came out alike in every set."]
    of_age = f"Older code: {len(older)} verdicts rest on records made before the code beside them changed."
    return (said if again else []) + ([of_age] if older else [])


def _tally(row: Row) -> str:
    """Under which of ``TALLIES`` a claim is counted."""
    return "identity" if row["identity"] else row["tally"]


def _anchor(row: Row) -> str:
    return f"claim-{row['id']}"


def _claim_cells(row: Row, name: str = "", links: str = "") -> dict[str, str]:
    """Return the cells of one claim as HTML: what is claimed, what decided it, what to think of it.

    Args:
        row: The verdict.
        name: HTML of the claim's name; default: its id.
        links: HTML below the statement.
    """
    head = f"{name or '<b>' + escape(row['id']) + '</b>'} · {escape(row['place'])}"
    shown = [check for check in row["checks"] if check["primary"]] + hindering(row)
    return {
        "claim": f"{head}<p>{escape(row['statement'])}</p>{links}{_checks(row['checks'])}",
        "primary check": "".join(_decided(check, row["dataset"]) for check in shown) + _aside(row["note"]),
        "verdict": _badge(row["verdict"]) + "".join(map(_aside, _remarks(row))) + _other_scales(row),
        "null": escape((row["null"] or "–").removesuffix(" at this scale")),
        "replication": _replication(row["replication"]),
    }


def _decided(check: Row, data: str) -> str:
    """Return what decided: the quantity, the drawing, the numbers and where the bound comes from, as HTML."""
    outcome = "" if check["primary"] else f"<b>but {check['outcome']}</b>: "
    head = f"<p>{outcome}{escape(_named(check))}</p>"
    if check["value"] is None:
        return head
    numbers = f"<b>{escape(_measured(check))}</b>, expected {escape(expected(check))}"
    effect = f"<p>value − bound: {escape(_effect(check))}</p>" if _has_effect(check) else ""
    origin = f"bound: {_ORIGINS[check['origin']]} ({check['tolerance_origin']})"
    seeds = f"{check['seeds']} seeds" + (f"; data of all checks: {data}" if data else "")
    return f"{head}{drawing(check)}<p>{numbers}</p>{effect}{_aside(origin)}{_aside(seeds)}"


def _aside(text: str) -> str:
    return f'<p class="aside">{escape(text)}</p>' if text else ""


_ORIGINS = {"theorem": "a theorem", "paper": "the paper's", "direction": "zero", "pilot": "ours"}


def _remarks(row: Row) -> list[str]:
    """What a reader must know beside a verdict."""
    remarks = [f"counted as {TALLIES[_tally(row)]}"] if _tally(row) != "paper" else []
    seeds = row["seeds_to_decide"]
    return [*remarks, f"about {number(seeds)} seeds of this spread would decide"] if seeds else remarks


def _other_scales(row: Row) -> str:
    """What published runs at other profiles say of a claim that this one does not test."""
    if row["verdict"] != UNTESTED or not row.get("elsewhere"):
        return ""
    return f'<p class="aside">{judged_at(row)}</p>'


def _replication(found: Row | None) -> str:
    return f"{found['agree']} of {found['sets']} sets" if found else "–"


def _badge(verdict: str) -> str:
    """Return a verdict as a sign and words, so that it does not hang on color alone."""
    sign, kind = _SIGNS[verdict]
    return (
        f'<span class="verdict verdict-{kind}"><span aria-hidden="true">{sign}</span>&nbsp;{verdict}</span>'
    )


def _named(check: Row) -> str:
    return check["what"] + (f", at {check['place']}" if check["place"] else "")


def _measured(check: Row) -> str:
    """Return value and interval of a check, for example ``0.71 [0.69, 0.73]``."""
    return with_interval(check["value"], check["low"], check["high"])


def _effect(check: Row) -> str:
    """Return value - bound and its interval, for example ``0.21 [0.19, 0.23]``."""
    return with_interval(_gap(check), check["gap_low"], check["gap_high"])


def _gap(check: Row) -> float:
    """The value minus the bound; of a range, which has two bounds, the value itself."""
    return check["value"] - (0.0 if check["test"] == "between" else check["expected"])


def _has_effect(check: Row) -> bool:
    """Whether value - bound is another number than the value."""
    return check["gap_low"] is not None and check["test"] != "between" and check["expected"] != 0


def drawing(check: Row) -> str:
    """Draw the effect of a check against its bound, as SVG: a dot, its 95 % interval, the bounds as lines.

    The side on which the check holds is shaded. The scale is the check's own: from the least to the largest
    of bounds and ends. Empty where there is no interval.
    """
    low, high = check["gap_low"], check["gap_high"]
    if low is None or high is None:
        return ""
    allowed = allowed_gap(check["test"], check["expected"], check["tolerance"] or 0.0)
    bounds = [bound for bound in allowed if math.isfinite(bound)]
    start, end = min(low, *bounds), max(high, *bounds)
    span = (end - start) or 1.0

    def x(place: float) -> str:
        return f"{min(max(12 + 136 * (place - start) / span, 0), 160):.1f}"

    least, most = map(x, allowed)
    lines = "".join(f'<path class="bound" d="M{x(bound)} 1V19"/>' for bound in bounds)
    words = f"value − bound {_effect(check)}; expected {expected(check)}"
    return (
        f'<svg class="effect" viewBox="0 0 160 20" role="img" aria-label="{escape(words, quote=True)}">'
        f'<path class="allowed" d="M{least} 3H{most}V17H{least}Z"/>{lines}'
        f'<path class="interval" d="M{x(low)} 10H{x(high)}"/>'
        f'<circle class="value" cx="{x(_gap(check))}" cy="10" r="3.5"/></svg>'
    )


def _checks(checks: Sequence[Row]) -> str:
    if not checks:
        return ""
    items = "".join(f"<li>{escape(_check(check))}</li>" for check in checks)
    count = f"{len(checks)} check{'s' if len(checks) > 1 else ''}"
    return f'<details class="checks"><summary>{count}</summary><ul>{items}</ul></details>'


def _check(check: Row) -> str:
    """Return a check in words: outcome, whose bound it is, quantity, numbers, source of the bound."""
    marks = [check["origin"] if check["origin"] != "pilot" else "ours"]
    marks += ["primary"] if check["primary"] else []
    marks += ["true by construction"] if check["identity"] else []
    numbers = f": {_measured(check)}, expected {expected(check)}" if check["value"] is not None else ""
    effect = f", value − bound {_effect(check)}" if numbers and _has_effect(check) else ""
    note = f"; {check['note']}" if check["note"] else ""
    head = f"{check['outcome']} ({', '.join(marks)}): {_named(check)}"
    return f"{head}{numbers}{effect} (bound from: {check['tolerance_origin']}){note}"


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
        """Count verdicts: one row per tally (``TALLIES``), paper and profile, one column per verdict.

        A claim without a verdict at that profile counts as not tested, among the paper's.
        """
        found = []
        for tally, paper, profile in product(TALLIES, self.papers, _SCALES):
            rows = [row for row in self.of(paper).rows if row["profile"] == profile]
            rows += self.of(paper)._silent(rows) if rows else []
            judged = [row["verdict"] for row in rows if _tally(row) == tally]
            counted = {verdict: judged.count(verdict) for verdict in VERDICTS}
            if judged:
                found.append({"tally": tally, "paper": paper, "profile": profile, **counted})
        return pd.DataFrame(found, columns=["tally", "paper", "profile", *VERDICTS])

    def _silent(self, rows: Iterable[Row]) -> list[Row]:
        """What a row would say, at least, of each claim that has none."""
        judged = {row["id"] for row in rows}
        left = [claim for claim in self.claims if claim.id not in judged]
        words = {True: NOT_CLAIMED, False: UNTESTED}
        return [
            {"id": one.id, "tally": "paper", "identity": False, "verdict": words[bool(one.not_claimed)]}
            for one in left
        ]

    def best(self) -> list[Row]:
        """Return per claim the verdict of the largest scale at which it was tested (else any verdict)."""
        chosen: dict[str, Row] = {}
        for row in sorted(self.rows, key=lambda r: (r["verdict"] != UNTESTED, _SCALES.index(r["profile"]))):
            chosen[row["id"]] = row
        return self._ordered(chosen.values())

    def _ordered(self, rows: Iterable[Row]) -> list[Row]:
        """In the order of the claims files, and from the largest scale to the smallest."""
        order = {claim.id: place for place, claim in enumerate(self.claims)}
        return sorted(
            rows, key=lambda r: (order.get(r["id"], len(order)), r["id"], -_SCALES.index(r["profile"]))
        )

    def untested(self) -> pd.DataFrame:
        """List the claims that no run has tested, with the profiles at which they can be judged."""
        tested = {row["id"] for row in self.rows if row["verdict"] != UNTESTED}
        left = [claim for claim in self.claims if claim.id not in tested and not claim.not_claimed]
        rows = [
            (claim.id, PAPERS.get(claim.paper, claim.paper), claim.statement, ", ".join(claim.profiles))
            for claim in left
        ]
        return pd.DataFrame(rows, columns=["claim", "paper", "statement", "can be judged at"])

    def headline(self) -> str:
        """Say how many claims hold, each at the largest scale at which it was tested: one line a tally."""
        best = self.best()
        lines = _tallied([*best, *self._silent(best)], lambda ids: str(len(ids)), "The papers' claims")
        lines += _caveats(self.rows)
        return "\n".join(f"- {line}" for line in lines) or "No claim is known."

    def summary(self) -> HTML:
        """Show the counts, or say that there are no verdicts yet."""
        counts = self.counts()
        if counts.empty:
            return HTML("<p>No verdicts yet: run a notebook at the profile book, desktop or paper.</p>")
        counts["paper"] = counts["paper"].map(lambda key: PAPERS.get(key, key))
        counts["tally"] = counts["tally"].map(TALLIES)
        counts = counts.rename(columns={"profile": "scale", "tally": "counted as"})
        return table(counts, "Claims by verdict, for each paper and scale")

    def table(self, caption: str = "Every claim, at every scale") -> HTML:
        """Show every verdict, below fields that choose among them (``book.js``).

        The script begins with each claim at the largest scale at which it was tested; without it, all
        verdicts are there.
        """
        if not self.rows:
            return self.summary()
        rows, best = self._ordered(self.rows), self.best()
        frame = pd.DataFrame([self._cells(row) for row in rows])
        marks = [_marks(row, row in best) for row in rows]
        content = table(frame, caption, markup=frame.columns.tolist(), stacked=True, attributes=marks)
        return HTML(f'<div class="scoreboard">{self._filters()}{content.data}</div>')

    def _filters(self) -> str:
        """Return the fields that choose among the rows, as HTML: hidden until the script makes them work."""
        verdicts = {_SIGNS[verdict][1]: verdict for verdict in VERDICTS}
        scales = {"largest": "the largest tested", **{scale: scale for scale in _SCALES}}
        fields = [
            _field("paper", {key: PAPERS.get(key, key) for key in self.papers}),
            _field("verdict", verdicts),
            _field("profile", scales, "scale", "largest"),
            _field("tally", TALLIES, "counted as"),
        ]
        search = '<label>search <input type="search" name="words" autocomplete="off"></label>'
        return (
            '<form class="filters" role="search" aria-label="Choose among the claims" hidden>'
            f'{"".join(fields)}{search}<button type="reset">Reset</button>'
            '<p class="shown" aria-live="polite"></p></form>'
        )

    def open_table(self, caption: str = "Claims that no run has tested yet") -> HTML:
        """Show the claims that no verdict decides."""
        left = self.untested()
        if left.empty:
            return HTML("<p>Every claim has been tested at one scale at least.</p>")
        return table(left, caption, stacked=True)

    def _cells(self, row: Row) -> dict[str, str]:
        """The cells of a claim with its links, and the run that they come from."""
        known = next((claim for claim in self.claims if claim.id == row["id"]), None)
        name = links = ""
        if known:
            page = escape(f"{row['notebook']}.html#{_anchor(row)}", quote=True)
            name = f'<a href="{page}"><b>{escape(row["id"])}</b></a>'
            url = escape(_source(row, known), quote=True)
            links = f'<p><a href="{url}">claims file, lines {known.lines[0]} to {known.lines[1]}</a></p>'
        run = (row["date"][:10], row["device"], row["code_version"] and f"code {row['code_version']}")
        where = _aside(", ".join(filter(None, run)))
        return {**_claim_cells(row, name, links), "run": f"{row['profile']}, {row['source']}{where}"}


def _source(row: Row, claim: Claim) -> str:
    """The lines of a claim in its file on the web."""
    first, last = claim.lines
    return f"{REPOSITORY}/blob/main/notebooks/claims/{row['notebook']}.yaml#L{first}-L{last}"


def _marks(row: Row, largest: bool) -> dict[str, str]:
    """The attributes of a row that the fields choose by."""
    return {
        "data-claim": row["id"],
        "data-words": f"{row['paper']} {PAPERS.get(row['paper'], '')}",
        "data-paper": row["paper"],
        "data-verdict": _SIGNS[row["verdict"]][1],
        "data-profile": row["profile"] + (" largest" if largest else ""),
        "data-tally": _tally(row),
    }


def _field(name: str, choices: Mapping[str, str], label: str = "", chosen: str = "") -> str:
    options = "".join(
        f'<option value="{escape(value, quote=True)}"{" selected" if value == chosen else ""}>'
        f"{escape(words)}</option>"
        for value, words in {"": "all", **choices}.items()
    )
    return f'<label>{label or name} <select name="{name}">{options}</select></label>'


def downloads(run: Run, board: Scoreboard) -> HTML:
    """Store all verdicts as JSON and CSV, and the JSON's schema, beside the figures' data; return the links.

    The CSV has one line per verdict, without its checks.
    """
    rows = board._ordered(board.rows)
    write_json(run.figures_folder / "scoreboard.json", rows)
    write_json(run.figures_folder / "scoreboard.schema.json", schema())
    text = pd.DataFrame(map(_flat, rows)).to_csv(index=False, float_format="%.10g", lineterminator="\n")
    write_bytes(run.figures_folder / "scoreboard.csv", text.encode())
    files = {
        "JSON": "scoreboard.json",
        "CSV": "scoreboard.csv",
        "schema of the JSON": "scoreboard.schema.json",
    }
    return file_links(run, "The whole scoreboard to download", files)


def _flat(row: Row) -> dict[str, Any]:
    """A verdict as one line: without checks, pairs as two columns or as text."""
    flat = {key: value for key, value in row.items() if key not in ("checks", "replication")}
    if row["test"] == "between":
        flat["expected"] = " to ".join(map(str, row["expected"]))
    found = row["replication"] or {"sets": None, "agree": None}
    return flat | {"replication_sets": found["sets"], "replication_agree": found["agree"]}


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
    today = {(claim.id, claim.digest): claim for claim in known}
    rows = [_in_todays_words(row, today.get((row["id"], row["digest"]))) for row in rows]
    return Scoreboard(tuple(rows), tuple(known))


def _in_todays_words(row: Row, claim: Claim | None) -> Row:
    """A row in the words of the claim that it was judged by, which may have been put better since."""
    if claim is None:
        return row
    words = {"place": claim.place, "statement": claim.statement}
    return {**row, **words, "note": claim.not_claimed or row["note"]}


def _files(folder: Path) -> dict[str, Path]:
    paths = sorted(folder.glob("*.json")) if folder.is_dir() else []
    return {path.name: path for path in paths if not path.name.endswith(".smoke.json")}


def _read(path: Path) -> Sequence[Row]:
    rows = read_rows(path)
    for row in rows:
        missing = missing_key(row)
        if missing or row["verdict"] not in VERDICTS or row["profile"] not in _SCALES:
            wrong = f"no {missing!r}" if missing else f"verdict {row['verdict']!r} at {row['profile']!r}"
            raise ValueError(
                f"{path} is not a verdict file: a row has {wrong}; delete it and run its notebook again"
            )
    return rows
