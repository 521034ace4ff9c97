"""The exercises that the pages propose run to their end, at profile smoke."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import copied_project, page_script

from memorization.report import figures
from memorization.runs.parameters import declared_parameters, names, profile_values
from memorization.runs.start import Run

ROOT = Path(__file__).resolve().parents[2]
OPTION = re.compile(r"`(-p [^`]+)`")


def exercises(name: str) -> list[str]:
    """The options of the runner that a page's exercises propose."""
    section = (ROOT / "notebooks" / f"{name}.py").read_text().partition("# ## Exercises\n")[2]
    return OPTION.findall(section)


EXERCISES = [(name, option) for name in names(ROOT) for option in exercises(name)]
FIRST = {name: option for name, option in reversed(EXERCISES)}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copied_project(tmp_path_factory.mktemp("exercises") / "project")


def test_every_paper_has_exercises():
    papers = {path.stem for path in (ROOT / "notebooks" / "claims").glob("*.yaml")}
    assert set(FIRST) == papers


def test_the_command_runs_an_exercise(project, tmp_path):
    """One page's: the command is the same for all, and what each page does with its values is run below."""
    name, option = "feature_contamination", FIRST["feature_contamination"]
    environment = {**os.environ, "PYTHONPATH": str(project / "lib")}
    environment["MEMORIZATION_DATA"] = str(project / "no-data")
    command = [sys.executable, "-m", "memorization", "--root", str(project), "run", name]
    command += ["--profile", "smoke", *shlex.split(option), "-o", str(tmp_path / "out.ipynb")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("name", "option"), EXERCISES)
def test_an_exercise_runs_to_its_end(project, monkeypatch, name, option):
    """In this process: imports, kernels, pictures and the longest of the twenty lines, which other tests see,
    are most of a run's time."""
    _, key, text = shlex.split(option)
    values = {
        **profile_values(project, name, "smoke"),
        key: declared_parameters(project, name)[key].parse(text),
    }
    monkeypatch.chdir(project / "notebooks")
    monkeypatch.setenv("MEMORIZATION_DATA", str(project / "no-data"))
    monkeypatch.setattr(figures, "_png", lambda figure: b"")
    monkeypatch.setattr(Run, "workers", 1)
    script = page_script(project, name, values)
    script.write_text(script.read_text().replace("in range(800):", "in range(5):"))
    runpy.run_path(str(script))
