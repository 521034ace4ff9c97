"""Noisy curves: the published draw, networks that stop by their loss, kinds of memorization."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from memorization.draws import generator
from memorization.models.layers import build, initialize
from memorization.studies.pitfalls_of_memorization.noisy_curves import (
    Fitted,
    core_function,
    describe,
    fit_curves,
    noisy_curve,
)

FEW = {"width": 8, "tolerance": 1e-9, "most_steps": 30}


def test_the_true_function_has_the_variance_and_variation_of_the_specification():
    y = core_function(torch.linspace(-1.5, 1.5, 1000).double())
    assert y.var(correction=0).item() == pytest.approx(0.0538, abs=1e-4)
    assert y.diff().abs().sum().item() == pytest.approx(1.546, abs=1e-3)


def test_the_published_draw_is_noise_then_targets_then_weights():
    curve = noisy_curve(123, published=True)
    torch.manual_seed(123)
    places = [int(place) for place in np.floor(np.linspace(0, 999, 20))]
    assert curve.places.tolist() == places
    assert torch.equal(curve.noise, torch.randn(20, 30))
    x = np.linspace(-1.5, 1.5, 1000)[places]
    expected = np.tanh(x) + 0.5 * np.tanh(-5 * x) + 0.08 * torch.randn(20).numpy()
    assert curve.targets.numpy() == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(torch.rand(3), torch.rand(3, generator=curve.source))


def test_inputs_are_the_argument_beside_its_noise():
    curve = noisy_curve(0)
    inputs = curve.inputs(0.01)
    assert inputs.shape == (20, 31)
    assert torch.equal(inputs[:, 0], curve.sweep[curve.places])
    assert torch.equal(inputs[:, 1:], 0.01 * curve.noise)
    assert not curve.inputs(0.0)[:, 1:].any()
    assert not torch.equal(noisy_curve(1).targets, curve.targets)


def test_a_fit_is_full_batch_adam_on_the_squared_error():
    curve = noisy_curve(4)

    def make():
        return nn.Sequential(nn.Linear(31, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1))

    network = initialize(build(make, torch.Generator()), noisy_curve(4).source)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(30):
        loss = F.mse_loss(network(curve.inputs(0.1))[:, 0], curve.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    found = fit_curves([noisy_curve(4)], [0.1], **FEW)[0]
    with torch.no_grad():
        plain = network(torch.cat([curve.sweep[:, None], torch.zeros(1000, 30)], 1))[:, 0]
        at_points = network(curve.inputs(0.1))[:, 0]
    torch.testing.assert_close(found.curve, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.at_points, at_points, rtol=1e-4, atol=1e-5)
    assert found.loss == pytest.approx(loss.item(), rel=1e-4)
    assert found.steps == 30


def test_curves_of_a_stack_are_those_fitted_one_by_one():
    seeds, sigmas = [0, 0, 1], [0.0, 1.0, 0.01]
    together = fit_curves([noisy_curve(seed) for seed in seeds], sigmas, **FEW)
    for one, seed, sigma in zip(together, seeds, sigmas, strict=True):
        alone = fit_curves([noisy_curve(seed)], [sigma], **FEW)[0]
        torch.testing.assert_close(one.curve, alone.curve, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.at_points, alone.at_points, rtol=1e-4, atol=1e-5)
        assert one.steps == alone.steps == 30


def test_a_network_stops_by_its_loss_and_the_others_go_on():
    sigmas, limits = [1.0, 0.0], {"width": 16, "tolerance": 0.01, "most_steps": 150}
    noisy, plain = fit_curves([noisy_curve(0) for _ in sigmas], sigmas, **limits)
    assert noisy.steps < plain.steps == 150  # noise is an easy way to fit labels
    assert noisy.loss <= 0.01 < plain.loss
    alone = fit_curves([noisy_curve(0)], [1.0], **limits)[0]
    assert (noisy.steps, noisy.loss) == (alone.steps, pytest.approx(alone.loss, rel=1e-3))
    torch.testing.assert_close(noisy.curve, alone.curve, rtol=1e-3, atol=1e-4)
    last = fit_curves([noisy_curve(0)], [0.0], **limits)[0]
    torch.testing.assert_close(plain.curve, last.curve, rtol=1e-3, atol=1e-4)


# ---- what kind of memorization


def test_a_straight_line_is_described_as_one():
    curve = noisy_curve(0)
    y = 2 * curve.sweep + 1
    found = describe(Fitted(y, y[curve.places], 7, 0.25), curve)
    x = np.linspace(-1.5, 1.5, 1000)
    true = np.tanh(x) + 0.5 * np.tanh(-5 * x)
    assert found["straightness"] == pytest.approx(1)
    assert found["variation"] == pytest.approx(6 / np.abs(np.diff(true)).sum(), rel=1e-5)
    assert found["mse"] == pytest.approx(((2 * x + 1 - true) ** 2).mean(), rel=1e-5)
    at_points = 2 * x[curve.places] + 1
    assert found["label_mse"] == pytest.approx(((at_points - curve.targets.numpy()) ** 2).mean(), rel=1e-5)
    assert found["spike"] == 0
    assert (found["steps"], found["loss"]) == (7, 0.25)


def test_the_true_function_is_described_as_in_the_specification():
    curve = noisy_curve(0)
    y = core_function(curve.sweep)
    found = describe(Fitted(y, curve.targets, 1, 0.0), curve)
    assert found["mse"] == pytest.approx(0, abs=1e-12)
    assert found["variation"] == pytest.approx(1, rel=1e-5)
    assert found["straightness"] == pytest.approx(0.730, abs=1e-3)
    noise = curve.targets - y[curve.places]
    assert found["label_mse"] == pytest.approx(noise.square().mean().item(), rel=1e-4)
    assert found["spike"] == pytest.approx(noise.abs().mean().item(), rel=1e-4)
    assert found["label_mse"] == pytest.approx(0.08**2, rel=0.7)  # twenty draws of the noise


def test_straightness_does_not_depend_on_the_scale_and_variation_does():
    curve = noisy_curve(0)
    y = 3 * core_function(curve.sweep) - 1
    found = describe(Fitted(y, curve.targets, 1, 0.0), curve)
    assert found["straightness"] == pytest.approx(0.730, abs=1e-3)
    assert found["variation"] == pytest.approx(3, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sigmas": [-0.1]}, "sigma=-0.1; allowed: a number >= 0"),
        ({"sigmas": [float("nan")]}, "sigma=nan; allowed: a finite number"),
        ({"width": 0}, "width=0; allowed: a whole number, 1 or more"),
        ({"tolerance": 0.0}, "stop_below=0.0"),
        ({"most_steps": 0}, "epochs=0: no optimizer step would be taken"),
    ],
)
def test_fits_of_nothing_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        fit_curves([noisy_curve(0)], **{"sigmas": [0.1], **FEW} | change)


def test_a_seed_is_a_whole_number():
    with pytest.raises(ValueError, match="seed must be a whole number >= 0"):
        noisy_curve(-1)
    assert torch.equal(noisy_curve(3).targets, noisy_curve(3).targets)
    assert generator(3, "noisy curve").initial_seed() == noisy_curve(3).source.initial_seed()
