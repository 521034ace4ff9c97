"""Words for what records say: trends, orders, ranges, outcomes of claims, descriptions of figures.

A title, a text alternative or a sentence about results is true at other parameters only if it is computed.
Differences are paired over seeds, and a word is given only where the whole 95 % interval of the difference
allows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
from IPython.display import Markdown

from memorization.report.claims import read_claims
from memorization.report.intervals import mean_interval
from memorization.report.judging import NOT, NOT_CLAIMED, PARTLY, REPRODUCED, UNDECIDED, UNTESTED, hindering
from memorization.report.tables import VISIBLE, number, say, with_interval

if TYPE_CHECKING:
    from memorization.runs.start import Run

RISES, FALLS, UNCLEAR = "rises", "falls", "shows no clear trend"
ABOVE, BELOW, TOGETHER = "above", "below", "not told apart from"
_DIFFERENT = "moves differently from curve to curve"


def sign(differences: pd.Series) -> int:
    """Return the sign of a mean difference: 1 or -1, or 0 where its 95 % interval over seeds contains 0.

    A difference that four decimal places do not show is none, and one seed tells nothing.

    Args:
        differences: one number for each seed; missing ones are left out.
    """
    numbers = differences.dropna().to_numpy(dtype=float)
    low, high = mean_interval(numbers)
    if not (low > 0 or high < 0) or abs(numbers.mean()) < VISIBLE:
        return 0
    return 1 if low > 0 else -1


def trend(records: pd.DataFrame, x: str, y: str, by: Sequence[str] | str = ()) -> str:
    """Say how a quantity moves from the smallest to the largest ``x``: rises, falls, or no clear trend.

    Args:
        records: rows with a column ``seed``; several rows of one seed and ``x`` are averaged.
        x: what changes.
        y: the quantity.
        by: columns that tell curves apart; they must all move alike.
    """
    by = [by] if isinstance(by, str) else list(by)
    curves = [one for _, one in records.groupby(by, sort=False)] if by else [records]
    words = {_trend(one.groupby([x, "seed"])[y].mean()) for one in curves}
    if {RISES, FALLS} <= words:
        return _DIFFERENT
    return words.pop() if len(words) == 1 else UNCLEAR


def _trend(means: pd.Series) -> str:
    points = means.index.get_level_values(0)
    if points.nunique() < 2:
        return UNCLEAR
    return {1: RISES, -1: FALLS, 0: UNCLEAR}[sign(means[points.max()] - means[points.min()])]


def compare(one: pd.Series, other: pd.Series) -> str:
    """Say where one quantity lies of another: ``above``, ``below``, or ``not told apart from``.

    Args:
        one: a number for each seed; the index is the seed, or any name that pairs the two.
        other: the same of what it is compared with.
    """
    return {1: ABOVE, -1: BELOW, 0: TOGETHER}[sign(one - other)]


def ordered(records: pd.DataFrame, by: str, y: str) -> str:
    """Name the groups from the largest mean to the smallest: ``A > B and C``.

    ``>`` stands where neighbors are told apart by their paired differences, ``and`` where they are not.

    Args:
        records: rows with a column ``seed``; several rows of a group and seed are averaged.
        by: the column that names the groups.
        y: the quantity.
    """
    values = records.groupby([by, "seed"], sort=False)[y].mean().unstack("seed")
    names = list(values.mean(axis=1).sort_values(ascending=False, kind="stable").index)
    text = str(names[0])
    for larger, smaller in pairwise(names):
        told_apart = sign(values.loc[larger] - values.loc[smaller]) == 1
        text += f" {'>' if told_apart else 'and'} {smaller}"
    return text


def listed(names: Iterable[Any]) -> str:
    """Write a list in words: ``A``, ``A and B``, ``A, B and C``; ``none`` if it is empty."""
    words = [str(name) for name in names]
    return " and ".join([*([", ".join(words[:-1])] if words[:-1] else []), *words[-1:]]) or "none"


def span(values: Iterable[float], digits: int = 3) -> str:
    """Write a range, ``0.61 to 0.73``, or one number where both ends read alike; NaN are left out."""
    known = [float(value) for value in values if not pd.isna(value)]
    ends = dict.fromkeys(number(end, digits) for end in (min(known), max(known))) if known else ["–"]
    return " to ".join(ends)


def curves_in_words(
    drawn: pd.DataFrame,
    x: str,
    y: str = "mean",
    by: Sequence[str] | str = (),
    *,
    name: str = "",
    digits: int = 2,
) -> str:
    """Describe curves for who does not see them: where each begins and ends, and what lies beyond that.

    Args:
        drawn: what is drawn; rows of one curve and ``x`` are averaged.
        x: column of the horizontal axis, numbers or names in the order of the rows.
        y: column of the vertical axis.
        by: column or columns that name the curves; without them there is one.
        name: what ``x`` is called, its own name by default.
        digits: of the numbers.

    Returns:
        For example ``phi2: from 0.98 at N = 10 to 0.73 at N = 400; …``.
    """
    by = [by] if isinstance(by, str) else list(by)
    curves = drawn.groupby(by, sort=False) if by else [((), drawn)]
    parts = []
    for key, one in curves:
        means = one.groupby(x, sort=pd.api.types.is_numeric_dtype(one[x]))[y].mean().dropna()
        if len(means):
            curve = ", ".join(map(number, key)).replace("_", " ") + ": " if by else ""
            parts.append(curve + _course(means, name or x.replace("_", " "), digits))
    return "; ".join(parts)


def _course(means: pd.Series, x: str, digits: int) -> str:
    def at(place: Any) -> str:
        where = f" at {x} = {number(place)}" if not isinstance(place, str) else f" at {place}"
        return number(float(cast(float, means[place])), digits) + where

    first, last = means.index[0], means.index[-1]
    if len(means) == 1:
        return at(first)
    text = f"from {at(first)} to {at(last)}"
    beyond = [("up to", means.idxmax()), ("down to", means.idxmin())]
    between = [f"{word} {at(place)}" for word, place in beyond if _apart(means, place, (first, last))]
    return text + "".join(f", {part}" for part in between)


def _apart(means: pd.Series, place: Any, ends: Sequence[Any]) -> bool:
    return place not in ends and all(
        abs(means[place] - means[end]) >= 0.01 * abs(means).max() for end in ends
    )


def rows_in_words(drawn: pd.DataFrame, by: str, quantities: Mapping[str, str], digits: int = 2) -> str:
    """Describe rows of marks by the mean of each quantity: ``ReLU: in distribution 0.1, outside 0.8``.

    Args:
        drawn: what is drawn: columns ``by``, ``quantity`` and ``mean``.
        by: column that names the rows.
        quantities: names in the column ``quantity``, and what they are called.
        digits: of the numbers.
    """
    means = drawn.groupby([by, "quantity"], sort=False)["mean"].mean()
    parts = []
    for row in dict.fromkeys(drawn[by]):
        known = [(word, means.get((row, name))) for name, word in quantities.items()]
        marks = [
            f"{word} {number(float(value), digits)}".strip() for word, value in known if not pd.isna(value)
        ]
        parts.append(f"{row}: {', '.join(marks)}".replace("\n", " "))
    return "; ".join(parts)


def outcome(verdicts: Sequence[Mapping[str, Any]], claim: str) -> str:
    """Return a verdict with what it rests on: ``reproduced (test accuracy, N = 100: 0.71 [0.69, 0.73])``.

    Args:
        verdicts: what ``judge`` returned.
        claim: its id.

    Raises:
        ValueError: no verdict is about this claim.
    """
    rows = [row for row in verdicts if row["id"] == claim]
    if not rows:
        known = ", ".join(row["id"] for row in verdicts) or "none"
        raise ValueError(f"no verdict on claim {claim!r}; there are verdicts on {known}")
    found = _number(rows[0])
    return f"{rows[0]['verdict']} ({found})" if found else str(rows[0]["verdict"])


def _number(row: Mapping[str, Any], called: str = "") -> str:
    """The quantity that a verdict rests on, with its interval; empty where none was measured.

    It is the primary check's, or that of the check for which the claim is not reproduced although this holds.
    What it should be equal to stands behind it.
    """
    if row["value"] is None or row["verdict"] == UNTESTED:
        return ""
    shown, what = row, called or row["quantity"]
    for check in hindering(row):
        shown, what = check, check["what"] + (f", at {check['place']}" if check["place"] else "")
    asked = f", expected {expected(shown)}" if shown["test"] == "equals" else ""
    return f"{what}: {with_interval(shown['value'], shown['low'], shown['high'])}{asked}"


def expected(check: Mapping[str, Any]) -> str:
    """Return the bound of a check, for example ``≤ 0.72`` or ``0.345 ± 0.01``."""
    bound, tolerance = check["expected"], check["tolerance"]
    slack = f" ± {number(tolerance)}" if tolerance else ""
    if check["test"] == "between":
        return f"{number(bound[0])} to {number(bound[1])}{slack}"
    return f"{_COMPARED.get(check['test'], '')}{number(bound)}{slack}"


_COMPARED = {"at_most": "≤ ", "at_least": "≥ ", "positive": "> "}


def judged_at(row: Mapping[str, Any]) -> str:
    """Return what published runs at other profiles say of a claim, with links to the scoreboard, as HTML."""
    links = (on_scoreboard(row["id"], profile, verdict) for profile, verdict in row["elsewhere"].items())
    return f"judged at {', '.join(links)}"


def on_scoreboard(claim: str, profile: str, verdict: str = "") -> str:
    """Return a link to a claim's row on the scoreboard, as HTML: ``desktop: undecided``, or the claim."""
    words = f"{profile}: {verdict}" if verdict else claim
    return f'<a href="scoreboard.html?profile={profile}&amp;words={claim}#{_ROWS}">{words}</a>'


