"""Showing a figure: one message, a real description, its data, a link to its source.

Then what figures are drawn with: rows of panels, curves with a band over seeds, theory and reference lines,
and panels with one row per arm, two marks joined by a line, such as in and out of distribution.
"""

from __future__ import annotations

import io
import re
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from memorization.report.files import write_bytes
from memorization.report.styles import BACKGROUND, COLORS, INK, arm_styles, restack
from memorization.report.tables import over_seeds

if TYPE_CHECKING:
    from memorization.runs.start import Run

INTERVALS = (
    "Bands and bars: 95 % intervals of the mean over seeds; the narrowest hide behind lines and marks."
)
IN_OUT = ("in distribution", "out of distribution")

_DPI = 192  # twice the 96 pixels per inch of a page, for sharp screens
_UNIT = re.compile(r"\S.*\[[^\[\]]+\]$")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_PANEL_WIDTH, _PANEL_HEIGHT, _MAX_WIDTH = 3.9, 3.2, 8.0  # inches
_ROW_LETTERS = 20  # of a row's name, before it goes on in a second line


def show(
    run: Run,
    figure: Figure,
    data: pd.DataFrame,
    *,
    name: str,
    title: str,
    alt: str,
    wide: bool = False,
) -> HTML:
    """Store a figure and its data, and return it as a card for the page.

    The card holds the picture (a second drawing with the panels below each other is used on narrow
    screens), the title, links to the data and the source and, where the figure has bands or error bars, that
    they are 95 % intervals. Two calls with equal figures give equal bytes. The figure is closed.

    Args:
        run: The started run.
        figure: Any matplotlib figure; each visible axis needs a label that ends with its unit in square
            brackets, such as ``N [examples]`` or ``accuracy [fraction]``.
        data: The numbers that are drawn, one row per point; columns that begin with ``_`` are left out.
        name: File name of figure and data: lower-case letters, digits, ``_`` and ``-``.
        title: The message, as a sentence of at least four words.
        alt: What a reader who cannot see the figure should know: at least 40 characters.
        wide: Let the card use the margin column too.

    Returns:
        A display object, the last expression of a cell.

    Raises:
        ValueError: One of these rules is broken; the message says which and what to do.
    """
    _check_words(name, title, alt)
    data = _check_data(data, name)
    _check_axes(figure, name)
    note = INTERVALS if _has_band(figure) else ""
    _store_data(run, data, name)
    size = [round(96 * side) for side in figure.get_size_inches()]
    pictures = {name: _png(figure)} | ({f"{name}-narrow": _png(figure)} if restack(figure) else {})
    for file, picture in pictures.items():
        write_bytes(run.figures_folder / f"{file}.png", picture)
    kinds = {"figure-wide": wide, "figure-pictures": any(ax.images for ax in figure.axes)}
    _close(figure)
    chosen = " ".join(kind for kind, is_so in kinds.items() if is_so)
    return HTML(_card(run, _image(run, pictures, alt, size), name=name, title=title, note=note, kind=chosen))


def card(
    run: Run,
    content: str,
    data: pd.DataFrame,
    *,
    name: str,
    title: str,
    alt: str,
    bars: bool = False,
    kind: str = "",
) -> HTML:
    """Store the data of a drawing that is HTML already, and return it as a card for the page.

    Args:
        run: The started run.
        content: HTML that says ``alt`` to who does not see it.
        data: As for :func:`show`, like the next four.
        name: File name of the data.
        title: The message, a sentence.
        alt: What a reader who cannot see the drawing should know.
        bars: Whether it has error bars.
        kind: A further class of the card, for the book's style sheet and scripts.

    Raises:
        ValueError: A rule of :func:`show` is broken.
    """
    _check_words(name, title, alt)
    _store_data(run, _check_data(data, name), name)
    return HTML(_card(run, content, name=name, title=title, note=INTERVALS if bars else "", kind=kind))


