"""A sweep whose points run side by side in processes of this machine."""

import os
import sys

import pytest

from memorization.runs.records import RecordStore
from memorization.runs.sweep import SweepError, sweep

POINTS = """
import os, signal, time, torch

def point(*, alpha, seed):
    time.sleep(0.2 / alpha)
    return {"value": alpha * 10 + seed, "pid": os.getpid(), "threads": torch.get_num_threads()}

def fragile(*, alpha, seed):
    if alpha > 1:
        raise FloatingPointError("loss is NaN at step 3")
    return {"value": alpha}

def deadly(*, alpha, seed):
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def points(tmp_path, monkeypatch):
    (tmp_path / "side_points.py").write_text(POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    import side_points
    from joblib.externals.loky import get_reusable_executor

    yield side_points
    get_reusable_executor().shutdown(wait=True)  # the next test's workers find their own points
    sys.modules.pop("side_points")


def test_points_run_in_two_processes_of_one_thread_and_come_back_in_order(points, tmp_path):
    store = tmp_path / "a.jsonl"
    table = sweep(points.point, {"alpha": [1.0, 2.0]}, seeds=2, workers=2, store=store, progress=False)
    assert table["value"].tolist() == [10.0, 11.0, 20.0, 21.0]
    assert len(set(table["pid"]) - {os.getpid()}) == 2
    assert set(table["threads"]) == {1}
    assert len(RecordStore(store).read()) == 4


def test_a_failed_point_costs_only_itself(points, tmp_path):
    store = tmp_path / "a.jsonl"
    with pytest.raises(SweepError, match=r"1 of 2 points failed.*FloatingPointError: loss is NaN at step 3"):
        sweep(points.fragile, {"alpha": [2.0, 1.0]}, workers=2, store=store, progress=False)
    assert len(RecordStore(store).read()) == 1


def test_a_dead_worker_is_told(points):
    with pytest.raises(RuntimeError, match=r"a worker process died.*run fewer at a time"):
        sweep(points.deadly, {"alpha": [1.0, 2.0]}, workers=2, progress=False)


def test_workers_below_one_are_refused(points):
    with pytest.raises(ValueError, match="workers = 0; allowed: 1 or more"):
        sweep(points.point, {"alpha": [1.0]}, workers=0)
