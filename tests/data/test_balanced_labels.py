"""Balanced random labels: by id, within classes, drawn once, and named by a digest."""

import pytest
import torch
from scipy import stats

from memorization.data.labels import balanced_labels, label_digest

IDS = torch.arange(60) * 7 + 3
CLASSES = torch.arange(60) % 4


def counts(labels, count):
    return torch.bincount(labels, minlength=count)


@pytest.mark.parametrize(("count", "classes"), [(2, None), (7, None), (5, CLASSES), (4, CLASSES)])
def test_each_label_is_as_frequent_as_the_others_up_to_one(count, classes):
    labels = balanced_labels(IDS, count, 0, classes)
    assert labels.dtype == torch.int64
    groups = [labels] if classes is None else [labels[classes == c] for c in range(4)]
    for group in groups:
        times = counts(group, count)
        assert times.sum() == len(group)
        assert times.max() - times.min() <= (len(group) % count > 0)


@pytest.mark.parametrize("classes", [None, CLASSES])
def test_labels_belong_to_ids_whatever_the_order_of_the_rows(classes):
    labels = balanced_labels(IDS, 5, 3, classes)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    moved = balanced_labels(IDS[order], 5, 3, None if classes is None else classes[order])
    assert torch.equal(moved, labels[order])
    assert label_digest(IDS[order], moved) == label_digest(IDS, labels)


def test_a_seed_gives_one_labelling_and_another_seed_another():
    labels = balanced_labels(IDS, 5, 3)
    assert torch.equal(labels, balanced_labels(IDS, 5, 3))
    other = balanced_labels(IDS, 5, 4)
    assert not torch.equal(labels, other)
    assert label_digest(IDS, labels) != label_digest(IDS, other)
    assert label_digest(IDS, labels) != label_digest(IDS + 1, labels)
    assert len(label_digest(IDS, labels)) == 16


def test_the_labels_of_a_class_do_not_depend_on_the_other_classes():
    labels, some = balanced_labels(IDS, 5, 0, CLASSES), CLASSES != 2
    assert torch.equal(balanced_labels(IDS[some], 5, 0, CLASSES[some]), labels[some])


def test_labels_say_nothing_about_neighbors_and_the_odd_one_is_any():
    draws = torch.stack([balanced_labels(torch.arange(9), 4, seed) for seed in range(400)])
    alike = (draws[:, 0] == draws[:, 1]).sum().item()
    pairs = (3 * 2 + 6) / (9 * 8)  # 9 examples of 4 labels: 3, 2, 2, 2 of each
    assert stats.binomtest(alike, 400, pairs).pvalue > 1e-3
    odd = torch.stack([counts(row, 4).argmax() for row in draws])
    assert stats.chisquare(counts(odd, 4).numpy()).pvalue > 1e-3


def test_fewer_examples_than_labels_are_an_explicit_wish():
    labels = balanced_labels(IDS, 1000, 0, few=True)
    assert len(labels.unique()) == 60


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"count": 1}, ValueError, "n=1; need at least two random labels"),
        ({"count": 2.0}, ValueError, "n=2.0; need at least two random labels"),
        (
            {"count": 61},
            ValueError,
            "n=61 random labels, but the whole set has 60 examples",
        ),
        ({"count": 16, "classes": CLASSES}, ValueError, "n=16 random labels, but class 0 has 15 examples"),
        ({"seed": -1}, ValueError, "seed=-1; allowed: a whole number, 0 or more"),
        ({"ids": IDS.float()}, TypeError, r"ids are torch.float32 of shape \(60,\); allowed: int64"),
        ({"ids": IDS.tolist()}, TypeError, "ids: got a list; allowed: a tensor"),
        ({"ids": IDS % 7}, ValueError, "id 3 is there 60 times; give each example an id of its own"),
        ({"classes": CLASSES[:5]}, ValueError, "class: one label per row is needed; got 60 rows"),
        ({"classes": CLASSES.float()}, TypeError, "class labels must be class numbers"),
    ],
)
def test_what_cannot_be_labelled_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        balanced_labels(**{"ids": IDS, "count": 5, "seed": 0, **given})


def test_a_digest_needs_a_label_for_each_id():
    with pytest.raises(ValueError, match="random: one label per row is needed; got 60 rows"):
        label_digest(IDS, CLASSES[:59])
