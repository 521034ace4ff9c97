"""The whole book: its notebooks executed side by side, its pages rendered, its results published."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import yaml

from memorization.runs.budget import questions
from memorization.runs.digest import reads
from memorization.runs.notebook import Job, NotebookError, execute, remove_left_scratch, scratch_folder
from memorization.runs.pages import as_page, unmade_page
from memorization.runs.parameters import KEPT_PROFILES, names, source_path
from memorization.runs.provenance import cores, end_with_parent
from memorization.runs.records import RecordError, RecordStore, put

_EVERY = 20.0  # seconds between lines of progress where the output is no terminal
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_BUILDER = (
    "import sys; from memorization.runs.provenance import end_with_parent; end_with_parent(); "
    "from jupyter_book.cli.main import main; sys.argv[0] = 'jupyter-book'; main()"
)


class BookError(RuntimeError):
    """The book cannot be built, and why."""


def render(root: Path, profile: str) -> Path:
    """Build the HTML book from executed notebooks and return its first page.

    Args:
        root: the project's folder.
        profile: whose executed notebooks are shown.

    Raises:
        BookError: a notebook of the table of contents has not been executed, or the builder warns.
    """
    source, first = assemble(root, profile), root / "_build" / "html" / "index.html"
    stamp, state = root / "_build" / "html.stamp", _state(root, source)
    if first.is_file() and stamp.is_file() and stamp.read_text(encoding="utf-8") == state:
        return first
    draft = root / "_build" / "draft"
    _render(source, draft, root / "_build" / "book.log")
    shutil.rmtree(first.parent, ignore_errors=True)
    (draft / "_build" / "html").replace(first.parent)
    shutil.rmtree(draft)
    put({stamp: state})
    return first


def _render(source: Path, draft: Path, log: Path) -> None:
    """Render into an empty folder, so that no page is left over and every page is read again.

    A page that was read while, say, the bibliography lacked an entry would otherwise keep the hole.
    """
    shutil.rmtree(draft, ignore_errors=True)
    options = ["build", ".", "-W", "-n", "--keep-going", "--path-output", str(draft)]
    done = subprocess.run(
        [sys.executable, "-c", _BUILDER, *options],
        cwd=source,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = _COLOR.sub("", done.stdout).splitlines()
    put({log: "\n".join(lines) + "\n"})
    if done.returncode:
        told = [line for line in lines if "WARNING" in line or "ERROR" in line] or lines[-15:]
        raise BookError(
            f"the book was not built cleanly; the whole log is in {log}:\n" + "\n".join(told[:30])
        )


def assemble(root: Path, profile: str) -> Path:
    """Bring prose, executed notebooks and figures together in ``_build/source``."""
    target = root / "_build" / "source"
    wanted = dict(_wanted(root, profile))
    for relative, origin in wanted.items():
        copy = target / relative
        copy.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(origin, str):
            copy.write_text(origin, encoding="utf-8")
        else:
            shutil.copyfile(origin, copy)
    for path in sorted(target.rglob("*")):
        if path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    return target


def _wanted(root: Path, profile: str) -> Iterator[tuple[Path, Path | str]]:
    """What the source consists of: where it goes, and the file that is copied or the text."""
    yield Path("_config.yml"), root / "_config.yml"
    yield Path("_toc.yml"), _contents(root, profile)
    for path in sorted((root / "book").rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(root), path
    executed = root / "_build" / "notebooks" / profile
    for page in _pages(root):
        path = executed / f"{page}.ipynb"
        if not path.is_file():
            raise BookError(
                f"{path} is absent: the notebook has not been executed at profile {profile!r}. "
                f"Run `python -m memorization run --all --profile {profile}` (or `make notebooks`) first."
            )
        yield Path("notebooks") / path.name, as_page(root, path)
    yield from _data(executed / "figures", Path("extra") / "notebooks" / "figures")
    for page, other in _at_other_scales(root, profile):
        path = executed.parent / other / f"{page}.ipynb"
        name = Path("notebooks") / f"{page}_{other}"
        if path.is_file():
            yield name.with_suffix(".ipynb"), as_page(root, path, scale=other)
            figures = Path("figures") / page
            yield from _data(path.parent / figures, Path("extra") / "notebooks" / other / figures)
        else:
            yield name.with_suffix(".md"), unmade_page(root, page, other)


def _data(folder: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """The pictures of figures and the data behind them."""
    for path in sorted(folder.rglob("*")):
        if path.suffix in (".csv", ".json", ".png"):
            yield target / path.relative_to(folder), path


def _contents(root: Path, profile: str) -> str:
    """The table of contents, with a paper's pages at other scales folded under its page."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    at_others = _at_other_scales(root, profile)
    for chapter in [one for part in toc.get("parts", [toc]) for one in part.get("chapters", [])]:
        sections = [
            {"file": f"notebooks/{page}_{other}", "title": f"At profile {other}"}
            for page, other in at_others
            if chapter.get("file") == f"notebooks/{page}"
        ]
        if sections:
            chapter["sections"] = [*chapter.get("sections", []), *sections]
    return yaml.safe_dump(toc, sort_keys=False, allow_unicode=True)


