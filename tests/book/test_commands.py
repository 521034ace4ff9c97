"""Every command that the README and the pages show is one that works."""

import dataclasses
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import tracked

from memorization.report.tables import how_to_run
from memorization.runs import cli
from memorization.runs.notebook import Job
from memorization.runs.parameters import declared_parameters

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    ROOT / "README.md",
    *sorted((ROOT / "book").rglob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.py")),
]
COMMAND = re.compile(r"python -m memorization ([^`#\n]+)")
SHOWN = sorted({m.strip().rstrip(",.") for text in TEXTS for m in COMMAND.findall(text.read_text())})


PAGES = sorted(path.stem for path in (ROOT / "notebooks" / "claims").glob("*.yaml"))


def said(run, name: str) -> list[str]:
    """What a page says of running it: the project's own command, and papermill's lines."""
    text = how_to_run(dataclasses.replace(run, name=name)).data
    return re.findall(r"^```bash\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_a_command_that_knows_its_parameters(name, run):
    args = cli._parser().parse_args(shlex.split(said(run, name)[0])[3:])
    assert args.names == [name]
    assert set(cli._given(declared_parameters(ROOT, name), args)) <= set(declared_parameters(ROOT, name))


def test_what_a_page_says_of_papermill_works_as_it_is_typed(tmp_path, monkeypatch, run):
    """In a shell, in a copy of the project; of the page that is soonest done: all say the same."""
    plain = said(run, "feature_contamination")[1]
    for name in PAGES:
        assert said(run, name)[1].replace(name, "feature_contamination") == plain
        assert "seeds" in declared_parameters(ROOT, name)
    for path in tracked(ROOT):
        if not path.is_relative_to(ROOT / "results"):  # pages show less without, and are sooner done
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "lib"))
    done = subprocess.run(
        ["bash", "-e", "-c", plain], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "notebooks" / "out.ipynb").is_file()


def test_commands_are_shown():
    assert len(SHOWN) >= 4


@pytest.mark.parametrize("command", SHOWN)
def test_a_shown_command_is_understood(command):
    words = [{"NAME": "spurious_memorization", "P": "book"}.get(word, word) for word in shlex.split(command)]
    if "key" in words or not words:
        pytest.skip("shows the form of the command, not a command")
    args = cli._parser().parse_args(words)
    for name in getattr(args, "names", []):
        given = cli._given(declared_parameters(ROOT, name), args)
        assert set(given) <= set(Job(ROOT, name, args.profile, given).parameters)
