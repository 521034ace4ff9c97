"""The few figures on the idea pages that are no results are computed here again."""

import math
from pathlib import Path

import numpy as np
import pytest

from memorization.measures.random_labels import null_accuracy
from memorization.models.networks import resnet18
from memorization.studies.pitfalls_of_memorization.theory import max_margin

IDEAS = Path(__file__).resolve().parents[2] / "book" / "ideas"
PAGE = (IDEAS / "benign_memorization.md").read_text()
SIDE, SCALE, RATIO = 32, (0.08, 1.0), (3 / 4, 4 / 3)


def is_reachable(width: int, height: int) -> bool:
    """Whether some area and aspect ratio of the standard crop round to this width and height."""
    steps = np.linspace(-0.5, 0.5, 101)
    w, h = np.meshgrid(width + steps, height + steps)
    area, ratio = w * h / SIDE**2, w / h
    fits = (SCALE[0] <= area) & (area <= SCALE[1]) & (RATIO[0] <= ratio) & (ratio <= RATIO[1])
    return bool(fits.any())


def crops() -> int:
    sizes = [(w, h) for w in range(1, SIDE + 1) for h in range(1, SIDE + 1) if is_reachable(w, h)]
    return sum((SIDE - w + 1) * (SIDE - h + 1) for w, h in sizes)


def test_the_parameters_of_the_published_network_are_those_on_the_page():
    model = resnet18(stem="small", classes=10, generator=None)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert f"{parameters / 1e6:.1f} million\nparameters" in PAGE
    labels = 2 * parameters / math.log2(10)
    assert f"holds {labels / 1e6:.0f} million labels, or {labels / 50_000:.0f} views per image" in PAGE


def test_the_crops_are_those_on_the_page():
    assert f"{crops():,} different crops of a 32×32\nimage, {2 * crops():,} with the flip" in PAGE


@pytest.mark.parametrize("size", [(32, 32), (8, 10)])
def test_a_usual_crop_is_reachable(size):
    assert is_reachable(*size)


@pytest.mark.parametrize("size", [(32, 20), (7, 7), (36, 32)])
def test_a_crop_too_long_or_too_small_or_too_large_is_not_reachable(size):
    assert not is_reachable(*size)


def test_the_limit_at_the_published_figure_is_the_one_on_the_page():
    page = (IDEAS / "pitfalls_of_memorization.md").read_text()
    n, d, sigma = 1000, 1798, 0.5
    minority = int((1 - 0.9) * n)
    limit = max_margin(majority=n - minority, minority=minority, d=d, gamma=5.0, sigma=sigma)
    assert f"{minority} exceptions, the capacity is {sigma**2 * d} and" in page
    assert f"four times the exceptions are {4 * minority}:" in page
    assert f"an accuracy of {limit.minority:.2f} in the limit" in page


def test_the_nulls_of_the_published_sizes_are_those_on_the_page():
    page = " ".join((IDEAS / "random_label_heads.md").read_text().split())
    cifar, imagenet = 256 / 50_000, 768 / 1_281_167  # features over the examples of a shared head
    assert f"finds {null_accuracy(10, cifar):.3f} of them from meaningless features" in page
    by_class = null_accuracy(10, 256 / 500)
    assert f"with 500 examples each, find {by_class:.3f}: nearly the $2(d + 1) = {2 * 257}$" in page
    few, many = null_accuracy(1000, imagenet), null_accuracy(100_000, imagenet)
    assert f"finds {few:.4f} of 1,000 labels and {many:.3f} of 100,000" in page
