"""Figures of the feature-contamination page in which a dial is turned, and rows of activations and remedies.

Zhang et al. (ICML 2024) and our extensions. All take records of ``contaminate`` and show what is there after
training. Filled marks and solid lines are in distribution, hollow marks and dashed lines out of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from memorization.data.structured import MEAN_WEIGHT
from memorization.report.benign import name_panel
from memorization.report.contamination import named_at, risk_label
from memorization.report.contamination_arms import ends, signed_means, slope_color
from memorization.report.panels import curve_with_band, log_ticks, log_ticks_from_zero
from memorization.report.rows import IN_OUT, chance_column, dumbbells, plain_log, share_y
from memorization.report.theme import BACKGROUND, COLORS


@dataclass(frozen=True)
class Dial:
    """A setting that is swept: what stands on the axis, and how."""

    label: str
    place: Callable[[pd.DataFrame], pd.Series]
    scale: str = "linear"  # or "log", or "log from zero"


DIALS = {
    "slope": Dial("slope below zero [ratio]", lambda rows: rows["slope"]),
    "mean": Dial("background mean [weight]", lambda rows: MEAN_WEIGHT - rows["mean"]),
    "flip": Dial("negated [fraction]", lambda rows: rows["flip"]),
    "decay": Dial("weight decay [rate]", lambda rows: rows["decay"], "log from zero"),
    "init_scale": Dial("initial weights times [factor]", lambda rows: rows["init_scale"], "log"),
    "penalty": Dial("weight of the penalty [factor]", lambda rows: rows["penalty"], "log from zero"),
    "width": Dial("neurons m [neurons]", lambda rows: rows["width"], "log"),
    "features": Dial("features d₀ [features]", lambda rows: rows["core"] + rows["background"], "log"),
    "examples": Dial("training examples N [examples]", lambda rows: rows["examples"], "log"),
}

# label, color, line style and marker of what can be drawn against a dial
_QUANTITIES = {
    "id_risk": ("risk, in distribution", COLORS["ReLU"], "-", "o"),
    "ood_risk": ("risk, out of distribution", COLORS["ReLU"], "--", "o"),
    "b/c": ("background over core, b/c", COLORS["background feature"], "-", "D"),
    "c": ("core, c", COLORS["core feature"], "-", "o"),
    "b": ("background, b", COLORS["background feature"], "-", "D"),
    "own": ("fires on own class", COLORS["ReLU"], "-", "o"),
    "other": ("fires on other class", COLORS["ReLU"], "--", "o"),
    "ood_accuracy": ("accuracy, out of distribution", COLORS["ReLU"], "--", "s"),
}


def draw_sweep(
    ax: Axes,
    records: pd.DataFrame,
    dial: str,
    quantities: Sequence[str] = ("id_risk", "ood_risk", "b/c"),
    *,
    ylabel: str = "risk, b/c [ratio]",
) -> pd.DataFrame:
    """Draw risks, and how much background there is beside the core, against one setting.

    Args:
        ax: the panel.
        records: one run per value of the setting and seed.
        dial: a setting of ``DIALS``: ``slope``, ``mean`` (drawn as the mean of the background, 1/2 minus it),
            ``flip``, ``decay``, ``init_scale``, ``penalty``, ``width``, ``features`` or ``examples``.
        quantities: of ``id_risk``, ``ood_risk``, ``ood_accuracy``, ``own``, ``other``, and ``c``, ``b``,
            ``b/c`` of ``signed_means``.
        ylabel: label of the vertical axis, with its unit.

    Returns:
        What is drawn: ``dial``, ``value`` (of the setting), ``quantity``, ``mean``, ``sd`` and ``seeds``.

    Raises:
        ValueError: an unknown setting or quantity, with those there are.
    """
    _check_known("setting", [dial], DIALS)
    _check_known("quantity", quantities, _QUANTITIES)
    axis, last = DIALS[dial], signed_means(ends(records))
    last = last.assign(value=axis.place(last))
    drawn = []
    for quantity in quantities:
        label, color, style, marker = _QUANTITIES[quantity]
        look: dict[str, Any] = {"label": label, "color": color, "linestyle": style, "marker": marker}
        drawn.append(curve_with_band(ax, last, "value", quantity, **look).assign(quantity=quantity))
        if style != "-":
            ax.lines[-1].set_markerfacecolor(BACKGROUND)
    if axis.scale != "linear":
        (log_ticks if axis.scale == "log" else log_ticks_from_zero)(ax, last["value"])
    ax.set(xlabel=axis.label, ylabel=ylabel)
    ax.yaxis.label.set_visible(ax.yaxis.get_tick_params()["labelleft"])  # else its neighbor says it
    return pd.concat(drawn, ignore_index=True).assign(dial=dial)


def _check_known(what: str, given: Sequence[str], known: Mapping[str, Any]) -> None:
    for name in given:
        if name not in known:
            raise ValueError(f"unknown {what} {name!r}; choose from {', '.join(known)}")


def draw_dial(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw risks and correlations against the slope of a leaky ReLU, from ReLU (0) to the identity (1).

    Args:
        axes: two panels.
        records: several slopes.

    Returns:
        As :func:`draw_sweep`.
    """
    left, right = axes
    drawn = [
        draw_sweep(left, records, "slope", ("id_risk", "ood_risk"), ylabel=risk_label(records)),
        draw_sweep(right, records, "slope", ("c", "b"), ylabel="mean correlation [projection]"),
    ]
    for name, column in (("ReLU", 0.0), ("identity", 1.0)):
        end = drawn[0].query("quantity == 'ood_risk' and value == @column")
        left.plot(end["value"], end["mean"], "o", color=slope_color(column), markersize=10, zorder=4)
        beside, side = ((12, 0), "left") if column == 0 else ((-4, 12), "right")  # points
        words: dict[str, Any] = {"ha": side, "va": "center", "color": slope_color(column), "weight": "bold"}
        for height in end["mean"]:
            left.annotate(name, (column, height), beside, textcoords="offset points", **words)
    for ax, title in ((left, "risk"), (right, "what neurons hold")):
        ax.set_ylim(bottom=min(0.0, ax.get_ylim()[0]))
        name_panel(ax, title)
    return pd.concat(drawn, ignore_index=True)


