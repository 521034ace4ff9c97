"""Run an experiment over a grid: one row per point and seed, nothing computed twice.

The points run in this process, in several of this machine, or on a Dask cluster; each is kept as it finishes.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import math
import os
import pickle
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import pandas as pd
from tqdm import tqdm

from memorization.checks import check_whole
from memorization.runs.digest import code_digest
from memorization.runs.parameters import PROGRESS, suggestion
from memorization.runs.provenance import Meter, end_with_parent, keep_freed_memory, measured
from memorization.runs.records import Record, RecordStore, clean, key_of, newest

Point = Callable[..., Any]
_Function = TypeVar("_Function", bound=Point)
_NAMED: dict[str, str] = {}  # which function bears a name, in this process
_NOTED: list[list[list[Task]]] = []  # who only notes what sweeps lack
_LARGE_GIB, _LARGE_PRICES = 16, 10  # what is said before it begins
_PATIENCE = 15  # seconds that a scheduler may take to answer


class SweepError(RuntimeError):
    """Some points failed; the others are finished and kept."""


class PartlyFailedError(RuntimeError):
    """Some seeds of a stacked call failed; the records of the others are kept.

    Attributes:
        records: of the seeds that were finished.
    """

    def __init__(self, failed: Mapping[int, Exception], records: Sequence[Record]) -> None:
        seed, error = next(iter(failed.items()))
        super().__init__(f"seed {seed} of {', '.join(map(str, failed))}: {type(error).__name__}: {error}")
        self.failed, self.records = dict(failed), list(records)

    def __reduce__(self) -> tuple[Any, ...]:
        return PartlyFailedError, (self.failed, self.records)  # it comes from worker processes


def experiment(
    name: str, *, memory: Callable[[Mapping[str, Any]], float] | None = None
) -> Callable[[_Function], _Function]:
    """Give a function the short name under which its records are kept, wherever it moves: a decorator.

    It changes nothing of the function, and its code is not part of the function's digest.

    Args:
        name: one word for what is measured; it stays the same for ever.
        memory: from a point's arguments, about how many bytes it needs; a sweep warns of more than 16 GiB.

    Raises:
        ValueError: the name is empty, or another function bears it.
    """
    if not name.strip():
        raise ValueError("an experiment's name is empty; allowed: a word, such as experiment('memorize').")

    def named(function: _Function) -> _Function:
        place = f"{function.__module__}.{function.__qualname__}"
        if _NAMED.setdefault(name, place) != place:
            raise ValueError(f"{place}: {name!r} is the name of {_NAMED[name]}; choose another one.")
        function.experiment, function.memory = name, memory  # type: ignore[attr-defined]
        return function

    return named


@dataclass(frozen=True)
class Task:
    """One call: a point with one seed, or with all the seeds that a stacked function takes at once."""

    function: Point
    point: Mapping[str, Any]
    seeds: tuple[int, ...]
    stacked: bool
    code: str
    unkeyed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The experiment's name."""
        return _name_of(self.function)

    @property
    def keys(self) -> list[str]:
        """The identity of each of its points."""
        return [key_of(self.name, self.point, seed) for seed in self.seeds]

    @property
    def given(self) -> dict[str, Any]:
        """What the function is called with."""
        seed = {"seeds": list(self.seeds)} if self.stacked else {"seed": self.seeds[0]}
        return {**self.point, **self.unkeyed, **seed}

    def run(self) -> list[Record]:
        """Run it, in whatever process this is."""
        keep_freed_memory()
        name, device = _name_of(self.function), self.unkeyed.get("device")
        with Meter(device if isinstance(device, str) else None) as meter:
            answer = self.function(**self.given)
        answers = list(answer) if self.stacked else [answer]
        if len(answers) != len(self.seeds):
            raise ValueError(
                f"{name} returned {len(answers)} results for {len(self.seeds)} seeds; return one each."
            )
        meter.seconds /= len(self.seeds)
        how = measured(meter)
        pairs = list(zip(self.seeds, answers, strict=True))
        records = [
            Record(name, self.point, seed, _rows(one, name, {**self.point, "seed": seed}), self.code, how)
            for seed, one in pairs
            if not isinstance(one, Exception)
        ]
        if failed := {seed: one for seed, one in pairs if isinstance(one, Exception)}:
            raise PartlyFailedError(failed, records)
        return records


