"""Objectives with a state, partners that leave together, and the best step: killed, resumed, thinned."""

import pytest
import torch
from torch import nn

from memorization.draws import generator
from memorization.training.batches import FreshBatches, TensorBatches
from memorization.training.objectives import cross_entropy
from memorization.training.recipe import Recipe
from memorization.training.train import train

N, D, C, MODELS = 40, 5, 3, 4
INPUTS = torch.randn(N, D, generator=generator(0, "inputs"), dtype=torch.float64)
RULES = [torch.randn(D, C, generator=generator(s, "rule"), dtype=torch.float64) for s in range(MODELS)]
LABELS = torch.stack([(INPUTS @ rule).argmax(1) for rule in RULES])
GROUPS = torch.arange(N) % 2


class GroupWeights(nn.Module):
    """The mean loss of each group, weighed by exponentiated gradient (Sagawa et al., 2020)."""

    def __init__(self, models=MODELS, groups=GROUPS, rate=0.5):
        super().__init__()
        self.register_buffer("table", groups, persistent=False)  # by example: the same for all networks
        self.register_buffer("weights", torch.full((models, 2), 0.5, dtype=torch.float64))
        self.register_buffer("visits", torch.zeros(models, N, dtype=torch.int64))
        self.rate = rate

    def forward(self, outputs, targets, examples):
        return (self._losses(outputs, targets, examples) * self.weights).sum(1)

    def after_step(self, outputs, targets, examples):
        moved = self.weights * (self.rate * self._losses(outputs, targets, examples)).exp()
        self.weights.copy_(moved / moved.sum(1, keepdim=True))
        self.visits.scatter_add_(1, examples, torch.ones_like(examples))

    def _losses(self, outputs, targets, examples):
        each = nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
        each, group = each.view(targets.shape), self.table[examples]
        counts = [(group == g).sum(1).clamp(min=1) for g in (0, 1)]
        return torch.stack([(each * (group == g)).sum(1) / counts[g] for g in (0, 1)], 1)


class Twins(nn.Module):
    """Cross-entropy, and the distance to the partner's answers: two networks side by side need each other."""

    together = 2

    def forward(self, outputs, targets, examples):
        partner = outputs.detach().unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        each = nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
        return each.view(targets.shape).mean(1) + 0.01 * (outputs - partner).square().mean((1, 2))


class Pairs(nn.Module):
    """Cross-entropy of networks that are judged two by two."""

    together = 2

    def forward(self, outputs, targets, examples):
        return cross_entropy(outputs, targets, examples)


def networks(models=MODELS):
    made = [nn.Sequential(nn.Linear(D, 8), nn.ReLU(), nn.Linear(8, C)).double() for _ in range(models)]
    for seed, network in enumerate(made):
        for value in network.parameters():
            nn.init.normal_(value, std=0.5, generator=generator(seed, "weights"))
    return made


def batches(models=MODELS, **more):
    return TensorBatches(INPUTS, LABELS[:models], tuple(range(models)), C, **more)


RECIPE = Recipe(epochs=12, batch=10, learning_rate=3e-2)
STOPPING = Recipe(epochs=60, batch=10, learning_rate=3e-2, stop_at=0.9, stop_after=2)


class LostError(Exception):
    """The machine went away."""


def lose_at(epoch):
    def progress(done, epochs):
        if done == epoch:
            raise LostError

    return progress


def assert_alike(one, other):
    assert one.epochs == other.epochs
    assert one.history.equals(other.history)
    for m in range(len(one.networks)):
        for (name, value), same in zip(
            one.networks[m].state_dict().items(), other.networks[m].state_dict().values(), strict=True
        ):
            assert torch.equal(value, same), name
        assert {n: v.tolist() for n, v in one.states[m].items()} == {
            n: v.tolist() for n, v in other.states[m].items()
        }


@pytest.mark.parametrize("lost_at", [1, 5, 11])
@pytest.mark.parametrize("recipe", [RECIPE, STOPPING])
def test_a_killed_training_with_a_state_ends_with_the_same_numbers(tmp_path, lost_at, recipe):
    straight = train(networks(), batches(), GroupWeights(), recipe)
    options = {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 2}
    with pytest.raises(LostError):
        train(networks(), batches(), GroupWeights(), recipe, progress=lose_at(lost_at), **options)
    assert_alike(train(networks(), batches(), GroupWeights(), recipe, **options), straight)


