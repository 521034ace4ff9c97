"""Figures of distillation and of framed images, rows with two marks, and what can be explored."""

import pandas as pd
import pytest

from memorization.report.figures import legend_above, panels, show
from memorization.report.styles import COLORS
from memorization.studies.feature_contamination.figures import (
    draw_distillation,
    draw_frames,
    draw_robustness,
    explorer_data,
)

NAN = float("nan")


@pytest.fixture
def distilled():
    models = {
        "teacher": (0.96, 0.96, 0.0, 0.0),
        "student": (0.97, 0.60, 0.05, 1.7),
        "standard": (1.0, 0.5, NAN, NAN),
    }
    columns = ("id_accuracy", "ood_accuracy", "id_error", "ood_error")
    return pd.DataFrame(
        {"model": model, "seed": seed, "digits": "mnist", **dict(zip(columns, numbers, strict=True))}
        for seed in (0, 1)
        for model, numbers in models.items()
    )


@pytest.fixture
def framed():
    accuracies = {"padded": (0.42, 0.30, 0.32, 0.40), "raw": (0.3, 0.32, 0.34, 0.45), "random": (0.38,) * 4}
    names = ("red", "blue", "green", "unframed")
    return pd.DataFrame(
        {"frame": frame, "seed": seed, **{n: a + 0.02 * seed for n, a in zip(names, numbers, strict=True)}}
        for frame, numbers in accuracies.items()
        for seed in (0, 1)
    )


def rows_of(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


def test_teacher_student_and_standard_network_are_rows_in_their_own_colors(distilled):
    _, axes = panels(2)
    table = draw_distillation(axes, distilled)
    assert rows_of(axes[0]) == ["teacher", "student", "standard"]
    assert axes[0].lines[0].get_color() == COLORS["teacher"]
    found = table.set_index(["row", "quantity"])["mean"]
    assert found["student", "ood_accuracy"] == pytest.approx(0.6)
    assert found["student", "ood_error"] == pytest.approx(1.7)


def test_a_row_without_a_distance_says_why(distilled):
    _, axes = panels(2)
    table = draw_distillation(axes, distilled)
    assert table.query("row == 'teacher' and quantity == 'ood_error'")["mean"].isna().all()
    assert [(text.get_text(), text.get_position()[1]) for text in axes[1].texts] == [
        ("0, it is the teacher", 0), ("not asked to fit it", 2),
    ]  # fmt: skip


def test_experiments_are_told_apart_by_a_column(distilled):
    _, axes = panels(2)
    draw_distillation(
        axes, pd.concat([distilled, distilled.assign(digits="strokes")]), by="digits", classes=10
    )
    assert rows_of(axes[0])[2:4] == ["mnist, standard", "strokes, teacher"]
    chance = [line for line in axes[0].lines if line.get_label() == "chance"]
    assert [line.get_xdata()[0] for line in chance] == [0.1]


def test_two_experiments_in_one_row_are_refused(distilled):
    _, axes = panels(2)
    with pytest.raises(ValueError, match="more than one row for row=teacher, seed=0"):
        draw_distillation(axes, pd.concat([distilled, distilled.assign(digits="strokes")]))


def test_what_a_red_frame_adds_is_its_accuracy_beyond_the_other_colors(framed):
    _, axes = panels(2)
    table = draw_frames(axes, framed)
    gain = table.query("quantity == 'gain'").set_index("frame")["mean"]
    assert gain.tolist() == pytest.approx([0.11, -0.03, 0])
    assert rows_of(axes[0]) == ["red frames", "no frames", "frames of\nany color"]


def test_frames_differ_in_color_and_marker(framed):
    _, axes = panels(2)
    draw_frames(axes, framed)
    handles, labels = axes[0].get_legend_handles_labels()
    assert labels == ["red frame", "blue frame", "green frame", "no frame"]
    assert len({handle.get_marker() for handle in handles}) == 4
    assert len({handle.get_color() for handle in handles}) == 4


def test_the_places_of_test_frames_are_their_mean_accuracies(framed):
    _, axes = panels(2)
    table = draw_frames(axes, framed).query("frame == 'red frames' and quantity != 'gain'")
    assert table["mean"].tolist() == pytest.approx([0.43, 0.31, 0.33, 0.41])
    assert table["half"].tolist() == pytest.approx([12.7062 * 0.01] * 4, rel=1e-4)  # two seeds


@pytest.mark.parametrize("name", ["distilled", "framed"])
def test_a_figure_of_rows_fits_the_rules_of_a_page(run, request, name):
    figure, axes = panels(2)
    draw = {"distilled": draw_distillation, "framed": draw_frames}[name]
    data = draw(axes, request.getfixturevalue(name))
    legend_above(figure)
    html = show(
        run, figure, data, name=name, title="Outside training it is worse",
        alt="Rows of two marks each, the hollow one far to the left of the filled one.",
    )  # fmt: skip
    assert "max-width: 600px" in html.data


@pytest.fixture
def explored(contaminated):
    arms = [{"activation": "leaky", "slope": s, "mean": m} for m in (0.0, 0.5) for s in (0.0, 0.5, 1.0)]
    return contaminated(*arms)


def test_what_can_be_explored_is_a_line_a_slope_at_each_mean_averaged_over_seeds(explored):
    table = explorer_data(explored)
    assert len(table) == 2 * 3 * 5
    assert table["seeds"].unique().tolist() == [2]
    assert table["line"].unique().tolist() == ["ReLU (slope 0)", "slope 0.5", "identity (slope 1)"]
    relu = table.query("background_mean == 0.5 and slope == 0").sort_values("shift")
    assert relu["shift"].tolist() == [-2, -1, 0, 0.5, 1]
    assert relu["ood_risk"].tolist() == pytest.approx([1.105, 1.005, 0.905, 0.855, 0.805])


def test_there_is_nothing_to_explore_before_the_last_step(explored):
    with pytest.raises(ValueError, match="there are no records after the last step"):
        explorer_data(explored.query("step < 100"))


def scattered(robustness=0.1):
    numbers = [("teacher", 0.7, 0.6), ("student", 0.7, 0.5), ("standard", 0.7, 0.4), ("standard", 0.8, 0.5)]
    return pd.DataFrame(
        {"set": name, "architecture": "RN50", "model": model, "id_accuracy": x, "ood_accuracy": y}
        | {"effective_robustness": robustness}
        for name in ("r", "sketch")
        for model, x, y in numbers
    )


def test_models_stand_above_the_line_by_their_effective_robustness(run):
    figure, axes = panels(2)
    table = draw_robustness(axes, scattered())
    assert (table["ood_accuracy"] - table["line"]).tolist() == pytest.approx([0.1] * 8)
    assert [ax.get_title() or ax.get_title(loc="left") for ax in axes] == ["r", "sketch"]
    legend_above(figure)
    show(
        run,
        figure,
        table,
        name="clip",
        title="Students lie between teachers and standard models",
        alt="Dots above a dotted line. " * 4,
    )


def test_without_standard_models_there_is_no_line():
    _, axes = panels(2)
    assert draw_robustness(axes, scattered(NAN))["line"].isna().all()
    assert len(axes[0].lines[0].get_xdata()) == 0


def test_each_shifted_set_needs_its_panel():
    _, axes = panels(3)
    with pytest.raises(ValueError, match="3 panels for 2 shifted sets: r, sketch; give one each"):
        draw_robustness(axes, scattered())
