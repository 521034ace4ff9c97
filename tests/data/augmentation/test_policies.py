import pytest
import torch
from scipy import stats

from memorization.data.augmentation.policies import PLANS, Steps, augmentation, part_of
from memorization.data.files import load_torchvision
from memorization.draws import Draws, generator, view_keys

functional = load_torchvision().transforms.functional
ADJUST = [
    functional.adjust_brightness,
    functional.adjust_contrast,
    functional.adjust_saturation,
    functional.adjust_hue,
]
NAMES = [*PLANS, "myrandaugment", 0.2, 1.0, "small_digits", "small_mnist", "small_fashion", "small_color"]
REAL = [name for name in NAMES if name != "none"]


def pictures(n=20, size=16, dtype=torch.float32):
    return torch.rand(n, 3, size, size, generator=generator(0, "images"), dtype=dtype)


def keyed(n=20):
    return Draws.keyed(view_keys(0, torch.arange(n), 3))


@pytest.mark.parametrize("name", REAL)
def test_a_policy_changes_images_and_leaves_its_argument_alone(name):
    images = pictures()
    before = images.clone()
    views = augmentation(name)(images, generator(0, "x"))
    assert views.shape == images.shape
    assert (views != images).flatten(1).any(dim=1).double().mean() > 0.4
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("size", [8, 13, 28])
def test_strength_zero_is_exactly_the_identity(name, size):
    images, policy = pictures(size=size), augmentation(name)
    assert torch.equal(policy(images, generator(0, "x"), 0.0), images)
    assert torch.equal(policy(images, generator(0, "x"), torch.zeros(20)), images)


@pytest.mark.parametrize("name", NAMES)
def test_each_image_can_have_a_strength_of_its_own(name):
    images, policy = pictures(), augmentation(name)
    strength = torch.tensor([0.0, 0.3, 1.0, 0.3]).repeat(5)
    mixed = policy(images, keyed(), strength)
    for s in (0.0, 0.3, 1.0):
        alone = policy(images, keyed(), s)
        assert (mixed - alone)[strength == s].abs().max() < 1e-5


@pytest.mark.parametrize("name", NAMES)
def test_a_view_is_the_same_bits_in_every_batch(name):
    images, policy = pictures(301, 13), augmentation(name)
    keys = view_keys(0, torch.arange(301), 3)
    order = torch.randperm(301, generator=generator(0, "x"))[:57]
    every = policy(images, Draws.keyed(keys))
    assert torch.equal(policy(images[order], Draws.keyed(keys[order])), every[order])
    assert torch.equal(policy(images[7:8], Draws.keyed(keys[7:8])), every[7:8])


@pytest.mark.parametrize("name", ["full", "most_difficult", "myrandaugment", "small_color"])
def test_a_large_batch_is_worked_off_in_chunks_with_the_same_result(name, monkeypatch):
    images, policy = pictures(50), augmentation(name)
    whole = policy(images, generator(0, "x"))
    monkeypatch.setattr("memorization.data.augmentation.policies._CHUNK", 3 * 16 * 16 * 7)
    assert torch.equal(policy(images, generator(0, "x")), whole)


@pytest.mark.parametrize("name", NAMES)
def test_a_generator_state_gives_its_views_again(name):
    images, policy = pictures(), augmentation(name)
    assert torch.equal(policy(images, generator(0, "x")), policy(images, generator(0, "x")))


@pytest.mark.parametrize("name", REAL)
def test_two_calls_give_different_views(name):
    images, policy, source = pictures(), augmentation(name), generator(0, "x")
    assert not torch.equal(policy(images, source), policy(images, source))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_type_of_the_images_is_kept(name, dtype):
    images, policy = pictures(size=8), augmentation(name)
    views = policy(images.to(dtype), keyed())
    assert views.dtype == dtype
    close = (views.float() - policy(images.to(dtype).float(), keyed())).abs() < 0.01
    assert close.double().mean() > 0.99  # a threshold or a nearest pixel can fall to the other side


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_batch_gives_an_empty_batch(name):
    assert augmentation(name)(pictures(0), generator(0, "x")).shape == (0, 3, 16, 16)


@pytest.mark.parametrize("name", [*PLANS, "myrandaugment", 0.2, 1.0])
def test_views_stay_between_0_and_1(name):
    views = augmentation(name)(pictures(200), generator(0, "x"))
    assert float(views.min()) >= 0
    assert float(views.max()) <= 1


