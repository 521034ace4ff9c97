import pytest
import torch

from memorization.data.synthetic import linear_core_task
from memorization.models import prediction
from memorization.models.kernels import gram_blocks
from memorization.models.prediction import predict_random_features
from memorization.models.regression import fit


@pytest.fixture
def task():
    return linear_core_task(n_train=40, n_test=30, d=12, alpha=0.5, seed=0, dtype=torch.float64)


def predict(task, **changes):
    chosen = {"activation_name": "relu", "width": 300, "seed": 0} | changes
    return predict_random_features(task.train, task.labels, [task.spurious, task.test], **chosen)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("keep", [0, 2**24])
def test_predictions_from_features_equal_those_from_gram_blocks(task, ridge, keep, monkeypatch):
    monkeypatch.setattr(prediction, "_KEEP", keep)
    monkeypatch.setattr(prediction, "_BLOCK", 64)
    blocks = gram_blocks(
        task.train, task.spurious, task.test, feature_map="rf", activation_name="relu", width=300, seed=0
    )
    solution = fit(blocks, task.labels, ridge=ridge).at()
    train, spurious, test = predict(task, ridge=ridge)
    assert torch.allclose(train, solution.train_predictions, atol=1e-9)
    assert torch.allclose(spurious, solution.spurious_predictions, atol=1e-9)
    assert torch.allclose(test, solution.test_predictions, atol=1e-9)


def test_training_rows_are_interpolated(task):
    own, asked = predict_random_features(
        task.train, task.labels, [task.train], activation_name="phi2", width=300, seed=0
    )
    assert torch.allclose(own, task.labels, atol=1e-9)
    assert torch.allclose(asked, task.labels, atol=1e-9)


def test_more_rows_than_features_is_refused(task):
    with pytest.raises(ValueError, match="got N=40, p=30; increase the width"):
        predict(task, width=30)


def test_infinite_width_has_no_features(task):
    with pytest.raises(ValueError, match="width must be at least 1 to predict from features; got 0"):
        predict(task, width=0)
