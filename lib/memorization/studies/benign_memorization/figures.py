"""Figures of the page on benign memorization: pictures and their random labels, training, depth, and dials.

Anagnostidis et al. (ICLR 2023). All but the pictures take the records of ``memorize``. Color says which arm,
the panel says which quantity; the gray dashed line is the network before training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from memorization.data.augmentation.policies import augmentation, keyed_views
from memorization.data.labels import random_labels
from memorization.data.splits import splits_of
from memorization.draws import generator
from memorization.report.explorations import seed_intervals
from memorization.report.figures import (
    chance_line,
    draw_arms,
    fill_interval,
    log_ticks,
    log_ticks_from_zero,
    name_panel,
    seed_curve,
)
from memorization.report.styles import COLORS, INK, arm_styles, between
from memorization.report.tables import over_seeds
from memorization.studies.benign_memorization.tables import FRESH, arm_names, at_end, at_start, plain_arms

PROBE_LABEL = "k-NN probe [fraction]"
NOISE_LABEL = "noise probe [fraction]"
BEFORE = "true class before training"
MEMORIZED_LABEL = "accuracy on labels [fraction]"

_MUTED = COLORS["initialization"]
_PROJECTOR_SHADE = "#eee9dc"
_TRUE = "#006b4b"  # the color of true labels, darker: letters need more contrast than lines
_KEY = 1.47  # height of the line that says what the words are, in sides of a picture
_ROW = 4  # pictures in a row, so that they can still be seen on a phone
_FRESH = "∞ (fresh)"
_PANELS = ("true labels", "random labels")
_KNOWN = {"noise_probe": ("random label", "no augmentation"), "clean_probe": ("true class", "true labels")}
_ASKED = {"clean_view": "on the images themselves", "fresh_view": "on views that are new"}


@dataclass(frozen=True)
class LabelledPictures:
    """Some memorized images, and views of the first one.

    Attributes:
        images: shape (B, c, S, S), float32 in [0, 1].
        true: names of their true classes, B of them.
        random: names of the random labels that they are memorized with, B of them.
        views: views of the first image as training shows them, shape (V, c, S, S), float32.
        classes: number C of classes; a guess is right once in C.
    """

    images: Tensor
    true: tuple[str, ...]
    random: tuple[str, ...]
    views: Tensor
    classes: int


def labelled_pictures(
    *,
    dataset: str = "digits",
    policy: str = "small_digits",
    strength: float = 0.5,
    images: int = 8,
    views: int = 8,
    memorized: int | None = None,
    reference: int | None = None,
    side: int | None = None,
    split: str = "fixed",
    seed: int = 0,
) -> LabelledPictures:
    """Return the first memorized images with their labels, and views of the first one, of one seed.

    They are those that :func:`memorize` trains on with the same arguments.

    Args:
        dataset: as for ``memorize``, like the next two.
        policy: augmentation of the views.
        strength: of the augmentation.
        images: how many images B, 1..N.
        views: how many views V, >= 1.
        memorized: N, as for ``memorize``, like the next two.
        reference: images that vote in the clean probe.
        side: side of the images in pixels.
        split: ``fixed``, or ``seed``: the images of this seed.
        seed: of labels and views.

    Raises:
        ValueError: if there are not as many images, or for values that do not fit the data set.
    """
    sizes = {"memorized": memorized, "reference": reference, "side": side}
    whole = splits_of(split, dataset, sizes, [seed])[0].memorized
    if not 1 <= images <= len(whole) or views < 1:
        raise ValueError(
            f"images={images}, views={views}; {dataset} has {len(whole)} memorized images: choose images in "
            f"1..{len(whole)} and views >= 1"
        )
    labels = random_labels(len(whole), whole.classes, generator(seed, "labels"))
    names = whole.class_names
    shown = whole.floats(slice(images))
    first, numbers = torch.zeros(views, dtype=torch.int64), torch.arange(views)
    return LabelledPictures(
        shown.clone(),
        tuple(names[label] for label in whole.labels[:images].tolist()),
        tuple(names[label] for label in labels[:images].tolist()),
        keyed_views(augmentation(policy), shown, first, numbers, seed, strength),
        whole.classes,
    )


def draw_random_labels(axes: Sequence[Axes], pictures: LabelledPictures) -> pd.DataFrame:
    """Draw images with true class and random label, and views of the first one, which share its label.

    Args:
        axes: two panels, 3.6 inches high for eight pictures each.
        pictures: of :func:`labelled_pictures`.

    Returns:
        What is drawn: one row per pixel, with ``panel``, ``picture``, ``true``, ``label``, ``row``,
        ``column`` and ``gray`` or ``red``, ``green``, ``blue`` in [0, 1].
    """
    left, right = axes
    above = pictures.true
    images = _montage(left, pictures.images, above, pictures.random, "below: random label")
    of_one = len(pictures.views)
    same = [pictures.random[0]] * of_one
    views = _montage(right, pictures.views, [""] * of_one, same, "below: the same random label")
    left.text(0, _KEY, "above: true class", color=_TRUE, va="center")
    name_panel(left, "true class and random label")
    name_panel(right, "views of one image")
    images = images.assign(panel="images", true=[above[p] for p in images["picture"]])
    views = views.assign(panel="views", true=above[0])
    return pd.concat([images, views], ignore_index=True)


def _montage(
    ax: Axes, pictures: Tensor, above: Sequence[str], below: Sequence[str], key: str
) -> pd.DataFrame:
    """Draw pictures (B, c, S, S) in rows, each with two words; return their pixels as a table.

    The key says what the lower word is, in the same letters, before the first picture is looked at.
    """
    gap_x, gap_y = 1.16, 1.66  # of one picture's side
    letters = 11 if max(map(len, [*above, *below])) < 8 else 9.5  # points
    rows: list[list[Any]] = []
    for place, picture in enumerate(pictures.detach().cpu().clamp(0, 1).permute(0, 2, 3, 1).numpy()):
        x, y = gap_x * (place % _ROW), -gap_y * (place // _ROW)
        shown = picture if picture.shape[2] == 3 else picture[..., 0]
        ax.imshow(shown, cmap="gray", vmin=0, vmax=1, extent=(x, x + 1, y, y + 1), interpolation="nearest")
        ax.text(x + 0.5, y + 1.05, above[place], ha="center", va="bottom", color=_TRUE, size=letters)
        ax.text(x + 0.5, y - 0.07, below[place], ha="center", va="top", weight="bold", size=letters)
        size = len(picture)
        flat = picture.reshape(size * size, -1).tolist()
        rows += [[place, below[place], i // size, i % size, *values] for i, values in enumerate(flat)]
    right = gap_x * _ROW - 0.12
    ax.text(right - 0.04, _KEY, key, ha="right", va="center", weight="bold")
    ax.set(xlim=(-0.04, right), ylim=(-gap_y * (-(-len(pictures) // _ROW) - 1) - 0.34, _KEY + 0.13))
    ax.axis("off")
    channels = ["gray"] if pictures.shape[1] == 1 else ["red", "green", "blue"]
    return pd.DataFrame(rows, columns=["picture", "label", "row", "column", *channels])


def draw_memorization_curves(
    axes: Sequence[Axes], records: pd.DataFrame, site: str = "embedding"
) -> pd.DataFrame:
    """Draw accuracy on the training labels (clean views, fresh views) and clean probe against the epoch.

    The first points are measured before the first step.

    Args:
        axes: three panels.
        records: of ``memorize``, a few arms of one data set, probed during training.
        site: where the probe is.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``epoch``, ``mean``, ``half`` and ``seeds``.
    """
    here = _named(records[records["site"] == site])
    drawn = []
    columns = {"clean_view": "clean views", "fresh_view": "fresh views", "clean_probe": "k-NN probe"}
    for ax, (column, title) in zip(axes, columns.items(), strict=True):
        drawn.append(draw_arms(ax, here, "epoch", column))
        log_ticks_from_zero(ax, here["epoch"])
        name_panel(ax, title)
        if column == "clean_probe":
            ax.set(xlabel="epoch [epochs]", ylabel=PROBE_LABEL)
        else:
            ax.set(xlabel="epoch [epochs]", ylabel=MEMORIZED_LABEL, ylim=(0, 1.04))
    start = here.loc[here["epoch"] == 0, "clean_probe"].mean()
    axes[2].axhline(start, color=_MUTED, linestyle="--", linewidth=1.6, label="initialization", zorder=1)
    return pd.concat(drawn, ignore_index=True)


def draw_depth(axes: Sequence[Axes], records: pd.DataFrame, *, classes: int = 10) -> pd.DataFrame:
    """Draw what can be read at each site after training: the true labels left, the random ones right.

    Arms that were not trained on random labels alone are drawn on the left only.

    Args:
        axes: two panels.
        records: of ``memorize``, a few arms of one network.
        classes: number C of classes; chance is 1/C.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``site``, ``depth``, ``mean``, ``half`` and ``seeds``.
    """
    left, right = axes
    named = _named(records)
    random = named[named["noise"] == 1]
    drawn = [_draw_sites(left, named, "clean_probe"), _draw_sites(right, random, "noise_probe")]
    name_panel(left, "true labels can be read")
    name_panel(right, "random labels can be read")
    for ax, label in ((left, PROBE_LABEL), (right, NOISE_LABEL)):
        chance_line(ax, classes)
        ax.set(ylabel=label, ylim=(0, 1.16), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1])
    return pd.concat(drawn, ignore_index=True)


def draw_known(axes: Sequence[Axes], depth: pd.DataFrame, *, classes: int = 10) -> pd.DataFrame:
    """Draw what each layer knows of true classes and random labels, after training on either and before.

    Args:
        axes: two panels: trained on true labels, trained on random ones, both with augmentation.
        depth: what :func:`draw_depth` returned.
        classes: number C of classes; chance is 1/C.

    Returns:
        What is drawn: rows of ``depth`` with ``panel``, and ``quantity`` true class, random label or true
        class before training.
    """
    start = depth[(depth["arm"] == "initialization") & (depth["quantity"] == "clean_probe")]
    drawn = []
    for ax, arm, panel in zip(axes, ("true labels", "augmentation"), _PANELS, strict=True):
        mine = depth[depth["arm"] == arm].sort_values("depth")
        for column, (label, like) in _KNOWN.items():
            one = mine[mine["quantity"] == column].assign(panel=panel, quantity=label)
            if one.empty:  # true labels are the true classes
                continue
            color, marker = arm_styles([like])[like]
            ax.plot(one["depth"], one["mean"], label=label, color=color, marker=marker)
            fill_interval(ax, one, "depth", color)
            drawn.append(one)
        ax.plot(start["depth"], start["mean"], color=_MUTED, linestyle="--", label=BEFORE, zorder=1)
        drawn.append(start.assign(panel=panel, quantity=BEFORE))
        chance_line(ax, classes)
        ax.set_xticks(list(one["depth"]), list(one["site"]), rotation=30, ha="right", rotation_mode="anchor")
        ax.set(xlabel="layer, from image to answer [name]", ylabel="known [fraction]", ylim=(0, 1.05))
    return pd.concat(drawn, ignore_index=True)


def draw_invariance(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the invariance at each site; 0 is a perfect one, at 1 two views are as far apart as two images.

    Args:
        ax: the panel.
        records: of ``memorize``, a few arms of one network.

    Returns:
        As :func:`draw_depth`.
    """
    named = _named(records)
    drawn = _draw_sites(ax, named, "invariance")
    top = max(1.0, drawn["mean"].max())
    ax.axhline(1, color=_MUTED, linestyle=":", linewidth=1.4, label="no invariance", zorder=1)
    ax.set(ylabel="invariance [ratio]", ylim=(0, 1.16 * top))
    return drawn


