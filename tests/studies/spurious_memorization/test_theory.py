import math

import pytest

from memorization.studies.spurious_memorization.theory import (
    alignment,
    alignment_lower_bound,
    kernel_profile,
    predict_curve,
    predict_synthetic,
    unexplained_fraction,
)

# Lower bound, N >> d, N << d, then gamma at psi = 0.1, 0.5, 1, 2, 4 (no constant part).
TABLE = {
    ("rf", "phi2", 0.25): (0.03125, 0.06250, 0.15625, 0.1539, 0.1447, 0.1341, 0.1174, 0.0983),
    ("ntk", "phi2", 0.25): (None, 0.06250, 0.15625, 0.1539, 0.1447, 0.1341, 0.1174, 0.0983),
    ("rf", "phi2", 0.50): (0.12500, 0.25000, 0.37500, 0.3719, 0.3596, 0.3455, 0.3232, 0.2977),
    ("ntk", "phi2", 0.50): (None, 0.25000, 0.37500, 0.3719, 0.3596, 0.3455, 0.3232, 0.2977),
    ("rf", "phi2", 0.75): (0.28125, 0.56250, 0.65625, 0.6539, 0.6447, 0.6341, 0.6174, 0.5983),
    ("ntk", "phi2", 0.75): (None, 0.56250, 0.65625, 0.6539, 0.6447, 0.6341, 0.6174, 0.5983),
    ("rf", "phi4", 0.25): (0.00195, 0.00391, 0.12695, 0.1239, 0.1118, 0.0979, 0.0760, 0.0509),
    ("ntk", "phi4", 0.25): (None, 0.00391, 0.12695, 0.1239, 0.1118, 0.0979, 0.0760, 0.0509),
    ("rf", "phi4", 0.50): (0.03125, 0.06250, 0.28125, 0.2758, 0.2543, 0.2296, 0.1906, 0.1461),
    ("ntk", "phi4", 0.50): (None, 0.06250, 0.28125, 0.2758, 0.2543, 0.2296, 0.1906, 0.1461),
    ("rf", "phi4", 0.75): (0.15820, 0.31641, 0.53320, 0.5278, 0.5065, 0.4820, 0.4434, 0.3992),
    ("ntk", "phi4", 0.75): (None, 0.31641, 0.53320, 0.5278, 0.5065, 0.4820, 0.4434, 0.3992),
    ("rf", "relu", 0.25): (0.01467, 0.05504, 0.19804, 0.1951, 0.1818, 0.1627, 0.1303, 0.0987),
    ("rf", "relu", 0.50): (0.05969, 0.22394, 0.42642, 0.4223, 0.4034, 0.3764, 0.3305, 0.2857),
    ("rf", "relu", 0.75): (0.13891, 0.52117, 0.68901, 0.6856, 0.6699, 0.6475, 0.6095, 0.5724),
    ("ntk", "relu", 0.25): (None, 0.04022, 0.14511, 0.1425, 0.1322, 0.1203, 0.1017, 0.0803),
    ("ntk", "relu", 0.50): (None, 0.16667, 0.33333, 0.3292, 0.3128, 0.2940, 0.2643, 0.2303),
    ("ntk", "relu", 0.75): (None, 0.40492, 0.57746, 0.5731, 0.5562, 0.5367, 0.5060, 0.4708),
    ("rf", "tanh", 0.50): (0.00732, 0.10523, 0.47255, 0.4700, 0.4534, 0.4058, 0.2897, 0.2015),
    ("ntk", "tanh", 0.50): (None, 0.09161, 0.41424, 0.4086, 0.3809, 0.3368, 0.2584, 0.1856),
}
PSIS = (0.1, 0.5, 1, 2, 4)

