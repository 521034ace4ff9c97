import json
from pathlib import Path

import jsonschema
import pandas as pd
import pytest
import yaml

from memorization.report.claims import read_claims
from memorization.report.judging import NOT, NOT_CLAIMED, PARTLY, REPRODUCED, UNDECIDED, UNTESTED
from memorization.report.schema import schema
from memorization.report.scoreboard import (
    PAPERS,
    downloads,
    drawing,
    scoreboard,
    verdict_sentence,
    verdict_table,
)

ROOT = Path(__file__).parents[2]
FOUND = {
    "test": "at_least", "value": 0.75, "low": 0.7, "high": 0.8, "expected": 0.5,
    "gap_low": 0.2, "gap_high": 0.3, "tolerance": 0.0, "tolerance_origin": "Theorem 1",
    "seeds": 5, "seeds_to_decide": None,
}  # fmt: skip
CHECK = {
    **FOUND, "what": "a number", "place": "N = 10", "origin": "theorem", "primary": True, "identity": False,
    "outcome": "holds", "holds": True, "note": "closest of 3 places",
}  # fmt: skip
ROW = {
    **FOUND, "id": "T-1", "paper": "someone2024", "place": "Figure 1", "statement": "Something rises.",
    "quantity": "a number", "verdict": REPRODUCED, "tally": "paper", "identity": False, "null": NOT,
    "digest": "0123456789ab", "replication": {"sets": 5, "agree": 4}, "dataset": "digits", "device": "a cpu",
    "date": "2026-03-18T00:00:00Z", "code_version": "c0de", "profile": "book", "notebook": "toy",
    "checks": [CHECK], "note": "",
}  # fmt: skip


@pytest.fixture
def folders(tmp_path):
    live, published = tmp_path / "live", tmp_path / "published"
    live.mkdir()
    published.mkdir()
    return live, published


@pytest.fixture
def row():
    """A row of verdicts, changed."""
    return lambda **changes: {**ROW, **changes}


@pytest.fixture
def unclaimed():
    nothing = dict.fromkeys((*FOUND, "null", "replication")) | {
        "test": "",
        "tolerance_origin": "",
        "seeds": 0,
    }
    return {**ROW, **nothing, "id": "T-9", "verdict": NOT_CLAIMED, "checks": [], "note": "No such data."}


def _store(folder, name, *rows):
    (folder / name).write_text(json.dumps(rows))


def _known(tmp_path, claims_of, **claim):
    """A folder with a file of claims, toy.yaml, that has one claim, T-1."""
    claims_of({"test": "positive"}, **claim)
    claims = tmp_path / "claims"
    claims.mkdir()
    (tmp_path / "claims.yaml").rename(claims / "toy.yaml")
    return claims


def test_the_table_shows_verdict_value_interval_effect_and_where_the_bound_is_from(row):
    page = verdict_table([row()]).data
    for text in (
        "reproduced",
        "0.750 [0.700, 0.800]",
        "expected ≥ 0.5",
        "value − bound: 0.250 [0.200, 0.300]",
    ):
        assert text in page
    for text in (
        "a number, at N = 10",
        "bound: a theorem (Theorem 1)",
        "5 seeds; data of all checks: digits",
    ):
        assert text in page
    assert "4 of 5 sets" in page
    assert 'data-label="null">not reproduced<' in page


def test_each_row_of_the_table_can_be_linked_to(row):
    page = verdict_table([row(), row(id="T-2")]).data
    assert 'id="claim-T-1"' in page
    assert 'id="claim-T-2"' in page


def test_checks_unfold_with_their_outcome_and_whose_bound_it_is(row):
    ours = {**CHECK, "what": "its size", "origin": "pilot", "primary": False, "outcome": "undecided"}
    page = verdict_table([row(checks=[CHECK, ours])]).data
    for text in ("2 checks", "holds (theorem, primary): a number", "undecided (ours): its size"):
        assert text in page


