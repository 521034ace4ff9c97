import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from memorization.report.claims import ClaimError
from memorization.report.judging import NOT, PARTLY, REPRODUCED, UNTESTED, judge

HOLDS = {"test": "at_least", "bound": 0.5}
FAILS = {"test": "at_most", "bound": 0.5}


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
        ([FAILS, FAILS], NOT),
        ([{**HOLDS, "profiles": ["paper"]}], UNTESTED),
        ([HOLDS, {**FAILS, "profiles": ["paper"]}], REPRODUCED),
        ([HOLDS, {**HOLDS, "where": "N > 1000"}], PARTLY),
        ([FAILS, {**HOLDS, "where": "N > 1000"}], NOT),
        ([{**HOLDS, "where": "N > 1000"}], UNTESTED),
    ],
)
def test_the_verdict_follows_from_the_checks_of_this_profile(verdict, checks, expected):
    assert verdict(*checks)["verdict"] == expected


@pytest.mark.parametrize("where", ["", "N == 10"])
def test_no_records_never_reproduce_a_claim(verdict, where):
    row = verdict({**HOLDS, "where": where}, tables={"toy": pd.DataFrame()})
    assert (row["verdict"], row["value"]) == (UNTESTED, None)
    assert row["note"].startswith("no records in 'toy'")


@pytest.mark.parametrize("first", [{}, {"average_first": "N"}])
def test_a_mean_of_one_seed_is_not_tested(verdict, records, first):
    row = verdict({**HOLDS, **first}, tables={"toy": records.query("seed == 0")})
    assert (row["verdict"], row["seeds"]) == (UNTESTED, 1)
    assert "a mean needs at least 2" in row["note"]


def test_one_seed_is_enough_where_every_seed_must_hold(verdict, records):
    row = verdict({**HOLDS, "over_seeds": "worst"}, tables={"toy": records.query("seed == 0")})
    assert row["verdict"] == REPRODUCED


def test_the_worst_seed_decides_where_every_seed_must_hold(verdict):
    check = {"test": "at_least", "bound": 0.69, "reduce": "min", "where": "kind == 'high'"}
    assert verdict(check)["verdict"] == REPRODUCED  # the seeds' mean is 0.70
    row = verdict({**check, "over_seeds": "worst"})
    assert row["verdict"] == NOT
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.68, 0.68, 0.72))


def test_value_and_interval_are_those_of_the_t_distribution(verdict):
    row = verdict({**HOLDS, "where": "kind == 'high' and N == 10"})
    half = 4.302653 * 0.02 / np.sqrt(3)  # 97.5 % quantile of Student's t with 2 degrees of freedom
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.9, 0.9 - half, 0.9 + half))


@pytest.mark.parametrize(
    ("check", "value", "holds"),
    [
        ({"test": "equals", "expected": 0.7, "tolerance": 0.1}, 0.75, True),
        ({"test": "equals", "expected": 0.7, "tolerance": 0.01}, 0.75, False),
        ({"test": "equals", "expected": 0.8, "tolerance": 0.01}, 0.75, False),
        ({"test": "equals", "expected": "theory", "tolerance": "theory / 5"}, 0.75, True),
        ({"test": "between", "bound": [0.7, 0.8]}, 0.75, True),
        ({"test": "between", "bound": [0.8, 0.9]}, 0.75, False),
        ({"test": "positive", "value": "accuracy - accuracy"}, 0.0, False),
        ({"test": "positive", "value": "accuracy - 0.74"}, 0.01, True),
        ({"test": "at_most", "bound": 0.95, "reduce": "max"}, 0.9, True),
        ({"test": "at_most", "bound": 0.25, "reduce": "range"}, 0.3, False),
        ({"test": "at_most", "bound": 3.0, "value": "sqrt(N) * 0 + 3"}, 3.0, True),
        (
            {"test": "at_most", "bound": -0.8, "reduce": "spearman", "against": "N", "each": "kind"},
            -1.0,
            True,
        ),
    ],
)
def test_each_test_and_reduction_finds_its_number(verdict, check, value, holds):
    row = verdict(check)
    assert row["value"] == pytest.approx(value, abs=1e-9)
    assert row["checks"][0]["holds"] is holds


def test_equal_numbers_meet_their_own_bound(verdict, records):
    same = records.assign(accuracy=0.95)
    assert verdict({"test": "at_least", "bound": 0.95}, tables={"toy": same})["verdict"] == REPRODUCED


def test_a_bound_is_the_number_itself_not_the_mean_of_many(verdict, records):
    check = {"test": "at_most", "bound": 0.1, "reduce": "max"}  # the mean of six 0.1 is a bit below 0.1
    assert verdict(check, tables={"toy": records.assign(accuracy=0.1)})["verdict"] == REPRODUCED


