import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from memorization.report.claims import ClaimError
from memorization.report.judging import (
    NOT,
    NOT_CLAIMED,
    PARTLY,
    REPRODUCED,
    UNDECIDED,
    UNTESTED,
    judge,
)  # fmt: skip

# The mean of the little table is 0.75, with a 95 % interval of 0.05 to either side (three seeds).
HOLDS = {"test": "at_least", "bound": 0.5}
FAILS = {"test": "at_most", "bound": 0.5}
OPEN = {"test": "at_least", "bound": 0.74}
ABSENT = {**HOLDS, "where": "N > 1000"}
HALF = 4.302653 * 0.02 / 3**0.5  # 97.5 % quantile of Student's t with 2 degrees of freedom


@pytest.fixture
def verdict(run, records, claims_of):
    """Judge one claim with these checks on the little table."""

    def ask(*checks, tables=None, **claim):
        return judge(run, claims_of(*checks, **claim), {"toy": records} if tables is None else tables)[0]

    return ask


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ([HOLDS, HOLDS], REPRODUCED),
        ([HOLDS, FAILS], PARTLY),
        ([HOLDS, OPEN, FAILS], PARTLY),
        ([FAILS, HOLDS], NOT),
        ([HOLDS, OPEN], UNDECIDED),
        ([OPEN, FAILS], UNDECIDED),
        ([OPEN, HOLDS], UNDECIDED),
        ([HOLDS, ABSENT], UNDECIDED),
        ([ABSENT, HOLDS], UNDECIDED),
        ([FAILS, ABSENT], NOT),
        ([ABSENT], UNTESTED),
        ([{**HOLDS, "profiles": ["paper"]}, HOLDS], REPRODUCED),
    ],
)
def test_the_verdict_follows_from_the_checks_of_this_profile(verdict, checks, expected):
    assert verdict(*checks)["verdict"] == expected


def test_a_claim_of_other_profiles_is_not_tested(verdict):
    assert verdict({**HOLDS, "profiles": ["paper"]}, profiles=["paper"])["verdict"] == UNTESTED


PILOT = {"origin": "pilot", "pilot_seeds": 1}


def test_a_check_of_ours_never_decides_beside_one_of_the_papers(verdict):
    row = verdict({**FAILS, **PILOT}, HOLDS)
    assert (row["verdict"], row["tally"]) == (REPRODUCED, "paper")
    assert [check["primary"] for check in row["checks"]] == [False, True]


def test_a_claim_with_checks_of_ours_alone_is_tallied_apart_and_judged_by_other_seeds(verdict):
    row = verdict({**HOLDS, **PILOT})
    assert (row["verdict"], row["tally"], row["seeds"]) == (REPRODUCED, "ours", 2)
    assert row["value"] == pytest.approx(0.76)  # of seeds 1 and 2


def test_seeds_that_chose_a_bound_do_not_judge_it(verdict):
    row = verdict({**HOLDS, "origin": "pilot", "pilot_seeds": 3})
    assert row["verdict"] == UNTESTED
    assert row["note"] == "the seeds below 3 chose this bound and do not judge it; there are no others"


def test_an_identity_is_no_evidence_beside_a_check_that_could_fail(verdict):
    row = verdict({**HOLDS, "identity": True}, OPEN)
    assert (row["verdict"], row["identity"]) == (UNDECIDED, False)
    assert verdict({**HOLDS, "identity": True})["identity"] is True


def test_what_is_not_claimed_is_a_row_like_the_others(run, tmp_path):
    path = tmp_path / "claims.yaml"
    path.write_text("- {id: T-1, paper: p, place: Fig. 1, statement: It flies., not_claimed: Nobody saw it.}")
    (row,) = judge(run, path, {})
    assert (row["verdict"], row["note"], row["checks"]) == (NOT_CLAIMED, "Nobody saw it.", [])
    assert (row["null"], row["replication"]) == (None, None)


@pytest.mark.parametrize("where", ["", "N == 10"])
def test_no_records_never_reproduce_a_claim(verdict, where):
    row = verdict({**HOLDS, "where": where}, tables={"toy": pd.DataFrame()})
    assert (row["verdict"], row["value"]) == (UNTESTED, None)
    assert row["note"].startswith("no records in 'toy'")


