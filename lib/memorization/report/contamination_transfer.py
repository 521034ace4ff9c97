"""Figures of the feature-contamination page beyond the structured model: distillation, framed images.

Zhang et al. (ICML 2024) distil CLIP and pad CIFAR-10; the records are those of our stand-ins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from memorization.report.benign import name_panel
from memorization.report.rows import chance_column, dumbbells, plain_log, share_y
from memorization.report.theme import BACKGROUND, COLORS

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
        What is drawn: ``row``, ``quantity``, ``mean``, ``sem`` and ``seeds``.
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
    chance_column(left, classes)
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
        What is drawn: ``frame``, ``quantity``, ``mean``, ``sem`` and ``seeds``.
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
        table = groups[column].agg(mean="mean", sem="sem", seeds="count").reset_index()
        heights = [names.index(name) + 0.13 * (place - 1.5) for name in table["trained"]]
        bars = None if table["sem"].isna().all() else table["sem"]
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
