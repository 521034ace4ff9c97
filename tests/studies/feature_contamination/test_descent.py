"""Networks that descend, and their risk: what is refused, and with which words."""

import pytest
import torch

from memorization.draws import generator
from memorization.studies.feature_contamination.descent import DescendingNetworks, SignedRisk
from memorization.studies.feature_contamination.experiments import contaminate
from memorization.studies.feature_contamination.networks import StackedActivation, theory_networks

START = theory_networks(4, 3, StackedActivation(["relu"], [0.0]), [1.0], [generator(0, "weights")])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gradient": "close"}, "unknown gradient 'close'; did you mean 'closed'"),
        ({"trained": ("frist",)}, "unknown weight to train 'frist'; did you mean 'first'"),
        ({"trained": ("bias",)}, r"trained=\('bias',\) names no weight .* they have first, second"),
    ],
)
def test_what_cannot_descend_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        DescendingNetworks(START, **given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "hingee"}, "unknown loss 'hingee'; did you mean 'hinge'"),
        ({"penalty": -1.0}, "penalty=-1.0; allowed: a weight of 0 or more"),
        ({"penalty": [0.0, float("nan")]}, "allowed: a weight of 0 or more"),
    ],
)
def test_what_is_no_risk_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        SignedRisk(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"optimizer": "adam"}, "optimizer='adam' needs ambient coordinates: only SGD"),
        ({"optimizer": "adamw"}, "optimizer='adamw' needs ambient coordinates: only SGD"),
        (
            {"optimizer": "adamww", "ambient": 40, "coordinates": "ambient"},
            "unknown optimizer 'adamww'; did you mean",
        ),
        (
            {"optimizer": "adamw", "momentum": 0.9, "ambient": 40, "coordinates": "ambient"},
            r"momentum=0\.9 with optimizer='adamw'; only",
        ),
    ],
)
def test_an_experiment_that_cannot_descend_so_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        contaminate(**given, steps=2, test=10, seeds=[0])


def test_weights_are_put_back_in_place():
    stack = DescendingNetworks(START)
    stack.load_state_dict({"first": torch.ones_like(START.first)})
    assert torch.equal(stack.networks.first, torch.ones_like(START.first))
    assert not torch.equal(START.first, torch.ones_like(START.first))


def test_a_seed_whose_training_fails_is_an_error_in_its_place(monkeypatch):
    from memorization.studies.feature_contamination import networks as world

    whole = world.FeatureWorld.batches

    def spoilt(self, batch):
        draw = whole(self, batch)

        def at(step):
            x, labels = draw(step)
            if step == 3:
                x[1] = float("nan")  # the second seed of the first arm
            return x, labels

        return at

    monkeypatch.setattr(world.FeatureWorld, "batches", spoilt)
    answers = contaminate(arms=[{}, {"activation": "identity"}], steps=10, test=50, seeds=[0, 1, 2])
    assert [isinstance(answer, Exception) for answer in answers] == [False, True, False]
    assert "at step 4" in str(answers[1])