def test_a_state_is_thinned_with_the_networks_that_stop_one_by_one():
    together = train(networks(), batches(), GroupWeights(), STOPPING)
    assert len(set(together.epochs)) > 1
    for m in range(MODELS):
        alone = train([networks()[m]], batches().take([m]), GroupWeights(1), STOPPING)
        assert together.epochs[m] == alone.epochs[0]
        for name, value in together.states[m].items():
            torch.testing.assert_close(value, alone.states[0][name], rtol=1e-9, atol=1e-9)
    assert together.states[0]["visits"].sum() == together.epochs[0] * N


def test_the_objective_that_was_given_is_not_changed():
    given = GroupWeights()
    train(networks(), batches(), given, RECIPE)
    assert (given.weights == 0.5).all()


def test_other_groups_are_another_training(tmp_path):
    train(networks(), batches(), GroupWeights(), RECIPE, checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match="belongs to another training: objective differ"):
        train(networks(), batches(), GroupWeights(groups=1 - GROUPS), RECIPE, checkpoint=tmp_path / "run.pt")


def test_networks_that_need_each_other_leave_together():
    done = train(networks(), batches(), Twins(), STOPPING)
    first, second = done.epochs[:2], done.epochs[2:]
    assert first[0] == first[1]
    assert second[0] == second[1]
    assert first != second


def test_a_network_whose_partner_fails_fails_with_it_and_the_others_go_on():
    inputs = INPUTS.expand(MODELS, -1, -1).clone()
    inputs[2, 7] = float("nan")
    done = train(
        networks(), TensorBatches(inputs, LABELS, tuple(range(MODELS)), C, own=True), Pairs(), RECIPE
    )
    assert sorted(done.failed) == [2, 3]
    assert "network 3 needs network 2: the loss of network 2 became nan" in str(done.failed[3])
    assert [network is None for network in done.networks] == [False, False, True, True]
    assert done.epochs[:2] == [12, 12]


@pytest.mark.parametrize("lost_at", [None, 5])
def test_the_best_step_is_kept_and_survives_a_kill(tmp_path, lost_at):
    scores = {1: 0.2, 3: 0.9, 5: 0.1, 12: 0.5}

    def watch(epoch, member, network):
        seen[epoch, member] = network[0].weight.clone()
        return [{"score": scores.get(epoch, 0.0) - 0.1 * member}]

    seen = {}
    options = {"watch": watch, "watch_at": [1, 3, 5], "keep_best": "score"}
    options |= {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 1}
    if lost_at:
        with pytest.raises(LostError):
            train(networks(), batches(), "cross_entropy", RECIPE, progress=lose_at(lost_at), **options)
    done = train(networks(), batches(), "cross_entropy", RECIPE, **options)
    assert done.best == {m: (3, pytest.approx(0.9 - 0.1 * m)) for m in range(MODELS)}
    for m in range(MODELS):
        assert torch.equal(done.networks[m][0].weight, seen[3, m])


def test_a_best_step_needs_a_column_that_is_there():
    with pytest.raises(ValueError, match="keep_best='score' needs a watch that returns this column"):
        train(networks(), batches(), "cross_entropy", RECIPE, keep_best="score")
    with pytest.raises(ValueError, match="keep_best='score', but watch returned member, epoch, x; give one"):
        train(networks(), batches(), "mse", RECIPE, watch=lambda e, m, n: [{"x": 1}], keep_best="score")


def test_fresh_examples_cannot_be_gone_on_with(tmp_path):
    draws = FreshBatches(
        lambda step: (INPUTS.expand(MODELS, -1, -1), LABELS), tuple(range(MODELS)), classes=C
    )
    with pytest.raises(ValueError, match="these batches cannot be drawn again; leave the checkpoint out"):
        train(networks(), draws, "cross_entropy", RECIPE, checkpoint=tmp_path / "run.pt")
