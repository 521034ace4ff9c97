"""What the experiment on feature contamination refuses, before it trains."""

import math

import pytest

from memorization.studies.feature_contamination.experiments import contaminate

SMALL = {"core": 4, "background": 4, "width": 8, "batch": 16, "steps": 3, "test": 20, "seeds": [0]}

REFUSED = [
    ({"ambient": 7}, "ambient dimension 7 must be at least the number of features, 8"),
    ({"ambient": -1}, "ambient=-1; allowed: a whole number, 0 or more"),
    ({"core": 0}, "core=0; allowed: a whole number, 1 or more"),
    ({"background": -1}, "background=-1; allowed: a whole number, 0 or more"),
    ({"background": 2.0}, "background=2.0; allowed: a whole number"),
    ({"width": 0}, "width=0; allowed: a whole number, 1 or more"),
    ({"width": 1.5}, "width=1.5; allowed: a whole number"),
    ({"batch": 0}, "batch=0; allowed: a whole number, 1 or more"),
    ({"examples": -1}, "examples=-1; allowed: a whole number, 0 or more"),
    ({"test": 0}, "test=0; allowed: a whole number, 1 or more"),
    ({"steps": -1}, "steps=-1; allowed: a whole number, 0 or more"),
    ({"steps": "10"}, "steps='10'; allowed: a whole number"),
    ({"record_at": [4]}, r"record_at=4 is after the last step; allowed: 0..3 \(steps\)"),
    ({"record_at": [1.5]}, "record_at=1.5; allowed: a whole number, 0 or more"),
    ({"shifts": [math.nan]}, "shifts=nan; allowed: a finite number"),
    ({"labels": "circle"}, "labels='circle'; allowed: linear, sphere"),
    ({"initialization": "he"}, "initialization='he'; allowed: theory, pytorch, pytorch_frozen"),
    ({"coordinates": "polar"}, "coordinates='polar'; allowed: latent, ambient"),
    ({"coordinates": "ambient"}, "coordinates='ambient' need a dimension; give ambient >= core"),
    ({"optimizer": "adamw"}, "optimizer='adamw' needs ambient coordinates: only SGD"),
    ({"optimizer": "lion"}, "unknown optimizer 'lion'; choose one of adam, adamw, sgd"),
    ({"loss": "hinges"}, "unknown loss 'hinges'; did you mean 'hinge'"),
    ({"gradient": "manual"}, "unknown gradient 'manual'.*closed, autograd"),
    ({"momentum": 1}, r"momentum=1; allowed: .*momentum in \[0, 1\)"),
    ({"seeds": []}, r"seeds=\[\]; allowed: a list of one or more whole numbers"),
    ({"seeds": [1, 1]}, r"seeds=\[1, 1\]; allowed: .* each once"),
    ({"seeds": [0.5]}, r"seeds=\[0.5\]; allowed"),
    ({"arms": []}, r"arms=\[\]; give a list of at least one arm, \[\{\}\] is the standard one"),
    ({"arms": {"activation": "relu"}}, r"arms=\{'activation': 'relu'\}; give a list"),
    ({"arms": "relu"}, "arms='relu'; give a list"),
    ({"arms": ["relu"]}, "arm 'relu'; allowed: a mapping of settings"),
    ({"arms": [{"rat": 0.1}]}, "unknown setting of an arm 'rat'; did you mean 'rate'"),
    ({"arms": [{"activation": "rellu"}]}, "unknown activation 'rellu'; did you mean 'relu'"),
    ({"arms": [{"activation": "leaky", "slope": 1.5}]}, "slope=1.5 of a leaky ReLU; allowed: 0"),
    ({"arms": [{"flip": 1.5}]}, r"flip probability \[1.5\]; allowed: 0..1"),
    ({"arms": [{"rate": 0}]}, r"rate=\[0\]; allowed: a number above 0"),
    ({"arms": [{"rate": math.nan}]}, "rate=nan; allowed: a finite number"),
    ({"arms": [{"decay": -0.1}]}, r"decay=\[-0.1\], .* allowed: weight_decay >= 0"),
    ({"arms": [{"rate": 2.0, "decay": 0.5}]}, r"rate=\[2.0\] times weight_decay=\[0.5\] must be below 1"),
    ({"arms": [{"penalty": -1}]}, r"penalty=\[-1\]; allowed: a weight of 0 or more"),
    ({"arms": [{"penalty": 1}], "batch": 15}, "15 examples; with a penalty their number must be even"),
    (
        {"arms": [{"symmetric": True}], "labels": "sphere"},
        "symmetric=True with labels='sphere': the mirror image",
    ),
]


@pytest.mark.filterwarnings("ignore:outside the model's assumptions")
@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_what_is_not_allowed_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        contaminate(**{**SMALL, **given})


def test_arms_may_differ_in_rate_and_decay_side_by_side():
    rows = contaminate(**SMALL, arms=[{"rate": 4.0}, {"rate": 0.1, "decay": 0.5}])
    assert len(rows[0]) == 4