def test_an_order_is_the_smallest_gap_between_neighbors(verdict):
    check = {"test": "order", "by": "N", "sequence": [10, 20, 50], "margin": 0.09}
    row = verdict(check)
    assert (row["value"], row["verdict"]) == (pytest.approx(0.1), REPRODUCED)
    assert verdict({**check, "margin": 0.11})["verdict"] == NOT
    assert verdict({**check, "sequence": [20, 10, 50]})["value"] == pytest.approx(-0.1)


def test_an_order_can_go_over_several_columns_and_places(verdict):
    check = {"test": "order", "by": ["kind"], "sequence": [["high"], ["low"]], "each": ["N"]}
    row = verdict(check)
    assert (row["verdict"], row["value"]) == (REPRODUCED, pytest.approx(0.1))
    assert "of 3 places" in row["note"]


def test_groups_without_a_gap_are_not_in_order(verdict, records):
    check = {"test": "order", "by": "kind", "sequence": ["high", "low"]}
    assert verdict(check, tables={"toy": records.assign(accuracy=0.5)})["verdict"] == NOT


def test_a_difference_is_first_minus_last_group(verdict):
    check = {"test": "equals", "expected": 0.1, "tolerance": 0.001, "reduce": "difference"}
    row = verdict({**check, "by": "kind", "sequence": ["high", "low"]})
    assert (row["verdict"], row["value"]) == (REPRODUCED, pytest.approx(0.1))


def test_the_worst_place_decides_and_is_named(verdict):
    row = verdict({"test": "at_least", "bound": 0.75, "each": ["kind", "N"]})
    assert row["value"] == pytest.approx(0.6)
    assert row["note"].startswith("worst of 6 places: kind = low, N = 50; 3 of 6 fail")


def test_the_check_furthest_beyond_its_bound_speaks_for_the_claim(verdict):
    row = verdict(
        {**HOLDS, "what": "fine"},
        {"test": "at_most", "bound": 0.7, "what": "near"},
        {"test": "at_most", "bound": 0.1, "what": "far"},
    )
    assert (row["quantity"], row["verdict"]) == ("far", PARTLY)


def test_the_check_nearest_to_its_bound_speaks_where_all_hold(verdict):
    row = verdict({**HOLDS, "what": "far"}, {"test": "at_least", "bound": 0.74, "what": "near"})
    assert row["quantity"] == "near"


def test_an_interval_that_crosses_the_bound_is_said(verdict):
    row = verdict({"test": "at_least", "bound": 0.89, "where": "kind == 'high' and N == 10"})
    assert (row["verdict"], row["note"]) == (
        REPRODUCED,
        "the mean passes, but the 95 % interval crosses the bound",
    )


@pytest.mark.parametrize(
    "check", [{"test": "at_least", "bound": 0.91}, {"test": "equals", "expected": 0.93, "tolerance": 0.01}]
)
def test_a_failing_mean_whose_interval_reaches_the_bound_is_said(verdict, check):
    row = verdict({**check, "where": "kind == 'high' and N == 10"})
    assert (row["verdict"], row["note"]) == (NOT, "the mean fails, but the 95 % interval reaches the bound")


@pytest.mark.parametrize("over_seeds", ["mean", "worst"])
def test_a_missing_number_fails_the_check_and_is_said(verdict, records, over_seeds):
    records.loc[4, "accuracy"] = np.nan
    row = verdict({**HOLDS, "over_seeds": over_seeds}, tables={"toy": records})
    assert (row["verdict"], row["value"]) == (NOT, None)
    assert "no number" in row["note"]


def test_averaging_first_reduces_the_averaged_curve(verdict, records):
    noisy = records.assign(accuracy=[0.0, 1.0, 0.5] * 6)  # every seed ranges by 0, the mean curve too
    noisy.loc[noisy.N == 20, "accuracy"] += [0.3, -0.3, 0.0] * 2  # noise that the average takes away
    check = {"test": "at_most", "bound": 0.01, "reduce": "range"}
    assert verdict(check, tables={"toy": noisy})["value"] == pytest.approx(0.2)
    row = verdict({**check, "average_first": ["kind", "N"]}, tables={"toy": noisy})
    assert (row["value"], row["verdict"]) == (pytest.approx(0, abs=1e-12), REPRODUCED)


def test_an_averaged_curve_that_is_one_everywhere_is_exactly_one(run, claims_of):
    ones = pd.DataFrame({"N": 10, "seed": range(20), "accuracy": 1.0})
    claims = claims_of({"test": "equals", "expected": 1, "average_first": ["N"]})
    assert judge(run, claims, {"toy": ones})[0]["verdict"] == REPRODUCED


def test_the_bootstrap_interval_holds_the_true_mean_at_its_level(run, claims_of):
    generator = np.random.default_rng(5)
    claims = claims_of({"test": "positive", "average_first": ["N"]})
    seeds, trials, inside = 20, 60, 0
    for _ in range(trials):
        frame = pd.DataFrame({"N": 10, "seed": range(seeds), "accuracy": 1 + generator.normal(size=seeds)})
        row = judge(run, claims, {"toy": frame})[0]
        inside += row["low"] <= 1 <= row["high"]
    assert inside >= 50  # level about 0.93 here; 49 or fewer of 60 has a chance below 0.2 %


