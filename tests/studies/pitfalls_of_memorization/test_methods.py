"""Methods side by side: each is a plain training with its own tables; one step of it is chosen."""

import math
import warnings
from dataclasses import replace
from functools import partial

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from memorization.data.groups import GroupedSet, GroupedSplits, spurious_digits
from memorization.draws import generator
from memorization.studies.pitfalls_of_memorization.methods import (
    METHODS,
    Comparison,
    at_selected,
    compare_methods,
    evaluate,
    prepare,
    subset_answers,
)
from memorization.training.held_out import HeldOut, memorization_shift, predict, train_twins
from memorization.training.recipe import Recipe
from memorization.training.train import TrainingError


def network(inputs, source):
    made = nn.Sequential(nn.Linear(inputs, 12), nn.ReLU(), nn.Linear(12, 2))
    with torch.no_grad():
        for value in made.parameters():
            value.uniform_(-0.15, 0.15, generator=source)
    return made


def made_splits(seed=0, minority=0.15, n=80):
    """A strong spurious feature, a weaker core one, and noise to memorize exceptions by."""

    def part(name, size, share):
        source = generator(seed, "made", name)
        labels = torch.arange(size) % 2
        attributes = labels ^ (torch.rand(size, generator=source) < share).long()
        signs = torch.stack([0.8 * (2 * labels - 1), 3.0 * (2 * attributes - 1)], 1)
        inputs = torch.cat([signs, torch.randn(size, 6, generator=source)], 1)
        return GroupedSet(inputs, labels, attributes, torch.arange(size), 2, 2, "made")

    return GroupedSplits(part("train", n, minority), part("validation", 60, 0.2), part("test", 60, 0.5))


PLAN = Comparison(
    partial(network, 8), Recipe(steps=30, learning_rate=1e-2), Recipe(steps=120, learning_rate=1e-2),
    evaluate_every=10,
)  # fmt: skip
SPLITS = [made_splits(0), made_splits(1)]


@pytest.fixture(scope="module")
def outcome():
    return compare_methods(SPLITS, [0, 1], METHODS, PLAN)


# ---- all methods


def test_every_method_and_seed_is_looked_at_on_the_way(outcome):
    rows = outcome.rows
    assert len(rows) == len(METHODS) * 2 * 3
    assert sorted(rows.step.unique()) == [10, 20, 30]
    assert set(rows.method) == set(METHODS)
    assert set(outcome.networks) == {(method, seed) for method in METHODS for seed in (0, 1)}
    accuracies = rows.drop(columns=["method", "seed", "step"])
    assert (
        accuracies.loc[rows.step < 30, ["train_worst", "train_average"]].isna().all().all()
    )  # measured last
    known = accuracies[rows.step == 30]
    assert ((known >= 0) & (known <= 1)).all().all()


