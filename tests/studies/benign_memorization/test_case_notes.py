"""Labels that are not random are told, random ones are not."""

import pytest
import torch

from memorization.data.labels import random_labels
from memorization.draws import generator
from memorization.measures.sites import Data
from memorization.studies.benign_memorization.own_network import notes

TELLING = "they tell the true classes"


def told(labels, true):
    images = torch.zeros(len(labels), 1, 2, 2)
    data = Data(images, labels, true, images, true)
    return notes(data, 1, drawn=False, without_policy=False, left_out={})


def true_labels(n, classes):
    return torch.arange(n) % classes


@pytest.mark.parametrize(("n", "classes"), [(60, 10), (400, 10), (1000, 2), (200, 100)])
def test_random_labels_are_taken_as_random(n, classes):
    true = true_labels(n, classes)
    silent = [told(random_labels(n, classes, generator(seed, "labels")), true) == [] for seed in range(300)]
    assert sum(silent) >= 299  # of one in ten thousand, one in 300 at the most


@pytest.mark.parametrize("change", [lambda y: y, lambda y: (y + 3) % 10, lambda y: y // 2])
def test_labels_that_name_the_true_classes_are_told_also_under_other_names(change):
    true = true_labels(60, 10)
    (sentence,) = told(change(true), true)
    assert (
        f"{float((change(true) == true).double().mean()):.0%} of the memorized labels are the true ones"
        in sentence
    )
    assert TELLING in sentence


def test_partly_random_labels_are_told():
    true = true_labels(400, 10)
    (sentence,) = told(random_labels(400, 10, generator(0, "labels"), noise=0.5, true=true), true)
    assert sentence.startswith("5")
    assert TELLING in sentence


def test_one_label_for_all_is_nothing_to_memorize():
    true = true_labels(60, 10)
    assert told(torch.full_like(true, 3), true) == [
        "all memorized labels are one class: there was nothing to memorize, and every probe finds it"
    ]


def test_one_true_class_is_found_by_every_probe():
    labels = random_labels(60, 10, generator(0, "labels"))
    (sentence,) = told(labels, torch.zeros_like(labels))
    assert sentence.startswith("all true labels are one class")