def test_seeds_that_lack_a_point_are_left_out_of_an_averaged_curve(verdict, records):
    part = records[~((records.seed == 2) & (records.N == 50))]
    row = verdict({**HOLDS, "average_first": ["kind", "N"]}, tables={"toy": part})
    assert (row["seeds"], row["value"]) == (2, pytest.approx(0.74))


def test_equal_records_give_equal_bytes(run, verdict):
    check = {"test": "positive", "average_first": ["kind", "N"]}  # its interval is a bootstrap
    written = []
    for _ in range(2):
        verdict(check, HOLDS)
        written.append(run.verdicts_path.read_bytes())
    assert written[0] == written[1]


def test_the_stored_row_says_where_it_comes_from(run, verdict):
    row = verdict({**HOLDS, "where": "N == 10"})
    assert json.loads(run.verdicts_path.read_text()) == [row]
    assert (row["device"], row["code_version"], row["notebook"], row["profile"]) == (
        "a cpu",
        "c0de",
        "toy",
        "book",
    )
    assert row["date"] == "2026-03-12T00:00:00Z"  # the newest of the selected records


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
    ({"test": "order", "by": "kind", "sequence": ["high", "lo"]}, "no records with kind = lo; there are"),
    (
        {"test": "at_most", "bound": -0.9, "reduce": "spearman", "against": "N", "where": "N == 10"},
        "a rank correlation needs at least two values of N, there is one",
    ),
    ({**HOLDS, "where": "N == 30"}, "no records in 'toy' with N == 30"),
]


@pytest.mark.parametrize(("check", "note"), SWEPT)
@pytest.mark.parametrize("averaged", [False, True])
def test_a_check_whose_rows_were_not_swept_is_not_tested_and_says_why(verdict, check, note, averaged):
    row = verdict({**check, "average_first": ["N"]} if averaged else check)
    assert (row["verdict"], row["value"]) == (UNTESTED, None)
    assert note in row["note"]


def test_a_place_whose_rows_were_not_swept_is_named_beside_the_others(verdict, records):
    check = {"test": "order", "by": "kind", "sequence": ["high", "low"], "each": "N"}
    rows = records[(records["N"] > 10) | (records["kind"] == "low")]
    row = verdict(check, tables={"toy": rows})
    assert row["verdict"] == REPRODUCED
    assert "closest of 2 places" in row["note"]
    assert "not tested at N = 10: no records with kind = high" in row["note"]


def test_of_several_places_that_lack_records_the_first_is_named(verdict, records):
    check = {"test": "order", "by": "kind", "sequence": ["high", "low"], "each": "N"}
    rows = records[(records["N"] > 20) | (records["kind"] == "low")]
    assert (
        "not tested at 2 places, such as N = 10: no records" in verdict(check, tables={"toy": rows})["note"]
    )
    row = verdict(check, tables={"toy": records[records["kind"] == "low"]})
    assert (row["verdict"], row["value"]) == (UNTESTED, None)
    assert row["note"].startswith("none of 3 places has its records, such as N = 10: no records with kind")


def test_a_place_with_one_seed_is_not_tested_and_the_others_are(verdict, records):
    rows = records[(records["N"] > 10) | (records["seed"] == 0)]
    row = verdict({**HOLDS, "each": "N"}, tables={"toy": rows})
    assert row["verdict"] == REPRODUCED
    assert "not tested at N = 10: 1 complete seed(s): a mean needs at least 2" in row["note"]


def test_the_claim_names_its_checks_that_were_tested_in_part_or_not(verdict, records):
    order = {"test": "order", "by": "kind", "sequence": ["high", "low"], "each": "N", "what": "an order"}
    rows = records[(records["N"] > 10) | (records["kind"] == "low")]
    absent = {**HOLDS, "where": "N == 30", "what": "at 30"}
    row = verdict({**FAILS, "what": "fails"}, order, absent, tables={"toy": rows})
    assert (row["verdict"], row["quantity"]) == (PARTLY, "fails")
    assert row["note"] == "not tested: at 30; tested in part: an order"
    assert [sorted(check) for check in row["checks"]] == [sorted(row["checks"][0])] * 3


def test_a_column_that_other_parameters_do_not_bring_is_not_tested(run, records, claims_of):
    other = dataclasses.replace(run, own=False)
    row = judge(other, claims_of({**HOLDS, "value": "noise_conv3"}), {"toy": records})[0]
    assert row["verdict"] == UNTESTED
    assert row["note"].startswith("unknown column 'noise_conv3'")


def test_nothing_is_stored_when_a_check_does_not_fit(run, verdict):
    with pytest.raises(ClaimError):
        verdict({**HOLDS, "each": "width"})
    assert not run.verdicts_path.exists()