def _card(run: Run, content: str, *, name: str, title: str, note: str = "", kind: str = "") -> str:
    """Return the HTML of a figure card around ``content``."""
    note = f'<p class="figure-band">{escape(note)}</p>' if note else ""
    data = f"{run.figures_href}/{name}.csv"
    return (
        f'<figure class="{f"figure-card {kind}".strip()}" id="figure-{name}">{content}\n'
        f'<figcaption><p class="figure-title">{escape(title)}</p>{note}'
        f'<p class="figure-links"><a href="{escape(data)}" download>data (CSV)</a> · '
        f'<a href="{escape(run.source_url)}">source</a></p></figcaption></figure>'
    )


def _check_words(name: str, title: str, alt: str) -> None:
    """Hold a figure's name, title and description against the rules of ``show``."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"figure name {name!r}: use lower-case letters, digits, '_' and '-'")
    if len(title.split()) < 4:
        raise ValueError(
            f"figure {name!r}: the title is the message, a sentence of 4 words or more; got {title!r}"
        )
    if len(alt.strip()) < 40 or alt.strip().lower() == title.strip().lower():
        raise ValueError(
            f"figure {name!r}: alt text says what is seen (what goes up, from where to where) in 40 "
            f"characters or more and does not repeat the title; got {alt!r}"
        )


def _check_data(data: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the data without its provenance columns, or say why it is not fit to publish."""
    data = data[[column for column in data if not str(column).startswith("_")]]
    if data.empty:
        raise ValueError(f"figure {name!r}: the data behind it has no rows; pass the table that was drawn")
    for column in data.select_dtypes("number"):
        bad = np.isinf(data[column].to_numpy(dtype=float))
        if bad.any():
            raise ValueError(
                f"figure {name!r}: column {column!r} is infinite in row {int(bad.argmax())}; "
                "a missing number should be NaN"
            )
    return data


def _store_data(run: Run, data: pd.DataFrame, name: str) -> None:
    """Write the data of a figure as CSV into the run's folder of figures."""
    text = data.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    write_bytes(run.figures_folder / f"{name}.csv", text.encode())


def _check_axes(figure: Figure, name: str) -> None:
    for place, ax in enumerate(figure.axes, start=1):
        if not ax.get_visible() or not ax.axison:
            continue
        for letter, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
            shown = axis.get_tick_params(which="major")
            labelled = any(shown.get(f"label{side}") for side in ("left", "right", "top", "bottom"))
            text = axis.get_label_text()
            if axis.get_visible() and labelled and not _UNIT.fullmatch(text):
                raise ValueError(
                    f"figure {name!r}, panel {place}: the {letter} axis is labelled {text!r}; a label "
                    "ends with its unit in square brackets, such as 'N [examples]' or 'accuracy [fraction]'"
                )


def _has_band(figure: Figure) -> bool:
    return any(
        any(isinstance(artist, PolyCollection) for artist in ax.collections)
        or any(isinstance(artist, ErrorbarContainer) for artist in ax.containers)
        for ax in figure.axes
    )


def _png(figure: Figure) -> bytes:
    """Draw a figure as PNG of 256 colors, a third of the bytes of all."""
    from PIL import Image  # matplotlib's own; imported here, since reading a table needs no picture

    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(
        drawn, format="png", dpi=_DPI, metadata={"Software": None}, pil_kwargs={"compress_level": 0}
    )
    few = Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE)
    few.save(packed, format="png", optimize=True)
    return packed.getvalue()


def _image(run: Run, pictures: Mapping[str, bytes], alt: str, size: Sequence[int]) -> str:
    """Return the pictures, the first and perhaps one for narrow screens, as HTML.

    They are inside, so that an executed notebook can be read wherever it lies; ``data-file`` names the file
    that a page of the book shows instead (``runs.pages``).
    """
    inside = {
        f"{escape(run.figures_href)}/{file}.png": f"data:image/png;base64,{b64encode(picture).decode()}"
        for file, picture in pictures.items()
    }
    (file, wide), *others = inside.items()
    narrow = "".join(
        f'<source media="(max-width: 600px)" data-file="{one}" srcset="{data}">' for one, data in others
    )
    return (
        f'<picture>{narrow}<img class="dark-light" data-file="{file}" src="{wide}" '
        f'alt="{escape(alt, quote=True)}" width="{size[0]}" height="{size[1]}" loading="lazy"></picture>'
    )


