import pytest
import torch
from torch import nn

from memorization.data.files import load_torchvision
from memorization.models.networks import NETWORKS, network, resnet18, resnet50


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


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
@pytest.mark.parametrize("training", [False, True])
def test_the_encoder_computes_what_torchvision_computes(name, training):
    reference = torchvision_network(name)
    model = network(name, hidden=(16,), generator=source())
    copy_encoder(model, reference)
    reference.fc = nn.Identity()
    x = images(64, batch=4)
    with torch.no_grad():
        expected, found = reference.train(training)(x), model.train(training).embed(x)
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
        assert torch.allclose(model.embed(images(32)), reference.eval()(images(32)), rtol=1e-5, atol=1e-6)


def test_v1_moves_the_stride_to_the_first_convolution():
    strides = {}
    for v1 in (False, True):
        first = resnet50(v1=v1, generator=None).encoder.stage2[0]
        strides[v1] = (first.conv1.stride[0], first.conv2.stride[0])
    assert strides == {False: (1, 2), True: (2, 1)}


def test_the_embedding_of_resnet50_has_2048_numbers():
    model = resnet50(hidden=(), v1=True, generator=None)
    assert model.embedding_size == 2048
    assert model.embed(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 2048)


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
        assert [encoder.stem[1].num_groups, encoder.stage4[0].norm1[0].num_groups] == groups


def test_without_norm_there_are_convolutions_only():
    encoder = resnet18(norm="none", generator=None).encoder
    assert all(parameter.ndim == 4 for parameter in encoder.parameters())


@pytest.mark.parametrize("norm", ["batch", "group", "layer"])
def test_the_projector_can_be_normalized(norm):
    model = resnet18(stem="imagenet", hidden=(16,), projector_norm=norm, generator=source())
    with torch.no_grad():
        hidden = model.projector.hidden[:2](torch.rand(64, 512, generator=source()) * 7)
    axis = 0 if norm == "batch" else 1
    assert torch.allclose(hidden.mean(axis), torch.zeros(hidden.shape[1 - axis]), atol=1e-4)


def test_the_networks_are_float32_and_made_without_the_global_generator():
    before = torch.get_rng_state()
    model = resnet18(hidden=(8,), generator=source())
    assert torch.equal(torch.get_rng_state(), before)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


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
            TypeError,
            "no option 'width'; did you mean 'widths'.*it has inp",
        ),
        ("mlp", {}, TypeError, "mlp needs the option 'inputs'"),
        ("resnet18_small", {"stem": "medium"}, TypeError, "resnet18_small has no option 'stem'"),
        ("resnet18_small", {"channels": 4}, ValueError, "1 or 3 channels; got channels=4"),
        ("resnet50", {"stem": "imagnet"}, ValueError, "unknown stem 'imagnet'; did you mean 'imagenet'"),
        ("resnet18", {"norm": "instance"}, ValueError, "unknown norm 'instance'.*batch, group, layer, none"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, error, told):
    with pytest.raises(error, match=told):
        network(name, generator=None, **options)
