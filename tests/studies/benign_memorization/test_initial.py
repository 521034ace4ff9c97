"""Untrained copies of trained networks."""

import pytest
import torch
from torch import nn

from memorization.studies.benign_memorization.own_network import redrawn


def network():
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(3.0)
    model[1].running_mean.fill_(3.0)
    return model


def test_weights_follow_the_laws_of_their_layers():
    twin = redrawn(network(), seed=0)
    assert twin[3].weight.abs().max() <= 16**-0.5  # uniform within 1/sqrt(fan-in)
    assert twin[3].weight.std() > 0.05
    assert torch.equal(twin[1].weight, torch.ones(4))
    assert torch.equal(twin[1].running_mean, torch.zeros(4))


def test_the_trained_network_stays():
    model = network()
    redrawn(model, seed=0)
    assert all(bool((parameter == 3).all()) for parameter in model.parameters())


def test_one_seed_draws_one_network_and_another_seed_another():
    first, again, other = (redrawn(network(), seed)[3].weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_left_as_it_was():
    model, before = network(), torch.get_rng_state()
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
