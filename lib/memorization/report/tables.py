"""Sentences, tables and interactive figures for a notebook's page.

The parameters of a run as a table for the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from textwrap import dedent
from typing import Any

import pandas as pd
from IPython.display import HTML, Markdown

from memorization.report.figures import card, check_data, check_words, store_data
from memorization.report.files import Format, RunLike, table_html

# A notebook's page is one folder below the book's root; book/_ext/offline.py puts the file there.
_PLOTLY_JS = "../_static/plotly.min.js"


def say(text: str) -> Markdown:
    """Return sentences with computed numbers as MyST Markdown (formulas and roles work).

    Args:
        text: The sentences; common indentation is removed.

    Raises:
        ValueError: A number in the text is ``nan`` or ``inf``: such a sentence says nothing.
    """
    text = dedent(text).strip()
    words = {word.strip(".,;:()%±[]*_`") for word in text.lower().split()}
    if words & {"nan", "inf", "-inf"}:
        raise ValueError(f"a number in this sentence is not finite, look at the records: {text!r}")
    return Markdown(text)


def table(frame: pd.DataFrame, caption: str, formats: Mapping[str, Format] | None = None) -> HTML:
    """Return an accessible table; the first column names the row and the index is not shown.

    Args:
        frame: What to show, at least one row.
        caption: What the table says.
        formats: Per column a format specification such as ``".3f"`` or a function of the cell.
    """
    return HTML(table_html(frame, caption, formats))


def interactive(run: RunLike, figure: Any, data: pd.DataFrame, *, name: str, title: str, alt: str) -> HTML:
    """Return a plotly figure as a card; plotly.js comes from the book itself, not from a network.

    Args:
        run: The started run.
        figure: A ``plotly.graph_objects.Figure``.
        data: The numbers that are drawn; stored as CSV.
        name: As in ``show``; also fixes the element's id, so that two runs give equal pages.
        title: The message, a sentence.
        alt: What is seen, for readers who cannot see it.
    """
    check_words(name, title, alt)
    data = check_data(data, name)
    store_data(run, data, name)
    content = figure.to_html(
        full_html=False,
        include_plotlyjs=_PLOTLY_JS,
        include_mathjax=False,
        div_id=f"interactive-{name}",
        config={"displayModeBar": False, "responsive": True},  # the bar would cover the legend,
    )
    box = f'<div class="interactive" role="group" aria-label="{escape(alt, quote=True)}">{content}</div>'
    return HTML(card(run, box, name=name, title=title, band=None, wide=False))


def parameter_table(run: RunLike) -> HTML:
    """Show every parameter of a run, folded: its value here, what it means, its unit, what is allowed.

    Args:
        run: the started run.
    """
    rows = [
        {
            "parameter": name,
            "value": _text(run.settings[name]),
            "meaning": declared.meaning,
            "unit": declared.unit,
            "allowed": declared.allowed,
        }
        for name, declared in run.parameters.items()
    ]
    caption = f"Parameters of {run.name}, and their values at profile {run.profile}"
    content = table_html(pd.DataFrame(rows), caption, stacked=True)
    head = f"{len(rows)} parameters, with their values at profile {run.profile}"
    return HTML(f'<details class="fold"><summary>{head}</summary>\n{content}</details>')


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