def sweep(
    point: Point,
    grid: Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]],
    *,
    seeds: int | Iterable[int] = 1,
    first_seed: int = 0,
    fixed: Mapping[str, Any] | None = None,
    unkeyed: Mapping[str, Any] | None = None,
    stacked: bool = False,
    store: RecordStore | Path | None = None,
    also: Sequence[Path] = (),
    published: Path | None = None,
    keep_old_code: bool = False,
    scheduler: str | None = None,
    workers: int = 1,
    missing: str = "run",
    on_error: str = "raise",
    price: float | None = None,
    progress: bool = True,
) -> pd.DataFrame:
    """Run ``point`` on every combination of ``grid`` and every seed, and return the records as a table.

    Args:
        point: a function with keyword arguments of plain Python values; takes ``seed`` (or ``seeds``, where
            ``stacked``) and returns one flat mapping, or a list of them. Stacked: one answer a seed.
        grid: values to combine, by the name of the argument; or the points themselves, one mapping each.
        seeds: how many seeds, counted from ``first_seed``, or which.
        first_seed: the first of them, >= 0, where ``seeds`` is a number.
        fixed: arguments that are the same at every point.
        unkeyed: arguments that say how and not what is computed (``device``): no part of a point's identity.
            A function among them is called with the point and returns that point's own value.
        stacked: the function takes all seeds at once (stacked models).
        store: where each finished point is appended at once, and found again; None keeps nothing.
        also: further files of this machine's records, only read.
        published: a file of published records, only read.
        keep_old_code: take records that other code made, and mark them; else they are run again.
        scheduler: address of a Dask scheduler (``tcp://…``) whose workers run the points.
        workers: processes of this machine that run points side by side, each with one thread; 1 runs them in
            this process. A scheduler goes before it.
        missing: ``run`` what is in no store, or ``skip`` it, return what was found and say what lacks.
        on_error: ``raise`` a :class:`SweepError` once all other points are done, or ``skip`` failed points.
        price: seconds that are usual; ten times as much is said before it begins, where records of smaller
            points give an estimate: as if time grew in proportion to every whole number that is larger.
        progress: show a bar with the time left.

    Returns:
        One row per point, seed and returned mapping: the point's arguments, ``seed``, what was returned, and
        the provenance ``_seconds`` (s, wall clock), ``_peak_mib`` (MiB), ``_device``, ``_cores``,
        ``_threads``, ``_date`` (UTC), ``_code`` (digest), ``_code_changed`` and ``_source`` (``live`` or
        ``published``). ``attrs["lacking"]`` is the number of points that are not in it.

    Raises:
        TypeError: the function does not take these arguments.
        ValueError: no seed, no point, or a first seed below 0.
        SweepError: points failed; names the first and says how many.
        KeyboardInterrupt: finished points are kept.

    Warns:
        RuntimeWarning: a point needs more than 16 GiB, or all of them ten times ``price``.
    """
    _check_options(point, workers, on_error, missing)
    check_whole("first_seed", first_seed, 0)
    unkeyed = unkeyed or {}
    points = [_bound(point, p, unkeyed, stacked) for p in _points(grid, fixed or {}, missing)]
    counted = range(first_seed, first_seed + seeds) if isinstance(seeds, int) else seeds
    wanted = list(dict.fromkeys(counted))
    if not wanted:
        raise ValueError(f"seeds = {seeds!r}; allowed: a number from 1, or a list with at least one seed.")
    code, name = code_digest(point), _name_of(point)
    store = RecordStore(store) if isinstance(store, Path) else store
    sources = [("published", published), *(("live", path) for path in also), ("live", store and store.path)]
    files = [(source, RecordStore(path)) for source, path in sources if path]
    records = [(source, [r for r in file.read() if r.experiment == name]) for source, file in files]
    defaults = _defaults(point, unkeyed, stacked)
    found = _found(records, code, keep_old_code, defaults)
    keys = {key_of(name, p, s): (p, s) for p in points for s in wanted}
    tasks = _tasks(point, [ps for k, ps in keys.items() if k not in found], stacked, unkeyed, code)
    failures: list[tuple[Task, BaseException]] = []
    if _NOTED and missing == "run":
        _NOTED[-1].append(tasks)
    elif tasks and missing == "run":
        about = _warn_of_size(tasks, [r for _, group in records for r in group], price, workers)
        shown = Progress(name.rpartition(".")[2].replace("_", " ") + about, len(tasks), progress)
        for record in _run(tasks, store, (scheduler, workers), failures, shown):
            found[record.key] = (record, "live")
    if failures and on_error == "raise":
        raise _failed(failures, len(keys), store)
    # With the arguments as they were asked for: an older record may lack one that was added since.
    rows = [(replace(found[k][0], point=p), found[k][1]) for k, (p, _) in keys.items() if k in found]
    made = _table(rows, code)
    made.attrs["lacking"] = len(keys) - len(rows)
    if missing == "skip" and len(rows) < max(1, len(keys)):
        where = ", ".join(dict.fromkeys(file.path.name for _, file in files)) or "no file"
        print(f"{name}: {len(keys) - len(rows)} of {len(keys)} points have no record in {where}.")
    return made