def test_a_check_that_was_not_made_has_no_numbers(row):
    silent = {**CHECK, "value": None, "low": None, "high": None, "gap_low": None, "gap_high": None}
    silent |= {"outcome": "not tested", "note": "no records"}
    page = verdict_table([row(verdict=UNTESTED, checks=[silent], null=None, replication=None)]).data
    assert "not tested (theorem, primary): a number" in page
    assert "<svg" not in page
    assert 'data-label="null">–<' in page


def test_a_claim_that_is_not_tested_here_says_where_it_was_judged(row):
    page = verdict_table([row(verdict=UNTESTED, elsewhere={"desktop": REPRODUCED})]).data
    assert 'judged at <a href="scoreboard.html?profile=desktop&amp;words=T-1#' in page
    assert ">desktop: reproduced</a>" in page
    assert "judged at" not in verdict_table([row(elsewhere={"desktop": REPRODUCED})]).data


def test_what_is_undecided_says_how_many_seeds_would_decide(row):
    assert (
        "about 34 seeds of this spread would decide"
        in verdict_table([row(verdict=UNDECIDED, seeds_to_decide=34)]).data
    )


def test_a_check_that_keeps_a_claim_from_being_reproduced_is_shown_beside_the_primary_one(row):
    other = {**CHECK, "what": "another number", "primary": False}
    for verdict, outcome in ((PARTLY, "fails"), (UNDECIDED, "undecided")):
        checks = [CHECK, {**other, "origin": "pilot", "outcome": outcome}, {**other, "outcome": outcome}]
        page = verdict_table([row(verdict=verdict, checks=checks)]).data
        assert page.count("<svg") == 2
        assert f"<b>but {outcome}</b>: another number" in page
    page = verdict_table([row(verdict=UNDECIDED, checks=[{**CHECK, "outcome": "undecided"}, other])]).data
    assert page.count("<svg") == 1


def test_the_headline_says_what_came_again_and_what_is_old(folders, row, tmp_path, claims_of):
    live, published = folders
    old = row(
        id="T-2", code_version="c0de (older than the code beside it)", replication={"sets": 5, "agree": 5}
    )
    _store(live, "toy.book.json", row(), old)
    said = scoreboard(live, published).headline()
    assert "of 2 replicated verdicts 1 came out alike in every set" in said
    assert "1 verdicts rest on records made before" in said


def test_what_is_not_claimed_is_a_row_with_its_reason(unclaimed):
    page = verdict_table([unclaimed]).data
    assert "not claimed</span>" in page
    assert '<p class="aside">No such data.</p>' in page


def test_ours_and_what_holds_by_construction_are_marked(row):
    assert "counted as ours" in verdict_table([row(tally="ours")]).data
    assert "counted as true by construction" in verdict_table([row(identity=True)]).data
    assert "counted as" not in verdict_table([row()]).data


def test_an_effect_is_drawn_on_the_scale_of_its_bound():
    """From the bound, 0, at x = 12 to the end of the interval, 0.3, at x = 148: 0.2 is at two thirds."""
    svg = drawing(CHECK)
    assert '<path class="allowed" d="M12.0 3H160.0V17H12.0Z"/>' in svg
    assert '<path class="bound" d="M12.0 1V19"/>' in svg
    assert '<path class="interval" d="M102.7 10H148.0"/>' in svg
    assert '<circle class="value" cx="125.3"' in svg
    assert 'aria-label="value − bound 0.250 [0.200, 0.300]' in svg


def test_below_a_bound_is_the_side_where_at_most_holds():
    below = {**CHECK, "test": "at_most", "expected": 1.0, "gap_low": -0.3, "gap_high": -0.2}
    assert '<path class="allowed" d="M0.0 3H148.0V17H0.0Z"/>' in drawing(below)


def test_a_range_is_drawn_with_both_bounds_around_the_value():
    between = {**CHECK, "test": "between", "expected": [0.0, 1.0], "gap_low": 0.7, "gap_high": 0.8}
    svg = drawing(between)
    assert svg.count('class="bound"') == 2
    assert '<circle class="value" cx="114.0"' in svg  # 12 + 0.75 * 136