def plain_training(one, seed, loss_of, steps=30):
    """Full-batch Adam from the weights of the seed; ``loss_of`` maps outputs to the loss."""
    mine = PLAN.make(generator(seed, "weights"))
    optimizer = torch.optim.Adam(mine.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(mine(one.inputs)).backward()
        optimizer.step()
    return mine


def assert_same(mine, theirs):
    for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_erm_is_a_plain_training(outcome, seed):
    one = SPLITS[seed].train
    assert_same(
        plain_training(one, seed, lambda z: F.cross_entropy(z, one.labels)), outcome.networks["erm", seed]
    )


def test_weights_and_shifts_of_methods_are_what_the_literature_says(outcome):
    one, networks = SPLITS[0].train, outcome.networks
    groups = 2 * one.labels + one.attributes
    balanced = (F.one_hot(groups).double() / torch.bincount(groups)).sum(1) / 4
    assert_same(
        plain_training(one, 0, lambda z: (F.cross_entropy(z, one.labels, reduction="none") * balanced).sum()),
        networks["weights", 0],
    )
    shares = torch.stack([(one.labels[one.attributes == a] == 1).double().mean() for a in (0, 1)])
    oracle = torch.stack([1 - shares, shares], 1)[one.attributes].log().float()
    trained = plain_training(one, 0, lambda z: F.cross_entropy(z + oracle, one.labels))
    assert_same(trained, networks["mat_oracle", 0])
    held_out = outcome.twins[0].held_out
    shift = memorization_shift(held_out, one.labels, one.ids, PLAN.temperature)
    trained = plain_training(one, 0, lambda z: F.cross_entropy(z + shift, one.labels))
    assert_same(trained, networks["mat", 0])
    said = held_out.logits.argmax(1)
    shares = torch.stack([(one.labels[said == a] == 1).double().mean() for a in (0, 1)])
    corrected = (torch.stack([1 - shares, shares], 1)[said] + 1e-6).log().float()
    trained = plain_training(one, 0, lambda z: F.cross_entropy(z + corrected, one.labels))
    assert_same(trained, networks["logit_correction", 0])


def test_group_dro_moves_its_weights_after_each_step(outcome):
    one, eta = SPLITS[0].train, PLAN.eta

    def trained(groups):
        q = torch.full((4,), 0.25)
        mine = PLAN.make(generator(0, "weights"))
        optimizer = torch.optim.Adam(mine.parameters(), lr=1e-2)
        for _ in range(30):
            each = F.cross_entropy(mine(one.inputs), one.labels, reduction="none")
            losses = torch.stack([each[groups == g].mean() for g in range(4)])
            optimizer.zero_grad()
            (q * losses).sum().backward()
            optimizer.step()
            q = q * (eta * losses.detach()).exp()
            q = q / q.sum()
        return mine

    assert_same(trained(2 * one.labels + one.attributes), outcome.networks["group_dro", 0])
    inferred = outcome.twins[0].mistakes
    assert_same(trained(2 * one.labels + inferred), outcome.networks["xrm_group_dro", 0])


def test_just_train_twice_weighs_the_errors_of_a_tenth_of_the_steps(outcome):
    one = SPLITS[0].train
    first = PLAN.make(generator(0, "first"))
    optimizer = torch.optim.Adam(first.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        F.cross_entropy(first(one.inputs), one.labels).backward()
        optimizer.step()
    weights = torch.where(first(one.inputs).argmax(1) == one.labels, 1.0, 20.0)
    weights = weights / weights.mean()
    found = prepare("jtt", one, 0, PLAN, None).weights
    torch.testing.assert_close(found, weights)
    trained = plain_training(
        one, 0, lambda z: (F.cross_entropy(z, one.labels, reduction="none") * weights).mean()
    )
    assert_same(trained, outcome.networks["jtt", 0])


def test_subsampling_trains_on_as_many_of_each_group_as_the_smallest_has(outcome):
    one = SPLITS[0].train
    weights = prepare("subsample", one, 0, PLAN, None).weights
    smallest = int(one.counts.min())
    assert [int((weights[one.groups == g] > 0).sum()) for g in range(4)] == [smallest] * 4
    kept = weights > 0
    trained = plain_training(one, 0, lambda z: F.cross_entropy(z[kept], one.labels[kept]))
    assert_same(trained, outcome.networks["subsample", 0])


def test_inferred_groups_are_pairs_of_label_and_mistake(outcome):
    one, found = SPLITS[0].train, outcome.twins[0]
    mistakes = torch.randint(2, (len(one),), generator=generator(0, "mistakes"))
    tables = prepare("xrm_group_dro", one, 0, PLAN, replace(found, mistakes=mistakes))
    assert torch.equal(tables.groups, 2 * one.labels + mistakes)
    annotated = prepare("group_dro", one, 0, PLAN, found)
    assert torch.equal(annotated.groups, 2 * one.labels + one.attributes)
    assert (prepare("mat", one, 0, PLAN, found).groups == -1).all()


def test_other_predictions_may_take_the_place_of_the_twins():
    one = SPLITS[0].train
    held_out = HeldOut(one.ids, 3.0 * F.one_hot(one.attributes, 2))
    found = prepare("mat", one, 0, PLAN, _twins(one), held_out).shifts
    torch.testing.assert_close(found, memorization_shift(held_out, one.labels, one.ids, PLAN.temperature))
    with pytest.raises(ValueError, match="are not aligned with the training set"):
        prepare("mat", one, 0, PLAN, _twins(one), HeldOut(one.ids.flip(0), held_out.logits))


def _twins(one):
    made = [PLAN.make(generator(0, "twin", k)) for k in (0, 1)]
    return train_twins(made, [one], [0], PLAN.twins)[0]


def test_methods_of_a_stack_are_those_trained_by_themselves(outcome):
    alone = compare_methods(SPLITS[:1], [0], ["mat"], PLAN)
    assert_same(alone.networks["mat", 0], outcome.networks["mat", 0])


def test_all_methods_run_on_digits_and_find_what_chance_would_not():
    splits = [spurious_digits("digits", minority=0.1, seed=0, n_train=150)]
    plan = replace(
        PLAN, make=partial(network, 128), recipe=Recipe(steps=60, learning_rate=1e-2), evaluate_every=30
    )
    found = compare_methods(splits, [0], METHODS, plan)
    last = at_selected(found.rows, "last").set_index("method")
    assert len(last) == len(METHODS)
    assert last.loc["erm", "train_average"] > 0.9
    assert last.loc["erm", "test_worst"] < last.loc["mat_oracle", "test_worst"]


# ---- what is measured


def test_accuracies_are_those_of_the_networks_answers(outcome):
    row = outcome.rows.query("method == 'mat' and seed == 1 and step == 30").iloc[0]
    mine = outcome.networks["mat", 1]
    for name, part in SPLITS[1]._asdict().items():
        right = mine(part.inputs).argmax(1) == part.labels  # no shift is added
        assert row[f"{name}_average"] == pytest.approx(right.double().mean().item())
        each = [
            right[(part.labels == y) & (part.attributes == a)].double().mean().item()
            for y in (0, 1) for a in (0, 1)
        ]  # fmt: skip
        worst = "validation_worst_annotated" if name == "validation" else f"{name}_worst"
        assert row[worst] == pytest.approx(min(each))
        if name == "test":
            assert [row[f"test_group_{g}"] for g in range(4)] == pytest.approx(each)
            share = SPLITS[1].train.counts.double() / len(SPLITS[1].train)
            assert row["test_average_train_mix"] == pytest.approx(float(share @ torch.tensor(each).double()))
    part, twins = SPLITS[1].validation, outcome.twins[1].twins
    wrong = torch.stack([predict(twin, part.inputs).argmax(1) != part.labels for twin in twins]).any(0)
    right = mine(part.inputs).argmax(1) == part.labels
    each = [right[(part.labels == y) & (wrong == m)].double().mean() for y in (0, 1) for m in (False, True)]
    expected = min(value.item() for value in each if not math.isnan(value))
    assert row["validation_worst_inferred"] == pytest.approx(expected)


def test_without_twins_there_is_no_inferred_accuracy():
    found = evaluate(PLAN.make(generator(0, "weights")), SPLITS[0], None)
    assert math.isnan(found["validation_worst_inferred"])


# ---- which step is chosen

ROWS = pd.DataFrame(
    [
        {
            "method": method, "seed": 0, "step": step,
            "validation_worst_annotated": annotated, "validation_worst_inferred": inferred,
        }
        for method in ("erm", "mat")
        for step, annotated, inferred in [(10, 0.5, 0.7), (20, 0.6, 0.7), (30, 0.6, 0.1), (40, 0.2, math.nan)]
    ]
)  # fmt: skip


@pytest.mark.parametrize(("selection", "step"), [("last", 40), ("annotated", 30), ("inferred", 20)])
def test_the_last_of_equally_good_steps_is_chosen(selection, step):
    for rows in (ROWS, ROWS.iloc[::-1]):
        chosen = at_selected(rows, selection)
        assert dict(zip(chosen.method, chosen.step, strict=True)) == {"erm": step, "mat": step}


@pytest.mark.parametrize("selection", ["annotated", "inferred"])
def test_networks_end_where_the_selection_says_and_never_before_the_first_step(outcome, selection):
    chosen = compare_methods(SPLITS, [0, 1], ["erm", "mat"], PLAN, selection=selection)
    assert (chosen.rows.step > 0).all()
    rows = at_selected(outcome.rows.query("method in ('erm', 'mat')"), selection)
    assert len(rows) == 4
    for row in rows.to_dict("records"):
        k, mine = row["seed"], chosen.networks[row["method"], row["seed"]]
        part = SPLITS[k].validation
        found = evaluate(mine, SPLITS[k], chosen.twins[k].mistakes_at(part.inputs, part.labels))
        for name, value in found.items():
            assert row[name] == pytest.approx(value), (row["method"], k, name)


def test_an_untrained_network_that_is_balanced_by_chance_is_not_chosen():
    splits, rate = SPLITS[0], 1e-9  # nothing moves: all steps are equally good, the first look too
    plan = replace(PLAN, recipe=Recipe(steps=20, learning_rate=rate, optimizer="sgd"))
    found = compare_methods([splits], [0], ["erm"], plan, selection="annotated")
    assert at_selected(found.rows, "annotated").step.item() == 20
    assert found.rows.step.tolist() == [10, 20]


def test_a_first_look_that_is_better_than_all_others_does_not_count():
    def knowing(source):
        made = nn.Linear(8, 2)
        with torch.no_grad():
            made.weight.zero_()
            made.bias.zero_()
            made.weight[:, 0] = torch.tensor([-1.0, 1.0])  # the core feature alone
        return made

    def turned(part):
        return replace(part, labels=1 - part.labels)  # so that learning makes it worse

    splits = SPLITS[0]._replace(train=turned(SPLITS[0].train))
    plan = replace(PLAN, make=knowing, recipe=Recipe(steps=20, learning_rate=0.5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = compare_methods([splits], [0], ["erm"], plan, selection="annotated")
    assert evaluate(knowing(None), splits, None)["validation_worst_annotated"] == 1
    assert found.rows.validation_worst_annotated.max() < 0.5
    ended = evaluate(found.networks["erm", 0], splits, None)
    assert ended["validation_worst_annotated"] == found.rows.validation_worst_annotated.max()


# ---- what is refused


def test_degenerate_twins_warn_and_cannot_select():
    splits = [made_splits(0, minority=0.0)]
    with pytest.warns(RuntimeWarning, match="degenerate at seed 0"):
        found = compare_methods(splits, [0], ["erm"], PLAN)
    assert found.twins[0].degenerate
    assert found.rows.validation_worst_inferred.isna().all()
    assert found.inferred == {}
    for more in ({"selection": "inferred"}, {"methods": ["xrm_group_dro"]}):
        given = {"methods": ["erm"], **more}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(RuntimeError, match="inferred groups are degenerate"):
                compare_methods(splits, [0], plan=PLAN, **given)


def test_inferred_groups_with_an_empty_one_prepare_no_method():
    one = SPLITS[0].train
    found = train_twins([network(8, generator(0, k)) for k in "ab"], [one], [0], PLAN.twins)[0]
    prepare("xrm_group_dro", one, 0, PLAN, found)
    never = replace(found, mistakes=found.mistakes * one.labels)  # none in class 0
    with pytest.raises(RuntimeError, match="inferred groups are degenerate: a class has only one of them"):
        prepare("xrm_group_dro", one, 0, PLAN, never)


def test_a_validation_set_whose_inferred_groups_are_degenerate_cannot_select():
    part = SPLITS[0].validation
    same = part.take((part.attributes == part.labels).nonzero().flatten())
    with pytest.raises(RuntimeError, match="inferred groups are degenerate"):
        compare_methods([SPLITS[0]._replace(validation=same)], [0], ["erm"], PLAN, selection="inferred")


def test_selection_by_annotated_groups_needs_some():
    part = SPLITS[0].validation
    bare = replace(part, attributes=torch.zeros_like(part.attributes), values=1)
    with pytest.raises(ValueError, match="group annotations required for selection='annotated'"):
        compare_methods([SPLITS[0]._replace(validation=bare)], [0], ["erm"], PLAN, selection="annotated")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ["irm"]}, "unknown method 'irm'"),
        ({"methods": []}, r"methods=\[\]; allowed: one or more of erm"),
        ({"methods": ["erm", "erm"]}, "each once"),
        ({"selection": "best"}, "unknown selection 'best'"),
        ({"plan": replace(PLAN, eta=0.0)}, "eta=0.0; allowed: a number above 0"),
        ({"plan": replace(PLAN, eta=-0.1)}, "eta=-0.1; allowed: a number above 0"),
        ({"plan": replace(PLAN, temperature=0.0)}, "temperature must be > 0"),
        ({"plan": replace(PLAN, temperature=-1.0)}, "temperature must be > 0"),
        ({"plan": replace(PLAN, evaluate_every=0)}, "evaluate_every=0; allowed: a whole number, 1 or more"),
        ({"splits": [made_splits(0, n=3)]}, r"class \d is missing from one half"),
    ],
)
def test_comparisons_that_make_no_sense_are_refused(change, message):
    given = {"splits": SPLITS[:1], "seeds": [0], "methods": ["mat"], "plan": PLAN} | change
    selection = given.pop("selection", "last")
    with pytest.raises(ValueError, match=message):
        compare_methods(**given, selection=selection)


