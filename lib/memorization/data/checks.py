"""Checks of plain values, where a person gives them: what was given, and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real


def check_whole(name: str, value: object, least: int = 0) -> None:
    """Raise a ValueError unless a value is a whole number of at least ``least``; 10.0 and "10" are none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}={value!r}; allowed: a whole number, {least} or more")


def check_finite(name: str, value: object) -> None:
    """Raise a ValueError unless a value is a finite real number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name}={value!r}; allowed: a finite number")


def check_seeds(seeds: object) -> tuple[int, ...]:
    """Return seeds as a tuple.

    Raises:
        ValueError: unless they are whole numbers >= 0, at least one, each once.
    """
    given = list(seeds) if isinstance(seeds, Iterable) and not isinstance(seeds, str) else []
    whole = all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in given)
    if not given or not whole or len(set(given)) < len(given):
        raise ValueError(
            f"seeds={seeds!r}; allowed: a list of one or more whole numbers >= 0, each once, such as [0, 1]"
        )
    return tuple(given)
