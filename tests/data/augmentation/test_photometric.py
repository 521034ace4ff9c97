import pytest
import torch
from scipy import stats

from memorization.data.augmentation.colors import (
    BRIGHTNESS,
    CONTRAST,
    SATURATION,
    Jitter,
    blend_,
    blur_,
    draw_jitter,
    gray_of,
    grayscale_,
    hue_rotation,
    jitter_,
    sharpen,
    shift_hue,
)
from memorization.data.files import load_torchvision
from memorization.draws import Draws, generator

transforms = load_torchvision().transforms
functional = transforms.functional
ADJUST = [
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
]
RANGES = (0.8, 0.8, 0.8, 0.2)


@pytest.fixture
def images():
    """Random colors, pure colors, grays, black and white."""
    images = torch.rand(80, 3, 16, 16, generator=generator(0, "images"))
    images[:10] = (images[:10] > 0.5).float()
    images[10:20] = images[10:20, :1]
    images[20], images[21] = 0, 1
    return images


def numbers(n, low, high):
    return low + torch.rand(n, generator=generator(0, "numbers")) * (high - low)


def each(function, images, values):
    return torch.stack([function(image, float(v)) for image, v in zip(images, values, strict=True)])


@pytest.mark.parametrize("kind", [BRIGHTNESS, CONTRAST, SATURATION])
@pytest.mark.parametrize("channels", [1, 3])
def test_brightness_contrast_and_saturation_equal_torchvision(images, kind, channels):
    images, factor = images[:, :channels], numbers(80, 0, 2)
    ours = blend_(images.clone(), factor, torch.full((80,), kind))
    assert (ours - each(ADJUST[kind], images, factor)).abs().max() < 1e-6


def test_hue_equals_torchvision(images):
    shift = numbers(80, -0.5, 0.5)
    assert (shift_hue(images, shift) - each(functional.adjust_hue, images, shift)).abs().max() < 1e-5


def test_grayscale_equals_torchvision_where_it_is_chosen(images):
    chosen = torch.arange(80) % 3 == 0
    ours = grayscale_(images.clone(), chosen)
    expected = functional.rgb_to_grayscale(images, num_output_channels=3)
    assert (ours[chosen] - expected[chosen]).abs().max() < 1e-6
    assert torch.equal(ours[~chosen], images[~chosen])


def test_blur_equals_torchvision_where_sigma_is_positive(images):
    sigma = numbers(80, 0.1, 2) * (torch.arange(80) % 4 > 0)
    for image, s, ours in zip(images, sigma.tolist(), blur_(images.clone(), sigma), strict=True):
        expected = functional.gaussian_blur(image, [3, 3], [s, s]) if s else image
        assert (ours - expected).abs().max() < 1e-6


@pytest.mark.parametrize("size", [2, 16])
def test_sharpness_equals_torchvision(images, size):
    images, factor = images[..., :size, :size], numbers(80, 0, 2)
    assert (sharpen(images, factor) - each(functional.adjust_sharpness, images, factor)).abs().max() < 1e-6


def test_jitter_in_each_images_own_order_equals_torchvision(images):
    jitter = draw_jitter(Draws.of(generator(0, "x"), 80), 0.8, RANGES, 1.0)
    expected = images.clone()
    for i in range(80):
        for kind in jitter.order[i].tolist():
            expected[i] = ADJUST[kind](expected[i], float(jitter.factors[i, kind]))
    assert (jitter_(images.clone(), jitter) - expected).abs().max() < 1e-5


def test_all_orders_of_the_jitter_are_equally_likely():
    order = draw_jitter(Draws.of(generator(0, "x"), 48_000), 0.8, RANGES, 1.0).order
    codes = (order * torch.tensor([64, 16, 4, 1])).sum(dim=1)
    _, counts = codes.unique(return_counts=True)
    assert len(counts) == 24
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_the_jitters_numbers_follow_the_law_of_torchvision():
    factors = draw_jitter(Draws.of(generator(0, "x"), 20_000), 1.0, RANGES, 1.0).factors
    theirs = transforms.ColorJitter(*RANGES)
    ranges = (theirs.brightness, theirs.contrast, theirs.saturation, theirs.hue)
    for column, (low, high) in zip(factors.double().T.numpy(), ranges, strict=True):
        assert stats.kstest(column, "uniform", (low, high - low)).pvalue > 1e-3


def test_a_jitter_that_is_not_drawn_changes_nothing(images):
    jitter = draw_jitter(Draws.of(generator(0, "x"), 80), 0.5, RANGES, 1.0)
    still = (jitter.factors == torch.tensor([1.0, 1.0, 1.0, 0.0])).all(dim=1)
    assert 20 < int(still.sum()) < 60
    assert torch.equal(jitter_(images.clone(), jitter)[still], images[still])


def test_ranges_grow_with_strength_and_no_factor_is_negative():
    strength = torch.tensor([0.0, 0.5, 3.0]).repeat_interleave(5000).unsqueeze(1)
    factors = draw_jitter(Draws.of(generator(0, "x"), 15_000), 1.0, RANGES, strength).factors
    none, half, much = factors.split(5000)
    assert (none == torch.tensor([1.0, 1.0, 1.0, 0.0])).all()
    assert float(half[:, 0].max()) == pytest.approx(1.4, abs=0.01)
    assert float(half[:, 3].min()) == pytest.approx(-0.1, abs=0.01)
    assert float(much[:, 0].min()) >= 0
    assert float(much[:, 0].max()) == pytest.approx(3.4, abs=0.01)
    assert float(much[:, 3].abs().max()) <= 0.5


def test_images_in_double_precision_stay_in_it(images):
    jitter = draw_jitter(Draws.of(generator(0, "x"), 80), 0.8, RANGES, 1.0)
    double = jitter_(images.double(), jitter)
    assert double.dtype == torch.float64
    assert (double - jitter_(images.clone(), jitter)).abs().max() < 1e-4


def test_a_rotation_of_the_hue_turns_red_into_green_and_keeps_gray():
    matrix = hue_rotation(torch.tensor([0.0, 1 / 3, 0.07]))
    assert (matrix[0] - torch.eye(3)).abs().max() < 1e-6
    assert (matrix[1] @ torch.tensor([1.0, 0, 0]) - torch.tensor([0.0, 1, 0])).abs().max() < 1e-6
    assert (matrix @ torch.ones(3) - 1).abs().max() < 1e-6


def test_gray_of_one_channel_is_a_copy():
    images = torch.rand(2, 1, 4, 4)
    gray_of(images).zero_()
    assert float(images.min()) > 0


def test_one_image_is_enough():
    jitter = Jitter(torch.tensor([[1.2, 0.9, 1.1, 0.1]]), torch.tensor([[3, 0, 2, 1]]))
    assert jitter_(torch.rand(1, 3, 4, 4), jitter).shape == (1, 3, 4, 4)