def test_equality_is_drawn_with_its_tolerance_on_both_sides():
    equal = {**CHECK, "test": "equals", "value": 0.5, "gap_low": -0.05, "gap_high": 0.05, "tolerance": 0.1}
    assert '<path class="allowed" d="M12.0 3H148.0V17H12.0Z"/>' in drawing(equal)
    assert '<circle class="value" cx="80.0"' in drawing(equal)


def test_the_sentence_counts_by_tally_and_names_those_that_are_not_reproduced(row, unclaimed):
    rows = [row(), row(id="T-2", verdict=NOT), row(id="T-3", verdict=UNDECIDED), unclaimed]
    rows += [row(id="T-4", tally="ours"), row(id="T-5", identity=True)]
    assert verdict_sentence(rows) == (
        "The paper's claims: 1 of 3 reproduced; not reproduced: T-2; undecided: T-3. "
        "Ours: 1 of 1 reproduced. True by construction, so no evidence: 1 of 1 reproduced. Not claimed: T-9."
    )


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
    assert board.headline() == "No claim is known."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[{", "toy.book.json is not readable JSON"),
        ('{"id": 1}', "toy.book.json should hold a JSON list of objects"),
        ('[{"id": "T-1"}]', "toy.book.json is not a verdict file: a row has no 'paper'"),
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


def test_a_row_or_check_from_before_a_key_was_added_is_refused(folders, row):
    old = {key: value for key, value in CHECK.items() if key != "outcome"}
    _store(folders[0], "toy.book.json", row(checks=[old]))
    with pytest.raises(ValueError, match="is not a verdict file: a row has no 'outcome'"):
        scoreboard(*folders)


def test_claims_without_verdict_count_as_untested(folders, row, tmp_path, claims_of):
    _store(folders[0], "toy.book.json", row(id="other", verdict=REPRODUCED))
    board = scoreboard(*folders, claims=_known(tmp_path, claims_of))
    assert board.counts()[[REPRODUCED, UNTESTED]].to_numpy().tolist() == [[1, 1]]
    assert board.untested()["claim"].tolist() == ["T-1"]
    assert "T-1" in board.open_table().data


def test_the_board_can_be_narrowed_to_one_paper(folders, row):
    _store(folders[0], "toy.book.json", row(), row(id="U-1", paper="other2023"))
    board = scoreboard(*folders)
    assert [r["id"] for r in board.of("other2023").rows] == ["U-1"]
    with pytest.raises(ValueError, match="no verdict or claim is about 'nobody'; papers are"):
        board.of("nobody")


def test_tallies_are_counted_apart(folders, row, unclaimed):
    rows = [row(), row(id="T-2", tally="ours"), row(id="T-3", identity=True), unclaimed]
    _store(folders[0], "toy.book.json", *rows)
    counts = scoreboard(*folders).counts().set_index("tally")
    assert counts[REPRODUCED].to_dict() == {"paper": 1, "ours": 1, "identity": 1}
    assert counts[NOT_CLAIMED].to_dict() == {"paper": 1, "ours": 0, "identity": 0}


def test_the_table_shows_each_scale_and_where_its_records_are_from(folders, row):
    _store(folders[0], "toy.book.json", row(verdict=REPRODUCED))
    _store(folders[1], "toy.paper.json", row(verdict=NOT, profile="paper"))
    page = scoreboard(*folders).table().data
    for text in ("paper, published", "book, this build"):
        assert f'{text}<p class="aside">2026-03-18, a cpu, code c0de</p>' in page
    assert 'data-verdict="no" data-profile="paper largest"' in page
    assert 'data-verdict="yes" data-profile="book"' in page


def test_a_row_leads_to_where_it_was_judged_and_to_the_lines_of_its_claim(folders, row, tmp_path, claims_of):
    _store(folders[0], "toy.book.json", row())
    claims = _known(tmp_path, claims_of)
    last = len((claims / "toy.yaml").read_text().splitlines())
    page = scoreboard(*folders, claims=claims).table().data
    assert '<a href="toy.html#claim-T-1">' in page
    assert f'/blob/main/notebooks/claims/toy.yaml#L1-L{last}"' in page


def test_a_published_verdict_is_shown_in_the_words_of_its_claim_today(folders, row, tmp_path, claims_of):
    claims = _known(tmp_path, claims_of, statement="Something falls slowly.")
    digest = read_claims(claims / "toy.yaml")[0].digest
    _store(folders[1], "toy.book.json", row(digest=digest), row(id="T-2"))
    page = scoreboard(*folders, claims=claims).table().data
    assert "Something falls slowly." in page
    assert "Something rises." in page  # judged by other checks than today's


def test_fields_offer_what_the_rows_answer_to(folders, row):
    _store(folders[0], "toy.book.json", row())
    page = scoreboard(*folders).table().data
    for name, value in (
        ("paper", "someone2024"),
        ("verdict", "yes"),
        ("profile", "book"),
        ("tally", "paper"),
    ):
        assert f'<option value="{value}">' in page.split(f'<select name="{name}">')[1].split("</select>")[0]


def test_the_headline_counts_claims_by_their_best_verdict(folders, row):
    rows = [row(verdict=REPRODUCED), row(id="T-2", verdict=NOT), row(id="T-3", verdict=UNTESTED)]
    _store(folders[0], "toy.book.json", *rows)
    _store(folders[1], "toy.paper.json", row(id="T-2", verdict=PARTLY, profile="paper"))
    text = "- The papers' claims: 1 of 3 reproduced; partly: 1; not tested at this scale: 1."
    assert scoreboard(*folders).headline().split("\n")[0] == text


def test_the_board_is_stored_as_json_and_csv_with_a_schema(folders, row, unclaimed, run):
    pair = row(id="T-2", test="between", expected=[0.1, 0.9])
    _store(folders[0], "toy.book.json", row(), pair, unclaimed)
    links = downloads(run, scoreboard(*folders)).data
    stored = {path.name: path for path in run.figures_folder.iterdir()}
    assert set(stored) == {"scoreboard.json", "scoreboard.csv", "scoreboard.schema.json"}
    assert all(f'href="figures/toy/{name}" download' in links for name in stored)
    rows = json.loads(stored["scoreboard.json"].read_text())
    jsonschema.validate(rows, json.loads(stored["scoreboard.schema.json"].read_text()))
    table = pd.read_csv(stored["scoreboard.csv"])
    assert table["id"].tolist() == ["T-1", "T-2", "T-9"]
    assert table["expected"].tolist()[:2] == ["0.5", "0.1 to 0.9"]
    assert table["replication_agree"].tolist()[0] == 4


@pytest.mark.parametrize("path", sorted((ROOT / "results" / "verdicts").glob("*.json")), ids=lambda p: p.stem)
def test_published_verdicts_are_what_the_schema_says(path):
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), schema())


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"verdict": "maybe"}, "'maybe' is not one of"),
        ({"value": "high"}, "'high' is not of type"),
        ({"more": 1}, "'more' was unexpected"),
        ({"replication": {"sets": 5}}, "'agree' is a required property"),
        ({"checks": [{**CHECK, "origin": "a feeling"}]}, "'a feeling' is not one of"),
    ],
)
def test_the_schema_refuses_other_rows(row, change, wrong):
    with pytest.raises(jsonschema.ValidationError, match=wrong):
        jsonschema.validate([row(**change)], schema())


def test_the_scoreboard_is_the_second_page_of_the_book():
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    assert contents["parts"][0]["chapters"][0]["file"] == "notebooks/scoreboard"


def test_each_paper_with_a_short_name_is_in_the_bibliography():
    bibliography = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")
    assert [key for key in PAPERS if f"{{{key}," not in bibliography] == []