def _close(figure: Figure) -> None:
    import matplotlib.pyplot as plt  # only needed for figures that pyplot made

    plt.close(figure)


def panels(
    n: int = 1,
    *,
    columns: int | None = None,
    titles: Sequence[str] = (),
    height: float = _PANEL_HEIGHT,
) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``n`` panels that stays legible: at most 8 inches wide, two panels in a row.

    The figure is not registered with pyplot, so it is shown only by ``show``.

    Args:
        n: Number of panels, 1 or more.
        columns: Panels in a row; default 1 for one panel, 2 for more (3 is the most).
        titles: One short title per panel, or none.
        height: Height of one row [inches].

    Returns:
        The figure and its ``n`` axes, row by row.

    Raises:
        ValueError: ``n``, ``columns`` or the number of titles does not fit.
    """
    columns = columns if columns is not None else min(n, 2)
    if n < 1 or not 1 <= columns <= 3:
        raise ValueError(f"panels needs n >= 1 and 1 to 3 columns, got n={n}, columns={columns}")
    if titles and len(titles) != n:
        raise ValueError(f"give one title per panel: {n} panels, {len(titles)} titles")
    rows = -(-n // columns)
    width = min(_MAX_WIDTH, 6.4 if columns == 1 else _PANEL_WIDTH * columns)
    figure = Figure(figsize=(width, height * rows), layout=ConstrainedLayoutEngine(h_pad=0.07))
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in grid[n:]:
        spare.remove()
    for ax, title in zip(grid, titles, strict=False):
        ax.set_title(title)
    return figure, grid[:n]


def seed_curve(frame: pd.DataFrame, x: str, y: str) -> pd.DataFrame:
    """Average one curve over seeds.

    Args:
        frame: Records of one curve: one row per value of ``x`` and seed.
        x: Column of the horizontal axis.
        y: Column of the vertical axis.

    Returns:
        One row per value of ``x``, sorted, with columns ``x``, ``mean``, ``half`` (half the width of the 95 %
        interval, NaN for one seed) and ``seeds``.

    Raises: as :func:`memorization.report.tables.over_seeds`; two rows of one ``x`` and seed are two curves.
    """
    return over_seeds(frame, [x], y).sort_values(x, ignore_index=True)


def curve_with_band(
    ax: Axes,
    frame: pd.DataFrame,
    x: str,
    y: str,
    *,
    label: str,
    color: str,
    linestyle: str = "-",
    marker: str = "o",
) -> pd.DataFrame:
    """Draw the mean over seeds with a band, its 95 % interval (``INTERVALS``); return the curve.

    Args: as ``seed_curve``; the rest is matplotlib's. One seed gives a line without a band.
    """
    curve = seed_curve(frame, x, y)
    ax.plot(curve[x], curve["mean"], label=label, color=color, linestyle=linestyle, marker=marker)
    fill_interval(ax, curve, x, color)
    return curve


def fill_interval(ax: Axes, curve: pd.DataFrame, x: str, color: str) -> None:
    """Shade the intervals of a curve with columns ``x``, ``mean`` and ``half``, unless it has one seed."""
    if curve["half"].notna().any():
        low, high = curve["mean"] - curve["half"], curve["mean"] + curve["half"]
        ax.fill_between(curve[x], low, high, color=color, alpha=0.18, linewidth=0)


def draw_arms(
    ax: Axes,
    rows: pd.DataFrame,
    x: str,
    y: str,
    *,
    linestyle: str = "-",
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Draw one curve with its band per arm, each in the arm's own color and marker; return the curves.

    Args:
        ax: the panel.
        rows: with columns ``arm``, ``seed``, ``x`` and ``y``: one row per arm, value of ``x`` and seed.
        x: column of the horizontal axis.
        y: column of the vertical axis.
        linestyle: matplotlib's; lines that are not solid have hollow markers.
        names: what an arm is called in the legend, where that is not its own name.
    """
    curves = []
    styles = arm_styles(rows["arm"])
    for arm, one in rows.groupby("arm", sort=False):
        color, marker = styles[str(arm)]
        label = (names or {}).get(str(arm), str(arm))
        curve = curve_with_band(ax, one, x, y, label=label, color=color, marker=marker, linestyle=linestyle)
        if linestyle != "-":
            ax.lines[-1].set_markerfacecolor(BACKGROUND)
        curves.append(curve.assign(arm=arm, quantity=y))
    return pd.concat(curves, ignore_index=True)


