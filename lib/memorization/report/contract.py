"""What the report needs to know of a run; ``memorization.runs.start.Run`` has all of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol


class RunLike(Protocol):
    """A started run of one notebook at one profile."""

    @property
    def name(self) -> str:
        """The notebook's name."""

    @property
    def profile(self) -> str:
        """The parameter profile, for example ``book``."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Every parameter's value."""

    @property
    def parameters(self) -> Mapping[str, Any]:
        """What the notebook declares about each parameter."""

    @property
    def build(self) -> Path:
        """The folder that a build may write to."""

    @property
    def figures_folder(self) -> Path:
        """Where this notebook's figures and their data are stored."""

    @property
    def figures_href(self) -> str:
        """That folder, relative to the notebook's page in the book."""

    @property
    def verdicts_path(self) -> Path:
        """Where this run's verdicts are stored."""

    @property
    def claims_path(self) -> Path:
        """The notebook's claims."""

    @property
    def price_path(self) -> Path:
        """Where this run's measured price is stored."""

    @property
    def published(self) -> Path:
        """The folder of published records, verdicts and prices."""

    @property
    def source_url(self) -> str:
        """The notebook's source in the public repository."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Versions, device, cores and code version."""
