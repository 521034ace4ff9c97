import math

import pytest
import torch
from scipy import stats

from memorization.data.augmentation.colors import hue_rotation
from memorization.data.augmentation.policies import Policy, augmentation
from memorization.data.augmentation.small_images import (
    SMALL_IMAGES,
    FlipCutoutCrop,
    SmallDigits,
    SmallViews,
)
from memorization.data.files import load_torchvision
from memorization.draws import Draws, generator

functional = load_torchvision().transforms.functional
GRAY = torch.tensor([0.299, 0.587, 0.114])


def draw(name, n=20_000, strength=1.0, size=4, channels=3):
    return SMALL_IMAGES[name].draw(Draws.of(generator(0, "x"), n), channels, size, strength)


def pictures(n=20, channels=3, size=9):
    return torch.rand(n, channels, size, size, generator=generator(0, "images"), dtype=torch.float64)


def bilinear(image, maps):
    """Sample one channel at affine places, pixel by pixel, zeros outside."""
    size = len(image)
    out = torch.zeros_like(image)
    for row in range(size):
        for column in range(size):
            place = torch.tensor([2 * column + 1 - size, 2 * row + 1 - size, size]).double() / size
            x, y = ((maps.double() @ place + 1) * size / 2 - 0.5).tolist()
            for i in (math.floor(y), math.floor(y) + 1):
                for j in (math.floor(x), math.floor(x) + 1):
                    if 0 <= i < size and 0 <= j < size:
                        out[row, column] += image[i, j] * (1 - abs(y - i)) * (1 - abs(x - j))
    return out


@pytest.mark.parametrize("name", ["small_digits", "small_color"])
def test_places_are_sampled_bilinearly_with_zeros_outside(name):
    images, maps = pictures(6, 1), draw(name, 6).maps
    views = SmallViews(maps, torch.ones(6, 1, 1, 1))
    ours = SMALL_IMAGES["small_digits"].apply(images, views)
    expected = torch.stack([bilinear(image[0], m) for image, m in zip(images, maps, strict=True)])
    assert (ours[:, 0] - expected).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("name", "degrees", "scale", "anisotropy", "shift"),
    [("small_digits", 20, 0.2, 0.15, 0.25), ("small_mnist", 15, 0.15, 0.1, 0.15)],
)
@pytest.mark.parametrize("s", [0.5, 1.0])
def test_the_map_of_digits_has_the_stated_ranges(name, degrees, scale, anisotropy, shift, s):
    maps = draw(name, strength=s).maps.double()
    first, second = maps[:, :, 0], maps[:, :, 1]  # R's columns, stretched
    angle = torch.atan2(first[:, 1], first[:, 0]) * 180 / math.pi
    width, height = first.norm(dim=1), second.norm(dim=1)
    assert (first * second).sum(dim=1).abs().max() < 1e-6
    laws = {
        degrees: angle,
        scale: (width * height).sqrt() - 1,
        anisotropy: (width / height).log() / 2,
        shift: maps[:, 0, 2],
    }
    for reach, values in laws.items():
        assert stats.kstest(values.numpy(), "uniform", (-reach * s, 2 * reach * s)).pvalue > 1e-3
    assert stats.kstest(maps[:, 1, 2].numpy(), "uniform", (-shift * s, 2 * shift * s)).pvalue > 1e-3


def test_brightness_and_noise_of_digits_have_the_stated_laws():
    views = draw("small_digits", strength=0.5, channels=1)
    assert stats.kstest(views.factor.flatten().numpy(), "uniform", (0.85, 0.3)).pvalue > 1e-3
    assert stats.kstest(views.noise.flatten().numpy(), "norm", (0, 0.05)).pvalue > 1e-3


@pytest.mark.parametrize("name", ["small_fashion", "small_color"])
@pytest.mark.parametrize("s", [0.5, 1.0])
def test_crops_have_the_stated_ranges_and_lie_inside(name, s):
    maps = draw(name, strength=s).maps.double()
    width, height = maps[:, 0, 0].abs(), maps[:, 1, 1]
    inside = (width < 1) & (height < 1)  # where no side was cut
    area, aspect = (width * height)[inside], (width / height)[inside]
    assert float(area.min()) == pytest.approx(1 - 0.5 * s, abs=0.01)
    least = 1 - 0.25 * s
    assert float(aspect.min()) == pytest.approx(least, abs=0.01)
    assert float(aspect.max()) == pytest.approx(1 / least, abs=0.02)
    assert float((maps[:, :, 2].abs() + torch.stack([width, height], 1)).max()) <= 1 + 1e-6
    assert stats.binomtest(int((maps[:, 0, 0] < 0).sum()), 20_000).pvalue > 1e-3


