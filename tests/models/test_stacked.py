"""Stacked networks do what their members do one by one; columns are what PyTorch's own unfold copies."""

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.draws import generator
from memorization.models import stacked
from memorization.models.layers import Standardization, initialize
from memorization.models.networks import mlp, resnet18, small_cnn
from memorization.models.stacked import StackedNetwork, Window, columns_of, has_batched_form

WAYS = ("batched", "vmap", "loop")


def make_cnn(seed, **more):
    sizes = {"widths": (4, 6), "strides": (1, 2), "hidden": (5,), "channels": 3, **more}
    return small_cnn(**sizes, generator=generator(seed, "weights")).double()


def make_mlp(seed):
    return mlp(inputs=12, widths=(7, 5), hidden=(6,), generator=generator(seed, "weights")).double()


def make_pooled(seed):
    return make_cnn(seed, strides=(1, 1), pool=True)


def make_dropping(seed):
    network = mlp(inputs=192, widths=(7, 5), hidden=(), norm="batch", dropout=0.3,
                  generator=generator(seed, "weights")).double()  # fmt: skip
    first = Standardization(torch.rand(3).tolist(), (1 + torch.rand(3)).tolist())
    return nn.Sequential(first, network)


def make_normed(seed):
    layers = [nn.Linear(12, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 10)]
    return initialize(nn.Sequential(*layers), generator(seed, "weights")).double()


def images(members=3, examples=4):
    return torch.rand(members, examples, 3, 8, 8, generator=generator(0, "images"), dtype=torch.float64)


def gradients(module, x, targets):
    module.train()
    (module(x) - targets).square().sum().backward()
    return {name: p.grad for name, p in module.named_parameters()}


MAKERS = [make_cnn, make_mlp, make_normed, make_pooled, make_dropping]


