"""Numbers for people, sentences and tables of a notebook's page."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from html import escape
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import HTML, Markdown

from memorization.report.intervals import half_width

if TYPE_CHECKING:
    from memorization.runs.start import Run

Format = str | Callable[[Any], str]
VISIBLE = 5e-5  # a number of four decimal places that is not 0


def number(value: Any, digits: int = 3) -> str:
    """Write a number with ``digits`` significant digits, ``–`` for a missing one, a text as it is."""
    if _is_missing(value):
        return "–"
    if isinstance(value, bool | str) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) < 1e6):
        whole = f"{int(value):,}".replace(",", "\u202f") if abs(value) >= 10_000 else str(int(value))
        return whole.replace("-", "\u2212")
    return f"{value:.{digits}g}".replace("e-0", "e-").replace("-", "\u2212", 1 if value < 0 else 0)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def plus_minus(value: float, error: float) -> str:
    """Write a number with half of its interval: two digits of that half, and as many places of the number.

    A zero or missing half is left out: the number is then exact, or there is only one.
    """
    if not error > 0:
        return number(value)
    return f"{_fixed(value, error)} ± {_fixed(error, error)}"


def with_interval(value: float, low: float | None, high: float | None) -> str:
    """Write a number with its interval, ``0.71 [0.69, 0.73]``; without ends, the number alone."""
    if low is None or high is None:
        return number(value)
    half = (high - low) / 2
    if not VISIBLE <= half < math.inf:  # four places would not show it
        return f"{number(value)} [{number(low)}, {number(high)}]"
    return f"{_fixed(value, half)} [{_fixed(low, half)}, {_fixed(high, half)}]"


def _fixed(value: float, error: float) -> str:
    """A number to the place of the second digit of its error, up to four places."""
    places = min(max(1 - math.floor(math.log10(error)), 0), 4)
    return f"{value:.{places}f}".replace("-", "\u2212")


def over_seeds(records: pd.DataFrame, by: Sequence[str], column: str) -> pd.DataFrame:
    """Return mean and 95 % interval of one quantity over seeds: one row for each group, in their order.

    Args:
        records: one row for each seed of a group.
        by: the columns that name a group; they come first.
        column: the quantity.

    Returns:
        ``by``, ``mean``, ``half`` (half the width of the 95 % interval of the mean, NaN for one seed) and
        ``seeds``.

    Raises:
        ValueError: a column is missing, there is no row, or a group has several of one seed.
    """
    missing = [name for name in (*by, column, "seed") if name not in records]
    if missing:
        raise ValueError(
            f"the records have no column {missing[0]!r}; they have {', '.join(map(str, records))}"
        )
    if records.empty:
        raise ValueError(f"there are no records of {column} by {', '.join(by)}; look at the selection before")
    check_once(records, by)
    groups = records.groupby(list(by), sort=False)[column]
    return groups.agg(mean="mean", half=half_width, seeds="count").reset_index()


def check_once(records: pd.DataFrame, by: Sequence[str]) -> None:
    """Raise a ValueError that names the first group and seed of which there are several rows, if any."""
    twice = records[records.duplicated([*by, "seed"])]
    if not twice.empty:
        first = ", ".join(f"{name}={twice.iloc[0][name]}" for name in (*by, "seed"))
        raise ValueError(
            f"more than one row for {first}: the records hold several runs or curves; select one first, for "
            "example with records.query(\"activation == 'phi2'\"), or name what tells them apart"
        )


def seed_means(
    records: pd.DataFrame, by: Sequence[str], columns: Mapping[str, str] | Sequence[str]
) -> pd.DataFrame:
    """Return means over seeds as text, ``0.71 ± 0.02``: one row for each group, in their order.

    Behind ± stands half the width of the 95 % interval. One that four decimal places do not show is left out,
    and the mean has these places.

    Args:
        records: one row for each seed of a group.
        by: the columns that name a group; they come first.
        columns: what is averaged; a mapping says what each column is called in the table.
    """
    if not isinstance(columns, Mapping):
        columns = {column.replace("_", " "): column for column in columns}
    rows = []
    for keys, group in records.groupby(list(by), sort=False):
        row: dict[str, Any] = dict(zip(by, keys, strict=True))
        for name, column in columns.items():
            mean, error = float(group[column].mean()), half_width(group[column])
            shown = 0.0 if abs(mean) < VISIBLE else round(mean, 4) if error > 0 else mean
            row[name] = plus_minus(mean, error) if error >= VISIBLE else number(shown, 4 if error > 0 else 3)
        rows.append(row)
    return pd.DataFrame(rows)


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


def solution(text: str) -> Markdown:
    """Return sentences with computed numbers below the word *Solution*, which unfolds them; as ``say``."""
    return Markdown(f":::{{admonition}} Solution\n:class: dropdown\n\n{say(text).data}\n:::")


def table(
    frame: pd.DataFrame,
    caption: str,
    formats: Mapping[str, Format] | None = None,
    *,
    markup: Collection[Any] = (),
    stacked: bool = False,
    attributes: Sequence[Mapping[str, str]] = (),
) -> HTML:
    """Return an accessible table: a caption, scoped headers, no empty header cell; a sentence without rows.

    The first column names the row. On a narrow screen the table scrolls inside its own box, or, where
    ``stacked``, each row becomes a small card.

    Args:
        frame: What to show; the index is not shown.
        caption: What the table says; also the name of the scrolling box for screen readers.
        formats: Per column a format specification such as ``".3f"`` or a function of the cell.
        markup: Columns whose cells are HTML already; all others are escaped.
        stacked: Make cards of the rows on a phone.
        attributes: HTML attributes of each row, such as an ``id`` to link to; none for all.

    Raises:
        ValueError: No caption, a column without a name, attributes for more or fewer rows than there are, or
            ``formats`` names a column that is not there.
    """
    if not caption.strip() or any(not str(column).strip() for column in frame):
        raise ValueError("a table needs a caption, and a name for each column")
    if frame.empty:
        return HTML(f"<p>{escape(caption)}: there are no rows to show.</p>")
    formats = {**_places(frame), **(formats or {})}
    unknown = [name for name in formats if name not in frame]
    if unknown:
        raise ValueError(f"formats names {unknown[0]!r}, but the columns are {', '.join(map(str, frame))}")
    head = "".join(
        f'<th scope="col" role="columnheader" data-label="{name}">{name}</th>'
        for name in (escape(str(column), quote=True) for column in frame)
    )
    if attributes and len(attributes) != len(frame):
        raise ValueError(f"give attributes of each row: {len(frame)} rows, {len(attributes)} attributes")
    rows = zip(frame.to_dict("records"), attributes or [{}] * len(frame), strict=True)
    body = "\n".join(_row(row, formats, markup, own) for row, own in rows)
    kind = "data-table stacked" if stacked else "data-table"
    return HTML(
        f'<div class="table-box" role="region" tabindex="0" aria-label="{escape(caption, quote=True)}">'
        f'<table class="{kind}" role="table"><caption><span>{escape(caption)}</span></caption>\n'
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{body}\n</tbody></table></div>'
    )


def file_links(run: Run, lead: str, files: Mapping[str, str]) -> HTML:
    """Return a line of links to files that the page has stored beside its figures' data.

    Args:
        run: The started run.
        lead: What they are, the beginning of a sentence.
        files: Names of the files, by the words of their links.

    Raises:
        FileNotFoundError: A file was not stored; names it.
    """
    for name in files.values():
        if not (run.figures_folder / name).is_file():
            raise FileNotFoundError(f"{name} is not in {run.figures_folder}; store it before it is linked to")
    each = [
        f'<a href="{escape(run.figures_href)}/{escape(name)}" download>{escape(words)}</a>'
        for words, name in files.items()
    ]
    return HTML(f"<p>{escape(lead)}: {' · '.join(each)}.</p>")


def _places(frame: pd.DataFrame) -> dict[Any, str]:
    """Formats that give the numbers of a column the same number of places, up to four: 0.50 above 0.25."""
    formats = {}
    for name in (column for column in frame if pd.api.types.is_float_dtype(frame[column])):
        shown = [number(value) for value in frame[name] if not _is_missing(value)]
        places = max((len(text.partition(".")[2]) for text in shown), default=0)
        if 0 < places <= 4 and not any("e" in text for text in shown):
            formats[name] = f".{places}f"
    return formats


def _row(
    row: dict[Any, Any], formats: Mapping[str, Format], markup: Collection[Any], own: Mapping[str, str]
) -> str:
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
    named = "".join(f' {name}="{escape(value, quote=True)}"' for name, value in own.items())
    return f'<tr role="row"{named}>{"".join(cells)}</tr>'


def _cell(value: Any, form: Format | None) -> str:
    if _is_missing(value) or form is None:
        return number(value)
    return form(value) if callable(form) else format(value, form).replace("-", "\u2212", int(value < 0))


def how_to_run(run: Run) -> Markdown:
    """Say how to run a page with other parameters: by the project's command, by papermill, in JupyterLab."""
    name = run.name
    return say(f"""
By the project's own command, from its folder, which checks what is given and keeps every finished point:

```bash
python -m memorization run {name} -p seeds 3 -o out.ipynb
```

By plain papermill; `-f` takes the values of a profile, here those of `smoke`, which takes seconds:

```bash
cd notebooks
jupytext --to ipynb {name}.py
papermill {name}.ipynb out.ipynb -f parameters/{name}.smoke.yaml -p seeds 3
```

In JupyterLab (`pip install jupyterlab`): open `notebooks/{name}.ipynb`, which the second way made, change the
cell of parameters and run all cells. In the file that cell comes first.
""")


def parameter_table(run: Run) -> HTML:
    """Show every parameter of a run, folded: its value here, what it means, its unit, what is allowed."""
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
    content = table(pd.DataFrame(rows), caption, stacked=True).data
    head = f"{len(rows)} parameters, with their values at profile {run.profile}"
    return HTML(f'<details class="fold"><summary>{head}</summary>\n{content}</details>')


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
