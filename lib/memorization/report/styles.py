"""One look for every figure of the book: colors with a fixed meaning, letters and panels for a phone."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

BACKGROUND = "#fbfbf8"  # of figures and of the card around them, on light and on dark pages
INK = "#1f2328"
_GRAY = "#5f6670"

# Okabe and Ito's set (safe for the common kinds of color blindness), the pale members darkened until a
# thin line has a contrast of 3:1 on the background.
_BLUE, _VERMILLION, _GREEN, _PURPLE, _SKY, _OCHRE = (
    "#0072b2", "#d55e00", "#00875f", "#b3508a", "#2b87b8", "#a87400",
)  # fmt: skip
PALETTE = (_BLUE, _VERMILLION, _GREEN, _PURPLE, _OCHRE, _SKY)

# An arm of a comparison (a way of training, an activation) has one color and one marker in the whole book,
# and a quantity has one color. A panel compares either, so that no color means two things in it.
_ARMS = {
    "initialization": (_GRAY, "d"),
    "no augmentation": (_VERMILLION, "s"),
    "augmentation": (_BLUE, "o"),
    "true labels": (_GREEN, "^"),
    "independent labels": (_PURPLE, "D"),
    "raw pixels": (_OCHRE, "P"),
    "ReLU": (_VERMILLION, "o"),
    "identity": (_BLUE, "s"),
    "leaky ReLU": (_SKY, "^"),
    "GELU": (_PURPLE, "D"),
    "tanh": (_GREEN, "P"),
    "φ₂": (_BLUE, "s"),
    "φ₄": (_PURPLE, "D"),
    "random features": (_BLUE, "o"),
    "tangent features": (_VERMILLION, "s"),
    "sigmoid": (_OCHRE, "H"),
    "teacher": (_GREEN, "o"),
    "student": (_VERMILLION, "s"),
    "standard": (_OCHRE, "^"),
    "ERM": (_VERMILLION, "s"),
    "GroupDRO": (_OCHRE, "^"),
    "XRM + GroupDRO": (_GREEN, "X"),
    "MAT": (_BLUE, "o"),
    "MAT-oracle": (_SKY, "D"),
    "group-balanced weights": (_PURPLE, "P"),
}
_SPARE_MARKERS = ("v", "X", "<", ">", "p", "*")
COLORS = MappingProxyType(
    {
        "test accuracy": _BLUE,
        "spurious accuracy": _VERMILLION,
        "feature alignment": _GREEN,
        "covariance": _PURPLE,
        "stability": _OCHRE,
        "theory": INK,
        "reference": _GRAY,
        "core feature": _GREEN,
        "background feature": _PURPLE,
        "positive output weight": _OCHRE,
        "negative output weight": _SKY,
        **{arm: color for arm, (color, _) in _ARMS.items()},
    }
)

FONT_SIZE = 12  # points; a row of panels is at most 8 inches wide, see ``panels``
_NARROW = 4.8  # inches; shown on a 390 px phone at about three quarters of its size

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


def arm_styles(arms: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return color and marker of each arm: its own, unless another here has that color; else what is left.

    Raises:
        ValueError: more arms than can be told apart in one figure.
    """
    names = list(dict.fromkeys(arms))
    owners: dict[str, str] = {}
    for name in names:
        if name in _ARMS:
            owners.setdefault(_ARMS[name][0], name)
    others = [name for name in names if name not in owners.values()]
    spare = [color for color in PALETTE if color not in owners]
    if len(others) > len(spare):
        raise ValueError(
            f"{len(names)} arms ({', '.join(names)}) need more colors than can be told apart: "
            f"{len(spare)} are left for {len(others)}; draw fewer of them"
        )
    styles = _ARMS | dict(zip(others, zip(spare, _SPARE_MARKERS, strict=False), strict=False))
    return {name: styles[name] for name in names}


def between(first: str, last: str, share: float) -> str:
    """Return the color at a share, 0..1, of the way from one color to another, all written ``#rrggbb``."""
    ends = [[int(color[place : place + 2], 16) for place in (1, 3, 5)] for color in (first, last)]
    return "#" + "".join(f"{round(low + share * (high - low)):02x}" for low, high in zip(*ends, strict=True))


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
    figure.set_size_inches(min(width, _NARROW), height / rows * len(axes), forward=False)
    grid = figure.add_gridspec(len(axes), 1)
    for row, ax in enumerate(axes):
        ax.set_subplotspec(grid[row])
        _complete_labels(ax)
    _narrow_legends(figure)
    if isinstance(engine := figure.get_layout_engine(), ConstrainedLayoutEngine):
        engine.set(h_pad=0.12)  # inches; a panel's title stays apart from the labels above it
    return True


def _complete_labels(ax: Axes) -> None:
    """Write the labels that a panel had left to its neighbor."""
    if ax.axison:
        for axis, side in ((ax.xaxis, "labelbottom"), (ax.yaxis, "labelleft")):
            axis.set_tick_params(which="both", **{side: True})
            axis.label.set_visible(True)


def _narrow_legends(figure: Figure) -> None:
    """Redraw legends of the whole figure with at most two columns."""
    for legend in list(figure.legends):
        texts = [text.get_text() for text in legend.get_texts()]
        handles = [handle for handle in legend.legend_handles if handle is not None]
        legend.remove()
        columns = 1 if any(len(text) > 22 for text in texts) else 2
        figure.legend(handles, texts, loc="outside lower center", ncols=columns)
