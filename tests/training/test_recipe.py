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


def test_a_ramped_cosine_is_half_a_cosine_over_all_steps_times_the_ramp_of_the_warmup():
    recipe = Recipe(epochs=4, learning_rate=0.5, schedule="ramped_cosine", warmup=1)
    halves = [0.25 * (1 + math.cos(math.pi * step / 20)) for step in range(20)]
    ramp = [0.2, 0.4, 0.6, 0.8, *[1.0] * 16]
    expected = [half * share for half, share in zip(halves, ramp, strict=True)]
    assert [recipe.rate(step, 5) for step in range(20)] == pytest.approx(expected, rel=1e-12)
    assert Recipe(epochs=4, schedule="ramped_cosine").rate(0, 5) == 1e-3


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


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"optimizer": "lars"}, "unknown optimizer 'lars'; choose one of adam, adamw, sgd"),
        (
            {"schedule": "poly"},
            "unknown schedule 'poly'; choose one of constant, cosine, ramped_cosine, step",
        ),
        ({"precision": "fp16"}, "unknown precision 'fp16'.*choose one of float32, bf16"),
        ({"epochs": 0}, "epochs=0: no optimizer step would be taken; allowed: 1 or more"),
        ({"batch": 0}, "batch=0: no optimizer step would be taken"),
        ({"learning_rate": 0}, "learning_rate=0; allowed: a number above 0"),
        ({"learning_rate": math.nan}, "learning_rate=nan; allowed: a number above 0"),
        ({"weight_decay": -1}, "weight_decay=-1, warmup=0, momentum=0.9; allowed: weight_decay >= 0"),
        ({"momentum": 1}, r"momentum in \[0, 1\)"),
        ({"stop_at": 1.5}, r"stop_at=1.5; allowed: an accuracy in \(0, 1\], or None"),
        ({"steps": -1}, "steps=-1; allowed: a whole number, 0 or more, or None"),
        ({"steps": 1.5}, "steps=1.5; allowed: a whole number, 0 or more"),
        ({"clip": math.inf}, "clip=inf; allowed: a finite number above 0, or None"),
        ({"warmup": 1, "warmup_steps": 10}, "warmup=1 epochs and 10 steps; give one of them"),
        ({"learning_rate": [0.1, -0.1]}, r"learning_rate=\[0.1, -0.1\]; allowed: a number above 0 for each"),
        ({"learning_rate": 0.0}, "learning_rate=0.0; allowed: a number above 0$"),
        ({"decay_on": "matrices"}, "unknown decay_on 'matrices'; choose one of all, weights"),
        ({"optimizer": "adam", "learning_rate": [0.1, 0.2]}, "optimizer='adam' takes one rate and one decay"),
        (
            {"optimizer": "adamw", "weight_decay": [0.1, 0.2]},
            "optimizer='adamw' takes one rate and one decay",
        ),
        ({"learning_rate": 2.0, "weight_decay": 0.5}, "must be below 1: weights would flip"),
        ({"optimizer": "sgd", "learning_rate": [0.1, 2.0], "weight_decay": 0.5}, "must be below 1"),
        ({"optimizer": "sgd", "learning_rate": [0.1, 2.0], "weight_decay": [0.0, 0.5]}, "must be below 1"),
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
        ({"learning_rate": []}, r"learning_rate=\[\] \(list\); allowed: a number, or one for each network"),
        ({"learning_rate": [0.1, "x"]}, r"allowed: a number, or one for each network"),
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


def test_rate_and_decay_are_multiplied_network_by_network():
    Recipe(optimizer="sgd", learning_rate=[4.0, 0.1], weight_decay=[0.0, 0.5])


def test_adam_takes_one_rate_given_for_each_network():
    built = Recipe(learning_rate=[0.1, 0.1], weight_decay=[0.0, 0.0]).build(
        [torch.ones(2, 3, requires_grad=True)]
    )
    assert built.param_groups[0]["lr"] == 0.1


def test_as_many_rates_as_networks_are_needed():
    with pytest.raises(
        ValueError, match="2 numbers as learning_rate of 3 networks; give one, or one for each"
    ):
        Recipe(optimizer="sgd", learning_rate=[0.1, 0.2]).build([torch.ones(3, 2, requires_grad=True)])


def test_a_warmup_in_steps_rises_linearly_and_the_cosine_takes_the_rest():
    recipe = Recipe(epochs=2, learning_rate=1.0, schedule="cosine", warmup_steps=4)
    rates = [recipe.rate(step, 6) for step in range(12)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:] == pytest.approx([0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8)])


def test_a_rate_for_each_network_is_that_of_a_network_alone():
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gradients = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    rates, decays = [0.1, 0.2, 0.3], [0.0, 0.1, 0.2]
    stacked = start.clone().requires_grad_()
    optimizer = Recipe(optimizer="sgd", learning_rate=rates, weight_decay=decays).build([stacked])
    for gradient in gradients:
        stacked.grad = gradient.clone()
        optimizer.step()
    for m in range(3):
        alone = start[m].clone().requires_grad_()
        plain = torch.optim.SGD([alone], rates[m], momentum=0.9, weight_decay=decays[m])
        for gradient in gradients:
            alone.grad = gradient[m].clone()
            plain.step()
        torch.testing.assert_close(stacked[m], alone, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("each", [False, True])
def test_decay_on_weights_leaves_vectors_alone(optimizer, each):
    if each and optimizer != "sgd":
        pytest.skip("one decay for all")
    values = {"decayed": torch.ones(2, 3, 4), "kernel": torch.ones(2, 3, 4, 3, 3), "vector": torch.ones(2, 3)}
    learned = [value.requires_grad_() for value in values.values()]
    decay = [0.1, 0.2] if each else 0.1
    built = Recipe(optimizer=optimizer, learning_rate=0.5, weight_decay=decay, decay_on="weights").build(
        learned
    )
    for value in learned:
        value.grad = torch.zeros_like(value)
    built.step()
    assert torch.equal(values["vector"], torch.ones(2, 3))
    for name in ("decayed", "kernel"):
        left = values[name].detach().flatten(1).mean(1)
        torch.testing.assert_close(left, torch.tensor([0.95, 0.90 if each else 0.95]))


def test_a_rate_of_0_in_a_list_keeps_a_network_as_it_is():
    values = torch.ones(2, 3, requires_grad=True)
    built = Recipe(optimizer="sgd", learning_rate=[0.5, 0.0]).build([values])
    values.grad = torch.ones(2, 3)
    built.step()
    assert values.tolist() == [[0.5] * 3, [1.0] * 3]


def test_some_networks_take_their_rates_along():
    recipe = Recipe(optimizer="sgd", learning_rate=[0.1, 0.2, 0.3], weight_decay=[0.5])
    assert recipe.take([2, 0]).learning_rate == [0.3, 0.1]
    assert recipe.take([2, 0]).weight_decay == [0.5]
    assert Recipe().take([1]) == Recipe()
