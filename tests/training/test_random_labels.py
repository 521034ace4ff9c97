"""Random-label heads in the one training core: who gets which gradient, and what is refused."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.labels import balanced_labels
from memorization.draws import generator
from memorization.models import heads as heads_module
from memorization.models.heads import TappedNetwork, split_outputs
from memorization.models.networks import mlp, small_cnn
from memorization.models.stacked import StackedNetwork
from memorization.training.batches import Batch, FreshBatches, LabelledViews, TensorBatches
from memorization.training.random_labels import REGULARIZERS, HeadRecipe, RandomLabelLoss, bounded
from memorization.training.recipe import Recipe
from memorization.training.train import train

N, D, C, COUNT, MODELS = 48, 6, 3, 4, 3
INPUTS = torch.randn(N, D, generator=generator(0, "inputs"), dtype=torch.float64)
LABELS = torch.arange(N) % C
IDS = torch.arange(N)
TABLE = torch.stack([balanced_labels(IDS, COUNT, seed, LABELS) for seed in range(MODELS)])
RECIPE = Recipe(
    epochs=3, batch=12, optimizer="sgd", learning_rate=0.1, momentum=0.9, weight_decay=1e-2, schedule="cosine"
)
SITES = ("layer1", "embedding")
MODES = {"probe": None, "joint": 0.7, "unlearning": 0.3}


def network(seed=0):
    return mlp(inputs=D, widths=(8, 5), classes=C, hidden=(), generator=generator(seed, "w")).double()


def tapped(seeds=range(MODELS), sites=SITES):
    return [TappedNetwork(network(seed), sites, INPUTS) for seed in seeds]


def batches(seeds=range(MODELS)):
    return TensorBatches(INPUTS, LABELS.expand(len(seeds), -1), tuple(seeds), C)


def loss_of(labels=TABLE, sites=SITES, **more):
    return RandomLabelLoss(tapped([0], sites)[0], labels, COUNT, dtype=torch.float64, **more)


def trained(loss, seeds=range(MODELS), sites=SITES, recipe=RECIPE, **more):
    return train(tapped(seeds, sites), batches(seeds), loss, recipe, **more)


def trunk_of(done, member):
    return done.networks[member].network.state_dict()


def assert_same(one, other, **near):
    for (name, mine), theirs in zip(one.items(), other.values(), strict=True):
        torch.testing.assert_close(mine, theirs, **near, msg=lambda text, name=name: f"{name}: {text}")


def probabilities(logits):
    return logits.softmax(-1)


# ---- what heads tell while they are trained


LOG = []


class Logged(RandomLabelLoss):
    """Counts by itself, at each step."""

    def after_step(self, outputs, targets, examples):
        _, features = split_outputs(outputs, self.scores, self.widths)
        wanted = torch.stack([self.labels[m, 0, examples[m]] for m in range(len(examples))])
        shares = [
            (head(rows, targets)[:, :, 0].argmax(2) == wanted).double().mean(1)
            for head, rows in zip(self.heads, features.values(), strict=True)
        ]
        LOG.append(torch.stack(shares, 1))
        super().after_step(outputs, targets, examples)


@pytest.mark.parametrize("steps", [1, 2])
def test_the_batch_accuracy_of_heads_is_their_mean_over_the_last_epoch_before_each_step(steps):
    LOG.clear()
    loss = Logged(tapped([0])[0], TABLE, COUNT, dtype=torch.float64, head=HeadRecipe(steps=steps))
    done = trained(loss)
    assert len(LOG) == 3 * (N // 12)
    expected = torch.stack(LOG[-(N // 12) :]).mean(0)  # (M, T)
    for member, network_ in enumerate(done.networks):
        assert network_.batch_accuracy == pytest.approx(
            dict(zip(SITES, expected[member].tolist(), strict=True))
        )


def test_before_the_first_step_there_is_no_batch_accuracy_of_heads():
    found = []
    trained(loss_of(), watch=lambda epoch, member, one: found.append((epoch, one.batch_accuracy)) or [])
    assert all(math.isnan(value) for epoch, told in found if not epoch for value in told.values())
    assert all(0 <= value <= 1 for epoch, told in found if epoch for value in told.values())
    assert {epoch for epoch, _ in found} == {0, 3}


# ---- the losses of one head


def drawn_logits(shift=0.0):
    logits = torch.randn(5, 6, generator=generator(1, "logits"), dtype=torch.float64)
    labels = torch.arange(5) % 6
    logits[torch.arange(5), labels] += shift
    return logits.requires_grad_(), labels


@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0, 30.0, -30.0, 300.0, -300.0])
def test_the_bounded_loss_has_the_derived_gradient(shift):
    logits, labels = drawn_logits(shift)
    (found,) = torch.autograd.grad(bounded(logits, labels).sum(), logits)
    p = probabilities(logits.detach())
    own = p.gather(1, labels[:, None])
    others = (p * (1 - F.one_hot(labels, 6))).sum(1, keepdim=True)  # 1 - p, without rounding it away
    shares = p / others  # not p/(1 - p): where p is 1, only the sum of the others is still a number
    expected = torch.where(F.one_hot(labels, 6).bool(), own, -own * shares)
    if others.min() > 0:
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)
    assert found.isfinite().all()
    torch.testing.assert_close(found.abs().sum(1), 2 * own.squeeze(1), rtol=0, atol=1e-10)


def test_the_bounded_loss_is_minus_log_of_one_minus_p():
    logits, labels = drawn_logits()
    p = probabilities(logits).gather(1, labels[:, None]).squeeze(1)
    torch.testing.assert_close(bounded(logits, labels), -(1 - p).log(), rtol=1e-12, atol=0)
    torch.testing.assert_close(REGULARIZERS["literal"](logits, labels), (1 - p).log(), rtol=1e-12, atol=0)


@pytest.mark.parametrize("gap", [17.0, 90.0, 1e4])
def test_the_bounded_loss_is_right_where_the_plain_formula_is_not(gap):
    logits = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)  # float32: 1 - p is 0
    loss = bounded(logits, torch.tensor([0]))
    loss.sum().backward()
    assert loss.item() == pytest.approx(gap - math.log(2), rel=1e-6)
    assert logits.grad.tolist() == [pytest.approx([1.0, -0.5, -0.5])]
    forgotten = bounded(torch.tensor([[-gap, 0.0, 0.0]]), torch.tensor([0]))
    assert forgotten.item() == pytest.approx(math.exp(-gap) / 2, rel=1e-5)


def test_at_chance_the_bounded_loss_is_a_share_of_gradient_reversal_and_confusion_has_its_minimum():
    logits, labels = torch.zeros(5, 6, dtype=torch.float64, requires_grad=True), torch.arange(5)
    gradient = {
        name: torch.autograd.grad(loss(logits, labels).sum(), logits)[0]
        for name, loss in REGULARIZERS.items()
    }
    torch.testing.assert_close(gradient["bounded"], gradient["reversal"] / 5)
    assert gradient["confusion"].abs().max() < 1e-15


def test_confusion_has_the_derived_gradient():
    logits, labels = drawn_logits()
    (found,) = torch.autograd.grad(REGULARIZERS["confusion"](logits, labels).sum(), logits)
    torch.testing.assert_close(found, probabilities(logits) - 1 / 6, rtol=0, atol=1e-10)


# ---- who gets which gradient


def outputs_of(loss, seed=3):
    width = C + sum(loss.widths.values())
    outputs = torch.randn(MODELS, 9, width, generator=generator(seed, "outputs"), dtype=torch.float64)
    examples = torch.stack([torch.randperm(N, generator=generator(m, "examples"))[:9] for m in range(MODELS)])
    return outputs.requires_grad_(), LABELS[examples], examples


def filled(loss):
    for name, value in loss.named_buffers():
        if name.startswith("heads"):
            source = generator(0, name)
            value.copy_(torch.randn(value.shape, generator=source, dtype=torch.float64))
    return loss


@pytest.mark.parametrize(("regularizer", "sign"), [("reversal", -1.0), ("bounded", None)])
def test_finite_differences_of_what_the_trunk_and_the_heads_get(regularizer, sign):
    loss = filled(loss_of(mode="unlearning", strength=0.5, regularizer=regularizer))
    outputs, targets, examples = outputs_of(loss)
    (gradient,) = torch.autograd.grad(loss(outputs, targets, examples).sum(), outputs)
    with torch.no_grad():
        for place in [(0, 1, C), (1, 4, C + 7), (2, 8, C + 9)]:  # features of both sites
            moved = [outputs.clone(), outputs.clone()]
            for one, step in zip(moved, (1e-6, -1e-6), strict=True):
                one[place] += step
            totals = [loss(one, targets, examples).sum() for one in moved]
            assert gradient[place].item() == pytest.approx(((totals[0] - totals[1]) / 2e-6).item(), abs=1e-7)
            if sign is not None:  # the cross-entropy of the heads, by hand
                parts = [head_losses(loss, one, targets, examples)[:, 0].sum() for one in moved]
                slope = ((parts[0] - parts[1]) / 2e-6).item()
                share = slope if place[2] < C + loss.widths["layer1"] else None
                if share is not None:
                    assert gradient[place].item() == pytest.approx(sign * 0.5 * share, abs=1e-7)


def head_losses(loss, outputs, targets, examples):
    """Mean cross-entropy of each network's heads at each site, one example after the other: (M, T)."""
    features = outputs[..., C:].split(list(loss.widths.values()), dim=-1)
    rows = []
    for m in range(MODELS):
        row = []
        for rows_of, head in zip(features, loss.heads, strict=True):
            each = []
            for b in range(outputs.shape[1]):
                own = slice(int(targets[m, b]) * COUNT, (int(targets[m, b]) + 1) * COUNT)
                logits = rows_of[m, b] @ head.weight[m, :, 0, own] + head.bias[m, 0, own]
                each.append(F.cross_entropy(logits, loss.labels[m, 0, examples[m, b]]))
            row.append(torch.stack(each).mean())
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("mode", ["probe", "unlearning", "joint"])
def test_a_head_goes_down_its_own_cross_entropy_in_every_mode(mode):
    loss = filled(loss_of(mode=mode, strength=MODES[mode], head=HeadRecipe(learning_rate=1e-4)))
    outputs, targets, examples = outputs_of(loss)
    before = {name: value.clone() for name, value in loss.named_buffers()}
    loss(outputs, targets, examples)
    loss.after_step(outputs.detach(), targets, examples)
    place = (1, 2, 0, 5)
    moved = []
    for step in (1e-6, -1e-6):
        twin = copy.deepcopy(loss)
        for name, value in twin.named_buffers():
            value.copy_(before[name])
        twin.heads[0].weight[place] += step
        moved.append(head_losses(twin, outputs.detach(), targets, examples)[1, 0])
    slope = ((moved[0] - moved[1]) / 2e-6).item()
    found = (loss.heads[0].weight[place] - before["heads.0.weight"][place]).item()
    assert found == pytest.approx(-1e-4 * slope, abs=1e-11)


