"""Accuracy by sign, area under the ROC curve, covariance and mean squared error, on any device."""

from __future__ import annotations

import torch
from torch import Tensor


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


def mean_squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """Mean of ``(prediction - target)^2``; both of shape (B,). Returns a float64 scalar."""
    _same_shape(predictions, targets)
    return (predictions.double() - targets).square().mean()


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
