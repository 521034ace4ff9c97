"""The arms of the experiments on benign memorization, their scales, and one row for each run.

Anagnostidis et al. (ICLR 2023): the recipe of the published code, and smaller ones for a processor.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from memorization.data.words import did_you_mean
from memorization.measures.memorizing import memorize

Point = dict[str, Any]
FRESH = 10**6  # stands for "no fixed number of views" where views are put in order
_PROBES = {"clean": "clean_probe", "noise": "noise_probe", "invariance": "invariance"}
_PER_SITE = {"at", "epoch", "site", "depth", "uncalibrated_probe", *_PROBES.values()}


@dataclass(frozen=True)
class Scale:
    """How large an experiment on one data set is.

    Attributes:
        common: arguments of ``memorize`` that all arms share, without the epochs.
        strength: of the augmentation in the standard arm.
        epochs: of the arms without augmentation, with it, and with true labels.
    """

    common: Mapping[str, Any]
    strength: float
    epochs: tuple[int, int, int]

    @property
    def arms(self) -> list[Point]:
        """The three core arms, each a mapping of arguments of ``memorize``."""
        recipe = self.common.get("recipe", {})
        arms = core_arms(self.strength, self.epochs, recipe)
        return [{**self.common, **arm} for arm in arms]


def core_arms(strength: float, epochs: Sequence[int], recipe: Mapping[str, Any]) -> list[Point]:
    """Return the three arms that everything is compared with.

    Args:
        strength: of the augmentation, > 0.
        epochs: of the arms without augmentation, with it, and with true labels (and augmentation).
        recipe: what else differs from the defaults of ``Recipe``.

    Returns:
        Three mappings: random labels without augmentation, random labels with it, true labels with it.
    """
    plain, augmented, true = ({**recipe, "epochs": count} for count in epochs)
    return [
        {"strength": 0.0, "recipe": plain},
        {"strength": strength, "recipe": augmented},
        {"strength": strength, "noise": 0.0, "recipe": true},
    ]


def longest_first(points: Sequence[Point]) -> list[Point]:
    """Sort points by their epochs, so that workers side by side finish at about the same time."""
    return sorted(points, key=lambda point: -point["recipe"]["epochs"])


def checkpoint_folders(root: Path) -> Callable[[Mapping[str, Any]], str]:
    """Return a function that gives each point a folder of its own under ``root``, for its checkpoints.

    The number of epochs does not count, so that a training can be prolonged from where it stands.
    """

    def folder(point: Mapping[str, Any]) -> str:
        recipe = {name: value for name, value in (point["recipe"] or {}).items() if name != "epochs"}
        text = json.dumps({**point, "recipe": recipe}, sort_keys=True)
        return str(root / hashlib.sha256(text.encode()).hexdigest()[:16])

    return folder


_SMALL = {"policy": "small_mnist", "widths": [16, 32, 64], "strides": [1, 2, 2], "hidden": [1024]}
_COLOR = {"policy": "small_color", "widths": [32, 64, 128], "hidden": [2048], "probe_strength": 1.0}
_PAPER = {
    "policy": "full",
    "hidden": [65_536],
    "probe_strength": 1.0,
    "recipe": {"batch": 256, "learning_rate": 3e-4, "precision": "bf16"},
}
SCALES: dict[str, Scale] = {
    "digits": Scale({"dataset": "digits"}, 0.5, (300, 800, 200)),
    "mnist": Scale({"dataset": "mnist", **_SMALL}, 0.5, (200, 600, 150)),
    "fashion_mnist": Scale(
        {"dataset": "fashion_mnist", **_SMALL, "policy": "small_fashion"}, 0.5, (200, 600, 150)
    ),
    "cifar10": Scale({"dataset": "cifar10", **_COLOR, "strides": [2, 1, 2]}, 1.0, (100, 300, 150)),
    "cifar10_32": Scale(
        {"dataset": "cifar10", "side": 32, **_COLOR, "strides": [2, 2, 2]}, 1.0, (100, 300, 150)
    ),
    "cifar10_paper": Scale(
        {"dataset": "cifar10", "side": 32, "memorized": 50_000, "reference": 50_000, "test": 10_000}
        | {"architecture": "resnet18_small", **_PAPER},
        1.0,
        (10_000, 10_000, 10_000),
    ),
    "cifar100_paper": Scale(
        {"dataset": "cifar100", "architecture": "resnet18_small", **_PAPER}, 1.0, (10_000, 10_000, 10_000)
    ),
    "tiny_imagenet_paper": Scale(
        {"dataset": "tiny_imagenet", "architecture": "resnet18_medium", **_PAPER},
        1.0,
        (10_000, 10_000, 10_000),
    ),
}


def scale(name: str) -> Scale:
    """Return a scale by name.

    Raises:
        ValueError: for an unknown name, with those there are.
    """
    if name not in SCALES:
        raise ValueError(
            f"unknown scale {name!r}{did_you_mean(name, SCALES)}; choose one of {', '.join(SCALES)}"
        )
    return SCALES[name]


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
    row: dict[str, Any] = {str(n): v for n, v in first.to_dict().items() if n not in _PER_SITE}
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
