import math

import pytest
import torch
from torch import nn

from memorization.models.layers import Dropout, Standardization, build, initialize, redrawn


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(32, 64, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Linear(400, 300)
    )


def test_convolutions_are_kaiming_normal_by_fan_out():
    weight = build(make, source())[0].weight
    expected = math.sqrt(2 / (64 * 9))
    # 18,432 numbers: the relative error of the standard deviation is 0.5 %, and 4 of those are allowed
    assert abs(weight.std().item() / expected - 1) < 0.02
    assert abs(weight.mean().item()) < 4 * expected / math.sqrt(weight.numel())
    assert weight.abs().max() > 3 * expected  # normal, not uniform


def test_linear_layers_are_uniform_within_the_root_of_the_fan_in():
    layer = build(make, source())[4]
    for tensor in (layer.weight, layer.bias):
        assert tensor.abs().max() <= 1 / 20
        assert tensor.abs().max() > 0.98 / 20
    assert abs(layer.weight.std().item() * 20 * math.sqrt(3) - 1) < 0.02


def test_batch_norm_starts_as_the_identity_with_fresh_statistics():
    norm = build(make, source())[1]
    assert torch.equal(norm.weight, torch.ones(64))
    assert torch.equal(norm.bias, torch.zeros(64))
    assert torch.equal(norm.running_mean, torch.zeros(64))
    assert torch.equal(norm.running_var, torch.ones(64))
    assert int(norm.num_batches_tracked) == 0


def test_building_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    build(make, source())
    assert torch.equal(torch.get_rng_state(), before)


def test_the_same_generator_gives_the_same_weights_and_another_gives_others():
    one, same, other = (build(make, source(seed)).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["0.weight"], other["0.weight"])


def test_a_trained_model_can_be_initialized_again():
    model = build(make, source(5))
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for value in model.state_dict().values():
            value.add_(1)
    initialize(model, source(5))
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


def test_without_a_generator_there_are_shapes_and_no_storage():
    model = build(make, None)
    assert all(parameter.is_meta for parameter in model.parameters())
    assert model[4].weight.shape == (300, 400)


def test_an_unknown_layer_is_refused_before_anything_is_drawn():
    model = nn.Sequential(nn.Linear(2, 2), nn.PReLU())
    before = model[0].weight.clone()
    with pytest.raises(TypeError, match=r"no law for \['weight'\] of 1 \(PReLU\); known are convolutions"):
        initialize(model, source())
    assert torch.equal(model[0].weight, before)


def trained():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    model[1].running_mean.fill_(3.0)
    return model


def test_redrawn_weights_follow_pytorchs_laws_of_their_layers():
    twin = redrawn(trained(), seed=0)
    assert twin[3].weight.abs().max() <= 16**-0.5  # uniform within 1/sqrt(fan-in)
    assert twin[3].weight.std() > 0.05
    assert torch.equal(twin[1].weight, torch.ones(4))
    assert torch.equal(twin[1].running_mean, torch.zeros(4))


def test_a_network_that_is_redrawn_stays():
    model = trained()
    redrawn(model, seed=0)
    assert all(bool((parameter == 3).all()) for parameter in model.parameters())


def test_one_seed_draws_one_network_and_another_seed_another():
    first, again, other = (redrawn(trained(), seed)[3].weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_redrawing_leaves_the_global_generator_alone():
    model, before = trained(), torch.get_rng_state()
    redrawn(model, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


class OwnParameter(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.token = nn.Parameter(torch.zeros(2))


def test_parameters_that_nothing_resets_are_named():
    with pytest.raises(
        ValueError, match=r"no reset_parameters sets 0\.token: keep a copy of the network before"
    ):
        redrawn(nn.Sequential(OwnParameter()), seed=0)


def test_images_are_standardized_by_the_numbers_given_wherever_the_layer_gets_its_storage():
    mean, std, x = (0.5, 0.4, 0.3), (0.2, 0.25, 0.5), torch.rand(2, 3, 4, 4, generator=source())
    expected = torch.stack([(x[:, c] - mean[c]) / std[c] for c in range(3)], 1)
    for made in (Standardization(mean, std), build(lambda: Standardization(mean, std), source())):
        torch.testing.assert_close(made(x), expected)
        assert not list(made.parameters())


@pytest.mark.parametrize(
    ("mean", "std", "told"),
    [
        ((0.5, 0.5), (0.2,), "2 means, 1 deviations; give one of each for each channel"),
        ((), (), "0 means, 0 deviations"),
        ((float("nan"),), (0.2,), r"mean\[0\]=nan; allowed: a finite number"),
        ((0.5,), (0.0,), r"std=\[0.0\]; allowed: numbers above 0"),
    ],
)
def test_a_standardization_without_numbers_that_fit_is_refused(mean, std, told):
    with pytest.raises(ValueError, match=told):
        Standardization(mean, std)


def dropping(seed, share=0.3):
    return build(lambda: nn.Sequential(Dropout(share)), source(seed))[0].train()


def test_dropout_loses_its_share_and_keeps_the_mean():
    seen = dropping(0)(torch.ones(200, 300))
    assert seen.unique().tolist() == [0.0, pytest.approx(1 / 0.7)]
    assert abs(float((seen == 0).float().mean()) - 0.3) < 0.01
    assert torch.equal(dropping(0).eval()(torch.ones(2, 3)), torch.ones(2, 3))


def test_a_mask_is_a_function_of_the_seed_and_of_the_pass():
    x, before = torch.ones(20, 30), torch.get_rng_state()
    first, again, other = dropping(0), dropping(0), dropping(1)
    one, two = first(x), first(x)
    assert not torch.equal(one, two)
    assert torch.equal(one, again(x))
    assert torch.equal(two, again(x))
    assert not torch.equal(one, other(x))
    assert torch.equal(torch.get_rng_state(), before)
    again.reset(source(0))
    assert torch.equal(one, again(x))


def test_what_is_lost_gets_no_gradient():
    x = torch.ones(20, 30, requires_grad=True)
    seen = dropping(0)(x)
    seen.sum().backward()
    assert torch.equal(x.grad == 0, seen == 0)
