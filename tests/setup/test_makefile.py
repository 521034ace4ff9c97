"""What a newcomer types: the make targets, and the environment that they make."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)[1].split()
# what make hands to the programs that it starts, this test run among them
INHERITED = (
    "MAKE",
    "MFLAGS",
    "UV",
    "PYTHON",
    "PROFILE",
    "JOBS",
    "PORT",
    "EXTRAS",
    "PYTEST_ARGS",
    "PIP_FIND_LINKS",
)

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def script(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def fake_python(path: Path, version: str, can: str = "true") -> Path:
    """A program that says it is Python ``version``; to everything else it answers with ``can``."""
    return script(path, f'case "$2" in *version_info*) echo {version} ;; *) {can} ;; esac')


@pytest.fixture
def checkout(tmp_path) -> Path:
    """The set-up files alone, in a folder with a space in its name."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / ".ci", folder / ".ci")
    return folder


@pytest.fixture
def make(checkout):
    def run(*words: object, **variables: object) -> subprocess.CompletedProcess[str]:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(INHERITED)}
        environment |= {name: str(value) for name, value in variables.items()}
        command = ["make", *map(str, words)]
        return subprocess.run(
            command, cwd=checkout, env=environment, text=True, capture_output=True, timeout=60
        )

    return run


@pytest.fixture
def uv(tmp_path, checkout) -> Path:
    """A uv that makes an environment with a fake Python, installs nothing and notes what it was asked."""
    python = fake_python(tmp_path / "made" / "python", "3.11")
    return script(
        tmp_path / "tools" / "uv",
        f'echo "$@ [$UV_FIND_LINKS]" >> "{tmp_path}/uv.log"',
        f'if [ "$1" = venv ]; then mkdir -p .venv/bin; cp "{python}" .venv/bin/python; fi',
    )


@pytest.fixture
def asked(tmp_path):
    return lambda: (tmp_path / "uv.log").read_text().splitlines()


def test_help_lists_every_target(make):
    assert re.findall(r"^  make ([\w-]+) ", make("help").stdout, re.MULTILINE) == TARGETS


def test_make_alone_is_help(make):
    assert make().stdout == make("help").stdout


def test_book_sets_up_then_runs_notebooks_then_builds(make):
    steps = make("-n", "book", "JOBS=2").stdout.splitlines()
    assert [steps[0].split()[:2], *steps[2:]] == [
        ["bash", ".ci/setup"],
        ".venv/bin/python -m memorization run --all --profile book --jobs 2",
        ".venv/bin/python -m memorization book --profile book",
    ]


def test_book_takes_profile_and_jobs(make):
    steps = make("-n", "book", "PROFILE=smoke", "JOBS=3").stdout
    assert "run --all --profile smoke --jobs 3" in steps


def test_test_checks_style_and_types_before_the_tests(make):
    steps = make("-n", "-j4", "test", "JOBS=2").stdout.splitlines()[2:]
    assert [step.partition(" -m ")[2].strip() for step in steps] == [
        "ruff check .",
        "ruff format --check .",
        "mypy",
        "pytest -n 2 --dist loadgroup",
    ]


def test_serve_without_a_book_says_what_to_do(make):
    assert 'No book is built yet: run "make book" first.' in make("serve").stderr


def test_benchmarks_without_a_script_say_so(make, uv):
    assert "No benchmark is in benchmarks/." in make("benchmarks", UV=uv).stderr


def test_clean_keeps_the_records_of_finished_runs(make, checkout):
    for name in ("html", "records"):
        (checkout / "_build" / name).mkdir(parents=True)
    make("clean")
    assert [path.name for path in (checkout / "_build").iterdir()] == ["records"]


def test_the_environment_is_made_from_the_pins_with_every_extra(make, uv, asked):
    make("env", UV=uv)
    assert asked()[1].split(" -c ")[1] == "requirements.lock -e .[run,book,test,cluster] []"


def test_a_folder_of_wheels_given_to_pip_reaches_uv(make, uv, asked):
    make("env", UV=uv, PIP_FIND_LINKS="wheels more")
    assert asked()[1].endswith("[wheels,more]")


def bringing(tool: object) -> str:
    """What a Python does that makes an environment with itself and whose pip brings a uv: this tool."""
    copies = 'mkdir -p .venv/bin; cp "$0" .venv/bin/python'
    brings = f'cp "{tool}" .venv/bin/uv'
    notes = "echo pip >> pip.log"
    return f'case "$*" in *"-m venv"*) {copies} ;; *uv*) {brings} ;; *"pip install"*) {notes} ;; esac'


def test_pip_brings_uv_where_there_is_none(make, tmp_path, uv, asked, checkout):
    python = fake_python(tmp_path / "python", "3.11", can=bringing(uv))
    make("env", f"PYTHON={python}", PATH="/usr/bin:/bin")
    assert [line.split()[:2] for line in asked()] == [["pip", "install"]]
    assert not (checkout / "pip.log").exists()


def test_pip_goes_on_where_the_uv_that_it_brought_fails(make, tmp_path, checkout):
    failing = script(tmp_path / "failing" / "uv", "exit 1")
    python = fake_python(tmp_path / "python", "3.11", can=bringing(failing))
    assert make("env", f"PYTHON={python}", PATH="/usr/bin:/bin").returncode == 0
    assert (checkout / "pip.log").read_text() == "pip\n"


def test_a_second_make_installs_nothing(make, uv, asked):
    make("env", UV=uv)
    make("env", UV=uv)
    assert len(asked()) == 2


@pytest.mark.parametrize("changed", ["pyproject.toml", "requirements.lock"])
def test_changed_requirements_are_installed_into_the_same_environment(make, uv, asked, checkout, changed):
    make("env", UV=uv)
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    make("env", UV=uv)
    assert [line.split()[0] for line in asked()] == ["venv", "pip", "pip"]


def test_a_failed_installation_is_tried_again(make, uv, tmp_path, asked):
    failing = script(tmp_path / "failing" / "uv", f'"{uv}" "$@"', '[ "$1" = venv ]')
    assert make("env", UV=failing).returncode != 0
    make("env", UV=uv)
    assert [line.split()[0] for line in asked()] == ["venv", "pip", "pip"]


def test_an_environment_of_an_old_python_is_made_again(make, uv, asked, checkout):
    fake_python(checkout / ".venv" / "bin" / "python", "3.10")
    make("env", UV=uv)
    assert [line.split()[0] for line in asked()] == ["venv", "pip"]


def test_an_old_python_is_named_with_what_to_do(make, tmp_path):
    python = fake_python(tmp_path / "old python", "3.9")
    message = make("env", f"PYTHON={python}").stderr
    assert "Python 3.11 or newer is needed" in message
    assert f"Found: {python} is Python 3.9." in message
    assert "make book PYTHON=/path/to/python3.12" in message


def test_a_missing_python_is_named(make):
    assert (
        "no Python that starts, looking for: nowhere/python." in make("env", "PYTHON=nowhere/python").stderr
    )


def test_a_python_without_ensurepip_is_told_the_debian_package(make, tmp_path):
    python = fake_python(tmp_path / "python", "3.11", can='case "$2" in *ensurepip*) false ;; esac')
    assert "sudo apt-get install python3.11-venv" in make("env", f"PYTHON={python}", "UV=").stderr
