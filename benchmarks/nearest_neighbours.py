"""k-NN probes: the blockwise search against its bare matrix product, and against scikit-learn.

The bare product is a part of the work that no exact search can do without; a ratio of 1 would mean that
checks, normalization, the search of the neighbors and the votes cost nothing.

    python benchmarks/nearest_neighbours.py [--quick] [--out FILE]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from harness import Case, main
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from memorization.draws import generator
from memorization.measures.probes import knn_probe

OUT = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "nearest_neighbours.json"
CLASSES, K = 10, 20


@dataclass(frozen=True)
class Features:
    """Labelled reference rows and labelled queries."""

    reference: Tensor
    labels: Tensor
    queries: Tensor
    query_labels: Tensor


def features(n: int, queries: int, d: int) -> Features:
    """Draw ten overlapping clouds, one per class."""
    source = generator(0, "features")
    centers = torch.randn(CLASSES, d, generator=source)
    labels = torch.randint(0, CLASSES, (n + queries,), generator=source)
    rows = torch.randn(n + queries, d, generator=source)
    for part, goal in zip(rows.split(8192), labels.split(8192), strict=True):  # no second copy of everything
        part.add_(centers[goal], alpha=0.25)
    return Features(rows[:n], labels[:n], rows[n:], labels[n:])


def bare_product(data: Features, *, chunk: int = 512) -> dict[str, float]:
    """Multiply every query with every reference row, into one block, and look at nothing."""
    product = torch.empty(chunk, len(data.reference))
    for block in data.queries.split(chunk):
        torch.mm(block, data.reference.T, out=product[: len(block)])
    return {"corner": float(product[0, 0])}


def scikit_learn(data: Features) -> dict[str, float]:
    """Normalize, and ask scikit-learn's exhaustive search."""
    reference, queries = (
        torch.nn.functional.normalize(rows).numpy() for rows in (data.reference, data.queries)
    )
    model = KNeighborsClassifier(K, algorithm="brute").fit(reference, data.labels.numpy())
    return {"accuracy": float(model.score(queries, data.query_labels.numpy()))}


def ours(data: Features) -> dict[str, float]:
    """Run the probe: checks, normalization, search, votes."""
    probe = knn_probe(data.reference, data.labels, data.queries, data.query_labels, K, CLASSES)
    return {"accuracy": probe.accuracy}


def cases(quick: bool) -> list[Case]:
    """Return the cases at the size of a CIFAR-10 embedding, or at small ones."""
    n, q, d = (5000, 1000, 64) if quick else (50_000, 10_000, 512)
    few, asked, width = (1000, 300, 32) if quick else (20_000, 2000, 128)
    once = 1 if quick else 3
    return [
        Case(
            f"{K} nearest neighbors of {q:,} queries on {n:,} x {d}, against the bare matrix product alone "
            "(a part of the work: 1 means nothing beside it costs time)",
            partial(features, n, q, d),
            bare_product,
            ours,
            tolerance=None,
            repeats=once,
        ),
        Case(
            f"{K}-NN accuracy of {asked:,} queries on {few:,} x {width}; plain is scikit-learn, brute force",
            partial(features, few, asked, width),
            scikit_learn,
            ours,
            repeats=once,
        ),
    ]


if __name__ == "__main__":
    main(cases, OUT)
