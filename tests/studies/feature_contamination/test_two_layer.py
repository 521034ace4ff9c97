"""Stacked two-layer networks: each is a plain network, drawn by its law."""

import math

import pytest
import torch
from torch import nn

from memorization.draws import generator
from memorization.studies.feature_contamination.data import dictionary
from memorization.studies.feature_contamination.networks import (
    StackedActivation,
    in_latent,
    normal_networks,
    pytorch_networks,
    theory_networks,
)

NAMES = ("relu", "tanh", "identity")
MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "identity": nn.Identity}


def sources(*seeds):
    return [generator(seed, "weights") for seed in seeds]


def activation(names=NAMES):
    return StackedActivation(names, [0.0] * len(names))


def relus(models):
    return StackedActivation(["relu"] * models, [0.0] * models)


def three(outputs=2, dtype=torch.float64):
    return pytorch_networks(5, 4, outputs, activation(), sources(0, 1, 2), dtype=dtype)


def plain(networks, m):
    """The m-th network as PyTorch writes it."""
    first, second = (nn.Linear(w.shape[2], w.shape[1]).double() for w in (networks.first, networks.second))
    for layer, weight, bias in (
        (first, networks.first, networks.bias),
        (second, networks.second, networks.offset),
    ):
        layer.weight.data = weight[m]
        layer.bias.data = bias[m, 0]
    return nn.Sequential(first, MODULES[networks.activation.names[m]](), second)


def test_each_network_of_a_stack_is_a_plain_one():
    networks = three()
    x = torch.rand(3, 6, 4, dtype=torch.float64) - 0.5
    for m in range(3):
        torch.testing.assert_close(networks(x)[m], plain(networks, m)(x[m]), rtol=1e-12, atol=1e-14)


def test_the_pass_for_the_gradient_gives_the_same_outputs():
    networks, x = three(), torch.rand(3, 6, 4, dtype=torch.float64)
    memory = torch.full((3 * networks.first.shape[1] * 6 + 5,), torch.nan, dtype=torch.float64)
    torch.testing.assert_close(networks.outputs_and_back(x, memory)[0], networks(x), rtol=1e-14, atol=1e-15)


def test_networks_of_the_theory_have_normal_neurons_of_their_scale():
    networks = theory_networks(400, 50, relus(2), [0.5, 2.0], sources(0, 1))
    for first, scale in zip(networks.first, (0.5, 2.0), strict=True):
        count = first.numel()
        assert first.mean().item() == pytest.approx(0, abs=5 * scale / count**0.5)
        assert first.std().item() == pytest.approx(scale, rel=5 / (2 * count) ** 0.5)
        assert (first / scale).pow(4).mean().item() == pytest.approx(3, abs=5 * 96**0.5 / count**0.5)


def test_networks_of_the_theory_have_no_biases_and_output_weights_of_one_over_m():
    networks = theory_networks(6, 3, relus(1), [1.0], sources(0))
    assert set(networks.tensors()) == {"first", "second"}
    assert networks.second[0, 0].tolist() == pytest.approx([1 / 6] * 3 + [-1 / 6] * 3)


@pytest.mark.parametrize(("width", "positive"), [(1, 1), (2, 1), (5, 3)])
def test_of_an_odd_width_the_positive_half_has_one_more(width, positive):
    theory = theory_networks(width, 3, relus(1), [1.0], sources(0))
    frozen = pytorch_networks(width, 3, 1, relus(1), sources(0), frozen_output=True)
    assert (theory.second > 0).sum() == (frozen.second > 0).sum() == positive


@pytest.mark.parametrize(("part", "fan_in"), [("first", 25), ("bias", 25), ("second", 900), ("offset", 900)])
def test_default_networks_are_uniform_up_to_one_over_the_root_of_the_fan_in(part, fan_in):
    networks = pytorch_networks(900, 25, 30, relus(20), sources(*range(20)))
    values = networks.tensors()[part].flatten() * fan_in**0.5
    assert values.abs().max() <= 1
    assert values.abs().max() > 0.98
    assert values.mean().item() == pytest.approx(0, abs=5 * (1 / 3) ** 0.5 / len(values) ** 0.5)
    assert values.square().mean().item() == pytest.approx(1 / 3, abs=5 * (4 / 45) ** 0.5 / len(values) ** 0.5)