@contextlib.contextmanager
def noted() -> Iterator[list[list[Task]]]:
    """Run no point inside: note, for each sweep, the calls that it lacks."""
    _NOTED.append([])
    try:
        yield _NOTED[-1]
    finally:
        _NOTED.pop()


def _table(found: Iterable[tuple[Record, str]], code: str) -> pd.DataFrame:
    """Records as a tidy table; ``found`` gives each with its source, ``code`` is today's digest."""
    rows: list[dict[str, Any]] = []
    for record, source in found:
        how = {f"_{k}": v for k, v in record.measured.items() if k != "versions"}
        more = {"_code": record.code, "_code_changed": record.code != code, "_source": source}
        for row in record.rows:
            values = {k: math.nan if v is None else v for k, v in row.items()}
            rows.append({**record.point, "seed": record.seed, **values, **how, **more})
    return pd.DataFrame(rows)


def _check_options(point: Point, workers: int, on_error: str, missing: str) -> None:
    if not hasattr(point, "__qualname__"):
        raise TypeError(f"{point!r} has no name; allowed: a function (what is fixed goes into `fixed`).")
    if workers < 1:
        raise ValueError(f"workers = {workers}; allowed: 1 or more.")
    words = {"on_error": (on_error, ("raise", "skip")), "missing": (missing, ("run", "skip"))}
    for name, (value, allowed) in words.items():
        if value not in allowed:
            raise ValueError(f"{name} = {value!r}; allowed: {', '.join(allowed)}.")


def _name_of(function: Point) -> str:
    """The name of its experiment, or the full name of a function that has none."""
    return getattr(function, "experiment", None) or f"{function.__module__}.{function.__qualname__}"


def _points(grid: Any, fixed: Mapping[str, Any], missing: str) -> Iterator[dict[str, Any]]:
    """All combinations of a mapping of lists, or the mappings of a list."""
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, Sequence | range):
                raise TypeError(
                    f"grid[{name!r}] = {values!r}; allowed: a list of values (one value goes into `fixed`)."
                )
            if not values:
                raise ValueError(f"grid[{name!r}] is empty; allowed: a list with at least one value.")
        combinations = itertools.product(*grid.values())
        grid = [dict(zip(grid, values, strict=True)) for values in combinations]
    grid = list(grid)
    if not grid and missing == "run":
        raise ValueError("the grid is empty; allowed: a list with at least one point.")
    for one in grid:
        if twice := set(one) & set(fixed):
            raise TypeError(f"{', '.join(sorted(twice))} stands in the grid and in `fixed`; give it once.")
        yield {**fixed, **one}


