"""Tables on feature contamination, from made records and from small real ones."""

import math

import pandas as pd
import pytest

from memorization.runs.sweep import sweep
from memorization.studies.feature_contamination.experiments import contaminate
from memorization.studies.feature_contamination.tables import (
    feature_ends,
    growth_table,
    margin_table,
    model_table,
)


@pytest.fixture(scope="module")
def records():
    """Two arms of two seeds, long enough for a first growth."""
    arms = [{}, {"activation": "identity"}, {"activation": "gelu"}]
    point = {"arms": arms, "width": 32, "steps": 30, "record_at": [10, 20], "test": 500, "shifts": [1.0, 0.0]}
    return sweep(contaminate, [point], seeds=2, stacked=True, progress=False)


def test_the_end_is_one_row_a_network_with_its_start_beside_it(records):
    ends = feature_ends(records)
    assert len(ends) == 3 * 2
    one = ends.query("activation == 'relu' and seed == 1").iloc[0]
    rows = records.query("activation == 'relu' and seed == 1 and shift == -1").set_index("step")
    assert one["gap"] == pytest.approx(rows.loc[30, "ood_risk"] - rows.loc[30, "id_risk"])
    assert one["norm_growth"] == pytest.approx(
        rows.loc[30, "background_norm"] / rows.loc[0, "background_norm"]
    )
    assert one["b_over_c"] == pytest.approx(rows.loc[30, "b_plus"] / rows.loc[30, "c_plus"])


def test_untrained_networks_have_the_columns_of_the_ends_and_have_not_grown(contaminated):
    records = contaminated({}, {"slope": 0.5})
    ends, starts = feature_ends(records), feature_ends(records, at="start")
    assert list(starts) == list(ends)
    assert starts[["slope", "seed", "steps"]].equals(ends[["slope", "seed", "steps"]])
    one = starts.query("slope == 0.5 and seed == 1").iloc[0]
    assert (one["step"], one["norm_growth"], one["b_plus"], one["own"]) == (0, 1, 0, 0.5)
    assert (one["id_risk"], one["ood_risk"], one["gap"]) == (1.01, 1.01, 0)
    assert one["accuracy_gap"] == pytest.approx(0.98 - 0.7)
    assert feature_ends(pd.DataFrame(), at="start").empty


def test_a_table_is_of_the_start_or_of_the_end(records):
    with pytest.raises(ValueError, match=r"unknown at 'last'.*choose one of start, end"):
        feature_ends(records, at="last")


def test_growth_is_measured_between_two_steps_and_predicted_from_firing(records):
    table = growth_table(records).set_index(["activation", "seed"])
    assert set(table.index.get_level_values("activation")) == {"relu", "identity"}  # GELU has no slope
    rows = records.query("activation == 'relu' and seed == 0 and shift == -1").set_index("step")
    background, core = (rows.loc[30, name] - rows.loc[10, name] for name in ("b_plus", "c_plus"))
    assert table.loc[("relu", 0), "measured"] == pytest.approx(background / core)
    own, other = (rows.loc[10:, name].mean() for name in ("own", "other"))
    assert table.loc[("relu", 0), "predicted"] == pytest.approx((own - other) / (own + other))
    assert table.loc[("identity", 0), "predicted"] == 0


def test_a_step_that_was_not_recorded_is_named(records):
    with pytest.raises(ValueError, match="step 15 was not recorded; add it to record_at"):
        growth_table(records, 15, 30)


def test_margins_stand_beside_their_formula_at_every_shift(records):
    table = margin_table(records)
    assert sorted(table["shift"].unique()) == [-1, 0, 1]
    linear = table.query("activation == 'identity'")
    assert linear["error"].abs().max() < 0.02  # exact but for the sample and the initial weights
    assert linear.groupby("seed")["predicted"].nunique().tolist() == [1, 1]


def distilled():
    values = {"teacher": (0.9, 0.9, 0.0, 0.0), "student": (0.8, 0.6, 0.1, 2.0), "standard": (1, 0.5)}
    rows = []
    for seed in (1, 0):
        for scale in (1.0, 0.1):
            for model, numbers in values.items():
                if model == "standard" and scale < 1:
                    continue
                names = ("id_accuracy", "ood_accuracy", "id_error", "ood_error")
                row = {"model": model, "seed": seed, "init_scale": scale, "shape": [1, 2]}
                shifted = [number + seed / 100 for number in numbers]
                rows.append(row | dict(zip(names, shifted, strict=False)))
    return pd.DataFrame(rows)


def test_models_of_one_seed_and_setting_stand_side_by_side():
    table = model_table(distilled()).set_index(["seed", "init_scale"])
    assert len(table) == 4
    assert table.loc[(1, 1.0), "standard_ood"] == pytest.approx(0.51)
    assert table.loc[(0, 1.0), "teacher_ood"] == pytest.approx(0.9)
    assert table.loc[(0, 1.0), "error_ratio"] == pytest.approx(20)


def test_a_model_that_was_not_trained_is_nan():
    table = model_table(distilled()).set_index(["seed", "init_scale"])
    assert math.isnan(table.loc[(0, 0.1), "standard_ood"])
    assert "standard_ood" not in model_table(distilled().query("init_scale < 1"))


@pytest.mark.parametrize("table", [feature_ends, model_table])
def test_no_records_give_no_rows(table):
    assert table(pd.DataFrame()).empty


@pytest.mark.parametrize("change", [{"mean": 0.25}, {"flip": 0.1}, {"center": True}, {"symmetric": True}])
def test_formulas_say_nothing_where_an_arm_changes_what_they_assume(records, change):
    changed = records.assign(**change)
    assert growth_table(changed)["predicted"].isna().all()
    assert margin_table(changed)["predicted"].isna().all() == ("mean" not in change)
    assert margin_table(records.assign(initialization="pytorch"))["predicted"].isna().all()
