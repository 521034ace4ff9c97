"""Figures of the feature-contamination page over training: risks, correlations, neurons, firing.

Zhang et al. (ICML 2024), Theorems 1 to 4. Color says which activation, a solid line is in distribution, a
dashed one out of it. All take records of ``contaminate``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memorization.report.benign import draw_arms, name_panel
from memorization.report.contamination_arms import OOD_SHIFT, contamination_names
from memorization.report.panels import curve_with_band, log_ticks_from_zero
from memorization.report.rows import IN_OUT, share_y
from memorization.report.theme import BACKGROUND, COLORS

STEP_LABEL = "training step [steps]"

_MUTED = COLORS["reference"]


def draw_risks(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw risk and accuracy against the step, in distribution (solid) and out of it (dashed, hollow).

    Args:
        axes: two panels.
        records: a few arms of one loss, recorded during training.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``step``, ``mean``, ``sd`` and ``seeds``.
    """
    named = named_at(records)
    drawn = []
    for ax, what in zip(axes, ("risk", "accuracy"), strict=True):
        for column, where, style in zip((f"id_{what}", f"ood_{what}"), IN_OUT, ("-", "--"), strict=True):
            names = {arm: f"{arm}, {where}" for arm in named["arm"]}
            drawn.append(draw_arms(ax, named, "step", column, linestyle=style, names=names))
        name_panel(ax, what)
    axes[0].set(xlabel=STEP_LABEL, ylabel=risk_label(records), ylim=(0, None))
    axes[1].set(xlabel=STEP_LABEL, ylabel="accuracy [fraction]", ylim=(0, 1.04))
    return pd.concat(drawn, ignore_index=True)


