import pickle

import numpy as np
import pytest
import torch

from memorization.data import image_sets
from memorization.data.files import load_torchvision
from memorization.data.image_sets import EXTENTS, IMAGE_SETS, Extent, ImageSet, image_set, load_images


def random_images(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def test_digits_are_divided_by_sixteen():
    digits = image_set("digits", "all")
    assert digits.images.dtype == torch.float32
    assert (len(digits), digits.channels, digits.side, digits.classes) == (1797, 1, 8, 10)
    assert torch.equal(digits.images * 16, load_images("digits", "all").pixels.float())


def test_a_side_averages_blocks_of_pixels():
    whole, half = image_set("digits"), image_set("digits", side=4)
    blocks = whole.images.reshape(-1, 1, 4, 2, 4, 2).mean((3, 5))
    assert torch.allclose(half.images, blocks, atol=1e-6)
    assert torch.equal(half.labels, whole.labels)


@pytest.mark.parametrize("side", [3, 16, 0, -2])
def test_a_side_that_does_not_divide_lists_those_that_do(side):
    with pytest.raises(ValueError, match=rf"8x8 pixels; side={side} does not .* one of \[1, 2, 4, 8\]"):
        image_set("digits", side=side)


def test_a_large_set_keeps_its_bytes_and_gives_floats_on_demand(monkeypatch):
    small = image_set("digits")
    monkeypatch.setattr(image_sets, "LARGE", 1000)
    large = image_set("digits")
    assert large.images.dtype == torch.uint8
    some = torch.tensor([5, 0, 7])
    assert torch.equal(large.floats(some), small.images[some])
    assert torch.equal(large.take(some).floats(), small.floats(some))
    assert image_set("digits", side=4).images.dtype == torch.float32


def test_more_images_than_one_chunk_are_all_converted(monkeypatch):
    expected = image_set("digits").images
    monkeypatch.setattr(image_sets, "_CHUNK", 100)
    assert torch.equal(image_set("digits").images, expected)


def test_a_slice_shares_memory():
    digits = image_set("digits")
    assert digits.take(slice(10)).images.data_ptr() == digits.images.data_ptr()
    assert digits.floats(slice(10)).data_ptr() == digits.images.data_ptr()


def test_mnist_at_half_its_side_keeps_its_mean(real_data):
    train = image_set("mnist", root=real_data, side=14)
    assert train.images.shape == (60_000, 1, 14, 14)
    assert train.images.mean().item() == pytest.approx(0.1307, abs=1e-4)


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(
        ValueError, match=r"unknown data set 'cifar_10'; did you mean 'cifar10'\?; choose one of"
    ):
        image_set("cifar_10")


def test_an_unknown_split_lists_the_choices(tmp_path):
    with pytest.raises(ValueError, match=r"unknown split 'val'.*choose one of train, test, all"):
        image_set("cifar100", "val", root=tmp_path)


@pytest.mark.parametrize("name", ["cifar100", "tiny_imagenet", "cifar10"])
def test_an_absent_data_set_names_the_folder_the_way_to_get_it_and_digits(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        image_set(name, root=tmp_path)
    for part in (str(tmp_path), "Fetch", "MEMORIZATION_DATA", "'digits' needs no files"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("images", "labels", "error", "told"),
    [
        (
            random_images(2, 1, 4, 4) * 255,
            [0, 1],
            ValueError,
            r"images have values from .*allowed: \[0, 1\]",
        ),
        (random_images(2, 1, 4, 4) - 1, [0, 1], ValueError, r"allowed: \[0, 1\]"),
        (random_images(2, 1, 4, 4) / 0 * 0, [0, 1], ValueError, r"allowed: \[0, 1\]"),
        (torch.ones(2, 1, 4, 4, dtype=torch.int64), [0, 1], TypeError, "torch.int64; allowed: floating"),
        (random_images(2, 4, 4, 4), [0, 1], ValueError, r"got \(2, 4, 4, 4\);.*, c 1 or 3"),
        (random_images(2, 1, 4, 5), [0, 1], ValueError, r"allowed: a tensor of shape \(N, c, side, side\)"),
        (random_images(2, 4, 4), [0, 1], ValueError, r"allowed: a tensor of shape \(N, c, side, side\)"),
        (
            random_images(2, 1, 4, 4),
            [0.0, 1.0],
            TypeError,
            "labels must be int64 class numbers; got torch.float",
        ),
        (random_images(2, 1, 4, 4), [0, 1, 1], ValueError, "2 images but labels of shape .3,.; give one"),
        (random_images(2, 1, 4, 4), [0, 2], ValueError, r"label 2 of image 1 is outside 0\.\.1"),
        (random_images(2, 1, 4, 4), [-1, 0], ValueError, r"label -1 of image 0 is outside 0\.\.1"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(images, labels, error, told):
    with pytest.raises(error, match=told):
        ImageSet(images, torch.tensor(labels), ("a", "b"), "mine")


@pytest.fixture
def small_cifar100(tmp_path, monkeypatch):
    """A few images in torchvision's layout, and a CIFAR-100 class that expects their md5 sums."""
    datasets = load_torchvision().datasets
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    chance = np.random.default_rng(0)
    contents = {
        half: {
            "data": chance.integers(0, 256, (n, 3072), dtype=np.uint8),
            "fine_labels": list(range(n)),
            "coarse_labels": [0] * n,
        }
        for half, n in (("train", 6), ("test", 4))
    }
    contents["meta"] = {"fine_label_names": [f"fine {c}" for c in range(100)], "coarse_label_names": ["x"]}
    sums = {}
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = datasets.utils.calculate_md5(folder / name)
    kind = datasets.CIFAR100
    monkeypatch.setattr(kind, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(kind, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": sums["meta"]})
    return tmp_path, contents


def test_cifar100_is_read_with_its_fine_labels(small_cifar100):
    root, contents = small_cifar100
    train = image_set("cifar100", root=root)
    assert train.images.shape == (6, 3, 32, 32)
    assert torch.equal(train.labels, torch.arange(6))
    assert (train.classes, train.class_names[3]) == (100, "fine 3")
    stored = torch.from_numpy(contents["train"]["data"]).reshape(6, 3, 32, 32)
    assert torch.allclose(train.images * 255, stored.float(), atol=1e-4)


def test_both_halves_of_cifar100_follow_each_other(small_cifar100):
    root, _ = small_cifar100
    assert image_set("cifar100", "all", root=root, side=16).labels.tolist() == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]


def test_a_damaged_file_of_cifar100_is_named(small_cifar100):
    root, _ = small_cifar100
    (root / "cifar-100-python" / "train").write_bytes(b"not a batch")
    with pytest.raises(RuntimeError, match=r"cifar-100-python/train is damaged: its md5 sum"):
        image_set("cifar100", "test", root=root)


def test_a_missing_file_of_cifar100_is_named(small_cifar100):
    root, _ = small_cifar100
    (root / "cifar-100-python" / "meta").unlink()
    with pytest.raises(FileNotFoundError, match=r"cifar100 was not found in .*no file meta"):
        image_set("cifar100", root=root)


def test_a_failed_download_says_so_and_offers_digits(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(RuntimeError, match=r"downloading cifar100 into .* failed .*'digits' needs no files"):
        image_set("cifar100", root=tmp_path, download=True)


def test_tiny_imagenet_cannot_be_downloaded_by_a_switch(tmp_path):
    with pytest.raises(
        ValueError, match="torchvision cannot fetch tiny_imagenet; call without download=True"
    ):
        image_set("tiny_imagenet", root=tmp_path, download=True)


def test_every_data_set_has_its_sizes():
    assert set(EXTENTS) == set(IMAGE_SETS)


def test_the_digits_are_one_set_of_small_gray_images():
    pixels = load_images("digits", "all").pixels
    assert EXTENTS["digits"] == Extent(len(pixels), 0, pixels.shape[-1], pixels.shape[1])


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_the_sizes_are_those_of_the_files(name, real_data):
    train, test = (load_images(name, half, real_data).pixels for half in ("train", "test"))
    assert EXTENTS[name] == Extent(len(train), len(test), train.shape[-1], train.shape[1])
