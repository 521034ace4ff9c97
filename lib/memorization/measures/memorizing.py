"""One experiment on benign memorization: train networks on random labels and watch what they know, where.

Anagnostidis et al. (ICLR 2023). All arms of one seed start from the same weights, with the same random labels
and the same order of examples, so differences between arms are paired.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from memorization.data.labels import class_groups, random_labels
from memorization.data.memorized_split import MemorizedSplit, memorized_split
from memorization.data.policies import augmentation
from memorization.data.seeds import generator
from memorization.measures.watching import Watcher
from memorization.models.networks import network
from memorization.models.staged import StagedNetwork
from memorization.training.loop import Fit, fit
from memorization.training.recipe import Recipe
from memorization.training.views import LabelledViews

Row = dict[str, Any]


def memorize(
    *,
    dataset: str = "digits",
    memorized: int | None = None,
    reference: int | None = None,
    test: int | None = None,
    side: int | None = None,
    architecture: str = "small_cnn",
    widths: Sequence[int] = (16, 32, 64),
    strides: Sequence[int] = (1, 2, 2),
    hidden: Sequence[int] = (1024,),
    policy: str = "small_digits",
    strength: float = 0.5,
    views: int = 0,
    view_labels: str = "shared",
    noise: float = 1.0,
    group: int = 1,
    mix: str = "none",
    objective: str = "mse",
    recipe: Mapping[str, Any] | None = None,
    probe_at: Sequence[int] = (),
    probe_strength: float = 0.5,
    k: int = 20,
    device: str = "cpu",
    checkpoints: str = "",
    seeds: Sequence[int],
) -> list[list[Row]]:
    """Train one network per seed, stacked, and probe every site before, during and after.

    Args:
        dataset: name of a data set of ``IMAGE_SETS``; its split is that of ``memorized_split``.
        memorized: N, images to memorize; None: that split's own number, as for the next three.
        reference: images that vote in the clean probe, with true labels; the memorized ones are among them.
        test: test images.
        side: side of the images in pixels.
        architecture: a network of ``NETWORKS``.
        widths: channels (or neurons) of the encoder's blocks, for ``small_cnn`` and ``mlp``.
        strides: of the blocks of ``small_cnn``.
        hidden: widths of the projector's hidden layers; a ResNet takes one.
        policy: augmentation, a name that ``augmentation`` knows.
        strength: of the augmentation in training, >= 0; 0 shows the images as they are.
        views: number K of fixed views of an image; 0: a fresh view at each visit.
        view_labels: ``shared`` or ``independent`` (each of the K views has a label of its own).
        noise: fraction p of images with a random label, 0..1; 0 trains on the true labels.
        group: images of one class that share one random label, as if they were views of one image.
        mix: ``none``, ``mixup`` or ``cutmix`` of inputs with the label of the first image.
        objective: ``mse`` or ``cross_entropy``.
        recipe: what differs from the defaults of ``Recipe``.
        probe_at: epochs after which to probe, beside the first and the last.
        probe_strength: strength of the policy at which the invariance is measured, the same for all arms.
        k: neighbors of the probes.
        device: where to compute.
        checkpoints: folder for checkpoints, to go on from after a loss; empty: none.
        seeds: of weights, labels, order and views; the networks are trained stacked.

    Returns:
        For each seed one row per probed epoch and site: ``at`` (``start``, ``during`` or ``end``), ``epoch``,
        ``site``, ``depth``, the probes and accuracies of ``Watcher``, and ``batch_accuracy`` and ``loss`` of
        that epoch of training (NaN at the start).

    Raises:
        ValueError, TypeError: for values that do not fit, see the functions named above.
        FileNotFoundError: if the data set is absent.
    """
    split = _on(memorized_split(dataset, memorized=memorized, reference=reference, test=test, side=side), device)
    chosen = augmentation(policy)
    images, labels = _training_set(split, noise, group, seeds)
    shown = LabelledViews(
        images,
        labels.to(images.device),
        tuple(seeds),
        split.reference.classes,
        policy=partial(chosen, check=False) if strength > 0 else None,
        strength=torch.tensor([float(strength)]),
        bank=torch.tensor([views]),
        view_labels=view_labels,
        mix=_mixer(mix),
    )
    sizes = {"widths": widths, "strides": strides, "hidden": hidden}
    networks = [_network(architecture, split, sizes, seed).to(device) for seed in seeds]
    given = Recipe(**(recipe or {}))
    watcher = Watcher(split, shown, chosen, probe_strength, k)
    done = fit(
        networks,
        shown,
        given,
        objective=objective,
        watch=watcher,
        watch_at=probe_at,
        checkpoint=_checkpoint(checkpoints, locals()),
    )
    return _rows(done, len(seeds))
