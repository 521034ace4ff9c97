"""The benign-memorization page: arms in words, the rows of a run that are compared, and the table of arms."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from memorization.checks import check_choice
from memorization.report.intervals import mean_interval
from memorization.report.tables import check_once
from memorization.studies.benign_memorization.experiments import memorize
from memorization.studies.benign_memorization.own_network import verdict

FRESH = 10**6  # stands for "no fixed number of views" where views are put in order
_PROBES = {"clean": "clean_probe", "noise": "noise_probe", "invariance": "invariance"}
_BY_SITE = ("at", "epoch", "site", "depth", "uncalibrated_probe", *_PROBES.values())
_OF_A_RUN = {
    *inspect.signature(memorize).parameters,
    "seed",
}  # what was given says which run a row belongs to
_NAMING = ["dataset", "policy", "strength", "views", "view_labels", "noise", "group", "mix"]
_SETS = {"digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
_SETS |= {"cifar100": "CIFAR-100", "tiny_imagenet": "TinyImageNet"}
_SIDES = {"mnist": 14, "fashion_mnist": 14, "cifar10": 16}  # of ``memorized_split`` where none is asked for
_ACCURACIES = {"clean_view": "clean views", "fresh_view": "fresh views", "bank_view": "fixed views"}
_ACCURACIES |= {"batch_accuracy": "batches"}


def arm_names(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``arm``: labels and views of the run in words.

    The main arms are ``no augmentation``, ``augmentation`` and ``true labels``. A strength is part of the
    name only where the records hold several of one data set and policy.

    Args:
        records: of ``memorize``.
    """
    positive = records[records["strength"] > 0]
    counts = positive.groupby(["dataset", "policy"])["strength"].nunique()
    several = {key for key, count in counts.items() if count > 1}
    names = [
        _arm(row, (row["dataset"], row["policy"]) in several) for row in records[_NAMING].to_dict("records")
    ]
    return records.assign(arm=names)


def _arm(row: Mapping[Any, Any], with_strength: bool) -> str:
    augmented, words = row["strength"] > 0, []
    if row["group"] > 1:
        words.append(f"groups of {row['group']}")
    elif row["noise"] == 0:
        words.append("true labels")
    elif row["noise"] < 1:
        words.append(f"{100 * row['noise']:g} % random labels")
    if not augmented:
        words += [] if row["group"] > 1 else ["no augmentation"]
    elif row["views"] > 0:
        words.append(f"{row['views']} view{'s' if row['views'] > 1 else ''}")
        words += ["a label each"] if row["view_labels"] == "independent" else []
    elif row["noise"] > 0:
        words.append("augmentation")
    if augmented and with_strength:
        words.append(f"strength {row['strength']:g}")
    if row["mix"] != "none":
        words.append(row["mix"].replace("_mixed", " with mixed labels"))
    return ", ".join(words)


