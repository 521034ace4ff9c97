"""A linear classifier on frozen features."""

import pytest
import torch

from memorization.studies.feature_contamination.pretrained import fit_linear_head
from memorization.training.train import WarmRecipe

RECIPE = WarmRecipe(epochs=20, learning_rate=3e-2, weight_decay=1e-3, warmup=5)


def clusters(n: int = 120):
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 3
    centers = 3 * torch.eye(3, 5)
    return centers[labels] + 0.3 * torch.randn(n, 5, generator=source), labels


def test_clusters_are_told_apart():
    features, labels = clusters()
    head = fit_linear_head(features, labels, 3, RECIPE, seed=0, batch=30)
    assert (head(features).argmax(1) == labels).all()
    assert not head.weight.requires_grad


def test_a_seed_gives_the_same_head_and_another_one_another():
    features, labels = clusters()
    first, again, other = (
        fit_linear_head(features, labels, 3, RECIPE, seed=seed, batch=30).weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_more_weight_decay_gives_smaller_weights():
    features, labels = clusters()
    sizes = [
        fit_linear_head(features, labels, 3, WarmRecipe(20, 3e-2, decay, 5), seed=0, batch=30).weight.norm()
        for decay in (0.0, 5.0)
    ]
    assert sizes[1] < 0.8 * sizes[0]


def test_the_incomplete_last_batch_is_dropped():
    features, labels = clusters(121)
    assert fit_linear_head(features, labels, 3, RECIPE, seed=0, batch=60).weight.isfinite().all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"batch": 121}, "batch=121; allowed: 1 to 120"),
        ({"classes": 2}, r"labels must be in 0..1 \(classes=2"),
        ({"labels": torch.zeros(7, dtype=torch.int64)}, r"labels of shape \(7,\); allowed"),
    ],
)
def test_what_does_not_fit_is_refused(change, text):
    features, labels = clusters()
    given = {"features": features, "labels": labels, "classes": 3, "recipe": RECIPE, "batch": 30} | change
    with pytest.raises(ValueError, match=text):
        fit_linear_head(**given, seed=0)
