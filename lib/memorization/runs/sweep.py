"""Run a function of the library over a grid: one row per point and seed, nothing computed twice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from memorization.runs.digest import code_digest
from memorization.runs.grid import Point, bound_point, defaults_of, name_of, points_of
from memorization.runs.progress import Progress
from memorization.runs.provenance import Meter, measured
from memorization.runs.records import Record, RecordStore, clean, key_of, newest

_Function = TypeVar("_Function", bound=Point)
_NAMED: dict[str, str] = {}  # which function bears a name, in this process


def experiment(name: str) -> Callable[[_Function], _Function]:
    """Give a function the short name under which its records are kept, wherever it moves: a decorator.

    It changes nothing of the function, and its code is not part of the function's digest.

    Args:
        name: one word for what is measured; it stays the same for ever.

    Raises:
        ValueError: the name is empty, or another function bears it.
    """
    if not name.strip():
        raise ValueError("an experiment's name is empty; allowed: a word, such as experiment('memorize').")

    def named(function: _Function) -> _Function:
        place = f"{function.__module__}.{function.__qualname__}"
        if _NAMED.setdefault(name, place) != place:
            raise ValueError(f"{place}: {name!r} is the name of {_NAMED[name]}; choose another one.")
        function.experiment = name  # type: ignore[attr-defined]
        return function

    return named


class SweepError(RuntimeError):
    """Some points failed; the others are finished and kept."""


@dataclass(frozen=True)
class Task:
    """One call: a point with one seed, or with all the seeds that a stacked function takes at once."""

    function: Point
    point: Mapping[str, Any]
    seeds: tuple[int, ...]
    stacked: bool
    unkeyed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def keys(self) -> list[str]:
        """The identity of each of its points."""
        return [key_of(name_of(self.function), self.point, seed) for seed in self.seeds]

    def run(self) -> list[Record]:
        """Run it, in whatever process this is."""
        name, code = name_of(self.function), code_digest(self.function)
        device = self.unkeyed.get("device")
        with Meter(device if isinstance(device, str) else None) as meter:
            if self.stacked:
                answers = list(self.function(**self.point, **self.unkeyed, seeds=list(self.seeds)))
            else:
                answers = [self.function(**self.point, **self.unkeyed, seed=self.seeds[0])]
        if len(answers) != len(self.seeds):
            raise ValueError(
                f"{name} returned {len(answers)} results for {len(self.seeds)} seeds; return one each."
            )
        meter.seconds /= len(self.seeds)
        how = measured(meter)
        return [
            Record(name, self.point, seed, _rows(answer, name), code, how)
            for seed, answer in zip(self.seeds, answers, strict=True)
        ]


def sweep(
    point: Point,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    *,
    seeds: int | Iterable[int] = 1,
    fixed: Mapping[str, Any] | None = None,
    unkeyed: Mapping[str, Any] | None = None,
    stacked: bool = False,
    store: RecordStore | Path | None = None,
    published: Path | None = None,
    keep_old_code: bool = False,
    scheduler: str | None = None,
    workers: int = 1,
    missing: str = "run",
    on_error: str = "raise",
    progress: bool = True,
) -> pd.DataFrame:
    """Run ``point`` on every combination of ``grid`` and every seed, and return the records as a table.

    Args:
        point: a function with keyword arguments of plain Python values; takes ``seed`` (or ``seeds``, where
            ``stacked``) and returns one flat mapping, or a list of them. Stacked: one answer a seed.
        grid: values to combine, by the name of the argument; or the points themselves, one mapping each.
        seeds: how many seeds, counted from 0, or which.
        fixed: arguments that are the same at every point.
        unkeyed: arguments that say how and not what is computed (``device``): no part of a point's identity.
            A function among them is called with the point and returns that point's own value.
        stacked: the function takes all seeds at once (stacked models).
        store: where each finished point is appended at once, and found again; None keeps nothing.
        published: a second file of records, only read.
        keep_old_code: take records that other code made, and mark them; else they are run again.
        scheduler: address of a Dask scheduler (``tcp://…``) whose workers run the points.
        workers: processes of this machine that run points side by side, each with one thread; 1 runs them in
            this process. A scheduler goes before it.
        missing: ``run`` what is in no store, or ``skip`` it and return what was found.
        on_error: ``raise`` a :class:`SweepError` once all other points are done, or ``skip`` failed points.
        progress: show a bar with the time left.

    Returns:
        One row per point, seed and returned mapping: the point's arguments, ``seed``, what was returned, and
        the provenance ``_seconds`` (s, wall clock), ``_peak_mib`` (MiB), ``_device``, ``_cores``,
        ``_threads``, ``_date`` (UTC), ``_code`` (digest), ``_code_changed`` and ``_source`` (``live`` or
        ``published``).

    Raises:
        TypeError: the function does not take these arguments.
        SweepError: points failed; names the first and says how many.
        KeyboardInterrupt: finished points are kept.
    """
    _check_options(workers, on_error, missing)
    points = [bound_point(point, p, unkeyed or {}, stacked) for p in points_of(grid, fixed or {})]
    wanted = range(seeds) if isinstance(seeds, int) else list(dict.fromkeys(seeds))
    code, name = code_digest(point), name_of(point)
    store = RecordStore(store) if isinstance(store, Path) else store
    defaults = defaults_of(point, unkeyed or {}, stacked)
    found = _found(store, published, (name, code, defaults), keep_old_code)
    keys = {key_of(name, p, s): (p, s) for p in points for s in wanted}
    tasks = _tasks(point, [ps for k, ps in keys.items() if k not in found], stacked, unkeyed or {})
    failures: list[tuple[Task, BaseException]] = []
    if tasks and missing == "run":
        shown = Progress(_label(name), len(tasks), progress)
        for record in _run(tasks, store, (scheduler, workers), failures, shown):
            found[record.key_today(defaults)] = (record, "live")
    if failures and on_error == "raise":
        raise _failed(failures, len(keys), store)
    kept = {k: found[k] for k in keys if k in found}
    # With the arguments as they were asked for: an older record may lack one that was added since.
    return table(((replace(one, point=keys[k][0]), source) for k, (one, source) in kept.items()), code)


def table(found: Iterable[tuple[Record, str]], code: str) -> pd.DataFrame:
    """Return records as a tidy table; ``found`` gives each with its source, ``code`` is today's digest."""
    rows: list[dict[str, Any]] = []
    for record, source in found:
        how = {f"_{k}": v for k, v in record.measured.items() if k != "versions"}
        more = {"_code": record.code, "_code_changed": record.code != code, "_source": source}
        for row in record.rows:
            values = {k: math.nan if v is None else v for k, v in row.items()}
            rows.append({**record.point, "seed": record.seed, **values, **how, **more})
    return pd.DataFrame(rows)


def _check_options(workers: int, on_error: str, missing: str) -> None:
    if workers < 1:
        raise ValueError(f"workers = {workers}; allowed: 1 or more.")
    words = {"on_error": (on_error, ("raise", "skip")), "missing": (missing, ("run", "skip"))}
    for name, (value, allowed) in words.items():
        if value not in allowed:
            raise ValueError(f"{name} = {value!r}; allowed: {', '.join(allowed)}.")


def _found(
    store: RecordStore | None,
    published: Path | None,
    of: tuple[str, str, Mapping[str, Any]],
    keep_old_code: bool,
) -> dict[str, tuple[Record, str]]:
    """The newest record of each point and its source; ``of``: the experiment's name, code and defaults."""
    name, code, defaults = of
    found: dict[str, tuple[Record, str]] = {}
    sources = [("published", RecordStore(published) if published else None), ("live", store)]
    for source, one in sources:
        if one is None:
            continue
        records = [r for r in one.read() if r.experiment == name]
        current = newest((r for r in records if r.code == code), defaults)
        old = newest(records, defaults) if keep_old_code else {}
        found |= {k: (r, source) for k, r in {**old, **current}.items() if k not in found or k in current}
    return found


def _tasks(
    function: Point, missing: Iterable[tuple[Any, int]], stacked: bool, unkeyed: Mapping[str, Any]
) -> list[Task]:
    if not stacked:
        return [Task(function, p, (s,), False, _of_point(unkeyed, p)) for p, s in missing]
    groups: dict[str, tuple[Any, list[int]]] = {}
    for p, s in missing:
        groups.setdefault(key_of("", p, 0), (p, []))[1].append(s)
    return [Task(function, p, tuple(ss), True, _of_point(unkeyed, p)) for p, ss in groups.values()]


def _of_point(unkeyed: Mapping[str, Any], point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value(point) if callable(value) else value for name, value in unkeyed.items()}


def _run(
    tasks: list[Task],
    store: RecordStore | None,
    where: tuple[str | None, int],
    failures: list[tuple[Task, BaseException]],
    progress: Progress,
) -> Iterator[Record]:
    """Yield each finished point, after it is in the store; collect what failed; go on with the others."""
    from memorization.runs import cluster, here

    scheduler, workers = where
    with ExitStack() as stack:
        if store is not None:
            stack.enter_context(store)
        stack.enter_context(progress)
        tasks, done = _still_missing(tasks, store)
        yield from done
        progress.step(progress.total - len(tasks))
        try:
            run = cluster.outcomes(tasks, scheduler) if scheduler else here.outcomes(tasks, workers=workers)
            for task, outcome in run:
                if isinstance(outcome, BaseException):
                    failures.append((task, outcome))
                for record in [] if isinstance(outcome, BaseException) else outcome:
                    if store is not None:
                        store.append(record)
                    yield record
                progress.step()
        except KeyboardInterrupt:
            kept = (
                f"kept in {store.path}; the same command goes on from there"
                if store
                else "lost: no store was given"
            )
            raise KeyboardInterrupt(
                f"stopped after {progress.done} of {progress.total} points, {kept}."
            ) from None


def _still_missing(tasks: list[Task], store: RecordStore | None) -> tuple[list[Task], list[Record]]:
    """What is left to do, now that nobody else can write: another process may have done some of it."""
    if store is None:
        return tasks, []
    have = newest(store.read())
    left, done = [], []
    for task in tasks:
        code, found = code_digest(task.function), [have.get(key) for key in task.keys]
        if all(record is not None and record.code == code for record in found):
            done += [record for record in found if record is not None]
        else:
            left.append(task)
    return left, done


def _rows(answer: Any, name: str) -> tuple[Mapping[str, Any], ...]:
    rows = [answer] if isinstance(answer, Mapping) else list(answer)
    return tuple({str(k): clean(v, f"{name} → {k}") for k, v in row.items()} for row in rows)


def _failed(failures: list[tuple[Task, BaseException]], total: int, store: RecordStore | None) -> SweepError:
    task, error = failures[0]
    kept = f"What finished is kept in {store.path}." if store else "Nothing is kept: no store was given."
    return SweepError(
        f"{len(failures)} of {total} points failed. {kept} First: {dict(task.point)}, "
        f"seed {', '.join(map(str, task.seeds))}: {type(error).__name__}: {error}"
    )


def _label(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ")
