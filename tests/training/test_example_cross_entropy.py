"""Cross-entropy with weights, shifts and groups of a network's own; networks that stop by their loss."""

from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from memorization.draws import generator
from memorization.training.batches import TensorBatches
from memorization.training.objectives import ExampleCrossEntropy
from memorization.training.recipe import Recipe
from memorization.training.train import train

N, D, C, MODELS = 36, 5, 3, 4
INPUTS = torch.randn(N, D, generator=generator(0, "inputs"), dtype=torch.float64)
RULE = torch.randn(D, C, generator=generator(0, "rule"), dtype=torch.float64)
LABELS = (INPUTS @ RULE).argmax(1)
WEIGHTS = torch.rand(MODELS, N, generator=generator(0, "weights"), dtype=torch.float64)
WEIGHTS = WEIGHTS / WEIGHTS.mean(1, keepdim=True)
SHIFTS = torch.randn(MODELS, N, C, generator=generator(0, "shifts"), dtype=torch.float64)
ROBUST = torch.tensor([False, True, False, True])
GROUPS = torch.where(ROBUST[:, None], torch.arange(N) % 4, -1)
GROUPS[3] = torch.where(GROUPS[3] == 3, 0, GROUPS[3])  # of three groups only
ETA = 0.5


def networks(models=range(MODELS)):
    made = [nn.Sequential(nn.Linear(D, 8), nn.Tanh(), nn.Linear(8, C)).double() for _ in models]
    for seed, network in zip(models, made, strict=True):
        for value in network.parameters():
            nn.init.normal_(value, std=0.5, generator=generator(seed, "weights"))
    return made


def batches(models=range(MODELS), draw="shuffle"):
    return TensorBatches(INPUTS, LABELS.expand(len(models), -1), tuple(models), C, draw)


def objective(models=range(MODELS)):
    rows = list(models)
    groups = GROUPS[rows] if ROBUST[rows].any() else None
    return ExampleCrossEntropy(WEIGHTS[rows], SHIFTS[rows], groups, ETA)


def by_hand(member, steps, batch, draw):
    """One network by plain PyTorch; returns it, its group weights and its losses."""
    network = networks([member])[0]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    count = 4 if member == 1 else 3
    q, losses = torch.full((count,), 1 / count, dtype=torch.float64), []
    for _, seen in zip(range(steps), batches([member], draw).stream(batch), strict=False):
        chosen = seen.examples[0]
        each = F.cross_entropy(
            network(INPUTS[chosen]) + SHIFTS[member, chosen], LABELS[chosen], reduction="none"
        )
        if ROBUST[member]:
            here = [g for g in range(count) if (GROUPS[member, chosen] == g).any()]
            means = torch.stack([each[GROUPS[member, chosen] == g].mean() for g in here])
            loss = (q[here] * means).sum() / q[here].sum()
        else:
            loss = (WEIGHTS[member, chosen] * each).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if ROBUST[member]:
            q[here] = q[here] * (ETA * means.detach()).exp()
            q = q / q.sum()
    return network, q, losses


def assert_same(network, other, **near):
    for mine, theirs in zip(network.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, **near)


@pytest.mark.parametrize(
    ("draw", "batch", "steps"), [("whole", 1, 20), ("shuffle", 12, 20), ("replace", 3, 30)]
)
def test_a_stack_of_weights_shifts_and_groups_is_what_plain_code_does(draw, batch, steps):
    recipe = Recipe(steps=steps, batch=batch, learning_rate=1e-2)
    done = train(networks(), batches(draw=draw), objective(), recipe)
    for member in range(MODELS):
        network, q, losses = by_hand(member, steps, batch, draw)
        assert_same(done.networks[member], network, rtol=1e-6, atol=1e-7)
        assert done.history.loss[member] == pytest.approx(sum(losses) / steps, rel=1e-6)
        if ROBUST[member]:
            assert done.states[member]["q"][: len(q)].tolist() == pytest.approx(q.tolist(), rel=1e-5)


