"""Does a verdict come again? One notebook on disjoint sets of seeds, and how often each verdict came."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from memorization.runs.book import execute_all
from memorization.runs.notebook import Job, NotebookError
from memorization.runs.parameters import ParameterError, check_parameters, declared_parameters, source_path
from memorization.runs.provenance import code_version
from memorization.runs.records import put


def replicate(root: Path, name: str, profile: str, sets: int) -> Path:
    """Run a notebook on disjoint sets of seeds, one after the other, and write how often each verdict came.

    Set i begins at the profile's own first seed plus i times the stride: the largest number of seeds that a
    parameter asks for. Set 0 is the profile's own run. A set whose output is fresh is not run again, so a
    command that was stopped goes on where it was.

    Args:
        root: the project's folder.
        name: of the notebook.
        profile: whose parameters, but for ``first_seed``.
        sets: how many, >= 2.

    Returns:
        The file ``_build/replications/NAME.PROFILE.json``: ``notebook``, ``profile``, ``stride``, ``sets``
        (for each ``first_seed``, ``seeds`` by the parameter that asks for them, ``date`` of the newest
        record, ``code_version``, and by claim ``verdicts`` and ``digests`` of the checks), ``counts`` (by
        claim and verdict) and ``gaps``: of up to three places of each check, value minus bound of every seed
        of all sets, which is what
        intervals over seeds are tried on.

    Raises:
        ParameterError: fewer than two sets, an unknown notebook or profile, a notebook without ``first_seed``
            or claims, or seeds beyond what ``first_seed`` allows.
        NotebookError: a set did not run to its end; those before it are kept.
    """
    jobs, stride = replications(root, name, profile, sets)
    done, evidence = [], []
    for number, (first, job) in enumerate(jobs.items(), start=1):
        print(f"set {number} of {sets}: seeds from {first}", flush=True)
        verdicts, numbers = (
            job.results / kind / f"{name}.{profile}.json" for kind in ("verdicts", "evidence")
        )
        if execute_all([job], force=not (verdicts.is_file() and numbers.is_file())):
            raise NotebookError(f"{name}: the set of seeds from {first} did not run to its end.")
        done.append(_set(root, first, job, json.loads(verdicts.read_text(encoding="utf-8"))))
        evidence.append(json.loads(numbers.read_text(encoding="utf-8")))
    kept = {"notebook": name, "profile": profile, "stride": stride, "sets": done, "counts": _counts(done)}
    kept["gaps"] = _pooled(evidence)
    path = root / "_build" / "replications" / f"{name}.{profile}.json"
    put({path: json.dumps(kept, indent=1) + "\n"})
    return path


def replications(root: Path, name: str, profile: str, sets: int) -> tuple[dict[int, Job], int]:
    """Return the run of each set by its first seed, the profile's own first, and the stride between them.

    Raises:
        ParameterError: as in :func:`replicate`.
    """
    if sets < 2:
        raise ParameterError(f"--sets {sets}; allowed: 2 or more; the first is the profile's own run.")
    known, own = declared_parameters(root, name), Job(root, name, profile)
    if "first_seed" not in known:
        raise ParameterError(f"{name} has no parameter first_seed, so no seeds to replicate it with.")
    if not (root / "notebooks" / "claims" / f"{name}.yaml").is_file():
        raise ParameterError(f"{source_path(root, name)} has no claims, so no verdict to replicate.")
    begin = check_parameters(known, own.parameters)["first_seed"]
    stride = max(_seeds(own).values(), default=1)
    jobs, folder = {begin: own}, root / "_build" / "replications" / f"{name}.{profile}"
    for first in range(begin + stride, begin + sets * stride, stride):
        jobs[first] = Job(root, name, profile, {"first_seed": first}, folder / f"{first}.ipynb")
        _ = jobs[first].parameters  # a seed beyond the allowed ones is told before the first set runs
    return jobs, stride


def _seeds(job: Job) -> dict[str, int]:
    """How many seeds the parameters of a run ask for."""
    values = check_parameters(declared_parameters(job.root, job.name), job.parameters)
    return {name: n for name, n in values.items() if f"_{name}".endswith("_seeds") and type(n) is int}


def _set(root: Path, first: int, job: Job, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "first_seed": first,
        "seeds": _seeds(job),
        "date": max((row["date"] for row in rows), default=""),
        "code_version": code_version(root),
        "verdicts": {row["id"]: row["verdict"] for row in rows},
        "digests": {row["id"]: row["digest"] for row in rows},
    }


def _pooled(evidence: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The numbers of all sets, at the first, the middle and the last place of each check."""
    pools: dict[tuple[str, str, str], list[float]] = {}
    for place in (place for one in evidence for place in one):
        key = (place["claim"], place["check"], place["place"])
        pools.setdefault(key, []).extend(place["gaps"].values())
    places: dict[tuple[str, str], list[str]] = {}
    for claim, check, where in (key for key, pool in pools.items() if None not in pool):
        places.setdefault((claim, check), []).append(where)
    return [
        {"claim": claim, "check": check, "place": found[at], "gaps": _short(pools[claim, check, found[at]])}
        for (claim, check), found in places.items()
        for at in sorted({0, len(found) // 2, len(found) - 1})
    ]


def _short(numbers: list[float]) -> list[float]:
    """The numbers with five significant digits."""
    return [float(f"{number:.5g}") for number in numbers]


def _counts(sets: list[dict[str, Any]]) -> Mapping[str, Mapping[str, int]]:
    """How often each verdict came, by claim."""
    claims = dict.fromkeys(claim for one in sets for claim in one["verdicts"])
    return {claim: Counter(one["verdicts"].get(claim) for one in sets) for claim in claims}
