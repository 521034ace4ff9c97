"""Publish what a build made: records, verdicts and prices go from ``_build`` into ``results``."""

from __future__ import annotations

import shutil
from pathlib import Path

from memorization.runs.records import RecordStore
from memorization.runs.start import KEPT_PROFILES


def publish(root: Path, profile: str) -> list[str]:
    """Publish one profile's results and return what was done, a sentence each.

    Verdicts and prices replace the published ones of the same notebook and profile. Records are appended, and
    only those of ``desktop`` and ``paper``: the others are made anew by every build.

    Raises:
        ValueError: the profile is ``smoke``, whose runs are too small to mean anything.
        FileNotFoundError: nothing was built at this profile.
    """
    if profile == "smoke":
        raise ValueError("profile 'smoke' is for tests and is not published; allowed: book, desktop, paper.")
    done: list[str] = []
    built = {
        kind: sorted((root / "_build" / kind).glob(f"*.{profile}.json*"))
        for kind in ("verdicts", "prices", "records")
    }
    if not any(built.values()):
        raise FileNotFoundError(
            f"nothing was built at profile {profile!r}; run `make notebooks PROFILE={profile}` first."
        )
    for kind in ("verdicts", "prices"):
        for path in built[kind]:
            target = root / "results" / kind / path.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.is_file() or target.read_bytes() != path.read_bytes():
                shutil.copyfile(path, target)
                done.append(f"{kind}: {path.name} → results/{kind}/")
    if profile in KEPT_PROFILES:
        done += [_append(root, path) for path in built["records"] if path.suffix == ".jsonl"]
    return done


def _append(root: Path, path: Path) -> str:
    target = root / "results" / "records" / path.name
    have = {(r.key, r.code, r.measured["date"]) for r in RecordStore(target).read()}
    new = [r for r in RecordStore(path).read() if (r.key, r.code, r.measured["date"]) not in have]
    if new:
        with RecordStore(target) as store:
            for record in new:
                store.append(record)
    return f"records: {len(new)} new of {path.name} → results/records/"
