"""Figures of the null and of the complexities: what is drawn where, and what they refuse."""

import numpy as np
import pandas as pd
import pytest

from memorization.measures.random_labels import null_accuracy
from memorization.report.explorations import explore, seed_intervals
from memorization.report.figures import legend_above, panels
from memorization.studies.random_label_heads import figures as heads
from memorization.studies.random_label_heads.complexity import null_grid
from memorization.studies.random_label_heads.figures import draw_least_squares, draw_norm_bounded, draw_null


@pytest.fixture
def null():
    rows = [
        {"m": 1400, "d": d, "n": n, "seed": s, "class_wise": False, "leverage": d / 1400,
         "accuracy": null_accuracy(n, d / 1400) + 0.01 * (s - 1), "trained": 0.5 + 0.1 * s}
        for d in (8, 60) for n in (2, 14, 140) for s in (0, 1, 2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def shares():
    rows = [
        {"d": d, "seed": s, "complexity": 0.01 * d + 0.001 * s, "law": 0.01 * d + 0.0001 * s,
         "norm_bounded": 0.02 * d, "norm_bound": 0.021 * d + 0.0001 * s}
        for d in (4, 8) for s in (0, 1, 2)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def lines_of(ax):
    return {line.get_label(): line for line in ax.lines}


def test_the_law_is_a_line_and_drawn_labels_are_points_with_intervals(null):
    _, (ax,) = panels(1)
    drawn = draw_null(ax, null)
    marks = lines_of(ax)
    assert [marks[f"{d} features"].get_marker() for d in (8, 60)] == ["o", "s"]
    for bars, d in zip(ax.containers, (8, 60), strict=True):
        points = bars.lines[0]
        means = null[null.d == d].groupby("n").accuracy.mean()
        assert list(points.get_ydata()) == pytest.approx(list(means))
        assert points.get_linestyle() == "None"
        assert bars.has_yerr
        law = next(x for x in ax.lines if x.get_color() == points.get_color() and len(x.get_xdata()) > 10)
        at = dict(zip(law.get_xdata(), law.get_ydata(), strict=True))
        assert at[14] == pytest.approx(null_accuracy(14, d / 1400))
    assert len(drawn) == 6
    assert drawn.half.notna().all()


def test_guessing_is_dotted_and_falls_with_the_labels(null):
    _, (ax,) = panels(1)
    draw_null(ax, null)
    chance = lines_of(ax)["guessing"]
    assert chance.get_linestyle() == ":"
    assert chance.get_ydata()[[0, -1]].tolist() == [1 / 2, 1 / 140]


def test_trained_heads_can_be_the_points(null):
    _, (ax,) = panels(1)
    assert draw_null(ax, null, "trained")["mean"].tolist() == pytest.approx([0.6] * 6)


def test_one_seed_has_points_without_bars(null):
    _, (ax,) = panels(1)
    draw_null(ax, null[null.seed == 0])
    assert not any(bars.has_yerr for bars in ax.containers)


def test_more_dimensions_than_can_be_told_apart_are_refused(null):
    many = pd.concat([null.assign(d=d) for d in range(1, 7)])
    _, (ax,) = panels(1)
    with pytest.raises(ValueError, match="6 dimensions d in one panel; draw 5 or fewer"):
        draw_null(ax, many)


def test_each_complexity_has_points_and_its_closed_form(shares):
    figure, axes = panels(2)
    first, second = draw_least_squares(axes[0], shares), draw_norm_bounded(axes[1], shares)
    assert first["mean"].tolist() == pytest.approx([0.041, 0.081])
    assert second["mean"].tolist() == pytest.approx([0.08, 0.16])
    np.testing.assert_allclose(lines_of(axes[0])["law, or bound"].get_ydata(), [0.0401, 0.0801])
    np.testing.assert_allclose(lines_of(axes[1])["law, or bound"].get_ydata(), [0.0841, 0.1681])
    legend_above(figure)
    assert len(figure.legends[0].get_texts()) == 2


def test_heads_are_named_and_scores_corrected_for_chance(null):
    named = heads.named_heads(null.assign(class_wise=[True] * 9 + [False] * 9))
    assert named.heads.unique().tolist() == ["a head per class", "one shared head"]
    row = named.iloc[3]
    assert row.score == pytest.approx((row.n * row.accuracy - 1) / (row.n - 1))


def test_the_grid_and_drawn_labels_make_an_exploration(null, run):
    grid = null_grid([1400, 5000], [8, 60, 200], [2, 14, 140])
    marks = seed_intervals(heads.named_heads(null), ["m", "n", "d", "heads"], ["accuracy", "score"])
    shown = explore(
        run, grid, name="null_explorer", x="d", y=["score", "accuracy"], lines="heads", controls=["m", "n"],
        labels={"d": "features d [features]", "m": "examples m [examples]", "n": "random labels n [labels]",
                "score": "score [fraction]", "accuracy": "accuracy [fraction]"},
        start={"m": 1400, "n": 14}, read_at=60, marks=marks,
        title="What any features allow here", alt="Accuracy against features, a line for each kind of heads.",
    ).data  # fmt: skip
    assert "examples m = 1400, random labels n = 14" in shown
    assert f"one shared head {(14 * null_accuracy(14, 60 / 1400) - 1) / 13:.3f}" in shown
