"""What the benchmark of training compares is the same work."""

import sys
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import _loops
import torch
import training as benchmark

from memorization.training.recipe import Recipe


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("MEMORIZATION_DATA", str(tmp_path))


@pytest.mark.parametrize("network", ["small_cnn", "linear"])
def test_both_loops_end_at_the_same_weights(no_data, network):
    _loops.check_loops(network, "mnist")


def test_loops_that_do_other_work_are_told_apart(no_data, monkeypatch):
    monkeypatch.setattr(_loops, "Recipe", partial(Recipe, learning_rate=2e-3))
    with pytest.raises(AssertionError, match="weights differs"):
        _loops.check_loops("linear", "mnist")


@pytest.mark.parametrize(("policy", "dataset"), [("full", "cifar10"), ("isometry", "mnist")])
def test_torchvision_makes_views_of_the_size_that_ours_have(no_data, policy, dataset):
    work = _loops.training("linear", policy, 4, dataset, 4)
    pictures = _loops.Pictures(work)
    ours, _ = _loops.views_of(work).batch(torch.arange(4)[None], 0)
    assert [image.shape for image, _ in (pictures[i] for i in range(4))] == [image.shape for image in ours[0]]
    assert [label for _, label in (pictures[i] for i in range(4))] == work.labels.tolist()


def test_without_a_data_set_the_row_says_so(no_data):
    case = benchmark.loop_case("linear", "full", 4, "cifar10", 8, 1)
    assert "8 random images of the size of CIFAR-10's" in case.work


@pytest.mark.parametrize("way", ["batched", "vmap"])
@pytest.mark.parametrize("network", ["mlp", "small_cnn"])
def test_stacked_networks_end_at_the_weights_that_each_has_alone(network, way):
    benchmark.check_stack(network, way)


def test_a_stack_that_does_other_work_is_told_apart(monkeypatch):
    other = partial(benchmark.stacked, way="batched")
    monkeypatch.setattr(benchmark, "stacked", lambda inputs, way: {"weights": 2 * other(inputs)["weights"]})
    with pytest.raises(AssertionError, match="weights differs"):
        benchmark.check_stack("mlp", "batched")
