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
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
        where: which rows count, a pandas query.
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
