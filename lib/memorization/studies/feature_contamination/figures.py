"""Figures of the feature-contamination page.

Zhang et al. (ICML 2024), Theorems 1 to 4, the distilled CLIP and the padded CIFAR-10 (by our stand-ins), and
our extensions: risks, correlations, neurons and firing over training; training held against the formulas of
``memorization.studies.feature_contamination.theory``; dials turned and rows of activations and remedies;
distillation and framed images; and a figure to explore without a kernel. Color says which activation. Filled
marks and solid lines are in distribution, hollow marks and dashed lines out of it.
"""

# Long: one page's pictures, read in the page's order; what they share (arms, dots, dials) is used by most.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from memorization.checks import check_choice
from memorization.report.explorations import seed_intervals
from memorization.report.figures import (
    IN_OUT,
    chance_line,
    curve_with_band,
    draw_arms,
    dumbbells,
    log_ticks,
    log_ticks_from_zero,
    name_panel,
    plain_log,
    seed_curve,
    share_y,
)
from memorization.report.intervals import half_width
from memorization.report.styles import BACKGROUND, COLORS, between
from memorization.report.tables import seed_means
from memorization.studies.feature_contamination.data import MEAN_WEIGHT
from memorization.studies.feature_contamination.tables import growth_table, margin_table

OOD_SHIFT = -1.0  # the out-of-distribution background of Zhang et al. is the negated one

_ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU"}
# Named only where arms cannot be told apart without them.
_RARELY_NAMED = {
    "environment": "environment {:g}",
    "decay": "weight decay {:g}",
    "init_scale": "initial weights × {:g}",
    "rate": "rate {:g}",
}


