"""Curves, checks of the identities, and scores of examples on spurious features."""

import math

import pytest
import torch

from memorization.measures.stability import Stability, stability
from memorization.studies.spurious_memorization import experiments
from memorization.studies.spurious_memorization.experiments import (
    Model,
    example_scores,
    identity_check,
    image_curve,
    image_points,
    negative_control,
    synthetic_curve,
)


def synthetic(**changes):
    base = {
        "feature_map": "rf", "activation": "phi2", "alpha": 0.5, "d": 40, "width": 600,
        "sizes": [5, 20, 40], "n_test": 200, "seed": 0,
    }  # fmt: skip
    return synthetic_curve(**(base | changes))


def digits(**changes):
    base = {
        "dataset": "digits", "negative": 1, "positive": 7, "pad": 2, "feature_map": "rf",
        "activation": "relu", "width": 500, "sizes": [10, 50], "n_test": 100, "seed": 0,
    }  # fmt: skip
    return image_curve(**(base | changes))


COLUMNS = {
    "N", "psi", "train_accuracy", "test_accuracy", "spurious_accuracy", "spurious_auc",
    "covariance", "held_out_covariance", "stability_covariance", "bound", "alignment_mean",
    "alignment_sd", "stability_mse", "test_mse", "residual", "gamma", "gamma_floor",
    "theory_test_accuracy", "theory_spurious_accuracy", "theory_test_mse",
    "theory_stability_covariance", "theory_covariance",
}  # fmt: skip


def test_a_curve_has_one_row_per_size_of_plain_numbers():
    rows = synthetic()
    assert [row["N"] for row in rows] == [5, 20, 40]
    assert all(set(row) == COLUMNS for row in rows)
    assert all(type(value) in (int, float) for row in rows for value in row.values())


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize(("feature_map", "width"), [("rf", 600), ("ntk", 30), ("rf", None), ("ntk", 0)])
def test_every_model_interpolates(feature_map, width, nested):
    for row in synthetic(feature_map=feature_map, width=width, nested=nested):
        assert row["residual"] < 1e-6
        assert row["train_accuracy"] == 1


@pytest.mark.parametrize("nested", [True, False])
def test_the_same_seed_gives_the_same_rows(nested):
    assert synthetic(nested=nested) == synthetic(nested=nested)


def test_other_sizes_do_not_change_a_row_of_independent_draws():
    assert synthetic(nested=False, sizes=[20]) == synthetic(nested=False, sizes=[5, 20, 40])[1:2]


def test_independent_draws_of_two_sizes_share_no_data(monkeypatch):
    drawn = []
    task = experiments.linear_core_task

    def remembered(**arguments):
        drawn.append(task(**arguments))
        return drawn[-1]

    monkeypatch.setattr(experiments, "linear_core_task", remembered)
    synthetic(nested=False, sizes=[5, 20])
    assert not torch.isin(drawn[0].train, drawn[1].train).any()


def test_another_largest_size_changes_a_nested_row_by_rounding_only():
    alone, among = synthetic(sizes=[20])[0], synthetic(sizes=[5, 20, 40])[1]
    for column in ("covariance", "alignment_mean", "test_mse"):
        assert alone[column] == pytest.approx(among[column], rel=1e-5)


def test_another_seed_gives_other_rows():
    assert synthetic(seed=1)[1]["covariance"] != synthetic(seed=0)[1]["covariance"]


def test_nested_and_independent_draws_differ_at_the_same_seed():
    nested, independent = synthetic(nested=True)[1], synthetic(nested=False)[1]
    assert nested["covariance"] != pytest.approx(independent["covariance"], rel=1e-3)


def test_the_measured_alignment_agrees_with_theory_at_infinite_width():
    row = synthetic(width=0, d=200, sizes=[200], law="spheres")[0]
    assert row["alignment_mean"] == pytest.approx(row["gamma"], abs=0.02)
    assert row["alignment_sd"] < 1.5 / math.sqrt(200)


