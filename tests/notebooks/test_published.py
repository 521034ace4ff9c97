"""The records of hours of work, judged once more: each published verdict and number follows from them."""

import functools
import json
import math
import runpy
from pathlib import Path

import pytest
from conftest import copied_project, page_script

from memorization.report import explorations, figures
from memorization.report.judging import NOT_CLAIMED, PARTLY, REPRODUCED, UNTESTED
from memorization.runs.parameters import profile_values
from memorization.runs.start import Run

ROOT = Path(__file__).resolve().parents[2]
RUNS = [path.stem.split(".") for path in sorted((ROOT / "results" / "records").glob("*.jsonl"))]
CLAIMS = sorted((ROOT / "results" / "verdicts").glob("*.json"))
NUMBERS = ("value", "low", "high", "gap_low", "gap_high", "expected", "tolerance", "seeds", "holds")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return copied_project(tmp_path_factory.mktemp("published") / "project")


def decided(folder: Path, name: str, profile: str) -> dict:
    """Each number of each check, under its claim and verdict."""
    rows = json.loads((folder / "verdicts" / f"{name}.{profile}.json").read_text())
    return {
        (row["id"], row["verdict"], row["null"], one["what"], one["outcome"], key, side): math.nan
        if number is None
        else number
        for row in rows
        for one in row["checks"]
        for key in NUMBERS
        for side, number in enumerate(one[key] if isinstance(one[key], list) else [one[key]])
    }


@pytest.mark.parametrize(("name", "profile"), RUNS)
def test_published_records_give_the_published_verdicts(
    project, real_data, monkeypatch, capsys, name, profile
):
    monkeypatch.chdir(project / "notebooks")
    monkeypatch.setenv("MEMORIZATION_DATA", str(real_data))
    monkeypatch.setattr(figures, "show", lambda *_, **__: None)  # pictures take two thirds of the time
    monkeypatch.setattr(explorations, "explore", lambda *_, **__: None)
    monkeypatch.setattr(Run, "sweep", functools.partialmethod(Run.sweep, missing="skip"))  # run nothing
    runpy.run_path(str(page_script(project, name, profile_values(project, name, profile))))
    if not (project / "results" / "verdicts" / f"{name}.{profile}.json").exists():
        # some points wait for data or a machine: a whole profile's verdicts are published with its records
        assert "points have no record" in capsys.readouterr().out
        return
    live, published = (decided(folder, name, profile) for folder in (project / "_build", project / "results"))
    assert live == pytest.approx(published, rel=1e-9, nan_ok=True)


@pytest.mark.parametrize("path", CLAIMS, ids=lambda path: path.stem)
def test_no_claim_is_reproduced_where_its_effect_is_absent(path):
    """Nor in part: the primary check says nothing if it holds there."""
    rows = [row for row in json.loads(path.read_text()) if not row["identity"]]
    judged = [row for row in rows if row["verdict"] not in (UNTESTED, NOT_CLAIMED)]
    assert judged
    assert [row["id"] for row in judged if row["null"] in (REPRODUCED, PARTLY, UNTESTED)] == []
