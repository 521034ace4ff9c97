"""A recipe: learning rates, optimizers, and what it refuses."""

import math

import pytest
import torch

from memorization.training.recipe import Recipe


def test_a_constant_rate_stays():
    assert {Recipe(epochs=4).rate(step, 5) for step in range(20)} == {1e-3}


def test_a_cosine_goes_from_the_full_rate_to_nearly_none():
    rates = [Recipe(epochs=10, schedule="cosine").rate(step, 5) for step in range(50)]
    assert rates[0] == 1e-3
    assert rates[25] == pytest.approx(5e-4)
    assert rates[-1] < 1e-5
    assert rates == sorted(rates, reverse=True)


def test_steps_lower_the_rate_tenfold_after_each_third():
    recipe = Recipe(epochs=9, schedule="step")
    assert [recipe.rate(epoch * 5, 5) for epoch in range(9)] == pytest.approx(
        [1e-3] * 3 + [1e-4] * 3 + [1e-5] * 3
    )


def test_a_warmup_rises_linearly():
    recipe = Recipe(epochs=4, warmup=2)
    assert [recipe.rate(step, 2) for step in range(5)] == pytest.approx([2.5e-4, 5e-4, 7.5e-4, 1e-3, 1e-3])


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_the_optimizers_are_pytorchs_own(name):
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    recipe = Recipe(optimizer=name, learning_rate=0.1, weight_decay=0.01, momentum=0.5)
    built = recipe.build([torch.ones(2, requires_grad=True)])
    assert type(built) is kinds[name]
    assert built.param_groups[0]["lr"] == 0.1
    assert built.param_groups[0]["weight_decay"] == 0.01


def test_frozen_parameters_are_left_out_and_there_must_be_others():
    free, frozen = torch.ones(2, requires_grad=True), torch.ones(3)
    assert Recipe().build([free, frozen]).param_groups[0]["params"] == [free]
    with pytest.raises(
        ValueError, match="no parameter of the networks has requires_grad=True: nothing would be"
    ):
        Recipe().build([frozen])


def test_an_incomplete_batch_is_no_step():
    assert Recipe(batch=8).steps(23) == 2


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "lars"}, "optimizer='lars'; allowed: adam, adamw, sgd"),
        ({"schedule": "poly"}, "schedule='poly'; allowed: constant, cosine, step"),
        ({"precision": "fp16"}, "precision='fp16'; allowed: float32, bf16"),
        ({"epochs": 0}, "epochs=0: no optimizer step would be taken; allowed: 1 or more"),
        ({"batch": 0}, "batch=0: no optimizer step would be taken"),
        ({"learning_rate": 0}, "learning_rate=0; allowed: a number above 0"),
        ({"learning_rate": math.nan}, "learning_rate=nan; allowed: a number above 0"),
        ({"weight_decay": -1}, "weight_decay=-1, warmup=0, momentum=0.9; allowed: weight_decay >= 0"),
        ({"momentum": 1}, r"momentum in \[0, 1\)"),
        ({"stop_at": 1.5}, r"stop_at=1.5; allowed: an accuracy in \(0, 1\], or None"),
    ],
)
def test_values_that_cannot_train_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Recipe(**wrong)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 1.5}, r"epochs=1.5 \(float\); allowed: a whole number \(int\)"),
        ({"batch": 2.5}, r"batch=2.5 \(float\); allowed: a whole number"),
        ({"epochs": True}, r"epochs=True \(bool\); allowed: a whole number"),
        ({"stop_after": "10"}, r"stop_after='10' \(str\); allowed: a whole number"),
        ({"warmup": 0.5}, r"warmup=0.5 \(float\); allowed: a whole number"),
        ({"learning_rate": "1e-3"}, r"learning_rate='1e-3' \(str\); allowed: a number"),
        ({"learning_rate": None}, r"learning_rate=None \(NoneType\); allowed: a number"),
        ({"stop_at": True}, r"stop_at=True \(bool\); allowed: a number"),
        ({"compiled": 1}, r"compiled=1 \(int\); allowed: True or False"),
    ],
)
def test_values_of_another_type_are_refused(wrong, message):
    with pytest.raises(TypeError, match=message):
        Recipe(**wrong)


def test_a_weight_decay_that_is_not_a_number_is_refused():
    with pytest.raises(
        ValueError, match=r"weight_decay=nan, warmup=0, momentum=0.9; allowed: weight_decay >= 0"
    ):
        Recipe(weight_decay=math.nan)
