"""One writer at a time: a lock file that names its owner."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from types import TracebackType

from memorization.runs.provenance import now


class LockedError(RuntimeError):
    """Another process writes here."""


class Lock:
    """A lock that the system lets go of when its owner dies, so that a dead owner's lock is free.

    Args:
        path: the lock file. It stays behind, empty, when the lock is released.
        patience: seconds to wait for an owner that is about to end.
    """

    def __init__(self, path: Path, patience: float = 3.0) -> None:
        self.path = Path(path)
        self.patience = patience
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Take the lock.

        Raises:
            LockedError: a living process holds it; the message says which, since when and where.
        """
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + self.patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    owner = self.owner()
                    os.close(descriptor)
                    raise LockedError(
                        f"{self.path.with_suffix('')} is in use by {owner}. Wait for it, or stop it: "
                        "its finished points are kept."
                    ) from None
                time.sleep(0.1)
        self._descriptor = descriptor
        me = {"pid": os.getpid(), "host": socket.gethostname(), "since": now()}
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(me).encode(), 0)

    def __enter__(self) -> Lock:
        self.acquire()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()

    def release(self) -> None:
        """Let go."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None

    def owner(self) -> str:
        """Return who holds the lock, or held it last without letting go, in words."""
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
            return f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
        except (OSError, ValueError, KeyError):
            return "a process that has not yet written its name"
