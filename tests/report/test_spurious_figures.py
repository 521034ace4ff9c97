"""Figures and tables of the first paper's page."""

import numpy as np
import pandas as pd
import pytest

from memorization.report.figures import legend_above, log_ticks, panels
from memorization.studies.spurious_memorization import figures as spurious


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


def test_the_products_are_means_over_seeds_with_their_error(curves):
    _, axes = panels(2)
    means = spurious.draw_products(axes, curves)
    assert len(means) == 16
    assert means["product"].iloc[0] == pytest.approx(0.255 * 0.8)
    assert means["covariance_error"].iloc[0] == pytest.approx(0)


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


def test_ticks_stand_at_what_was_measured_and_do_not_collide():
    _, (ax,) = panels(1)
    log_ticks(ax, [10, 11, 20, 1000])
    assert ax.get_xticks().tolist() == [10, 20, 1000]


def test_a_legend_above_names_each_series_once():
    figure, axes = panels(2)
    for ax in axes:
        ax.plot([1], [1], label="same")
    legend_above(figure)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["same"]
