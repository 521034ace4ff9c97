import pytest
import torch

from memorization.measures.stability import Stability, stability
from memorization.studies.spurious_memorization import experiments as spurious_checks
from memorization.studies.spurious_memorization.experiments import (
    example_scores,
    identity_check,
    negative_control,
)

SYNTHETIC = {"d": 60, "n": 25, "alpha": 0.5, "seed": 0}


@pytest.mark.parametrize(("feature_map", "width"), [("rf", 600), ("ntk", 12)])
def test_the_identities_hold_on_synthetic_data(feature_map, width):
    (row,) = identity_check(feature_map=feature_map, activation="phi2", width=width, **SYNTHETIC)
    gaps = {name: value for name, value in row.items() if name.endswith("_gap")}
    assert len(gaps) == 5
    assert max(gaps.values()) < 1e-10


@pytest.mark.parametrize(("feature_map", "width"), [("rf", 2000), ("ntk", 20)])
def test_the_identities_hold_on_framed_digits(feature_map, width):
    (row,) = identity_check(
        feature_map=feature_map, activation="relu", width=width, n=50, dataset="digits", seed=0
    )
    assert max(value for name, value in row.items() if name.endswith("_gap")) < 1e-8


def test_a_wrong_alignment_is_seen_by_the_check(monkeypatch):
    def wrong(solution):
        good = stability(solution)
        bad = good.alignment * 1.001
        return Stability(good.residuals, bad, good.spurious, good.held_out, good.unexplained)

    monkeypatch.setattr(spurious_checks, "stability", wrong)
    (row,) = identity_check(feature_map="rf", activation="phi2", width=600, **SYNTHETIC)
    assert row["decomposition_gap"] > 1e-6
    assert row["alignment_gap"] > 1e-6


def test_unrelated_queries_show_no_memorization():
    rows = [
        negative_control(
            feature_map="rf", activation="phi2", alpha=0.5, d=100, width=None, n=60, law="spheres", seed=seed
        )[0]
        for seed in range(20)
    ]
    means = {name: sum(row[name] for row in rows) / 20 for name in rows[0]}
    assert abs(means["spurious_accuracy"] - 0.5) < 3 * 0.5 / (20 * 60) ** 0.5
    assert abs(means["alignment_mean"]) < 0.01
    assert abs(means["covariance"]) < 0.03


def test_example_scores_add_up_to_the_spurious_prediction():
    rows = example_scores(feature_map="ntk", activation="phi2", alpha=0.5, d=40, width=30, n=20, seed=0)
    assert [row["example"] for row in rows] == list(range(20))
    for row in rows:
        assert row["spurious"] == pytest.approx(row["held_out"] + row["alignment"] * row["residual"])
        assert row["memorization"] == pytest.approx(row["alignment"] * row["residual"] * row["label"])
        assert row["label"] in (-1.0, 1.0)


def test_example_scores_describe_the_model_of_the_curve():
    from memorization.studies.spurious_memorization.experiments import synthetic_curve

    shared = {"feature_map": "rf", "activation": "phi2", "alpha": 0.5, "d": 40, "width": 300, "seed": 3}
    scores = example_scores(n=20, **shared)
    (row,) = synthetic_curve(sizes=[20], n_test=1, **shared)
    found = torch.tensor([score["alignment"] for score in scores]).mean()
    assert float(found) == pytest.approx(row["alignment_mean"], rel=1e-4)