def theory_curve(
    ax: Axes, frame: pd.DataFrame, x: str, y: str, *, label: str, color: str = COLORS["theory"]
) -> None:
    """Draw a predicted curve: dotted, without markers, the same in every figure.

    Args:
        ax: The panel.
        frame: Rows with columns ``x`` and ``y``; rows of several seeds, equal up to rounding, are one.
        x: Column of the horizontal axis.
        y: Column of the prediction.
        label: Name in the legend.
        color: Default: the book's color of theory.
    """
    values = frame.groupby(x)[y].agg(["min", "max"])
    apart = values["max"] - values["min"] > 1e-9 * values["max"].abs()  # the last bits differ by thread count
    if apart.any():
        raise ValueError(
            f"{y} has several values at one {x}: the records hold several curves; select one first"
        )
    line = values["min"].rename(y).reset_index()
    ax.plot(line[x], line[y], label=label, color=color, linestyle=":", linewidth=2.2)


def reference_line(
    ax: Axes, value: float, label: str, *, axis: str = "y", color: str = COLORS["reference"]
) -> None:
    """Draw a thin dashed line at a known value, such as chance or the paper's number.

    Args:
        ax: The panel.
        value: Where the line is.
        label: Name in the legend.
        axis: ``"y"`` for a horizontal line at this height, ``"x"`` for a vertical one.
        color: Default: the book's color of references.
    """
    if axis not in ("x", "y") or not np.isfinite(value):
        raise ValueError(f"reference_line needs axis 'x' or 'y' and a finite value, got {axis!r} and {value}")
    draw = ax.axhline if axis == "y" else ax.axvline
    draw(value, label=label, color=color, linestyle="--", linewidth=1.2, zorder=1)


def chance_line(ax: Axes, classes: int, *, axis: str = "y") -> None:
    """Draw the accuracy of guessing, 1/C, as a thin dotted line: across the x axis, or across the rows.

    Args:
        ax: the panel.
        classes: number C of classes.
        axis: the axis of the accuracy, ``"y"`` or ``"x"``.
    """
    draw = ax.axhline if axis == "y" else ax.axvline  # above the grid and below all that was measured
    draw(1 / classes, color=COLORS["reference"], linestyle=":", linewidth=1.4, label="chance", zorder=0.9)


def log_ticks(ax: Axes, values: Iterable[float]) -> None:
    """Make the x axis logarithmic, with ticks at the values that were measured, written out.

    Args:
        ax: The panel.
        values: What was measured; values closer than a tenth of the axis to the one before get no label.
    """
    places = sorted({float(value) for value in values})
    ax.set_xscale("log")
    _tick(ax, _apart(places, (places[-1] / places[0]) ** 0.1))


def log_ticks_from_zero(ax: Axes, values: Iterable[float]) -> None:
    """Make the x axis logarithmic but for a short linear piece at its left end, so that 0 can be seen.

    Args:
        ax: The panel.
        values: What was measured, 0 among it or not; they get the ticks; a value closer than a sixth
            of the axis to the one before gets none.
    """
    places = sorted({float(value) for value in values})
    positive = [place for place in places if place > 0]
    if not positive:
        raise ValueError(f"a logarithmic axis needs a value above 0, got {places}")
    ax.set_xscale("symlog", linthresh=positive[0], linscale=0.4)
    step = 10 ** ((0.44 + np.log10(positive[-1] / positive[0])) / 6)  # the linear piece is 0.44 decades long
    _tick(ax, [place for place in places if place == 0] + _apart(positive, step))


