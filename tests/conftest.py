"""Fixtures that more than one room's tests use."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

TINY = """\
# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
# ---

# %% [markdown]
# # Tiny

# %% tags=["parameters"]
profile: str = "book"  # which parameter file | name | one of smoke, book
width: int = 4  # number of features | features | 1..100
alphas: list[float] = [0.25, 0.5]  # spurious fraction | fraction | (0..1)
label: str = "none"  # what to call it | name | any

# %%
from pathlib import Path
from memorization.runs import start

run = start("tiny", globals())

# %%
rows = run.sweep(tiny_points.point, {"alpha": alphas}, seeds=2, fixed={"width": width})
rows[["alpha", "seed", "value"]]

# %%
run.figures_folder.mkdir(parents=True, exist_ok=True)
_ = (run.figures_folder / "a.csv").write_text(rows[["alpha", "value"]].to_csv())
print("the end")
"""

POINTS = '''\
"""Points of the tiny project; each call leaves a mark, so that a test can count them."""
import os
import shutil
import subprocess
import sys
from pathlib import Path


def point(*, alpha, width, seed):
    with Path(os.environ["TINY_CALLS"]).open("a") as calls:
        calls.write(f"{alpha} {width} {seed}\\\\n")
    return {"value": alpha * width + seed}
'''


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one small notebook, whose points are in a module of its own."""
    root = tmp_path / "project"
    (root / "notebooks" / "parameters").mkdir(parents=True)
    (root / "_toc.yml").write_text("format: jb-book\nroot: book/intro\n")
    (root / "notebooks" / "tiny.py").write_text(
        TINY.replace(
            "from memorization.runs import start", "import tiny_points\nfrom memorization.runs import start"
        )
    )
    (root / "notebooks" / "parameters" / "tiny.book.yaml").write_text("profile: book\n")
    (root / "notebooks" / "parameters" / "tiny.smoke.yaml").write_text("alphas: [0.5]\nwidth: 2\n")
    (root / "points").mkdir()
    (root / "points" / "tiny_points.py").write_text(POINTS.replace("\\\\n", "\\n"))
    monkeypatch.setenv("TINY_CALLS", str(root / "calls"))
    monkeypatch.setenv("MEMORIZATION_DATA", str(root / "data"))
    path = os.pathsep.join([str(root / "points"), str(ROOT / "lib"), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    return root


def calls(root: Path) -> list[str]:
    """The calls of the tiny project's point so far."""
    path = root / "calls"
    return path.read_text().splitlines() if path.exists() else []


def tracked(root: Path) -> list[Path]:
    """The project's own files: what git tracks, or would."""
    listing = ["git", "-C", str(root), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.split("\0")
    return sorted(root / name for name in names if name and (root / name).is_file())


def copied_project(root: Path) -> Path:
    """Copy the project's own files, so that a test can build without touching them."""
    for path in tracked(ROOT):
        copy = root / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
    return root


@pytest.fixture(scope="session")
def smoke_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which every notebook was executed at profile smoke and the book was built."""
    root = copied_project(tmp_path_factory.mktemp("smoke") / "project")
    environment = {**os.environ, "PYTHONPATH": str(root / "lib"), "MEMORIZATION_DATA": str(root / "no-data")}
    for command in (["run", "--all", "--jobs", "2"], ["book"]):
        done = subprocess.run(
            [sys.executable, "-m", "memorization", "--root", str(root), *command, "--profile", "smoke"],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return root


@pytest.fixture(scope="session")
def book_html(smoke_project: Path) -> Path:
    """The folder of the built book."""
    return smoke_project / "_build" / "html"