def test_a_batch_of_three_lacks_a_group_of_four():
    first = next(batches(draw="replace").stream(3))
    assert len(GROUPS[1, first.examples[1]].unique()) < 4  # what the third case above is about


def test_networks_of_a_stack_are_those_trained_one_by_one():
    recipe = Recipe(epochs=10, batch=12, learning_rate=1e-2)
    together = train(networks(), batches(), objective(), recipe)
    for member in range(MODELS):
        alone = train(networks([member]), batches([member]), objective([member]), recipe)
        assert_same(together.networks[member], alone.networks[0], rtol=1e-9, atol=1e-9)


def test_without_tables_it_is_cross_entropy():
    outputs = torch.randn(2, 6, C, generator=generator(0, "outputs"))
    labels, numbers = torch.arange(12).view(2, 6) % C, torch.arange(6).expand(2, -1)
    found = ExampleCrossEntropy()(outputs, labels, numbers)
    expected = [F.cross_entropy(o, y).item() for o, y in zip(outputs, labels, strict=True)]
    assert found.tolist() == pytest.approx(expected)


def test_a_group_that_is_absent_has_no_loss_and_its_weight_is_not_multiplied():
    groups, numbers = torch.tensor([[0, 0, 1, 1, 2]]), torch.tensor([[0, 1, 2]])
    one = ExampleCrossEntropy(groups=groups, eta=1.0)
    outputs, labels = torch.zeros(1, 3, 2), torch.zeros(1, 3, dtype=torch.int64)
    log2 = torch.tensor(2.0).log()
    assert one(outputs, labels, numbers).item() == pytest.approx(log2.item())
    one.after_step(outputs, labels, numbers)  # both groups there have the loss log 2: times 2
    assert one.q[0].tolist() == pytest.approx([0.4, 0.4, 0.2])


def test_the_worst_group_gets_the_weight():
    groups, numbers = torch.tensor([[0, 1]]), torch.tensor([[0, 1]])
    one, labels = ExampleCrossEntropy(groups=groups, eta=1.0), torch.tensor([[0, 0]])
    outputs = torch.tensor([[[5.0, 0.0], [0.0, 5.0]]])
    for _ in range(5):
        one.after_step(outputs, labels, numbers)
    assert one.q[0, 1] > 0.99
    assert one(outputs, labels, numbers).item() == pytest.approx(5.0, abs=0.05)


def test_a_shift_belongs_to_training_and_not_to_the_network():
    shifts = torch.zeros(1, N, C, dtype=torch.float64)
    shifts[:, :, 0] = 8.0  # with it all are called 0
    plain = train(networks([0]), batches([0], "whole"), "cross_entropy", Recipe(steps=0))
    shifted = train(networks([0]), batches([0], "whole"), ExampleCrossEntropy(shifts=shifts), Recipe(steps=0))
    assert torch.equal(plain.networks[0](INPUTS), shifted.networks[0](INPUTS))
    done = train(
        networks([0]), batches([0], "whole"), ExampleCrossEntropy(shifts=shifts),
        Recipe(steps=400, learning_rate=3e-2),
    )  # fmt: skip
    said = done.networks[0](INPUTS)
    assert ((said + shifts[0]).argmax(1) == LABELS).all()
    assert (said.argmax(1) == 0).sum() < (LABELS == 0).sum()  # the network made up for what it was given


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"eta": 0.0}, "eta=0.0; allowed: a number above 0"),
        ({"eta": float("nan")}, "eta=nan; allowed: a finite number"),
        ({"weights": torch.tensor([[1.0, -0.5]])}, "weights go down to -0.5; allowed: 0 and above"),
        ({"weights": torch.tensor([[1.0, float("nan")]])}, "weights hold numbers that are not finite"),
        ({"shifts": torch.full((1, 2, 2), -float("inf"))}, "shifts hold numbers that are not finite"),
        ({"weights": torch.ones(2)}, r"weights have shape \(2,\); allowed: \(M, N\)"),
        ({"shifts": torch.ones(1, 2)}, r"shifts have shape \(1, 2\); allowed: \(M, N, C\)"),
        ({"weights": torch.ones(1, 3), "shifts": torch.ones(1, 2, 2)}, "alike for all tables"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tables, message):
    with pytest.raises(ValueError, match=message):
        ExampleCrossEntropy(**tables)