def test_with_the_regularizer_alone_the_heads_and_the_class_head_get_exactly_nothing():
    loss = filled(loss_of(mode="unlearning", strength=0.5))
    model = tapped([0])[0]
    x, examples = INPUTS[None, :9], IDS[None, :9]
    loss = loss_of(TABLE[:1], mode="unlearning", strength=0.5)
    for head in loss.heads:
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator(0, "v"), dtype=torch.float64))
    outputs = model(x[0])[None]
    total = loss(outputs, LABELS[None, :9], examples)
    alone = loss_of(TABLE[:1])(outputs, LABELS[None, :9], examples)
    (total - alone).sum().backward()
    last = model.network.projector.logits
    assert last.weight.grad.abs().max() < 1e-15  # the class loss less itself
    assert model.network.encoder.layer1[1].weight.grad.abs().max() > 1e-3
    assert not any(buffer.requires_grad for buffer in loss.buffers())


# ---- whole trainings, against plain code with two backward passes


def by_hand(member, mode, strength, recipe, head, regularizer="bounded"):
    """One network by plain PyTorch: heads are layers of their own, two losses go backward one by one."""
    model = network(member)
    seen = {}
    for site in SITES:
        place = model.get_submodule(model.sites[site])
        place.register_forward_hook(lambda m, i, out, site=site: seen.update({site: out}))
    probes = {
        site: [nn.Linear(width, COUNT).double() for _ in range(C)]
        for site, width in zip(SITES, (8, 5), strict=True)
    }
    own = [p for layers in probes.values() for layer in layers for p in layer.parameters()]
    for p in own:
        nn.init.zeros_(p)
    rates = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay}
    trunk = torch.optim.SGD(model.parameters(), recipe.learning_rate, **rates)
    heads = torch.optim.SGD(own, head.learning_rate, momentum=head.momentum)
    per_epoch = N // recipe.batch
    stream = batches([member]).stream(recipe.batch)
    for step, batch in zip(range(recipe.total(per_epoch)), stream, strict=False):
        for optimizer, rate in ((trunk, recipe.learning_rate), (heads, head.learning_rate)):
            optimizer.param_groups[0]["lr"] = recipe.scheduled(rate, step, per_epoch)
        x, y, r = INPUTS[batch.examples[0]], LABELS[batch.examples[0]], TABLE[member, batch.examples[0]]

        def logits(features, site, y=y):
            return torch.stack([probes[site][c](row) for c, row in zip(y.tolist(), features, strict=True)])

        total = F.cross_entropy(model(x), y)
        features = dict(seen)
        for site in SITES:
            if mode == "joint":
                total = total + strength * F.cross_entropy(logits(features[site], site), r)
            if mode == "unlearning":
                p = logits(features[site], site).softmax(1).gather(1, r[:, None]).squeeze(1)
                plain = {"bounded": -(1 - p).log(), "reversal": p.log()}[regularizer]
                scale = COUNT if regularizer == "bounded" else 1
                total = total + strength * scale * plain.mean()
        gradients = torch.autograd.grad(total, list(model.parameters()))
        for _ in range(head.steps):
            heads.zero_grad()
            sum(F.cross_entropy(logits(features[site].detach(), site), r) for site in SITES).backward()
            heads.step()
        for p, gradient in zip(model.parameters(), gradients, strict=True):
            p.grad = gradient
        trunk.step()
    return model, probes


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(
    ("mode", "regularizer"),
    [("probe", "bounded"), ("joint", "bounded"), ("unlearning", "bounded"), ("unlearning", "reversal")],
)
def test_a_training_is_what_plain_code_with_two_backward_passes_does(mode, regularizer, steps):
    head = HeadRecipe(steps=steps)
    strength = MODES[mode]
    loss = loss_of(mode=mode, strength=strength, regularizer=regularizer, head=head)
    done = trained(loss)
    for member in range(MODELS):
        model, probes = by_hand(member, mode, strength, RECIPE, head, regularizer)
        near = {"rtol": 1e-9, "atol": 1e-10}
        assert_same(model.state_dict(), trunk_of(done, member), **near)
        for t, site in enumerate(SITES):
            weight = torch.cat([layer.weight for layer in probes[site]]).T
            torch.testing.assert_close(done.states[member][f"heads.{t}.weight"][:, 0], weight, **near)
            bias = torch.cat([layer.bias for layer in probes[site]])
            torch.testing.assert_close(done.networks[member].heads[t].bias[0, 0], bias, **near)


