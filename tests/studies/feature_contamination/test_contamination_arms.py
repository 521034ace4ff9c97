"""Arms of the feature-contamination page are told apart by name and color, and compared at the same place."""

import pandas as pd
import pytest

from memorization.report.styles import COLORS
from memorization.studies.feature_contamination.figures import (
    contamination_names,
    contamination_table,
    ends,
    signed_means,
    slope_color,
)


def names_of(records):
    return list(dict.fromkeys(contamination_names(records)["arm"]))


@pytest.mark.parametrize(
    ("arm", "name"),
    [
        ({}, "ReLU"),
        ({"activation": "gelu", "slope": float("nan")}, "GELU"),
        ({"activation": "tanh", "slope": float("nan")}, "tanh"),
        ({"activation": "identity", "slope": 1.0}, "identity"),
        ({"activation": "leaky", "slope": 0.0}, "ReLU"),
        ({"activation": "leaky", "slope": 0.25}, "leaky ReLU 0.25"),
        ({"activation": "leaky", "slope": 1.0}, "identity"),
        ({"center": True}, "ReLU, centered inputs"),
        ({"symmetric": True}, "ReLU, sign-symmetric"),
        ({"environment": -0.5}, "ReLU, two environments"),
        ({"environment": -0.5, "penalty": 10.0}, "ReLU, V-REx 10"),
        ({"flip": 0.25}, "ReLU, backgrounds 25 % negated"),
        ({"mean": 0.75}, "ReLU, background mean −0.25"),
    ],
)
def test_an_arm_is_named_by_activation_and_remedy(contaminated, arm, name):
    assert names_of(contaminated(arm)) == [name]


@pytest.mark.parametrize(
    ("setting", "values", "names"),
    [
        ("decay", (0.0, 0.01), ["ReLU, weight decay 0", "ReLU, weight decay 0.01"]),
        ("rate", (0.5, 0.25), ["ReLU, rate 0.5", "ReLU, rate 0.25"]),
        ("environment", (-0.5, 0.5), ["ReLU, two environments, environment −0.5",
                                      "ReLU, two environments, environment 0.5"]),
    ],
)  # fmt: skip
def test_a_rare_setting_is_named_where_arms_differ_in_nothing_else(contaminated, setting, values, names):
    assert names_of(contaminated(*({setting: value} for value in values))) == names


def test_a_rate_of_its_own_for_each_activation_needs_no_name(contaminated):
    arms = {"rate": 0.5}, {"activation": "identity", "slope": 1.0, "rate": 0.1}
    assert names_of(contaminated(*arms)) == ["ReLU", "identity"]


def test_ends_are_the_last_steps_at_the_shift_of_the_paper(contaminated):
    last = ends(contaminated({}))
    assert last[["seed", "step", "shift"]].values.tolist() == [[0, 100, -1], [1, 100, -1]]


def test_runs_of_other_lengths_end_at_their_own_last_step(contaminated):
    both = pd.concat([contaminated({}), contaminated({}, steps=30)])
    assert sorted(ends(both)["step"]) == [30, 30, 100, 100]


def test_a_shift_that_was_not_tested_lists_those_that_were(contaminated):
    with pytest.raises(ValueError, match=r"after the last step at shift -3; the shifts are 1, 0\.5, 0"):
        ends(contaminated({}), -3)


def test_background_that_grows_in_both_kinds_of_neurons_does_not_cancel(contaminated):
    last = signed_means(ends(contaminated({"slope": 0.5, "activation": "leaky"}))).iloc[0]
    assert (last["c"], last["b"], last["b/c"]) == pytest.approx((0.2, 0.2 / 3, 1 / 3))


def test_slopes_run_from_the_color_of_relu_to_that_of_the_identity():
    assert (slope_color(0), slope_color(1)) == (COLORS["ReLU"], COLORS["identity"])
    assert len({slope_color(s / 10) for s in range(11)}) == 11


@pytest.mark.parametrize("slope", [-0.1, 1.5, float("nan")])
def test_a_slope_outside_zero_to_one_has_no_color(slope):
    with pytest.raises(ValueError, match=r"a leaky ReLU has one from 0 \(ReLU\) to 1 \(identity\)"):
        slope_color(slope)


def test_the_table_gives_means_and_errors_after_training(contaminated):
    row = contamination_table(contaminated({})).iloc[0].to_dict()
    assert row == {
        "arm": "ReLU", "ID risk": "0.105 ± 0.064", "OOD risk": "1.005 ± 0.064",
        "OOD accuracy": "0.705 ± 0.064", "core, c": "0.2", "background, b": "0.2",
    }  # fmt: skip


def test_one_seed_has_no_error_in_the_table(contaminated):
    assert contamination_table(contaminated({}, seeds=(0,)))["ID risk"].tolist() == ["0.1"]


def test_two_runs_of_one_arm_and_seed_have_no_common_row(contaminated):
    both = pd.concat([contaminated({}), contaminated({}, width=64)])
    with pytest.raises(ValueError, match="more than one run of arm 'ReLU' with seed 0; select one first"):
        contamination_table(both)
