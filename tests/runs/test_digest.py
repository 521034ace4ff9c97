"""The digest of the code behind a point: what changes it and what does not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memorization.runs.digest import _own_texts, code_digest, digest_of, modules_of

PACKAGE = Path(__file__).resolve().parents[2] / "lib" / "memorization"


def test_a_name_from_a_room_is_followed_to_its_own_module_only():
    found = modules_of("from memorization.runs import start\n")
    assert "memorization.runs.start" in found
    assert "memorization.runs.cli" not in found


def test_imports_are_followed_through_modules():
    assert "memorization.runs.lock" in modules_of("from memorization.runs.sweep import sweep\n")


def test_the_name_of_an_experiment_makes_nothing_depend_on_this_room():
    found = modules_of("from memorization.runs.sweep import experiment\n")
    assert found == set()


def test_comments_docstrings_and_layout_do_not_count():
    assert digest_of('def f():\n    """Old."""\n    return 1\n') == digest_of(
        "def f():\n    # why\n    'New.'\n    return (1)\n"
    )


def test_a_changed_constant_counts():
    assert digest_of("def f():\n    return 1\n") != digest_of("def f():\n    return 2\n")


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "memorization", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _digest(folder, source):
    code = f"from memorization.runs.digest import digest_of; print(digest_of({source!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(("module", "changes"), [("lock", True), ("cli", False)])
def test_one_changed_line_counts_only_in_a_module_that_is_used(copied, module, changes):
    source = "from memorization.runs import RecordStore\n"
    before = _digest(copied, source)
    path = copied / "memorization" / "runs" / f"{module}.py"
    path.write_text(path.read_text() + "\nEXTRA = 1\n")
    assert (_digest(copied, source) != before) == changes


def own(*, a, seed):
    return {"value": helper(a)}


def helper(a):
    return a * FACTOR


FACTOR = 10


def test_a_readers_function_depends_on_the_helpers_and_values_that_it_names(monkeypatch):
    before = code_digest(own)
    monkeypatch.setitem(globals(), "FACTOR", 1000)
    changed_value = code_digest(own)
    monkeypatch.setitem(globals(), "helper", lambda a: a + 1)
    assert len({before, changed_value, code_digest(own)}) == 3


def test_a_readers_function_depends_on_the_library_that_it_calls(monkeypatch):
    before = code_digest(calls_the_library)
    monkeypatch.setattr("memorization.runs.digest._essence", lambda source: str(len(source)))
    assert code_digest(calls_the_library) != before
    texts = list(_own_texts(calls_the_library, set()))
    assert "import memorization.runs.digest" in texts


def calls_the_library(*, seed):
    return {"value": len(digest_of("x = 1"))}
