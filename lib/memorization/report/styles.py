"""One look for every figure of the book: colors with a fixed meaning, sizes that survive a phone.

A second drawing of a figure for narrow screens: its panels below each other.

The arms of the benign-memorization page: their names and colors, and which rows of a run are compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

BACKGROUND = "#fbfbf8"  # of figures and of the card around them, on light and on dark pages
INK = "#1f2328"

# Okabe and Ito's set (safe for the common kinds of color blindness), the pale members darkened until a
# thin line has a contrast of 3:1 on the background.
_BLUE, _VERMILLION, _GREEN, _PURPLE, _SKY, _OCHRE = (
    "#0072b2",
    "#d55e00",
    "#00875f",
    "#b3508a",
    "#2b87b8",
    "#a87400",
)
PALETTE = (_BLUE, _VERMILLION, _GREEN, _PURPLE, _OCHRE, _SKY)

# A quantity has one color in the whole book, and so has a way of training (an arm of a comparison). A panel
# compares either quantities or arms, so that no color means two things in it.
COLORS = MappingProxyType(
    {
        "test accuracy": _BLUE,
        "spurious accuracy": _VERMILLION,
        "feature alignment": _GREEN,
        "covariance": _PURPLE,
        "stability": _OCHRE,
        "theory": INK,
        "reference": "#5f6670",
        "initialization": "#5f6670",
        "no augmentation": _VERMILLION,
        "augmentation": _BLUE,
        "true labels": _GREEN,
        "independent labels": _PURPLE,
        "raw pixels": _OCHRE,
        "core feature": _GREEN,
        "background feature": _PURPLE,
        "positive output weight": _OCHRE,
        "negative output weight": _SKY,
        "ReLU": _VERMILLION,
        "identity": _BLUE,
        "leaky ReLU": _SKY,
        "GELU": _PURPLE,
        "tanh": _GREEN,
        "sigmoid": _OCHRE,
        "teacher": _GREEN,
        "student": _VERMILLION,
        "standard": _OCHRE,
    }
)

FONT_SIZE = 12  # points; a row of panels is at most 8 inches wide, see ``panels``

_RC = {
    "figure.facecolor": BACKGROUND,
    "savefig.facecolor": BACKGROUND,
    "axes.facecolor": BACKGROUND,
    "axes.edgecolor": "#6e7681",
    "axes.labelcolor": INK,
    "axes.labelsize": FONT_SIZE,
    "axes.titlesize": FONT_SIZE + 1,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": FONT_SIZE,
    "font.sans-serif": ["DejaVu Sans"],  # ships with matplotlib, so every machine draws the same letters
    "mathtext.fontset": "dejavusans",
    "grid.color": "#dcdfe3",
    "grid.linewidth": 0.8,
    "legend.fontsize": FONT_SIZE - 1,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 5.5,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": FONT_SIZE - 1,
    "ytick.labelsize": FONT_SIZE - 1,
    "svg.hashsalt": "memorization",
}


def apply_theme() -> None:
    """Set the book's look for all figures of this process (the one place that changes global plot state)."""
    import seaborn  # imported here: it takes a second, and reading the colors does not need it

    seaborn.set_theme(context="notebook", style="whitegrid", palette=list(PALETTE), rc=_RC)


def color_of(quantity: str) -> str:
    """Return the book's color of a quantity.

    Args:
        quantity: A key of ``COLORS``, for example ``"test accuracy"`` or ``"augmentation"``.

    Raises:
        ValueError: The quantity has no color of its own; the message lists those that have.
    """
    if quantity not in COLORS:
        raise ValueError(
            f"{quantity!r} has no fixed color; known are {', '.join(COLORS)}. "
            "Take one of PALETTE for a series that appears in one figure only."
        )
    return COLORS[quantity]


_WIDTH = 4.8  # inches; shown on a 390 px phone at about three quarters of its size


