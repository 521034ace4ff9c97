"""Benign, malign, not memorized; and the paired bootstrap."""

import pytest
import torch

from memorization.studies.benign_memorization.own_network import paired_interval, verdict


def test_a_probe_clearly_above_initialization_is_benign():
    assert verdict(0.998, 0.925, 0.837, 1397).kind == "benign"


def test_a_probe_clearly_below_initialization_is_malign():
    assert verdict(1.0, 0.799, 0.837, 1397).kind == "malign"


def test_a_difference_inside_the_noise_is_malign():
    judged = verdict(1.0, 0.91, 0.90, 1000)
    assert judged.interval[0] < 0 < judged.difference
    assert judged.kind == "malign"


def test_the_tolerance_is_two_deviations_of_the_probe_nearer_to_one_half():
    low, high = verdict(1.0, 0.95, 0.9, 1397).interval
    tolerance = 2 * (0.9 * 0.1 / 1397) ** 0.5
    assert (low, high) == pytest.approx((0.05 - tolerance, 0.05 + tolerance))


@pytest.mark.parametrize(
    ("measure", "memorization", "kind"),
    [
        ("clean-view", 0.949, "not memorized"),
        ("clean-view", 0.95, "benign"),
        ("fresh-view", 0.899, "not memorized"),
        ("fresh-view", 0.9, "benign"),
        ("bank", 0.949, "not memorized"),
        ("bank", 0.95, "benign"),
    ],
)
def test_each_measure_has_its_threshold_and_below_it_nothing_is_benign(measure, memorization, kind):
    assert verdict(memorization, 0.99, 0.5, 1000, measure).kind == kind


def test_the_threshold_can_be_moved():
    assert verdict(0.97, 0.9, 0.5, 1000, threshold=0.99).kind == "not memorized"


def test_a_finer_interval_can_be_given():
    assert verdict(1.0, 0.91, 0.90, 1000, interval=(0.002, 0.018)).kind == "benign"


def test_the_sentence_holds_all_inputs():
    judged = verdict(0.998, 0.925, 0.837, 1397, others={"fresh_view": 0.921})
    assert str(judged) == (
        "benign: clean-view memorization 0.998 (threshold 0.95, fresh_view 0.921), probe 0.925 against 0.837 "
        "at initialization, difference +0.088 in [+0.068, +0.108] (1397 test images)."
    )


def test_an_unknown_measure_is_answered_with_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown measure 'batch'; choose one of clean-view, fresh-view, bank"
    ):
        verdict(1.0, 0.9, 0.8, 100, "batch")


@pytest.mark.parametrize("name", ["memorization", "probe", "probe_init", "threshold"])
@pytest.mark.parametrize("value", [-0.1, 92.5, float("nan")])
def test_what_is_no_fraction_is_refused(name, value):
    given = {"memorization": 1.0, "probe": 0.9, "probe_init": 0.8, "threshold": 0.9} | {name: value}
    with pytest.raises(ValueError, match=rf"{name} must be a fraction in \[0, 1\].*got {value}"):
        verdict(n_test=100, **given)


@pytest.mark.parametrize("n_test", [0, 1.5])
def test_a_verdict_needs_test_images(n_test):
    with pytest.raises(ValueError, match=f"n_test must be a whole number >= 1; got {n_test}"):
        verdict(1.0, 0.9, 0.8, n_test)


@pytest.mark.parametrize("interval", [(0.2, 0.0), (0.2, 0.3)])
def test_an_interval_lies_around_the_difference(interval):
    with pytest.raises(ValueError, match=r"\(low, high\) around the difference \+0.100; got \(0.2, "):
        verdict(1.0, 0.9, 0.8, 100, interval=interval)


def answers(seed, accuracy, n=400):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed)) < accuracy


def test_the_bootstrap_is_that_of_resampled_images():
    first, second = answers(0, 0.9), answers(1, 0.7)
    low, high = paired_interval(first, second, draws=20_000)
    rows = torch.randint(0, 400, (20_000, 400), generator=torch.Generator().manual_seed(2))
    plain = (first.double() - second.double())[rows].mean(dim=1)
    ends = plain.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    assert [low, high] == pytest.approx(ends, abs=0.004)


def test_the_bootstrap_knows_that_the_images_are_the_same():
    first = answers(0, 0.7)
    second = first.clone()
    second[:5] = False
    low, high = paired_interval(first, second)
    assert high - low < 0.03  # two independent test sets of 400 would give 0.13


def test_equal_answers_differ_by_nothing():
    assert paired_interval(answers(0, 0.7), answers(0, 0.7)) == (0, 0)


def test_always_better_is_a_difference_of_one():
    assert paired_interval(torch.ones(9, dtype=torch.bool), torch.zeros(9, dtype=torch.bool)) == (1, 1)


def test_one_seed_gives_one_interval():
    first, second = answers(0, 0.9), answers(1, 0.7)
    assert paired_interval(first, second, seed=3) == paired_interval(first, second, seed=3)


def test_a_higher_level_gives_a_wider_interval():
    first, second = answers(0, 0.9), answers(1, 0.7)
    (low, high), (lower, higher) = (paired_interval(first, second, level=level) for level in (0.8, 0.99))
    assert lower < low < high < higher


@pytest.mark.parametrize("other", [answers(0, 0.5, 399), torch.ones(400), answers(0, 0.5).reshape(20, 20)])
def test_answers_that_are_not_paired_are_refused(other):
    with pytest.raises(ValueError, match="two bool vectors of one length"):
        paired_interval(answers(0, 0.5), other)


@pytest.mark.parametrize(("name", "value"), [("level", 1.0), ("level", 0), ("draws", 0), ("draws", 2.5)])
def test_settings_of_the_bootstrap_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*got {value}"):
        paired_interval(answers(0, 0.5), answers(1, 0.5), **{name: value})
