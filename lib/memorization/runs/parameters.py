"""Parameters of a notebook: declared in its parameters cell, set by profiles, checked before anything runs.

A declaration is one annotated assignment of a literal, with a comment of three parts::

    width: int = 8000          # number of random features k | features | 1..1000000
    alphas: list[float] = [.5] # spurious fraction of the input | fraction | (0..1)
    law: str = "gaussian"      # law of the synthetic inputs | name | one of gaussian, spheres

The last part says what is allowed: ``any``, ``one of a, b``, or a range ``low..high`` whose ends are left out
where a round bracket stands, ``(0..1]``, and open-ended where a number is missing, ``1..``.
A list or a mapping is checked element by element. A list has at least one element and each once, since most
are swept; where another one has a meaning, ``; may be empty`` or ``; may repeat`` follows.
"""

from __future__ import annotations

import ast
import contextlib
import io
import math
import os
import re
import tokenize
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from memorization.checks import closest

REPOSITORY = "https://github.com/memorization-measured/memorization-measured"
PROFILES = ("smoke", "book", "desktop", "paper")
KEPT_PROFILES = ("desktop", "paper")  # hours of work: shown with their date, not run again when code changes
# By these the command tells a notebook where it is, where its output goes and where to say how far it is.
ROOT, OUTPUT, BESIDE, SCHEDULER, PROGRESS = (
    f"MEMORIZATION_{word}" for word in ("ROOT", "OUTPUT", "BESIDE", "SCHEDULER", "PROGRESS")
)
_CELL = re.compile(r"^# %%.*$", re.MULTILINE)
_SCALARS: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}
_EMPTY, _REPEAT = "may be empty", "may repeat"
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
            return self._list(value, inner.rstrip("]"))
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

    def _list(self, value: Any, of: str) -> list[Any]:
        words = self.allowed.split("; ")[1:]
        if not isinstance(value, list | tuple) or not (value or _EMPTY in words):
            raise self._refuse(
                value, f"a list of {of}" + (" with at least one element" * (_EMPTY not in words))
            )
        values = [self._scalar(v, of) for v in value]
        if len(set(values)) < len(values) and _REPEAT not in words:
            raise self._refuse(value, "each element once")
        return values

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
            hint = suggestion(value, _choices(self.allowed))
        return ParameterError(
            f"{self.name} = {value!r} ({type(value).__name__}); allowed: {wanted} "
            f"({self.meaning}; unit: {self.unit}; default {self.default!r}).{hint}"
        )


def suggestion(word: str, known: Iterable[str]) -> str:
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
            hint = suggestion(name, known)
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
    return [c.strip() for c in allowed.partition("; ")[0].removeprefix("one of ").split(",")]


def _readable(allowed: str) -> bool:
    allowed, *words = allowed.split("; ")
    known = allowed == "any" or allowed.startswith("one of ") or _RANGE.match(allowed) is not None
    return known and set(words) <= {_EMPTY, _REPEAT}


def _allows(allowed: str, value: Any) -> bool:
    allowed = allowed.partition("; ")[0]
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


def project_root(start: Path | None = None) -> Path | None:
    """Return the project's folder.

    ``MEMORIZATION_ROOT`` names it, or it is the nearest one above ``start``, or above the library. It is the
    one that holds ``_toc.yml`` and ``notebooks/``; None where there is none (an installed library).
    """
    given = os.environ.get(ROOT)
    here = (start or Path.cwd()).resolve()
    for folder in [Path(given)] if given else [here, *here.parents, *Path(__file__).resolve().parents]:
        if (folder / "_toc.yml").is_file() and (folder / "notebooks").is_dir():
            return folder
    return None


def names(root: Path) -> list[str]:
    """Return the names of all notebooks."""
    return sorted(path.stem for path in (root / "notebooks").glob("*.py"))


def source_path(root: Path, name: str) -> Path:
    """Return a notebook's source.

    Raises:
        ParameterError: there is no such notebook; names those there are.
    """
    known = names(root)
    if name not in known:
        raise ParameterError(
            f"unknown notebook {name!r}.{suggestion(Path(name).stem, known)} Known: {', '.join(known)}; "
            "allowed: a name without folder and without .py."
        )
    return root / "notebooks" / f"{name}.py"


def parameters_cell(path: Path) -> str:
    """Return the text of the cell tagged ``parameters`` of a py:percent notebook.

    Raises:
        ParameterError: there is none.
    """
    text = path.read_text(encoding="utf-8")
    heads = list(_CELL.finditer(text))
    for head, following in zip(heads, [*heads[1:], None], strict=True):
        if '"parameters"' in head.group():
            return text[head.end() : following.start() if following else None].strip("\n")
    raise ParameterError(
        f'{path} has no cell tagged `parameters`; write `# %% tags=["parameters"]` before it.'
    )


def declared_parameters(root: Path, name: str) -> dict[str, Parameter]:
    """Return the parameters that a notebook declares."""
    return declared(parameters_cell(source_path(root, name)))


def check_profile(profile: str) -> None:
    """Refuse a profile that there is not.

    Raises:
        ParameterError: unknown profile; names those that there are.
    """
    if profile not in PROFILES:
        raise ParameterError(
            f"unknown profile {profile!r}.{suggestion(profile, PROFILES)} Known: {', '.join(PROFILES)}."
        )


def profile_values(root: Path, name: str, profile: str) -> Mapping[str, Any]:
    """Return what a profile's parameter file says.

    Raises:
        ParameterError: unknown profile, or no such file, or one that is no mapping.
    """
    check_profile(profile)
    path = root / "notebooks" / "parameters" / f"{name}.{profile}.yaml"
    if not path.is_file():
        have = sorted(p.name.split(".")[-2] for p in path.parent.glob(f"{name}.*.yaml"))
        raise ParameterError(
            f"{name} has no profile {profile!r}: {path} is absent. It has: {', '.join(have) or 'none'}."
        )
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise ParameterError(
            f"{path} holds {type(values).__name__}; allowed: a mapping of parameter names to values."
        )
    return {"profile": profile, **values}
