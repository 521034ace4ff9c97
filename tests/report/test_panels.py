import numpy as np
import pandas as pd
import pytest

from memorization.report.figures import (
    curve_with_band,
    log_ticks_from_zero,
    panels,
    reference_line,
    seed_curve,
    theory_curve,
)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_a_row_of_panels_is_at_most_eight_inches_wide(n):
    figure, axes = panels(n)
    assert figure.get_size_inches()[0] <= 8
    assert len(axes) == len(figure.axes) == n


def test_panels_refuses_a_wrong_number_of_titles():
    with pytest.raises(ValueError, match="2 panels, 1 titles"):
        panels(2, titles=["one"])


def test_panels_refuses_four_columns():
    with pytest.raises(ValueError, match="1 to 3 columns, got n=4, columns=4"):
        panels(4, columns=4)


def test_the_curve_is_mean_and_standard_deviation_over_seeds(records):
    curve = seed_curve(records.query("kind == 'high'"), "N", "accuracy")
    assert curve["mean"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert curve["sd"].tolist() == pytest.approx([0.02] * 3)
    assert curve["seeds"].tolist() == [3, 3, 3]


def test_two_curves_in_one_frame_are_refused(records):
    with pytest.raises(
        ValueError, match="more than one row for N=10, seed=0: the records hold several curves"
    ):
        seed_curve(records, "N", "accuracy")


def test_an_empty_curve_is_refused(records):
    with pytest.raises(ValueError, match="no records to draw accuracy against N"):
        seed_curve(records.query("N > 1000"), "N", "accuracy")


def test_a_missing_column_is_named(records):
    with pytest.raises(ValueError, match="no column 'size'; they have N, kind"):
        seed_curve(records, "size", "accuracy")


def test_the_band_reaches_one_standard_deviation(records):
    _, (ax,) = panels()
    curve_with_band(ax, records.query("kind == 'low'"), "N", "accuracy", label="low", color="k")
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.58, 0.82))


def test_one_seed_gives_a_line_without_a_band(records):
    _, (ax,) = panels()
    curve_with_band(ax, records.query("kind == 'low' and seed == 0"), "N", "accuracy", label="low", color="k")
    assert (len(ax.lines), len(ax.collections)) == (1, 0)


def test_theory_is_drawn_once_for_all_seeds():
    frame = pd.DataFrame({"N": [20, 10, 10, 20], "theory": [0.7, 0.8, 0.8, 0.7], "seed": [0, 0, 1, 1]})
    _, (ax,) = panels()
    theory_curve(ax, frame, "N", "theory", label="theory")
    assert ax.lines[0].get_xydata().tolist() == [[10, 0.8], [20, 0.7]]


def test_a_theory_with_two_values_at_one_place_is_refused():
    frame = pd.DataFrame({"N": [10, 10], "theory": [0.8, 0.7]})
    _, (ax,) = panels()
    with pytest.raises(ValueError, match="theory has several values at one N"):
        theory_curve(ax, frame, "N", "theory", label="theory")


def test_a_reference_line_needs_a_finite_value():
    _, (ax,) = panels()
    with pytest.raises(ValueError, match="finite value, got 'y' and nan"):
        reference_line(ax, np.nan, "chance")


def test_a_prediction_that_differs_in_its_last_bits_between_seeds_is_one_curve():
    _, (ax,) = panels(1)
    rows = pd.DataFrame({"N": [10, 10], "gamma": [0.3, 0.3 + 1e-16 * 4], "seed": [0, 1]})
    theory_curve(ax, rows, "N", "gamma", label="theory")
    assert ax.lines[0].get_xdata().tolist() == [10]


def test_zero_has_a_place_of_its_own_left_of_a_logarithmic_axis():
    figure, (ax,) = panels(1)
    ax.plot([0, 5, 50, 500], [0, 1, 2, 3])
    log_ticks_from_zero(ax, [0, 5, 6, 50, 500])
    figure.draw_without_rendering()
    places = ax.transData.transform([[x, 0] for x in (0, 5, 50, 500)])[:, 0]
    assert ax.get_xticks().tolist() == [0, 5, 50, 500]
    assert np.diff(places) / np.diff(places)[1] == pytest.approx([0.4 / 0.9, 1, 1])


def test_an_axis_with_nothing_above_zero_cannot_be_logarithmic():
    _, (ax,) = panels(1)
    with pytest.raises(ValueError, match=r"needs a value above 0, got \[0.0\]"):
        log_ticks_from_zero(ax, [0])
