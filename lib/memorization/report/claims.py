"""The papers' claims as data: what a claim and its checks consist of, and how a file of them is read.

An entry of ``notebooks/claims/NAME.yaml`` reads like this::

    - id: SM-13
      paper: bombari2024spurious          # key in references.bib
      place: Figures RF and NTK, panel 3
      statement: On MNIST the spurious accuracy falls toward chance while the test accuracy rises.
      profiles: [desktop, paper]
      null_records: {permuted: [N]}       # in which the effect is absent, see `Claim`
      checks:
        - what: spurious accuracy, 10 minus 1,000 examples
          records: mnist                  # a table that the notebook passes to `judge`
          value: spurious_accuracy
          by: N
          sequence: [10, 1000]
          test: positive
          origin: direction
          tolerance_origin: the paper's panel falls
        - what: test accuracy with 100 examples
          records: mnist
          where: N == 100
          value: test_accuracy
          test: at_least
          bound: 0.95
          origin: pilot
          tolerance_origin: spread of five trial runs
          pilot_seeds: 5

The first check of the paper's is the primary one. What the book deliberately does not claim is an entry with
``not_claimed: why`` instead of profiles, null records and checks. Every mistake in a file is found before
anything is judged, and a file never runs code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memorization.checks import check_choice
from memorization.report.expressions import parsed
from memorization.runs.parameters import PROFILES

TESTS = ("at_most", "at_least", "between", "equals", "positive")
REDUCTIONS = ("mean", "max", "min", "range", "slope", "intercept")
LINES = ("slope", "intercept")
ORIGINS = ("theorem", "paper", "direction", "pilot")
# Records in which an effect is absent: of `untrained` networks; with the values of columns `permuted` among
# the rows of a seed; with columns `exchanged` for one another; of another table, `records: {mine: other}`.
NULLS = ("untrained", "permuted", "exchanged", "records")

Value = float | str  # a number, or an expression over the records' columns


class ClaimError(ValueError):
    """A claims file that cannot be used: where, what was found, what is allowed."""


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put the place before what is wrong there: every ValueError becomes a ClaimError that begins with it."""
    try:
        yield
    except ValueError as error:
        raise ClaimError(f"{where}: {error}") from None


@dataclass(frozen=True)
class Check:
    """One number that a claim is judged by: one per seed, compared with a bound.

    Attributes:
        what: the quantity in words.
        records: name of the table.
        value: column, or an expression over columns such as ``stability_mse / test_mse``.
        test: ``at_most``, ``at_least`` (``bound``), ``between`` (``bound: [low, high]``), ``equals``
            (``expected``, ``tolerance``), ``positive`` (above zero).
        origin: where the bound comes from: ``theorem`` (an identity, a limit, a closed form), ``paper`` (read
            in the paper, or printed by its code), ``direction`` (zero: only sign or order is claimed) or
            ``pilot`` (chosen from earlier runs of ours, which makes the check ours).
        tolerance_origin: that source in words.
        where: which rows count, see ``report.expressions``.
        reduce: the rows of one seed become one number: ``mean``, ``max``, ``min``, ``range``, or ``slope`` or
            ``intercept`` of the straight line over ``against``, by least squares.
        against: the other column, or expression, of a line.
        each: columns; the check is made at each of their values, and must hold at all.
        by: columns whose values name groups; ``value`` is then the difference of two groups of a seed.
        sequence: the groups; the first minus the second, the second minus the third, … are places each.
        bound: number, two numbers, or expression.
        expected: number or expression that ``value`` agrees with. An expression, here and in ``bound`` and
            ``tolerance``, counts with its mean over the rows; compare row by row with ``value: a - b``.
        tolerance: allowed deviation, in the unit of ``value``; number or expression.
        identity: it holds by construction (an identity, Cauchy and Schwarz, how data are made): each seed
            must hold, and it is no evidence.
        pilot_seeds: so many first seeds, from 0, chose the bound; they do not judge it.
        profiles: at which profiles the check can be made; default: those of the claim.
    """

    what: str
    records: str
    value: str
    test: str
    origin: str
    tolerance_origin: str
    where: str = ""
    reduce: str = "mean"
    against: str = ""
    each: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    sequence: tuple[tuple[Any, ...], ...] = ()
    bound: Value | tuple[float, float] | None = None
    expected: Value | None = None
    tolerance: Value = 0.0
    identity: bool = False
    pilot_seeds: int = 0
    profiles: tuple[str, ...] = ()

    @property
    def target(self) -> Value:
        """The number or expression that ``value`` is compared with; 0 where the test has none."""
        chosen = self.expected if self.test == "equals" else self.bound
        return 0.0 if chosen is None or isinstance(chosen, tuple) else chosen


