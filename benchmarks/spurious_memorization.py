"""Random-feature and tangent-feature regression: Gram blocks and one factorization against features and pinv.

The plain way is what the definitions say: build the feature matrix, ``theta = pinv(features) @ labels``,
refit for every left-out example. Both ways use the same data and the same directions.

The image panels of the page are timed on pictures of random pixels of MNIST's size, which cost what MNIST
does and need no files.

    python benchmarks/spurious_memorization.py [--quick] [--out FILE]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from harness import Case, main
from torch import Tensor

from memorization.data.frames import image_task
from memorization.data.image_sets import Images
from memorization.data.synthetic import SpuriousTask, linear_core_task
from memorization.draws import generator
from memorization.measures.stability import covariance, stability
from memorization.models.kernels import directions, explicit_features
from memorization.studies.spurious_memorization.experiments import Model, solve

OUT = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "spurious_memorization.json"


def task(n: int, d: int) -> SpuriousTask:
    """Draw the synthetic task with as many test as training rows."""
    return linear_core_task(n_train=n, n_test=n, d=d, alpha=0.5, seed=0)


def accuracies(
    data: SpuriousTask, train: Tensor, spurious: Tensor, test: Tensor
) -> dict[str, Tensor | float]:
    """Return predictions, and the three accuracies by sign."""
    fractions = {
        "train_accuracy": (train * data.labels > 0).double().mean().item(),
        "spurious_accuracy": (spurious * data.labels > 0).double().mean().item(),
        "test_accuracy": (test * data.test_labels > 0).double().mean().item(),
    }
    return {"spurious": spurious, "test": test, **fractions}


def plain_predictions(
    data: SpuriousTask, *, feature_map: str, width: int, dtype: torch.dtype
) -> dict[str, Tensor | float]:
    """Build all features and apply the pseudo-inverse."""
    weights = directions(width, data.train.shape[1], generator(0, "weights"), dtype)
    train, spurious, test = (
        explicit_features(rows.to(dtype), weights, feature_map=feature_map, activation_name="phi2")
        for rows in (data.train, data.spurious, data.test)
    )
    theta = torch.linalg.pinv(train) @ data.labels.to(dtype)
    return accuracies(data, train @ theta, spurious @ theta, test @ theta)


def our_predictions(data: SpuriousTask, *, feature_map: str, width: int) -> dict[str, Tensor | float]:
    """Multiply Gram blocks, without a feature matrix, and factor once."""
    found = solve(Model(feature_map, "phi2", width), data, seed=0).at()
    return accuracies(data, found.train_predictions, found.spurious_predictions, found.test_predictions)


def plain_refits(data: SpuriousTask, *, width: int) -> dict[str, Tensor]:
    """Refit without every example in turn."""
    weights = directions(width, data.train.shape[1], generator(0, "weights"), torch.float32)
    train, queries = (
        explicit_features(rows, weights, feature_map="rf", activation_name="phi2")
        for rows in (data.train, data.spurious)
    )
    residuals, held_out = [], []
    for i in range(len(train)):
        keep = torch.arange(len(train)) != i
        theta = torch.linalg.pinv(train[keep]) @ data.labels[keep]
        residuals.append(data.labels[i] - train[i] @ theta)
        held_out.append(queries[i] @ theta)
    return {"residuals": torch.stack(residuals), "held_out": torch.stack(held_out)}


def our_refits(data: SpuriousTask, *, width: int) -> dict[str, Tensor]:
    """Read all leave-one-out quantities from one inverse."""
    scores = stability(solve(Model("rf", "phi2", width), data, seed=0).at())
    return {"residuals": scores.residuals, "held_out": scores.held_out}


def bare_products(data: SpuriousTask, *, width: int, block: int = 2048) -> dict[str, Tensor]:
    """Only the matrix products that random-feature Gram blocks cannot do without."""
    rows, n = torch.cat([data.train, data.spurious, data.test]), len(data.train)
    weights = directions(block, rows.shape[1], generator(0, "weights"), torch.float32)
    for start in range(0, width, block):
        hidden = rows @ weights[: min(block, width - start)].T
        product = hidden @ hidden[:n].T
    return {"corner": product[0, 0]}


def our_gram_blocks(data: SpuriousTask, *, width: int) -> dict[str, Tensor]:
    """The whole work that ``bare_products`` is a part of."""
    return {"corner": solve(Model("rf", "phi2", width), data, seed=0).at().test_predictions[0]}


def pictures(seeds: int, n: int, n_test: int) -> list[SpuriousTask]:
    """Draw framed pictures of MNIST's size and two classes, once for each seed."""
    pixels = torch.randint(0, 256, (n + n_test, 1, 28, 28), generator=generator(0, "pictures"))
    labels = torch.arange(n + n_test) % 2 * 2 - 1
    pool = Images(pixels.to(torch.uint8), labels, ("dark", "light"), "pictures", 255)
    return [image_task(pool, n_train=n, n_test=n_test, pad=10, seed=seed) for seed in range(seeds)]


