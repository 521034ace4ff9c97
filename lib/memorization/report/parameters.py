"""The parameters of a run as a table for the page."""

from __future__ import annotations

import pandas as pd
from IPython.display import HTML

from memorization.report.contract import RunLike
from memorization.report.markup import table_html


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