def _at_other_scales(root: Path, profile: str) -> list[tuple[str, str]]:
    """Each paper's page, and a profile beside the book's own at which results of it are published."""
    papers = {path.stem for path in (root / "notebooks" / "claims").glob("*.yaml")}
    others = [other for other in KEPT_PROFILES if other != profile]
    return [(page, other) for page in _pages(root) if page in papers for other in others]


def _pages(root: Path) -> list[str]:
    """The notebooks that the table of contents names."""
    toc = yaml.safe_load((root / "_toc.yml").read_text(encoding="utf-8"))
    files = [toc["root"]]
    for part in toc.get("parts", [toc]):
        files += [chapter["file"] for chapter in part.get("chapters", []) if "file" in chapter]
    return [f.removeprefix("notebooks/") for f in files if f.startswith("notebooks/")]


def _state(root: Path, source: Path) -> str:
    """A digest of all that the HTML is made of: the source tree, and the library with its docstrings."""
    files = [*sorted(source.rglob("*")), *sorted((root / "lib").rglob("*.py")), root / "requirements.lock"]
    digest = hashlib.sha256()
    for path in files:
        if path.is_file():
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def execute_all(
    jobs: Sequence[Job], parallel: int = 1, force: bool = False, recorded: bool = False
) -> list[Job]:
    """Execute those notebooks whose output is stale; notebooks that read what others build go last.

    Args:
        jobs: what to execute.
        parallel: how many at a time; the threads are shared out.
        force: execute fresh ones too.
        recorded: leave out those that lack a published point, which would be computed for hours.

    Returns:
        The jobs that failed; why was said on standard error.
    """
    for job in jobs:
        _ = job.parameters  # every mistake is found before the first notebook starts
    if recorded:
        jobs = [job for job in jobs if _is_recorded(job)]
    last = [job for job in jobs if _reads_build(job)]
    failed: list[Job] = []
    for group in ([job for job in jobs if job not in last], last):
        stale = [job for job in group if force or not job.is_fresh()]
        for job in group:
            if job not in stale:
                print(f"{job.name} ({job.profile}): nothing changed", flush=True)
        failed += _execute_group(stale, parallel)
    return failed


def _is_recorded(job: Job) -> bool:
    """Whether a notebook is a paper's, and all its points are published; said where they are not."""
    if not (job.root / "notebooks" / "claims" / f"{job.name}.yaml").is_file():
        return False
    lacking = sum(len(one.tasks) for one in questions(job.root, [job.name], job.profile))
    if lacking:
        print(f"{job.name} ({job.profile}): left out, {lacking} of its calls are not recorded", flush=True)
    return not lacking


def _reads_build(job: Job) -> bool:
    source = source_path(job.root, job.name).read_text(encoding="utf-8")
    return any(path.startswith("_build") for path in reads(source))


