"""Compare our way of doing a piece of work with the plain way: same results, then time and peak memory.

Every run is a process of its own, so that its peak memory is its own, and the two ways take turns, so that
a busy machine slows both. Only the work is timed: imports, inputs and a warm-up product come before, on a
GPU the whole work once. The fastest of the repeats counts, and a benchmark whose two ways disagree stops
with an error instead of printing a ratio.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from memorization.runs.provenance import Meter, device_name, peak_mib

Result = Mapping[str, Any]
Way = Callable[[Any], Result]


@dataclass(frozen=True)
class Case:
    """One piece of work and two ways to do it.

    Attributes:
        work: what is done, at which size.
        prepare: makes the inputs; not timed. Like both ways it must be importable (a function of a module,
            or a partial of one).
        plain: the way a user of PyTorch or NumPy would write it; returns named numbers and arrays.
        ours: our way; returns the same names.
        tolerance: largest difference between arrays, relative to the largest entry; single numbers
            (accuracies) must be equal. None compares nothing, for a plain way that does only a part of the
            work.
        repeats: how often each way runs.
        threads: threads of PyTorch in both ways; None leaves its own choice.
        device: where both ways compute; a GPU's work is waited for, and its memory is what counts.
        share: of the work that the plain way does, in (0, 1], where all of it would take long: the ratio is
            for equal work, the seconds are as measured, and ``work`` says so.
    """

    work: str
    prepare: Callable[[], Any]
    plain: Way
    ours: Way
    tolerance: float | None = 1e-3
    repeats: int = 3
    threads: int | None = None
    device: str = "cpu"
    share: float = 1.0


@dataclass(frozen=True)
class Run:
    """One timed run: seconds of wall time, peak memory of its process in MiB, threads, what it returned."""

    seconds: float
    peak_mib: float
    threads: int
    result: Result


def measure(prepare: Callable[[], Any], way: Way, threads: int | None = None, device: str = "cpu") -> Run:
    """Run one way in a fresh process and return its time, peak memory, threads and result."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(sender, prepare, way, threads, device))
    process.start()
    sender.close()
    try:
        outcome = receiver.recv()
    except EOFError:
        process.join()
        raise RuntimeError(
            f"the process of {_name(way)} died with exit code {process.exitcode}; -9 usually means that it "
            "ran out of memory: choose a smaller size (--quick)"
        ) from None
    process.join()
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def compare(case: Case) -> dict[str, Any]:
    """Run both ways in turn, check that they agree, and return one row of the table.

    Raises:
        AssertionError: if the two ways disagree.
    """
    plain, ours = [], []
    for _ in range(case.repeats):
        plain.append(measure(case.prepare, case.plain, case.threads, case.device))
        ours.append(measure(case.prepare, case.ours, case.threads, case.device))
    if case.tolerance is not None:
        check_equal(plain[0].result, ours[0].result, case.tolerance)
    slow, fast = (min(run.seconds for run in runs) for runs in (plain, ours))
    return {
        "work": case.work,
        "plain_seconds": slow,
        "our_seconds": fast,
        "ratio": slow / case.share / fast,
        "plain_peak_mib": max(run.peak_mib for run in plain),
        "our_peak_mib": max(run.peak_mib for run in ours),
        **circumstances(ours[0].threads, case.device),
    }


def check_equal(plain: Result, ours: Result, tolerance: float) -> None:
    """Raise an AssertionError that names the first quantity on which two results disagree."""
    if plain.keys() != ours.keys():
        raise AssertionError(f"the ways return different quantities: {sorted(plain)} and {sorted(ours)}")
    for name, value in plain.items():
        first, second = np.asarray(value, dtype=float), np.asarray(ours[name], dtype=float)
        if first.shape != second.shape or not (np.isfinite(first).all() and np.isfinite(second).all()):
            raise AssertionError(f"{name}: shapes {first.shape} and {second.shape}, or entries not finite")
        difference = float(np.abs(first - second).max())
        allowed = tolerance * float(np.abs(first).max()) if first.ndim else 0.0
        if difference > allowed:
            raise AssertionError(f"{name} differs by {difference:.3g}; allowed is {allowed:.3g}")


def circumstances(threads: int, device: str = "cpu") -> dict[str, Any]:
    """Return where and when: device, cores in use, load of the machine, date, versions."""
    return {
        "device": device_name(device),
        "cores": threads,
        "load": round(os.getloadavg()[0], 1),  # above the number of cores, others were busy too
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__.partition("+")[0],
            "numpy": np.__version__,
        },
    }


def main(cases: Callable[[bool], Sequence[Case]], out: Path) -> None:
    """Command line of a benchmark script: run its cases, print a table, write the rows.

    Args:
        cases: ``cases(quick)`` returns the cases; quick ones take seconds.
        out: where the rows go unless ``--out`` says otherwise.
    """
    parser = argparse.ArgumentParser(description="Time our way against the plain way of equal result.")
    parser.add_argument("--quick", action="store_true", help="small sizes, one repeat; written nowhere")
    parser.add_argument("--out", type=Path, help=f"where to write the rows (default: {out})")
    given = parser.parse_args()
    target = given.out or (None if given.quick else out)
    rows = []
    print(f"{'plain s':>9} {'ours s':>9} {'ratio':>7} {'plain MiB':>10} {'ours MiB':>9}  work")
    for case in cases(given.quick):
        row = compare(case)
        rows.append(row)
        print(
            f"{row['plain_seconds']:9.2f} {row['our_seconds']:9.2f} {row['ratio']:7.2f} "
            f"{row['plain_peak_mib']:10.0f} {row['our_peak_mib']:9.0f}  {row['work']}",
            flush=True,
        )
        if target is not None:  # complete whenever it is stopped
            write_rows(rows, target)


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write rows as JSON, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(list(rows), indent=2) + "\n")
    draft.replace(path)


def _child(sender: Any, prepare: Callable[[], Any], way: Way, threads: int | None, device: str) -> None:
    try:
        if threads is not None:
            torch.set_num_threads(threads)
        inputs = prepare()
        torch.ones(300, 300, device=device) @ torch.ones(300, 300, device=device)  # loads the linear algebra
        if device != "cpu":  # loading what else a GPU needs took ten times as long as an epoch of a ResNet
            way(inputs)
            inputs = prepare()
        memory = peak_mib()  # before the meter sets it back: what imports and inputs took counts too
        with Meter(device) as meter:
            result = way(inputs)
        memory = meter.peak_mib if device != "cpu" else max(memory, meter.peak_mib)
        plain = {name: np.asarray(value) for name, value in result.items()}
        sender.send(Run(meter.seconds, memory, torch.get_num_threads(), plain))
    except Exception as error:
        sender.send(error)


def _name(way: Way) -> str:
    return way.func.__name__ if isinstance(way, partial) else getattr(way, "__name__", str(way))
