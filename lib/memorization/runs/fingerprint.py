"""What an executed notebook depends on: when any of it changes, the output is stale."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from memorization.runs.digest import digest_of
from memorization.runs.source import source_path

STAMP = "fingerprint"


def fingerprint(root: Path, name: str, profile: str, parameters: Mapping[str, Any]) -> str:
    """Return a digest of all that a notebook's output depends on.

    Its text, parameters, claims and library code, the lock file, the data, and published results.
    """
    source = source_path(root, name).read_text(encoding="utf-8")
    parts = [source, json.dumps(parameters, sort_keys=True), digest_of(source)]
    for path in _files(root, name, profile, source):
        parts.append(f"{path.relative_to(root)}\n{hashlib.sha256(path.read_bytes()).hexdigest()}")
    parts += _data(root)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def reads(source: str) -> list[str]:
    """Return the files and folders that a notebook's header says it reads, relative to the project.

    The header names them as ``memorization: {reads: […]}`` in its ``jupyter`` mapping. A notebook that reads
    ``_build`` is executed after all others.
    """
    lines = []
    for line in source.splitlines()[1:] if source.startswith("# ---") else []:
        if line.startswith("# ---"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    header = yaml.safe_load("\n".join(lines)) or {}
    found = header.get("jupyter", {}).get("memorization", {}).get("reads", [])
    return [str(path) for path in found]


def _files(root: Path, name: str, profile: str, source: str) -> Iterator[Path]:
    fixed = ["requirements.lock", f"notebooks/claims/{name}.yaml", f"results/records/{name}.{profile}.jsonl"]
    prices = [
        f"results/prices/{path.name}" for path in sorted((root / "results" / "prices").glob(f"{name}.*.json"))
    ]
    for relative in [*fixed, *prices, *reads(source)]:
        path = root / relative
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.is_file())


def _data(root: Path) -> list[str]:
    """Names, sizes and times of the data, three folders deep; the bytes are checked when they are loaded."""
    folder = Path(os.environ.get("MEMORIZATION_DATA") or root / "data")
    files = [path for depth in ("*", "*/*") for path in folder.glob(depth) if path.is_file()]
    found = sorted([*files, *folder.glob("*/*/*")])
    return [f"{path.relative_to(folder)} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in found]
