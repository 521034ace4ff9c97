"""The house rules: who imports whom, where drawing happens, how long files and functions may be."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "lib" / "memorization"
ROOMS = ["data", "models", "training", "measures", "runs", "report"]
DRAWING = {"matplotlib", "seaborn", "plotly"}
NAMING = "memorization.runs.sweep.experiment"  # the one name of a later room: it gives an experiment its name
MODULES = sorted(path.relative_to(LIBRARY).as_posix() for path in LIBRARY.rglob("*.py"))


def imported_modules(source: str, path: str) -> list[str]:
    """Dotted names of everything that a file of the library imports, relative imports resolved."""
    package = ["memorization", *path.split("/")[:-1]]
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *([node.module] if node.module else [])]
            names += [".".join([*base, alias.name]) for alias in node.names]
    return names


def is_room_file(path: str) -> bool:
    return path.split("/")[0] in ROOMS


def from_later_rooms(source: str, path: str) -> list[str]:
    """Imports of a room's file from a room that comes after it."""
    later = ROOMS[ROOMS.index(path.split("/")[0]) + 1 :] if is_room_file(path) else []
    return [
        name
        for name in imported_modules(source, path)
        if name.split(".")[:2] in [["memorization", r] for r in later] and name != NAMING
    ]


def from_room_surfaces(source: str, path: str) -> list[str]:
    """Imports of a room's file from a room's ``__init__``, not from the module that defines the name."""
    found = []
    for name in imported_modules(source, path) if is_room_file(path) else []:
        parts = name.split(".")
        surface = parts[0] == "memorization" and len(parts) in (2, 3) and parts[1] in ROOMS
        if surface and not (len(parts) == 3 and (LIBRARY / parts[1] / f"{parts[2]}.py").is_file()):
            found.append(name)
    return found


def misplaced_packages(source: str, path: str) -> list[str]:
    """Drawing packages imported outside report/, and torchvision imported around the one module that can."""
    roots = {name.split(".")[0] for name in imported_modules(source, path)}
    wrong = set() if path.startswith("report/") else roots & DRAWING
    return sorted(wrong | (roots & {"torchvision"} if path != "data/vision.py" else set()))


def long_functions(source: str, limit: int = 40) -> list[str]:
    """Functions of more than ``limit`` lines; signature and docstring, which document, are not counted."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            work = node.body if ast.get_docstring(node) is None else node.body[1:]
            lines = node.end_lineno - work[0].lineno + 1 if work else 0
            if lines > limit:
                found.append(f"{node.name}: {lines} lines")
    return found


@pytest.fixture(params=MODULES)
def module(request) -> tuple[str, str]:
    return (LIBRARY / request.param).read_text(), request.param


def test_the_rooms_of_the_library_are_those_of_the_plan():
    assert {path.name for path in LIBRARY.iterdir() if (path / "__init__.py").is_file()} == set(ROOMS)


def test_a_room_imports_only_from_earlier_rooms(module):
    assert from_later_rooms(*module) == []


def test_a_room_imports_from_the_module_that_defines_the_name(module):
    assert from_room_surfaces(*module) == []


def test_drawing_and_torchvision_stay_where_they_belong(module):
    assert misplaced_packages(*module) == []


def test_a_function_has_at_most_40_lines(module):
    assert long_functions(module[0]) == []


@pytest.mark.parametrize(
    "line",
    [
        "from memorization.report.theme import x",
        "import memorization.report",
        "from memorization import report",
        "from ..report import x",
    ],
)
def test_an_import_from_a_later_room_is_found(line):
    assert len(from_later_rooms(line, "runs/sweep.py")) == 1


def test_an_import_from_an_earlier_room_is_allowed():
    assert from_later_rooms("from memorization.data.images import x", "runs/sweep.py") == []


def test_the_command_line_may_import_from_every_room():
    assert from_later_rooms("from memorization.report.theme import x", "__main__.py") == []


@pytest.mark.parametrize(
    "line", ["from memorization.data import images_of", "import memorization.data", "from . import x"]
)
def test_an_import_from_a_room_surface_is_found(line):
    assert len(from_room_surfaces(line, "data/labels.py")) == 1


@pytest.mark.parametrize(
    "line", ["import matplotlib.pyplot as plt", "from seaborn import x", "import torchvision.datasets"]
)
def test_a_misplaced_package_is_found(line):
    assert len(misplaced_packages(line, "measures/stability.py")) == 1


def test_a_docstring_does_not_make_a_function_long():
    body = '    """Sentence.\n' + "\n" * 50 + '    """\n' + "    x = 1\n" * 40
    assert long_functions(f"def f():\n{body}") == []


def test_a_function_of_41_lines_is_long():
    assert long_functions("def f():\n" + "    x = 1\n" * 41) == ["f: 41 lines"]
