"""Tapped networks give class logits and features in one pass; heads are one product, flat or gathered."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.draws import generator
from memorization.models import heads as module
from memorization.models.heads import HeadedNetwork, RandomLabelHeads, TappedNetwork, averaged
from memorization.models.networks import NETWORKS, find_sites, mlp, network, small_cnn
from memorization.models.stacked import StackedNetwork, has_batched_form

M, B, C, N_LABELS, D = 3, 6, 4, 5, 7
IMAGES = torch.rand(B, 3, 16, 16, generator=generator(0, "images"), dtype=torch.float64)


def make_mlp(seed=0, **more):
    return mlp(inputs=D, widths=(8, 6), classes=C, hidden=(), **more, generator=generator(seed, "w")).double()


def make_cnn(seed=0):
    sizes = {"widths": (4, 6), "strides": (1, 2), "hidden": (), "channels": 3, "classes": C}
    return small_cnn(**sizes, generator=generator(seed, "w")).double()


class Own(nn.Module):
    """A reader's network: tokens, an activation in place after a site, a part that is never used."""

    def __init__(self):
        super().__init__()
        self.embed, self.unused = nn.Linear(2, 5), nn.Linear(5, 5)
        self.act, self.head = nn.ReLU(inplace=True), nn.Linear(5, C)

    def forward(self, x):
        return self.head(self.act(self.embed(x)).mean(1))


def drawn(*shape, name="numbers"):
    return torch.randn(*shape, generator=generator(0, name), dtype=torch.float64)


def filled(made):
    for name, value in made.values().items():
        value.copy_(drawn(*value.shape, name=name))
    return made


# ---- features and class logits in one pass


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_of_the_library_can_be_tapped_at_each_of_its_sites(name):
    options = {"inputs": 3 * 16 * 16, "hidden": (6,)} if name == "mlp" else {"channels": 3, "hidden": (6,)}
    plain = network(name, classes=C, generator=generator(0, "w"), **options)
    images = IMAGES.float()
    tapped = TappedNetwork(plain, list(plain.sites), images).eval()
    logits, features = tapped.split(tapped(images))
    assert torch.equal(logits, plain.eval()(images))
    assert {site: rows.shape[1] for site, rows in features.items()} == tapped.widths
    x = images
    for stage, place in plain.sites.items():
        assert tapped.places[stage] == place
    for stage, layer in [*plain.encoder.named_children(), *plain.projector.named_children()]:
        x = layer(x)
        if stage in features:
            torch.testing.assert_close(features[stage], averaged(stage, x, B))


@pytest.mark.parametrize("name", ["small_cnn", "wide_resnet"])
def test_stages_are_read_one_after_the_other_as_hooks_read_them(name):
    plain = network(name, channels=3, hidden=(6,), generator=generator(0, "w"))
    inside = nn.Sequential(copy.deepcopy(plain))  # no staged network: its sites need hooks
    names = [
        "logits",
        *[site for site in plain.sites if site != "logits"],
    ]  # in another order than that of use
    images = IMAGES.float()
    stages = TappedNetwork(plain, names, images)
    hooks = TappedNetwork(inside, {n: f"0.{plain.sites[n]}" for n in names}, images)
    assert stages.widths == hooks.widths
    assert list(stages.widths) == names
    assert torch.equal(stages.train()(images), hooks.train()(images))
    for (_, one), (_, other) in zip(plain.named_buffers(), inside.named_buffers(), strict=True):
        assert torch.equal(one, other)


def test_a_readers_own_network_is_tapped_by_the_names_of_its_submodules_before_what_follows_in_place():
    own, x = Own().double(), drawn(B, 3, 2)
    tapped = TappedNetwork(own, {"tokens": "embed", "pooled": "act"}, x[:1])
    logits, features = tapped.split(tapped(x))
    torch.testing.assert_close(logits, own(x))
    torch.testing.assert_close(features["tokens"], own.embed(x).mean(1))
    torch.testing.assert_close(features["pooled"], own.embed(x).relu().mean(1))


def test_feature_maps_are_averaged_over_places_and_tokens_over_tokens():
    assert averaged("a", torch.ones(2, 3, 4, 5) * torch.arange(4.0)[:, None], 2).tolist() == [[1.5] * 3] * 2
    assert averaged("a", torch.tensor([[[1.0, 2.0], [3.0, 6.0]]]), 1).tolist() == [[2.0, 4.0]]
    rows = torch.ones(2, 3)
    assert averaged("a", rows, 2).data_ptr() != rows.data_ptr()