# ---- a probe leaves the network as it is


def images_and_cnns():
    images = torch.rand(N, 1, 8, 8, generator=generator(0, "images"))
    sizes = {"widths": (4, 6), "strides": (1, 2), "hidden": (), "classes": C}
    return images, [small_cnn(**sizes, generator=generator(s, "w")) for s in range(MODELS)]


@pytest.mark.parametrize("way", ["batched", "vmap", "loop"])
@pytest.mark.parametrize("sites", [["conv1"], ["encoder.conv1.0", "conv1", "embedding"]])
def test_a_probe_leaves_the_network_bit_for_bit_as_it_is(way, sites):
    images, plain = images_and_cnns()
    with_taps = [TappedNetwork(one, sites, images[:2]) for one in plain]
    seen = TensorBatches(images, LABELS.expand(MODELS, -1), range(MODELS), C)
    loss = RandomLabelLoss(with_taps[0], TABLE, COUNT)
    recipe = Recipe(epochs=4, batch=12, optimizer="sgd", learning_rate=0.1, weight_decay=1e-3, clip=1.0)
    expected = train(StackedNetwork(plain, way), seen, "cross_entropy", recipe)
    done = train(StackedNetwork(with_taps, way), seen, loss, recipe)
    assert done.history.equals(expected.history)
    for one, other in zip(done.networks, expected.networks, strict=True):
        for (name, value), same in zip(
            one.network.state_dict().items(), other.state_dict().values(), strict=True
        ):
            assert torch.equal(value, same), name
    assert all(head.weight.any() for head in done.networks[0].heads)