def contamination_names(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``arm``: activation and remedies of the run in words.

    A leaky ReLU of slope 0 is ``ReLU``, one of slope 1 is ``identity``. Rate, weight decay, scale of the
    initial weights and the factor of the second environment are part of the name only where the records hold
    several arms that differ in nothing else.

    Args:
        records: of ``contaminate``.
    """
    names = pd.Series([_arm(row) for row in records.to_dict("records")], index=records.index, dtype=object)
    for column, words in _RARELY_NAMED.items():
        several = records[column].groupby(names).transform("nunique") > 1
        said = records[column].map(lambda value, words=words: ", " + words.format(value).replace("-", "−"))
        names = names.where(~several, names + said)
    return records.assign(arm=names)


def _arm(row: Mapping[Any, Any]) -> str:
    words = [_activation(row["activation"], row["slope"])]
    if row["center"]:
        words.append("centered inputs")
    if row["symmetric"]:
        words.append("sign-symmetric")
    if row["penalty"] > 0:
        words.append(f"V-REx {row['penalty']:g}")
    elif row["environment"] != 1:
        words.append("two environments")
    if row["flip"] > 0:
        words.append(f"backgrounds {100 * row['flip']:g} % negated")
    if row["mean"] != 0:
        words.append(f"background mean {MEAN_WEIGHT - row['mean']:g}".replace("-", "−"))
    return ", ".join(words)


def _activation(name: str, slope: float) -> str:
    if name == "leaky":
        return {0.0: "ReLU", 1.0: "identity"}.get(slope, f"leaky ReLU {slope:g}")
    return _ACTIVATIONS.get(name, name)


def ends(records: pd.DataFrame, shift: float = OOD_SHIFT) -> pd.DataFrame:
    """Return the rows after the last step, tested out of distribution: one an arm and seed.

    Args:
        records: of ``contaminate``.
        shift: factor of the background out of distribution.

    Raises:
        ValueError: there is no row at this shift, with the shifts there are.
    """
    last = records[(records["step"] == records["steps"]) & (records["shift"] == shift)]
    if last.empty:
        known = ", ".join(f"{value:g}" for value in sorted(records["shift"].unique(), reverse=True))
        raise ValueError(
            f"no records after the last step at shift {shift:g}; the shifts are {known or 'none'}"
        )
    return last


def signed_means(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with ``c``, ``b`` and ``b/c``: mean correlations of all neurons with the features.

    ``c`` counts core features with the sign of the output weight, ``b`` background features as they are, so
    that a background which grows in both kinds of neurons does not cancel.

    Args:
        records: of ``contaminate``.
    """
    c = (records["c_plus"] - records["c_minus"]) / 2
    b = (records["b_plus"] + records["b_minus"]) / 2
    return records.assign(**{"c": c, "b": b, "b/c": b / c})


def slope_color(slope: float) -> str:
    """Return the color of a leaky ReLU, between those of ReLU (slope 0) and identity (1).

    Raises:
        ValueError: the slope is outside [0, 1].
    """
    if not 0 <= slope <= 1:
        raise ValueError(f"slope={slope}; a leaky ReLU has one from 0 (ReLU) to 1 (identity)")
    return between(COLORS["ReLU"], COLORS["identity"], slope)


def contamination_table(records: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per arm: risks, accuracy and mean correlations after training, as text.

    Args:
        records: of ``contaminate``, several seeds an arm.
        by: further columns that tell runs apart, such as ``loss`` or ``core``.

    Returns:
        Columns ``arm``, those of ``by``, ``ID risk``, ``OOD risk``, ``OOD accuracy``, ``core, c``
        and ``background, b`` (those of :func:`signed_means`): mean ± half of the 95 % interval, without
        one that is below 0.00005.

    Raises:
        ValueError: an arm has several runs of one seed.
    """
    last = signed_means(ends(records if "arm" in records else contamination_names(records)))
    twice = last[last.duplicated(["arm", *by, "seed"])]
    if not twice.empty:
        first = twice.iloc[0]
        raise ValueError(
            f"more than one run of arm {first['arm']!r} with seed {first['seed']}; select one first, or "
            "name in `by` what tells them apart"
        )
    return seed_means(last, ["arm", *by], _COLUMNS)


_COLUMNS = {
    "ID risk": "id_risk",
    "OOD risk": "ood_risk",
    "OOD accuracy": "ood_accuracy",
    "core, c": "c",
    "background, b": "b",
}


STEP_LABEL = "training step [steps]"

_MUTED = COLORS["reference"]


def draw_risks(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw risk and accuracy against the step, in distribution (solid) and out of it (dashed, hollow).

    Args:
        axes: two panels.
        records: a few arms of one loss, recorded during training.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``step``, ``mean``, ``half`` and ``seeds``.
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
        What is drawn: ``arm``, ``quantity``, ``step``, ``mean``, ``half`` and ``seeds``.
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


SHIFT_LABEL = "background times [factor]"


def draw_growth(ax: Axes, records: pd.DataFrame, between: tuple[int, int] = (10, 30)) -> pd.DataFrame:
    """Draw how much faster background grew than core, against what the firing probabilities predict.

    Args:
        ax: the panel.
        records: leaky ReLUs of several slopes, recorded at the ends of ``between`` and best also inside.
        between: first and last step; probabilities are averaged over the recorded steps.

    Returns:
        What is drawn: ``slope``, ``predicted``, ``measured``, ``half`` (of the measured one) and ``seeds``.

    Raises:
        ValueError: one of the two steps was not recorded, or a slope has several runs of one seed.
    """
    runs = growth_table(records, *between)
    if runs.duplicated(["slope", "seed"]).any():
        raise ValueError("more than one run of a slope and seed; select one first")
    pairs = runs.groupby("slope")
    table = pairs[["predicted", "measured"]].mean()
    table = table.assign(half=pairs["measured"].agg(half_width), seeds=pairs.size()).reset_index()
    ax.plot([0, 1], [0, 1], color=COLORS["theory"], linestyle=":", linewidth=2.2, label="formula")
    for place, row in enumerate(table.to_dict("records")):
        color, spot = slope_color(row["slope"]), (row["predicted"], row["measured"])
        bars = None if pd.isna(row["half"]) else [row["half"]]
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
        What is drawn: ``arm``, ``quantity``, ``shift``, ``mean``, ``half``, ``seeds`` and ``formula``.
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
        What is drawn: ``arm``, ``quantity``, ``shift``, ``mean``, ``half`` and ``seeds``.
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
        What is drawn: ``dial``, ``value`` (of the setting), ``quantity``, ``mean``, ``half`` and ``seeds``.

    Raises:
        ValueError: an unknown setting or quantity, with those there are.
    """
    check_choice("setting", dial, DIALS)
    for name in quantities:
        check_choice("quantity", name, _QUANTITIES)
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
    return pd.concat(drawn, ignore_index=True).assign(dial=dial)


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
        What is drawn: ``arm``, ``quantity``, ``mean``, ``half`` and ``seeds``.
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
    chance_line(right, 2, axis="x")
    share_y(axes, "activation [name]")
    name_panel(left, "background")
    name_panel(right, "accuracy")
    left.set(xlabel="projection of neurons [norm]", xlim=(0, None))
    right.set(xlabel="accuracy [fraction]", xlim=(0.4, 1.02))
    return pd.concat(drawn, ignore_index=True)


def draw_remedies(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw one row per remedy, the largest risk outside first: both risks, and how much background is left.

    Args:
        axes: two panels with about half an inch of height for each remedy.
        records: one run per remedy and seed; the plain ReLU is ``none``.

    Returns:
        What is drawn: ``remedy``, ``quantity``, ``mean``, ``half`` and ``seeds``.
    """
    last = signed_means(ends(named_at(records)))
    last = last.assign(remedy=[_remedy(arm) for arm in last["arm"]])
    worst = last.groupby("remedy")["ood_risk"].transform("mean")
    last = last.assign(worst=-worst).sort_values(["worst", "remedy"], kind="stable")
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


# The frames' own colors (data.colored_frames); the marker tells them apart where colors do not.
_FRAMES = {
    "red": ("red frame", "#963232", "s"),
    "blue": ("blue frame", "#323296", "o"),
    "green": ("green frame", "#329632", "^"),
    "unframed": ("no frame", COLORS["reference"], "D"),
}
_TRAINED = {"padded": "red frames", "raw": "no frames", "random": "frames of\nany color"}


def draw_distillation(
    axes: Sequence[Axes], records: pd.DataFrame, *, by: str | None = None, classes: int = 2
) -> pd.DataFrame:
    """Draw teacher, student and standard network: probe accuracy and distance to the teacher, in and out.

    Args:
        axes: two panels with about half an inch of height for each row.
        records: rows with ``model``, ``id_accuracy``, ``ood_accuracy``, ``id_error``, ``ood_error`` and
            ``seed``, of ``distil`` or of its versions on pictures.
        by: column that tells experiments apart, such as ``digits`` or ``student``; its value begins the row.
        classes: number C of classes; chance is 1/C.

    Returns:
        What is drawn: ``row``, ``quantity``, ``mean``, ``half`` and ``seeds``.
    """
    names = [f"{value}, " for value in records[by]] if by else [""] * len(records)
    rows = [name + model for name, model in zip(names, records["model"], strict=True)]
    named = records.assign(row=rows)
    named[["id_error", "ood_error"]] = named[["id_error", "ood_error"]].where(lambda error: error > 0)
    colors = dict(zip(rows, (COLORS[model] for model in records["model"]), strict=True))
    left, right = axes
    drawn = [
        dumbbells(left, named, ("id_accuracy", "ood_accuracy"), by="row", colors=colors),
        dumbbells(right, named, ("id_error", "ood_error"), by="row", colors=colors),
    ]
    chance_line(left, classes, axis="x")
    share_y(axes, "network [name]")
    name_panel(left, "what a probe reads")
    name_panel(right, "distance to the teacher")
    left.set(xlabel="accuracy [fraction]", xlim=(left.get_xlim()[0], 1.02))
    right.set_xlabel("squared error [variance]")
    plain_log(right)
    _say_why_empty(right, named)
    return pd.concat(drawn, ignore_index=True)


def _say_why_empty(ax: Axes, named: pd.DataFrame) -> None:
    """Write into rows without a distance why there is none."""
    for place, (_, one) in enumerate(named.groupby("row", sort=False)):
        if one["ood_error"].isna().all():
            word = "0, it is the teacher" if one["model"].iloc[0] == "teacher" else "not asked to fit it"
            spot: dict[str, Any] = {"transform": ax.get_yaxis_transform(), "ha": "center", "va": "center"}
            ax.text(0.5, place, word, color=COLORS["reference"], style="italic", size=11, **spot)


def draw_frames(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw the accuracy under frames of several colors, one row per way of training, and what red gains.

    Args:
        axes: two panels, 2.5 inches high or more.
        records: rows with ``frame`` (in training: ``padded``, ``raw`` or ``random``), ``seed`` and the
            accuracies ``red``, ``blue``, ``green`` and ``unframed``.

    Returns:
        What is drawn: ``frame``, ``quantity``, ``mean``, ``half`` and ``seeds``.
    """
    gain = records["red"] - (records["blue"] + records["green"]) / 2
    named = records.assign(trained=records["frame"].map(lambda name: _TRAINED.get(name, name)), gain=gain)
    left, right = axes
    table = [_frame_dots(left, named)]
    colors = {name: _FRAMES["red"][1] for name in named["trained"]}
    table.append(dumbbells(right, named, ("gain",), by="trained", colors=colors, words=()))
    share_y(axes, "trained with [frames]")
    name_panel(left, "tested with frames")
    name_panel(right, "what the red frame adds")
    left.set_xlabel("accuracy [fraction]")
    right.axvline(0, color=COLORS["reference"], linewidth=1, zorder=0)
    right.set_xlabel("red minus blue, green [accuracy]")
    return pd.concat(table, ignore_index=True).rename(columns={"trained": "frame"})


def _frame_dots(ax: Axes, named: pd.DataFrame) -> pd.DataFrame:
    """Dots of one color per frame of the test images, on rows by frame in training."""
    groups = named.groupby("trained", sort=False)
    names = list(dict.fromkeys(named["trained"]))
    parts = []
    for place, (column, (label, color, marker)) in enumerate(_FRAMES.items()):
        table = groups[column].agg(mean="mean", half=half_width, seeds="count").reset_index()
        heights = [names.index(name) + 0.13 * (place - 1.5) for name in table["trained"]]
        bars = None if table["half"].isna().all() else table["half"]
        face = BACKGROUND if column == "unframed" else color
        look: dict[str, Any] = {"color": color, "markerfacecolor": face, "markersize": 8}
        ax.errorbar(table["mean"], heights, xerr=bars, fmt=marker, **look)
        ax.plot([], [], marker, label=label, **look)
        parts.append(table.assign(quantity=column))
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")
    return pd.concat(parts, ignore_index=True)


def draw_robustness(axes: Sequence[Axes], models: pd.DataFrame) -> pd.DataFrame:
    """Draw accuracy under each shift against accuracy without: teachers, students, standard models.

    Zhang et al. (ICML 2024), motivating scatter. A model above the line of the standard ones is more robust
    than its accuracy lets one expect.

    Args:
        axes: one panel for each shifted set.
        models: of ``clip_table``.

    Returns:
        What is drawn: ``set``, ``architecture``, ``model``, ``id_accuracy``, ``ood_accuracy`` and ``line``,
        the accuracy under shift of a standard model of this accuracy (NaN without such a line).

    Raises:
        ValueError: there are more sets than panels, or fewer.
    """
    sets = list(dict.fromkeys(models["set"]))
    if len(sets) != len(axes):
        raise ValueError(f"{len(axes)} panels for {len(sets)} shifted sets: {', '.join(sets)}; give one each")
    drawn = models.assign(line=models["ood_accuracy"] - models["effective_robustness"])
    for ax, name in zip(axes, sets, strict=True):
        here = drawn[drawn["set"] == name]
        line = here.dropna(subset="line").sort_values("id_accuracy")
        ax.plot(line["id_accuracy"], line["line"], color=COLORS["reference"], linestyle=":", label="line")
        for model, marker in (("standard", "D"), ("student", "o"), ("teacher", "s")):
            one = here[here["model"] == model]
            ax.plot(
                one["id_accuracy"],
                one["ood_accuracy"],
                marker,
                color=COLORS[model],
                markersize=8,
                label=model,
            )
        name_panel(ax, name)
        ax.set(xlabel="accuracy without shift [fraction]", ylabel="accuracy under shift [fraction]")
    return drawn[["set", "architecture", "model", "id_accuracy", "ood_accuracy", "line"]]


def slope_name(slope: float) -> str:
    """Return what a leaky ReLU of this slope is called: slope 0 is ReLU, slope 1 the identity."""
    return {0.0: "ReLU (slope 0)", 1.0: "identity (slope 1)"}.get(slope, f"slope {slope:g}")


def explorer_data(records: pd.DataFrame) -> pd.DataFrame:
    """Return what a reader can explore: risk, accuracy and margin outside by background, slope and shift.

    Args:
        records: of ``contaminate``, tested at several shifts after training; several ``slope`` and ``mean``.

    Returns:
        ``background_mean``, ``line`` (the slope in words), ``slope``, ``shift``, the means over seeds of
        ``ood_risk``, ``ood_accuracy`` and ``ood_margin`` with their intervals, and ``seeds``.

    Raises:
        ValueError: there are no records after the last step.
    """
    last = records[records["step"] == records["steps"]]
    if last.empty:
        raise ValueError("there are no records after the last step; look at the selection before it")
    last = last.assign(background_mean=MEAN_WEIGHT - last["mean"], line=last["slope"].map(slope_name))
    by = ["background_mean", "line", "slope", "shift"]
    return seed_intervals(last, by, ["ood_risk", "ood_accuracy", "ood_margin"])
