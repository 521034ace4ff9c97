"""The published verdicts of the book are those of this code.

A page is run again at profile book, minutes on two cores, unless nothing that could move its verdicts has
changed since they were published: the code of its experiments and of its cells, parameters and claims, how
verdicts are judged, the pinned packages. Without the repository's history every page is run.
"""

import importlib
import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import jupytext
import pytest
from conftest import copied_project

from memorization import studies
from memorization.report.judging import UNDECIDED
from memorization.runs.digest import code_digest

ROOT = Path(__file__).resolve().parents[2]
PAPERS = sorted(path.stem for path in (ROOT / "notebooks" / "claims").glob("*.yaml"))
JUDGED_BY = [
    f"lib/memorization/report/{name}.py" for name in ("claims", "expressions", "intervals", "judging")
]


def published(name: str) -> list[dict]:
    return json.loads((ROOT / "results" / "verdicts" / f"{name}.book.json").read_text())


def digests_of_today(name: str) -> set[str]:
    """Of every experiment of a page's study."""
    study = importlib.import_module(f"{studies.__name__}.{name}")
    modules = [one.name for one in pkgutil.iter_modules(study.__path__)]
    there = [vars(importlib.import_module(f"{study.__name__}.{one}")) for one in modules]
    return {code_digest(value) for names in there for value in names.values() if hasattr(value, "experiment")}


def git(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)


def commit_of(*paths: str) -> str:
    """The last commit that changed one of these; empty without history, or with changes not committed."""
    changed = git("status", "--porcelain", "--", *paths)
    if changed.returncode or changed.stdout.strip():
        return ""
    shallow = git("rev-parse", "--is-shallow-repository")
    last = git("log", "-1", "--format=%H", "--", *paths)
    return last.stdout.strip() if shallow.stdout.strip() == "false" else ""


def nothing_changed(name: str) -> bool:
    """Whether a run could only say again what is published."""
    codes = {code for row in published(name) for code in str(row["code_version"] or "").split(", ") if code}
    page = [f"notebooks/parameters/{name}.book.yaml", f"notebooks/claims/{name}.yaml"]
    edited = commit_of(*page, *JUDGED_BY, "requirements.lock")
    made = commit_of(f"results/verdicts/{name}.book.json")
    if not (edited and made and codes and codes <= digests_of_today(name)):
        return False
    if git("merge-base", "--is-ancestor", edited, made).returncode:
        return False
    then = git("show", f"{made}:notebooks/{name}.py")
    now = (ROOT / "notebooks" / f"{name}.py").read_text()
    return then.returncode == 0 and code_cells(then.stdout) == code_cells(now)


def code_cells(text: str) -> list[str]:
    """What a page computes, without its prose."""
    cells = jupytext.reads(text, fmt="py:percent").cells
    return [cell.source for cell in cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def book_runs(tmp_path_factory):
    """The project's copy, with the pages executed as ``make book`` does that are to be run again."""
    root = copied_project(tmp_path_factory.mktemp("book") / "project")
    again = [name for name in PAPERS if not nothing_changed(name)]
    environment = {**os.environ, "PYTHONPATH": str(root / "lib"), "MEMORIZATION_DATA": str(root / "no-data")}
    environment.pop("OMP_NUM_THREADS", None)
    if again:
        command = [sys.executable, "-m", "memorization", "--root", str(root), "run", *again, "--jobs", "2"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
    return root, again


@pytest.mark.parametrize("name", PAPERS)
def test_the_published_verdicts_are_those_of_this_code(book_runs, name):
    """Another processor rounds otherwise, and a training may then end elsewhere: what was decided may become
    undecided there and the other way round, but nothing turns into its opposite. Kernels end where they do.
    """
    root, again = book_runs
    if name not in again:
        return  # published by this code, with this text
    live = {
        row["id"]: row["verdict"]
        for row in json.loads((root / "_build" / "verdicts" / f"{name}.book.json").read_text())
    }
    known = {row["id"]: row["verdict"] for row in published(name)}
    moved = {claim for claim, verdict in live.items() if verdict != known[claim]}
    assert live.keys() == known.keys()
    assert not [c for c in moved if UNDECIDED not in (live[c], known[c])]
    assert not moved or name != "spurious_memorization"


def test_a_page_is_run_again_where_its_published_verdicts_rest_on_other_code(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "digests_of_today", lambda name: {"another digest"})
    assert not any(nothing_changed(name) for name in PAPERS)


def test_a_page_is_run_again_where_there_is_no_history(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "commit_of", lambda *paths: "")
    assert not any(nothing_changed(name) for name in PAPERS)


def test_prose_moves_no_verdict_and_code_may():
    page = "# %%\nvalue = 1\n\n# %% [markdown]\n# It is one.\n"
    assert code_cells(page) == code_cells(page.replace("It is one.", "It is 1.")) == ["value = 1"]
    assert code_cells(page) != code_cells(page.replace("value = 1", "value = 2"))
