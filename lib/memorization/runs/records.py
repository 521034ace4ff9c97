"""Records: a text file to which each finished point is appended at once, with its provenance.

One JSON object a line, the first of which names the format and its version. Every line carries a checksum of
itself. Nothing is ever rewritten: a point that is run again is appended again, and the newest line counts.
One process writes at a time: a lock file names its owner.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import shutil
import socket
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from memorization.runs.provenance import now

FORMAT, VERSION = "memorization records", 2


class LockedError(RuntimeError):
    """Another process writes here."""


class Lock:
    """A lock that the system lets go of when its owner dies, so that a dead owner's lock is free.

    Not ``filelock``: its older releases empty the file at every attempt, and with it the owner's name.

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
        with contextlib.suppress(OSError):  # a full disk: the lock holds without its owner's name
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
        """Return who holds the lock, in words."""
        try:
            owner = json.loads(self.path.read_text(encoding="utf-8"))
            return f"process {owner['pid']} on {owner['host']}, since {owner['since']}"
        except (OSError, ValueError, KeyError):
            return "a process that has not yet written its name"


class RecordError(RuntimeError):
    """A record file that cannot be read or written as it is."""


@dataclass(frozen=True)
class Record:
    """One finished point: of which experiment, on what, what it returned, and how it was made."""

    experiment: str
    point: Mapping[str, Any]
    seed: int
    rows: tuple[Mapping[str, Any], ...]
    code: str
    measured: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Identifies what was run, whatever code ran it."""
        return key_of(self.experiment, self.point, self.seed)

    def key_today(self, defaults: Mapping[str, Any]) -> str:
        """Return the key of the point asked for today that this record answers.

        An argument that the record lacks counts as today's default. One that the function has no longer stays
        in the key, so that no point asked for matches: what it did then cannot be asked for now.

        Args:
            defaults: of the function's arguments, as :func:`clean` gives them.
        """
        return key_of(self.experiment, {**defaults, **self.point}, self.seed)


def key_of(experiment: str, point: Mapping[str, Any], seed: int) -> str:
    """Return the identity of a point: sixteen hexadecimal digits."""
    return _sha({"experiment": experiment, "point": dict(point), "seed": seed})[:16]


class RecordStore:
    """The records of one file.

    Args:
        path: the file; it need not exist.

    Use it as a context manager to append: it takes the lock, mends a half-written last line, and lets go.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._lock = Lock(self.path.with_name(self.path.name + ".lock"))
        self._descriptor: int | None = None

    def read(self) -> list[Record]:
        """Return every record in the order of the file; none where there is no file.

        Raises:
            RecordError: another format or version, or a damaged line other than a half-written last one,
                which is dropped with a warning.
        """
        return _parse(self.path, self._whole_lines(warn=True))

    def append(self, record: Record) -> None:
        """Write one record and flush it to the disk.

        Raises:
            RecordError: the disk refuses (full, say); the file then is as it was before.
        """
        if self._descriptor is None:
            raise RecordError(f"{self.path} is not open for writing; use `with store:`")
        line = _encode(record)
        start = os.lseek(self._descriptor, 0, os.SEEK_END)
        head = _line({"format": FORMAT, "version": VERSION}) if start == 0 else b""
        try:
            _write(self._descriptor, head + line)
        except OSError as error:
            os.ftruncate(self._descriptor, start)
            raise RecordError(
                f"cannot write to {self.path}: {error.strerror}. Finished points are kept; make room and "
                "give the same command again: only the missing points run."
            ) from error

    def __enter__(self) -> RecordStore:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            good = len(self._whole_lines(warn=False))
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._descriptor, good)
        except BaseException:
            self._lock.release()
            raise
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._descriptor is not None:
            if os.fstat(self._descriptor).st_size == 0:  # nothing was finished, or the disk is full
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
        self._lock.release()

    def _whole_lines(self, warn: bool) -> bytes:
        if not self.path.exists():
            return b""
        data = self.path.read_bytes()
        end = data.rfind(b"\n") + 1
        if warn and end < len(data):
            warnings.warn(
                f"{self.path}: the last line is half written ({len(data) - end} bytes) and is dropped; "
                "its point runs again",
                RuntimeWarning,
                stacklevel=3,
            )
        return data[:end]