def test_more_steps_of_the_heads_move_only_the_heads_of_a_probe():
    one, many = (trained(loss_of(head=HeadRecipe(steps=steps))) for steps in (1, 4))
    for m in range(MODELS):
        for mine, same in zip(
            one.networks[m].network.parameters(), many.networks[m].network.parameters(), strict=True
        ):
            assert torch.equal(mine, same)
        assert many.states[m]["last"][1] < one.states[m]["last"][1]


def test_a_network_at_rest_has_heads_that_learn():
    recipe = Recipe(epochs=3, batch=12, optimizer="sgd", learning_rate=1e-30)
    done = trained(loss_of(), recipe=recipe)
    assert torch.equal(done.networks[1](INPUTS), network(1)(INPUTS))
    assert done.states[1]["last"][1] < math.log(COUNT)


# ---- stacks, sites, labellings


def test_networks_of_several_modes_and_strengths_are_those_trained_one_by_one():
    modes, strength = ["probe", "joint", "unlearning"], [0.0, 0.7, 0.3]
    together = trained(loss_of(mode=modes, strength=strength))
    for m in range(MODELS):
        alone = trained(loss_of(TABLE[[m]], mode=modes[m], strength=strength[m]), [m])
        assert_same(together.states[m], alone.states[0], rtol=1e-10, atol=1e-10)
        assert_same(together.networks[m].state_dict(), alone.networks[0].state_dict(), rtol=1e-10, atol=1e-10)


