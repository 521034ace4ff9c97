"""The exercises that the pages propose run to their end, at profile smoke."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from memorization.runs.parameters import names

ROOT = Path(__file__).resolve().parents[2]
OPTION = re.compile(r"`(-p [^`]+)`")


def exercises(name: str) -> list[str]:
    """The options of the runner that a page's last section proposes."""
    section = (ROOT / "notebooks" / f"{name}.py").read_text().partition("# ## Try it\n")[2]
    return OPTION.findall(section)


EXERCISES = [(name, option) for name in names(ROOT) for option in exercises(name)]


def test_every_paper_has_exercises():
    papers = {path.stem for path in (ROOT / "notebooks" / "claims").glob("*.yaml")}
    assert {name for name, _ in EXERCISES} == papers


@pytest.mark.parametrize(("name", "option"), EXERCISES)
def test_an_exercise_runs_to_its_end(smoke_project, tmp_path, name, option):
    environment = {**os.environ, "PYTHONPATH": str(smoke_project / "lib")}
    environment["MEMORIZATION_DATA"] = str(smoke_project / "no-data")
    command = [sys.executable, "-m", "memorization", "--root", str(smoke_project), "run", name]
    command += ["--profile", "smoke", *shlex.split(option), "-o", str(tmp_path / "out.ipynb")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
