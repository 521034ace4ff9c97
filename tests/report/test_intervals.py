import json
from pathlib import Path

import numpy as np
import pytest

from memorization.report.intervals import (
    METHODS,
    coverage,
    coverage_table,
    mean_interval,
    percentile_bootstrap,
    replicated_pools,
    seeds_to_decide,
    student,
)  # fmt: skip

REPLICATED = Path(__file__).resolve().parents[2] / "results" / "replications"


def test_the_interval_is_that_of_students_distribution():
    low, high = mean_interval(np.array([1.0, 2.0, 3.0]))  # 4.302653 = 97.5 % quantile with 2 degrees
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    low, high = mean_interval(np.array([1.0, 2.0, 3.0]), level=0.9)  # 2.919986 = 95 % quantile
    assert high - low == pytest.approx(2 * 2.919986 / 3**0.5)


@pytest.mark.parametrize("numbers", [[], [1.0], [1.0, np.nan], [1.0, np.inf]])
def test_what_has_no_spread_has_no_interval(numbers):
    assert np.isnan(mean_interval(np.array(numbers))).all()


def test_equal_numbers_have_an_interval_of_no_width():
    assert mean_interval(np.array([0.5, 0.5, 0.5])) == (0.5, 0.5)


@pytest.mark.parametrize("method", METHODS.values())
def test_each_method_finds_the_intervals_of_many_rows_at_once(method):
    rows = np.random.default_rng(0).normal(size=(5, 12))
    together, alone = np.array(method(rows)), np.array([method(row[None]) for row in rows])
    assert pytest.approx(alone[..., 0]) == together.T
    assert (together[0] < rows.mean(-1)).all()
    assert (together[1] > rows.mean(-1)).all()


def test_the_seeds_that_decide_are_the_fewest_whose_half_interval_is_shorter():
    numbers = np.array([0.73, 0.75, 0.77])  # spread 0.02; 2.109816 * 0.02 / 18**.5 = 0.0099
    assert seeds_to_decide(numbers, 0.01) == 18
    assert seeds_to_decide(numbers, 1.0) == 4  # more than there are: those did not decide
    assert seeds_to_decide(numbers, 1e-9) is None


def test_students_interval_of_a_normal_law_covers_at_its_level():
    pool = np.random.default_rng(1).normal(size=5000)
    found = [coverage(pool, size, draws=4000) for size in (3, 5, 20)]
    assert found == pytest.approx([0.95] * 3, abs=0.012)  # three standard errors


def test_the_bootstrap_of_three_seeds_promises_too_much():
    pool = np.random.default_rng(1).normal(size=5000)
    assert coverage(pool, 3, percentile_bootstrap) < 0.85


def test_a_constant_is_always_covered_and_says_nothing_of_a_method():
    assert coverage(np.full(20, 0.1), 3) == 1


def test_the_table_averages_over_pools():
    pools = [np.arange(20.0), np.arange(20.0) ** 4]
    table = coverage_table(pools, [3, 5])
    wanted = [np.mean([coverage(pool, size, student) for pool in pools]) for size in (3, 5)]
    assert table["seeds"].tolist() == [3, 5]
    assert table["Student's"].tolist() == pytest.approx(wanted)


def test_pools_are_those_of_all_replicated_pages_that_vary(tmp_path):
    assert replicated_pools(tmp_path / "none") == []
    for name, numbers in (("a", [1.0, 2.0]), ("b", [3.0, 3.0]), ("c", [0.3, 0.1 + 0.2])):
        (tmp_path / f"{name}.book.json").write_text(json.dumps({"gaps": [{"gaps": numbers}]}))
    assert [pool.tolist() for pool in replicated_pools(tmp_path)] == [[1.0, 2.0]]


@pytest.mark.parametrize("size", [3, 4, 5, 10, 20])
def test_the_interval_covers_our_own_numbers_at_each_size_used(size):
    """95 of 100 is promised; 92 to 98 is asked, on average over what the replicated pages look at."""
    pools = replicated_pools(REPLICATED)
    assert 0.92 < np.mean([coverage(pool, size) for pool in pools]) < 0.98