_ROWS = "what-is-the-evidence-for-each-claim"  # the section of the scoreboard that has the rows


# What is said before a claim that has not simply held.
_BUT = {
    REPRODUCED: "",
    PARTLY: "Only in part: ",
    UNDECIDED: "Not decided here: ",
    NOT: "Not so here: ",
    UNTESTED: "Not tested at this scale: ",
    NOT_CLAIMED: "Not claimed: ",
}


def finding(row: Mapping[str, Any], page: str = "", words: str = "", called: str = "") -> str:
    """Write a verdict as one Markdown sentence: what is claimed, whether it holds, its number, a link.

    Args:
        row: the verdict.
        page: address of the page that judged it; empty on that page itself.
        words: the claim in plain words; default: its statement.
        called: what its number is, in plain words; default: the quantity of its primary check.
    """
    link = f'<a href="{page}#claim-{row["id"]}">{row["id"]}</a>'
    silent = row["verdict"] == UNTESTED and row.get("elsewhere")
    found = "; ".join(filter(None, [_number(row, called), link, judged_at(row) if silent else ""]))
    return f"{_BUT[row['verdict']]}{(words or row['statement']).rstrip('.')} ({found})."


def in_short(
    verdicts: Sequence[Mapping[str, Any]], says: str, claims: Sequence[str], cost: str, mind: str = ""
) -> Markdown:
    """Write the short version of a page: what the paper says, what holds here, what does not, what it costs.

    Where published runs at other profiles came to other verdicts, it says which.

    Args:
        verdicts: what ``judge`` returned.
        says: the paper's message, one or two sentences.
        claims: ids of the claims that carry it; each is listed below its verdict.
        cost: what the page costs to run, in words.
        mind: what else to know of its numbers, a sentence.

    Raises:
        ValueError: no verdict is about one of these claims.
    """
    known = {row["id"]: row for row in verdicts}
    if unknown := [claim for claim in claims if claim not in known]:
        raise ValueError(f"no verdict on claim {unknown[0]!r}; there are verdicts on {listed(known)}")
    asked = [row for row in verdicts if row["tally"] == "paper" and row["verdict"] != NOT_CLAIMED]
    theirs = [row for row in asked if not row["identity"]]
    holds = [row for row in theirs if row["verdict"] == REPRODUCED]
    chosen = [row for row in map(known.__getitem__, claims) if row["verdict"] == REPRODUCED]
    silent = [row for row in theirs if row["verdict"] == UNTESTED]
    tested = len(theirs) - len(silent)
    rest = f" ({len(silent)} more cannot be tested at this scale)" if silent else ""
    others = [row for row in theirs if row["verdict"] in (PARTLY, UNDECIDED, NOT)]
    others += [known[claim] for claim in claims if known[claim]["verdict"] in (UNTESTED, NOT_CLAIMED)]
    parts = [
        f"**The paper says:** {says}",
        f"**Holds here:** {len(holds)} of the {tested} claims of the paper that profile "
        f"`{verdicts[0]['profile']}` tests{rest}{_below(chosen, ', among them')}",
        f"**Does not, or is not decided:**{_below(others) or ' none of them.'}",
        f"**At other scales:** {_at_other_scales(verdicts)}.",
        f"**Mind:** {mind}" if mind else "",
        f"**Costs:** {cost}.",
    ]
    return say("\n".join(f"- {part}" for part in parts if part))