def test_an_interval_of_one_seed_is_not_tested(verdict, records):
    row = verdict(HOLDS, tables={"toy": records.query("seed == 0")})
    assert (row["verdict"], row["seeds"]) == (UNTESTED, 1)
    assert "an interval needs at least 2" in row["note"]


def test_one_seed_is_enough_where_every_seed_must_hold(verdict, records):
    row = verdict({**HOLDS, "identity": True}, tables={"toy": records.query("seed == 0")})
    assert row["verdict"] == REPRODUCED


def test_the_worst_seed_decides_where_every_seed_must_hold(verdict):
    check = {"test": "at_least", "bound": 0.69, "reduce": "min", "where": "kind == 'high'", "identity": True}
    row = verdict(check)
    assert row["verdict"] == NOT
    assert (row["low"], row["high"]) == pytest.approx((0.68, 0.72))
    assert (row["gap_low"], row["gap_high"]) == pytest.approx((-0.01, 0.03))
    assert row["value"] == pytest.approx(0.68)  # 0.72 is farther from the bound, on the right side
    assert verdict({**check, "bound": 0.68 - 1e-9})["verdict"] == REPRODUCED


def test_value_and_interval_are_those_of_the_t_distribution(verdict):
    row = verdict({**HOLDS, "where": "kind == 'high' and N == 10"})
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.9, 0.9 - HALF, 0.9 + HALF))
    assert (row["gap_low"], row["gap_high"]) == pytest.approx((0.4 - HALF, 0.4 + HALF))


@pytest.mark.parametrize(
    ("check", "outcome"),
    [
        ({"test": "at_least", "bound": 0.75 - HALF - 0.001}, "holds"),
        ({"test": "at_least", "bound": 0.75 - HALF + 0.001}, "undecided"),
        ({"test": "at_least", "bound": 0.75 + HALF - 0.001}, "undecided"),
        ({"test": "at_least", "bound": 0.75 + HALF + 0.001}, "fails"),
        ({"test": "at_most", "bound": 0.75 + HALF + 0.001}, "holds"),
        ({"test": "at_most", "bound": 0.75 + HALF - 0.001}, "undecided"),
        ({"test": "at_most", "bound": 0.75 - HALF - 0.001}, "fails"),
        ({"test": "between", "bound": [0.75 - HALF - 0.001, 0.85]}, "holds"),
        ({"test": "between", "bound": [0.75 - HALF + 0.001, 0.85]}, "undecided"),
        ({"test": "between", "bound": [0.9, 1.0]}, "fails"),
        ({"test": "equals", "expected": 0.75, "tolerance": HALF + 0.001}, "holds"),
        ({"test": "equals", "expected": 0.75, "tolerance": HALF - 0.001}, "undecided"),
        ({"test": "equals", "expected": 0.9, "tolerance": 0.05}, "fails"),
        ({"test": "equals", "expected": 0.6, "tolerance": 0.05}, "fails"),
        ({"test": "positive", "value": "accuracy - 0.75 + 0.051"}, "holds"),
        ({"test": "positive", "value": "accuracy - 0.75"}, "undecided"),
        ({"test": "positive", "value": "0.75 - 0.051 - accuracy"}, "fails"),
    ],
)
def test_the_whole_interval_decides(verdict, check, outcome):
    row = verdict(check)
    assert row["checks"][0]["outcome"] == outcome
    assert row["checks"][0]["holds"] is {"holds": True, "fails": False}.get(outcome)


