"""Figures of the page on random-label heads: what any features allow, and complexities of linear heads."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memorization.measures.random_labels import null_accuracy
from memorization.report.figures import log_ticks, seed_curve, theory_curve
from memorization.report.styles import COLORS, INK, PALETTE
from memorization.studies.random_label_heads.complexity import HEADS

_MARKERS = ("o", "s", "^", "D", "P")


def named_heads(records: pd.DataFrame) -> pd.DataFrame:
    """Return rows of ``random_label_null`` with ``heads`` in words and ``score``, corrected for chance.

    The columns are those of ``null_grid``, so that drawn labels can be marks beside the law.
    """
    score = (records["n"] * records["accuracy"] - 1) / (records["n"] - 1)
    return records.assign(heads=[HEADS[bool(one)] for one in records["class_wise"]], score=score)


def draw_null(ax: Axes, records: pd.DataFrame, column: str = "accuracy") -> pd.DataFrame:
    """Draw which accuracy any features allow against the number of labels, and the law, for each dimension.

    Args:
        ax: the panel.
        records: rows of ``random_label_null`` of one m and one kind of heads; at most five dimensions d.
        column: ``accuracy``, of least-squares heads, or ``trained``.

    Returns:
        The means over seeds that are drawn, with ``half``, half of their 95 % interval, and ``d``.

    Raises:
        ValueError: for more than five dimensions.
    """
    dims = sorted(records["d"].unique())
    if len(dims) > len(_MARKERS):
        raise ValueError(f"{len(dims)} dimensions d in one panel; draw {len(_MARKERS)} or fewer")
    between = np.geomspace(records["n"].min(), records["n"].max(), 40).round().astype(int)
    dense = np.union1d(between, records["n"].to_numpy(dtype=int))
    drawn = []
    for d, color, marker in zip(dims, PALETTE, _MARKERS, strict=False):
        one = records[records["d"] == d]
        h = float(one["leverage"].mean())
        ax.plot(dense, [null_accuracy(int(n), h) for n in dense], color=color, linewidth=1.8)
        curve = seed_curve(one, "n", column)
        draw_points(ax, curve, "n", color, marker, f"{d} features")
        drawn.append(curve.assign(d=d))
    ax.plot(dense, 1 / dense, color=COLORS["reference"], linestyle=":", linewidth=1.4, label="guessing")
    ax.set(xlabel="random labels n [labels]", ylabel="random-label accuracy [fraction]", ylim=(-0.03, 1.03))
    log_ticks(ax, records["n"])
    ax.add_line(Line2D([], [], color=INK, linewidth=1.8, label="law"))
    return pd.concat(drawn, ignore_index=True)


def draw_points(ax: Axes, curve: pd.DataFrame, x: str, color: str, marker: str, label: str) -> None:
    """Draw means over seeds as marks, with bars where there are intervals; the legend shows the mark."""
    bars = curve["half"] if curve["half"].notna().any() else None
    ax.errorbar(curve[x], curve["mean"], yerr=bars, color=color, marker=marker, linestyle="none", capsize=3)
    ax.plot([], [], color=color, marker=marker, linestyle="none", label=label)


def draw_fitted_share(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the Rademacher complexity of least-squares heads against the number of features, and its law.

    Args:
        ax: the panel.
        records: rows of ``random_label_rademacher`` of one m and one kind of features.

    Returns:
        The means over seeds that are drawn, with ``half``, half of their 95 % interval.
    """
    curve = seed_curve(records, "d", "complexity")
    draw_points(ax, curve, "d", COLORS["test accuracy"], "o", "drawn labels")
    theory_curve(ax, _mean_of(records, "law"), "d", "law", label="law, or bound")
    ax.set(xlabel="features d [features]", ylabel="complexity [fraction]", ylim=(0, None))
    return curve


def draw_norm_bounded(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the Rademacher complexity of heads of norm 1 against the number of features, and its bound.

    Args and returns: as :func:`draw_fitted_share`.
    """
    curve = seed_curve(records, "d", "norm_bounded")
    draw_points(ax, curve, "d", COLORS["test accuracy"], "o", "drawn labels")
    theory_curve(ax, _mean_of(records, "norm_bound"), "d", "norm_bound", label="law, or bound")
    ax.set(xlabel="features d [features]", ylabel="complexity [value]", ylim=(0, None))
    return curve


def _mean_of(records: pd.DataFrame, column: str) -> pd.DataFrame:
    """A prediction that depends on the drawn features a little, as its mean over seeds."""
    return records.groupby("d")[[column]].mean().reset_index()
