"""A panel with one row per arm: two marks joined by a line, such as in and out of distribution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from memorization.report.theme import BACKGROUND, COLORS, INK

_ROW_LETTERS = 20  # of a row's name, before it goes on in a second line

IN_OUT = ("in distribution", "out of distribution")


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
    """Draw one row per arm: two marks, one of them hollow, with error bars (``SEED_BARS``).

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
        What is drawn: ``by``, ``quantity``, ``mean``, ``sem`` (NaN for one seed) and ``seeds``.

    Raises:
        ValueError: there are no records, or several of one arm and seed.
    """
    if records.empty:
        raise ValueError(
            f"there are no records to draw {' and '.join(columns)}; look at the selection before it"
        )
    twice = records[records.duplicated([by, "seed"])]
    if not twice.empty:
        first = twice.iloc[0]
        raise ValueError(
            f"more than one row for {by}={first[by]!r}, seed={first['seed']}; select one run of each "
            "arm and seed"
        )
    groups = records.groupby(by, sort=False)
    parts = [groups[c].agg(mean="mean", sem="sem", seeds="count").assign(quantity=c) for c in columns]
    table = pd.concat(parts).reset_index()[[by, "quantity", "mean", "sem", "seeds"]]
    names = list(dict.fromkeys(records[by]))
    for place, name in enumerate(names):
        color = (colors or {}).get(name, INK)
        marks = table[table[by] == name]
        ax.plot(marks["mean"], [place] * len(marks), color=color, linewidth=2.5, alpha=0.45, zorder=1)
        for mark, (mean, sem) in enumerate(zip(marks["mean"], marks["sem"], strict=True)):
            bars = None if pd.isna(sem) else [sem]
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


def chance_column(ax: Axes, classes: int) -> None:
    """Draw the accuracy of guessing, 1/C, as a thin dotted line across the rows."""
    ax.axvline(1 / classes, color=COLORS["reference"], linestyle=":", linewidth=1.4, label="chance", zorder=0)


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


def plain_log(ax: Axes) -> None:
    """Make the x axis logarithmic, with its ticks written out."""
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.minorticks_off()
