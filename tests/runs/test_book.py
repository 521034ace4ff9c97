"""Assembling the book's source, and publishing results."""

import errno
import json
from dataclasses import replace

import pytest
import yaml

from memorization.runs import book, cli, records
from memorization.runs.book import BookError, assemble, publish, take_in
from memorization.runs.budget import Question
from memorization.runs.notebook import Job
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


def test_pages_at_other_scales_are_folded_under_a_papers_page_executed_or_not(project):
    claims = project / "notebooks" / "claims"
    claims.mkdir()
    (claims / "a.yaml").write_text("[]\n")
    (project / "notebooks" / "a.py").write_text("# %% [markdown]\n# # A?\n")
    made = project / "_build" / "notebooks" / "desktop"
    (made / "figures" / "a").mkdir(parents=True)
    page = {"cells": [{"cell_type": "markdown", "id": "t", "metadata": {}, "source": "# A?"}]}
    (made / "a.ipynb").write_text(json.dumps(page))
    (made / "figures" / "a" / "f.png").write_bytes(b"png")
    target = assemble(project, "book")
    assert "# A? (profile desktop)" in (target / "notebooks" / "a_desktop.ipynb").read_text()
    assert (target / "notebooks" / "a_paper.md").read_text().startswith("# A? (profile paper)")
    assert (target / "extra" / "notebooks" / "desktop" / "figures" / "a" / "f.png").is_file()
    chapter = yaml.safe_load((target / "_toc.yml").read_text())["parts"][0]["chapters"][0]
    assert [one["file"] for one in chapter["sections"]] == ["notebooks/a_desktop", "notebooks/a_paper"]


def test_only_papers_whose_points_are_all_published_are_executed_where_that_was_asked(
    project, monkeypatch, capsys
):
    for name in ("a", "b", "c"):
        (project / "notebooks" / f"{name}.py").write_text("# %%\n")
    (project / "notebooks" / "claims").mkdir()
    for name in ("a", "b"):
        (project / "notebooks" / "claims" / f"{name}.yaml").write_text("[]\n")
    lacking = {"a": [], "b": [Question("b", (None, None), 1.0)]}
    monkeypatch.setattr(book, "questions", lambda root, names, profile: lacking[names[0]])
    monkeypatch.setattr(Job, "parameters", {})
    ran = []
    monkeypatch.setattr(book, "_execute_group", lambda jobs, parallel: ran.extend(jobs) or [])
    monkeypatch.setattr(Job, "is_fresh", lambda job: False)
    book.execute_all([Job(project, name, "desktop") for name in ("a", "b", "c")], recorded=True)
    assert [job.name for job in ran] == ["a"]
    assert "b (desktop): left out, 2 of its calls are not recorded" in capsys.readouterr().out


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
    assert publish(project, "desktop") == [
        "records: 0 new of a.desktop.jsonl, 2 were there → results/records/"
    ]
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


def test_a_full_disk_leaves_a_published_verdict_whole(project, monkeypatch):
    live, published = (project / folder / "verdicts" / "a.desktop.json" for folder in ("_build", "results"))
    for path, text in ((live, "new"), (published, "old")):
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def full(content, half):
        half.write_text("n")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(records, "_copy", full)
    assert cli.main(["--root", str(project), "results", "--profile", "desktop"]) == 1
    assert [path.read_text() for path in published.parent.iterdir()] == ["old"]


def test_a_full_disk_is_told_in_a_sentence_with_the_path(project, monkeypatch, capsys):
    def full(root, profile):
        raise OSError(errno.ENOSPC, "cannot be written: No space left on device", "results/a.json")

    monkeypatch.setattr(book, "publish", full)
    assert cli.main(["--root", str(project), "results"]) == 1
    assert capsys.readouterr().err == "error: results/a.json: cannot be written: No space left on device.\n"


def test_what_another_machine_left_is_taken_in_once(project, tmp_path):
    (project / "notebooks").mkdir(exist_ok=True)
    (project / "notebooks" / "a.py").write_text("")
    folder = tmp_path / "out"
    for name in ("a.paper", "b.paper", "a.book"):
        with RecordStore(folder / "records" / f"{name}.jsonl") as store:
            store.append(record(0))
    (folder / "records" / "a.desktop.jsonl").write_text("{not a record file}\n")
    (folder / "verdicts").mkdir()
    (folder / "verdicts" / "a.paper.json").write_text("[1]")
    (folder / "verdicts" / "a.smoke.json").write_text("[1]")
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "on_a_gpu.json").write_text("[]")
    (folder / "benchmarks" / "half.json").write_text("[{")
    with pytest.raises(FileNotFoundError, match=r"summary\.json is absent; give the folder that \.ci/gpu"):
        take_in(project, folder)
    (folder / "summary.json").write_text("{}")
    done = take_in(project, folder)
    assert "records: 1 new of a.paper.jsonl → results/records/" in done
    assert "benchmarks: on_a_gpu.json → results/benchmarks/" in done
    assert "verdicts: a.paper.json → results/verdicts/" in done
    refused = sorted(one.split(": ")[1] for one in done if one.startswith("refused: "))
    assert refused == ["a.book.jsonl", "a.desktop.jsonl", "a.smoke.json", "b.paper.jsonl", "half.json"]
    assert "records: 0 new of a.paper.jsonl, 1 were there → results/records/" in take_in(project, folder)


def test_a_point_that_is_published_of_the_same_code_is_not_doubled(project, tmp_path):
    (project / "notebooks" / "a.py").write_text("")
    (tmp_path / "summary.json").write_text("{}")
    published = project / "results" / "records" / "a.paper.jsonl"
    for path, codes in ((published, ["c"]), (tmp_path / "records" / "a.paper.jsonl", ["c", "newer"])):
        with RecordStore(path) as store:
            for code in codes:
                store.append(replace(record(0, code), measured={"date": f"of {path.parent.parent.name}"}))
    take_in(project, tmp_path)
    assert [r.code for r in RecordStore(published).read()] == ["c", "newer"]
    assert RecordStore(published).read()[0].measured == {"date": "of results"}