# Test accuracy, then spurious accuracy per activation and alpha, at d = 1000.
SIZES = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000)
TEST = (0.525, 0.536, 0.557, 0.580, 0.613, 0.676, 0.741, 0.812, 0.886)
SPURIOUS = {
    ("phi2", 0.50): (1.000, 1.000, 1.000, 0.995, 0.962, 0.844, 0.733, 0.644, 0.582),
    ("phi4", 0.50): (1.000, 1.000, 0.997, 0.971, 0.899, 0.760, 0.659, 0.586, 0.538),
    ("phi2", 0.25): (0.999, 0.988, 0.921, 0.836, 0.748, 0.649, 0.592, 0.552, 0.526),
    ("phi4", 0.25): (0.995, 0.966, 0.872, 0.784, 0.702, 0.616, 0.567, 0.534, 0.512),
}
FEW, MANY = 1e-9, 1e9  # N/d far below and above 1
FOUR, FIVE, THREE = 0.51e-4, 0.51e-5, 0.6e-3


@pytest.mark.filterwarnings("ignore:rf relu has a constant part")
@pytest.mark.parametrize("key", TABLE, ids=str)
def test_alignment_reproduces_the_reference_table(key):
    feature_map, name, alpha = key
    profile = kernel_profile(feature_map, name)
    bound, many, few, *gammas = TABLE[key]
    if bound is not None:
        assert alignment_lower_bound(profile, alpha) == pytest.approx(bound, abs=FIVE)
    for psi, gamma in ((MANY, many), (FEW, few)):
        assert alignment(profile, alpha, psi) == pytest.approx(gamma, abs=FIVE)
    for psi, gamma in zip(PSIS, gammas, strict=True):
        assert alignment(profile, alpha, psi) == pytest.approx(gamma, abs=FOUR)


@pytest.mark.parametrize("feature_map", ["rf", "ntk"])
@pytest.mark.parametrize("key", SPURIOUS, ids=str)
def test_accuracies_reproduce_the_reference_panel(key, feature_map):
    name, alpha = key
    profile = kernel_profile(feature_map, name)
    for n, test, spurious in zip(SIZES, TEST, SPURIOUS[key], strict=True):
        found = predict_synthetic(profile, alpha, n / 1000, n=n)
        assert found.test_accuracy == pytest.approx(test, abs=THREE)
        assert found.spurious_accuracy == pytest.approx(spurious, abs=THREE)


@pytest.mark.parametrize(("ridge", "gamma"), [(0, 0.3455), (0.1, 0.3270), (1, 0.2255)])
def test_a_ridge_lowers_the_alignment_as_stated(ridge, gamma):
    assert alignment(kernel_profile("rf", "phi2"), 0.5, 1, ridge=ridge) == pytest.approx(gamma, abs=FOUR)


def test_the_covariance_at_the_papers_largest_point_is_as_stated():
    found = predict_synthetic(kernel_profile("rf", "phi2"), 0.5, 1)
    assert found.covariance == pytest.approx(0.261, abs=THREE)
    assert found.covariance == pytest.approx(found.gamma * found.stability_covariance)


def test_tangent_relu_with_many_examples_has_the_arcsine_form():
    for alpha in (0.2, 0.5, 0.9):
        found = alignment(kernel_profile("ntk", "relu"), alpha, MANY)
        assert found == pytest.approx(2 * alpha / math.pi * math.asin(alpha))


@pytest.mark.parametrize(("psi", "r"), [(0.01, 1.0), (1, 1.0), (30, 0.5), (1e4, 1.0), (1, 0.0), (0.5, 0.0)])
def test_the_unexplained_fraction_solves_its_equation(psi, r):
    m = unexplained_fraction(psi, r)
    assert 0 <= m <= 1
    assert m * m + (r + psi - 1) * m - r == pytest.approx(0, abs=1e-12)


def test_one_example_has_the_ratio_of_the_kernels():
    profile = kernel_profile("rf", "relu")
    assert alignment(profile, 0.5, 0.01, n=1) == pytest.approx(profile.kappa(0.5) / profile.kappa(1))


