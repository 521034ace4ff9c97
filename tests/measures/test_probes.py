"""Probes against scikit-learn, and k-NN against a plain reference that sorts everything."""

import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.neighbors import KNeighborsClassifier

from memorization.data.image_sets import load_images
from memorization.measures.probes import (
    AbsentClassWarning,
    Probe,
    knn_probe,
    linear_probe,
    nearest,
    noise_probe,
    unit_rows,
)


def plain_neighbors(reference, queries, k, own=False):
    """Sort every similarity; of equals the smaller row number comes first."""
    unit, asked = (rows / rows.norm(dim=1, keepdim=True) for rows in (reference, queries))
    similar = (asked @ unit.T).tolist()
    return [
        sorted((j for j in range(len(row)) if not (own and j == i)), key=lambda j, row=row: (-row[j], j))[:k]
        for i, row in enumerate(similar)
    ]


def plain_prediction(labels):
    return min(set(labels), key=lambda label: (-labels.count(label), label))


def signs(rows, seed, dimensions=4):
    """Rows of -1 and +1: norms and products are exact, and most similarities are tied."""
    source = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (rows, dimensions), generator=source).float() * 2 - 1


def normal(rows, seed, dimensions=16):
    return torch.randn(rows, dimensions, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(rows, seed, count=3):
    return torch.randint(0, count, (rows,), generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def digits():
    """Pixels of the digits in a fixed random order, 600 of them the reference."""
    images = load_images("digits", "all")
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(1234))
    pixels, labels = images.pixels[order].flatten(1) / 16, images.labels[order]
    return pixels[:600], labels[:600], pixels[600:], labels[600:]


@pytest.fixture(scope="module")
def found(digits):
    return nearest(digits[0], digits[2], 20)


@pytest.mark.parametrize(("k", "golden"), [(1, 0.97911), (5, 0.96909), (20, 0.94152)])
def test_one_search_gives_the_known_accuracies_on_digits_for_every_k(digits, found, k, golden):
    assert found.accuracy(digits[1], digits[3], k, 10) == pytest.approx(golden, abs=5e-6)


@pytest.mark.parametrize("k", [1, 5, 20])
def test_predictions_on_digits_are_those_of_scikit_learn(digits, found, k):
    reference, queries = (rows / rows.norm(dim=1, keepdim=True) for rows in (digits[0], digits[2]))
    theirs = KNeighborsClassifier(k).fit(reference, digits[1]).predict(queries)
    assert found.predict(digits[1], k).tolist() == theirs.tolist()


def test_a_probe_is_a_search_for_one_k(digits, found):
    probe = knn_probe(*digits, k=5, classes=10)
    assert torch.equal(probe.predictions, found.predict(digits[1], 5))
    assert probe.accuracy == found.accuracy(digits[1], digits[3], 5)


@pytest.mark.parametrize("k", [1, 3, 7, 40])
@pytest.mark.parametrize("rows", [normal, signs])
def test_neighbors_are_those_of_the_plain_way_with_and_without_ties(rows, k):
    reference, queries = rows(40, 0), rows(30, 1)
    assert nearest(reference, queries, k).indices.tolist() == plain_neighbors(reference, queries, k)


def test_the_grid_of_many_reference_rows_loses_no_neighbor_and_keeps_the_order_of_ties():
    reference, queries = signs(2003, 0, 6), signs(150, 1, 6)  # 28 groups; 64 different rows
    assert nearest(reference, queries, 5).indices.tolist() == plain_neighbors(reference, queries, 5)


@pytest.mark.parametrize("chunk", [1, 7, 30, 1000])
def test_the_size_of_the_blocks_changes_nothing(chunk):
    reference, queries = signs(300, 0), signs(30, 1)
    whole, blocks = nearest(reference, queries, 9), nearest(reference, queries, 9, chunk=chunk)
    assert torch.equal(whole.indices, blocks.indices)
    assert torch.equal(whole.similarities, blocks.similarities)


def test_rows_sorted_from_farthest_to_nearest_are_found():
    angles = torch.linspace(torch.pi / 2, 0, 500, dtype=torch.float64)
    reference = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert nearest(reference, torch.tensor([[1.0, 0.0]]), 3).indices.tolist() == [[499, 498, 497]]


def test_the_length_of_a_row_does_not_matter():
    reference, queries = normal(50, 0), normal(20, 1)
    longer = reference * torch.arange(1, 51)[:, None]
    assert torch.equal(nearest(longer, queries, 4).indices, nearest(reference, queries, 4).indices)


@pytest.mark.parametrize("k", [2, 6, 20])
def test_predictions_are_the_largest_votes_and_the_smallest_class_of_equals(k):
    reference, queries, labels = normal(40, 0), normal(200, 1), classes(40, 2)
    found = nearest(reference, queries, 20)
    plain = [plain_prediction(labels[row[:k]].tolist()) for row in found.indices]
    assert found.predict(labels, k).tolist() == plain


def test_the_smaller_class_wins_a_tie_even_if_the_other_is_nearer():
    reference = torch.tensor([[1.0, 0.1], [1.0, 0.5]])
    assert knn_probe(
        reference, torch.tensor([1, 0]), torch.tensor([[1.0, 0.0]]), torch.tensor([0]), k=2
    ).predictions.tolist() == [0]


def test_a_row_left_out_never_finds_itself():
    rows = signs(60, 0)
    found = nearest(rows, None, 59, leave_one_out=True)
    assert found.indices.tolist() == plain_neighbors(rows, rows, 59, own=True)


def test_leaving_out_works_across_blocks():
    rows = normal(60, 0)
    found = nearest(rows, rows.clone(), 3, chunk=13, leave_one_out=True)
    assert found.indices.tolist() == plain_neighbors(rows, rows, 3, own=True)


@pytest.mark.parametrize("k", [1, 20])
def test_random_features_do_not_tell_random_labels(k):
    features, draws = normal(1000, 0, 32), 20
    accuracies = [noise_probe(features, classes(1000, 1 + i, 10), k).accuracy for i in range(draws)]
    # two neighbors of each other are right or wrong together, which at most doubles the variance
    deviation = (2 * 0.1 * 0.9 / (1000 * draws)) ** 0.5
    assert sum(accuracies) / draws == pytest.approx(0.1, abs=2 * deviation)


def test_a_search_that_finds_the_query_itself_would_tell_random_labels():
    features, labels = normal(1000, 0, 32), classes(1000, 1, 10)
    assert knn_probe(features, labels, features, labels, k=1).accuracy == 1.0
    assert knn_probe(features, labels, features, labels, k=20).accuracy > 0.2


def test_features_that_hold_the_random_labels_tell_them():
    labels = classes(300, 1, 10)
    features = torch.nn.functional.one_hot(labels, 10) + 0.01 * normal(300, 0, 10)
    assert noise_probe(features, labels, k=5, classes=10).accuracy == 1.0


def test_a_reference_row_of_zeros_is_farther_than_the_opposite_direction():
    reference = torch.tensor([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    with pytest.warns(UserWarning, match="1 of 3 rows of the reference features are zero"):
        found = nearest(reference, torch.tensor([[1.0, 0.0]]), 3)
    assert found.indices.tolist() == [[2, 1, 0]]
    assert found.similarities.tolist() == [[1, -1, -2]]


def test_a_query_of_zeros_is_equally_far_from_every_direction():
    with pytest.warns(UserWarning, match="1 of 1 rows of the query features are zero"):
        found = nearest(normal(5, 0), torch.zeros(1, 16), 5)
    assert found.indices.tolist() == [[0, 1, 2, 3, 4]]


@pytest.mark.parametrize("k", [0, -1, 11, 2.0, True])
def test_a_k_that_the_reference_cannot_serve_is_refused(k):
    with pytest.raises(ValueError, match=rf"k must be in \[1, n_reference\]; got k={k}, n_reference=10"):
        nearest(normal(10, 0), normal(3, 1), k)


def test_a_row_left_out_has_one_neighbor_less():
    with pytest.raises(ValueError, match=r"k must be in \[1, n_reference - 1\]; got k=10, n_reference - 1=9"):
        noise_probe(normal(10, 0), classes(10, 1), k=10)


def test_a_k_above_that_of_the_search_is_refused():
    with pytest.raises(ValueError, match=r"k must be in \[1, k_max\]; got k=6, k_max=5"):
        nearest(normal(10, 0), normal(3, 1), 5).predict(classes(10, 1), 6)


def test_features_of_two_dimensions_are_refused_with_both_shapes():
    with pytest.raises(ValueError, match=r"one dimension; got shapes \(10, 16\) and \(3, 8\)"):
        nearest(normal(10, 0), normal(3, 1, 8), 5)


def test_labels_of_another_length_are_refused():
    with pytest.raises(
        ValueError, match=r"reference: one label per row .* 10 rows and labels of shape \(9,\)"
    ):
        knn_probe(normal(10, 0), classes(9, 1), normal(3, 1), classes(3, 1), k=5)


def test_query_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"query: one label per row .* 3 rows and labels of shape \(4,\)"):
        knn_probe(normal(10, 0), classes(10, 1), normal(3, 1), classes(4, 1), k=5)


def test_a_nan_among_the_queries_is_counted():
    queries = normal(3, 1)
    queries[2, 4] = torch.nan
    with pytest.raises(ValueError, match="1 of 3 rows of the query features hold NaN or Inf"):
        nearest(normal(10, 0), queries, 5)


def test_other_queries_cannot_be_left_out():
    with pytest.raises(ValueError, match="leave_one_out needs query i to be reference row i"):
        nearest(normal(10, 0), normal(10, 1), 5, leave_one_out=True)


@pytest.mark.parametrize("chunk", [0, 2.5])
def test_a_chunk_that_is_no_number_of_queries_is_refused(chunk):
    with pytest.raises(ValueError, match=f"chunk must be a whole number >= 1, or None; got {chunk}"):
        nearest(normal(10, 0), normal(3, 1), 5, chunk=chunk)


@pytest.mark.parametrize("rows", [torch.ones(3), torch.ones(0, 2), torch.ones(3, 0), torch.ones(2, 2, 2)])
def test_features_that_are_no_matrix_are_refused(rows):
    with pytest.raises(ValueError, match="query features must be a matrix"):
        nearest(normal(10, 0), rows, 5)


def test_features_of_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"query features must be floating-point numbers; got torch\.uint8"):
        nearest(normal(10, 0), torch.ones(2, 16, dtype=torch.uint8), 5)


@pytest.mark.parametrize("probe", [knn_probe, linear_probe])
def test_features_in_a_numpy_array_are_refused_with_what_to_give(probe):
    with pytest.raises(TypeError, match="query features: got a ndarray; allowed: a tensor, such as"):
        probe(normal(10, 0), classes(10, 1), normal(3, 1).numpy(), classes(3, 1))


def test_accuracy_is_the_fraction_of_correct_answers():
    assert Probe(torch.tensor([0, 1, 1]), torch.tensor([True, False, True])).accuracy == pytest.approx(2 / 3)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_rows_that_are_not_finite_are_counted(value):
    features = torch.ones(6, 3)
    features[1, 0] = features[4, 1] = features[4, 2] = value
    with pytest.raises(ValueError, match="2 of 6 rows of the query features hold NaN or Inf"):
        unit_rows(features, "query")


def test_unit_rows_have_norm_one_in_single_precision_at_least():
    unit, zero = unit_rows(torch.tensor([[3.0], [0.1]], dtype=torch.float16).expand(2, 4), "reference")
    assert unit.dtype == torch.float32
    assert torch.allclose(unit, torch.full((2, 4), 0.5))
    assert not zero.any()


def test_rows_of_zeros_are_counted_in_a_warning():
    with pytest.warns(UserWarning, match="2 of 3 rows of the query features are zero and have no direction"):
        unit, zero = unit_rows(torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 0.0]]), "query")
    assert zero.tolist() == [True, False, True]
    assert unit.tolist() == [[0, 0], [1, 0], [0, 0]]


