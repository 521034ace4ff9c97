"""The linear probe against scikit-learn's ridge regression on one-hot targets."""

import pytest
import torch
from sklearn.linear_model import Ridge

from memorization.data.image_sets import load_images
from memorization.measures.probes import linear_probe


def normal(rows, seed, dimensions):
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(rows, seed, count=4):
    return torch.randint(0, count, (rows,), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dimensions", [8, 60, 200])  # below, at and above the 60 rows
@pytest.mark.parametrize("ridge", [1e-3, 1.0, 30.0])
def test_predictions_are_those_of_ridge_regression_on_one_hot_targets(dimensions, ridge):
    reference, queries = normal(60, 0, dimensions) + 2, normal(500, 1, dimensions) + 2
    labels = classes(60, 2)
    unit = float((reference - reference.mean(dim=0)).square().sum(dim=1).mean())
    theirs = Ridge(alpha=ridge * unit).fit(reference, torch.eye(4)[labels].double()).predict(queries)
    probe = linear_probe(reference, labels, queries, classes(500, 3), ridge)
    assert probe.predictions.tolist() == theirs.argmax(axis=1).tolist()


def test_digits_are_told_apart_by_their_pixels():
    images = load_images("digits", "all")
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(1234))
    pixels, labels = images.pixels[order].flatten(1) / 16, images.labels[order]
    probe = linear_probe(pixels[:600], labels[:600], pixels[600:], labels[600:], classes=10)
    assert 0.9 < probe.accuracy < 0.97


def test_the_scale_and_the_offset_of_the_features_do_not_matter():
    reference, queries, labels = normal(60, 0, 20), normal(500, 1, 20), classes(60, 2)
    plain = linear_probe(reference, labels, queries, classes(500, 3))
    moved = linear_probe(50 * reference + 7, labels, 50 * queries + 7, classes(500, 3))
    assert torch.equal(plain.predictions, moved.predictions)


def test_features_that_say_nothing_give_the_largest_class():
    labels = torch.tensor([0, 2, 2, 1])
    probe = linear_probe(torch.ones(4, 3), labels, torch.ones(2, 3), torch.tensor([2, 0]))
    assert probe.predictions.tolist() == [2, 2]


@pytest.mark.parametrize("ridge", [0, -1.0, float("inf"), float("nan")])
def test_a_ridge_that_is_no_positive_number_is_refused(ridge):
    with pytest.raises(ValueError, match=f"ridge must be a finite number > 0; got {ridge}"):
        linear_probe(normal(5, 0, 2), classes(5, 1), normal(3, 2, 2), classes(3, 3), ridge)


def test_an_infinite_feature_is_counted():
    rows = normal(5, 0, 2)
    rows[3, 1] = torch.inf
    with pytest.raises(ValueError, match="1 of 5 rows of the reference features hold NaN or Inf"):
        linear_probe(rows, classes(5, 1), normal(3, 2, 2), classes(3, 3))


def test_features_of_two_dimensions_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"got shapes \(5, 2\) and \(3, 4\)"):
        linear_probe(normal(5, 0, 2), classes(5, 1), normal(3, 2, 4), classes(3, 3))


def test_a_label_above_the_classes_is_refused():
    with pytest.raises(ValueError, match=r"query label 3 of row 0 is outside 0\.\.2"):
        linear_probe(normal(3, 0, 2), torch.tensor([0, 1, 2]), normal(1, 2, 2), torch.tensor([3]), classes=3)