def test_a_constant_part_raises_the_alignment_at_few_examples():
    profile = kernel_profile("rf", "relu")
    few, many = (alignment(profile, 0.5, 0.5, n=n) for n in (5, 5000))
    with pytest.warns(UserWarning, match="rf relu has a constant part, which raises the alignment"):
        without = alignment(profile, 0.5, 0.5)
    assert few > without + 0.02
    assert many == pytest.approx(without, abs=1e-3)


def test_an_affine_activation_has_alignment_alpha_below_d_examples():
    assert alignment(kernel_profile("rf", "identity"), 0.3, 0.5) == pytest.approx(0.3)


def test_an_affine_activation_is_refused_from_d_examples_on():
    with pytest.raises(ValueError, match=r"undefined for N >= d with the affine activation rf identity"):
        alignment(kernel_profile("rf", "identity"), 0.3, 1)


def test_an_affine_activation_with_a_ridge_is_defined_at_any_size():
    assert 0 < alignment(kernel_profile("rf", "identity"), 0.3, 2, ridge=0.5) < 0.3


def test_many_examples_against_d_squared_warn():
    with pytest.warns(UserWarning, match=r"N=100 is not small against d\^2 \(d=20\)"):
        alignment(kernel_profile("rf", "phi2"), 0.5, 5, n=100)


@pytest.mark.parametrize("alpha", [0, 1, -0.2, 1.3])
def test_alpha_outside_its_range_is_refused(alpha):
    with pytest.raises(ValueError, match="alpha must lie strictly between 0 and 1; got"):
        alignment(kernel_profile("rf", "phi2"), alpha, 1)


def test_an_even_activation_learns_nothing():
    found = predict_synthetic(kernel_profile("rf", "h2"), 0.5, 0.5)
    assert (found.test_accuracy, found.spurious_accuracy) == (0.5, 1.0)
    assert found.gamma == pytest.approx(0.25)


def test_the_affine_limit_continues_the_general_formula():
    near = predict_synthetic(kernel_profile("rf", "identity"), 0.5, 0.5, ridge=1e-7)
    exact = predict_synthetic(kernel_profile("rf", "identity"), 0.5, 0.5)
    assert exact.test_mse == pytest.approx(near.test_mse, abs=1e-5)
    assert exact.test_accuracy == pytest.approx(near.test_accuracy, abs=1e-5)


@pytest.mark.parametrize("name", ["phi2", "phi4", "tanh", "gelu", "erf", "softplus", "sine"])
@pytest.mark.parametrize("feature_map", ["rf", "ntk"])
@pytest.mark.filterwarnings("ignore:.*has a constant part")
def test_the_bounds_order_the_alignment_for_every_activation(feature_map, name):
    profile = kernel_profile(feature_map, name)
    for alpha in (0.2, 0.5, 0.8):
        gammas = [alignment(profile, alpha, psi) for psi in (0.01, 0.5, 2, 50)]
        assert gammas == sorted(gammas, reverse=True)
        assert alignment_lower_bound(profile, alpha) < alignment(profile, alpha, MANY) < gammas[-1]
        assert gammas[0] < alignment(profile, alpha, FEW) < alpha


def test_theory_is_blank_where_it_is_undefined():
    rows = predict_curve(feature_map="rf", activation="identity", alpha=0.5, d=20, sizes=[10, 20])
    assert rows[0]["gamma"] == pytest.approx(0.5)
    assert math.isnan(rows[1]["gamma"])


def test_theory_uses_the_fraction_that_the_data_have():
    odd, even = (
        predict_curve(feature_map="rf", activation="phi2", alpha=alpha, d=9, sizes=[3])[0]["gamma"]
        for alpha in (0.5, 4 / 9)
    )
    assert odd == even


def test_the_lower_bound_is_stated_for_random_features_only():
    rf, ntk = (
        predict_curve(feature_map=name, activation="phi2", alpha=0.5, d=9, sizes=[3])[0]["gamma_floor"]
        for name in ("rf", "ntk")
    )
    assert rf < predict_curve(feature_map="rf", activation="phi2", alpha=0.5, d=9, sizes=[3])[0]["gamma"]
    assert math.isnan(ntk)
