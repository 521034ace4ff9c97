"""The arms of the benign-memorization page: their names and colors, and which rows of a run are compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from memorization.report.theme import COLORS, PALETTE

# What ``memorize`` returns; every other column of its records says which run a row belongs to.
MEASURED = (
    "at", "epoch", "site", "depth", "clean_probe", "uncalibrated_probe", "noise_probe", "invariance",
    "clean_view", "fresh_view", "bank_view", "test_accuracy", "batch_accuracy", "loss",
)  # fmt: skip

_MARKERS = {
    "no augmentation": "s",
    "augmentation": "o",
    "true labels": "^",
    "independent labels": "D",
    "raw pixels": "P",
    "initialization": "d",
    "ReLU": "o",
    "identity": "s",
    "leaky ReLU": "^",
    "GELU": "D",
    "tanh": "P",
    "sigmoid": "H",
    "teacher": "o",
    "student": "s",
    "standard": "^",
}
_SPARE_MARKERS = ("v", "X", "<", ">", "p", "*")


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


_NAMING = ["dataset", "policy", "strength", "views", "view_labels", "noise", "group", "mix"]


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


def arm_styles(arms: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Return color and marker of each arm: its own where it has one, else what is left of the palette.

    Raises:
        ValueError: more arms than can be told apart in one figure.
    """
    names = list(dict.fromkeys(arms))
    taken = {COLORS[name] for name in names if name in _MARKERS}
    spare = [color for color in PALETTE if color not in taken]
    others = [name for name in names if name not in _MARKERS]
    if len(others) > len(spare):
        raise ValueError(
            f"{len(names)} arms ({', '.join(names)}) need more colors than can be told apart: "
            f"{len(spare)} are left for {len(others)}; draw fewer of them"
        )
    styles = dict(zip(others, zip(spare, _SPARE_MARKERS, strict=True), strict=False)) if others else {}
    return {name: styles[name] if name in styles else (COLORS[name], _MARKERS[name]) for name in names}


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
    given = [name for name in records if name not in MEASURED and not str(name).startswith("_")]
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
            "records of whole runs, each once, without columns of your own that change within a run"
        )
    probe_start = keys.map(before)
    return end.assign(probe_start=probe_start, gain=end["clean_probe"] - probe_start)


_SETS = {"digits": "digits", "mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
_SETS |= {"cifar100": "CIFAR-100", "tiny_imagenet": "TinyImageNet"}
_SIDES = {"mnist": 14, "fashion_mnist": 14, "cifar10": 16}  # of ``memorized_split`` where none is asked for


def named_sets(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with the data sets' usual names in ``dataset``, and their side where it was chosen.

    Args:
        records: with columns ``dataset`` and ``side`` (pixels; None or NaN for the data set's own).
    """
    names = records["dataset"].map(lambda name: _SETS.get(name, name))
    sides = records["side"].astype(float).fillna(records["dataset"].map(_SIDES))
    written = [f", {side:.0f}×{side:.0f}" if side > 0 else "" for side in sides]
    return records.assign(dataset=[name + side for name, side in zip(names, written, strict=True)])
