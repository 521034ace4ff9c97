import math

import pytest

from memorization.studies.spurious_memorization.experiments import image_curve, synthetic_curve, theory_curve


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


def test_theory_is_blank_where_it_is_undefined():
    rows = theory_curve(feature_map="rf", activation="identity", alpha=0.5, d=20, sizes=[10, 20])
    assert rows[0]["gamma"] == pytest.approx(0.5)
    assert math.isnan(rows[1]["gamma"])


def test_theory_uses_the_fraction_that_the_data_have():
    odd, even = (
        theory_curve(feature_map="rf", activation="phi2", alpha=alpha, d=9, sizes=[3])[0]["gamma"]
        for alpha in (0.5, 4 / 9)
    )
    assert odd == even


def test_the_lower_bound_is_stated_for_random_features_only():
    rf, ntk = (
        theory_curve(feature_map=name, activation="phi2", alpha=0.5, d=9, sizes=[3])[0]["gamma_floor"]
        for name in ("rf", "ntk")
    )
    assert rf < theory_curve(feature_map="rf", activation="phi2", alpha=0.5, d=9, sizes=[3])[0]["gamma"]
    assert math.isnan(ntk)


@pytest.mark.parametrize("sizes", [[], [0], [10, -1], [2.5], [True]])
def test_sizes_that_are_no_counts_are_refused(sizes):
    with pytest.raises(ValueError, match="sizes must be a list of whole numbers >= 1; got"):
        synthetic(sizes=sizes)


def test_an_unknown_dtype_lists_the_choices():
    with pytest.raises(ValueError, match="unknown dtype 'float16'; choose one of float32, float64"):
        synthetic(dtype="float16")


def test_too_small_a_width_says_what_to_change():
    with pytest.raises(ValueError, match="got N=40, p=30; increase the width or pass ridge > 0"):
        synthetic(width=30)


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
