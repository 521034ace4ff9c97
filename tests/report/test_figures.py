import struct
from base64 import b64decode

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from memorization.report.figures import SEED_BAND, curve_with_band, interactive, panels, show
from memorization.report.styles import restack

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


def _card(run, records, **changes):
    words = {**WORDS, "band": SEED_BAND, **changes}
    return BeautifulSoup(show(run, _figure(records), records, **words).data, "html.parser")


def test_the_card_holds_description_message_band_and_links(run, records):
    card = _card(run, records)
    assert card.img["alt"] == WORDS["alt"]
    assert card.select_one(".figure-title").text == WORDS["title"]
    assert "± 1 standard deviation" in card.select_one(".figure-band").text
    assert [a["href"] for a in card.find_all("a")] == ["figures/toy/falling.csv", run.source_url]


def test_the_picture_on_the_page_is_the_stored_one(run, records):
    card = _card(run, records)
    assert b64decode(card.img["src"].partition(",")[2]) == (run.figures_folder / "falling.png").read_bytes()


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
    first, second = (show(run, _figure(records, 2), records, band=SEED_BAND, **WORDS).data for _ in range(2))
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
        ({"band": None}, "has a band or error bars: say what they are"),
    ],
)
def test_a_broken_rule_of_words_is_refused(run, records, changes, message):
    with pytest.raises(ValueError, match=message):
        _card(run, records, **changes)


def test_error_bars_need_a_word_as_well(run, records):
    figure, (ax,) = panels()
    ax.errorbar([1, 2], [1, 2], yerr=[0.1, 0.1])
    ax.set(xlabel="N [examples]", ylabel="accuracy [fraction]")
    with pytest.raises(ValueError, match="has a band or error bars"):
        show(run, figure, records, **WORDS)


@pytest.mark.parametrize("label", ["", "accuracy", "accuracy (fraction)", "[fraction]"])
def test_an_axis_without_unit_is_refused(run, records, label):
    figure = _figure(records)
    figure.axes[0].set_ylabel(label)
    with pytest.raises(ValueError, match=r"panel 1: the y axis is labelled .* unit in square brackets"):
        show(run, figure, records, band=SEED_BAND, **WORDS)


def test_inner_panels_of_a_shared_axis_need_no_label(run, records):
    figure, (left, right) = panels(2, share_y=True)
    for ax in (left, right):
        ax.plot([1, 2], [1, 2])
        ax.set_xlabel("N [examples]")
    left.set_ylabel("accuracy [fraction]")
    assert "figure-card" in show(run, figure, records, **WORDS).data


def test_a_panel_without_axes_needs_no_label(run, records):
    figure, (ax,) = panels()
    ax.imshow(np.eye(3))
    ax.set_axis_off()
    assert "figure-card" in show(run, figure, records, **WORDS).data


def test_empty_data_is_refused(run, records):
    with pytest.raises(ValueError, match="the data behind it has no rows"):
        show(run, _figure(records), records.head(0), band=SEED_BAND, **WORDS)


def test_infinite_data_is_refused_with_its_row(run, records):
    records.loc[4, "accuracy"] = np.inf
    with pytest.raises(ValueError, match="column 'accuracy' is infinite in row 4"):
        show(run, _figure(records.head(3)), records, band=SEED_BAND, **WORDS)


def test_nothing_is_written_when_a_rule_is_broken(run, records):
    with pytest.raises(ValueError, match="unit in square brackets"):
        show(run, _figure(records, label=False), records, band=SEED_BAND, **WORDS)
    assert not run.figures_folder.exists()


def test_narrow_screens_get_the_panels_below_each_other(records):
    figure = _figure(records, 4)
    width, height = figure.get_size_inches()
    assert restack(figure)
    assert figure.get_size_inches()[0] < width
    assert figure.get_size_inches()[1] == pytest.approx(2 * height)
    assert [ax.get_subplotspec().get_geometry()[:3] for ax in figure.axes] == [(4, 1, i) for i in range(4)]


def test_a_restacked_panel_gets_the_label_that_its_neighbor_had():
    figure, (left, right) = panels(2, share_y=True)
    left.set_ylabel("accuracy [fraction]")
    restack(figure)
    assert right.get_ylabel() == "accuracy [fraction]"
    assert right.yaxis.get_tick_params()["labelleft"]


def test_a_legend_of_the_whole_figure_stays_within_two_columns(records):
    figure = _figure(records, 2)
    handles = [figure.axes[0].lines[0]] * 4
    figure.legend(handles, list("abcd"), loc="outside lower center", ncols=4)
    restack(figure)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list("abcd")
    assert legend._ncols == 2


def test_axes_that_lie_free_are_not_restacked(records):
    figure = _figure(records)
    figure.add_axes((0.5, 0.5, 0.2, 0.2))
    assert not restack(figure)


def test_an_interactive_figure_loads_plotly_from_the_book_and_has_a_fixed_id(run, records):
    go = pytest.importorskip("plotly.graph_objects", reason="plotly belongs to the extra 'book'")
    words = {"name": "slider", "title": "One can move this here", "alt": "A line through four points, " * 3}
    first, second = (
        interactive(run, go.Figure(go.Scatter(x=[1], y=[2])), records, **words).data for _ in range(2)
    )
    assert first == second
    assert 'src="../_static/plotly.min.js"' in first
    assert 'id="interactive-slider"' in first
    assert "cdn" not in first.lower()
