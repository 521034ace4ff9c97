"""The null, the complexities and the regularizer against closed forms and plain solvers; bad values."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

from memorization.draws import generator
from memorization.measures.random_labels import null_accuracy
from memorization.studies.random_label_heads import complexity
from memorization.studies.random_label_heads.complexity import (
    null_features,
    null_grid,
    random_label_null,
    random_label_rademacher,
    random_label_regularizer,
)

POINTS = {
    "random_label_null": (random_label_null, {"m": 200, "d": 5, "n": 4, "draws": 20, "trained_draws": 1}),
    "random_label_rademacher": (random_label_rademacher, {"m": 200, "d": 5, "draws": 50, "checked": 3}),
    "random_label_regularizer": (random_label_regularizer, {"gaps": [1.0, 90.0], "draws": 20}),
}


def rows_of(found):
    return found if isinstance(found, list) else [found]


@pytest.mark.parametrize("name", POINTS)
def test_rows_are_plain_numbers_and_equal_for_equal_arguments(name):
    call, given = POINTS[name]
    assert call.experiment == name
    first, again = (rows_of(call(**given, seed=3)) for _ in range(2))
    assert first == again
    assert json.loads(json.dumps(first)) == first
    assert all(type(value) is float for row in first for value in row.values())


@pytest.mark.parametrize("name", ["random_label_null", "random_label_rademacher"])
def test_another_seed_gives_other_numbers(name):
    call, given = POINTS[name]
    first, other = (call(**given, seed=seed) for seed in (0, 1))
    key = "accuracy" if name == "random_label_null" else "complexity"
    assert first[key] != other[key]


# features


def test_digits_are_described_by_centered_orthogonal_components_largest_first():
    features, classes = null_features("digits", 1400, 61, 0)
    gram = features.double().T @ features.double()
    lengths = gram.diagonal()
    torch.testing.assert_close(gram, torch.diag(lengths), atol=float(1e-5 * lengths[0]), rtol=0)
    assert bool((lengths[1:] <= lengths[:-1] * (1 + 1e-6)).all())
    assert float(features.mean(0).abs().max()) < 1e-5
    assert set(classes.tolist()) == set(range(10))
    assert float(features.norm()) / 1400 == pytest.approx(0.154, abs=5e-4)


def test_another_seed_draws_other_digits_and_fewer_components_are_the_first_ones():
    one, few, other = (null_features("digits", 300, d, seed)[0] for d, seed in ((9, 0), (4, 0), (9, 1)))
    torch.testing.assert_close(one[:, :4], few)
    assert not torch.allclose(one, other)


# the null


def test_least_squares_heads_reach_the_law_of_their_leverages():
    found = random_label_null(m=1400, d=24, n=2, draws=1500, seed=0)
    assert found["leverage"] == pytest.approx(24 / 1400, rel=1e-6)
    assert found["accuracy"] == pytest.approx(found["law_by_example"], abs=3 * found["sd"] / math.sqrt(1500))
    assert found["law"] == pytest.approx(null_accuracy(2, 24 / 1400))
    assert found["law"] > found["law_by_example"]  # for two labels the law is concave
    assert found["chance"] == 0.5


def test_class_wise_heads_have_the_leverage_of_their_class():
    found = random_label_null(m=1400, d=24, n=14, class_wise=True, draws=100, seed=0)
    assert found["leverage"] == pytest.approx(24 / 140, rel=1e-6)
    assert found["accuracy"] == pytest.approx(null_accuracy(14, 24 / 140), abs=0.012)


def test_clusters_let_heads_fit_less_than_the_law_says():
    found = random_label_null(features="digits", m=1400, d=60, n=140, draws=5, seed=0)
    assert found["law"] - found["accuracy"] > 0.1
    assert found["law_by_example"] - found["accuracy"] > 0.05


def test_trained_heads_fit_more_than_least_squares_and_none_are_trained_unless_asked_for():
    how = {"m": 400, "d": 10, "n": 10, "class_wise": True, "draws": 20, "seed": 0}
    found = random_label_null(**how, trained_draws=2)
    assert found["trained"] > found["accuracy"] + 0.03
    assert math.isnan(random_label_null(**how)["trained"])


def test_several_trained_labellings_differ_within_a_seed_and_between_seeds(monkeypatch):
    seen = []

    def stand_in(inputs, labels, n, classes):
        seen.append(labels)
        return torch.nn.functional.one_hot(labels, n).float()

    monkeypatch.setattr(complexity, "frozen_logits", stand_in)
    for seed in (0, 1):
        random_label_null(m=100, d=3, n=5, draws=2, trained_draws=3, seed=seed)
    assert len(torch.cat(seen).unique(dim=0)) == 6
    assert bool((torch.cat(seen).apply_(lambda label: label + 1).sum(1) == 300).all())  # in equal numbers


def test_the_gap_to_the_law_shrinks_with_the_examples_of_each_label():
    gaps = []
    for m, d in ((280, 12), (2800, 120)):
        found = [random_label_null(m=m, d=d, n=14, draws=100, seed=seed) for seed in range(2)]
        gaps.append(abs(np.mean([one["accuracy"] - one["law_by_example"] for one in found])))
    assert gaps[1] < 0.0015 < gaps[0]


# the grid of the exploration


def test_the_grid_is_full_and_says_what_the_law_says():
    grid = null_grid([300, 1400], [8, 24], [2, 14])
    assert len(grid) == 2 * 2 * 2 * 3
    one = grid.query("m == 1400 and n == 14 and d == 24").set_index("heads")
    assert one.accuracy["a head per class"] == pytest.approx(null_accuracy(14, 24 / 140))
    assert one.accuracy["one shared head"] == pytest.approx(null_accuracy(14, 24 / 1400))
    assert one.accuracy["guessing"] == pytest.approx(1 / 14)
    assert one.score["guessing"] == pytest.approx(0)
    assert one.score["one shared head"] == pytest.approx((14 * one.accuracy["one shared head"] - 1) / 13)


def test_the_grid_is_1_where_everything_is_fitted_and_empty_where_labels_outnumber_examples():
    grid = null_grid([300], [28, 29, 60], [2, 40]).set_index(["n", "d", "heads"])
    assert grid.accuracy[2, 28, "a head per class"] < 1
    assert grid.accuracy[2, 29, "a head per class"] == 1  # 30 examples, and a bias
    assert grid.score[2, 60, "a head per class"] == 1
    assert pd.isna(grid.accuracy[40, 28, "a head per class"])
    assert pd.isna(grid.score[40, 28, "a head per class"])
    assert grid.accuracy[40, 28, "one shared head"] < 1


# complexities


def test_the_drawn_complexity_is_that_of_the_law_and_lies_within_mc_diarmids_interval():
    found = random_label_rademacher(m=1400, d=32, draws=2000, seed=0)
    assert found["complexity"] == pytest.approx(found["law"], abs=4 * found["sd"] / math.sqrt(2000))
    assert found["half_width"] == pytest.approx(math.sqrt(2 * math.log(40) / 1400))
    assert found["sd"] < found["half_width"] / 2
    assert 0.95 <= found["inside"] <= 1


def test_signs_times_predictions_are_twice_the_accuracy_less_one():
    found = random_label_rademacher(m=300, d=7, draws=10, checked=5, seed=1)
    assert found["relation_error"] < 1e-12


def test_a_wrong_relation_is_seen(monkeypatch):
    monkeypatch.setattr(complexity, "random_label_accuracy", lambda outputs, labels: 0.5)
    assert complexity._relation_error(torch.randn(50, 4, generator=generator(0)), 3, generator(1)) > 0.1


@pytest.mark.parametrize(("features", "d"), [("gaussian", 16), ("digits", 61)])
def test_heads_of_norm_1_lie_between_the_bound_and_khintchines(features, d):
    found = random_label_rademacher(features=features, m=1400, d=d, draws=1000, seed=0)
    assert found["norm_ratio"] == pytest.approx(found["norm_bounded"] / found["norm_bound"])
    assert math.sqrt(0.5) < found["norm_ratio"] < 1
    assert found["norm_ratio"] > 0.95


def test_the_bound_is_the_frobenius_norm_over_the_examples():
    features, _ = null_features("gaussian", 200, 5, 4)
    found = random_label_rademacher(m=200, d=5, draws=10, seed=4)
    assert found["norm_bound"] == pytest.approx(float(features.double().norm()) / 200)


# the regularizer


def test_the_gradient_is_the_formula_and_of_length_twice_the_probability():
    (row,) = random_label_regularizer(gaps=[1.0], n=14, seed=0)
    assert row["gradient_error"] < 2e-15
    assert row["size_error"] < 4e-15
    assert row["chance_error"] < 1e-15


@pytest.mark.parametrize("broken", ["bounded", "reversal"])
def test_another_loss_has_another_gradient(monkeypatch, broken):
    monkeypatch.setattr(complexity, broken, lambda logits, labels: 1.5 * torch.logsumexp(logits, -1))
    (row,) = random_label_regularizer(gaps=[1.0], n=14, seed=0)
    assert row["chance_error" if broken == "reversal" else "gradient_error"] > 0.05


def test_the_plain_form_breaks_in_float32_where_the_stable_one_does_not():
    rows = {row["gap"]: row for row in random_label_regularizer(gaps=[0.0, 16.0, 18.0, 90.0], seed=0)}
    assert [rows[gap]["plain_finite"] for gap in (0.0, 16.0, 18.0, 90.0)] == [1, 1, 0, 0]
    assert [rows[gap]["plain_gradient_finite"] for gap in (16.0, 90.0)] == [1, 0]
    assert max(row["stable_error"] for row in rows.values()) < 1e-6
    assert rows[0.0]["plain_limit"] == pytest.approx(24 * math.log(2), abs=0.02)


# what is refused


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: null_features("pixels", 100, 5, 0), "features"),
        (
            lambda: null_features("digits", 1798, 5, 0),
            "m=1798, but there are 1797 digits; give m in 20",
        ),
        (lambda: null_features("digits", 300, 64, 0), r"d=64, but 300 digits have \d\d principal components"),
        (lambda: null_features("gaussian", 19, 5, 0), "m"),
        (lambda: null_features("gaussian", 100, 0, 0), "d"),
        (lambda: random_label_null(m=100, d=99, n=2, seed=0), "d=99 features for 100 examples of a head"),
        (
            lambda: random_label_null(m=100, d=9, n=2, class_wise=True, seed=0),
            "d=9 features for 10 examples of a head: with a bias it fits every label; give d in 1..8",
        ),
        (lambda: random_label_null(m=100, d=2, n=11, class_wise=True, seed=0), "11"),
        (lambda: random_label_null(m=100, d=2, n=1, seed=0), "need at least two random labels"),
        (lambda: random_label_null(m=100, d=2, n=2, draws=1, seed=0), "draws"),
        (lambda: random_label_null(m=100, d=2, n=2, trained_draws=-1, seed=0), "trained_draws"),
        (lambda: random_label_null(m=100, d=2, n=2, seed=-1), "seed must be a whole number"),
        (lambda: random_label_rademacher(m=100, d=99, seed=0), "d=99 features for 100 examples"),
        (lambda: random_label_rademacher(m=100, d=5, draws=1, seed=0), "draws"),
        (lambda: random_label_rademacher(m=100, d=5, checked=0, seed=0), "checked"),
        (lambda: random_label_regularizer(gaps=[], seed=0), "gaps is empty; give one number or more"),
        (lambda: random_label_regularizer(gaps=[-1.0], seed=0), "gap=-1.0; allowed: 0 or more"),
        (lambda: random_label_regularizer(gaps=[math.inf], seed=0), "gap"),
        (lambda: random_label_regularizer(n=1, seed=0), "need at least two random labels"),
        (lambda: random_label_regularizer(draws=0, seed=0), "draws"),
        (lambda: null_grid([19], [2], [2]), "m"),
        (lambda: null_grid([100], [0], [2]), "d"),
        (lambda: null_grid([100], [2], [1]), "need at least two random labels"),
        (lambda: null_grid([100], [2], [2], classes=1), "classes"),
    ],
)
def test_values_that_make_no_sense_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
