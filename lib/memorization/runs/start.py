"""The first call of a notebook: check its parameters, and say where its records and figures go."""

from __future__ import annotations

import ast
import inspect
import json
import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from memorization.runs.parameters import (
    BESIDE,
    KEPT_PROFILES,
    OUTPUT,
    REPOSITORY,
    SCHEDULER,
    Parameter,
    ParameterError,
    check_parameters,
    declared,
    declared_parameters,
    parameters_cell,
    profile_values,
    project_root,
)
from memorization.runs.provenance import (
    code_version,
    cores,
    device_name,
    end_with_parent,
    load,
    now,
    versions,
)  # fmt: skip
from memorization.runs.records import RecordStore
from memorization.runs.sweep import Point, sweep


@dataclass(frozen=True)
class Run:
    """One run of one notebook.

    Attributes:
        name: of the notebook.
        profile: which parameter file: smoke, book, desktop or paper.
        settings: every parameter's checked value.
        parameters: what the notebook declares about each.
        root: the project's folder; None where the notebook runs outside it.
        build: where live records go.
        output: where figures, verdicts and prices go.
        own: whether the settings are the profile's own. Other runs write beside the profile's: verdicts,
            prices and figures into a folder of their own, records into a second file; they read both.
        scheduler: address of a Dask scheduler, or None.
        started: when the run began, UTC.
        load: how busy the machine was then, see ``provenance.load``.
    """

    name: str
    profile: str
    settings: Mapping[str, Any]
    parameters: Mapping[str, Parameter]
    root: Path | None
    build: Path
    output: Path
    own: bool = True
    scheduler: str | None = None
    started: str = field(default_factory=now)
    load: float | None = field(default_factory=load)

    @property
    def store(self) -> RecordStore:
        """The live records of this run."""
        return RecordStore(self._records("" if self.own else "-custom"))

    def _records(self, suffix: str = "") -> Path:
        return self.build / "records" / f"{self.name}.{self.profile}{suffix}.jsonl"

    @property
    def published_records(self) -> Path | None:
        """The published records, where the project's folder is known and has some."""
        path = (self.root or self.build) / "results" / "records" / f"{self.name}.{self.profile}.jsonl"
        return path if path.is_file() else None

    @property
    def figures_folder(self) -> Path:
        """Where the pictures and the data behind them go."""
        return self.output / "figures" / self.name

    @property
    def figures_href(self) -> str:
        """That folder, as the notebook's page names it."""
        beside = os.environ.get(BESIDE)
        return f"{beside}/figures/{self.name}" if beside else f"figures/{self.name}"

    @property
    def claims_path(self) -> Path:
        """The notebook's claims."""
        return (self.root or Path()) / "notebooks" / "claims" / f"{self.name}.yaml"

    @property
    def verdicts_path(self) -> Path:
        """Where the verdicts on the claims go."""
        return self.output / "verdicts" / f"{self.name}.{self.profile}.json"

    @property
    def evidence_path(self) -> Path:
        """Where the number of each seed goes that the verdicts rest on."""
        return self.output / "evidence" / f"{self.name}.{self.profile}.json"

    @property
    def price_path(self) -> Path:
        """Where the measured price goes."""
        return self.output / "prices" / f"{self.name}.{self.profile}.json"

    @property
    def published(self) -> Path:
        """The folder of published records, verdicts and prices."""
        return (self.root or Path()) / "results"

    @property
    def source_url(self) -> str:
        """The notebook's source on the web."""
        return f"{REPOSITORY}/blob/main/notebooks/{self.name}.py"

    @property
    def device(self) -> str:
        """Where to compute: the parameter ``device``, of which ``auto`` is the GPU where there is one."""
        wanted = str(self.settings.get("device", "cpu"))
        if wanted not in ("auto", "cuda"):
            return wanted
        import torch

        if wanted == "cuda" and not torch.cuda.is_available():
            raise ParameterError("device = 'cuda', but torch sees no GPU here; allowed: cpu, or auto.")
        return "cuda" if torch.cuda.is_available() else "cpu"

    @property
    def workers(self) -> int:
        """How many points to run side by side: one per core, but one at a time on a GPU."""
        return 1 if self.device.startswith("cuda") else cores()

    @property
    def provenance(self) -> dict[str, Any]:
        """What runs this notebook: package versions, device, cores, code version."""
        return {
            "versions": versions(),
            "device": device_name(self.device),
            "cores": cores(),
            "code_version": code_version(self.root),
        }

    def sweep(self, point: Point, grid: Any, **options: Any) -> pd.DataFrame:
        """Call :func:`memorization.runs.sweep.sweep` with this run's store, profile rules and scheduler.

        A number of seeds is counted from the parameter ``first_seed``, from 0 where the notebook has none. A
        function that takes ``device`` gets this run's, which is no part of a point's identity. Pass
        ``workers=run.workers`` where points are many small networks.
        """
        mine: dict[str, Any] = {
            "store": self.store,
            "also": () if self.own else (self._records(),),
            "published": self.published_records,
            "keep_old_code": self.profile in KEPT_PROFILES,
            "scheduler": self.scheduler,
            "price": self._price(),
            "first_seed": self.settings.get("first_seed", 0),
            "unkeyed": {"device": self.device} if "device" in inspect.signature(point).parameters else {},
        }
        return sweep(point, grid, **(mine | options))

    def recorded(self, point: Point, grid: Any, profile: str, **options: Any) -> pd.DataFrame:
        """Return what was published of a sweep at another profile, and run nothing.

        At that profile itself this is :meth:`sweep`, so one cell serves both: hours of work are run once, at
        their own profile, and shown by the others from its records, with their date and device. Seeds are
        counted from that profile's own first one. What no record answers is said, and counted in
        ``attrs["lacking"]`` of the table.

        Args:
            point: the function, as in :meth:`sweep`.
            grid: its points; none ask for nothing.
            profile: at which profile they are run.
            **options: as in :meth:`sweep`.
        """
        if profile == self.profile and len(grid):
            return self.sweep(point, grid, **options)
        path = self.published / "records" / f"{self.name}.{profile}.jsonl"
        found = {"store": None, "also": (), "published": path, "keep_old_code": True, "missing": "skip"}
        return self.sweep(point, grid, **(options | found | {"first_seed": self._first_seed(profile)}))

    def _first_seed(self, profile: str) -> int:
        """The first seed of a profile: of its parameter file, over the notebook's own."""
        if "first_seed" not in self.parameters:
            return 0
        values = profile_values(self.root, self.name, profile) if self.root else {}
        return int(values.get("first_seed", self.parameters["first_seed"].default))

    def _price(self) -> float | None:
        """The published seconds of this notebook at this profile; None for sums of points' times."""
        path = self.published / "prices" / f"{self.name}.{self.profile}.json"
        price = json.loads(path.read_text(encoding="utf-8"))[0] if path.is_file() else {}
        return price["seconds"] if "computing_seconds" in price else None


