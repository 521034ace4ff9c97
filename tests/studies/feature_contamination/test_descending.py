"""Descent of stacked two-layer networks: closed form as autograd, stacked as alone, as PyTorch does it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from memorization.draws import generator
from memorization.studies.feature_contamination import descent as descending
from memorization.studies.feature_contamination.data import dictionary
from memorization.studies.feature_contamination.descent import WEIGHTS, DescendingNetworks, SignedRisk
from memorization.studies.feature_contamination.networks import (
    POINTWISE,
    StackedActivation,
    in_latent,
    normal_networks,
    pytorch_networks,
    theory_networks,
)
from memorization.training.batches import FreshBatches
from memorization.training.recipe import Recipe
from memorization.training.train import TrainingError, train

EXACT = {"rtol": 1e-12, "atol": 1e-12}
INPUTS, WIDTH, N = 4, 6, 10


@dataclass(frozen=True)
class Descent:
    """What the tests vary; a rate, decay or penalty for all networks or one for each."""

    steps: int
    loss: str = "hinge"
    optimizer: str = "sgd"
    rate: Any = 0.5
    decay: Any = 0.0
    momentum: float = 0.0
    schedule: str = "constant"
    gradient: str = "closed"
    trained: tuple[str, ...] = ("first",)
    penalty: Any = 0.0

    def factor(self, step):
        return 0.5 * (1 + math.cos(math.pi * step / self.steps)) if self.schedule == "cosine" else 1.0


def descended(start, data, how, **looks):
    rates, decays = ([v] * start.size if isinstance(v, float) else v for v in (how.rate, how.decay))
    recipe = Recipe(
        optimizer=how.optimizer, learning_rate=rates, weight_decay=decays, momentum=how.momentum,
        schedule=how.schedule, steps=how.steps,
    )  # fmt: skip
    stack = DescendingNetworks(start, how.trained, how.gradient)
    draws = FreshBatches(data, tuple(range(start.size)))
    return train(stack, draws, SignedRisk(how.loss, how.penalty), recipe, **looks)


def descend(start, data, how):
    return descended(start, data, how).stack.networks


def networks(names=POINTWISE, outputs=1, make=pytorch_networks):
    activation = StackedActivation(names, [0.2 if name == "leaky" else 0.0 for name in names])
    sources = [generator(seed, "weights") for seed in range(len(names))]
    if make is theory_networks:
        return theory_networks(WIDTH, INPUTS, activation, [1.0] * len(names), sources, torch.float64)
    drawn = pytorch_networks(WIDTH, INPUTS, outputs, activation, sources, dtype=torch.float64)
    return drawn.with_tensors(**{name: 2 * value for name, value in drawn.tensors().items()})


def batches(models, outputs=1, real=False, inputs=INPUTS):
    """Fresh batches of labels -1 and +1, or of real targets; each step and network has its own."""

    def at(step):
        source = generator(step, "batch")
        x = torch.randn(models, N, inputs, generator=source, dtype=torch.float64)
        targets = torch.randn(models, N, outputs, generator=source, dtype=torch.float64)
        return x, targets if real else targets.sign()

    return at


def member(stack, m):
    """One network of a stack as a stack of its own."""
    names, slopes = [stack.activation.names[m]], [stack.activation.slopes[m]]
    alone = {name: value[m : m + 1] for name, value in stack.tensors().items()}
    return replace(stack, activation=StackedActivation(names, slopes), **alone)


def assert_same(first, second, **tolerance):
    for name, value in first.tensors().items():
        torch.testing.assert_close(value, second.tensors()[name], **(tolerance or EXACT))


@pytest.mark.parametrize("trained", [("first",), ("first", "bias"), ("second", "offset"), WEIGHTS])
@pytest.mark.parametrize("penalty", [0.0, 0.7])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("loss", ["hinge", "logistic", "squared"])
def test_the_closed_form_is_the_gradient_of_autograd(loss, outputs, penalty, trained):
    start = networks(outputs=outputs)
    data = batches(len(POINTWISE), outputs, real=loss == "squared")
    closed, autograd = (
        descend(start, data, Descent(1, loss, rate=1.0, gradient=gradient, trained=trained, penalty=penalty))
        for gradient in ("closed", "autograd")
    )
    assert_same(closed, autograd)
    for name, value in start.tensors().items():
        moved = (closed.tensors()[name] - value).abs().amax((1, 2))
        assert (moved > 1e-3).all() if name in trained else not moved.any()


class Plain(nn.Module):
    """One network of a stack, as PyTorch writes it."""

    def __init__(self, stack, m):
        super().__init__()
        for name, value in stack.tensors().items():
            setattr(self, name, nn.Parameter(value[m].clone()))
        self.function = {"relu": torch.relu, "tanh": torch.tanh}[stack.activation.names[m]]

    def forward(self, x):
        return F.linear(self.function(F.linear(x, self.first, self.bias)), self.second, self.offset)


def plain_loop(stack, m, data, descent, optimizer, penalty=0.0):
    network = Plain(stack, m)
    optimizer = optimizer([getattr(network, name) for name in descent.trained])
    rate = optimizer.param_groups[0]["lr"]
    for step in range(descent.steps):
        x, y = (part[m] for part in data(step))
        each = torch.relu(1 - y * network(x))
        risks = each[: N // 2].mean(), each[N // 2 :].mean()
        optimizer.param_groups[0]["lr"] = rate * descent.factor(step)
        optimizer.zero_grad()
        (sum(risks) / 2 + penalty * (risks[0] - risks[1]) ** 2 / 4).backward()
        optimizer.step()
    return network


ROUTES = {
    "sgd": (Descent(50, rate=0.1), lambda p: torch.optim.SGD(p, 0.1)),
    "momentum and decay": (
        Descent(50, rate=0.05, decay=0.02, momentum=0.9),
        lambda p: torch.optim.SGD(p, 0.05, momentum=0.9, weight_decay=0.02),
    ),
    "adam": (
        Descent(50, optimizer="adam", rate=0.01, decay=0.02),
        lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.02),
    ),
    "adamw": (
        Descent(50, optimizer="adamw", rate=0.01, decay=0.02),
        lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0.02),
    ),
}


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
@pytest.mark.parametrize("route", ROUTES)
def test_a_descent_is_that_of_pytorchs_optimizer_on_a_plain_network(route, schedule):
    descent, optimizer = ROUTES[route]
    descent = replace(descent, trained=WEIGHTS, schedule=schedule)
    start, data = networks(("relu", "tanh")), batches(2)
    done = descend(start, data, descent)
    for m in range(2):
        for name, value in plain_loop(start, m, data, descent, optimizer).named_parameters():
            torch.testing.assert_close(
                done.tensors()[name][m], value.view_as(done.tensors()[name][m]), **EXACT
            )


def test_a_penalty_is_the_variance_of_the_risks_of_the_two_halves():
    descent = Descent(20, rate=0.1, penalty=[0.5, 2.0], trained=WEIGHTS)
    start, data = networks(("relu", "tanh")), batches(2)
    done = descend(start, data, descent)
    for m, penalty in enumerate((0.5, 2.0)):
        network = plain_loop(start, m, data, descent, lambda p: torch.optim.SGD(p, 0.1), penalty)
        torch.testing.assert_close(done.first[m], network.first.detach(), **EXACT)


@pytest.mark.parametrize("gradient", ["closed", "autograd"])
def test_a_stack_descends_like_its_networks_one_by_one(gradient):
    rates, decays, penalties = (
        [0.3, 0.1, 0.2, 0.4, 0.5, 0.6],
        [0.0, 0.1, 0.2, 0.0, 0.3, 0.1],
        [0.0, 1.0] * 3,
    )
    options = {"momentum": 0.5, "trained": WEIGHTS, "gradient": gradient}
    start, data = networks(), batches(6)
    together = descend(start, data, Descent(30, rate=rates, decay=decays, penalty=penalties, **options))
    for m in range(6):
        own = Descent(30, rate=rates[m], decay=decays[m], penalty=penalties[m], **options)
        alone = descend(member(start, m), lambda step, m=m: tuple(p[m : m + 1] for p in data(step)), own)
        assert_same(alone, member(together, m))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("make", [theory_networks, pytorch_networks])
def test_latent_coordinates_follow_the_path_of_ambient_ones(make, momentum):
    start = networks(("relu", "gelu"), make=make)  # the ambient dimension is INPUTS
    rows = torch.stack([dictionary(3, INPUTS, generator(s, "rows"), torch.float64) for s in range(2)])
    latent_batches = batches(2, inputs=3)

    def ambient_batches(step):
        z, labels = latent_batches(step)
        return z @ rows, labels

    descent = Descent(50, rate=0.1, decay=0.05, momentum=momentum, trained=("first", "bias"))
    ambient = descend(start, ambient_batches, descent)
    assert_same(descend(in_latent(start, rows), latent_batches, descent), in_latent(ambient, rows))


def test_the_networks_that_were_given_are_not_changed():
    start = networks()
    before = {name: value.clone() for name, value in start.tensors().items()}
    descend(start, batches(6), Descent(3, trained=WEIGHTS))
    assert all(torch.equal(value, before[name]) for name, value in start.tensors().items())


@pytest.mark.parametrize("gradient", ["closed", "autograd"])
def test_networks_with_a_graph_can_descend(gradient):
    start = networks()
    leaves = start.with_tensors(first=start.first.clone().requires_grad_())
    descent = Descent(3, gradient=gradient)
    done = descend(leaves, batches(6), descent)
    assert not done.first.requires_grad
    assert_same(done, descend(start, batches(6), descent))


@pytest.mark.parametrize(
    ("steps", "asked", "seen"), [(5, [5, 0, 3, 99], [0, 3, 5]), (0, [0, 0], [0]), (4, [], [0, 4])]
)
def test_a_watch_sees_beginning_end_and_each_asked_step_once(steps, asked, seen):
    calls = []
    looks = {"watch_all": lambda t, _: calls.append(t), "watch_at": asked}
    descended(networks(), batches(6), Descent(steps), **looks)
    assert calls == seen


def test_a_watch_sees_the_networks_after_so_many_steps():
    seen = {}

    def watch(step, now):
        seen[step] = now.networks.first.clone()

    start = networks()
    done = descended(start, batches(6), Descent(3), watch_all=watch, watch_at=[0, 2, 3]).stack.networks
    assert torch.equal(seen[0], start.first)
    assert torch.equal(seen[2], descend(start, batches(6), Descent(2)).first)
    assert torch.equal(seen[3], done.first)


def test_no_steps_leave_the_networks_as_they_are():
    assert_same(descend(networks(), batches(6), Descent(0, schedule="cosine")), networks())


@pytest.mark.parametrize("gradient", ["closed", "autograd"])
@pytest.mark.parametrize("step", [0, 17, 49, 50, 59])
def test_a_network_whose_loss_is_not_finite_fails_at_its_step_and_the_others_go_on(step, gradient):
    def spoilt(now):
        x, labels = batches(3)(now)
        if now == step:
            x[1, 0, 0] = math.nan
        return x, labels

    start, how = networks(("relu", "tanh", "gelu")), Descent(60, gradient=gradient)
    done = descended(start, spoilt, how)
    assert list(done.failed) == [1]
    message = f"the loss of network 1 became nan at step {step + 1}; lower the learning rate"
    assert message in str(done.failed[1])
    undisturbed = descend(start, batches(3), how)
    for m in (0, 2):
        torch.testing.assert_close(done.stack.networks.first[m], undisturbed.first[m], **EXACT)


def test_a_failed_training_does_not_go_on_for_long():
    drawn = []

    def spoilt(step):
        drawn.append(step)
        x, labels = batches(1)(step)
        return (x if step < 60 else x * math.nan), labels

    with pytest.raises(TrainingError, match="at step 61"):
        descend(networks(("relu",)), spoilt, Descent(1000))
    assert len(drawn) <= 110


def test_a_rate_that_is_too_high_stops_its_own_network():
    start, descent = (
        networks(("relu", "identity")),
        Descent(400, "squared", rate=[0.01, 50.0], trained=WEIGHTS),
    )
    failed = descended(start, batches(2), descent).failed
    assert list(failed) == [1]
    assert "became" in str(failed[1])


@pytest.mark.parametrize("loss", ["hinge", "logistic"])
def test_labels_zero_and_one_are_refused_at_the_first_batch(loss):
    def zero_one(step):
        x, labels = batches(6)(step)
        return x, (labels + 1) / 2

    with pytest.raises(ValueError, match=r"labels must be -1 or \+1; got \[0.0, 1.0\]: map 0 to -1"):
        descend(networks(), zero_one, Descent(5, loss))


@pytest.mark.parametrize(
    ("x", "targets", "message"),
    [
        ((6, 9, 4), (6, 9), r"targets of shape \(6, 9\); 6 networks of 1 outputs .* need \(6, 9, 1\)"),
        ((6, 9, 4), (6, 9, 2), r"targets of shape \(6, 9, 2\).* need \(6, 9, 1\)"),
        ((6, 9, 5), (6, 9, 1), r"inputs of shape \(6, 9, 5\); 6 networks of 4 inputs need \(6, N, 4\)"),
        ((1, 9, 4), (1, 9, 1), r"inputs of shape \(1, 9, 4\); 6 networks"),
        ((9, 4), (9, 1), r"inputs of shape \(9, 4\); 6 networks"),
    ],
)
def test_batches_of_another_shape_are_refused(x, targets, message):
    with pytest.raises(ValueError, match=message):
        descend(networks(), lambda _: (torch.zeros(x).double(), torch.ones(targets).double()), Descent(5))


def test_a_penalty_needs_two_equal_halves():
    def odd(step):
        return tuple(part[:, 1:] for part in batches(6)(step))

    with pytest.raises(ValueError, match="9 examples; with a penalty their number must be even"):
        descend(networks(), odd, Descent(5, penalty=1.0))


def test_several_outputs_descend_alike_in_closed_form_and_by_autograd_with_the_fused_optimizer():
    activation = StackedActivation(["relu"] * 2, [0.0] * 2)
    sources = [generator(seed, "weights") for seed in range(2)]
    start = normal_networks(7, 4, 3, activation, (0.5, 0.1, 0.4), sources, torch.float64)
    x, y = torch.randn(2, 11, 4, dtype=torch.float64), torch.randn(2, 11, 3, dtype=torch.float64)
    ends = [
        descend(start, lambda _: (x, y), Descent(30, "squared", "adamw", 0.01, trained=WEIGHTS, gradient=way))
        for way in ("closed", "autograd")
    ]
    for name, value in ends[0].tensors().items():
        torch.testing.assert_close(value, ends[1].tensors()[name], rtol=1e-10, atol=1e-12)


def test_batches_may_differ_in_size():
    activation = StackedActivation(["relu"] * 2, [0.0] * 2)
    sources = [generator(seed, "weights") for seed in range(2)]
    start = theory_networks(6, 4, activation, [1.0, 1.0], sources, torch.float64)
    x, y = torch.randn(2, 12, 4, dtype=torch.float64), torch.ones(2, 12, 1, dtype=torch.float64)

    def batches(step):
        size = (4, 12, 7)[step % 3]
        return x[:, :size], y[:, :size]

    ends = [descend(start, batches, Descent(9, gradient=way)).first for way in ("closed", "autograd")]
    torch.testing.assert_close(*ends, **EXACT)


def test_a_stack_larger_than_the_cache_descends_as_a_small_one(monkeypatch):
    activation = StackedActivation(["relu", "gelu", "leaky"], [0.0, 0.0, 0.2])
    sources = [generator(seed, "weights") for seed in range(3)]
    start = normal_networks(7, 4, 1, activation, (0.5, 0.1, 0.4), sources, torch.float64)
    x, y = torch.randn(3, 10, 4, dtype=torch.float64), torch.ones(3, 10, 1, dtype=torch.float64)
    how = Descent(20, "logistic", "adamw", 0.01, trained=WEIGHTS, penalty=[0.0, 1.0, 2.0])
    whole = descend(start, lambda _: (x, y), how)
    monkeypatch.setattr(descending, "_IN_CACHE", 100)
    parts = descend(start, lambda _: (x, y), how)
    for name, value in whole.tensors().items():
        torch.testing.assert_close(value, parts.tensors()[name], rtol=1e-12, atol=1e-14)