def _apart(places: Sequence[float], step: float) -> list[float]:
    """Leave out what is less than a factor above the place before it."""
    kept = [places[0]]
    for place in places[1:]:
        if place >= kept[-1] * step:
            kept.append(place)
    return kept


def _tick(ax: Axes, places: Sequence[float]) -> None:
    ax.set_xticks(places, [f"{place:g}" for place in places])
    ax.minorticks_off()


def plain_log(ax: Axes) -> None:
    """Make the x axis logarithmic, with its ticks written out."""
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.minorticks_off()


def name_panel(ax: Axes, title: str) -> None:
    """Give a panel its title, unless it has one."""
    if not any(ax.get_title(loc=place) for place in ("left", "center", "right")):
        ax.set_title(title)


def share_y(axes: Sequence[Axes], label: str) -> None:
    """Label the vertical axis of panels with equal ones at the left only; a narrow drawing labels each.

    Args:
        axes: panels with the same rows, or the same scale.
        label: of the vertical axis, with its unit.
    """
    for ax in axes:
        ax.set_ylabel(label)
        place = ax.get_subplotspec()
        if place is not None and not place.is_first_col():
            ax.tick_params(labelleft=False)
            ax.yaxis.label.set_visible(False)


def legend_above(figure: Figure) -> None:
    """Name every series once, in rows above all panels, where no curve can run through the names."""
    named: dict[str, Artist] = {}
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            named.setdefault(label, handle)
    columns = min(3, len(named))
    width, height = figure.get_size_inches()
    figure.set_size_inches(width, height + 0.28 * -(-len(named) // columns))  # the panels keep their height
    figure.legend(list(named.values()), list(named), loc="outside upper left", ncols=columns)


def dumbbells(
    ax: Axes,
    records: pd.DataFrame,
    columns: Sequence[str],
    *,
    by: str = "arm",
    words: Sequence[str] = IN_OUT,
    colors: Mapping[str, str] | None = None,
    hollow: int = 1,
    marker: str = "o",
) -> pd.DataFrame:
    """Draw one row per arm: two marks, one of them hollow, with error bars (``INTERVALS``).

    Args:
        ax: the panel.
        records: one row per arm and seed.
        columns: one or two quantities, one mark each.
        by: column of the arm.
        words: what the marks are called in the legend.
        colors: of arms; the others are drawn in ink.
        hollow: which of the two marks is hollow, 0 or 1; it is the smaller one, so that both are seen at one
            place.
        marker: matplotlib's.

    Returns:
        What is drawn: ``by``, ``quantity``, ``mean``, ``half`` (NaN for one seed) and ``seeds``.

    Raises: as :func:`memorization.report.tables.over_seeds`.
    """
    parts = [over_seeds(records, [by], column).assign(quantity=column) for column in columns]
    table = pd.concat(parts, ignore_index=True)[[by, "quantity", "mean", "half", "seeds"]]
    names = list(dict.fromkeys(records[by]))
    for place, name in enumerate(names):
        color = (colors or {}).get(name, INK)
        marks = table[table[by] == name]
        ax.plot(marks["mean"], [place] * len(marks), color=color, linewidth=2.5, alpha=0.45, zorder=1)
        for mark, (mean, half) in enumerate(zip(marks["mean"], marks["half"], strict=True)):
            bars = None if pd.isna(half) else [half]
            ax.errorbar([mean], [place], xerr=bars, **_look(color, marker, mark == hollow), capsize=3)
    for mark, word in enumerate(words[: len(columns)]):
        ax.plot([], [], **_look(INK, marker, mark == hollow), label=word, linestyle="none")
    ax.set_yticks(range(len(names)), [fill(str(name), _ROW_LETTERS) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    return table


def _look(color: str, marker: str, hollow: bool) -> dict[str, Any]:
    face, size, edge = (BACKGROUND, 6, 2) if hollow else (color, 9, 1)
    return {
        "color": color, "marker": marker, "markerfacecolor": face, "markersize": size,
        "markeredgewidth": edge, "zorder": 3 if hollow else 2,
    }  # fmt: skip
