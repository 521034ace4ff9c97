"""Sphinx extension: docstrings that are written for people who read code become clean pages.

* A reference to ``memorization.measures.stability.f`` leads to where the book documents it, which is the
  room ``memorization.measures``. What exists but is no public name stays plain text; what does not exist is a
  warning.
* ``|x|`` is an absolute value, not a substitution, and a colon in the first line of a property is a colon.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

PACKAGE = "memorization"
_BAR = re.compile(r"(``.*?``|`[^`]*`)|\|")  # code, which stays as it is, or a bar


def setup(app: Any) -> dict[str, Any]:
    """Connect both steps; called by Sphinx."""
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-process-docstring", _tidy, priority=400)  # before napoleon, which has 500
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def _resolve(app: Any, env: Any, node: Any, content: Any) -> Any:
    target = str(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or not target.startswith(f"{PACKAGE}."):
        return None
    room = ".".join(target.split(".")[:2])
    for length in (1, 2):  # a function or class, or a member of a class
        name = ".".join([room, *target.split(".")[-length:]])
        found = env.get_domain("py").resolve_xref(
            env, node["refdoc"], app.builder, "obj", name, node, content
        )
        if found is not None:
            return found
    return content if exists(target) else None


def exists(target: str) -> bool:
    """Whether a dotted name of the library can be imported, or got from what can be imported."""
    parts = target.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found: Any = import_module(".".join(parts[:cut]))
        except ImportError:
            continue
        for name in parts[cut:]:
            if not hasattr(found, name):
                return False
            found = getattr(found, name)
        return True
    return False


def _tidy(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = [_BAR.sub(lambda found: found.group(1) or "\\|", line) for line in lines]
    if what in ("property", "attribute", "data") and lines:
        lines[0] = lines[0].replace(": ", " – ", 1)
