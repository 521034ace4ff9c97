"""Showing a figure: one message, a real description, its data, a link to its source."""

from __future__ import annotations

import io
import re
from base64 import b64encode
from html import escape

import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.collections import PolyCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure

from memorization.report.contract import RunLike
from memorization.report.files import write_bytes
from memorization.report.narrow import restack

_DPI = 192  # twice the 96 pixels per inch of a page, for sharp screens
_UNIT = re.compile(r"\S.*\[[^\[\]]+\]$")
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")


def show(
    run: RunLike,
    figure: Figure,
    data: pd.DataFrame,
    *,
    name: str,
    title: str,
    alt: str,
    band: str | None = None,
    wide: bool = False,
) -> HTML:
    """Store a figure and its data, and return it as a card for the page.

    The card holds the picture (a second drawing with the panels below each other is used on narrow
    screens), the title, what the band is, and links to the data and the source. Two calls with equal
    figures give equal bytes. The figure is closed.

    Args:
        run: The started run.
        figure: Any matplotlib figure; each visible axis needs a label that ends with its unit in square
            brackets, such as ``N [examples]`` or ``accuracy [fraction]``.
        data: The numbers that are drawn, one row per point; columns that begin with ``_`` are left out.
        name: File name of figure and data: lower-case letters, digits, ``_`` and ``-``.
        title: The message, as a sentence of at least four words.
        alt: What a reader who cannot see the figure should know: at least 40 characters.
        band: What the shaded band or the error bars are, such as ``SEED_BAND`` or ``SEED_BARS``; needed where
            there are any.
        wide: Let the card use the margin column too.

    Returns:
        A display object, the last expression of a cell.

    Raises:
        ValueError: One of these rules is broken; the message says which and what to do.
    """
    check_words(name, title, alt)
    data = check_data(data, name)
    _check_axes(figure, name)
    if band is None and _has_band(figure):
        raise ValueError(
            f"figure {name!r} has a band or error bars: say what they are, for example band=SEED_BAND"
        )
    picture = _png(figure)
    write_bytes(run.figures_folder / f"{name}.png", picture)
    store_data(run, data, name)
    width, height = (round(96 * side) for side in figure.get_size_inches())
    narrow = _png(figure) if restack(figure) else None
    _close(figure)
    image = _image(picture, narrow, alt, width, height)
    return HTML(card(run, image, name=name, title=title, band=band, wide=wide))


def card(run: RunLike, content: str, *, name: str, title: str, band: str | None, wide: bool) -> str:
    """Return the HTML of a figure card around ``content``."""
    note = f'<p class="figure-band">{escape(band)}.</p>' if band else ""
    data = f"{run.figures_href}/{name}.csv"
    return (
        f'<figure class="figure-card{" figure-wide" if wide else ""}" id="figure-{name}">{content}\n'
        f'<figcaption><p class="figure-title">{escape(title)}</p>{note}'
        f'<p class="figure-links"><a href="{escape(data)}" download>data (CSV)</a> · '
        f'<a href="{escape(run.source_url)}">source</a></p></figcaption></figure>'
    )


def check_words(name: str, title: str, alt: str) -> None:
    """Hold a figure's name, title and description against the rules of ``show``."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"figure name {name!r}: use lower-case letters, digits, '_' and '-'")
    if len(title.split()) < 4:
        raise ValueError(
            f"figure {name!r}: the title is the message, a sentence of 4 words or more; got {title!r}"
        )
    if len(alt.strip()) < 40 or alt.strip().lower() == title.strip().lower():
        raise ValueError(
            f"figure {name!r}: alt text says what is seen (what goes up, from where to where) in 40 "
            f"characters or more and does not repeat the title; got {alt!r}"
        )


def check_data(data: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the data without its provenance columns, or say why it is not fit to publish."""
    data = data[[column for column in data if not str(column).startswith("_")]]
    if data.empty:
        raise ValueError(f"figure {name!r}: the data behind it has no rows; pass the table that was drawn")
    for column in data.select_dtypes("number"):
        bad = np.isinf(data[column].to_numpy(dtype=float))
        if bad.any():
            raise ValueError(
                f"figure {name!r}: column {column!r} is infinite in row {int(bad.argmax())}; "
                "a missing number should be NaN"
            )
    return data


def store_data(run: RunLike, data: pd.DataFrame, name: str) -> None:
    """Write the data of a figure as CSV into the run's folder of figures."""
    text = data.to_csv(index=False, float_format="%.10g", lineterminator="\n")
    write_bytes(run.figures_folder / f"{name}.csv", text.encode())


def _check_axes(figure: Figure, name: str) -> None:
    for place, ax in enumerate(figure.axes, start=1):
        if not ax.get_visible() or not ax.axison:
            continue
        for letter, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
            shown = axis.get_tick_params(which="major")
            labelled = any(shown.get(f"label{side}") for side in ("left", "right", "top", "bottom"))
            text = axis.get_label_text()
            if axis.get_visible() and labelled and not _UNIT.fullmatch(text):
                raise ValueError(
                    f"figure {name!r}, panel {place}: the {letter} axis is labelled {text!r}; a label "
                    "ends with its unit in square brackets, such as 'N [examples]' or 'accuracy [fraction]'"
                )


def _has_band(figure: Figure) -> bool:
    return any(
        any(isinstance(artist, PolyCollection) for artist in ax.collections)
        or any(isinstance(artist, ErrorbarContainer) for artist in ax.containers)
        for ax in figure.axes
    )


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _image(picture: bytes, narrow: bytes | None, alt: str, width: int, height: int) -> str:
    source = (
        f'<source media="(max-width: 600px)" srcset="data:image/png;base64,{b64encode(narrow).decode()}">'
        if narrow
        else ""
    )
    return (
        f'<picture>{source}<img class="dark-light" src="data:image/png;base64,{b64encode(picture).decode()}" '
        f'alt="{escape(alt, quote=True)}" width="{width}" height="{height}"></picture>'
    )


def _close(figure: Figure) -> None:
    import matplotlib.pyplot as plt  # only needed for figures that pyplot made

    plt.close(figure)
