"""A sweep: its table, what it does not run again, and what happens when points fail."""

import math
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from memorization.runs.records import RecordStore
from memorization.runs.sweep import SweepError, experiment, sweep

CALLS = []


def point(*, alpha, width=2, seed):
    CALLS.append((alpha, width, seed))
    return {"value": alpha * width + seed}


def curve(*, alpha, seed):
    return [{"N": n, "value": alpha * n} for n in (1, 2)]


def fragile(*, alpha, seed):
    if alpha > 0.5:
        raise FloatingPointError("loss is NaN at step 3")
    return {"value": alpha}


def stacked(*, alpha, seeds):
    CALLS.append((alpha, tuple(seeds)))
    return [{"value": alpha + s} for s in seeds]


def where(*, alpha, device="cpu", seed):
    return {"value": alpha}


def told(*, alpha, device="cpu", seed):
    return {"told": device}


@pytest.fixture(autouse=True)
def _no_calls():
    CALLS.clear()


def run(function, grid, **options):
    return sweep(function, grid, progress=False, **options)


def test_one_row_per_point_and_seed():
    table = run(point, {"alpha": [0.25, 0.5]}, seeds=3)
    assert len(table) == 6
    assert table.query("alpha == 0.5 and seed == 2")["value"].item() == 3.0


def test_a_function_that_returns_a_list_gives_one_row_each():
    assert run(curve, {"alpha": [0.5]})["N"].tolist() == [1, 2]


def test_defaults_of_the_function_stand_in_the_table():
    assert run(point, {"alpha": [0.5]})["width"].item() == 2


def test_points_may_be_given_one_by_one():
    table = run(point, [{"alpha": 1.0, "width": 3}, {"alpha": 2.0}])
    assert table["value"].tolist() == [3.0, 4.0]


def test_the_provenance_stands_beside_each_row():
    row = run(point, {"alpha": [0.5]}).iloc[0]
    assert row["_source"] == "live"
    assert row["_seconds"] >= 0
    assert row["_peak_mib"] > 1
    assert row["_date"].endswith("Z")
    assert len(row["_code"]) == 12
    assert not row["_code_changed"]


def test_what_is_in_the_store_is_not_run_again(tmp_path):
    store = tmp_path / "a.jsonl"
    first = run(point, {"alpha": [0.25, 0.5]}, seeds=2, store=store)
    second = run(point, {"alpha": [0.25, 0.5, 0.75]}, seeds=2, store=store)
    assert len(CALLS) == 6
    assert second.head(4).equals(first)


def test_other_code_runs_again_unless_it_is_kept(tmp_path, monkeypatch):
    store, module = tmp_path / "a.jsonl", sys.modules[sweep.__module__]
    monkeypatch.setattr(module, "code_digest", lambda function: "old")
    run(point, {"alpha": [0.5]}, store=store)
    monkeypatch.setattr(module, "code_digest", lambda function: "new")
    kept = run(point, {"alpha": [0.5]}, store=store, keep_old_code=True)
    assert len(CALLS) == 1
    assert kept["_code_changed"].tolist() == [True]
    assert run(point, {"alpha": [0.5]}, store=store)["_code"].tolist() == ["new"]
    assert len(CALLS) == 2


def test_published_records_are_read_and_said_to_be_published(tmp_path):
    run(point, {"alpha": [0.5]}, store=tmp_path / "published.jsonl")
    table = run(
        point, {"alpha": [0.5]}, store=tmp_path / "live.jsonl", published=tmp_path / "published.jsonl"
    )
    assert table["_source"].tolist() == ["published"]
    assert not (tmp_path / "live.jsonl").exists()


def test_a_stacked_function_gets_all_missing_seeds_at_once(tmp_path):
    store = tmp_path / "a.jsonl"
    run(stacked, {"alpha": [1.0]}, seeds=[0, 2], stacked=True, store=store)
    table = run(stacked, {"alpha": [1.0]}, seeds=4, stacked=True, store=store)
    assert CALLS == [(1.0, (0, 2)), (1.0, (1, 3))]
    assert table["value"].tolist() == [1.0, 2.0, 3.0, 4.0]


