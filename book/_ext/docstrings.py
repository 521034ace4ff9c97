"""Sphinx extension: the library's docstrings, written for people who read code, become clean pages.

* The directive ``room`` documents a room of the library, module after module, without a list kept by hand:
  the names that the book's notebooks and examples import, what it adds with ``also``, and what these name.
  ``without`` leaves out modules that have a page of their own.
* A public name stands once in the library, so a reference needs no module: ``:func:`knn_probe``` finds it.
  A reference to what exists but is documented on no page stays plain text; what does not exist is a warning.
* ``|x|`` is an absolute value, not a substitution, and a colon in the first line of a property is a colon.
"""

from __future__ import annotations

import ast
import inspect
import json
import pkgutil
import re
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

PACKAGE = "memorization"
_BAR = re.compile(r"(``.*?``|`[^`]*`)|\|")  # code, which stays as it is, or a bar
_REFERENCE = re.compile(r":(?:func|class|meth):`~?([\w.]+)`")
_EXAMPLE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_ALSO = re.compile(r"^ *:also: (.*(?:\n +[^ :\n].*)*)$", re.MULTILINE)  # with the lines that go on


def setup(app: Any) -> dict[str, Any]:
    """Connect the steps; called by Sphinx."""
    app.add_directive("room", Room)
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-process-docstring", _tidy, priority=400)  # before napoleon, which has 500
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}


class Room(SphinxDirective):
    """Document the modules of a room; its argument is a package or a module of the library."""

    required_arguments = 1
    option_spec = {"also": directives.unchanged, "without": directives.unchanged}  # noqa: RUF012, docutils' own way

    def run(self) -> list[nodes.Node]:
        """Return a section for each module that has something to document."""
        public = public_names(Path(self.env.app.confdir))
        sections = []
        elsewhere = self.options.get("without", "").split()
        for module in modules_of(self.arguments[0]):
            if module.rpartition(".")[2] in elsewhere:
                continue
            names = [name for name in own_names(module) if name in public]
            if names:
                sections.append(self._section(module, names))
        return sections

    def _section(self, module: str, names: list[str]) -> nodes.Node:
        section = nodes.section(ids=[nodes.make_id(f"module-{module}")])
        section += nodes.title("", "", nodes.literal("", module.rpartition(".")[2]))
        lines = [f".. automodule:: {PACKAGE}.{module}", f"   :members: {', '.join(names)}"]
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, section)
        return section


def modules_of(room: str) -> list[str]:
    """Return the names, below the package, of a room's modules, or of the module itself."""
    found = import_module(f"{PACKAGE}.{room}")
    if not hasattr(found, "__path__"):
        return [room]
    return [f"{room}.{info.name}" for info in pkgutil.iter_modules(found.__path__) if not info.ispkg]


@cache
def own_names(module: str) -> dict[str, Any]:
    """Return the functions and classes that a module defines and no underscore hides."""
    full = f"{PACKAGE}.{module}"
    found = vars(import_module(full)).items()
    return {
        name: thing
        for name, thing in found
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == full
    }


@cache
def public_names(book: Path) -> frozenset[str]:
    """Return the names that the pages of a book use, and those that these refer to, and so on."""
    everything: dict[str, Any] = {}
    for module in _all_modules():
        everything |= own_names(module)
    found: set[str] = set()
    todo = used_names(book) & set(everything)
    while todo:
        found |= todo
        texts = [_text(everything[name]) for name in todo]
        named = {part.rpartition(".")[2] for text in texts for part in _REFERENCE.findall(text)}
        named |= {word for text in texts for word in re.findall(r"\b[A-Z]\w+", text)}  # types of arguments
        todo = (named & set(everything)) - found
    return frozenset(found)


def used_names(book: Path) -> set[str]:
    """Return what a book's notebooks and examples import from the library, and what its pages add."""
    found: set[str] = set()
    for path in sorted(book.rglob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        for cell in cells:
            found |= _imported("".join(cell["source"])) if cell["cell_type"] == "code" else set()
    for path in sorted(book.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        found |= {name for example in _EXAMPLE.findall(text) for name in _imported(example)}
        found |= {name for line in _ALSO.findall(text) for name in re.findall(r"\w+", line)}
    return found


def _imported(code: str) -> set[str]:
    imports = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return {a.name for node in imports if (node.module or "").startswith(PACKAGE) for a in node.names}


def _text(thing: Any) -> str:
    """The docstrings of a function, or of a class and its methods, and the types in their signatures."""
    parts = [thing, *vars(thing).values()] if inspect.isclass(thing) else [thing]
    callables = [part for part in parts if inspect.isfunction(part) or inspect.isclass(part)]
    return "\n".join(f"{part.__doc__} {getattr(part, '__annotations__', '')}" for part in callables)


def _resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    if node.get("refdomain") != "py":
        return None
    target = str(node.get("reftarget", ""))
    domain = env.get_domain("py")
    places = [
        name for name in domain.objects if name.endswith(f".{target}") and name.startswith(f"{PACKAGE}.")
    ]
    if len(places) == 1:
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", places[0], node, content)
    return content if exists(target) else None


@cache
def exists(target: str) -> bool:
    """Whether the library has this: a dotted name from its top, or a name that one of its modules defines."""
    parts = target.removeprefix(f"{PACKAGE}.").split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join([PACKAGE, *parts[:cut]]))
        except ImportError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return any(target in vars(import_module(f"{PACKAGE}.{module}")) for module in _all_modules())


@cache
def _all_modules() -> tuple[str, ...]:
    found = pkgutil.walk_packages(import_module(PACKAGE).__path__, f"{PACKAGE}.")
    return tuple(
        i.name.removeprefix(f"{PACKAGE}.") for i in found if not i.ispkg and "__main__" not in i.name
    )


def _tidy(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [_BAR.sub(lambda found: found.group(1) or "\\|", line) for line in lines]
    if what in ("property", "attribute", "data") and lines:
        lines[0] = lines[0].replace(": ", " – ", 1)
