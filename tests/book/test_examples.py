"""Every Python example of the pages runs as it stands."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = [
    (path.name, code)
    for path in sorted((ROOT / "book").rglob("*.md"))
    for code in re.findall(r"^```python\n(.*?)^```$", path.read_text(), flags=re.DOTALL | re.MULTILINE)
]


def test_there_are_examples():
    assert len(EXAMPLES) >= 2


@pytest.mark.parametrize(("page", "code"), EXAMPLES, ids=[f"{p}-{k}" for k, (p, _) in enumerate(EXAMPLES)])
def test_an_example_runs(page, code, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
