"""The book's own run, once more: its verdicts are the published ones, and a second run has the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copied_project

from memorization.report.judging import UNDECIDED

ROOT = Path(__file__).resolve().parents[2]
PAPERS = sorted(path.stem for path in (ROOT / "notebooks" / "claims").glob("*.yaml"))


def run(root: Path, *options: str) -> dict[str, bytes]:
    """Execute the papers' notebooks as ``make book`` does, and return the bytes of each."""
    environment = {**os.environ, "PYTHONPATH": str(root / "lib"), "MEMORIZATION_DATA": str(root / "no-data")}
    environment.pop("OMP_NUM_THREADS", None)
    command = [
        sys.executable,
        "-m",
        "memorization",
        "--root",
        str(root),
        "run",
        *PAPERS,
        "--jobs",
        "2",
        *options,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: (root / "_build" / "notebooks" / "book" / f"{name}.ipynb").read_bytes() for name in PAPERS}


@pytest.fixture(scope="module")
def book_runs(tmp_path_factory):
    """The project's copy, and the notebooks of a first and of a second run, which finds all its records."""
    root = copied_project(tmp_path_factory.mktemp("book") / "project")
    return root, run(root), run(root)


@pytest.mark.parametrize("name", PAPERS)
def test_the_published_verdicts_are_those_of_this_code(book_runs, name):
    """Another processor rounds otherwise, and a training may then end elsewhere: what was decided may become
    undecided there and the other way round, but nothing turns into its opposite. Kernels end where they do.
    """
    folders = (book_runs[0] / "_build" / "verdicts", ROOT / "results" / "verdicts")
    live, published = (
        {row["id"]: row["verdict"] for row in json.loads((folder / f"{name}.book.json").read_text())}
        for folder in folders
    )
    moved = {claim for claim, verdict in live.items() if verdict != published[claim]}
    assert live.keys() == published.keys()
    assert not [c for c in moved if UNDECIDED not in (live[c], published[c])]
    assert not moved or name != "spurious_memorization"


@pytest.mark.parametrize("name", PAPERS)
def test_a_second_run_from_the_same_records_is_byte_identical(book_runs, name):
    _, first, second = book_runs
    assert first[name] == second[name]
