import struct
from base64 import b64decode

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from memorization.report.figures import (
    INTERVALS,
    chance_line,
    curve_with_band,
    draw_arms,
    dumbbells,
    legend_above,
    log_ticks,
    log_ticks_from_zero,
    panels,
    reference_line,
    seed_curve,
    share_y,
    show,
    theory_curve,
)
from memorization.report.styles import BACKGROUND, COLORS

WORDS = {
    "name": "falling",
    "title": "Accuracy falls as N grows",
    "alt": "A line that falls from 0.9 at N = 10 to 0.7 at N = 50, with a narrow band.",
}


def _figure(records, n=1, label=True):
    figure, axes = panels(n)
    for ax in axes:
        curve_with_band(ax, records.query("kind == 'high'"), "N", "accuracy", label="high", color="#0072b2")
        if label:
            ax.set(xlabel="N [examples]", ylabel="accuracy [fraction]")
    return figure


HALF = 4.302653 * 0.02 / 3**0.5  # of the little table: three seeds, 97.5 % quantile of Student's t


def _card(run, records, **changes):
    words = {**WORDS, **changes}
    return BeautifulSoup(show(run, _figure(records), records, **words).data, "html.parser")


def test_the_card_holds_description_message_band_and_links(run, records):
    card = _card(run, records)
    assert card.img["alt"] == WORDS["alt"]
    assert card.select_one(".figure-title").text == WORDS["title"]
    assert card.select_one(".figure-band").text == INTERVALS
    assert [a["href"] for a in card.find_all("a")] == ["figures/toy/falling.csv", run.source_url]


def test_the_picture_on_the_page_is_the_stored_one(run, records):
    card = _card(run, records)
    assert b64decode(card.img["src"].partition(",")[2]) == (run.figures_folder / "falling.png").read_bytes()


def test_a_picture_names_its_file_and_one_for_phones_is_beside_it(run, records):
    figure, axes = panels(2)
    for ax in axes:
        ax.set(xlabel="N [examples]", ylabel="accuracy [fraction]")
    card = BeautifulSoup(show(run, figure, records, **WORDS).data, "html.parser")
    assert card.img["data-file"] == "figures/toy/falling.png"
    assert card.source["data-file"] == "figures/toy/falling-narrow.png"
    inside = b64decode(card.source["srcset"].partition(",")[2])
    assert inside == (run.figures_folder / "falling-narrow.png").read_bytes()


def test_only_a_card_of_pictures_says_so(run, records):
    figure, (ax,) = panels()
    ax.imshow([[0.0, 1.0]])
    ax.axis("off")
    assert 'class="figure-card figure-pictures"' in show(run, figure, records, **WORDS).data
    assert 'class="figure-card"' in show(run, _figure(records), records, **WORDS).data


def test_the_picture_has_two_dots_per_pixel_of_the_page(run, records):
    card = _card(run, records)
    width, _ = struct.unpack(">II", b64decode(card.img["src"].partition(",")[2])[16:24])
    assert width == 2 * int(card.img["width"])


def test_the_data_is_stored_without_provenance_columns(run, records):
    _card(run, records)
    data = pd.read_csv(run.figures_folder / "falling.csv")
    assert list(data) == ["N", "kind", "seed", "accuracy", "theory"]
    assert len(data) == len(records)


def test_equal_figures_give_equal_bytes(run, records):
    first, second = (show(run, _figure(records, 2), records, **WORDS).data for _ in range(2))
    assert first == second


def test_html_in_the_words_is_escaped(run, records):
    card = _card(run, records, title='Accuracy <b> falls "fast" here')
    assert card.select_one(".figure-title").text == 'Accuracy <b> falls "fast" here'


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"title": "Accuracy"}, "the title is the message, a sentence of 4 words or more; got 'Accuracy'"),
        ({"alt": "a figure"}, "alt text says what is seen"),
        ({"alt": WORDS["title"] * 2, "title": WORDS["title"] * 2}, "does not repeat the title"),
        ({"name": "My Figure"}, "use lower-case letters"),
    ],
)
def test_a_broken_rule_of_words_is_refused(run, records, changes, message):
    with pytest.raises(ValueError, match=message):
        _card(run, records, **changes)


def test_error_bars_are_said_to_be_intervals_and_a_plain_line_is_not(run, records):
    for drawn, told in ((True, [INTERVALS]), (False, [])):
        figure, (ax,) = panels()
        ax.errorbar([1, 2], [1, 2], yerr=[0.1, 0.1]) if drawn else ax.plot([1, 2], [1, 2])
        ax.set(xlabel="N [examples]", ylabel="accuracy [fraction]")
        card = BeautifulSoup(show(run, figure, records, **WORDS).data, "html.parser")
        assert [note.text for note in card.select(".figure-band")] == told