# ---- networks that stop one by one

STOPPING = Recipe(epochs=200, batch=12, learning_rate=2e-2, stop_below=0.1, stop_after=2)


def test_a_network_stops_once_its_loss_was_low_and_takes_its_tables_along():
    together = train(networks(), batches(), objective(), STOPPING)
    assert len(set(together.epochs)) > 1
    for member in range(MODELS):
        rows = together.history[together.history.member == member].loss.tolist()
        below = [loss <= 0.1 for loss in rows]
        if len(rows) < STOPPING.epochs:
            assert below[-2:] == [True, True]
        assert not any(a and b for a, b in pairwise(below[:-1]))
        alone = train(networks([member]), batches([member]), objective([member]), STOPPING)
        assert together.epochs[member] == alone.epochs[0] == len(rows)
        assert_same(together.networks[member], alone.networks[0], rtol=1e-7, atol=1e-7)
        if ROBUST[member]:
            torch.testing.assert_close(
                together.states[member]["q"][:3], alone.states[0]["q"][:3], rtol=1e-5, atol=1e-6
            )


class LostError(Exception):
    """The machine went away."""


@pytest.mark.parametrize("lost_at", [1, 30, 33])
def test_a_killed_training_ends_with_the_same_numbers(tmp_path, lost_at):
    def lose(done, epochs):
        if done == lost_at:
            raise LostError

    straight = train(networks(), batches(), objective(), STOPPING)
    assert min(straight.epochs) < 30  # some have left, with their tables
    assert max(straight.epochs) > 33
    options = {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 2}
    with pytest.raises(LostError):
        train(networks(), batches(), objective(), STOPPING, progress=lose, **options)
    resumed = train(networks(), batches(), objective(), STOPPING, **options)
    assert resumed.epochs == straight.epochs
    assert resumed.history.equals(straight.history)
    for member in range(MODELS):
        assert_same(resumed.networks[member], straight.networks[member], rtol=0, atol=0)
        assert torch.equal(resumed.states[member]["q"], straight.states[member]["q"])


def test_another_step_of_group_weights_is_another_training(tmp_path):
    recipe = Recipe(epochs=2, batch=12)
    train(networks(), batches(), objective(), recipe, checkpoint=tmp_path / "run.pt")
    other = ExampleCrossEntropy(WEIGHTS, SHIFTS, GROUPS, 2 * ETA)
    with pytest.raises(ValueError, match="belongs to another training: objective differ"):
        train(networks(), batches(), other, recipe, checkpoint=tmp_path / "run.pt")


@pytest.mark.parametrize(
    "given", [{"stop_below": 0.0}, {"stop_below": -1.0}, {"stop_below": float("nan")},
              {"stop_below": 0.1, "stop_at": 0.9}, {"stop_below": 0.1, "steps": 10}],
)  # fmt: skip
def test_a_loss_to_stop_at_is_above_zero_and_alone(given):
    with pytest.raises(ValueError, match=r"stop_below=.*allowed: a loss above 0, and then no stop_at"):
        Recipe(**given)


def test_the_last_of_equally_good_steps_is_kept():
    scores = {0: 0.9, 1: 0.2, 2: 0.9, 3: 0.9, 4: 0.5}
    seen = {}

    def watch(step, member, network):
        seen[step] = network[0].weight.clone()
        return [{"score": scores[step]}]

    done = train(
        networks([0]), batches([0]), objective([0]), Recipe(steps=4, batch=12), watch=watch,
        watch_at=[1, 2, 3], keep_best="score",
    )  # fmt: skip
    assert done.best == {0: (3, 0.9)}
    assert torch.equal(done.networks[0][0].weight, seen[3])
