import math

import pytest
import torch
from scipy import stats

from memorization.data.augmentation import randaugment as levels
from memorization.data.augmentation.randaugment import (
    Operation,
    RandAugment,
    RandViews,
    operate,
    ordinary,
    sixteen_operations,
)
from memorization.data.files import load_torchvision
from memorization.draws import Draws, generator

functional = load_torchvision().transforms.functional
autoaugment = load_torchvision().transforms.autoaugment
NEAREST = functional.InterpolationMode.NEAREST
NAMES = {
    "identity": "Identity",
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "auto_contrast": "AutoContrast",
    "solarize": "Solarize",
}
NUMBERS = {
    "shear_x": (-0.3, 0.3),
    "shear_y": (-0.3, 0.3),
    "translate_x": (-14, 14),
    "translate_y": (-14, 14),
    "rotate": (-30, 30),
    "solarize": (0, 1),
}


@pytest.fixture
def images():
    """Random images on 256 levels, some with few levels, one of one level."""
    images = torch.randint(0, 256, (40, 3, 32, 32), generator=generator(0, "images")) / 255
    images[:5] = images[:5] * 0.3 + 0.2
    images[5:10] = (images[5:10] * 4).round() / 4
    images[10] = 0.5
    return (images * 255).round() / 255


def apply_one(images, name, number):
    """Let every image draw one operation with a number of its own."""
    n = len(images)
    flat = torch.zeros(n, 1, 2), torch.zeros(n, 2), torch.zeros(n, dtype=torch.bool)
    views = RandViews(torch.zeros(n, 1, dtype=torch.int64), number.unsqueeze(1), *flat)
    return RandAugment((Operation(name),), 1).apply(images, views)


def to_bytes(images):
    return (images * 255).round().to(torch.uint8)


@pytest.mark.parametrize("name", NAMES)
def test_an_operation_equals_torchvisions_on_floats(images, name):
    low, high = NUMBERS.get(name, (-0.9, 0.9))
    number = low + torch.rand(40, generator=generator(0, "n")) * (high - low)
    if name.startswith("translate"):
        number = number.trunc()
    expected = torch.stack(
        [
            autoaugment._apply_op(image, NAMES[name], float(v), NEAREST, None)
            for image, v in zip(images, number, strict=True)
        ]
    )
    different = ~((apply_one(images, name, number) - expected).abs() < 2e-6)
    assert different.double().mean() <= (2e-3 if name in ("rotate", "shear_x", "shear_y") else 0)


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterize_equals_torchvision(images, bits):
    ours = levels.posterize(images, torch.full((40,), float(bits)))
    assert torch.equal(to_bytes(ours), functional.posterize(to_bytes(images), bits))


@pytest.mark.parametrize("size", [8, 16, 32])
def test_equalize_equals_torchvision(images, size):
    images = images[..., :size, :size].contiguous()
    assert torch.equal(to_bytes(levels.equalize(images)), functional.equalize(to_bytes(images)))


def test_invert_equals_torchvision(images):
    assert torch.equal(levels.invert(images), functional.invert(images))


def test_solarize_add_is_an_addition_and_torchvisions_solarize(images):
    addition = torch.rand(40, generator=generator(0, "n")) * 110 / 255
    for image, add, ours in zip(images, addition, levels.solarize_add(images, addition), strict=True):
        assert torch.equal(ours, functional.solarize((image + add).clamp(0, 1), 128 / 255))


def test_a_cut_out_is_torchvisions_erasing_of_a_box_cut_at_the_edges(images):
    center = torch.rand(40, 2, generator=generator(0, "n"))
    ours = operate("cut_out", images.clone(), torch.full((40,), 10.0), center)
    color = torch.tensor([125, 123, 114]).view(3, 1, 1) / 255
    for image, (x, y), view in zip(images, (center * 32).tolist(), ours, strict=True):
        left, top = (int(max(0, v - 5)) for v in (x, y))
        assert torch.equal(view, functional.erase(image, top, left, 10, 10, color))


