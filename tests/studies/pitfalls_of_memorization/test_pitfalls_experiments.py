"""Every experiment at a tiny size: plain rows, equal for equal arguments, and a sentence for bad values."""

import math

import numpy as np
import pytest

from memorization.data.groups import spurious_digits
from memorization.studies.pitfalls_of_memorization.experiments import (
    LINEAR_METHODS,
    capacity_rule,
    draw_noisy_curves,
    fit_noisy_curves,
    linear_curves,
    linear_diagram,
    linear_influence,
    linear_methods,
)
from memorization.studies.pitfalls_of_memorization.image_experiments import (
    color_mnist_draw,
    group_influence,
    group_methods,
    published_draw,
)
from memorization.studies.pitfalls_of_memorization.theory import max_margin
from memorization.training.held_out import CrossRisk

SMALL = {"n": 60, "d": 20, "majority_rate": 0.8, "epochs": 20, "rate": 0.02, "seed": 0}
CURVES = {"sigmas": [0.0, 0.01], "width": 6, "tolerance": 1e-6, "most_steps": 10}
DIGITS = {
    "dataset": "digits", "minority": 0.1, "widths": [8], "steps": 20, "twin_steps": 120, "rate": 1e-2,
    "n_train": 100,
}  # fmt: skip

POINTS = {
    "linear_curves": (linear_curves, {**SMALL, "method": "mat", "sigma": 0.5, "look_at": [1, 5]}),
    "linear_methods": (linear_methods, {**SMALL, "temperatures": [0.1, 1.0], "label_noise": 0.05}),
    "linear_diagram": (linear_diagram, {**SMALL, "gammas": [2.0, 5.0], "sigmas": [0.0, 0.5]}),
    "capacity_rule": (capacity_rule, {"n": 20, "d": 400, "gamma": 5.0, "sigma": 0.5, "seed": 0}),
    "linear_influence": (
        linear_influence, {**SMALL, "methods": ["erm", "mat", "weights"], "models": 8, "fraction": 0.7}
    ),
    "fit_noisy_curves": (fit_noisy_curves, {**CURVES, "seeds": [0, 1]}),
    "draw_noisy_curves": (draw_noisy_curves, CURVES),
    "group_methods": (
        group_methods, {**DIGITS, "methods": ["erm", "mat"], "evaluate_every": 10, "seeds": [0, 1]}
    ),
    "group_influence": (
        group_influence, {**DIGITS, "methods": ["erm", "mat"], "models": 3, "fraction": 0.6, "seed": 0}
    ),
}  # fmt: skip


def flat(rows):
    return [row for one in rows for row in (one if isinstance(one, list) else [one])]


def same(one, other):
    return one == other or (math.isnan(one) and math.isnan(other))


@pytest.fixture(scope="module")
def found():
    """The rows of each experiment, made once."""
    made = {}

    def rows(name):
        if name not in made:
            call, given = POINTS[name]
            made[name] = call(**given)
        return made[name]

    return rows


@pytest.mark.parametrize("name", POINTS)
def test_rows_are_plain_and_equal_for_equal_arguments(found, name):
    call, given = POINTS[name]
    assert call.experiment == name
    first, again = flat(found(name)), flat(call(**given))
    assert len(first) == len(again) > 0
    for row, other in zip(first, again, strict=True):
        assert row.keys() == other.keys()
        for key, value in row.items():
            assert type(value) in (int, float, str), (key, type(value))
            assert same(value, other[key]), key


def test_experiments_of_several_seeds_return_the_rows_of_each_and_as_alone(found):
    for name in ("fit_noisy_curves", "group_methods"):
        call, given = POINTS[name]
        rows = found(name)
        assert len(rows) == 2
        alone = call(**{**given, "seeds": [1]})[0]
        for row, other in zip(rows[1], alone, strict=True):
            for key, value in row.items():
                fits = value == other[key] if isinstance(value, str) else value == pytest.approx(
                    other[key], rel=1e-3, abs=0.03, nan_ok=True
                )  # fmt: skip
                assert fits, key


