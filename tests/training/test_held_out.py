"""Held-out predictions: whose they are, what is made of them, and how twins and folds make them."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from memorization.data.groups import GroupedSet, color_mnist
from memorization.draws import generator
from memorization.training import held_out
from memorization.training.held_out import (
    HeldOut,
    attribute_shift,
    cross_mistakes,
    error_weights,
    group_weights,
    k_fold_predictions,
    memorization_shift,
    predict,
    subsample_weights,
    train_twins,
)
from memorization.training.recipe import Recipe
from memorization.training.train import TrainingError

N, C = 30, 3
IDS = torch.randperm(100, generator=generator(0, "ids"))[:N]
LABELS = torch.randint(C, (N,), generator=generator(0, "labels"))
LOGITS = 2 * torch.randn(N, C, generator=generator(0, "logits"))
SHAPE = r"held-out predictions must have shape \(n_train, K\) and be finite"
ALIGNED = "held-out predictions are not aligned with the training set"


# ---- whose they are


@pytest.mark.parametrize(
    "logits",
    [LOGITS[:-1], LOGITS[:, :1], LOGITS.flatten(), LOGITS[None], LOGITS.long(),
     LOGITS.masked_fill(LOGITS[3, 1] == LOGITS, float("nan")),
     LOGITS.masked_fill(LOGITS[3, 1] == LOGITS, float("inf"))],
)  # fmt: skip
def test_what_is_no_finite_prediction_of_each_example_is_refused(logits):
    with pytest.raises(ValueError, match=SHAPE):
        HeldOut(IDS, logits)


def test_predictions_are_refused_for_other_examples_another_order_and_other_classes():
    one, swapped, changed = HeldOut(IDS, LOGITS), IDS.clone(), IDS.clone()
    one.check(IDS, C)
    swapped[4], swapped[6] = IDS[6], IDS[4]
    changed[7] = 1000
    for ids, place in ((swapped, "place 4"), (changed, "place 7"), (IDS[:-1], "their number")):
        with pytest.raises(ValueError, match=f"{ALIGNED}: {place} differs"):
            one.check(ids, C)
        if len(ids) == N:
            with pytest.raises(ValueError, match=ALIGNED):
                memorization_shift(one, LABELS, ids, 0.1)
    with pytest.raises(ValueError, match=SHAPE + "; got K=3 for 4 classes"):
        one.check(IDS, C + 1)


def test_predictions_of_fewer_examples_than_the_training_set_has_are_called_so():
    with pytest.raises(ValueError, match=f"{ALIGNED}: their number differs"):
        memorization_shift(HeldOut(IDS[:-1], LOGITS[:-1]), LABELS, IDS, 0.1)


def test_predictions_for_another_seed_of_color_mnist_are_refused(real_data):
    one, other = (color_mnist(seed=seed, sizes=(40, 10, 10), root=real_data).train for seed in (0, 1))
    said = HeldOut(one.ids, LOGITS[:1, :2].expand(40, 2))
    memorization_shift(said, one.labels, one.ids, 0.1)
    assert len(one) == len(other)
    with pytest.raises(ValueError, match=f"{ALIGNED}: place 0 differs"):
        memorization_shift(said, other.labels, other.ids, 0.1)


# ---- the shift of memorization-aware training


def shift_by_loops(logits, labels, temperature, classes):
    n = len(logits)
    said = []
    for row in logits.tolist():
        top = max(row)
        powers = [math.exp((value - top) / temperature) for value in row]
        said.append([power / sum(powers) for power in powers])
    joint = [
        [sum(said[i][k] for i in range(n) if labels[i] == j) / n for j in range(classes)]
        for k in range(classes)
    ]
    prior = [sum(int(label == j) for label in labels) / n for j in range(classes)]
    rows = [
        [value / sum(joint[k]) for value in joint[k]] if sum(joint[k]) > 1e-12 else prior
        for k in range(classes)
    ]
    return [
        [
            math.log(sum(said[i][k] * rows[k][j] for k in range(classes)) + 1e-6)
            for j in range(classes)
        ]
        for i in range(n)
    ]  # fmt: skip


@pytest.mark.parametrize("temperature", [0.1, 1.0, 10.0])
def test_the_shift_is_what_the_formulas_say(temperature):
    found = memorization_shift(HeldOut(IDS, LOGITS), LABELS, IDS, temperature)
    expected = torch.tensor(shift_by_loops(LOGITS, LABELS.tolist(), temperature, C))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.dtype == torch.float32


@pytest.mark.parametrize("temperature", [0.001, 0.01])
def test_a_class_that_nobody_predicts_gives_numbers(temperature):
    logits = torch.zeros(N, C)
    logits[torch.arange(N), LABELS % 2] = 3.0  # class 2 is never predicted
    labels = LABELS.clone()
    labels[:4] = torch.tensor([1, 0, 2, 2])
    found = memorization_shift(HeldOut(IDS, logits), labels, IDS, temperature)
    assert found.isfinite().all()
    assert found.min() >= math.log(1e-6) - 1e-4
    expected = torch.tensor(shift_by_loops(logits, labels.tolist(), temperature, C))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    said = LABELS % 2  # certain predictions: a row of the confusion
    for i in range(N):
        share = (labels[said == said[i]] == labels[i]).double().mean()
        assert found[i, labels[i]].item() == pytest.approx(math.log(share + 1e-6), abs=1e-5)


def test_a_row_that_has_next_to_no_mass_falls_back_to_the_share_of_each_label():
    logits = torch.tensor([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0], [2.9, 3.0, -60.0], [3.0, 0.0, 0.0]])
    labels = torch.tensor([0, 1, 0, 2])
    found = memorization_shift(HeldOut(torch.arange(4), logits), labels, torch.arange(4), 0.5)
    expected = torch.tensor(shift_by_loops(logits, labels.tolist(), 0.5, 3))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_predictions_that_say_nothing_shift_by_the_prior():
    found = memorization_shift(HeldOut(IDS, torch.zeros(N, C)), LABELS, IDS, 0.1)
    prior = torch.bincount(LABELS, minlength=C) / N
    torch.testing.assert_close(found, (prior + 1e-6).log().expand(N, C), rtol=1e-5, atol=1e-5)


def test_ninety_percent_give_the_logarithms_of_their_shares():
    labels, ids = torch.tensor([0] * 50 + [1] * 50), torch.arange(100)
    said = labels.clone()
    said[[0, 1, 2, 3, 4, 50, 51, 52, 53, 54]] ^= 1
    found = memorization_shift(HeldOut(ids, 3.0 * F.one_hot(said, 2)), labels, ids, 0.001)
    right, wrong = math.log(0.9), math.log(0.1)
    torch.testing.assert_close(found[5], torch.tensor([right, wrong]), rtol=0, atol=1e-4)  # a majority point
    torch.testing.assert_close(found[0], torch.tensor([wrong, right]), rtol=0, atol=1e-4)  # an exception


@pytest.mark.parametrize("temperature", [0.0, -0.1])
def test_a_temperature_that_is_not_above_zero_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be > 0"):
        memorization_shift(HeldOut(IDS, LOGITS), LABELS, IDS, temperature)


@pytest.mark.parametrize("temperature", [float("nan"), float("inf")])
def test_a_temperature_that_is_not_finite_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be > 0"):
        memorization_shift(HeldOut(IDS, LOGITS), LABELS, IDS, temperature)


@pytest.mark.parametrize("labels", [LABELS + 1, LABELS - 1, LABELS.float(), LABELS + 0.5])
def test_labels_that_are_no_class_numbers_are_refused(labels):
    with pytest.raises(ValueError, match=r"labels must be integers in \[0, K\)"):
        memorization_shift(HeldOut(IDS, LOGITS), labels, IDS, 0.1)


def test_the_shift_of_an_attribute_is_the_share_of_each_label_with_it():
    attributes = torch.randint(4, (N,), generator=generator(1, "attributes"))
    found = attribute_shift(LABELS, attributes, C, 4)
    for i in range(N):
        same = [int(LABELS[j]) for j in range(N) if attributes[j] == attributes[i]]
        for k in range(C):
            assert found[i, k].item() == pytest.approx(math.log(same.count(k) / len(same) + 1e-6), abs=1e-5)


def test_an_attribute_outside_its_range_is_refused():
    with pytest.raises(ValueError, match=r"attributes lie in 0\.\.2; allowed: whole numbers in 0\.\.1"):
        attribute_shift(torch.zeros(3, dtype=torch.int64), torch.arange(3), 2, 2)


# ---- weights


GROUPS = torch.tensor([0] * 12 + [1] * 3 + [2] * 5)


def test_group_weights_let_each_group_count_alike():
    weights = group_weights(GROUPS, 3)
    assert weights.mean().item() == pytest.approx(1)
    assert [weights[g == GROUPS].sum().item() for g in range(3)] == pytest.approx([20 / 3] * 3)


def test_subsample_weights_keep_as_many_of_each_group_as_the_smallest_has():
    weights = subsample_weights(GROUPS, 3, generator(0, "subsample"))
    assert [(weights[g == GROUPS] > 0).sum().item() for g in range(3)] == [3, 3, 3]
    assert weights[weights > 0].tolist() == pytest.approx([20 / 9] * 9)
    others = {tuple(subsample_weights(GROUPS, 3, generator(s, "subsample")).tolist()) for s in range(5)}
    assert len(others) > 1


def test_errors_of_a_first_network_count_more():
    labels = LOGITS.argmax(1)
    labels[:6] = (labels[:6] + 1) % C
    weights = error_weights(LOGITS, labels, 20.0)
    assert weights.mean().item() == pytest.approx(1)
    assert (weights[:6] / weights[6]).tolist() == pytest.approx([20.0] * 6)
    with pytest.raises(ValueError, match=r"factor=0\.0; allowed: a number above 0"):
        error_weights(LOGITS, labels, 0.0)


def test_a_group_without_a_member_has_no_weight():
    for call in (group_weights, lambda g, k: subsample_weights(g, k, generator(0, "subsample"))):
        with pytest.raises(ValueError, match="group 3 of 4 has no member in the training set"):
            call(GROUPS, 4)


# ---- twins

STRENGTHS = (0.8, 3.0)  # core and spurious feature of the made set


def made_set(seed=0, n=120, minority=0.15, noise=6):
    source = generator(seed, "made")
    labels = torch.arange(n) % 2
    attributes = labels ^ (torch.rand(n, generator=source) < minority).long()
    signs = torch.stack([2 * labels - 1, 2 * attributes - 1], 1) * torch.tensor(STRENGTHS)
    inputs = torch.cat([signs, torch.randn(n, noise, generator=source)], 1)
    ids = torch.randperm(n, generator=source) + 500
    return GroupedSet(inputs, labels, attributes, ids, 2, 2, "made")


def network(*purpose):
    made = nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    for value in made.parameters():
        nn.init.normal_(value, std=0.2, generator=generator(0, "network", *purpose))
    return made


RECIPE = Recipe(steps=40, batch=20, learning_rate=2e-2)


def test_twins_without_flips_are_two_networks_on_two_halves():
    one = made_set()
    noisy = torch.rand(len(one), generator=generator(0, "noise")) < 0.2  # more than can be fitted
    one = replace(one, labels=one.labels ^ noisy.long())
    found = train_twins([network(0), network(1)], [one], [0], RECIPE, flipping=False)[0]
    pair = [network(0), network(1)]
    first = torch.rand(len(one), generator=generator(0, "twins")) < 0.5
    optimizer = torch.optim.Adam([p for net in pair for p in net.parameters()], lr=2e-2)
    for _ in range(40):
        held_in = torch.where(first[:, None], pair[0](one.inputs), pair[1](one.inputs))
        each = F.cross_entropy(held_in, one.labels, reduction="none")
        optimizer.zero_grad()
        sum(each[one.labels == k].mean() for k in (0, 1)).backward()
        optimizer.step()
    with torch.no_grad():
        a, b = (net(one.inputs) for net in pair)
    said = torch.where(first[:, None], b, a)
    torch.testing.assert_close(found.held_out.logits, said, rtol=1e-3, atol=1e-3)
    wrong = (a.argmax(1) != one.labels) | (b.argmax(1) != one.labels)
    assert torch.equal(found.mistakes, wrong.long())
    assert (wrong & (said.argmax(1) == one.labels)).any()  # a mistake of the twin that learned it counts, too
    assert not found.flipped.any()


@pytest.mark.parametrize("draw", ["replace", "shuffle", "whole"])
def test_held_out_logits_are_each_twins_own_outputs_in_the_order_of_the_set(draw):
    sets = [made_set(0), made_set(1)]
    found = train_twins([network(k) for k in range(4)], sets, [0, 7], RECIPE, draw=draw)
    for one, cross, seed in zip(sets, found, (0, 7), strict=True):
        assert torch.equal(cross.held_out.ids, one.ids)
        first = torch.rand(len(one), generator=generator(seed, "twins")) < 0.5
        for i in range(len(one)):
            with torch.no_grad():
                outputs = cross.twins[int(first[i])](one.inputs[i : i + 1])[0]
            torch.testing.assert_close(cross.held_out.logits[i], outputs, rtol=1e-4, atol=1e-4)
        assert torch.equal(cross.mistakes_at(one.inputs, one.labels), cross.mistakes)


def test_twins_flip_the_exceptions_and_say_how_many():
    one = made_set(n=200)
    found = train_twins([network(0), network(1)], [one], [0], Recipe(steps=150, learning_rate=1e-2))[0]
    minority = one.attributes != one.labels
    assert found.flipped[minority].double().mean() > 0.9
    assert found.flipped[~minority].double().mean() < 0.05
    assert found.mistakes[minority].double().mean() > 0.9
    assert found.flip_rate == pytest.approx(float(found.flipped.double().mean()))


def test_pairs_of_a_stack_find_what_they_would_find_by_themselves():
    sets = [made_set(0), made_set(1)]
    together = train_twins([network(k) for k in range(4)], sets, [0, 1], RECIPE, draw="shuffle")
    for k, one in enumerate(sets):
        pair = [network(2 * k), network(2 * k + 1)]
        alone = train_twins(pair, [one], [k], RECIPE, draw="shuffle")[0]
        torch.testing.assert_close(alone.held_out.logits, together[k].held_out.logits, rtol=1e-3, atol=1e-3)
        assert torch.equal(alone.flipped, together[k].flipped)


def test_degenerate_twins_warn_and_infer_no_groups():
    one = made_set(minority=0.0)
    with pytest.warns(RuntimeWarning, match="degenerate at seed 0: a class has only one inferred group"):
        found = train_twins([network(0), network(1)], [one], [0], Recipe(steps=150, learning_rate=1e-2))[0]
    assert found.degenerate
    assert found.flip_rate == 0
    with pytest.raises(RuntimeError, match="inferred groups are degenerate"):
        found.mistakes_at(one.inputs, one.labels)


def test_a_class_that_one_half_lacks_is_named():
    one = made_set()
    few = one.take(torch.tensor([0, 1, 2, 4, 6, 8]))  # one example of class 1
    with pytest.raises(ValueError, match="class 1 is missing from one half; use stratified halves or more"):
        train_twins([network(0), network(1)], [few], [0], RECIPE)


def test_sets_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match=r"training sets of one shape; got \[100, 120\] examples"):
        train_twins([network(k) for k in range(4)], [made_set(), made_set(n=100)], [0, 1], RECIPE)


def test_twins_whose_loss_is_not_finite_say_so():
    one = made_set()
    one.inputs[3, 0] = float("nan")
    with pytest.raises(TrainingError, match="became nan"):
        train_twins([network(0), network(1)], [one], [0], RECIPE)


def test_a_mistake_of_one_twin_is_enough():
    logits = [torch.tensor([[1.0, 0.0]] * 3), torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])]
    assert cross_mistakes(logits, torch.tensor([0, 0, 1])).tolist() == [0, 1, 1]


def test_predicting_leaves_a_network_in_its_mode(monkeypatch):
    monkeypatch.setattr(held_out, "_NUMBERS_AT_ONCE", 60)  # seven examples of eight numbers
    dropping = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 2)).train()
    dropping[1].eval()  # a part that is frozen
    one = made_set()
    found = predict(dropping, one.inputs)
    torch.testing.assert_close(found, dropping[1](one.inputs).detach())
    assert not found.requires_grad
    assert [module.training for module in dropping.modules()] == [True, True, False]


# ---- folds


def test_each_example_is_predicted_by_a_network_that_was_trained_on_the_other_folds():
    one, folds = made_set(n=60), 4
    found = k_fold_predictions([network(k) for k in range(folds)], one, RECIPE, seed=2)
    assert torch.equal(found.ids, one.ids)
    order = torch.randperm(60, generator=generator(2, "folds"))
    for k in range(folds):
        out = order[torch.arange(60) % folds == k]
        inside = torch.ones(60, dtype=torch.bool)
        inside[out] = False
        mine = network(k)
        optimizer = torch.optim.Adam(mine.parameters(), lr=2e-2)
        for _ in range(40):
            optimizer.zero_grad()
            F.cross_entropy(mine(one.inputs[inside]), one.labels[inside]).backward()
            optimizer.step()
        with torch.no_grad():
            torch.testing.assert_close(found.logits[out], mine(one.inputs[out]), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("draw", ["whole", "shuffle", "replace"])
def test_an_examples_own_label_does_not_reach_its_held_out_prediction(draw):
    one = made_set(n=40)
    plain = k_fold_predictions([network(k) for k in range(5)], one, RECIPE, seed=0, draw=draw)
    labels = one.labels.clone()
    labels[11] = 1 - labels[11]
    other = GroupedSet(one.inputs, labels, one.attributes, one.ids, 2, 2, "made")
    changed = k_fold_predictions([network(k) for k in range(5)], other, RECIPE, seed=0, draw=draw)
    assert torch.equal(plain.logits[11], changed.logits[11])
    assert not torch.equal(plain.logits, changed.logits)


def test_folds_are_two_to_as_many_as_examples():
    one = made_set(n=20)
    with pytest.raises(ValueError, match="folds=1; allowed: a whole number, 2 or more"):
        k_fold_predictions([network(0)], one, RECIPE, seed=0)
    with pytest.raises(ValueError, match="21 folds of 20 examples"):
        k_fold_predictions([network(k) for k in range(21)], one, RECIPE, seed=0)