def test_single_and_double_precision_agree():
    single, double = synthetic(dtype="float32")[2], synthetic(dtype="float64")[2]
    for column in ("covariance", "alignment_mean", "test_mse", "stability_mse"):
        assert single[column] == pytest.approx(double[column], rel=1e-4)


def test_a_ridge_gives_up_interpolation():
    assert synthetic(ridge=0.5)[2]["residual"] > 0.05


def test_one_training_example_has_no_auc_and_the_kernels_alignment():
    row = synthetic(sizes=[1], width=None, law="spheres")[0]
    assert math.isnan(row["spurious_auc"])
    assert row["stability_mse"] == pytest.approx(1)
    assert row["gamma"] == pytest.approx(0.375)


@pytest.mark.parametrize("sizes", [[], [0], [10, -1], [2.5], [True], [10, 10], 10])
def test_sizes_that_are_no_counts_are_refused(sizes):
    with pytest.raises(ValueError, match=r"sizes=.*; allowed: a list of whole numbers N >= 1, each once"):
        synthetic(sizes=sizes)


@pytest.mark.parametrize(
    ("senseless", "message"),
    [
        ({"dtype": "float16"}, "unknown dtype 'float16'.*choose one of float32, float64"),
        ({"width": 10.5}, "width=10.5; allowed: a whole number, 0 or more"),
        ({"width": -3}, "width=-3; allowed: a whole number, 0 or more"),
        ({"ridge": float("nan")}, "ridge=nan; allowed: a finite number"),
        ({"ridge": -1.0}, "ridge must be a finite number >= 0; got -1"),
        ({"alpha": 1.0}, "choose alpha strictly between 0 and 1"),
        ({"alpha": float("nan")}, "alpha=nan; allowed: a finite number"),
        ({"d": 40.0}, "d=40.0; allowed: a whole number, 2 or more"),
        ({"n_test": 0}, "n_test=0; allowed: a whole number, 1 or more"),
        ({"law": "ball"}, "unknown law 'ball'.*choose one of gaussian, spheres"),
        ({"width": 30}, "got N=40, p=30; increase the width or pass ridge > 0"),
    ],
)
def test_a_senseless_value_is_refused_by_name(senseless, message):
    with pytest.raises(ValueError, match=message):
        synthetic(**senseless)


@pytest.mark.parametrize("fill", ["zero", "mean", "fresh"])
def test_digits_are_interpolated_with_every_fill(fill):
    for row in digits(fill=fill):
        assert row["residual"] < 1e-6
        assert row["train_accuracy"] == 1


def test_digits_curves_have_the_measured_columns_and_no_theory():
    assert set(digits()[0]) == {c for c in COLUMNS if "theory" not in c and "gamma" not in c and c != "psi"}


def test_digits_are_learned_and_the_border_is_memorized():
    few, many = digits(sizes=[10, 200], width=2000)
    assert many["test_accuracy"] > 0.95
    assert few["covariance"] > many["covariance"] > 0


def test_digits_give_the_same_rows_whatever_the_data_root(tmp_path):
    assert digits(data_root=str(tmp_path)) == digits()


def test_more_digits_than_there_are_is_refused():
    with pytest.raises(ValueError, match=r"asked for 300 training and 100 test images.* hold 361 images"):
        digits(sizes=[300])


def test_absent_images_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mnist was not found in .*MNIST"):
        digits(dataset="mnist", data_root=str(tmp_path))


IDENTITY = {"d": 60, "n": 25, "alpha": 0.5, "seed": 0}


@pytest.mark.parametrize(("feature_map", "width"), [("rf", 600), ("ntk", 12)])
def test_the_identities_hold_on_synthetic_data(feature_map, width):
    (row,) = identity_check(feature_map=feature_map, activation="phi2", width=width, **IDENTITY)
    gaps = {name: value for name, value in row.items() if name.endswith("_gap")}
    assert len(gaps) == 5
    assert max(gaps.values()) < 1e-10


