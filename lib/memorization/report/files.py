"""What the report needs to know of a run; ``memorization.runs.start.Run`` has all of it.

Writing whole files: either the old content or the new one, never half of it.

Small pieces of HTML: numbers for people, accessible tables.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Callable, Collection, Mapping
from html import escape
from pathlib import Path
from typing import Any, Protocol

import pandas as pd


class RunLike(Protocol):
    """A started run of one notebook at one profile."""

    @property
    def name(self) -> str:
        """The notebook's name."""

    @property
    def profile(self) -> str:
        """The parameter profile, for example ``book``."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Every parameter's value."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the notebook declares about each parameter."""

    @property
    def build(self) -> Path:
        """The folder that a build may write to."""

    @property
    def figures_folder(self) -> Path:
        """Where this notebook's figures and their data are stored."""

    @property
    def figures_href(self) -> str:
        """That folder, relative to the notebook's page in the book."""

    @property
    def verdicts_path(self) -> Path:
        """Where this run's verdicts are stored."""

    @property
    def claims_path(self) -> Path:
        """The notebook's claims."""

    @property
    def price_path(self) -> Path:
        """Where this run's measured price is stored."""

    @property
    def published(self) -> Path:
        """The folder of published records, verdicts and prices."""

    @property
    def source_url(self) -> str:
        """The notebook's source in the public repository."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, device, cores and code version."""


def write_bytes(path: Path, content: bytes) -> None:
    """Put ``content`` at ``path`` in one step, making the folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(draft, 0o644)  # mkstemp's own mode would hide the page from a web server
        os.replace(draft, path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON with a stable layout; a number that is not finite becomes ``null``."""
    text = json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False)
    write_bytes(path, (text + "\n").encode())


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a JSON file that holds a list of objects.

    Raises:
        ValueError: The file is damaged or holds something else; the message names it.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{path} is not readable JSON ({error}); delete it and run its notebook again"
        ) from None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{path} should hold a JSON list of objects; delete it and run its notebook again")
    return rows


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()  # a NumPy scalar
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


Format = str | Callable[[Any], str]


def number(value: Any, digits: int = 3) -> str:
    """Write a number with ``digits`` significant digits, ``–`` for a missing one, a text as it is."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        return f"{int(value):,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(int(value))
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("-", "\u2212", 1 if value < 0 else 0)


def plus_minus(value: float, error: float) -> str:
    """Write a number with its error: two digits of the error, and as many places of the number.

    A zero or missing error is left out: the number is then exact, or there is only one.
    """
    if not error > 0:
        return number(value)
    places = min(max(1 - math.floor(math.log10(error)), 0), 4)
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "\u2212")


def table_html(
    frame: pd.DataFrame,
    caption: str,
    formats: Mapping[str, Format] | None = None,
    *,
    markup: Collection[Any] = (),
    stacked: bool = False,
) -> str:
    """Return an accessible table: a caption, scoped headers, no empty header cell.

    The first column names the row. On a narrow screen the table scrolls inside its own box, or, where
    ``stacked``, each row becomes a small card.

    Args:
        frame: What to show; the index is not shown.
        caption: What the table says; also the name of the scrolling box for screen readers.
        formats: Per column a format specification such as ``".3f"`` or a function of the cell.
        markup: Columns whose cells are HTML already; all others are escaped.
        stacked: Make cards of the rows on a phone.

    Raises:
        ValueError: No rows, no caption, or ``formats`` names a column that is not there.
    """
    formats = dict(formats or {})
    unknown = [name for name in formats if name not in frame]
    if unknown:
        raise ValueError(f"formats names {unknown[0]!r}, but the columns are {', '.join(map(str, frame))}")
    if frame.empty or not caption.strip() or any(not str(column).strip() for column in frame):
        raise ValueError("a table needs at least one row, a caption, and a name for each column")
    head = "".join(f'<th scope="col" role="columnheader">{escape(str(column))}</th>' for column in frame)
    body = "\n".join(_row(row, formats, markup) for row in frame.to_dict("records"))
    kind = "data-table stacked" if stacked else "data-table"
    return (
        f'<div class="table-box" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}">'
        f'<table class="{kind}" role="table"><caption><span>{escape(caption)}</span></caption>\n'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{body}\n</tbody></table></div>'
    )


def _row(row: dict[Any, Any], formats: Mapping[str, Format], markup: Collection[Any]) -> str:
    cells = []
    for place, (column, value) in enumerate(row.items()):
        text = _cell(value, formats.get(column))
        content = text if column in markup else escape(text)
        label = escape(str(column), quote=True)
        side = ' class="number"' if isinstance(value, int | float) and not isinstance(value, bool) else ""
        if place == 0:
            cells.append(f'<th scope="row" role="rowheader" data-label="{label}">{content}</th>')
        else:
            cells.append(f'<td role="cell" data-label="{label}"{side}>{content}</td>')
    return f'<tr role="row">{"".join(cells)}</tr>'


def _cell(value: Any, form: Format | None) -> str:
    missing = value is None or (isinstance(value, float) and math.isnan(value))
    if missing or form is None:
        return number(value)
    return form(value) if callable(form) else format(value, form)