def plain_arms(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``arm`` that tells only augmentation, none, and true labels apart."""
    arm = records["strength"].gt(0).map({True: "augmentation", False: "no augmentation"})
    return records.assign(arm=arm.mask(records["noise"] == 0, "true labels"))


def named_sets(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with the data sets' usual names in ``dataset``, and their side where it was chosen.

    Args:
        records: with columns ``dataset`` and ``side`` (pixels; None or NaN for the data set's own).
    """
    names = records["dataset"].map(lambda name: _SETS.get(name, name))
    sides = records["side"].astype(float).fillna(records["dataset"].map(_SIDES))
    written = [f", {side:.0f}×{side:.0f}" if side > 0 else "" for side in sides]
    return records.assign(dataset=[name + side for name, side in zip(names, written, strict=True)])


def at_end(records: pd.DataFrame, site: str = "embedding") -> pd.DataFrame:
    """Return the rows after the last epoch at one site: one a run.

    Raises:
        ValueError: there is no such site, with those there are.
    """
    return _at(records, "end", site)


def at_start(records: pd.DataFrame, site: str = "embedding") -> pd.DataFrame:
    """Return the rows before the first step at one site, batch norm calibrated: one a run.

    Raises: as :func:`at_end`.
    """
    return _at(records, "start", site)


def _at(records: pd.DataFrame, when: str, site: str) -> pd.DataFrame:
    if site not in set(records["site"]):
        known = ", ".join(records.sort_values("depth")["site"].unique())
        raise ValueError(f"the records have no site {site!r}; they have {known}")
    return records[(records["at"] == when) & (records["site"] == site)]


def run_keys(records: pd.DataFrame) -> pd.Series:
    """Return what identifies the run of each row: all that was given, seed included, as one text."""
    given = [name for name in records if name in _OF_A_RUN]
    rows = records[given].itertuples(index=False, name=None)
    return pd.Series([repr(row) for row in rows], index=records.index, dtype=object)


def paired_gain(records: pd.DataFrame, site: str = "embedding") -> pd.DataFrame:
    """Return the rows after the last epoch with ``probe_start`` and ``gain``, the rise of the probe.

    The pair is one run before and after training: same seed, same weights to begin with.

    Args:
        records: of ``memorize``, with the rows of both ends.
        site: where the probe is.

    Raises:
        ValueError: an unknown site; or a run without its start, or with two.
    """
    end, start = at_end(records, site), at_start(records, site)
    before = pd.Series(start["clean_probe"].to_numpy(), index=run_keys(start))
    keys = run_keys(end)
    if not before.index.is_unique or not keys.isin(before.index).all():
        raise ValueError(
            f"{len(end)} runs have an end and {len(start)} a start, and they are not the same ones; give the "
            "records of whole runs, each once"
        )
    probe_start = keys.map(before)
    return end.assign(probe_start=probe_start, gain=end["clean_probe"] - probe_start)


def one_row_per_run(table: pd.DataFrame, at: str = "end") -> pd.DataFrame:
    """Lay the records of ``memorize`` side by side: one row for each network.

    Args:
        table: rows of a sweep over ``memorize``, one per network, probed epoch and site.
        at: ``end`` of the training, or ``start``: the same networks untrained, in which nothing is memorized.

    Returns:
        One row per network: every column that the table has for a run (the arguments of ``memorize``,
        ``seed``, provenance), ``epochs`` (trained), the accuracies there (``clean_view``, ``fresh_view``,
        ``bank_view``, ``test_accuracy``, and ``batch_accuracy``, NaN at the start), and for each site
        ``clean_SITE``, ``noise_SITE``, ``invariance_SITE`` there and ``start_...`` before the first step;
        ``probe`` and ``start`` are those of the embedding, ``gain`` their difference, and ``early_gain`` the
        part of it that is there at the first probed epoch from a quarter of the epochs on (NaN if none was
        probed before the end, or nothing was gained), ``early_memorization`` the same part of the
        memorization on fresh views. ``augmented`` says whether there was augmentation; ``view_order`` is the
        number of fixed views, ``FRESH`` for fresh ones; ``projector_layers`` and ``room`` are the hidden
        layers of the projector and the width of the first, 0 for none.

    Raises:
        ValueError: another ``at``.
    """
    check_choice("at", at, ("start", "end"))
    if table.empty:
        return table
    return pd.DataFrame([_side_by_side(run, at) for _, run in table.groupby(run_keys(table), sort=False)])


def _side_by_side(run: pd.DataFrame, at: str) -> dict[str, Any]:
    shown, start = run[run["at"] == at], run[run["at"] == "start"]
    first = shown.iloc[0]
    row: dict[str, Any] = {str(n): v for n, v in first.to_dict().items() if n not in _BY_SITE}
    row["epochs"] = int(run["epoch"].max())
    for prefix, part in (("", shown), ("start_", start)):
        for short, column in _PROBES.items():
            row |= {f"{prefix}{short}_{s}": v for s, v in zip(part["site"], part[column], strict=True)}
    row["probe"], row["start"] = row["clean_embedding"], row["start_clean_embedding"]
    row["gain"] = row["probe"] - row["start"]
    row["augmented"] = bool(first["strength"] > 0)
    row["view_order"] = int(first["views"]) or FRESH
    row["projector_layers"], row["room"] = len(first["hidden"]), next(iter(first["hidden"]), 0)
    early = run[(run["site"] == "embedding") & (run["at"] == "during") & (run["epoch"] >= row["epochs"] / 4)]
    if not early.empty:
        then, before = early.iloc[0], start.iloc[0]
        gained, known = then["clean_probe"] - row["start"], then["fresh_view"] - before["fresh_view"]
        all_known = first["fresh_view"] - before["fresh_view"]
        row["early_gain"] = gained / row["gain"] if row["gain"] else math.nan
        row["early_memorization"] = known / all_known if all_known else math.nan
    return row


def benign_table(
    records: pd.DataFrame,
    n_test: int | Mapping[str, int],
    *,
    by: Sequence[str] = (),
    site: str = "embedding",
) -> pd.DataFrame:
    """Return one row per arm: how much was memorized, by each measure, what the probe says, and the verdict.

    The verdict is that of :func:`verdict` on the means over seeds, judged by the clean views, or by the fixed
    views where the arm has them. Its tolerance is the noise of the test images of one seed, which a
    fixed split has for all seeds; the noise of the seeds is in ``low`` and ``high``.

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
        ValueError: one arm has several runs of one seed; name the column that tells them apart in ``by``.
    """
    named = records if "arm" in records else arm_names(records)
    runs = paired_gain(named, site)
    keys = [*by, "arm"]
    check_once(runs, keys)
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
