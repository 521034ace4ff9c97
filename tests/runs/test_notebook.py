"""Executing a notebook: only a complete run replaces its output."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import nbformat
import pytest
from conftest import calls

from memorization.runs import records
from memorization.runs.notebook import Job, NotebookError, _how_it_ended, execute, scratch_folder


def edit(root, old, new):
    path = root / "notebooks" / "tiny.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def command(root, *args, **env):
    return subprocess.run(
        [sys.executable, "-m", "memorization", "--root", str(root), *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **env},
    )


def outputs(path):
    cells = nbformat.read(path, as_version=4).cells
    return "".join(o.get("text", "") for c in cells if c.cell_type == "code" for o in c.outputs)


@pytest.fixture
def job(tiny, monkeypatch):
    ours = ("ROOT", "OUTPUT", "BESIDE", "SCHEDULER", "PROGRESS")
    for name in [f"MEMORIZATION_{word}" for word in ours]:  # executing in this process sets them
        monkeypatch.setenv(name, "")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "MPLBACKEND", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return Job(tiny, "tiny", "book")


def test_a_second_run_from_the_same_records_is_byte_identical_and_computes_nothing(job):
    first = execute(job).read_bytes()
    assert execute(job).read_bytes() == first
    assert len(calls(job.root)) == 4


def test_figures_stand_beside_the_executed_notebook(job):
    assert (execute(job).parent / "figures" / "tiny" / "a.csv").is_file()


def test_figures_do_not_depend_on_the_users_own_matplotlib_settings(job, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", str(job.root / "settings"))
    (job.root / "settings").mkdir()
    (job.root / "settings" / "matplotlibrc").write_text("savefig.dpi: 33\n")
    ask = 'import matplotlib\nprint("dpi", matplotlib.rcParams["savefig.dpi"])'
    edit(job.root, 'print("the end")', ask)
    assert "dpi 33" not in outputs(execute(job))


def test_the_profile_file_is_injected(job):
    smoke = execute(Job(job.root, "tiny", "smoke"))
    assert smoke.parent.name == "smoke"
    assert calls(job.root) == ["0.5 2 0", "0.5 2 1"]


def test_lists_and_mappings_keep_their_type(job):
    execute(Job(job.root, "tiny", "book", {"alphas": [0.125]}))
    assert calls(job.root) == ["0.125 4 0", "0.125 4 1"]


def test_lines_printed_one_after_the_other_are_one_output(job):
    edit(job.root, 'print("the end")', 'print("one", flush=True)\nimport time\ntime.sleep(1)\nprint("two")')
    cells = nbformat.read(execute(job), as_version=4).cells
    assert [o.text for o in cells[-1].outputs] == ["one\ntwo\n"]


def test_the_page_of_a_profile_is_no_place_for_another_run(job):
    page = execute(job)
    before = page.read_bytes()
    done = command(job.root, "run", "tiny", "-p", "width", "3", "-o", str(page))
    assert done.returncode == 2
    assert "there are the pages of profile 'book'; choose another folder, or leave -o out." in done.stderr
    assert page.read_bytes() == before


@pytest.mark.parametrize("words", ["book", "results", "run tiny"])
def test_every_command_tells_which_profile_was_meant(tiny, words):
    done = command(tiny, *words.split(), "--profile", "smok")
    assert done.returncode == 2
    assert "unknown profile 'smok'. Did you mean 'smoke'? Known: smoke, book, desktop, paper." in done.stderr


def test_a_failed_run_keeps_the_old_output_and_leaves_what_it_did(job):
    before = execute(job).read_bytes()
    edit(job.root, 'print("the end")', "1 / 0")
    with pytest.raises(NotebookError, match=r"ZeroDivisionError: division by zero.*tiny\.failed\.ipynb"):
        execute(job)
    assert job.target.read_bytes() == before
    assert job.failed.is_file()


def test_a_good_run_takes_the_failed_one_away(job):
    edit(job.root, 'print("the end")', "1 / 0")
    with pytest.raises(NotebookError):
        execute(job)
    edit(job.root, "1 / 0", "print(1)")
    execute(job)
    assert not job.failed.exists()


def test_leaving_with_status_zero_is_no_success(job):
    edit(job.root, "_ = (run.figures_folder", "import sys; sys.exit(0)\n_ = (run.figures_folder")
    with pytest.raises(NotebookError, match="stopped at code cell"):
        execute(job)
    assert not job.target.exists()


SHOWN = [  # of any profile
    "results/records/tiny.paper.jsonl",
    "results/prices/tiny.book.json",
    "results/verdicts/tiny.desktop.json",
    "results/replications/tiny.book.json",
]


def test_it_is_stale_after_a_change_of_source_parameters_claims_data_or_lock(job):
    assert not job.is_fresh()
    execute(job)
    assert job.is_fresh()
    for relative in ("requirements.lock", "notebooks/claims/tiny.yaml", "data/MNIST/a", *SHOWN):
        path = job.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("changed")
        assert not job.is_fresh()
        path.unlink()
        assert job.is_fresh()
    edit(job.root, "the end", "The end")
    assert not job.is_fresh()


def test_it_is_stale_after_a_change_deep_in_the_data(job):
    deep = job.root / "data" / "imagenet" / "val" / "n01" / "images"
    deep.mkdir(parents=True)
    execute(job)
    assert job.is_fresh()
    (deep / "1.jpeg").touch()
    assert not job.is_fresh()


def test_with_a_full_disk_the_older_output_stays_complete_and_the_path_is_told(job, monkeypatch):
    execute(job)
    kept = {path: path.read_bytes() for path in job.target.parent.rglob("*") if path.is_file()}
    edit(job.root, "the end", "The end")
    copy = records._copy

    def full(content, half):
        copy(content, half)
        if half.name == ".tiny.part":  # the figures, of which some are copied
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records, "_copy", full)
    with pytest.raises(NotebookError, match=rf"{job.figures} cannot be written: No space left on device"):
        execute(job)
    assert {path: path.read_bytes() for path in job.target.parent.rglob("*") if path.is_file()} == kept


def test_a_typing_error_is_refused_before_anything_runs(tiny):
    done = command(tiny, "run", "tiny", "--profile", "smoke", "-p", "widht", "3")
    assert done.returncode == 2
    assert "Did you mean 'width'?" in done.stderr
    assert calls(tiny) == []


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["run", "tinny"], "Did you mean 'tiny'?"),
        (["run", "tiny", "--profile", "boook"], "Did you mean 'book'?"),
        (["run", "tiny", "--profile", "paper"], "has no profile 'paper'"),
        (["run", "tiny", "-p", "width", "0"], "allowed: 1..100"),
        (["run", "tiny", "-y", "[1]"], "allowed: a mapping"),
        (["run", "tiny", "-p", "profile", "smoke"], "is chosen with --profile"),
        (["run", "tiny", "-y", "{"], "is not valid YAML"),
        (["run"], "name the notebooks to run, or give --all"),
        (["run", "--all", "-p", "width", "3"], "name exactly one"),
        (["run", "tiny", "--jobs", "0"], "allowed: 1 or more"),
        (["run", "tiny", "-o", "out.txt"], "a file that ends in .ipynb"),
        (["run", "tiny", "-o", "."], "a file that ends in .ipynb"),
        (["run", "tiny", "-p", "width", "0", "-p", "label2", "x"], "unknown parameter 'label2'"),
        (["book"], "has not been executed"),
        (["results", "--profile", "smoke"], "is for tests and is not published"),
        (["results"], "nothing was built"),
    ],
)
def test_the_command_says_what_is_wrong(tiny, args, told):
    if args[0] == "book":
        (tiny / "_toc.yml").write_text("root: notebooks/tiny\n")
        (tiny / "_config.yml").write_text("title: x\n")
    done = command(tiny, *args)
    assert told in done.stderr
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr


def test_the_command_runs_what_is_stale_and_only_that(tiny):
    first = command(tiny, "run", "--all", "--jobs", "2")
    assert first.returncode == 0, first.stderr
    assert "nothing changed" in command(tiny, "run", "--all").stdout
    assert len(calls(tiny)) == 4


def test_the_command_fails_when_a_notebook_does(tiny):
    edit(tiny, 'print("the end")', "1 / 0")
    done = command(tiny, "run", "tiny")
    assert done.returncode == 1
    assert "FAILED tiny: ZeroDivisionError" in done.stderr


def test_given_parameters_and_place_are_used_and_nothing_else_is_touched(tiny, tmp_path):
    out = tmp_path / "elsewhere" / "out.ipynb"
    done = command(tiny, "run", "tiny", "-p", "width", "8", "-y", "{alphas: [0.5]}", "-o", str(out))
    assert done.returncode == 0, done.stderr
    assert calls(tiny) == ["0.5 8 0", "0.5 8 1"]
    assert outputs(out).endswith("the end\n")
    assert not (tiny / "_build" / "notebooks").exists()


def test_two_outputs_in_one_folder_keep_their_figures_apart_and_leave_other_files_alone(tiny, tmp_path):
    mine = tmp_path / "figures" / "tiny" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("keep")
    for name, width in (("a", 8), ("b", 9)):
        command(tiny, "run", "tiny", "-p", "width", str(width), "-o", str(tmp_path / f"{name}.ipynb"))
    first, second = ((tmp_path / f"{n}_files" / "figures" / "tiny" / "a.csv").read_text() for n in "ab")
    assert first != second
    assert mine.read_text() == "keep"


def test_the_parameters_are_printed_in_100_columns(tiny):
    text = command(tiny, "parameters", "tiny").stdout
    assert "width: int = 4\n    number of features [features]; allowed: 1..100\n" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "profile smoke: alphas=[0.5], width=2" in text


def test_plain_papermill_refuses_a_misspelled_parameter_too(tiny, tmp_path):
    import jupytext

    source = tmp_path / "tiny.ipynb"
    jupytext.write(jupytext.read(tiny / "notebooks" / "tiny.py"), source)
    papermill = [sys.executable, "-m", "papermill", str(source), str(tmp_path / "out.ipynb"), "-k", "python3"]
    done = subprocess.run(
        [*papermill, "-p", "widht", "3"], capture_output=True, text=True, check=False, cwd=tiny
    )
    assert done.returncode == 1
    assert "Did you mean 'width'?" in done.stderr


@pytest.fixture
def slow(tiny):
    """The tiny project with points that take half a second each, and more of them."""
    points = tiny / "points" / "tiny_points.py"
    points.write_text(
        points.read_text().replace("    return", "    import time\n    time.sleep(0.5)\n    return")
    )
    edit(tiny, "seeds=2", "seeds=6")
    return tiny


def started(root, points=2):
    command_line = [sys.executable, "-m", "memorization", "--root", str(root), "run", "tiny"]
    process = subprocess.Popen(command_line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 90
    while len(calls(root)) < points:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def test_after_kill_minus_nine_of_the_command_only_the_missing_points_run(slow):
    process = started(slow)
    process.kill()
    process.wait()
    kept = len((slow / "_build" / "records" / "tiny.book.jsonl").read_text().splitlines()) - 1
    done = command(slow, "run", "tiny")
    assert done.returncode == 0, done.stderr
    assert len(set(calls(slow))) == 12
    # The kernel may or may not finish what it was at before it notices: two points at the most.
    assert 12 <= len(calls(slow)) <= 12 + 2
    assert 1 <= kept < 12


@pytest.fixture
def held(tiny):
    """The tiny project with points that wait until a file named `released` stands beside the calls."""
    points = tiny / "points" / "tiny_points.py"
    waiting = (
        "    import time\n"
        "    deadline = time.monotonic() + 120\n"
        "    released = Path(os.environ['TINY_CALLS']).with_name('released')\n"
        "    while not released.exists() and time.monotonic() < deadline:\n"
        "        time.sleep(0.05)\n"
        "    return"
    )
    points.write_text(points.read_text().replace("    return", waiting))
    return tiny


def test_a_second_run_of_the_same_notebook_at_once_is_told_who_runs_it(held):
    process = started(held, points=1)
    try:
        second = command(held, "run", "tiny")
    finally:
        (held / "released").touch()
    assert second.returncode == 1
    assert "tiny.book is in use by process" in second.stderr
    assert process.wait(120) == 0
    assert len(calls(held)) == 4


def verdict_of(path):
    return json.loads(path.read_text())


def judging(root):
    """Let the tiny notebook write a verdict with its width, as the papers' pages write theirs."""
    end = "run.verdicts_path.parent.mkdir(parents=True, exist_ok=True)\n"
    end += "_ = run.verdicts_path.write_text(str(width))"
    edit(root, 'print("the end")', f'{end}\nprint("the end")')


