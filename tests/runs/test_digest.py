"""The digest of the code behind a point: what changes it, what does not, and where it cannot follow."""

import importlib
import shutil
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import pytest

from memorization.runs import digest
from memorization.runs.digest import _Reach, _Statement, code_digest, digest_of
from memorization.studies.spurious_memorization.experiments import synthetic_curve

PACKAGE = Path(__file__).resolve().parents[2] / "lib" / "memorization"


def test_comments_docstrings_and_layout_do_not_count():
    assert digest_of('def f():\n    """Old."""\n    return 1\n') == digest_of(
        "def f():\n    # why\n    'New.'\n    return (1)\n"
    )


def test_a_changed_constant_counts():
    assert digest_of("def f():\n    return 1\n") != digest_of("def f():\n    return 2\n")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A reader's own package; ``ask(files)`` writes it anew and returns the digest of ``own.main.point``."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(digest, "_SAID", set())

    def ask(text, **files):
        folder = tmp_path / "own"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name, content in {"__init__": "", "main": text, **files}.items():
            (folder / f"{name}.py").write_text(content)
        for name in [name for name in sys.modules if name.partition(".")[0] == "own"]:
            del sys.modules[name]
        digest._parsed.cache_clear()
        digest._spec.cache_clear()
        importlib.invalidate_caches()
        return code_digest(importlib.import_module("own.main").point)

    return ask


def main(call, *lines):
    """The text of a module whose point returns a call."""
    return "\n".join([*lines, "def point(*, a, seed):", f"    return {call}", ""])


HELPER = "from own.tools import helper"
MAIN = main("{'value': helper(a)}", HELPER)
WAYS = {
    "a name": MAIN,
    "a module's attribute": main("own.tools.helper(a)", "import own.tools"),
    "a module by another name": main("t.helper(a)", "from own import tools as t"),
    "an import inside": "def point(*, a, seed):\n    from own.tools import helper\n    return helper(a)\n",
    "getattr": main("getattr(tools, 'helper')(a)", "from own import tools"),
    "a class": main("K().run(a)", HELPER, "class K:", "    def run(self, a):", "        return helper(a)"),
    "a base": main(
        "K.run(a)", HELPER, "class B:", "    run = staticmethod(helper)", "class K(B):", "    pass"
    ),
    "a dictionary": main("WAYS['one'](a)", HELPER, "WAYS = {'one': helper}"),
    "a list": main("WAYS[0](a)", HELPER, "WAYS = [helper]"),
    "partial": main("ready(a)", "from functools import partial", HELPER, "ready = partial(helper)"),
    "a decorator": main("inner(a=a)", HELPER, "def twice(f):", "    return lambda **k: helper(f(**k))")
    + "@twice\ndef inner(a):\n    return a\n",
    "another module between": main("passed(a)", "from own.between import passed"),
}
BETWEEN = "from own.tools import helper as passed\n"
TOOLS = "def helper(a):\n    return a * 2\ndef other(a):\n    return a\n"


@pytest.mark.parametrize("way", WAYS)
def test_code_is_followed_however_it_is_reached(package, way):
    before = package(WAYS[way], tools=TOOLS, between=BETWEEN)
    changed = package(WAYS[way], tools=TOOLS.replace("* 2", "* 3"), between=BETWEEN)
    unrelated = package(WAYS[way], tools=TOOLS.replace("return a\n", "return -a\n"), between=BETWEEN)
    assert changed != before
    assert unrelated == before


def test_a_definition_that_moves_keeps_the_digest(package):
    before = package(MAIN, tools=TOOLS)
    moved = package(MAIN.replace("own.tools", "own.elsewhere"), elsewhere="import math\n\n\n" + TOOLS)
    renamed = package(
        "import own.elsewhere as e\ndef point(*, a, seed):\n    return {'value': e.helper(a)}\n",
        elsewhere=TOOLS,
    )
    assert moved == before
    assert renamed == before