# ---- what is in the rows


def test_a_curve_is_looked_at_where_it_was_asked_and_at_its_end(found):
    rows = found("linear_curves")
    assert [row["epoch"] for row in rows] == [1, 5, 20]
    assert len({row["reliance"] for row in rows}) == 1


def test_all_linear_methods_share_data_and_start(found):
    rows = found("linear_methods")
    names = [(row["method"], row["temperature"]) for row in rows]
    plain = [(m, 0.0) for m in LINEAR_METHODS[:3]]
    mat, bare = ([(m, t) for t in (0.1, 1.0)] for m in ("mat", "mat_no_flipping"))
    assert names == [*plain, *mat, ("mat_oracle", 0.0), *bare]
    for row in rows[:2]:
        shared = {"method": row["method"], "sigma": 0.5, "gamma": 5.0}
        alone = linear_curves(**{**SMALL, **shared})  # without label noise
        assert alone[0].keys() >= {"test_minority", "core", "noise"}
    clean = linear_methods(**{**SMALL, "methods": ["erm", "mat"], "temperatures": [0.1]})
    for row in clean:
        alone = linear_curves(method=row["method"], sigma=0.5, **SMALL)[-1]
        for key in ("train_minority", "test_minority", "core", "spurious", "noise", "reliance"):
            assert row[key] == pytest.approx(alone[key], rel=1e-3), key


def test_a_cell_of_the_diagram_is_a_run_of_its_own(found):
    rows = found("linear_diagram")
    assert [(row["gamma"], row["sigma"]) for row in rows] == [(2.0, 0.0), (2.0, 0.5), (5.0, 0.0), (5.0, 0.5)]
    alone = linear_curves(method="erm", gamma=5.0, sigma=0.5, **SMALL)[-1]
    for key in ("train_majority", "train_minority", "test_majority", "test_minority"):
        assert rows[3][key] == pytest.approx(alone[key])
    limit = max_margin(majority=49, minority=11, d=20, gamma=5.0, sigma=0.5)  # int(0.2 * 60) is 11
    assert rows[3]["limit_minority"] == pytest.approx(limit.minority)
    assert math.isnan(rows[2]["limit_minority"])


@pytest.mark.parametrize("method", [method for method in LINEAR_METHODS if method != "erm"])
def test_other_methods_have_a_diagram_too(method):
    rows = linear_diagram(**{**SMALL, "gammas": [2.0, 5.0], "sigmas": [0.2, 0.5], "method": method})
    alone = linear_curves(method=method, gamma=2.0, sigma=0.5, **SMALL)[-1]
    for key in ("train_minority", "test_minority"):
        assert rows[1][key] == pytest.approx(alone[key])
    weak = linear_curves(method=method, gamma=5.0, sigma=0.2, **SMALL)[-1]
    assert rows[2]["test_minority"] == pytest.approx(weak["test_minority"])


def test_self_influence_is_larger_for_what_can_only_be_memorized():
    rows = linear_influence(
        methods=["erm"], models=30, n=100, d=400, epochs=400, rate=0.02, majority_rate=0.9, seed=0
    )
    minority, majority = ([r["influence"] for r in rows if r["exception"] == m] for m in (1, 0))
    assert len(minority) == int((1 - 0.9) * 100)
    assert np.nanmean(minority) > 0.5
    assert abs(np.nanmean(majority)) < 0.1


def test_each_image_has_an_influence_for_each_method(found):
    rows = found("group_influence")
    assert len(rows) == 2 * 100
    assert {row["method"] for row in rows} == {"erm", "mat"}
    assert len({row["id"] for row in rows}) == 100
    assert all(row["exception"] == int(row["label"] != row["attribute"]) for row in rows)
    values = [row["influence"] for row in rows if not math.isnan(row["influence"])]
    assert all(-1 <= value <= 1 for value in values)
    assert len(values) < 200  # three models: some images were in all or none of the subsets


