"""Examples in groups: numbers of groups, minorities, and sets that tell the label by a color."""

import pytest
import torch

from memorization.data.groups import (
    COLOR_VARIANTS,
    GroupedSet,
    check_groups_present,
    color_mnist,
    colored,
    minority_attributes,
    on_background,
    spurious_digits,
)
from memorization.data.image_sets import load_images
from memorization.draws import generator


def grouped(n=6, values=2, **change):
    numbers = torch.arange(n)
    columns = {"inputs": torch.zeros(n, 3), "labels": numbers % 2, "attributes": numbers % max(1, values)}
    return GroupedSet(
        **{**columns, "ids": numbers + 10, "classes": 2, "values": values, "name": "toy"} | change
    )


# ---- group numbers


def test_labels_and_eight_attributes_make_sixteen_groups_that_do_not_collide():
    labels, attributes = torch.arange(2).repeat_interleave(8), torch.arange(8).repeat(2)
    one = grouped(16, values=8, labels=labels, attributes=attributes)
    assert len(set(one.groups.tolist())) == 16
    assert one.counts.tolist() == [1] * 16
    assert one.groups[2] != one.groups[8]  # (0, 2) and (1, 0), which 2 y + a would call the same


def test_two_attributes_are_numbered_as_in_the_literature():
    one = grouped(4, labels=torch.tensor([0, 0, 1, 1]), attributes=torch.tensor([0, 1, 0, 1]))
    assert one.groups.tolist() == [0, 1, 2, 3]


def test_a_part_keeps_its_ids():
    part = grouped(6).take(torch.tensor([4, 1]))
    assert part.ids.tolist() == [14, 11]
    assert (len(part), part.labels.tolist()) == (2, [0, 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": torch.arange(6)}, r"toy: labels lie in 0\.\.5; allowed: whole numbers in 0\.\.1"),
        ({"attributes": torch.arange(6) - 1}, r"toy: attributes lie in -1\.\.4"),
        ({"labels": torch.zeros(6)}, "toy: labels are torch.float32"),
        ({"labels": torch.zeros(5, dtype=torch.int64)}, r"of shape \(5,\) for 6 examples"),
        ({"ids": torch.tensor([0, 1, 2, 3, 4, 0])}, "toy: id 0 is there twice"),
        ({"classes": 1}, "classes=1; allowed: a whole number, 2 or more"),
        ({"values": 0}, "values=0; allowed: a whole number, 1 or more"),
    ],
)
def test_columns_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        grouped(**change)


def test_a_group_without_a_member_is_named():
    check_groups_present(torch.tensor([0, 1, 2]), 3)
    with pytest.raises(ValueError, match=r"group 1 of 3 has no member in the training set \(members: \[1, 0"):
        check_groups_present(torch.tensor([0, 2]), 3)


# ---- minorities


@pytest.mark.parametrize(("fraction", "zeros", "ones"), [(0.05, 20, 5), (0.001, 2, 2), (0.5, 200, 50)])
def test_a_fraction_of_each_class_has_the_other_attribute_and_two_examples_at_least(fraction, zeros, ones):
    labels = (torch.arange(500) < 100).long()
    attributes = minority_attributes(labels, fraction, generator(0, "minority"))
    other = attributes != labels
    assert (int(other[labels == 0].sum()), int(other[labels == 1].sum())) == (zeros, ones)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_minority_outside_0_to_1_is_refused(fraction):
    with pytest.raises(ValueError, match="minority="):
        minority_attributes(torch.arange(20) % 2, fraction, generator(0, "minority"))


def test_a_class_of_two_has_no_minority():
    with pytest.raises(ValueError, match="class 1 has 2 examples; 3 or more are needed"):
        minority_attributes(torch.tensor([0, 0, 0, 0, 1, 1]), 0.1, generator(0, "minority"))


# ---- pictures


def test_an_image_lies_in_the_channel_of_its_color():
    shown = colored(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    assert shown.tolist() == [[0, 0, 1, 2], [3, 4, 0, 0]]


def test_a_background_is_two_coordinates():
    shown = on_background(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0]))
    assert shown.tolist() == [[1, 2, 0, 3], [3, 4, 3, 0]]


def digits(**change):
    return spurious_digits("digits", **{"minority": 0.05, "seed": 0} | change)


def test_digits_are_split_into_three_parts_that_share_no_image():
    train, validation, test = digits()
    assert (len(train), len(validation), len(test)) == (900, 300, 2 * 597)
    seen = [set(train.ids.tolist()), set(validation.ids.tolist()), {i % 1797 for i in test.ids.tolist()}]
    assert len(set.union(*seen)) == sum(map(len, seen)) == 1797
    for part in (train, validation, test):
        assert len(part.ids.unique()) == len(part)


def test_pixels_and_labels_are_those_of_the_digit_with_the_id():
    images = load_images("digits", "all")
    for part in digits():
        for k in range(0, len(part), 37):
            number = int(part.ids[k]) % 1797
            channels = part.inputs[k].view(2, 64)
            assert torch.equal(channels[part.attributes[k]] * 16, images.pixels[number].flatten().float())
            assert not channels[1 - part.attributes[k]].any()
            assert part.labels[k] == int(images.labels[number] >= 5)


def test_training_and_validation_have_a_minority_of_each_class():
    for part in digits(minority=0.1)[:2]:
        for label in (0, 1):
            members = part.labels == label
            other = int((part.attributes != part.labels)[members].sum())
            assert other == max(2, round(0.1 * int(members.sum())))


