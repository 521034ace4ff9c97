"""Accuracy on a set whose classes are some columns, and the distance to a teacher."""

import pytest
import torch
from torch import nn

from memorization.studies.feature_contamination.pretrained import PictureSet, collected, top1


def test_only_the_columns_of_the_set_compete():
    pictures = PictureSet("r", ("a", "b", "c"), torch.tensor([0, 1, 1]), ((1,), (3,)))
    outputs = torch.tensor([[9.0, 2.0, 9.0, 1.0], [9.0, 2.0, 9.0, 3.0], [0.0, 2.0, 0.0, 1.0]])
    assert top1(outputs, pictures) == pytest.approx(2 / 3)


def test_any_of_its_columns_wins_for_an_object():
    pictures = PictureSet("objectnet", ("a", "b"), torch.tensor([1, 1]), ((0,), (1, 2)))
    assert top1(torch.tensor([[5.0, 1.0, 6.0], [5.0, 1.0, 4.0]]), pictures) == 0.5


class Doubles(nn.Module):
    def forward(self, images):
        assert not self.training
        return 2 * images


def test_what_a_network_gives_is_collected_in_order():
    rows = torch.arange(10.0).view(5, 2)
    batches = [(rows[:3], None), (rows[3:], None)]
    assert torch.equal(collected(Doubles().train(), batches, 5), 2 * rows)


@pytest.mark.parametrize("examples", [4, 6])
def test_another_number_of_examples_is_refused(examples):
    with pytest.raises(ValueError, match=f"held 5 examples, {examples} were said"):
        collected(Doubles(), [(torch.zeros(5, 2),)], examples)
