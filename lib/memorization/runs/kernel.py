"""The kernel of a notebook, and how it ended where it died: by which signal or with which exit code."""

from __future__ import annotations

import signal
from pathlib import Path

from jupyter_client.manager import AsyncKernelManager
from traitlets import Unicode

_REASONS = {
    "SIGKILL": "most often because memory ran out: close other programs, give --jobs 1, or choose smaller "
    "sizes",
    "SIGTERM": "because somebody, or a time limit, ended it: run it again",
    "SIGINT": "because somebody interrupted it: run it again",
}


class RecordingKernelManager(AsyncKernelManager):
    """A kernel manager that leaves the exit code of a kernel that died in ``exit_file``."""

    exit_file = Unicode(help="where to write the exit code").tag(config=True)

    async def _async_is_alive(self) -> bool:
        if await super()._async_is_alive():
            return True
        code = await self.provisioner.poll() if self.has_kernel and self.provisioner else None
        if code is not None and self.exit_file:
            Path(self.exit_file).write_text(str(code), encoding="utf-8")
        return False

    is_alive = _async_is_alive


def how_it_ended(exit_file: Path) -> str:
    """Return a sentence on how the kernel died and what to do.

    Args:
        exit_file: of :class:`RecordingKernelManager`; holds the exit code, or minus the signal's number.
    """
    if not exit_file.is_file():
        return "the kernel died, most often because memory ran out: choose smaller sizes, or give --jobs 1."
    code = int(exit_file.read_text(encoding="utf-8"))
    if code >= 0:
        return (
            f"the kernel ended with exit code {code}; look in the cell that it was at for what ends the "
            "process, such as os._exit."
        )
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    reason = _REASONS.get(
        name, "a crash inside a compiled library: update it, or run the cell in a script to see more"
    )
    return f"the kernel was killed by signal {-code} ({name}), {reason}."
