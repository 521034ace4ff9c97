"""Where a number comes from: versions, device, time, memory and date; and what processes of ours do.

They end with the one that started them, and keep the memory that they free.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime as dt
import os
import platform
import resource
import signal
import subprocess
import sys
import threading
import time
from functools import cache
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

from memorization import __version__

_PACKAGES = ("numpy", "scipy", "scikit-learn", "torch", "torchvision", "pandas")


_TIME = "%Y-%m-%dT%H:%M:%SZ"


def versions() -> dict[str, str]:
    """Return the versions of Python, of this library and of the packages that compute."""
    return dict(_versions())


@cache
def _versions() -> dict[str, str]:
    """Read once in a process: every record asks, and reading the packages' metadata takes milliseconds."""
    found = {"python": platform.python_version(), "memorization": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def device_name(device: str | None = None) -> str:
    """Return the name of the processor, or of the GPU where ``device`` is one."""
    if device is not None and device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(device)
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def now() -> str:
    """Return the time in UTC, to the second, as ISO 8601."""
    return dt.datetime.now(dt.UTC).strftime(_TIME)


def seconds_since(time: str) -> float:
    """Return the seconds that passed since a time that :func:`now` gave, to about a second."""
    begun = dt.datetime.strptime(time, _TIME).replace(tzinfo=dt.UTC)
    return (dt.datetime.now(dt.UTC) - begun).total_seconds()


def load() -> float | None:
    """Return how many processes ran or waited in the last minute, on average; None where none counts them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def code_version(root: Path | None) -> str:
    """Return the library's version and, inside a git checkout, its commit and whether it was edited."""
    if root is None:
        return __version__
    ask = ["git", "-C", str(root), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return __version__
    return f"{__version__}+{commit}"


class Meter:
    """Context manager that measures seconds and the peak memory of what runs inside it.

    After it: ``seconds`` (wall clock), ``peak_mib`` (resident memory of the process, MiB; the memory that
    torch took on the GPU where ``device`` is one).
    """

    def __init__(self, device: str | None = None) -> None:
        self.device = device
        self.seconds = self.peak_mib = 0.0

    def __enter__(self) -> Meter:
        if self._on_gpu():
            import torch

            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            _reset_peak()
        self._start = time.perf_counter()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._on_gpu():
            import torch

            torch.cuda.synchronize(self.device)
            self.peak_mib = torch.cuda.max_memory_allocated(self.device) / 2**20
        else:
            self.peak_mib = peak_mib()
        self.seconds = time.perf_counter() - self._start

    def _on_gpu(self) -> bool:
        return self.device is not None and self.device.startswith("cuda")


def peak_mib() -> float:
    """Return this process's peak resident memory in MiB (since the last reset, where the system has one)."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _reset_peak() -> None:
    with contextlib.suppress(
        OSError
    ):  # where it cannot be reset, the peak is that of the whole process so far
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def measured(meter: Meter) -> dict[str, Any]:
    """Return the provenance that goes into every record."""
    torch = sys.modules.get("torch")
    return {
        "seconds": round(meter.seconds, 4),
        "peak_mib": round(meter.peak_mib, 1),
        "device": device_name(meter.device),
        "cores": cores(),
        "threads": torch.get_num_threads() if torch is not None else 1,
        "date": now(),
        "versions": versions(),
    }


@cache
def end_with_parent(parent: int | None = None) -> None:
    """End this process when the one that started it ends, even by ``kill -9``.

    Else it would go on unseen, and the same command, given again, would compute the same points again.

    Args:
        parent: its process id, where it may have ended before this is called; this process's own asks for
            nothing.
    """
    if parent == os.getpid():
        return
    parent = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: ends a long call of compiled code, too

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@cache
def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, for what it allocates next.

    The C library of Linux hands back what a tensor of a megabyte leaves, and a new one pays for each of its
    pages anew: up to a sixth of the time in which small networks are trained. Other systems are left alone.
    """
    if platform.libc_ver()[0] == "glibc":
        change = ctypes.CDLL(None).mallopt
        change(-3, 2**25)  # M_MMAP_THRESHOLD, the most that is allowed: larger ones are handed back as before
        change(-1, 2**27)  # M_TRIM_THRESHOLD: joblib ends a process that keeps over 300 MB, as one that leaks
        change(-2, 2**25)  # M_TOP_PAD