@dataclass(frozen=True)
class Claim:
    """What a paper says, where, and the checks that judge it.

    Attributes:
        id: short name, unique in the book.
        paper: key in the bibliography.
        place: figure, table or theorem.
        statement: the claim in one sentence.
        checks: at least one, or none where it is not claimed.
        profiles: at which profiles it can be judged.
        null_records: in which the effect is absent: how they are made and of what, see ``NULLS``; None where
            identities decide.
        extension: a question of ours, which the paper does not ask: counted apart.
        not_claimed: why the book does not claim it; empty where it does.
        tried: what was tried where it does not hold, or is not decided; in words.
        lines: first and last line of the entry in its file.
    """

    id: str
    paper: str
    place: str
    statement: str
    checks: tuple[Check, ...] = ()
    profiles: tuple[str, ...] = ()
    null_records: tuple[str, Any] | None = None
    extension: bool = False
    not_claimed: str = ""
    tried: str = ""
    lines: tuple[int, int] = (0, 0)

    @property
    def digest(self) -> str:
        """A name of what is tested, in 12 letters: other where any check differs, but for its words."""
        tests = [dataclasses.asdict(check) for check in self.checks]
        words = ("what", "tolerance_origin", "profiles")
        kept = [{key: value for key, value in test.items() if key not in words} for test in tests]
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]

    def deciding(self, profile: str) -> list[Check]:
        """Return the checks that decide at a profile, the primary one first.

        They are the paper's where there are any, and of these the ones that could fail.
        """
        made = [check for check in self.checks if profile in check.profiles]
        theirs = [check for check in made if check.origin != "pilot"] or made
        return [check for check in theirs if not check.identity] or theirs


def read_claims(path: Path) -> list[Claim]:
    """Read and check a claims file.

    Args:
        path: A YAML file, a list of entries.

    Returns:
        The claims in the order of the file.

    Raises:
        ClaimError: The file is absent or no YAML list, an id appears twice, or an entry has an unknown,
            missing or unfit key; the message names file, claim and check.
    """
    try:
        text = path.read_text(encoding="utf-8")
        entries = yaml.safe_load(text)
    except FileNotFoundError:
        raise ClaimError(f"there is no claims file {path}; write one, or pass claims=[] to judge") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ClaimError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(entries, list):
        raise ClaimError(f"{path} should hold a list of claims, each starting with '- id: …'")
    claims: list[Claim] = []
    for place, (entry, lines) in enumerate(zip(entries, _lines(text), strict=True), start=1):
        name = f" ({entry['id']})" if isinstance(entry, Mapping) and entry.get("id") else ""
        with located(f"{path.name}, entry {place}{name}"):
            claims.append(_claim(entry, lines))
            if claims[-1].id in [claim.id for claim in claims[:-1]]:
                raise ClaimError("another claim has this id; ids are unique")
    return claims


def _lines(text: str) -> list[tuple[int, int]]:
    """The first and the last line of each entry, from 1; blank lines and comments after it do not count."""
    lines = text.splitlines()
    found = []
    whole: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for node in whole.value:
        last = node.end_mark.line
        while not lines[last - 1].strip() or lines[last - 1].startswith("#"):
            last -= 1
        found.append((node.start_mark.line + 1, last))
    return found