def test_colors_of_fashion_images_change_with_probability_08_and_stated_ranges():
    views = draw("small_fashion", strength=0.5, channels=1)
    changed = (views.factor != 1) | (views.level != 0)
    assert stats.binomtest(int(changed.sum()), 20_000, 0.8).pvalue > 1e-3
    factor, level = views.factor[changed].double(), views.level[changed].double()
    brightness = factor + level  # a gray image is only made brighter
    assert stats.kstest(brightness.numpy(), "uniform", (0.8, 0.4)).pvalue > 1e-3
    assert stats.kstest((factor / brightness).numpy(), "uniform", (0.8, 0.4)).pvalue > 1e-3
    assert stats.kstest(views.noise.flatten().numpy(), "norm", (0, 0.025)).pvalue > 1e-3


def test_one_matrix_equals_brightness_contrast_saturation_and_hue_one_after_the_other():
    images, views = pictures(200), draw("small_color", 200, 1.0, 9)
    plain = SMALL_IMAGES["small_digits"].apply(images, SmallViews(views.maps, torch.ones(200, 1, 1, 1)))
    ours = SMALL_IMAGES["small_color"].apply(images, views)
    brightness = (views.factor + views.level).double()
    contrast = views.factor.double() / brightness
    bright = plain * brightness
    mean = torch.einsum("c,bchw->b", GRAY.double(), bright)[:, None, None, None] / 81
    matrix = views.colors.double() / views.factor[..., 0].double()
    step = bright * contrast + mean * (1 - contrast)
    assert (ours - torch.einsum("bij,bjhw->bihw", matrix, step)).abs().max() < 1e-5


def test_the_color_matrix_is_saturation_then_a_turn_about_the_gray_axis():
    views = draw("small_color", 3000, 1.0)
    matrix = (views.colors / views.factor[..., 0]).double()
    assert (matrix @ torch.ones(3, dtype=torch.float64) - 1).abs().max() < 1e-5  # gray stays gray
    gray = (matrix - matrix[:, :1]).abs().amax(dim=(1, 2)) < 1e-6
    assert stats.binomtest(int(gray.sum()), 3000, 0.2).pvalue > 1e-3
    colored = matrix[~gray]
    saturation = torch.linalg.det(colored).clamp(min=0).sqrt()  # it stretches two of three directions
    changed = (saturation - 1).abs() > 1e-5
    assert stats.binomtest(int(changed.sum()), len(colored), 0.8).pvalue > 1e-3
    assert stats.kstest(saturation[changed].numpy(), "uniform", (0.6, 0.8)).pvalue > 1e-3
    # H S = (1 + k) H - k 1 w': what the hue leaves has three equal diagonals, S H would not
    turn = (colored + (saturation - 1)[:, None, None] * GRAY.double())[changed]
    assert turn.diagonal(dim1=1, dim2=2).std(dim=1).max() < 1e-4


def test_the_grayscale_probability_grows_with_the_strength_up_to_02():
    for s, p in ((0.5, 0.1), (1.0, 0.2), (3.0, 0.2)):
        views = draw("small_color", strength=s)
        rows = views.colors - views.colors[:, :1]
        share = int((rows.abs().amax(dim=(1, 2)) < 1e-6).sum())
        assert stats.binomtest(share, 20_000, p).pvalue > 1e-3


def test_the_named_policies_are_the_stated_ones():
    assert SMALL_IMAGES["small_digits"] == SmallDigits(20, 0.2, 0.15, 0.25, 0.3, 0.1)
    assert SMALL_IMAGES["small_mnist"] == SmallDigits(15, 0.15, 0.1, 0.15, 0.3, 0.1)
    assert SMALL_IMAGES["small_fashion"].noise == 0.05
    assert SMALL_IMAGES["small_color"].noise == 0


