import gzip
import shutil
import subprocess
import sys

import pytest
import torch

from memorization.data.image_sets import Images, data_root, load_images, two_classes


def test_digits_need_no_files_and_keep_their_range(tmp_path):
    images = load_images("digits", "all", tmp_path)
    assert images.pixels.shape == (1797, 1, 8, 8)
    assert images.pixels.dtype == torch.uint8
    assert int(images.pixels.max()) == images.levels == 16
    assert images.labels.dtype == torch.int64


def test_the_digits_splits_are_disjoint_parts_of_the_whole():
    train, test, whole = (load_images("digits", split) for split in ("train", "test", "all"))
    assert torch.equal(torch.cat([train.pixels, test.pixels]), whole.pixels)
    assert (len(train), len(test)) == (1437, 360)


def test_an_unknown_name_lists_the_choices():
    with pytest.raises(
        ValueError, match=r"unknown data set 'minst'.*choose one of digits, mnist, fashion_mnist"
    ):
        load_images("minst")


def test_an_unknown_split_lists_the_choices():
    with pytest.raises(ValueError, match=r"unknown split 'val'.*choose one of train, test, all"):
        load_images("digits", "val")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_an_absent_data_set_names_the_folder_the_way_to_get_it_and_digits(name, tmp_path):
    with pytest.raises(FileNotFoundError) as error:
        load_images(name, root=tmp_path)
    for part in (str(tmp_path), "download=True", "MEMORIZATION_DATA", "'digits' needs no files"):
        assert part in str(error.value)


def test_the_root_comes_from_the_argument_then_the_environment_then_data(monkeypatch):
    monkeypatch.setenv("MEMORIZATION_DATA", "/from/env")
    assert str(data_root("/given")) == "/given"
    assert str(data_root()) == "/from/env"
    monkeypatch.delenv("MEMORIZATION_DATA")
    assert str(data_root()) == "data"


def test_two_classes_are_labelled_minus_and_plus_one_in_int64():
    digits = load_images("digits", "all")
    pair = two_classes(digits, 1, 7)
    assert len(pair) == 361
    assert pair.labels.dtype == torch.int64
    assert sorted(pair.labels.unique().tolist()) == [-1, 1]
    assert int((pair.labels == 1).sum()) == int((digits.labels == 7).sum())
    assert pair.class_names == ("1", "7")


def test_an_absent_class_is_refused_with_the_classes_there_are():
    with pytest.raises(ValueError, match=r"digits has no image of class 11; it holds classes \[0, 1, 2"):
        two_classes(load_images("digits"), 1, 11)


def test_one_class_twice_is_refused():
    with pytest.raises(ValueError, match="two different classes are needed; got 3 twice"):
        two_classes(load_images("digits"), 3, 3)


def test_torchvision_imports_through_the_library_in_a_fresh_process():
    code = (
        "from memorization.data.files import load_torchvision as f\n"
        "print(f().datasets.MNIST.__name__, f() is f())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["MNIST", "True"]


@pytest.mark.parametrize(
    ("name", "shape", "mean"),
    [
        ("mnist", (60000, 1, 28, 28), [0.1307]),
        ("fashion_mnist", (60000, 1, 28, 28), [0.2860]),
        ("cifar10", (50000, 3, 32, 32), [0.4914, 0.4822, 0.4465]),
    ],
)
def test_real_files_have_the_published_size_and_mean(real_data, name, shape, mean):
    images = load_images(name, "train", real_data)
    assert images.pixels.shape == shape
    assert len(images.class_names) == 10
    found = torch.stack([images.pixels[:, c].float().mean() for c in range(shape[1])]) / 255
    assert torch.allclose(found, torch.tensor(mean), atol=1e-4)


def test_reading_compressed_files_writes_nothing_beside_them(real_data, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(real_data / "MNIST" / "raw", raw)
    before = sorted(path.name for path in raw.iterdir())
    load_images("mnist", "test", tmp_path)
    assert sorted(path.name for path in raw.iterdir()) == before


def test_extracted_files_are_read_in_place(real_data, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (real_data / "MNIST" / "raw").glob("*.gz"):
        (raw / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
    assert torch.equal(
        load_images("mnist", "test", tmp_path).pixels, load_images("mnist", "test", real_data).pixels
    )


def test_a_damaged_compressed_file_is_named_and_nothing_is_fetched(real_data, tmp_path, monkeypatch):
    raw = tmp_path / "MNIST" / "raw"
    shutil.copytree(real_data / "MNIST" / "raw", raw)
    bad = raw / "t10k-labels-idx1-ubyte.gz"
    bad.chmod(0o644)
    bad.write_bytes(bad.read_bytes()[:-9])
    monkeypatch.setattr("urllib.request.urlopen", lambda *a, **k: pytest.fail("went to the network"))
    with pytest.raises(RuntimeError, match=r"t10k-labels-idx1-ubyte\.gz is damaged: its md5 sum"):
        load_images("mnist", "train", tmp_path)


def test_a_damaged_cifar_batch_is_named(real_data, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for path in (real_data / "cifar-10-batches-py").iterdir():
        (folder / path.name).symlink_to(path)
    (folder / "data_batch_2").unlink()
    (folder / "data_batch_2").write_bytes(b"not a batch")
    with pytest.raises(RuntimeError, match=r"data_batch_2 is damaged: its md5 sum .* fetch it again"):
        load_images("cifar10", "test", tmp_path)


def test_a_cut_off_extracted_file_is_reported_as_damaged(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        (raw / f"{part}-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x05ab")
    with pytest.raises(RuntimeError, match=r"train-\*-ubyte is damaged: torchvision cannot read it"):
        load_images("mnist", "train", tmp_path)


def test_a_failed_download_says_so_and_offers_digits(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(RuntimeError, match=r"downloading mnist into .* failed .*'digits' needs no files"):
        load_images("mnist", "train", tmp_path, download=True)


@pytest.mark.parametrize(
    ("pixels", "labels", "told"),
    [
        (torch.zeros(2, 1, 4, 4), [0, 1], "allowed: uint8 of shape"),
        (torch.zeros(2, 4, 4, dtype=torch.uint8), [0, 1], "allowed: uint8 of shape"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [0], "give one label per image"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [0, 3], r"label 3 of image 1 is outside 0\.\.2"),
        (torch.zeros(2, 1, 4, 4, dtype=torch.uint8), [-1, 1], r"label -1 of image 0 is outside 0\.\.2"),
    ],
)
def test_images_and_labels_that_do_not_fit_are_refused(pixels, labels, told):
    with pytest.raises(ValueError, match=told):
        Images(pixels, torch.tensor(labels), ("a", "b", "c"), "mine", 255)