def by_torchvision(image, views):
    """Do what a recipe does, one torchvision function after the other, to one image."""
    left, top, width, height = (int(v) for v in views.boxes)
    image = functional.resized_crop(image, top, left, height, width, [32, 32])
    image = functional.hflip(image) if views.flips[0] else image
    image = functional.vflip(image) if views.flips[1] else image
    if views.degrees is not None:
        shift = [int(v) for v in views.shift]
        image = functional.affine(image, float(views.degrees), shift, 1.0, [0.0, 0.0])
    for kind in views.jitter.order.tolist():
        image = ADJUST[kind](image, float(views.jitter.factors[kind]))
    if views.sigma is not None and views.sigma > 0:
        image = functional.gaussian_blur(image, [3, 3], [float(views.sigma)] * 2)
    if views.gray:
        image = functional.rgb_to_grayscale(image, num_output_channels=3)
    if views.erased is not None:
        left, top, width, height = (int(v) for v in views.erased)
        image = functional.erase(image, top, left, height, width, torch.tensor(0.0))
    return image


@pytest.mark.parametrize("name", ["full", "full_rotations", "most_difficult"])
def test_a_recipe_equals_torchvisions_functions_one_after_the_other(name):
    images, plan = pictures(150, 32), augmentation(name).plan
    views = plan.draw(keyed(150), 3, 32, 1.0)
    expected = torch.stack([by_torchvision(image, part_of(views, i)) for i, image in enumerate(images)])
    different = ~((plan.apply(images, views) - expected).abs() < 1e-5).flatten(1)
    assert different.any(dim=1).double().mean() < (0.01 if name == "full" else 0.2)
    assert different.double().mean() < 2e-3  # nearest pixels of a rotation


def test_the_steps_of_the_hardest_recipe_happen_as_often_as_the_paper_says():
    views = augmentation("most_difficult").plan.draw(Draws.of(generator(0, "x"), 20_000), 3, 32, 1.0)
    neutral = torch.tensor([1.0, 1.0, 1.0, 0.0])
    happened = {
        0.5: [views.flips[:, 0], views.flips[:, 1], views.erased[:, 2] > 0],
        0.8: [(views.jitter.factors != neutral).any(dim=1)],
        0.3: [views.sigma > 0],
        0.2: [views.gray],
    }
    for probability, steps in happened.items():
        for step in steps:
            assert stats.binomtest(int(step.sum()), 20_000, probability).pvalue > 1e-3
    joint = views.flips[:, 0] & views.flips[:, 1] & (views.sigma > 0) & views.gray
    assert stats.binomtest(int(joint.sum()), 20_000, 0.5 * 0.5 * 0.3 * 0.2).pvalue > 1e-3


def test_rotation_blur_and_shift_have_the_papers_ranges():
    views = augmentation("most_difficult").plan.draw(Draws.of(generator(0, "x"), 20_000), 3, 32, 1.0)
    assert stats.kstest(views.degrees.numpy(), "uniform", (0, 180)).pvalue > 1e-3
    assert stats.kstest(views.sigma[views.sigma > 0].numpy(), "uniform", (0.1, 1.9)).pvalue > 1e-3
    assert set(views.shift.flatten().tolist()) == set(range(-6, 7))


def test_half_the_strength_halves_ranges_and_probabilities_and_the_way_to_the_smallest_crop():
    strength = torch.full((20_000, 1), 0.5)
    views = PLANS["most_difficult"].draw(Draws.of(generator(0, "x"), 20_000), 3, 256, strength)
    width, height = views.boxes[:, 2:].T / 256
    assert float((width * height).min()) == pytest.approx(0.54, abs=0.01)
    assert float((width / height).min()) == pytest.approx(0.75**0.5, abs=0.01)
    assert float((width / height).max()) == pytest.approx(0.75**-0.5, abs=0.01)
    assert float(views.degrees.max()) == pytest.approx(90, abs=0.1)
    assert float(views.shift.abs().max()) == round(0.1 * 256)
    assert stats.binomtest(int(views.flips[:, 1].sum()), 20_000, 0.25).pvalue > 1e-3
    assert stats.binomtest(int((views.sigma > 0).sum()), 20_000, 0.15).pvalue > 1e-3
    assert stats.binomtest(int(views.gray.sum()), 20_000, 0.1).pvalue > 1e-3
    assert stats.binomtest(int((views.erased[:, 2] > 0).sum()), 20_000, 0.25).pvalue > 1e-3


def test_a_strength_above_1_goes_on_but_never_below_a_hundredth_of_the_image():
    views = PLANS["full"].draw(Draws.of(generator(0, "x"), 20_000), 3, 256, 3.0)
    assert 0.008 < float(views.boxes[:, 2:].prod(dim=1).min()) / 256**2 < 0.02
    assert views.flips[:, 0].all()


