"""A check on the data: nothing ties the background to the label.

Zhang et al. (ICML 2024): contamination is no spurious correlation.
"""

from __future__ import annotations

from memorization.data.seeds import generator
from memorization.data.structured import StructuredFeatures
from memorization.runs.sweep import experiment


@experiment("background_correlation")
def background_correlation(
    *, core: int, background: int, labels: str = "linear", examples: int = 100_000, seed: int
) -> dict[str, float]:
    """Return the largest correlation of a background feature with the label.

    Args:
        core: number of core features.
        background: number of background features, >= 1.
        labels: ``linear`` or ``sphere``.
        examples: number n of examples.
        seed: of the examples.

    Returns:
        ``correlation``: largest absolute correlation over the background features; ``allowed``: 5/sqrt(n),
        far outside of chance; ``core_correlation``: largest one of a core feature, for comparison.

    Raises:
        ValueError: without a background feature.
    """
    if background < 1:
        raise ValueError(f"background={background}; allowed: 1 or more, there is nothing to correlate")
    sample = StructuredFeatures(core, background, labels).draw(examples, [generator(seed, "correlation")])
    y = sample.labels[0] - sample.labels[0].mean()
    x = sample.inputs()[0]
    x = x - x.mean(0)
    found = (x.T @ y / (x.norm(dim=0) * y.norm())).abs()
    return {
        "correlation": found[core:].max().item(),
        "core_correlation": found[:core].max().item(),
        "allowed": 5 / examples**0.5,
    }
