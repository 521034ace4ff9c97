"""Figures that a reader moves without a kernel: every state is drawn, the first is whole without a script."""

import json

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup

from memorization.report.explorations import explore, seed_intervals

WORDS = {
    "name": "moved", "title": "What moves when it is moved", "x": "N", "y": ["accuracy", "risk"],
    "alt": "Accuracy or risk against N, a line an arm, with a slider for the strength.", "lines": "arm",
    "controls": ["kind", "strength"],
    "labels": {
        "N": "N [examples]", "accuracy": "accuracy [fraction]", "risk": "risk [loss]", "kind": "kind [name]",
        "strength": "strength [factor]",
    },
}  # fmt: skip


@pytest.fixture
def grid():
    """Two kinds, three strengths, two arms, three places: the accuracy is strength times N over 100."""
    rows = [
        {"kind": kind, "strength": s, "arm": arm, "N": n, "accuracy": s * n / 100, "risk": 1 - s * n / 100}
        for kind in ("a", "b")
        for s in (0.5, 1.0, 2.0)
        for arm in ("ReLU", "identity")
        for n in (10, 20, 40)
    ]
    return pd.DataFrame(rows)


def parsed(html):
    return BeautifulSoup(html.data, "html.parser")


def test_each_column_that_varies_has_a_native_control_with_a_label(run, grid):
    page = parsed(explore(run, grid, **WORDS))
    fields = {field["id"]: field for field in page.select("select, input")}
    assert {label["for"] for label in page.select("label")} == set(fields)
    slider = fields["explore-moved-strength"]
    assert (slider["type"], slider["min"], slider["max"], slider["aria-valuetext"]) == (
        "range",
        "0",
        "2",
        "0.5",
    )
    assert [option.text for option in fields["explore-moved-quantity"].select("option")] == [
        "accuracy",
        "risk",
    ]


def test_what_has_one_value_gets_no_control(run, grid):
    page = parsed(explore(run, grid[grid.strength == 1.0], **WORDS))
    assert page.select("input") == []
    assert len(page.select("select")) == 2  # the quantity and the kind


def test_every_state_is_there_and_the_first_is_drawn(run, grid):
    page = parsed(explore(run, grid, **WORDS, start={"strength": 0.9}))
    states = json.loads(page.select_one("script[type='application/json']").text)["states"]
    assert len(states) == 2 * 2 * 3
    drawn = [line["points"] for line in page.select("g[data-panel] [data-part='line']")]
    assert drawn == states[1][3][::3]  # strength 1 is nearest to 0.9
    assert page.select_one(".explored").text == states[1][2]
    assert "strength = 1: accuracy at N: ReLU 0.400 at 40.0" in states[1][2]
    assert page.select_one("svg.drawing")["aria-label"] == WORDS["alt"]


def test_a_line_is_where_its_numbers_are(run, grid):
    """The axis goes from 0 to 0.8, from 280 down to 34 units; N from 10 to 40, of 56 to 466."""
    page = parsed(explore(run, grid, **WORDS, start={"strength": 2.0}))
    places = [
        tuple(map(float, p.split(","))) for p in page.select_one("[data-part='line']")["points"].split()
    ]
    assert [y for _, y in places] == pytest.approx([280 - 246 * v / 0.8 for v in (0.2, 0.4, 0.8)], abs=0.06)
    assert places[0][0] < places[1][0] < places[2][0]


def test_equal_explorations_are_equal_bytes_and_the_data_are_stored(run, grid):
    assert explore(run, grid, **WORDS).data == explore(run, grid, **WORDS).data
    assert len(pd.read_csv(run.figures_folder / "moved.csv")) == len(grid)


def test_a_hole_in_the_grid_is_named(run, grid):
    with pytest.raises(
        ValueError, match=r"no row for .*kind = b.*N = 40.* \(1 missing\); each value of a control"
    ):
        explore(run, grid.iloc[:-1], **WORDS)