def test_frozen_outputs_keep_everything_else():
    free, frozen = (pytorch_networks(4, 3, 1, relus(1), sources(0), frozen_output=f) for f in (False, True))
    for name in ("first", "bias", "offset"):
        assert torch.equal(free.tensors()[name], frozen.tensors()[name])
    assert frozen.second[0, 0].tolist() == [0.25, 0.25, -0.25, -0.25]


def test_normal_networks_have_their_three_scales():
    networks = normal_networks(200, 30, 10, relus(10), (0.5, 2.0, 0.1), sources(*range(10)))
    for name, scale in (("first", 0.5), ("bias", 2.0), ("second", 0.1)):
        values = networks.tensors()[name]
        assert values.std().item() == pytest.approx(scale, rel=5 / (2 * values.numel()) ** 0.5)
    assert not networks.offset.any()


MAKERS = {
    "theory": lambda s, dtype: theory_networks(5, 4, relus(len(s)), [0.5] * len(s), s, dtype),
    "pytorch": lambda s, dtype: pytorch_networks(5, 4, 2, relus(len(s)), s, dtype=dtype),
    "normal": lambda s, dtype: normal_networks(5, 4, 2, relus(len(s)), (1.0, 1.0, 1.0), s, dtype),
}


@pytest.mark.parametrize("law", MAKERS)
def test_a_seed_gives_the_same_network_alone_and_among_others(law):
    alone, among = (MAKERS[law](sources(*seeds), torch.float32) for seeds in ((7,), (1, 7)))
    for name, value in alone.tensors().items():
        assert torch.equal(value[0], among.tensors()[name][1])
        if name not in ("second", "offset"):  # these may be no random numbers
            assert not torch.equal(among.tensors()[name][0], value[0])


@pytest.mark.parametrize("law", MAKERS)
def test_the_numbers_are_the_same_in_single_and_double_precision(law):
    single, double = (MAKERS[law](sources(0), dtype) for dtype in (torch.float32, torch.float64))
    for name, value in double.tensors().items():
        assert value.dtype == torch.float64
        torch.testing.assert_close(value.float(), single.tensors()[name], rtol=1e-6, atol=1e-8)


def test_networks_in_latent_coordinates_do_the_same_on_the_features():
    rows = torch.stack([dictionary(4, 9, generator(seed, "rows"), torch.float64) for seed in range(2)])
    networks = pytorch_networks(5, 9, 1, relus(2), sources(0, 1), dtype=torch.float64)
    z = torch.rand(2, 7, 4, dtype=torch.float64)
    latent = in_latent(networks, rows)
    assert latent.first.shape == (2, 5, 4)
    torch.testing.assert_close(latent(z), networks(z @ rows), rtol=1e-12, atol=1e-14)
    shared = in_latent(networks, rows[0])
    torch.testing.assert_close(shared(z), networks(z @ rows[0]), rtol=1e-12, atol=1e-14)


def test_other_weights_make_other_networks_and_leave_these():
    networks = three()
    other = networks.with_tensors(first=networks.first + 1)
    assert torch.equal(other.first, networks.first + 1)
    assert other.second is networks.second
    assert (other.size, other.activation) == (3, networks.activation)


@pytest.mark.parametrize("width", [0, -1, 1.5, "8"])
def test_a_width_that_is_none_is_refused(width):
    message = rf"width={width!r}; allowed: a whole number, 1 or more"
    with pytest.raises(ValueError, match=message):
        theory_networks(width, 4, relus(1), [1.0], sources(0))
    with pytest.raises(ValueError, match=message):
        pytorch_networks(width, 4, 1, relus(1), sources(0))
    with pytest.raises(ValueError, match=message):
        normal_networks(width, 4, 1, relus(1), (math.pi, 1.0, 1.0), sources(0))


def test_activations_for_another_number_of_networks_are_refused():
    with pytest.raises(
        ValueError, match="activations for 2 networks, weights for 3; give one activation each"
    ):
        theory_networks(4, 5, relus(2), [1.0] * 3, sources(0, 1, 2))


def test_every_network_of_the_theory_needs_a_scale_and_a_generator():
    with pytest.raises(ValueError, match="2 scales and 1 generators; give one of each a network"):
        theory_networks(4, 5, relus(2), [1.0, 1.0], sources(0))
