"""Parameters of a notebook: declared once in its parameters cell, checked before anything runs.

A declaration is one annotated assignment of a literal, with a comment of three parts::

    width: int = 8000          # number of random features k | features | 1..1000000
    alphas: list[float] = [.5] # spurious fraction of the input | fraction | (0..1)
    law: str = "gaussian"      # law of the synthetic inputs | name | one of gaussian, spheres

The last part says what is allowed: ``any``, ``one of a, b``, or a range ``low..high`` whose ends are left out
where a round bracket stands, ``(0..1]``, and open-ended where a number is missing, ``1..``.
A list or a mapping is checked element by element.
"""

from __future__ import annotations

import ast
import contextlib
import io
import math
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from memorization.checks import closest

_SCALARS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_RANGE = re.compile(r"^([\[(]?)\s*([-+.\deE]*?)\s*\.\.\s*([-+.\deE]*?)\s*([\])]?)$")


class ParameterError(ValueError):
    """Parameters that a notebook does not have, or values that it does not take."""


@dataclass(frozen=True)
class Parameter:
    """One declared parameter: its type, default, meaning, unit and allowed values."""

    name: str
    type: str
    default: Any
    meaning: str
    unit: str
    allowed: str

    def check(self, value: Any) -> Any:
        """Return ``value`` in the declared type; raise :class:`ParameterError` where it is not allowed."""
        kind, _, inner = self.type.partition("[")
        if kind == "list":
            if not isinstance(value, list | tuple) or not value:
                raise self._refuse(value, f"a list of {inner.rstrip(']')} with at least one element")
            return [self._scalar(v, inner.rstrip("]")) for v in value]
        if kind == "dict":
            if not isinstance(value, Mapping):
                raise self._refuse(value, "a mapping")
            of = inner.rstrip("]").split(",")[-1].strip()
            return {str(k): self._scalar(v, of) for k, v in value.items()}
        return self._scalar(value, self.type)

    def parse(self, text: str) -> Any:
        """Read a value that was typed on the command line, by the declared type."""
        if self.type == "str":
            return self.check(text)
        try:
            return self.check(yaml.safe_load(text))
        except yaml.YAMLError as error:
            raise self._refuse(text, f"a value of type {self.type}, written as in YAML") from error

    def _scalar(self, value: Any, kind: str) -> Any:
        if kind == "float" and (type(value) is int or isinstance(value, str)):
            with contextlib.suppress(ValueError):  # YAML 1.1 reads 1e-3 as a string
                value = float(value)
        if type(value) is not _SCALARS[kind] or (isinstance(value, float) and not math.isfinite(value)):
            raise self._refuse(value, f"type {kind}" + (", finite" if kind == "float" else ""))
        if not _allows(self.allowed, value):
            raise self._refuse(value, self.allowed)
        return value

    def _refuse(self, value: Any, wanted: str) -> ParameterError:
        hint = ""
        if self.allowed.startswith("one of ") and isinstance(value, str):
            hint = did_you_mean(value, _choices(self.allowed))
        return ParameterError(
            f"{self.name} = {value!r} ({type(value).__name__}); allowed: {wanted} "
            f"({self.meaning}; unit: {self.unit}; default {self.default!r}).{hint}"
        )


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a sentence that names the closest of ``known``, or nothing."""
    near = closest(word, known)
    return f" Did you mean {near!r}?" if near else ""


def declared(cell: str) -> dict[str, Parameter]:
    """Read the declarations of a parameters cell.

    Args:
        cell: source text of the cell.

    Returns:
        Each parameter by name, in the order of the cell.

    Raises:
        ParameterError: a line is no annotated literal with a comment of three parts, or its own default is
            not allowed by it.
    """
    comments = {
        t.start[0]: t.string.lstrip("# ")
        for t in tokenize.generate_tokens(io.StringIO(cell).readline)
        if t.type == tokenize.COMMENT
    }
    found: dict[str, Parameter] = {}
    for node in ast.parse(cell).body:
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value):
            raise ParameterError(
                f"line {node.lineno} of the parameters cell is {ast.unparse(node)!r}; "
                "write one `name: type = literal  # meaning | unit | allowed` a line."
            )
        found[node.target.id] = _declaration(node, comments.get(node.end_lineno or node.lineno, ""))
    return found


def check_parameters(known: Mapping[str, Parameter], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every parameter's value, the given ones checked and the others at their default.

    Raises:
        ParameterError: lists every unknown name and every value that is not allowed, all at once.
    """
    values, problems = {name: p.default for name, p in known.items()}, []
    for name, value in given.items():
        if name not in known:
            hint = did_you_mean(name, known)
            problems.append(f"unknown parameter {name!r}.{hint} Known: {', '.join(known)}.")
            continue
        try:
            values[name] = known[name].check(value)
        except ParameterError as error:
            problems.append(str(error))
    if problems:
        raise ParameterError("\n".join(problems))
    return values


def _declaration(node: ast.AnnAssign, comment: str) -> Parameter:
    name, kind = ast.unparse(node.target), ast.unparse(node.annotation)
    parts = [part.strip() for part in comment.split("|")]
    inner = kind.partition("[")[2].rstrip("]").split(",")[-1].strip() or kind
    if len(parts) != 3 or inner not in _SCALARS or not _readable(parts[2]):
        raise ParameterError(
            f"{name}: {kind} with the comment {comment!r} is no declaration; write "
            "`name: type = literal  # meaning | unit | allowed` with the types int, float, str, bool, "
            "list[…], dict[str, …] and allowed as `any`, `one of a, b` or `low..high`."
        )
    try:
        default = ast.literal_eval(node.value or ast.Constant(None))
    except ValueError as error:
        raise ParameterError(f"{name} = {ast.unparse(node.value)!r}; allowed: a literal.") from error  # type: ignore[arg-type]
    parameter = Parameter(name, kind, default, *parts)
    return Parameter(name, kind, parameter.check(default), *parts)


def _choices(allowed: str) -> list[str]:
    return [c.strip() for c in allowed.removeprefix("one of ").split(",")]


def _readable(allowed: str) -> bool:
    return allowed == "any" or allowed.startswith("one of ") or _RANGE.match(allowed) is not None


def _allows(allowed: str, value: Any) -> bool:
    if allowed == "any":
        return True
    if allowed.startswith("one of "):
        return str(value) in _choices(allowed)
    match = _RANGE.match(allowed)
    assert match is not None, allowed
    left, low, high, right = match.groups()
    above = not low or (value > float(low) if left == "(" else value >= float(low))
    below = not high or (value < float(high) if right == ")" else value <= float(high))
    return above and below