def test_looking_leaves_no_hook_and_no_statistics():
    plain = make_cnn().train()
    before = copy.deepcopy(plain.state_dict())
    TappedNetwork(plain, ["conv1"], IMAGES)
    assert plain.training
    assert all(torch.equal(value, before[name]) for name, value in plain.state_dict().items())
    assert not any(layer._forward_hooks for layer in plain.modules())


@pytest.mark.parametrize("way", ["batched", "vmap", "loop"])
@pytest.mark.parametrize("make", [make_mlp, make_cnn])
def test_a_stack_of_tapped_networks_gives_what_its_members_give(make, way):
    x = IMAGES.expand(M, *IMAGES.shape) if make is make_cnn else drawn(M, B, D)
    sites = {make_cnn: ["conv1", "embedding"], make_mlp: ["encoder.layer1.0", "layer1", "encoder", "logits"]}
    members = [TappedNetwork(make(seed), sites[make], x[0]) for seed in range(M)]
    assert has_batched_form(members[0])
    stacked = StackedNetwork(members, way)(x)
    for m, member in enumerate(members):
        torch.testing.assert_close(stacked[m], member(x[m]), rtol=1e-10, atol=1e-12)


def test_a_site_without_a_layer_and_a_tapped_network_inside_another_have_no_batched_form():
    plain = nn.Sequential(nn.Linear(D, 6), nn.Sequential(), nn.Linear(6, C)).double()
    tapped = TappedNetwork(plain, ["1"], drawn(B, D))
    assert not has_batched_form(tapped)
    assert StackedNetwork([tapped]).way == "loop"
    assert not has_batched_form(nn.Sequential(TappedNetwork(make_mlp(), ["layer1"], drawn(B, D))))


@pytest.mark.parametrize(
    ("sites", "error", "message"),
    [
        (
            ["embeding"],
            KeyError,
            "the network has no site 'embeding'; .*did you mean 'embedding'",
        ),
        (["layer1", "layer1"], ValueError, "name at least one site, and each once"),
        ([], ValueError, "name at least one site, and each once"),
        ({"a": "encoder.nothing"}, KeyError, "no site 'encoder.nothing'"),
    ],
)
def test_unknown_sites_and_heads_of_one_name_are_refused(sites, error, message):
    with pytest.raises(error, match=message):
        TappedNetwork(make_mlp(), sites, drawn(B, D))


class Returns(nn.Module):
    """A network whose part or whole returns something else than features."""

    def __init__(self, part, whole):
        super().__init__()
        self.part, self.whole = Says(part), whole

    def forward(self, x):
        self.part(x)
        return self.whole(x)


class Says(nn.Module):
    def __init__(self, what):
        super().__init__()
        self.what = what

    def forward(self, x):
        return self.what(x)


@pytest.mark.parametrize(
    ("part", "whole", "error", "message"),
    [
        (lambda x: (x, x), lambda x: x, ValueError, "site 'part' gives a tuple for 6 inputs; a feature has"),
        (lambda x: x[0], lambda x: x, ValueError, r"site 'part' gives \(7,\) for 6 inputs"),
        (lambda x: x, lambda x: {"y": x}, TypeError, "the network returns a dict; allowed: one tensor"),
        (lambda x: x, lambda x: x.sum(), ValueError, r"maps 6 inputs to outputs of shape \(\)"),
    ],
)
def test_what_is_no_feature_and_no_class_logits_is_refused(part, whole, error, message):
    with pytest.raises(error, match=message):
        TappedNetwork(Returns(part, whole), ["part"], drawn(B, D))


def test_a_site_that_is_passed_never_or_twice_is_refused():
    with pytest.raises(ValueError, match="site 'unused' was passed 0 times in one forward pass; choose a"):
        TappedNetwork(Own().double(), ["unused"], drawn(B, 3, 2))
    shared = nn.Linear(D, D).double()
    with pytest.raises(ValueError, match="site '0' was passed 2 times"):
        TappedNetwork(nn.Sequential(shared, nn.ReLU(), shared), ["0"], drawn(B, D))


def test_sites_of_a_network_are_known_by_their_names_and_by_their_places():
    assert find_sites(make_mlp(), ["layer1", "encoder.layer1"]) == {
        "layer1": "encoder.layer1",
        "encoder.layer1": "encoder.layer1",
    }


# ---- heads


