"""What each arm does to the background: to all of it, to some examples, to half of a batch."""

import math

import pytest
import torch

from memorization.draws import generator
from memorization.studies.feature_contamination.data import Backgrounds, StructuredFeatures

N = 20_000
FIVE_SIGMA = 5 / math.sqrt(N)
CORE, BACKGROUND = 3, 4
PLAIN = {"mean": 0.0, "flip": 0.0, "environment": 1.0, "symmetric": 0.0, "center": 0.0}


def backgrounds(*arms):
    return Backgrounds(**{name: torch.tensor([{**PLAIN, **arm}[name] for arm in arms]) for name in PLAIN})


def sample(n=N, seeds=(0,), dtype=torch.float32):
    model = StructuredFeatures(CORE, BACKGROUND)
    return model.draw(n, [generator(seed, "backgrounds") for seed in seeds], dtype=dtype)


def trained(arm, drawn):
    """Core, background (N, .) and labels (N,) in training of one arm and the first seed."""
    x, labels = backgrounds(arm).train(drawn)
    return x[0, 0, :, :CORE], x[0, 0, :, CORE:], labels[0, 0]


def test_a_plain_arm_trains_on_the_examples_as_they_are():
    drawn = sample(10, (0, 1))
    x, labels = backgrounds({}, {}).train(drawn)
    assert x.shape == (2, 2, 10, CORE + BACKGROUND)
    assert all(torch.equal(arm, drawn.inputs()) for arm in x)
    assert all(torch.equal(arm, drawn.labels) for arm in labels)


def test_a_mean_is_subtracted_from_the_background_alone():
    drawn = sample(10)
    core, background, _ = trained({"mean": 0.25}, drawn)
    assert torch.equal(core, drawn.core[0])
    assert torch.equal(background, drawn.background[0] - 0.25)


@pytest.mark.parametrize("flip", [0.0, 0.1, 0.5, 1.0])
def test_the_whole_background_of_an_example_is_negated_with_the_flip_probability(flip):
    drawn = sample()
    core, background, labels = trained({"flip": flip}, drawn)
    ratio = background / drawn.background[0]
    assert (ratio == ratio[:, :1]).all()
    assert set(ratio[:, 0].tolist()) <= {-1.0, 1.0}
    assert (ratio[:, 0] < 0).double().mean().item() == pytest.approx(
        flip, abs=FIVE_SIGMA * (flip * (1 - flip)) ** 0.5
    )
    assert torch.equal(core, drawn.core[0])
    assert torch.equal(labels, drawn.labels[0])


def test_which_examples_are_negated_does_not_depend_on_the_label():
    _, background, labels = trained({"flip": 0.3}, sample())
    flipped = torch.stack([background[:, 0].sign(), labels])
    assert torch.corrcoef(flipped)[0, 1].abs() < FIVE_SIGMA


@pytest.mark.parametrize("n", [8, 9])
def test_environments_are_the_two_halves_of_a_batch(n):
    drawn = sample(n)
    core, background, _ = trained({"environment": -2.0}, drawn)
    first = n - n // 2
    assert torch.equal(background[:first], drawn.background[0, :first])
    assert torch.equal(background[first:], -2.0 * drawn.background[0, first:])
    assert torch.equal(core, drawn.core[0])


def test_half_of_the_examples_are_mirrored_with_their_label():
    drawn = sample()
    x, labels = backgrounds({"symmetric": 1.0}).train(drawn)
    sign = labels[0, 0] / drawn.labels[0]
    assert sign.mean().abs() < FIVE_SIGMA
    assert torch.equal(x[0, 0], drawn.inputs()[0] * sign[:, None])


def test_mirrored_examples_keep_the_label_rule():
    core, _, labels = trained({"symmetric": 1.0}, sample())
    assert torch.equal(core.sum(1).sign(), labels)


def test_mirrors_and_flips_are_independent():
    drawn = sample()
    core, background, _ = trained({"symmetric": 1.0, "flip": 0.5}, drawn)
    mirrored = (core / drawn.core[0])[:, 0]
    flipped = (background / drawn.background[0])[:, 0] * mirrored
    for mirror in (-1, 1):
        for flip in (-1, 1):
            both = ((mirrored == mirror) & (flipped == flip)).double().mean().item()
            assert both == pytest.approx(0.25, abs=FIVE_SIGMA / 2)


@pytest.mark.parametrize(
    "arm",
    [{}, {"mean": 0.2}, {"flip": 0.2}, {"environment": -0.5}, {"mean": 0.2, "flip": 0.1, "environment": 3.0}],
)
def test_centered_training_inputs_have_mean_zero(arm):
    x, _ = backgrounds({**arm, "center": 1.0}).train(sample())
    assert (x.mean(2).abs() < 5 * x.std(2) / N**0.5).all()


def test_test_inputs_are_moved_by_the_center_of_training():
    drawn = sample(10)
    x = backgrounds({"center": 1.0, "flip": 0.25}).test(drawn, -1.0)[0, 0]
    torch.testing.assert_close(x[:, CORE:], -drawn.background[0] - 0.25)
    assert torch.equal(x[:, :CORE], drawn.core[0])


def test_a_shift_acts_after_the_mean_is_subtracted():
    drawn = sample(10)
    x = backgrounds({"mean": 0.5}).test(drawn, -2.0)[0, 0]
    torch.testing.assert_close(x[:, CORE:], -2.0 * (drawn.background[0] - 0.5))


def test_tested_in_distribution_the_backgrounds_are_those_of_training():
    drawn = sample(100)
    arm = {"flip": 0.3, "mean": 0.1, "center": 1.0}
    assert torch.equal(backgrounds(arm).test(drawn), backgrounds(arm).train(drawn)[0])


def test_tested_out_of_distribution_every_background_is_shifted_once():
    drawn = sample(100)
    x = backgrounds({"flip": 0.5, "environment": 4.0, "symmetric": 1.0}).test(drawn, -1.0)
    assert torch.equal(x[0], drawn.inputs(-1.0))


def test_tested_in_distribution_the_environment_is_the_first_one():
    drawn = sample(100)
    assert torch.equal(backgrounds({"environment": 4.0}).test(drawn)[0], drawn.inputs())


def test_arms_are_the_same_alone_and_together():
    drawn = sample(50, (0, 1))
    arms = [{"flip": 0.3}, {"symmetric": 1.0, "mean": 0.25}, {"center": 1.0, "environment": 0.5}]
    together = backgrounds(*arms)
    for a, arm in enumerate(arms):
        for one, all_ in zip(backgrounds(arm).train(drawn), together.train(drawn), strict=True):
            assert torch.equal(one[0], all_[a])
        assert torch.equal(backgrounds(arm).test(drawn, -1.0)[0], together.test(drawn, -1.0)[a])


def test_the_examples_own_type_is_kept():
    arm = {"mean": 0.1, "flip": 0.3, "environment": 0.5, "symmetric": 1.0, "center": 1.0}
    single, double = (
        backgrounds(arm).train(sample(50, dtype=dtype)) for dtype in (torch.float32, torch.float64)
    )
    assert double[0].dtype == double[1].dtype == torch.float64
    torch.testing.assert_close(double[0].float(), single[0])
    assert backgrounds(arm).test(sample(5, dtype=torch.float64), -1.0).dtype == torch.float64


@pytest.mark.parametrize("flip", [-0.1, 1.5, math.nan])
def test_a_flip_probability_outside_its_range_is_refused(flip):
    with pytest.raises(ValueError, match=r"flip probability \[0.0, .*\]; allowed: 0..1"):
        backgrounds({}, {"flip": flip})
