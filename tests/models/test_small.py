import pytest
import torch
from torch import nn

from memorization.models.networks import mlp, small_cnn

PLAIN = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Linear, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Sequential)


def source() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_the_default_has_the_parameters_of_the_digits_network():
    assert count(small_cnn(generator=None)) == 100_218


def test_the_capacity_network_has_8706_parameters():
    assert count(small_cnn(widths=(8, 16, 32), hidden=(64,), generator=None)) == 8_706


def test_shapes_follow_the_images_whatever_their_side():
    model = small_cnn(channels=3, widths=(32, 64, 128), strides=(2, 1, 2), hidden=(2048,), generator=source())
    for side in (8, 14, 16):
        x = torch.rand(4, 3, side, side, generator=source())
        assert model.embed(x).shape == (4, 128)
        assert model(x).shape == (4, 10)
    assert model.embedding_size == 128


def test_the_sites_of_the_small_network_leave_the_last_block_out():
    model = small_cnn(generator=None)
    assert list(model.sites) == ["conv1", "conv2", "embedding", "hidden", "logits"]
    assert model.choose_sites(["conv3"]) == {"conv3": "encoder.conv3"}


def test_the_embedding_is_the_mean_of_the_last_block():
    model, x = small_cnn(generator=source()).eval(), torch.rand(2, 1, 8, 8, generator=source())
    maps = model.encoder[:3](x)
    assert maps.shape == (2, 64, 2, 2)
    assert torch.allclose(model.embed(x), maps.mean((2, 3)), atol=1e-6)


def test_several_hidden_layers_are_numbered_and_none_is_a_linear_head():
    deep = small_cnn(hidden=(512, 256), generator=None)
    assert list(deep.sites)[-3:] == ["hidden1", "hidden2", "logits"]
    linear = small_cnn(hidden=(), generator=None)
    assert list(linear.sites) == ["conv1", "conv2", "embedding", "logits"]
    assert count(linear.projector) == 650


def test_biases_can_be_left_out():
    names = [name for name, _ in small_cnn(bias=False, norm="none", generator=None).named_parameters()]
    assert all(name.endswith("weight") for name in names)


@pytest.mark.parametrize("model", [small_cnn(generator=None), mlp(inputs=64, generator=None)])
def test_only_plain_layers_in_chains_are_used(model):
    assert all(isinstance(module, PLAIN) for part in model.children() for module in part.modules())


@pytest.mark.parametrize("norm", ["batch", "group", "layer", "none"])
def test_each_norm_gives_finite_outputs(norm):
    model = small_cnn(norm=norm, generator=source())
    assert model(torch.rand(5, 1, 8, 8, generator=source())).isfinite().all()


def test_the_perceptron_flattens_its_images():
    model = mlp(inputs=64, generator=source())
    x = torch.rand(3, 1, 8, 8, generator=source())
    assert model(x).shape == (3, 10)
    assert torch.equal(model(x), model(x.flatten(1)))
    assert list(model.sites) == ["layer1", "layer2", "embedding", "hidden", "logits"]


def test_constructing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    small_cnn(generator=source())
    mlp(inputs=64, generator=source())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"channels": 2}, "images have 1 or 3 channels; got channels=2"),
        ({"widths": (16, 32)}, "2 widths but 3 strides; give one stride per width"),
        ({"widths": (16, 0, 8)}, r"widths must be whole numbers >= 1; got \[16, 0, 8\]"),
        ({"widths": ()}, "widths needs at least 1"),
        ({"hidden": 64}, r"hidden must be a list of whole numbers, such as \(64,\); got 64"),
        ({"classes": 0}, "classes must be whole numbers >= 1"),
        ({"norm": "bacth"}, "unknown norm 'bacth'; did you mean 'batch'.*choose one of batch, group"),
        ({"norm": "group", "widths": (4, 8, 16)}, "groups of 8 channels; 4 channels do not divide"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        small_cnn(**options, generator=None)
