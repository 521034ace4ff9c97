"""The rules of the house: who imports whom, where drawing happens, what a module holds."""

import ast

import pytest
from setup.house import (
    LIBRARY,
    ROOMS,
    SHARED,
    code_lines,
    imported_modules,
    imports,
    modules,
    path_of,
    reached,
    room_of,
    source,
)

DRAWING = {"matplotlib", "seaborn"}
EVERYWHERE = {"checks"}
BEFORE = {room: {*SHARED[: SHARED.index(room)], room} for room in SHARED}
BEFORE |= {"runs": {"runs"}, "report": {"runs", "report"}, "studies": set(ROOMS)}
STUDIES = sorted(path.name for path in (LIBRARY / "studies").iterdir() if (path / "__init__.py").is_file())
FILES = [module for module in modules() if path_of(module).name != "__init__.py" and module != "__main__"]
IN_ROOMS = [module for module in FILES if room_of(module) in ROOMS]
EXPERIMENTS = [
    module for module in FILES if "@experiment(" in source(module) and room_of(module) == "studies"
]


def foreign_rooms(text: str, module: str) -> list[str]:
    """Imports of a module from a room that it must not know, or from another study."""
    allowed = BEFORE[room_of(module)] | EVERYWHERE
    study = module.split(".")[1] if room_of(module) == "studies" else ""
    found = []
    for base, _ in imports(text, module):
        other = base.split(".")[1] if base.startswith("studies.") else study
        if base and (room_of(base) not in allowed or other != study):
            found.append(base)
    return found


def not_defined_there(text: str, module: str) -> list[str]:
    """Names imported from a module that does not define them."""
    return [
        f"{base}.{name}"
        for base, name in imports(text, module)
        if name and base in modules() and name not in defined(source(base))
    ]


def defined(text: str) -> set[str]:
    """Names that a source text defines at its top level."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {
            part.id for t in targets if t is not None for part in ast.walk(t) if isinstance(part, ast.Name)
        }
    return names


def misplaced_packages(text: str, module: str) -> list[str]:
    """Drawing packages outside the rooms that draw, and torchvision around the one module that can."""
    roots = {part.name.split(".")[0] for node in ast.walk(ast.parse(text)) for part in _aliases(node)}
    draws = room_of(module) == "report" or (room_of(module) == "studies" and module.endswith(".figures"))
    wrong = set() if draws else roots & DRAWING
    return sorted(wrong | (roots & {"torchvision"} if module != "data.files" else set()))


def _aliases(node: ast.AST) -> list[ast.alias]:
    if isinstance(node, ast.ImportFrom) and not node.level:
        return [ast.alias(node.module or "")]
    return node.names if isinstance(node, ast.Import) else []


@pytest.fixture(params=IN_ROOMS)
def module(request) -> str:
    return request.param


def test_the_rooms_of_the_library_are_those_of_the_plan():
    assert {room_of(module) for module in modules()} - {"__main__"} == set(ROOMS)


def test_a_room_imports_from_earlier_rooms_and_a_study_from_no_other(module):
    assert foreign_rooms(source(module), module) == []


def test_a_name_is_imported_from_the_module_that_defines_it(module):
    assert not_defined_there(source(module), module) == []


def test_drawing_and_torchvision_stay_where_they_belong(module):
    assert misplaced_packages(source(module), module) == []


@pytest.mark.parametrize("package", [name for name in modules() if path_of(name).name == "__init__.py"])
def test_the_first_file_of_a_room_holds_a_docstring_and_nothing_else(package):
    assert code_lines(source(package)) == 0


@pytest.mark.parametrize("experiments", EXPERIMENTS)
def test_no_experiment_reaches_the_code_of_a_figure_or_a_table(experiments):
    shown = [name for name in reached(experiments) if room_of(name) == "report" or _shows(name)]
    assert shown == []


def _shows(name: str) -> bool:
    return room_of(name) == "studies" and name.rpartition(".")[2] in ("figures", "tables")


def test_a_module_of_less_than_40_lines_has_several_readers(module):
    readers = [other for other in FILES if module in imported_modules(other)]
    assert code_lines(source(module)) >= 40 or len(readers) != 1, f"it belongs into {readers}"


def test_a_module_of_more_than_450_lines_says_why(module):
    """In a comment of its first lines that begins with ``# Long:``."""
    beginning = source(module).splitlines()[:40]
    assert code_lines(source(module)) <= 450 or any(line.startswith("# Long: ") for line in beginning)


def test_a_public_name_stands_once_in_the_library():
    places: dict[str, list[str]] = {}
    for one in IN_ROOMS:
        for node in ast.parse(source(one)).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(one)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("from memorization.report.styles import x", "data.labels"),
        ("import memorization.measures.probes", "training.train"),
        ("from ..report.styles import x", "measures.probes"),
        ("from memorization.data.labels import x", "runs.sweep"),
        ("from memorization.studies.benign_memorization.experiments import x", "report.figures"),
        ("from memorization.studies.benign_memorization import x", "studies.feature_contamination.data"),
    ],
)
def test_an_import_from_a_room_that_must_not_be_known_is_found(line, module):
    assert len(foreign_rooms(line, module)) == 1


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("from memorization.data.labels import x", "training.train"),
        ("from memorization.checks import x", "runs.sweep"),
        (
            "from memorization.studies.benign_memorization.experiments import x",
            "studies.benign_memorization.figures",
        ),
        ("import numpy", "runs.sweep"),
    ],
)
def test_an_import_that_the_plan_allows_is_allowed(line, module):
    assert foreign_rooms(line, module) == []


def test_a_name_that_is_only_passed_on_is_found():
    assert not_defined_there("from memorization.data.labels import Tensor", "models.layers") == [
        "data.labels.Tensor"
    ]


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("import matplotlib.pyplot as plt", "measures.stability"),
        ("from seaborn import x", "studies.benign_memorization.experiments"),
        ("import torchvision.datasets", "studies.benign_memorization.figures"),
    ],
)
def test_a_misplaced_package_is_found(line, module):
    assert len(misplaced_packages(line, module)) == 1


def test_comments_docstrings_and_blank_lines_are_no_code():
    assert code_lines('"""Two\nlines."""\n\n# one\nx = 1\n\n\ndef f():\n    """Doc."""\n    return x\n') == 3
