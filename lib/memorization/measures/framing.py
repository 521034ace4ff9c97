"""Framed pictures: does a frame that says nothing about the label change what a network answers?

The laptop-scale stand-in for the padded CIFAR-10 of Zhang et al. (ICML 2024): no adversarial training, and
the accuracy under frames of several colors in place of a look at the filters.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from memorization.data.colored_frames import FRAME_COLORS, ColoredFrames, framed_test
from memorization.data.image_sets import as_image_set, stored_images
from memorization.data.seeds import generator
from memorization.measures.evaluation import class_scores
from memorization.measures.features import site_features
from memorization.models.small import small_cnn
from memorization.models.staged import StagedNetwork
from memorization.runs.sweep import experiment
from memorization.training.loop import fit
from memorization.training.recipe import Recipe
from memorization.training.views import LabelledViews

Row = dict[str, Any]


@experiment("train_framed")
def train_framed(
    *,
    dataset: str = "cifar10",
    frame: str = "padded",
    train: int = 10_000,
    test: int = 2000,
    side: int = 16,
    pad: int | None = None,
    widths: Sequence[int] = (16, 32, 32),
    strides: Sequence[int] = (1, 2, 2),
    epochs: int = 4,
    batch: int = 96,
    learning_rate: float = 4e-3,
    weight_decay: float = 5e-4,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[Row]:
    """Train one small convolutional network per seed, stacked, and test each in frames of three colors.

    AdamW, cosine per step; every view is a random window of the padded image, flipped or not.

    Args:
        dataset: a data set of ``IMAGE_SETS``; gray images are shown in three equal channels.
        frame: in training: ``padded`` (brick red), ``random`` (a color of its own for each view) or ``raw``
            (1 pixel of reflection), see ``data.colored_frames.ColoredFrames``.
        train: N, the first training images.
        test: the first test images.
        side: side of the images in pixels, to which they are average-pooled.
        pad: width of the padding in pixels; None: a quarter of the side, as in the paper.
        widths: channels of the three convolutions.
        strides: of the convolutions, as many as widths.
        epochs: passes over the images.
        batch: images a step.
        learning_rate: at the start, > 0.
        weight_decay: of AdamW, >= 0.
        device: where to compute.
        seeds: of weights, order and views.

    Returns:
        For each seed a row: accuracy on test images framed ``red``, ``blue`` and ``green``, cut as in
        training and at the same places for all colors, frames and seeds, and ``unframed``; ``red_gain``: red
        minus the mean of blue and green; ``feature_shift``: see ``relative_shift``, of the embedding
        from red to blue; ``batch_accuracy`` and ``loss`` of the last epoch of training.

    Raises:
        ValueError: for values that do not fit, or more images than there are.
        FileNotFoundError: if the data set is absent.
    """
    pad = side // 4 if pad is None else pad
    policy = ColoredFrames(frame, pad)
    images, labels, classes = _first_images(dataset, "train", train, side, device)
    unseen, wanted, _ = _first_images(dataset, "test", test, side, device)
    views = LabelledViews(images, labels.expand(len(seeds), -1), tuple(seeds), classes, policy=policy)
    options: dict[str, Any] = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    recipe = Recipe(epochs, batch, "adamw", schedule="cosine", **options)
    shape: dict[str, Any] = {"widths": tuple(widths), "strides": tuple(strides), "hidden": ()}
    networks = [
        small_cnn(channels=3, classes=classes, generator=generator(seed, "weights"), **shape).to(device)
        for seed in seeds
    ]
    done = fit(networks, views, recipe, objective="cross_entropy")
    shown = {name: framed_test(unseen, c, pad, generator(0, "frames")) for name, c in FRAME_COLORS.items()}
    shown["unframed"] = unseen
    last = done.history[done.history["epoch"] == epochs].set_index("member")
    rows = [_row(network, shown, wanted) for network in done.networks]
    for name in ("batch_accuracy", "loss"):
        for row, value in zip(rows, last[name].tolist(), strict=True):
            row[name] = value
    return rows


def relative_shift(before: Tensor, after: Tensor) -> float:
    """Return how far features move, relative to their length: mean |after - before| / mean |before|.

    Args:
        before: features of the same images in one frame, shape (N, P), floating point.
        after: in another frame, of the same shape.

    Returns:
        A number >= 0.

    Raises:
        ValueError: if the shapes differ, or all features before are zero.
    """
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(
            f"features have shapes {tuple(before.shape)} and {tuple(after.shape)}; allowed: one shape (N, P)"
        )
    length = before.norm(dim=1).mean()
    if not length > 0:
        raise ValueError("all features are zero; no shift can be relative to them")
    return float((after - before).norm(dim=1).mean() / length)


def _row(network: nn.Module, shown: dict[str, Tensor], labels: Tensor) -> Row:
    answers = {name: class_scores(network, images).argmax(1) for name, images in shown.items()}
    row = {name: float((answer == labels).double().mean()) for name, answer in answers.items()}
    site = cast(StagedNetwork, network).choose_sites(["embedding"])
    red, blue = (site_features(network, shown[name], site)["embedding"] for name in ("red", "blue"))
    gain = row["red"] - (row["blue"] + row["green"]) / 2
    return {**row, "red_gain": gain, "feature_shift": relative_shift(red, blue)}


def _first_images(dataset: str, split: str, n: int, side: int, device: str) -> tuple[Tensor, Tensor, int]:
    """The first images of a split in three channels, their labels, and the number of classes."""
    stored = stored_images(dataset, split)
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(stored):
        raise ValueError(
            f"{split}={n!r}, but {dataset} has {len(stored)} images in this split; choose a whole number in "
            f"1..{len(stored)}"
        )
    chosen = as_image_set(stored.take(torch.arange(n)), side=side).to(device)
    return chosen.floats().expand(-1, 3, -1, -1), chosen.labels, chosen.classes
