"""Execute one Jupytext notebook with papermill, so that only a complete run replaces its output."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memorization.runs.fingerprint import STAMP, fingerprint
from memorization.runs.lock import Lock
from memorization.runs.parameters import ParameterError, check_parameters
from memorization.runs.progress import VARIABLE as PROGRESS
from memorization.runs.source import ROOT, declared_parameters, profile_values, source_path
from memorization.runs.start import BESIDE, OUTPUT, SCHEDULER

_EXIT = "exit-code"  # file in a run's scratch folder


class NotebookError(RuntimeError):
    """A notebook that did not run to its end."""


@dataclass(frozen=True)
class Job:
    """One notebook to execute: which, with what, and where its output goes."""

    root: Path
    name: str
    profile: str
    given: Mapping[str, Any] = field(default_factory=dict)
    out: Path | None = None
    threads: int = 1
    timeout: int = 36_000
    scheduler: str | None = None
    progress: Path | None = None

    @property
    def parameters(self) -> dict[str, Any]:
        """The parameters that differ from the notebook's own: profile file first, then what was given.

        Raises:
            ParameterError: unknown notebook, profile or name; wrong type; value that is not allowed.
        """
        values = {**profile_values(self.root, self.name, self.profile), **self.given}
        checked = check_parameters(declared_parameters(self.root, self.name), values)
        return {name: checked[name] for name in values}

    @property
    def target(self) -> Path:
        """The executed notebook."""
        folder = self.profile if not self.given else f"{self.profile}-custom"
        return (self.out or self.root / "_build" / "notebooks" / folder / f"{self.name}.ipynb").resolve()

    @property
    def failed(self) -> Path:
        """Where a run that broke off is left to look at."""
        return self.target.with_suffix(".failed.ipynb")

    @property
    def beside(self) -> str:
        """The folder beside the output for figures, verdicts and prices; empty for a profile's own run."""
        return f"{self.target.stem}_files" if self.given or self.out else ""

    @property
    def figures(self) -> Path:
        """Where the figures go; this folder is the run's own."""
        return self.target.parent / self.beside / "figures" / self.name

    @property
    def results(self) -> Path:
        """Where verdicts and prices go: those of a profile's own run are what the scoreboard reads."""
        return self.target.parent / self.beside if self.beside else self.root / "_build"

    def check_target(self) -> None:
        """Refuse an output that could not be written, before anything runs.

        Raises:
            ParameterError: it is no ``.ipynb``, a folder, or in a folder that cannot be written.
        """
        folder = next(p for p in self.target.parents if p.exists())
        if self.target.suffix != ".ipynb" or self.target.is_dir():
            raise ParameterError(f"-o {self.out}; allowed: the name of a file that ends in .ipynb.")
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ParameterError(f"-o {self.out}: {folder} cannot be written; choose another folder.")

    def stamp(self) -> str:
        """Return the fingerprint of everything that the output depends on."""
        return fingerprint(self.root, self.name, self.profile, self.parameters)

    def is_fresh(self) -> bool:
        """Whether the output is there and was made from exactly what is here now."""
        if not self.target.is_file():
            return False
        return f'"{STAMP}": "{self.stamp()}"' in self.target.read_text(encoding="utf-8")


def execute(job: Job) -> Path:
    """Run a notebook to its end and put its output, figures, verdicts and price in place.

    Raises:
        ParameterError: before anything runs.
        NotebookError: a cell failed, ended the kernel, or was never reached; what there is lies in
            ``NAME.failed.ipynb``, and an older output stays as it was.
        LockedError: another process executes this notebook at this profile; names it.
    """
    parameters, stamp = job.parameters, job.stamp()
    job.target.parent.mkdir(parents=True, exist_ok=True)
    (job.root / "_build" / "locks").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(Lock(job.root / "_build" / "locks" / f"{job.name}.{job.profile}.lock"))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mm-"))
        scratch = Path(folder)
        draft = scratch / "draft.ipynb"
        try:
            _papermill(job, parameters, scratch, draft)
            notebook = _complete(draft)
        except Exception as error:
            if draft.exists():
                _replace(draft, job.failed)
            where = f" What it did is in {job.failed}." if draft.exists() else ""
            again = " Finished points are kept: the same command goes on from there."
            raise NotebookError(f"{job.name}: {_reason(error, scratch)}{where}{again}") from error
        _tidy(notebook, job.name, parameters, stamp)
        _put_in_place(job, scratch, notebook)
    job.failed.unlink(missing_ok=True)
    return job.target