def draw_activations(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw one row per activation: the background before and after training, accuracy in and out.

    Args:
        axes: two panels with about half an inch of height for each activation.
        records: one run per activation and seed, with the rows before the first step.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``mean``, ``sem`` and ``seeds``.
    """
    named = named_at(records)
    last, first = ends(named), named[named["step"] == 0]
    start = first.set_index(["arm", "seed"])["background_norm"].rename("background_norm_start")
    last = last.join(start, on=["arm", "seed"])
    colors = {arm: COLORS.get(arm.rstrip("0123456789. "), COLORS["reference"]) for arm in last["arm"]}
    left, right = axes
    both = ("background_norm_start", "background_norm")
    drawn = [
        dumbbells(
            left, last, both, words=("before training", "after training"), colors=colors, hollow=0, marker="s"
        ),
        dumbbells(right, last, ("id_accuracy", "ood_accuracy"), colors=colors),
    ]
    chance_column(right, 2)
    share_y(axes, "activation [name]")
    name_panel(left, "background")
    name_panel(right, "accuracy")
    left.set(xlabel="projection of neurons [norm]", xlim=(0, None))
    right.set(xlabel="accuracy [fraction]", xlim=(0.4, 1.02))
    return pd.concat(drawn, ignore_index=True)


def draw_remedies(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw one row per remedy: risk in and out of distribution, and how much background is left.

    Args:
        axes: two panels with about half an inch of height for each remedy.
        records: one run per remedy and seed; the plain ReLU is ``none``.

    Returns:
        What is drawn: ``remedy``, ``quantity``, ``mean``, ``sem`` and ``seeds``.
    """
    last = signed_means(ends(named_at(records)))
    last = last.assign(remedy=[_remedy(arm) for arm in last["arm"]])
    colors = {name: COLORS["ReLU"] if name == "none" else COLORS["reference"] for name in last["remedy"]}
    left, right = axes
    drawn = [
        dumbbells(left, last, ("id_risk", "ood_risk"), by="remedy", colors=colors, words=IN_OUT),
        dumbbells(right, last, ("b/c",), by="remedy", colors=colors, words=()),
    ]
    share_y(axes, "remedy [name]")
    name_panel(left, "risk")
    name_panel(right, "background left")
    left.set_xlabel(risk_label(records))
    plain_log(left)
    right.axvline(0, color=COLORS["reference"], linewidth=1, zorder=0)
    right.set(xlabel="background over core, b/c [ratio]")
    return pd.concat(drawn, ignore_index=True)


def _remedy(arm: str) -> str:
    return "none" if arm == "ReLU" else arm.removeprefix("ReLU, ")
