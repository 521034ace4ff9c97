"""One look for every figure of the book: colors with a fixed meaning, sizes that survive a phone."""

from __future__ import annotations

from types import MappingProxyType

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
