"""The sizes that are known without reading a data set are those of its files."""

import pytest

from memorization.data.image_sets import IMAGE_SETS, load_images
from memorization.studies.benign_memorization.experiments import EXTENTS, Extent


def test_every_data_set_has_its_sizes():
    assert set(EXTENTS) == set(IMAGE_SETS)


def test_the_digits_are_one_set_of_small_gray_images():
    pixels = load_images("digits", "all").pixels
    assert EXTENTS["digits"] == Extent(len(pixels), 0, pixels.shape[-1], pixels.shape[1])


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10"])
def test_the_sizes_are_those_of_the_files(name, real_data):
    train, test = (load_images(name, half, real_data).pixels for half in ("train", "test"))
    assert EXTENTS[name] == Extent(len(train), len(test), train.shape[-1], train.shape[1])