def test_each_test_image_is_there_once_with_each_color():
    test = digits().test
    pairs = {(i % 1797, a) for i, a in zip(test.ids.tolist(), test.attributes.tolist(), strict=True)}
    assert len(pairs) == len(test) == 2 * len({i for i, _ in pairs})
    zeros, ones = test.counts.view(2, 2)
    assert zeros[0] == zeros[1]
    assert ones[0] == ones[1]


def test_a_seed_decides_everything_and_fewer_images_are_the_first_ones():
    assert torch.equal(digits().train.inputs, digits().train.inputs)
    assert not torch.equal(digits().train.ids, digits(seed=1).train.ids)
    few = digits(n_train=50)
    assert torch.equal(few.train.ids, digits().train.ids[:50])
    assert torch.equal(few.validation.inputs, digits().validation.inputs)


def test_digits_on_a_background_have_two_more_inputs():
    one = digits(shown="background").train
    assert one.inputs.shape == (900, 66)
    assert torch.equal(one.inputs[:, 64:].argmax(1), one.attributes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "digit"}, "unknown data set 'digit'; did you mean 'digits'"),
        ({"shown": "tinted"}, "unknown way of showing the attribute 'tinted'"),
        ({"n_train": 901}, "n_train=901; digits has 900 images for training"),
        ({"n_train": 5}, "n_train=5; allowed: a whole number, 10 or more"),
        ({"minority": 1.0}, "minority=1.0; allowed: a fraction in"),
    ],
)
def test_digits_that_cannot_be_made_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        spurious_digits(**{"dataset": "digits", "minority": 0.05, "seed": 0} | change)


def test_a_missing_data_set_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        spurious_digits("mnist", minority=0.05, seed=0, root=tmp_path)
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        color_mnist(seed=0, root=tmp_path)


def test_images_of_mnist_show_every_second_pixel(real_data):
    train, validation, test = spurious_digits("mnist", minority=0.02, seed=0, n_train=60, root=real_data)
    assert train.inputs.shape == (60, 392)
    assert (len(validation), len(test)) == (1000, 4000)
    images = load_images("mnist", "train", real_data)
    number, channels = int(train.ids[7]), train.inputs[7].view(2, 14, 14)
    pixels = images.pixels[number, 0].float() / 255
    assert torch.equal(channels[train.attributes[7]], pixels[0::2, 0::2])
    assert train.labels[7] == int(images.labels[number] < 5)
    assert not set(train.ids.tolist()) & set(validation.ids.tolist())


# ---- ColorMNIST

SIZES = (20_000, 6_000, 5_000)


def rate_is(found, wanted):
    assert abs(float(found.double().mean()) - wanted) < 4 * (wanted * (1 - wanted) / len(found)) ** 0.5


@pytest.mark.parametrize("variant", ["color", "v3"])
def test_label_and_color_are_flipped_at_the_rates_of_the_environment(real_data, variant):
    splits = color_mnist(variant, seed=0, sizes=SIZES, root=real_data)
    rates, begin = COLOR_VARIANTS[variant], {"train": 0, "validation": SIZES[0], "test": 0}
    for name, part in splits._asdict().items():
        images = load_images("mnist", "test" if name == "test" else "train", real_data)
        digits = images.labels[begin[name] : begin[name] + len(part)]
        flipped = part.labels != (digits < 5).long()
        color = (part.inputs[:, 196:].abs().sum(1) > 0).long()
        for environment in (0, 1):
            rows = torch.arange(len(part)) % 2 == environment
            test = name == "test"
            assert (part.attributes[rows] == (0 if test else environment)).all()
            rate_is(flipped[rows], rates.test_label if test else rates.label[environment])
            rate_is((color != part.labels)[rows], rates.test_color if test else rates.color[environment])


def test_the_published_rates_of_the_four_variants():
    assert COLOR_VARIANTS["color"] == ((0.25, 0.25), (0.2, 0.1), 0.25, 0.9)
    assert COLOR_VARIANTS["inverse"] == ((0.15, 0.15), (0.2, 0.3), 0.15, 0.9)
    assert COLOR_VARIANTS["m_color"] == ((0.2, 0.3), (0.15, 0.15), 0.9, 0.15)
    assert COLOR_VARIANTS["v3"] == ((0.2, 0.1), (0.25, 0.25), 0.9, 0.25)


def test_another_seed_has_other_ids_and_labels_of_the_same_images(real_data):
    one, other = (color_mnist(seed=seed, sizes=(50, 20, 20), root=real_data) for seed in (0, 1))
    for mine, theirs in zip(one, other, strict=True):
        assert len(mine) == len(theirs)
        assert not set(mine.ids.tolist()) & set(theirs.ids.tolist())
        assert torch.equal(mine.inputs.view(-1, 2, 196).sum(1), theirs.inputs.view(-1, 2, 196).sum(1))
    assert not torch.equal(one.train.labels, other.train.labels)


@pytest.mark.parametrize("sizes", [(60_000, 10, 10), (10, 10, 10_001), (10, 10), (9, 10, 10)])
def test_more_images_than_there_are_cannot_be_had(real_data, sizes):
    with pytest.raises(ValueError, match="allowed: three numbers from 10"):
        color_mnist(seed=0, sizes=sizes, root=real_data)


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="unknown variant 'colour'; did you mean 'color'"):
        color_mnist("colour", seed=0)
