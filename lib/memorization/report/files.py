"""Whole files: the old content or the new one, never half of it."""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step, making the folder if needed.

    Raises:
        OSError: it cannot be written, as on a full disk; names the path. What was there before stays, and
            no part of the new content.
    """
    half = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half.write_bytes(content)
        os.replace(half, path)
    except OSError as error:
        why = f"{error.strerror}; not written, and what was there before stays"
        raise OSError(error.errno, why, str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            half.unlink()


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON with a stable layout; a number that is not finite becomes ``null``."""
    text = json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()  # a NumPy scalar
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON file that holds a list of objects.

    Raises:
        ValueError: The file is damaged or holds something else; the message names it.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not readable JSON ({error}); delete it and run its notebook again"
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} should hold a JSON list of objects; delete it and run its notebook again")
    return rows