def _claim(entry: Any, lines: tuple[int, int]) -> Claim:
    refused = isinstance(entry, Mapping) and "not_claimed" in entry
    needed = ("id", "paper", "place", "statement", *(("not_claimed",) if refused else ("profiles", "checks")))
    _check_keys(entry, Claim, needed, more=("origin", "tolerance_origin", "pilot_seeds"))
    texts: dict[str, Any] = {key: str(entry[key]) for key in ("id", "paper", "place", "statement")}
    if refused:
        if len(entry) > len(needed) or not str(entry["not_claimed"] or "").strip():
            raise ClaimError("'not_claimed' says why in words, and leaves no profiles, null or checks")
        return Claim(**texts, not_claimed=str(entry["not_claimed"]), lines=lines)
    profiles = _profiles(entry["profiles"])
    shared = {key: entry[key] for key in ("origin", "tolerance_origin", "pilot_seeds") if key in entry}
    if not isinstance(entry["checks"], list) or not entry["checks"]:
        raise ClaimError("'checks' is a list of at least one check")
    checks = []
    for place, check in enumerate(entry["checks"], start=1):
        with located(f"check {place}"):
            checks.append(_check(check, shared | {"profiles": profiles}))
    claim = Claim(
        **texts,
        checks=tuple(checks),
        profiles=profiles,
        null_records=_null(entry.get("null_records")),
        extension=_flag("extension", entry.get("extension", False)),
        tried=str(entry.get("tried", "")),
        lines=lines,
    )
    for profile in profiles:
        _check_deciding(claim, profile)
    return claim


_NULL_WORDS = "'null_records' is `untrained` or one of {{permuted: [columns]}}, {{exchanged: …}}, got {!r}"


def _null(value: Any) -> tuple[str, Any] | None:
    if value is None:
        return None
    given = {value: ()} if isinstance(value, str) else value
    if not isinstance(given, Mapping) or len(given) != 1:
        raise ClaimError(_NULL_WORDS.format(value))
    ((kind, of),) = given.items()
    check_choice("null_records", kind, NULLS)
    if (kind == "untrained") != isinstance(value, str):
        raise ClaimError(_NULL_WORDS.format(value))
    if kind == "records":
        if not isinstance(of, Mapping) or not of:
            raise ClaimError(f"null_records: give the other table of each, {{mine: other}}, got {of!r}")
        return kind, dict(of)
    return kind, _columns(kind, of)


def _check_deciding(claim: Claim, profile: str) -> None:
    deciding = claim.deciding(profile)
    if not deciding:
        raise ClaimError(f"no check can be made at profile {profile!r}; leave the profile out")
    if (claim.null_records is None) != deciding[0].identity:
        raise ClaimError(
            "'null_records' says in which records the effect is absent: every claim needs it, except where "
            "identities decide"
        )


def _check(entry: Any, shared: Mapping[str, Any]) -> Check:
    if isinstance(entry, Mapping) and entry.get("origin", shared.get("origin")) != "pilot":
        shared = {key: value for key, value in shared.items() if key != "pilot_seeds"}
    given = {**shared, **entry} if isinstance(entry, Mapping) else entry
    _check_keys(given, Check, [f.name for f in dataclasses.fields(Check) if f.default is dataclasses.MISSING])
    given["profiles"] = _profiles(given["profiles"])
    for key in ("what", "records", "value", "where", "against", "tolerance_origin"):
        if not isinstance(given.get(key, ""), str):
            raise ClaimError(f"{key}: give a text, got {given[key]!r}")
    _flag("identity", given.get("identity", False))
    for key in ("each", "by"):
        given[key] = _columns(key, given.get(key, ()))
    for key in ("bound", "expected", "tolerance"):
        if key in given:
            given[key] = _number_or_text(key, given[key])
    groups = given.get("sequence", [])
    if not isinstance(groups, list):
        raise ClaimError(f"'sequence' is a list of groups, got {groups!r}")
    given["sequence"] = tuple(tuple(group) if isinstance(group, list) else (group,) for group in groups)
    check = Check(**given)
    _check_sense(check)
    for key in ("value", "where", "against", "bound", "expected", "tolerance"):
        text = getattr(check, key)
        if text and isinstance(text, str):
            with located(key):
                parsed(text)
    return check


