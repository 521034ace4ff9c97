"""Memorization accuracies of networks whose answers are known."""

import pytest
import torch
from torch import nn

from memorization.measures.accuracy import bank_accuracy, memorization_accuracies


class Brightness(nn.Module):
    """Three scores; the largest is that of the class that the brightness names: 0, 0.5 or 1."""

    def forward(self, images):
        level = images.flatten(1).mean(dim=1, keepdim=True)
        return -(level - torch.tensor([0.0, 0.5, 1.0])).abs()


def levels(*values):
    return torch.tensor(values)[:, None, None, None].expand(-1, 1, 2, 2)


def sometimes_inverted(images, chance, strength=1.0):
    turned = torch.rand(len(images), 1, 1, 1, generator=chance) < 0.5 * strength
    return torch.where(turned, 1 - images, images)


def source(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_clean_view_is_the_image_itself():
    found = memorization_accuracies(Brightness(), levels(0.0, 0.5, 1.0, 1.0), torch.tensor([0, 1, 2, 0]))
    assert found == {"clean_view": 0.75}


def test_fresh_views_are_drawn_for_every_image_and_averaged():
    images, labels = levels(*[0.0] * 3000), torch.zeros(3000, dtype=torch.int64)
    found = memorization_accuracies(
        Brightness(), images, labels, sometimes_inverted, source(), draws=3, strength=0.5, batch=700
    )
    assert found["clean_view"] == 1.0
    assert found["fresh_view"] == pytest.approx(0.75, abs=3 * (0.75 * 0.25 / 9000) ** 0.5)


def test_more_draws_are_other_draws():
    images, labels = levels(*[0.0] * 50), torch.zeros(50, dtype=torch.int64)
    one, four = (
        memorization_accuracies(Brightness(), images, labels, sometimes_inverted, source(), draws=draws)
        for draws in (1, 4)
    )
    assert one["fresh_view"] != four["fresh_view"]


def test_one_generator_state_gives_one_result():
    images, labels = levels(*[0.0] * 50), torch.zeros(50, dtype=torch.int64)
    first, second = (
        memorization_accuracies(Brightness(), images, labels, sometimes_inverted, source()) for _ in range(2)
    )
    assert first == second


def test_the_mode_is_restored():
    model = Brightness().train()
    memorization_accuracies(model, levels(0.0), torch.tensor([0]))
    assert model.training


def test_views_without_a_source_of_chance_are_refused():
    with pytest.raises(ValueError, match="pass a generator with the policy"):
        memorization_accuracies(Brightness(), levels(0.0), torch.tensor([0]), sometimes_inverted)


@pytest.mark.parametrize("draws", [0, 1.5])
def test_a_number_of_draws_that_is_none_is_refused(draws):
    with pytest.raises(ValueError, match=f"draws must be a whole number >= 1; got {draws}"):
        memorization_accuracies(
            Brightness(), levels(0.0), torch.tensor([0]), sometimes_inverted, source(), draws=draws
        )


def test_images_of_another_range_are_refused():
    with pytest.raises(ValueError, match=r"images: expected float images in \[0,1\]; got values from 2 to 2"):
        memorization_accuracies(Brightness(), levels(2.0), torch.tensor([0]))


def test_a_label_that_the_network_has_no_score_for_is_refused():
    with pytest.raises(ValueError, match=r"training label 3 of row 1 is outside 0\.\.2"):
        memorization_accuracies(Brightness(), levels(0.0, 0.0), torch.tensor([0, 3]))


def test_labels_of_another_length_are_refused():
    with pytest.raises(ValueError, match=r"training: one label per row .* 2 rows and labels of shape \(1,\)"):
        memorization_accuracies(Brightness(), levels(0.0, 0.0), torch.tensor([0]))


BANK = torch.stack([levels(0.0, 0.5), levels(0.0, 0.5), levels(1.0, 0.0)], dim=1)  # 2 images, 3 views


def test_shared_labels_are_those_of_every_view():
    assert bank_accuracy(Brightness(), BANK, torch.tensor([0, 1]), batch=2) == pytest.approx(4 / 6)


def test_each_view_can_have_a_label_of_its_own():
    labels = torch.tensor([[0, 0, 2], [1, 1, 1]])
    assert bank_accuracy(Brightness(), BANK, labels, batch=4) == pytest.approx(5 / 6)


@pytest.mark.parametrize("shape", [(3,), (2, 2), (6,)])
def test_labels_that_fit_neither_images_nor_views_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"must have shape \(2,\), shared by the views, or \(2, 3\), one per view"
    ):
        bank_accuracy(Brightness(), BANK, torch.zeros(shape, dtype=torch.int64))


@pytest.mark.parametrize("bank", [BANK[:, :0], BANK[:, 0], BANK.to(torch.uint8)])
def test_a_bank_without_float_views_is_refused(bank):
    with pytest.raises(ValueError, match="the bank must hold float views of shape"):
        bank_accuracy(Brightness(), bank, torch.tensor([0, 1]))
