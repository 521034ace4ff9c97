"""Images, seeds, strengths and numbers of views that cannot be trained on are refused with their reason."""

import pytest
import torch

from memorization.data.augmentation.policies import augmentation
from memorization.draws import generator
from memorization.training.batches import LabelledViews

N, C = 12, 3
IMAGES = torch.rand(N, 1, 8, 8, generator=generator(0, "images"))
LABELS = torch.randint(C, (2, N), generator=generator(0, "labels"))
POLICY = augmentation("small_digits")


def views(**more):
    return LabelledViews(**{"images": IMAGES, "labels": LABELS, "seeds": (0, 1), "classes": C, **more})


def with_pixel(value):
    images = IMAGES.clone()
    images[3, 0, 2, 2] = value
    return images


@pytest.mark.parametrize("policy", [None, POLICY])
@pytest.mark.parametrize(
    ("images", "given"),
    [
        (255 * IMAGES, r"0\.\d+ to 25\d"),
        (with_pixel(-0.5), "-0.5 to 0.99"),
        (with_pixel(torch.nan), "nan to"),
    ],
)
def test_images_outside_the_unit_range_are_refused_with_and_without_a_policy(images, given, policy):
    with pytest.raises(ValueError, match=rf"images have values from {given}.*allowed: \[0, 1\]: divide by"):
        views(images=images, policy=policy)


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (
            IMAGES[:, 0],
            ValueError,
            r"images: got \(12, 8, 8\); allowed: a tensor of shape \(N, c, height, width\)",
        ),
        (IMAGES[:0], ValueError, r"images: got \(0, 1, 8, 8\); .* with at least one image"),
        (IMAGES.numpy(), ValueError, "images: got ndarray; allowed: a tensor"),
        (IMAGES.long(), TypeError, r"images are torch.int64; allowed: floating point in \[0, 1\], or uint8"),
    ],
)
def test_what_is_no_set_of_images_is_refused(images, error, message):
    with pytest.raises(error, match=message):
        views(images=images)


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ((), r"seeds=\(\); allowed: a list of one or more whole numbers >= 0 .*, one per network"),
        (5, "seeds=5; allowed: a list of one or more"),
        ((0, 1.0), r"seeds=\(0, 1.0\); allowed: a list of one or more whole numbers"),
        ((0, -1), r"seeds=\(0, -1\)"),
        ((0, 2**63), r"and below 2\*\*63"),
        ((0, True), r"seeds=\(0, True\)"),
    ],
)
def test_seeds_are_whole_numbers_and_at_least_one(seeds, message):
    with pytest.raises(ValueError, match=message):
        views(seeds=seeds)


def test_seeds_may_be_a_list():
    assert views(seeds=[3, 4]).seeds == (3, 4)


@pytest.mark.parametrize("classes", [2.5, 0, True])
def test_classes_are_a_whole_number(classes):
    with pytest.raises(ValueError, match=f"classes={classes}; allowed: a whole number >= 1"):
        views(classes=classes)


def test_labels_on_another_device_are_refused():
    with pytest.raises(
        ValueError, match=r"labels are on meta, images on cpu; give labels.to\(images.device\)"
    ):
        views(labels=LABELS.to("meta"))


def test_labels_of_another_type_are_refused_by_their_type():
    with pytest.raises(TypeError, match="labels are a list; allowed: int64 class numbers"):
        views(labels=LABELS.tolist())


@pytest.mark.parametrize(
    ("strength", "error", "message"),
    [
        (-0.5, ValueError, r"strength holds \[-0.5\]; allowed: numbers >= 0"),
        (torch.tensor([0.5, torch.nan]), ValueError, r"strength holds \[0.5, nan\]; allowed: numbers >= 0"),
        (
            torch.ones(3),
            ValueError,
            r"strength has shape \(3,\) for 2 networks; give one number, or shape \(2,\)",
        ),
        ("0.5", TypeError, r"strength='0.5' \(str\); allowed: a tensor or a number"),
        (torch.tensor([True]), TypeError, "strength is torch.bool; allowed: numbers >= 0"),
    ],
)
def test_strengths_that_say_nothing_are_refused(strength, error, message):
    with pytest.raises(error, match=message):
        views(policy=POLICY, strength=strength)


def test_one_number_is_the_strength_or_the_number_of_views_of_all():
    data = views(policy=POLICY, strength=0.5, bank=4)
    assert data.strength.tolist() == [0.5, 0.5]
    assert data.bank.tolist() == [4, 4]


def test_a_number_of_views_is_whole():
    with pytest.raises(TypeError, match=r"bank is torch\.float32; allowed: whole numbers, K >= 1 views, or"):
        views(policy=POLICY, bank=torch.tensor([4.0]))


def test_a_policy_is_a_function():
    with pytest.raises(
        TypeError, match=r"policy='full'; allowed: a function .* such as augmentation\(name\)"
    ):
        views(policy="full")


def test_a_number_of_views_without_a_policy_is_told():
    with pytest.warns(
        UserWarning, match=r"bank=\[4, 4\] without a policy: all views of an image are the image"
    ):
        views(bank=4)


@pytest.mark.parametrize("more", [{}, {"policy": POLICY, "strength": torch.tensor([1.0, 0.0])}])
def test_several_labels_for_one_picture_are_refused(more):
    with pytest.raises(ValueError, match="several labels where its views do not differ; give a policy and a"):
        views(bank=4, view_labels="independent", **more)


def test_what_was_checked_once_is_not_looked_at_again(monkeypatch):
    data = views(policy=POLICY)
    monkeypatch.setattr(
        "memorization.training.batches.check_images", lambda images: pytest.fail("looked again")
    )
    assert data.take([1]).seeds == (1,)
