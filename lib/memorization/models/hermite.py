"""Hermite coefficients of an activation: how much of it is constant, linear, quadratic, ...

Normalized probabilists' polynomials ``h_l`` with ``E[h_l(x) h_m(x)] = 1`` for ``l = m`` and 0 otherwise, x
standard normal. The trapezoid rule on [-14, 14] is used because Gauss-Hermite nodes overflow from a few
hundred on.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_HALF_WIDTH = 14.0
_NODES = 28001  # odd: one node sits at 0, where ReLU has its kink


def gaussian_grid(nodes: int = _NODES) -> tuple[Tensor, Tensor]:
    """Return nodes x and weights w, shape (nodes,), float64: ``sum(w f(x)) = E f(x)`` for normal x."""
    x = torch.linspace(-_HALF_WIDTH, _HALF_WIDTH, nodes, dtype=torch.float64)
    weights = torch.exp(-0.5 * x**2)
    return x, weights / weights.sum()


def hermite_polynomials(x: Tensor, degree: int) -> Tensor:
    """Evaluate ``h_0 ... h_degree`` by the normalized three-term recurrence.

    Args:
        x: points, shape (B,), float64.
        degree: highest degree, >= 0.

    Returns:
        Values, shape (degree + 1, B).
    """
    values = [torch.ones_like(x), x]
    for l in range(1, degree):  # noqa: E741 - the degree is called l in the paper
        values.append((x * values[l] - l**0.5 * values[l - 1]) / (l + 1) ** 0.5)
    return torch.stack(values[: degree + 1])


def hermite_coefficients(function: Callable[[Tensor], Tensor], degree: int) -> Tensor:
    """Compute ``mu_l = E[function(x) h_l(x)]`` for l = 0 ... degree.

    Args:
        function: elementwise function of a float64 tensor; it may overwrite its argument.
        degree: highest degree, >= 0; beyond about 90 the grid no longer holds the polynomial's tails.

    Returns:
        Coefficients, shape (degree + 1,), float64.
    """
    x, weights = gaussian_grid()
    return hermite_polynomials(x, degree) @ (weights * function(x.clone()))


def second_moment(function: Callable[[Tensor], Tensor]) -> float:
    """Return ``E[function(x)^2]`` = the sum of all squared Hermite coefficients."""
    x, weights = gaussian_grid()
    return (weights @ function(x.clone()) ** 2).item()
