"""The README: one screen, and everything that it names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
TARGETS = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
LINKS = re.findall(r"(!?)\[([^\]]*)\]\(([^)#]+)\)", README)


def test_the_readme_fits_one_screen():
    assert len(README.splitlines()) <= 50


def test_the_two_commands_are_there():
    assert {"book", "test"} <= set(re.findall(r"^    make (\w+)", README, re.MULTILINE))


def test_every_make_command_of_the_readme_exists():
    assert set(re.findall(r"^    make (\w+)", README, re.MULTILINE)) <= set(TARGETS)


def test_every_file_that_the_readme_links_to_exists():
    local = [target for picture, _, target in LINKS if not picture and "://" not in target]
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_the_picture_exists():
    if not (ROOT / "book").is_dir():
        pytest.skip("this tree has no book/")
    assert [target for picture, _, target in LINKS if picture and not (ROOT / target).is_file()] == []


def test_every_picture_has_a_description():
    assert [target for picture, words, target in LINKS if picture and len(words) < 20] == []
