"""Stability against refitted models, and agreement with labels against scikit-learn."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from memorization.data.synthetic import linear_core_task
from memorization.draws import generator
from memorization.measures.stability import auc, covariance, feature_alignment, sign_accuracy, stability
from memorization.models.kernels import directions, explicit_features, gram_blocks
from memorization.models.regression import fit

RIDGES = [0.0, 0.2]


def setting(feature_map, width, ridge):
    """Stability by formula, and explicit features for refitting."""
    task = linear_core_task(n_train=14, n_test=3, d=10, alpha=0.4, seed=1, dtype=torch.float64)
    kwargs = {"feature_map": feature_map, "activation_name": "relu"}
    blocks = gram_blocks(task.train, task.spurious, task.test, width=width, seed=0, **kwargs)
    weights = directions(width, 10, generator(0, "weights"))
    train, query = (explicit_features(rows, weights, **kwargs) for rows in (task.train, task.spurious))
    scale = width if feature_map == "rf" else 10 * width
    return stability(fit(blocks, task.labels, ridge=ridge).at()), train, query, task.labels, ridge * scale


def refit(features, labels, penalty, i):
    keep = torch.arange(len(labels)) != i
    rows, goal = features[keep], labels[keep]
    kernel = rows @ rows.T + penalty * torch.eye(len(goal), dtype=torch.float64)
    return rows.T @ torch.linalg.solve(kernel, goal)


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize(("feature_map", "width"), [("rf", 200), ("ntk", 30)])
def test_residuals_and_held_out_predictions_equal_those_of_refitted_models(feature_map, width, ridge):
    scores, train, query, labels, penalty = setting(feature_map, width, ridge)
    for i in range(14):
        theta = refit(train, labels, penalty, i)
        assert float(scores.residuals[i]) == pytest.approx(float(labels[i] - train[i] @ theta), abs=1e-10)
        assert float(scores.held_out[i]) == pytest.approx(float(query[i] @ theta), abs=1e-10)


@pytest.mark.parametrize(("feature_map", "width"), [("rf", 200), ("ntk", 30)])
def test_alignment_equals_the_projectors_definition(feature_map, width):
    scores, train, query, _, _ = setting(feature_map, width, 0.0)
    for i in range(14):
        others = train[torch.arange(14) != i]
        outside = train[i] - torch.linalg.pinv(others) @ (others @ train[i])
        assert float(scores.alignment[i]) == pytest.approx(
            float(query[i] @ outside / (outside @ outside)), abs=1e-10
        )
        scale = train.shape[1]
        assert float(scores.unexplained[i]) == pytest.approx(float(outside @ outside) / scale, rel=1e-9)


def test_the_spurious_prediction_is_held_out_plus_alignment_times_residual():
    scores, *_ = setting("rf", 200, 0.0)
    assert torch.allclose(scores.spurious, scores.held_out + scores.alignment * scores.residuals)


def test_a_training_row_is_aligned_with_itself_by_one():
    task = linear_core_task(n_train=14, n_test=3, d=10, alpha=0.4, seed=1, dtype=torch.float64)
    blocks = gram_blocks(
        task.train, task.spurious, task.test, feature_map="rf", activation_name="phi2", width=100, seed=0
    )
    solution = fit(blocks, task.labels).at()
    assert torch.allclose(
        feature_alignment(blocks.train, solution.inverse), torch.ones(14, dtype=torch.float64)
    )


def test_one_training_row_has_the_kernels_ratio_as_alignment_and_its_label_as_residual():
    task = linear_core_task(n_train=2, n_test=3, d=10, alpha=0.4, seed=1, dtype=torch.float64)
    blocks = gram_blocks(
        task.train, task.spurious, task.test, feature_map="rf", activation_name="phi2", width=100, seed=0
    )
    scores = stability(fit(blocks, task.labels).at(1))
    assert float(scores.residuals[0]) == pytest.approx(float(task.labels[0]))
    assert float(scores.alignment[0]) == pytest.approx(float(blocks.spurious[0, 0] / blocks.train[0, 0]))


def test_sign_accuracy_counts_zero_as_wrong():
    labels = torch.tensor([1.0, 1.0, -1.0, -1.0])
    assert float(sign_accuracy(torch.tensor([0.2, 0.0, -3.0, 1.0]), labels)) == 0.5


def test_labels_may_be_whole_numbers():
    assert float(sign_accuracy(torch.tensor([0.5, -0.5]), torch.tensor([1, -1]))) == 1.0


def test_accuracy_refuses_labels_that_are_not_signs():
    with pytest.raises(ValueError, match=r"needs labels -1 and \+1 .*got values \[0, 1\]; for real-valued"):
        sign_accuracy(torch.ones(2), torch.tensor([0, 1]))


def test_auc_agrees_with_scikit_learn_including_ties():
    source = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 8, (200,), generator=source).float()
    labels = torch.randint(0, 2, (200,), generator=source) * 2 - 1
    assert float(auc(scores, labels)) == pytest.approx(roc_auc_score(labels.numpy(), scores.numpy()))


def test_auc_ignores_an_offset_that_ruins_the_accuracy():
    scores, labels = torch.tensor([5.0, 6.0, 7.0, 8.0]), torch.tensor([-1, -1, 1, 1])
    assert float(auc(scores, labels)) == 1.0
    assert float(sign_accuracy(scores, labels)) == 0.5


def test_auc_refuses_one_class():
    with pytest.raises(ValueError, match="need both classes; got 3 positive and 0 negative labels"):
        auc(torch.rand(3), torch.ones(3))


def test_covariance_divides_by_the_number_of_examples():
    a, b = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([2.0, 0.0, 4.0])
    assert float(covariance(a, b)) == pytest.approx(((-2) * 0 + (-1) * (-2) + 3 * 2) / 3)


def test_covariance_takes_real_targets():
    assert float(covariance(torch.tensor([0.3, 0.7]), torch.tensor([10.0, 20.0]))) == pytest.approx(1.0)


@pytest.mark.parametrize("measure", [sign_accuracy, auc, covariance])
def test_vectors_of_different_length_are_refused(measure):
    with pytest.raises(ValueError, match=r"non-empty vectors of one length; got shapes \(3,\) and \(1,\)"):
        measure(torch.ones(3), torch.ones(1))


@pytest.mark.parametrize("measure", [sign_accuracy, auc])
def test_a_prediction_that_is_not_a_number_is_neither_right_nor_wrong(measure):
    predictions = torch.tensor([1.0, torch.nan, -1.0])
    with pytest.raises(
        ValueError, match="1 of 3 predictions are NaN, neither right nor wrong; look for what made"
    ):
        measure(predictions, torch.tensor([1.0, 1.0, -1.0]))