def test_the_drawn_curves_hold_what_the_figure_shows(found):
    rows = [row for row in found("draw_noisy_curves") if row["sigma"] == 0.01]
    kinds = {
        kind: [row for row in rows if row["kind"] == kind] for kind in ("true", "curve", "point", "spike")
    }
    assert {kind: len(some) for kind, some in kinds.items()} == {
        "true": 200, "curve": 200, "point": 20, "spike": 20
    }  # fmt: skip
    for row in kinds["true"][::20]:
        expected = math.tanh(row["x"]) + 0.5 * math.tanh(-5 * row["x"])
        assert row["y"] == pytest.approx(expected, abs=1e-3)
    assert [row["x"] for row in kinds["point"]] == [row["x"] for row in kinds["spike"]]


def test_methods_on_digits_tell_groups_and_twins(found):
    for rows in found("group_methods"):
        assert [row["method"] for row in rows] == ["erm", "mat"]
        for row in rows:
            assert row["test_worst"] == min(row[f"test_group_{g}"] for g in range(4))
            assert row["test_average"] == pytest.approx(
                sum(row[f"test_group_{g}"] for g in range(4)) / 4, abs=0.02
            )
            assert 0 <= row["flipped_majority"] <= row["flipped_minority"] <= 1


@pytest.mark.parametrize("more", [{"batch": 16}, {"shown": "background"}, {"widths": []}])
def test_digits_may_come_in_batches_on_a_background_or_to_a_linear_head(more):
    rows = group_methods(**{**DIGITS, "methods": ["erm"], "twin_steps": 40, "seeds": [0], **more})[0]
    assert 0 <= rows[0]["test_worst"] <= rows[0]["test_average"] <= 1


def test_twins_are_asked_about_the_validation_set_once(monkeypatch):
    asked, ask = [], CrossRisk.mistakes_at

    def counted(self, inputs, labels):
        asked.append(ask(self, inputs, labels))
        return asked[-1]

    monkeypatch.setattr(CrossRisk, "mistakes_at", counted)
    rows = group_methods(**DIGITS, methods=["erm", "mat"], seeds=[0, 1])
    assert len(asked) == 2
    for seed, (mistakes, found) in enumerate(zip(asked, rows, strict=True)):
        part = spurious_digits("digits", minority=0.1, seed=seed, n_train=100).validation
        few = mistakes[part.attributes != part.labels].double().mean()
        assert [row["validation_recall"] for row in found] == [pytest.approx(float(few))] * 2


def test_where_nothing_is_inferred_nothing_is_selected_by_it():
    given = {**DIGITS, "methods": ["erm"], "seeds": [0], "twin_steps": 1, "rate": 1e-6}
    with pytest.warns(RuntimeWarning, match="degenerate"):
        row = group_methods(**given)[0][0]
    assert row["degenerate"] == 1
    assert math.isnan(row["inferred_worst"])
    assert row["flip_rate"] == 0


# ---- ColorMNIST

RATES = [1.25e-4, 6.82e-5, 7.45e-5, 1.26e-4, 8.59e-4, 2.78e-5, 6.11e-4, 1.42e-5, 5.58e-4, 1.05e-5]
BATCHES = [35, 35, 8, 34, 24, 48, 15, 40, 59, 22]
DECAYS = [6.43e-5, 1.00e-6, 4.46e-5, 7.46e-6, 8.28e-4, 4.17e-6, 2.91e-4, 2.07e-5, 4.05e-4, 3.07e-5]
TEMPERATURES = [0.001, 0.01, 0.001, 0.1, 0.1, 0.1, 0.1, 0.001, 0.001, 0.1]


def test_the_ten_draws_are_those_of_the_specification():
    draws = [published_draw(number) for number in range(10)]
    assert [draw["rate"] for draw in draws] == pytest.approx(RATES, rel=5e-3)
    assert [draw["batch"] for draw in draws] == BATCHES
    assert [draw["weight_decay"] for draw in draws] == pytest.approx(DECAYS, rel=5e-3)
    assert [draw["temperature"] for draw in draws] == TEMPERATURES


