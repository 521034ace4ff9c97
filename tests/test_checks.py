"""Plain values are refused with their name, what was given and what is allowed."""

import numpy as np
import pytest
import torch

from memorization.checks import as_classes, check_finite, check_seeds, check_whole


@pytest.mark.parametrize("value", [0, -1, 1.5, 2.0, "10", True, None, float("nan")])
def test_what_is_no_whole_number_or_too_small_is_refused(value):
    with pytest.raises(ValueError, match=rf"width={value!r}; allowed: a whole number, 1 or more"):
        check_whole("width", value, 1)


@pytest.mark.parametrize("value", [0, 7, np.int64(3)])
def test_whole_numbers_pass(value):
    check_whole("steps", value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "0.5", None, True, [0.5]])
def test_what_is_no_finite_number_is_refused(value):
    with pytest.raises(ValueError, match=r"rate=.*; allowed: a finite number"):
        check_finite("rate", value)


@pytest.mark.parametrize("value", [0, -1.5, np.float32(0.5)])
def test_finite_numbers_pass(value):
    check_finite("rate", value)


@pytest.mark.parametrize("seeds", [[], [0, 0], [-1], [0.5], ["0"], "01", 3, None, [True]])
def test_seeds_are_different_whole_numbers(seeds):
    with pytest.raises(
        ValueError, match=r"seeds=.*; allowed: a list of one or more whole numbers >= 0 .*, each once"
    ):
        check_seeds(seeds)


def test_seeds_keep_their_order():
    assert check_seeds([3, 0]) == (3, 0)
    assert check_seeds(range(2)) == (0, 1)


def test_labels_become_int64_whatever_integer_type_they_have():
    assert as_classes(torch.tensor([0, 2], dtype=torch.uint8), 2, "reference", 3).dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bool])
def test_labels_that_are_not_integers_are_refused(dtype):
    with pytest.raises(
        TypeError, match=f"random labels must be class numbers of an integer type; got {dtype}"
    ):
        as_classes(torch.ones(3, dtype=dtype), 3, "random")


@pytest.mark.parametrize(
    ("label", "classes", "allowed"), [(3, 3, "0..2"), (-1, 3, "0..2"), (-1, None, "0..C-1")]
)
def test_a_label_outside_the_classes_is_named_with_its_row(label, classes, allowed):
    with pytest.raises(ValueError, match=rf"reference label {label} of row 1 is outside {allowed}"):
        as_classes(torch.tensor([0, label]), 2, "reference", classes)


def test_a_length_mismatch_names_both_sizes():
    with pytest.raises(
        ValueError, match=r"query: one label per row is needed; got 5 rows and labels of shape \(4,\)"
    ):
        as_classes(torch.zeros(4, dtype=torch.int64), 5, "query")


@pytest.mark.parametrize("classes", [0, 2.0, True])
def test_a_number_of_classes_that_is_none_is_refused(classes):
    with pytest.raises(ValueError, match=f"classes={classes}; allowed: a whole number, 1 or more"):
        as_classes(torch.zeros(2, dtype=torch.int64), 2, "query", classes)


def test_labels_in_a_numpy_array_are_refused_with_what_to_give():
    with pytest.raises(TypeError, match="query labels: got a ndarray; allowed: a tensor, such as"):
        as_classes(np.zeros(3, dtype=np.int64), 3, "query")
