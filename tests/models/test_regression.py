import pytest
import torch

from memorization.data.synthetic import linear_core_task
from memorization.draws import generator
from memorization.models.kernels import directions, explicit_features, gram_blocks
from memorization.models.regression import condition_number, fit


def make(n=20, feature_map="rf", width=100, activation="phi2", duplicate=False):
    task = linear_core_task(n_train=n, n_test=9, d=12, alpha=0.5, seed=0, dtype=torch.float64)
    train = task.train.clone()
    if duplicate:
        train[7] = train[3]
    kwargs = {"feature_map": feature_map, "activation_name": activation, "width": width, "seed": 0}
    return task, train, gram_blocks(train, task.spurious, task.test, **kwargs)


@pytest.mark.parametrize(("feature_map", "width"), [("rf", 100), ("ntk", 9)])
def test_predictions_equal_those_of_the_pseudo_inverse(feature_map, width):
    task, _, blocks = make(feature_map=feature_map, width=width)
    weights = directions(width, 12, generator(0, "weights"))
    train, spurious, test = (
        explicit_features(rows, weights, feature_map=feature_map, activation_name="phi2")
        for rows in (task.train, task.spurious, task.test)
    )
    theta = torch.linalg.pinv(train) @ task.labels
    solution = fit(blocks, task.labels).at()
    assert torch.allclose(solution.test_predictions, test @ theta, atol=1e-9)
    assert torch.allclose(solution.spurious_predictions, spurious @ theta, atol=1e-9)
    assert torch.allclose(solution.train_predictions, task.labels, atol=1e-9)


@pytest.mark.parametrize("n", [1, 2, 11, 20])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_a_nested_solution_equals_a_regression_on_its_own_rows(n, ridge):
    task, _, blocks = make()
    nested = fit(blocks, task.labels, ridge=ridge).at(n)
    kernel = blocks.train[:n, :n] + ridge * torch.eye(n, dtype=torch.float64)
    assert torch.allclose(nested.coefficients, torch.linalg.solve(kernel, task.labels[:n]), atol=1e-10)
    assert torch.allclose(nested.inverse, torch.linalg.inv(kernel), atol=1e-10)
    assert torch.allclose(nested.test_predictions, blocks.test[:, :n] @ nested.coefficients)


def test_a_ridge_equals_least_squares_with_a_penalty():
    task, _, blocks = make()
    weights = directions(100, 12, generator(0, "weights"))
    train, test = (
        explicit_features(rows, weights, feature_map="rf", activation_name="phi2")
        for rows in (task.train, task.test)
    )
    penalty = 0.2 * 100 * torch.eye(100, dtype=torch.float64)
    theta = torch.linalg.solve(train.T @ train + penalty, train.T @ task.labels)
    assert torch.allclose(fit(blocks, task.labels, ridge=0.2).at().test_predictions, test @ theta, atol=1e-9)


def test_more_rows_than_features_is_refused_with_both_numbers():
    task, train, blocks = make(width=19)
    with pytest.raises(ValueError, match=r"more rows than features; got N=20, p=19; increase the width or"):
        fit(blocks, task.labels, train=train)


def test_more_rows_than_tangent_features_counts_d_times_k():
    task, train, blocks = make(n=25, feature_map="ntk", width=2)
    with pytest.raises(ValueError, match="got N=25, p=24"):
        fit(blocks, task.labels, train=train)


def test_a_singular_kernel_is_refused_and_not_silently_regularized():
    task, train, blocks = make(activation="identity")  # rank 12 with 20 rows
    with pytest.raises(ValueError, match=r"need an invertible N x N kernel, but its .*; got N=20, p=100"):
        fit(blocks, task.labels, train=train)


def test_a_ridge_makes_the_singular_kernel_solvable():
    task, train, blocks = make(activation="identity")
    assert torch.isfinite(fit(blocks, task.labels, train=train, ridge=0.1).at().coefficients).all()


def test_a_huge_condition_number_is_refused():
    task, _, blocks = make(n=3)
    base = torch.diag(torch.tensor([1.0, 1e-6, 1e-13], dtype=torch.float64))
    blocks.train.copy_(base)
    with pytest.raises(ValueError, match=r"condition number is about 1\.0e\+13, above 1e\+12"):
        fit(blocks, task.labels)


def test_equal_rows_are_named():
    task, train, blocks = make(duplicate=True)
    with pytest.raises(ValueError, match="training rows 3 and 7 are equal, so the kernel matrix is singular"):
        fit(blocks, task.labels, train=train)


def test_equal_rows_are_fine_with_a_ridge():
    task, train, blocks = make(duplicate=True)
    assert torch.isfinite(fit(blocks, task.labels, train=train, ridge=0.1).at().coefficients).all()


def test_the_condition_number_agrees_with_the_eigenvalues():
    _, _, blocks = make()
    values = torch.linalg.eigvalsh(blocks.train)
    found = condition_number(blocks.train, torch.linalg.cholesky(blocks.train))
    assert found == pytest.approx(float(values[-1] / values[0]), rel=0.3)


@pytest.mark.parametrize("ridge", [-0.1, float("nan"), float("inf")])
def test_a_ridge_that_is_no_finite_number_above_zero_is_refused(ridge):
    task, _, blocks = make()
    with pytest.raises(ValueError, match="ridge must be a finite number >= 0; got"):
        fit(blocks, task.labels, ridge=ridge)


@pytest.mark.parametrize("n", [0, 21])
def test_a_size_that_was_not_factored_is_refused(n):
    task, _, blocks = make()
    with pytest.raises(ValueError, match=rf"n must be in 1\.\.20, .*; got {n}"):
        fit(blocks, task.labels).at(n)


def test_one_target_per_row_is_needed():
    _, _, blocks = make()
    with pytest.raises(ValueError, match=r"one target per training row: 20 rows, targets of shape \(3,\)"):
        fit(blocks, torch.ones(3))


def test_targets_in_a_numpy_array_are_refused_with_what_to_give():
    task, _, blocks = make()
    with pytest.raises(TypeError, match="targets: got a ndarray; allowed: a tensor, such as"):
        fit(blocks, task.labels.numpy())