@pytest.mark.parametrize("number", [-1, 10, 1.5])
def test_there_are_ten_draws(number):
    with pytest.raises(ValueError, match=f"draw={number}; allowed"):
        published_draw(number)


@pytest.mark.filterwarnings("ignore:Cross-Risk Minimization is degenerate")
def test_methods_on_color_mnist_have_plain_rows(real_data):
    given = {
        "draw": 4, "steps": 12, "twin_steps": 60, "sizes": [200, 50, 50], "data_root": str(real_data),
        "methods": ["erm", "group_dro", "mat"], "rate_factor": 2.0,
    }  # fmt: skip
    rows = color_mnist_draw(**given, seed=0)
    assert [row["method"] for row in rows] == ["erm", "group_dro", "mat"]
    for row in rows:
        assert {type(value) for value in row.values()} <= {int, float, str}
        assert (row["batch"], row["temperature"]) == (24, 0.1)
        worse = min(row["test_group_0"], row["test_group_2"])  # one environment: the groups are the classes
        assert row["test_worst"] == worse
        assert math.isnan(row["test_group_1"])
    again = color_mnist_draw(**given, seed=0)
    assert all(same(a[k], b[k]) for a, b in zip(rows, again, strict=True) for k in a)


# ---- what is refused


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("linear_curves", {"method": "irm"}, "unknown method 'irm'"),
        ("linear_curves", {"temperature": 0.0}, "temperature must be > 0"),
        ("linear_curves", {"sigma": -1.0}, r"sigma=.*allowed: numbers >= 0"),
        ("linear_curves", {"gamma": 0.0}, r"gamma=.*allowed: numbers > 0"),
        ("linear_curves", {"epochs": 0}, "epochs=0; allowed"),
        ("linear_curves", {"majority_rate": 1.2}, "majority_rate=1.2; allowed"),
        ("linear_curves", {"seed": -1}, "seed"),
        ("linear_methods", {"label_noise": 1.0}, "label_noise=1.0; allowed"),
        ("linear_methods", {"n": 1}, "n=1; allowed"),
        ("linear_diagram", {"method": "irm"}, "unknown method 'irm'"),
        ("linear_diagram", {"method": "mat", "temperature": 0.0}, "temperature must be > 0"),
        ("capacity_rule", {"d": 0}, "d=0; allowed"),
        ("capacity_rule", {"minority": 0.0}, "minority"),
        ("capacity_rule", {"sigma": -0.5}, "sigma=-0.5; allowed: a number above 0"),
        ("linear_influence", {"methods": ["group_dro"]}, "leave it out"),
        ("linear_influence", {"models": 1}, "models=1; allowed"),
        ("linear_influence", {"fraction": 1.0}, "fraction=1.0 of 60 examples"),
        ("fit_noisy_curves", {"seeds": []}, r"seeds=\[\]; allowed"),
        ("fit_noisy_curves", {"sigmas": [-1.0]}, "sigma=-1.0; allowed"),
        ("draw_noisy_curves", {"width": 0}, "width=0; allowed"),
        ("group_methods", {"dataset": "letters"}, "unknown data set 'letters'"),
        ("group_methods", {"minority": 0.0}, "minority=0.0; allowed"),
        ("group_methods", {"methods": ["irm"]}, "unknown method 'irm'"),
        ("group_methods", {"eta": 0.0}, "eta=0.0; allowed"),
        ("group_methods", {"temperature": 0.0}, "temperature must be > 0"),
        ("group_methods", {"seeds": [0, 0]}, "each once"),
        ("group_influence", {"models": 1}, "models=1; allowed"),
        ("group_influence", {"fraction": 0.0}, "fraction=0.0"),
        ("group_influence", {"methods": ["group_dro"]}, "leave it out"),
    ],
)
def test_bad_values_get_a_sentence(name, change, message):
    call, given = POINTS[name]
    with pytest.raises(ValueError, match=message):
        call(**{**given, **change})
