"""How to cite, and under which terms: CITATION.cff and the licenses agree with the package."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import memorization

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CITATION = yaml.safe_load((ROOT / "CITATION.cff").read_text())


@pytest.mark.parametrize("key", ["cff-version", "message", "title", "authors"])
def test_the_citation_has_the_keys_that_the_format_requires(key):
    assert CITATION[key]


def test_the_citation_is_of_format_1_2_0():
    assert CITATION["cff-version"] == "1.2.0"


def test_every_author_has_a_name():
    assert all(author.get("name") or author.get("family-names") for author in CITATION["authors"])


def test_the_package_the_project_and_the_citation_have_one_version():
    assert memorization.__version__ == PROJECT["version"] == str(CITATION["version"])


def test_the_citation_and_the_project_name_one_repository():
    assert CITATION["repository-code"] == PROJECT["urls"]["Repository"]


def test_the_code_license_is_the_one_that_the_project_declares():
    assert CITATION["license"] == PROJECT["license"] == "BSD-3-Clause"
    assert (ROOT / "LICENSE").read_text().startswith("BSD 3-Clause License")


def test_every_license_file_is_part_of_the_package():
    assert sorted(PROJECT["license-files"]) == sorted(path.name for path in ROOT.glob("LICENSE*"))


def test_the_prose_license_links_to_its_legal_text():
    text = (ROOT / "LICENSE-prose.md").read_text()
    assert re.search(r"<https://creativecommons\.org/licenses/by/4\.0/legalcode>", text)