def test_another_function_of_the_same_name_is_another_digest(package):
    before = package(MAIN, tools=TOOLS)
    assert package(MAIN.replace("own.tools", "own.more"), tools=TOOLS, more=TOOLS.replace("2", "7")) != before


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("getattr(tools, name)(a)", "own.tools is used as a whole"),
        ("importlib.import_module(name).helper(a)", "importlib hides what is used"),
        ("eval('tools.helper')(a)", "eval.. hides what is used"),
    ],
)
def test_where_it_cannot_follow_it_says_so_once_and_counts_the_whole_module(package, call, why):
    text = main(call, "import importlib", "from own import tools", "name = 'own.tools'")
    with pytest.warns(RuntimeWarning, match=rf"own.main, line 5: {why}, so all code of own"):
        before = package(text, tools=TOOLS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        changed = package(text + "UNUSED = 1\n", tools=TOOLS.replace("return a\n", "return -a\n"))
    assert changed != before


def test_an_attribute_of_a_variable_is_not_looked_for_in_a_folder_of_its_name(package, tmp_path):
    (tmp_path / "data").mkdir()
    assert package(main("a.data.mean()")) == package(main("a.data.mean()"))


def test_a_star_import_counts_the_whole_module(package):
    text = main("helper(a)", "from own.tools import *")
    with pytest.warns(RuntimeWarning, match=r"from own.tools import \* hides where helper is from"):
        before = package(text, tools=TOOLS)
    assert package(text, tools=TOOLS.replace("return a\n", "return -a\n")) != before


def own(*, a, seed):
    return {"value": helper(a)}


def helper(a):
    return a * FACTOR


FACTOR = 10


def test_values_that_were_put_in_place_at_run_time_count(monkeypatch):
    before = code_digest(own)
    monkeypatch.setitem(globals(), "FACTOR", 1000)
    assert code_digest(own) != before


def test_a_local_function_depends_on_what_it_closes_over():
    def made(factor, other):
        def point(*, a, seed):
            return {"value": other(a) * factor}

        return point

    digests = {
        code_digest(made(2, helper)),
        code_digest(made(3, helper)),
        code_digest(made(2, partial(own, a=1))),
    }
    assert len(digests) == 3


@pytest.fixture
def copied(tmp_path):
    shutil.copytree(PACKAGE, tmp_path / "memorization", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def _digest(folder, source):
    code = f"from memorization.runs.digest import digest_of; print(digest_of({source!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("since {owner['since']}", "until {owner['since']}", True),  # of the lock, which a store uses
        ("Remove a file or folder", "Remove", False),
    ],
)
def test_in_the_library_a_definition_counts_where_it_is_used(copied, old, new, changes):
    source = "from memorization.runs.records import RecordStore\nRecordStore\n"
    before = _digest(copied, source)
    path = copied / "memorization" / "runs" / "records.py"
    text = path.read_text()
    path.write_text(text.replace(old, new) if old in text else text + "\n\ndef extra():\n    return 1\n")
    assert (_digest(copied, source) != before) == changes


def test_what_runs_a_sweep_is_no_part_of_an_experiment(copied):
    source = "from memorization.studies.feature_contamination.theory import background_correlation\n"
    source += "background_correlation\n"
    before = _digest(copied, source)
    path = copied / "memorization" / "runs" / "sweep.py"
    path.write_text(path.read_text().replace("bears it", "has it"))
    assert _digest(copied, source) == before


def test_everything_that_an_experiment_calls_is_reached_and_nothing_hides():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        reach = _Reach()
        reach.function(synthetic_curve)
    reached = {name for one in reach._seen if isinstance(one, _Statement) for name in one.binds}
    called = set()
    sys.setprofile(lambda frame, event, _: called.add(frame.f_code) if event == "call" else None)
    try:
        given = {"feature_map": "rf", "activation": "phi2", "alpha": 0.5, "d": 20, "width": 50}
        synthetic_curve(**given, sizes=[10, 20], n_test=20, seed=0)
    finally:
        sys.setprofile(None)
    ours = {code.co_qualname.partition(".")[0] for code in called if str(PACKAGE) in code.co_filename}
    assert len(ours) > 40
    assert {name for name in ours if not name.startswith("<")} <= reached


def test_a_name_that_a_function_binds_again_counts_its_whole_module(package):
    text = main("COUNT * a", "COUNT = 1", "def more():", "    global COUNT", "    COUNT = 2")
    with pytest.warns(RuntimeWarning, match=r"own.main, line 3: COUNT is bound again at run time"):
        before = package(text)
    assert package(text + "UNUSED = 1\n") != before
