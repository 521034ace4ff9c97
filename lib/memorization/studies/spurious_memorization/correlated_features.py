"""A spurious feature that is correlated with the core in the population: what ridge regression makes of it.

Bombari & Mondelli, "Spurious Correlations in High Dimensional Regression" (ICML 2025): the label is a linear
function of the core, ``g = x . theta + noise``, and the spurious part y is correlated with x; given x it
says nothing of g. What a model f has learned of y is ``C = Cov(f([x', y]), g)`` on new data, with a core x'
that is independent of x: zero for a model that looks at the core alone. There the correlation is in the
population; on the rest of the page it exists in the training sample alone.

The forms here were derived by us. With the covariance of [x, y] in blocks, ``(Sigma + k)^{-1} Sigma theta``
is what ridge regression with penalty k finds in the population; its spurious half is ``k S^{-1} Sigma_yx
(Sigma_xx + k)^{-1} theta`` with the Schur complement ``S = Sigma_yy + k - Sigma_yx (Sigma_xx + k)^{-1}
Sigma_xy``, hence :func:`spurious_correlation`. From N examples ridge regression finds, up to fluctuations
that vanish as N and d grow, the same with the larger penalty of :func:`effective_penalty`, which solves
``k = ridge + k tr(Sigma (Sigma + k)^{-1}) / N``. Random features add a penalty of their own: the curved part
s of their kernel acts as a ridge of ``d s / (a_1 N)`` on the linear part a_1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from memorization.checks import check_finite, check_whole
from memorization.draws import generator, normal_rows
from memorization.measures.stability import covariance
from memorization.models.kernels import GramBlocks, infinite_width_kernel
from memorization.models.regression import fit
from memorization.runs.sweep import experiment
from memorization.studies.spurious_memorization.experiments import Row
from memorization.studies.spurious_memorization.theory import kernel_profile

_STEPS = 200  # bisections; far below the last bit of a double


def paired_covariance(d: int, correlation: float, variance: float = 1.0) -> Tensor:
    """Return the covariance of [x, y], (d, d): core coordinate j has a partner among the spurious ones.

    Args:
        d: number of coordinates, even; half of them are core, with variance 1.
        correlation: of a core coordinate with its partner, in (-1, 1).
        variance: of a spurious coordinate, > 0.

    Raises:
        ValueError: for numbers out of range.
    """
    check_whole("d", d, 2)
    for name, value in (("correlation", correlation), ("variance", variance)):
        check_finite(name, value)
    if d % 2 or not -1 < correlation < 1 or variance <= 0:
        raise ValueError(
            f"d={d}, correlation={correlation}, variance={variance}; allowed: an even d, a correlation "
            "between -1 and 1, a variance above 0"
        )
    one = torch.eye(d // 2, dtype=torch.float64)
    shared = correlation * math.sqrt(variance) * one
    return torch.cat([torch.cat([one, shared], dim=1), torch.cat([shared, variance * one], dim=1)])


def effective_penalty(sigma: Tensor, n: int, ridge: float) -> float:
    """Return the penalty k with which the population looks as N examples look with a ridge.

    The root of ``k = ridge + k tr(Sigma (Sigma + k)^{-1}) / N``; above the ridge, and 0 for ridge 0 and N at
    least the number of coordinates.

    Args:
        sigma: covariance, shape (d, d), positive definite.
        n: number N of examples, >= 1.
        ridge: penalty of the mean squared error over N examples, >= 0.
    """
    check_whole("n", n, 1)
    check_finite("ridge", ridge)
    if ridge < 0:
        raise ValueError(f"ridge={ridge}; allowed: a number >= 0")
    if ridge == 0 and n >= len(sigma):
        return 0.0
    values = torch.linalg.eigvalsh(sigma)
    low, high = math.log(1e-300), math.log(ridge + float(values.sum()) / n)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        k = math.exp(middle)
        unexplained = n - float((values / (values + k)).sum()) - n * ridge / k  # grows with k
        low, high = (low, middle) if unexplained > 0 else (middle, high)
    return math.exp(high)


def spurious_correlation(sigma: Tensor, theta: Tensor, penalty: float) -> float:
    """Return C of ridge regression in the population, Cov(f([x', y]), g).

    ``C = k theta' Sigma_xy S^{-1} Sigma_yx (Sigma_xx + k)^{-1} theta`` with the Schur complement S of the
    penalized covariance. It is 0 at k = 0 (the label needs y for nothing) and at k without end.

    Args:
        sigma: covariance of [x, y], shape (d, d).
        theta: the label's weights, shape (d_x,).
        penalty: k >= 0.
    """
    size, eye = len(theta), torch.eye(len(sigma), dtype=sigma.dtype)
    penalized = sigma + penalty * eye
    xx, xy, yy = penalized[:size, :size], sigma[:size, size:], penalized[size:, size:]
    schur = yy - xy.T @ torch.linalg.solve(xx, xy)
    core = torch.linalg.solve(xx, theta)
    return penalty * float((xy.T @ theta) @ torch.linalg.solve(schur, xy.T @ core))


def ridge_error(sigma: Tensor, theta: Tensor, n: int, penalty: float, noise: float) -> float:
    """Return the test error of ridge regression from N examples, E (f(z) - g)^2.

    ``(k^2 theta' (Sigma + k)^{-1} Sigma (Sigma + k)^{-1} theta + noise^2) / (1 - tr(Sigma^2 (Sigma + k)^{-2})
    / N)`` with the weights continued by 0 over y.

    Args:
        sigma: covariance of [x, y], shape (d, d).
        theta: the label's weights, shape (d_x,).
        n: number N of examples.
        penalty: the effective one.
        noise: standard deviation of the label's noise.
    """
    whole = torch.cat([theta, theta.new_zeros(len(sigma) - len(theta))])
    resolvent = torch.linalg.inv(sigma + penalty * torch.eye(len(sigma), dtype=sigma.dtype))
    left = resolvent @ whole
    shrunk = sigma @ resolvent
    degrees = float((shrunk * shrunk.T).sum()) / n
    return (penalty**2 * float(left @ sigma @ left) + noise**2) / (1 - degrees)


@experiment("correlated_ridge")
def correlated_ridge(
    *,
    activation: str,
    n: int,
    d: int,
    ridges: Sequence[float],
    correlation: float = 0.5,
    variance: float = 1.0,
    noise: float = 0.5,
    n_test: int = 4000,
    seed: int,
) -> list[Row]:
    """Measure what a model learns of a spurious feature that is correlated with the core.

    Args:
        activation: of random features at infinite width; ``identity`` is ridge regression on the inputs.
        n: number N of training examples.
        d: number of coordinates, even.
        ridges: penalties of the mean squared error, in the units of ridge regression on the inputs, >= 0.
        correlation: of a core coordinate with its spurious partner, in (-1, 1).
        variance: of a spurious coordinate; random features need 1, so that the inputs have norm sqrt(d).
        noise: standard deviation of the label's noise; the label without it has variance 1.
        n_test: new examples on which C and the test error are measured.
        seed: whole number >= 0.

    Returns:
        One row per ridge: ``ridge``; ``penalty``, the ridge with what the activation adds to it;
        ``spurious_covariance`` C; ``test_mse``; ``theory_spurious_covariance`` and ``theory_test_mse``.

    Raises:
        ValueError: for arguments out of range, or ridge 0 where the kernel is singular.
    """
    check_whole("n", n, 1)
    check_whole("n_test", n_test, 1)
    check_finite("noise", noise)
    sigma, profile = paired_covariance(d, correlation, variance), kernel_profile("rf", activation)
    if variance != 1 and activation != "identity":
        raise ValueError(f"variance={variance} with {activation!r}; allowed: 1, except for 'identity'")
    if profile.linear == 0:
        raise ValueError(f"{activation!r} has no linear part, so its penalty has no end; choose another")
    theta = normal_rows(1, d // 2, generator(seed, "correlated", "direction"), torch.float64)[0]
    theta = theta / theta.norm()
    train, g = _draw(sigma, theta, noise, n, seed, "train")
    test, g_test = _draw(sigma, theta, noise, n_test, seed, "test")
    cores, _ = _draw(sigma, theta, noise, n_test, seed, "other cores")
    queries = torch.cat([cores[:, : d // 2], test[:, d // 2 :]], dim=1)
    # What y says of g. The rest of g is independent of the query and would add noise alone.
    said = correlation / math.sqrt(variance) * test[:, d // 2 :] @ theta
    kernel, at_queries, at_test = (
        infinite_width_kernel(inputs, train, feature_map="rf", activation_name=activation)
        for inputs in (train, queries, test)
    )
    blocks = GramBlocks(kernel, at_queries, at_test, d if activation == "identity" else None)
    rows: list[Row] = []
    for ridge in ridges:
        solution = fit(blocks, g, ridge=ridge * profile.linear * n / d).at()
        penalty = ridge + profile.curved * d / (profile.linear * n)
        effective = effective_penalty(sigma, n, penalty)
        rows.append(
            {
                "ridge": ridge,
                "penalty": penalty,
                "spurious_covariance": float(covariance(solution.predict(at_queries), said)),
                "test_mse": float((solution.test_predictions - g_test).square().mean()),
                "theory_spurious_covariance": spurious_correlation(sigma, theta, effective),
                "theory_test_mse": ridge_error(sigma, theta, n, effective, noise),
            }
        )
    return rows


def _draw(
    sigma: Tensor, theta: Tensor, noise: float, rows: int, seed: int, what: str
) -> tuple[Tensor, Tensor]:
    """Draw inputs [x, y] and their labels."""
    root = torch.linalg.cholesky(sigma)
    inputs = normal_rows(rows, len(sigma), generator(seed, "correlated", what), torch.float64) @ root.T
    error = normal_rows(rows, 1, generator(seed, "correlated", what, "noise"), torch.float64)[:, 0]
    return inputs, inputs[:, : len(theta)] @ theta + noise * error
