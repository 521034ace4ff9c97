import pytest
import torch
from scipy import stats

from memorization.data.augmentation.mixing import cutmix, mixup
from memorization.draws import generator


def batch(n=16, size=8):
    """Image i has the value i everywhere, its label is i."""
    return torch.arange(float(n)).view(n, 1, 1, 1).expand(n, 3, size, size).contiguous(), torch.arange(n)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_authors_target_is_the_label_of_the_first_image(mix):
    images, labels = batch()
    mixed, targets = mix(images, labels, 16, generator(0, "x"), probability=1.0)
    assert torch.equal(targets, torch.eye(16))
    assert not torch.equal(mixed, images)


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_the_textbooks_target_is_mixed_like_the_image(mix):
    images, labels = batch()
    for seed in range(5):
        mixed, targets = mix(images, labels, 16, generator(seed, "x"), probability=1.0, targets="mixed")
        assert (targets.sum(dim=1) - 1).abs().max() < 1e-6
        assert (mixed.mean(dim=(1, 2, 3)) - targets @ torch.arange(16.0)).abs().max() < 1e-4


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_both_kinds_of_targets_go_with_the_same_images(mix):
    images, labels = batch()
    first, mixed = (mix(images, labels, 16, generator(0, "x"), targets=t)[0] for t in ("first", "mixed"))
    assert torch.equal(first, mixed)


def test_mixup_has_one_uniform_weight_per_batch():
    images, labels = batch()
    weights = []
    for seed in range(400):
        _, targets = mixup(images, labels, 16, generator(seed, "x"), probability=1.0, targets="mixed")
        own = targets.diagonal()
        weight = own[own < 1 - 1e-6]  # an image can be its own partner
        assert weight.max() - weight.min() < 1e-6
        weights.append(float(weight[0]))
    assert stats.kstest(weights, "uniform").pvalue > 1e-3


@pytest.mark.parametrize(("mix", "probability"), [(mixup, 0.8), (cutmix, 1.0)])
def test_a_batch_is_mixed_with_the_default_probability(mix, probability):
    images, labels = batch(4, 32)
    changed = sum(
        not torch.equal(mix(images, labels, 4, generator(seed, "x"))[0], images) for seed in range(400)
    )
    # four images are all their own partners once in 24 times; a cutmix box can have no pixel
    assert abs(changed / 400 - probability * 23 / 24) < 0.06


def test_cutmix_replaces_one_box_of_the_drawn_area_in_all_images():
    images, labels = batch(16, 32)
    areas = []
    for seed in range(400):
        mixed, _ = cutmix(images, labels, 16, generator(seed, "x"))
        replaced = (mixed != images).any(dim=1)  # (B, S, S)
        box = replaced.any(dim=0)
        rows, columns = box.any(dim=1), box.any(dim=0)
        assert torch.equal(box, rows[:, None] & columns)
        for image in replaced:
            assert torch.equal(image, box) or not image.any()
        areas.append(box.double().mean())
    # half of the image before it is cut at the edges
    assert 0.25 < float(torch.stack(areas).mean()) < 0.4


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_stacked_models_mix_and_draw_by_themselves(mix):
    images, labels = batch(12, 8)
    stacked = torch.stack([images, images + 100])
    mixed, targets = mix(
        stacked, labels.expand(2, -1), 12, generator(1, "x"), probability=1.0, targets="mixed"
    )
    assert mixed.shape == stacked.shape
    assert targets.shape == (2, 12, 12)
    assert float(mixed[0].max()) <= 11
    assert float(mixed[1].min()) >= 100
    assert not torch.equal(targets[0], targets[1])


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_at_probability_zero_nothing_is_mixed(mix):
    images, labels = batch()
    mixed, targets = mix(images, labels, 16, generator(0, "x"), probability=0.0, targets="mixed")
    assert torch.equal(mixed, images)
    assert torch.equal(targets, torch.eye(16))


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_what_does_not_fit_is_refused(mix):
    images, labels = batch()
    with pytest.raises(ValueError, match=r"probability=1.5; allowed: 0..1"):
        mix(images, labels, 16, generator(0, "x"), probability=1.5)
    with pytest.raises(ValueError, match=r"unknown targets 'soft'; choose one of first, mixed"):
        mix(images, labels, 16, generator(0, "x"), targets="soft")
    with pytest.raises(ValueError, match=r"labels of shape \(3,\); allowed: \(B, c, S, S\) and \(B,\)"):
        mix(images, labels[:3], 16, generator(0, "x"))