def test_networks_that_stop_one_by_one_take_their_heads_along():
    recipe = Recipe(epochs=40, batch=12, learning_rate=3e-2, stop_at=0.6, stop_after=2)
    together = trained(loss_of(mode="unlearning", strength=0.1), recipe=recipe)
    assert len(set(together.epochs)) > 1
    for m in range(MODELS):
        alone = trained(loss_of(TABLE[[m]], mode="unlearning", strength=0.1), [m], recipe=recipe)
        assert together.epochs[m] == alone.epochs[0]
        assert_same(together.states[m], alone.states[0], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("hidden", [None, 6])
@pytest.mark.parametrize("class_wise", [True, False])
def test_several_labellings_at_once_are_each_of_them_alone(hidden, class_wise):
    table = torch.stack([balanced_labels(IDS, COUNT, seed, LABELS) for seed in (7, 8, 9)])
    more = {"hidden": hidden, "seeds": [0], "class_wise": class_wise}
    together = trained(loss_of(table[None], **more), [0])
    for k in range(3):
        alone = trained(loss_of(table[[k]], **more), [0])
        for t in range(len(SITES)):
            for (name, value), own in zip(
                together.networks[0].heads[t].values().items(),
                alone.networks[0].heads[t].values().values(),
                strict=True,
            ):
                found = value[:, k] if "bias" in name else value[:, :, k]
                torch.testing.assert_close(found, own[:, 0] if "bias" in name else own[:, :, 0])


def test_the_trunk_gets_the_mean_over_labellings():
    table = torch.stack([TABLE, TABLE], 1)  # (M, 2, N), twice the same
    once, twice = (trained(loss_of(t, mode="unlearning", strength=0.3)) for t in (TABLE, table))
    for m in range(MODELS):
        assert_same(trunk_of(once, m), trunk_of(twice, m), rtol=1e-9, atol=1e-10)


def test_a_strength_for_each_site_and_sites_left_out_are_observed():
    loss = loss_of(mode="unlearning", strength={"embedding": 0.25})
    assert loss.weights.tolist() == [[0.0, 0.25 * COUNT]] * MODELS
    other = loss_of(mode="unlearning", strength={"layer1": [0.1, 0.2, 0.3], "embedding": 0.0})
    assert other.weights[:, 0].tolist() == pytest.approx([0.4, 0.8, 1.2])
    alone = loss_of(sites=["embedding"], mode="unlearning", strength=0.25)
    both, one = trained(loss), trained(alone, sites=["embedding"])
    for m in range(MODELS):
        assert_same(trunk_of(both, m), trunk_of(one, m), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("regularizer", "scale"), [("bounded", COUNT), ("literal", COUNT), ("reversal", 1), ("confusion", 1)]
)
def test_lambda_is_a_multiple_of_n_where_the_loss_shrinks_with_n(regularizer, scale):
    loss = loss_of(mode="unlearning", strength=0.5, regularizer=regularizer)
    assert loss.weights.tolist() == [[0.5 * scale] * 2] * MODELS
    assert loss_of(mode="joint").weights.tolist() == [[1.0, 1.0]] * MODELS
    assert loss_of(mode="joint", strength=0.5, regularizer=regularizer).weights[0].tolist() == [0.5, 0.5]


def test_many_classes_take_the_gathered_product_and_end_the_same(monkeypatch):
    flat = trained(loss_of(mode="unlearning", strength=0.3))
    monkeypatch.setattr(heads_module, "FLAT", 1)
    gathered = trained(loss_of(mode="unlearning", strength=0.3))
    for m in range(MODELS):
        assert_same(flat.states[m], gathered.states[m], rtol=1e-9, atol=1e-10)


def test_learning_random_labels_on_purpose_learns_them_and_unlearning_hides_them():
    sizes = {"inputs": D, "widths": (64, 6), "classes": C, "hidden": ()}
    wide = [
        TappedNetwork(mlp(**sizes, generator=generator(0, "w")).double(), ["embedding"], INPUTS)
        for _ in range(MODELS)
    ]
    table = TABLE[:1].expand(MODELS, -1).clone()
    how = {"mode": ["probe", "joint", "unlearning"], "strength": [0, 1, 0.3], "head": HeadRecipe(0.2)}
    loss = RandomLabelLoss(wide[0], table, COUNT, **how)
    recipe = Recipe(epochs=150, batch=24, optimizer="sgd", learning_rate=0.05, schedule="cosine")
    done = train(wide, batches(), loss, recipe)

    def accuracy(m):
        logits = done.networks[m].with_heads(INPUTS, LABELS)[1]["embedding"][:, 0]
        return (logits.argmax(-1) == table[m]).double().mean().item()

    probe, joint, unlearning = (accuracy(m) for m in range(MODELS))
    assert joint > 0.95
    assert joint - 0.1 > probe > unlearning + 0.1
    said = [(one(INPUTS).argmax(1) == LABELS).double().mean().item() for one in done.networks]
    assert said == [1.0] * 3


# ---- the class loss


@pytest.mark.parametrize("spread", ["others", "all"])
def test_label_smoothing_in_both_conventions(spread):
    loss = loss_of(smoothing=0.2, spread=spread)
    outputs, targets, examples = outputs_of(loss)
    hot = F.one_hot(targets, C).double()
    aimed = {"others": 0.8 * hot + (1 - hot) * 0.2 / (C - 1), "all": 0.8 * hot + 0.2 / C}[spread]
    expected = -(aimed * outputs[..., :C].log_softmax(-1)).sum(-1).mean(1)
    torch.testing.assert_close(loss(outputs, targets, examples), expected)


def test_the_batch_accuracy_is_that_of_the_class_logits():
    done = trained(loss_of(), recipe=Recipe(epochs=60, batch=12, learning_rate=3e-2))
    said = torch.stack([one(INPUTS).argmax(1) for one in done.networks])
    assert (said == LABELS).double().mean() > 0.5
    assert done.history.batch_accuracy.iloc[-1] > 0.5


# ---- looking on, checkpoints


def test_those_who_look_on_see_the_network_with_its_heads():
    seen = []

    def watch(epoch, member, one):
        logits, random = one.with_heads(INPUTS, LABELS)
        assert torch.equal(one(INPUTS), logits)
        seen.append((epoch, member, float(random["embedding"].detach().abs().max())))
        return [{"largest": seen[-1][2]}]

    done = trained(loss_of(), watch=watch, watch_at=[1])
    assert [row[:2] for row in seen] == [(epoch, m) for epoch in (0, 1, 3) for m in range(MODELS)]
    assert [row for *_, row in seen[:3]] == [0.0] * 3
    final = done.networks[1].with_heads(INPUTS, LABELS)[1]["embedding"].abs().max().item()
    assert seen[-2][2] == final > 0
    with pytest.raises(ValueError, match="keep_best='largest' keeps the best step of networks, but not"):
        trained(loss_of(), watch=watch, keep_best="largest")


class LostError(Exception):
    """The machine went away."""


def test_a_killed_training_goes_on_with_its_heads(tmp_path):
    def lose(done, epochs):
        if done == 2:
            raise LostError

    more = {"mode": "unlearning", "strength": 0.3, "hidden": 4, "seeds": range(MODELS)}
    straight = trained(loss_of(**more))
    options = {"checkpoint": tmp_path / "run.pt", "checkpoint_every": 1}
    with pytest.raises(LostError):
        trained(loss_of(**more), progress=lose, **options)
    done = trained(loss_of(**more), **options)
    for m in range(MODELS):
        assert_same(done.states[m], straight.states[m], rtol=0, atol=0)
        assert_same(done.networks[m].state_dict(), straight.networks[m].state_dict(), rtol=0, atol=0)
    for other in (loss_of(TABLE.flip(0), **more), loss_of(**more, head=HeadRecipe(steps=2))):
        with pytest.raises(ValueError, match="belongs to another training: objective differ"):
            trained(other, **options)


# ---- bad input


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"strength": 0.5},
            ValueError,
            "strength=0.5 for network 0 in mode 'probe', whose heads only",
        ),
        ({"mode": "unlearning"}, ValueError, "mode='unlearning' needs a strength: lambda as a multiple of n"),
        ({"mode": "unlearning", "strength": -1}, ValueError, "strength=-1; .*negative lambda rewards memor"),
        ({"mode": "unlearning", "strength": math.nan}, ValueError, "strength=nan; allowed: finite numbers"),
        ({"mode": "unlearning", "strength": math.inf}, ValueError, "strength=inf; allowed: finite numbers"),
        ({"mode": "joint", "strength": -0.5}, ValueError, "strength=-0.5; allowed: finite numbers >= 0"),
        ({"mode": "joint", "strength": True}, ValueError, "strength=True; allowed: finite numbers"),
        ({"mode": "joint", "strength": "1"}, ValueError, "strength='1'; allowed: finite numbers"),
        (
            {"mode": "joint", "strength": [1.0, 2.0]},
            ValueError,
            "2 strengths for 3 networks; give one",
        ),
        ({"mode": "joint", "strength": {"layer9": 1}}, KeyError, "no head at 'layer9'; .*layer1, embedding"),
        ({"mode": "prob"}, ValueError, "unknown mode 'prob'; did you mean 'probe'.*probe, joint, unlearning"),
        ({"mode": ["probe"]}, ValueError, "1 modes for 3 networks; give one, or one for each"),
        ({"regularizer": "bound"}, ValueError, "unknown regularizer 'bound'; .*bounded, reversal, confusion"),
        ({"smoothing": 1.0}, ValueError, r"smoothing=1.0; allowed: a number in \[0, 1\)"),
        ({"smoothing": 0.9}, ValueError, "smoothing=0.9 on the others of 3 classes; allowed: up to 0.666"),
        ({"spread": "some"}, ValueError, "unknown spread 'some'; choose one of others, all"),
        ({"labels": TABLE.int()}, TypeError, "random labels are torch.int32; allowed: int64 in 0..3"),
        ({"labels": TABLE.tolist()}, TypeError, "random labels: got a list; allowed: a tensor"),
        (
            {"labels": TABLE[0]},
            ValueError,
            r"random labels have shape \(48,\); allowed: \(M, N\)",
        ),
        ({"labels": TABLE + 1}, ValueError, r"random label 4 at \(0, \d+\) is outside 0..3"),
        ({"labels": TABLE - 1}, ValueError, r"random label -1 at \(0, \d+\) is outside 0..3"),
        ({"hidden": 4}, ValueError, "0 seeds for the hidden layers of 3 networks; give one for each"),
    ],
)
def test_what_cannot_be_a_loss_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        loss_of(**given)


