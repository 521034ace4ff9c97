"""A correlated spurious feature: the closed form against fitted weights, its ends, its Schur complement."""

import math

import pytest
import torch

from memorization.studies.spurious_memorization.correlated_features import (
    correlated_ridge,
    effective_penalty,
    paired_covariance,
    ridge_error,
    spurious_correlation,
)


def direction(d, seed=0):
    theta = torch.randn(d // 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return theta / theta.norm()


def general_covariance(d):
    root = torch.randn(d, 2 * d, dtype=torch.float64, generator=torch.Generator().manual_seed(7))
    return root @ root.T / (2 * d)


@pytest.mark.parametrize("penalty", [0.0, 0.1, 3.0])
def test_the_closed_form_is_that_of_the_populations_ridge_weights(penalty):
    sigma, theta = general_covariance(20), direction(20)
    whole = torch.cat([theta, torch.zeros(10, dtype=torch.float64)])
    weights = torch.linalg.solve(sigma + penalty * torch.eye(20, dtype=torch.float64), sigma @ whole)
    expected = weights[10:] @ sigma[10:, :10] @ theta
    assert spurious_correlation(sigma, theta, penalty) == pytest.approx(float(expected), abs=1e-12)


def test_pairs_of_coordinates_have_a_form_by_hand():
    found = spurious_correlation(paired_covariance(20, 0.6), direction(20), 0.5)
    assert found == pytest.approx(0.5 * 0.36 / (1.5**2 - 0.36))


def test_nothing_is_learned_without_a_penalty_nor_without_a_correlation():
    theta = direction(20)
    assert spurious_correlation(paired_covariance(20, 0.6), theta, 0.0) == 0
    assert spurious_correlation(paired_covariance(20, 0.0), theta, 1.0) == 0


@pytest.mark.parametrize(("n", "ridge"), [(10, 0.0), (10, 0.3), (60, 0.3), (1000, 0.01)])
def test_the_effective_penalty_solves_its_equation(n, ridge):
    sigma = paired_covariance(40, 0.5, 4.0)
    k = effective_penalty(sigma, n, ridge)
    values = torch.linalg.eigvalsh(sigma)
    assert k > ridge
    assert k == pytest.approx(ridge + k * float((values / (values + k)).sum()) / n, rel=1e-9)


def test_enough_examples_without_a_ridge_have_no_penalty():
    assert effective_penalty(paired_covariance(40, 0.5), 40, 0.0) == 0
    assert effective_penalty(paired_covariance(40, 0.5), 39, 0.0) > 0


def test_without_a_ridge_the_error_is_that_of_least_squares():
    sigma, theta = paired_covariance(40, 0.5), direction(40)
    assert ridge_error(sigma, theta, 80, 0.0, 0.5) == pytest.approx(0.25 / (1 - 40 / 80))


@pytest.mark.parametrize("n", [80, 320])
def test_fitted_weights_follow_the_closed_forms(n):
    sigma, lam, found, error = paired_covariance(160, 0.8), 0.3, [], []
    for seed in range(20):
        source, theta = torch.Generator().manual_seed(seed), direction(160, 100 + seed)
        z = torch.randn(n, 160, dtype=torch.float64, generator=source) @ torch.linalg.cholesky(sigma).T
        g = z[:, :80] @ theta + 0.5 * torch.randn(n, dtype=torch.float64, generator=source)
        weights = torch.linalg.solve(z.T @ z / n + lam * torch.eye(160, dtype=torch.float64), z.T @ g / n)
        found.append(float(weights[80:] @ sigma[80:, :80] @ theta))
        wrong = weights - torch.cat([theta, torch.zeros(80, dtype=torch.float64)])
        error.append(float(wrong @ sigma @ wrong) + 0.25)
    k = effective_penalty(sigma, n, lam)
    assert sum(found) / 20 == pytest.approx(spurious_correlation(sigma, theta, k), abs=0.015)
    assert sum(error) / 20 == pytest.approx(ridge_error(sigma, theta, n, k, 0.5), rel=0.04)


def measured(**changes):
    base = {"activation": "identity", "n": 120, "d": 60, "ridges": [0.1, 1.0], "correlation": 0.8, "seed": 0}
    return correlated_ridge(**(base | changes))


@pytest.mark.parametrize("activation", ["identity", "erf", "relu", "phi2"])
def test_kernels_follow_the_closed_form_with_a_penalty_of_their_own(activation):
    rows = [measured(activation=activation, seed=seed, ridges=[0.2])[0] for seed in range(12)]
    means = {name: sum(row[name] for row in rows) / 12 for name in rows[0]}
    assert means["spurious_covariance"] == pytest.approx(means["theory_spurious_covariance"], abs=0.03)
    assert means["test_mse"] == pytest.approx(means["theory_test_mse"], rel=0.08)
    assert (means["penalty"] > 0.2) == (activation != "identity")


def test_a_row_per_ridge_the_same_for_a_seed():
    assert [row["ridge"] for row in measured()] == [0.1, 1.0]
    assert measured() == measured() != measured(seed=1)
    assert all(math.isfinite(value) for row in measured() for value in row.values())


@pytest.mark.parametrize(
    ("senseless", "message"),
    [
        ({"d": 61}, "d=61, correlation=0.8, variance=1.0; allowed: an even d"),
        ({"correlation": 1.0}, "a correlation between -1 and 1"),
        ({"variance": 0.0}, "a variance above 0"),
        (
            {"variance": 2.0, "activation": "erf"},
            "variance=2.0 with 'erf'; allowed: 1, except for 'identity'",
        ),
        ({"activation": "h2"}, "'h2' has no linear part"),
        ({"n": 0}, "n=0; allowed: a whole number, 1 or more"),
        ({"ridges": [-0.1]}, "ridge must be a finite number >= 0"),
        ({"ridges": [0.0]}, "got N=120, p=60; increase the width or pass ridge > 0"),
        ({"n_test": 0}, "n_test=0; allowed: a whole number, 1 or more"),
    ],
)
def test_a_senseless_value_is_refused(senseless, message):
    with pytest.raises(ValueError, match=message):
        measured(**senseless)
