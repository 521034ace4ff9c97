"""What the benchmark of two features and of methods compares is the same work."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import pitfalls_of_memorization as benchmark
from harness import Case, check_equal, compare

LINEAR = benchmark.linear(100, 40, 25, models=6)
WAYS = [
    (benchmark.plain_panels, benchmark.our_panels),
    (benchmark.plain_cells, benchmark.our_cells),
    (benchmark.plain_subsets, benchmark.our_subsets),
]


@pytest.mark.parametrize(("plain", "ours"), WAYS)
def test_linear_models_end_at_the_same_logits_and_accuracies(plain, ours):
    check_equal(plain(LINEAR), ours(LINEAR), 1e-3)


def test_linear_models_that_are_trained_for_longer_are_told_apart():
    with pytest.raises(AssertionError, match="logits differs"):
        check_equal(benchmark.plain_panels(LINEAR), benchmark.our_panels(replace(LINEAR, epochs=40)), 1e-3)


@pytest.mark.parametrize("batch", [0, 8])
def test_stacked_methods_end_as_each_does_alone(batch):
    benchmark.check(60, 5, 1, batch)


def test_methods_that_do_other_work_are_told_apart(monkeypatch):
    monkeypatch.setattr(benchmark, "ExampleCrossEntropy", lambda eta, **tables: "cross_entropy")
    with pytest.raises(AssertionError, match="losses differs"):
        benchmark.check(60, 5, 1)


def test_looks_at_once_are_the_looks_one_by_one(monkeypatch):
    kernel = benchmark.Kernel.of(LINEAR.problem)
    which = benchmark.columns([2.0, 5.0], [0.0, 0.5], 0.01)
    look = partial(benchmark.descend, kernel, which, epochs=25, look_at=range(1, 26))
    at_once = look().accuracies
    monkeypatch.setitem(benchmark.descend.__globals__, "_LOOKED_AT_ONCE", 1)
    one_by_one = look().accuracies
    assert list(at_once) == list(one_by_one) == list(range(1, 26))
    for epoch, found in at_once.items():
        for name, values in found.items():
            assert torch.equal(values, one_by_one[epoch][name])


def half(inputs):
    return {"value": 1.0}


def test_the_ratio_is_for_equal_work():
    row = compare(Case("a half", int, half, half, repeats=1, share=0.5))
    assert row["ratio"] == pytest.approx(2 * row["plain_seconds"] / row["our_seconds"])
