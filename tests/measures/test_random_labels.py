"""Random labels: heads against a plain loop, the null's law against quadrature and simulation, detection."""

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import log_ndtr
from sklearn.metrics import average_precision_score, roc_auc_score

from memorization.data.image_sets import load_images
from memorization.draws import generator
from memorization.measures.detection import _resampled, detection, membership_inference
from memorization.measures.random_labels import (
    FROZEN_HEAD,
    ConstantFeatureWarning,
    WideBandWarning,
    chance_corrected,
    frozen_accuracy,
    frozen_logits,
    head_margins,
    least_squares_accuracy,
    leverages,
    mcdiarmid_half_width,
    norm_bounded_complexity,
    null_accuracy,
    null_simulation,
    rademacher_complexity,
    random_label_accuracy,
)

SHORT = replace(FROZEN_HEAD, steps=60)
CLASSES = torch.tensor([2, 0, 0, 2, 2, 0, 2, 0, 0, 2, 2, 2])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=generator(seed, "features"), dtype=dtype)


def labels(*shape, n, seed=0):
    return torch.randint(n, shape, generator=generator(seed, "labels"))


@pytest.fixture(scope="module")
def digits():
    """1,400 digits, standardized by one mean and one deviation, and their principal components."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))[:1400]
    pixels = load_images("digits", "all").pixels[order].flatten(1).double()
    pixels = (pixels - pixels.mean()) / pixels.std()
    left, sizes, _ = torch.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    return pixels, left * sizes


def plain_head(features, targets, n, share, recipe=SHORT):
    """One head, one labelling, by autograd; ``share``: of all examples in this head."""
    spread = features.std(0, correction=0)
    rows = torch.where(spread > 0, (features - features.mean(0)) / spread, 0.0)
    return plain_fit(rows, targets, n, share, recipe)


def plain_fit(rows, targets, n, share, recipe):
    weight = torch.zeros(rows.shape[1], n, dtype=rows.dtype, requires_grad=True)
    bias = torch.zeros(n, dtype=rows.dtype, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.05)
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = 0.05 * 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
        loss = share * torch.nn.functional.cross_entropy(rows @ weight + bias, targets)
        optimizer.zero_grad()
        (loss + 1e-4 * (weight.square().sum() + bias.square().sum())).backward()
        optimizer.step()
    return (rows @ weight + bias).detach()


# accuracies


def test_the_accuracy_is_that_of_the_largest_logit_for_every_labelling():
    logits, given = normal(3, 2, 40, 5), labels(3, 2, 40, n=5)
    found = random_label_accuracy(logits, given)
    assert found.shape == (3, 2)
    hits = [int(logits[1, 0, i].argmax()) == int(given[1, 0, i]) for i in range(40)]
    assert float(found[1, 0]) == pytest.approx(np.mean(hits))


def test_the_corrected_score_is_0_at_chance_1_at_best_and_twice_less_one_for_signs():
    assert chance_corrected(1 / 14, 14) == pytest.approx(0)
    assert chance_corrected(1.0, 14) == 1
    assert chance_corrected(0.0, 14) == pytest.approx(-1 / 13)
    assert chance_corrected(torch.tensor([0.5, 0.75]), 2).tolist() == [0, 0.5]


# frozen heads


@pytest.mark.parametrize("several", [False, True], ids=["one network", "two networks"])
def test_all_heads_at_once_are_the_plain_loop_over_heads(several):
    features, given = normal(2, 12, 3), labels(2, 2, 12, n=4)
    found = frozen_logits(features, given, 4, recipe=SHORT) if several else None
    for network in range(2):
        own = found[network] if several else frozen_logits(features[network], given[network], 4, recipe=SHORT)
        for k in range(2):
            expected = plain_head(features[network], given[network, k], 4, 1.0)
            torch.testing.assert_close(own[k], expected, rtol=1e-6, atol=1e-8)


def test_a_class_has_a_head_of_its_own_on_features_standardized_over_all():
    features, given = normal(12, 3), labels(2, 12, n=3)
    found = frozen_logits(features, given, 3, CLASSES, SHORT)
    rows = (features - features.mean(0)) / features.std(0, correction=0)
    for one in (0, 2):
        there = one == CLASSES
        for k in range(2):
            expected = plain_fit(rows[there], given[k, there], 3, float(there.double().mean()), SHORT)
            torch.testing.assert_close(found[k, there], expected, rtol=1e-6, atol=1e-8)


def test_networks_may_have_classes_of_their_own():
    features, given = normal(2, 12, 3), labels(2, 1, 12, n=3)
    classes = torch.stack([CLASSES, CLASSES.flip(0)])
    found = frozen_logits(features, given, 3, classes, SHORT)
    for network in range(2):
        alone = frozen_logits(features[network], given[network], 3, classes[network], SHORT)
        torch.testing.assert_close(found[network], alone)


def test_labels_that_the_features_hold_are_found_and_fresh_ones_are_not():
    given = labels(3, 400, n=5)
    held = torch.nn.functional.one_hot(given[0], 5).double()
    found = frozen_accuracy(torch.cat([held, normal(400, 4)], 1), given, 5, generator(0, "fresh"))
    assert float(found.given[0]) == 1
    assert float(found.given[1:].max()) < 0.4
    assert found.fresh.shape == (3,)
    assert float(found.fresh.max()) < 0.4


def test_features_without_meaning_do_not_tell_given_labels_from_fresh_ones():
    features, classes = normal(3, 280, 8), torch.arange(280) % 4
    found = frozen_accuracy(features, labels(6, 280, n=7), 7, generator(0, "fresh"), classes, SHORT)
    assert found.given.shape == found.fresh.shape == (3, 6)
    assert float(found.given.mean()) == pytest.approx(float(found.fresh.mean()), abs=0.03)
    assert float(found.given.mean()) > 1 / 7 + 0.15  # the null is far above chance


def test_the_same_generator_draws_the_same_fresh_labels():
    features, given = normal(60, 4), labels(2, 60, n=3)
    one, two = (frozen_accuracy(features, given, 3, generator(4), recipe=SHORT) for _ in range(2))
    assert torch.equal(one.fresh, two.fresh)


def test_a_generator_for_each_network_makes_it_independent_of_the_others():
    features, given = normal(3, 60, 4), labels(3, 2, 60, n=3)
    together = frozen_accuracy(features, given, 3, [generator(s) for s in range(3)], recipe=SHORT)
    alone = frozen_accuracy(features[2], given[2], 3, generator(2), recipe=SHORT)
    assert torch.equal(together.fresh[2], alone.fresh)
    with pytest.raises(ValueError, match="2 generators for 3 networks; give one, or one for each"):
        frozen_accuracy(features, given, 3, [generator(0), generator(1)], recipe=SHORT)


def test_a_dead_feature_is_told_once_and_changes_nothing():
    features, given = normal(30, 4), labels(1, 30, n=3)
    dead = torch.cat([features, torch.full((30, 1), 0.1), torch.zeros(30, 1)], 1)
    with pytest.warns(ConstantFeatureWarning, match="2 of 6 features are the same in every example") as told:
        found = frozen_logits(dead, given, 3, recipe=SHORT)
    assert len(told) == 1
    torch.testing.assert_close(found, frozen_logits(features, given, 3, recipe=SHORT))


def test_heads_on_constant_features_are_at_chance():
    given = torch.arange(40)[None] % 4
    with pytest.warns(ConstantFeatureWarning):
        found = frozen_accuracy(torch.ones(40, 3), given, 4, generator(0), recipe=SHORT)
    assert found.given.tolist() == found.fresh.tolist() == [0.25]


def test_half_precision_features_are_probed_in_single_precision():
    features, given = normal(40, 4).half(), labels(1, 40, n=3)
    found = frozen_logits(features, given, 3, recipe=SHORT)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, frozen_logits(features.float(), given, 3, recipe=SHORT))


# the null


@pytest.mark.parametrize("h", [0.0, 0.01, 0.3, 0.9])
def test_for_two_labels_the_law_is_in_closed_form(h):
    expected = 0.5 * (1 + math.erf(math.sqrt(h / (1 - h) / 2)))
    assert null_accuracy(2, h) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("n", [2, 10, 1000, 100_000])
def test_without_features_the_law_is_chance(n):
    assert null_accuracy(n, 0.0) == pytest.approx(1 / n, abs=1e-10)


@pytest.mark.parametrize(("n", "h"), [(10, 0.05), (1000, 0.00514), (10_000, 0.0006), (100_000, 1e-4)])
def test_the_law_is_its_integral(n, h):
    shift = math.sqrt(n * h / (1 - h))
    law = quad(
        lambda z: math.exp((n - 1) * log_ndtr(z + shift) - z * z / 2) / math.sqrt(2 * math.pi),
        -12, 14, limit=400, epsabs=1e-12, points=[0, 2, 4],
    )[0]  # fmt: skip
    assert null_accuracy(n, h) == pytest.approx(law, abs=1e-7)


@pytest.mark.parametrize(
    ("m", "d", "expected"),
    [
        (50_000, 256, {2: 0.529, 10: 0.140, 100: 0.049, 1000: 0.1805, 10_000: 0.999}),
        (500, 256, {2: 0.848, 10: 0.934, 100: 1.0}),
        (1_280_000, 768, {2: 0.510, 10: 0.1125, 100: 0.018, 1000: 0.0095, 10_000: 0.090}),
        (1280, 768, {2: 0.890, 10: 0.979, 100: 1.0, 1000: 1.0}),
    ],
    ids=["CIFAR-100, shared", "CIFAR-100, class-wise", "ImageNet, shared", "ImageNet, class-wise"],
)
def test_the_law_at_the_scale_of_the_paper(m, d, expected):
    for n, value in expected.items():
        assert null_accuracy(n, (d + 1) / m) == pytest.approx(value, abs=5.1e-4)


def test_the_law_takes_many_leverages_some_of_them_1():
    found = null_accuracy(3, torch.tensor([[0.0, 0.5, 1.0]]))
    assert found.shape == (1, 3)
    assert found[0].tolist() == pytest.approx([1 / 3, null_accuracy(3, 0.5), 1])


@pytest.mark.parametrize(("balanced", "share"), [(False, 61), (True, 60)])
def test_for_two_labels_the_simulation_is_the_law(balanced, share):
    """Independent labels use the bias, labels in equal numbers do not."""
    found = null_simulation(1400, 60, 2, [0, 1, 2], 1000, balanced=balanced)
    assert found.error < 3e-4
    assert found.mean == pytest.approx(null_accuracy(2, share / 1400), abs=1e-3)
    assert found.sd == pytest.approx(0.011, abs=1e-3)


def test_for_many_examples_a_label_the_simulation_is_the_law():
    found = null_simulation(7000, 60, 14, [0, 1], 20)
    assert found.mean == pytest.approx(null_accuracy(14, 60 / 7000), abs=1.5e-3)


def test_for_few_examples_a_label_the_law_is_too_high():
    balanced = null_simulation(1400, 60, 140, [0, 1], 20)
    independent = null_simulation(1400, 60, 140, [0, 1], 20, balanced=False)
    assert 0.002 < null_accuracy(140, 60 / 1400) - balanced.mean < 0.012
    assert 0.06 < null_accuracy(140, 61 / 1400) - independent.mean < 0.11


def test_class_wise_heads_have_the_null_of_their_class():
    found = null_simulation([140] * 5, 24, 2, [0, 1, 2], 200)
    alone = null_simulation(140, 24, 2, [3, 4, 5, 6, 7], 400)
    assert found.mean == pytest.approx(alone.mean, abs=3e-3)
    assert found.mean == pytest.approx(null_accuracy(2, 24 / 140), abs=4e-3)


def test_trained_heads_have_a_null_of_their_own_far_above_that_of_least_squares():
    found = null_simulation([140] * 3, 24, 14, [0, 1], 3, FROZEN_HEAD)
    control = frozen_accuracy(normal(420, 24), labels(3, 420, n=14), 14, generator(0), torch.arange(420) % 3)
    assert found.values.shape == (2, 3)
    assert found.mean == pytest.approx(float(control.fresh.mean()), abs=0.03)
    assert found.mean > null_simulation([140] * 3, 24, 14, [0, 1], 50).mean + 0.1


def test_classes_of_other_sizes_count_by_their_size():
    found = null_simulation([20, 200], 30, 2, [0], 200, balanced=False)
    large = null_simulation(200, 30, 2, [0, 1], 200, balanced=False)
    assert found.mean == pytest.approx((20 + 200 * large.mean) / 220, abs=5e-3)  # 20 examples: all fitted


def test_the_law_with_the_leverages_of_real_features_is_their_simulation(digits):
    """Here the mean leverage alone is off by .004."""
    components = digits[1]
    for d, expected in ((8, 0.5317), (16, 0.5438), (32, 0.5611), (61, 0.5810)):
        law = float(null_accuracy(2, leverages(components[:, :d])).mean())
        drawn = least_squares_accuracy(components[:, :d], 2, 1000, generator(d), balanced=False)
        assert law == pytest.approx(expected, abs=3e-4)
        assert drawn.mean == pytest.approx(law, abs=1.2e-3)


def test_on_features_in_clusters_the_law_is_an_overestimate(digits):
    drawn = least_squares_accuracy(digits[1][:, :60], 140, 10, generator(0))
    assert drawn.mean == pytest.approx(0.288, abs=0.01)
    assert null_accuracy(140, 61 / 1400) == pytest.approx(0.466, abs=1e-3)


def test_2000_labellings_of_1400_examples_take_about_a_second():
    features, start = normal(1400, 60), time.process_time()
    least_squares_accuracy(features, 2, 2000, generator(0))
    assert time.process_time() - start < 4  # half a second on an idle core


def test_least_squares_heads_are_those_of_a_plain_solver():
    features, source = normal(30, 4), generator(0, "plain")
    found = least_squares_accuracy(features, 3, 4, source, balanced=False)
    drawn = torch.randint(3, (4, 30), generator=generator(0, "plain"))
    rows = torch.cat([features, torch.ones(30, 1, dtype=torch.float64)], 1)
    for k in range(4):
        targets = torch.nn.functional.one_hot(drawn[k], 3).double()
        outputs = rows @ torch.linalg.lstsq(rows, targets).solution
        assert float(found.values[k]) == pytest.approx(
            float((outputs.argmax(1) == drawn[k]).double().mean()), abs=1e-6
        )


def test_leverages_are_the_diagonal_of_the_hat_matrix():
    features = normal(20, 3)
    rows = torch.cat([features, torch.ones(20, 1, dtype=torch.float64)], 1)
    hat = rows @ torch.linalg.inv(rows.T @ rows) @ rows.T
    torch.testing.assert_close(leverages(features), hat.diagonal())
    assert float(leverages(features[:12], CLASSES).sum()) == pytest.approx(8)  # four for each of two classes


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dead_and_repeated_features_add_no_leverage(dtype):
    features = normal(50, 3).to(dtype)
    more = torch.cat(
        [features, torch.full((50, 1), 0.1, dtype=dtype), features @ torch.ones(3, 1, dtype=dtype)], 1
    )
    torch.testing.assert_close(leverages(more), leverages(features))


def test_more_features_than_examples_fit_everything():
    assert least_squares_accuracy(normal(20, 30), 4, 5, generator(0)).values.tolist() == [1.0] * 5


# complexities


def test_the_complexity_of_least_squares_heads_is_twice_the_accuracy_less_one():
    found = rademacher_complexity(normal(1400, 60), 500, generator(0))
    assert found.mean == pytest.approx(2 * null_accuracy(2, 61 / 1400) - 1, abs=4e-3)
    assert found.sd == pytest.approx(0.022, abs=2e-3)
    assert found.error == pytest.approx(found.sd / math.sqrt(500))


def test_the_norm_bounded_complexity_is_the_mean_length_of_signed_sums(digits):
    pixels = digits[0]
    found = norm_bounded_complexity(pixels, 2.0, 3000, generator(0))
    limit = 2 * float(pixels.norm()) / 1400
    assert 0.9 < found.mean / limit < 1
    assert found.values.square().mean().sqrt() == pytest.approx(
        limit, rel=0.02
    )  # the limit is the mean square


def test_of_one_feature_the_norm_bounded_complexity_is_a_walk():
    found = norm_bounded_complexity(torch.ones(100, 1), 1.0, 4000, generator(0))
    assert found.mean == pytest.approx(math.sqrt(2 / math.pi / 100), abs=4 * found.error)


@pytest.mark.parametrize(("m", "width"), [(50_000, 0.012), (1400, 0.073)])
def test_the_half_width_of_one_labelling(m, width):
    assert mcdiarmid_half_width(m) == pytest.approx(width, abs=5e-4)
    assert mcdiarmid_half_width(m, 5) == pytest.approx(1.25 / 2 * mcdiarmid_half_width(m))


def test_a_band_for_few_examples_warns():
    with pytest.warns(WideBandWarning, match="99 examples for 10 labels"):
        mcdiarmid_half_width(99, 10)


# scores of examples, detection


def test_margins_are_means_over_labellings_and_joined_by_id():
    logits, given = normal(3, 5, 4), labels(3, 5, n=4)
    table = head_margins(logits, given, torch.tensor([9, 3, 7, 1, 0]), "d1", {"seed": 2})
    expected = []
    for k in range(3):
        row = logits[k, 2].tolist()
        own = row.pop(int(given[k, 2]))
        expected.append(own - max(row))
    found = table.at(torch.tensor([7])).columns["head_margin"]
    assert float(found) == pytest.approx(np.mean(expected))
    assert table.made["head_margin"] == {"measure": "head_margin", "labellings": 3, "labels": 4, "seed": 2}


def test_an_example_far_from_the_others_has_the_largest_margin():
    features = torch.cat([normal(100, 3), normal(100, 1) * 0.01], 1)
    features[17, 3] = 5
    given = labels(20, 100, n=2)
    table = head_margins(frozen_logits(features, given, 2), given, torch.arange(100), "d1")
    assert int(table.columns["head_margin"].argmax()) == 17


def test_detection_is_that_of_scikit_learn_with_intervals_around_it():
    planted = torch.arange(300) % 5 == 0
    scores = normal(300) + planted
    found = detection(scores, planted, generator(0))
    assert found.auroc == pytest.approx(roc_auc_score(planted, scores), abs=1e-12)
    assert found.average_precision == pytest.approx(average_precision_score(planted, scores), abs=1e-12)
    assert found.share == 0.2
    for value, (low, high) in (
        (found.auroc, found.auroc_interval),
        (found.average_precision, found.average_precision_interval),
    ):
        assert low < value < high
        assert 0.05 < high - low < 0.3
    assert detection(scores, planted).auroc_interval is None


def test_intervals_are_those_of_examples_that_are_drawn_several_times_also_with_equal_scores():
    planted = torch.arange(120) % 5 == 0
    scores = ((normal(120) + planted) * 2).round()
    found, source = detection(scores, planted, generator(0), 40), generator(0)
    counts = [_resampled(planted, source).numpy() for _ in range(40)]
    for interval, area in (
        (found.auroc_interval, roc_auc_score),
        (found.average_precision_interval, average_precision_score),
    ):
        values = [area(planted, scores, sample_weight=each) for each in counts]
        assert interval == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), abs=1e-12)


def test_equal_scores_detect_nothing():
    found = detection(torch.ones(10), torch.arange(10) < 3)
    assert (found.auroc, found.average_precision) == (0.5, 0.3)


def test_members_are_told_from_others():
    found = membership_inference(torch.tensor([3.0, 4.0, 1.0]), torch.tensor([0.0, 2.0]))
    assert found.auroc == pytest.approx(5 / 6)
    assert found.share == 0.6


# bad input

ROWS, GIVEN = normal(12, 3), labels(2, 12, n=3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: chance_corrected(0.5, 1), ValueError, "n=1.*need at least two random labels"),
        (lambda: null_accuracy(1, 0.5), ValueError, "n=1.*need at least two random labels"),
        (lambda: null_simulation(20, 3, 1, [0]), ValueError, "need at least two random labels"),
        (lambda: frozen_logits(ROWS, GIVEN, 2.0), ValueError, "n=2.0.*need at least two random labels"),
        (lambda: random_label_accuracy(ROWS[:, :1], GIVEN[0]), ValueError, "at least two random labels"),
        (lambda: chance_corrected(1.2, 3), ValueError, r"accuracy=1.2; allowed: a fraction in \[0, 1\]"),
        (lambda: chance_corrected(math.nan, 3), ValueError, "accuracy=nan"),
        (
            lambda: frozen_logits(ROWS, GIVEN, 2),
            ValueError,
            r"random label 2 of example \d+ is outside 0..1",
        ),
        (lambda: frozen_logits(ROWS, GIVEN.float(), 3), TypeError, "random labels are torch.float32"),
        (
            lambda: frozen_logits(ROWS, GIVEN[:, 1:], 3),
            ValueError,
            r"shape \(2, 11\); allowed: \(2, 12\), one label for each",
        ),
        (lambda: frozen_logits(ROWS, GIVEN[0], 3), ValueError, r"allowed: K labellings \(K, 12\)"),
        (
            lambda: frozen_logits(ROWS, GIVEN, 3, recipe=replace(SHORT, steps=None)),
            ValueError,
            "give the number of steps",
        ),
        (lambda: frozen_logits(ROWS, GIVEN, 3, CLASSES[1:]), ValueError, "one label per row is needed"),
        (
            lambda: frozen_accuracy(ROWS, GIVEN, 13, generator(0)),
            ValueError,
            "n=13 random labels, but there are 12 examples",
        ),
        (
            lambda: frozen_accuracy(ROWS, GIVEN, 6, generator(0), CLASSES),
            ValueError,
            "n=6 random labels, but class 0 has 5 examples",
        ),
        (
            lambda: least_squares_accuracy(ROWS, 6, 2, generator(0), CLASSES),
            ValueError,
            "class 0 has 5 examples; allowed: .* or few=True",
        ),
        (lambda: null_accuracy(3, 61 / 60), ValueError, r"leverage=1.01667; allowed: .* more examples"),
        (lambda: null_accuracy(3, 1.0), ValueError, "leverage=1; allowed"),
        (lambda: null_accuracy(3, leverages(normal(4, 3))), ValueError, "with fewer it fits every label"),
        (lambda: null_accuracy(3, -0.1), ValueError, "leverage=-0.1"),
        (lambda: null_simulation(20.0, 3, 2, [0]), ValueError, "m=20.0; allowed: a whole number"),
        (lambda: null_simulation([20, 0], 3, 2, [0]), ValueError, "m=0; allowed: a whole number, 2 or more"),
        (
            lambda: null_simulation([20, 5], 3, 6, [0], 2, SHORT),
            ValueError,
            "n=6 random labels, but class 1 has 5 examples",
        ),
        (lambda: null_simulation(20, 0, 2, [0]), ValueError, "d=0"),
        (lambda: null_simulation(20, 3, 2, []), ValueError, "seeds="),
        (lambda: rademacher_complexity(ROWS, 1, generator(0)), ValueError, "draws=1"),
        (lambda: rademacher_complexity(ROWS.long(), 9, generator(0)), TypeError, "features are torch.int64"),
        (lambda: rademacher_complexity(ROWS[0], 9, generator(0)), ValueError, r"shape \(3,\)"),
        (lambda: norm_bounded_complexity(ROWS, 0.0, 9, generator(0)), ValueError, "bound=0.0"),
        (lambda: mcdiarmid_half_width(100, 2, 1.0), ValueError, "delta=1.0"),
        (
            lambda: head_margins(normal(2, 12, 3), GIVEN, torch.arange(11), "d"),
            ValueError,
            "cover the m examples of the ids",
        ),
        (
            lambda: head_margins(normal(2, 12, 3), GIVEN, torch.zeros(12).long(), "d"),
            ValueError,
            "example 0 is there twice",
        ),
        (lambda: detection(torch.ones(3), torch.ones(3)), TypeError, "planted is torch.float32"),
        (lambda: detection(torch.ones(3) * 1j, torch.ones(3) > 0), TypeError, "scores are torch.complex64"),
        (lambda: detection(torch.ones(3), torch.ones(3).bool()), ValueError, "3 of 3 examples are planted"),
        (lambda: detection(torch.ones(4), torch.ones(3).bool()), ValueError, r"allowed: \(m,\) both"),
        (
            lambda: detection(torch.tensor([1.0, math.nan]), torch.tensor([True, False])),
            ValueError,
            "1 of 2 scores are NaN",
        ),
        (lambda: membership_inference(torch.ones(3), torch.ones(0)), ValueError, "others have shape"),
    ],
)
def test_bad_input_is_answered_in_a_sentence(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda rows: frozen_logits(rows, GIVEN, 3),
        lambda rows: least_squares_accuracy(rows, 3, 2, generator(0)),
        leverages,
        lambda rows: norm_bounded_complexity(rows, 1.0, 2, generator(0)),
        lambda rows: random_label_accuracy(rows, GIVEN[0]),
    ],
    ids=["frozen", "least squares", "leverages", "norm-bounded", "online"],
)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_refused_with_the_count(call, value):
    rows = ROWS.clone()
    rows[[2, 5], 1] = value
    with pytest.raises(ValueError, match=r"2 (of 12 rows|examples).* NaN or Inf"):
        call(rows)


def test_more_labels_than_examples_are_allowed_where_some_may_have_none():
    found = frozen_accuracy(ROWS, GIVEN, 13, generator(0), recipe=SHORT, few=True)
    assert found.given.shape == (2,)
    assert least_squares_accuracy(ROWS, 13, 2, generator(0), few=True).values.shape == (2,)
