"""What networks learned of core and background: numbers by hand, and formulas against sampled networks."""

import math

import pytest
import torch

from memorization.draws import generator
from memorization.studies.feature_contamination.data import StructuredFeatures, dictionary
from memorization.studies.feature_contamination.networks import StackedActivation, TwoLayerNetworks
from memorization.studies.feature_contamination.theory import (
    NeuronFeatures,
    firing,
    growth_ratio,
    predicted_growth_ratio,
    predicted_margin,
    risk_accuracy_margin,
)
from memorization.training.objectives import signed_loss

NEURONS = [[2.0, 4.0, 1.0, 3.0], [-2.0, 0.0, 2.0, 2.0], [-1.0, -3.0, 0.0, 2.0], [1.0, 1.0, -1.0, -1.0]]


def stack(first, second, slope=0.0):
    """One network of neurons (m, D) and output weights (m,)."""
    first, second = (torch.tensor(value, dtype=torch.float64) for value in (first, second))
    return TwoLayerNetworks(first[None], second[None, None], StackedActivation(["leaky"], [slope]))


def summary(first, second, core=2):
    found = NeuronFeatures.of(stack(first, second), core).summary()
    return {name: value.item() for name, value in found.items()}


def test_the_numbers_of_four_neurons():
    assert summary(NEURONS, [0.25, 0.25, -0.25, -0.25]) == pytest.approx(
        {
            "c_plus": 1.0,
            "c_minus": -0.5,
            "b_plus": 2.0,
            "b_minus": 0.0,
            "core_norm": (20**0.5 + 2 + 10**0.5 + 2**0.5) / 4,
            "background_norm": (10**0.5 + 8**0.5 + 2 + 2**0.5) / 4,
            "good": 0.5,  # the first and the third
            "good_core": 2.5,
            "good_background": 1.5,
        }
    )


def test_what_is_averaged_over_no_neuron_is_nan():
    found = summary([[-1.0, -1.0, 1.0, 1.0]], [1.0])
    assert found["good"] == 0
    assert all(math.isnan(found[name]) for name in ("good_core", "good_background", "c_minus", "b_minus"))


def test_without_background_its_numbers_are_zero():
    found = summary([[1.0, 2.0], [-1.0, -1.0]], [0.5, -0.5])
    assert (found["b_plus"], found["b_minus"], found["background_norm"], found["good"]) == (0, 0, 0, 0)


def test_sums_of_projections_are_weighted_by_the_mean():
    core, background = NeuronFeatures.of(stack(NEURONS, [1.0, 1.0, -1.0, -1.0]), 2).sums(0.25)
    assert core[0].tolist() == [1.5, -0.5, -1.0, 0.5]
    assert background[0].tolist() == [1.0, 1.0, 0.5, -0.5]


def test_ambient_neurons_are_projected_on_the_dictionary():
    rows = dictionary(4, 7, generator(0, "rows"), torch.float64)
    latent = torch.tensor(NEURONS, dtype=torch.float64)
    found = NeuronFeatures.of(stack((latent @ rows).tolist(), [1.0, 1.0, -1.0, -1.0]), 2, rows[None])
    torch.testing.assert_close(torch.cat([found.core, found.background], dim=-1)[0], latent)


def test_firing_is_counted_by_class_and_sign():
    pre = torch.tensor([[1.0, -1.0], [2.0, 3.0], [-1.0, 1.0], [0.0, 1.0]])  # a zero does not fire
    labels = torch.tensor([1.0, 1.0, 1.0, -1.0])
    found = firing(pre.T[None], labels[None], torch.tensor([[True, False]]))
    assert found["own"].item() == pytest.approx((2 / 3 + 1) / 2)
    assert found["other"].item() == pytest.approx((0 + 2 / 3) / 2)


def test_firing_on_a_class_without_examples_is_nan():
    found = firing(torch.ones(1, 1, 2), torch.ones(1, 2), torch.tensor([[True]]))
    assert (found["own"].item(), math.isnan(found["other"].item())) == (1, True)


def test_risk_accuracy_and_margin_of_five_examples():
    outputs = torch.tensor([2.0, 0.5, 0.0, -1.0, 3.0]).view(1, 5, 1)
    labels = torch.tensor([[1.0, 1.0, 1.0, 1.0, -1.0]])
    found = risk_accuracy_margin(outputs, labels, signed_loss("hinge"))
    assert found["risk"].item() == pytest.approx((0 + 0.5 + 1 + 2 + 4) / 5)
    assert found["accuracy"].item() == pytest.approx(2 / 5)  # the tie is an error
    assert found["margin"].item() == pytest.approx((2 + 0.5 + 0 - 1 - 3) / 5)


def test_risk_needs_labels_of_the_model():
    with pytest.raises(ValueError, match=r"labels must be -1 or \+1; got \[0.0, 1.0\]"):
        risk_accuracy_margin(torch.ones(1, 2, 1), torch.tensor([[0.0, 1.0]]), signed_loss("hinge"))


def test_the_growth_ratio_is_of_differences():
    before, after = {"c_plus": 1.0, "b_plus": 1.0}, {"c_plus": 3.0, "b_plus": 2.0}
    assert growth_ratio(before, after) == 0.5
    assert math.isnan(growth_ratio(before, before))


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.5, 1.0])
def test_full_asymmetry_predicts_a_ratio_that_falls_with_the_slope(slope):
    assert predicted_growth_ratio(1.0, 0.0, slope) == pytest.approx((1 - slope) / (1 + slope))


def test_the_predicted_ratio_needs_asymmetry_and_neurons_that_fire():
    assert predicted_growth_ratio(0.7, 0.7) == 0
    assert predicted_growth_ratio(0.9, 0.1) == pytest.approx(0.8)
    assert math.isnan(predicted_growth_ratio(0.0, 0.0))


@pytest.mark.parametrize("shift", [1.0, 0.5, 0.0, -1.0])
@pytest.mark.parametrize(("slope", "moved"), [(0.0, 0.0), (0.25, 0.0), (1.0, 0.0), (0.25, 0.3)])
def test_the_predicted_margin_is_that_of_a_network_with_these_correlations(slope, moved, shift):
    c, b, core, background, n = 0.3, 0.1, 16, 12, 50_000
    signs = torch.tensor([1.0, 1.0, -1.0, -1.0])
    first = torch.cat([c * signs[:, None].expand(-1, core), torch.full((4, background), b)], dim=1)
    network = stack(first.tolist(), (signs / 4).tolist(), slope)
    sample = StructuredFeatures(core, background).draw(n, [generator(0, "margin")], dtype=torch.float64)
    x = torch.cat([sample.core, (sample.background - moved) * shift], dim=-1)
    margins = sample.labels * network(x)[..., 0]
    predicted = predicted_margin(c, b, core, background, shift, slope=slope, background_mean=0.5 - moved)
    assert margins.mean().item() == pytest.approx(predicted, abs=5 * margins.std().item() / n**0.5)
