"""Fixtures that more than one room's tests use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from memorization.report.claims import Claim, read_claims

ROOT = Path(__file__).resolve().parents[1]
# Fixtures that take minutes: the tests that share one stay in one process, which makes it once.
SHARED = {"book_runs": "book", "smoke_project": "smoke", "book_html": "smoke"}


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in this hook, too
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        groups = {SHARED[name] for name in getattr(item, "fixturenames", ()) if name in SHARED}
        for group in groups:
            item.add_marker(pytest.mark.xdist_group(group))
        if item.get_closest_marker("gpu") and not _has_gpu():
            item.add_marker(pytest.mark.skip(reason="this machine has no GPU that torch can use"))


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


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
from memorization.runs.start import start

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
            "from memorization.runs.start import start",
            "import tiny_points\nfrom memorization.runs.start import start",
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


def page_script(root: Path, name: str, values: Mapping[str, Any]) -> Path:
    """A notebook's text with these values in its parameters cell, in a file beside the notebook."""
    path = root / "notebooks" / f"{name}.py"
    text = path.read_text()
    for key, value in values.items():
        text = re.sub(
            rf"^({key}: [^=]+ = )[^#]*", lambda found, v=value: f"{found[1]}{v!r}  ", text, flags=re.M
        )
    made = path.with_name(f"{name}_{abs(hash(text))}.py")
    made.write_text(text)
    return made


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


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with MNIST, Fashion-MNIST and CIFAR-10 in torchvision's layout, or a skip with the reason."""
    beside = ROOT.parent / "shared" / "data"
    root = Path(os.environ.get("MEMORIZATION_DATA") or beside)
    if not (root / "MNIST" / "raw").is_dir() or not (root / "cifar-10-batches-py").is_dir():
        pytest.skip(f"no MNIST and CIFAR-10 in {root}; set MEMORIZATION_DATA to run this test")
    return root


@dataclass(frozen=True)
class FakeRun:
    folder: Path
    name: str = "toy"
    profile: str = "book"
    own: bool = True
    source_url: str = "https://example.org/notebooks/toy.py"
    started: str = "2026-03-01T00:00:00Z"
    load: float = 0.5
    provenance: dict[str, Any] = field(
        default_factory=lambda: {"versions": {"torch": "2.13.0"}, "device": "a cpu", "cores": 2}
    )

    @property
    def build(self) -> Path:
        return self.folder / "_build"

    @property
    def figures_folder(self) -> Path:
        return self.build / "figures" / self.name

    @property
    def figures_href(self) -> str:
        return f"figures/{self.name}"

    @property
    def claims_path(self) -> Path:
        return self.folder / "claims.yaml"

    @property
    def verdicts_path(self) -> Path:
        return self.build / "verdicts" / f"{self.name}.{self.profile}.json"

    @property
    def evidence_path(self) -> Path:
        return self.build / "evidence" / f"{self.name}.{self.profile}.json"

    @property
    def price_path(self) -> Path:
        return self.build / "prices" / f"{self.name}.{self.profile}.json"

    @property
    def published(self) -> Path:
        return self.folder / "results"


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path)


@pytest.fixture
def records() -> pd.DataFrame:
    """Accuracy falls by 0.1 with each N, seeds differ by 0.02 and have the mean 0 in between."""
    rows = [
        {
            "N": N,
            "kind": kind,
            "seed": seed,
            "accuracy": start - 0.1 * step + 0.02 * (seed - 1),
            "theory": 0.9,
        }
        for kind, start in (("high", 0.9), ("low", 0.8))
        for step, N in enumerate((10, 20, 50))
        for seed in (0, 1, 2)
    ]
    how = {"_seconds": 0.5, "_peak_mib": 80.0, "_device": "a cpu", "_cores": 2, "_threads": 1}
    where = {"_code": "c0de", "_code_changed": False, "_source": "live"}
    frame = pd.DataFrame(rows).assign(**how, **where)
    return frame.assign(_date=[f"2026-03-{day:02d}T00:00:00Z" for day in range(1, len(frame) + 1)])