def _check_keys(
    entry: Any, kind: type[Claim | Check], needed: Sequence[str], more: tuple[str, ...] = ()
) -> None:
    """Refuse what is no mapping, unknown keys and missing ones."""
    if not isinstance(entry, Mapping):
        raise ClaimError(
            f"a {kind.__name__.lower()} is a mapping that starts with '{needed[0]}: …', got {entry!r}"
        )
    known = [field.name for field in dataclasses.fields(kind) if field.name != "lines"]
    for key in entry:
        check_choice("key", key, [*known, *more])
    if missing := [key for key in needed if key not in entry]:
        raise ClaimError(f"the key {missing[0]!r} is missing")


def _flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ClaimError(f"{key}: give true or false, got {value!r}")
    return value


def _profiles(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ClaimError(f"'profiles' is a list such as [book, desktop], got {value!r}")
    for profile in value:
        check_choice("profile", profile, PROFILES)
    return tuple(value)


def _columns(key: str, value: Any) -> tuple[str, ...]:
    columns = (value,) if isinstance(value, str) else value
    if not isinstance(columns, list | tuple) or not all(isinstance(column, str) for column in columns):
        raise ClaimError(f"{key}: give a list of column names, for example [N], got {value!r}")
    return tuple(columns)


def _number_or_text(key: str, value: Any) -> Any:
    sides = value if isinstance(value, list) and len(value) == 2 else [value]
    try:
        numbers = tuple(float(side) for side in sides)  # also "1e-10", which YAML reads as text
    except (TypeError, ValueError):
        numbers = (math.nan,)
    if all(map(math.isfinite, numbers)):
        return numbers if len(sides) == 2 else numbers[0]
    if isinstance(value, str):
        return value
    raise ClaimError(f"{key}: give a number, an expression over columns, or [low, high]; got {value!r}")


def _check_sense(check: Check) -> None:
    """Hold the keys of a check against each other."""
    check_choice("test", check.test, TESTS)
    check_choice("origin", check.origin, ORIGINS)
    check_choice("reduce", check.reduce, REDUCTIONS)
    needs: dict[str, bool] = {
        "bound": check.test in ("at_most", "at_least", "between"),
        "expected": check.test == "equals",
        "against": check.reduce in LINES,
        "sequence": bool(check.by),
    }
    for key, needed in needs.items():
        if (getattr(check, key) not in (None, "", ())) != needed:
            verb = "needs" if needed else "does not use"
            raise ClaimError(f"test {check.test!r} with reduce {check.reduce!r} {verb} {key!r}")
    if isinstance(check.bound, tuple) != (check.test == "between"):
        raise ClaimError("'bound' is [low, high] for 'between' and one number or expression otherwise")
    sizes = {len(group) for group in check.sequence}
    if check.by and (len(check.sequence) < 2 or sizes != {len(check.by)}):
        raise ClaimError("'sequence' lists two or more groups, each with one value per column of 'by'")
    if check.origin == "direction" and check.test != "positive":
        raise ClaimError("the bound of a direction is zero: give test 'positive', or another origin")
    if not check.tolerance_origin.strip():
        raise ClaimError("say in 'tolerance_origin' where bound, tolerance or direction come from")
    _check_pilot(check)


def _check_pilot(check: Check) -> None:
    seeds = check.pilot_seeds
    if isinstance(seeds, bool) or not isinstance(seeds, int) or (seeds > 0) != (check.origin == "pilot"):
        raise ClaimError(
            f"pilot_seeds: {seeds!r}; a check of origin pilot says how many first seeds chose its bound, and "
            "no other check does"
        )
