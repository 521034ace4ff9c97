"""What a result depends on: the code behind a function, and all that an executed notebook is made of.

The digest of code is made of definitions, not of files. A text is read without being run: what its names are
bound to, and what each statement reads. Only functions that have no text of their own (a notebook's, a local
one) are followed by what their names are bound to at run time.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import hashlib
import importlib.util
import inspect
import json
import os
import sys
import sysconfig
import textwrap
import warnings
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property, partial
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import CodeType
from typing import Any

import yaml

from memorization.runs.parameters import source_path

STAMP = "fingerprint"
_DEEPEST = 8  # folders of data below each other

Chain = tuple[str, ...]  # a name and the attributes asked of it: ``a.b.c``
_PACKAGE = __name__.partition(".")[0]
_NAMING = "memorization.runs.sweep.experiment"
_IMPORTED = "import"  # stands before a module that is imported by its name as a string; no name is called so
_INSTALLED = ("site-packages", "dist-packages", sysconfig.get_path("stdlib"))
_NEVER_RUN = ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_PLAIN = bool | int | float | str
Place = tuple["_Module | None", int]  # where something is read: module and line


def code_digest(function: Callable[..., Any]) -> str:
    """Return twelve hexadecimal digits that change when the code behind ``function`` changes.

    Made of every definition (function, class, constant of a module) that the function reaches: by names, as
    attributes of modules, through classes, collections of functions, decorators and ``functools.partial``; in
    this library and in the reader's own modules. What is installed counts by its name. Comments, docstrings,
    layout and the names of modules do not count, so what moves unchanged keeps its digest.

    Warns:
        RuntimeWarning: once a place, where it cannot follow: a computed name, ``importlib``, a star import, a
            name that a function rebinds. Then the whole module counts.
    """
    reach = _Reach()
    reach.function(function)
    return reach.digest()


def digest_of(source: str) -> str:
    """Return the digest of a source text, a notebook's say, and of every definition that it reaches."""
    reach = _Reach()
    reach.whole(_Module("", source))
    return reach.digest()


class _Module:
    """One source text: the statements that bind each of its names, and where its imports lead."""

    def __init__(self, name: str, source: str, package: str = "") -> None:
        self.name, self.package = name, package
        self.bound: dict[str, list[_Statement]] = {}
        self.imports: dict[str, str] = {}
        self.stars: list[str] = []
        self.rebound: dict[str, int] = {}  # by `global` in a function, and in which line
        self.loose: list[_Statement] = []  # what belongs to no name counts with each of them
        self.whole: list[_Statement] = []
        for node in ast.parse(source).body:
            self._bind(node)
        for statement in self.whole:
            if not statement.binds:  # such as `register(f)`: it belongs to the names that it mentions
                mentioned = {chain[0] for chain, _ in statement.reads} & set(self.bound)
                for name in mentioned:
                    self.bound[name].append(statement)
                self.loose += [] if mentioned else [statement]

    def _bind(self, node: ast.stmt) -> None:
        never_run = isinstance(node, ast.If) and ast.unparse(node.test) in _NEVER_RUN
        if never_run or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            return
        statement = _Statement(self, node)
        for inner in statement.nodes:
            if isinstance(inner, ast.Global):
                self.rebound |= dict.fromkeys(inner.names, inner.lineno)
        if not isinstance(node, _SCOPES):  # what a function imports is its own
            found = statement.own_imports
            self.stars += [found.pop("*")] if "*" in found else []
            self.imports |= found
        if not isinstance(node, ast.Import | ast.ImportFrom) and "__all__" not in statement.binds:
            self.whole.append(statement)
            for name in statement.binds:
                self.bound.setdefault(name, []).append(self.whole[-1])


