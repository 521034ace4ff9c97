"""The report on a network of one's own: policies by name, sites by default, classes that are absent."""

import pytest
import torch
from torch import nn

from memorization.data.augmentation.policies import augmentation
from memorization.draws import generator
from memorization.studies.benign_memorization.own_network import memorization_report

N = 40


@pytest.fixture(scope="module")
def data():
    images = torch.rand(2 * N, 1, 8, 8, generator=generator(0, "images"))
    true = torch.arange(2 * N) % 4
    labels = torch.randint(4, (N,), generator=generator(0, "labels"))
    return {
        "images": images[:N],
        "labels": labels,
        "true_labels": true[:N],
        "test_images": images[N:],
        "test_labels": true[N:],
    }


class Net(nn.Module):
    """A network with children that are no sites: an unused one, a shared one, one that gives two tensors."""

    def __init__(self, seed):
        super().__init__()
        self.conv, self.relu, self.spare = nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Linear(3, 3)
        self.embedding, self.rows = nn.Linear(144, 8), nn.RNN(8, 8, batch_first=True)
        self.logits = nn.Linear(8, 4)
        for number, parameter in enumerate(self.parameters()):
            nn.init.normal_(parameter, std=0.3, generator=generator(seed, number))

    def forward(self, x):
        x = self.relu(self.embedding(self.relu(self.conv(x)).flatten(1)))
        return self.logits(self.rows(x[:, None])[0][:, 0])


def report(data, model=None, **more):
    return memorization_report(model or Net(1), Net(0), **{**data, "k": 3, **more})


def test_a_policy_may_be_given_by_its_name(data):
    named, made = (report(data, policy=p) for p in ("small_digits", augmentation("small_digits")))
    assert named.accuracies == made.accuracies
    assert "fresh_view" in named.accuracies


def test_an_unknown_policy_offers_the_nearest(data):
    with pytest.raises(ValueError, match="unknown augmentation 'small_digit'; did you mean 'small_digits'"):
        report(data, policy="small_digit")


def test_a_policy_that_is_no_function_is_refused(data):
    with pytest.raises(
        TypeError, match=r"policy=3; allowed: a function policy\(images, generator, strength=...\)"
    ):
        report(data, policy=3)


def test_a_policy_that_returns_another_shape_is_named(data):
    def cut(images, chance, strength):
        return images[..., :4]

    with pytest.raises(
        ValueError, match=r"the policy '.*cut' returned shape \(40, 1, 8, 4\) for images of shape"
    ):
        report(data, policy=cut)


def test_children_that_are_used_never_or_twice_are_no_sites_and_are_told(data):
    found = report(data)
    assert found.table["site"].tolist() == ["conv", "embedding", "logits"]
    left_out = (
        "no sites are the direct children relu (used 2 times), spare (used 0 times), rows (gives no feature)"
    )
    assert f"{left_out}; name others as sites" in found.warnings


def test_a_network_without_a_child_to_probe_asks_for_sites(data):
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.Unflatten(1, (1, 8, 8)))

        def forward(self, x):
            return self.inner(self.inner(x)).flatten(1)

    with pytest.raises(
        ValueError, match="no direct child of the network is used once in a forward pass; give sites="
    ):
        report(data, Shared())


def test_test_classes_that_no_training_image_has_are_told_once(data):
    true = data["true_labels"].clone()
    true[true == 1] = 3
    told = [w for w in report(data, true_labels=true).warnings if "no reference row has" in w]
    assert told == [
        "10 of 40 queries have a class that no reference row has (1) and count as wrong; add reference "
        "rows of it, or take these queries out"
    ]


def test_outputs_that_are_not_finite_are_refused_though_no_site_shows_them(data):
    class Diverged(Net):
        def forward(self, x):
            return super().forward(x) / 0

    with pytest.raises(ValueError, match="the network gives NaN or Inf for 40 of 40 images"):
        report(data, Diverged(1))
