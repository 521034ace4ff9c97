"""Networks in evaluation mode, and the images that measures accept."""

import pytest
import torch
from torch import nn

from memorization.measures.accuracy import check_images, class_scores, evaluating


def test_scores_are_those_of_the_network_in_evaluation_mode():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3)).train()
    images = torch.rand(7, 1, 2, 2)
    scores = class_scores(model, images, batch=3)
    assert model.training
    assert torch.allclose(scores, model.eval()(images))


def test_no_gradient_is_kept_while_evaluating():
    model = nn.Linear(2, 2)
    with evaluating(model):
        assert not model(torch.ones(1, 2)).requires_grad
    assert model(torch.ones(1, 2)).requires_grad


@pytest.mark.parametrize(
    ("model", "given"), [(nn.Identity(), r"\(3, 1, 2, 2\)"), (nn.Flatten(0), r"\(12,\)")]
)
def test_a_network_without_one_row_of_scores_per_image_is_refused(model, given):
    with pytest.raises(ValueError, match=rf"must map 3 images to scores of shape \(3, C\); got {given}"):
        class_scores(model, torch.rand(3, 1, 2, 2))


def test_images_of_whole_numbers_are_refused():
    with pytest.raises(ValueError, match=r"images: expected float images in \[0,1\]; got torch\.uint8"):
        check_images(torch.zeros(1, 1, 2, 2, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("value", "given"), [(255.0, "0 to 255"), (-0.5, "-0.5 to 0"), (torch.nan, "nan to nan")]
)
def test_images_outside_the_unit_range_are_refused(value, given):
    images = torch.zeros(2, 1, 2, 2)
    images[1, 0, 0, 0] = value
    with pytest.raises(
        ValueError, match=rf"test images: expected float images in \[0,1\]; got values from {given}"
    ):
        check_images(images, "test images")


def test_images_need_four_axes():
    with pytest.raises(
        ValueError, match=r"expected images of shape \(n, channels, height, width\); got \(3, 2\)"
    ):
        check_images(torch.zeros(3, 2))


def test_the_ends_of_the_range_are_allowed():
    check_images(torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2))


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