@pytest.fixture
def benign_run() -> Callable[..., pd.DataFrame]:
    """Make the records of one point of ``memorize``: two seeds, three epochs, four sites.

    Seed s starts with the probe ``start + 0.01 s`` and ends ``gain`` higher.
    """

    def make(
        *, seeds: tuple[int, ...] = (0, 1), start: float = 0.8, gain: float = 0.1,
        clean: float = 1.0, bank: float = 0.98, **given: Any,
    ) -> pd.DataFrame:  # fmt: skip
        point = {
            "dataset": "digits", "policy": "small_digits", "strength": 0.5, "views": 0,
            "view_labels": "shared", "noise": 1.0, "group": 1, "mix": "none",
            "hidden": [16], "memorized": None, **given,
        }  # fmt: skip
        rows = [
            {
                **point, "seed": seed, "at": at, "epoch": epoch, "site": site, "depth": depth,
                "clean_probe": start + 0.01 * seed + (epoch / 9) * gain,
                "uncalibrated_probe": 0.5, "noise_probe": 0.1 + 0.02 * depth * epoch, "invariance": 0.5,
                "clean_view": clean if epoch else 0.1, "fresh_view": 0.9 * clean if epoch else 0.1,
                "bank_view": bank if point["views"] else float("nan"), "test_accuracy": 0.1,
                "batch_accuracy": 0.9, "loss": 0.01, "_seconds": 1.0 + epoch,
            }
            for seed in seeds
            for at, epoch in (("start", 0), ("during", 3), ("end", 9))
            for depth, site in enumerate(("conv1", "embedding", "hidden", "logits"))
        ]  # fmt: skip
        return pd.DataFrame([{**row, "hidden": list(row["hidden"])} for row in rows])

    return make


@pytest.fixture
def contaminated() -> Callable[..., pd.DataFrame]:
    """Make the records of one point of ``contaminate``: arms, two seeds, five steps, five shifts at the end.

    c grows by 0.002 a step and b by that times (1 - s)/(1 + s), with the slope s of the arm. Seeds differ by
    0.01 in risk and accuracy.
    """

    def make(*arms: dict[str, Any], seeds: tuple[int, ...] = (0, 1), **point: Any) -> pd.DataFrame:
        plain = {
            "activation": "relu", "slope": 0.0, "rate": 0.5, "decay": 0.0, "init_scale": 1.0, "mean": 0.0,
            "flip": 0.0, "environment": 1.0, "penalty": 0.0, "symmetric": False, "center": False,
        }  # fmt: skip
        common = {"core": 4, "background": 2, "loss": "hinge", "steps": 100, "width": 3, **point}
        rows = [
            {**common, **plain, **arm, **_contamination(arm.get("slope", 0.0), step, shift, seed)}
            for arm in arms
            for seed in seeds
            for step in (0, 10, 20, 30, 100)
            for shift in ((-1.0, 1.0, 0.5, 0.0, -2.0) if step == 100 else (-1.0,))
        ]
        return pd.DataFrame(rows)

    return make


def _contamination(slope: float, step: int, shift: float, seed: int) -> dict[str, Any]:
    c = 0.002 * step
    b = c * (1 - slope) / (1 + slope)
    return {
        "seed": seed, "step": step, "shift": shift, "c_plus": c, "c_minus": -c, "b_plus": b, "b_minus": b,
        "background_norm": 0.1 * (1 + seed) + b, "own": 1.0 if step else 0.5, "other": 0.0 if step else 0.5,
        "id_risk": 1 - 0.009 * step + 0.01 * seed, "ood_risk": 1 - 0.001 * step * (1 + shift) + 0.01 * seed,
        "id_accuracy": 0.98 + 0.01 * seed, "ood_accuracy": 0.8 + 0.1 * shift + 0.01 * seed,
        "ood_margin": shift,
        "core_sums": [c, -c, 0.0], "background_sums": [b, b + seed, 0.01], "positive": [True, False, True],
        "_seconds": 1.0,
    }  # fmt: skip


@pytest.fixture
def claims_of(tmp_path: Path) -> Callable[..., list[Claim]]:
    """Write a claims file with one claim that has these checks, and read it."""

    def write(*checks: dict[str, Any], **claim: Any) -> list[Claim]:
        entry = {
            "id": "T-1",
            "paper": "someone2024",
            "place": "Figure 1",
            "statement": "Something falls.",
            "profiles": ["book"],
            "origin": "paper",
            "tolerance_origin": "made for the test",
            "null_records": None
            if checks and all(check.get("identity") for check in checks)
            else "untrained",
            "checks": [
                {"what": "a number", "records": "toy", "value": "accuracy", **check} for check in checks
            ],
        }
        path = tmp_path / "claims.yaml"
        path.write_text(yaml.safe_dump([{**entry, **claim}]), encoding="utf-8")
        return read_claims(path)

    return write
