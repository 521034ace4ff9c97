"""Every notebook runs to its end at profile smoke, and the book is built from it."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import nbformat
import pytest
from conftest import tracked

from memorization.report.claims import read_claims
from memorization.report.schema import schema
from memorization.runs.parameters import names

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=names(ROOT))
def executed(request, smoke_project):
    return nbformat.read(
        smoke_project / "_build" / "notebooks" / "smoke" / f"{request.param}.ipynb", as_version=4
    )


def test_it_ran_to_its_end_without_a_warning_on_the_page(executed):
    code = [cell for cell in executed.cells if cell.cell_type == "code" and cell.source.strip()]
    assert all(cell.execution_count for cell in code)
    assert [o.text for cell in code for o in cell.outputs if o.get("name") == "stderr"] == []


def test_every_figure_has_its_picture_and_its_data(smoke_project):
    for name in names(ROOT):
        folder = smoke_project / "_build" / "notebooks" / "smoke" / "figures" / name
        pictures, data = ({p.stem for p in folder.glob(f"*.{kind}")} for kind in ("png", "csv"))
        assert {picture.removesuffix("-narrow") for picture in pictures} <= data


def test_the_built_book_offers_the_data_behind_each_figure(smoke_project, book_html):
    made = smoke_project / "_build" / "notebooks" / "smoke" / "figures"
    for path in made.rglob("*.csv"):
        assert (book_html / "notebooks" / "figures" / path.relative_to(made)).is_file()


def test_smoke_verdicts_are_complete_rows(smoke_project):
    claims = ROOT / "notebooks" / "claims" / "spurious_memorization.yaml"
    rows = json.loads(
        (smoke_project / "_build" / "verdicts" / "spurious_memorization.smoke.json").read_text()
    )
    jsonschema.validate(rows, schema())
    assert [row["id"] for row in rows] == [claim.id for claim in read_claims(claims)]
    assert {sum(check["primary"] for check in row["checks"]) for row in rows if row["checks"]} == {1}


def test_no_claim_without_a_record_is_reproduced(smoke_project):
    rows = json.loads(
        (smoke_project / "_build" / "verdicts" / "spurious_memorization.smoke.json").read_text()
    )
    assert not [row["id"] for row in rows if row["verdict"] == "reproduced" and row["value"] is None]


def test_a_build_changes_no_tracked_file(smoke_project):
    ours = {p.relative_to(ROOT): hashlib.sha256(p.read_bytes()).hexdigest() for p in tracked(ROOT)}
    there = {p: hashlib.sha256((smoke_project / p).read_bytes()).hexdigest() for p in ours}
    assert there == ours
    extra = [p.name for p in smoke_project.iterdir() if not (ROOT / p.name).exists() and p.name != "_build"]
    assert extra == []


def run_again(smoke_project) -> str:
    """Run all pages in the smoke project once more; return what the command says."""
    command = [sys.executable, "-m", "memorization", "--root", str(smoke_project), "run", "--all"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(smoke_project / "lib"),
        "MEMORIZATION_DATA": str(smoke_project / "no-data"),
    }
    done = subprocess.run(
        [*command, "--profile", "smoke"], capture_output=True, text=True, check=True, env=environment
    )
    return done.stdout


def test_nothing_is_executed_a_second_time(smoke_project):
    assert run_again(smoke_project).count("nothing changed") == len(names(ROOT))


def test_pages_that_are_made_again_from_the_same_records_have_the_same_bytes(smoke_project):
    """But for the page whose twenty lines train a network of convolutions: the last bits of these differ."""
    folder = smoke_project / "_build" / "notebooks" / "smoke"
    papers = [folder / f"{path.stem}.ipynb" for path in (ROOT / "notebooks" / "claims").glob("*.yaml")]
    papers.remove(folder / "benign_memorization.ipynb")
    before = {page: page.read_bytes() for page in papers}
    for page in papers:
        page.unlink()
    run_again(smoke_project)
    assert {page: page.read_bytes() for page in papers} == before
