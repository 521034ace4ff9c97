import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import normalize

from memorization.data.image_sets import image_set
from memorization.data.splits import MemorizedSplit, memorized_split


def pixel_accuracy(split: MemorizedSplit) -> float:
    """The k-NN probe on normalized pixels, by scikit-learn."""
    probe = KNeighborsClassifier(n_neighbors=20)
    probe.fit(normalize(split.reference.floats().flatten(1)), split.reference.labels)
    return probe.score(normalize(split.test.floats().flatten(1)), split.test.labels)


def rows(images: torch.Tensor) -> list[tuple[float, ...]]:
    return [tuple(row) for row in images.flatten(1).tolist()]


def test_digits_are_split_in_400_memorized_and_1397_test_images():
    split = memorized_split("digits")
    assert (split.n, len(split.memorized), len(split.reference), len(split.test)) == (400, 400, 400, 1397)
    whole = image_set("digits", "all").images
    assert sorted(rows(torch.cat([split.reference.images, split.test.images]))) == sorted(rows(whole))


@pytest.mark.parametrize(("n", "expected"), [(400, 0.9112), (600, 0.9415), (1200, 0.9732)])
def test_the_pixels_of_the_digits_split_have_the_expected_probe(n, expected):
    assert pixel_accuracy(memorized_split("digits", memorized=n)) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "n", "side", "expected"),
    [("mnist", 400, 14, 0.9385), ("fashion_mnist", 400, 14, 0.787), ("cifar10", 500, 16, 0.2865)],
)
def test_the_larger_splits_have_their_sizes_and_the_expected_probe(real_data, name, n, side, expected):
    split = memorized_split(name, root=real_data)
    assert (split.n, len(split.reference), len(split.test)) == (n, 5000, 2000)
    assert split.reference.side == split.test.side == side
    assert pixel_accuracy(split) == pytest.approx(expected, abs=2e-3)


def test_the_cifar10_reference_comes_from_the_first_10000_images_or_from_as_many_as_it_needs(real_data):
    first = set(rows(image_set("cifar10", root=real_data, side=4).images[:10_000]))
    assert set(rows(memorized_split("cifar10", side=4, root=real_data).reference.images)) <= first
    whole = memorized_split("cifar10", memorized=50_000, test=10_000, side=4, root=real_data)
    assert (len(whole.reference), len(whole.test)) == (50_000, 10_000)


def test_the_memorized_images_are_the_first_of_the_reference_set():
    split = memorized_split("digits", memorized=300, reference=500, test=200)
    assert (len(split.reference), len(split.test)) == (500, 200)
    assert torch.equal(split.memorized.images, split.reference.images[:300])
    assert split.memorized.images.data_ptr() == split.reference.images.data_ptr()


def test_no_test_image_is_in_the_reference_set():
    split = memorized_split("digits", memorized=300, reference=500)
    assert not set(rows(split.reference.images)) & set(rows(split.test.images))


def test_a_larger_reference_leaves_the_memorized_images_as_they_are():
    small, large = memorized_split("digits"), memorized_split("digits", reference=900)
    assert torch.equal(small.memorized.images, large.memorized.images)


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    one, same, other = (memorized_split("digits", seed=seed).reference.labels for seed in (1, 1, 2))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"memorized": 1797},
            r"digits: reference=1797, but the data set has 1796 images for it; .* 1\.\.1796",
        ),
        ({"memorized": 0}, "memorized=0, but the reference set has 400"),
        ({"memorized": 500, "reference": 450}, "memorized=500, but the reference set has 450"),
        ({"test": 1398}, r"test=1398, but the data set has 1397 images for it; choose .* 1\.\.1397"),
        ({"reference": 400.0}, r"reference=400\.0, but .* whole number"),
        ({"side": 5}, r"side=5 does not divide"),
    ],
)
def test_sizes_that_the_data_set_does_not_hold_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        memorized_split("digits", **options)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(ValueError, match="unknown data set 'digit'; did you mean 'digits'"):
        memorized_split("digit")


def test_an_absent_data_set_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="mnist was not found in"):
        memorized_split("mnist", root=tmp_path)
