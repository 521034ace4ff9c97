"""Accuracies of networks whose answers are known, and batch-norm statistics against numbers made by hand."""

import pytest
import torch
from torch import nn

from memorization.measures.accuracy import (
    bank_accuracy,
    calibrated,
    class_scores,
    memorization_accuracies,
)


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
    with pytest.raises(ValueError, match=f"draws={draws}; allowed: a whole number, 1 or more"):
        memorization_accuracies(
            Brightness(), levels(0.0), torch.tensor([0]), sometimes_inverted, source(), draws=draws
        )


def test_images_of_another_range_are_refused():
    with pytest.raises(ValueError, match=r"images have values from 2 to 2; allowed: \[0, 1\]"):
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


def test_images_in_a_numpy_array_are_refused_with_what_to_give():
    with pytest.raises(TypeError, match="images: got a ndarray; allowed: a tensor, such as"):
        class_scores(Brightness(), levels(0.0).numpy())
    with pytest.raises(TypeError, match="training labels: got a ndarray; allowed: a tensor"):
        memorization_accuracies(Brightness(), levels(0.0), torch.tensor([0]).numpy())


def test_scores_are_those_of_the_network_in_evaluation_mode():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)).train()
    images = torch.rand(7, 1, 2, 2)
    scores = class_scores(model, images, batch=3)
    assert model.training
    assert torch.allclose(scores, model.eval()(images))


@pytest.mark.parametrize(
    ("model", "given"), [(nn.Identity(), r"\(3, 1, 2, 2\)"), (nn.Flatten(0), r"\(12,\)")]
)
def test_a_network_without_one_row_of_scores_per_image_is_refused(model, given):
    with pytest.raises(ValueError, match=rf"must map 3 images to scores of shape \(3, C\); got {given}"):
        class_scores(model, torch.rand(3, 1, 2, 2))


class Broken(nn.Module):
    """Gives NaN or Inf for the images whose first pixel says so."""

    def forward(self, images):
        return images[:, 0, 0, :1].repeat(1, 3)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_scores_that_are_not_finite_name_no_class(value):
    images = torch.zeros(5, 1, 2, 2)
    images[3, 0, 0, 0] = value
    with pytest.raises(
        ValueError, match="network gives NaN or Inf for 1 of 5 images; a network that diverged cannot"
    ):
        class_scores(Broken(), images, batch=2)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.9), nn.Flatten(), nn.Linear(12, 4),
        nn.BatchNorm1d(4),
    )  # fmt: skip


def pictures(n=10):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_one_batch_stores_its_mean_and_unbiased_variance():
    model = network()
    twin = calibrated(model, pictures())
    first = model[0](pictures()).transpose(0, 1).flatten(1)  # (channels, values)
    assert torch.allclose(twin[1].running_mean, first.mean(dim=1), atol=1e-6)
    assert torch.allclose(twin[1].running_var, first.var(dim=1), atol=1e-6)


def test_a_deeper_layer_sees_batches_normalized_by_their_own_statistics():
    model = network()
    twin = calibrated(model, pictures())
    hidden = model[0](pictures())
    mean, variance = (
        hidden.mean(dim=(0, 2, 3), keepdim=True),
        hidden.var(dim=(0, 2, 3), keepdim=True, correction=0),
    )
    second = model[5](((hidden - mean) / (variance + 1e-5).sqrt()).relu().flatten(1))
    assert torch.allclose(twin[6].running_mean, second.mean(dim=0), atol=1e-5)
    assert torch.allclose(twin[6].running_var, second.var(dim=0), atol=1e-5)


def test_batches_are_averaged_by_their_sizes():
    model = network()
    twin = calibrated(model, pictures(), batch=4)  # 4, 3 and 3 images
    parts = pictures().split([4, 3, 3])
    values = [model[0](part).transpose(0, 1).flatten(1) for part in parts]
    mean = sum(len(part) * value.mean(dim=1) for part, value in zip(parts, values, strict=True)) / 10
    variance = sum(len(part) * value.var(dim=1) for part, value in zip(parts, values, strict=True)) / 10
    assert torch.allclose(twin[1].running_mean, mean, atol=1e-6)
    assert torch.allclose(twin[1].running_var, variance, atol=1e-6)


def test_what_the_statistics_were_before_does_not_matter():
    model, moved = network(), network()
    moved[1].running_mean.fill_(torch.nan)
    assert torch.equal(
        calibrated(model, pictures())[1].running_mean, calibrated(moved, pictures())[1].running_mean
    )


def test_the_original_and_all_weights_stay():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = calibrated(model, pictures())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in twin.named_parameters())


def test_the_copy_has_the_modes_and_momenta_of_the_original():
    model = network().train()
    model[1].eval()
    model[6].momentum = 0.3
    twin = calibrated(model, pictures())
    assert [module.training for module in twin] == [module.training for module in model]
    assert [twin[1].momentum, twin[6].momentum] == [0.1, 0.3]


def test_a_network_without_batch_norm_comes_back_as_an_equal_copy():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    twin = calibrated(model, pictures())
    assert twin is not model
    assert torch.equal(twin(pictures()), model(pictures()))


def test_batch_norm_without_running_statistics_is_left_alone():
    model = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.BatchNorm2d(1))
    twin = calibrated(model, pictures())
    assert twin[0].running_mean is None
    assert twin[1].running_mean.abs() < 1e-6


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="at least one image is needed"):
        calibrated(network(), pictures(0))
