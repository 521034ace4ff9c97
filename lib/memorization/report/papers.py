"""The five papers by their short names; the keys are those of the bibliography."""

from __future__ import annotations

from types import MappingProxyType

PAPERS = MappingProxyType(
    {
        "bombari2024spurious": "Bombari & Mondelli, ICML 2024",
        "anagnostidis2023curious": "Anagnostidis et al., ICLR 2023",
        "zhang2024feature": "Zhang et al., ICML 2024",
        "becker2024learned": "Becker & Risse, 2024",
        "bayat2025pitfalls": "Bayat et al., ICLR 2025",
    }
)


def paper_name(key: str) -> str:
    """Return a paper's short name, or the key itself where it has none."""
    return PAPERS.get(key, key)
