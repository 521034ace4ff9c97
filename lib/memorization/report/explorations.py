"""Figures that a reader moves without a kernel: native sliders and choices over a grid of drawn states.

Every state is drawn here. The page holds the first one as a finished drawing, and all of them as the strings
that their lines are made of; ``book/_static/explore.js`` only puts the strings of another state in their
place. So what is drawn first and what is drawn later cannot differ, and without the script, in print or in
JupyterLab, a whole figure is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.ticker import MaxNLocator

from memorization.report.figures import card
from memorization.report.intervals import mean_interval
from memorization.report.styles import arm_styles
from memorization.report.tables import number

if TYPE_CHECKING:
    from memorization.runs.start import Run

MOST_INLINE = 60_000  # bytes of states in one page

_WIDTH, _HEIGHT = 480, 330  # units of the drawing: 1.2 pixels on a wide screen, 0.7 on a phone
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 466, 34, 280  # of the frame
_FEWEST = 3  # seeds from which an interval is drawn; that of two is wider than the figure
_SHAPES = (
    "M-5,0a5,5 0 1,0 10,0a5,5 0 1,0 -10,0z", "M-4.5,-4.5h9v9h-9z", "M0,-6.5L6.5,0L0,6.5L-6.5,0z",
    "M0,-6L6,5h-12z", "M-6,-2h4v-4h4v4h4v4h-4v4h-4v-4h-4z", "M0,6L6,-5h-12z", "M-6,0L5,-6v12z",
    "M6,0L-5,-6v12z", "M0,-7L2,-2L7,0L2,2L0,7L-2,2L-7,0L-2,-2z",
)  # fmt: skip
_DASHES = ("none", "10 4", "2 4", "10 4 2 4", "16 6", "6 3 2 3 2 3", "4 8", "16 4 4 4", "1 7")


def explore(
    run: Run,
    data: pd.DataFrame,
    *,
    name: str,
    title: str,
    alt: str,
    x: str,
    y: Sequence[str],
    lines: str,
    controls: Sequence[str],
    labels: Mapping[str, str],
    start: Mapping[str, Any] | None = None,
    read_at: float | None = None,
    trails: bool = False,
    marks: pd.DataFrame | None = None,
    references: Mapping[str, tuple[str, float]] | None = None,
    colors: Mapping[str, str] | None = None,
) -> HTML:
    """Return a card with a drawing, and a native control for each column that the reader moves.

    Numbers get a slider over their values, names a choice; so do the quantities, if there are several. A
    column with one value has nothing to be moved and gets no control.

    Args:
        run: The started run.
        data: One row per point on a full grid of ``controls``, ``lines`` and ``x``; in columns ``Q_low`` and
            ``Q_high``, if there, the 95 % interval of a quantity ``Q``. A choice of names may change which
            lines there are.
        name: As for :func:`memorization.report.figures.show`, like the next two.
        title: The message, a sentence.
        alt: What a reader who cannot see the figure should know, whatever the controls say.
        x: Column of the horizontal axis, numbers.
        y: Columns of the vertical axis, a quantity each; NaN is not drawn.
        lines: Column that names the lines.
        controls: Columns that the reader moves.
        labels: What ``x``, quantities and controls are called, each with its unit: ``N/d [ratio]``.
        start: Values of controls that are drawn first (of ``quantity``, one of ``y``), or the nearest to
            them; otherwise the first ones.
        read_at: Where on the horizontal axis, or nearest to it, the words below the drawing read the
            lines; otherwise at their last point.
        trails: The points of a line are a path in the order of the rows, with a mark at its end; ``x`` is
            then no part of the grid.
        marks: What was measured where ``data`` is predicted: the same columns, any part of the grid. Then
            marks are measured, and lines, dashed differently, predicted.
        references: Of quantities, a horizontal line: what it is, and where.
        colors: Of lines; by default the book's colors of arms.

    Returns:
        A display object, the last expression of a cell.

    Raises:
        ValueError: A column or a point of the grid is missing, there are more lines than can be told apart
            or more states than a page should hold, or a rule of ``show`` is broken.
    """
    _check_columns(data, name, [x, *y, *controls], lines, labels)
    knobs = _knobs(data, controls, labels)
    _check_grid(data, name, knobs, [lines] if trails else [lines, x])
    tables = [data] if marks is None else [data, marks]
    down = [_axis(tables, column, labels, (_BOTTOM, _TOP), references) for column in y]
    across = _axis([table[[x]] for table in tables], x, labels, (_LEFT, _RIGHT))  # no bars lie along it
    if read_at is not None:
        read_at = float(min(data[x].unique(), key=lambda place: abs(place - read_at)))
    plot = _Plot(name, across, lines, _panels(data, knobs, lines, colors), trails, marks is not None, read_at)
    states = [
        plot.state([_chosen(table, knobs, values) for table in tables], axis, knobs, values)
        for axis in down
        for values in product(*(knob.values for knob in knobs))
    ]
    if len(down) > 1:
        words = tuple(_bare(axis.label) for axis in down)
        knobs = [_Knob("quantity", "quantity", tuple(y), words, False), *knobs]
    first = [_nearest(knob, (start or {}).get(knob.column)) for knob in knobs]
    shown = (
        states[int(np.ravel_multi_index(first, [len(knob.values) for knob in knobs]))] if knobs else states[0]
    )
    content = _form(knobs, first, name) + plot.legends(shown) + _references(down, shown["axis"])
    content += plot.drawing(down, shown, alt)
    content += f'<p class="explored" aria-live="polite">{escape(shown["words"])}</p>' + _inline(
        knobs, states, name
    )
    bars = any(f"{column}_low" in table for table in tables for column in y)
    kinds = ("predicted", "measured")
    stored = (
        data if marks is None else pd.concat([t.assign(kind=k) for t, k in zip(tables, kinds, strict=True)])
    )
    return card(run, content, stored, name=name, title=title, alt=alt, bars=bars, kind="exploration")


def seed_intervals(records: pd.DataFrame, by: Sequence[str], columns: Sequence[str]) -> pd.DataFrame:
    """Return means over seeds with 95 % intervals, as :func:`explore` takes them.

    Args:
        records: One row for each seed of a group.
        by: Columns that name a group; the groups keep their order.
        columns: The quantities Q.

    Returns:
        ``by``, the mean of each Q, ``seeds`` and, where every group has three seeds or more, ``Q_low`` and
        ``Q_high`` of each.
    """
    groups = records.groupby(list(by), sort=False)
    table = groups[list(columns)].mean().assign(seeds=groups.size())
    if table["seeds"].min() >= _FEWEST:
        for column in columns:
            ends = [mean_interval(one.to_numpy(dtype=float)) for _, one in groups[column]]
            table[f"{column}_low"], table[f"{column}_high"] = zip(*ends, strict=True)
    return table.reset_index()


def _digits(value: float) -> str:
    """A number with three digits, its trailing zeros kept, so that those beside it are as exact."""
    if abs(value) >= 1000:
        return number(float(value))
    return f"{value:#.3g}".rstrip(".").replace("-", "\u2212", 1 if value < 0 else 0)


def _bare(label: str) -> str:
    """A label without its unit."""
    return label.rpartition(" [")[0]


def _check_columns(
    data: pd.DataFrame, name: str, columns: Sequence[str], lines: str, labels: Mapping[str, str]
) -> None:
    for column in (*columns, lines):
        if column not in data:
            known = ", ".join(map(str, data))
            raise ValueError(f"exploration {name!r}: the data have no column {column!r}; they have {known}")
    for column in columns:
        if not _bare(labels.get(column, "")) or not labels[column].endswith("]"):
            raise ValueError(
                f"exploration {name!r}: labels[{column!r}] is {labels.get(column)!r}; say what it is, with "
                "its unit in square brackets, such as 'N/d [ratio]'"
            )


@dataclass(frozen=True)
class _Knob:
    """A control: its column, its name, its values and what they are called, and whether it slides."""

    column: str
    name: str
    values: tuple[Any, ...]
    words: tuple[str, ...]
    slides: bool

    def at(self, value: Any) -> str:
        return f"{self.name} = {number(value)}" if self.slides else str(value)


def _knobs(data: pd.DataFrame, controls: Sequence[str], labels: Mapping[str, str]) -> list[_Knob]:
    """Choices first, then sliders, each over the values that there are; none where there is one value."""
    knobs = []
    for column in controls:
        slides = pd.api.types.is_numeric_dtype(data[column])
        values = sorted(data[column].unique().tolist()) if slides else data[column].unique().tolist()
        unit = labels[column].rpartition(" [")[2].removesuffix("]")
        counted = f" {unit}" if slides and unit.endswith("s") else ""  # 50 epochs, but 0.5 of a ratio
        words = tuple(number(value) + counted for value in values)
        knobs.append(_Knob(column, _bare(labels[column]), tuple(values), words, slides))
    return sorted((knob for knob in knobs if len(knob.values) > 1), key=lambda knob: knob.slides)


def _nearest(knob: _Knob, wanted: Any) -> int:
    """The place of a value among those of a control, or of the nearest number; 0 where none is wanted."""
    if wanted is None:
        return 0
    if knob.slides:
        return int(np.abs(np.array(knob.values, dtype=float) - wanted).argmin())
    if wanted not in knob.values:
        known = ", ".join(map(str, knob.values))
        raise ValueError(f"an exploration cannot start at {knob.column} = {wanted!r}; it has {known}")
    return knob.values.index(wanted)


def _check_grid(data: pd.DataFrame, name: str, knobs: Sequence[_Knob], within: Sequence[str]) -> None:
    """Hold the data against a full grid: every choice is there, and in it every value at every other."""
    choices = [knob.column for knob in knobs if not knob.slides]
    moving = [*(knob.column for knob in knobs if knob.slides), *within]
    there = set(data[choices].itertuples(index=False, name=None)) if choices else {()}
    missing = [
        dict(zip(choices, key, strict=True)) for key in _combinations(data, choices) if key not in there
    ]
    for key in sorted(there, key=str):
        here = dict(zip(choices, key, strict=True))
        one = data.loc[(data[choices] == pd.Series(here, dtype=object)).all(axis=1)] if choices else data
        points = set(one[moving].itertuples(index=False, name=None))
        missing += [
            here | dict(zip(moving, p, strict=True)) for p in _combinations(one, moving) if p not in points
        ]
        if len(within) > 1 and len(points) < len(one):
            place: dict[Any, Any] = here | one[one.duplicated(moving)].iloc[0][moving].to_dict()
            raise ValueError(
                f"exploration {name!r}: there are two rows for {_say(place)}; average over seeds first"
            )
    if missing:
        raise ValueError(
            f"exploration {name!r}: there is no row for {_say(missing[0])} ({len(missing)} missing); each "
            "value of a control needs every line and point"
        )


def _combinations(data: pd.DataFrame, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return product(*(data[column].unique().tolist() for column in columns))


def _say(place: Mapping[Any, Any]) -> str:
    return ", ".join(f"{column} = {value}" for column, value in place.items())


def _chosen(data: pd.DataFrame, knobs: Sequence[_Knob], values: Sequence[Any]) -> pd.DataFrame:
    """The rows at one position of the controls."""
    keep = np.ones(len(data), dtype=bool)
    for knob, value in zip(knobs, values, strict=True):
        keep &= (data[knob.column] == value).to_numpy()
    return data[keep]


@dataclass(frozen=True)
class _Panel:
    """Lines that are drawn together, and of each the color, the mark and the dashes."""

    names: tuple[str, ...]
    looks: tuple[tuple[str, str, str], ...]


def _panels(
    data: pd.DataFrame, knobs: Sequence[_Knob], lines: str, colors: Mapping[str, str] | None
) -> list[_Panel]:
    """Every set of lines that a choice of names shows."""
    choices = [knob.column for knob in knobs if not knob.slides]
    groups = data.groupby(choices, sort=False) if choices else [((), data)]
    sets = dict.fromkeys(tuple(map(str, one[lines].unique())) for _, one in groups)
    return [_Panel(names, _looks(names, colors)) for names in sets]


def _looks(names: Sequence[str], colors: Mapping[str, str] | None) -> tuple[tuple[str, str, str], ...]:
    if len(names) > len(_SHAPES):
        raise ValueError(f"{len(names)} lines are more than can be told apart; draw {len(_SHAPES)} or fewer")
    inks = [colors[name] for name in names] if colors else [color for color, _ in arm_styles(names).values()]
    return tuple(zip(inks, _SHAPES, _DASHES, strict=False))


@dataclass(frozen=True)
class _Axis:
    """The scale of one column: round places to name, and where its ends lie in the drawing."""

    column: str
    label: str
    ticks: tuple[float, ...]
    ends: tuple[float, float]
    reference: tuple[str, float] | None = None

    def place(self, value: float) -> float:
        first, last = self.ends
        return round(first + (last - first) * (value - self.ticks[0]) / (self.ticks[-1] - self.ticks[0]), 1)


def _axis(
    tables: Sequence[pd.DataFrame],
    column: str,
    labels: Mapping[str, str],
    ends: tuple[float, float],
    references: Mapping[str, tuple[str, float]] | None = None,
) -> _Axis:
    """One scale whatever the controls say, so that what moves is the data."""
    reference = (references or {}).get(column)
    columns = (column, f"{column}_low", f"{column}_high")
    values = [table[one].to_numpy(dtype=float) for table in tables for one in columns if one in table]
    values += [np.array([reference[1]])] if reference else []
    low, high = float(np.nanmin(np.concatenate(values))), float(np.nanmax(np.concatenate(values)))
    room = 0.5 if low == high else 0.0
    if labels[column].endswith("[fraction]"):  # an interval may reach beyond what a fraction can be
        low, high = max(low, 0.0), min(high, 1.0)
    places = MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]).tick_values(low - room, high + room)
    ticks = tuple(round(float(place), 10) for place in places)
    return _Axis(column, labels[column], ticks, ends, reference)


@dataclass(frozen=True)
class _Plot:
    """What all states share, and how one is drawn."""

    name: str
    across: _Axis
    lines: str
    panels: Sequence[_Panel]
    trails: bool
    predicted: bool
    read_at: float | None

    def state(
        self, tables: Sequence[pd.DataFrame], axis: _Axis, knobs: Sequence[_Knob], values: Sequence[Any]
    ) -> dict[str, Any]:
        """One position of the controls: panel, axis, words, and three strings for each line of the panel."""
        names = tuple(map(str, tables[0][self.lines].unique()))
        panel = next(place for place, panel in enumerate(self.panels) if set(panel.names) == set(names))
        strings, read = [], []
        for name in self.panels[panel].names:
            rows, *measured = (self._of_line(table, name, axis) for table in tables)
            marked = measured[0] if measured else rows.tail(1) if self.trails else rows
            strings += [self._points(rows, axis), self._points(marked, axis), self._bars(marked, axis)]
            read.append(f"{name} {self._read(rows, axis)}")
        set_to = ", ".join(knob.at(value) for knob, value in zip(knobs, values, strict=True))
        at = _bare(self.across.label) + ("" if self.read_at is None else f" = {number(self.read_at)}")
        words = f"{set_to + ': ' if set_to else ''}{_bare(axis.label)} at {at}: {', '.join(read)}."
        return {"panel": panel, "axis": axis.column, "words": words, "strings": strings}

    def _of_line(self, table: pd.DataFrame, name: str, axis: _Axis) -> pd.DataFrame:
        rows = table[(table[self.lines].astype(str) == name) & table[axis.column].notna()]
        return rows if self.trails else rows.sort_values(self.across.column)

    def _points(self, rows: pd.DataFrame, axis: _Axis) -> str:
        places = zip(rows[self.across.column], rows[axis.column], strict=True)
        return " ".join(f"{self.across.place(x):g},{axis.place(y):g}" for x, y in places)

    def _bars(self, rows: pd.DataFrame, axis: _Axis) -> str:
        columns = [self.across.column, f"{axis.column}_low", f"{axis.column}_high"]
        if columns[1] not in rows:
            return ""
        whole = rows[columns].dropna()
        whole[columns[1:]] = whole[columns[1:]].clip(axis.ticks[0], axis.ticks[-1])
        return "".join(
            f"M{self.across.place(x):g},{axis.place(low):g}V{axis.place(high):g}"
            for x, low, high in whole.itertuples(index=False, name=None)
        )

    def _read(self, rows: pd.DataFrame, axis: _Axis) -> str:
        if rows.empty:
            return number(None)
        if self.read_at is None:
            last = rows.iloc[-1]
            return f"{_digits(last[axis.column])} at {_digits(last[self.across.column])}"
        nearest = (rows[self.across.column] - self.read_at).abs().idxmin()
        return _digits(rows[axis.column].to_dict()[nearest])

    def legends(self, shown: Mapping[str, Any]) -> str:
        """What each mark and line stands for: one list for each panel."""
        lists = []
        for place, panel in enumerate(self.panels):
            items = "".join(
                f'<li><svg viewBox="0 -8 38 16" width="38" height="16" aria-hidden="true"><g {_ink(color)}>'
                f'<path d="M0,0H38" stroke="currentColor" stroke-width="2.2" '
                f'stroke-dasharray="{self._dash(dash)}"/>'
                f'<path transform="translate(19)" d="{shape}" fill="currentColor"/></g></svg> '
                f"{escape(name)}</li>"
                for name, (color, shape, dash) in zip(panel.names, panel.looks, strict=True)
            )
            hidden = "" if place == shown["panel"] else " hidden"
            lists.append(f'<ul class="key" data-panel="{place}"{hidden}>{items}</ul>')
        return "".join(lists)

    def _dash(self, dash: str) -> str:
        return dash if self.predicted else "none"

    def drawing(self, down: Sequence[_Axis], shown: Mapping[str, Any], alt: str) -> str:
        """The drawing of one state; axes and panels of the others are there and not displayed."""
        parts = [_across(self.across), *(_down(axis, axis.column == shown["axis"]) for axis in down)]
        for place, panel in enumerate(self.panels):
            here = place == shown["panel"]
            strings = shown["strings"] if here else [""] * 3 * len(panel.names)
            lines = "".join(
                self._line(f"explore-{self.name}-{place}-{i}", look, strings[3 * i : 3 * i + 3])
                for i, look in enumerate(panel.looks)
            )
            parts.append(f'<g data-panel="{place}" display="{"inline" if here else "none"}">{lines}</g>')
        return (
            f'<svg class="drawing" role="img" aria-label="{escape(alt, quote=True)}" '
            f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" '
            f'style="max-width: 620px" font-size="13" fill="none">{"".join(parts)}</svg>'
        )

    def _line(self, name: str, look: tuple[str, str, str], strings: Sequence[str]) -> str:
        color, shape, dash = look
        line, marks, bars = strings
        at = " ".join(f'marker-{where}="url(#{name})"' for where in ("start", "mid", "end"))
        return (
            f'<g {_ink(color)}><marker id="{name}" viewBox="-8 -8 16 16" markerWidth="16" markerHeight="16" '
            f'markerUnits="userSpaceOnUse"><path d="{shape}" fill="currentColor"/></marker>'
            f'<polyline data-part="line" points="{line}" stroke="currentColor" stroke-width="2.2" '
            f'stroke-dasharray="{self._dash(dash)}"/>'
            f'<polyline data-part="marks" points="{marks}" {at}/>'
            f'<path data-part="bars" d="{bars}" stroke="currentColor" stroke-width="1.6"/></g>'
        )


def _ink(color: str) -> str:
    """The color of a line, which a style sheet can make lighter on a dark page."""
    return f'class="ink" color="{color}" style="--ink: {color}"'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="currentColor">{escape(words)}</text>'


def _across(axis: _Axis) -> str:
    ticks = "".join(_text(axis.place(tick), _BOTTOM + 19, number(tick), "middle") for tick in axis.ticks)
    marks = "".join(f"M{axis.place(tick):g},{_BOTTOM}v5" for tick in axis.ticks)
    line = f'<path d="M{_LEFT},{_BOTTOM}H{_RIGHT}{marks}" stroke="currentColor"/>'
    return f"<g>{line}{ticks}{_text((_LEFT + _RIGHT) / 2, _BOTTOM + 43, axis.label, 'middle')}</g>"


def _down(axis: _Axis, here: bool) -> str:
    ticks = "".join(_text(_LEFT - 8, axis.place(tick) + 4.5, number(tick), "end") for tick in axis.ticks)
    lines = "".join(f"M{_LEFT},{axis.place(tick):g}H{_RIGHT}" for tick in axis.ticks)
    grid = f'<path d="{lines}" stroke="currentColor" stroke-opacity="0.16"/>'
    if axis.reference:
        height = axis.place(axis.reference[1])
        grid += f'<path d="M{_LEFT},{height:g}H{_RIGHT}" stroke="currentColor" stroke-dasharray="3 3"/>'
    shown = "inline" if here else "none"
    return (
        f'<g data-axis="{axis.column}" display="{shown}">{grid}{ticks}{_text(4, 15, axis.label, "start")}</g>'
    )


def _references(down: Sequence[_Axis], shown: str) -> str:
    """What the dashed line of each quantity is, where no curve can run through the words."""
    line = '<path d="M0,0H38" stroke="currentColor" stroke-dasharray="3 3"/>'
    sample = f'<svg viewBox="0 -8 38 16" width="38" height="16" aria-hidden="true">{line}</svg>'
    return "".join(
        f'<ul class="key" data-axis="{axis.column}"{"" if axis.column == shown else " hidden"}>'
        f"<li>{sample} {escape(axis.reference[0])}</li></ul>"
        for axis in down
        if axis.reference
    )


def _form(knobs: Sequence[_Knob], first: Sequence[int], name: str) -> str:
    """One labelled native control for each knob; the script that they need shows them."""
    fields = []
    for knob, at in zip(knobs, first, strict=True):
        one = f"explore-{name}-{knob.column}"
        label = f'<label for="{one}">{escape(knob.name)}</label>'
        if knob.slides:
            word = escape(knob.words[at], quote=True)
            fields.append(
                f'<div>{label} <output for="{one}">{word}</output><input type="range" id="{one}" min="0" '
                f'max="{len(knob.values) - 1}" step="1" value="{at}" aria-valuetext="{word}"></div>'
            )
        else:
            options = "".join(
                f'<option value="{i}"{" selected" if i == at else ""}>{escape(word)}</option>'
                for i, word in enumerate(knob.words)
            )
            fields.append(f'<div>{label} <select id="{one}">{options}</select></div>')
    return f'<form class="controls" autocomplete="off" hidden>{"".join(fields)}</form>' if fields else ""


def _inline(knobs: Sequence[_Knob], states: Sequence[Mapping[str, Any]], name: str) -> str:
    """All states and the words of the controls, for the script."""
    held = {"words": [knob.words for knob in knobs], "states": [list(state.values()) for state in states]}
    text = json.dumps(held, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    if len(text.encode()) > MOST_INLINE:
        raise ValueError(
            f"exploration {name!r}: {len(states)} states take {len(text.encode())} bytes, and a page should "
            f"hold {MOST_INLINE} or fewer; give fewer values of a control, or fewer points"
        )
    return f'<script type="application/json">{text}</script>'