def put(contents: Mapping[Path, Path | str]) -> None:
    """Put files, folders or texts in the place of others: all of them or none, and each whole.

    Args:
        contents: by the path where it goes, a file or a folder to copy, or a text.

    Raises:
        OSError: the disk refuses (full, say); what was there stays, and nothing half-written does.
    """
    halves = {target: target.with_name(f".{target.name}.part") for target in contents}
    for target, half in halves.items():
        try:
            _copy(contents[target], half)
        except OSError as error:
            for one in halves.values():
                _remove(one)
            why = f"cannot be written: {error.strerror or error}; what was there stays as it was"
            raise OSError(error.errno, why, str(target)) from error
    for target, half in halves.items():  # from here on nothing needs room
        if target.is_dir():
            shutil.rmtree(target)
        os.replace(half, target)


def _copy(content: Path | str, half: Path) -> None:
    half.parent.mkdir(parents=True, exist_ok=True)
    _remove(half)
    if isinstance(content, str):
        half.write_text(content, encoding="utf-8")
    else:
        (shutil.copytree if content.is_dir() else shutil.copyfile)(content, half)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


def newest(records: Iterable[Record], defaults: Mapping[str, Any] | None = None) -> dict[str, Record]:
    """Return the last record of each point, by its key under a function's defaults of today."""
    return {record.key_today(defaults or {}): record for record in records}


def clean(value: Any, where: str) -> Any:
    """Return a value as JSON has it: NaN as null, numpy and torch scalars as Python's, tuples as lists.

    Raises:
        TypeError: anything that is no number, string, boolean, list or mapping.
        ValueError: an infinite number.
    """
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError(f"{where} is {value}; a record holds finite numbers (or NaN for `not defined`).")
        return None if math.isnan(value) else value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [clean(v, where) for v in value]
    if isinstance(value, Mapping):
        return {str(k): clean(v, f"{where}.{k}") for k, v in value.items()}
    raise TypeError(
        f"{where} is a {type(value).__name__}; a record holds numbers, strings, booleans, lists, mappings."
    )


def _encode(record: Record) -> bytes:
    return _line(
        {
            "experiment": record.experiment,
            "point": dict(record.point),
            "seed": record.seed,
            "rows": [dict(row) for row in record.rows],
            "code": record.code,
            "measured": dict(record.measured),
        }
    )


def _line(body: dict[str, Any]) -> bytes:
    # In the order of the columns, not sorted: a table that is read back equals the one that was computed.
    return (_json({**body, "check": _sha(body)[:8]}) + "\n").encode()


def _parse(path: Path, data: bytes) -> list[Record]:
    records = []
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            body = json.loads(line)
            check = body.pop("check")
        except (ValueError, KeyError, AttributeError):
            raise _damaged(path, number, "it is not one JSON object with a checksum") from None
        if check != _sha(body)[:8]:
            raise _damaged(path, number, "its checksum does not fit")
        if number == 1:
            _check_version(path, body)
        else:
            body["rows"] = tuple(body["rows"])
            records.append(Record(**body))
    return records


def _check_version(path: Path, head: Mapping[str, Any]) -> None:
    if head.get("format") != FORMAT or head.get("version") != VERSION:
        raise RecordError(
            f"{path} is a file of format {head.get('format')!r}, version {head.get('version')!r}; this "
            f"library reads {FORMAT!r}, version {VERSION}. Move the file away, or use the library that "
            "wrote it."
        )


def _damaged(path: Path, number: int, why: str) -> RecordError:
    line = "or delete that line: its point then runs again"
    mend = line if number > 1 else "or move it away: all its points then run again"
    return RecordError(
        f"{path}, line {number}, is damaged: {why}. Nothing was changed. Restore the file from a copy, "
        f"{mend}."
    )


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
    os.fsync(descriptor)


def _json(body: Any, sort: bool = False) -> str:
    return json.dumps(body, sort_keys=sort, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _sha(body: Any) -> str:
    return hashlib.sha256(_json(body, sort=True).encode()).hexdigest()
