"""Drawing helpers: rows of panels, curves with a band over seeds, theory and reference lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from memorization.report.theme import COLORS

SEED_BAND = "Band: mean ± 1 standard deviation over seeds"
SEED_BARS = "Error bars: mean ± 1 standard error over seeds"

_PANEL_WIDTH, _PANEL_HEIGHT, _MAX_WIDTH = 3.9, 3.2, 8.0  # inches


def panels(
    n: int = 1,
    *,
    columns: int | None = None,
    titles: Sequence[str] = (),
    share_y: bool = False,
    height: float = _PANEL_HEIGHT,
) -> tuple[Figure, list[Axes]]:
    """Make a figure of ``n`` panels that stays legible: at most 8 inches wide, two panels in a row.

    The figure is not registered with pyplot, so it is shown only by ``show``.

    Args:
        n: Number of panels, 1 or more.
        columns: Panels in a row; default 1 for one panel, 2 for more (3 is the most).
        titles: One short title per panel, or none.
        share_y: One y axis for all panels; labels are then needed on the left ones only.
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
    grid = figure.subplots(rows, columns, sharey=share_y, squeeze=False).ravel().tolist()
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
        One row per value of ``x``, sorted, with columns ``x``, ``mean``, ``sd`` (NaN for one seed) and
        ``seeds``.

    Raises:
        ValueError: A column is missing, nothing is left to draw, or several rows share one ``x`` and seed
            (then the frame holds more than one curve).
    """
    missing = [column for column in (x, y, "seed") if column not in frame]
    if missing:
        raise ValueError(f"the records have no column {missing[0]!r}; they have {', '.join(map(str, frame))}")
    if frame.empty:
        raise ValueError(f"there are no records to draw {y} against {x}; look at the selection before it")
    twice = frame[frame.duplicated([x, "seed"])]
    if not twice.empty:
        first = twice.iloc[0]
        raise ValueError(
            f"more than one row for {x}={first[x]}, seed={first['seed']}: the records hold several curves; "
            "select one first, for example with frame.query(\"activation == 'phi2'\")"
        )
    curve = frame.groupby(x)[y].agg(mean="mean", sd="std", seeds="count").reset_index()
    return curve.sort_values(x, ignore_index=True)


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
    """Draw the mean over seeds with a band of ± 1 standard deviation (``SEED_BAND``); return the curve.

    Args: as ``seed_curve``; the rest is matplotlib's. One seed gives a line without a band.
    """
    curve = seed_curve(frame, x, y)
    ax.plot(curve[x], curve["mean"], label=label, color=color, linestyle=linestyle, marker=marker)
    if curve["sd"].notna().any():
        low, high = curve["mean"] - curve["sd"], curve["mean"] + curve["sd"]
        ax.fill_between(curve[x], low, high, color=color, alpha=0.18, linewidth=0)
    return curve


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
    if (
        values["max"] - values["min"] > 1e-9 * values["max"].abs()
    ).any():  # the last bits may differ by thread count
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


def log_ticks(ax: Axes, values: Iterable[float]) -> None:
    """Make the x axis logarithmic, with ticks at the values that were measured, written out.

    Args:
        ax: The panel.
        values: What was measured; values closer than a tenth of the axis to the one before get no label.
    """
    places = sorted({float(value) for value in values})
    ax.set_xscale("log")
    kept, step = [places[0]], (places[-1] / places[0]) ** 0.1
    for place in places[1:]:
        if place >= kept[-1] * step:
            kept.append(place)
    ax.set_xticks(kept, [f"{place:g}" for place in kept])
    ax.minorticks_off()


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
    kept = [place for place in places if place == 0]
    step = 10 ** ((0.44 + np.log10(positive[-1] / positive[0])) / 6)  # the linear piece is 0.44 decades long
    for place in positive:
        if not kept or kept[-1] == 0 or place >= kept[-1] * step:
            kept.append(place)
    ax.set_xticks(kept, [f"{place:g}" for place in kept])
    ax.minorticks_off()


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