def _bound(
    function: Point, point: Mapping[str, Any], unkeyed: Mapping[str, Any], stacked: bool
) -> dict[str, Any]:
    """The point with the function's own defaults, as plain values: what identifies it."""
    signature = inspect.signature(function)
    hidden = {*unkeyed, "seeds" if stacked else "seed"}
    try:
        bound = signature.bind(**point, **dict.fromkeys(hidden))
    except TypeError as error:
        unknown = [name for name in point if name not in signature.parameters]
        hint = suggestion(unknown[0], signature.parameters) if unknown else ""
        raise TypeError(
            f"{_name_of(function)}: {error}.{hint} It takes {', '.join(signature.parameters)}."
        ) from None
    bound.apply_defaults()
    return {k: clean(v, k) for k, v in bound.arguments.items() if k not in hidden}


def _defaults(function: Point, unkeyed: Mapping[str, Any], stacked: bool) -> dict[str, Any]:
    """The function's defaults of today, of the arguments that identify a point."""
    hidden = {*unkeyed, "seeds" if stacked else "seed"}
    known = inspect.signature(function).parameters.items()
    return {k: clean(p.default, k) for k, p in known if k not in hidden and p.default is not p.empty}


def _found(
    records: Iterable[tuple[str, list[Record]]], code: str, keep_old_code: bool, defaults: Mapping[str, Any]
) -> dict[str, tuple[Record, str]]:
    """The newest record of each point, and its source; of today's code where there is one."""
    found: dict[str, tuple[Record, str]] = {}
    for source, group in records:
        current = newest((r for r in group if r.code == code), defaults)
        old = newest(group, defaults) if keep_old_code else {}
        found |= {k: (r, source) for k, r in {**old, **current}.items() if k not in found or k in current}
    return found


def _tasks(
    function: Point,
    missing: Iterable[tuple[Any, int]],
    stacked: bool,
    unkeyed: Mapping[str, Any],
    code: str,
) -> list[Task]:
    groups: dict[str, tuple[Any, list[int]]] = {}
    for point, seed in missing:
        groups.setdefault(key_of("", point, 0 if stacked else seed), (point, []))[1].append(seed)
    return [
        Task(
            function, p, tuple(s), stacked, code, {k: v(p) if callable(v) else v for k, v in unkeyed.items()}
        )
        for p, s in groups.values()
    ]


def _warn_of_size(tasks: Sequence[Task], known: list[Record], price: float | None, workers: int) -> str:
    """Say before it begins what would be enormous, and return what to show beside the progress."""
    memory = getattr(tasks[0].function, "memory", None)
    needed = max(memory(task.given) for task in tasks) / 2**30 if memory else 0
    if needed > _LARGE_GIB:
        text = f"a point needs about {needed:.0f} GiB of memory; smaller sizes need less."
        warnings.warn(text, RuntimeWarning, stacklevel=3)
    seconds = 0.0 if price is None else estimate(tasks, known) / workers
    if price is None or seconds <= _LARGE_PRICES * price:
        return ""
    about = f"about {seconds / 3600:.1f} h" if seconds > 5400 else f"about {seconds / 60:.0f} min"
    warnings.warn(
        f"{about}, where the whole page takes {price:.0f} s at this profile's own parameters: {len(tasks)} "
        "calls, judged by the records of smaller points. To stop is safe: finished points are kept.",
        RuntimeWarning,
        stacklevel=3,
    )
    return f" ({about} in all)"


