"""Self-influence against a double loop, and the subsets that it is estimated by."""

import math

import pytest
import torch

from memorization.draws import generator
from memorization.measures.influence import random_subsets, self_influence


def test_self_influence_is_a_difference_of_two_means():
    source = generator(0, "influence")
    correct = torch.rand(12, 30, generator=source) < 0.6
    included = torch.rand(12, 30, generator=source) < 0.5
    included[0], included[1] = True, False
    found = self_influence(correct, included)
    for i in range(30):
        inside = [float(correct[m, i]) for m in range(12) if included[m, i]]
        outside = [float(correct[m, i]) for m in range(12) if not included[m, i]]
        assert found[i] == pytest.approx(sum(inside) / len(inside) - sum(outside) / len(outside))


def test_probabilities_serve_as_well():
    correct = torch.tensor([[0.9], [0.5], [0.2]], dtype=torch.float64)
    included = torch.tensor([[True], [True], [False]])
    assert self_influence(correct, included).item() == pytest.approx(0.5)


def test_an_example_that_all_or_no_models_had_has_no_estimate():
    correct = torch.tensor([[True, True, True], [False, False, False]])
    included = torch.tensor([[True, True, False], [False, True, False]])
    found = self_influence(correct, included)
    assert found[0] == 1
    assert [math.isnan(value) for value in found.tolist()] == [False, True, True]


@pytest.mark.parametrize(("fraction", "size"), [(0.7, 7), (0.25, 2), (0.96, None), (0.04, None)])
def test_each_subset_has_its_share_of_the_examples(fraction, size):
    if size is None:  # all or none of ten: nothing could be compared
        with pytest.raises(ValueError, match=r"fraction=.* of 10 examples"):
            random_subsets(5, 10, fraction, generator(0, "subsets"))
        return
    included = random_subsets(5, 10, fraction, generator(0, "subsets"))
    assert included.sum(1).tolist() == [size] * 5
    assert torch.equal(included, random_subsets(5, 10, fraction, generator(0, "subsets")))
    assert len({tuple(row.tolist()) for row in included}) > 1


def test_an_example_is_in_as_many_subsets_as_chance_has_it():
    included = random_subsets(4000, 20, 0.7, generator(1, "subsets"))
    assert (included.double().mean(0) - 0.7).abs().max() < 4 * (0.7 * 0.3 / 4000) ** 0.5


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, float("nan")])
def test_a_fraction_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction="):
        random_subsets(4, 10, fraction, generator(0, "subsets"))


def test_one_model_is_too_few():
    with pytest.raises(ValueError, match="models=1; allowed: a whole number, 2 or more"):
        random_subsets(1, 10, 0.5, generator(0, "subsets"))
    one = torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="M >= 2 models"):
        self_influence(one, one)


def test_tables_that_do_not_fit_are_refused():
    right, had = torch.ones(3, 4, dtype=torch.bool), torch.ones(3, 5, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"correct has shape \(3, 4\), included \(3, 5\)"):
        self_influence(right, had)
    with pytest.raises(ValueError, match=r"torch.int64.*the second of bool"):
        self_influence(right, right.long())