def _draw_sites(ax: Axes, named: pd.DataFrame, column: str) -> pd.DataFrame:
    """One line per arm over the sites, and the untrained network; mark encoder and projector."""
    sites = named.drop_duplicates("depth").set_index("depth")["site"].sort_index()
    start = draw_initialization(ax, named[named["at"] == "start"], "depth", column)
    drawn = pd.concat([start, draw_arms(ax, named[named["at"] == "end"], "depth", column)], ignore_index=True)
    ax.set_xticks(list(sites.index), list(sites), rotation=30, ha="right", rotation_mode="anchor")
    for site, tick in zip(sites, ax.get_xticklabels(), strict=True):
        tick.set_fontweight("bold" if site == "embedding" else "normal")
    first, last = sites.index[0] - 0.35, sites.index[-1] + 0.35
    border = sites.index[sites == "embedding"][0] + 0.5
    ax.axvspan(border, last, color=_PROJECTOR_SHADE, zorder=0)
    ax.set(xlabel="site, in order of depth [name]", xlim=(first, last))
    ax.grid(visible=False, axis="x")
    words: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "va": "top", "color": INK}
    ax.text((first + border) / 2, 0.985, "encoder", ha="center", **words)
    ax.text((border + last) / 2, 0.985, "projector", ha="center", **words)
    return drawn.assign(site=[sites[depth] for depth in drawn["depth"]])


