"""Features at named sites and how the network is left; probes; and invariance that is known."""

import pytest
import torch
from torch import nn

from memorization.measures.probes import knn_probe, linear_probe, noise_probe
from memorization.measures.sites import SiteProber, invariance, site_features
from memorization.models.networks import find_sites


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
    assert find_sites(model, "4") == {"4": "4"}


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
    with pytest.raises(ValueError, match=f"{name}=0; allowed: a whole number, 1 or more"):
        site_features(model, images, ["0"], **{name: 0})


@pytest.fixture
def prober(images):
    labels = torch.arange(11) % 3
    return SiteProber(images[:7], labels[:7], images[7:], labels[7:], k=2)


def test_every_probe_of_a_site_is_that_of_its_features(model, images, prober):
    memorized, labels = images[2:8], torch.tensor([0, 1, 0, 1, 1, 0])
    found = prober.probes(model, {"a": "0", "b": "4"}, memorized, labels, linear=True)
    assert list(found) == ["a", "b"]
    for site, place in (("a", "0"), ("b", "4")):
        known, asked, noisy = (
            site_features(model, x, [place])[place] for x in (images[:7], images[7:], memorized)
        )
        given = known, prober.labels, asked, prober.test_labels
        assert found[site] == {
            "size": known.shape[1],
            "clean_probe": knn_probe(*given, k=2).accuracy,
            "noise_probe": noise_probe(noisy, labels, 2).accuracy,
            "linear_probe": linear_probe(*given).accuracy,
        }


def test_a_probe_that_is_not_asked_for_is_not_taken(model, prober):
    assert list(prober.probes(model, ["4"])["4"]) == ["size", "clean_probe"]


def test_a_site_that_cannot_be_probed_is_named(model, prober):
    nn.init.constant_(model[4].weight, torch.nan)
    with pytest.raises(ValueError, match="site '4': 7 of 7 rows of the reference features hold NaN"):
        prober.probes(model, ["0", "4"])


def test_images_in_a_numpy_array_are_refused_with_what_to_give(model, images):
    with pytest.raises(TypeError, match="images: got a ndarray; allowed: a tensor, such as"):
        site_features(model, images.numpy(), ["0"])


def test_a_site_is_what_its_module_gave_though_the_next_one_works_in_place():
    x = torch.tensor([[-1.0, 2.0]])
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(inplace=True))
    nn.init.eye_(model[0].weight)
    assert torch.equal(site_features(model, x, ["0"])["0"], x)


@pytest.fixture
def pictures():
    return torch.rand(200, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def source():
    return torch.Generator().manual_seed(1)


def same(images, chance, strength=1.0):
    return images


def only_noise(images, chance, strength=1.0):
    return torch.rand(images.shape, generator=chance)


def noisy(images, chance, strength=1.0):
    return images + strength * torch.randn(images.shape, generator=chance)


def flat():
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 3, bias=False))


def test_views_that_are_the_image_itself_are_invariant(pictures):
    assert invariance(flat(), pictures, same, ["0", "1"], source()) == {"0": 0.0, "1": 0.0}


def test_views_that_say_nothing_of_the_image_are_as_far_apart_as_two_images(pictures):
    found = invariance(flat(), pictures, only_noise, ["0", "1"], source(), views=64)
    assert list(found.values()) == pytest.approx([1, 1], abs=0.08)


def test_a_value_in_between_is_that_of_the_definition(pictures):
    found = invariance(nn.Sequential(nn.Flatten()), pictures, noisy, ["0"], source(), views=4, strength=0.2)
    chance, same_sum, different_sum = source(), 0.0, 0.0
    for _ in range(2):
        first, second = (nn.functional.normalize(noisy(pictures, chance, 0.2).flatten(1)) for _ in range(2))
        for i in range(200):
            same_sum += float((first[i] - second[i]).square().sum())
            different_sum += float((first[i] - second[i - 1]).square().sum())
    assert found["0"] == pytest.approx(same_sum / different_sum, rel=1e-5)
    assert 0.05 < found["0"] < 0.95


def test_the_scale_of_the_features_does_not_matter(pictures):
    plain = invariance(nn.Sequential(nn.Flatten()), pictures, noisy, ["0"], source())
    scaled = invariance(
        nn.Sequential(nn.Flatten()),
        pictures,
        lambda x, g, strength: 9 * noisy(x, g, strength),
        ["0"],
        source(),
    )
    assert scaled["0"] == pytest.approx(plain["0"], rel=1e-5)


def test_one_feature_for_all_images_is_undefined(pictures):
    constant = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.zeros_(constant[1].weight)
    with pytest.warns(UserWarning, match="site '1' has one feature for all images"):
        found = invariance(constant, pictures, noisy, ["1"], source())
    assert found["1"] != found["1"]


def test_dead_features_are_reported(pictures):
    dead = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    nn.init.zeros_(dead[1].weight)
    nn.init.zeros_(dead[1].bias)
    with (
        pytest.warns(UserWarning, match="400 of 400 rows of the site '1' features are zero"),
        pytest.warns(UserWarning, match="one feature for all images"),
    ):
        invariance(dead, pictures, noisy, ["1"], source(), views=2)


@pytest.mark.parametrize("views", [0, 3, 2.0])
def test_views_come_in_pairs(pictures, views):
    with pytest.raises(ValueError, match=f"an even number >= 2 is needed; got {views}"):
        invariance(flat(), pictures, same, ["0"], source(), views=views)


def test_one_image_is_not_enough(pictures):
    with pytest.raises(ValueError, match="at least two are needed; got 1"):
        invariance(flat(), pictures[:1], same, ["0"], source())


def test_images_of_whole_numbers_are_refused(pictures):
    with pytest.raises(
        TypeError, match=r"images are torch.uint8; allowed: floating point in \[0, 1\]: divide"
    ):
        invariance(flat(), (255 * pictures).to(torch.uint8), same, ["0"], source())