def estimate(tasks: Iterable[Task], known: Iterable[Record]) -> float:
    """Return the seconds of all tasks: each the least that any recorded point gives, with the growth from it.

    As if time grew in proportion to every whole number of a point that is larger; 0 where no record tells.
    """
    groups: dict[str, list[Record]] = {}
    for record in known:
        groups.setdefault(key_of("", record.point, 0), []).append(record)
    recorded = [
        (_sizes(group[0].point), statistics.median(r.measured.get("seconds", 0.0) for r in group))
        for group in groups.values()
    ]
    total = 0.0
    for task in tasks:
        sizes = _sizes(task.point)
        growths = [
            math.prod(max(1.0, n / old[k]) for k, n in sizes.items() if old.get(k)) for old, _ in recorded
        ]
        guesses = [growth * seconds for growth, (_, seconds) in zip(growths, recorded, strict=True)]
        total += len(task.seeds) * min(guesses, default=0.0)
    return total


def _sizes(value: Any, at: str = "") -> dict[str, float]:
    """The whole numbers of a point by where they stand: a list counts by its sum, or by its length."""
    if isinstance(value, Mapping):
        inner = [_sizes(one, f"{at}.{name}") for name, one in value.items()]
        return {name: size for sizes in inner for name, size in sizes.items()}
    if isinstance(value, list):
        return {at: sum(value) if all(type(one) is int for one in value) else len(value)}
    return {at: abs(value)} if type(value) is int else {}


def _run(
    tasks: list[Task],
    store: RecordStore | None,
    where: tuple[str | None, int],
    failures: list[tuple[Task, BaseException]],
    progress: Progress,
) -> Iterator[Record]:
    """Yield each finished point, after it is in the store; collect what failed; go on with the others."""
    scheduler, workers = where
    with ExitStack() as stack:
        if store is not None:
            stack.enter_context(store)
        stack.enter_context(progress)
        tasks, done = _still_missing(tasks, store)
        yield from done
        progress.step(progress.total - len(tasks))
        try:
            for task, outcome in _on_cluster(tasks, scheduler) if scheduler else _here(tasks, workers):
                if isinstance(outcome, BaseException):
                    failures.append((task, outcome))
                for record in (
                    getattr(outcome, "records", []) if isinstance(outcome, BaseException) else outcome
                ):
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
    have = newest(r for r in store.read() if r.code == tasks[0].code) if store else {}
    done = [task for task in tasks if all(key in have for key in task.keys)]
    return [task for task in tasks if task not in done], [have[key] for task in done for key in task.keys]