@pytest.mark.parametrize(
    ("check", "value"),
    [
        ({"test": "positive"}, 0.75),
        ({"test": "equals", "expected": "theory", "tolerance": "theory / 5"}, 0.75),
        ({"test": "at_most", "bound": 1, "reduce": "max"}, 0.9),
        ({"test": "at_most", "bound": 1, "reduce": "min"}, 0.6),
        ({"test": "at_most", "bound": 1, "reduce": "range"}, 0.3),
        ({"test": "at_most", "bound": 9, "value": "sqrt(N) * 0 + 3"}, 3.0),
        # least squares through (1, .85), (2, .75), (5, .65): slope -0.4 / (26 / 3), mean .75 at 8 / 3
        ({"test": "positive", "reduce": "slope", "against": "N / 10"}, -0.6 / 13),
        ({"test": "positive", "reduce": "intercept", "against": "N / 10"}, 0.75 + 0.6 / 13 * 8 / 3),
        ({"test": "positive", "by": "kind", "sequence": ["high", "low"]}, 0.1),
        ({"test": "positive", "by": "kind", "sequence": ["low", "high"]}, -0.1),
        ({"test": "positive", "by": "kind", "sequence": ["high", "low"], "reduce": "max"}, 0.1),
        ({"test": "positive", "by": "N", "sequence": [10, 20, 50]}, 0.1),
        ({"test": "positive", "by": "N", "sequence": [50, 20, 10]}, -0.1),
        ({"test": "positive", "by": "N", "sequence": [10, 50]}, 0.2),
        ({"test": "positive", "by": ["kind", "N"], "sequence": [["high", 10], ["low", 50]]}, 0.3),
    ],
)
def test_each_reduction_and_difference_finds_its_number(verdict, check, value):
    assert verdict(check)["value"] == pytest.approx(value, abs=1e-9)


def test_a_difference_of_lines_is_that_of_their_slopes(verdict, records):
    steeper = records.assign(accuracy=records["accuracy"].where(records["kind"] == "low", -records["N"] / 50))
    check = {"test": "positive", "by": "kind", "sequence": ["high", "low"], "reduce": "slope", "against": "N"}
    assert verdict(check, tables={"toy": steeper})["value"] == pytest.approx(-1 / 50 + 0.6 / 130)


def test_what_rounding_leaves_of_a_slope_is_none(verdict, records):
    check = {"test": "positive", "reduce": "slope", "against": "log2(N)"}
    row = verdict(check, tables={"toy": records.assign(accuracy=0.1 + records["seed"] / 3)})
    assert (row["value"], row["verdict"]) == (0, NOT)


def test_differences_are_paired_by_seed(verdict, records):
    """Seeds differ by far more than the groups: what counts is the difference within a seed."""
    apart = records.assign(accuracy=records["accuracy"] + 100 * records["seed"])
    row = verdict({"test": "positive", "by": "kind", "sequence": ["high", "low"]}, tables={"toy": apart})
    assert row["verdict"] == REPRODUCED
    assert row["low"] == pytest.approx(0.1)


def test_equal_numbers_meet_their_own_bound(verdict, records):
    same = records.assign(accuracy=0.95)
    assert verdict({"test": "at_least", "bound": 0.95}, tables={"toy": same})["verdict"] == REPRODUCED


def test_a_bound_is_the_number_itself_not_the_mean_of_many(verdict, records):
    check = {"test": "at_most", "bound": 0.1, "reduce": "max"}  # the mean of six 0.1 is a bit below 0.1
    assert verdict(check, tables={"toy": records.assign(accuracy=0.1)})["verdict"] == REPRODUCED


def test_an_order_is_judged_at_each_of_its_steps(verdict, records):
    check = {"test": "positive", "by": "N", "sequence": [10, 20, 50], "each": "kind"}
    row = verdict(check)
    assert (row["verdict"], row["note"]) == (REPRODUCED, "closest of 4 places")
    turned = records.assign(
        accuracy=records["accuracy"] + ((records["N"] == 50) & (records["kind"] == "low"))
    )
    row = verdict(check, tables={"toy": turned})
    assert (row["verdict"], row["note"]) == (NOT, "worst of 4 places; 1 fails")
    assert row["checks"][0]["place"] == "kind = low, N = 20 minus N = 50"


def test_groups_without_a_gap_are_not_in_order(verdict, records):
    check = {"test": "positive", "by": "kind", "sequence": ["high", "low"]}
    assert verdict(check, tables={"toy": records.assign(accuracy=0.5)})["verdict"] == NOT


def test_all_places_must_hold_and_the_worst_is_named(verdict):
    row = verdict({"test": "at_least", "bound": 0.74, "each": ["kind", "N"]})
    assert (row["verdict"], row["value"]) == (NOT, pytest.approx(0.6))
    assert row["checks"][0]["place"] == "kind = low, N = 50"
    assert row["note"] == "worst of 6 places; 1 fails, 2 undecided"


