import pytest
import torch
from sklearn.metrics import roc_auc_score

from memorization.measures.accuracy import auc, covariance, mean_squared_error, sign_accuracy


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


def test_mean_squared_error_is_the_mean_of_squares():
    assert float(mean_squared_error(torch.tensor([1.0, 3.0]), torch.tensor([0, 1]))) == 2.5


@pytest.mark.parametrize("measure", [sign_accuracy, auc, covariance, mean_squared_error])
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
