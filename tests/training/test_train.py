"""The training loop: stacked as alone, resumed as undisturbed."""

import copy
from functools import partial

import pytest
import torch
from torch import nn

from memorization.draws import generator
from memorization.models.networks import small_cnn
from memorization.models.stacked import StackedNetwork
from memorization.training.batches import LabelledViews
from memorization.training.objectives import mean_squared_error
from memorization.training.recipe import Recipe
from memorization.training.train import TrainingError, train

EXAMPLES, CLASSES = 24, 3


def shift(images, draws, strength, amount=1.0):
    """A policy for tests: a random brightness for each view."""
    return (images + amount * strength.view(-1, 1, 1, 1) * (draws.uniform()[:, :, None, None] - 0.5)).clamp(
        0, 1
    )


def networks(models=3):
    sizes = {"widths": (4, 6), "strides": (1, 2), "hidden": (8,), "classes": CLASSES}
    return [small_cnn(**sizes, generator=generator(seed, "weights")).double() for seed in range(models)]


def views(models=3, **more):
    images = torch.rand(EXAMPLES, 1, 4, 4, generator=generator(0, "images"), dtype=torch.float64)
    labels = [
        torch.randint(CLASSES, (EXAMPLES,), generator=generator(seed, "labels")) for seed in range(models)
    ]
    chosen = {"policy": shift, "strength": torch.linspace(0, 1, models).double(), **more}
    return LabelledViews(images, torch.stack(labels), tuple(range(models)), CLASSES, **chosen)


RECIPE = Recipe(epochs=6, batch=8, learning_rate=1e-2)


def weights(network):
    return torch.cat([value.double().flatten() for value in network.state_dict().values()])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_a_stack_trains_like_its_networks_one_by_one(optimizer):
    recipe = Recipe(epochs=4, batch=8, learning_rate=1e-2, optimizer=optimizer, weight_decay=1e-3)
    bank = torch.tensor([0, 1, 3])
    stacked = train(networks(), views(bank=bank), "mse", recipe)
    for m in range(3):
        alone = train([networks()[m]], views(bank=bank).take([m]), "mse", recipe)
        torch.testing.assert_close(
            weights(stacked.networks[m]), weights(alone.networks[0]), rtol=1e-7, atol=1e-9
        )
        mine = stacked.history.query("member == @m")
        assert mine["batch_accuracy"].tolist() == alone.history["batch_accuracy"].tolist()


