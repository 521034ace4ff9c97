"""Run the points of a sweep on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from memorization.runs.digest import code_digest

if TYPE_CHECKING:
    from memorization.runs.records import Record
    from memorization.runs.sweep import Task


def outcomes(tasks: Sequence[Task], scheduler: str) -> Iterator[tuple[Task, list[Record] | Exception]]:
    """Yield each task, as it finishes, with its records or with the error that stopped it.

    A lost worker costs only its points: Dask gives them to another one, up to three times.

    Raises:
        RuntimeError: ``dask.distributed`` is not installed, or nothing answers at ``scheduler``.
    """
    try:
        from distributed import Client, as_completed
    except ModuleNotFoundError as error:
        raise RuntimeError(
            "a scheduler needs dask.distributed: pip install 'memorization-measured[cluster]'."
        ) from error
    try:
        client = Client(scheduler, timeout="15s", set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise RuntimeError(
            f"no Dask scheduler answers at {scheduler!r} ({error}). Start one with `dask scheduler` and "
            "workers with `dask worker ADDRESS`, or leave the scheduler out to run here."
        ) from error
    with client:
        futures = {client.submit(_run, task, pure=False, retries=0): task for task in tasks}
        for future in as_completed(list(futures), loop=client.loop):
            task = futures.pop(future)
            yield task, _outcome(future, task)


def _run(task: Task) -> list[Record] | Exception:
    """On the worker: an error of the point is an answer, so that Dask does not try it again."""
    try:
        return task.run()
    except Exception as error:
        return RuntimeError(f"{type(error).__name__}: {error}")


def _outcome(future: object, task: Task) -> list[Record] | Exception:
    try:
        outcome: list[Record] | Exception = future.result()  # type: ignore[attr-defined]
    except Exception as error:  # the workers were lost too often
        return error
    code = code_digest(task.function)
    if not isinstance(outcome, Exception) and any(record.code != code for record in outcome):
        return RuntimeError(
            f"the worker runs other code ({outcome[0].code}) than this process ({code}); install the same."
        )
    return outcome
