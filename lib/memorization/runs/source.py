"""Where notebooks, their parameter files and the project's folder are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from memorization.runs.parameters import Parameter, ParameterError, declared, did_you_mean

REPOSITORY = "https://github.com/memorization-measured/memorization-measured"
PROFILES = ("smoke", "book", "desktop", "paper")
ROOT = "MEMORIZATION_ROOT"
_CELL = re.compile(r"^# %%.*$", re.MULTILINE)


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
    path = root / "notebooks" / f"{name}.py"
    if not path.is_file():
        known = names(root)
        raise ParameterError(
            f"unknown notebook {name!r}.{did_you_mean(name, known)} Known: {', '.join(known)}."
        )
    return path


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


def profile_values(root: Path, name: str, profile: str) -> Mapping[str, Any]:
    """Return what a profile's parameter file says.

    Raises:
        ParameterError: unknown profile, or no such file, or one that is no mapping.
    """
    if profile not in PROFILES:
        raise ParameterError(
            f"unknown profile {profile!r}.{did_you_mean(profile, PROFILES)} Known: {', '.join(PROFILES)}."
        )
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
