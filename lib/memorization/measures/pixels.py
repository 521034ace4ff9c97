"""The k-NN probe on raw pixels: what a network's features have to beat to be of use."""

from __future__ import annotations

from memorization.data.memorized_split import memorized_split
from memorization.measures.nearest import knn_probe
from memorization.runs.sweep import experiment


@experiment("pixel_probe")
def pixel_probe(
    *,
    dataset: str = "digits",
    memorized: int | None = None,
    reference: int | None = None,
    test: int | None = None,
    side: int | None = None,
    k: int = 20,
    seed: int = 0,
) -> dict[str, float]:
    """Classify test images by their nearest neighbors in pixel space, divided by their norms.

    The protocol is that of the k-NN probe of Anagnostidis et al. (ICLR 2023), on the images themselves.

    Args:
        dataset: name of a data set of ``IMAGE_SETS``, split by ``memorized_split`` like the next four.
        memorized: images that are memorized.
        reference: images that vote.
        test: test images.
        side: side of the images in pixels.
        k: neighbors that vote.
        seed: not used: nothing is drawn.

    Returns:
        ``pixel_probe``: accuracy on the test images, in [0, 1].
    """
    split = memorized_split(dataset, memorized=memorized, reference=reference, test=test, side=side)
    rows, queries = (part.floats().flatten(1) for part in (split.reference, split.test))
    found = knn_probe(rows, split.reference.labels, queries, split.test.labels, k)
    return {"pixel_probe": found.accuracy}
