"""Features at named sites: what is stored, and in which state the network is left."""

import pytest
import torch
from torch import nn

from memorization.measures.sites import find_sites, site_features


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 64, 5)
    )


@pytest.fixture
def images():
    return torch.rand(11, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def hooks(model):
    return sum(len(module._forward_hooks) for module in model.modules())


def test_each_site_is_what_its_module_computes_in_evaluation_mode(model, images):
    found = site_features(model, images, ["2", "4"], pool=8, batch=4)
    model.eval()
    assert torch.allclose(found["2"], model[:3](images).flatten(1))
    assert torch.allclose(found["4"], model(images))


def test_feature_maps_are_average_pooled_to_four_by_four(model, images):
    found = site_features(model, images, ["0"])["0"]
    by_hand = model[0](images).reshape(11, 3, 4, 2, 4, 2).mean(dim=(3, 5)).flatten(1)
    assert torch.allclose(found, by_hand, atol=1e-6)


def test_feature_maps_that_are_small_already_stay_as_they_are(model, images):
    found = site_features(model[:3], images[..., :3, :2], ["0"], pool=4)["0"]
    assert torch.allclose(found, model[0](images[..., :3, :2]).flatten(1))


def test_token_sequences_are_averaged_over_the_tokens():
    tokens = torch.rand(6, 7, 3, generator=torch.Generator().manual_seed(1))
    found = site_features(nn.Sequential(nn.Tanh(), nn.Flatten()), tokens, ["0"])["0"]
    assert torch.allclose(found, tokens.tanh().mean(dim=1))


def test_a_mapping_gives_sites_their_names_and_their_order(model, images):
    assert list(site_features(model, images, {"logits": "4", "first": "0", "again": "0"})) == [
        "logits",
        "first",
        "again",
    ]


@pytest.mark.parametrize("batch", [1, 4, 11, 1000])
def test_the_size_of_the_batches_changes_nothing(model, images, batch):
    whole = site_features(model, images, ["1", "4"])
    for site, rows in site_features(model, images, ["1", "4"], batch=batch).items():
        assert torch.allclose(rows, whole[site], atol=1e-6)


def test_features_can_be_stored_in_half_precision(model, images):
    assert site_features(model, images, ["4"], dtype=torch.bfloat16)["4"].dtype == torch.bfloat16


def test_features_hold_no_gradient(model, images):
    assert not site_features(model, images, ["4"])["4"].requires_grad


def test_the_running_statistics_do_not_move(model, images):
    before = model[1].running_mean.clone()
    site_features(model.train(), images, ["4"])
    assert torch.equal(model[1].running_mean, before)


def test_every_submodule_gets_its_own_mode_back(model, images):
    model.train()
    model[1].eval()
    site_features(model, images, ["4"])
    assert [module.training for module in model] == [True, False, True, True, True]


class Failing(nn.Module):
    def forward(self, images):
        raise RuntimeError("out of order")


def test_an_error_in_the_network_leaves_no_hook_and_the_mode_as_it_was(images):
    model = nn.Sequential(nn.ReLU(), Failing()).train()
    with pytest.raises(RuntimeError, match="out of order"):
        site_features(model, images, ["0", "1"])
    assert hooks(model) == 0
    assert all(module.training for module in model.modules())


def test_no_hook_is_left(model, images):
    site_features(model, images, ["0", "4"])
    assert hooks(model) == 0


def test_hooks_of_others_stay(model, images):
    model[0].register_forward_hook(lambda *_: None)
    site_features(model, images, ["0", "4"])
    assert hooks(model) == 1


def test_an_unknown_site_is_answered_with_the_available_ones(model, images):
    with pytest.raises(KeyError, match="the network has no site 'embedding'; available are 0, 1, 2, 3, 4"):
        site_features(model, images, {"embedding": "embedding"})


@pytest.mark.parametrize("sites", [[], ["0", "0"], {}])
def test_no_site_or_one_twice_is_refused(model, sites):
    with pytest.raises(ValueError, match="name at least one site, and each once"):
        find_sites(model, sites)


def test_one_name_is_one_site(model):
    assert list(find_sites(model, "4")) == ["4"]


def test_a_module_that_is_used_twice_is_refused(images):
    shared = nn.ReLU()
    with pytest.raises(ValueError, match="site '2' was passed 2 times in one forward pass"):
        site_features(nn.Sequential(shared, nn.Flatten(), shared), images, ["2"])


class Skipping(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Linear(2, 2)

    def forward(self, images):
        return images.flatten(1)


def test_a_module_that_is_never_reached_is_refused(images):
    with pytest.raises(ValueError, match="site 'unused' was passed 0 times"):
        site_features(Skipping(), images, ["unused"])


def test_an_output_that_is_no_feature_is_refused():
    with pytest.raises(ValueError, match=r"site '0' gives tuple for 4 images; a feature has shape \(B, d\)"):
        site_features(nn.Sequential(nn.LSTM(3, 2), Skipping()), torch.ones(4, 5, 3), ["0"])


def test_no_images_are_refused(model, images):
    with pytest.raises(ValueError, match=r"at least one image is needed; got shape \(0, 1, 8, 8\)"):
        site_features(model, images[:0], ["0"])


@pytest.mark.parametrize("name", ["pool", "batch"])
def test_sizes_below_one_are_refused(model, images, name):
    with pytest.raises(ValueError, match=f"{name} must be a whole number >= 1; got 0"):
        site_features(model, images, ["0"], **{name: 0})