def restack(figure: Figure) -> bool:
    """Put the panels of a figure below each other, in place.

    Args:
        figure: A figure; only one whose axes all lie on one grid, one cell each, can be restacked.

    Returns:
        Whether the figure was changed.
    """
    axes = list(figure.axes)
    places = [place for ax in axes if (place := ax.get_subplotspec()) is not None]
    if not axes or len(places) < len(axes):
        return False
    grids = {id(place.get_gridspec()) for place in places}
    if len(grids) != 1 or any(place.num1 != place.num2 for place in places):
        return False
    width, height = figure.get_size_inches()
    rows = places[0].get_gridspec().nrows
    figure.set_size_inches(min(width, _WIDTH), height / rows * len(axes), forward=False)
    grid = figure.add_gridspec(len(axes), 1)
    for row, ax in enumerate(axes):
        ax.set_subplotspec(grid[row])
        _complete_labels(ax, axes)
    _narrow_legends(figure)
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(h_pad=0.12)  # inches; a panel's title stays apart from the labels above it
    return True


def _complete_labels(ax: Axes, axes: list[Axes]) -> None:
    """Write the labels that a panel had left to its neighbor."""
    if not ax.axison:
        return
    for axis, side, others in (
        (ax.xaxis, "labelbottom", [other.xaxis for other in axes]),
        (ax.yaxis, "labelleft", [other.yaxis for other in axes]),
    ):
        axis.set_tick_params(which="both", **{side: True})
        axis.label.set_visible(True)
        if not axis.get_label_text():
            axis.set_label_text(next((o.get_label_text() for o in others if o.get_label_text()), ""))


def _narrow_legends(figure: Figure) -> None:
    """Redraw legends of the whole figure with at most two columns."""
    for legend in list(figure.legends):
        texts = [text.get_text() for text in legend.get_texts()]
        handles = [handle for handle in legend.legend_handles if handle is not None]
        legend.remove()
        columns = 1 if any(len(text) > 22 for text in texts) else 2
        figure.legend(handles, texts, loc="outside lower center", ncols=columns)


# What ``memorize`` returns; every other column of its records says which run a row belongs to.
MEASURED = (
    "at", "epoch", "site", "depth", "clean_probe", "uncalibrated_probe", "noise_probe", "invariance",
    "clean_view", "fresh_view", "bank_view", "test_accuracy", "batch_accuracy", "loss",
)  # fmt: skip

_MARKERS = {
    "no augmentation": "s",
    "augmentation": "o",
    "true labels": "^",
    "independent labels": "D",
    "raw pixels": "P",
    "initialization": "d",
    "ReLU": "o",
    "identity": "s",
    "leaky ReLU": "^",
    "GELU": "D",
    "tanh": "P",
    "sigmoid": "H",
    "teacher": "o",
    "student": "s",
    "standard": "^",
}
_SPARE_MARKERS = ("v", "X", "<", ">", "p", "*")


