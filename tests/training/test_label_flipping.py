"""The objective of twins: each learns its half, and the other's sure mistakes flip labels."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from memorization.draws import generator
from memorization.training.batches import TensorBatches
from memorization.training.held_out import LabelFlipping, held_out_of
from memorization.training.recipe import Recipe
from memorization.training.train import train

N, D, C = 24, 4, 3
LABELS = torch.randint(C, (N,), generator=generator(0, "labels"))
HALF = torch.rand(N, generator=generator(0, "half")) < 0.5
TWINS = torch.stack([HALF, ~HALF])
ALL = torch.arange(N).expand(2, -1)
OUTPUTS = torch.randn(2, N, C, generator=generator(0, "outputs"), dtype=torch.float64)


def flipping(labels=LABELS, twins=TWINS, seeds=(3, 3), classes=C, **more):
    return LabelFlipping(labels.expand(len(twins), -1), twins, seeds, classes, **more)


def surely(labels, classes=C):
    """Outputs of both twins that are as sure as can be of these labels."""
    return 1000 * F.one_hot(labels, classes).double().expand(2, -1, -1)


# ---- the loss


def test_a_twin_learns_nothing_of_examples_that_it_is_held_out_from():
    outputs = OUTPUTS.clone().requires_grad_()
    flipping()(outputs, LABELS.expand(2, -1), ALL).sum().backward()
    assert not outputs.grad[~TWINS].any()
    assert (outputs.grad[TWINS].abs().sum(1) > 0).all()


def test_the_loss_of_a_pair_is_the_sum_over_classes_of_the_mean_in_the_class_of_both_halves():
    held_in = torch.where(HALF[:, None], OUTPUTS[0], OUTPUTS[1])
    each = F.cross_entropy(held_in, LABELS, reduction="none")
    balanced = sum(each[k == LABELS].mean() for k in range(C))
    assert flipping()(OUTPUTS, LABELS.expand(2, -1), ALL).sum().item() == pytest.approx(balanced.item())
    plain = flipping(balanced=False)(OUTPUTS, LABELS.expand(2, -1), ALL)
    assert plain.sum().item() == pytest.approx(each.mean().item())
    assert plain[0].item() == pytest.approx(each[HALF].sum().item() / N)


def test_classes_are_counted_in_the_batch_and_by_todays_labels():
    chosen = torch.tensor([5, 0, 9, 11, 5])  # one of them twice
    one = flipping()
    one.labels[:, 9] = (LABELS[9] + 1) % C
    current = one.labels[0, chosen]
    held_in = torch.where(HALF[chosen, None], OUTPUTS[0, chosen], OUTPUTS[1, chosen])
    each = F.cross_entropy(held_in, current, reduction="none")
    expected = sum(each[current == k].mean() for k in current.unique())
    found = one(OUTPUTS[:, chosen], LABELS[chosen].expand(2, -1), chosen.expand(2, -1))
    assert found.sum().item() == pytest.approx(expected.item())


def test_held_out_outputs_are_those_of_the_other_twin():
    found = held_out_of(OUTPUTS, TWINS)
    for i in range(N):
        assert torch.equal(found[0, i], OUTPUTS[1 if HALF[i] else 0, i])


# ---- the flips


@pytest.mark.parametrize(("classes", "gap"), [(2, 0.5), (2, 2.0), (3, 1.0), (10, 3.0)])
def test_a_label_flips_as_often_as_the_held_out_twin_is_surer_than_chance(classes, gap):
    n = 20_000
    labels, twins = torch.zeros(n, dtype=torch.int64), torch.stack([torch.arange(n) % 2 == 0] * 2)
    twins[1] = ~twins[0]
    outputs = torch.zeros(2, n, classes)
    outputs[~twins] = gap * F.one_hot(torch.tensor(1), classes).float()  # held out: rather class 1
    outputs[twins] = torch.tensor([50.0] + [0.0] * (classes - 1))  # held in: surely 0, which does not count
    one = flipping(labels, twins, classes=classes)
    numbers = torch.arange(n).expand(2, -1)
    one.after_step(outputs, labels.expand(2, -1), numbers)
    p = torch.tensor([gap, *[0.0] * (classes - 1)]).softmax(0)[0].item()
    chance = (p - 1 / classes) * classes / (classes - 1)
    if classes == 2:
        assert chance == pytest.approx(2 * p - 1)
    assert abs((one.labels == 1).double().mean().item() - chance) < 4 * (chance * (1 - chance) / n) ** 0.5
    assert torch.equal(one.labels[0], one.labels[1])
    assert set(one.labels.unique().tolist()) == {0, 1}


def test_a_twin_that_knows_nothing_flips_nothing_and_labels_may_flip_back():
    one, other = flipping(), (LABELS + 1) % C
    one.after_step(torch.zeros(2, N, C), LABELS.expand(2, -1), ALL)
    assert torch.equal(one.labels, LABELS.expand(2, -1))
    one.after_step(surely(other), LABELS.expand(2, -1), ALL)
    assert torch.equal(one.labels, other.expand(2, -1))
    one.after_step(surely(LABELS), LABELS.expand(2, -1), ALL)
    assert torch.equal(one.labels, LABELS.expand(2, -1))
    assert one.steps.tolist() == [3, 3]


def test_without_flipping_labels_stay():
    one = flipping(flipping=False)
    one.after_step(surely((LABELS + 1) % C), LABELS.expand(2, -1), ALL)
    assert torch.equal(one.labels, LABELS.expand(2, -1))


def test_only_the_labels_of_the_batch_flip():
    one, chosen = flipping(), torch.tensor([2, 7])
    one.after_step(surely((LABELS[chosen] + 1) % C), LABELS[chosen].expand(2, -1), chosen.expand(2, -1))
    assert (one.labels[0] != LABELS).nonzero().flatten().tolist() == [2, 7]


def test_a_flip_is_drawn_by_seed_example_and_step_and_not_by_the_order_of_the_batch():
    whole, parts, order = flipping(), flipping(), torch.randperm(N, generator=generator(1, "order"))
    for _ in range(3):
        whole.after_step(OUTPUTS, LABELS.expand(2, -1), ALL)
        parts.after_step(OUTPUTS[:, order], LABELS[order].expand(2, -1), order.expand(2, -1))
    assert torch.equal(whole.labels, parts.labels)
    assert (whole.labels[0] != LABELS).any()
    ends = set()
    for seed in range(4):
        one = flipping(seeds=(seed, seed))
        one.after_step(OUTPUTS, LABELS.expand(2, -1), ALL)
        first = tuple(one.labels[0].tolist())
        one.labels.copy_(LABELS.expand(2, -1))
        one.after_step(OUTPUTS, LABELS.expand(2, -1), ALL)
        ends |= {first, tuple(one.labels[0].tolist())}
    assert len(ends) == 8  # each seed and each step has flips of its own


# ---- trained, stacked, killed


INPUTS = torch.randn(N, D, generator=generator(0, "inputs"), dtype=torch.float64)
SEEDS = (3, 3, 8, 8)
OTHER = torch.rand(N, generator=generator(8, "half")) < 0.5
PAIRS = torch.stack([HALF, ~HALF, OTHER, ~OTHER])


def networks(members=range(4)):
    made = [nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, C)).double() for _ in members]
    for seed, network in zip(members, made, strict=True):
        for value in network.parameters():
            nn.init.normal_(value, std=0.8, generator=generator(seed, "weights"))
    return made


def batches(rows=range(4), draw="shuffle"):
    return TensorBatches(INPUTS, LABELS.expand(len(rows), -1), tuple(SEEDS[r] for r in rows), C, draw)


def objective(rows=range(4)):
    return flipping(twins=PAIRS[list(rows)], seeds=[SEEDS[r] for r in rows])


RECIPE = Recipe(epochs=12, batch=8, learning_rate=3e-2)
STOPPING = Recipe(epochs=80, batch=8, learning_rate=3e-2, stop_below=0.5, stop_after=1)


@pytest.mark.parametrize("draw", ["shuffle", "replace"])
def test_twins_see_the_same_batches(draw):
    for _, seen in zip(range(7), batches(draw=draw).stream(8), strict=False):
        assert torch.equal(seen.examples[0], seen.examples[1])
        assert torch.equal(seen.examples[2], seen.examples[3])
        assert not torch.equal(seen.examples[0], seen.examples[2])


def assert_alike(one, other, rows=range(4), **near):
    for mine, m in zip(range(len(one.networks)), rows, strict=True):
        for value, same in zip(one.networks[mine].parameters(), other.networks[m].parameters(), strict=True):
            torch.testing.assert_close(value, same, **near)
        assert torch.equal(one.states[mine]["labels"], other.states[m]["labels"])


@pytest.mark.parametrize("recipe", [RECIPE, STOPPING])
def test_pairs_of_a_stack_are_those_trained_by_themselves(recipe):
    together = train(networks(), batches(), objective(), recipe)
    for rows in ([0, 1], [2, 3]):
        alone = train(networks(rows), batches(rows), objective(rows), recipe)
        assert alone.epochs == [together.epochs[r] for r in rows]
        assert_alike(alone, together, rows, rtol=1e-8, atol=1e-8)
    assert (together.states[0]["labels"] != LABELS).any()
    assert not torch.equal(together.states[0]["labels"], together.states[2]["labels"])
    assert torch.equal(together.states[0]["labels"], together.states[1]["labels"])


def test_twins_leave_together():
    epochs = train(networks(), batches(), objective(), STOPPING).epochs
    assert epochs[0] == epochs[1]
    assert epochs[2] == epochs[3]
    assert epochs[0] != epochs[2]


class LostError(Exception):
    """The machine went away."""


@pytest.mark.parametrize("lost_at", [1, 5, 11])
def test_killed_twins_end_with_the_same_labels(tmp_path, lost_at):
    def lose(done, epochs):
        if done == lost_at:
            raise LostError

    straight = train(networks(), batches(), objective(), RECIPE)
    options = {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 2}
    with pytest.raises(LostError):
        train(networks(), batches(), objective(), RECIPE, progress=lose, **options)
    resumed = train(networks(), batches(), objective(), RECIPE, **options)
    assert_alike(resumed, straight, rtol=0, atol=0)
    assert resumed.states[0]["steps"] == 12 * (N // 8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"twins": torch.stack([HALF, HALF])}, "held in by exactly one of two twins"),
        ({"twins": PAIRS[:3], "seeds": (1, 1, 2)}, "M even: twins side by side"),
        ({"seeds": (1,)}, r"labels have shape \(2, 24\), held_in \(2, 24\), 1 seeds"),
    ],
)
def test_halves_that_are_no_halves_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        flipping(**change)