@pytest.mark.parametrize("method", ["weights", "subsample", "group_dro"])
def test_a_group_without_members_in_training_is_named(method):
    part = SPLITS[0].train
    some = part.take((part.groups != 1).nonzero().flatten())
    with pytest.raises(ValueError, match="group 1 of 4 has no member in the training set"):
        prepare(method, some, 0, PLAN, None)


@pytest.mark.parametrize("method", ["xrm_group_dro", "mat", "logit_correction"])
def test_methods_that_need_twins_say_so(method):
    with pytest.raises(ValueError, match="needs what twins found out; run train_twins first"):
        prepare(method, SPLITS[0].train, 0, PLAN, None)


def test_a_network_that_fails_is_told_and_has_no_last_row():
    splits = made_splits(0)
    bad = replace(PLAN, recipe=Recipe(steps=30, learning_rate=1e30, optimizer="sgd"))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        compare_methods([splits], [0], ["erm", "mat"], bad)


# ---- subsets


def test_each_network_of_a_subset_is_a_plain_training_on_it():
    one = SPLITS[0]
    right, included = subset_answers(one, 0, ["erm", "mat"], PLAN, models=3, fraction=0.7)
    assert included.shape == (3, 80)
    assert included.sum(1).tolist() == [56, 56, 56]
    assert set(right) == {"erm", "mat"}
    part = one.train
    for m in range(3):
        mine = PLAN.make(generator(0, "subset", m))
        optimizer = torch.optim.Adam(mine.parameters(), lr=1e-2)
        for _ in range(30):
            optimizer.zero_grad()
            F.cross_entropy(mine(part.inputs[included[m]]), part.labels[included[m]]).backward()
            optimizer.step()
        with torch.no_grad():
            logits = mine(part.inputs)
        clear = (logits[:, 0] - logits[:, 1]).abs() > 1e-2
        expected = logits.argmax(1) == part.labels
        assert clear.double().mean() > 0.9
        assert torch.equal(right["erm"][m][clear], expected[clear])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fraction": 0.0}, "fraction=0.0 of 80 examples"),
        ({"fraction": 1.0}, "fraction=1.0 of 80 examples"),
        ({"models": 1}, "models=1; allowed: a whole number, 2 or more"),
        ({"methods": ["irm"]}, "unknown method 'irm'"),
        ({"methods": ["group_dro"]}, "'group_dro' has group weights that belong to the whole set"),
        ({"methods": ["xrm_group_dro"]}, "'xrm_group_dro' has group weights that belong to the whole set"),
    ],
)
def test_subsets_that_say_nothing_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        subset_answers(SPLITS[0], 0, plan=PLAN, **{"methods": ["erm"], "models": 2, "fraction": 0.7} | change)
