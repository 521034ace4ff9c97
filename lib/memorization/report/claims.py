"""The papers' claims as data: what a claim and its checks consist of.

An entry of ``notebooks/claims/NAME.yaml`` (see ``claims_file``) reads like this::

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

Reading a claims file: every mistake is found before anything is judged.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memorization.runs.parameters import suggestion

TESTS = ("at_most", "at_least", "between", "equals", "positive", "order")
REDUCTIONS = ("mean", "max", "min", "range", "spearman", "difference")
OVER_SEEDS = ("mean", "worst")
PROFILES = ("smoke", "book", "desktop", "paper")

Value = float | str  # a number, or an expression over the records' columns


class ClaimError(ValueError):
    """A claims file that cannot be used: where, what was found, what is allowed."""


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
    margin: float = 0.0
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
    except yaml.YAMLError as error:
        raise ClaimError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(entries, list):
        raise ClaimError(f"{path} should hold a list of claims, each starting with '- id: …'")
    claims = [_claim(entry, f"{path.name}, entry {place}") for place, entry in enumerate(entries, start=1)]
    ids = [claim.id for claim in claims]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    if twice:
        raise ClaimError(
            f"{path.name}: the id {twice[0]!r} appears {ids.count(twice[0])} times; ids are unique"
        )
    return claims


def _claim(entry: Any, where: str) -> Claim:
    if not isinstance(entry, Mapping):
        raise ClaimError(f"{where}: a claim is a mapping that starts with 'id: …', got {entry!r}")
    where = f"{where} ({entry['id']})" if entry.get("id") else where
    shared = {"tolerance_origin": entry.get("tolerance_origin", "")}
    known = {field.name for field in dataclasses.fields(Claim)}
    _check_keys(entry, known | {"tolerance_origin"}, known, where)
    checks = entry["checks"]
    if not isinstance(checks, list) or not checks:
        raise ClaimError(f"{where}: 'checks' is a list of at least one check")
    profiles = _profiles(entry["profiles"], where)
    made = tuple(
        _check(check, shared, profiles, f"{where}, check {place}")
        for place, check in enumerate(checks, start=1)
    )
    words = {key: str(entry[key]) for key in ("id", "paper", "place", "statement")}
    return Claim(**words, checks=made, profiles=profiles)


def _check(entry: Any, shared: Mapping[str, Any], profiles: tuple[str, ...], where: str) -> Check:
    if not isinstance(entry, Mapping):
        raise ClaimError(f"{where}: a check is a mapping that starts with 'what: …', got {entry!r}")
    fields = dataclasses.fields(Check)
    needed = {field.name for field in fields if field.default is dataclasses.MISSING}
    _check_keys(entry, {field.name for field in fields}, needed, where)
    values = {**shared, **entry, "profiles": _profiles(entry.get("profiles", profiles), where)}
    for key in ("each", "average_first", "by"):
        values[key] = _columns(values.get(key, ()), f"{where}, {key}")
    for key in ("bound", "expected", "tolerance"):
        if key in values:
            values[key] = _number_or_text(values[key], f"{where}, {key}")
    values["sequence"] = tuple(
        tuple(group) if isinstance(group, list) else (group,) for group in values.get("sequence", ())
    )
    check = Check(**values)
    _check_sense(check, where)
    return check


def _check_sense(check: Check, where: str) -> None:
    """Hold the keys of a check against each other."""
    for kind, value, allowed in (
        ("test", check.test, TESTS),
        ("reduce", check.reduce, REDUCTIONS),
        ("over_seeds", check.over_seeds, OVER_SEEDS),
    ):
        if value not in allowed:
            raise ClaimError(f"{where}: unknown {kind} {value!r}{_hint(value, allowed)}")
    needs: dict[str, bool] = {
        "bound": check.test in ("at_most", "at_least", "between"),
        "expected": check.test == "equals",
        "against": check.reduce == "spearman",
        "by": check.test == "order" or check.reduce == "difference",
    }
    for key, needed in needs.items():
        given = getattr(check, key) not in (None, "", ())
        if given != needed:
            verb = "needs" if needed else "does not use"
            raise ClaimError(f"{where}: test {check.test!r} with reduce {check.reduce!r} {verb} {key!r}")
    if isinstance(check.bound, tuple) != (check.test == "between"):
        raise ClaimError(
            f"{where}: 'bound' is [low, high] for 'between' and one number or expression otherwise"
        )
    if needs["by"] and (
        len(check.sequence) < 2 or {len(group) for group in check.sequence} != {len(check.by)}
    ):
        raise ClaimError(
            f"{where}: 'sequence' lists two or more groups, each with one value per column of 'by'"
        )
    if check.over_seeds == "worst" and check.average_first:
        raise ClaimError(
            f"{where}: 'over_seeds: worst' looks at single seeds, so it excludes 'average_first'"
        )
    has_bound = check.test != "positive" and (check.test != "order" or check.margin)
    if has_bound and not check.tolerance_origin:
        raise ClaimError(f"{where}: say in 'tolerance_origin' where the bound or tolerance comes from")


def _check_keys(entry: Mapping[Any, Any], allowed: set[str], needed: set[str], where: str) -> None:
    for key in entry:
        if key not in allowed:
            raise ClaimError(f"{where}: unknown key {key!r}{_hint(str(key), sorted(allowed))}")
    missing = sorted(needed - set(entry))
    if missing:
        raise ClaimError(f"{where}: the key {missing[0]!r} is missing")


def _profiles(value: Any, where: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not value:
        raise ClaimError(f"{where}: 'profiles' is a list such as [book, desktop], got {value!r}")
    for profile in value:
        if profile not in PROFILES:
            raise ClaimError(f"{where}: unknown profile {profile!r}{_hint(str(profile), PROFILES)}")
    return tuple(value)


def _columns(value: Any, where: str) -> tuple[str, ...]:
    columns = (value,) if isinstance(value, str) else value
    if not isinstance(columns, list | tuple) or not all(isinstance(column, str) for column in columns):
        raise ClaimError(f"{where}: give a list of column names, for example [N], got {value!r}")
    return tuple(columns)


def _number_or_text(value: Any, where: str) -> Any:
    if isinstance(value, list) and len(value) == 2:
        return tuple(float(side) for side in value)
    try:
        return float(value)  # also "1e-10", which YAML reads as text
    except (TypeError, ValueError):
        if isinstance(value, str):
            return value
    raise ClaimError(f"{where}: give a number, an expression over columns, or [low, high]; got {value!r}")


def _hint(given: str, allowed: Sequence[str]) -> str:
    return "." + (suggestion(given, allowed) or f" Known: {', '.join(allowed)}.")