@pytest.mark.parametrize(
    ("a", "steps", "bin_"), [(0, 1, 0), (0.29, 1, 29), (0.3, 2, 30), (0.6, 3, 60), (0.9, 4, 90), (1, 4, 99)]
)
def test_the_strength_sweep_has_torchvisions_list_and_magnitudes(a, steps, bin_):
    ours, theirs = ordinary(a), autoaugment.RandAugment(steps, bin_, 100)
    assert ours.steps == steps
    space = theirs._augmentation_space(100, (32, 32))
    names = {v: k for k, v in NAMES.items()} | {"Posterize": "posterize", "Equalize": "equalize"}
    table = dict(zip((o.name for o in ours.operations), ours._tables(32, "cpu")[0].tolist(), strict=True))
    assert set(table) == {names[key] for key in space}
    for key, (magnitudes, signed) in space.items():
        expected = float(magnitudes[bin_]) if magnitudes.ndim else 0.0
        expected /= 255 if key == "Solarize" else 1
        assert table[names[key]] == pytest.approx(expected, abs=1e-5)
        assert next(o.signed for o in ours.operations if o.name == names[key]) == signed


def test_operations_and_signs_are_drawn_uniformly_and_independently():
    plan = ordinary(1.0)
    views = plan.draw(Draws.of(generator(0, "x"), 20_000), 3, 32, 1.0)
    pairs = torch.bincount(views.operation[:, 0] * 14 + views.operation[:, 3], minlength=196)
    assert stats.chisquare(pairs.numpy()).pvalue > 1e-3
    names = [o.name for o in plan.operations]
    turned = views.magnitude[views.operation == names.index("rotate")]
    assert set(turned.tolist()) == {-30.0, 30.0}
    assert stats.binomtest(int((turned > 0).sum()), len(turned)).pvalue > 1e-3


def test_the_sixteen_operations_are_those_of_the_list_at_14_of_30():
    plan, f = sixteen_operations(), 14 / 30
    numbers = {o.name: o.magnitude for o in plan.operations}
    assert len(plan.operations) == len(numbers) == 16
    assert plan.steps == 2
    assert numbers["rotate"] == pytest.approx(30 * f)
    assert numbers["cut_out"] == pytest.approx(40 * f)
    assert numbers["translate_x"] == numbers["translate_y"] == pytest.approx(100 * f)
    assert numbers["shear_x"] == numbers["shear_y"] == pytest.approx(0.3 * f)
    assert numbers["color"] == numbers["sharpness"] == pytest.approx(0.1 + 1.8 * f - 1)
    assert numbers["posterize"] == math.floor(4 * f) == 1
    assert numbers["solarize"] * 255 == pytest.approx(256 * f)
    assert numbers["solarize_add"] * 255 == pytest.approx(110 * f)


def test_the_crop_from_padding_and_the_flip_equal_torchvision(images):
    offset = torch.randint(0, 9, (40, 2), generator=generator(0, "n"))
    mirrored = torch.arange(40) % 3 == 0
    none = torch.full((40, 1), -1), torch.zeros(40, 1), torch.zeros(40, 1, 2)
    plan = RandAugment((Operation("identity"),), 1, padding=4, mirror=0.5)
    ours = plan.apply(images, RandViews(*none, offset - 4.0, mirrored))
    padded = functional.pad(images, [4, 4, 4, 4])
    for image, (x, y), mirror, view in zip(padded, offset.tolist(), mirrored, ours, strict=True):
        expected = functional.crop(image, y, x, 32, 32)
        assert torch.equal(view, functional.hflip(expected) if mirror else expected)


def test_offsets_and_flips_are_uniform():
    views = sixteen_operations().draw(Draws.of(generator(0, "x"), 20_000), 3, 32, 1.0)
    for column in views.offset.T:
        counts = torch.bincount((column + 4).long(), minlength=9)
        assert len(counts) == 9
        assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    assert stats.binomtest(int(views.mirrored.sum()), 20_000).pvalue > 1e-3


@pytest.mark.parametrize("a", [-0.1, 1.01])
def test_a_strength_outside_its_range_is_refused(a):
    with pytest.raises(
        ValueError, match=r"augmentation strength .* is outside \[0, 1\]; give a number in it"
    ):
        ordinary(a)
