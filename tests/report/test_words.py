"""Words computed from records, against answers found by hand."""

import pandas as pd
import pytest

from memorization.report.words import (
    compare,
    curves_in_words,
    finding,
    in_short,
    listed,
    not_reproduced,
    ordered,
    outcome,
    rows_in_words,
    sign,
    span,
    trend,
)


def curve(ends, x="N", **more):
    """Three seeds at two places: the first place has 0, the second one the given numbers."""
    rows = [
        {x: place, "seed": seed, "y": value}
        for seed, end in enumerate(ends)
        for place, value in ((1, 0.0), (9, end))
    ]
    return pd.DataFrame(rows).assign(**more)


def test_a_sign_is_that_of_the_whole_interval():
    # standard error 0.1 / sqrt(3) = 0.0577, t = 4.303: 0.2 ± 0.248 contains zero, 0.3 ± 0.248 does not
    assert sign(pd.Series([0.1, 0.2, 0.3])) == 0
    assert sign(pd.Series([0.2, 0.3, 0.4])) == 1
    assert sign(pd.Series([-0.2, -0.3, -0.4])) == -1


def test_one_seed_a_missing_number_and_an_invisible_difference_have_no_sign():
    assert sign(pd.Series([5.0])) == 0
    assert sign(pd.Series([5.0, float("nan")])) == 0
    assert sign(pd.Series([1e-6, 1.1e-6, 1.2e-6])) == 0


@pytest.mark.parametrize(
    ("ends", "word"),
    [([0.2, 0.3, 0.4], "rises"), ([-0.2, -0.3, -0.4], "falls"), ([0.1, 0.2, 0.3], "shows no clear trend")],
)
def test_a_trend_is_that_of_the_difference_of_the_ends(ends, word):
    assert trend(curve(ends), "N", "y") == word


def test_a_trend_is_paired_over_seeds():
    """Seeds that differ by 10 among themselves and each rise by 1 or a bit more: the rise is clear."""
    rows = [
        {"N": n, "seed": s, "y": 10.0 * s + (n == 9) * (1 + 0.01 * s)} for s in range(3) for n in (1, 5, 9)
    ]
    assert trend(pd.DataFrame(rows), "N", "y") == "rises"


def test_one_place_has_no_trend():
    assert trend(curve([0.2, 0.3, 0.4]).query("N == 1"), "N", "y") == "shows no clear trend"


def test_curves_must_move_alike():
    both = pd.concat([curve([0.2, 0.3, 0.4], arm="a"), curve([-0.2, -0.3, -0.4], arm="b")])
    assert trend(both, "N", "y", "arm") == "moves differently from curve to curve"
    one_unclear = pd.concat([curve([0.2, 0.3, 0.4], arm="a"), curve([0.1, 0.2, 0.3], arm="b")])
    assert trend(one_unclear, "N", "y", "arm") == "shows no clear trend"
    assert trend(both.query("arm == 'a'"), "N", "y", "arm") == "rises"


def test_a_comparison_pairs_by_seed():
    one = pd.Series({0: 1.2, 1: 11.3, 2: 21.4})
    assert compare(one, pd.Series({2: 21.0, 1: 11.0, 0: 1.0})) == "above"
    assert compare(pd.Series({0: 1.0, 1: 11.0, 2: 21.0}), one) == "below"
    assert compare(one, pd.Series({0: 1.3, 1: 11.0, 2: 21.4})) == "not told apart from"


def test_an_order_says_who_is_told_apart():
    means = {"a": [1.0, 1.1, 1.2], "b": [3.0, 3.1, 3.2], "c": [1.1, 1.0, 1.15]}
    rows = [{"arm": arm, "seed": s, "y": y} for arm, ys in means.items() for s, y in enumerate(ys)]
    assert ordered(pd.DataFrame(rows), "arm", "y") == "b > a and c"


