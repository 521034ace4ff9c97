"""Students of a teacher that is blind to the background, in a second or two."""

import json
import math

import pytest
import torch

from memorization.runs.records import clean
from memorization.studies.feature_contamination import distillation as distilling
from memorization.studies.feature_contamination.distillation import distil, total_variance

SMALL = {
    "core": 4,
    "background": 4,
    "teacher_width": 8,
    "representation": 3,
    "width": 16,
    "batch": 32,
    "steps": 40,
    "test": 200,
}


def run(seeds=(0,), **more):
    """For each seed the row of each model, by its name."""
    rows = distil(**{**SMALL, **more}, seeds=list(seeds))
    return [{row["model"]: row for row in one} for one in rows]


def test_there_is_a_row_for_teacher_student_and_standard_that_json_can_hold():
    rows = distil(**SMALL, seeds=[0, 1])
    assert [[row["model"] for row in one] for one in rows] == [["teacher", "student", "standard"]] * 2
    assert set(rows[0][0]) == {"model", "id_accuracy", "ood_accuracy", "id_error", "ood_error"}
    assert json.dumps(clean(rows, "rows"), allow_nan=False)


@pytest.mark.parametrize("teacher", ["network", "linear"])
def test_the_teacher_is_blind_to_the_background(teacher):
    for rows in run((0, 1), teacher=teacher):
        found = rows["teacher"]
        assert found["id_error"] == found["ood_error"] == 0
        assert found["id_accuracy"] == found["ood_accuracy"]


def test_a_student_comes_nearer_to_its_teacher_in_distribution():
    errors = [run(steps=steps)[0]["student"]["id_error"] for steps in (0, 40, 400)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize("representation", [1, 3])
def test_the_network_trained_on_labels_has_no_error_to_the_teacher(representation):
    found = run(representation=representation)[0]["standard"]
    assert math.isnan(found["id_error"])
    assert math.isnan(found["ood_error"])


def test_a_relu_student_fails_outside_the_distribution_and_a_linear_one_does_not():
    options = {"teacher": "linear", "width": 64, "batch": 128, "steps": 300, "rate": 1e-2, "background": 8}
    relu, linear = (run((0, 1), student=student, **options) for student in ("relu", "identity"))
    for one, other in zip(relu, linear, strict=True):
        assert one["student"]["id_error"] < 0.01
        assert one["student"]["ood_error"] > 0.1
        assert other["student"]["ood_error"] < 1e-4


def test_a_seed_gives_the_same_rows_alone_and_among_others():
    among, alone = run((0, 1))[1], run((1,))[0]
    for name, row in alone.items():
        for column in ("id_error", "ood_error"):
            assert among[name][column] == pytest.approx(row[column], rel=1e-4, nan_ok=True)
        for column in ("id_accuracy", "ood_accuracy"):
            assert among[name][column] == pytest.approx(row[column], abs=0.011)  # two of 200 examples
    assert run((0, 1))[0]["teacher"]["id_accuracy"] != alone["teacher"]["id_accuracy"]


def test_student_and_standard_network_see_the_same_examples(monkeypatch):
    seen = []

    def spy(networks, batches, descent):
        seen.append(batches(0)[0])
        return networks

    monkeypatch.setattr(distilling, "descend", spy)
    run()
    assert torch.equal(*seen)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_teacher_that_says_always_the_same_is_refused(value):
    outputs = torch.rand(2, 4000, 3)
    outputs[1] = value
    with pytest.raises(ValueError, match="cannot normalize the distillation error"):
        total_variance(outputs)


def test_a_dead_teacher_is_refused_before_training(monkeypatch):
    monkeypatch.setattr(distilling, "descend", None)
    with pytest.raises(ValueError, match="the teacher gives the same representation for all"):
        run((36,), core=1, labels="linear", teacher_width=1)  # its one neuron never fires


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher": "oracle"}, "teacher='oracle'; allowed: network, linear"),
        ({"student": "leaky"}, "student=.leaky. would need a slope; choose relu"),
        ({"student": "rellu"}, "unknown activation 'rellu'; did you mean 'relu'"),
        ({"labels": "circle"}, "labels='circle'; allowed: linear, sphere"),
        ({"core": 0}, "core=0; allowed: a whole number, 1 or more"),
        ({"background": -1}, "background=-1; allowed: a whole number, 0 or more"),
        ({"teacher_width": 0}, "teacher_width=0; allowed: a whole number, 1 or more"),
        ({"representation": 0}, "representation=0; allowed: a whole number, 1 or more"),
        ({"width": 1.5}, "width=1.5; allowed: a whole number, 1 or more"),
        ({"batch": 0}, "batch=0; allowed: a whole number, 1 or more"),
        ({"test": 0}, "test=0; allowed: a whole number, 1 or more"),
        ({"steps": "10"}, "steps='10'; allowed: a whole number, 0 or more"),
        ({"steps": -1}, "steps=-1; allowed: a whole number, 0 or more"),
        ({"rate": -1.0}, "rate=-1.0; allowed: a learning rate above 0"),
        ({"rate": math.nan}, "rate=nan; allowed: a finite number"),
        ({"init_scale": math.inf}, "init_scale=inf; allowed: a finite number"),
        ({"ridge": 0.0}, "ridge=0.0; allowed: a number above 0"),
        ({"seeds": []}, r"seeds=\[\]; allowed: a list of one or more whole numbers"),
        ({"seeds": [2, 2]}, r"seeds=\[2, 2\]; allowed: .* each once"),
    ],
)
def test_what_is_not_allowed_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        run(**{"seeds": (0,), **given})