class _Statement:
    """One statement at the top of a module, with what it reads and its essence."""

    def __init__(self, module: _Module, node: ast.stmt) -> None:
        self.module, self.node = module, node

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.node))

    @cached_property
    def binds(self) -> set[str]:
        """The names that it binds in its module."""
        return set().union(*map(_binds_itself, [self.node] if isinstance(self.node, _SCOPES) else self.nodes))

    @cached_property
    def own_imports(self) -> dict[str, str]:
        """Where the names lead that it imports itself."""
        inner = [node for node in self.nodes if isinstance(node, ast.Import | ast.ImportFrom)]
        return dict(ChainMap(*(_imported(node, self.module.package) for node in inner)))

    @cached_property
    def imports(self) -> Mapping[str, str]:
        """Where the names lead that the module imports, or the statement itself."""
        return ChainMap(self.own_imports, self.module.imports)

    @cached_property
    def reads(self) -> list[tuple[Chain, int]]:
        """The names of the module that it reads, each with the attributes asked of it, and the line."""
        if isinstance(self.node, ast.FunctionDef):  # what names an experiment computes nothing
            kept = [one for one in self.node.decorator_list if self._dotted(one) != _NAMING]
            self.node.decorator_list = kept
        return [*dict.fromkeys(_reads(self.node, frozenset()))]

    def _dotted(self, decorator: ast.expr) -> str:
        first, *rest = _chain(getattr(decorator, "func", decorator)) or ("",)
        return ".".join([self.imports.get(first, first), *rest])

    @cached_property
    def essence(self) -> str:
        """Its text without comments, docstrings, layout and names of modules."""
        for node in self.nodes:
            if isinstance(node, _SCOPES) and ast.get_docstring(node, clean=False) is not None:
                node.body[0] = ast.Expr(ast.Constant(...))
        of_modules = any(c[0] in self.imports and _module(self.imports[c[0]]) for c, _ in self.reads)
        return ast.unparse(
            _Essence(self.imports).visit(self.node) if of_modules or self.own_imports else self.node
        )


class _Essence(ast.NodeTransformer):
    """Takes the names of modules out of a text."""

    def __init__(self, imports: Mapping[str, str]) -> None:
        self.imports = imports

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        """Write ``module.f`` as ``f``, whatever the module is called."""
        chain = _chain(node)
        target = ".".join([self.imports[chain[0]], *chain[1:]]) if chain and chain[0] in self.imports else ""
        if not target or _module(target.rpartition(".")[0]) is None or _module(target) is not None:
            return self.generic_visit(node)
        return ast.Name(node.attr, node.ctx)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        return ast.ImportFrom("", node.names, 0)  # where it leads is followed, or told with the names read

    def visit_Import(self, node: ast.Import) -> ast.AST:
        return ast.Pass()


