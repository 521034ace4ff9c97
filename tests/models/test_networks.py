"""Networks by name: their stages and sites, sizes, and what torchvision's own network computes."""

from collections import OrderedDict

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.files import load_torchvision
from memorization.models.layers import Dropout
from memorization.models.networks import (
    NETWORKS,
    StagedNetwork,
    evaluating,
    mlp,
    network,
    resnet18,
    small_cnn,
    wide_resnet,
)


def source() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def images(side: int, batch: int = 2) -> torch.Tensor:
    return torch.rand(batch, 3, side, side, generator=source())


def copy_encoder(model: nn.Module, reference: nn.Module) -> None:
    """Copy the weights and statistics of torchvision's network, which lists them in the same order."""
    theirs = {key: value for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    own = model.encoder.state_dict()
    assert [value.shape for value in own.values()] == [value.shape for value in theirs.values()]
    model.encoder.load_state_dict(dict(zip(own, theirs.values(), strict=True)))


def torchvision_network(name: str) -> nn.Module:
    """A network of torchvision with an identity instead of its head and statistics that are not trivial."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        reference = getattr(load_torchvision().models, name)()
        for norm in (module for module in reference.modules() if isinstance(module, nn.BatchNorm2d)):
            nn.init.uniform_(norm.running_mean, -0.2, 0.2)
            nn.init.uniform_(norm.running_var, 0.5, 1.5)
            nn.init.uniform_(norm.weight, 0.2, 0.6)  # near 1 the residual sums of 16 blocks grow large
            nn.init.uniform_(norm.bias, -0.2, 0.2)
    return reference


@pytest.mark.parametrize("stem", ["small", "medium"])
def test_the_encoder_has_the_parameters_of_the_published_code(stem):
    assert count(resnet18(stem=stem, generator=None).encoder) == 11_168_832


@pytest.mark.parametrize(("classes", "expected"), [(10, 34_209_792), (100, 40_108_032), (200, 46_661_632)])
def test_the_projector_has_the_parameters_of_the_published_code(classes, expected):
    assert count(resnet18(classes=classes, generator=None).projector) == expected


def test_the_projector_has_no_bias_and_no_norm_by_default():
    names = [name for name, _ in resnet18(generator=None).projector.named_parameters()]
    assert names == ["hidden.0.weight", "logits.weight"]


@pytest.mark.parametrize(("stem", "side", "sides"), [
    ("small", 32, [32, 32, 16, 8, 4]),
    ("medium", 64, [32, 32, 16, 8, 4]),
    ("imagenet", 64, [16, 16, 8, 4, 2]),
])  # fmt: skip
def test_the_stages_shrink_the_image_as_they_should(stem, side, sides):
    x, found = torch.empty(1, 3, side, side, device="meta"), []
    for name, stage in resnet18(stem=stem, generator=None).encoder.named_children():
        x = stage(x)
        if name != "embedding":
            found.append(x.shape[-1])
    assert found == sides
    assert x.shape == (1, 512)


def test_the_sites_are_the_stem_four_stages_the_embedding_and_the_projector():
    assert list(resnet18(generator=None).sites) == [
        *("stem", "stage1", "stage2", "stage3", "stage4", "embedding", "hidden", "logits")
    ]


@pytest.mark.parametrize("training", [False, True])
def test_the_encoder_computes_what_torchvision_computes(training):
    reference = torchvision_network("resnet18")
    model = network("resnet18", hidden=(16,), generator=source())
    copy_encoder(model, reference)
    reference.fc = nn.Identity()
    x = images(64, batch=4)
    with torch.no_grad():
        expected, found = reference.train(training)(x), model.train(training).encoder(x)
    assert expected.std() > 1e-3
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_the_small_stem_computes_what_torchvision_computes_with_that_stem():
    reference = torchvision_network("resnet18")
    with torch.random.fork_rng(devices=[]):
        reference.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    reference.maxpool, reference.fc = nn.Identity(), nn.Identity()
    model = network("resnet18_small", hidden=(16,), generator=source()).eval()
    copy_encoder(model, reference)
    with torch.no_grad():
        assert torch.allclose(model.encoder(images(32)), reference.eval()(images(32)), rtol=1e-5, atol=1e-6)


def test_channels_last_changes_nothing_but_the_memory_format():
    model = resnet18(hidden=(32,), generator=source()).eval()
    x = images(16)
    with torch.no_grad():
        expected = model(x)
        model.to(memory_format=torch.channels_last)
        maps = model.encoder.stem(x.to(memory_format=torch.channels_last))
        assert maps.is_contiguous(memory_format=torch.channels_last)
        assert torch.allclose(model(x.to(memory_format=torch.channels_last)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("norm", "kind", "groups"), [
    ("group", nn.GroupNorm, [8, 64]),
    ("layer", nn.GroupNorm, [1, 1]),
    ("batch", nn.BatchNorm2d, None),
])  # fmt: skip
def test_each_norm_follows_each_convolution(norm, kind, groups):
    encoder = resnet18(norm=norm, generator=None).encoder
    assert sum(isinstance(module, kind) for module in encoder.modules()) == 20
    if groups:
        assert [encoder.stem[1].num_groups, encoder.stage4[0].bn1.num_groups] == groups


def test_without_norm_there_are_convolutions_only():
    encoder = resnet18(norm="none", generator=None).encoder
    assert all(parameter.ndim == 4 for parameter in encoder.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_each_name_makes_a_network(name):
    options = {"inputs": 64} if name == "mlp" else {}
    assert (
        network(name, classes=7, hidden=(16,), generator=None, **options).projector.logits.out_features == 7
    )


@pytest.mark.parametrize(
    ("name", "options", "error", "told"),
    [
        ("resnet18_smal", {}, ValueError, "did you mean 'resnet18_small'.*choose one of small_cnn, mlp"),
        (
            "mlp",
            {"inputs": 4, "width": (3,)},
            ValueError,
            "unknown option of mlp 'width'; did you mean 'widths'.*one of classes, dropout, hidden, inputs",
        ),
        ("mlp", {}, TypeError, "missing 1 required keyword-only argument: 'inputs'"),
        ("resnet18_small", {"stem": "medium"}, ValueError, "unknown option of resnet18_small 'stem'"),
        ("resnet18_small", {"channels": 4}, ValueError, "1 or 3 channels; got channels=4"),
        ("resnet18", {"norm": "instance"}, ValueError, "unknown norm 'instance'.*batch, group, layer, none"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, error, told):
    with pytest.raises(error, match=told):
        network(name, generator=None, **options)


def test_an_unknown_stem_is_refused():
    with pytest.raises(ValueError, match="unknown stem 'imagnet'; did you mean 'imagenet'"):
        resnet18(stem="imagnet", generator=None)


_PLAIN = (nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Linear, nn.AdaptiveAvgPool2d, nn.Flatten, nn.Sequential)


def test_the_default_has_the_parameters_of_the_digits_network():
    assert count(small_cnn(generator=None)) == 100_218


def test_the_capacity_network_has_8706_parameters():
    assert count(small_cnn(widths=(8, 16, 32), hidden=(64,), generator=None)) == 8_706


def test_shapes_follow_the_images_whatever_their_side():
    model = small_cnn(channels=3, widths=(32, 64, 128), strides=(2, 1, 2), hidden=(2048,), generator=source())
    for side in (8, 14, 16):
        x = torch.rand(4, 3, side, side, generator=source())
        assert model.encoder(x).shape == (4, 128)
        assert model(x).shape == (4, 10)


def test_the_sites_of_the_small_network_leave_the_last_block_out():
    model = small_cnn(generator=None)
    assert list(model.sites) == ["conv1", "conv2", "embedding", "hidden", "logits"]


def test_the_embedding_is_the_mean_of_the_last_block():
    model, x = small_cnn(generator=source()).eval(), torch.rand(2, 1, 8, 8, generator=source())
    maps = model.encoder[:3](x)
    assert maps.shape == (2, 64, 2, 2)
    assert torch.allclose(model.encoder(x), maps.mean((2, 3)), atol=1e-6)


def test_several_hidden_layers_are_numbered_and_none_is_a_linear_head():
    deep = small_cnn(hidden=(512, 256), generator=None)
    assert list(deep.sites)[-3:] == ["hidden1", "hidden2", "logits"]
    linear = small_cnn(hidden=(), generator=None)
    assert list(linear.sites) == ["conv1", "conv2", "embedding", "logits"]
    assert count(linear.projector) == 650


@pytest.mark.parametrize("model", [small_cnn(generator=None), mlp(inputs=64, generator=None)])
def test_only_plain_layers_in_chains_are_used(model):
    assert all(isinstance(module, _PLAIN) for part in model.children() for module in part.modules())


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
        ({"widths": (16, 0, 8)}, r"widths\[1\]=0; allowed: a whole number, 1 or more"),
        ({"widths": ()}, r"widths=\(\); allowed: a list of 1 or more whole numbers"),
        ({"hidden": 64}, r"hidden=64; allowed: a list of 0 or more whole numbers, such as \[64\]"),
        ({"classes": 0}, "classes=0; allowed: a whole number, 1 or more"),
        ({"norm": "bacth"}, "unknown norm 'bacth'; did you mean 'batch'.*choose one of batch, group"),
        ({"norm": "group", "widths": (4, 8, 16)}, "groups of 8 channels; 4 channels do not divide"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        small_cnn(**options, generator=None)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, 2_748_890),
        ({"classes": 100}, 2_772_020),
        ({"depth": 28, "width": 10}, 36_479_194),  # published as 2.7 and 36.5 million
        ({"depth": 10, "width": 1}, 77_850),
    ],
)
def test_a_wide_resnet_has_the_published_parameters(options, expected):
    assert count(wide_resnet(**options, generator=None)) == expected


def plain_wide_resnet(weights, x, blocks, *, training, mean=0.0, std=1.0):
    """The network once more, as a function of its weights in their order."""
    values = iter(weights)

    def convolution(x, stride, padding):
        return F.conv2d(x, next(values), stride=stride, padding=padding)

    def norm(x):
        scale, shift, mean, variance = (next(values) for _ in range(4))
        if training:
            mean, variance = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        one = [v[:, None, None] for v in (scale, shift, mean, variance)]
        return F.relu(one[0] * (x - one[2]) / (one[3] + 1e-5).sqrt() + one[1])

    x = convolution((x - mean) / std, 1, 1)
    for number in range(3 * blocks):
        stage, place = divmod(number, blocks)
        stride = 2 if stage > 0 and place == 0 else 1
        active = norm(x)
        second = [next(values) for _ in range(4)]  # the second norm lies before the first convolution
        inner = convolution(active, stride, 1)
        values = iter([*second, *values])
        inner = convolution(norm(inner), 1, 1)
        x = inner + (convolution(active, stride, 0) if place == 0 else x)
    embedding = norm(x).mean((2, 3))
    return embedding @ next(values).T + next(values)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
def test_a_wide_resnet_computes_what_the_plain_one_computes(blocks, training):
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.25)
    made = wide_resnet(depth=6 * blocks + 4, width=2, mean=mean, std=std, generator=source()).double()
    for norm in (module for module in made.modules() if isinstance(module, nn.BatchNorm2d)):
        nn.init.uniform_(norm.running_mean, -0.2, 0.2, generator=source())
        nn.init.uniform_(norm.running_var, 0.5, 1.5, generator=source())
        nn.init.uniform_(norm.weight, 0.5, 1.5, generator=source())
        nn.init.uniform_(norm.bias, -0.2, 0.2, generator=source())
    state = {name: value.clone() for name, value in made.state_dict().items()}
    weights = [
        value
        for name, value in state.items()
        if not name.endswith("num_batches_tracked")
        and name not in ("encoder.conv.0.mean", "encoder.conv.0.std")
    ]
    x = images(16, batch=5).double()
    one = [torch.tensor(v, dtype=torch.float64)[:, None, None] for v in (mean, std)]
    expected = plain_wide_resnet(weights, x, blocks, training=training, mean=one[0], std=one[1])
    with torch.no_grad():
        torch.testing.assert_close(made.train(training)(x), expected)


def test_the_stages_of_wrn_16_4_are_those_of_the_paper():
    made, x, found = wide_resnet(generator=None), torch.empty(2, 3, 32, 32, device="meta"), {}
    for name, stage in made.encoder.named_children():
        x = stage(x)
        found[name] = tuple(x.shape[1:])
    assert found == {
        "conv": (16, 32, 32),
        **dict.fromkeys(("block1", "block2"), (64, 32, 32)),
        **dict.fromkeys(("block3", "block4"), (128, 16, 16)),
        **dict.fromkeys(("block5", "block6"), (256, 8, 8)),
        "embedding": (256,),
    }
    assert list(made.sites) == [*found, "logits"]


def test_dropout_lies_between_the_two_convolutions_of_a_block_and_nowhere_else():
    made = wide_resnet(depth=10, width=1, dropout=0.5, generator=source())
    x, block = torch.rand(4, 16, 8, 8, generator=source()), made.encoder.block1
    dropped = block.train()(x)
    nn.init.zeros_(block.conv2.weight)  # what is dropped reaches the second convolution alone
    assert torch.equal(block(x), x)
    assert not torch.equal(dropped, block.eval()(x))
    assert [m.share for m in made.modules() if isinstance(m, Dropout)] == [0.5] * 3


def test_the_weights_of_a_wide_resnet_come_from_its_generator():
    one, two = (wide_resnet(generator=source()).state_dict() for _ in range(2))
    assert all(torch.equal(one[name], two[name]) for name in one)
    weight = one["encoder.block5.conv2.weight"]
    assert float(weight.std()) == pytest.approx((2 / (256 * 9)) ** 0.5, rel=0.01)  # Kaiming, fan-out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"depth": 18}, "depth=18; allowed: 6 k . 4 for k blocks in each of three stages, such as 16 or 22"),
        ({"depth": 4}, "depth=4; allowed: a whole number, 10 or more"),
        ({"width": 0}, "width=0; allowed: a whole number, 1 or more"),
        ({"dropout": 1.0}, r"dropout=1.0; allowed: a probability in \[0, 1\)"),
        ({"dropout": -0.1}, r"dropout=-0.1; allowed: a probability in \[0, 1\)"),
        ({"dropout": float("nan")}, "dropout=nan; allowed: a finite number"),
        ({"mean": (0.5,), "std": (0.2,)}, "1 means and 1 deviations for 3 channels; give one of each"),
        ({"mean": (0.5,) * 3}, "3 means and 0 deviations for 3 channels; give one of each"),
        ({"mean": (0.5,) * 3, "std": (0.2, 0.0, 0.2)}, r"std=\[0.2, 0.0, 0.2\]; allowed: numbers above 0"),
    ],
)
def test_a_wide_resnet_of_sizes_that_do_not_fit_is_refused(options, told):
    with pytest.raises(ValueError, match=told):
        wide_resnet(**options, generator=None)


def chain(*names: str) -> nn.Sequential:
    return nn.Sequential(OrderedDict((name, nn.Linear(4, 4)) for name in names))


def staged(**options) -> StagedNetwork:
    parts = {"encoder": chain("stem", "block", "embedding"), "projector": chain("hidden", "logits")}
    return StagedNetwork(**{**parts, **options})


def test_the_output_is_the_projector_of_the_embedding():
    model, x = staged(), torch.randn(3, 4, generator=source())
    assert torch.equal(model(x), model.projector(model.encoder(x)))


def test_sites_are_the_stages_in_order_of_depth_with_the_names_of_their_modules():
    assert list(staged().sites.items()) == [
        ("stem", "encoder.stem"),
        ("block", "encoder.block"),
        ("embedding", "encoder.embedding"),
        ("hidden", "projector.hidden"),
        ("logits", "projector.logits"),
    ]


def test_each_site_leads_to_a_submodule():
    model = staged()
    assert all(isinstance(model.get_submodule(name), nn.Linear) for name in model.sites.values())


def test_a_stage_left_out_is_no_site():
    assert list(staged(leave_out=["block"]).sites) == ["stem", "embedding", "hidden", "logits"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"encoder": chain("stem", "pool")}, "last stage of the encoder must be named 'embedding'"),
        ({"projector": chain("hidden")}, "last stage of the projector must be named 'logits'"),
        ({"projector": nn.Sequential()}, "last stage of the projector must be named 'logits'"),
        ({"projector": chain("stem", "logits")}, r"stage names \['stem'\] are in both parts"),
        ({"leave_out": ["conv9"]}, "unknown stage to leave out 'conv9'.*; choose one of stem, block"),
    ],
)
def test_misnamed_stages_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        staged(**options)


def test_no_gradient_is_kept_while_evaluating():
    model = nn.Linear(2, 2)
    with evaluating(model):
        assert not model(torch.ones(1, 2)).requires_grad
    assert model(torch.ones(1, 2)).requires_grad


def test_a_frozen_part_stays_frozen_after_evaluating_even_when_it_breaks_off():
    model = nn.Sequential(nn.Dropout(0.5), nn.BatchNorm1d(2)).train()
    model[1].eval()
    with pytest.raises(ValueError, match="expected 2D or 3D input"), evaluating(model):
        model(torch.ones(2))
    assert [module.training for module in model.modules()] == [True, True, False]
