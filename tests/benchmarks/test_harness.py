import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from harness import Case, check_equal, compare, measure, write_rows

KEYS = {
    "work", "plain_seconds", "our_seconds", "ratio", "plain_peak_mib", "our_peak_mib", "device", "cores",
    "load", "date", "versions",
}  # fmt: skip


def numbers():
    return torch.arange(6.0)


def total(values, *, offset=0.0, hold_mib=0):
    np.ones(hold_mib * 2**17)  # float64: 8 bytes each
    return {"values": values + offset, "accuracy": 0.5}


def dies(values):
    raise ValueError("no such size")


def test_a_row_has_the_columns_of_the_published_table():
    row = compare(Case("add", numbers, total, total, repeats=1))
    assert set(row) == KEYS
    assert row["ratio"] == pytest.approx(row["plain_seconds"] / row["our_seconds"])
    json.dumps(row)


def threads(values):
    return {"threads": torch.get_num_threads()}


@pytest.mark.parametrize("count", [1, 2])
def test_both_ways_have_the_threads_that_the_row_names(count):
    case = Case("count", numbers, threads, threads, repeats=1, threads=count)
    assert compare(case)["cores"] == count
    assert measure(case.prepare, case.plain, count).result == {"threads": count}


def test_two_ways_that_disagree_give_no_row():
    with pytest.raises(AssertionError, match="values differs by 1"):
        compare(Case("add", numbers, total, partial(total, offset=1.0), repeats=1))


def test_the_peak_memory_is_that_of_the_run():
    small, large = (measure(numbers, partial(total, hold_mib=mib)).peak_mib for mib in (0, 300))
    assert 280 < large - small < 330


def test_an_error_of_the_work_is_the_error_of_the_benchmark():
    with pytest.raises(ValueError, match="no such size"):
        measure(numbers, dies)


def test_single_numbers_must_be_equal():
    with pytest.raises(AssertionError, match=r"accuracy differs by 0\.001; allowed is 0"):
        check_equal({"accuracy": 0.5}, {"accuracy": 0.501}, 0.1)


def test_different_quantities_are_refused():
    with pytest.raises(AssertionError, match=r"different quantities: \['a'\] and \['b'\]"):
        check_equal({"a": 1}, {"b": 1}, 0.1)


def test_entries_that_are_not_finite_never_pass():
    with pytest.raises(AssertionError, match="entries not finite"):
        check_equal({"a": [np.nan]}, {"a": [np.nan]}, 0.1)


def test_rows_are_written_whole(tmp_path):
    write_rows([{"work": "add", "ratio": 2.0}], tmp_path / "new" / "rows.json")
    assert json.loads((tmp_path / "new" / "rows.json").read_text()) == [{"work": "add", "ratio": 2.0}]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["rows.json"]
