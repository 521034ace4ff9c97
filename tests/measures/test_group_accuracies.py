"""Accuracies of groups: worst of those that are there, and two averages."""

import math

import pytest
import torch

from memorization.draws import generator
from memorization.measures.accuracy import group_accuracies

PREDICTIONS = torch.tensor([0, 0, 1, 1, 1, 0, 0])
LABELS = torch.tensor([0, 0, 0, 1, 1, 1, 1])
GROUPS = torch.tensor([0, 0, 1, 3, 3, 3, 3])  # group 2 is empty


def test_each_group_has_the_mean_of_its_own_examples():
    source = generator(0, "groups")
    labels, said, groups = (torch.randint(3, (200,), generator=source) for _ in range(3))
    found = group_accuracies(said, labels, groups, 3)
    for g in range(3):
        rows = [i for i in range(200) if groups[i] == g]
        assert found.groups[g] == sum(bool(said[i] == labels[i]) for i in rows) / len(rows)
        assert found.counts[g] == len(rows)
    assert found.worst == min(found.groups.tolist())


def test_an_empty_group_is_not_a_number_and_not_the_worst_one():
    found = group_accuracies(PREDICTIONS, LABELS, GROUPS, 4)
    assert found.groups[:2].tolist() == [1.0, 0.0]
    assert math.isnan(found.groups[2])
    assert found.groups[3] == 0.5
    assert found.counts.tolist() == [2, 1, 0, 4]
    assert found.worst == 0
    there = GROUPS != 1
    assert group_accuracies(PREDICTIONS[there], LABELS[there], GROUPS[there], 4).worst == 0.5


def test_the_plain_average_counts_examples_and_the_other_one_a_given_mix():
    found = group_accuracies(PREDICTIONS, LABELS, GROUPS, 4)
    assert found.average == pytest.approx(4 / 7)
    assert found.average_at(torch.tensor([90, 2, 0, 8])) == pytest.approx(0.9 + 0.02 * 0 + 0.08 * 0.5)
    assert found.average_at(found.counts) == pytest.approx(found.average)


def test_an_average_that_asks_for_a_missing_group_is_not_a_number():
    found = group_accuracies(PREDICTIONS, LABELS, GROUPS, 4)
    assert math.isnan(found.average_at(torch.tensor([1, 1, 1, 1])))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": GROUPS + 1}, r"groups lie in 1\.\.4; allowed: 0\.\.3"),
        ({"groups": GROUPS - 1}, r"groups lie in -1\.\.2; allowed: 0\.\.3"),
        ({"predictions": PREDICTIONS[:3]}, r"predictions have shape \(3,\) for 7 labels"),
        ({"predictions": PREDICTIONS[None]}, r"predictions have shape \(1, 7\)"),
        ({"count": 0}, "count=0; allowed: a whole number, 1 or more"),
        (dict.fromkeys(("predictions", "labels", "groups"), LABELS[:0]), "at least one"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change, message):
    given = {"predictions": PREDICTIONS, "labels": LABELS, "groups": GROUPS, "count": 4} | change
    with pytest.raises(ValueError, match=message):
        group_accuracies(**given)
