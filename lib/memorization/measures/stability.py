"""What a regression memorized: stability and feature alignment of every training example, and its answers'
worth.

Bombari & Mondelli (ICML 2024): with ``A = (K + ridge)^{-1}`` and ``K_s`` the kernel between spurious
queries and training rows, removing example i changes the prediction at its spurious query by ``F_i S_i``
exactly, where ``S_i = (A g)_i / A_ii`` and ``F_i = (K_s A)_ii``. No model is refitted. Predictions are
compared with labels -1 and +1 by their signs, by their order (area under the ROC curve) and by their
covariance.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.models.regression import Solution


@dataclass(frozen=True)
class Stability:
    """What each training example does to the prediction at its own spurious query.

    Attributes:
        residuals: leave-one-out residual ``S_i = g_i - f(z_i; without i)``, shape (N,).
        alignment: feature alignment ``F_i`` of the query with its training row, shape (N,); not a cosine.
        spurious: predictions ``f(z_i^s)`` of the full model, shape (N,).
        held_out: predictions ``f(z_i^s; without i)``, shape (N,).
        unexplained: squared norm of the part of ``phi(z_i)`` that the other rows do not span (plus ridge),
            shape (N,).
    """

    residuals: Tensor
    alignment: Tensor
    spurious: Tensor
    held_out: Tensor
    unexplained: Tensor


def stability(solution: Solution) -> Stability:
    """Compute stability, alignment and held-out predictions of all training examples at once.

    Args:
        solution: a kernel regression on N rows.

    Returns:
        One value per training row for each quantity, float64.
    """
    unexplained = 1 / solution.inverse.diagonal()
    residuals = leave_one_out_residuals(solution)
    alignment = feature_alignment(solution.spurious_gram, solution.inverse)
    spurious = solution.spurious_predictions
    return Stability(residuals, alignment, spurious, spurious - alignment * residuals, unexplained)


def leave_one_out_residuals(solution: Solution) -> Tensor:
    """Return ``S_i = (A g)_i / A_ii``, shape (N,): the error at i of the model trained without i."""
    return solution.coefficients / solution.inverse.diagonal()


def feature_alignment(query_gram: Tensor, inverse: Tensor) -> Tensor:
    """Return ``F_i = (K_q A)_ii`` for queries that are paired with the training rows.

    Args:
        query_gram: kernel between query i and training row j, shape (N, N).
        inverse: ``A``, symmetric, shape (N, N).

    Returns:
        Alignment of query i with training row i, shape (N,); 1 for the training row itself.
    """
    return torch.einsum("ij,ij->i", query_gram, inverse)


def sign_accuracy(predictions: Tensor, labels: Tensor) -> Tensor:
    """Fraction of examples with ``prediction * label > 0``; a prediction of exactly 0 counts as wrong.

    Bombari & Mondelli (ICML 2024), test, spurious and training accuracy.

    Args:
        predictions: shape (B,), real.
        labels: shape (B,), -1 or +1.

    Returns:
        Scalar in [0, 1], float64.

    Raises:
        ValueError: if a label is neither -1 nor +1, or a prediction is NaN.
    """
    _same_shape(predictions, labels)
    _check_numbers(predictions)
    if not bool((labels.abs() == 1).all()):
        raise ValueError(
            f"accuracy needs labels -1 and +1 of both classes; got values {_some(labels)}; "
            "for real-valued targets ask for the covariance only"
        )
    return (predictions.double() * labels > 0).double().mean()


def auc(scores: Tensor, labels: Tensor) -> Tensor:
    """Probability that a positive example scores above a negative one; ties count one half.

    Unlike accuracy it does not move when every score is shifted by one number.

    Args:
        scores: shape (B,), real.
        labels: shape (B,), -1 or +1, both present.

    Returns:
        Scalar in [0, 1], float64.

    Raises:
        ValueError: if one class is absent, or a score is NaN.
    """
    _same_shape(scores, labels)
    _check_numbers(scores)
    positive, negative = scores[labels > 0], scores[labels < 0].sort().values
    if len(positive) == 0 or len(negative) == 0:
        raise ValueError(
            f"need both classes; got {len(positive)} positive and {len(negative)} negative labels; "
            "for real-valued targets ask for the covariance only"
        )
    # By hand, not scikit-learn's: it stays on the device, and ties count exactly.
    below = torch.searchsorted(negative, positive)
    not_above = torch.searchsorted(negative, positive, right=True)
    return (below + not_above).double().mean() / (2 * len(negative))


def covariance(first: Tensor, second: Tensor) -> Tensor:
    """Mean product of deviations, ``E[(a - E a)(b - E b)]`` over the B examples (divided by B).

    Args:
        first: shape (B,), real.
        second: shape (B,), real.

    Returns:
        Scalar, float64.
    """
    _same_shape(first, second)
    a, b = first.double(), second.double()
    return ((a - a.mean()) * (b - b.mean())).mean()


def _same_shape(first: Tensor, second: Tensor) -> None:
    if first.ndim != 1 or first.shape != second.shape or len(first) == 0:
        raise ValueError(
            "need two non-empty vectors of one length; "
            f"got shapes {tuple(first.shape)} and {tuple(second.shape)}"
        )


def _check_numbers(predictions: Tensor) -> None:
    """Refuse NaN, which every comparison would count as a wrong answer."""
    broken = int(predictions.isnan().sum())
    if broken:
        raise ValueError(
            f"{broken} of {len(predictions)} predictions are NaN, neither right nor wrong; look for what "
            "made them: a model that diverged, or inputs that are not finite"
        )


def _some(labels: Tensor) -> str:
    values = labels.unique().tolist()
    return f"{values[:3]}..." if len(values) > 3 else str(values)