def test_failing_is_corrected_for_the_number_of_places(verdict):
    """Alone 0.6 is told from 0.66 (half an interval is 0.05); as one of six places it is not (0.12)."""
    check = {"test": "at_least", "bound": 0.66}
    assert verdict({**check, "where": "kind == 'low' and N == 50"})["verdict"] == NOT
    row = verdict({**check, "each": ["kind", "N"]})
    assert (row["verdict"], row["value"]) == (UNDECIDED, pytest.approx(0.6))


def test_the_primary_check_speaks_for_the_claim_and_the_others_are_named(verdict):
    row = verdict({**HOLDS, "what": "fine"}, {**OPEN, "what": "near"}, {**FAILS, "what": "far"})
    assert (row["quantity"], row["verdict"]) == ("fine", PARTLY)
    assert row["note"] == "fails: far; undecided: near"


def test_an_undecided_claim_says_how_many_seeds_would_decide_it(verdict):
    # spread 0.02 and 0.01 from the bound: 2.11 * 0.02 / sqrt(18) = 0.00995 is the first half below it
    row = verdict(OPEN)
    assert (row["verdict"], row["seeds_to_decide"]) == (UNDECIDED, 18)
    farther = {**OPEN, "bound": 0.749}
    assert verdict(HOLDS, OPEN, farther)["seeds_to_decide"] == verdict(farther)["seeds_to_decide"] > 1000
    assert verdict({**OPEN, "bound": 0.75 - 1e-7})["seeds_to_decide"] is None
    assert verdict(HOLDS)["seeds_to_decide"] is None


@pytest.mark.parametrize(("identity", "expected"), [(False, UNDECIDED), (True, UNDECIDED)])
def test_a_missing_number_is_undecided_and_said(verdict, records, identity, expected):
    records.loc[4, "accuracy"] = np.nan
    row = verdict({**HOLDS, "identity": identity}, tables={"toy": records})
    assert (row["verdict"], row["value"]) == (expected, None)
    assert "no number in 1 of 3 seeds" in row["note"]


def test_the_number_of_each_seed_is_stored(run, verdict):
    verdict({**HOLDS, "where": "kind == 'high' and N == 10"})
    assert json.loads(run.evidence_path.read_text()) == [
        {
            "claim": "T-1",
            "check": "a number",
            "place": "",
            "gaps": {"0": pytest.approx(0.38), "1": pytest.approx(0.4), "2": pytest.approx(0.42)},
        }
    ]


NULLS = [
    ({"permuted": ["kind"]}, {"test": "positive", "by": "kind", "sequence": ["high", "low"]}),
    ({"permuted": ["N"]}, {"test": "positive", "value": "-accuracy", "reduce": "slope", "against": "N"}),
    ({"permuted": ["theory"]}, {"test": "equals", "expected": "theory", "tolerance": 0.1, "each": ["N"]}),
    ({"exchanged": ["accuracy", "theory"]}, {"test": "positive", "value": "accuracy - theory"}),
    ({"records": {"toy": "other"}}, {"test": "at_least", "bound": 0.5}),
    ("untrained", {"test": "at_least", "bound": 0.5}),
]  # fmt: skip


@pytest.mark.parametrize(("null", "check"), NULLS)
def test_a_claim_is_judged_on_records_without_its_effect(run, records, claims_of, null, check):
    own = {"permuted": records["accuracy"], "exchanged": records["accuracy"] - 0.5}
    kind = null if isinstance(null, str) else next(iter(null))
    told = records.assign(theory=own.get(kind, records["theory"]))
    nothing = records.assign(accuracy=0.1)
    tables = {"toy": told, "other": nothing}
    (row,) = judge(run, claims_of(check, null_records=null), tables, untrained={"toy": nothing})
    assert row["verdict"] == REPRODUCED
    assert row["null"] in (UNDECIDED, NOT)
    assert told["accuracy"].equals(records["accuracy"])  # the null is made of a copy


def test_a_null_without_records_is_not_tested(verdict):
    assert verdict(HOLDS)["null"] == UNTESTED  # no records of untrained networks were given
    assert verdict(HOLDS, null_records={"permuted": ["width"]})["null"] == UNTESTED


