"""Stability and feature alignment of every training example from one factorization.

Bombari & Mondelli (ICML 2024): with ``A = (K + ridge)^{-1}`` and ``K_s`` the kernel between spurious
queries and training rows, removing example i changes the prediction at its spurious query by ``F_i S_i``
exactly, where ``S_i = (A g)_i / A_ii`` and ``F_i = (K_s A)_ii``. No model is refitted.
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
