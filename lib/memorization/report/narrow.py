"""A second drawing of a figure for narrow screens: its panels below each other."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

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
