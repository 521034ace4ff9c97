"""Tables of the records of ``memorize``: what its columns are, and one row for each network."""

from __future__ import annotations

import inspect
from typing import Any

import pandas as pd

from memorization.studies.benign_memorization.experiments import memorize

FRESH = 10**6  # stands for "no fixed number of views" where views are put in order
_PROBES = {"clean": "clean_probe", "noise": "noise_probe", "invariance": "invariance"}
_BY_SITE = ("at", "epoch", "site", "depth", "uncalibrated_probe", *_PROBES.values())
_OF_THE_RUN = ("clean_view", "fresh_view", "bank_view", "test_accuracy", "batch_accuracy", "loss")
# What ``memorize`` returns; every other column of its records says which run a row belongs to.
MEASURED = (*_BY_SITE, *_OF_THE_RUN)


def one_row_per_run(table: pd.DataFrame) -> pd.DataFrame:
    """Lay the records of ``memorize`` side by side: one row for each network.

    Args:
        table: rows of a sweep over ``memorize``, one per network, probed epoch and site.

    Returns:
        One row per network: every column that the table has for a run (the arguments of ``memorize``,
        ``seed``, provenance), ``epochs`` (trained), the accuracies at the end (``clean_view``,
        ``fresh_view``, ``bank_view``, ``batch_accuracy``, ``test_accuracy``), and for each site
        ``clean_SITE``, ``noise_SITE``, ``invariance_SITE`` at the end and ``start_...`` before the first
        step; ``probe`` and ``start`` are those of the embedding, ``gain`` their difference, and
        ``early_gain`` the part of it that is there at the first probed epoch from a quarter of the epochs on
        (NaN if none was probed before the end). ``augmented`` says whether there was augmentation;
        ``view_order`` is the number of fixed views, ``FRESH`` for fresh ones; ``projector_layers`` and
        ``room`` are the hidden layers of the projector and the width of the first, 0 for none.
    """
    if table.empty:
        return table
    arguments = [name for name in inspect.signature(memorize).parameters if name in table]
    keys = table[[*arguments, "seed"]].map(repr).agg("|".join, axis=1)  # lists and None among them
    rows = [_row(run) for _, run in table.groupby(keys, sort=False)]
    return pd.DataFrame(rows)


def _row(run: pd.DataFrame) -> dict[str, Any]:
    end, start = run[run["at"] == "end"], run[run["at"] == "start"]
    first = end.iloc[0]
    row: dict[str, Any] = {str(n): v for n, v in first.to_dict().items() if n not in _BY_SITE}
    row["epochs"] = int(first["epoch"])
    for prefix, part in (("", end), ("start_", start)):
        for short, column in _PROBES.items():
            row |= {f"{prefix}{short}_{s}": v for s, v in zip(part["site"], part[column], strict=True)}
    row["probe"], row["start"] = row["clean_embedding"], row["start_clean_embedding"]
    row["gain"] = row["probe"] - row["start"]
    row["augmented"] = bool(first["strength"] > 0)
    row["view_order"] = int(first["views"]) or FRESH
    row["projector_layers"], row["room"] = len(first["hidden"]), next(iter(first["hidden"]), 0)
    early = run[(run["site"] == "embedding") & (run["at"] == "during") & (run["epoch"] >= first["epoch"] / 4)]
    if not early.empty:
        row["early_gain"] = (early.iloc[0]["clean_probe"] - row["start"]) / row["gain"]
    return row
