"""Figures of the feature-contamination page that hold training against formulas, and what a shift does.

The formulas follow from the mechanism of Zhang et al. (ICML 2024); see
``memorization.measures.contamination``.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from memorization.measures.feature_tables import growth_table, margin_table
from memorization.report.benign import chance_line, draw_arms
from memorization.report.contamination_arms import OOD_SHIFT, contamination_names, slope_color
from memorization.report.panels import seed_curve
from memorization.report.theme import COLORS

SHIFT_LABEL = "background times [factor]"

_MUTED = COLORS["reference"]


def draw_growth(ax: Axes, records: pd.DataFrame, between: tuple[int, int] = (10, 30)) -> pd.DataFrame:
    """Draw how much faster background grew than core, against what the firing probabilities predict.

    Args:
        ax: the panel.
        records: leaky ReLUs of several slopes, recorded at the ends of ``between`` and best also inside.
        between: first and last step; probabilities are averaged over the recorded steps.

    Returns:
        What is drawn: ``slope``, ``predicted``, ``measured``, ``sem`` (of the measured one) and ``seeds``.

    Raises:
        ValueError: one of the two steps was not recorded, or a slope has several runs of one seed.
    """
    runs = growth_table(records, *between)
    if runs.duplicated(["slope", "seed"]).any():
        raise ValueError("more than one run of a slope and seed; select one first")
    pairs = runs.groupby("slope")
    table = pairs[["predicted", "measured"]].mean()
    table = table.assign(sem=pairs["measured"].sem(), seeds=pairs.size()).reset_index()
    ax.plot([0, 1], [0, 1], color=COLORS["theory"], linestyle=":", linewidth=2.2, label="formula")
    for place, row in enumerate(table.to_dict("records")):
        color, spot = slope_color(row["slope"]), (row["predicted"], row["measured"])
        bars = None if pd.isna(row["sem"]) else [row["sem"]]
        ax.errorbar([spot[0]], [spot[1]], yerr=bars, fmt="o", color=color, markersize=8)
        side, offset = ("left", (8, -8)) if place % 2 == 0 else ("right", (-8, 8))  # points
        words: dict[str, Any] = {"ha": side, "va": "center", "color": color, "size": 11}
        ax.annotate(_slope_name(row["slope"]), spot, offset, textcoords="offset points", **words)
    ax.set(xlabel="predicted growth, b/c [ratio]", ylabel="measured growth, b/c [ratio]")
    ax.set(xlim=(-0.42, 1.15), ylim=(-0.1, 1.1), xticks=[0, 0.25, 0.5, 0.75, 1])
    return table


def _slope_name(slope: float) -> str:
    return {0.0: "ReLU", 1.0: "identity"}.get(slope, f"slope {slope:g}")


def draw_margins(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the mean margin after training against the shift, with the formula where it applies (to -1).

    Args:
        ax: the panel; the horizontal axis runs away from training, from large shifts to small ones.
        records: ReLU or leaky arms and the identity, tested at several shifts.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``shift``, ``mean``, ``sd``, ``seeds`` and ``formula``.
    """
    named = margin_table(_tested(records))
    beyond = named["shift"] < OOD_SHIFT  # neurons of the example's class stop firing, and the formula ends
    named = named.assign(formula=named["predicted"].mask(beyond))
    drawn = []
    for arm, one in named.groupby("arm", sort=False):
        curve = draw_arms(ax, one, "shift", "ood_margin")
        ax.lines[-1].set_linestyle("none")
        line = seed_curve(one, "shift", "formula")
        ax.plot(line["shift"], line["mean"], color=COLORS["theory"], linestyle=":", linewidth=2.2, zorder=3)
        drawn.append(curve.assign(arm=arm, formula=line["mean"]))
    ax.plot([], [], color=COLORS["theory"], linestyle=":", linewidth=2.2, label="formula")
    away_from_training(ax, named["shift"])
    ax.set_ylabel("mean margin [score]")
    return pd.concat(drawn, ignore_index=True)


def away_from_training(ax: Axes, shifts: pd.Series) -> None:
    """Let the axis of shifts run away from training, and mark training and the paper's test.

    Args:
        ax: the panel, after everything was drawn.
        shifts: what was tested.
    """
    low, high = shifts.min(), shifts.max()
    ax.set_xlim(high + 0.04 * (high - low), low - 0.04 * (high - low))
    words = {1.0: "\ntraining", OOD_SHIFT: "\nnegated"}
    places = sorted(shifts.unique())
    ax.set_xticks(places, [f"{place:g}".replace("-", "−") + words.get(place, "") for place in places])
    for place in words.keys() & set(places):
        ax.axvline(place, color=_MUTED, linestyle="--", linewidth=1.2, zorder=0)
    ax.set_xlabel(SHIFT_LABEL)


def draw_shift_accuracy(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the accuracy after training against the shift.

    Args:
        ax: the panel; the horizontal axis runs away from training, from large shifts to small ones.
        records: a few arms, tested at several shifts.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``shift``, ``mean``, ``sd`` and ``seeds``.
    """
    last = _tested(records)
    drawn = draw_arms(ax, last, "shift", "ood_accuracy")
    chance_line(ax, 2)
    away_from_training(ax, last["shift"])
    ax.set(ylabel="accuracy [fraction]", ylim=(0.4, 1.04))
    return drawn


def _tested(records: pd.DataFrame) -> pd.DataFrame:
    last = records[records["step"] == records["steps"]]
    return last if "arm" in last else contamination_names(last)