def curves(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return what the panels draw, one array for each quantity: seeds and sizes in order."""
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def drawn(spurious: Tensor, test: Tensor, labels: Tensor, residuals: Tensor, alignment: Tensor) -> dict:
    """Return the numbers of one point of a panel that do not jump with a rounding."""
    return {
        "covariance": covariance(spurious, labels),
        "alignment": alignment.mean(),
        "stability": residuals.square().mean(),
        "test_square": test.square().mean(),
    }


def plain_panels(
    tasks: list[SpuriousTask], *, maps: dict[str, int], sizes: tuple[int, ...]
) -> dict[str, Tensor]:
    """Fit every N of the first seed anew: explicit features, and all scores from the pseudo-inverse."""
    rows, data = [], tasks[0]
    for feature_map, width in maps.items():
        weights = directions(width, data.train.shape[1], generator(0, "weights"), torch.float32)
        for n in sizes:
            train, query, test = (
                explicit_features(part, weights, feature_map=feature_map, activation_name="relu")
                for part in (data.train[:n], data.spurious[:n], data.test)
            )
            inverse, labels = torch.linalg.pinv(train, rtol=1e-6), data.labels[:n]  # (P, n)
            theta = inverse @ labels
            residuals = (inverse.T @ theta) / inverse.square().sum(dim=0)
            alignment = (query * inverse.T).sum(dim=1)
            rows.append(drawn(query @ theta, test @ theta, labels, residuals, alignment))
    return curves(rows)


def our_panels(
    tasks: list[SpuriousTask], *, maps: dict[str, int], sizes: tuple[int, ...]
) -> dict[str, Tensor]:
    """Read every N of every seed from Gram blocks and one factor of the largest; return the first seed's."""
    rows = []
    for data in tasks:
        for feature_map, width in maps.items():
            regression = solve(Model(feature_map, "relu", width), data, seed=0)
            for found in map(regression.at, sizes):
                scores = stability(found)
                labels, test = found.targets, found.test_predictions
                rows.append(drawn(scores.spurious, test, labels, scores.residuals, scores.alignment))
    return curves(rows[: len(maps) * len(sizes)])


def plain_large(tasks: list[SpuriousTask], *, width: int) -> dict[str, Tensor]:
    """Fit one large N from whole feature matrices, without a pseudo-inverse, which would take minutes."""
    (data,) = tasks
    weights = directions(width, data.train.shape[1], generator(0, "weights"), torch.float32)
    train, query, test = (
        explicit_features(part, weights, feature_map="rf", activation_name="relu")
        for part in (data.train, data.spurious, data.test)
    )
    inverse = torch.linalg.inv((train @ train.T).double())
    coefficients = inverse @ data.labels.double()
    at_query = (query @ train.T).double()
    residuals, alignment = coefficients / inverse.diagonal(), (at_query * inverse).sum(dim=1)
    answers, tested = at_query @ coefficients, (test @ train.T).double() @ coefficients
    return curves([drawn(answers, tested, data.labels.double(), residuals, alignment)])


def cases(quick: bool) -> list[Case]:
    """Return the cases at the paper's sizes, or at small ones."""
    n, d, k, many, few = (100, 200, 2000, 8192, 30) if quick else (1000, 1000, 10_000, 100_000, 100)
    tangent, once = (20, 1) if quick else (100, 3)
    sizes = (10, 50, 100) if quick else (10, 20, 50, 100, 200, 500, 1000)
    seeds, rf, ntk, large, wide = (2, 1000, 20, 500, 2000) if quick else (10, 4000, 16, 5000, 16_000)
    random_features = f"random features, d={d}, k={k:,}, N={n}: predict train, spurious and test"
    return [
        Case(
            f"{random_features}; plain in {name}, features in float32 in ours",
            partial(task, n, d),
            partial(plain_predictions, feature_map="rf", width=k, dtype=dtype),
            partial(our_predictions, feature_map="rf", width=k),
            repeats=once,
        )
        for name, dtype in (("float64", torch.float64), ("float32", torch.float32))
    ] + [
        Case(
            f"tangent features, d={d}, k={tangent}, N={n}: predict train, spurious and test; both in float32",
            partial(task, n, d),
            partial(plain_predictions, feature_map="ntk", width=tangent, dtype=torch.float32),
            partial(our_predictions, feature_map="ntk", width=tangent),
            repeats=1 if quick else 2,
        ),
        Case(
            f"random features, d=200, k=2,000, N={few}: all leave-one-out predictions",
            partial(task, few, 200),
            partial(plain_refits, width=2000),
            partial(our_refits, width=2000),
            repeats=once,
        ),
        Case(
            f"random features, d={d}, k={many:,}, N={n}: Gram blocks and predictions, against their bare "
            "matrix products alone (a part of the work: 1 means nothing beside them costs time)",
            partial(task, n, d),
            partial(bare_products, width=many),
            partial(our_gram_blocks, width=many),
            tolerance=None,
            repeats=once,
        ),
        Case(
            f"image panels, pictures of 28x28 in frames of 10, random features (k={rf:,}) and tangent "
            f"features (k={ntk}), N from 10 to {sizes[-1]:,}: covariance, alignment, stability and test "
            f"predictions at each N; ours {seeds} seeds, plain one of them (seconds as measured, "
            "ratio for equal work), where each N is fitted anew by explicit features",
            partial(pictures, seeds, sizes[-1], sizes[-1]),
            partial(plain_panels, maps={"rf": rf, "ntk": ntk}, sizes=sizes),
            partial(our_panels, maps={"rf": rf, "ntk": ntk}, sizes=sizes),
            repeats=1,
            share=1 / seeds,
        ),
        Case(
            f"image panel, its largest point alone: k={wide:,}, N={large:,}, for the memory; plain holds the "
            "feature matrices and inverts their Gram matrix",
            partial(pictures, 1, large, 1000),
            partial(plain_large, width=wide),
            partial(our_panels, maps={"rf": wide}, sizes=(large,)),
            repeats=1,
        ),
    ]


if __name__ == "__main__":
    main(cases, OUT)
