"""Assembling the book's source, and publishing results."""

import json

import pytest

from memorization.runs.book import BookError, assemble, publish
from memorization.runs.records import Record, RecordStore


@pytest.fixture
def project(tmp_path):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "book").mkdir()
    (tmp_path / "_config.yml").write_text("title: x\n")
    (tmp_path / "_toc.yml").write_text("root: book/intro\nparts:\n  - chapters: [{file: notebooks/a}]\n")
    (tmp_path / "book" / "intro.md").write_text("# x\n")
    made = tmp_path / "_build" / "notebooks" / "book"
    (made / "figures" / "a").mkdir(parents=True)
    (made / "a.ipynb").write_text("{}")
    (made / "figures" / "a" / "f.csv").write_text("x\n1\n")
    return tmp_path


def test_prose_notebooks_and_data_come_together(project):
    target = assemble(project, "book")
    found = sorted(str(p.relative_to(target)) for p in target.rglob("*") if p.is_file())
    assert found == [
        "_config.yml",
        "_toc.yml",
        "book/intro.md",
        "extra/notebooks/figures/a/f.csv",
        "notebooks/a.ipynb",
    ]


def test_a_page_that_is_gone_goes_from_the_assembled_source(project):
    (project / "book" / "old.md").write_text("# old\n")
    assert (assemble(project, "book") / "book" / "old.md").exists()
    (project / "book" / "old.md").unlink()
    assert not (assemble(project, "book") / "book" / "old.md").exists()


def test_a_notebook_that_was_not_executed_is_named_with_what_to_do(project):
    (project / "_build" / "notebooks" / "book" / "a.ipynb").unlink()
    with pytest.raises(BookError, match=r"a\.ipynb is absent.*make notebooks"):
        assemble(project, "book")


def record(seed, code="c"):
    return Record("f", {"a": 1}, seed, ({"value": 1.0},), code, {"date": f"2026-01-0{seed + 1}T00:00:00Z"})


def test_records_are_appended_once_and_verdicts_are_copied(project):
    live = project / "_build" / "records" / "a.desktop.jsonl"
    (project / "_build" / "verdicts").mkdir()
    (project / "_build" / "verdicts" / "a.desktop.json").write_text(json.dumps([{"id": "A-1"}]))
    with RecordStore(live) as store:
        store.append(record(0))
    publish(project, "desktop")
    with RecordStore(live) as store:
        store.append(record(1))
    publish(project, "desktop")
    assert publish(project, "desktop") == ["records: 0 new of a.desktop.jsonl → results/records/"]
    assert [r.seed for r in RecordStore(project / "results" / "records" / "a.desktop.jsonl").read()] == [0, 1]
    assert json.loads((project / "results" / "verdicts" / "a.desktop.json").read_text()) == [{"id": "A-1"}]


def test_records_of_the_book_profile_are_not_published(project):
    with RecordStore(project / "_build" / "records" / "a.book.jsonl") as store:
        store.append(record(0))
    publish(project, "book")
    assert not (project / "results").exists()