def test_a_stacked_function_must_answer_for_each_seed():
    def one(*, seeds):
        return [{"value": 1}]

    with pytest.raises(SweepError, match="1 results for 3 seeds"):
        run(one, [{}], seeds=3, stacked=True)


def test_the_others_go_on_when_a_point_fails_and_are_kept(tmp_path):
    store = tmp_path / "a.jsonl"
    with pytest.raises(SweepError, match=r"1 of 3 points failed.*loss is NaN at step 3") as error:
        run(fragile, {"alpha": [0.25, 1.0, 0.5]}, store=store)
    assert "'alpha': 1.0" in str(error.value)
    assert run(fragile, {"alpha": [0.25, 0.5]}, store=store)["_source"].tolist() == ["live"] * 2
    assert len(store.read_text().splitlines()) == 3


def test_failed_points_can_be_skipped():
    assert run(fragile, {"alpha": [0.25, 1.0]}, on_error="skip")["alpha"].tolist() == [0.25]


def test_where_a_point_runs_is_no_part_of_its_identity(tmp_path):
    store = tmp_path / "a.jsonl"
    run(where, {"alpha": [0.5]}, store=store, unkeyed={"device": "cpu"})
    run(where, {"alpha": [0.5]}, store=store, unkeyed={"device": "meta"})
    assert len(store.read_text().splitlines()) == 2


def test_nan_comes_back_as_nan(tmp_path):
    def undefined(*, seed):
        return {"value": math.nan}

    assert math.isnan(run(undefined, [{}], store=tmp_path / "a.jsonl")["value"].item())
    assert math.isnan(run(undefined, [{}], store=tmp_path / "a.jsonl")["value"].item())


