"""Plain values are refused with their name, what was given and what is allowed."""

import numpy as np
import pytest

from memorization.checks import check_finite, check_seeds, check_whole


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
        ValueError, match=r"seeds=.*; allowed: a list of one or more whole numbers >= 0, each once"
    ):
        check_seeds(seeds)


def test_seeds_keep_their_order():
    assert check_seeds([3, 0]) == (3, 0)
    assert check_seeds(range(2)) == (0, 1)