def test_two_rows_of_one_place_are_refused(run, grid):
    with pytest.raises(ValueError, match=r"there are two rows for .*; average over seeds first"):
        explore(run, pd.concat([grid, grid.tail(1)], ignore_index=True), **WORDS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": "M"}, "the data have no column 'M'; they have kind, strength"),
        ({"labels": {**WORDS["labels"], "N": "N"}}, r"labels\['N'\] is 'N'; say what it is, with its unit"),
        ({"start": {"kind": "c"}}, "cannot start at kind = 'c'; it has a, b"),
        ({"title": "Short"}, "a sentence of 4 words or more"),
    ],
)
def test_bad_input_is_told(run, grid, changes, message):
    with pytest.raises(ValueError, match=message):
        explore(run, grid, **WORDS | changes)


def test_more_states_than_a_page_should_hold_are_refused(run, grid):
    many = pd.concat([grid.assign(strength=grid.strength + k) for k in range(0, 400, 3)], ignore_index=True)
    with pytest.raises(ValueError, match="bytes, and a page should hold 60000 or fewer; give fewer values"):
        explore(run, many, **WORDS)


def test_nine_lines_with_colors_of_their_own_differ_in_shape_and_ten_are_refused(run, grid):
    arms = [f"arm {number}" for number in range(10)]
    many = pd.concat([grid[grid.arm == "ReLU"].assign(arm=arm) for arm in arms])
    colors = dict.fromkeys(arms, "#336699")
    key = parsed(explore(run, many[many.arm != "arm 9"], **WORDS, colors=colors)).select("svg path")
    shapes = {path["d"] for path in key}
    assert len({shape for shape in shapes if shape.endswith("z")}) == 9
    with pytest.raises(ValueError, match="10 lines are more than can be told apart; draw 9 or fewer"):
        explore(run, many, **WORDS, colors=colors)


def test_intervals_are_given_from_three_seeds_on():
    rows = pd.DataFrame({"arm": "a", "seed": [0, 1, 2], "x": [1.0, 2.0, 3.0]})
    found = seed_intervals(rows, ["arm"], ["x"])
    assert found[["x", "x_low", "x_high"]].to_numpy().tolist()[0] == pytest.approx(
        [2, 2 - 2.4841, 2 + 2.4841], abs=1e-3
    )
    assert "x_low" not in seed_intervals(rows.head(2), ["arm"], ["x"])


def test_numbers_that_are_missing_are_not_drawn(run, grid):
    holes = grid.assign(risk=np.where(grid.N == 20, np.nan, grid.risk))
    page = parsed(explore(run, holes, **WORDS | {"y": ["risk"]}))
    assert len(page.select_one("[data-part='line']")["points"].split()) == 2


def test_the_words_read_the_lines_where_there_is_a_point(run, grid):
    page = parsed(explore(run, grid, **WORDS, read_at=18))
    assert "accuracy at N = 20: ReLU 0.100, identity 0.100." in page.select_one(".explored").text


def test_what_a_reference_is_stands_in_the_key_of_its_quantity(run, grid):
    words = {"references": {"risk": ("chance", 0.5)}}
    first, second = (
        parsed(explore(run, grid, **WORDS, **words, start={"quantity": y})).select_one("ul[data-axis]")
        for y in ("accuracy", "risk")
    )
    assert first.text.strip() == "chance"
    assert first.has_attr("hidden")
    assert not second.has_attr("hidden")


def test_an_interval_along_the_horizontal_axis_does_not_widen_it(run, grid):
    plain = parsed(explore(run, grid, **WORDS))
    wide = parsed(explore(run, grid.assign(N_low=-100.0, N_high=400.0), **WORDS))
    assert plain.select_one("svg.drawing") == wide.select_one("svg.drawing")


def test_a_fraction_has_an_axis_and_bars_that_end_at_one(run, grid):
    whole = grid.assign(accuracy=0.9, accuracy_low=0.5, accuracy_high=1.3)
    page = parsed(explore(run, whole, **{**WORDS, "y": ["accuracy"]}))
    assert page.select("g[data-axis] text")[-2].text == "1"
    ends = [bar.partition("V")[2] for bar in page.select_one("[data-part='bars']")["d"].split("M")[1:]]
    assert ends == ["34"] * 3  # the upper edge of the frame
