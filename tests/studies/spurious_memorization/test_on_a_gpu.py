"""The points of the sweeps on a GPU: the same numbers as on the processor."""

import pytest

from memorization.studies.spurious_memorization.experiments import image_curve, synthetic_curve
from memorization.studies.spurious_memorization.trained_networks import trained_networks

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("feature_map", ["rf", "ntk"])
def test_a_synthetic_curve_is_the_same_on_a_gpu(feature_map):
    point = {
        "feature_map": feature_map,
        "activation": "phi2",
        "alpha": 0.5,
        "d": 60,
        "width": 3000,
        "sizes": [20, 50],
    }
    there, here = (synthetic_curve(**point, seed=0, device=device) for device in ("cuda", "cpu"))
    for gpu, cpu in zip(there, here, strict=True):
        assert gpu == pytest.approx(cpu, rel=1e-3, abs=1e-4, nan_ok=True)


def test_an_image_curve_is_the_same_on_a_gpu():
    point = {
        "dataset": "digits",
        "negative": 1,
        "positive": 7,
        "pad": 2,
        "feature_map": "rf",
        "activation": "relu",
    }
    point |= {"width": 2000, "sizes": [50], "n_test": 50}
    (gpu,), (cpu,) = (image_curve(**point, seed=0, device=device) for device in ("cuda", "cpu"))
    assert gpu == pytest.approx(cpu, rel=1e-2, abs=1e-3)


@pytest.mark.parametrize("network", ["fc", "cnn", "resnet18"])
def test_trained_networks_are_about_the_same_on_a_gpu(network):
    point = {"dataset": "digits", "network": network, "n": 60, "epochs": 20, "pad": 3, "n_test": 300}
    there, here = (trained_networks(**point, seeds=[0, 1], device=device) for device in ("cuda", "cpu"))
    for (gpu,), (cpu,) in zip(there, here, strict=True):
        assert gpu["updates"] == cpu["updates"]
        for column in ("train_accuracy", "test_accuracy", "spurious_accuracy", "covariance"):
            assert gpu[column] == pytest.approx(cpu[column], abs=0.1)
