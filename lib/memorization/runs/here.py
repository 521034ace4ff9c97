"""Run the points of a sweep in this process, one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memorization.runs.records import Record
    from memorization.runs.sweep import Task


def outcomes(tasks: Iterable[Task], scheduler: str = "") -> Iterator[tuple[Task, list[Record] | Exception]]:
    """Yield each task with its records, or with the error that stopped it."""
    for task in tasks:
        try:
            outcome: list[Record] | Exception = task.run()
        except Exception as error:
            outcome = error
        yield task, outcome
