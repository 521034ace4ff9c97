"""A run as the report sees it, in a temporary folder; and a small table of records."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from memorization.report.claims import Claim
from memorization.report.claims_file import read_claims


@dataclass(frozen=True)
class FakeRun:
    folder: Path
    name: str = "toy"
    profile: str = "book"
    source_url: str = "https://example.org/notebooks/toy.py"
    provenance: dict[str, Any] = field(
        default_factory=lambda: {"versions": {"torch": "2.13.0"}, "device": "a cpu", "cores": 2}
    )

    @property
    def build(self) -> Path:
        return self.folder / "_build"

    @property
    def figures_folder(self) -> Path:
        return self.build / "figures" / self.name

    @property
    def figures_href(self) -> str:
        return f"figures/{self.name}"

    @property
    def claims_path(self) -> Path:
        return self.folder / "claims.yaml"

    @property
    def verdicts_path(self) -> Path:
        return self.build / "verdicts" / f"{self.name}.{self.profile}.json"

    @property
    def price_path(self) -> Path:
        return self.build / "prices" / f"{self.name}.{self.profile}.json"

    @property
    def published(self) -> Path:
        return self.folder / "results"


@pytest.fixture
def run(tmp_path: Path) -> FakeRun:
    return FakeRun(tmp_path)


@pytest.fixture
def records() -> pd.DataFrame:
    """Accuracy falls by 0.1 with each N, seeds differ by 0.02 and have the mean 0 in between."""
    rows = [
        {
            "N": N,
            "kind": kind,
            "seed": seed,
            "accuracy": start - 0.1 * step + 0.02 * (seed - 1),
            "theory": 0.9,
        }
        for kind, start in (("high", 0.9), ("low", 0.8))
        for step, N in enumerate((10, 20, 50))
        for seed in (0, 1, 2)
    ]
    how = {"_seconds": 0.5, "_peak_mib": 80.0, "_device": "a cpu", "_cores": 2, "_threads": 1}
    where = {"_code": "c0de", "_code_changed": False, "_source": "live"}
    frame = pd.DataFrame(rows).assign(**how, **where)
    return frame.assign(_date=[f"2026-03-{day:02d}T00:00:00Z" for day in range(1, len(frame) + 1)])


@pytest.fixture
def claims_of(tmp_path: Path) -> Callable[..., list[Claim]]:
    """Write a claims file with one claim that has these checks, and read it."""

    def write(*checks: dict[str, Any], **claim: Any) -> list[Claim]:
        entry = {
            "id": "T-1",
            "paper": "someone2024",
            "place": "Figure 1",
            "statement": "Something falls.",
            "profiles": ["book"],
            "tolerance_origin": "made for the test",
            "checks": [
                {"what": "a number", "records": "toy", "value": "accuracy", **check} for check in checks
            ],
        }
        path = tmp_path / "claims.yaml"
        path.write_text(yaml.safe_dump([{**entry, **claim}]), encoding="utf-8")
        return read_claims(path)

    return write
