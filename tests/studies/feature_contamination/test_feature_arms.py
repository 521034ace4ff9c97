"""Arms of an experiment on feature contamination, and how they are stacked."""

import math

import pytest

from memorization.studies.feature_contamination.networks import ArmStack, FeatureArm


def test_an_arm_is_read_from_what_it_does_differently():
    assert FeatureArm.read({}) == FeatureArm()
    assert FeatureArm.read({"activation": "leaky", "slope": 0.2}).slope == 0.2


@pytest.mark.parametrize(
    ("given", "slope"),
    [({}, 0), ({"activation": "identity"}, 1), ({"activation": "leaky", "slope": 0.2}, 0.2)],
)
def test_a_row_has_the_slope_on_the_negative_side(given, slope):
    assert FeatureArm.read(given).row["slope"] == slope


def test_a_smooth_arm_has_no_slope():
    assert math.isnan(FeatureArm(activation="tanh").row["slope"])


def test_a_row_names_every_setting():
    row = FeatureArm(flip=0.25, symmetric=True).row
    assert (row["flip"], row["symmetric"], row["center"], row["rate"]) == (0.25, True, False, 0.5)


def test_networks_are_stacked_arm_by_arm():
    stack = ArmStack((FeatureArm(rate=0.1), FeatureArm(rate=0.2, activation="gelu", flip=0.5)), (0, 1, 2))
    assert stack.each("rate") == [0.1] * 3 + [0.2] * 3
    assert stack.activation.names == ("relu",) * 3 + ("gelu",) * 3
    assert stack.backgrounds.flip.tolist() == [0.0, 0.5]  # of arms, not of networks


@pytest.mark.parametrize("name", ["mean", "flip", "environment", "symmetric", "center"])
def test_every_setting_of_the_background_reaches_it(name):
    value = True if name in ("symmetric", "center") else 0.25
    stack = ArmStack((FeatureArm(), FeatureArm(**{name: value})), (0,))
    assert getattr(stack.backgrounds, name).tolist() == [float(getattr(FeatureArm(), name)), float(value)]


@pytest.mark.parametrize(
    ("given", "leaves"),
    [
        ({}, False),
        ({"environment": 0.0, "penalty": 1.0}, False),
        ({"environment": -1.0}, True),
        ({"environment": 1.5}, True),
        ({"mean": 0.5}, True),
        ({"flip": 0.1}, True),
        ({"symmetric": True}, True),
        ({"center": True}, True),
    ],
)
def test_arms_say_whether_background_weights_leave_the_unit_interval(given, leaves):
    assert FeatureArm(**given).leaves_assumptions is leaves


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"activatoin": "relu"}, "unknown setting of an arm 'activatoin'; did you mean 'activation'"),
        ({"rate": math.nan}, "rate=nan; allowed: a finite number"),
        ({"decay": "0.1"}, "decay='0.1'; allowed: a finite number"),
        ({"init_scale": math.inf}, "init_scale=inf; allowed: a finite number"),
        ({"mean": None}, "mean=None; allowed: a finite number"),
        ({"symmetric": "no"}, "symmetric='no' of an arm; allowed: True, False"),
        ({"center": 0.5}, "center=0.5 of an arm; allowed: True, False"),
        ({"slope": 0.1}, "slope=0.1 of activation='relu'; only 'leaky' takes a slope"),
        ({"activation": "tanh", "slope": 0.1}, "slope=0.1 of activation='tanh'"),
        ("relu", "arm 'relu'; allowed: a mapping of settings"),
    ],
)
def test_an_arm_that_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        FeatureArm.read(given)
