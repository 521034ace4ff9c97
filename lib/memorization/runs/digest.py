"""Digest of the code that a function uses: of the library modules that it imports, transitively.

Comments, docstrings and white space do not count, so that a better explanation re-runs nothing. A name that
is imported from a room's ``__init__`` is followed to the module that defines it, so that a new module beside
it re-runs nothing either.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import sysconfig
import textwrap
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from types import CodeType
from typing import Any

_PACKAGE = __name__.partition(".")[0]
_NAMING = "memorization.runs.sweep", "experiment"  # gives a name and computes nothing: not followed


def code_digest(function: Callable[..., Any]) -> str:
    """Return twelve hexadecimal digits that change when the code behind ``function`` changes.

    Args:
        function: a function of the library: its module counts, and the modules that it imports. Or one of the
            reader's own: its text counts, that of the functions and the plain values that it names, wherever
            they are defined outside installed packages, and the library modules that it uses.
    """
    if function.__module__.partition(".")[0] == _PACKAGE:
        return _library_digest(function.__module__)
    return digest_of("\n".join(_own_texts(function, set())))


@lru_cache(maxsize=64)
def _library_digest(module: str) -> str:
    """Read once in a process, as the code itself is."""
    return digest_of(_read(module), package=_package_of(module))


def _own_texts(function: Callable[..., Any], seen: set[int]) -> Iterator[str]:
    """Texts of a reader's function and of everything that it names, and the library modules behind them."""
    code, known = getattr(function, "__code__", None), getattr(function, "__globals__", {})
    if id(function) in seen or code is None or _is_installed(code.co_filename):
        return
    seen.add(id(function))
    text = textwrap.dedent(inspect.getsource(function))
    yield text if text.startswith(("def ", "@")) else repr(text)  # a lambda's line need not stand alone
    for name in sorted(_names(code)):
        value = known.get(name)
        module = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", None) or ""
        if str(module).partition(".")[0] == _PACKAGE:
            yield f"import {module}"
        elif inspect.isfunction(value):
            yield from _own_texts(value, seen)
        elif isinstance(value, bool | int | float | str | tuple):  # a list may be a log that grows
            yield f"{name} = {value!r}"


def _names(code: CodeType) -> set[str]:
    inner = [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(code.co_names).union(*[_names(one) for one in inner])


def _is_installed(filename: str) -> bool:
    return "site-packages" in filename or filename.startswith(sysconfig.get_path("stdlib"))


def digest_of(source: str, package: str = "") -> str:
    """Return the digest of a source text and of all library modules that it imports."""
    parts = [_essence(source)]
    for name in sorted(modules_of(source, package)):
        parts.append(f"{name}\n{_essence(_read(name))}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def modules_of(source: str, package: str = "") -> set[str]:
    """Return the names of the library modules that a source text imports, transitively."""
    found: set[str] = set()
    todo = _imports(source, package)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo |= _imports(_read(name), _package_of(name)) - found
    return found


def _imports(source: str, package: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names if a.name.partition(".")[0] == _PACKAGE and _file(a.name)}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            if base.partition(".")[0] == _PACKAGE:
                names |= {_definer(base, a.name) for a in node.names if (base, a.name) != _NAMING}
    return names


def _definer(base: str, name: str) -> str:
    """The module that defines ``name``: a submodule of ``base``, one it imports from, or ``base`` itself."""
    if _file(f"{base}.{name}"):
        return f"{base}.{name}"
    path = _file(base)
    if path is None:
        raise ModuleNotFoundError(f"no module {base!r} in the library")
    if path.name == "__init__.py":
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom) and any((a.asname or a.name) == name for a in node.names):
                inner = node.module or ""
                if node.level:
                    inner = importlib.util.resolve_name("." * node.level + inner, base)
                if inner.partition(".")[0] == _PACKAGE:
                    return _definer(inner, next(a.name for a in node.names if (a.asname or a.name) == name))
    return base


def _file(name: str) -> Path | None:
    root = Path(__file__).resolve().parents[1].parent
    path = root.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _package_of(name: str) -> str:
    path = _file(name)
    return name if path is not None and path.name == "__init__.py" else name.rpartition(".")[0]


def _read(name: str) -> str:
    path = _file(name)
    if path is None:
        raise ModuleNotFoundError(f"no module {name!r} in the library")
    return path.read_text(encoding="utf-8")


@lru_cache(maxsize=512)
def _essence(source: str) -> str:
    """The source without comments, docstrings and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            value = body[0].value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                body[0] = ast.Expr(ast.Constant(...))
    return ast.unparse(ast.fix_missing_locations(tree))
