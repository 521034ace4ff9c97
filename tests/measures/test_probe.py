"""The checks that every probe makes of its inputs, and what it returns."""

import pytest
import torch

from memorization.measures.probes import Probe, check_labels, row_norms, unit_rows


def test_accuracy_is_the_fraction_of_correct_answers():
    assert Probe(torch.tensor([0, 1, 1]), torch.tensor([True, False, True])).accuracy == pytest.approx(2 / 3)


def test_labels_become_int64_whatever_integer_type_they_have():
    assert check_labels(torch.tensor([0, 2], dtype=torch.uint8), 2, "reference", 3).dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool])
def test_labels_that_are_not_integers_are_refused(dtype):
    with pytest.raises(
        TypeError, match=f"random labels must be class numbers of an integer type; got {dtype}"
    ):
        check_labels(torch.ones(3, dtype=dtype), 3, "random")


@pytest.mark.parametrize(
    ("label", "classes", "allowed"), [(3, 3, "0..2"), (-1, 3, "0..2"), (-1, None, "0..C-1")]
)
def test_a_label_outside_the_classes_is_named_with_its_row(label, classes, allowed):
    with pytest.raises(ValueError, match=rf"reference label {label} of row 1 is outside {allowed}"):
        check_labels(torch.tensor([0, label]), 2, "reference", classes)


def test_a_length_mismatch_names_both_sizes():
    with pytest.raises(
        ValueError, match=r"query: one label per row is needed; got 5 rows and labels of shape \(4,\)"
    ):
        check_labels(torch.zeros(4, dtype=torch.int64), 5, "query")


@pytest.mark.parametrize("classes", [0, 2.0, True])
def test_a_number_of_classes_that_is_none_is_refused(classes):
    with pytest.raises(ValueError, match=f"classes must be a whole number >= 1; got {classes}"):
        check_labels(torch.zeros(2, dtype=torch.int64), 2, "query", classes)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_rows_that_are_not_finite_are_counted(value):
    features = torch.ones(6, 3)
    features[1, 0] = features[4, 1] = features[4, 2] = value
    with pytest.raises(ValueError, match="2 of 6 rows of the query features hold NaN or Inf"):
        row_norms(features, "query")


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


def test_rows_of_zeros_raise_if_asked_to():
    with pytest.raises(ValueError, match=r"1 of 1 rows of the query features are zero.*zero_rows='farthest'"):
        unit_rows(torch.zeros(1, 2), "query", "raise")


def test_an_unknown_treatment_of_zero_rows_is_refused():
    with pytest.raises(ValueError, match="zero_rows must be one of farthest, raise; got 'drop'"):
        unit_rows(torch.ones(1, 2), "query", "drop")


@pytest.mark.parametrize("shape", [(3,), (0, 2), (3, 0), (2, 2, 2)])
def test_features_that_are_no_matrix_are_refused(shape):
    with pytest.raises(ValueError, match="query features must be a matrix"):
        unit_rows(torch.ones(shape), "query")


def test_features_of_whole_numbers_are_refused():
    with pytest.raises(TypeError, match=r"query features must be floating-point numbers; got torch\.uint8"):
        unit_rows(torch.ones(2, 2, dtype=torch.uint8), "query")
