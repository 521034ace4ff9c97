import pytest
import torch

from memorization.data.augmentation.policies import augmentation, from_bank, keyed_views, make_bank, to_bytes
from memorization.draws import generator

NAMES = [
    "full",
    "most_difficult",
    "isometry",
    "myrandaugment",
    0.7,
    "small_digits",
    "small_fashion",
    "small_color",
]


def pictures(n=12, size=8):
    return torch.rand(n, 3, size, size, generator=generator(0, "images"))


@pytest.mark.parametrize("name", NAMES)
def test_a_bank_of_floats_holds_the_bits_that_keys_give_on_the_fly(name, monkeypatch):
    monkeypatch.setattr("memorization.data.augmentation.policies._ROWS", 17)
    images, policy = pictures(), augmentation(name)
    bank = make_bank(policy, images, 5, 3, 0.8, dtype=torch.float32)
    assert bank.shape == (12, 5, 3, 8, 8)
    examples = torch.randint(12, (31,), generator=generator(0, "e"))
    numbers = torch.randint(5, (31,), generator=generator(0, "n"))
    fresh = keyed_views(policy, images, examples, numbers, 3, 0.8)
    assert torch.equal(from_bank(bank, examples, numbers), fresh)


def test_a_bank_of_bytes_is_the_same_rounded_to_256_levels():
    images, policy, every = pictures(), augmentation("full"), torch.arange(12)
    bank = make_bank(policy, images, 3, 0)
    assert bank.dtype == torch.uint8
    shown = from_bank(bank, every, 2)
    assert shown.dtype == torch.float32
    assert (shown - keyed_views(policy, images, every, 2, 0)).abs().max() <= 0.5 / 255 + 1e-6


def test_a_larger_bank_begins_with_the_smaller_one():
    images, policy = pictures(), augmentation("full")
    assert torch.equal(make_bank(policy, images, 7, 0)[:, :2], make_bank(policy, images, 2, 0))
    assert torch.equal(make_bank(policy, images, 2, 0)[:5], make_bank(policy, images[:5], 2, 0))


def test_views_of_an_image_differ_and_so_do_seeds():
    images, policy = pictures(1).expand(12, -1, -1, -1), augmentation("small_digits")
    bank = make_bank(policy, images, 6, 0, dtype=torch.float32)
    assert len(bank.flatten(0, 1).flatten(1).unique(dim=0)) == 72
    assert not torch.equal(bank, make_bank(policy, images, 6, 1, dtype=torch.float32))


def test_each_view_can_have_its_own_seed_and_strength():
    images, policy = pictures(), augmentation("full")
    examples, numbers = torch.tensor([3, 4, 3]), torch.tensor([0, 9, 0])
    seeds, strength = torch.tensor([0, 1, 2]), torch.tensor([1.0, 0.5, 0.0])
    views = keyed_views(policy, images, examples, numbers, seeds, strength)
    for i in range(3):
        alone = keyed_views(policy, images, examples[i : i + 1], numbers[i : i + 1], i, float(strength[i]))
        assert (views[i] - alone[0]).abs().max() < 1e-5


def test_a_bank_of_no_images_is_empty():
    assert make_bank(augmentation("full"), pictures(0), 2, 0).shape == (0, 2, 3, 8, 8)


def test_bytes_are_rounded_and_clamped():
    assert to_bytes(torch.tensor([-0.1, 0.0, 0.1, 0.999, 1.2])).tolist() == [0, 0, 26, 255, 255]


def test_fewer_than_one_view_and_other_types_are_refused():
    with pytest.raises(ValueError, match=r"views=0 per image; at least 1 is needed"):
        make_bank(augmentation("full"), pictures(), 0, 0)
    with pytest.raises(
        ValueError, match=r"a bank cannot hold torch.int64; allowed: torch.uint8 or a floating"
    ):
        make_bank(augmentation("full"), pictures(), 2, 0, dtype=torch.int64)


def test_a_bank_above_the_cap_is_refused_with_its_size():
    images = torch.zeros(1).expand(50_000, 3, 32, 32)  # takes no memory
    message = (
        r"1000 views of 50000 images takes 146,484 MiB in torch.uint8; allowed are cap_mib=4,096. Take fewer"
    )
    with pytest.raises(ValueError, match=message):
        make_bank(augmentation("full"), images, 1000, 0)
    with pytest.raises(ValueError, match=r"takes 1,172 MiB in torch.float32; allowed are cap_mib=100"):
        make_bank(augmentation("full"), images, 2, 0, cap_mib=100, dtype=torch.float32)