def draw_initialization(ax: Axes, start: pd.DataFrame, x: str, y: str = "clean_probe") -> pd.DataFrame:
    """Draw a quantity before training as a gray dashed line; return it as a curve of ``draw_arms``.

    Args:
        ax: the panel.
        start: rows before the first step; arms of one seed begin with the same weights and are averaged.
        x: column of the horizontal axis.
        y: column of the vertical axis.
    """
    curve = seed_curve(start.groupby([x, "seed"])[[y]].mean().reset_index(), x, y)
    ax.plot(curve[x], curve["mean"], color=_MUTED, linestyle="--", label="initialization", zorder=1)
    return curve.assign(arm="initialization", quantity=y)


def _named(records: pd.DataFrame) -> pd.DataFrame:
    return records if "arm" in records else arm_names(records)


def draw_views(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw the probe, and the accuracy on the views of training, against the number of fixed views per image.

    Fresh views at each visit stand at the right end: there every view is one of training.

    Args:
        axes: two panels.
        records: of ``memorize``, shared labels, several ``views`` (0 for fresh ones) at one strength above 0.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``views``, ``mean``, ``half`` and ``seeds``.
    """
    seen = {"seen_view": "views of training", "fresh_view": "unseen views"}
    return _draw_views(axes, plain_arms(records), seen, {"augmentation": "_"})  # the panel says it


def draw_shared_independent(
    axes: Sequence[Axes], records: pd.DataFrame, *, classes: int = 10
) -> pd.DataFrame:
    """Draw the same where all views of an image share one random label, and where each has its own.

    Args:
        axes: two panels.
        records: of ``memorize``: several ``views`` with both ``view_labels``; fresh views (0) are left out,
            as they cannot have labels of their own.
        classes: number C of classes; chance is 1/C.

    Returns:
        As :func:`draw_views`.
    """
    arms = {"shared": "augmentation", "independent": "independent labels"}
    names = {"augmentation": "one label per image", "independent labels": "a label per view"}
    fixed = records[records["views"] > 0]
    table = _draw_views(axes, fixed.assign(arm=fixed["view_labels"].map(arms)), {"seen_view": None}, names)
    chance_line(axes[1], classes)
    return table


def _draw_views(
    axes: Sequence[Axes], arms: pd.DataFrame, seen: Mapping[str, str | None], names: Mapping[str, str]
) -> pd.DataFrame:
    """Place each number of views on the axis, fresh ones beyond the largest; name the views of training."""
    fixed, last = arms["views"] > 0, 4 * max(1, arms["views"].max())
    seen_view = arms["bank_view"].where(fixed, arms["fresh_view"])
    placed = arms.assign(place=arms["views"].where(fixed, last), seen_view=seen_view)
    table = _draw_both(axes, placed, "place", seen, names)

    def name(place: float) -> str:
        return _FRESH if place == last and not fixed.all() else f"{place:g}"

    for ax in axes:
        log_ticks(ax, placed["place"])
        ax.set_xticks(ax.get_xticks(), [name(place) for place in ax.get_xticks()])
        ax.set_xlabel("views per image [views]")
    axes[1].set_ylim(0, 1.04)
    return table.assign(views=[name(place) for place in table.pop("place")])


def draw_strength(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw the probe, and the accuracy on the labels, against the strength of the augmentation.

    Args:
        axes: two panels.
        records: of ``memorize``, several ``strength`` with fresh views, 0 among them.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``strength``, ``mean``, ``half`` and ``seeds``.
    """
    seen = {"fresh_view": "fresh views", "clean_view": "clean views"}
    one = records.assign(arm="augmentation")
    table = _draw_both(axes, one, "strength", seen, {"augmentation": "_"})
    for ax in axes:
        log_ticks_from_zero(ax, one["strength"])
        ax.set_xlabel("strength of augmentation [ratio]")
    axes[1].set_ylim(0, 1.04)  # after the scale of the other axis: it would find no limits of its own
    return table


def _draw_both(
    axes: Sequence[Axes],
    rows: pd.DataFrame,
    x: str,
    seen: Mapping[str, str | None],
    names: Mapping[str, str],
) -> pd.DataFrame:
    """Draw the probe at the left, and accuracies on the labels at the right, the second one dashed.

    Args:
        axes: two panels.
        rows: with columns ``arm`` and ``x``.
        x: column of the horizontal axis.
        seen: columns of the accuracies, and what the arm with augmentation is called there.
        names: what each arm is called elsewhere.
    """
    left, right = axes
    end = at_end(rows)
    drawn = [_draw_probe(left, rows, x, names=names)]
    for line, (column, called) in zip(("-", "--"), seen.items(), strict=False):
        own = {"augmentation": called} if called else names
        drawn.append(draw_arms(right, end, x, column, names=own, linestyle=line))
    right.set_ylabel(MEMORIZED_LABEL)
    name_panel(left, "what the embedding knows")
    name_panel(right, "what is memorized")
    return pd.concat(drawn, ignore_index=True)


def _draw_probe(
    ax: Axes,
    rows: pd.DataFrame,
    x: str,
    column: str = "clean_probe",
    label: str = PROBE_LABEL,
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Draw a probe of the embedding against a column, one line per arm, and the network before training."""
    start = draw_initialization(ax, at_start(rows), x, column)
    ax.set_ylabel(label)
    return pd.concat([start, draw_arms(ax, at_end(rows), x, column, names=names)], ignore_index=True)


def draw_projector(axes: Sequence[Axes], records: pd.DataFrame, *, classes: int = 10) -> pd.DataFrame:
    """Draw clean and noise probe of the embedding against the projector's hidden layers.

    Args:
        axes: two panels.
        records: of ``memorize``, several ``hidden``; an empty list is a network without hidden layer.
        classes: number C of classes; chance is 1/C.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``hidden``, ``mean``, ``half`` and ``seeds``.
    """
    layers = sorted({tuple(widths) for widths in records["hidden"]}, key=lambda widths: (len(widths), widths))
    names = [_layers(widths) for widths in layers]
    placed = plain_arms(records).assign(place=[layers.index(tuple(widths)) for widths in records["hidden"]])
    left, right = axes
    drawn = [
        _draw_probe(left, placed, "place"),
        _draw_probe(right, placed, "place", "noise_probe", NOISE_LABEL),
    ]
    for ax, title in ((left, "embedding: true labels"), (right, "embedding: random labels")):
        ax.set_xticks(range(len(names)), names)
        ax.set_xlabel("hidden layers of the projector [units]")
        name_panel(ax, title)
    chance_line(right, classes)
    right.set_ylim(bottom=0)
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
        What is drawn: ``arm``, ``quantity``, ``noise``, ``mean``, ``half`` and ``seeds``.
    """
    ax.set_xlabel("images with a random label [fraction]")
    return _draw_probe(ax, records.assign(arm=plain_arms(records.assign(noise=1.0))["arm"]), "noise")


def draw_groups(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the probe against the number of images of one class that share a random label.

    Args:
        ax: the panel.
        records: of ``memorize``, several ``group``.

    Returns:
        What is drawn: ``arm``, ``quantity``, ``group``, ``mean``, ``half`` and ``seeds``.
    """
    table = _draw_probe(ax, plain_arms(records), "group")
    log_ticks(ax, records["group"])
    ax.set_xlabel("images of one class that share a label [images]")
    return table


def draw_datasets(ax: Axes, records: pd.DataFrame, pixels: Mapping[str, float] | None = None) -> pd.DataFrame:
    """Draw the probe of each data set as a row of dots, one per arm, with error bars (``INTERVALS``).

    Args:
        ax: the panel, about an inch high for each data set.
        records: of ``memorize``, one run per data set, arm and seed.
        pixels: the probe on raw pixels, by data set.

    Returns:
        What is drawn: ``dataset``, ``arm``, ``mean``, ``half`` (NaN for one seed) and ``seeds``.

    Raises:
        ValueError: a data set has several runs of one arm and seed; select one strength and one number of
            views first.
    """
    named = plain_arms(records)
    start = at_start(named).drop_duplicates(["dataset", "seed"]).assign(arm="initialization")
    dots = pd.concat([start, at_end(named)])
    table = over_seeds(dots, ["dataset", "arm"], "clean_probe")
    rows = list(dict.fromkeys(named["dataset"]))
    raw = [{"dataset": n, "arm": "raw pixels", "mean": pixels[n]} for n in rows if pixels and n in pixels]
    table = pd.concat([table, pd.DataFrame(raw)], ignore_index=True) if raw else table
    arms = arm_styles(table["arm"])
    for place, (arm, (color, marker)) in enumerate(arms.items()):
        one = table[table["arm"] == arm]
        heights = [rows.index(name) + 0.7 * (place / max(1, len(arms) - 1) - 0.5) for name in one["dataset"]]
        bars = None if one["half"].isna().all() else one["half"]
        ax.errorbar(one["mean"], heights, xerr=bars, fmt=marker, color=color, markersize=8)
        ax.plot([], [], marker, color=color, label=arm, markersize=8)  # bars in a legend hide the marker
    ax.set_yticks(range(len(rows)), [name.replace("_", " ") for name in rows])
    ax.set(xlabel=PROBE_LABEL, ylabel="data set [name]", ylim=(len(rows) - 0.5, -0.5))
    return table


def training_trails(records: pd.DataFrame, standard: float) -> pd.DataFrame:
    """Return the way of each arm through training, for a reader to follow: labels known against the probe.

    Args:
        records: of ``memorize``, arms that differ in strength or in views, probed during training.
        standard: the strength at which the number of views varies.

    Returns:
        Rows in the order of training: ``varies`` (strength or views), ``asked`` (on which views the labels
        are asked for), ``until`` (the epoch at which the reader looks), ``arm``, ``epoch`` (up to ``until``),
        ``known`` and ``clean_probe``, means over seeds with their intervals, and ``seeds``. A network that
        has stopped stays where it was.
    """
    here = records[(records["site"] == "embedding") & (records["noise"] == 1)]
    looks = sorted({*here.loc[here["at"] != "end", "epoch"], here["epoch"].max()})
    varied = {
        "strength of the augmentation": _by_strength(here),
        "number of views": _by_views(here, standard),
    }
    drawn = []
    for varies, rows in varied.items():
        steps = pd.concat([_standing(rows, epoch) for epoch in looks], ignore_index=True)
        for column, asked in _ASKED.items():
            known = steps.assign(known=steps[column], varies=varies, asked=asked)
            means = seed_intervals(known, ["varies", "asked", "arm", "epoch"], ["clean_probe", "known"])
            drawn += [means[means["epoch"] <= epoch].assign(until=epoch) for epoch in looks]
    return pd.concat(drawn, ignore_index=True)


def _standing(rows: pd.DataFrame, epoch: int) -> pd.DataFrame:
    """Where each network is after some epochs: its last row until then, in the order of the arms."""
    until = rows[rows["epoch"] <= epoch].sort_values("epoch", kind="stable")
    last = until.groupby(["arm", "seed"], sort=False).tail(1).assign(epoch=epoch)
    return last.sort_values("place", kind="stable")


def _by_strength(rows: pd.DataFrame) -> pd.DataFrame:
    """Arms of fresh views, from no augmentation to the strongest."""
    rows = rows[rows["views"] == 0]
    names = rows["strength"].map(lambda strength: f"strength {strength:g}" if strength else "no augmentation")
    return rows.assign(arm=names, place=rows["strength"])


def _by_views(rows: pd.DataFrame, strength: float) -> pd.DataFrame:
    """Arms of one strength, from one fixed view to fresh ones; those with a label a view at the end."""
    rows = rows[rows["strength"] == strength]
    each = rows["view_labels"] == "independent"
    names = rows["views"].map(lambda views: f"{views:g} view{'s' * (views > 1)}" if views else "fresh views")
    place = rows["views"].where(rows["views"] > 0, FRESH) + 2 * FRESH * each
    return rows.assign(arm=names.where(~each, names + ", a label each"), place=place)


def trail_colors(trails: pd.DataFrame) -> dict[str, str]:
    """Return a color for each arm of :func:`training_trails`: from little augmentation to much of it.

    The ends are the colors of ``no augmentation`` and ``augmentation``; labels for each view have their own.
    """
    colors: dict[str, str] = {}
    for _, rows in trails.groupby("varies", sort=False):
        arms = list(rows["arm"].unique())
        shared = [arm for arm in arms if not arm.endswith("a label each")]
        ends = COLORS["no augmentation"], COLORS["augmentation"]
        colors |= {arm: between(*ends, i / max(1, len(shared) - 1)) for i, arm in enumerate(shared)}
        colors |= dict.fromkeys((arm for arm in arms if arm not in shared), COLORS["independent labels"])
    return colors