def test_the_named_recipes_are_the_papers():
    crop = {"crop": (0.08, 1.0), "mirror": 0.5}
    color, move = {"jitter": 0.8, "gray": 0.2}, {"degrees": 180, "shift": 0.2}
    assert PLANS["full"] == Steps(**crop, **color)
    assert PLANS["full_rotations"] == Steps(**crop, **move, **color)
    hardest = Steps(**crop, **move, **color, upside_down=0.5, blur=0.3, erase=0.5)
    assert PLANS["most_difficult"] == hardest
    assert PLANS["isometry"] == Steps(mirror=0.5, **move)
    assert Steps().ranges == (0.8, 0.8, 0.8, 0.2)


@pytest.mark.parametrize(("step", "p"), [("mirror", 1.2), ("jitter", -0.1), ("gray", 2), ("erase", -1)])
def test_a_probability_out_of_range_is_refused(step, p):
    with pytest.raises(ValueError, match=rf"{step}={p} is a probability; allowed: 0..1"):
        Steps(**{step: p})


def test_crops_and_ranges_out_of_range_are_refused():
    with pytest.raises(ValueError, match=r"crop scale=\(0.5, 1.5\) is no range"):
        Steps(crop=(0.5, 1.5))
    with pytest.raises(ValueError, match=r"degrees=-1, .*none may be negative"):
        Steps(degrees=-1)


def test_an_unknown_policy_is_refused_with_the_names_that_are_close():
    with pytest.raises(
        ValueError, match=r"unknown augmentation 'ful'; did you mean 'full'\?; choose one of none, full"
    ):
        augmentation("ful")
    with pytest.raises(ValueError, match=r"unknown augmentation 'xyz'; choose one of none, full"):
        augmentation("xyz")
    with pytest.raises(ValueError, match=r"strength 1.5 is outside \[0, 1\]"):
        augmentation(1.5)


def test_bytes_and_values_beyond_0_and_1_are_refused():
    images, policy = pictures(), augmentation("isometry")
    with pytest.raises(TypeError, match=r"images are torch.uint8; allowed: floating point in \[0, 1\]"):
        policy((images * 255).to(torch.uint8), generator(0, "x"))
    with pytest.raises(ValueError, match=r"images have values from 0.* to 25\d"):
        policy(images * 255, generator(0, "x"))
    with pytest.raises(ValueError, match=r"images have values from nan"):
        policy(images.log().sqrt(), generator(0, "x"))


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 2, 8, 8), (2, 3, 8, 9)])
def test_other_shapes_than_a_batch_of_square_images_are_refused(shape):
    with pytest.raises(
        ValueError, match=r"images: got .*; allowed: a tensor of shape \(N, c, side, side\), c 1 or 3"
    ):
        augmentation("isometry")(torch.rand(shape), generator(0, "x"))


@pytest.mark.parametrize(
    "name", ["full", "full_rotations", "most_difficult", "myrandaugment", 0.5, "small_color"]
)
def test_color_operations_on_one_channel_are_refused(name):
    with pytest.raises(ValueError, match=r"color ops need 3 channels, and '.*' has some; the images have 1"):
        augmentation(name)(pictures()[:, :1], generator(0, "x"))


@pytest.mark.parametrize("name", ["none", "isometry", "small_digits", "small_mnist", "small_fashion"])
def test_other_policies_take_one_channel(name):
    assert augmentation(name)(pictures()[:, :1], generator(0, "x")).shape == (20, 1, 16, 16)


def test_strengths_that_make_no_sense_are_refused():
    images, policy = pictures(), augmentation("full")
    for strength in (-0.5, float("nan"), torch.full((20,), -0.5)):
        with pytest.raises(ValueError, match=r"strength=(-0.5|nan) is out of range; allowed: numbers >= 0"):
            policy(images, generator(0, "x"), strength)
    with pytest.raises(ValueError, match=r"strength has shape \(3,\) for 20 images; give one number, or one"):
        policy(images, generator(0, "x"), torch.ones(3))


def test_draws_for_another_number_of_images_are_refused():
    with pytest.raises(ValueError, match=r"draws for 20 views but 5 images; give one key per image"):
        augmentation("full")(pictures(5), keyed(20))


def test_without_the_check_values_are_not_looked_at():
    images = pictures() + 1
    assert augmentation("isometry")(images, generator(0, "x"), check=False).shape == images.shape
