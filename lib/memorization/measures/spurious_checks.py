"""Checks of the first paper's identities, its negative control, and scores of single examples.

Bombari & Mondelli (ICML 2024): the product decomposition ``f(z_i^s) = f(z_i^s; without i) + F_i S_i``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memorization.data.frames import image_task
from memorization.data.images import load_images, two_classes
from memorization.data.seeds import generator
from memorization.data.synthetic import linear_core_task
from memorization.measures.accuracy import auc, covariance, sign_accuracy
from memorization.measures.curve import Model, Row, float_type, solve
from memorization.measures.stability import Stability, feature_alignment, stability
from memorization.models.features import directions, explicit_features
from memorization.runs.sweep import experiment


@experiment("identity_check")
def identity_check(
    *,
    feature_map: str,
    activation: str,
    width: int,
    n: int,
    d: int = 60,
    alpha: float = 0.5,
    dataset: str = "synthetic",
    negative: int = 1,
    positive: int = 7,
    pad: int = 2,
    data_root: str | None = None,
    seed: int,
) -> list[Row]:
    """Compare the one-factorization formulas with N refitted models and with the projector's definition.

    The refits use explicit features and least squares, and share no code with the formulas. All in float64.

    Args:
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation.
        width: k >= 1 directions, such that there are more features than examples.
        n: number N of training examples; N models are refitted.
        d: number of coordinates (synthetic data).
        alpha: spurious fraction (synthetic data).
        dataset: ``synthetic`` or a data set of images.
        negative: class with label -1 (images).
        positive: class with label +1 (images).
        pad: width of the frame in pixels (images).
        data_root: folder of the data sets.
        seed: whole number >= 0.

    Returns:
        One row with the largest absolute differences over i: ``decomposition_gap`` (refitted models against
        ``F_i S_i``), ``residual_gap``, ``held_out_gap``, ``alignment_gap`` (projector's definition),
        ``interpolation_gap``.
    """
    if dataset == "synthetic":
        task = linear_core_task(n_train=n, n_test=10, d=d, alpha=alpha, seed=seed, dtype=torch.float64)
    else:
        pool = two_classes(load_images(dataset, "all", data_root), negative, positive)
        task = image_task(pool, n_train=n, n_test=10, pad=pad, seed=seed, dtype=torch.float64)
    weights = directions(width, task.train.shape[1], generator(seed, "weights"))
    features, queries = (
        explicit_features(rows, weights, feature_map=feature_map, activation_name=activation)
        for rows in (task.train, task.spurious)
    )
    scores = stability(solve(Model(feature_map, activation, width), task, seed).at())
    without, projected = _refit(features, queries, task.labels)
    at_train, at_query = without
    gaps = {
        "decomposition_gap": scores.spurious - at_query - scores.alignment * scores.residuals,
        "residual_gap": scores.residuals - (task.labels - at_train),
        "held_out_gap": scores.held_out - at_query,
        "alignment_gap": scores.alignment - projected,
        "interpolation_gap": _interpolate(features, task.labels) @ features.T - task.labels,
    }
    row: Row = {"dataset": dataset, "N": n}
    return [row | {name: float(gap.abs().max()) for name, gap in gaps.items()}]


@experiment("negative_control")
def negative_control(
    *,
    feature_map: str,
    activation: str,
    alpha: float,
    d: int,
    width: int | None,
    n: int,
    law: str = "gaussian",
    seed: int,
    dtype: str = "float32",
) -> list[Row]:
    """Ask the model at queries that share nothing with the training row they are scored against.

    Both parts of the query are fresh, so every measure of memorization must vanish. If it does not, it
    measures something else.

    Args:
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation.
        alpha: spurious fraction, in (0, 1).
        d: number of coordinates.
        width: k directions; 0 or None for the infinite-width kernel.
        n: number N of training examples.
        law: ``gaussian`` or ``spheres``.
        seed: whole number >= 0.
        dtype: ``float32`` or ``float64``.

    Returns:
        One row: ``spurious_accuracy`` (about 1/2), ``spurious_auc`` (about 1/2), ``covariance`` (about 0) and
        ``alignment_mean`` (about the constant part's share, 0 for activations without one).
    """
    task = linear_core_task(
        n_train=n,
        n_test=n,
        d=d,
        alpha=alpha,
        seed=seed,
        law=law,
        dtype=float_type(dtype),
        purpose="negative control",
    )
    solution = solve(Model(feature_map, activation, width), task, seed).at()
    unrelated = solution.regression.blocks.test  # N fresh pairs, row-aligned with nothing
    predictions = solution.predict(unrelated)
    return [
        {
            "N": n,
            "spurious_accuracy": float(sign_accuracy(predictions, task.labels)),
            "spurious_auc": float(auc(predictions, task.labels)),
            "covariance": float(covariance(predictions, task.labels)),
            "alignment_mean": float(feature_alignment(unrelated, solution.inverse).mean()),
        }
    ]


def example_scores(
    *,
    feature_map: str,
    activation: str,
    alpha: float,
    d: int,
    width: int | None,
    n: int,
    law: str = "gaussian",
    seed: int,
) -> list[Row]:
    """Score every training example of one synthetic model.

    Args:
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation.
        alpha: spurious fraction, in (0, 1).
        d: number of coordinates.
        width: k directions; 0 or None for the infinite-width kernel.
        n: number N of training examples.
        law: ``gaussian`` or ``spheres``.
        seed: whole number >= 0.

    Returns:
        N rows with ``example``, ``label``, ``alignment`` F_i, ``residual`` S_i, ``spurious`` f(z_i^s),
        ``held_out`` f(z_i^s; without i) and ``memorization`` = F_i S_i g_i, the part of the right answer
        that comes from having seen the example.
    """
    task = linear_core_task(n_train=n, n_test=1, d=d, alpha=alpha, seed=seed, law=law, purpose="nested")
    solution = solve(Model(feature_map, activation, width), task, seed, "nested weights").at()
    return _rows(stability(solution), task.labels)


def _rows(scores: Stability, labels: Tensor) -> list[Row]:
    memorization = scores.alignment * scores.residuals * labels
    columns = {
        "label": labels,
        "alignment": scores.alignment,
        "residual": scores.residuals,
        "spurious": scores.spurious,
        "held_out": scores.held_out,
        "memorization": memorization,
    }
    values = torch.stack([column.double() for column in columns.values()], dim=1).tolist()
    return [{"example": i} | dict(zip(columns, row, strict=True)) for i, row in enumerate(values)]


def _interpolate(features: Tensor, labels: Tensor) -> Tensor:
    """Minimum-norm least-squares weights of explicit features, shape (P,)."""
    return torch.linalg.lstsq(features, labels[:, None], driver="gelsd").solution[:, 0]


def _refit(features: Tensor, queries: Tensor, labels: Tensor) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Refit without each row in turn; predictions at the row and its query, and the projector's alignment."""
    at_train, at_query, alignment = [], [], []
    for i in range(len(features)):
        keep = torch.arange(len(features)) != i
        theta = _interpolate(features[keep], labels[keep])
        basis = torch.linalg.qr(features[keep].T).Q  # (P, N - 1)
        outside = features[i] - basis @ (basis.T @ features[i])
        at_train.append(features[i] @ theta)
        at_query.append(queries[i] @ theta)
        alignment.append((queries[i] @ outside) / (outside @ outside))
    return (torch.stack(at_train), torch.stack(at_query)), torch.stack(alignment)
