"""Which built book is looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def book_html(request: pytest.FixtureRequest) -> Path:
    """The folder that MEMORIZATION_HTML names, else the smoke book that the tests build for themselves."""
    given = os.environ.get("MEMORIZATION_HTML")
    return Path(given) if given else request.getfixturevalue("book_html")
