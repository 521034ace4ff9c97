"""Showing measured speed: our way against the plain way of doing the same work, in one run."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import fill

import pandas as pd
from IPython.display import HTML

from memorization.report.contract import RunLike
from memorization.report.figures import show
from memorization.report.files import read_rows
from memorization.report.markup import number, table_html
from memorization.report.panels import panels, reference_line
from memorization.report.prices import duration
from memorization.report.theme import COLORS

_NUMBERS = ("plain_seconds", "our_seconds", "ratio", "plain_peak_mib", "our_peak_mib")
_NEEDED = ("work", *_NUMBERS, "device", "cores", "date")
_NOTHING = HTML("<p>No measurements are published yet: run <code>make benchmarks</code>.</p>")


def read_benchmarks(folder: Path) -> pd.DataFrame:
    """Read every published measurement.

    Args:
        folder: Holds one JSON file per paper, a list of rows each; it need not exist.

    Returns:
        One row per piece of work: ``work``, ``plain_seconds``, ``our_seconds``, ``ratio`` (plain over ours),
        ``plain_peak_mib``, ``our_peak_mib``, ``device``, ``cores``, ``date``, and ``file``.

    Raises:
        ValueError: A file is damaged or a row lacks a number; the message names it.
    """
    rows = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        for row in read_rows(path):
            missing = [key for key in _NEEDED if key not in row]
            if missing:
                raise ValueError(
                    f"{path}: the row {row.get('work', '?')!r} has no {missing[0]!r}; measure it again"
                )
            rows.append({**row, "file": path.stem})
    return pd.DataFrame(rows, columns=[*_NEEDED, "file"])


def benchmark_table(rows: pd.DataFrame) -> HTML:
    """Show the measurements; says how to make some where there are none."""
    if rows.empty:
        return _NOTHING
    frame = pd.DataFrame(
        {
            "work": rows["work"],
            "plain way": rows["plain_seconds"].map(duration),
            "our way": rows["our_seconds"].map(duration),
            "plain over ours": rows["ratio"].map(lambda ratio: f"{number(ratio)} ×"),
            "plain memory": rows["plain_peak_mib"].map(_memory),
            "our memory": rows["our_peak_mib"].map(_memory),
            "device": rows["device"] + ", " + rows["cores"].astype(str) + " cores",
            "measured": rows["date"].str[:10],
        }
    )
    return HTML(table_html(frame, "Time and peak memory of both ways, measured in one run", stacked=True))


def benchmark_figure(run: RunLike, rows: pd.DataFrame) -> HTML:
    """Show how many times faster our way is, as one bar per piece of work."""
    if rows.empty:
        return _NOTHING
    figure, (ax,) = panels(1, height=1.2 + 0.85 * len(rows))
    places = range(len(rows))
    ax.barh(list(places), rows["ratio"], height=0.34, color=COLORS["test accuracy"])
    reference_line(ax, 1.0, "equal", axis="x")
    for place, (work, ratio) in enumerate(zip(rows["work"], rows["ratio"], strict=True)):
        ax.text(0.0, place - 0.24, f"{fill(work, 52)}: {number(ratio)} ×", transform=ax.get_yaxis_transform())
    ax.set(xscale="log", xlabel="time of the plain way over time of our way [times]")
    ax.set_xlim(min(0.5, rows["ratio"].min() / 1.5), max(2.0, rows["ratio"].max() * 1.5))
    ax.set_ylim(len(rows) - 0.5, -0.8)
    ax.yaxis.set_visible(False)
    ax.grid(axis="y", visible=False)
    best = rows.sort_values("ratio").iloc[-1]
    alt = "; ".join(f"{row.work}: {number(row.ratio)} times" for row in rows.itertuples())
    return show(
        run,
        figure,
        rows[["work", *_NUMBERS, "file"]],
        name="speed",
        title=f"The largest gain is {number(best['ratio'])} times, for {best['work']}",
        alt=f"Bars, the time of the plain way divided by ours. {alt}.",
    )


def _memory(mib: float | None) -> str:
    return "–" if mib is None or math.isnan(mib) else f"{mib:.0f} MiB"
