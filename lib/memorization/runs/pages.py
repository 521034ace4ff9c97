"""From an executed notebook to a page of the book: reading order, words on folded code, links to sources.

A notebook runs from its parameters on, and ends with its verdicts. A reader wants the verdicts first, in
short, and the parameters last: cells tagged ``in-short`` follow the title, those tagged ``setup`` come last.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from memorization.runs.parameters import REPOSITORY

Cell = dict[str, Any]
# A picture inside a notebook, in HTML inside JSON, beside the name of its file (``report.figures``).
_PICTURE = re.compile(r'data-file=\\"([^"\\]+)\\" (src|srcset)=\\"data:image/png;base64,[^"\\]+\\"')
_AT_MAIN = re.compile(r"/blob/main/(notebooks/[\w/]+\.(?:py|yaml))(#L\d+)?")
_LABEL = re.compile(r"(?m)^\(([\w-]+)\)=$")
_EQUATION = re.compile(r"(?m)\$\$ \(([\w-]+)\)$")
_SWEEPS = ("sweep", "recorded")
# What folded code holds, by its tag or else by what it calls; the first that fits.
_TAGGED = {
    "injected-parameters": "Parameters of this run",
    "parameters": "Parameters",
    "setup": "Imports",
}
_HOLDS = {
    "Experiment": _SWEEPS,
    "Plotting code": ("show", "explore", "benchmark_figure"),
    "Judging code": ("judge",),
    "Table code": ("table", "verdict_table", "parameter_table", "price_table", "benchmark_table"),
}


def as_page(root: Path, path: Path, scale: str = "") -> str:
    """Return the text of an executed notebook as the book shows it.

    Args:
        root: the project's folder, where the experiments' sources are.
        path: the executed notebook.
        scale: the profile of a second page of the same notebook, which says so and has labels of its own.
    """
    notebook = json.loads(path.read_text(encoding="utf-8"))
    sources = _sources(root, notebook.setdefault("cells", []))
    if scale:
        notebook["cells"] = _at_scale(root, path.stem, scale, notebook["cells"])
    cells = [
        cell for one in notebook["cells"] for cell in (_pinned(root, _named(one)), *_linked(one, sources))
    ]
    notebook["cells"] = _in_reading_order(cells)
    return _PICTURE.sub(r'\2=\\"\1\\"', json.dumps(notebook, indent=1, ensure_ascii=False)) + "\n"


def unmade_page(root: Path, name: str, scale: str) -> str:
    """Return the page that stands for a notebook that was not executed at a scale: what it would take.

    Args:
        root: the project's folder.
        name: of the notebook.
        scale: the profile.
    """
    title = next(line for line in _text(root, name).splitlines() if line.startswith("# # "))
    price = root / "results" / "prices" / f"{name}.{scale}.json"
    verdicts = root / "results" / "verdicts" / f"{name}.{scale}.json"
    parts = [
        f"{title.removeprefix('# ')} (profile {scale})",
        f"This would be [the page]({name}.ipynb) with the parameters of profile `{scale}`. "
        "It is not executed here: not all of its points are recorded, or it was not asked for.",
        f"## What it takes\n\n{_words_of_profile(root, name, scale)}",
    ]
    if price.is_file():
        one = json.loads(price.read_text(encoding="utf-8"))[0]
        parts.append(
            f"Its last run took {one['seconds'] / 3600:.2g} hours and {one['peak_mib'] / 1024:.2g} GiB on "
            f"{one['device']}, {one['cores']} cores."
        )
    if verdicts.is_file():
        rows = json.loads(verdicts.read_text(encoding="utf-8"))
        counts = Counter(row["verdict"] for row in rows)
        said = ", ".join(f"{count} {verdict}" for verdict, count in counts.most_common())
        parts.append(
            f"Verdicts of {len(rows)} claims are published at this scale: {said}. "
            "The [scoreboard](scoreboard.ipynb) has each."
        )
    command = f"```bash\nmake notebooks html PROFILE={scale}\n```"
    parts.append(f"## To execute it\n\nWhat is recorded is taken from the records:\n\n{command}")
    return "\n\n".join(parts) + "\n"


def _words_of_profile(root: Path, name: str, scale: str) -> str:
    """What a parameter file says of itself in its first lines."""
    path = root / "notebooks" / "parameters" / f"{name}.{scale}.yaml"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return " ".join(line.removeprefix("#").strip() for line in lines if line.startswith("#"))


def _text(root: Path, name: str) -> str:
    return (root / "notebooks" / f"{name}.py").read_text(encoding="utf-8")


def _at_scale(root: Path, name: str, scale: str, cells: list[Cell]) -> list[Cell]:
    """The cells of a second page of a notebook: its labels and figures are its own, and its title says so."""
    text = "\n".join(_source(cell) for cell in cells if cell["cell_type"] == "markdown")
    labels = sorted({*_LABEL.findall(text), *_EQUATION.findall(text)}, key=len, reverse=True)
    named = re.compile(rf"(?<=[(<`])({'|'.join(map(re.escape, labels))})(?=[)>`])") if labels else None

    def renamed(words: str) -> str:
        return named.sub(rf"{scale}-\1", words) if named else words

    def moved(output: Any) -> Any:
        found = json.dumps(output).replace(f"figures/{name}/", f"{scale}/figures/{name}/")
        return json.loads(renamed(found))

    changed = [
        {**cell, "source": renamed(_source(cell))} if cell["cell_type"] == "markdown"
        else {**cell, "outputs": [moved(one) for one in cell.get("outputs", [])]}
        for cell in cells
    ]  # fmt: skip
    about = f"This is [the page]({name}.ipynb) with the parameters of profile `{scale}`."
    note = f"```{{note}}\n{about} {_words_of_profile(root, name, scale)}\n```"
    title = changed[0]["source"]
    head = next(line for line in title.splitlines() if line.startswith("# "))
    title = title.replace(head, f"{head} (profile {scale})\n\n{note}", 1)
    return [{**changed[0], "source": title}, *changed[1:]]


def _in_reading_order(cells: list[Cell]) -> list[Cell]:
    title, rest = cells[:1], cells[1:]
    short = [cell for cell in rest if "in-short" in _tags(cell)]
    setup = [cell for cell in rest if {"setup", "parameters", "injected-parameters"} & _tags(cell)]
    return [*title, *short, *(cell for cell in rest if cell not in short and cell not in setup), *setup]


def _tags(cell: Cell) -> set[str]:
    return set(cell["metadata"].get("tags", []))


def _named(cell: Cell) -> Cell:
    """The cell, with what it holds written on it where its code is folded."""
    if "hide-input" not in _tags(cell):
        return cell
    holds = next((what for tag, what in _TAGGED.items() if tag in _tags(cell)), "") or _holds(_source(cell))
    prompts = {"code_prompt_show": holds, "code_prompt_hide": f"Hide: {holds.lower()}"}
    return {**cell, "metadata": {**cell["metadata"], "mystnb": prompts}}


def _source(cell: Cell) -> str:
    return "".join(cell["source"])


def _holds(source: str) -> str:
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {ast.unparse(function).rpartition(".")[2] for function in calls}
    return next((what for what, calling in _HOLDS.items() if names & set(calling)), "Code")


def _linked(cell: Cell, sources: Mapping[str, str]) -> list[Cell]:
    """A cell with links to the experiments that a cell runs, if it runs any."""
    if cell["cell_type"] != "code":
        return []
    calls = [node for node in ast.walk(ast.parse(_source(cell))) if isinstance(node, ast.Call)]
    links = [sources[name] for name in dict.fromkeys(map(_swept, calls)) if name in sources]
    text = f"Source of the experiment: {', '.join(links)}"
    whole = {"cell_type": "markdown", "id": f"{cell['id']}-source", "metadata": {}, "source": text}
    return [whole] if links else []


def _swept(call: ast.Call) -> str:
    """The name of the function that a call such as ``run.sweep(function, …)`` runs; empty for other calls."""
    of_a_run = isinstance(call.func, ast.Attribute) and call.func.attr in _SWEEPS
    first = call.args[0] if of_a_run and call.args else None
    return first.id if isinstance(first, ast.Name) else ""


def _sources(root: Path, cells: list[Cell]) -> dict[str, str]:
    """Links to the functions that a notebook imports, at the commit that last changed the library."""
    commit, links = _commit(root), {}
    for node in [n for cell in cells if cell["cell_type"] == "code" for n in ast.parse(_source(cell)).body]:
        path = Path("lib", *(getattr(node, "module", None) or "").split(".")).with_suffix(".py")
        if isinstance(node, ast.ImportFrom) and (root / path).is_file():
            names = {one.name for one in node.names}
            for made in ast.parse((root / path).read_text(encoding="utf-8")).body:
                if isinstance(made, ast.FunctionDef) and made.name in names:
                    url = f"{REPOSITORY}/blob/{commit}/{path.as_posix()}#L{made.lineno}"
                    links[made.name] = f"[`{made.name}`]({url})"
    return links


def _pinned(root: Path, cell: Cell) -> Cell:
    """A cell whose outputs link to its own lines, at the commit that last changed the linked file."""
    if not cell.get("outputs"):
        return cell

    def place(found: re.Match[str]) -> str:
        return (
            f"/blob/{_commit(root, found[1])}/{found[1]}{found[2] or _line(root / found[1], _source(cell))}"
        )

    return {**cell, "outputs": json.loads(_AT_MAIN.sub(place, json.dumps(cell["outputs"])))}


def _line(path: Path, source: str) -> str:
    """Where a cell begins in its notebook's text, as the end of a link; empty where it is not found."""
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    before, found, _ = text.partition(source.strip())
    return f"#L{before.count(chr(10)) + 1}" if found else ""


@cache
def _commit(root: Path, changed: str = "lib") -> str:
    """The commit that last changed a file or folder; ``main`` outside a git checkout."""
    ask = ["git", "-C", str(root), "log", "-1", "--format=%H", "--", changed]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "main"
    return done.stdout.strip() or "main"
