"""As many points as some seconds allow: which are asked, in which order, and what is left when it is cut."""

import ast
import json
import math
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import calls

from memorization.runs.budget import Question, answer, for_this_machine, needed, questions
from memorization.runs.parameters import names, source_path
from memorization.runs.records import RecordStore
from memorization.runs.sweep import Task

ROOT = Path(__file__).resolve().parents[2]


def test_of_a_notebook_only_what_its_sweeps_need_is_kept(tiny):
    text = (tiny / "notebooks" / "tiny.py").read_text()
    kept = [ast.unparse(statement) for statement in needed(text)]
    assert any("run.sweep(" in one for one in kept)
    assert any("start('tiny'" in one for one in kept)
    assert not any("figures_folder" in one or "print" in one for one in kept)


PAPERS = [path.stem for path in sorted((ROOT / "notebooks" / "claims").glob("*.yaml"))]


@pytest.mark.parametrize("name", PAPERS)
def test_every_sweep_of_a_page_is_kept(name):
    text = source_path(ROOT, name).read_text()
    kept = "\n".join(ast.unparse(one) for one in needed(text))
    assert kept.count("run.sweep(") == text.count("run.sweep(")
    assert kept.count("run.recorded(") == text.count("run.recorded(")
    assert "show(" not in kept


@pytest.fixture
def here(tiny, monkeypatch):
    monkeypatch.syspath_prepend(str(tiny / "points"))
    monkeypatch.setenv("MEMORIZATION_ROOT", str(tiny))
    yield tiny
    sys.modules.pop("tiny_points", None)


def test_points_are_run_once_and_counted(here, tmp_path):
    assert answer(here, "book", 60, tmp_path / "out") == {"tiny": {"done": 4, "lacking": 0, "failed": []}}
    answer(here, "book", 60, tmp_path / "out")
    assert len(calls(here)) == 4
    records = RecordStore(tmp_path / "out" / "records" / "tiny.book.jsonl").read()
    assert [(r.point["alpha"], r.seed) for r in records] == [(0.25, 0), (0.25, 1), (0.5, 0), (0.5, 1)]


def test_without_time_no_point_begins_and_all_are_lacking(here, tmp_path):
    assert answer(here, "book", 0, tmp_path / "out")["tiny"] == {"done": 0, "lacking": 4, "failed": []}
    assert json.loads((tmp_path / "out" / "points.json").read_text())["tiny"]["lacking"] == 4


def before_the_return(root, lines):
    path = root / "points" / "tiny_points.py"
    path.write_text("import time\n" + path.read_text().replace("    return", f"    {lines}\n    return"))


def test_a_point_that_fails_is_told_and_the_others_go_on(here, tmp_path):
    before_the_return(here, "if alpha < 0.5:\n        raise FileNotFoundError('no data')")
    found = answer(here, "book", 60, tmp_path / "out")["tiny"]
    assert (found["done"], found["lacking"]) == (2, 2)
    assert found["failed"] == ["tiny_points.point: FileNotFoundError: no data"]


def test_the_cheapest_question_comes_first_and_one_without_a_record_last():
    asked = questions(ROOT, names(ROOT), "paper")
    seconds = [question.seconds for question in asked]
    assert seconds == sorted(seconds)
    assert seconds[-1] == math.inf
    assert {"distil_clip", "benchmark_methods"} <= {q.tasks[0].name for q in asked if q.seconds == math.inf}


def test_a_name_that_is_bound_again_needs_nothing_of_before():
    source = "a = far()\nb = a\nb = 2\nb += 1\nc = {}\nc['x'] = b\nb = run.sweep(point, c)"
    assert [ast.unparse(one) for one in needed(source)][:2] == ["b = 2", "b += 1"]
    assert len(needed(source)) == 5


def test_a_run_that_is_killed_leaves_whole_records(here, tmp_path):
    before_the_return(here, "time.sleep(0.3)")
    words = [sys.executable, "-m", "memorization", "--root", str(here), "points", "--profile", "book"]
    words += ["--seconds", "60", "-o", str(tmp_path / "out")]
    running = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    store = tmp_path / "out" / "records" / "tiny.book.jsonl"
    deadline = time.monotonic() + 60
    while not (store.exists() and store.read_text().count("\n") >= 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert 1 <= len(RecordStore(store).read()) < 4
    assert json.loads((tmp_path / "out" / "points.json").read_text())["tiny"]["failed"] == []


def test_where_some_points_compute_on_a_gpu_those_without_a_device_are_left_out():
    def question(**unkeyed):
        return Question("page", (Task(print, {}, (0,), False, "code", unkeyed),), 1.0)

    plain, on_cpu, on_gpu = question(), question(device="cpu"), question(device="cuda")
    assert for_this_machine([plain, on_gpu, on_cpu]) == [on_gpu]
    assert for_this_machine([plain, on_cpu]) == [plain, on_cpu]