@pytest.mark.parametrize(
    ("make", "way"), [(m, w) for m in MAKERS for w in WAYS if (m, w) != (make_dropping, "vmap")]
)
def test_outputs_and_gradients_are_those_of_the_members(make, way):
    members = [make(seed) for seed in range(3)]
    vectors = make in (make_mlp, make_normed)
    x = torch.rand(3, 4, 12, dtype=torch.float64) if vectors else images()
    targets = torch.rand(3, 4, 10, dtype=torch.float64)
    stacked = gradients(StackedNetwork(members, way), x, targets)
    for m, member in enumerate(members):
        for name, gradient in gradients(copy.deepcopy(member), x[m], targets[m]).items():
            torch.testing.assert_close(stacked[name.replace(".", "/")][m], gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("make", [make_mlp, make_normed])
def test_networks_in_blocks_do_what_they_do_at_once(make, monkeypatch):
    x, targets = torch.rand(5, 4, 12, dtype=torch.float64), torch.rand(5, 4, 10, dtype=torch.float64)
    found, blocks = [], []
    for numbers in (2**18, 2 * 4 * 10, 1):  # all at once, two (4 examples, 10 outputs each), one by one
        monkeypatch.setattr("memorization.models.stacked._IN_CACHE", numbers)
        stack = StackedNetwork([make(seed) for seed in range(5)])
        run, sizes = stack._run, []
        stack._run = lambda values, x, run=run, sizes=sizes: (sizes.append(len(x)), run(values, x))[1]
        gradient = gradients(stack, x, targets)
        blocks.append(sizes)
        found.append([stack(x).detach(), *gradient.values(), *stack.buffers()])
    assert [sizes[: len(sizes) // 2] for sizes in blocks] == [[5], [2, 2, 1], [1] * 5]
    for other in found[1:]:
        for one, value in zip(found[0], other, strict=True):
            torch.testing.assert_close(value, one, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("make", [make_cnn, make_normed])
def test_running_statistics_are_those_of_the_members(make, way):
    members = [make(seed) for seed in range(3)]
    x = images() if make is make_cnn else images().flatten(2)[..., :12]
    stack = StackedNetwork(members, way)
    stack(x)
    for m, (member, mine) in enumerate(zip(members, stack.members(), strict=True)):
        member(x[m])
        for name, value in member.named_buffers():
            torch.testing.assert_close(dict(mine.named_buffers())[name], value)


@pytest.mark.parametrize("way", WAYS)
def test_evaluation_mode_uses_the_running_statistics_and_leaves_them(way):
    stack = StackedNetwork([make_cnn(seed) for seed in range(3)], way)
    stack(images())
    stack.eval()
    before = {name: value.clone() for name, value in stack.state_dict().items()}
    expected = torch.stack([member(x) for member, x in zip(stack.members(), images(), strict=True)])
    torch.testing.assert_close(stack(images()), expected)
    assert all(torch.equal(value, before[name]) for name, value in stack.state_dict().items())


def test_a_stack_copies_its_members():
    member = make_mlp(0)
    before = copy.deepcopy(member.state_dict())
    stack = StackedNetwork([member, make_mlp(1)])
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter += 1
    assert all(torch.equal(value, before[name]) for name, value in member.state_dict().items())


@pytest.mark.parametrize("way", WAYS)
def test_members_have_the_precision_and_the_device_of_the_stack(way):
    stack = StackedNetwork([make_mlp(seed).float() for seed in (0, 1)], way)
    for one in (stack.double().member(1), stack.keep([1]).member(0)):
        assert {value.dtype for value in one.parameters()} == {torch.float64}
    for one in (stack.to("meta").member(1), stack.keep([1]).member(0)):
        assert {value.device.type for value in one.parameters()} == {"meta"}


def test_keeping_some_members_keeps_their_weights_and_order():
    members = [make_mlp(seed) for seed in range(4)]
    kept = StackedNetwork(members).keep([3, 1])
    x = torch.rand(2, 5, 12, dtype=torch.float64)
    torch.testing.assert_close(kept(x), torch.stack([members[3](x[0]), members[1](x[1])]))


def layers(**options):
    return nn.Sequential(nn.Conv2d(3, 6, 3, **options), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)).double()


@pytest.mark.parametrize(
    "options", [{"groups": 3}, {"groups": 3, "bias": False}, {"padding": (1, 0), "stride": (2, 3)}]
)
def test_convolutions_with_groups_biases_and_unequal_sides_are_those_of_the_members(options):
    members = [layers(**options) for _ in range(3)]
    for member, x in zip(members, images(), strict=True):
        member(x)  # gives the last layer its size
    targets = torch.rand(3, 4, 10, dtype=torch.float64)
    stacked = gradients(StackedNetwork(members, "batched"), images(), targets)
    for m, member in enumerate(members):
        for name, gradient in gradients(member, images()[m], targets[m]).items():
            torch.testing.assert_close(stacked[name.replace(".", "/")][m], gradient, rtol=1e-9, atol=1e-11)


def test_plain_networks_are_batched_on_a_cpu_one_or_many():
    assert StackedNetwork([make_cnn(0), make_cnn(1)]).way == "batched"
    assert StackedNetwork([make_mlp(0)]).way == "batched"


def test_wide_convolutions_are_looped_over_on_a_cpu():
    assert StackedNetwork([make_cnn(0, widths=(32, 8))] * 2).way == "batched"
    assert StackedNetwork([make_cnn(0, widths=(33, 8))] * 2).way == "loop"


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(12, 12)

    def forward(self, x):
        return x + self.inner(x)


def test_a_network_that_is_no_chain_has_no_batched_form_but_can_be_stacked():
    networks = [nn.Sequential(Residual(), nn.ReLU()) for _ in range(2)]
    assert not has_batched_form(networks[0])
    x = torch.rand(2, 3, 12)
    stack = StackedNetwork(networks)
    assert stack.way == "loop"
    torch.testing.assert_close(stack(x)[1], networks[1](x[1]))
    with pytest.raises(ValueError, match="without a batched form; use way='vmap' or way='loop'"):
        StackedNetwork(networks, "batched")


def test_the_blocks_of_a_resnet_can_be_mapped_over():
    members = [resnet18(hidden=(4,), generator=generator(seed, "weights")) for seed in range(2)]
    x = torch.rand(2, 2, 3, 8, 8, generator=generator(0, "images"))
    stacks = [StackedNetwork(members, way).eval() for way in ("vmap", "loop")]
    torch.testing.assert_close(*(stack(x) for stack in stacks), rtol=1e-4, atol=1e-5)


def test_members_of_other_shape_are_refused():
    with pytest.raises(ValueError, match="network 1 has other layers than network 0"):
        StackedNetwork([make_cnn(0), make_cnn(1, widths=(4, 8))])


def test_an_empty_stack_and_an_unknown_way_are_refused():
    with pytest.raises(ValueError, match="at least one network; got none"):
        StackedNetwork([])
    with pytest.raises(ValueError, match=r"unknown way 'fast'.*; choose one of auto, batched, vmap, loop"):
        StackedNetwork([make_mlp(0)], "fast")


def test_a_batch_for_another_number_of_networks_is_refused():
    with pytest.raises(
        ValueError, match=r"2 stacked networks need x of shape \(2, B, ...\); got \(3, 4, 12\)"
    ):
        StackedNetwork([make_mlp(0), make_mlp(1)])(torch.rand(3, 4, 12, dtype=torch.float64))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (nn.Linear(2, 2), r"networks is a Linear; give a list of networks, for one: \[network\]"),
        (nn.Sequential(nn.Linear(2, 2)), "networks is a Sequential; give a list of networks"),
        ((nn.Linear(2, 2) for _ in range(2)), "networks is a generator; give a list of networks"),
        ([nn.Linear(2, 2), nn.Linear], r"network 1 is a type; allowed: torch.nn.Module"),
    ],
)
def test_what_is_no_list_of_networks_is_refused(members, message):
    with pytest.raises(TypeError, match=message):
        StackedNetwork(members)


def test_a_module_list_is_a_list_of_networks():
    assert StackedNetwork(nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])).size == 2


