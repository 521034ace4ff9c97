import math

import pytest
import torch

from memorization.models.activations import (
    ACTIVATIONS,
    activation,
    hermite_coefficients,
    hermite_polynomials,
    second_moment,
)

X = torch.linspace(-3, 3, 61, dtype=torch.float64)


def values(name, feature_map):
    return activation(name, feature_map).apply_(X.clone())


PLAIN = {
    ("phi2", "rf"): lambda x: x + (x**2 - 1) / math.sqrt(2),
    ("phi2", "ntk"): lambda x: 1 + x,
    ("phi4", "rf"): lambda x: x + (x**4 - 6 * x**2 + 3) / math.sqrt(24),
    ("phi4", "ntk"): lambda x: 1 + (x**3 - 3 * x) / math.sqrt(6),
    ("phi3", "rf"): lambda x: x + (x**3 - 3 * x) / math.sqrt(6),
    ("phi3", "ntk"): lambda x: 1 + (x**2 - 1) / math.sqrt(2),
    ("phi6", "rf"): lambda x: x + (x**6 - 15 * x**4 + 45 * x**2 - 15) / math.sqrt(720),
    ("phi6", "ntk"): lambda x: 1 + (x**5 - 10 * x**3 + 15 * x) / math.sqrt(120),
    ("relu", "rf"): torch.relu,
    ("relu", "ntk"): lambda x: (x > 0).double(),
    ("h2", "rf"): lambda x: (x**2 - 1) / math.sqrt(2),
    ("gelu", "rf"): lambda x: torch.nn.functional.gelu(x),
    ("softplus", "rf"): lambda x: torch.log1p(torch.exp(x)),
    ("tanh", "rf"): torch.tanh,
    ("erf", "rf"): torch.erf,
    ("sine", "rf"): torch.sin,
    ("identity", "rf"): lambda x: x,
}


@pytest.mark.parametrize("key", PLAIN, ids="-".join)
def test_each_activation_is_the_function_it_is_named_after(key):
    assert torch.allclose(values(*key), PLAIN[key](X), atol=1e-12)


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"phi2", "phi3", "phi4", "phi6", "relu"}))
def test_tangent_features_use_the_derivative(name):
    points = X.clone().requires_grad_()
    (slope,) = torch.autograd.grad(PLAIN[(name, "rf")](points).sum(), points)
    assert torch.allclose(values(name, "ntk"), slope, atol=1e-10)


def test_the_papers_tangent_polynomials_are_not_derivatives():
    slope = 1 + math.sqrt(2) * X
    assert not torch.allclose(values("phi2", "ntk"), slope)


@pytest.mark.parametrize("feature_map", ["rf", "ntk"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_keep_shape_and_type(name, feature_map):
    x = X.float()
    out = activation(name, feature_map).apply_(x)
    assert (out.shape, out.dtype) == (X.shape, torch.float32)


def test_unknown_names_list_the_choices():
    with pytest.raises(ValueError, match="unknown activation 'swish'; choose one of phi2, phi3, phi4, phi6"):
        activation("swish", "rf")
    with pytest.raises(ValueError, match="unknown feature map 'cnn'; choose one of rf, ntk"):
        activation("relu", "cnn")


def test_hermite_polynomials_are_orthonormal():
    from memorization.models.activations import gaussian_grid

    x, weights = gaussian_grid()
    values = hermite_polynomials(x, 12)
    assert torch.allclose((values * weights) @ values.T, torch.eye(13, dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize(
    ("name", "feature_map", "content"),
    [
        ("phi2", "rf", {1: 1, 2: 1}),
        ("phi2", "ntk", {0: 1, 1: 1}),
        ("phi4", "rf", {1: 1, 4: 1}),
        ("phi4", "ntk", {0: 1, 3: 1}),
        ("h2", "rf", {2: 1}),
    ],
)
def test_polynomial_activations_have_the_stated_hermite_content(name, feature_map, content):
    expected = torch.zeros(8, dtype=torch.float64)
    for degree, value in content.items():
        expected[degree] = value
    found = hermite_coefficients(activation(name, feature_map).apply_, 7)
    assert torch.allclose(found, expected, atol=1e-10)


def test_relu_coefficients_are_the_published_ones():
    found = hermite_coefficients(activation("relu", "rf").apply_, 6)
    expected = [0.398942, 0.5, 0.282095, 0.0, -0.081434, 0.0, 0.044603]
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=2e-6)


def test_tanh_coefficients_are_the_published_ones():
    tanh = activation("tanh", "rf").apply_
    found = hermite_coefficients(tanh, 5)[[1, 3, 5]]
    assert torch.allclose(found, torch.tensor([0.605706, -0.148437, 0.062548]).double(), atol=1e-6)
    assert second_moment(tanh) == pytest.approx(0.394294, abs=1e-6)


@pytest.mark.parametrize("degree", [0, 1, 2])
def test_few_coefficients_can_be_asked_for(degree):
    assert hermite_coefficients(torch.clone, degree).shape == (degree + 1,)
