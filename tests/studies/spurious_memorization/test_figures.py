"""The figures of the page on spurious memorization."""

import numpy as np
import pandas as pd
import pytest
import torch

from memorization.measures.scores import ExampleScores
from memorization.report.figures import panels
from memorization.report.styles import COLORS
from memorization.studies.spurious_memorization import figures as spurious
from memorization.studies.spurious_memorization.image_scores import ScoredImages
from memorization.studies.spurious_memorization.theory import kernel_profile, predict_synthetic


@pytest.fixture
def curves():
    rows = [
        {
            "feature_map": f,
            "activation": a,
            "alpha": alpha,
            "N": n,
            "seed": s,
            "psi": n / 100,
            "gamma": alpha / 2,
        }
        for f in ("rf", "ntk")
        for a in ("phi2", "phi4")
        for alpha in (0.5, 0.25)
        for n in (10, 100)
        for s in (0, 1)
    ]
    frame = pd.DataFrame(rows)
    frame["spurious_accuracy"] = 0.6 + 0.1 * frame.seed
    frame["theory"] = 0.65
    frame["alignment_mean"] = frame.alpha / 2 + 0.01 * frame.seed
    frame["gamma_floor"] = np.where(frame.feature_map == "rf", frame.alpha / 4, np.nan)
    frame["stability_covariance"], frame["covariance"], frame["bound"] = 0.8, 0.2 * frame.alpha, 0.3
    return spurious.named_curves(frame)


def test_a_curve_is_named_by_activation_and_fraction(curves):
    assert set(curves.curve) == {"φ₂, α = 1/2", "φ₂, α = 1/4", "φ₄, α = 1/2", "φ₄, α = 1/4"}


def test_each_curve_is_drawn_with_its_prediction(curves):
    _, (ax,) = panels(1)
    spurious.draw_curves(ax, curves.query("feature_map == 'rf'"), "spurious_accuracy", theory="theory")
    measured = [line for line in ax.lines if line.get_marker() in ("o", "s")]
    predicted = [line for line in ax.lines if line.get_linestyle() == ":" and len(line.get_xdata())]
    assert len(measured) == len(predicted) == 4


def test_the_largest_spurious_fraction_is_solid_and_the_others_are_dashed(curves):
    _, (ax,) = panels(1)
    spurious.draw_curves(ax, curves.query("feature_map == 'rf'"), "spurious_accuracy", theory="theory")
    styles = {line.get_label(): line.get_linestyle() for line in ax.lines}
    assert styles["φ₂, α = 1/2"] == styles["φ₄, α = 1/2"] == "-"
    assert styles["φ₂, α = 1/4"] == styles["φ₄, α = 1/4"] == "--"


def test_the_products_are_means_over_seeds_with_their_error(curves):
    _, axes = panels(2)
    means = spurious.draw_products(axes, curves)
    assert len(means) == 16
    assert means["product"].iloc[0] == pytest.approx(0.255 * 0.8)
    assert means["covariance_half"].iloc[0] == pytest.approx(0)


def test_an_activation_has_the_color_that_it_has_on_other_pages(curves):
    _, (ax,) = panels(1)
    one = curves.query("feature_map == 'rf' and activation == 'phi2' and alpha == 0.5")
    spurious.draw_alignment_decay(ax, one.assign(activation="relu"))
    assert {line.get_color() for line in ax.lines if line.get_label() == "ReLU"} == {COLORS["ReLU"]}


def test_the_lower_bound_is_drawn_only_where_the_theorem_has_one(curves):
    for feature_map, one in curves.query("N == 100").groupby("feature_map"):
        _, (ax,) = panels(1)
        spurious.draw_alignment(ax, one)
        assert ("theorem's lower bound" in ax.get_legend_handles_labels()[1]) == (feature_map == "rf")


def test_the_decay_is_drawn_for_each_activation_up_to_alpha(curves):
    _, (ax,) = panels(1)
    spurious.draw_alignment_decay(ax, curves.query("feature_map == 'rf' and alpha == 0.25"))
    assert ax.get_legend_handles_labels()[1] == ["φ₂", "φ₄", "closed form"]
    assert ax.get_ylim() == (0, 0.25)


