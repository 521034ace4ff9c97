"""As many points of a profile as a number of seconds allows, the cheapest question first, without the pages.

For a machine that is lent for minutes. A question is one sweep of a notebook. The notebooks themselves say
which points they ask for: of their text only what the sweeps need is run, so no grid is written twice and
nothing is drawn.
"""

from __future__ import annotations

import ast
import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memorization.runs.parameters import (
    check_parameters,
    declared_parameters,
    names,
    parameters_cell,
    profile_values,
    source_path,
)
from memorization.runs.records import RecordStore
from memorization.runs.sweep import Task, estimate, noted

_SWEEPS = ("run.sweep", "run.recorded")


@dataclass(frozen=True)
class Question:
    """The points that one sweep of a notebook lacks.

    Attributes:
        notebook: whose.
        tasks: the calls that would answer it.
        seconds: what they take by the published records of smaller points, at any profile; infinite where no
            record tells, so that nobody waits for it.
    """

    notebook: str
    tasks: tuple[Task, ...]
    seconds: float


def questions(root: Path, notebooks: Iterable[str], profile: str) -> list[Question]:
    """Return what the notebooks ask at a profile and no record answers, the cheapest question first."""
    found = [question for name in notebooks for question in _questions(root, name, profile)]
    return sorted(found, key=lambda question: question.seconds)


def answer(
    root: Path, profile: str, seconds: float, out: Path, notebooks: Iterable[str] = ()
) -> dict[str, dict[str, Any]]:
    """Run points until the time is over; each is kept in ``out`` as it finishes, and the count with it.

    Args:
        root: the project's folder.
        profile: whose points.
        seconds: after these no point begins; one that has begun goes on to its end.
        out: gets ``records/NAME.PROFILE.jsonl`` and ``points.json``. Points that it holds already are not run
            again.
        notebooks: which; none: all.

    Returns:
        For each notebook with questions ``done`` and ``lacking``, numbers of points, and ``failed``, words.
    """
    end = time.monotonic() + seconds
    asked = for_this_machine(questions(root, notebooks or names(root), profile))
    counts: dict[str, dict[str, Any]] = {}
    for question in asked:
        count = counts.setdefault(question.notebook, {"done": 0, "lacking": 0, "failed": []})
        count["lacking"] += sum(len(task.seeds) for task in question.tasks)
    _write(out / "points.json", counts)
    for question in asked:
        store = RecordStore(out / "records" / f"{question.notebook}.{profile}.jsonl")
        for task, outcome in _outcomes(question.tasks, store, end):
            count = counts[question.notebook]
            if isinstance(outcome, Exception):
                sentence = f"{task.name}: {type(outcome).__name__}: {outcome}"
                count["failed"] += [sentence] if sentence not in count["failed"] else []
            else:
                count["done"] += len(task.seeds)
                count["lacking"] -= len(task.seeds)
            _write(out / "points.json", counts)
    return counts


def for_this_machine(asked: list[Question]) -> list[Question]:
    """Leave out, where some points compute on a GPU, those that take no device: any machine does them."""
    on_a_gpu = [one for one in asked if str(one.tasks[0].unkeyed.get("device")).startswith("cuda")]
    return on_a_gpu or asked


def _outcomes(
    tasks: Iterable[Task], store: RecordStore, end: float
) -> Iterator[tuple[Task, Exception | None]]:
    """Run what the store lacks, one task after the other, until the time is over."""
    with store:
        have = {record.key for record in store.read()}
        for task in tasks:
            if not have.issuperset(task.keys):
                if time.monotonic() > end:
                    return
                try:
                    for record in task.run():
                        store.append(record)
                except Exception as error:
                    yield task, error
                    continue
            yield task, None


def _questions(root: Path, name: str, profile: str) -> list[Question]:
    source = source_path(root, name)
    space: dict[str, Any] = {"__name__": "__main__", "__file__": str(source)}
    exec(compile(parameters_cell(source), str(source), "exec"), space)
    values = check_parameters(declared_parameters(root, name), profile_values(root, name, profile))
    space |= values
    files = sorted((root / "results" / "records").glob(f"{name}.*.jsonl"))
    known = [record for path in files for record in RecordStore(path).read()]
    with noted() as sweeps:
        for statement in needed(source.read_text(encoding="utf-8")):
            exec(compile(ast.Module([statement], []), str(source), "exec"), space)
    found = []
    for tasks in filter(None, sweeps):
        similar = [record for record in known if record.experiment == tasks[0].name]
        found.append(Question(name, tuple(tasks), estimate(tasks, similar) if similar else math.inf))
    return found


def needed(source: str) -> list[ast.stmt]:
    """Return the statements of a notebook that its sweeps need, in order, and these themselves.

    Args:
        source: of the notebook, as text. Its parameters are left out.
    """
    kept: list[ast.stmt] = []
    wanted: set[str] = set()
    for statement in reversed(ast.parse(source).body):
        if isinstance(statement, ast.AnnAssign):
            continue
        if _sweeps(statement) or _made(statement) & wanted:
            kept.append(statement)
            if isinstance(statement, ast.Assign):  # what the name meant before is not needed
                wanted -= {target.id for target in statement.targets if isinstance(target, ast.Name)}
            wanted |= _read(statement)
    return kept[::-1]


def _sweeps(statement: ast.stmt) -> bool:
    calls = [node.func for node in ast.walk(statement) if isinstance(node, ast.Call)]
    return any(ast.unparse(function) in _SWEEPS for function in calls)


def _made(statement: ast.stmt) -> set[str]:
    """The names that a statement binds, or changes by an assignment."""
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    targets = [statement.target] if isinstance(statement, ast.AugAssign) else targets
    parts = [node for target in targets for node in ast.walk(target)]
    return {node.id for node in parts if isinstance(node, ast.Name)}


def _read(statement: ast.stmt) -> set[str]:
    """The names that a statement reads."""
    names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
    read = {node.id for node in names if isinstance(node.ctx, ast.Load)}
    return read | (_made(statement) if isinstance(statement, ast.AugAssign) else set())


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.with_name(f".{path.name}.part")
    half.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    os.replace(half, path)
