"""A figure to explore without a kernel: the risk against the shift, for several slopes and backgrounds."""

from __future__ import annotations

from typing import Any

import pandas as pd

from memorization.data.structured import MEAN_WEIGHT
from memorization.report.contamination import risk_label
from memorization.report.contamination_arms import slope_color
from memorization.report.contamination_formulas import SHIFT_LABEL
from memorization.report.theme import BACKGROUND, FONT_SIZE, INK

_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "2px,6px", "12px,3px")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "pentagon")
_GRID = "#dcdfe3"


def risk_explorer(records: pd.DataFrame) -> Any:
    """Return a plotly figure of the risk against the shift, with a slider over the background's mean.

    Args:
        records: of ``contaminate``, tested at several shifts after training; several ``slope`` and ``mean``.
            Each slope is a line, the mean over seeds.

    Returns:
        A ``plotly.graph_objects.Figure`` for ``interactive``; each trace has one slope and one mean, and
        those of the largest background are shown first.

    Raises:
        ValueError: there are no records after the last step, or more slopes than can be told apart.
    """
    from plotly import graph_objects as go  # belongs to the extra 'book'

    table = explorer_data(records)
    slopes = sorted(table["slope"].unique())
    if len(slopes) > len(_DASHES):
        raise ValueError(
            f"{len(slopes)} slopes are more than can be told apart; draw {len(_DASHES)} or fewer"
        )
    means = sorted(table["background_mean"].unique(), reverse=True)
    figure = go.Figure()
    for mean in means:
        for place, slope in enumerate(slopes):
            one = table[(table["background_mean"] == mean) & (table["slope"] == slope)]
            figure.add_trace(go.Scatter(**_trace(one, slope, place), visible=bool(mean == means[0])))
    figure.update_layout(**_layout(risk_label(records), table), sliders=[_slider(means, len(slopes))])
    return figure


def explorer_data(records: pd.DataFrame) -> pd.DataFrame:
    """Return what :func:`risk_explorer` draws, as a table.

    Args:
        records: as :func:`risk_explorer`.

    Returns:
        ``background_mean``, ``slope``, ``shift``, ``risk`` (mean over seeds) and ``seeds``.

    Raises:
        ValueError: there are no records after the last step.
    """
    last = records[records["step"] == records["steps"]]
    if last.empty:
        raise ValueError("there are no records after the last step; look at the selection before it")
    last = last.assign(background_mean=MEAN_WEIGHT - last["mean"])
    groups = last.groupby(["background_mean", "slope", "shift"])["ood_risk"]
    return groups.agg(risk="mean", seeds="count").reset_index()


def _trace(one: pd.DataFrame, slope: float, place: int) -> dict[str, Any]:
    name = {0.0: "ReLU (slope 0)", 1.0: "identity (slope 1)"}.get(slope, f"slope {slope:g}")
    color = slope_color(float(slope))
    return {
        "x": one["shift"].tolist(),
        "y": [round(risk, 4) for risk in one["risk"]],
        "name": name,
        "mode": "lines+markers",
        "line": {"color": color, "width": 2.5, "dash": _DASHES[place]},
        "marker": {"color": color, "size": 8, "symbol": _SYMBOLS[place]},
        "hovertemplate": "background × %{x}: risk %{y:.3f}",
    }


def _slider(means: list[float], lines: int) -> dict[str, Any]:
    """A slider that shows the lines of one mean at a time."""
    steps = [
        {
            "method": "restyle",
            "label": f"{mean:g}",
            "args": [{"visible": [place == shown for place in range(len(means)) for _ in range(lines)]}],
        }
        for shown, mean in enumerate(means)
    ]
    words = {"prefix": "mean of the background in training: ", "font": {"size": FONT_SIZE + 1, "color": INK}}
    return {"active": 0, "steps": steps, "currentvalue": words, "pad": {"t": 60}, "len": 1.0, "x": 0}


def _layout(risk: str, table: pd.DataFrame) -> dict[str, Any]:
    grid = {
        "gridcolor": _GRID,
        "zeroline": False,
        "fixedrange": True,
    }  # a finger scrolls the page, not the plot
    shifts = [table["shift"].max() + 0.1, table["shift"].min() - 0.1]
    return {
        "template": "none",
        "height": 520,
        "paper_bgcolor": BACKGROUND,
        "plot_bgcolor": BACKGROUND,
        "font": {"size": FONT_SIZE + 1, "color": INK},
        "margin": {"l": 58, "r": 12, "t": 12, "b": 12},
        "xaxis": {**grid, "title": {"text": SHIFT_LABEL, "standoff": 6}, "range": shifts},
        "yaxis": {**grid, "title": {"text": risk}, "range": [-0.03, max(1.05, 1.05 * table["risk"].max())]},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
        "hovermode": "x unified",
        "showlegend": True,
    }