def test_a_verdict_says_in_how_many_published_sets_of_seeds_it_came(run, verdict):
    path = run.published / "replications" / "toy.book.json"
    path.parent.mkdir(parents=True)
    assert verdict(HOLDS)["replication"] is None
    for check, agree in ((HOLDS, 2), (OPEN, 1)):
        same = {"T-1": verdict(check)["digest"]}
        sets = [{"verdicts": {"T-1": one}, "digests": same} for one in (REPRODUCED, REPRODUCED, UNDECIDED)]
        other = {"verdicts": {"T-1": NOT}, "digests": {"T-1": "of other checks"}}
        path.write_text(json.dumps({"sets": [*sets, other, {"verdicts": {"T-2": NOT}, "digests": {}}]}))
        assert verdict(check)["replication"] == {"sets": 3, "agree": agree}
    assert verdict(ABSENT)["replication"] is None


def test_a_digest_names_the_tests_and_not_their_words(claims_of):
    digest = claims_of(HOLDS)[0].digest
    assert claims_of({**HOLDS, "what": "other words", "tolerance_origin": "too"})[0].digest == digest
    assert claims_of({**HOLDS, "bound": 0.6})[0].digest != digest != claims_of(HOLDS, HOLDS)[0].digest


def test_a_question_that_the_paper_does_not_ask_is_ours(verdict, claims_of):
    assert verdict(HOLDS, extension=True)["tally"] == "ours"
    assert verdict(HOLDS)["tally"] == "paper"
    with pytest.raises(ClaimError, match="extension: give true or false, got 'yes'"):
        claims_of(HOLDS, extension="yes")


def test_equal_records_give_equal_bytes(run, verdict):
    written = []
    for _ in range(2):
        verdict(OPEN, HOLDS)
        written.append(run.verdicts_path.read_bytes())
    assert written[0] == written[1]


def test_the_stored_row_says_where_it_comes_from(run, verdict):
    row = verdict({**HOLDS, "where": "N == 10"})
    assert [stored | {"elsewhere": {}} for stored in json.loads(run.verdicts_path.read_text())] == [row]
    assert (row["device"], row["code_version"], row["notebook"], row["profile"]) == (
        "a cpu",
        "c0de",
        "toy",
        "book",
    )
    assert row["date"] == "2026-03-12T00:00:00Z"  # the newest of the selected records


def test_groups_are_named_in_words(verdict, records):
    rows = records.assign(warm=records["kind"] == "high", share=records["N"] / 100)
    check = {"test": "positive", "by": ["warm", "share"], "sequence": [[True, 0.1], [False, 0.2]]}
    row = verdict(check, tables={"toy": rows})
    assert row["checks"][0]["place"] == "warm, share = 0.1 minus not warm, share = 0.2"
    row = verdict({"test": "positive", "by": "kind", "sequence": ["high", "low"]})
    assert row["checks"][0]["place"] == "high minus low"


def test_what_other_profiles_published_of_a_claim_stands_beside_the_verdict(run, verdict):
    row = verdict(HOLDS)
    folder = run.published / "verdicts"
    folder.mkdir(parents=True)
    for profile, found in {"book": "partly", "desktop": "undecided", "paper": UNTESTED}.items():
        (folder / f"toy.{profile}.json").write_text(json.dumps([{**row, "verdict": found}]))
    assert verdict(HOLDS)["elsewhere"] == {"desktop": "undecided"}  # its own profile is judged here


def test_records_of_older_code_are_marked(verdict, records):
    row = verdict(HOLDS, tables={"toy": records.assign(_code_changed=True)})
    assert row["code_version"] == "c0de (older than the code beside it)"


def test_the_data_set_is_the_column_or_what_is_given(run, records, claims_of):
    claims = claims_of(HOLDS)
    given = judge(run, claims, {"toy": records}, dataset={"toy": "synthetic"})[0]["dataset"]
    column = judge(run, claims, {"toy": records.assign(dataset="mnist")}, dataset="synthetic")[0]["dataset"]
    assert (given, column) == ("synthetic", "mnist")