class _Reach:
    """Everything that a function or a text reaches, as texts."""

    def __init__(self) -> None:
        self.texts: set[str] = set()
        self._seen: set[Any] = set()

    def digest(self) -> str:
        return hashlib.sha256("\n".join(sorted(self.texts)).encode()).hexdigest()[:12]

    def _first(self, what: Any) -> bool:
        first = what not in self._seen
        self._seen.add(what)
        return first

    def function(self, function: Any) -> None:
        """Reach a function: in its module's text, or as it is where that has none (a notebook's, a local)."""
        module, (name, _, inner) = _module(function.__module__), function.__qualname__.partition(".")
        if module and name in module.bound and "<locals>" not in inner:
            self.name(module, name)
        elif self._first(function) and not _is_installed(function.__code__.co_filename):
            cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
            known = {} if module else function.__globals__
            known = {**known, **{name: getattr(cell, "cell_contents", None) for name, cell in cells}}
            for node in _own_text(function):
                statement = _Statement(module or _Module(function.__module__, ""), node)
                for chain, line in statement.reads:
                    if chain[0] in known:
                        self.value(known[chain[0]], chain)
                    else:
                        self.chain(statement, chain, line)
                self.texts.add(statement.essence)

    def value(self, value: Any, chain: Chain) -> None:
        """Reach what a name is bound to at run time; data in lists and mappings (a log, say) are no code."""
        if isinstance(value, _PLAIN) or (
            isinstance(value, tuple) and all(isinstance(v, _PLAIN) for v in value)
        ):
            self.texts.add(f"{chain[0]} = {value!r}")
        elif inspect.ismodule(value):
            self.target(value.__name__, chain[1:], (None, 0))
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, list | tuple | dict):
            members = value.values() if isinstance(value, dict) else value
            for one in [v for v in members if not isinstance(v, _PLAIN)] if self._first(id(value)) else ():
                self.value(one, chain)
        elif isinstance(value, partial):
            for one in (value.func, *value.args, *value.keywords.values()):
                self.value(one, chain)
        elif isinstance(value, staticmethod | classmethod | property):
            self.value(getattr(value, "__func__", None) or getattr(value, "fget", None), chain)
        elif inspect.isfunction(inspect.unwrap(value) if callable(value) else None):
            self.function(inspect.unwrap(value))

    def _class(self, kind: type) -> None:
        module, name = _module(kind.__module__), kind.__qualname__.partition(".")[0]
        if module and name in module.bound:
            self.name(module, name)
        elif kind.__module__ == "__main__" and self._first(kind):
            for one in kind.__bases__:
                self._class(one)
            for name, member in vars(kind).items():
                self.value(member, (f"{kind.__qualname__}.{name}",))

    def name(self, module: _Module, name: str) -> None:
        """Reach a name that a module binds."""
        if not self._first((module.name, name)):
            return
        if name in module.rebound:
            self._lost(module, (module, module.rebound[name]), f"{name} is bound again at run time")
        elif module.name.partition(".")[0] != _PACKAGE:  # the reader's: a value may have been put there
            live = getattr(sys.modules.get(module.name), name, None)
            if isinstance(live, _PLAIN) or getattr(live, "__qualname__", name) != name:
                self.value(live, (name,))
        for statement in [*module.bound[name], *module.loose]:
            self.statement(statement)

    def statement(self, statement: _Statement) -> None:
        if self._first(statement):
            for chain, line in statement.reads:
                self.chain(statement, chain, line)
            self.texts.add(statement.essence)

    def whole(self, module: _Module) -> None:
        """Reach everything in a module."""
        if self._first((module.name, "*")):
            for statement in module.whole:
                self.statement(statement)

    def chain(self, statement: _Statement, chain: Chain, line: int) -> None:
        """Reach what a name leads to that a statement reads."""
        module, name, place = statement.module, chain[0], (statement.module, line)
        if name == _IMPORTED:
            self.target(chain[1], (), place)
        elif name in statement.imports:
            target = statement.imports[name]
            if (told := _told(target)) not in ("", name):
                self.texts.add(f"{name} = {told}")
            self.target(target, chain[1:], place)
        if name in module.bound:
            self.name(module, name)
        elif name in ("globals", "eval", "exec", "__import__") and name not in statement.imports:
            self._lost(module, place, f"{name}() hides what is used")
        elif name not in statement.imports and not hasattr(builtins, name):
            for star in filter(None, map(_module, module.stars)):
                self._lost(star, place, f"from {star.name} import * hides where {name} is from")

    def target(self, target: str, rest: Chain, place: Place) -> None:
        """Reach what a dotted path leads to, and the attributes asked of it."""
        base, _, last = target.rpartition(".")
        holder = _module(base) if base else None
        if holder and last in holder.bound:
            self.name(holder, last)
        elif holder and last in holder.imports:
            self.target(holder.imports[last], rest, place)
        elif rest:
            self.target(f"{target}.{rest[0]}", rest[1:], place)
        elif module := _module(target):
            self._lost(module, place, f"{module.name} is used as a whole")
        elif holder and not last.startswith("__"):
            self._lost(holder, place, f"{target} is not found in its text")
        elif target == "importlib.import_module" and place[0]:
            self._lost(place[0], place, "importlib hides what is used")

    def _lost(self, module: _Module, place: Place, why: str) -> None:
        """Count a whole module, because what is used of it cannot be told; say so once."""
        where = f"{place[0].name if place[0] else 'a notebook'}, line {place[1]}"
        if (module.name, "*") not in self._seen and where not in _SAID:
            _SAID.add(where)
            warnings.warn(
                f"{where}: {why}, so all code of {module.name or 'this text'} counts as used",
                RuntimeWarning,
                stacklevel=2,
            )
        self.whole(module)


_SAID: set[str] = set()  # the places where code could not be followed


