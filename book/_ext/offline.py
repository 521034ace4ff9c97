"""Sphinx extension: the finished book loads nothing from a network, and a screen reader can read it.

* MathJax is copied into ``_static`` from the installed package.
* The start-up script of sphinx-thebe is left out. The book has no live cells, the script names a
  content-delivery network, and it is written twice into each page, which is a syntax error.
* Names and roles that the theme leaves out are set in the finished pages.
"""

from __future__ import annotations

import re
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# What a page can ask for: the program, its fonts, the TeX extensions that it loads when a formula needs one,
# and the hidden MathML for screen readers.
_MATHJAX = ("tex-chtml.js", "output/chtml/fonts", "input/tex/extensions", "a11y/assistive-mml.js")

_REPAIRS = (
    (r'<summary>(?=<span class="toctree-toggle")', '<summary aria-label="Show or hide the pages below">'),
    # The theme makes the bibliography a list, so that its entries must be items.
    (r'role="doc-biblioentry"', 'role="listitem"'),
    # A label that differs from the visible words confuses speech control; the words themselves are enough.
    (r'<summary aria-label="Toggle hidden content">', "<summary>"),
    (r'(<button class="[^"]*search-button-field[^"]*") title="Search" aria-label="Search"', r"\1"),
    # Everything on a page belongs to a landmark.
    (
        r'<div class="bd-sidebar-primary',
        '<div role="region" aria-label="This book" class="bd-sidebar-primary',
    ),
)


def setup(app: Any) -> dict[str, Any]:
    """Connect the three steps; called by Sphinx."""
    app.connect("config-inited", _drop_absent_folders)
    app.connect("html-page-context", _drop_thebe, priority=950)
    app.connect("build-finished", _finish)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _drop_absent_folders(app: Any, config: Any) -> None:
    """A book without figure data has no folder of them, which is no mistake."""
    config.html_extra_path = [path for path in config.html_extra_path if (Path(app.confdir) / path).exists()]


def _drop_thebe(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    context["script_files"] = [script for script in context.get("script_files", []) if not _is_thebe(script)]


def _is_thebe(script: Any) -> bool:
    name = str(getattr(script, "filename", None) or script)
    body = str((getattr(script, "attributes", None) or {}).get("body", ""))
    return "thebe" in name.lower() or "THEBE_JS_URL" in body


def _finish(app: Any, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    out = Path(app.outdir)
    _copy_parts(
        _folder_of("sphinx-mathjax-offline") / "static" / "mathjax", out / "_static" / "mathjax", _MATHJAX
    )
    for page in out.rglob("*.html"):
        old = page.read_text(encoding="utf-8")
        new = repaired(old)
        if new != old:
            page.write_text(new, encoding="utf-8")


def repaired(page: str) -> str:
    """Return a page with the names and roles that the theme leaves out."""
    for pattern, text in _REPAIRS:
        page = re.sub(pattern, text, page)
    return page


def _folder_of(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{package} is not installed; install the extra 'book' of this project")
    return Path(spec.origin).parent


def _copy_parts(source: Path, target: Path, parts: tuple[str, ...]) -> None:
    for part in parts:
        (target / part).parent.mkdir(parents=True, exist_ok=True)
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, dirs_exist_ok=True)
        else:
            shutil.copyfile(source / part, target / part)
