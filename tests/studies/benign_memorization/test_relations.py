"""Settings that are allowed one by one and do not fit together are told before anything is trained."""

from pathlib import Path

import pytest

from memorization.data.augmentation.policies import augmentation
from memorization.runs.source import PROFILES, declared_parameters, profile_values
from memorization.studies.benign_memorization.experiments import check_relations

ROOT = Path(__file__).resolve().parents[3]
PAGE = {name: p.default for name, p in declared_parameters(ROOT, "benign_memorization").items()}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_of_the_page_fits_together(profile):
    check_relations({**PAGE, **profile_values(ROOT, "benign_memorization", profile)})


MNIST = {"dataset": "mnist", "side": 14, "n_test": 2000, "policy": "small_mnist", "scales": ["cifar10"]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"k": 500},
            r"k = 500; allowed: 1..399 \(k neighbors are sought among reference = 400 images",
        ),
        ({"k": 400}, r"k = 400; allowed: 1..399 .* by the noise probe among the memorized = 400 without"),
        ({"memorized": 500}, r"memorized = 500; allowed: 1..400 .* reference = 400: give a larger one"),
        (
            {"reference": 1797},
            r"reference = 1797; allowed: 1..1796 \(digits has 1797 images, one of them for the test",
        ),
        (
            {**MNIST, "reference": 60_001},
            r"reference = 60001; allowed: 1..60000 \(mnist has 60000 images to train",
        ),
        ({**MNIST, "n_test": 10_001}, r"n_test = 10001; allowed: 1..10000 \(mnist, all of its test half"),
        ({"n_test": 1398}, r"n_test = 1398; allowed: 1..1397 \(digits, all that is left of 1797 images\)"),
        ({"side": 5}, r"side = 5; allowed: \[1, 2, 4, 8\], which divide the 8 pixels of digits"),
        (
            {"batch": 401},
            r"batch = 401; allowed: 2..400 \(a step takes one whole batch of the memorized = 400",
        ),
        (
            {"policy": "full"},
            r"policy = 'full' changes colors, and digits is gray; allowed: small_digits, small_m",
        ),
        (
            {"scales": ["mnist", "cifar_10"]},
            r"scales holds 'cifar_10'; did you mean 'cifar10'\?; allowed: digits,",
        ),
        (
            {"strides": [1, 2]},
            r"strides = \[1, 2\]; allowed: 3 numbers, one for each of widths = \[16, 32, 64\]",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_told(given, message):
    with pytest.raises(ValueError, match=message) as told:
        check_relations({**PAGE, **given})
    assert len(str(told.value).splitlines()) == 1


def test_all_that_does_not_fit_is_told_at_once():
    with pytest.raises(ValueError, match="memorized = 1797") as told:
        check_relations({**PAGE, "memorized": 1797, "k": 5000, "batch": 4000})
    assert [line.split()[0] for line in str(told.value).splitlines()] == ["memorized", "k", "batch"]


def test_a_perceptron_needs_no_strides():
    check_relations({**PAGE, "architecture": "mlp", "strides": [1]})


@pytest.mark.parametrize("name", ["small_digits", "small_mnist", "small_fashion", "isometry"])
def test_the_policies_that_gray_images_are_sent_to_change_no_colors(name):
    assert not augmentation(name).plan.colors
