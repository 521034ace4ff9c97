"""Figures of the benign-memorization page in which one dial is turned, and the comparison of data sets.

Anagnostidis et al. (ICLR 2023). All take the records of ``memorize`` and compare the embedding after training
with that before it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes

from memorization.report.arms import arm_styles, at_end, at_start, plain_arms
from memorization.report.benign import (
    MEMORIZED_LABEL,
    NOISE_LABEL,
    PROBE_LABEL,
    chance_line,
    draw_arms,
    draw_initialization,
    name_panel,
)
from memorization.report.panels import log_ticks, log_ticks_from_zero

_FRESH = "∞ (fresh)"


def draw_views(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw the probe, and the accuracy on the views of training, against the number of fixed views per image.

    Fresh views at each visit stand at the right end: there every view is one of training.

    Args:
        axes: two panels.
        records: of ``memorize``, shared labels, several ``views`` (0 for fresh ones) at one strength above 0.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``views``, ``mean``, ``sd`` and ``seeds``.
    """
    placed = _place_views(plain_arms(records))
    end = at_end(placed)
    drawn = [
        draw_initialization(axes[0], at_start(placed), "place"),
        draw_arms(axes[0], end, "place", "clean_probe", names={"augmentation": "_"}),  # the panel says it
        draw_arms(axes[1], end, "place", "seen_view", names={"augmentation": "views of training"}),
        draw_arms(
            axes[1], end, "place", "fresh_view", names={"augmentation": "unseen views"}, linestyle="--"
        ),
    ]
    return _finish_views(axes, placed, drawn)


def draw_shared_independent(
    axes: Sequence[Axes], records: pd.DataFrame, *, classes: int = 10
) -> pd.DataFrame:
    """Draw the probe, and the accuracy on the views of training, where all views of an image share one random
    label, and where each has its own.

    Args:
        axes: two panels.
        records: of ``memorize``: several ``views`` with both ``view_labels``; fresh views (0) are left out,
            as they cannot have labels of their own.
        classes: number C of classes; chance is 1/C.

    Returns:
        As :func:`draw_views`.
    """  # fmt: skip
    arms = {"shared": "augmentation", "independent": "independent labels"}
    names = {"augmentation": "one label per image", "independent labels": "a label per view"}
    fixed = records[records["views"] > 0]
    placed = _place_views(fixed.assign(arm=fixed["view_labels"].map(arms)))
    end = at_end(placed)
    drawn = [
        draw_initialization(axes[0], at_start(placed), "place"),
        draw_arms(axes[0], end, "place", "clean_probe", names=names),
        draw_arms(axes[1], end, "place", "seen_view", names=names),
    ]
    chance_line(axes[1], classes)
    return _finish_views(axes, placed, drawn)


def _place_views(records: pd.DataFrame) -> pd.DataFrame:
    """Place each number of views on the axis, fresh ones beyond the largest; name the views of training."""
    last = 4 * max(1, records["views"].max())
    seen = records["bank_view"].where(records["views"] > 0, records["fresh_view"])
    return records.assign(place=records["views"].where(records["views"] > 0, last), seen_view=seen)


def _finish_views(axes: Sequence[Axes], placed: pd.DataFrame, drawn: list[pd.DataFrame]) -> pd.DataFrame:
    titles = ("what the embedding knows", "what is memorized")
    fresh = set(placed.loc[placed["views"] == 0, "place"])
    for ax, title, label in zip(axes, titles, (PROBE_LABEL, MEMORIZED_LABEL), strict=True):
        log_ticks(ax, placed["place"])
        places = ax.get_xticks()
        ax.set_xticks(places, [_FRESH if place in fresh else f"{place:g}" for place in places])
        ax.set(xlabel="views per image [views]", ylabel=label)
        name_panel(ax, title)
    axes[1].set_ylim(0, 1.04)
    table = pd.concat(drawn, ignore_index=True)
    names = [_FRESH if place in fresh else f"{place:g}" for place in table.pop("place")]
    return table.assign(views=names)