def _execute_group(jobs: Sequence[Job], parallel: int) -> list[Job]:
    if not jobs:
        return []
    side_by_side = min(parallel, len(jobs))
    threads = max(1, cores() // side_by_side)
    failed: list[Job] = []
    with scratch_folder() as folder:
        lines = {job.name: folder / job.name for job in jobs}
        context = get_context("spawn")
        with ProcessPoolExecutor(
            side_by_side, mp_context=context, initializer=_in_a_worker, initargs=(os.getpid(),)
        ) as pool:
            futures: dict[Future[Path], Job] = {
                pool.submit(execute, replace(job, threads=threads, progress=lines[job.name])): job
                for job in jobs
            }
            try:
                failed = _watch(futures, lines)
            except KeyboardInterrupt:
                for process in list((pool._processes or {}).values()):
                    process.kill()  # and with it its kernel and that one's workers; finished points are kept
                pool.shutdown(wait=True, cancel_futures=True)
                remove_left_scratch()
                raise
    return failed


def _in_a_worker(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the command, which ends its workers
    end_with_parent(parent)


def _watch(futures: dict[Future[Path], Job], lines: dict[str, Path]) -> list[Job]:
    failed: list[Job] = []
    started = said = time.monotonic()
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
        for future in done:
            job = futures[future]
            try:
                target = future.result()
                _say(f"{job.name} ({job.profile}): {time.monotonic() - started:.0f} s → {target}")
            except Exception as error:
                failed.append(job)
                reason = str(error) if isinstance(error, NotebookError) else f"{job.name}: {error!r}"
                _say(f"FAILED {reason}", sys.stderr)
        if sys.stdout.isatty():
            print(f"\r\033[K{_progress(lines.values()) if waiting else ''}", end="", flush=True)
        elif waiting and time.monotonic() - said > _EVERY:
            said = time.monotonic()
            _say(_progress(lines.values()))
    return failed


def _progress(files: Iterable[Path]) -> str:
    return " · ".join(f"{f.name}: {f.read_text(encoding='utf-8')}" for f in files if f.exists())


def _say(text: str, stream: object = None) -> None:
    if sys.stdout.isatty():
        print("\r\033[K", end="")
    if text:
        print(text, file=stream or sys.stdout, flush=True)  # type: ignore[arg-type]


def publish(root: Path, profile: str) -> list[str]:
    """Publish one profile's results and return what was done, a sentence each.

    Verdicts, prices and replications replace the published ones of the same notebook and profile. Records are
    appended, and only those of ``desktop`` and ``paper``: the others are made anew by every build. Runs with
    parameters that are not the profile's own are left out, and named: they lie beside their own outputs.

    Raises:
        ValueError: the profile is ``smoke``, whose runs are too small to mean anything.
        FileNotFoundError: nothing was built at this profile.
    """
    if profile == "smoke":
        raise ValueError("profile 'smoke' is for tests and is not published; allowed: book, desktop, paper.")
    done: list[str] = []
    built = {
        kind: sorted((root / "_build" / kind).glob(f"*.{profile}.json*"))
        for kind in ("verdicts", "prices", "replications", "records")
    }
    if not any(built.values()):
        raise FileNotFoundError(
            f"nothing was built at profile {profile!r}; run `make notebooks PROFILE={profile}` first."
        )
    for kind in ("verdicts", "prices", "replications"):
        for path in built[kind]:
            target = root / "results" / kind / path.name
            if not target.is_file() or target.read_bytes() != path.read_bytes():
                put({target: path})
                done.append(f"{kind}: {path.name} → results/{kind}/")
    if profile in KEPT_PROFILES:
        done += [_append(root, path) for path in built["records"] if path.suffix == ".jsonl"]
    others = sorted((root / "_build" / "records").glob(f"*.{profile}-custom.jsonl"))
    others += sorted((root / "_build" / "notebooks" / f"{profile}-custom").glob("*.ipynb"))
    done += [f"left out: {path.name}, made with other parameters than the profile's" for path in others]
    return done


def take_in(root: Path, folder: Path) -> list[str]:
    """Publish what a run on another machine left in a folder, and return what was done, a sentence each.

    Args:
        root: the project's folder.
        folder: holds ``summary.json``, which ``.ci/gpu`` writes first, and as far as they are there
            ``records/NAME.PROFILE.jsonl``, ``verdicts/`` and ``prices/NAME.PROFILE.json``, and
            ``benchmarks/NAME.json``. A point that is published of the same code stays as it is.

    Raises:
        FileNotFoundError: the folder holds no summary.
    """
    if not (folder / "summary.json").is_file():
        raise FileNotFoundError(f"{folder}/summary.json is absent; give the folder that .ci/gpu filled.")
    done = []
    for kind in ("records", "verdicts", "prices", "benchmarks"):
        for path in sorted((folder / kind).glob("*.jsonl" if kind == "records" else "*.json")):
            try:
                done.append(_taken(root, kind, path))
            except (RecordError, ValueError) as error:
                done.append(f"refused: {path.name}: {error}")
    return done


def _taken(root: Path, kind: str, path: Path) -> str:
    name, _, profile = path.stem.partition(".")
    if kind != "benchmarks" and (name not in names(root) or profile not in KEPT_PROFILES):
        kept = " or ".join(f"NAME.{one}{path.suffix}" for one in KEPT_PROFILES)
        raise ValueError(f"allowed: {kept} of a notebook of this book.")
    if kind == "records":
        return _append(root, path)
    json.loads(path.read_text(encoding="utf-8"))  # half a file stays where it is
    put({root / "results" / kind / path.name: path})
    return f"{kind}: {path.name} → results/{kind}/"


def _append(root: Path, path: Path) -> str:
    target = root / "results" / "records" / path.name
    have = {(record.key, record.code) for record in RecordStore(target).read()}
    made = {(record.key, record.code): record for record in RecordStore(path).read()}
    new = [record for point, record in made.items() if point not in have]
    if new:
        with RecordStore(target) as store:
            for record in new:
                store.append(record)
    there = f", {len(made) - len(new)} were there" if len(made) > len(new) else ""
    return f"records: {len(new)} new of {path.name}{there} → results/records/"