def _at_other_scales(verdicts: Sequence[Mapping[str, Any]]) -> str:
    """Name the claims whose published verdict at another profile is another one than here, with links."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in verdicts:
        for profile, verdict in row["elsewhere"].items():
            if verdict != row["verdict"]:
                found.setdefault((profile, verdict), []).append(on_scoreboard(row["id"], profile))
    parts = [f"at `{at}` {verdict}: {listed(links)}" for (at, verdict), links in sorted(found.items())]
    known = any(row["elsewhere"] for row in verdicts)
    return "; ".join(parts) or ("the same verdicts" if known else "no verdicts are published")


def _below(rows: Sequence[Mapping[str, Any]], head: str = "") -> str:
    """A list of findings below a line of a list."""
    return head + "".join(f"\n  - {finding(row)}" for row in rows) if rows else ""


def not_reproduced(run: Run, verdicts: Sequence[Mapping[str, Any]]) -> Markdown:
    """List the claims that are partly or not reproduced or undecided: each with why, and with what was tried.

    Args:
        run: The started run; its claims say what was tried.
        verdicts: what ``judge`` returned.
    """
    tried = {claim.id: claim.tried for claim in read_claims(run.claims_path)}
    items = [
        f"- {finding(row)}" + "".join(f" *{head}:* {text.rstrip('.')}." for head, text in (
            ("What the checks say", row["note"]), ("What was tried", tried[row["id"]])
        ) if text)
        for row in verdicts if row["verdict"] in (PARTLY, UNDECIDED, NOT)
    ]  # fmt: skip
    tested = any(row["verdict"] not in (UNTESTED, NOT_CLAIMED) for row in verdicts)
    said = "Every claim that this profile can test is reproduced." if tested else _NONE_TESTED
    return say("\n".join(items) or said)


_NONE_TESTED = "This profile tests none of the claims, so none is reproduced and none failed."
