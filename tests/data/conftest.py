"""Where the tests of the data sets find real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with MNIST, Fashion-MNIST and CIFAR-10 in torchvision's layout, or a skip with the reason."""
    beside = Path(__file__).resolve().parents[2].parent / "shared" / "data"
    root = Path(os.environ.get("MEMORIZATION_DATA") or beside)
    if not (root / "MNIST" / "raw").is_dir() or not (root / "cifar-10-batches-py").is_dir():
        pytest.skip(f"no MNIST and CIFAR-10 in {root}; set MEMORIZATION_DATA to run this test")
    return root