@pytest.mark.parametrize(
    ("grid", "options", "told"),
    [
        ({"alhpa": [0.5]}, {}, "Did you mean 'alpha'"),
        ({"alpha": 0.5}, {}, "a list of values"),
        ({"alpha": "half"}, {}, "a list of values"),
        ({"alpha": [0.5]}, {"fixed": {"alpha": 1}}, "alpha stands in the grid and in `fixed`"),
        ({}, {}, "missing a required argument"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_runs(grid, options, told):
    with pytest.raises(TypeError, match=told):
        run(point, grid, **options)
    assert CALLS == []


def test_an_unknown_way_to_treat_errors_is_refused():
    with pytest.raises(ValueError, match="allowed: raise, skip"):
        run(point, {"alpha": [0.5]}, on_error="ignore")


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    def stop(*, alpha, seed):
        if alpha == 2:
            raise KeyboardInterrupt
        return {"value": alpha}

    with pytest.raises(KeyboardInterrupt, match="stopped after 1 of 3 points, kept in"):
        run(stop, {"alpha": [1, 2, 3]}, store=tmp_path / "a.jsonl")
    assert len((tmp_path / "a.jsonl").read_text().splitlines()) == 2


SLOW = """
import sys, time
from pathlib import Path
sys.path.insert(0, {folder!r})
from slow_points import point
from memorization.runs.sweep import sweep
table = sweep(point, {{"alpha": [1.0, 2.0, 3.0, 4.0]}}, seeds=2, store=Path({store!r}), progress=False)
table[["alpha", "seed", "value"]].to_csv({out!r})
"""
SLOW_POINTS = """
import time
from pathlib import Path
def point(*, alpha, seed):
    time.sleep(0.3)
    with Path({calls!r}).open("a") as file: file.write(f"{{alpha}} {{seed}}\\n")
    return {{"value": alpha / 3 + seed}}
"""


def test_kill_minus_nine_loses_only_the_point_that_ran(tmp_path):
    calls, store = tmp_path / "calls", tmp_path / "a.jsonl"
    (tmp_path / "slow_points.py").write_text(SLOW_POINTS.format(calls=str(calls)))

    def command(where, out):
        return [sys.executable, "-c", SLOW.format(folder=str(tmp_path), store=str(where), out=str(out))]

    process = subprocess.Popen(command(store, tmp_path / "killed.csv"))
    deadline = time.monotonic() + 60
    while not (store.exists() and len(store.read_text().splitlines()) >= 4):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(store.read_text().splitlines()) - 1
    before = len(calls.read_text().splitlines())
    subprocess.run(command(store, tmp_path / "resumed.csv"), check=True)
    assert len(calls.read_text().splitlines()) - before == 8 - kept
    subprocess.run(command(tmp_path / "b.jsonl", tmp_path / "undisturbed.csv"), check=True)
    assert Path(tmp_path / "resumed.csv").read_bytes() == Path(tmp_path / "undisturbed.csv").read_bytes()


def test_what_is_no_part_of_a_point_may_depend_on_it(tmp_path):
    def folder(point):
        return f"at {point['alpha']}"

    options = {"store": tmp_path / "a.jsonl", "unkeyed": {"device": folder}}
    assert run(told, {"alpha": [0.5, 0.25]}, **options)["told"].tolist() == ["at 0.5", "at 0.25"]
    assert "device" not in run(told, {"alpha": [0.5]}, **options)


def test_what_is_missing_can_be_left_out(tmp_path):
    store = tmp_path / "a.jsonl"
    run(point, {"alpha": [0.5]}, store=store)
    CALLS.clear()
    assert run(point, {"alpha": [0.5, 0.25]}, store=store, missing="skip")["alpha"].tolist() == [0.5]
    assert run(point, {"alpha": [0.125]}, published=tmp_path / "none.jsonl", missing="skip").empty
    assert CALLS == []


def test_another_word_for_what_is_missing_is_refused():
    with pytest.raises(ValueError, match="missing = 'no'; allowed: run, skip"):
        run(point, {"alpha": [0.5]}, missing="no")


def versions_of_one_experiment():
    """An experiment as it was, and as it may become; each is told by its arguments alone."""

    def before(*, alpha, seed):
        CALLS.append("before")
        return {"value": alpha}

    def after(*, width=2, alpha, seed):
        CALLS.append("after")
        return {"value": alpha}

    def wider(*, alpha, width=3, seed):
        CALLS.append("wider")
        return {"value": alpha}

    for function in (before, after, wider):
        function.experiment = "versions"
    return before, after, wider


@pytest.fixture
def store(tmp_path):
    return tmp_path / "a.jsonl"


def kept(function, store):
    return run(function, [{"alpha": 0.5}], store=store, keep_old_code=True)


def test_a_moved_and_renamed_function_finds_its_records(store):
    before, after, _ = versions_of_one_experiment()
    after.__module__ = "elsewhere"
    kept(before, store)
    kept(after, store)
    assert CALLS == ["before"]


def test_a_new_argument_with_a_default_orphans_nothing_and_stands_in_the_table(store):
    before, after, _ = versions_of_one_experiment()
    kept(before, store)
    assert kept(after, store)["width"].tolist() == [2]
    assert CALLS == ["before"]


def test_a_changed_default_runs_again(store):
    _, after, wider = versions_of_one_experiment()
    kept(after, store)
    kept(wider, store)
    assert CALLS == ["after", "wider"]


def test_an_argument_that_is_gone_answers_nothing(store):
    before, after, _ = versions_of_one_experiment()
    kept(after, store)
    kept(before, store)
    assert CALLS == ["after", "before"]


def test_an_experiments_name_is_its_own():
    assert experiment("a name of the tests")(point).experiment == "a name of the tests"
    with pytest.raises(ValueError, match=r"curve: 'a name of the tests' is the name of .*\.point; choose"):
        experiment("a name of the tests")(curve)
    del point.experiment


def test_an_empty_name_is_refused():
    with pytest.raises(ValueError, match="name is empty"):
        experiment(" ")


def test_a_function_without_a_name_of_its_own_has_its_full_name(store):
    run(curve, [{"alpha": 0.5}], store=store)
    assert f'"experiment":"{curve.__module__}.curve"' in store.read_text()


def repeating(*, alpha, seed):
    return {"alpha": alpha + 1, "value": 1.0}


def partly(*, alpha, seeds):
    return [FloatingPointError("loss is NaN at step 3") if s == 1 else {"value": alpha + s} for s in seeds]


def test_a_returned_value_that_bears_an_arguments_name_is_refused():
    with pytest.raises(SweepError, match=r"returned alpha = 1.5, but alpha is an argument \(0.5\)"):
        sweep(repeating, {"alpha": [0.5]})


@pytest.mark.parametrize(
    ("grid", "seeds", "message"),
    [
        ({"alpha": []}, 1, r"grid\['alpha'\] is empty; allowed: a list with at least one value"),
        ([], 1, "the grid is empty; allowed: a list with at least one point"),
        ({"alpha": [0.5]}, 0, "seeds = 0; allowed: a number from 1, or a list with at least one seed"),
        ({"alpha": [0.5]}, [], r"seeds = \[\]; allowed: a number from 1"),
    ],
)
def test_no_points_and_no_seeds_are_refused_by_name(grid, seeds, message):
    with pytest.raises(ValueError, match=message):
        sweep(point, grid, seeds=seeds)


def test_a_number_of_seeds_is_counted_from_the_first_seed():
    assert run(point, {"alpha": [0.5]}, seeds=3, first_seed=7)["seed"].tolist() == [7, 8, 9]
    assert run(point, {"alpha": [0.5]}, seeds=[2, 1], first_seed=7)["seed"].tolist() == [2, 1]
    with pytest.raises(ValueError, match="first_seed=-1; allowed: a whole number, 0 or more"):
        sweep(point, {"alpha": [0.5]}, first_seed=-1)


def test_what_no_record_answers_is_said_and_counted(tmp_path, capsys):
    sweep(point, {"alpha": [0.1]}, seeds=2, store=tmp_path / "r.jsonl")
    found = sweep(point, {"alpha": [0.1, 0.2]}, seeds=3, store=tmp_path / "r.jsonl", missing="skip")
    assert found.attrs["lacking"] == 4
    assert len(found) == 2
    assert "4 of 6 points have no record in r.jsonl" in capsys.readouterr().out
    nothing = sweep(point, [], published=tmp_path / "r.jsonl", missing="skip")
    assert nothing.attrs["lacking"] == 0


@pytest.fixture
def own_workers():
    """Worker processes of this test alone: others find points of their own."""
    from joblib.externals.loky import get_reusable_executor

    yield
    get_reusable_executor().shutdown(wait=True)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_seed_that_fails_leaves_the_others_of_its_stack(tmp_path, own_workers, workers):
    options = {"seeds": 3, "stacked": True, "store": tmp_path / "r.jsonl", "workers": workers}
    with pytest.raises(SweepError, match="seed 1 of 1: FloatingPointError: loss is NaN at step 3"):
        sweep(partly, {"alpha": [0.5, 1.5]}, **options)
    kept = sweep(partly, {"alpha": [0.5, 1.5]}, missing="skip", **options)
    assert kept[["alpha", "seed", "value"]].values.tolist() == [
        [0.5, 0, 0.5],
        [0.5, 2, 2.5],
        [1.5, 0, 1.5],
        [1.5, 2, 3.5],
    ]


@experiment("large", memory=lambda given: 2**31 * given["alpha"])
def large(*, alpha, n=10, seed):
    return {"value": alpha}


def test_a_point_of_enormous_memory_is_told_before_it_begins():
    with pytest.warns(RuntimeWarning, match="a point needs about 20 GiB of memory"):
        sweep(large, {"alpha": [10]})


def test_a_sweep_of_ten_times_the_usual_price_is_told_before_it_begins(tmp_path):
    def slow(*, n, seed):
        time.sleep(0.05)
        return {"value": n}

    sweep(slow, {"n": [1]}, store=tmp_path / "r.jsonl", price=0.1)
    with pytest.warns(RuntimeWarning, match=r"where the whole page takes 0 s at this profile's own"):
        sweep(slow, {"n": [40]}, store=tmp_path / "r.jsonl", price=0.1)


SIDE_POINTS = """
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
def side(tmp_path, monkeypatch):
    (tmp_path / "side_points.py").write_text(SIDE_POINTS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(str(tmp_path))
    import side_points
    from joblib.externals.loky import get_reusable_executor

    yield side_points
    get_reusable_executor().shutdown(wait=True)  # the next test's workers find their own points
    sys.modules.pop("side_points")


def test_points_run_in_two_processes_of_one_thread_and_come_back_in_order(side, tmp_path):
    store = tmp_path / "a.jsonl"
    table = sweep(side.point, {"alpha": [1.0, 2.0]}, seeds=2, workers=2, store=store, progress=False)
    assert table["value"].tolist() == [10.0, 11.0, 20.0, 21.0]
    assert len(set(table["pid"]) - {os.getpid()}) == 2
    assert set(table["threads"]) == {1}
    assert len(RecordStore(store).read()) == 4


def test_a_sole_point_runs_here_with_one_thread_and_leaves_this_process_as_it_was(side):
    import torch

    before, watching = torch.get_num_threads(), set(threading.enumerate())
    torch.set_num_threads(3)
    try:
        table = sweep(side.point, {"alpha": [1.0]}, workers=2, progress=False)
        assert (table["pid"].item(), table["threads"].item()) == (os.getpid(), 1)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    later = set(threading.enumerate()) - watching
    assert not [t for t in later if "watch" in t.name]  # it would end us


def test_a_failed_point_costs_only_itself(side, tmp_path):
    store = tmp_path / "a.jsonl"
    with pytest.raises(SweepError, match=r"1 of 2 points failed.*FloatingPointError: loss is NaN at step 3"):
        sweep(side.fragile, {"alpha": [2.0, 1.0]}, workers=2, store=store, progress=False)
    assert len(RecordStore(store).read()) == 1


def test_a_dead_worker_is_told(side):
    with pytest.raises(RuntimeError, match=r"a worker process died.*run fewer at a time"):
        sweep(side.deadly, {"alpha": [1.0, 2.0]}, workers=2, progress=False)


def test_workers_below_one_are_refused(side):
    with pytest.raises(ValueError, match="workers = 0; allowed: 1 or more"):
        sweep(side.point, {"alpha": [1.0]}, workers=0)


CLUSTER_POINTS = """
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
def cluster_points(tmp_path_factory):
    folder = tmp_path_factory.mktemp("points")
    (folder / "cluster_points.py").write_text(CLUSTER_POINTS)
    return folder


@pytest.fixture(scope="module")
def cluster(cluster_points):
    distributed = pytest.importorskip("distributed", reason="the cluster extra is not installed")

    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(cluster_points), before])
    sys.path.insert(0, str(cluster_points))
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(cluster_points)
    ) as made:
        yield made.scheduler_address
    sys.path.remove(str(cluster_points))
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
    monkeypatch.setattr(sys.modules[sweep.__module__], "_PATIENCE", 1)

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


