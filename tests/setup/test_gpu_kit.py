"""What a machine with a GPU is given, and what its script leaves when it is cut."""

import ast
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def kit(tmp_path):
    """A kit without wheels: all that they hold is installed here."""
    for name in ("wheels", "data"):
        (tmp_path / "kit" / name).mkdir(parents=True)
    return tmp_path / "kit"


@pytest.fixture
def start(kit, tmp_path):
    def run(seconds):
        words = [sys.executable, str(ROOT / ".ci" / "gpu"), str(seconds), str(tmp_path / "out"), str(kit)]
        (tmp_path / "scratch").mkdir()
        environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
        return subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )

    return run


def test_a_kit_that_is_absent_is_told_with_what_to_do(start, kit):
    shutil.rmtree(kit)
    assert "make the kit on a machine with a network: make gpu-kit" in start(5).communicate()[0]


def test_every_step_is_in_the_summary_when_there_is_no_time(start, tmp_path):
    running = start(1)
    assert running.wait(60) == 0
    found = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert list(found["steps"]) == ["tests", "pages", "benchmarks", "points"]
    assert {step["outcome"] for step in found["steps"].values()} <= {"no time was left", "stopped after 0 s"}
    assert "torch" not in found["machine"].lower() or found["machine"]
    assert found["ended"] >= found["begun"]


def running_with(text):
    """The processes whose environment holds this text; none where no /proc tells."""
    held = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            held += [path.parent.name] if text.encode() in path.read_bytes() else []
        except OSError:
            continue
    return held


def test_a_run_that_is_killed_leaves_a_whole_summary_no_process_and_no_scratch_folder(start, tmp_path):
    running = start(200)
    summary = tmp_path / "out" / "summary.json"
    deadline = time.monotonic() + 60
    while not summary.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert "steps" in json.loads(summary.read_text())
    scratch = tmp_path / "scratch"
    while running_with(f"TMPDIR={scratch}") or any(scratch.iterdir()):
        assert time.monotonic() < deadline + 15
        time.sleep(0.2)


def test_the_kit_brings_whatever_a_page_imports_and_the_machine_lacks():
    line = next(
        row for row in (ROOT / ".ci" / "gpu-kit").read_text().splitlines() if "requirements.lock" in row
    )
    given = {{"pyyaml": "yaml"}.get(name, name) for name in line.split()[2:]}
    kit = given | {"nbformat", "nbclient", "jupyter_client", "IPython", "traitlets"}  # which those need
    machine = {"torch", "torchvision", "pandas", "sklearn", "seaborn", "pytest"}
    machine |= {"numpy", "scipy", "joblib", "matplotlib", "PIL"}  # which those need
    # clusters, CLIP and the book's pages
    elsewhere = {"dask", "dask_jobqueue", "distributed", "open_clip", "jupyter_book"}
    found = set()
    for path in (path for room in ("lib", "notebooks", "benchmarks") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            found |= {name.partition(".")[0] for name in names}
    own = {"memorization", *(path.stem for path in (ROOT / "benchmarks").glob("*.py"))}
    assert found - set(sys.stdlib_module_names) - own - elsewhere <= kit | machine


def test_a_data_set_that_is_absent_and_one_that_is_too_large_are_refused(tmp_path):
    data = tmp_path / "data"
    (data / "Large").mkdir(parents=True)
    with (data / "Large" / "file").open("wb") as file:
        file.seek(61 * 2**20)
        file.write(os.urandom(2**20))
    fake = tmp_path / "python"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    environment = {**os.environ, "PYTHON": str(fake), "MEMORIZATION_DATA": str(data)}
    for name, message in (
        ("Smal", "Smal is absent; name folders of MEMORIZATION_DATA"),
        ("Large", "60 is the most"),
    ):
        words = ["bash", str(ROOT / ".ci" / "gpu-kit"), str(tmp_path / "kit"), "3.12", name]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 1
        assert message in done.stderr