def draw_strength(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw the probe, and the accuracy on the labels, against the strength of the augmentation.

    Args:
        axes: two panels.
        records: of ``memorize``, several ``strength`` with fresh views, 0 among them.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``strength``, ``mean``, ``sd`` and ``seeds``.
    """
    one = records.assign(arm="augmentation")
    end = at_end(one)
    drawn = [
        draw_initialization(axes[0], at_start(one), "strength"),
        draw_arms(axes[0], end, "strength", "clean_probe", names={"augmentation": "_"}),  # the panel says it
        draw_arms(axes[1], end, "strength", "fresh_view", names={"augmentation": "fresh views"}),
        draw_arms(
            axes[1], end, "strength", "clean_view", names={"augmentation": "clean views"}, linestyle="--"
        ),
    ]
    titles = ("what the embedding knows", "what is memorized")
    for ax, title, label in zip(axes, titles, (PROBE_LABEL, MEMORIZED_LABEL), strict=True):
        log_ticks_from_zero(ax, end["strength"])
        ax.set(xlabel="strength of augmentation [ratio]", ylabel=label)
        name_panel(ax, title)
    axes[1].set_ylim(0, 1.04)
    return pd.concat(drawn, ignore_index=True)


def draw_projector(axes: Sequence[Axes], records: pd.DataFrame, *, classes: int = 10) -> pd.DataFrame:
    """Draw clean and noise probe of the embedding against the projector's hidden layers.

    Args:
        axes: two panels.
        records: of ``memorize``, several ``hidden``; an empty list is a network without hidden layer.
        classes: number C of classes; chance is 1/C.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``hidden``, ``mean``, ``sd`` and ``seeds``.
    """
    layers = sorted({tuple(widths) for widths in records["hidden"]}, key=lambda widths: (len(widths), widths))
    names = [_layers(widths) for widths in layers]
    placed = plain_arms(records).assign(place=[layers.index(tuple(widths)) for widths in records["hidden"]])
    end = at_end(placed)
    drawn = []
    for ax, column, label in zip(
        axes, ("clean_probe", "noise_probe"), (PROBE_LABEL, NOISE_LABEL), strict=True
    ):
        drawn.append(draw_initialization(ax, at_start(placed), "place", column))
        drawn.append(draw_arms(ax, end, "place", column))
        ax.set_xticks(range(len(names)), names)
        ax.set(xlabel="hidden layers of the projector [units]", ylabel=label)
    name_panel(axes[0], "embedding: true labels")
    name_panel(axes[1], "embedding: random labels")
    chance_line(axes[1], classes)
    axes[1].set_ylim(bottom=0)
    table = pd.concat(drawn, ignore_index=True)
    return table.assign(hidden=[names[place] for place in table.pop("place")])


def _layers(widths: Sequence[int]) -> str:
    """Write hidden layers shortly: ``none``, ``64``, ``2×512``, ``64+32``."""
    if len(widths) > 1 and len(set(widths)) == 1:
        return f"{len(widths)}×{widths[0]}"
    return "+".join(map(str, widths)) or "none"


def draw_label_noise(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the probe against the fraction of random labels, with and without augmentation.

    Args:
        ax: the panel.
        records: of ``memorize``, several ``noise``, each with strength 0 and one other.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``noise``, ``mean``, ``sd`` and ``seeds``.
    """
    arms = plain_arms(records.assign(noise=1.0))["arm"]
    named = records.assign(arm=arms)
    drawn = [
        draw_initialization(ax, at_start(named), "noise"),
        draw_arms(ax, at_end(named), "noise", "clean_probe"),
    ]
    ax.set(xlabel="images with a random label [fraction]", ylabel=PROBE_LABEL)
    return pd.concat(drawn, ignore_index=True)


def draw_groups(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the probe against the number of images of one class that share a random label.

    Args:
        ax: the panel.
        records: of ``memorize``, several ``group``.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``group``, ``mean``, ``sd`` and ``seeds``.
    """
    named = plain_arms(records)
    drawn = [
        draw_initialization(ax, at_start(named), "group"),
        draw_arms(ax, at_end(named), "group", "clean_probe"),
    ]
    log_ticks(ax, named["group"])
    ax.set(xlabel="images of one class that share a label [images]", ylabel=PROBE_LABEL)
    return pd.concat(drawn, ignore_index=True)


def draw_datasets(ax: Axes, records: pd.DataFrame, pixels: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Draw the probe of each data set as a row of dots, one per arm, with error bars (``SEED_BARS``).

    Args:
        ax: the panel, about an inch high for each data set.
        records: of ``memorize``, one run per data set, arm and seed.
        pixels: the probe on raw pixels, by data set.

    Returns:
        What is drawn: ``dataset``, ``arm``, ``mean``, ``sem`` (NaN for one seed) and ``seeds``.

    Raises:
        ValueError: a data set has several runs of one arm and seed.
    """
    named = plain_arms(records)
    end = at_end(named)
    if end.duplicated(["dataset", "arm", "seed"]).any():
        raise ValueError(
            "more than one run of a data set, arm and seed; select one strength and one number of views first"
        )
    start = at_start(named).drop_duplicates(["dataset", "seed"]).assign(arm="initialization")
    dots = pd.concat([start, end]).groupby(["dataset", "arm"], sort=False)["clean_probe"]
    table = dots.agg(mean="mean", sem="sem", seeds="count").reset_index()
    rows = list(dict.fromkeys(named["dataset"]))
    raw = [{"dataset": n, "arm": "raw pixels", "mean": pixels[n]} for n in rows if pixels and n in pixels]
    table = pd.concat([table, pd.DataFrame(raw)], ignore_index=True) if raw else table
    arms = arm_styles(table["arm"])
    for place, (arm, (color, marker)) in enumerate(arms.items()):
        one = table[table["arm"] == arm]
        heights = [rows.index(name) + 0.7 * (place / max(1, len(arms) - 1) - 0.5) for name in one["dataset"]]
        bars = None if one["sem"].isna().all() else one["sem"]
        ax.errorbar(one["mean"], heights, xerr=bars, fmt=marker, color=color, markersize=8)
        ax.plot([], [], marker, color=color, label=arm, markersize=8)  # bars in a legend hide the marker
    ax.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
    ax.set(xlabel=PROBE_LABEL, ylabel="data set [name]", ylim=(len(rows) - 0.5, -0.5))
    return table
