"""The structured feature model: what is drawn, and what depends on what."""

import math

import pytest
import torch

from memorization.draws import generator
from memorization.studies.feature_contamination.data import (
    StructuredFeatures,
    check_dictionary,
    check_signs,
    dictionary,
)

N = 20_000
FIVE_SIGMA = 5 / math.sqrt(N)
MODEL = StructuredFeatures(core=4, background=5)
SPHERE = StructuredFeatures(core=4, background=5, labels="sphere")


def sources(*seeds):
    return [generator(seed, "structured") for seed in seeds]


def sample(model=MODEL, n=N, seeds=(0,), **more):
    return model.draw(n, sources(*seeds), **more)


def correlations(first, second):
    """Largest correlation in size between columns of (N, a) and (N, b)."""
    stacked = torch.cat([first, second], dim=1).double().T
    return torch.corrcoef(stacked)[: first.shape[1], first.shape[1] :].abs().max().item()


@pytest.mark.parametrize("power", [1, 2, 3])
@pytest.mark.parametrize("part", ["core", "background"])
def test_weights_have_the_moments_of_the_uniform_law(part, power):
    weights = getattr(sample(), part).abs() ** power
    spread = math.sqrt(1 / (2 * power + 1) - 1 / (power + 1) ** 2)
    assert weights[0].mean(0).tolist() == pytest.approx(
        [1 / (power + 1)] * weights.shape[2], abs=5 * spread / N**0.5
    )


@pytest.mark.parametrize("model", [MODEL, SPHERE])
def test_no_background_weight_is_correlated_with_the_label(model):
    drawn = sample(model)
    assert correlations(drawn.background[0], drawn.labels[0, :, None]) < FIVE_SIGMA


@pytest.mark.parametrize("model", [MODEL, SPHERE])
def test_no_background_weight_is_correlated_with_the_core_or_another(model):
    drawn = sample(model)
    assert correlations(drawn.background[0], drawn.core[0].abs()) < FIVE_SIGMA
    assert correlations(drawn.background[0, :, :2], drawn.background[0, :, 2:]) < FIVE_SIGMA


def test_coins_are_uniform_and_independent_of_the_label():
    drawn = sample()
    assert drawn.coins.mean().item() == pytest.approx(0.5, abs=FIVE_SIGMA)
    assert drawn.coins.square().mean().item() == pytest.approx(1 / 3, abs=FIVE_SIGMA)
    assert correlations(drawn.coins[0, :, None], drawn.labels[0, :, None]) < FIVE_SIGMA


def test_the_label_is_the_sign_of_the_linear_core():
    drawn = sample()
    assert torch.equal(drawn.core.sum(-1).sign(), drawn.labels)


def test_the_label_is_the_norm_of_the_sphere_core():
    drawn = sample(SPHERE)
    expected = torch.where(drawn.labels > 0, 1.0, 2.0)
    torch.testing.assert_close(drawn.core.norm(dim=-1), expected)


def test_the_direction_of_the_sphere_core_is_uniform():
    drawn = sample(SPHERE)
    unit = drawn.core[0] / drawn.core[0].norm(dim=1, keepdim=True)
    assert unit.mean(0).abs().max() < FIVE_SIGMA / 2  # an entry has variance 1/4
    torch.testing.assert_close(unit.T @ unit / N, torch.eye(4) / 4, atol=FIVE_SIGMA / 4, rtol=0)


def test_labels_are_balanced_on_average():
    assert sample().labels.mean().abs() < FIVE_SIGMA


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_balanced_labels_are_half_of_each_and_of_an_odd_number_one_more_is_positive(n):
    assert (sample(n=n, seeds=(0, 1), balanced=True).labels.sum(1) == n % 2).all()


def test_balanced_labels_are_balanced_in_both_halves():
    labels = sample(n=8, balanced=True).labels[0]
    assert labels[:4].sum() == labels[4:].sum() == 0


def test_a_shift_multiplies_the_background_alone():
    drawn = sample(n=10)
    shifted = drawn.inputs(-0.5)
    assert torch.equal(shifted[..., :4], drawn.core)
    assert torch.equal(shifted[..., 4:], -0.5 * drawn.background)


def test_each_example_may_have_a_shift_of_its_own():
    drawn = sample(n=3)
    shifted = drawn.inputs(torch.tensor([1.0, 0.0, -1.0])[:, None])
    assert torch.equal(shifted[0, :, 4:], drawn.background[0] * torch.tensor([[1.0], [0.0], [-1.0]]))