def test_claims_are_read_from_the_run_where_none_are_given(run, records, claims_of):
    claims_of(HOLDS)
    assert judge(run, None, {"toy": records})[0]["id"] == "T-1"


@pytest.mark.parametrize(
    ("check", "message"),
    [
        ({**HOLDS, "records": "tyo"}, "unknown table 'tyo'; did you mean 'toy'"),
        (
            {**HOLDS, "where": "size > 1"},
            "unknown column 'size'.*choose one of N, kind, seed, accuracy, theory$",
        ),
        ({**HOLDS, "where": "accuracy"}, "allowed: a comparison"),
        ({**HOLDS, "value": "acuracy"}, "unknown column 'acuracy'; did you mean 'accuracy'"),
        ({**HOLDS, "value": "kind"}, "'kind' is no number in each row"),
        ({**HOLDS, "each": "width"}, "unknown column 'width'.*choose one of N, kind"),
    ],
)
def test_a_check_that_does_not_fit_the_records_is_refused(verdict, check, message):
    with pytest.raises(ClaimError, match=f"claim T-1, check 'a number': .*{message}"):
        verdict(check)


SWEPT = [
    ({"test": "positive", "by": "kind", "sequence": ["high", "lo"]}, "no records with kind = lo; there are"),
    (
        {"test": "positive", "reduce": "slope", "against": "log2(N)", "where": "N == 10"},
        "a slope needs at least two values of log2(N), there is one",
    ),
    ({**HOLDS, "where": "N == 30"}, "no records in 'toy' with N == 30"),
]


@pytest.mark.parametrize(("check", "note"), SWEPT)
def test_a_check_whose_rows_were_not_swept_is_not_tested_and_says_why(verdict, check, note):
    row = verdict(check)
    assert (row["verdict"], row["value"]) == (UNTESTED, None)
    assert note in row["note"]


ORDER = {"test": "positive", "by": "kind", "sequence": ["high", "low"], "each": "N"}


def test_a_check_that_lacks_a_place_does_not_hold_at_all_of_them(verdict, records):
    rows = records[(records["N"] > 10) | (records["kind"] == "low")]
    row = verdict(ORDER, tables={"toy": rows})
    assert row["verdict"] == UNDECIDED
    assert row["note"] == (
        "closest of 2 places; not tested at N = 10: no records with kind = high; there are ('low',)"
    )


def test_of_several_places_that_lack_records_the_first_is_named(verdict, records):
    rows = records[(records["N"] > 20) | (records["kind"] == "low")]
    note = verdict(ORDER, tables={"toy": rows})["note"]
    assert "not tested at 2 places, such as N = 10: no records" in note
    row = verdict(ORDER, tables={"toy": records[records["kind"] == "low"]})
    assert (row["verdict"], row["value"]) == (UNTESTED, None)
    assert row["note"].startswith("none of 3 places has its records, such as N = 10: no records with kind")


def test_a_place_with_one_seed_is_not_tested(verdict, records):
    rows = records[(records["N"] > 10) | (records["seed"] == 0)]
    row = verdict({**HOLDS, "each": "N"}, tables={"toy": rows})
    assert row["verdict"] == UNDECIDED
    assert "not tested at N = 10: 1 complete seed(s): an interval needs at least 2" in row["note"]


def test_all_checks_have_the_same_keys(verdict):
    row = verdict(FAILS, ABSENT, OPEN, {**HOLDS, "profiles": ["paper"]})
    assert [sorted(check) for check in row["checks"]] == [sorted(row["checks"][0])] * 4
    assert row["note"] == "undecided: a number; not tested: a number"


def test_a_column_that_other_parameters_do_not_bring_is_not_tested(run, records, claims_of):
    other = dataclasses.replace(run, own=False)
    row = judge(other, claims_of({**HOLDS, "value": "noise_conv3"}), {"toy": records})[0]
    assert row["verdict"] == UNTESTED
    assert row["note"].startswith("unknown column 'noise_conv3'")


def test_nothing_is_stored_when_a_check_does_not_fit(run, verdict):
    with pytest.raises(ClaimError):
        verdict({**HOLDS, "each": "width"})
    assert not run.verdicts_path.exists()