def test_one_random_label_is_none():
    with pytest.raises(ValueError, match="n=1; need at least two random labels"):
        RandomLabelLoss(tapped([0])[0], 0 * TABLE, 1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"steps": 0}, "steps of the heads=0; allowed: a whole number, 1 or more"),
        ({"learning_rate": 0}, "heads with learning_rate=0, .*allowed: learning_rate > 0"),
        ({"learning_rate": math.inf}, "learning_rate of the heads=inf; allowed: a finite number"),
        ({"momentum": 1.0}, r"momentum in \[0, 1\)"),
        ({"weight_decay": -1.0}, "weight_decay >= 0"),
    ],
)
def test_heads_that_cannot_be_trained_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        HeadRecipe(**given)


def test_labels_that_do_not_cover_the_examples_are_refused():
    for table in (TABLE[:, :40], torch.cat([TABLE, TABLE], 1)):
        with pytest.raises(ValueError, match=f"random labels of {table.shape[1]} examples for 48; give one"):
            trained(loss_of(table))


def test_labels_of_another_number_of_networks_are_refused():
    with pytest.raises(
        ValueError, match=f"random labels of {MODELS - 1} networks for {MODELS}; give one table"
    ):
        trained(loss_of(TABLE[1:]))


def test_examples_without_a_number_are_refused():
    draws = FreshBatches(
        lambda step: (INPUTS[:9].expand(MODELS, -1, -1), LABELS[:9].expand(MODELS, -1)),
        range(MODELS),
        classes=C,
    )
    with pytest.raises(TypeError, match=r"the batches do not say which examples they hold; .*\(x, y, id\)"):
        train(tapped(), draws, loss_of(), RECIPE)


