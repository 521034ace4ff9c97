"""The points of a sweep: a grid made explicit, each with everything that identifies it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from memorization.runs.parameters import did_you_mean
from memorization.runs.records import clean

Point = Callable[..., Any]


def name_of(function: Point) -> str:
    """Return the name of its experiment, or the full name of a function that has none."""
    return getattr(function, "experiment", None) or f"{function.__module__}.{function.__qualname__}"


def points_of(grid: Any, fixed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every point: all combinations of a mapping of lists, or the mappings of a list.

    Raises:
        TypeError: a value of the grid is no list, or an argument is given twice.
    """
    if isinstance(grid, Mapping):
        for name, values in grid.items():
            if isinstance(values, str) or not isinstance(values, Sequence | range):
                raise TypeError(
                    f"grid[{name!r}] = {values!r}; allowed: a list of values (one value goes into `fixed`)."
                )
        combinations = itertools.product(*grid.values())
        grid = [dict(zip(grid, values, strict=True)) for values in combinations]
    for one in grid:
        if twice := set(one) & set(fixed):
            raise TypeError(f"{', '.join(sorted(twice))} stands in the grid and in `fixed`; give it once.")
        yield {**fixed, **one}


def bound_point(
    function: Point, point: Mapping[str, Any], unkeyed: Mapping[str, Any], stacked: bool
) -> dict[str, Any]:
    """Return the point with the function's own defaults, as plain values: what identifies it.

    Raises:
        TypeError: the function does not take these arguments; names the nearest one.
    """
    signature = inspect.signature(function)
    seed = _seed(stacked)
    try:
        bound = signature.bind(**point, **unkeyed, **seed)
    except TypeError as error:
        unknown = [name for name in point if name not in signature.parameters]
        hint = did_you_mean(unknown[0], signature.parameters) if unknown else ""
        raise TypeError(
            f"{name_of(function)}: {error}.{hint} It takes {', '.join(signature.parameters)}."
        ) from None
    bound.apply_defaults()
    hidden = {*seed, *unkeyed}
    return {k: clean(v, k) for k, v in bound.arguments.items() if k not in hidden}


def defaults_of(function: Point, unkeyed: Mapping[str, Any], stacked: bool) -> dict[str, Any]:
    """Return the function's defaults of today, of the arguments that identify a point."""
    given = {
        k: p.default for k, p in inspect.signature(function).parameters.items() if p.default is not p.empty
    }
    return {k: clean(v, k) for k, v in given.items() if k not in {*_seed(stacked), *unkeyed}}


def _seed(stacked: bool) -> dict[str, Any]:
    return {"seeds": []} if stacked else {"seed": 0}