def draw_correlations(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw mean correlations with core and background features against the step, one panel per arm.

    Solid: neurons with positive output weight (+), dashed: negative (−). All panels have one scale.

    Args:
        axes: one panel per arm.
        records: as many arms, recorded during training.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``step``, ``mean``, ``sd`` and ``seeds``.
    """
    named = named_at(records)
    drawn, top = [], 0.0
    for ax, (arm, one) in zip(axes, named.groupby("arm", sort=False), strict=True):
        for column, label, color, style in _SIGNED:
            curve = curve_with_band(
                ax, one, "step", column, label=label, color=color, linestyle=style, marker="o"
            )
            if style != "-":
                ax.lines[-1].set_markerfacecolor(BACKGROUND)
            drawn.append(curve.assign(arm=arm, quantity=column))
            top = max(top, curve["mean"].abs().max())
        ax.axhline(0, color=_MUTED, linewidth=1, zorder=0)
        name_panel(ax, str(arm))
    for ax in axes:
        ax.set(xlabel=STEP_LABEL, ylim=(-1.1 * top, 1.1 * top))
    share_y(axes, "mean correlation [projection]")
    return pd.concat(drawn, ignore_index=True)


_SIGNED = (
    ("c_plus", "core, + neurons", COLORS["core feature"], "-"),
    ("c_minus", "core, − neurons", COLORS["core feature"], "--"),
    ("b_plus", "background, + neurons", COLORS["background feature"], "-"),
    ("b_minus", "background, − neurons", COLORS["background feature"], "--"),
)


def draw_neurons(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw each neuron as a dot: its projections on all core and on all background features, C_k and B_k.

    Three panels follow the first arm (before training, at the first recorded step, at the end), each next one
    shows another arm at the end. One seed, the first, is drawn. Panels of one stage share their scale.

    Args:
        axes: four panels for two arms.
        records: made with ``neurons=True``, with one recorded step or more between start and end.

    Returns:
        What is drawn: ``panel``, ``arm``, ``step``, ``neuron``, ``core``, ``background`` and ``sign``.

    Raises:
        ValueError: the records hold no neurons, or no step between start and end.
    """
    stages = _stages(named_at(records))
    tables = []
    for ax, (title, row) in zip(axes, stages.items(), strict=True):
        tables.append(_neurons(row).assign(panel=title, arm=row["arm"], step=row["step"]))
        _dots(ax, tables[-1])
        name_panel(ax, title)
    for group in (slice(0, 2), slice(2, None)):
        shown = pd.concat(tables[group])
        side, low, high = shown["core"].abs().max(), shown["background"].min(), shown["background"].max()
        for ax in axes[group]:
            ax.set(xlim=(-1.12 * side, 1.12 * side))
            ax.set(ylim=(low - 0.12 * (high - low), high + 0.12 * (high - low)))
            ax.set(xlabel="on core, C [projection]", ylabel="on background, B [projection]")
    return pd.concat(tables, ignore_index=True)


def _stages(named: pd.DataFrame) -> dict[str, pd.Series]:
    """The rows to draw, by the title of their panel."""
    if "core_sums" not in named:
        raise ValueError("the records hold no neurons; make them with contaminate(neurons=True)")
    one = named[named["seed"] == named["seed"].iloc[0]].drop_duplicates(["arm", "step"])
    first, *others = (rows.sort_values("step") for _, rows in one.groupby("arm", sort=False))
    if len(first) < 3:
        raise ValueError(
            f"the steps recorded are {first['step'].tolist()}; give record_at a step between start and end"
        )
    name, early = first["arm"].iloc[0], first.iloc[1]
    stages = {f"{name}, before training": first.iloc[0], f"{name}, step {early['step']}": early}
    for rows in (first, *others):
        last = rows.iloc[-1]
        stages[f"{last['arm']}, step {last['step']}"] = last
    return stages


def _neurons(row: pd.Series) -> pd.DataFrame:
    sign = np.where(row["positive"], "+", "−")
    return pd.DataFrame(
        {"core": row["core_sums"], "background": row["background_sums"], "sign": sign}
    ).rename_axis("neuron").reset_index()  # fmt: skip


def _dots(ax: Axes, neurons: pd.DataFrame) -> None:
    kinds = (("+", "positive output weight", "o"), ("−", "negative output weight", "s"))
    for sign, name, marker in kinds:
        one = neurons[neurons["sign"] == sign]
        ax.plot(
            one["core"], one["background"], marker, color=COLORS[name], markersize=5, alpha=0.7,
            markeredgewidth=0, label=name,
        )  # fmt: skip
    for line in (ax.axhline, ax.axvline):
        line(0, color=_MUTED, linewidth=1, zorder=0)


def draw_asymmetry(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw how often neurons fire on the class of their sign (solid) and on the other (dashed).

    Arms with the identity are left out: there every neuron passes every example on.

    Args:
        ax: the panel.
        records: recorded during training.

    Returns:
        As :func:`draw_risks`.
    """
    named = named_at(records[records["slope"] != 1])
    own = {arm: f"{arm}: own class" for arm in named["arm"]}
    other = {arm: f"{arm}: other class" for arm in named["arm"]}
    drawn = [
        draw_arms(ax, named, "step", "own", names=own),
        draw_arms(ax, named, "step", "other", names=other, linestyle="--"),
    ]
    log_ticks_from_zero(ax, named["step"])
    ax.set(xlabel=STEP_LABEL, ylabel="probability of firing [fraction]", ylim=(0, 1.04))
    return pd.concat(drawn, ignore_index=True)


def risk_label(records: pd.DataFrame) -> str:
    """Return the axis label of a risk: the loss is its unit.

    Raises:
        ValueError: the records hold several losses.
    """
    losses = sorted(records["loss"].unique())
    if len(losses) != 1:
        raise ValueError(f"one axis cannot hold several losses, got {', '.join(losses)}; select one")
    return f"risk [{losses[0]} loss]"


def named_at(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records that were tested at the paper's shift, -1, with their arms' names."""
    one = records[records["shift"] == OOD_SHIFT]
    return one if "arm" in one else contamination_names(one)
