"""The conditions of the page by name: what each changes, and which rows of a table of records it made.

A *protocol* says what is trained on what; an *arm* is one condition of it. Claims, figures and tables know
arms by their names, records by their arguments: :func:`points` goes one way, :func:`with_arms` the other.
"""

from __future__ import annotations

import inspect
import re
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

_FIXED: dict[str, Point] = {
    "none": {},
    "untrained": {"trained": False},
    "joint": {"mode": "joint", "strength": 1.0},
    "shifts": {"shift": 1},
    "late": {"late": 0.3},
    "at all layers": {"sites": "hidden", "acting": "hidden"},
}
_OTHER_LOSSES = ("reversal", "confusion", "literal")
# What a number in an arm's name is: before or behind it a word, and the argument that it sets.
_NUMBERED: dict[str, tuple[str, float]] = {
    "% noise": ("label_noise", 0.01), "epochs": ("epochs", 1), "labels": ("count", 1),
    "head steps": ("head_steps", 1), "heads learn at": ("head_rate", 1),
    "weight decay": ("weight_decay", 1), "dropout": ("dropout", 1), "smoothing": ("smoothing", 1),
    **dict.fromkeys(("lambda", *_OTHER_LOSSES), ("strength", 1)),
}  # fmt: skip
_WHOLE = ("epochs", "count", "head_steps")
_NUMBER = r"(?P<number>[0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)"
_PART = re.compile(rf"(?:(?P<before>[a-z%][a-z% ]*) )?{_NUMBER}(?: (?P<after>[a-z%][a-z% ]*))?")


def arm(name: str) -> Point:
    """Return what an arm changes, read from its name.

    Args:
        name: parts with commas between: ``none``, ``untrained``, ``joint``, ``shifts``, ``late`` (the trunk
            hears of the heads after 30 % of the steps), ``40 % noise``, ``20 epochs``, ``14 labels``,
            ``3 head steps``, ``heads learn at 0.1``, ``weight decay 0.01``, ``dropout 0.3``, ``smoothing
            0.1``, and the strength of unlearning by its loss: ``lambda 10`` (bounded), ``reversal 1``,
            ``confusion 1``, ``literal 1``, each as it is or ``at all layers``.

    Raises:
        ValueError: for a part that is none of these.
    """
    found: Point = {}
    for part in re.split(", ?", name):
        rest = part.removesuffix(" at all layers")
        found |= _FIXED["at all layers"] if rest != part else {}
        found |= _FIXED[rest] if rest in _FIXED else _numbered(rest, name)
    return found


def _numbered(part: str, name: str) -> Point:
    match = _PART.fullmatch(part)
    word = (match["before"] or match["after"] or "") if match else part
    check_choice(f"part of the arm {name!r}", word, [*_FIXED, *_NUMBERED])
    if not match or word not in _NUMBERED:
        raise ValueError(
            f"the arm {name!r} has no number at {part!r}; write {word} with one, such as lambda 10"
        )
    argument, unit = _NUMBERED[word]
    value = round(float(match["number"]) * unit, 12)
    if argument in _WHOLE and value % 1:
        raise ValueError(f"the arm {name!r} has {value:g} {word}; allowed: a whole number of them")
    point: Point = {argument: int(value) if argument in _WHOLE else value}
    if argument == "strength":
        point |= {"mode": "unlearning", **({"regularizer": word} if word in _OTHER_LOSSES else {})}
    return point


def points(protocol: str, arms: Sequence[str], **more: Any) -> list[Point]:
    """Return the arguments of ``random_label_heads`` for some arms of a protocol.

    Args:
        protocol: of ``PROTOCOLS``.
        arms: names that :func:`arm` reads.
        **more: further arguments of all of them, such as ``dataset``, or ``epochs`` for a test; an arm's own
            argument goes before them.

    Raises:
        ValueError: for an unknown protocol or arm.
    """
    check_choice("protocol", protocol, PROTOCOLS)
    return [{**PROTOCOLS[protocol], **more, **arm(name)} for name in arms]


def with_arms(records: pd.DataFrame, protocol: str, arms: Sequence[str], **more: Any) -> pd.DataFrame:
    """Say of each row which arm made it, and what the arm changes within its seed.

    Args:
        records: of a sweep over the :func:`points` with the same arguments, at one look.
        protocol: of ``PROTOCOLS``.
        arms: names that :func:`arm` reads.
        **more: as for :func:`points`.

    Returns:
        The rows of these arms with the columns ``arm``, ``chance`` (1/n) and ``test_change``, the test
        accuracy minus that of arm ``none`` with the same seed (NaN where there is none).
    """
    if records.empty:  # nothing is recorded yet
        return records.reindex(columns=[*records.columns, "arm", "chance", "test_change"])
    parts = [
        records[_made_by(records, point)].assign(arm=name)
        for name, point in zip(arms, points(protocol, arms, **more), strict=True)
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


def in_place_of(records: pd.DataFrame, given: str, other: str) -> pd.DataFrame:
    """Return the rows of one arm under the name of another, whose effect is absent in them."""
    return records[records["arm"] == given].assign(arm=other)


def at_chance(heads: pd.DataFrame) -> pd.DataFrame:
    """Return records in which heads know nothing: what they say of images that they never saw.

    Their random labels were drawn for these images alone: ``online`` and ``frozen`` are what the heads score
    there, which is chance, whatever was learned.
    """
    return heads.assign(
        online=heads["held_out"], online_rho=heads["held_out_rho"], frozen=heads["held_out"],
        frozen_rho=heads["held_out_rho"], fresh=heads["held_out"], fresh_rho=heads["held_out_rho"],
    )  # fmt: skip


def check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse parameters of the page that do not fit each other, before anything is computed.

    Args:
        settings: the parameters by name.

    Raises:
        ValueError: more random labels than a class has images, features or labels without meaning of which no
            number fits the examples, or an example count too small for the law's limit.
    """
    examples, large = settings["null_examples"], settings["large_null_examples"]
    if settings["count"] > settings["n_train"] // 10:
        raise ValueError(
            f"count={settings['count']} random labels of each class, but with n_train={settings['n_train']} "
            f"the smallest of ten classes has {settings['n_train'] // 10} images at most; give a smaller "
            "count or more images"
        )
    for name, most in (("null_labels", examples), ("null_dimensions", examples - 2)):
        if min(settings[name]) > most:
            raise ValueError(
                f"{name}={settings[name]} with null_examples={examples}; allowed: at least one number up to "
                f"{most}"
            )
    if max(settings["rademacher_dimensions"]) > examples - 2:
        raise ValueError(
            f"rademacher_dimensions={settings['rademacher_dimensions']} with null_examples={examples}; "
            f"allowed: numbers up to {examples - 2}, since with more features a head fits every sign"
        )
    if 0 < large < _FEWEST:
        raise ValueError(f"large_null_examples={large}; allowed: 0, or {_FEWEST} examples and more")


_FEWEST = 20  # examples of ``random_label_null``