def test_the_rows_at_the_largest_value_below_a_limit_are_found(curves):
    assert set(spurious.at_largest(curves, "N", 50).N) == {10}
    assert set(spurious.at_largest(curves, "N", 5).N) == {10}


def test_pictures_share_one_scale_and_come_back_as_a_table():
    _, axes = panels(2)
    pictures = {"small": np.zeros((4, 4), np.uint8), "large": np.zeros((8, 8), np.uint8)}
    table = spurious.draw_pictures(axes, pictures)
    assert len(table) == 16 + 64
    assert np.ptp(axes[0].get_xlim()) == np.ptp(axes[1].get_xlim())


def test_a_color_picture_has_three_channels_in_its_table():
    _, axes = panels(1)
    assert "green" in spurious.draw_pictures(axes, {"cat": np.zeros((2, 2, 3), np.uint8)})


def test_pictures_show_the_image_its_frame_and_the_query():
    pictures = spurious.example_pictures(dataset="digits", pad=3, index=5)
    assert pictures["image"].shape == (8, 8)
    assert (pictures["framed"][3:-3, 3:-3] == pictures["image"]).all()
    assert (pictures["query"][3:-3, 3:-3] == 0).all()
    assert (pictures["query"][:3] == pictures["framed"][:3]).all()
    assert pictures["image"].max() == 255


def test_a_picture_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="digits has 1437 training images; got index=1437"):
        spurious.example_pictures(dataset="digits", pad=3, index=1437)


def test_images_have_their_accuracies_at_the_left_and_the_covariance_below_its_bound_at_the_right():
    _, (left, right) = panels(2)
    rows = pd.DataFrame({"N": [10, 20], "seed": 0, "test_accuracy": 0.9, "spurious_accuracy": 0.6})
    rows = rows.assign(spurious_auc=0.8, covariance=0.1, bound=0.2)
    spurious.draw_image_panels(left, right, rows, rows.assign(covariance=0.3))
    assert left.get_legend_handles_labels()[1] == [
        "test accuracy", "spurious accuracy", "spurious AUC", "chance",
    ]  # fmt: skip
    assert [line.get_ydata()[0] for line in right.lines if len(line.get_ydata())] == [0.1, 0.3, 0.2]
    assert [line.get_linestyle() for line in left.lines].count(":") == 3
    assert right.get_ylim()[0] == 0


def test_a_narrow_model_is_drawn_beside_its_prediction_at_infinite_width():
    _, (ax,) = panels(1)
    rows = pd.DataFrame({"width": [10, 100], "seed": 0, "alignment_mean": 0.3, "gamma": 0.4, "alpha": 0.5})
    spurious.draw_against_width(ax, rows, "alignment_mean", "gamma", "feature alignment [ratio]")
    assert {line.get_label(): line.get_ydata()[0] for line in ax.lines} == {
        "measured": 0.3, "infinite width": 0.4,
    }  # fmt: skip
    assert ax.get_ylim() == (0, 0.5)


def test_the_map_of_closed_forms_is_a_full_grid_with_the_theorys_numbers():
    table = spurious.predicted_map(
        d=80, ratios=[0.5, 1.0, 20.0], fractions=[0.25, 0.5], activations=["phi2", "relu"]
    )
    assert len(table) == 2 * 2 * 2 * 2  # N/d = 20 is above d/8
    assert set(table["activation"]) == {"φ₂", "ReLU"}
    one = table.query("features == 'random features' and activation == 'φ₂' and ratio == 1 and alpha == 0.5")
    profile = kernel_profile("rf", "phi2")
    assert one["gamma"].item() == pytest.approx(predict_synthetic(profile, 0.5, 1.0, n=80).gamma)