@pytest.mark.parametrize(("feature_map", "width"), [("rf", 2000), ("ntk", 20)])
def test_the_identities_hold_on_framed_digits(feature_map, width):
    (row,) = identity_check(
        feature_map=feature_map, activation="relu", width=width, n=50, dataset="digits", seed=0
    )
    assert max(value for name, value in row.items() if name.endswith("_gap")) < 1e-8


def test_a_wrong_alignment_is_seen_by_the_check(monkeypatch):
    def wrong(solution):
        good = stability(solution)
        bad = good.alignment * 1.001
        return Stability(good.residuals, bad, good.spurious, good.held_out, good.unexplained)

    monkeypatch.setattr(experiments, "stability", wrong)
    (row,) = identity_check(feature_map="rf", activation="phi2", width=600, **IDENTITY)
    assert row["decomposition_gap"] > 1e-6
    assert row["alignment_gap"] > 1e-6


def test_unrelated_queries_show_no_memorization():
    rows = [
        negative_control(
            feature_map="rf", activation="phi2", alpha=0.5, d=100, width=None, n=60, law="spheres", seed=seed
        )[0]
        for seed in range(20)
    ]
    means = {name: sum(row[name] for row in rows) / 20 for name in rows[0]}
    assert abs(means["spurious_accuracy"] - 0.5) < 3 * 0.5 / (20 * 60) ** 0.5
    assert abs(means["alignment_mean"]) < 0.01
    assert abs(means["covariance"]) < 0.03


def test_example_scores_add_up_to_the_spurious_prediction():
    scores = example_scores(Model("ntk", "phi2", 30), alpha=0.5, d=40, n=20, seed=0)
    found = scores.columns
    assert scores.ids.tolist() == list(range(20))
    assert torch.allclose(found["spurious"], found["held_out"] + found["alignment"] * found["residual"])
    assert torch.equal(found["memorization"], found["alignment"] * found["residual"] * found["label"])
    assert set(found["label"].tolist()) == {-1.0, 1.0}


def test_example_scores_describe_the_model_of_the_curve():
    shared = {"alpha": 0.5, "d": 40, "seed": 3}
    scores = example_scores(Model("rf", "phi2", 300), n=20, **shared)
    (row,) = synthetic_curve(feature_map="rf", activation="phi2", width=300, sizes=[20], n_test=1, **shared)
    assert float(scores.columns["alignment"].mean()) == pytest.approx(row["alignment_mean"], rel=1e-4)


def test_example_scores_know_their_data():
    def digest(seed, activation):
        return example_scores(Model("rf", activation, 300), alpha=0.5, d=40, n=20, seed=seed).dataset

    assert digest(0, "phi2") == digest(0, "relu") != digest(1, "phi2")


@pytest.mark.parametrize(
    ("senseless", "message"),
    [
        ({"width": 0}, "width=0; allowed: a whole number, 1 or more"),
        ({"n": 1}, "n=1; allowed: a whole number, 2 or more"),
    ],
)
def test_an_identity_that_nothing_could_break_is_refused(senseless, message):
    point = {"feature_map": "rf", "activation": "phi2", "width": 600, **IDENTITY}
    with pytest.raises(ValueError, match=message):
        identity_check(**(point | senseless))


def test_image_sets_are_read_from_texts():
    assert image_points(["digits:1:7:3"]) == [{"dataset": "digits", "negative": 1, "positive": 7, "pad": 3}]


@pytest.mark.parametrize("spec", ["digits", "digits:1:7", "digits:1:7:x", "letters:1:7:3"])
def test_a_text_that_is_no_image_set_is_refused(spec):
    with pytest.raises(ValueError, match=f"image set '{spec}'; allowed: DATASET:NEGATIVE:POSITIVE:PAD"):
        image_points([spec])