def start(name: str, namespace: MutableMapping[str, Any]) -> Run:
    """Check a notebook's parameters and open its run; called with ``globals()`` after the parameters cell.

    Works in a kernel (papermill, JupyterLab, Colab) and when the notebook's text is run as a script, which
    then gets ``display``, as a kernel has it.

    Args:
        name: of the notebook.
        namespace: the notebook's names; the parameters are among them.

    Raises:
        ParameterError: unknown names in an injected cell, wrong types, values that are not allowed.
    """
    known = declared(_own_cell(name, namespace))
    given = {n: namespace[n] for n in known if n in namespace}
    given |= {n: namespace.get(n) for n in _injected(namespace)}
    settings = check_parameters(known, given)
    if "profile" not in settings:
        raise ParameterError(f"{name} declares no parameter `profile`; add one to its parameters cell.")
    root, profile = project_root(), settings["profile"]
    build = (root or Path.cwd()) / "_build"
    if root is not None:
        os.environ.setdefault("MEMORIZATION_DATA", str(root / "data"))  # notebooks run in their own folder
    own = root is None or _is_profiles_own(root, name, settings)
    output = build if own else build / "notebooks" / f"{profile}-custom" / f"{name}_files"
    if os.environ.get(OUTPUT):  # the command runs this kernel, and nothing is to be left of it when that ends
        output = Path(os.environ[OUTPUT])
        end_with_parent()
    elif "In" not in namespace:
        from IPython.display import display

        namespace.setdefault("display", display)
    run = Run(
        name=name,
        profile=profile,
        settings=MappingProxyType(settings),
        parameters=MappingProxyType(known),
        root=root,
        build=build,
        output=output,
        own=own,
        scheduler=os.environ.get(SCHEDULER) or None,
    )
    _ = run.device  # a GPU that is not there is told now
    return run


def _is_profiles_own(root: Path, name: str, settings: Mapping[str, Any]) -> bool:
    """Whether the settings are those of the profile's file, over the defaults of the notebook's text."""
    try:
        values = profile_values(root, name, settings["profile"])
        return settings == check_parameters(declared_parameters(root, name), values)
    except (ParameterError, OSError):
        return False


def _own_cell(name: str, namespace: Mapping[str, Any]) -> str:
    """The parameters cell: of the script that runs, or the kernel's newest cell of declarations only."""
    if "__file__" in namespace:
        return parameters_cell(Path(namespace["__file__"]))
    for cell in reversed(namespace.get("In", [])):
        body = _body(cell)
        if body and all(isinstance(node, ast.AnnAssign) for node in body):
            return cell
    raise ParameterError(
        f"{name}: no parameters cell was run before start(); run the notebook from its first cell."
    )


def _injected(namespace: Mapping[str, Any]) -> set[str]:
    """The names that papermill's injected cell assigns: an unknown one is a misspelled parameter."""
    cells = [cell for cell in namespace.get("In", []) if cell.lstrip().startswith("# Parameters")]
    nodes = [node for cell in cells for node in _body(cell) if isinstance(node, ast.Assign)]
    return {t.id for node in nodes for t in node.targets if isinstance(t, ast.Name)}


def _body(cell: str) -> list[ast.stmt]:
    try:
        return ast.parse(cell).body
    except SyntaxError:
        return []