def by_hand(made, m, k, features, classes):
    """Logits of one labelling of one network, one head after the other."""
    values = {name: value[m] for name, value in made.values().items()}
    x = features[m]
    if made.hidden is not None:
        x = F.relu(x @ values["hidden_weight"][:, k] + values["hidden_bias"][k])
    rows = []
    for b in range(len(x)):
        g = 0 if classes is None else int(classes[m, b])
        own = slice(g * made.count, (g + 1) * made.count)
        rows.append(x[b] @ values["weight"][:, k, own] + values["bias"][k, own])
    return torch.stack(rows)


@pytest.mark.parametrize("hidden", [None, 4])
@pytest.mark.parametrize("labellings", [1, 3])
@pytest.mark.parametrize("groups", [1, C])
@pytest.mark.parametrize("flat", [30, 1])
def test_all_heads_at_once_are_one_head_after_the_other(monkeypatch, hidden, labellings, groups, flat):
    monkeypatch.setattr(module, "FLAT", flat)  # above it the product is a gathered one
    made = filled(
        RandomLabelHeads(
            D, N_LABELS, models=M, groups=groups, labellings=labellings, hidden=hidden, seeds=range(M),
            dtype=torch.float64,
        )
    )  # fmt: skip
    features = drawn(M, B, D, name="features")
    classes = torch.randint(groups, (M, B), generator=generator(0, "classes")) if groups > 1 else None
    logits = made(features, classes)
    assert logits.shape == (M, B, labellings, N_LABELS)
    for m in range(M):
        for k in range(labellings):
            torch.testing.assert_close(
                logits[m, :, k], by_hand(made, m, k, features, classes), rtol=1e-12, atol=1e-12
            )


@pytest.mark.parametrize("hidden", [None, 4])
def test_the_gathered_product_has_the_gradients_of_the_flat_one(monkeypatch, hidden):
    made = filled(
        RandomLabelHeads(
            D, N_LABELS, models=M, groups=C, labellings=2, hidden=hidden, seeds=range(M), dtype=torch.float64
        )
    )
    classes = torch.randint(C, (M, B), generator=generator(0, "classes"))
    found = []
    for flat in (30, 1):
        monkeypatch.setattr(module, "FLAT", flat)
        features = drawn(M, B, D, name="features").requires_grad_()
        live = {name: value.clone().requires_grad_() for name, value in made.values().items()}
        loss = torch.func.functional_call(made, live, (features, classes)).square().sum()
        found.append(torch.autograd.grad(loss, [features, *live.values()]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("hidden", [None, 4])
@pytest.mark.parametrize("flat", [30, 1])
@pytest.mark.parametrize("groups", [1, C])
def test_the_closed_gradients_of_heads_are_those_of_autograd(monkeypatch, hidden, flat, groups):
    monkeypatch.setattr(module, "FLAT", flat)
    kind = {"models": M, "groups": groups, "labellings": 2, "hidden": hidden, "dtype": torch.float64}
    made = filled(RandomLabelHeads(D, N_LABELS, **kind, seeds=range(M)))
    classes = torch.randint(groups, (M, B), generator=generator(0, "classes")) if groups > 1 else None
    features, slopes = drawn(M, B, D, name="features"), drawn(M, B, 2, N_LABELS, name="slopes")
    live = {name: value.clone().requires_grad_() for name, value in made.values().items()}
    total = (slopes * torch.func.functional_call(made, live, (features, classes))).sum()
    expected = torch.autograd.grad(total, list(live.values()))
    found = made.gradients(features, slopes, classes)
    assert set(found) == set(live)
    for name, gradient in zip(live, expected, strict=True):
        torch.testing.assert_close(found[name], gradient, rtol=1e-11, atol=1e-11)


def test_heads_start_at_zero_and_a_layer_between_by_the_seed_alike_for_all_labellings():
    made = RandomLabelHeads(D, N_LABELS, models=2, labellings=3, hidden=4, seeds=[5, 6])
    alone = RandomLabelHeads(D, N_LABELS, hidden=4, seeds=[6])
    assert not made.weight.any()
    assert not made.bias.any()
    assert torch.equal(made.hidden_weight[1, :, 2], alone.hidden_weight[0, :, 0])
    assert torch.equal(made.hidden_bias[1, 2], alone.hidden_bias[0, 0])
    assert not torch.equal(made.hidden_weight[0], made.hidden_weight[1])
    assert made.hidden_weight.abs().max() <= D**-0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 1}, "n=1; need at least two random labels"),
        ({"width": 0}, "width=0; allowed: a whole number, 1 or more"),
        ({"groups": 0}, "groups=0"),
        ({"labellings": 1.5}, "labellings=1.5"),
        ({"hidden": 0, "seeds": [0]}, "hidden=0"),
        (
            {"hidden": 4, "models": 2, "seeds": [0]},
            "1 seeds for the hidden layers of 2 networks",
        ),
    ],
)
def test_heads_of_sizes_that_do_not_fit_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        RandomLabelHeads(**{"width": D, "count": N_LABELS, **given})


