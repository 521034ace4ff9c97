"""The book's two Sphinx extensions, without building anything."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "book" / "_ext"


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


offline, docstrings = _load("offline"), _load("docstrings")


@pytest.mark.parametrize(
    ("page", "repaired"),
    [
        ('<div role="doc-biblioentry">', '<div role="listitem">'),
        ('<summary aria-label="Toggle hidden content">', "<summary>"),
        (
            '<button class="btn search-button-field" title="Search" aria-label="Search" data-x="">',
            '<button class="btn search-button-field" data-x="">',
        ),
        ("<summary>7 checks</summary>", "<summary>7 checks</summary>"),
    ],
)
def test_names_and_roles_are_set_where_the_theme_leaves_them_out(page, repaired):
    assert offline.repaired(page) == repaired


def test_the_script_that_names_a_network_is_left_out():
    kept = SimpleNamespace(filename="book.js", attributes={})
    inline = SimpleNamespace(filename=None, attributes={"body": 'const THEBE_JS_URL = "https://…"'})
    context = {"script_files": [kept, inline, SimpleNamespace(filename="sphinx-thebe.js", attributes={})]}
    offline._drop_thebe(None, "page", "page.html", context, None)
    assert context["script_files"] == [kept]


def test_a_package_that_is_not_installed_is_named():
    with pytest.raises(RuntimeError, match="no_such_package is not installed; install the extra 'book'"):
        offline._folder_of("no_such_package")


@pytest.mark.parametrize(
    ("target", "there"),
    [
        ("memorization.report.figures.show", True),
        ("memorization.report.scoreboard.Scoreboard.best", True),
        ("memorization.report.figures.shwo", False),
        ("memorization.reprot", False),
    ],
)
def test_a_reference_is_plain_text_only_where_its_target_exists(target, there):
    assert docstrings.exists(target) is there


@pytest.mark.parametrize(
    ("what", "line", "tidied"),
    [
        ("function", "largest |f(z)|", r"largest \|f(z)\|"),
        ("function", "either ``a | b`` or |c|", r"either ``a | b`` or \|c\|"),
        ("property", "Where to compute: a device.", "Where to compute – a device."),
        ("function", "Returns: a number.", "Returns: a number."),
    ],
)
def test_bars_and_colons_mean_themselves(what, line, tidied):
    lines = [line]
    docstrings._tidy(None, what, "name", None, None, lines)
    assert lines == [tidied]
