from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from memorization.report.tables import (
    file_links,
    number,
    over_seeds,
    parameter_table,
    plus_minus,
    say,
    seed_means,
    table,
    with_interval,
)
from memorization.runs.parameters import declared


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


def test_links_lead_to_stored_files_alone(tmp_path):
    run = SimpleNamespace(figures_folder=tmp_path, figures_href="figures/toy")
    with pytest.raises(FileNotFoundError, match=r"scores\.csv is not in .*store it before it is linked to"):
        file_links(run, "Scores", {"draw 0": "scores.csv"})
    (tmp_path / "scores.csv").write_text("id")
    soup = BeautifulSoup(file_links(run, "Scores <of all>", {"draw 0": "scores.csv"}).data, "html.parser")
    assert soup.text == "Scores <of all>: draw 0."
    assert soup.a["href"] == "figures/toy/scores.csv"
    assert soup.a.has_attr("download")


def test_a_format_for_an_absent_column_is_refused():
    with pytest.raises(ValueError, match="formats names 'acc', but the columns are N"):
        table(pd.DataFrame({"N": [1]}), "Numbers", {"acc": ".2f"})


@pytest.mark.parametrize(("frame", "caption"), [(pd.DataFrame({"": [1]}), "Numbers"), (pd.DataFrame(), " ")])
def test_a_table_without_a_caption_or_with_a_nameless_column_is_refused(frame, caption):
    with pytest.raises(ValueError, match="a table needs a caption, and a name for each column"):
        table(frame, caption)


@pytest.mark.parametrize("frame", [pd.DataFrame(), pd.DataFrame({"N": []})])
def test_a_table_without_rows_is_a_sentence(frame):
    page = table(frame, "Accuracy <by N>", {"accuracy": ".2f"}).data
    assert page == "<p>Accuracy &lt;by N&gt;: there are no rows to show.</p>"


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


def test_each_parameter_has_its_value_meaning_unit_and_range():
    known = declared("width: int = 8  # features | count | 1..9\nnames: list[str] = ['a']  # m | u | any")
    run = SimpleNamespace(
        name="tiny", profile="book", settings={"width": 3, "names": ["a", "b"]}, parameters=known
    )
    page = BeautifulSoup(parameter_table(run).data, "html.parser")
    rows = [[cell.text for cell in row.find_all(["th", "td"])] for row in page.find("tbody").find_all("tr")]
    assert rows == [
        ["width", "3", "features", "count", "1..9"],
        ["names", "a, b", "m", "u", "any"],
    ]


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.34712, 0.00062, "0.3471 ± 0.0006"),
        (12.3, 1.4, "12.3 ± 1.4"),
        (0.345, 0.0, "0.345"),
        (1.0, float("nan"), "1"),
    ],
)
def test_a_number_has_the_places_that_its_error_allows(value, error, text):
    assert plus_minus(value, error) == text


def test_means_over_seeds_have_their_interval(records):
    found = seed_means(records, ["kind", "N"], ["accuracy"])
    error = 4.302653 * 0.02 / 3**0.5
    assert found.columns.tolist() == ["kind", "N", "accuracy"]
    assert found.iloc[0].tolist() == ["high", 10, f"0.900 ± {error:.3f}"]


def test_means_over_seeds_stand_under_the_names_given(records):
    assert seed_means(records, ["kind"], {"probe, end": "theory"}).iloc[0].tolist() == ["high", "0.9"]


@pytest.mark.parametrize(("mean", "text"), [(1e-17, "0"), (0.25, "0.25"), (np.nan, "–")])
def test_a_mean_of_equal_seeds_has_no_error_and_a_tiny_one_is_zero(mean, text):
    frame = pd.DataFrame({"N": 10, "seed": [0, 1], "value": [mean, mean]})
    assert seed_means(frame, ["N"], ["value"])["value"].tolist() == [text]


def test_a_mean_whose_error_does_not_show_has_the_places_that_the_error_would_have():
    frame = pd.DataFrame({"N": 10, "seed": [0, 1], "value": [0.225511, 0.225512]})
    assert seed_means(frame, ["N"], ["value"])["value"].tolist() == ["0.2255"]


def test_means_of_no_records_are_no_rows(records):
    assert seed_means(records.head(0), ["N"], ["accuracy"]).empty


def test_a_quantity_over_seeds_has_mean_spread_and_number(records):
    found = over_seeds(records, ["kind", "N"], "accuracy")
    assert found.columns.tolist() == ["kind", "N", "mean", "half", "seeds"]
    assert found.iloc[0, :2].tolist() == ["high", 10]
    assert found.iloc[0, 2:].tolist() == pytest.approx([0.9, 4.302653 * 0.02 / 3**0.5, 3])


def test_one_seed_has_no_spread(records):
    found = over_seeds(records.query("seed == 0"), ["kind", "N"], "accuracy")
    assert found["half"].isna().all()


@pytest.mark.parametrize(
    ("rows", "by", "message"),
    [
        ("N > 0", ["N"], "more than one row for N=10, seed=0: the records hold several runs or curves"),
        ("N > 1000", ["N", "kind"], "there are no records of accuracy by N, kind; look at the selection"),
        ("N > 0", ["size"], "no column 'size'; they have N, kind"),
    ],
)
def test_what_cannot_be_averaged_over_seeds_is_refused(records, rows, by, message):
    with pytest.raises(ValueError, match=message):
        over_seeds(records.query(rows), by, "accuracy")


def test_a_row_has_the_attributes_that_it_was_given():
    page = table(pd.DataFrame({"a": [1, 2]}), "Two rows", attributes=[{"id": "one"}, {"id": 'a "b"'}]).data
    assert '<tr role="row" id="one">' in page
    assert '<tr role="row" id="a &quot;b&quot;">' in page


def test_attributes_are_of_each_row():
    with pytest.raises(ValueError, match="give attributes of each row: 2 rows, 1 attributes"):
        table(pd.DataFrame({"a": [1, 2]}), "Two rows", attributes=[{"id": "one"}])


def test_the_numbers_of_a_column_have_the_same_places():
    frame = pd.DataFrame(
        {"row": ["a", "b", "c"], "x": [0.5, 0.25, -1.0], "tiny": [1e-9, 0.5, 1.0], "n": [1, 2, 30]}
    )
    page = BeautifulSoup(table(frame, "Some numbers").data, "html.parser")
    cells = [[cell.text for cell in row.find_all("td")] for row in page.find("tbody").find_all("tr")]
    assert cells == [["0.50", "1e-9", "1"], ["0.25", "0.5", "2"], ["\u22121.00", "1", "30"]]


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.567, 0.524, 0.61), "0.567 [0.524, 0.610]"),
        ((-1.0, -1.5, -0.5), "\u22121.00 [\u22121.50, \u22120.50]"),
        ((3e-14, 1e-14, 5e-14), "3e-14 [1e-14, 5e-14]"),
        ((0.5, None, None), "0.5"),
    ],
)
def test_a_number_and_its_interval_end_at_the_same_place(numbers, text):
    assert with_interval(*numbers) == text
