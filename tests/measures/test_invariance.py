"""Invariance of feature maps whose value is known."""

import pytest
import torch
from torch import nn

from memorization.measures.sites import invariance


@pytest.fixture
def images():
    return torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def source():
    return torch.Generator().manual_seed(1)


def same(images, chance, strength=1.0):
    return images


def only_noise(images, chance, strength=1.0):
    return torch.rand(images.shape, generator=chance)


def noisy(images, chance, strength=1.0):
    return images + strength * torch.randn(images.shape, generator=chance)


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False))


def test_views_that_are_the_image_itself_are_invariant(images):
    assert invariance(model(), images, same, ["0", "1"], source()) == {"0": 0.0, "1": 0.0}


def test_views_that_say_nothing_of_the_image_are_as_far_apart_as_two_images(images):
    found = invariance(model(), images, only_noise, ["0", "1"], source(), views=64)
    assert list(found.values()) == pytest.approx([1, 1], abs=0.08)


def test_a_value_in_between_is_that_of_the_definition(images):
    found = invariance(nn.Sequential(nn.Flatten()), images, noisy, ["0"], source(), views=4, strength=0.2)
    chance, same_sum, different_sum = source(), 0.0, 0.0
    for _ in range(2):
        first, second = (nn.functional.normalize(noisy(images, chance, 0.2).flatten(1)) for _ in range(2))
        for i in range(200):
            same_sum += float((first[i] - second[i]).square().sum())
            different_sum += float((first[i] - second[i - 1]).square().sum())
    assert found["0"] == pytest.approx(same_sum / different_sum, rel=1e-5)
    assert 0.05 < found["0"] < 0.95


def test_the_scale_of_the_features_does_not_matter(images):
    plain = invariance(nn.Sequential(nn.Flatten()), images, noisy, ["0"], source())
    scaled = invariance(
        nn.Sequential(nn.Flatten()), images, lambda x, g, strength: 9 * noisy(x, g, strength), ["0"], source()
    )
    assert scaled["0"] == pytest.approx(plain["0"], rel=1e-5)


def test_one_feature_for_all_images_is_undefined(images):
    constant = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.zeros_(constant[1].weight)
    with pytest.warns(UserWarning, match="site '1' has one feature for all images"):
        found = invariance(constant, images, noisy, ["1"], source())
    assert found["1"] != found["1"]


def test_dead_features_are_reported(images):
    dead = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.zeros_(dead[1].weight)
    nn.init.zeros_(dead[1].bias)
    with (
        pytest.warns(UserWarning, match="400 of 400 rows of the site '1' features are zero"),
        pytest.warns(UserWarning, match="one feature for all images"),
    ):
        invariance(dead, images, noisy, ["1"], source(), views=2)


@pytest.mark.parametrize("views", [0, 3, 2.0])
def test_views_come_in_pairs(images, views):
    with pytest.raises(ValueError, match=f"an even number >= 2 is needed; got {views}"):
        invariance(model(), images, same, ["0"], source(), views=views)


def test_one_image_is_not_enough(images):
    with pytest.raises(ValueError, match="at least two are needed; got 1"):
        invariance(model(), images[:1], same, ["0"], source())


def test_images_of_whole_numbers_are_refused(images):
    with pytest.raises(ValueError, match=r"expected float images in \[0,1\]"):
        invariance(model(), (255 * images).to(torch.uint8), same, ["0"], source())


def test_an_unknown_site_is_answered_with_the_available_ones(images):
    with pytest.raises(KeyError, match="no site 'embedding'; available are 0, 1"):
        invariance(model(), images, same, ["embedding"], source())
