"""A sweep on a real Dask cluster of two worker processes on this machine."""

import os
from pathlib import Path

import pytest

from memorization.runs.sweep import SweepError, sweep

distributed = pytest.importorskip("distributed", reason="the cluster extra is not installed")

POINTS = """
import os, signal, time
from pathlib import Path

def point(*, alpha, seed):
    return {"value": alpha * 10 + seed, "pid": os.getpid()}

def fragile(*, alpha, seed):
    if alpha > 0.5:
        raise FloatingPointError("loss is NaN at step 3")
    return {"value": alpha}

def deadly(*, alpha, mark, seed):
    if alpha == 2 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"value": alpha}
"""


@pytest.fixture(scope="module")
def points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("points")
    (folder / "cluster_points.py").write_text(POINTS)
    return folder


@pytest.fixture(scope="module")
def cluster(points):
    import sys

    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(points), before])
    sys.path.insert(0, str(points))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(points)
    ) as made:
        yield made.scheduler_address
    sys.path.remove(str(points))
    os.environ["PYTHONPATH"] = before


def test_the_points_run_on_the_workers_and_come_back_in_order(cluster, tmp_path):
    from cluster_points import point

    store = tmp_path / "a.jsonl"
    there = sweep(point, {"alpha": [1.0, 2.0]}, seeds=3, store=store, scheduler=cluster, progress=False)
    assert there["value"].tolist() == [10.0, 11.0, 12.0, 20.0, 21.0, 22.0]
    assert os.getpid() not in set(there["pid"])
    again = sweep(point, {"alpha": [1.0, 2.0]}, seeds=3, store=store, progress=False)
    assert again.equals(there)


def test_a_point_that_fails_on_a_worker_is_told_and_the_others_are_kept(cluster, tmp_path):
    from cluster_points import fragile

    with pytest.raises(SweepError, match=r"1 of 2 points failed.*loss is NaN at step 3"):
        sweep(fragile, {"alpha": [0.5, 1.0]}, store=tmp_path / "a.jsonl", scheduler=cluster, progress=False)
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2


def test_a_lost_worker_costs_only_its_points(cluster, tmp_path):
    from cluster_points import deadly

    mark = {"mark": str(tmp_path / "died")}
    table = sweep(deadly, {"alpha": [1, 2, 3]}, fixed=mark, scheduler=cluster, progress=False)
    assert Path(mark["mark"]).exists()
    assert table["value"].tolist() == [1, 2, 3]


def test_without_a_scheduler_at_the_address_it_says_what_to_do(monkeypatch):
    def point(*, seed):
        return {"value": 1}

    with pytest.raises(RuntimeError, match=r"no Dask scheduler answers at 'tcp://127\.0\.0\.1:9'"):
        sweep(point, [{}], scheduler="tcp://127.0.0.1:9", progress=False)


def test_a_worker_with_other_code_is_refused(cluster, monkeypatch):
    from cluster_points import point

    import memorization.runs.sweep as module

    monkeypatch.setattr(module, "code_digest", lambda function: "other")
    with pytest.raises(SweepError, match="the worker runs other code"):
        sweep(point, {"alpha": [1.0]}, scheduler=cluster, progress=False)
