"""Execute one Jupytext notebook with papermill, so that only a complete run replaces its output."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from memorization.runs.digest import STAMP, fingerprint
from memorization.runs.parameters import (
    BESIDE,
    OUTPUT,
    PROFILES,
    PROGRESS,
    ROOT,
    SCHEDULER,
    ParameterError,
    check_parameters,
    declared_parameters,
    profile_values,
    source_path,
)
from memorization.runs.records import Lock, LockedError, put

_EXIT = "exit-code"  # file in a run's scratch folder
_REASONS = {
    "SIGKILL": "most often because memory ran out: close other programs, give --jobs 1, or choose smaller "
    "sizes",
    "SIGTERM": "because somebody, or a time limit, ended it: run it again",
    "SIGINT": "because somebody interrupted it: run it again",
}


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
            ParameterError: it is no ``.ipynb``, a folder, a profile's own page, or in a folder that cannot
                be written.
        """
        pages = (self.root / "_build" / "notebooks").resolve()
        if self.out and self.target.parent in [pages / profile for profile in PROFILES]:
            raise ParameterError(
                f"-o {self.out}: there are the pages of profile {self.target.parent.name!r}; choose another "
                "folder, or leave -o out."
            )
        folder = next(p for p in self.target.parents if p.exists())
        if self.target.suffix != ".ipynb" or self.target.is_dir():
            raise ParameterError(f"-o {self.out}; allowed: the name of a file that ends in .ipynb.")
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ParameterError(f"-o {self.out}: {folder} cannot be written; choose another folder.")

    def stamp(self) -> str:
        """Return the fingerprint of everything that the output depends on."""
        return fingerprint(self.root, self.name, self.parameters)

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
    (job.root / "_build" / "locks").mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        stack.enter_context(Lock(job.root / "_build" / "locks" / f"{job.name}.{job.profile}.lock"))
        scratch = stack.enter_context(scratch_folder())
        draft = scratch / "draft.ipynb"
        try:
            _papermill(job, parameters, scratch, draft)
            notebook = _complete(draft)
        except Exception as error:
            where = ""
            with suppress(OSError):  # no draft was written, or the disk is full
                put({job.failed: draft})
                where = f" What it did is in {job.failed}."
            again = " Finished points are kept: the same command goes on from there."
            raise NotebookError(f"{job.name}: {_reason(error, scratch)}{where}{again}") from error
        _tidy(notebook, job.name, parameters, stamp)
        try:
            _put_in_place(job, scratch, notebook)
        except OSError as error:
            raise NotebookError(f"{job.name}: {error.filename} {error.strerror}.") from error
    job.failed.unlink(missing_ok=True)
    return job.target


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder under the system's temporary one, whose paths are short enough for sockets.

    It goes when its owner is done. Where the owner was killed it goes when the next one is made, or asked
    for: the system has let go of the lock inside.
    """
    remove_left_scratch()
    with tempfile.TemporaryDirectory(prefix="mm-") as folder, Lock(Path(folder) / "lock"):
        yield Path(folder)


def remove_left_scratch() -> None:
    """Remove the scratch folders of processes that were killed."""
    for lock in Path(tempfile.gettempdir()).glob("mm-*/lock"):
        with suppress(LockedError, OSError), Lock(lock, patience=0):
            shutil.rmtree(lock.parent, ignore_errors=True)


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
        coalesce_streams=True,  # else two lines are one output or two, by the time between them
        # An own socket path: the default "kernel-ipc" collides between notebooks that run side by side.
        config=Config(
            {
                "NotebookClient": {"kernel_manager_class": _recording_kernel_manager(scratch / _EXIT)},
                "KernelManager": {"transport": "ipc", "ip": str(scratch / "k")},
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

    nbformat.write(notebook, scratch / "tidy.ipynb")
    made, contents = scratch / "output", {job.target: scratch / "tidy.ipynb"}
    kinds = ("verdicts", "evidence", "prices")
    for path in [path for kind in kinds for path in made.glob(f"{kind}/*.json")]:
        contents[job.results / path.parent.name / path.name] = path
    figures = made / "figures" / job.name
    figures.mkdir(parents=True, exist_ok=True)
    put({**contents, job.figures: figures})


def _recording_kernel_manager(exit_file: Path) -> type:
    """A kernel manager that leaves the exit code of a kernel that died in ``exit_file``."""
    from jupyter_client.manager import AsyncKernelManager

    class RecordingKernelManager(AsyncKernelManager):
        async def _async_is_alive(self) -> bool:
            if await super()._async_is_alive():
                return True
            code = await self.provisioner.poll() if self.has_kernel and self.provisioner else None
            if code is not None:
                exit_file.write_text(str(code), encoding="utf-8")
            return False

        is_alive = _async_is_alive

    return RecordingKernelManager


def _reason(error: Exception, scratch: Path) -> str:
    """The last thing that went wrong, in one line where papermill's error has one."""
    name, value = getattr(error, "ename", ""), getattr(error, "evalue", "")
    if name:
        return f"{name}: {value} (code cell {getattr(error, 'exec_count', '?')})."
    if type(error).__name__ == "DeadKernelError":
        return _how_it_ended(scratch / _EXIT)
    where = f" ({scratch})" if isinstance(error, OSError) and not error.filename else ""
    return f"{error}" if isinstance(error, NotebookError) else f"{type(error).__name__}: {error}{where}."


def _how_it_ended(exit_file: Path) -> str:
    """How the kernel died, by its exit code or minus the signal's number, and what to do."""
    if not exit_file.is_file():
        return "the kernel died, most often because memory ran out: choose smaller sizes, or give --jobs 1."
    code = int(exit_file.read_text(encoding="utf-8"))
    if code >= 0:
        return (
            f"the kernel ended with exit code {code}; look in the cell that it was at for what ends the "
            "process, such as os._exit."
        )
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = "unknown"
    crash = "a crash inside a compiled library: update it, or run the cell in a script to see more"
    return f"the kernel was killed by signal {-code} ({name}), {_REASONS.get(name, crash)}."
