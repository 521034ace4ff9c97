"""AdamW with warm-up, cosine and clipping."""

import math

import pytest
import torch
from torch import nn

from memorization.training.train import TrainingError, WarmDescent, WarmRecipe


def parameter(*values: float) -> nn.Parameter:
    return nn.Parameter(torch.tensor(values))


def test_the_learning_rate_rises_by_steps_and_falls_to_zero():
    recipe = WarmRecipe(epochs=1, learning_rate=2.0, warmup=4)
    rates = [recipe.rate(step, 12) for step in range(12)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert rates[8] == pytest.approx(1.0)
    assert rates[11] == pytest.approx(1 + math.cos(math.pi * 7 / 8))
    assert recipe.rate(12, 12) == pytest.approx(0)


def test_a_descent_takes_the_steps_of_adamw_on_clipped_gradients():
    ours, theirs = parameter(3.0, -4.0), parameter(3.0, -4.0)
    recipe = WarmRecipe(epochs=5, learning_rate=0.1, weight_decay=0.2, warmup=2, clip=0.5)
    descent = WarmDescent([ours], recipe, 1)
    optimizer = torch.optim.AdamW([theirs], lr=0.1, weight_decay=0.2)
    for step in range(5):
        descent.down((ours**3).sum())
        optimizer.param_groups[0]["lr"] = 0.1 * min((step + 1) / 2, 1)
        if step >= 2:
            optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * (step - 2) / 3))
        optimizer.zero_grad()
        (theirs**3).sum().backward()
        theirs.grad *= 0.5 / max(0.5, theirs.grad.norm().item())
        optimizer.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_an_epoch_has_a_mean_loss_of_its_own():
    weight = parameter(1.0)
    descent = WarmDescent([weight], WarmRecipe(epochs=2, learning_rate=1e-9, warmup=0), 2)
    for value in (1.0, 3.0):
        descent.down(value * weight.sum())
    assert descent.end_epoch()["loss"] == pytest.approx(2)
    descent.down(7 * weight.sum())
    assert descent.end_epoch()["loss"] == pytest.approx(7)


@pytest.mark.parametrize("bad", [1, 57, 130])
def test_a_loss_that_is_no_number_stops_with_its_step(bad):
    weight = parameter(1.0)
    descent = WarmDescent([weight], WarmRecipe(epochs=1, learning_rate=1e-9, warmup=0), 200)

    def train() -> None:
        for step in range(1, 201):
            descent.down(weight.sum() * (math.nan if step == bad else 1.0))
        descent.end_epoch()

    with pytest.raises(TrainingError, match=rf"became nan at step {bad} of 200; lower the learning rate"):
        train()
    assert descent.step < bad + 60


def test_a_bad_loss_of_the_second_epoch_is_counted_from_the_beginning():
    weight = parameter(1.0)
    descent = WarmDescent([weight], WarmRecipe(epochs=2, learning_rate=1e-9, warmup=0), 3)
    for _ in range(3):
        descent.down(weight.sum())
    descent.end_epoch()
    descent.down(weight.sum() * math.inf)
    with pytest.raises(TrainingError, match=r"became inf at step 4 of 6"):
        descent.end_epoch()


def test_frozen_parameters_stay():
    moving, frozen = parameter(1.0), parameter(1.0).requires_grad_(False)
    descent = WarmDescent([moving, frozen], WarmRecipe(epochs=1, learning_rate=0.1, warmup=0), 1)
    descent.down((moving * frozen).sum())
    assert frozen.item() == 1.0
    assert moving.item() < 1.0


def test_a_warmup_of_the_whole_training_is_refused():
    with pytest.raises(ValueError, match=r"warmup=10000 steps, but 30 epochs have only 120"):
        WarmDescent([parameter(1.0)], WarmRecipe(epochs=30), 4)


def test_nothing_to_train_is_refused():
    with pytest.raises(ValueError, match="nothing would be trained"):
        WarmDescent([parameter(1.0).requires_grad_(False)], WarmRecipe(epochs=1, warmup=0), 1)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"epochs": 0}, "epochs=0"),
        ({"warmup": -1}, "warmup=-1; allowed"),
        ({"learning_rate": 0.0}, "learning_rate=0.0; allowed: a finite number above 0"),
        ({"clip": math.inf}, "clip=inf"),
        ({"weight_decay": -0.1}, "weight_decay=-0.1; allowed"),
    ],
)
def test_a_recipe_that_cannot_train_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        WarmRecipe(**options)
