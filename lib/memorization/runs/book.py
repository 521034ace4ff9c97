"""Assemble the book's source under ``_build/source`` and render it, with warnings as errors."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_BUILDER = "import sys; from jupyter_book.cli.main import main; sys.argv[0] = 'jupyter-book'; main()"


class BookError(RuntimeError):
    """The book cannot be built, and why."""


def build(root: Path, profile: str) -> Path:
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
    stamp.write_text(state, encoding="utf-8")
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
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
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
        shutil.copyfile(origin, copy)
    for path in sorted(target.rglob("*")):
        if path.is_file() and path.relative_to(target) not in wanted:
            path.unlink()
    return target


def _wanted(root: Path, profile: str) -> Iterator[tuple[Path, Path]]:
    for name in ("_config.yml", "_toc.yml"):
        yield Path(name), root / name
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
        yield Path("notebooks") / path.name, path
    for path in sorted((executed / "figures").rglob("*.csv")):
        yield Path("extra") / "notebooks" / path.relative_to(executed), path


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
