"""Assembling the book's source, and publishing results."""

import json

import pytest

from memorization.runs.book import BookError, assemble, publish, take_in
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


def test_runs_with_other_parameters_are_left_out_and_named(project):
    for name in ("a.desktop", "a.desktop-custom"):
        with RecordStore(project / "_build" / "records" / f"{name}.jsonl") as store:
            store.append(record(0))
    custom = project / "_build" / "notebooks" / "desktop-custom"
    custom.mkdir(parents=True)
    (custom / "a.ipynb").write_text("{}")
    done = publish(project, "desktop")
    assert done == [
        "records: 1 new of a.desktop.jsonl → results/records/",
        "left out: a.desktop-custom.jsonl, made with other parameters than the profile's",
        "left out: a.ipynb, made with other parameters than the profile's",
    ]
    assert [path.name for path in (project / "results" / "records").glob("*.jsonl")] == ["a.desktop.jsonl"]


def test_what_another_machine_left_is_taken_in_once(project, tmp_path):
    (project / "notebooks").mkdir(exist_ok=True)
    (project / "notebooks" / "a.py").write_text("")
    folder = tmp_path / "out"
    for name in ("a.paper", "b.paper", "a.book"):
        with RecordStore(folder / "records" / f"{name}.jsonl") as store:
            store.append(record(0))
    (folder / "records" / "a.desktop.jsonl").write_text("{not a record file}\n")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "on_a_gpu.json").write_text("[]")
    (folder / "benchmarks" / "half.json").write_text("[{")
    with pytest.raises(FileNotFoundError, match=r"summary\.json is absent; give the folder that \.ci/gpu"):
        take_in(project, folder)
    (folder / "summary.json").write_text("{}")
    done = take_in(project, folder)
    assert "records: 1 new of a.paper.jsonl → results/records/" in done
    assert "benchmarks: on_a_gpu.json → results/benchmarks/" in done
    refused = sorted(
        one.split(":")[1].split(";")[0].strip().split(" ")[0] for one in done if "refused" in one
    )
    assert refused == ["a.book.jsonl", "a.desktop.jsonl", "b.paper.jsonl", "half.json"]
    assert "records: 0 new of a.paper.jsonl → results/records/" in take_in(project, folder)
