"""Fixtures that more than one room's tests use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

TINY = '''\
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
'''

POINTS = '''\
"""Points of the tiny project; each call leaves a mark, so that a test can count them."""
import os
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
        TINY.replace("from memorization.runs import start", "import tiny_points\nfrom memorization.runs import start")
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
