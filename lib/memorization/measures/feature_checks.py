"""What an experiment on feature contamination refuses before it trains, and what it warns of."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from memorization.data.checks import check_finite, check_whole
from memorization.measures.feature_arms import FeatureArm

INITIALIZATIONS = ("theory", "pytorch", "pytorch_frozen")
COORDINATES = ("latent", "ambient")
_MAY_BE_ZERO = ("ambient", "examples", "steps")


def check_choices(initialization: str, coordinates: str, ambient: int) -> None:
    """Raise a ValueError for an unknown choice, and for ambient coordinates without a dimension."""
    if initialization not in INITIALIZATIONS:
        raise ValueError(f"initialization={initialization!r}; allowed: {', '.join(INITIALIZATIONS)}")
    if coordinates not in COORDINATES:
        raise ValueError(f"coordinates={coordinates!r}; allowed: {', '.join(COORDINATES)}")
    if coordinates == "ambient" and not ambient:
        raise ValueError("coordinates='ambient' need a dimension; give ambient >= core + background")


def check_sizes(**sizes: int) -> None:
    """Raise a ValueError for a size that is no whole number, or too small."""
    for name, value in sizes.items():
        check_whole(name, value, 0 if name in _MAY_BE_ZERO else 1)


def check_ridge(ridge: float) -> None:
    """Raise a ValueError unless a ridge penalty is a finite number above 0."""
    check_finite("ridge", ridge)
    if ridge <= 0:
        raise ValueError(f"ridge={ridge}; allowed: a number above 0")


def check_recording(record_at: Sequence[int], steps: int, shifts: Sequence[float]) -> None:
    """Raise a ValueError for a step to record at that never comes, or a shift that is no number."""
    for step in record_at:
        check_whole("record_at", step)
        if step > steps:
            raise ValueError(f"record_at={step} is after the last step; allowed: 0..{steps} (steps)")
    for shift in shifts:
        check_finite("shifts", shift)


def read_arms(given: Sequence[Mapping[str, Any]], labels: str) -> tuple[FeatureArm, ...]:
    """Return arms from plain values.

    Args:
        given: a list of settings, see ``FeatureArm``.
        labels: label rule of the examples.

    Raises:
        ValueError: if there is no list, or it is empty, or an arm does not fit the label rule.
    """
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ValueError(f"arms={given!r}; give a list of at least one arm, [{{}}] is the standard one alone")
    arms = tuple(FeatureArm.read(arm) for arm in given)
    if labels != "linear" and any(arm.symmetric for arm in arms):
        raise ValueError(
            f"symmetric=True with labels={labels!r}: the mirror image -x of an example has its label, not "
            "the opposite one; use labels='linear'"
        )
    return arms


def warn_outside(arms: Sequence[FeatureArm]) -> None:
    """Warn, once for all arms, if some train on background weights outside [0, 1].

    The theorems' statistics ``good``, ``good_core`` and ``good_background`` are computed for them as well.
    The warning points to the first caller outside the library.
    """
    outside = [number for number, arm in enumerate(arms) if arm.leaves_assumptions]
    if outside:
        text = (
            "outside the model's assumptions: background weights leave [0, 1] in the training of arms "
            f"{outside} (from 0); their good, good_core and good_background are not those of Theorem 2"
        )
        warnings.warn(text, UserWarning, stacklevel=_levels_inside() + 1)


def _levels_inside() -> int:
    """How many frames of the library are between here and the reader's own call."""
    level, frame = 0, sys._getframe(1)
    package = __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level