def test_the_loop_does_what_a_plain_loop_does():
    ours = train(networks(1), views(1, policy=None), "mse", RECIPE).networks[0]
    plain, data = networks(1)[0].train(), views(1)
    optimizer = torch.optim.Adam(plain.parameters(), lr=1e-2)
    for epoch in range(RECIPE.epochs):
        for step in data.order(epoch, 8)[0]:
            target = nn.functional.one_hot(data.labels[0, step], CLASSES).double()
            loss = nn.functional.mse_loss(plain(data.images[step]), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    torch.testing.assert_close(weights(ours), weights(plain), rtol=1e-7, atol=1e-9)


def test_the_networks_that_were_given_are_not_changed():
    given = networks(2)
    before = [copy.deepcopy(network.state_dict()) for network in given]
    train(given, views(2), "mse", RECIPE)
    for network, state in zip(given, before, strict=True):
        assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


class LostError(Exception):
    """The machine went away."""


def lose_at(epoch):
    def progress(done, epochs):
        if done == epoch:
            raise LostError

    return progress


@pytest.mark.parametrize("lost_at", [1, 10, 21])
def test_a_lost_and_resumed_training_equals_an_undisturbed_one(tmp_path, lost_at):
    def rows(epoch, member, network):
        return [{"norm": weights(network).norm().item()}]

    options = {"watch": rows, "watch_at": [2, 4], "checkpoint_every": 2}
    recipe = Recipe(epochs=24, batch=8, learning_rate=1e-2, stop_at=0.75, stop_after=2)
    undisturbed = train(networks(), views(), "mse", recipe, **options)
    path = tmp_path / "run.pt"
    with pytest.raises(LostError):
        train(networks(), views(), "mse", recipe, checkpoint=path, progress=lose_at(lost_at), **options)
    resumed = train(networks(), views(), "mse", recipe, checkpoint=path, **options)
    assert resumed.history.equals(undisturbed.history)
    assert resumed.watched.equals(undisturbed.watched)
    assert resumed.epochs == undisturbed.epochs
    assert len(set(resumed.epochs)) > 1  # some stopped before the others
    for one, other in zip(resumed.networks, undisturbed.networks, strict=True):
        assert torch.equal(weights(one), weights(other))


def test_a_finished_training_can_be_prolonged(tmp_path):
    path = tmp_path / "run.pt"
    train(networks(), views(), "mse", Recipe(epochs=3, batch=8), checkpoint=path)
    longer = train(networks(), views(), "mse", Recipe(epochs=5, batch=8), checkpoint=path)
    straight = train(networks(), views(), "mse", Recipe(epochs=5, batch=8))
    assert longer.history.equals(straight.history)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    train(networks(), views(), "mse", RECIPE, checkpoint=path)
    with pytest.raises(
        ValueError, match=r"belongs to another training: recipe differ; give another file, or delete"
    ):
        train(networks(), views(), "mse", Recipe(epochs=6, batch=4), checkpoint=path)
    with pytest.raises(ValueError, match=r"belongs to another training: data differ"):
        train(networks(), views(bank=torch.tensor([5])), "mse", RECIPE, checkpoint=path)


def test_a_damaged_checkpoint_says_what_to_do(tmp_path):
    path = tmp_path / "run.pt"
    path.write_bytes(b"half a file")
    with pytest.raises(
        RuntimeError, match=r"run\.pt cannot be read as a checkpoint .*; delete it to begin anew"
    ):
        train(networks(), views(), "mse", RECIPE, checkpoint=path)


def test_watching_sees_the_untrained_network_chosen_epochs_and_the_last():
    seen = train(
        networks(2), views(2), "mse", RECIPE, watch=lambda e, m, n: [{"training": n.training}], watch_at=[2]
    ).watched
    assert seen[["epoch", "member"]].values.tolist() == [[0, 0], [0, 1], [2, 0], [2, 1], [6, 0], [6, 1]]
    assert not seen["training"].any()


def test_watching_changes_nothing():
    quiet = train(networks(2), views(2), "mse", RECIPE)
    watched = train(
        networks(2), views(2), "mse", RECIPE, watch=lambda e, m, n: [{"x": n.train() is n}], watch_at=range(6)
    )
    assert torch.equal(weights(quiet.networks[0]), weights(watched.networks[0]))


def test_a_network_that_interpolates_stops_and_the_others_go_on():
    recipe = Recipe(epochs=40, batch=8, learning_rate=1e-2, stop_at=1.0, stop_after=3)
    done = train(networks(2), views(2, strength=torch.tensor([0.0, 60.0]).double()), "mse", recipe)
    assert done.epochs[0] < done.epochs[1] == 40
    last = done.history.query("member == 0").tail(3)
    assert (last["batch_accuracy"] == 1).all()
    alone = train(
        networks(2)[1:], views(2, strength=torch.tensor([0.0, 60.0]).double()).take([1]), "mse", recipe
    )
    torch.testing.assert_close(weights(done.networks[1]), weights(alone.networks[0]), rtol=1e-6, atol=1e-8)


def breaking(member, call):
    """The squared error, but not a number for one network at one call."""
    calls = []

    def objective(outputs, labels, examples):
        loss = mean_squared_error(outputs, labels, examples)
        calls.append(len(loss))
        spoilt = torch.ones(len(loss))
        if len(calls) == call:
            spoilt[member] = float("nan")
        return loss * spoilt

    return objective


@pytest.mark.parametrize("way", ["loop", "batched"])
def test_a_network_whose_loss_is_not_a_number_fails_and_the_others_go_on(way):
    done = train(StackedNetwork(networks(3), way), views(3), breaking(1, 8), RECIPE)
    message = r"the loss of network 1 became nan at step 8 \(epoch 3\); lower the learning rate"
    assert list(done.failed) == [1]
    with pytest.raises(TrainingError, match=message):
        raise done.failed[1]
    assert done.networks[1] is None
    undisturbed = train(StackedNetwork(networks(3), way), views(3), "mse", RECIPE)
    for m in (0, 2):
        torch.testing.assert_close(
            weights(done.networks[m]), weights(undisturbed.networks[m]), rtol=1e-7, atol=1e-9
        )
    assert done.history.query("member == 0")["epoch"].tolist() == [1, 2, 3, 4, 5, 6]
    undisturbed.raise_failed()
    with pytest.raises(TrainingError, match=message):
        done.raise_failed()


def test_a_training_of_failed_networks_alone_stops():
    with pytest.raises(TrainingError, match=r"network 0 became nan at step 8 \(epoch 3\)"):
        train(networks(1), views(1), breaking(0, 8), RECIPE)


def test_half_precision_arithmetic_keeps_weights_and_losses_in_float32():
    recipe = Recipe(epochs=2, batch=8, precision="bf16")
    images = views(2)
    data = LabelledViews(images.images.float(), images.labels, images.seeds, CLASSES)
    done = train([network.float() for network in networks(2)], data, "mse", recipe)
    assert {p.dtype for p in done.networks[0].parameters()} == {torch.float32}
    assert done.history["loss"].between(0.01, 1).all()


def test_a_batch_larger_than_the_examples_is_refused():
    with pytest.raises(
        ValueError, match=r"batch=25 is larger than the 24 examples.*no optimizer step would be taken"
    ):
        train(networks(1), views(1), "mse", Recipe(epochs=1, batch=25))


def test_one_seed_per_network_is_needed():
    with pytest.raises(ValueError, match="3 networks but batches for 2; give one seed per network"):
        train(networks(3), views(2), "mse", RECIPE)


def test_uint8_images_are_scaled():
    whole = (views(1).images * 255).to(torch.uint8)
    data = LabelledViews(whole, views(1).labels, (0,), CLASSES)
    seen, _ = data.batch(torch.arange(4)[None], 0)
    torch.testing.assert_close(seen[0], whole[:4].float() / 255)


def test_a_stack_may_be_given_ready_made():
    stack = StackedNetwork(networks(2), "loop")
    one, other = train(stack, views(2), "mse", RECIPE), train(networks(2), views(2), "mse", RECIPE)
    torch.testing.assert_close(weights(one.networks[1]), weights(other.networks[1]), rtol=1e-7, atol=1e-9)


def test_a_checkpoint_of_a_longer_training_is_refused(tmp_path):
    path = tmp_path / "run.pt"
    train(networks(), views(), "mse", Recipe(epochs=5, batch=8), checkpoint=path)
    with pytest.raises(
        ValueError, match=r"run\.pt holds 5 epochs, 3 were asked for; give another file, or delete"
    ):
        train(networks(), views(), "mse", Recipe(epochs=3, batch=8), checkpoint=path)


def test_one_flipped_bit_of_a_checkpoint_is_found(tmp_path):
    path = tmp_path / "run.pt"
    train(networks(), views(), "mse", Recipe(epochs=2, batch=8), checkpoint=path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match=r"its checksum does not fit\); delete it to begin anew"):
        train(networks(), views(), "mse", Recipe(epochs=4, batch=8), checkpoint=path)


def test_a_checkpoint_knows_what_a_policy_was_called_with(tmp_path):
    path = tmp_path / "run.pt"
    train(networks(), views(policy=partial(shift)), "mse", RECIPE, checkpoint=path)
    with pytest.raises(ValueError, match="belongs to another training: views differ"):
        train(networks(), views(policy=partial(shift, amount=2.0)), "mse", RECIPE, checkpoint=path)


def test_frozen_parameters_stay_as_they_are():
    frozen = networks(2)
    for network in frozen:
        network.encoder.conv1[0].weight.requires_grad_(False)
    done = train(frozen, views(2), "mse", RECIPE).networks
    for before, after in zip(frozen, done, strict=True):
        assert torch.equal(before.encoder.conv1[0].weight, after.encoder.conv1[0].weight)
        assert not torch.equal(before.encoder.conv2[0].weight, after.encoder.conv2[0].weight)
    with pytest.raises(
        ValueError, match="is frozen in some networks only; freeze it in all of a stack or in none"
    ):
        train([frozen[0], networks(2)[1]], views(2), "mse", RECIPE)
