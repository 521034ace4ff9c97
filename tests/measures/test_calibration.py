"""Batch-norm statistics from one pass, against numbers computed by hand."""

import pytest
import torch
from torch import nn

from memorization.measures.accuracy import calibrated


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Dropout(0.9), nn.Flatten(), nn.Linear(12, 4),
        nn.BatchNorm1d(4),
    )  # fmt: skip


def images(n=10):
    return torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(1))


def test_one_batch_stores_its_mean_and_unbiased_variance():
    model = network()
    twin = calibrated(model, images())
    first = model[0](images()).transpose(0, 1).flatten(1)  # (channels, values)
    assert torch.allclose(twin[1].running_mean, first.mean(dim=1), atol=1e-6)
    assert torch.allclose(twin[1].running_var, first.var(dim=1), atol=1e-6)


def test_a_deeper_layer_sees_batches_normalized_by_their_own_statistics():
    model = network()
    twin = calibrated(model, images())
    hidden = model[0](images())
    mean, variance = (
        hidden.mean(dim=(0, 2, 3), keepdim=True),
        hidden.var(dim=(0, 2, 3), keepdim=True, correction=0),
    )
    second = model[5](((hidden - mean) / (variance + 1e-5).sqrt()).relu().flatten(1))
    assert torch.allclose(twin[6].running_mean, second.mean(dim=0), atol=1e-5)
    assert torch.allclose(twin[6].running_var, second.var(dim=0), atol=1e-5)


def test_batches_are_averaged_by_their_sizes():
    model = network()
    twin = calibrated(model, images(), batch=4)  # 4, 3 and 3 images
    parts = images().split([4, 3, 3])
    values = [model[0](part).transpose(0, 1).flatten(1) for part in parts]
    mean = sum(len(part) * value.mean(dim=1) for part, value in zip(parts, values, strict=True)) / 10
    variance = sum(len(part) * value.var(dim=1) for part, value in zip(parts, values, strict=True)) / 10
    assert torch.allclose(twin[1].running_mean, mean, atol=1e-6)
    assert torch.allclose(twin[1].running_var, variance, atol=1e-6)


def test_what_the_statistics_were_before_does_not_matter():
    model, moved = network(), network()
    moved[1].running_mean.fill_(torch.nan)
    assert torch.equal(
        calibrated(model, images())[1].running_mean, calibrated(moved, images())[1].running_mean
    )


def test_the_original_and_all_weights_stay():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    twin = calibrated(model, images())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in twin.named_parameters())


def test_the_copy_has_the_modes_and_momenta_of_the_original():
    model = network().train()
    model[1].eval()
    model[6].momentum = 0.3
    twin = calibrated(model, images())
    assert [module.training for module in twin] == [module.training for module in model]
    assert [twin[1].momentum, twin[6].momentum] == [0.1, 0.3]


def test_a_network_without_batch_norm_comes_back_as_an_equal_copy():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    twin = calibrated(model, images())
    assert twin is not model
    assert torch.equal(twin(images()), model(images()))


def test_batch_norm_without_running_statistics_is_left_alone():
    model = nn.Sequential(nn.BatchNorm2d(1, track_running_stats=False), nn.BatchNorm2d(1))
    twin = calibrated(model, images())
    assert twin[0].running_mean is None
    assert twin[1].running_mean.abs() < 1e-6


def test_no_images_are_refused():
    with pytest.raises(ValueError, match="at least one image is needed"):
        calibrated(network(), images(0))