def test_lists_and_ranges():
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed("abc")] == [
        "none",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert span([0.73, 0.614, float("nan")]) == "0.614 to 0.73"
    assert span([0.5, 0.5]) == "0.5"
    assert span([]) == "–"


def test_a_description_names_both_ends_and_what_lies_beyond_them():
    rows = {"N": [10, 20, 40] * 2, "curve": ["a"] * 3 + ["b"] * 3, "mean": [0.9, 0.7, 0.6, 0.1, 0.5, 0.3]}
    assert curves_in_words(pd.DataFrame(rows), "N", by="curve") == (
        "a: from 0.9 at N = 10 to 0.6 at N = 40; b: from 0.1 at N = 10 to 0.3 at N = 40, up to 0.5 at N = 20"
    )


def test_a_description_averages_seeds_and_keeps_the_order_of_names():
    rows = pd.DataFrame({"site": ["in", "out", "in", "out"], "y": [1.0, 2.0, 3.0, 2.0], "seed": [0, 0, 1, 1]})
    assert curves_in_words(rows, "site", "y") == "from 2 at in to 2 at out"
    assert curves_in_words(rows.query("site == 'in'"), "site", "y") == "2 at in"


def test_rows_of_marks_are_described_with_what_was_measured():
    rows = {"arm": ["a", "a", "b"], "quantity": ["id", "ood", "id"], "mean": [0.25, 0.5, 1.0]}
    words = {"id": "inside", "ood": "outside"}
    assert rows_in_words(pd.DataFrame(rows), "arm", words) == "a: inside 0.25, outside 0.5; b: inside 1"


def test_an_outcome_is_the_verdict_with_its_number():
    row = {"id": "BM-12", "verdict": "undecided", "value": 0.71, "low": 0.69, "high": 0.73}
    row |= {"quantity": "a number", "checks": [], "test": "positive"}
    assert outcome([row], "BM-12") == "undecided (a number: 0.710 [0.690, 0.730])"
    assert outcome([row | {"low": None, "high": None}], "BM-12") == "undecided (a number: 0.71)"
    silent = row | {"verdict": "not tested at this scale", "value": None}
    assert outcome([silent], "BM-12") == "not tested at this scale"


def test_an_outcome_of_an_unknown_claim_is_refused():
    with pytest.raises(ValueError, match="no verdict on claim 'BM-99'; there are verdicts on BM-12"):
        outcome([{"id": "BM-12"}], "BM-99")


ROW = {
    "id": "T-1", "statement": "It falls.", "verdict": "reproduced", "quantity": "a number", "value": 0.5,
    "low": 0.25, "high": 0.75, "tally": "paper", "identity": False, "checks": [], "test": "positive",
    "profile": "book", "elsewhere": {},
}  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("reproduced", "It falls (a number: 0.50 [0.25, 0.75]; "),
        ("partly", "Only in part: It falls (a number: "),
        ("undecided", "Not decided here: It falls (a number: "),
        ("not reproduced", "Not so here: It falls (a number: "),
        ("not tested at this scale", "Not tested at this scale: It falls (<a"),
        ("not claimed", "Not claimed: It falls ("),
    ],
)
def test_a_finding_changes_its_words_with_its_verdict(verdict, words):
    assert finding(ROW | {"verdict": verdict}).startswith(words)


def test_a_finding_that_another_check_keeps_from_holding_shows_that_check():
    primary = {"primary": True, "outcome": "holds", "origin": "direction"}
    other = {
        "primary": False,
        "outcome": "undecided",
        "origin": "paper",
        "what": "another",
        "place": "N = 10",
        "test": "positive",
    }
    checks = [primary, {**other, "value": 0.1, "low": -0.1, "high": 0.3}]
    said = finding(ROW | {"verdict": "undecided", "checks": checks})
    assert said.startswith("Not decided here: It falls (another, at N = 10: 0.10 [−0.10, 0.30]; ")


def test_a_finding_leads_to_where_it_was_judged():
    said = finding(ROW, "page.html", "Plain words")
    assert said == 'Plain words (a number: 0.50 [0.25, 0.75]; <a href="page.html#claim-T-1">T-1</a>).'


