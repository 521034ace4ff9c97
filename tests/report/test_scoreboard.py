import json
from pathlib import Path

import pytest

from memorization.report.judging import NOT, PARTLY, REPRODUCED, UNTESTED, judge
from memorization.report.scoreboard import PAPERS, scoreboard, verdict_sentence, verdict_table


@pytest.fixture
def folders(tmp_path):
    live, published = tmp_path / "live", tmp_path / "published"
    live.mkdir()
    published.mkdir()
    return live, published


@pytest.fixture
def row(run, records, claims_of):
    """A real row of ``judge``, changed."""
    (made,) = judge(run, claims_of({"test": "positive"}), {"toy": records})
    return lambda **changes: {**made, **changes}


def _store(folder, name, *rows):
    (folder / name).write_text(json.dumps(rows))


def test_the_table_shows_verdict_value_interval_and_checks(run, records, claims_of):
    claims = claims_of({"test": "at_least", "bound": 0.5}, {"test": "at_most", "bound": 0.5})
    page = verdict_table(judge(run, claims, {"toy": records})).data
    for text in ("partly", "2 checks", "≤ 0.5", "0.75 [0.7, 0.8]", "fails: a number"):
        assert text in page


def test_the_sentence_counts_the_claims_and_names_those_that_do_not_hold(row):
    rows = [row(), row(id="T-2", verdict=NOT), row(id="T-3", verdict=UNTESTED)]
    sentence = (
        "Of 3 claims 1 are reproduced at this scale; not reproduced: T-2; not tested at this scale: T-3."
    )
    assert verdict_sentence(rows) == sentence


def test_without_claims_table_and_sentence_say_so():
    assert verdict_table([]).data == "<p>What holds here: there are no rows to show.</p>"
    assert verdict_sentence([]) == "No claim was judged."


def test_live_verdicts_go_before_published_ones_of_the_same_run(folders, row):
    live, published = folders
    _store(live, "toy.book.json", row(verdict=NOT))
    _store(published, "toy.book.json", row(verdict=REPRODUCED))
    _store(published, "toy.paper.json", row(verdict=PARTLY, profile="paper"))
    board = scoreboard(live, published)
    assert [(r["verdict"], r["source"]) for r in board.rows] == [(NOT, "this build"), (PARTLY, "published")]


def test_smoke_verdicts_are_left_out(folders, row):
    live, published = folders
    _store(live, "toy.smoke.json", row(profile="smoke"))
    assert scoreboard(live, published).rows == ()


def test_absent_folders_give_an_empty_board_that_says_so(tmp_path):
    board = scoreboard(tmp_path / "none", tmp_path / "nothing")
    assert "No verdicts yet" in board.summary().data
    assert "No verdicts yet" in board.table().data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "toy.book.json is not readable JSON"),
        ('{"id": 1}', "toy.book.json should hold a JSON list of objects"),
        ('[{"id": "T-1"}]', "toy.book.json is not a verdict file: a row has no 'checks'"),
    ],
)
def test_a_damaged_file_is_named(folders, text, message):
    live, published = folders
    (live / "toy.book.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        scoreboard(live, published)


def test_an_unknown_verdict_is_refused(folders, row):
    _store(folders[0], "toy.book.json", row(verdict="maybe"))
    with pytest.raises(ValueError, match="a row has verdict 'maybe'"):
        scoreboard(*folders)


def test_the_best_evidence_is_the_largest_scale_that_was_tested(folders, row):
    live, published = folders
    _store(live, "toy.book.json", row(verdict=REPRODUCED))
    _store(live, "toy.desktop.json", row(verdict=PARTLY, profile="desktop"))
    _store(published, "toy.paper.json", row(verdict=UNTESTED, profile="paper"))
    (best,) = scoreboard(live, published).best()
    assert (best["profile"], best["verdict"]) == ("desktop", PARTLY)


def test_claims_without_verdict_count_as_untested(folders, row, tmp_path, claims_of):
    _store(folders[0], "toy.book.json", row(id="other", verdict=REPRODUCED))
    claims = tmp_path / "claims"
    claims.mkdir()
    (tmp_path / "claims.yaml").rename(claims / "toy.yaml")
    board = scoreboard(*folders, claims=claims)
    assert board.counts()[[REPRODUCED, UNTESTED]].to_numpy().tolist() == [[1, 1]]
    assert board.untested()["claim"].tolist() == ["T-1"]
    assert "T-1" in board.open_table().data


def test_the_board_can_be_narrowed_to_one_paper(folders, row):
    _store(folders[0], "toy.book.json", row(), row(id="U-1", paper="other2023"))
    board = scoreboard(*folders)
    assert [r["id"] for r in board.of("other2023").rows] == ["U-1"]
    with pytest.raises(ValueError, match="no verdict or claim is about 'nobody'; papers are"):
        board.of("nobody")


def test_the_table_shows_scale_source_and_the_other_verdicts(folders, row):
    _store(folders[0], "toy.book.json", row(verdict=REPRODUCED))
    _store(folders[1], "toy.paper.json", row(verdict=NOT, profile="paper"))
    page = scoreboard(*folders).table().data
    assert "paper, published, 2026-03-18" in page
    assert "reproduced</span> at book" in page


def test_the_headline_counts_claims_by_their_best_verdict(folders, row):
    rows = [row(verdict=REPRODUCED), row(id="T-2", verdict=NOT), row(id="T-3", verdict=UNTESTED)]
    _store(folders[0], "toy.book.json", *rows)
    _store(folders[1], "toy.paper.json", row(id="T-2", verdict=PARTLY, profile="paper"))
    assert (
        scoreboard(*folders)
        .headline()
        .startswith("Of **3** claims, **1** are reproduced, **1** partly and **0** not, each at")
    )


def test_each_paper_with_a_short_name_is_in_the_bibliography():
    bibliography = (Path(__file__).parents[2] / "book" / "references.bib").read_text(encoding="utf-8")
    assert [key for key in PAPERS if f"{{{key}," not in bibliography] == []