@pytest.mark.parametrize("name", SMALL_IMAGES)
def test_nothing_is_clamped(name):
    images = (pictures(100) > 0.5).float()
    views = augmentation(name)(images, generator(0, "x"), 1.0)
    assert float(views.max()) > 1


def test_a_turn_of_the_hue_goes_the_way_of_torchvisions_shift():
    images = pictures(50).float()
    still = SmallViews(torch.eye(2, 3).expand(50, -1, -1), torch.ones(50, 1, 1, 1))
    theirs = functional.adjust_hue(images, 0.05)

    def distance(angle):
        views = SmallViews(still.maps, still.factor, None, hue_rotation(torch.full((50,), angle)))
        return float((SMALL_IMAGES["small_color"].apply(images, views) - theirs).abs().mean())

    assert distance(0.05) < 0.9 * distance(0.0) < 0.9 * distance(-0.05)


FILL = (0.2, 0.3, 0.4)


def cut(n=5000, size=32, strength=1.0):
    return FlipCutoutCrop(FILL).draw(Draws.of(generator(0, "x"), n), 3, size, strength)


def one_after_the_other(image, flip, box, corner):
    """Flip, fill the box, pad with zeros and crop, pixel by pixel."""
    size = image.shape[-1]
    flipped = image.flip(-1) if flip else image.clone()
    left, top, width, height = box
    for row in range(max(0, top), min(size, top + height)):
        for column in range(max(0, left), min(size, left + width)):
            flipped[:, row, column] = torch.tensor(FILL)
    out = torch.zeros_like(image)
    for row in range(size):
        for column in range(size):
            y, x = row + corner[1], column + corner[0]
            if 0 <= y < size and 0 <= x < size:
                out[:, row, column] = flipped[:, y, x]
    return out


def test_a_view_is_flipped_then_cut_out_then_cropped():
    images, views = pictures(40, size=16), cut(40, 16)
    assert {True, False} <= set(views.flips.tolist())
    expected = [
        one_after_the_other(image, bool(flip), box.tolist(), corner.tolist())
        for image, flip, box, corner in zip(images, views.flips, views.erased, views.corner, strict=True)
    ]
    before = images.clone()
    assert torch.allclose(FlipCutoutCrop(FILL).apply(images, views), torch.stack(expected), atol=1e-7)
    assert torch.equal(images, before)


def test_flip_cutout_and_crop_have_the_stated_laws():
    views = cut()
    assert stats.binomtest(int(views.flips.sum()), 5000, 0.5).pvalue > 1e-3
    there = views.erased[:, 2] > 0
    assert stats.binomtest(int(there.sum()), 5000, 0.5).pvalue > 1e-3
    assert set(views.erased[there, 2:].flatten().tolist()) == {16}
    for middle in (views.erased[there, :2] + 8).unbind(1):
        assert (int(middle.min()), int(middle.max())) == (0, 31)
        assert stats.chisquare(torch.bincount(middle, minlength=32).numpy()).pvalue > 1e-3
    for corner in views.corner.unbind(1):
        assert stats.chisquare(torch.bincount(corner + 4, minlength=9).numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("size", "side", "reach"), [(8, 4, 1), (28, 14, 4)])
def test_other_sides_are_cut_in_proportion(size, side, reach):
    views = cut(500, size)
    assert int(views.erased[:, 2:].max()) == side
    assert (int(views.corner.min()), int(views.corner.max())) == (-reach, reach)


def test_the_strength_multiplies_probabilities_and_reach():
    views = cut(50_000, strength=0.5)
    assert stats.binomtest(int(views.flips.sum()), 50_000, 0.25).pvalue > 1e-3
    assert stats.binomtest(int((views.erased[:, 2] > 0).sum()), 50_000, 0.25).pvalue > 1e-3
    assert int(views.corner.abs().max()) == 2
    images = pictures(6).float()
    policy = Policy("cut", FlipCutoutCrop(FILL))
    still = policy(images, generator(0, "v"), torch.zeros(6))
    assert torch.equal(still, images)
    assert not torch.equal(policy(images, generator(0, "v")), images)


def test_views_of_cutout_in_chunks_are_those_of_the_whole_batch():
    images = torch.rand(700, 3, 32, 32, generator=generator(0, "images"))
    plan = FlipCutoutCrop(FILL)
    views = cut(700)
    assert torch.equal(Policy("cut", plan).apply(images, views), plan.apply(images, views))
