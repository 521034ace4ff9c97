"""What the page of random-label heads refuses and draws at parameters of a reader."""

import pandas as pd
import pytest

from memorization.report.figures import panels
from memorization.runs.parameters import PROFILES, check_parameters, declared_parameters, profile_values
from memorization.runs.start import project_root
from memorization.studies.random_label_heads.arms import check_settings
from memorization.studies.random_label_heads.figures import FOUND_BY, draw_found

NAME = "random_label_heads"


def settings(profile="smoke", **given):
    root = project_root()
    values = profile_values(root, NAME, profile) | given
    return check_parameters(declared_parameters(root, NAME), values)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_parameters_of_every_profile_fit_each_other(profile):
    check_settings(settings(profile))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"n_train": 200, "count": 21}, "count=21 random labels of each class, but with n_train=200"),
        (
            {"null_labels": [300]},
            r"null_labels=\[300\] .* allowed: at least one number up to 200",
        ),
        ({"null_dimensions": [250]}, r"null_dimensions=\[250\] .* up to 198"),
        ({"rademacher_dimensions": [8, 250]}, r"rademacher_dimensions=\[8, 250\] .* numbers up to 198"),
        ({"large_null_examples": 10}, "large_null_examples=10; allowed: 0, or 20 examples and more"),
    ],
)
def test_parameters_that_do_not_fit_each_other_are_named_at_once(given, said):
    with pytest.raises(ValueError, match=said):
        check_settings(settings(**given))


def test_one_number_that_fits_is_enough_for_the_null():
    check_settings(settings(null_labels=[4, 300], null_dimensions=[250, 3]))


def test_a_score_that_is_far_below_guessing_stays_inside_the_panel():
    rows = [
        {"planted": kind, "look": look, "epoch": epoch, "score": score, "seed": seed,
         "auroc": 0.3 + 0.01 * seed}
        for kind in ("wrong labels", "canaries") for look, epoch in (("early", 1), ("end", 2))
        for score in FOUND_BY for seed in (0, 1)
    ]  # fmt: skip
    _, axes = panels(2, columns=1, titles=["", ""])
    draw_found(axes, pd.DataFrame(rows))
    assert all(ax.get_xlim()[0] < 0.3 for ax in axes)
