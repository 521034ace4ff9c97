"""The probe on raw pixels gives the numbers that others measured on the same splits."""

import pytest

from memorization.studies.benign_memorization.experiments import pixel_probe


def test_digits():
    assert pixel_probe()["pixel_probe"] == pytest.approx(0.911, abs=5e-4)
    sizes = {"memorized": 1200, "reference": 1200, "test": 597}
    assert pixel_probe(**sizes)["pixel_probe"] == pytest.approx(0.973, abs=5e-4)
