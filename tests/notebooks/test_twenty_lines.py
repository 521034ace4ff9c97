"""The paper in twenty lines: a cell that stands alone, and the library beside it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAPERS = sorted(path.stem for path in (ROOT / "notebooks" / "claims").glob("*.yaml"))


def two_cells(name):
    """The cell, and the next one of code."""
    text = (ROOT / "notebooks" / f"{name}.py").read_text()
    parts = re.split(r"^# %%(.*)$", text, flags=re.M)[1:]
    code = [
        (head, body) for head, body in zip(parts[::2], parts[1::2], strict=True) if "[markdown]" not in head
    ]
    (place,) = [number for number, (head, _) in enumerate(code) if '"twenty-lines"' in head]
    return code[place][1], code[place + 1][1]


def lines(cell):
    return [line for line in cell.splitlines() if line.strip() and not line.lstrip().startswith("#")]


@pytest.mark.parametrize("name", PAPERS)
def test_it_has_fifteen_to_twenty_five_lines_and_none_of_the_library(name):
    cell, _ = two_cells(name)
    assert 15 <= len(lines(cell)) <= 25
    assert "memorization." not in cell
    assert "## The paper in twenty lines" in (ROOT / "notebooks" / f"{name}.py").read_text()


@pytest.mark.parametrize("name", PAPERS)
def test_it_runs_alone_and_the_library_gives_the_same_number(name):
    cell, check = two_cells(name)
    asserts = [node for node in ast.walk(ast.parse(check)) if isinstance(node, ast.Assert)]
    assert asserts
    assert "from memorization." in check
    alone = {}
    exec(cell, alone)
    exec(check, alone)


@pytest.mark.parametrize("name", PAPERS)
def test_a_page_keeps_its_parameters(name):
    """What a cell binds must not be the name of a parameter, which later cells read."""
    text = (ROOT / "notebooks" / f"{name}.py").read_text()
    declared = {n.target.id for n in ast.parse(text).body if isinstance(n, ast.AnnAssign)}
    cell, check = two_cells(name)
    bound = [
        node for part in (cell, check) for node in ast.walk(ast.parse(part)) if isinstance(node, ast.Name)
    ]
    assert not declared & {node.id for node in bound if isinstance(node.ctx, ast.Store)}