def _rows(answer: Any, name: str, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    rows = [answer] if isinstance(answer, Mapping) else list(answer)
    made = tuple({str(k): clean(v, f"{name} → {k}") for k, v in row.items()} for row in rows)
    for key, value in ((k, v) for row in made for k, v in row.items() if k in given):
        if value != given[key]:  # what only repeats the argument does no harm
            raise ValueError(
                f"{name} returned {key} = {value!r}, but {key} is an argument ({given[key]!r}) and a column "
                "of its own; call what is returned otherwise."
            )
    return made


def _failed(failures: list[tuple[Task, BaseException]], total: int, store: RecordStore | None) -> SweepError:
    task, error = failures[0]
    kept = f"What finished is kept in {store.path}." if store else "Nothing is kept: no store was given."
    return SweepError(
        f"{len(failures)} of {total} points failed. {kept} First: {dict(task.point)}, "
        f"seed {', '.join(map(str, task.seeds))}: {type(error).__name__}: {error}"
    )


Outcome = tuple[Task, list[Record] | Exception]


def _here(tasks: Sequence[Task], workers: int) -> Iterator[Outcome]:
    """Run tasks on this machine: in this process and in their order, or in processes of one thread each.

    Small networks gain from a second process, not from a second thread.
    """
    if workers == 1 or not tasks:
        for task in tasks:
            yield task, _outcome(task)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    pool = Parallel(n_jobs=min(workers, len(tasks)), return_as="generator_unordered", pre_dispatch="all")
    try:
        yield from pool(delayed(_alone)(task, os.getpid()) for task in tasks)
    except TerminatedWorkerError as error:
        raise RuntimeError(
            "a worker process died, which most often means that memory ran out; run fewer at a time "
            "(workers=1). The same command goes on from what is finished."
        ) from error


def _outcome(task: Task) -> list[Record] | Exception:
    try:
        return task.run()
    except Exception as error:
        return error


def _alone(task: Task, parent: int) -> Outcome:
    """In a worker process, or in this one where joblib needs no other: for a sole task."""
    end_with_parent(parent)
    with _one_thread():
        return task, _outcome(task)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Where workers are asked for, so that results do not depend on how many there are."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _on_cluster(tasks: Sequence[Task], scheduler: str) -> Iterator[Outcome]:
    """Run tasks on the workers of a Dask cluster; a lost one costs only its points, which others take."""
    try:
        from distributed import Client, as_completed
        from distributed.protocol.pickle import dumps
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "a scheduler needs dask.distributed: pip install 'memorization-measured[cluster]'."
        ) from error
    try:
        client = Client(scheduler, timeout=_PATIENCE, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise RuntimeError(
            f"no Dask scheduler answers at {scheduler!r} ({error}). Start one with `dask scheduler` and "
            "workers with `dask worker ADDRESS`, or leave the scheduler out to run here."
        ) from error
    with client:
        # Pickled here: workers that cannot import a function would otherwise fail before they can say so.
        futures = {client.submit(_on_worker, dumps(task), pure=False): task for task in tasks}
        for future in as_completed(list(futures), loop=client.loop):
            task = futures.pop(future)
            try:
                yield task, future.result()
            except Exception as error:  # the workers were lost too often
                yield task, error


def _on_worker(pickled: bytes) -> list[Record] | Exception:
    """An error of the point is an answer, so that Dask does not try it again."""
    try:
        task: Task = pickle.loads(pickled)
    except (ImportError, AttributeError) as error:
        return RuntimeError(
            f"a worker cannot import what it is to run ({error}). Ship it: `Client(scheduler).upload_file("
            "'FILE.py')`, or start the workers with its folder on PYTHONPATH, or install it there."
        )
    code = task.code if task.function.__module__ == "__main__" else code_digest(task.function)
    if code != task.code:
        return RuntimeError(
            f"the worker runs other code ({code}) than this process ({task.code}); install the same."
        )
    outcome = _outcome(task)
    if isinstance(outcome, PartlyFailedError) or not isinstance(outcome, Exception):
        return outcome
    return RuntimeError(f"{type(outcome).__name__}: {outcome}")


class Progress:
    """A bar with the time left; in a notebook that the runner executes, a line in the file that it watches.

    The runner shows that line on its own terminal: a bar inside the notebook would end up on the page.
    """

    def __init__(self, label: str, total: int, shown: bool = True) -> None:
        self.label, self.total, self.done = label, total, 0
        self._file = os.environ.get(PROGRESS)
        self._bar = (
            None
            if self._file
            else tqdm(total=total, desc=label, unit="point", leave=False, disable=not shown)
        )
        self._start = time.monotonic()

    def __enter__(self) -> Progress:
        self._tell()
        return self

    def step(self, points: int = 1) -> None:
        """Say that so many more points are finished."""
        self.done += points
        if self._bar is not None:
            self._bar.update(points)
        self._tell()

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.close()

    def _tell(self) -> None:
        if self._file:
            with contextlib.suppress(OSError):  # nobody watches any more: no reason to stop
                Path(self._file).write_text(self.line(), encoding="utf-8")

    def line(self) -> str:
        """Return the state in words: what, how many of how many, time left."""
        text = f"{self.label} {self.done}/{self.total}"
        if 0 < self.done < self.total:
            left = (time.monotonic() - self._start) / self.done * (self.total - self.done)
            text += f", {left // 60:.0f} min {left % 60:02.0f} s left"
        return text