ROWS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 4, 4])
ABSENT = (
    r"2 of 4 queries have a class that no reference row has \(2, 3\) and count as wrong; add reference rows"
)


@pytest.mark.parametrize("probe", [lambda *given: knn_probe(*given, k=1), linear_probe])
def test_both_probes_tell_of_classes_that_they_cannot_name(probe):
    with pytest.warns(AbsentClassWarning, match=ABSENT) as told:
        found = probe(ROWS, LABELS, ROWS[:4], torch.tensor([0, 2, 1, 3]))
    assert len(told) == 1
    assert found.correct.tolist() == [True, False, True, False]


@pytest.mark.filterwarnings("error")
def test_classes_that_are_all_there_are_not_told():
    knn_probe(ROWS, LABELS, ROWS[:3], torch.tensor([0, 4, 1]), k=1)
    noise_probe(ROWS, LABELS, k=2)
    assert nearest(ROWS, ROWS, 1).accuracy(LABELS, LABELS) == 1.0


@pytest.mark.parametrize("dimensions", [8, 60, 200])  # below, at and above the 60 rows
@pytest.mark.parametrize("ridge", [1e-3, 1.0, 30.0])
def test_predictions_are_those_of_ridge_regression_on_one_hot_targets(dimensions, ridge):
    reference, queries = normal(60, 0, dimensions) + 2, normal(500, 1, dimensions) + 2
    labels = classes(60, 2)
    unit = float((reference - reference.mean(dim=0)).square().sum(dim=1).mean())
    theirs = Ridge(alpha=ridge * unit).fit(reference, torch.eye(4)[labels].double()).predict(queries)
    probe = linear_probe(reference, labels, queries, classes(500, 3), ridge)
    assert probe.predictions.tolist() == theirs.argmax(axis=1).tolist()


def test_digits_are_told_apart_by_their_pixels(digits):
    assert 0.9 < linear_probe(*digits, classes=10).accuracy < 0.97


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


def test_a_label_above_the_classes_is_refused():
    with pytest.raises(ValueError, match=r"query label 3 of row 0 is outside 0\.\.2"):
        linear_probe(normal(3, 0, 2), torch.tensor([0, 1, 2]), normal(1, 2, 2), torch.tensor([3]), classes=3)