def test_a_run_with_other_parameters_writes_beside_itself_and_never_over_the_profiles(tiny, tmp_path):
    judging(tiny)
    assert command(tiny, "run", "tiny").returncode == 0
    assert command(tiny, "run", "tiny", "-p", "width", "9").returncode == 0
    assert command(tiny, "run", "tiny", "-p", "width", "8", "-o", str(tmp_path / "x.ipynb")).returncode == 0
    assert verdict_of(tiny / "_build" / "verdicts" / "tiny.book.json") == 4
    custom = tiny / "_build" / "notebooks" / "book-custom" / "tiny_files" / "verdicts" / "tiny.book.json"
    assert verdict_of(custom) == 9
    assert verdict_of(tmp_path / "x_files" / "verdicts" / "tiny.book.json") == 8
    own, other = (tiny / "_build" / "records" / f"tiny.book{suffix}.jsonl" for suffix in ("", "-custom"))
    assert len(own.read_text().splitlines()) == 5
    assert len(other.read_text().splitlines()) == 9


def test_plain_papermill_and_a_script_with_other_parameters_write_beside_themselves_too(tiny, tmp_path):
    import jupytext

    judging(tiny)
    source = tmp_path / "tiny.ipynb"
    jupytext.write(jupytext.read(tiny / "notebooks" / "tiny.py"), source)
    papermill = [sys.executable, "-m", "papermill", str(source), str(tmp_path / "out.ipynb"), "-k", "python3"]
    for options in ([], ["-p", "width", "3"]):
        subprocess.run([*papermill, *options], capture_output=True, check=True, cwd=tiny / "notebooks")
    assert verdict_of(tiny / "_build" / "verdicts" / "tiny.book.json") == 4
    custom = tiny / "_build" / "notebooks" / "book-custom" / "tiny_files" / "verdicts" / "tiny.book.json"
    assert verdict_of(custom) == 3