def test_mixed_images_are_refused():
    images, plain = images_and_cnns()
    with_taps = [TappedNetwork(one, ["conv1"], images[:2]) for one in plain]

    def mix(x, y, classes, source):
        return x, F.one_hot(y, classes).float()

    views = LabelledViews(images, LABELS.expand(MODELS, -1), tuple(range(MODELS)), C, mix=mix)
    with pytest.raises(ValueError, match=r"a mixed image \(mixup, cutmix\) has no random label of its own"):
        train(with_taps, views, RandomLabelLoss(with_taps[0], TABLE, COUNT), RECIPE)


def test_networks_without_taps_and_classes_without_logits_are_refused():
    with pytest.raises(ValueError, match="the networks have 3 outputs; allowed: 16, class logits and"):
        train([network(m) for m in range(MODELS)], batches(), loss_of(), RECIPE)
    outputs, targets, examples = outputs_of(loss_of())
    with pytest.raises(ValueError, match=r"class 3 for networks with 3 class logits; allowed: 0\.\.2"):
        loss_of().check(outputs[0], Batch(outputs, targets + 1, examples), N)
    with pytest.raises(TypeError, match="a StagedNetwork gives no features; allowed: a TappedNetwork"):
        RandomLabelLoss(network(), TABLE, COUNT)
    with pytest.raises(TypeError, match="a StagedNetwork gives no features; allowed: a TappedNetwork"):
        loss_of().dress(network(), trained(loss_of()).states[0])


