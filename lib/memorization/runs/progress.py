"""How far a sweep is, and how long it will take."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

VARIABLE = "MEMORIZATION_PROGRESS"


class Progress:
    """A bar with the time left; in a notebook that the runner executes, a line in the file that it watches.

    The runner shows that line on its own terminal: a bar inside the notebook would end up on the page.
    """

    def __init__(self, label: str, total: int, shown: bool = True) -> None:
        self.label, self.total, self.done = label, total, 0
        self._file = os.environ.get(VARIABLE)
        self._bar = (
            tqdm(total=total, desc=label, unit="point", leave=False, disable=not shown)
            if not self._file
            else None
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
