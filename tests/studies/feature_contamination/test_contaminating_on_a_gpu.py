"""Experiments on feature contamination on a GPU: the same numbers as on the processor."""

import pandas as pd
import pytest

from memorization.studies.feature_contamination.distillation import distil
from memorization.studies.feature_contamination.experiments import contaminate

pytestmark = pytest.mark.gpu


def table(answers):
    return pd.DataFrame([row for rows in answers for row in rows]).select_dtypes("number")


@pytest.mark.parametrize("gradient", ["closed", "autograd"])
def test_stacked_networks_go_the_same_way_on_both_devices(gradient):
    arms = [{}, {"activation": "gelu"}, {"activation": "leaky", "slope": 0.5}, {"flip": 0.2, "penalty": 1.0}]
    setting = {"arms": arms, "width": 16, "batch": 32, "steps": 40, "test": 200, "gradient": gradient}
    here, there = (table(contaminate(**setting, device=d, seeds=[0, 1])) for d in ("cpu", "cuda"))
    pd.testing.assert_frame_equal(here, there, rtol=1e-3, atol=2e-2)  # an accuracy moves in steps of 1/200


def test_everything_trained_in_ambient_coordinates_goes_the_same_way():
    setting = {"labels": "sphere", "ambient": 40, "coordinates": "ambient", "initialization": "pytorch"}
    setting |= {"examples": 64, "loss": "logistic", "optimizer": "adamw", "arms": [{"rate": 0.001}]}
    answers = [contaminate(**setting, steps=20, test=200, device=d, seeds=[0]) for d in ("cpu", "cuda")]
    pd.testing.assert_frame_equal(*(table(answer) for answer in answers), rtol=1e-3, atol=2e-2)


def test_students_are_the_same_on_both_devices():
    answers = [distil(steps=30, test=300, device=d, seeds=[0, 1]) for d in ("cpu", "cuda")]
    pd.testing.assert_frame_equal(*(table(answer) for answer in answers), rtol=5e-2, atol=2e-2)
