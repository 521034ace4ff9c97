"""What is under version control names no machine and no build that exists on one machine only."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MACHINE_PATH = re.compile(
    r"(?<![\w.~/$}-])/(home|Users|root|opt|mnt|srv|work|scratch)/[\w.-]+|\b[A-Z]:\\Users\\"
)
LOCAL_VERSION = re.compile(r"\b\d+(?:\.\d+)+\+(?:cpu|cu\d+|rocm[\d.]+)\b")
WRITTEN_BY_RUNS = "results/"  # provenance of a published run: it names the very build that made it


@pytest.fixture(scope="module")
def texts() -> dict[str, str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode != 0:
        pytest.skip("this folder is not a git checkout")
    found = {}
    for name in filter(None, listed.stdout.split("\0")):
        try:
            found[name] = (ROOT / name).read_text(encoding="utf-8")
        except (UnicodeDecodeError, FileNotFoundError):
            continue  # a picture, or a file that is deleted but not yet committed
    return found


def found_in(texts: dict[str, str], pattern: re.Pattern[str]) -> list[str]:
    return [f"{name}: {match[0]}" for name, text in texts.items() for match in pattern.finditer(text)]


def test_no_file_names_a_path_of_one_machine(texts):
    assert found_in(texts, MACHINE_PATH) == []


def test_no_file_names_a_local_version(texts):
    sources = {name: text for name, text in texts.items() if not name.startswith(WRITTEN_BY_RUNS)}
    assert found_in(sources, LOCAL_VERSION) == []


def test_no_built_file_is_tracked(texts):
    assert [name for name in texts if name.startswith(("_build/", ".venv/")) or name.endswith(".ipynb")] == []


@pytest.mark.parametrize("room", ["data", "models", "training", "measures", "runs", "report"])
def test_git_does_not_ignore_the_tests_of_a_room(room):
    ignored = subprocess.run(
        ["git", "check-ignore", f"tests/{room}/test_it.py"], cwd=ROOT, capture_output=True
    )
    if ignored.returncode == 128:
        pytest.skip("this folder is not a git checkout")
    assert ignored.returncode == 1


@pytest.mark.parametrize("path", ["home", "Users", "root", "opt"])
def test_a_path_of_a_machine_is_found(path):
    assert MACHINE_PATH.search(f"data = '/{path}/anna/data'")


@pytest.mark.parametrize(
    "text", ["https://example.org/home/page", "$HOME/opt/x", "/path/to/python", "lib/root/x"]
)
def test_an_address_is_not_taken_for_a_path_of_a_machine(text):
    assert not MACHINE_PATH.search(text)


@pytest.mark.parametrize("build", ["cpu", "cu130"])
def test_a_local_version_is_found(build):
    assert LOCAL_VERSION.search(f"torch==2.13.0+{build}")
