"""How to descend: what is refused, and with which words."""

import math

import pytest
import torch

from memorization.studies.feature_contamination.descent import Descent


def weights(models=3):
    return {"first": torch.zeros(models, 2, 2), "second": torch.zeros(models, 1, 2)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": -1}, "steps=-1; allowed: a whole number, 0 or more"),
        ({"steps": "10"}, "steps='10'; allowed: a whole number"),
        ({"steps": 1.5}, "steps=1.5; allowed: a whole number"),
        ({"loss": "hingee"}, "unknown loss 'hingee'; did you mean 'hinge'"),
        ({"optimizer": "adamww"}, "unknown optimizer 'adamww'; did you mean 'adamw'.*sgd, adam, adamw"),
        ({"schedule": "linear"}, "unknown schedule 'linear'.*constant, cosine"),
        ({"gradient": "close"}, "unknown gradient 'close'; did you mean 'closed'"),
        ({"trained": ("frist",)}, "unknown weight to train 'frist'; did you mean 'first'"),
        ({"rate": 0.0}, "rate=0.0; allowed: a learning rate above 0"),
        ({"rate": [0.1, -0.1]}, r"rate=\[0.1, -0.1\]; allowed: a learning rate above 0"),
        ({"rate": math.nan}, "rate=nan; allowed: a finite number"),
        ({"rate": [0.1, math.inf]}, "rate=inf; allowed: a finite number"),
        ({"rate": "0.1"}, "rate='0.1'; allowed: a finite number"),
        ({"rate": []}, r"rate=\[\]; give one number, or one for each network"),
        ({"decay": -0.1}, "decay=-0.1; allowed: a weight decay of 0 or more"),
        ({"decay": math.nan}, "decay=nan; allowed: a finite number"),
        ({"rate": 2.0, "decay": 0.5}, r"rate=2.0 times decay=0.5 must be below 1: weights would flip"),
        ({"rate": [0.1, 2.0], "decay": 0.5}, "must be below 1"),
        ({"rate": [0.1, 2.0], "decay": [0.0, 0.5]}, "must be below 1"),
        ({"momentum": 1.0}, "momentum=1.0; allowed: 0 up to, not including, 1"),
        ({"momentum": -0.1}, "momentum=-0.1; allowed: 0 up to"),
        ({"momentum": "0.9"}, "momentum='0.9'; allowed: a finite number"),
        ({"penalty": -1.0}, "penalty=-1.0; allowed: a weight of 0 or more"),
        ({"penalty": math.nan}, "penalty=nan; allowed: a finite number"),
        ({"optimizer": "adam", "rate": [0.1, 0.2]}, "optimizer='adam' takes one rate and one decay for all"),
        ({"optimizer": "adamw", "decay": [0.1, 0.2]}, "optimizer='adamw' takes one rate and one decay"),
    ],
)
def test_what_is_not_allowed_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        Descent(**{"steps": 5, **given})


def test_rate_and_decay_are_multiplied_network_by_network():
    Descent(5, rate=[4.0, 0.1], decay=[0.0, 0.5])


def test_adam_takes_one_rate_given_for_each_network():
    Descent(5, optimizer="adam", rate=[0.1, 0.1], decay=[0.0, 0.0])


@pytest.mark.parametrize("name", ["rate", "decay", "penalty"])
def test_as_many_numbers_as_networks_are_needed(name):
    with pytest.raises(ValueError, match=f"2 numbers as {name} of 3 networks; give one, or one for each"):
        Descent(5, **{name: [0.1, 0.2]}).stepper(weights())


def test_training_nothing_is_refused():
    with pytest.raises(ValueError, match=r"trained=\('bias',\) names no weight .* they have first, second"):
        Descent(5, trained=("bias",)).stepper(weights())


@pytest.mark.parametrize("optimizer", ["adam", "adamw"])
def test_adam_is_refused_in_latent_coordinates(optimizer):
    with pytest.raises(ValueError, match=f"optimizer='{optimizer}' needs ambient coordinates: only SGD"):
        Descent(5, optimizer=optimizer).check_latent()
    Descent(5).check_latent()


def test_a_cosine_goes_from_one_to_zero():
    factors = [Descent(4, schedule="cosine").factor(step) for step in range(5)]
    assert factors == pytest.approx([1, 0.5 + math.sqrt(0.125), 0.5, 0.5 - math.sqrt(0.125), 0])
    assert Descent(4).factor(3) == 1


def test_momentum_belongs_to_sgd():
    with pytest.raises(ValueError, match=r"momentum=0\.9 with optimizer='adamw'; only"):
        Descent(10, optimizer="adamw", momentum=0.9)
