import pytest
import torch
from scipy import stats

from memorization.data.labels import class_groups, random_labels
from memorization.draws import generator


def source(name="labels"):
    return generator(0, name)


def test_random_labels_are_uniform_and_drawn_with_replacement():
    labels = random_labels(20_000, 10, source())
    assert labels.dtype == torch.int64
    counts = torch.bincount(labels, minlength=10)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3
    assert len(set(counts.tolist())) > 1  # a permutation of balanced labels would have equal counts


def test_random_labels_say_nothing_about_the_true_ones():
    true = torch.arange(20_000) % 10
    table = torch.bincount(true * 10 + random_labels(20_000, 10, source(), true=true), minlength=100)
    assert stats.chisquare(table.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(("n", "noise", "kept"), [(10, 0.9, 1), (10, 0.25, 7), (7, 0.5, 3), (50, 0.0, 50)])
def test_exactly_the_rounded_down_number_of_true_labels_is_kept(n, noise, kept):
    true = torch.zeros(n, dtype=torch.int64)
    labels = random_labels(n, 10**9, source(), noise, true)  # so many classes: no random label is 0
    assert int((labels == 0).sum()) == kept


def test_the_kept_examples_are_anywhere():
    true = torch.zeros(1000, dtype=torch.int64)
    places = (random_labels(1000, 10**9, source(), 0.5, true) == 0).nonzero().flatten()
    assert stats.kstest(places.numpy() / 1000, "uniform").pvalue > 1e-3


def test_one_generator_state_gives_the_same_random_labels_at_every_noise_level():
    true = torch.full((1000,), 9)
    full = random_labels(1000, 10, source())
    half = random_labels(1000, 10, source(), 0.5, true)
    assert torch.equal(half[half != 9], full[half != 9])


def test_zero_noise_returns_the_true_labels_and_zero_examples_nothing():
    true = torch.arange(30) % 10
    assert torch.equal(random_labels(30, 10, source(), 0.0, true), true)
    assert random_labels(0, 10, source()).shape == (0,)


@pytest.mark.parametrize("noise", [-0.1, 1.1, float("nan")])
def test_noise_outside_its_range_is_refused(noise):
    with pytest.raises(ValueError, match=r"label noise .* is outside \[0, 1\]; give the fraction"):
        random_labels(5, 10, source(), noise, torch.zeros(5, dtype=torch.int64))


def test_partial_noise_without_fitting_true_labels_is_refused():
    with pytest.raises(ValueError, match=r"label noise 0.5 keeps true labels; give them as true="):
        random_labels(5, 10, source(), 0.5)
    with pytest.raises(ValueError, match=r"shape \(4,\) for 5 examples; give one label each"):
        random_labels(5, 10, source(), 0.5, torch.zeros(4, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"true labels lie in 1..10; allowed: 0..9 \(classes=10\)"):
        random_labels(5, 10, source(), 0.5, torch.tensor([1, 2, 3, 10, 4]))
    with pytest.raises(ValueError, match=r"classes=0; at least 1 class"):
        random_labels(5, 0, source())


LABELS = torch.arange(120) % 3


def test_groups_are_disjoint_and_of_one_class_and_begin_with_their_anchor():
    anchors = torch.tensor([5, 0, 7, 3, 119])
    groups = class_groups(LABELS, anchors, 8, source())
    assert groups.shape == (5, 8)
    assert torch.equal(groups[:, 0], anchors)
    assert len(groups.unique()) == groups.numel()
    assert (LABELS[groups] == LABELS[anchors].unsqueeze(1)).all()


def test_without_anchors_as_many_groups_are_made_as_the_classes_can_fill():
    groups = class_groups(LABELS, None, 7, source())
    assert groups.shape == (3 * (40 // 7), 7)
    assert len(groups.unique()) == groups.numel()
    assert (LABELS[groups] == LABELS[groups[:, :1]]).all()


def test_groups_of_one_are_the_anchors():
    assert class_groups(LABELS, torch.arange(120), 1, source()).flatten().tolist() == list(range(120))


def test_which_images_join_a_group_is_random():
    anchors = torch.tensor([0])
    first, second = (class_groups(LABELS, anchors, 10, source(name)) for name in ("a", "b"))
    assert set(first.flatten().tolist()) != set(second.flatten().tolist())


def test_groups_larger_than_their_class_are_refused():
    message = r"class 2 has 40 images, but its 3 anchors with groups of size 14 need 42; ask for smaller"
    with pytest.raises(ValueError, match=message):
        class_groups(LABELS, torch.tensor([0, 2, 5, 8]), 14, source())


def test_groups_that_no_class_can_fill_are_refused():
    message = r"no class has images enough for one group of size 41; the largest has 40: ask"
    with pytest.raises(ValueError, match=message):
        class_groups(LABELS, None, 41, source())


def test_empty_groups_and_double_anchors_are_refused():
    with pytest.raises(ValueError, match=r"groups of size 0; a group has at least its anchor"):
        class_groups(LABELS, None, 0, source())
    with pytest.raises(
        ValueError, match=r"groups of size 2.5; a group has at least its anchor .* whole number"
    ):
        class_groups(LABELS, None, 2.5, source())
    with pytest.raises(ValueError, match=r"an anchor is named twice"):
        class_groups(LABELS, torch.tensor([1, 1]), 2, source())
