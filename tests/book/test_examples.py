"""Every Python example of the pages runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*sorted((ROOT / "book").rglob("*.md")), *sorted((ROOT / "notebooks").glob("*.py"))]


def markdown(path):
    """The text of a page; of a notebook, its cells of Markdown."""
    lines = path.read_text().splitlines()
    if path.suffix == ".py":
        lines = [re.sub("^# ?", "", line) if line.startswith("#") else "" for line in lines]
    return "\n".join(lines)


EXAMPLES = [
    (path.name, code)
    for path in PAGES
    for code in re.findall(r"^```python\n(.*?)^```$", markdown(path), flags=re.DOTALL | re.MULTILINE)
]


def test_there_are_examples():
    assert len(EXAMPLES) >= 4


@pytest.mark.parametrize(("page", "code"), EXAMPLES, ids=[f"{p}-{k}" for k, (p, _) in enumerate(EXAMPLES)])
def test_an_example_runs(page, code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
