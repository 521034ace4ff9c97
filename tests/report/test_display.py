import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from memorization.report.files import number
from memorization.report.tables import interactive, say, table


def test_sentences_lose_their_common_indentation():
    assert say("\n    **0.71** of\n    1.\n").data == "**0.71** of\n1."


@pytest.mark.parametrize("text", ["It is nan.", "It is **inf** now", "about (-inf)"])
def test_a_sentence_with_a_number_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="a number in this sentence is not finite"):
        say(text)


def test_words_that_contain_nan_or_inf_pass():
    assert say("A nanometer of information").data == "A nanometer of information"


def test_a_table_has_caption_scopes_and_a_header_in_each_row():
    soup = BeautifulSoup(
        table(pd.DataFrame({"N": [10, 20], "acc": [0.5, 0.25]}), "Accuracy by N").data, "html.parser"
    )
    assert soup.caption.text == "Accuracy by N"
    assert [th["scope"] for th in soup.find_all("th")] == ["col", "col", "row", "row"]
    assert all(th.text.strip() for th in soup.find_all("th"))


def test_a_table_scrolls_in_a_box_that_the_keyboard_reaches():
    box = BeautifulSoup(table(pd.DataFrame({"N": [1]}), "One row").data, "html.parser").div
    assert (box["tabindex"], box["role"], box["aria-label"]) == ("0", "region", "One row")


def test_formats_apply_and_missing_numbers_are_a_dash():
    frame = pd.DataFrame({"name": ["a", "b"], "value": [0.12345, np.nan]})
    soup = BeautifulSoup(table(frame, "Numbers", {"value": ".2f"}).data, "html.parser")
    assert [td.text for td in soup.find_all("td")] == ["0.12", "–"]


def test_cells_are_escaped():
    assert "&lt;script&gt;" in table(pd.DataFrame({"name": ["<script>"]}), "Danger").data


def test_a_format_for_an_absent_column_is_refused():
    with pytest.raises(ValueError, match="formats names 'acc', but the columns are N"):
        table(pd.DataFrame({"N": [1]}), "Numbers", {"acc": ".2f"})


@pytest.mark.parametrize("frame", [pd.DataFrame({"N": []}), pd.DataFrame({"": [1]})])
def test_a_table_without_rows_or_with_a_nameless_column_is_refused(frame):
    with pytest.raises(ValueError, match="at least one row, a caption, and a name for each column"):
        table(frame, "Numbers")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"),
        (1e-12, "1e-12"),
        (-0.5, "−0.5"),
        (3, "3"),
        (12000, "12\u202f000"),
        (None, "–"),
        (1.0, "1"),
    ],
)
def test_numbers_are_short(value, text):
    assert number(value) == text


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
