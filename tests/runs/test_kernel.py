"""A kernel that died says how: by which signal or with which exit code, and what to do."""

import os

import pytest
from conftest import calls

from memorization.runs.notebook import Job, NotebookError, _how_it_ended, execute


@pytest.fixture
def job(tiny, monkeypatch):
    for name in ("ROOT", "OUTPUT", "BESIDE", "SCHEDULER", "PROGRESS"):  # executing in this process sets them
        monkeypatch.setenv(f"MEMORIZATION_{name}", "")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PYTHONHASHSEED", "MPLBACKEND", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    return Job(tiny, "tiny", "book")


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
