"""Every command that the README and the pages show is one that works."""

import re
import shlex
from pathlib import Path

import pytest

from memorization.runs import cli
from memorization.runs.notebook import Job
from memorization.runs.parameters import declared_parameters

ROOT = Path(__file__).resolve().parents[2]
TEXTS = [
    ROOT / "README.md",
    *sorted((ROOT / "book").rglob("*.md")),
    *sorted((ROOT / "notebooks").glob("*.py")),
]
COMMAND = re.compile(r"python -m memorization ([^`#\n]+)")
SHOWN = sorted({m.strip().rstrip(",.") for text in TEXTS for m in COMMAND.findall(text.read_text())})


def test_commands_are_shown():
    assert len(SHOWN) >= 4


@pytest.mark.parametrize("command", SHOWN)
def test_a_shown_command_is_understood(command):
    words = [{"NAME": "spurious_memorization", "P": "book"}.get(word, word) for word in shlex.split(command)]
    if "key" in words or not words:
        pytest.skip("shows the form of the command, not a command")
    args = cli._parser().parse_args(words)
    for name in getattr(args, "names", []):
        given = cli._given(declared_parameters(ROOT, name), args)
        assert set(given) <= set(Job(ROOT, name, args.profile, given).parameters)
