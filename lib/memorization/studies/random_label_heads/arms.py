"""The conditions of the page by name: what each changes, and which rows of a table of records it made.

A *protocol* says what is trained on what; an *arm* is one condition of it. Claims, figures and tables know
arms by their names, records by their arguments: :func:`points` goes one way, :func:`with_arms` the other.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from memorization.checks import check_choice
from memorization.studies.random_label_heads.experiments import random_label_heads

Point = dict[str, Any]

PROTOCOLS: dict[str, Point] = {
    "class-wise": {},  # the defaults: perceptron 64-64-24, heads for each class, 14 labels
    "shared": {"widths": [64, 64, 64], "class_wise": False, "count": 140},
    "depth": {"widths": [64, 64, 64, 64], "class_wise": False, "count": 140, "sites": "all"},
    "convolutions": {"network": "small_cnn", "widths": [32, 32, 32], "sites": "hidden", "epochs": 30},
    "little": {"n_train": 300, "count": 6, "epochs": 120, "batch": 50},
    "images": {
        "widths": [128, 128, 32], "count": 20, "rate": 0.05, "epochs": 40, "n_train": 2000, "n_test": 5000,
    },
}  # fmt: skip
"""Small versions of ours; nothing of the 2024 paper's settings was at hand."""

_HIDDEN = {"sites": "hidden", "acting": "hidden"}


def _unlearning(strength: float, **more: Any) -> Point:
    return {"mode": "unlearning", "strength": strength, **more}


ARMS: dict[str, Point] = {
    "none": {},
    "untrained": {"trained": False},
    "joint": {"mode": "joint", "strength": 1.0},
    "40 % noise": {"label_noise": 0.4},
    "50 % noise": {"label_noise": 0.5},
    "100 % noise": {"label_noise": 1.0},
    **{f"weight decay {value:g}": {"weight_decay": value} for value in (1e-3, 3e-3, 1e-2)},
    **{f"dropout {value:g}": {"dropout": value} for value in (0.1, 0.3, 0.5)},
    **{f"smoothing {value:g}": {"smoothing": value} for value in (0.1, 0.2, 0.4)},
    "shifts": {"shift": 1},
    **{f"{value} epochs": {"epochs": value} for value in (5, 10, 15, 20)},
    **{f"lambda {value:g}": _unlearning(value) for value in (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)},
    **{f"reversal {value:g}": _unlearning(value, regularizer="reversal") for value in (0.1, 0.3, 1.0)},
    **{f"confusion {value:g}": _unlearning(value, regularizer="confusion") for value in (1.0, 10.0, 30.0)},
    **{f"literal {value:g}": _unlearning(value, regularizer="literal") for value in (0.1, 1.0)},
    "lambda 10, 3 head steps": _unlearning(10.0, head_steps=3),
    "lambda 10, 10 head steps": _unlearning(10.0, head_steps=10),
    "lambda 10, late": _unlearning(10.0, late=0.3),
    "reversal 1, late": _unlearning(1.0, regularizer="reversal", late=0.3),
    **{
        f"40 % noise, lambda {value:g}": _unlearning(value, label_noise=0.4)
        for value in (1.0, 3.0, 10.0, 30.0)
    },
    **{
        f"40 % noise, lambda {value:g} at all layers": _unlearning(value, label_noise=0.4, **_HIDDEN)
        for value in (1.0, 3.0, 10.0, 30.0)
    },
    **{f"{n} labels": {"count": n} for n in (14, 35)},
    **{f"{n} labels, lambda {0.1 * n:g}": _unlearning(round(0.1 * n, 6), count=n) for n in (14, 35, 140)},
    "140 labels, lambda 1.4": _unlearning(1.4, count=140),
}


def points(protocol: str, arms: Sequence[str], **more: Any) -> list[Point]:
    """Return the arguments of ``random_label_heads`` for some arms of a protocol.

    Args:
        protocol: of ``PROTOCOLS``.
        arms: of ``ARMS``.
        **more: further arguments of all of them, such as ``dataset``, or ``epochs`` for a test; an arm's own
            argument goes before them.

    Raises:
        ValueError: for an unknown protocol or arm.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    for arm in arms:
        check_choice("arm", arm, ARMS)
    return [{**PROTOCOLS[protocol], **more, **ARMS[arm]} for arm in arms]


def with_arms(records: pd.DataFrame, protocol: str, arms: Sequence[str], **more: Any) -> pd.DataFrame:
    """Say of each row which arm made it, and what the arm changes within its seed.

    Args:
        records: of a sweep over the :func:`points` with the same arguments, at one look.
        protocol: of ``PROTOCOLS``.
        arms: of ``ARMS``.
        **more: as for :func:`points`.

    Returns:
        The rows of these arms with the columns ``arm``, ``chance`` (1/n) and ``test_change``, the test
        accuracy minus that of arm ``none`` with the same seed (NaN where there is none).
    """
    parts = [
        records[_made_by(records, point)].assign(arm=arm)
        for arm, point in zip(arms, points(protocol, arms, **more), strict=True)
    ]
    table = pd.concat(parts, ignore_index=True)
    plain = table[table["arm"] == "none"].groupby("seed")["test"].first()
    change = table["test"] - table["seed"].map(plain)
    return table.assign(chance=1 / table["count"], test_change=change)


def _made_by(records: pd.DataFrame, point: Mapping[str, Any]) -> pd.Series:
    """Which rows were made with these arguments, and with the defaults of all others."""
    known = inspect.signature(random_label_heads).parameters.values()
    fits = pd.Series(True, index=records.index)
    for name, value in ({p.name: p.default for p in known} | dict(point)).items():
        if name in records and isinstance(value, str | bool | int | float):  # lists are the protocol's
            fits &= records[name] == value
    return fits


def in_place_of(records: pd.DataFrame, arm: str, other: str) -> pd.DataFrame:
    """Return the rows of one arm under the name of another: records in which that one's effect is absent."""
    for name in (arm, other):
        check_choice("arm", name, ARMS)
    return records[records["arm"] == arm].assign(arm=other)


def at_chance(heads: pd.DataFrame) -> pd.DataFrame:
    """Return records in which heads know nothing: what they say of images that they never saw.

    Their random labels were drawn for these images alone: ``online`` and ``frozen`` are what the heads score
    there, which is chance, whatever was learned.
    """
    return heads.assign(
        online=heads["held_out"], online_rho=heads["held_out_rho"], frozen=heads["held_out"],
        frozen_rho=heads["held_out_rho"], fresh=heads["held_out"], fresh_rho=heads["held_out_rho"],
    )  # fmt: skip