def _papermill(job: Job, parameters: Mapping[str, Any], scratch: Path, draft: Path) -> None:
    import nbformat
    import papermill
    from traitlets.config import Config

    data = os.environ.get("MEMORIZATION_DATA") or job.root / "data"
    source = scratch / f"{job.name}.ipynb"
    nbformat.write(converted(source_path(job.root, job.name)), source)
    os.environ |= {
        ROOT: str(job.root),
        "MEMORIZATION_DATA": str(Path(data).resolve()),  # the kernel works in another folder
        OUTPUT: str(scratch / "output"),
        BESIDE: job.beside,
        SCHEDULER: job.scheduler or "",
        PROGRESS: str(job.progress or scratch / "progress"),
        "OMP_NUM_THREADS": str(job.threads),
        "MKL_NUM_THREADS": str(job.threads),
        "PYTHONHASHSEED": "0",
        "MPLBACKEND": "agg",
        # Not the user's: a style file there would change the figures, a stale list of fonts their letters.
        "MPLCONFIGDIR": str(job.root / "_build" / "matplotlib"),
    }
    papermill.execute_notebook(
        str(source),
        str(draft),
        parameters=dict(parameters),
        progress_bar=False,
        cwd=str(job.root / "notebooks"),
        kernel_name="python3",
        execution_timeout=job.timeout,
        start_timeout=180,
        # An own socket path: the default "kernel-ipc" collides between notebooks that run side by side.
        config=Config(
            {
                "NotebookClient": {"kernel_manager_class": "memorization.runs.kernel.RecordingKernelManager"},
                "KernelManager": {"transport": "ipc", "ip": str(scratch / "k")},
                "RecordingKernelManager": {"exit_file": str(scratch / _EXIT)},
            }
        ),
    )


def converted(source: Path) -> Any:
    """Return a py:percent notebook as an nbformat node with ids that stay the same from run to run."""
    import jupytext

    notebook = jupytext.read(source)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{source.stem}-{number:03d}"[:64]
    return notebook


def _complete(draft: Path) -> Any:
    """The executed notebook, if its last cell was reached: ``sys.exit(0)`` in a cell is not success."""
    import nbformat

    notebook = nbformat.read(draft, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(code, start=1):
        errors = [o for o in cell.outputs if o.output_type == "error"]
        if errors or cell.execution_count is None:
            what = f"{errors[0].ename}: {errors[0].evalue}" if errors else "it was never reached"
            raise NotebookError(
                f"stopped at code cell {number} of {len(code)} ({what}), so its results are not complete."
            )
    return notebook


def _tidy(notebook: Any, name: str, parameters: Mapping[str, Any], stamp: str) -> None:
    """Take out what differs from run to run, so that the same records give the same bytes."""
    for cell in notebook.cells:
        cell.metadata.pop("papermill", None)
        cell.metadata.pop("execution", None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = f"{name}-injected"[:64]
            cell.metadata["tags"] = ["injected-parameters", "hide-input"]
    notebook.metadata.pop("papermill", None)
    notebook.metadata["memorization"] = {"parameters": dict(parameters), STAMP: stamp}


def _put_in_place(job: Job, scratch: Path, notebook: Any) -> None:
    import nbformat

    made = scratch / "output"
    for kind in ("verdicts", "prices"):
        for path in sorted((made / kind).glob("*.json")):
            _replace(path, job.results / kind / path.name)
    shutil.rmtree(job.figures, ignore_errors=True)
    if (made / "figures" / job.name).is_dir():
        shutil.copytree(made / "figures" / job.name, job.figures)
    draft = scratch / "tidy.ipynb"
    nbformat.write(notebook, draft)
    _replace(draft, job.target)


def _replace(source: Path, target: Path) -> None:
    """Copy, then rename: a reader sees the old file or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, half)
    os.replace(half, target)


def _reason(error: Exception, scratch: Path) -> str:
    """The last thing that went wrong, in one line where papermill's error has one."""
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    if name:
        return f"{name}: {value} (code cell {getattr(error, 'exec_count', '?')})."
    if type(error).__name__ == "DeadKernelError":
        from memorization.runs.kernel import how_it_ended

        return how_it_ended(scratch / _EXIT)
    return f"{error}" if isinstance(error, NotebookError) else f"{type(error).__name__}: {error}."
