"""A linear probe in closed form: ridge regression on one-hot targets, in the smaller dimension."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from memorization.measures.probe import (
    Probe,
    check_features,
    check_labels,
    check_same_width,
    row_norms,
    warn_of_absent_classes,
)


def linear_probe(
    reference: Tensor,
    reference_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    ridge: float = 1.0,
    classes: int | None = None,
) -> Probe:
    """Probe features with a linear classifier.

    Beside the k-NN probe of Anagnostidis et al. (ICLR 2023): it asks what can be read off linearly, whatever
    the distances. Minimizes ``|X W + b - Y|^2 + penalty |W|^2`` on one-hot targets Y; the intercept b is
    free, the prediction is the largest output. Solved by Cholesky in float64, in d or in n_reference
    dimensions, whichever are fewer.

    Args:
        reference: features with known labels, shape (n_reference, d), floating point, finite.
        reference_labels: shape (n_reference,), integers in 0..C-1.
        queries: shape (Q, d).
        query_labels: shape (Q,), integers in 0..C-1.
        ridge: > 0, the penalty in units of the mean squared length of a centered reference row, so that
            features of any scale are treated alike.
        classes: number C of classes; None for the largest reference label + 1.

    Returns:
        Predictions and which are correct. Warns of queries whose class no reference row has.

    Raises:
        TypeError: for features that are not floating point, or labels that are not integers.
        ValueError: for shapes that do not fit, NaN or Inf, labels outside 0..C-1, or ridge <= 0.
    """
    for rows, name in ((reference, "reference"), (queries, "query")):
        row_norms(check_features(rows, name), name)
    check_same_width(reference, queries)
    labels = check_labels(reference_labels, len(reference), "reference", classes).to(reference.device)
    wanted = check_labels(query_labels, len(queries), "query", classes).to(reference.device)
    if not (ridge > 0 and math.isfinite(ridge)):
        raise ValueError(f"ridge must be a finite number > 0; got {ridge!r}")
    weights, intercept = _fit(reference, one_hot(labels, classes or -1).double(), ridge)
    warn_of_absent_classes(labels, wanted)
    predictions = (queries.double() @ weights + intercept).argmax(dim=1)
    return Probe(predictions, predictions == wanted)


def _fit(features: Tensor, targets: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Return weights (d, C) and intercept (C,) of the penalized least-squares problem."""
    rows, center, level = features.double(), features.double().mean(dim=0), targets.mean(dim=0)
    rows, targets = rows - center, targets - level  # centering makes the intercept free of the penalty
    n, d = rows.shape
    gram = rows.T @ rows if d <= n else rows @ rows.T
    scale = gram.trace() / n
    gram.diagonal().add_(ridge * torch.where(scale > 0, scale, torch.ones_like(scale)))  # constant features
    factor = torch.linalg.cholesky(gram)
    if d <= n:
        weights = torch.cholesky_solve(rows.T @ targets, factor)
    else:
        weights = rows.T @ torch.cholesky_solve(targets, factor)
    return weights, level - center @ weights
