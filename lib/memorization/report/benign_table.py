"""The table of the benign-memorization page: one row per arm, with its verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from memorization.measures.verdict import verdict
from memorization.report.arms import arm_names, paired_gain
from memorization.report.intervals import mean_interval

_ACCURACIES = {
    "clean_view": "clean views",
    "fresh_view": "fresh views",
    "bank_view": "fixed views",
    "batch_accuracy": "batches",
}


def benign_table(
    records: pd.DataFrame,
    n_test: int | Mapping[str, int],
    *,
    by: Sequence[str] = (),
    site: str = "embedding",
) -> pd.DataFrame:
    """Return one row per arm: how much was memorized, by each measure, what the probe says, and the verdict.

    The verdict is that of :func:`memorization.measures.verdict.verdict` on the means over seeds, judged by
    the clean views, or by the fixed views where the arm has them. Its tolerance is the noise of the test
    images, which all seeds share; the noise of the seeds is in ``low`` and ``high``.

    Args:
        records: of ``memorize``, with the rows of both ends.
        n_test: number of test images, or one per data set.
        by: further columns that tell runs apart, such as ``dataset``; they come first.
        site: where the probe is.

    Returns:
        Columns ``by``, ``arm``, ``seeds``, the accuracies on the arm's own labels ``clean views``, ``fresh
        views``, ``fixed views`` (NaN without) and ``batches`` (in training), ``probe``, ``initialization``,
        their ``difference``, the ends of its 95 % t interval over seeds ``low`` and ``high`` (NaN for one
        seed), ``verdict`` (``–`` where not all labels are random) and ``agreeing``: seeds whose own verdict
        it is (0 without a verdict).

    Raises:
        ValueError: one arm has several runs of one seed.
    """
    named = records if "arm" in records else arm_names(records)
    runs = paired_gain(named, site)
    keys = [*by, "arm"]
    twice = runs[runs.duplicated([*keys, "seed"])]
    if not twice.empty:
        first = twice.iloc[0]
        raise ValueError(
            f"more than one run of arm {first['arm']!r} with seed {first['seed']}; name the column that "
            "tells them apart, such as by=['dataset'], or select first"
        )
    rows = []
    for values, one in runs.groupby(keys, sort=False):
        tests = n_test if isinstance(n_test, int) else n_test[one["dataset"].iloc[0]]
        rows.append({**dict(zip(keys, values, strict=True)), **_row(one, tests)})
    return pd.DataFrame(rows)


def _row(runs: pd.DataFrame, n_test: int) -> dict[str, Any]:
    low, high = mean_interval(runs["gain"].to_numpy(dtype=float))
    kind, each = "–", []
    if (runs["noise"] == 1).all():
        kind = _kind(runs.mean(numeric_only=True), n_test)
        each = [_kind(run, n_test) for _, run in runs.iterrows()]
    return {
        "seeds": len(runs),
        **{name: runs[column].mean() for column, name in _ACCURACIES.items()},
        "probe": runs["clean_probe"].mean(),
        "initialization": runs["probe_start"].mean(),
        "difference": runs["gain"].mean(),
        "low": low,
        "high": high,
        "verdict": kind,
        "agreeing": sum(own == kind for own in each),
    }


def _kind(run: pd.Series, n_test: int) -> str:
    measure, column = ("bank", "bank_view") if run["views"] > 0 else ("clean-view", "clean_view")
    probes = (float(run["clean_probe"]), float(run["probe_start"]))
    return verdict(float(run[column]), *probes, n_test, measure).kind


def readable(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a :func:`benign_table` for a page: numbers as text, the difference with its interval.

    A column in which nothing was measured is left out.

    Args:
        frame: as :func:`benign_table` returns it.
    """
    text = frame.dropna(axis="columns", how="all").copy()
    for name in [*_ACCURACIES.values(), "probe", "initialization"]:
        if name in text:
            text[name] = [_decimals(value) for value in text[name]]
    ends = zip(frame["difference"], frame["low"], frame["high"], strict=True)
    text["difference"] = [_difference(*numbers) for numbers in ends]
    counts = zip(frame["verdict"], frame["agreeing"], frame["seeds"], strict=True)
    text["verdict"] = [kind if kind == "–" else f"{kind} ({n} of {of} seeds)" for kind, n, of in counts]
    text = text.rename(columns={"difference": "difference [95 % over seeds]"})
    return text.drop(columns=["low", "high", "agreeing", "seeds"], errors="ignore")


def _difference(value: float, low: float, high: float) -> str:
    ends = "" if pd.isna(low) else f" [{low:+.3f}, {high:+.3f}]"
    return f"{value:+.3f}{ends}".replace("-", "\u2212")


def _decimals(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.3f}"
