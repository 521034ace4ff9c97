"""What a notebook costs, measured: time and memory of each profile, and the page's foot."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import HTML

from memorization.report.claims import PROFILES
from memorization.report.contract import RunLike
from memorization.report.files import read_rows, write_json
from memorization.report.markup import table_html

Price = dict[str, Any]


def price_of(run: RunLike, tables: Mapping[str, pd.DataFrame]) -> Price | None:
    """Add up what the records of a run cost; None where there are no records.

    A record may have several rows; its time counts once.

    Args:
        run: The started run.
        tables: Records with the provenance columns ``_seconds``, ``_peak_mib``, ``_device``, ``_date``.

    Returns:
        ``name``, ``profile``, ``seconds`` (sum of the time of all points, s), ``peak_mib`` (the largest,
        MiB), ``device``, ``cores``, ``threads``, ``date`` of the newest record, ``versions``.
    """
    frames = [frame for frame in tables.values() if not frame.empty]
    if not frames:
        return None
    rows = pd.concat(frames, ignore_index=True)
    points = rows.drop_duplicates(["seed", *_how(rows)])
    return {
        "name": run.name,
        "profile": run.profile,
        "seconds": round(float(points["_seconds"].sum()), 2),
        "peak_mib": round(float(points["_peak_mib"].max()), 1),
        **{key: _distinct(points, f"_{key}") for key in ("device", "cores", "threads")},
        "date": str(points["_date"].max()),
        "versions": dict(run.provenance.get("versions", {})),
    }


def write_price(run: RunLike, tables: Mapping[str, pd.DataFrame]) -> Path | None:
    """Store the measured price of this run at ``run.price_path``; None where there are no records."""
    price = price_of(run, tables)
    if price is None:
        return None
    write_json(run.price_path, [price])
    return run.price_path


def price_table(run: RunLike, tables: Mapping[str, pd.DataFrame], published: Path | None = None) -> HTML:
    """Show what each profile costs: this run's own records, and the published measurements of the others.

    Args:
        run: The started run.
        tables: This run's records.
        published: Folder of ``NAME.PROFILE.json`` files; default ``run.published / "prices"``.

    Raises:
        ValueError: A published file is damaged; the message names it.
    """
    folder = run.published / "prices" if published is None else published
    prices = {}
    for profile in PROFILES:
        path = folder / f"{run.name}.{profile}.json"
        if path.is_file() and (rows := read_rows(path)):
            prices[profile] = rows[0]
    mine = price_of(run, tables)
    if mine is not None:
        prices[run.profile] = mine
    shown = [profile for profile in PROFILES if profile != "smoke" or profile == run.profile]
    frame = pd.DataFrame([_cells(profile, prices.get(profile)) for profile in shown])
    return HTML(table_html(frame, f"Measured price of {run.name}, by profile"))


def foot(run: RunLike, tables: Mapping[str, pd.DataFrame] | None = None) -> HTML:
    """Show where this page comes from: notebook, records, versions, device, cores and code version.

    Args:
        run: The started run.
        tables: This run's records: how many, when they were made, and how many by other code than today's.
    """
    rows = [{"what": "notebook", "value": f"{run.name}, profile {run.profile}"}]
    if tables:
        rows.append({"what": "records", "value": _records(list(tables.values()))})
    for key, value in run.provenance.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
        rows.append({"what": key.replace("_", " "), "value": text})
    return HTML(table_html(pd.DataFrame(rows), "Where this page comes from"))


def _records(frames: list[pd.DataFrame]) -> str:
    """Say how many points a page shows, from when, from where, and how many of them old code made."""
    rows = pd.concat([frame for frame in frames if not frame.empty], ignore_index=True)
    points = rows.drop_duplicates(["seed", *_how(rows)])
    published = int((points["_source"] == "published").sum())
    old = int(points["_code_changed"].sum())
    text = f"{len(points)} points made from {points['_date'].min()[:10]} to {points['_date'].max()[:10]}"
    text += f", {published} of them published" if published else ""
    return text + (f"; {old} were made by older code than the code beside them" if old else "")


def _how(rows: pd.DataFrame) -> list[Hashable]:
    return [column for column in rows if str(column).startswith("_") and column != "_source"]


def duration(seconds: float) -> str:
    """Write a time for people: ``12 ms``, ``0.4 s``, ``35 s``, ``4 min 10 s``, ``2.5 h``."""
    if seconds < 0.1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{seconds / 3600:.1f} h"


def _cells(profile: str, price: Price | None) -> dict[str, Any]:
    if price is None:
        nothing = dict.fromkeys(("peak memory", "device", "threads", "measured"), "–")
        return {"profile": profile, "time of all points": "not measured yet", **nothing}
    return {
        "profile": profile,
        "time of all points": duration(price["seconds"]),
        "peak memory": f"{price['peak_mib']:.0f} MiB",
        "device": f"{price['device']}, {price['cores']} cores",
        "threads": str(price["threads"]),
        "measured": f"{price['date'][:10]}, torch {price['versions'].get('torch', '–')}",
    }


def _distinct(frame: pd.DataFrame, column: str) -> str:
    if column not in frame:
        return "–"
    return ", ".join(sorted({str(value) for value in frame[column]}))
