"""The max-margin limit in closed form: against a numerical minimum, and an exact solver."""

import math

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.stats import norm

from memorization.studies.pitfalls_of_memorization.experiments import capacity_rule
from memorization.studies.pitfalls_of_memorization.theory import hard_margin, harmful_noise, max_margin

# what the specification writes down: core, u, noise of formula and solver
CHECKS = [
    ({"n": 200, "d": 20_000, "gamma": 5.0, "sigma": 0.5}, (0.0265, 0.3894, 0.1404), (0.0266, 0.3909, 0.1407)),
    ({"n": 200, "d": 20_000, "gamma": 2.0, "sigma": 0.5}, (0.0352, 0.1065, 0.1764), (0.0354, 0.1075, 0.1769)),
    ({"n": 400, "d": 4_000, "gamma": 5.0, "sigma": 0.3}, (0.298, 0.542, 0.444), (0.312, 0.539, 0.450)),
]


@pytest.mark.parametrize(("setting", "formula", "solver"), CHECKS)
def test_the_closed_form_is_near_the_exact_solution(setting, formula, solver):
    row = capacity_rule(**setting, minority=0.1, seed=0)[0]
    assert [row[f"limit_{name}"] for name in ("core", "spurious", "noise")] == pytest.approx(
        formula, rel=3e-3
    )
    assert [row[name] for name in ("core", "spurious", "noise")] == pytest.approx(solver, rel=0.05)
    assert row["spurious_error"] == pytest.approx(abs(row["spurious"] / row["limit_spurious"] - 1))
    assert row["spurious_error"] < 0.02
    if setting["n"] == 200:
        assert abs(row["accuracy"] - row["limit_accuracy"]) < 0.02


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("gamma", [0.5, 2.0, 8.0])
def test_the_closed_form_is_where_the_quadratic_problem_is_smallest(gamma, sigma):
    majority, minority, d = 90, 10, 300
    a, b = majority / (sigma**2 * d), minority / (sigma**2 * d)

    def value(w):
        margins = max(0, 1 - w[0] - w[1]), max(0, 1 - w[0] + w[1])
        return w[0] ** 2 + w[1] ** 2 / gamma**2 + a * margins[0] ** 2 + b * margins[1] ** 2

    best = minimize(value, [0.5, 0.3], method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-14}).x
    found = max_margin(majority=majority, minority=minority, d=d, gamma=gamma, sigma=sigma)
    assert [found.core, found.spurious] == pytest.approx(best.tolist(), abs=1e-4)
    margins = max(0, 1 - best.sum()), max(0, 1 - best[0] + best[1])
    noise = math.sqrt(a * margins[0] ** 2 + b * margins[1] ** 2)
    assert found.noise == pytest.approx(noise, abs=1e-3)
    if noise > 1e-3:
        assert found.minority == pytest.approx(norm.cdf((best[0] - best[1]) / (sigma * noise)), abs=1e-3)
        assert found.majority == pytest.approx(norm.cdf(best.sum() / (sigma * noise)), abs=1e-3)


def test_the_limit_at_the_figures_own_setting_is_far_above_what_the_figure_shows():
    limit = max_margin(majority=901, minority=99, d=1798, gamma=5.0, sigma=0.5)
    assert limit.minority == pytest.approx(0.53, abs=0.01)
    assert limit.majority > 0.95


@pytest.mark.parametrize(("majority", "minority", "gamma"), [(901, 99, 5.0), (90, 10, 20.0), (60, 40, 8.0)])
def test_noise_is_harmful_from_where_the_minority_is_at_chance(majority, minority, gamma):
    given = {"majority": majority, "minority": minority, "d": 1798, "gamma": gamma}
    edge = harmful_noise(**given)
    assert max_margin(**given, sigma=edge).minority == pytest.approx(0.5, abs=1e-6)
    assert max_margin(**given, sigma=0.98 * edge).minority > 0.5
    assert max_margin(**given, sigma=1.02 * edge).minority < 0.5


def test_a_strong_feature_harms_above_four_times_the_exceptions():
    edge = harmful_noise(majority=100_000, minority=50, d=2000, gamma=1000.0)
    assert edge**2 * 2000 == pytest.approx(4 * 50, rel=0.01)


def test_a_weak_feature_never_harms():
    assert math.isnan(harmful_noise(majority=90, minority=10, d=100, gamma=0.5))


def test_the_exact_solver_solves_what_can_be_solved_by_hand():
    weights = hard_margin(np.array([[2.0, 0.0], [0.0, -1.0]]), np.array([1.0, -1.0]))
    assert weights.tolist() == pytest.approx([0.5, 1.0], abs=1e-4)
    inside = hard_margin(np.array([[1.0, 0.0], [5.0, 1.0]]), np.array([1.0, 1.0]))  # one point is no support
    assert inside.tolist() == pytest.approx([1.0, 0.0], abs=1e-4)


def test_data_that_no_line_separates_are_refused():
    with pytest.raises(ValueError, match="not separable through the origin"):
        hard_margin(np.array([[1.0, 0.0], [2.0, 0.0]]), np.array([1.0, -1.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"majority": 0}, "majority=0; allowed: a whole number, 1 or more"),
        ({"minority": 0}, "minority=0; allowed: a whole number, 1 or more"),
        ({"d": 0}, "d=0; allowed: a whole number, 1 or more"),
        ({"gamma": 0.0}, "gamma=0.0; allowed: a number above 0"),
        ({"sigma": 0.0}, "sigma=0.0; allowed: a number above 0"),
        ({"sigma": float("inf")}, "sigma=inf; allowed: a finite number"),
    ],
)
def test_a_limit_of_nothing_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        max_margin(**{"majority": 9, "minority": 1, "d": 10, "gamma": 5.0, "sigma": 0.5} | change)
