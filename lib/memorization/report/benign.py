"""Figures of the benign-memorization page: random labels, curves over training, and where the noise sits.

Anagnostidis et al. (ICLR 2023). Color says which arm, the panel says which quantity; the gray dashed line is
the network before training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from torch import Tensor

from memorization.data.labelled_pictures import LabelledPictures
from memorization.report.arms import arm_names, arm_styles
from memorization.report.panels import curve_with_band, log_ticks_from_zero, seed_curve
from memorization.report.theme import BACKGROUND, COLORS, INK

PROBE_LABEL = "k-NN probe [fraction]"
NOISE_LABEL = "noise probe [fraction]"
MEMORIZED_LABEL = "accuracy on labels [fraction]"

_MUTED = COLORS["initialization"]
_PROJECTOR_SHADE = "#eee9dc"
_TRUE = "#006b4b"  # the color of true labels, darker: letters need more contrast than lines
_KEY = 1.47  # height of the line that says what the words are, in sides of a picture
_ROW = 4  # pictures in a row, so that they can still be seen on a phone


def draw_random_labels(axes: Sequence[Axes], pictures: LabelledPictures) -> pd.DataFrame:
    """Draw images with true class and random label, and views of the first one, which share its label.

    Args:
        axes: two panels, 3.6 inches high for eight pictures each.
        pictures: of :func:`memorization.data.labelled_pictures.labelled_pictures`.

    Returns:
        What is drawn: one row per pixel, with ``panel``, ``picture``, ``true``, ``label``, ``row``,
        ``column`` and ``gray`` or ``red``, ``green``, ``blue`` in [0, 1].
    """
    left, right = axes
    above = [f"{name}" for name in pictures.true]
    images = _montage(left, pictures.images, above, pictures.random, "below: random label")
    of_one = len(pictures.views)
    same = [pictures.random[0]] * of_one
    views = _montage(right, pictures.views, [""] * of_one, same, "below: the same random label")
    left.text(0, _KEY, "above: true class", color=_TRUE, va="center")
    name_panel(left, "true class and random label")
    name_panel(right, "views of the first image")
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
        What is drawn: ``arm``, ``quantity``, ``epoch``, ``mean``, ``sd`` and ``seeds``.
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
        What is drawn: ``arm``, ``quantity``, ``site``, ``depth``, ``mean``, ``sd`` and ``seeds``.
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


def draw_arms(
    ax: Axes,
    rows: pd.DataFrame,
    x: str,
    y: str,
    *,
    linestyle: str = "-",
    names: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Draw one curve with its band per arm, each in the arm's own color and marker; return the curves.

    Args:
        ax: the panel.
        rows: with columns ``arm``, ``seed``, ``x`` and ``y``: one row per arm, value of ``x`` and seed.
        x: column of the horizontal axis.
        y: column of the vertical axis.
        linestyle: matplotlib's; lines that are not solid have hollow markers.
        names: what an arm is called in the legend, where that is not its own name.
    """
    curves = []
    styles = arm_styles(rows["arm"])
    for arm, one in rows.groupby("arm", sort=False):
        color, marker = styles[str(arm)]
        curve = curve_with_band(
            ax,
            one,
            x,
            y,
            label=(names or {}).get(str(arm), str(arm)),
            color=color,
            marker=marker,
            linestyle=linestyle,
        )
        if linestyle != "-":
            ax.lines[-1].set_markerfacecolor(BACKGROUND)
        curves.append(curve.assign(arm=arm, quantity=y))
    return pd.concat(curves, ignore_index=True)


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


def chance_line(ax: Axes, classes: int) -> None:
    """Draw the accuracy of guessing, 1/C, as a thin dotted line."""
    ax.axhline(1 / classes, color=_MUTED, linestyle=":", linewidth=1.4, label="chance", zorder=1)


def name_panel(ax: Axes, title: str) -> None:
    """Give a panel its title, unless it has one."""
    if not any(ax.get_title(loc=place) for place in ("left", "center", "right")):
        ax.set_title(title)


def _named(records: pd.DataFrame) -> pd.DataFrame:
    return records if "arm" in records else arm_names(records)
