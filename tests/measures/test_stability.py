import pytest
import torch

from memorization.data.synthetic import linear_core_task
from memorization.draws import generator
from memorization.measures.stability import feature_alignment, stability
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