def arm_names(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``arm``: labels and views of the run in words.

    The main arms are ``no augmentation``, ``augmentation`` and ``true labels``. A strength is part of the
    name only where the records hold several of one data set and policy.

    Args:
        records: of ``memorize``.
    """
    positive = records[records["strength"] > 0]
    counts = positive.groupby(["dataset", "policy"])["strength"].nunique()
    several = {key for key, count in counts.items() if count > 1}
    names = [
        _arm(row, (row["dataset"], row["policy"]) in several) for row in records[_NAMING].to_dict("records")
    ]
    return records.assign(arm=names)


_NAMING = ["dataset", "policy", "strength", "views", "view_labels", "noise", "group", "mix"]


def _arm(row: Mapping[Any, Any], with_strength: bool) -> str:
    augmented, words = row["strength"] > 0, []
    if row["group"] > 1:
        words.append(f"groups of {row['group']}")
    elif row["noise"] == 0:
        words.append("true labels")
    elif row["noise"] < 1:
        words.append(f"{100 * row['noise']:g} % random labels")
    if not augmented:
        words += [] if row["group"] > 1 else ["no augmentation"]
    elif row["views"] > 0:
        words.append(f"{row['views']} view{'s' if row['views'] > 1 else ''}")
        words += ["a label each"] if row["view_labels"] == "independent" else []
    elif row["noise"] > 0:
        words.append("augmentation")
    if augmented and with_strength:
        words.append(f"strength {row['strength']:g}")
    if row["mix"] != "none":
        words.append(row["mix"].replace("_mixed", " with mixed labels"))
    return ", ".join(words)


def plain_arms(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``arm`` that tells only augmentation, none, and true labels apart."""
    arm = records["strength"].gt(0).map({True: "augmentation", False: "no augmentation"})
    return records.assign(arm=arm.mask(records["noise"] == 0, "true labels"))


def arm_styles(arms: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return color and marker of each arm: its own where it has one, else what is left of the palette.

    Raises:
        ValueError: more arms than can be told apart in one figure.
    """
    names = list(dict.fromkeys(arms))
    taken = {COLORS[name] for name in names if name in _MARKERS}
    spare = [color for color in PALETTE if color not in taken]
    others = [name for name in names if name not in _MARKERS]
    if len(others) > len(spare):
        raise ValueError(
            f"{len(names)} arms ({', '.join(names)}) need more colors than can be told apart: "
            f"{len(spare)} are left for {len(others)}; draw fewer of them"
        )
    styles = dict(zip(others, zip(spare, _SPARE_MARKERS, strict=True), strict=False)) if others else {}
    return {name: styles[name] if name in styles else (COLORS[name], _MARKERS[name]) for name in names}


def at_end(records: pd.DataFrame, site: str = "embedding") -> pd.DataFrame:
    """Return the rows after the last epoch at one site: one a run.

    Raises:
        ValueError: there is no such site, with those there are.
    """
    return _at(records, "end", site)


def at_start(records: pd.DataFrame, site: str = "embedding") -> pd.DataFrame:
    """Return the rows before the first step at one site, batch norm calibrated: one a run.

    Raises: as :func:`at_end`.
    """
    return _at(records, "start", site)


def _at(records: pd.DataFrame, when: str, site: str) -> pd.DataFrame:
    if site not in set(records["site"]):
        known = ", ".join(records.sort_values("depth")["site"].unique())
        raise ValueError(f"the records have no site {site!r}; they have {known}")
    return records[(records["at"] == when) & (records["site"] == site)]


def run_keys(records: pd.DataFrame) -> pd.Series:
    """Return what identifies the run of each row: all that was given, seed included, as one text."""
    given = [name for name in records if name not in MEASURED and not str(name).startswith("_")]
    rows = records[given].itertuples(index=False, name=None)
    return pd.Series([repr(row) for row in rows], index=records.index, dtype=object)


def paired_gain(records: pd.DataFrame, site: str = "embedding") -> pd.DataFrame:
    """Return the rows after the last epoch with ``probe_start`` and ``gain``, the rise of the probe.

    The pair is one run before and after training: same seed, same weights to begin with.

    Args:
        records: of ``memorize``, with the rows of both ends.
        site: where the probe is.

    Raises:
        ValueError: an unknown site; or a run without its start, or with two.
    """
    end, start = at_end(records, site), at_start(records, site)
    before = pd.Series(start["clean_probe"].to_numpy(), index=run_keys(start))
    keys = run_keys(end)
    if not before.index.is_unique or not keys.isin(before.index).all():
        raise ValueError(
            f"{len(end)} runs have an end and {len(start)} a start, and they are not the same ones; give the "
            "records of whole runs, each once, without columns of your own that change within a run"
        )
    probe_start = keys.map(before)
    return end.assign(probe_start=probe_start, gain=end["clean_probe"] - probe_start)


_SETS = {"digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
_SETS |= {"cifar100": "CIFAR-100", "tiny_imagenet": "TinyImageNet"}
_SIDES = {"mnist": 14, "fashion_mnist": 14, "cifar10": 16}  # of ``memorized_split`` where none is asked for


def named_sets(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with the data sets' usual names in ``dataset``, and their side where it was chosen.

    Args:
        records: with columns ``dataset`` and ``side`` (pixels; None or NaN for the data set's own).
    """
    names = records["dataset"].map(lambda name: _SETS.get(name, name))
    sides = records["side"].astype(float).fillna(records["dataset"].map(_SIDES))
    written = [f", {side:.0f}×{side:.0f}" if side > 0 else "" for side in sides]
    return records.assign(dataset=[name + side for name, side in zip(names, written, strict=True)])
