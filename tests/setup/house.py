"""The house, read from its source: modules, their size in code lines, and who imports whom.

``python tests/setup/house.py`` prints the sizes of the rooms and of their modules.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "lib" / "memorization"
SHARED = ("checks", "draws", "data", "models", "training", "measures")
ROOMS = (*SHARED, "runs", "report", "studies")


@cache
def modules() -> tuple[str, ...]:
    """Dotted names of all modules of the library below ``memorization``; a package is its own name."""
    paths = sorted(path.relative_to(LIBRARY).with_suffix("") for path in LIBRARY.rglob("*.py"))
    names = [".".join(path.parts).removesuffix("__init__").rstrip(".") for path in paths]
    return tuple(name for name in names if name)


def path_of(module: str) -> Path:
    """The file of a module."""
    base = LIBRARY.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def source(module: str) -> str:
    """The text of a module."""
    return path_of(module).read_text(encoding="utf-8")


def code_lines(text: str) -> int:
    """Lines of a source text that are neither blank, nor a comment, nor part of a docstring."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        documents = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documents) and ast.get_docstring(node) is not None:
            documented |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    lines = enumerate(text.splitlines(), start=1)
    return sum(1 for i, line in lines if line.strip() and line.strip()[0] != "#" and i not in documented)


def imports(text: str, module: str = "") -> list[tuple[str, str]]:
    """What a source text imports from the library, anywhere in it: pairs of module and name ("" for all)."""
    found = []
    package = ["memorization", *module.split(".")[:-1]]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            full = ".".join([*base, *([node.module] if node.module else [])])
            found += [(full, alias.name) for alias in node.names]
    inside = [(base, name) for base, name in found if base.split(".")[0] == "memorization"]
    return [_placed(base.removeprefix("memorization").lstrip("."), name) for base, name in inside]


def _placed(base: str, name: str) -> tuple[str, str]:
    """``from package import module`` is an import of the module."""
    full = f"{base}.{name}".strip(".")
    return (full, "") if name and full in modules() else (base, name)


@cache
def imported_modules(module: str) -> frozenset[str]:
    """The modules of the library that a module imports."""
    return frozenset(base for base, _ in imports(source(module), module) if base and base in modules())


@cache
def reached(module: str) -> frozenset[str]:
    """The modules that a module imports, and those that these import, and so on."""
    found: set[str] = set()
    todo = {module}
    while todo:
        new = set().union(*(imported_modules(one) for one in todo)) - found
        found |= new
        todo = new
    return frozenset(found)


def room_of(module: str) -> str:
    """The room that a module stands in."""
    return module.split(".")[0]


def pages_that_reach() -> dict[str, set[str]]:
    """For each module, the notebooks whose imports lead to it."""
    found: dict[str, set[str]] = {module: set() for module in modules()}
    for path in sorted((ROOT / "notebooks").glob("*.py")):
        first = {base for base, _ in imports(path.read_text(encoding="utf-8")) if base in found}
        for module in first.union(*(reached(one) for one in first)):
            found[module].add(path.stem)
    return found


def mentions(pattern: str) -> int:
    """How many modules' code matches a regular expression."""
    return sum(1 for module in modules() if re.search(pattern, source(module)))


def table() -> str:
    """The sizes of the modules and rooms, and the counts by which the house is judged, as text."""
    sizes = {module: code_lines(source(module)) for module in modules()}
    files = {module: size for module, size in sizes.items() if path_of(module).name != "__init__.py"}
    rooms: Counter[str] = Counter()
    for module, size in sizes.items():
        rooms[room_of(module)] += size
    pages = pages_that_reach()
    lonely = sum(
        size for module, size in sizes.items() if room_of(module) in SHARED and len(pages[module]) == 1
    )
    counts = {
        "modules": len(files),
        "code lines": sum(sizes.values()),
        "code lines of shared science": sum(rooms[room] for room in SHARED),
        "of these, reached by one page only": lonely,
        "modules that step down a gradient": mentions(r"\.backward\(\)|autograd\.grad\("),
        "modules that make an optimizer": mentions(r"torch\.optim\.\w+\(|torch\.optim\.(Adam|SGD)"),
        "wordings of an unknown name": sum(len(re.findall("choose one of", source(m))) for m in modules()),
        "code lines of the longest module": max(files.values()),
    }
    rows = [f"{size:6d}  {module}" for module, size in files.items()]
    rows += [f"{rooms[room]:6d}  {room}/" for room in sorted(rooms)]
    return "\n".join([*rows, *(f"{count:6d}  {what}" for what, count in counts.items())])


if __name__ == "__main__":
    print(table())