def test_a_page_in_short_says_what_holds_and_what_does_not():
    rows = [ROW, ROW | {"id": "T-2"}, ROW | {"id": "T-3", "verdict": "undecided"}, ROW | {"identity": True}]
    rows += [
        ROW | {"id": "T-4", "verdict": "not reproduced", "tally": "ours"},
        ROW | {"id": "T-5", "verdict": "not claimed"},
        ROW | {"id": "T-6", "verdict": "not tested at this scale"},
    ]
    lines = in_short(rows, "All falls.", ["T-1", "T-3"], "3 s").data.splitlines()
    assert lines[:2] == [
        "- **The paper says:** All falls.",
        "- **Holds here:** 2 of the 3 claims of the paper that profile `book` tests (1 more cannot be "
        "tested at this scale), among them",
    ]
    assert "T-1" in lines[2]
    assert lines[3] == "- **Does not, or is not decided:**"
    assert lines[4].startswith("  - Not decided here: It falls")
    assert lines[5:] == ["- **At other scales:** no verdicts are published.", "- **Costs:** 3 s."]
    none = in_short([ROW], "All falls.", ["T-1"], "3 s").data
    assert "decided:** none of them." in none
    with pytest.raises(ValueError, match="no verdict on claim 'T-9'; there are verdicts on T-1"):
        in_short([ROW], "All falls.", ["T-9"], "3 s")


def test_a_page_in_short_says_which_verdicts_differ_at_other_scales():
    rows = [
        ROW | {"elsewhere": {"desktop": "undecided", "paper": "reproduced"}},
        ROW | {"id": "T-2", "elsewhere": {"desktop": "undecided"}},
        ROW | {"id": "T-3", "verdict": "not tested at this scale", "elsewhere": {"desktop": "reproduced"}},
    ]
    said = in_short(rows, "All falls.", ["T-1"], "3 s", mind="A risk.").data.splitlines()
    place = "#what-is-the-evidence-for-each-claim"
    links = [
        f'<a href="scoreboard.html?profile=desktop&amp;words={claim}{place}">{claim}</a>'
        for claim in ("T-1", "T-2", "T-3")
    ]
    assert said[-3:] == [
        f"- **At other scales:** at `desktop` reproduced: {links[2]}; at `desktop` undecided: {links[0]} and "
        f"{links[1]}.",
        "- **Mind:** A risk.",
        "- **Costs:** 3 s.",
    ]
    same = in_short([ROW | {"elsewhere": {"paper": "reproduced"}}], "All falls.", [], "3 s").data
    assert "other scales:** the same verdicts." in same


def test_a_finding_says_what_its_number_is_called_and_what_it_should_equal():
    row = ROW | {"test": "equals", "expected": 0.4, "tolerance": 0.2}
    assert finding(row, called="slope").startswith("It falls (slope: 0.50 [0.25, 0.75], expected 0.4 ± 0.2; ")


def test_a_finding_that_was_not_tested_here_says_what_another_scale_found():
    silent = ROW | {"verdict": "not tested at this scale", "elsewhere": {"desktop": "partly"}}
    assert "T-1</a>; judged at <a href=" in finding(silent)
    assert ">desktop: partly</a>)." in finding(silent)


def test_what_did_not_reproduce_is_listed_with_why_and_what_was_tried(run, claims_of):
    claims_of({"test": "positive"}, tried="Ten seeds.")
    failed = ROW | {"verdict": "undecided", "note": "worst of 3 places"}
    said = not_reproduced(run, [failed]).data
    assert said.startswith("- Not decided here: It falls (a number: 0.50 [0.25, 0.75]; ")
    assert said.endswith("*What the checks say:* worst of 3 places. *What was tried:* Ten seeds.")
    assert not_reproduced(run, [ROW]).data == "Every claim that this profile can test is reproduced."


def test_where_no_claim_is_tested_none_is_called_reproduced(run, claims_of):
    claims_of({"test": "positive"})
    silent = ROW | {"verdict": "not tested at this scale"}
    assert not_reproduced(run, [silent]).data.startswith("This profile tests none of the claims")
