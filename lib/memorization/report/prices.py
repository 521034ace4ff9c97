"""What a notebook costs, measured: time and memory of each profile, where the page comes from, and speed.

Speed is our way against the plain way of doing the same work, both measured in one run.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import pandas as pd
from IPython.display import HTML

from memorization.report.figures import panels, reference_line, show
from memorization.report.files import read_rows, write_json
from memorization.report.styles import COLORS
from memorization.report.tables import number, table
from memorization.runs.parameters import PROFILES
from memorization.runs.provenance import seconds_since
from memorization.runs.records import RecordStore, newest

if TYPE_CHECKING:
    from memorization.runs.start import Run

Price = dict[str, Any]


def price_of(run: Run, tables: Mapping[str, pd.DataFrame]) -> Price | None:
    """Return what a page cost that computed all of its own points; None for any other.

    A page that finds points in its store takes seconds, which is not what it costs: its price is that of the
    run which computed them.

    Args:
        run: The started run.
        tables: The page's own records, not those that another profile computed, with the provenance columns
            ``_seconds``, ``_peak_mib``, ``_device``, ``_date``, ``_source``.

    Returns:
        ``name``, ``profile``, ``seconds`` (wall-clock, from the page's first cell to this one, s),
        ``computing_seconds`` (the times of all points, added up, though many ran side by side, s),
        ``peak_mib`` (the largest point's, MiB), ``device``, ``cores``, ``threads``, ``load`` (processes that
        were running or waiting when the page began, averaged over a minute), ``date`` of the newest record,
        ``versions``.
    """
    points = _points(tables)
    if points.empty or (points["_source"] != "live").any() or (points["_date"] < run.started).any():
        return None
    return {
        "name": run.name,
        "profile": run.profile,
        "seconds": round(seconds_since(run.started), 2),
        "computing_seconds": round(float(points["_seconds"].sum()), 2),
        "peak_mib": round(float(points["_peak_mib"].max()), 1),
        **{
            key: ", ".join(sorted(set(map(str, points[f"_{key}"])))) for key in ("device", "cores", "threads")
        },
        "load": run.load,
        "date": str(points["_date"].max()),
        "versions": dict(run.provenance.get("versions", {})),
    }


def _points(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The points of all tables, each once: a point may have several rows, and be in several tables.

    A table without ``_source`` was derived from others, such as means over examples, and has none of its own.
    """
    frames = [frame for frame in tables.values() if not frame.empty and "_source" in frame]
    if not frames:
        return pd.DataFrame()
    rows = pd.concat(frames, ignore_index=True)
    how = [column for column in rows if str(column).startswith("_") and column != "_source"]
    return rows.drop_duplicates(["seed", *how])


def write_price(run: Run, tables: Mapping[str, pd.DataFrame]) -> Path | None:
    """Store the price of this run at ``run.price_path``; None where it has none, see ``price_of``."""
    price = price_of(run, tables)
    if price is None:
        return None
    write_json(run.price_path, [price])
    return run.price_path


def price_table(run: Run) -> HTML:
    """Show what each profile costs: measured by this run or the last of this build, or published.

    Args:
        run: The started run; what :func:`write_price` stored is read from its folder.

    Raises:
        ValueError: A published file is damaged; the message names it.
    """
    shown = [profile for profile in PROFILES if profile != "smoke" or profile == run.profile]
    prices = [(profile, _last_price(run, profile) or _of_points(run, run.name, profile)) for profile in shown]
    frame = pd.DataFrame([_profile_row(profile, price) for profile, price in prices])
    return table(frame, f"Measured price of {run.name}, by profile")


def every_price(run: Run) -> HTML:
    """Show what each page costs at each profile: measured by this build, or published.

    Args:
        run: The started run of any page.

    Raises:
        ValueError: A file is damaged; the message names it.
    """
    results = [*run.published.glob("prices/*.json"), *run.published.glob("records/*.jsonl")]
    names = sorted({path.name.partition(".")[0] for path in results})
    rows = [
        {"page": f'<a href="{name}.html">{name.replace("_", " ")}</a>', **_profile_row(profile, price)}
        for name in names
        for profile in PROFILES
        if profile != "smoke" and (price := _any_price(run, name, profile))
    ]
    if not rows:
        return HTML("<p>No prices are measured yet: run <code>make book</code>.</p>")
    return table(pd.DataFrame(rows), "Measured price of each page, by profile", markup=["page"], stacked=True)


def _any_price(run: Run, name: str, profile: str) -> Price | None:
    """The price of a page: of this build, published, or of its published points."""
    places = [folder / "prices" / f"{name}.{profile}.json" for folder in (run.build, run.published)]
    return _first(places) or _of_points(run, name, profile)


def _of_points(run: Run, name: str, profile: str) -> Price | None:
    """What the published points of a page cost that was not run as a whole; None where there are none."""
    records = newest(RecordStore(run.published / "records" / f"{name}.{profile}.jsonl").read()).values()
    measured = [record.measured for record in records]
    if not measured:
        return None
    parts = []
    for device in sorted({str(one["device"]) for one in measured}):
        seconds = [one["seconds"] for one in measured if one["device"] == device]
        parts.append(f"{duration(sum(seconds))} in {len(seconds)} points on {device}")
    return {
        "parts": ", ".join(parts),
        "peak_mib": max(one["peak_mib"] for one in measured),
        "date": max(one["date"] for one in measured),
        "versions": measured[-1]["versions"],
    }


def cost(run: Run) -> str:
    """Say what the page costs at this profile: ``4 min 10 s and 500 MiB on a cpu, 2 cores``."""
    price = _last_price(run, run.profile)
    if price is None:
        return "not measured yet"
    machine = f"{price['device']}, {price['cores']} cores"
    return f"{duration(price['seconds'])} and {_memory(price['peak_mib'])} on {machine}"


def _last_price(run: Run, profile: str) -> Price | None:
    """The newest price of a profile; a run with other parameters has none but its own."""
    published = run.published / "prices" / f"{run.name}.{profile}.json"
    built = run.build / "prices" / run.price_path.name
    paths = [published]
    if profile == run.profile:
        paths = [run.price_path, built, published] if run.own else [run.price_path]
    return _first(paths)


def _first(paths: Sequence[Path]) -> Price | None:
    """The price in the first of some files that is there."""
    for path in paths:
        if path.is_file() and (rows := read_rows(path)):
            return rows[0]
    return None


def _profile_row(profile: str, price: Price | None) -> dict[str, Any]:
    if price is None:
        nothing = dict.fromkeys(("device", "peak memory", "load", "measured"), "–")
        return {"profile": profile, "time": "not measured yet", **nothing}
    known = {
        "peak memory": _memory(price["peak_mib"]),
        "load": number(price.get("load")),
        "measured": f"{price['date'][:10]}, torch {price['versions'].get('torch', '–')}",
    }
    if "parts" in price:
        time, device = f"not run as a whole; {price['parts']}, summed over points", "–"
    else:
        summed = "" if "computing_seconds" in price else ", summed over points"  # as older runs measured it
        time, device = f"{duration(price['seconds'])}{summed}", f"{price['device']}, {price['cores']} cores"
    return {"profile": profile, "time": time, "device": device, **known}


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


def _memory(mib: float | None) -> str:
    return "–" if mib is None or math.isnan(mib) else f"{mib:.0f} MiB"


def foot(run: Run, tables: Mapping[str, pd.DataFrame] | None = None) -> HTML:
    """Show where this page comes from: notebook, records, versions, device, cores and code version.

    Args:
        run: The started run.
        tables: This run's records: how many, when they were made, and how many by other code than today's.
    """
    rows = [{"what": "notebook", "value": f"{run.name}, profile {run.profile}"}]
    if tables:
        rows.append({"what": "records", "value": _records(_points(tables))})
    for key, value in run.provenance.items():
        text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
        rows.append({"what": key.replace("_", " "), "value": text})
    return table(pd.DataFrame(rows), "Where this page comes from")


def _records(points: pd.DataFrame) -> str:
    """Say how many points a page shows, from when, from where, and how many of them old code made."""
    if points.empty:
        return "none"
    published = int((points["_source"] == "published").sum())
    old = int(points["_code_changed"].sum())
    text = f"{len(points)} points made from {points['_date'].min()[:10]} to {points['_date'].max()[:10]}"
    text += f", {published} of them published" if published else ""
    return text + (f"; {old} were made by older code than the code beside them" if old else "")


_NUMBERS = ("plain_seconds", "our_seconds", "ratio", "plain_peak_mib", "our_peak_mib")
_NEEDED = ("work", *_NUMBERS, "device", "cores", "date")
_SHORT = re.compile(r"; plain| \(|; both")  # where the words of a benchmark turn to how it was measured
_NOTHING = HTML("<p>No measurements are published yet: run <code>make benchmarks</code>.</p>")


def read_benchmarks(folder: Path) -> pd.DataFrame:
    """Read every published measurement.

    Args:
        folder: Holds one JSON file per paper, a list of rows each; it need not exist.

    Returns:
        One row per piece of work: ``work``, ``plain_seconds``, ``our_seconds``, ``ratio`` (plain over ours),
        ``plain_peak_mib``, ``our_peak_mib``, ``device``, ``cores``, ``date``, and ``file``.

    Raises:
        ValueError: A file is damaged or a row lacks a number; the message names it.
    """
    rows = []
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else []:
        for row in read_rows(path):
            missing = [key for key in _NEEDED if key not in row]
            if missing:
                raise ValueError(
                    f"{path}: the row {row.get('work', '?')!r} has no {missing[0]!r}; measure it again"
                )
            rows.append({**row, "file": path.stem})
    return pd.DataFrame(rows, columns=[*_NEEDED, "file"])


def benchmark_table(rows: pd.DataFrame) -> HTML:
    """Show the measurements; says how to make some where there are none."""
    if rows.empty:
        return _NOTHING
    frame = pd.DataFrame(
        {
            "work": rows["work"],
            "plain way": rows["plain_seconds"].map(duration),
            "our way": rows["our_seconds"].map(duration),
            "plain over ours": rows["ratio"].map(lambda ratio: f"{number(ratio)} ×"),
            "plain memory": rows["plain_peak_mib"].map(_memory),
            "our memory": rows["our_peak_mib"].map(_memory),
            "device": rows["device"] + ", " + rows["cores"].astype(str) + " cores",
            "measured": rows["date"].str[:10],
        }
    )
    return table(frame, "Time and peak memory of both ways, measured in one run", stacked=True)


def benchmark_figure(run: Run, rows: pd.DataFrame) -> HTML:
    """Show how many times faster our way is: a dot per piece of work, the largest gain first."""
    if rows.empty:
        return _NOTHING
    ordered = rows.sort_values("ratio", ascending=False, ignore_index=True)
    figure, (ax,) = panels(1, height=1.0 + 0.62 * len(rows))
    places, color = ordered.index.to_numpy() + 0.3, COLORS["test accuracy"]
    ax.hlines(places, 1.0, ordered["ratio"], color=color, linewidth=2.5, alpha=0.45)
    ax.plot(ordered["ratio"], places, "o", color=color, markersize=8)
    reference_line(ax, 1.0, "equal", axis="x")
    for place, (work, ratio) in enumerate(zip(ordered["work"], ordered["ratio"], strict=True)):
        words = fill(f"{_times(ratio)} ×  {_SHORT.split(work)[0]}", 72)
        ax.text(0.0, place + 0.12, words, transform=ax.get_yaxis_transform(), size=9.5, linespacing=0.95)
    ax.set(xscale="log", xlabel="time of the plain way over time of our way [times]")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlim(min(0.5, ordered["ratio"].min() / 1.5), max(2.0, ordered["ratio"].max() * 1.5))
    ax.set_ylim(len(rows), -0.5)
    ax.yaxis.set_visible(False)
    ax.grid(axis="y", visible=False)
    most, faster = _times(ordered["ratio"].max()), int((ordered["ratio"] > 1).sum())
    return show(
        run,
        figure,
        ordered[["work", *_NUMBERS, "file"]],
        name="speed",
        title=f"{faster} of {len(rows)} rows take less time than the plain way, the best by {most} times",
        alt="Dots, the time of the plain way divided by ours. "
        + "; ".join(f"{row.work}: {_times(row.ratio)} times" for row in ordered.itertuples())
        + ".",
    )


def _times(ratio: Any) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.1f}"
