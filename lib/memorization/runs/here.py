"""Run the points of a sweep on this machine: in this process, or several at a time in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memorization.runs.records import Record
    from memorization.runs.sweep import Task

    Outcome = tuple[Task, list[Record] | Exception]


def outcomes(tasks: Sequence[Task], workers: int = 1) -> Iterator[Outcome]:
    """Yield each task with its records, or with the error that stopped it.

    Args:
        tasks: what to run.
        workers: 1 runs them in this process, in their order. More start as many processes of one thread
            each, and tasks come as they finish: small networks gain from a second process, not from a
            second thread.

    Raises:
        RuntimeError: a worker process died.
    """
    if workers == 1:
        for task in tasks:
            yield _outcome(task)
        return
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    pool = Parallel(n_jobs=min(workers, len(tasks)), return_as="generator_unordered", pre_dispatch="all")
    try:
        yield from pool(delayed(_alone)(task) for task in tasks)
    except TerminatedWorkerError as error:
        raise RuntimeError(
            "a worker process died, which most often means that memory ran out; run fewer at a time "
            "(workers=1). The same command goes on from what is finished."
        ) from error


def _outcome(task: Task) -> Outcome:
    try:
        return task, task.run()
    except Exception as error:
        return task, error


def _alone(task: Task) -> Outcome:
    """In a worker process: one thread, so that results do not depend on how many workers there are."""
    import torch

    torch.set_num_threads(1)
    return _outcome(task)