def measured_images(**changes):
    rows = [
        {"feature_map": f, "N": n, "seed": s, "center": c, "alpha": n / 100}
        for f in ("rf", "ntk")
        for n in (10, 50)
        for s in (0, 1)
        for c in ("none", "mean")
    ]
    frame = pd.DataFrame(rows).assign(alignment_mean=0.4, covariance=0.1, membership_auc=0.8)
    return frame.assign(**changes)


def heights(ax, linestyle):
    return [
        line.get_ydata()[0]
        for line in ax.lines
        if line.get_linestyle() == linestyle and len(line.get_ydata())
    ]


def test_the_alignment_on_images_is_drawn_beside_that_without_chance():
    _, (ax,) = panels(1)
    rows = measured_images().query("center == 'none'")
    spurious.draw_image_alignment(ax, rows, rows.assign(alignment_mean=0.6))
    assert heights(ax, "-") == [0.4, 0.4]
    assert heights(ax, ":") == [0.6, 0.6]
    assert ax.get_legend_handles_labels()[1] == ["random features", "tangent features", "infinite width"]


def test_frames_are_drawn_against_their_share_beside_the_diagonal():
    _, (left, right) = panels(2)
    spurious.draw_borders(left, right, measured_images().query("feature_map == 'ntk'"))
    assert left.get_legend_handles_labels()[1] == [
        "raw pixel values", "centered pixel values", "alignment = α",
    ]  # fmt: skip
    assert list(left.lines[0].get_xdata()) == [0.1, 0.5]
    assert heights(right, "-") == [0.1, 0.1]


def test_members_are_drawn_beside_frames_that_nobody_saw():
    _, (ax,) = panels(1)
    rows = measured_images().query("center == 'none'")
    spurious.draw_membership(ax, rows, rows.assign(membership_auc=0.5))
    assert heights(ax, "-") == [0.8, 0.8]
    assert heights(ax, "--")[:2] == [0.5, 0.5]


def test_each_activation_has_a_row_the_most_aligned_at_the_top(curves):
    _, (left, right) = panels(2)
    rows = curves.query("alpha == 0.5 and N == 100").assign(stability_mse=0.7, theory_test_mse=0.8)
    rows.loc[rows.activation == "phi4", "alignment_mean"] -= 0.1
    spurious.draw_activation_rows(left, right, rows)
    assert [text.get_text() for text in left.get_yticklabels()] == ["φ₄", "φ₂"]
    assert {line.get_xdata()[0] for line in right.lines if line.get_marker() == "D"} == {0.8}
    assert left.get_xlim() == (0, 0.5)


def test_images_are_ranked_by_what_is_memorized_of_them():
    column = torch.tensor([0.1, 0.9, -0.5, 0.3], dtype=torch.float64)
    scores = ExampleScores("x", torch.arange(4), {"memorization": column}, {"memorization": {}})
    framed = torch.arange(4, dtype=torch.uint8).reshape(4, 1, 1, 1).expand(4, 1, 2, 2)
    pictures = spurious.ranked_pictures(ScoredImages(scores, framed, 255), 1)
    assert list(pictures) == ["most 1: 0.90", "least 1: -0.50"]
    assert [int(picture[0, 0]) for picture in pictures.values()] == [1, 2]


def test_a_correlated_feature_is_drawn_against_the_penalty_with_its_closed_form():
    _, (left, right) = panels(2)
    rows = pd.DataFrame(
        {"n": n, "variance": v, "penalty": p, "seed": s, "spurious_covariance": 0.1, "test_mse": 0.5,
         "theory_spurious_covariance": 0.2, "theory_test_mse": 0.6, "activation": "identity"}
        for n, v in ((200, 1.0), (200, 4.0), (50, 1.0)) for p in (0.1, 1.0) for s in (0, 1)
    )  # fmt: skip
    named = spurious.named_settings(rows, 100)
    assert list(named.setting.unique()) == ["N = 2 d", "N = 2 d, variance of y 4", "N = 0.5 d"]
    spurious.draw_correlated(left, right, named, named.query("n == 200 and variance == 1 and penalty == 1"))
    assert heights(left, ":") == [0.2] * 3
    assert heights(right, ":") == [0.6] * 3
