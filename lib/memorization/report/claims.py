"""The papers' claims as data: what a claim and its checks consist of, and how a file of them is read.

An entry of ``notebooks/claims/NAME.yaml`` reads like this::

    - id: SM-13
      paper: bombari2024spurious          # key in references.bib
      place: Figures RF and NTK, panel 3
      statement: On MNIST the spurious accuracy falls from 1 to about 0.65 while test accuracy rises.
      profiles: [desktop, paper]
      tolerance_origin: spread of ten trial runs
      checks:
        - what: test accuracy with 100 examples
          records: mnist                  # a table that the notebook passes to ``judge``
          where: N == 100
          value: test_accuracy
          test: at_least
          bound: 0.95
        - what: spurious accuracy falls with N
          records: mnist
          value: spurious_accuracy
          reduce: spearman
          against: N
          average_first: [N]
          test: at_most
          bound: -0.9

Every mistake in a file is found before anything is judged, and a file never runs code.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memorization.checks import check_choice
from memorization.report.expressions import parsed
from memorization.runs.parameters import PROFILES

TESTS = ("at_most", "at_least", "between", "equals", "positive", "order")
REDUCTIONS = ("mean", "max", "min", "range", "spearman", "difference")
OVER_SEEDS = ("mean", "worst")

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
    """One number, or one order, that a claim is judged by.

    Attributes:
        what: the quantity in words.
        records: name of the table.
        value: column, or an expression over columns such as ``stability_mse / test_mse``.
        test: ``at_most``, ``at_least`` (``bound``), ``between`` (``bound: [low, high]``), ``equals``
            (``expected``, ``tolerance``), ``positive``, ``order`` (``by``, ``sequence``, ``margin``).
        where: which rows count, see ``report.expressions``.
        reduce: the rows of one seed become one number: ``mean``, ``max``, ``min``, ``range``, ``spearman``
            (rank correlation with ``against``), ``difference`` (first minus last group of ``sequence``).
        against: the other column of ``spearman``.
        each: columns; the check is made at each of their values and the worst one decides.
        average_first: columns that name one point of a curve: the curve is averaged over seeds before
            ``value`` and ``reduce``; the interval is then a bootstrap over seeds.
        over_seeds: ``mean``: the mean over seeds counts, with a 95 % interval; ``worst``: each seed does.
        bound: number, two numbers, or expression.
        expected: number or expression that ``value`` agrees with. An expression, here and in ``bound`` and
            ``tolerance``, counts with its mean over the rows; compare row by row with ``value: a - b``.
        tolerance: allowed deviation, in the unit of ``value``; number or expression.
        tolerance_origin: where bound and tolerance come from.
        by: columns whose values name the groups of an order.
        sequence: the groups, the largest first.
        margin: what each group must exceed the next one by.
        profiles: at which profiles the check can be made; default: those of the claim.
    """

    what: str
    records: str
    value: str
    test: str
    where: str = ""
    reduce: str = "mean"
    against: str = ""
    each: tuple[str, ...] = ()
    average_first: tuple[str, ...] = ()
    over_seeds: str = "mean"
    bound: Value | tuple[float, float] | None = None
    expected: Value | None = None
    tolerance: Value = 0.0
    tolerance_origin: str = ""
    by: tuple[str, ...] = ()
    sequence: tuple[tuple[Any, ...], ...] = ()
    margin: Value = 0.0
    profiles: tuple[str, ...] = ()

    @property
    def target(self) -> Value:
        """The number or expression that ``value`` is compared with; 0 where the test has none."""
        if self.test == "order":
            return self.margin
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
        checks: at least one.
        profiles: at which profiles it can be judged.
    """

    id: str
    paper: str
    place: str
    statement: str
    checks: tuple[Check, ...]
    profiles: tuple[str, ...]


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
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ClaimError(f"there is no claims file {path}; write one, or pass claims=[] to judge") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ClaimError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(entries, list):
        raise ClaimError(f"{path} should hold a list of claims, each starting with '- id: …'")
    claims: list[Claim] = []
    for place, entry in enumerate(entries, start=1):
        name = f" ({entry['id']})" if isinstance(entry, Mapping) and entry.get("id") else ""
        with located(f"{path.name}, entry {place}{name}"):
            claims.append(_claim(entry))
            if claims[-1].id in [claim.id for claim in claims[:-1]]:
                raise ClaimError("another claim has this id; ids are unique")
    return claims


