"""The pictures of a page are the images, labels and views of training."""

import pytest
import torch

from memorization.data.augmentation.policies import augmentation
from memorization.data.splits import memorized_split
from memorization.draws import generator
from memorization.studies.benign_memorization.experiments import _training_set
from memorization.studies.benign_memorization.figures import labelled_pictures
from memorization.training.batches import LabelledViews


def test_labels_and_views_are_those_of_training():
    pictures = labelled_pictures(images=20, views=3, memorized=100, reference=100, seed=2)
    split = memorized_split("digits", memorized=100, reference=100)
    images, labels = _training_set(split, 1.0, 1, [2])
    views = LabelledViews(images, labels, (2,), 10, augmentation("small_digits"), torch.tensor([0.5]))
    first = torch.zeros(1, 1, dtype=torch.int64)
    seen = torch.cat([views.batch(first, visit)[0][0] for visit in range(3)])
    assert pictures.random == tuple(str(label) for label in labels[0, :20].tolist())
    assert pictures.true == tuple(str(label) for label in split.memorized.labels[:20].tolist())
    assert torch.equal(pictures.images, images[:20])
    assert torch.allclose(pictures.views, seen)


def test_random_labels_are_not_the_true_ones():
    pictures = labelled_pictures(images=100, seed=0)
    agreeing = sum(a == b for a, b in zip(pictures.true, pictures.random, strict=True))
    assert 0 <= agreeing < 30  # one in ten by chance


@pytest.mark.parametrize(("images", "views"), [(0, 1), (401, 1), (1, 0)])
def test_a_number_of_pictures_that_is_not_there_is_refused(images, views):
    with pytest.raises(ValueError, match=r"400 memorized images: choose images in 1\.\.400 and views >= 1"):
        labelled_pictures(images=images, views=views)


def test_the_generator_of_the_labels_is_that_of_the_seed():
    assert labelled_pictures(seed=0).random != labelled_pictures(seed=1).random
    assert generator(0, "labels").initial_seed() != generator(1, "labels").initial_seed()