def test_workers_that_cannot_import_the_function_say_how_to_ship_it(cluster, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("def point(*, alpha, seed):\n    return {'value': alpha}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    from only_here import point

    with pytest.raises(
        SweepError, match=r"cannot import what it is to run .*'only_here'.*upload_file.*PYTHONPATH"
    ):
        sweep(point, {"alpha": [1.0]}, scheduler=cluster, progress=False)


FAULTS = """
import ctypes, resource, sys, torch
from memorization.runs.sweep import sweep

def point(*, alpha, seed):
    return {"value": alpha}

def faults():
    for _ in range(5):
        parts = [torch.ones(2**21) for _ in range(4)]  # 8 MiB each
        del parts
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

ctypes.CDLL(None).mallopt(-3, 2**17)  # how a process begins; what happens later depends on what it did
if sys.argv[1] == "keep":
    sweep(point, {"alpha": [1.0]}, progress=False)
faults()
before = faults()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only this C library can be told")
def test_a_process_that_computes_points_keeps_the_memory_that_it_frees():
    """Else each new tensor is paid for page by page."""
    kept, given_back = (
        int(subprocess.run([sys.executable, "-c", FAULTS, way], capture_output=True, text=True).stdout)
        for way in ("keep", "not")
    )
    assert kept < 50 < given_back
