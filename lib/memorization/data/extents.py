"""How large the data sets are, known without reading them: what does not fit is told before anything runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Extent:
    """Sizes of one data set.

    Attributes:
        train: images of the training half; of ``digits``, which come as one set, all of them.
        test: images of the test half; 0 where there is one set.
        side: height and width in pixels.
        channels: 1 or 3.
    """

    train: int
    test: int
    side: int
    channels: int


EXTENTS = {
    "digits": Extent(1797, 0, 8, 1),
    "mnist": Extent(60_000, 10_000, 28, 1),
    "fashion_mnist": Extent(60_000, 10_000, 28, 1),
    "cifar10": Extent(50_000, 10_000, 32, 3),
    "cifar100": Extent(50_000, 10_000, 32, 3),
    "tiny_imagenet": Extent(100_000, 10_000, 64, 3),
}
