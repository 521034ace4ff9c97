"""Queries of a class that no reference row has count as wrong, and are told."""

import pytest
import torch

from memorization.measures.probes import AbsentClassWarning, knn_probe, linear_probe, nearest, noise_probe

ROWS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 0, 1, 1, 4, 4])
ABSENT = (
    r"2 of 4 queries have a class that no reference row has \(2, 3\) and count as wrong; add reference rows"
)


@pytest.mark.parametrize("probe", [lambda *given: knn_probe(*given, k=1), linear_probe])
def test_both_probes_tell_of_classes_that_they_cannot_name(probe):
    with pytest.warns(AbsentClassWarning, match=ABSENT) as told:
        found = probe(ROWS, LABELS, ROWS[:4], torch.tensor([0, 2, 1, 3]))
    assert len(told) == 1
    assert found.correct.tolist() == [True, False, True, False]


@pytest.mark.filterwarnings("error")
def test_classes_that_are_all_there_are_not_told():
    knn_probe(ROWS, LABELS, ROWS[:3], torch.tensor([0, 4, 1]), k=1)
    noise_probe(ROWS, LABELS, k=2)
    assert nearest(ROWS, ROWS, 1).accuracy(LABELS, LABELS) == 1.0