def test_a_loss_that_is_not_finite_says_which():
    modes = ["probe", "unlearning", "probe"]
    done = trained(loss_of(mode=modes, strength=[0, 1e307, 0], regularizer="reversal"))
    assert list(done.failed) == [1]
    assert "regularizer" in str(done.failed[1])
    assert "alpha or lambda 1e+307, 1e+307" in str(done.failed[1])
    assert "regularizer='bounded' does not diverge by itself" in str(done.failed[1])


def test_heads_that_are_not_finite_fail_their_network():
    inputs = INPUTS.expand(MODELS, -1, -1).clone()
    loss = loss_of()
    loss.heads[0].bias[2, 0, 0] = torch.inf
    seen = TensorBatches(inputs, LABELS.expand(MODELS, -1), tuple(range(MODELS)), C, own=True)
    done = train(tapped(), seen, loss, RECIPE)
    assert list(done.failed) == [2]
    assert "the loss of the heads first (bounded" in str(done.failed[2])


def test_a_trunk_that_hears_of_the_heads_late_is_that_of_a_probe_until_then():
    steps = RECIPE.epochs * (N // RECIPE.batch)
    late, probe = loss_of(mode="unlearning", strength=0.5, begin=steps - 1), loss_of()
    short = {"recipe": replace(RECIPE, steps=steps - 1)}
    assert_same(trunk_of(trained(late, **short), 0), trunk_of(trained(probe, **short), 0), rtol=0, atol=0)
    ends = [trunk_of(trained(loss), 0)["encoder.layer1.1.weight"] for loss in (late, probe)]
    assert float((ends[0] - ends[1]).abs().max()) > 1e-8
    with pytest.raises(ValueError, match="begin=-1; allowed: a whole number, 0 or more"):
        loss_of(begin=-1)


def test_only_the_heads_of_a_network_with_rate_0_learn():
    done = trained(loss_of(), recipe=replace(RECIPE, learning_rate=[0.1, 0.0, 0.0]))
    assert_same(trunk_of(done, 1), network(1).state_dict(), rtol=0, atol=0)
    assert float(done.networks[1].heads[0].weight.abs().max()) > 0.01
    assert_same(trunk_of(done, 0), trunk_of(trained(loss_of()), 0), rtol=1e-12, atol=1e-12)


def test_networks_that_stop_take_their_rates_along():
    recipe = Recipe(
        epochs=40, batch=12, optimizer="sgd", learning_rate=[0.2, 0.02, 0.1], stop_at=0.6, stop_after=2
    )
    together = trained(loss_of(), recipe=recipe)
    assert len(set(together.epochs)) > 1
    for m in range(MODELS):
        alone = trained(loss_of(TABLE[[m]]), [m], recipe=recipe.take([m]))
        assert together.epochs[m] == alone.epochs[0]
        assert_same(trunk_of(together, m), trunk_of(alone, 0), rtol=1e-8, atol=1e-8)


def test_heads_cannot_act_where_the_network_lets_them_look_on_alone():
    made = mlp(inputs=6, widths=(5,), classes=3, hidden=(), generator=generator(0, "acting"))
    tapped = TappedNetwork(made, ["embedding"], torch.randn(2, 6), ())
    labels = torch.zeros(1, 4, dtype=torch.int64)
    RandomLabelLoss(tapped, labels, 2)
    with pytest.raises(ValueError, match=r"act at 'embedding'.*allowed: none of its sites"):
        RandomLabelLoss(tapped, labels, 2, mode="joint")