@pytest.mark.parametrize("label", ["", "accuracy", "accuracy (fraction)", "[fraction]"])
def test_an_axis_without_unit_is_refused(run, records, label):
    figure = _figure(records)
    figure.axes[0].set_ylabel(label)
    with pytest.raises(ValueError, match=r"panel 1: the y axis is labelled .* unit in square brackets"):
        show(run, figure, records, **WORDS)


def test_inner_panels_of_one_vertical_axis_are_labelled_at_the_left_alone(run, records):
    figure, axes = panels(2)
    for ax in axes:
        ax.plot([1, 2], [1, 2])
        ax.set_xlabel("N [examples]")
    share_y(axes, "accuracy [fraction]")
    assert [ax.yaxis.label.get_visible() for ax in axes] == [True, False]
    assert "figure-card" in show(run, figure, records, **WORDS).data


def test_a_panel_without_axes_needs_no_label(run, records):
    figure, (ax,) = panels()
    ax.imshow(np.eye(3))
    ax.set_axis_off()
    assert "figure-card" in show(run, figure, records, **WORDS).data


def test_empty_data_is_refused(run, records):
    with pytest.raises(ValueError, match="the data behind it has no rows"):
        show(run, _figure(records), records.head(0), **WORDS)


def test_infinite_data_is_refused_with_its_row(run, records):
    records.loc[4, "accuracy"] = np.inf
    with pytest.raises(ValueError, match="column 'accuracy' is infinite in row 4"):
        show(run, _figure(records.head(3)), records, **WORDS)


def test_nothing_is_written_when_a_rule_is_broken(run, records):
    with pytest.raises(ValueError, match="unit in square brackets"):
        show(run, _figure(records, label=False), records, **WORDS)
    assert not run.figures_folder.exists()


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


def test_the_curve_is_mean_and_half_interval_over_seeds(records):
    curve = seed_curve(records.query("kind == 'high'"), "N", "accuracy")
    assert curve["mean"].tolist() == pytest.approx([0.9, 0.8, 0.7])
    assert curve["half"].tolist() == pytest.approx([HALF] * 3)
    assert curve["seeds"].tolist() == [3, 3, 3]


def test_the_band_is_the_interval_of_the_mean(records):
    _, (ax,) = panels()
    curve_with_band(ax, records.query("kind == 'low'"), "N", "accuracy", label="low", color="k")
    heights = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (heights.min(), heights.max()) == pytest.approx((0.6 - HALF, 0.8 + HALF))


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


def test_the_hollow_mark_is_smaller_so_that_equal_numbers_are_both_seen():
    _, (ax,) = panels(1)
    table = dumbbells(
        ax, pd.DataFrame({"arm": ["a"] * 2, "seed": [0, 1], "x": [1.0, 3], "y": [2.0, 2]}), ("x", "y")
    )
    filled, hollow = (
        line for line in ax.lines if line.get_label() in ("in distribution", "out of distribution")
    )
    assert filled.get_markersize() > hollow.get_markersize()
    assert hollow.get_markerfacecolor() == BACKGROUND
    assert table["mean"].tolist() == [2, 2]
    assert table["half"].tolist() == pytest.approx([12.7062, 0])  # two seeds


def test_each_arm_is_drawn_in_its_own_color_and_marker_and_under_the_name_given():
    rows = pd.DataFrame({"arm": ["augmentation", "mine"] * 2, "seed": 0, "x": [1, 1, 2, 2], "y": 1.0})
    _, (ax,) = panels()
    table = draw_arms(ax, rows, "x", "y", linestyle="--", names={"augmentation": "fresh views"})
    assert [line.get_label() for line in ax.lines] == ["fresh views", "mine"]
    assert ax.lines[0].get_color() == COLORS["augmentation"] != ax.lines[1].get_color()
    assert ax.lines[0].get_marker() != ax.lines[1].get_marker()
    assert ax.lines[0].get_markerfacecolor() == BACKGROUND
    assert table["arm"].tolist() == ["augmentation"] * 2 + ["mine"] * 2


@pytest.mark.parametrize("axis", ["x", "y"])
def test_chance_is_one_over_the_classes_on_the_axis_of_the_accuracy(axis):
    _, (ax,) = panels()
    chance_line(ax, 4, axis=axis)
    assert list(getattr(ax.lines[0], f"get_{axis}data")()) == [0.25, 0.25]