@pytest.mark.parametrize("model", [MODEL, SPHERE])
def test_a_seed_gives_the_same_examples_alone_and_among_others(model):
    alone, among = sample(model, 20, (3,)), sample(model, 20, (1, 3, 0))
    for name in ("core", "background", "labels", "coins"):
        assert torch.equal(getattr(alone, name)[0], getattr(among, name)[1])


def test_two_seeds_have_uncorrelated_examples():
    drawn = sample(seeds=(0, 1))
    assert correlations(drawn.background[0], drawn.background[1]) < FIVE_SIGMA
    assert correlations(drawn.labels[0][:, None], drawn.labels[1][:, None]) < FIVE_SIGMA


def test_one_source_gives_fresh_examples_at_each_draw():
    source = sources(0)
    first, second = (MODEL.draw(N, source).background[0] for _ in range(2))
    assert correlations(first, second) < FIVE_SIGMA


def test_the_numbers_are_the_same_in_single_and_double_precision():
    single, double = sample(n=50), sample(n=50, dtype=torch.float64)
    assert double.core.dtype == double.labels.dtype == torch.float64
    assert torch.equal(single.inputs(), double.inputs().float())
    sphere = [sample(SPHERE, 50, dtype=dtype).core.float() for dtype in (torch.float32, torch.float64)]
    torch.testing.assert_close(*sphere)


def test_a_model_without_background_has_core_inputs():
    drawn = sample(StructuredFeatures(3, 0), n=5)
    assert torch.equal(drawn.inputs(-1.0), drawn.core)


def test_directions_of_a_dictionary_are_orthonormal():
    rows = dictionary(6, 20, generator(0, "rows"), torch.float64)
    assert rows.shape == (6, 20)
    torch.testing.assert_close(rows @ rows.T, torch.eye(6, dtype=torch.float64), rtol=0, atol=1e-14)
    check_dictionary(rows.float())


def test_a_dictionary_is_its_seeds_own():
    first, again, other = (dictionary(3, 8, generator(seed, "rows")) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 0.1


def test_a_space_too_small_for_the_features_is_refused():
    with pytest.raises(ValueError, match="ambient dimension 5 must be at least the number of features, 6"):
        dictionary(6, 5, generator(0))
    with pytest.raises(ValueError, match="ambient dimension 5 must be at least the number of features, 6"):
        check_dictionary(torch.rand(6, 5))


def test_a_dictionary_that_is_not_orthonormal_is_refused_with_its_deviation():
    rows = dictionary(3, 8, generator(0), torch.float64).repeat(2, 1, 1)
    rows[1, 2] *= 1.1
    with pytest.raises(ValueError, match=r"not orthonormal: .* by up to 0\.21, allowed is 1e-05; latent"):
        check_dictionary(rows)


def test_a_dictionary_with_nan_is_refused():
    with pytest.raises(ValueError, match="differs from the identity by up to nan"):
        check_dictionary(torch.full((2, 4), math.nan))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"core": 0}, "core=0; allowed: a whole number, 1 or more"),
        ({"core": 2.5}, "core=2.5; allowed: a whole number"),
        ({"background": -1}, "background=-1; allowed: a whole number, 0 or more"),
        ({"labels": "cube"}, "labels='cube'; allowed: linear, sphere"),
    ],
)
def test_features_that_cannot_be_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        StructuredFeatures(**{"core": 2, "background": 2, **given})


@pytest.mark.parametrize("n", [0, 1.5])
def test_a_number_of_examples_that_is_none_is_refused(n):
    with pytest.raises(ValueError, match=f"n={n}; allowed: a whole number, 1 or more"):
        MODEL.draw(n, sources(0))


def test_labels_zero_and_one_are_refused_with_a_cure():
    message = r"labels must be -1 or \+1; got \[0.0, 1.0\]: map 0 to -1, for example by 2 \* labels - 1"
    with pytest.raises(ValueError, match=message):
        check_signs(torch.tensor([0.0, 1.0, 1.0]))


@pytest.mark.parametrize("labels", [[-1.0, 2.0], [0.5], [math.nan, 1.0]])
def test_other_labels_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must be -1 or \+1; got \[[^\]]*\]$"):
        check_signs(torch.tensor(labels))


def test_labels_of_the_model_pass():
    check_signs(sample(n=10).labels)
    check_signs(torch.tensor([-1, 1]))
