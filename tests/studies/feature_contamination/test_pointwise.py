"""Activations of stacked networks against PyTorch's own."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from memorization.studies.feature_contamination.networks import POINTWISE, StackedActivation

SLOPE = 0.3
TORCH = {
    "relu": torch.relu,
    "leaky": lambda x: F.leaky_relu(x, SLOPE),
    "identity": lambda x: x,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}
EXACT = {"rtol": 1e-12, "atol": 1e-14}


def points(rows=1):
    line = torch.linspace(-6, 6, 121, dtype=torch.float64)  # 0 is among them
    return line.repeat(rows, 1)[..., None].clone()


def value_and_slope(name, x):
    x = x.clone().requires_grad_()
    value = TORCH[name](x)
    return value.detach(), torch.autograd.grad(value.sum(), x)[0]


def value_then_derivative(activations, x):
    value, derivative = activations.value_then_derivative(x)
    return value.clone(), derivative()  # the derivatives may lie where the values lay


def activation(*names):
    return StackedActivation(names, [SLOPE if name == "leaky" else 0.0 for name in names])


def test_every_activation_has_a_reference():
    assert set(TORCH) == set(POINTWISE)


@pytest.mark.parametrize("name", POINTWISE)
def test_values_are_those_of_pytorch(name):
    torch.testing.assert_close(activation(name).value(points()), TORCH[name](points()), **EXACT)


@pytest.mark.parametrize("name", POINTWISE)
def test_values_and_derivatives_are_those_of_autograd(name):
    for mine, expected in zip(
        value_then_derivative(activation(name), points()), value_and_slope(name, points()), strict=True
    ):
        torch.testing.assert_close(mine, expected, **EXACT)


@pytest.mark.parametrize("name", POINTWISE)
def test_values_can_be_differentiated(name):
    x = points().requires_grad_()
    (slope,) = torch.autograd.grad(activation(name).value(x).sum(), x)
    torch.testing.assert_close(slope, value_and_slope(name, points())[1], **EXACT)


@pytest.mark.parametrize(
    "names", [POINTWISE, ("tanh", "relu", "gelu", "relu", "leaky", "tanh"), ("identity", "leaky")]
)
def test_each_network_of_a_mixed_stack_has_its_own(names):
    mixed = activation(*names)
    x = points(len(names))
    values, (both, slopes) = mixed.value(x), value_then_derivative(mixed, x.clone())
    for m, name in enumerate(names):
        value, slope = value_and_slope(name, x[m])
        torch.testing.assert_close(values[m], value, **EXACT)
        torch.testing.assert_close(both[m], value, **EXACT)
        torch.testing.assert_close(slopes[m], slope, **EXACT)


def test_a_leaky_relu_goes_from_relu_to_the_identity():
    slopes = StackedActivation(["leaky", "leaky", "relu", "identity"], [0.0, 1.0, 0.0, 0.0])
    values = slopes.value(points(4))
    assert torch.equal(values[0], values[2])
    assert torch.equal(values[1], values[3])


def test_slopes_say_what_is_on_the_negative_side():
    assert activation("relu", "leaky", "identity").slopes == (0.0, SLOPE, 1.0)
    assert activation("gelu").slopes[0] != activation("gelu").slopes[0]  # NaN


def test_an_unknown_activation_is_refused():
    with pytest.raises(
        ValueError, match=r"unknown activation 'Relu'; did you mean 'relu'.*choose one of relu, leaky"
    ):
        StackedActivation(["relu", "Relu"], [0.0, 0.0])


@pytest.mark.parametrize("slope", [-0.1, 1.1, float("nan")])
def test_a_slope_outside_its_range_is_refused(slope):
    with pytest.raises(ValueError, match=rf"slope={slope} of a leaky ReLU; allowed: 0 \(ReLU\) to 1"):
        StackedActivation(["leaky"], [slope])