def test_class_wise_heads_need_classes():
    with pytest.raises(ValueError, match="4 class-wise heads need y, the class of each example"):
        RandomLabelHeads(D, N_LABELS, groups=C)(drawn(1, B, D))


def test_a_headed_network_returns_class_logits_and_those_of_its_heads():
    x, classes = drawn(B, D), torch.arange(B) % C
    tapped = TappedNetwork(make_mlp(), ["layer1", "embedding"], x)
    made = [
        filled(RandomLabelHeads(d, N_LABELS, groups=C, dtype=torch.float64)) for d in tapped.widths.values()
    ]
    headed = HeadedNetwork(tapped, made).eval()
    logits, random = headed.with_heads(x, classes)
    assert torch.equal(headed(x), headed.network(x))
    assert torch.equal(logits, headed(x))
    features = tapped.split(tapped(x))[1]
    for head, (site, found) in zip(made, random.items(), strict=True):
        assert torch.equal(found, head(features[site][None], classes[None])[0])
    assert find_sites(headed, ["layer1"]) == {"layer1": "tapped.network.encoder.layer1"}


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        (torch.arange(B - 1) % C, ValueError, "one label per row is needed; got 6 rows and labels of shape"),
        (torch.arange(B) % C + 1, ValueError, r"class label 4 of row 3 is outside 0\.\.3"),
        (torch.arange(B) / B, TypeError, "class labels must be class numbers of an integer type"),
        (None, ValueError, "4 class-wise heads need y, the class of each example"),
    ],
)
def test_classes_that_do_not_fit_the_inputs_of_a_headed_network_are_refused(classes, error, message):
    x = drawn(B, D)
    tapped = TappedNetwork(make_mlp(), ["embedding"], x)
    headed = HeadedNetwork(tapped, [RandomLabelHeads(tapped.widths["embedding"], N_LABELS, groups=C)])
    with pytest.raises(error, match=message):
        headed.with_heads(x, classes)


def test_heads_are_asked_by_the_name_of_their_site():
    x = drawn(B, D)
    tapped = TappedNetwork(make_mlp(), ["embedding"], x)
    headed = HeadedNetwork(tapped, [RandomLabelHeads(tapped.widths["embedding"], N_LABELS)])
    with pytest.raises(ValueError, match="unknown site 'embeding'; did you mean 'embedding'"):
        headed.told("embeding", x)


def moved_by(outputs, parameters):
    """Whether any parameter hears of some outputs."""
    found = torch.autograd.grad(outputs.sum(), parameters, allow_unused=True, retain_graph=True)
    return any(one is not None and bool(one.any()) for one in found)


@pytest.mark.parametrize("way", ["alone", "batched", "hooks"])
def test_features_at_sites_where_nothing_acts_carry_no_gradient(way):
    made = make_mlp()
    given = nn.Sequential(made) if way == "hooks" else made
    sites = {name: f"0.{made.sites[name]}" if way == "hooks" else name for name in ("layer1", "embedding")}
    x = torch.randn(B, D, generator=generator(0, "inputs"), dtype=torch.float64)
    for acting, expected in ((None, (True, True)), (["embedding"], (False, True)), ((), (False, False))):
        tapped = TappedNetwork(given, sites, x, acting)
        network = StackedNetwork([tapped, tapped], way="batched") if way == "batched" else tapped
        outputs = network(x.expand(2, -1, -1) if way == "batched" else x)
        logits, features = tapped.split(outputs)
        parameters = list(network.parameters())
        assert moved_by(logits, parameters)
        assert tuple(moved_by(rows, parameters) for rows in features.values()) == expected


def test_a_site_that_may_not_act_is_told_by_name():
    with pytest.raises(ValueError, match="unknown acting site 'embeding'; did you mean 'embedding'"):
        TappedNetwork(make_mlp(), ["embedding"], torch.randn(2, D, dtype=torch.float64), ["embeding"])
