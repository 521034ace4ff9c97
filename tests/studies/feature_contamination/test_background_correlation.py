import pytest

from memorization.studies.feature_contamination.theory import background_correlation


@pytest.mark.parametrize("labels", ["linear", "sphere"])
def test_no_background_feature_is_correlated_with_the_label(labels):
    found = background_correlation(core=4, background=8, labels=labels, examples=20_000, seed=0)
    assert found["correlation"] < found["allowed"]
    assert found["allowed"] == pytest.approx(5 / 20_000**0.5)


def test_core_features_are():
    assert background_correlation(core=4, background=8, examples=20_000, seed=0)["core_correlation"] > 0.8


def test_without_background_there_is_nothing_to_correlate():
    with pytest.raises(ValueError, match="background=0; allowed: 1 or more"):
        background_correlation(core=4, background=0, seed=0)
