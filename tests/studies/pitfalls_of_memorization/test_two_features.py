"""The dual form of the two-feature problem against plain gradient descent on a linear layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from memorization.draws import generator
from memorization.studies.pitfalls_of_memorization import two_features
from memorization.studies.pitfalls_of_memorization.two_features import (
    Kernel,
    columns,
    descend,
    linear_problem,
    linear_twins,
    weights_of,
    with_label_noise,
)

N, D, EPOCHS = 40, 30, 25
PROBLEM = linear_problem(n=N, d=D, majority_rate=0.8, seed=0)
KERNEL = Kernel.of(PROBLEM)
GAMMA, SIGMA, RATE = 3.0, 0.5, 0.05
GROUPS = 2 * PROBLEM.train.labels.long() + PROBLEM.train.majority.long()


def inputs(one, gamma=GAMMA, sigma=SIGMA):
    return torch.cat([one.core[:, None], gamma * one.spurious[:, None], sigma * one.noise], 1).double()


def linear(start, seed=7):
    """Two logits whose weights differ by ``start``."""
    layer = nn.Linear(len(start), 2, bias=False).double()
    with torch.no_grad():
        layer.weight[0] = torch.randn(len(start), generator=generator(seed, "first logit"))
        layer.weight[1] = layer.weight[0] + start
    return layer


def accuracies(layer, gamma, sigma):
    found = {}
    for split, one in (("train", PROBLEM.train), ("test", PROBLEM.test)):
        right = layer(inputs(one, gamma, sigma)).argmax(1) == one.labels.long()
        for name, members in (("majority", one.majority), ("minority", ~one.majority)):
            found[f"{split}_{name}"] = float(right[members].double().mean())
    return found


def direct(*, gamma=GAMMA, sigma=SIGMA, rate=RATE, epochs=EPOCHS, shift=None, weights=None, eta=None):
    """Full-batch SGD by autograd; returns the layer after epochs - 1 steps, and accuracies before each."""
    layer, x, y = linear(PROBLEM.start), inputs(PROBLEM.train, gamma, sigma), PROBLEM.train.labels.long()
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate)
    q, seen = torch.full((4,), 0.25, dtype=torch.float64), {}
    for epoch in range(1, epochs + 1):
        with torch.no_grad():
            seen[epoch] = accuracies(layer, gamma, sigma)
        if epoch == epochs:
            return layer, seen
        logits = layer(x)
        if shift is not None:
            logits = torch.stack([logits[:, 0], logits[:, 1] + shift], 1)
        each = F.cross_entropy(logits, y, reduction="none")
        loss = (each if weights is None else each * weights).mean()
        if eta is not None:
            losses = torch.stack([each[g == GROUPS].mean() for g in range(4)])
            loss = (q * losses).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if eta is not None:
            q = q * (eta * losses.detach()).exp()
            q = q / q.sum()
    raise AssertionError


SHIFT = torch.linspace(-2, 2, N)
WEIGHTS = torch.rand(N, generator=generator(0, "weights")) + 0.2
WEIGHTS = WEIGHTS / WEIGHTS.mean()
ARMS = {
    "plain": ({}, {}),
    "weights": ({"weights": WEIGHTS}, {"weights": WEIGHTS[:, None]}),
    "shift": ({"shift": SHIFT}, {"shifts": SHIFT[:, None]}),
    "group_dro": ({"eta": 0.5}, {"groups": GROUPS, "robust": torch.tensor([True]), "eta": 0.5}),
}


@pytest.mark.parametrize("arm", ARMS)
def test_the_dual_form_is_gradient_descent_on_two_logits(arm):
    layer, seen = direct(**ARMS[arm][0])
    descent = descend(
        KERNEL, columns(GAMMA, SIGMA, RATE, **ARMS[arm][1]), epochs=EPOCHS, look_at=range(1, 99)
    )
    w = (layer.weight[1] - layer.weight[0]).detach()
    torch.testing.assert_close(descent.logits[:, 0].double(), inputs(PROBLEM.train) @ w, atol=1e-4, rtol=1e-4)
    at_test = two_features.test_logits(KERNEL, descent.columns, descent.dual)[:, 0].double()
    torch.testing.assert_close(at_test, inputs(PROBLEM.test) @ w, atol=1e-4, rtol=1e-4)
    found = weights_of(KERNEL, descent)
    expected = [w[0], w[1], w[2:].norm(), GAMMA * w[1].abs() / w[0].abs()]
    for name, value in zip(("core", "spurious", "noise", "reliance"), expected, strict=True):
        assert float(getattr(found, name)[0]) == pytest.approx(float(value), rel=1e-3, abs=1e-4)
    assert sorted(descent.accuracies) == list(range(1, EPOCHS + 1))
    for epoch, row in descent.accuracies.items():
        assert {name: float(value[0]) for name, value in row.items()} == pytest.approx(seen[epoch])


def test_the_arms_of_the_test_above_differ():
    ends = [direct(**settings)[0].weight for settings, _ in ARMS.values()]
    for k in range(len(ends)):
        for other in ends[:k]:
            assert (ends[k] - other).abs().max() > 1e-2


def test_epochs_are_looked_at_before_their_update():
    descent = descend(KERNEL, columns(GAMMA, SIGMA, RATE), epochs=1)
    torch.testing.assert_close(
        descent.logits[:, 0].double(), inputs(PROBLEM.train) @ PROBLEM.start.double(), atol=1e-5, rtol=1e-4
    )
    assert not descent.dual.any()
    one_step = descend(KERNEL, columns(GAMMA, SIGMA, RATE), epochs=2)
    residuals = torch.sigmoid(descent.logits) - PROBLEM.train.labels[:, None]
    torch.testing.assert_close(one_step.dual, -2 * RATE / N * residuals)


def test_without_noise_nothing_of_it_is_learned():
    descent = descend(KERNEL, columns(GAMMA, 0.0, RATE), epochs=EPOCHS)
    assert float(weights_of(KERNEL, descent).noise[0]) == pytest.approx(float(PROBLEM.start[2:].norm()))
    w = direct(sigma=0.0)[0].weight
    reached = inputs(PROBLEM.train, sigma=0.0) @ (w[1] - w[0]).detach()
    torch.testing.assert_close(descent.logits[:, 0].double(), reached, atol=1e-4, rtol=1e-4)


def test_columns_of_a_diagram_are_single_runs():
    gammas, sigmas = [1.0, 2.0, 3.0, 4.0, 5.0, 5.0, 8.0], [0.0, 0.1, 0.3, 0.5, 0.7, 1.0, 0.2]
    rates = [0.05, 0.04, 0.03, 0.02, 0.02, 0.01, 0.005]
    robust = torch.tensor([False, True, False, False, False, True, False])
    groups = {"groups": GROUPS, "eta": 0.3}
    together = descend(KERNEL, columns(gammas, sigmas, rates, robust=robust, **groups), epochs=EPOCHS)
    for some in ([0], [1], [4], [6], [1, 3, 5]):
        chosen = [[values[k] for k in some] for values in (gammas, sigmas, rates)]
        alone = descend(KERNEL, columns(*chosen, robust=robust[some], **groups), epochs=EPOCHS)
        torch.testing.assert_close(alone.logits, together.logits[:, some], atol=1e-4, rtol=1e-4)
        for name, value in alone.accuracies[EPOCHS].items():
            assert torch.equal(value, together.accuracies[EPOCHS][name][some])


def test_a_subset_is_a_training_set_of_its_own():
    inside = torch.rand(N, generator=generator(3, "subset")) < 0.7
    weights = (inside * (N / inside.sum())).float()
    descent = descend(KERNEL, columns(GAMMA, SIGMA, RATE, weights=weights[:, None]), epochs=EPOCHS)
    layer, x = linear(PROBLEM.start), inputs(PROBLEM.train)[inside]
    optimizer = torch.optim.SGD(layer.parameters(), lr=RATE)
    for _ in range(EPOCHS - 1):
        optimizer.zero_grad()
        F.cross_entropy(layer(x), PROBLEM.train.labels.long()[inside]).backward()
        optimizer.step()
    w = (layer.weight[1] - layer.weight[0]).detach()
    torch.testing.assert_close(descent.logits[:, 0].double(), inputs(PROBLEM.train) @ w, atol=1e-4, rtol=1e-4)
    assert not descent.dual[~inside].any()


# ---- twins


@pytest.mark.parametrize("flipping", [False, True])
def test_linear_twins_are_two_layers_that_learn_a_half_each(flipping):
    epochs, seed = 40, 5
    found = linear_twins(
        KERNEL, gamma=GAMMA, sigma=SIGMA, rate=RATE, epochs=epochs, seed=seed, flipping=flipping
    )
    source = generator(seed, "linear", "twins")  # halves, weights of the second twin, flips
    first = torch.rand(N, generator=source) < 0.5
    bound = (D + 2) ** -0.5
    other = torch.empty(2, D + 2).uniform_(-bound, bound, generator=source)
    twins = [linear(PROBLEM.start), linear(other[1] - other[0])]
    optimizers = [torch.optim.SGD(twin.parameters(), lr=RATE) for twin in twins]
    x, labels = inputs(PROBLEM.train), PROBLEM.train.labels.long()
    current = labels.clone()
    for epoch in range(1, epochs + 1):
        logits = [twin(x) for twin in twins]
        held_out = torch.where(first[:, None], logits[1], logits[0]).detach()
        if epoch == epochs:
            break
        held_in = torch.where(first[:, None], logits[0], logits[1])
        for optimizer in optimizers:
            optimizer.zero_grad()
        F.cross_entropy(held_in, current).backward()
        for optimizer in optimizers:
            optimizer.step()
        if flipping:
            sure, said = held_out.softmax(1).max(1)
            flips = torch.rand(N, generator=source).double() < 2 * sure - 1
            current = torch.where(flips, said, current)
    torch.testing.assert_close(found.logits.double(), held_out[:, 1] - held_out[:, 0], atol=1e-4, rtol=1e-4)
    assert torch.equal(found.flipped, current != labels)
    assert bool(found.flipped.any()) == flipping


def test_twins_of_several_strengths_are_what_each_pair_is_alone():
    given = {"rate": RATE, "epochs": 60, "seed": 5}
    found = linear_twins(KERNEL, gamma=[GAMMA, 1.0, GAMMA], sigma=[SIGMA, SIGMA, 0.1], **given)
    assert found.logits.shape == found.flipped.shape == (N, 3)
    for k, (gamma, sigma) in enumerate([(GAMMA, SIGMA), (1.0, SIGMA), (GAMMA, 0.1)]):
        alone = linear_twins(KERNEL, gamma=gamma, sigma=sigma, **given)
        torch.testing.assert_close(found.logits[:, k], alone.logits, atol=1e-4, rtol=1e-4)
        assert torch.equal(found.flipped[:, k], alone.flipped)
    one = linear_twins(KERNEL, gamma=[GAMMA], sigma=SIGMA, **given)
    assert one.logits.shape == (N, 1)


# ---- the data


def test_exceptions_are_99_of_a_thousand_as_floating_point_has_it():
    problem = linear_problem(n=1000, d=1, majority_rate=0.9, seed=0)
    assert int((~problem.train.majority).sum()) == int((1 - 0.9) * 1000) == 99
    assert int((~problem.test.majority).sum()) == 500


def test_the_published_stream_is_that_of_global_seeds():
    n, d = 30, 20
    found = linear_problem(n=n, d=d, majority_rate=0.9, seed=1234, published=True)
    for seed, rate, split in ((1234, 0.9, found.train), (1235, 0.5, found.test)):
        torch.manual_seed(seed)
        y = torch.bernoulli(torch.full((n, 1), 0.5))
        core = (torch.randn(n, 1) * 0.12 - 1) * (2 * y - 1)
        spurious = (torch.randn(n, 1) * 0.12 - 1) * (2 * y - 1)
        spurious[torch.randperm(n)[: int((1 - rate) * n)]] *= -1
        noise = torch.randn(n, d)
        for name, value in (("labels", y), ("core", core), ("spurious", spurious)):
            assert torch.equal(getattr(split, name), value[:, 0]), name
        assert torch.equal(split.noise, noise)
        assert torch.equal(split.majority, (core * spurious > 0)[:, 0])
    layer = nn.Linear(d + 2, 2, bias=False)  # goes on with the state after the test set
    torch.testing.assert_close(found.start, (layer.weight[1] - layer.weight[0]).detach())


def test_a_class_sits_at_the_other_sign_and_the_strengths_are_not_in_the_data():
    problem = linear_problem(n=2000, d=3, majority_rate=0.9, seed=0)
    one = problem.train
    assert float(one.core[one.labels == 1].mean()) == pytest.approx(-1, abs=0.02)
    assert float(one.core[one.labels == 0].mean()) == pytest.approx(1, abs=0.02)
    assert float((one.core.abs() - 1).std()) == pytest.approx(0.12, abs=0.01)
    assert float(one.noise.std()) == pytest.approx(1, abs=0.03)


def test_label_noise_flips_a_share_of_the_training_labels_and_nothing_else():
    noisy = with_label_noise(PROBLEM, 0.1, 0)
    assert int((noisy.train.labels != PROBLEM.train.labels).sum()) == round(0.1 * N)
    for name in ("core", "spurious", "noise", "majority"):
        assert torch.equal(getattr(noisy.train, name), getattr(PROBLEM.train, name))
    assert noisy.test is PROBLEM.test
    with pytest.raises(ValueError, match=r"label_noise=1\.0; allowed: a fraction in"):
        with_label_noise(PROBLEM, 1.0, 0)


def test_a_seed_decides_the_data():
    again, other = linear_problem(n=N, d=D, majority_rate=0.8, seed=0), linear_problem(n=N, d=D, seed=1)
    assert torch.equal(again.train.noise, PROBLEM.train.noise)
    assert torch.equal(again.start, PROBLEM.start)
    assert not torch.equal(other.train.noise, PROBLEM.train.noise)


# ---- what is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"majority_rate": 0.0}, "majority_rate=0.0; allowed: a number in"),
        ({"majority_rate": 1.0}, "majority_rate=1.0; allowed: a number in"),
        ({"majority_rate": float("nan")}, "majority_rate=nan; allowed: a finite number"),
        ({"n": 1}, "n=1; allowed: a whole number, 2 or more"),
        ({"d": 0}, "d=0; allowed: a whole number, 1 or more"),
        ({"seed": -1}, "seed"),
    ],
)
def test_problems_out_of_range_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        linear_problem(**{"n": 10, "d": 5, "seed": 0} | change)


@pytest.mark.parametrize(
    ("gamma", "sigma", "rate", "more", "message"),
    [
        (0.0, 0.5, 0.1, {}, r"gamma=\[0.0\]; allowed: numbers > 0"),
        (5.0, -0.5, 0.1, {}, r"sigma=\[-0.5\]; allowed: numbers >= 0"),
        (5.0, [0.5, float("nan")], 0.1, {}, r"sigma=\[0.5, nan\]; allowed: numbers >= 0"),
        (5.0, 0.5, 0.0, {}, r"rate=\[0.0\]; allowed: numbers > 0"),
        (5.0, 0.5, 0.1, {"eta": 0.0}, "eta=0.0; allowed: a number above 0"),
    ],
)
def test_strengths_out_of_range_are_refused(gamma, sigma, rate, more, message):
    with pytest.raises(ValueError, match=message):
        columns(gamma, sigma, rate, **more)


def test_a_rate_that_is_too_large_is_named():
    with pytest.raises(FloatingPointError, match=r"not finite at \{'gamma': 3.0.*; lower the learning rate"):
        descend(KERNEL, columns(GAMMA, SIGMA, [RATE, 1e38]), epochs=20)
    with pytest.raises(ValueError, match="epochs=0; allowed: a whole number, 1 or more"):
        descend(KERNEL, columns(GAMMA, SIGMA, RATE), epochs=0)


def test_twins_refuse_a_half_without_a_class_and_a_rate_that_is_too_large():
    few = Kernel.of(linear_problem(n=2, d=2, majority_rate=0.5, seed=0))
    with pytest.raises(ValueError, match=r"class \d is missing from one half; use stratified halves"):
        linear_twins(few, gamma=GAMMA, sigma=SIGMA, rate=RATE, epochs=2, seed=0)
    with pytest.raises(FloatingPointError, match="lower the learning rate"):
        linear_twins(KERNEL, gamma=GAMMA, sigma=SIGMA, rate=1e38, epochs=20, seed=0)