@pytest.mark.parametrize("folder", ["", "notebooks"])
def test_a_notebook_is_a_script_too(tiny, folder):
    judging(tiny)
    path = os.path.relpath(tiny / "notebooks" / "tiny.py", tiny / folder)
    done = subprocess.run(
        [sys.executable, path], capture_output=True, text=True, check=False, cwd=tiny / folder
    )
    assert done.returncode == 0, done.stderr
    assert verdict_of(tiny / "_build" / "verdicts" / "tiny.book.json") == 4


def alive(word):
    """The processes that have a word in their environment: a killed command's kernel and workers, say."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            found += [path.parent.name] if word.encode() in path.read_bytes() else []
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_behind_by_a_command_that_is_killed_or_interrupted(tiny, tmp_path, monkeypatch, end):
    points = tiny / "points" / "tiny_points.py"
    waits = "    Path('started').touch()\n    import time\n    time.sleep(300)\n    return"
    points.write_text(points.read_text().replace("    return", waits))
    edit(tiny, "seeds=2", "seeds=2, workers=2")
    word = f"MARK_OF_THIS_TEST={tmp_path}"
    environment = {**os.environ, "MARK_OF_THIS_TEST": str(tmp_path), "TMPDIR": str(tmp_path)}
    words = [sys.executable, "-m", "memorization", "--root", str(tiny), "run", "tiny"]
    running = subprocess.Popen(
        words,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # a shell's "&" has its commands ignore it
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 100
    while not (tiny / "notebooks" / "started").exists():
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.05)
    assert len(alive(word)) >= 5  # the command, its worker, the kernel, and two workers of that
    running.send_signal(end)
    running.wait(30)
    deadline = time.monotonic() + 10
    while alive(word) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(word) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_folder() as mine:  # as the next run makes one
        assert list(tmp_path.glob("mm-*")) == [mine]


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            r"killed by signal 9 \(SIGKILL\), most often because memory ran out: close other programs",
        ),
        ("import os; os._exit(3)", r"ended with exit code 3; look in the cell that it was at"),
    ],
)
def test_a_kernel_that_died_in_a_cell_tells_how(job, end, message):
    path = job.root / "notebooks" / "tiny.py"
    path.write_text(path.read_text().replace('print("the end")', end))
    with pytest.raises(NotebookError, match=rf"tiny: the kernel .*{message}.*Finished points are kept"):
        execute(job)
    assert len(calls(job.root)) == 4


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("-11", "killed by signal 11 (SIGSEGV), a crash inside a compiled library: update it, or run"),
        ("-15", "killed by signal 15 (SIGTERM), because somebody, or a time limit, ended it: run it again"),
        ("-99", "killed by signal 99 (unknown), a crash"),
    ],
)
def test_other_signals_have_their_own_reasons(tmp_path, code, message):
    (tmp_path / "code").write_text(code)
    assert message in _how_it_ended(tmp_path / "code")


def test_without_an_exit_code_memory_is_the_usual_reason(tmp_path):
    assert _how_it_ended(tmp_path / "none").startswith(
        "the kernel died, most often because memory ran out: choose"
    )
