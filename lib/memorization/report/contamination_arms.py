"""The arms of the feature-contamination page: names, colors, the rows that are compared, the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memorization.data.structured import MEAN_WEIGHT
from memorization.report.markup import number, plus_minus
from memorization.report.theme import COLORS

OOD_SHIFT = -1.0  # the out-of-distribution background of Zhang et al. is the negated one

_ACTIVATIONS = {"relu": "ReLU", "gelu": "GELU"}
# Named only where arms cannot be told apart without them.
_RARELY_NAMED = {
    "environment": "environment {:g}",
    "decay": "weight decay {:g}",
    "init_scale": "initial weights × {:g}",
    "rate": "rate {:g}",
}


def contamination_names(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``arm``: activation and remedies of the run in words.

    A leaky ReLU of slope 0 is ``ReLU``, one of slope 1 is ``identity``. Rate, weight decay, scale of the
    initial weights and the factor of the second environment are part of the name only where the records hold
    several arms that differ in nothing else.

    Args:
        records: of ``contaminate``.
    """
    names = pd.Series([_arm(row) for row in records.to_dict("records")], index=records.index, dtype=object)
    for column, words in _RARELY_NAMED.items():
        several = records[column].groupby(names).transform("nunique") > 1
        said = records[column].map(lambda value, words=words: ", " + words.format(value).replace("-", "−"))
        names = names.where(~several, names + said)
    return records.assign(arm=names)


def _arm(row: Mapping[Any, Any]) -> str:
    words = [_activation(row["activation"], row["slope"])]
    if row["center"]:
        words.append("centered inputs")
    if row["symmetric"]:
        words.append("sign-symmetric")
    if row["penalty"] > 0:
        words.append(f"V-REx {row['penalty']:g}")
    elif row["environment"] != 1:
        words.append("two environments")
    if row["flip"] > 0:
        words.append(f"backgrounds {100 * row['flip']:g} % negated")
    if row["mean"] != 0:
        words.append(f"background mean {MEAN_WEIGHT - row['mean']:g}".replace("-", "−"))
    return ", ".join(words)


def _activation(name: str, slope: float) -> str:
    if name == "leaky":
        return {0.0: "ReLU", 1.0: "identity"}.get(slope, f"leaky ReLU {slope:g}")
    return _ACTIVATIONS.get(name, name)


def ends(records: pd.DataFrame, shift: float = OOD_SHIFT) -> pd.DataFrame:
    """Return the rows after the last step, tested out of distribution: one an arm and seed.

    Args:
        records: of ``contaminate``.
        shift: factor of the background out of distribution.

    Raises:
        ValueError: there is no row at this shift, with the shifts there are.
    """
    last = records[(records["step"] == records["steps"]) & (records["shift"] == shift)]
    if last.empty:
        known = ", ".join(f"{value:g}" for value in sorted(records["shift"].unique(), reverse=True))
        raise ValueError(
            f"no records after the last step at shift {shift:g}; the shifts are {known or 'none'}"
        )
    return last


def signed_means(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with ``c``, ``b`` and ``b/c``: mean correlations of all neurons with the features.

    ``c`` counts core features with the sign of the output weight, ``b`` background features as they are, so
    that a background which grows in both kinds of neurons does not cancel.

    Args:
        records: of ``contaminate``.
    """
    c = (records["c_plus"] - records["c_minus"]) / 2
    b = (records["b_plus"] + records["b_minus"]) / 2
    return records.assign(**{"c": c, "b": b, "b/c": b / c})


def slope_color(slope: float) -> str:
    """Return the color of a leaky ReLU, between those of ReLU (slope 0) and identity (1).

    Raises:
        ValueError: the slope is outside [0, 1].
    """
    if not 0 <= slope <= 1:
        raise ValueError(f"slope={slope}; a leaky ReLU has one from 0 (ReLU) to 1 (identity)")
    first, last = (_channels(COLORS[name]) for name in ("ReLU", "identity"))
    return "#" + "".join(f"{round(value):02x}" for value in first + slope * (last - first))


def _channels(color: str) -> np.ndarray:
    return np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)], dtype=float)


def contamination_table(records: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Return one row per arm: risks, accuracy and mean correlations after training, as text.

    Args:
        records: of ``contaminate``, several seeds an arm.
        by: further columns that tell runs apart, such as ``loss`` or ``core``.

    Returns:
        Columns ``arm``, those of ``by``, ``ID risk``, ``OOD risk``, ``OOD accuracy``, ``core, c``
        and ``background, b`` (those of :func:`signed_means`): mean ± standard error over seeds, without
        one that is below 0.00005.

    Raises:
        ValueError: an arm has several runs of one seed.
    """
    last = signed_means(ends(records if "arm" in records else contamination_names(records)))
    twice = last[last.duplicated(["arm", *by, "seed"])]
    if not twice.empty:
        first = twice.iloc[0]
        raise ValueError(
            f"more than one run of arm {first['arm']!r} with seed {first['seed']}; select one first, or "
            "name in `by` what tells them apart"
        )
    rows = []
    for names, one in last.groupby(["arm", *by], sort=False):
        known = dict(zip(["arm", *by], names, strict=True))
        rows.append(known | {name: _text(one[column]) for name, column in _COLUMNS.items()})
    return pd.DataFrame(rows)


def _text(values: pd.Series) -> str:
    numbers = values.to_numpy(dtype=float)
    mean = float(numbers.mean())
    error = float(numbers.std(ddof=1) / len(numbers) ** 0.5) if len(numbers) > 1 else 0.0
    if error >= _VISIBLE:
        return plus_minus(mean, error)
    return number(mean if abs(mean) >= _VISIBLE else 0.0)


_VISIBLE = 5e-5  # a number of four decimal places that is not 0
_COLUMNS = {
    "ID risk": "id_risk",
    "OOD risk": "ood_risk",
    "OOD accuracy": "ood_accuracy",
    "core, c": "c",
    "background, b": "b",
}
