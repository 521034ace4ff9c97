"""Execute several notebooks side by side, each in a process and a kernel of its own."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from memorization.runs.fingerprint import reads
from memorization.runs.notebook import Job, NotebookError, execute
from memorization.runs.provenance import cores
from memorization.runs.source import source_path

_EVERY = 20.0  # seconds between lines of progress where the output is no terminal


def execute_all(jobs: Sequence[Job], parallel: int = 1, force: bool = False) -> list[Job]:
    """Execute those notebooks whose output is stale; notebooks that read what others build go last.

    Args:
        jobs: what to execute.
        parallel: how many at a time; the threads are shared out.
        force: execute fresh ones too.

    Returns:
        The jobs that failed; why was said on standard error.
    """
    for job in jobs:
        _ = job.parameters  # every mistake is found before the first notebook starts
    last = [job for job in jobs if _reads_build(job)]
    failed: list[Job] = []
    for group in ([job for job in jobs if job not in last], last):
        stale = [job for job in group if force or not job.is_fresh()]
        for job in group:
            if job not in stale:
                print(f"{job.name} ({job.profile}): nothing changed", flush=True)
        failed += _execute_group(stale, parallel)
    return failed


def _reads_build(job: Job) -> bool:
    source = source_path(job.root, job.name).read_text(encoding="utf-8")
    return any(path.startswith("_build") for path in reads(source))


def _execute_group(jobs: Sequence[Job], parallel: int) -> list[Job]:
    if not jobs:
        return []
    side_by_side = min(parallel, len(jobs))
    threads = max(1, cores() // side_by_side)
    failed: list[Job] = []
    with tempfile.TemporaryDirectory(prefix="mm-progress-") as folder:
        lines = {job.name: Path(folder) / job.name for job in jobs}
        with ProcessPoolExecutor(
            side_by_side, mp_context=get_context("spawn"), initializer=_end_with, initargs=(os.getpid(),)
        ) as pool:
            futures: dict[Future[Path], Job] = {
                pool.submit(execute, replace(job, threads=threads, progress=lines[job.name])): job
                for job in jobs
            }
            try:
                failed = _watch(futures, lines)
            except KeyboardInterrupt:
                for process in list((pool._processes or {}).values()):
                    process.terminate()  # which ends its kernel; finished points are kept
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    return failed


def _end_with(parent: int) -> None:
    """In a worker: end when the command ends, even by ``kill -9``; its kernel then ends, too.

    Else both would go on unseen, and the same command, given again, would compute the same points again.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.3)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _watch(futures: dict[Future[Path], Job], lines: dict[str, Path]) -> list[Job]:
    failed: list[Job] = []
    started = said = time.monotonic()
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            job = futures[future]
            try:
                target = future.result()
                _say(f"{job.name} ({job.profile}): {time.monotonic() - started:.0f} s → {target}")
            except Exception as error:
                failed.append(job)
                reason = str(error) if isinstance(error, NotebookError) else f"{job.name}: {error!r}"
                _say(f"FAILED {reason}", sys.stderr)
        if sys.stdout.isatty():
            print(f"\r\033[K{_state(lines.values()) if waiting else ''}", end="", flush=True)
        elif waiting and time.monotonic() - said > _EVERY:
            said = time.monotonic()
            _say(_state(lines.values()))
    return failed


def _state(files: Iterable[Path]) -> str:
    return " · ".join(f"{f.name}: {f.read_text(encoding='utf-8')}" for f in files if f.exists())


def _say(text: str, stream: object = None) -> None:
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    if text:
        print(text, file=stream or sys.stdout, flush=True)  # type: ignore[arg-type]
