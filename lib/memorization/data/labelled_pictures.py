"""Pictures for a page: images with the random labels that they are memorized with, and views of one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.data.labels import random_labels
from memorization.data.memorized_split import memorized_split
from memorization.data.policies import augmentation
from memorization.data.seeds import generator
from memorization.data.views import keyed_views


@dataclass(frozen=True)
class LabelledPictures:
    """Some memorized images, and views of the first one.

    Attributes:
        images: shape (B, c, S, S), float32 in [0, 1].
        true: names of their true classes, B of them.
        random: names of the random labels that they are memorized with, B of them.
        views: views of the first image as training shows them, shape (V, c, S, S), float32.
    """

    images: Tensor
    true: tuple[str, ...]
    random: tuple[str, ...]
    views: Tensor


def labelled_pictures(
    *,
    dataset: str = "digits",
    policy: str = "small_digits",
    strength: float = 0.5,
    images: int = 8,
    views: int = 8,
    memorized: int | None = None,
    reference: int | None = None,
    side: int | None = None,
    seed: int = 0,
) -> LabelledPictures:
    """Return the first memorized images with their labels, and views of the first one, of one seed.

    They are those that :func:`memorization.measures.memorizing.memorize` trains on with the same arguments.

    Args:
        dataset: as for ``memorize``, like the next two.
        policy: augmentation of the views.
        strength: of the augmentation.
        images: how many images B, 1..N.
        views: how many views V, >= 1.
        memorized: N, as for ``memorize``, like the next two.
        reference: images that vote in the clean probe.
        side: side of the images in pixels.
        seed: of labels and views.

    Raises:
        ValueError: if there are not as many images, or for values that do not fit the data set.
    """
    split = memorized_split(dataset, memorized=memorized, reference=reference, side=side)
    whole = split.memorized
    if not 1 <= images <= len(whole) or views < 1:
        raise ValueError(
            f"images={images}, views={views}; {dataset} has {len(whole)} memorized images: choose images in "
            f"1..{len(whole)} and views >= 1"
        )
    labels = random_labels(len(whole), whole.classes, generator(seed, "labels"))
    names = whole.class_names
    shown = whole.floats(slice(images))
    first, numbers = torch.zeros(views, dtype=torch.int64), torch.arange(views)
    return LabelledPictures(
        shown.clone(),
        tuple(names[label] for label in whole.labels[:images].tolist()),
        tuple(names[label] for label in labels[:images].tolist()),
        keyed_views(augmentation(policy), shown, first, numbers, seed, strength),
    )
