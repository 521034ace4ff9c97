"""What the benchmark of random-label heads compares is the same work."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import random_label_heads as benchmark
from harness import check_equal


@pytest.mark.parametrize("classes", [3, 40], ids=["one product", "gathered"])
def test_heads_of_all_classes_take_the_steps_of_a_loop(classes):
    inputs = benchmark.head_steps(3, classes, batch=32, width=6)
    check_equal(benchmark.plain_heads(inputs), benchmark.our_heads(inputs), 1e-5)


def test_heads_that_take_other_steps_are_told_apart(monkeypatch):
    inputs = benchmark.head_steps(3, 3, batch=32, width=6)
    plain = benchmark.plain_heads(inputs)
    monkeypatch.setattr(benchmark, "HEAD_RATE", 0.6)
    with pytest.raises(AssertionError, match="weights differs"):
        check_equal(plain, benchmark.our_heads(inputs), 1e-5)


def test_stacked_seeds_end_as_each_does_alone():
    benchmark.check(2, 5)


def test_heads_that_change_the_network_are_told_apart(monkeypatch):
    loss = benchmark.RandomLabelLoss
    monkeypatch.setattr(benchmark, "RandomLabelLoss", lambda *what, **how: loss(*what, mode="joint", **how))
    with pytest.raises(AssertionError, match="differs by"):
        benchmark.check(1, 5)


def test_labellings_by_one_factorization_are_those_fitted_one_by_one():
    inputs = benchmark.labellings(6, m=200, d=7)
    plain, ours = benchmark.plain_labellings(inputs), benchmark.our_labellings(inputs)
    torch.testing.assert_close(plain["shares"], ours["shares"])
    other = benchmark.our_labellings(replace(inputs, features=inputs.features.flip(0)))
    assert not torch.allclose(ours["shares"], other["shares"])


def test_heads_that_look_on_leave_the_network_as_it_is_without_them():
    inputs = benchmark.images((4, 6), (1, 2), 3, 4, 24, 12, 2)
    plain, ours = benchmark.plain_images(inputs), benchmark.our_images(inputs)
    check_equal(plain, ours, 0.0)
    fresh = benchmark.weights_found(inputs.network)
    assert not torch.equal(plain["weights"], fresh["weights"])