def tied_weights():
    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    return model


def shared_layer():
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize("make", [tied_weights, shared_layer])
def test_tied_weights_are_refused_by_name(make):
    with pytest.raises(
        ValueError, match=r"0\.weight and 2\.weight are one and the same tensor \(tied weights, or"
    ):
        StackedNetwork([make(), make()])


def shared_activation():
    relu = nn.ReLU()
    return nn.Sequential(nn.Linear(3, 4), relu, nn.Linear(4, 4), relu).double()


class Doubled(nn.Sequential):
    def forward(self, x):
        return 2 * super().forward(x)


@pytest.mark.parametrize("make", [shared_activation, lambda: Doubled(nn.Linear(3, 4)).double()])
def test_a_shared_activation_or_a_chain_with_a_forward_of_its_own_computes_the_same_stacked(make):
    members = [make() for _ in range(2)]
    x = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator(0, "inputs"))
    expected = torch.stack([member(x[m]) for m, member in enumerate(members)])
    torch.testing.assert_close(StackedNetwork(members)(x), expected)


WINDOWS = [
    Window(*sizes)
    for sizes in itertools.product(
        [(3, 3), (2, 1)], [(1, 1), (2, 1), (3, 2)], [(0, 0), (1, 1), (2, 1)], [(1, 1), (2, 1)]
    )
]


def pictures(height=5, width=6):
    source = torch.Generator().manual_seed(0)
    shape = (2, 3, height, width, 4)
    return torch.rand(shape, generator=source, dtype=torch.float64).requires_grad_()


def unfolded(images, window):
    examples = images.movedim(-1, 1).flatten(0, 1)
    rows = F.unfold(examples, window.kernel, window.dilation, window.padding, window.stride)
    sides = [window.positions(axis, side) for axis, side in enumerate(images.shape[2:4])]
    return rows.view(len(images), -1, images.shape[1], *window.kernel, *sides).movedim(1, -1)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_columns_are_the_pixels_under_the_kernel(window):
    images = pictures()
    assert torch.equal(columns_of(images, window), unfolded(images, window))


@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_the_gradient_of_a_pixel_is_the_sum_over_its_copies(window):
    images = pictures()
    columns = columns_of(images, window)
    weights = torch.rand_like(columns)
    ours, theirs = (
        torch.autograd.grad(made, images, weights)[0] for made in (columns, unfolded(images, window))
    )
    torch.testing.assert_close(ours, theirs)


def test_a_tap_that_never_meets_the_image_gives_zeros():
    window = Window((3, 3), padding=(3, 3), dilation=(3, 3))
    images = pictures(1, 1)
    assert torch.equal(columns_of(images, window), unfolded(images, window))


@pytest.mark.parametrize("way", WAYS)
def test_tanh_has_a_batched_form(way):
    def make(seed):
        layers = nn.Sequential(
            nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)
        ).double()
        for value in layers.parameters():
            nn.init.normal_(value, generator=generator(seed, "weights"))
        return layers

    members = [make(seed) for seed in range(3)]
    assert has_batched_form(members[0])
    assert StackedNetwork(members).way == "batched"
    x, targets = torch.rand(3, 4, 6, dtype=torch.float64), torch.rand(3, 4, 2, dtype=torch.float64)
    stack = StackedNetwork(members, way)
    for m, member in enumerate(members):
        torch.testing.assert_close(stack(x)[m], member(x[m]), rtol=1e-12, atol=1e-12)
    stacked = gradients(stack, x, targets)
    for m, member in enumerate(members):
        for name, gradient in gradients(copy.deepcopy(member), x[m], targets[m]).items():
            torch.testing.assert_close(stacked[name.replace(".", "/")][m], gradient, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("sides", [(4, 6), (5, 7)])
def test_pooling_and_its_gradient_are_those_of_maximum_over_slices(sides):
    """Ties among them: ReLU makes many zeros."""
    x = torch.randn(2, 3, *sides, 11, generator=torch.Generator().manual_seed(0)).relu()
    ours, plain = x.clone().requires_grad_(), x.clone().requires_grad_()
    height, width = (side // 2 * 2 for side in sides)
    rows = torch.maximum(plain[:, :, 0:height:2], plain[:, :, 1:height:2])
    wanted = torch.maximum(rows[:, :, :, 0:width:2], rows[:, :, :, 1:width:2])
    found = stacked._pooled(ours)
    assert torch.equal(found, wanted)
    for out in (found, wanted):
        out.backward(torch.arange(out.numel()).view_as(out).float())
    assert torch.equal(ours.grad, plain.grad)
