"""The book's own run, once more: its verdicts are the published ones, and a second run has the same bytes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copied_project

ROOT = Path(__file__).resolve().parents[2]
PAPERS = sorted(path.stem for path in (ROOT / "notebooks" / "claims").glob("*.yaml"))


def run(root, name):
    environment = {**os.environ, "PYTHONPATH": str(root / "lib"), "MEMORIZATION_DATA": str(root / "no-data")}
    command = [sys.executable, "-m", "memorization", "--root", str(root), "run", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return (root / "_build" / "notebooks" / "book" / f"{name}.ipynb").read_bytes()


@pytest.fixture(scope="module", params=PAPERS)
def runs(request, tmp_path_factory):
    root = copied_project(tmp_path_factory.mktemp("book") / "project")
    return root, request.param, run(root, request.param), run(root, request.param)


def test_the_published_verdicts_are_those_of_this_code(runs):
    root, name, *_ = runs
    folders = (root / "_build" / "verdicts", ROOT / "results" / "verdicts")
    live, published = (
        {row["id"]: row["verdict"] for row in json.loads((folder / f"{name}.book.json").read_text())}
        for folder in folders
    )
    assert live == published


def test_a_second_run_from_the_same_records_is_byte_identical(runs):
    *_, first, second = runs
    assert first == second