def _reads(node: ast.AST, local: frozenset[str]) -> Iterator[tuple[Chain, int]]:
    """Yield the names that are read and not ``local``, with the attributes asked of them, and the line."""
    if chain := _chain(node):
        if chain[0] not in local:
            yield chain, node.lineno  # type: ignore[attr-defined]
        return
    given = node.args[:1] if isinstance(node, ast.Call) else []
    if given and _chain(node.func)[-1:] == ("import_module",) and isinstance(given[0], ast.Constant):  # type: ignore[attr-defined]
        yield (_IMPORTED, str(given[0].value)), given[0].lineno
        return
    inner = local | _locals(node) if isinstance(node, (*_FUNCTIONS, *_COMPREHENSIONS)) else local
    outside: list[ast.AST] = []  # what a function reads where it is made: decorators, defaults, annotations
    if isinstance(node, _FUNCTIONS):
        outside = [one for one in ast.iter_child_nodes(node) if one not in _body(node)]
    for child in ast.iter_child_nodes(node):
        yield from _reads(child, local if child in outside else inner)


def _body(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> list[ast.AST]:
    return [*function.body] if isinstance(function.body, list) else [function.body]


def _chain(node: ast.AST) -> Chain:
    """``a.b.c``, or ``getattr(a, "b")``, as its names; empty for anything else."""
    names: list[str] = []
    while True:
        if isinstance(node, ast.Attribute):
            names, node = [node.attr, *names], node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
            if len(node.args) < 2 or not isinstance(node.args[1], ast.Constant):
                return ()
            names, node = [str(node.args[1].value), *names], node.args[0]
        else:
            return (node.id, *names) if isinstance(node, ast.Name) else ()


def _locals(node: Any) -> set[str]:
    """The names that a function or a comprehension binds for itself; what it imports is followed instead."""
    if isinstance(node, _COMPREHENSIONS):
        return {n.id for one in node.generators for n in ast.walk(one.target) if isinstance(n, ast.Name)}
    found, outer = {one.arg for one in ast.walk(node.args) if isinstance(one, ast.arg)}, set()
    todo = _body(node)
    while todo:
        one = todo.pop()
        found |= _binds_itself(one)
        outer |= set(one.names) if isinstance(one, ast.Global | ast.Nonlocal) else set()
        if not isinstance(one, (*_SCOPES, ast.Lambda, *_COMPREHENSIONS)):
            todo += ast.iter_child_nodes(one)
    return found - outer


def _binds_itself(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name):
        return set() if isinstance(node.ctx, ast.Load) else {node.id}
    if isinstance(node, (*_SCOPES, ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
        return {node.name} - {None}  # type: ignore[return-value]
    return set()


def _imported(node: ast.AST, package: str) -> dict[str, str]:
    """The names that an import binds, and the dotted paths that they lead to; ``*`` to the module's."""
    if isinstance(node, ast.Import):
        return {
            a.asname or a.name.partition(".")[0]: a.name if a.asname else a.name.partition(".")[0]
            for a in node.names
        }
    if not isinstance(node, ast.ImportFrom):
        return {}
    base = importlib.util.resolve_name("." * node.level + (node.module or ""), package or None)
    return {a.asname or a.name: base if a.name == "*" else f"{base}.{a.name}" for a in node.names}


def _told(target: str) -> str:
    """What an import leads to, without the names of modules that may be renamed."""
    parts = target.split(".")
    if _module(target):
        return ""
    followed = any(_module(".".join(parts[:k])) for k in range(1, len(parts)))
    return parts[-1] if followed else target


def _own_text(function: Any) -> list[ast.stmt]:
    """A function's own text; where it has none, or no whole statement (a lambda), its byte code and names."""
    with contextlib.suppress(OSError, SyntaxError):
        if function.__name__ != "<lambda>":
            return ast.parse(textwrap.dedent(inspect.getsource(function))).body
    codes = list(_codes(function.__code__))
    plain = [(c.co_code, [one for one in c.co_consts if not isinstance(one, CodeType)]) for c in codes]
    names = sorted({name for code in codes for name in code.co_names})
    return ast.parse(", ".join([repr(str(plain)), *names])).body


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _module(name: str) -> _Module | None:
    """The module of that name, where its text can be followed: of this library, or the reader's own."""
    if name.partition(".")[0] == _PACKAGE:
        return _library_module(name)
    if not name:
        return None
    file = getattr(sys.modules.get(name), "__file__", None) or getattr(_spec(name), "origin", None) or ""
    if not file.endswith(".py") or _is_installed(file) or not Path(file).is_file():
        return None
    return _parsed(name, file, Path(file).stat().st_mtime_ns)


@cache
def _library_module(name: str) -> _Module | None:
    """Read once in a process, as the code itself is."""
    path = Path(__file__).resolve().parents[2].joinpath(*name.split("."))
    found = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return _parsed(name, str(found[0]), 0) if found else None


@cache
def _parsed(name: str, file: str, _changed: int) -> _Module:
    package = name if file.endswith("__init__.py") else name.rpartition(".")[0]
    return _Module(name, Path(file).read_text(encoding="utf-8"), package)


@cache
def _spec(name: str) -> ModuleSpec | None:
    """Where a module would be imported from, found without importing it or what it is in."""
    parent, where = name.rpartition(".")[0], None
    if parent:
        above = _spec(parent)
        where = above.submodule_search_locations if above else None
        if not where or any(map(_is_installed, where)):
            return None
    return PathFinder.find_spec(name, where)


@cache
def _is_installed(file: str) -> bool:
    return any(part in file for part in _INSTALLED)


def fingerprint(root: Path, name: str, parameters: Mapping[str, Any]) -> str:
    """Return a digest of all that a notebook's output depends on.

    Its text, parameters, claims and library code, the lock file, the data, and published results.
    """
    source = source_path(root, name).read_text(encoding="utf-8")
    parts = [source, json.dumps(parameters, sort_keys=True), digest_of(source)]
    for path in _files(root, name, source):
        parts.append(f"{path.relative_to(root)}\n{hashlib.sha256(path.read_bytes()).hexdigest()}")
    parts += _data(root)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def reads(source: str) -> list[str]:
    """Return the files and folders that a notebook's header says it reads, relative to the project.

    The header names them as ``memorization: {reads: […]}`` in its ``jupyter`` mapping. A notebook that reads
    ``_build`` is executed after all others.
    """
    lines = []
    for line in source.splitlines()[1:] if source.startswith("# ---") else []:
        if line.startswith("# ---"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    header = yaml.safe_load("\n".join(lines)) or {}
    found = header.get("jupyter", {}).get("memorization", {}).get("reads", [])
    return [str(path) for path in found]


def _files(root: Path, name: str, source: str) -> Iterator[Path]:
    """The files it may show, published results of every profile among them: a page shows those of others."""
    results = [
        *(root / "results").glob(f"records/{name}.*.jsonl"),
        *(root / "results").glob(f"verdicts/{name}.*.json"),
        *(root / "results").glob(f"prices/{name}.*.json"),
        *(root / "results").glob(f"replications/{name}.*.json"),
    ]
    fixed = [root / "requirements.lock", root / "notebooks" / "claims" / f"{name}.yaml"]
    for path in [*fixed, *sorted(results), *(root / relative for relative in reads(source))]:
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.is_file())


def _data(root: Path) -> Iterator[str]:
    """Names, sizes and times of the data; the bytes are checked when they are loaded.

    From three folders deep (pictures, thousands a class) a folder's time stands for what is in it.
    """
    top = Path(os.environ.get("MEMORIZATION_DATA") or root / "data")
    for folder, inner, files in os.walk(top, followlinks=True):
        depth = len(Path(folder).relative_to(top).parts)
        inner[:] = sorted(inner) if depth < _DEEPEST else []  # a link may lead back to where it stands
        for path in [Path(folder)] if depth >= 3 else [Path(folder, name) for name in sorted(files)]:
            if path.exists():
                state = path.stat()
                size = state.st_size if path.is_file() else 0
                yield f"{path.relative_to(top)} {size} {state.st_mtime_ns}"