def _claim(entry: Any) -> Claim:
    _check_keys(entry, Claim, "id", more=("tolerance_origin",))
    given = {**entry, "profiles": _profiles(entry["profiles"])}
    shared = {"tolerance_origin": given.pop("tolerance_origin", ""), "profiles": given["profiles"]}
    for key in ("id", "paper", "place", "statement"):
        given[key] = str(given[key])
    if not isinstance(entry["checks"], list) or not entry["checks"]:
        raise ClaimError("'checks' is a list of at least one check")
    checks = []
    for place, check in enumerate(entry["checks"], start=1):
        with located(f"check {place}"):
            checks.append(_check(check, shared))
    return Claim(**{**given, "checks": tuple(checks)})


def _check(entry: Any, shared: Mapping[str, Any]) -> Check:
    _check_keys(entry, Check, "what")
    given = {**shared, **entry}
    given["profiles"] = _profiles(given["profiles"])
    for key in ("what", "records", "value", "where", "against", "tolerance_origin"):
        if not isinstance(given.get(key, ""), str):
            raise ClaimError(f"{key}: give a text, got {given[key]!r}")
    for key in ("each", "average_first", "by"):
        given[key] = _columns(key, given.get(key, ()))
    for key in ("bound", "expected", "tolerance", "margin"):
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


def _check_keys(entry: Any, kind: type[Claim | Check], first: str, more: tuple[str, ...] = ()) -> None:
    """Refuse what is no mapping, unknown keys and missing ones."""
    name, fields = kind.__name__.lower(), dataclasses.fields(kind)
    if not isinstance(entry, Mapping):
        raise ClaimError(f"a {name} is a mapping that starts with '{first}: …', got {entry!r}")
    for key in entry:
        check_choice("key", key, [*(field.name for field in fields), *more])
    needed = [field.name for field in fields if field.default is dataclasses.MISSING]
    if missing := [key for key in needed if key not in entry]:
        raise ClaimError(f"the key {missing[0]!r} is missing")


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
    check_choice("reduce", check.reduce, REDUCTIONS)
    check_choice("over_seeds", check.over_seeds, OVER_SEEDS)
    needs: dict[str, bool] = {
        "bound": check.test in ("at_most", "at_least", "between"),
        "expected": check.test == "equals",
        "against": check.reduce == "spearman",
        "by": check.test == "order" or check.reduce == "difference",
    }
    for key, needed in needs.items():
        if (getattr(check, key) not in (None, "", ())) != needed:
            verb = "needs" if needed else "does not use"
            raise ClaimError(f"test {check.test!r} with reduce {check.reduce!r} {verb} {key!r}")
    if isinstance(check.bound, tuple) != (check.test == "between"):
        raise ClaimError("'bound' is [low, high] for 'between' and one number or expression otherwise")
    sizes = {len(group) for group in check.sequence}
    if needs["by"] and (len(check.sequence) < 2 or sizes != {len(check.by)}):
        raise ClaimError("'sequence' lists two or more groups, each with one value per column of 'by'")
    if check.over_seeds == "worst" and check.average_first:
        raise ClaimError("'over_seeds: worst' looks at single seeds, so it excludes 'average_first'")
    has_bound = check.test != "positive" and (check.test != "order" or check.margin)
    if has_bound and not check.tolerance_origin:
        raise ClaimError("say in 'tolerance_origin' where the bound or tolerance comes from")
