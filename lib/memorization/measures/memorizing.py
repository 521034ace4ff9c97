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

import torch
from torch import Tensor

from memorization.data.labels import class_groups, random_labels
from memorization.data.memorized_split import MemorizedSplit, memorized_split
from memorization.data.mixing import cutmix, mixup
from memorization.data.policies import augmentation
from memorization.data.seeds import generator
from memorization.measures.watching import Watcher
from memorization.models.networks import network
from memorization.models.staged import StagedNetwork
from memorization.runs.sweep import experiment
from memorization.training.loop import Fit, fit
from memorization.training.recipe import Recipe
from memorization.training.views import LabelledViews, Mix

Row = dict[str, Any]


@experiment("memorize")
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
        mix: ``none``; ``mixup`` or ``cutmix`` with the label of the first image, as the authors ran them, or
            with mixed labels: ``mixup_mixed``, ``cutmix_mixed``.
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
    sizes: dict[str, Any] = {"memorized": memorized, "reference": reference, "test": test, "side": side}
    split = _on(memorized_split(dataset, **sizes), device)
    images, labels = _training_set(split, noise, group, seeds)
    chosen = augmentation(policy)
    shown = LabelledViews(
        images,
        labels,
        tuple(seeds),
        split.reference.classes,
        policy=partial(chosen, check=False) if strength > 0 else None,
        strength=torch.tensor([float(strength)]),
        bank=torch.tensor([views]),
        view_labels=view_labels,
        mix=mixer(mix),
    )
    shape = {"widths": widths, "strides": strides, "hidden": hidden}
    networks = [_network(architecture, split, shape, seed).to(device) for seed in seeds]
    file = _checkpoint(checkpoints, architecture, [*shape.values(), dataset, *sizes.values(), noise, group])
    watcher = Watcher(split, shown, chosen, probe_strength, k)
    given = Recipe(**(recipe or {}))
    options: dict[str, Any] = {"objective": objective, "watch_at": probe_at, "checkpoint": file}
    return _rows(fit(networks, shown, given, watch=watcher, **options), len(seeds))


def mixer(name: str) -> Mix | None:
    """Return how batches are mixed, by name; see :func:`memorize`.

    Raises:
        ValueError: for an unknown name.
    """
    kinds: dict[str, Any] = {"mixup": mixup, "cutmix": cutmix}
    kind, _, targets = name.partition("_")
    if name == "none":
        return None
    if kind not in kinds or targets not in ("", "mixed"):
        raise ValueError(f"mix={name!r}; allowed: none, mixup, cutmix, mixup_mixed, cutmix_mixed")
    return partial(kinds[kind], targets=targets or "first")


def _on(split: MemorizedSplit, device: str) -> MemorizedSplit:
    return MemorizedSplit(split.reference.to(device), split.test.to(device), split.n)


def _training_set(
    split: MemorizedSplit, noise: float, group: int, seeds: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """The images (N, c, height, width) and the labels of each network (M, N); the random ones are its own.

    With groups, each image of a class belongs to one of them and all of a group share its random label. In
    the paper an anchor shows one of its group at each visit: the same law of images and labels, in shorter
    epochs.
    """
    memorized, device = split.memorized, split.memorized.images.device
    true = memorized.labels.cpu()
    sources = [generator(seed, "labels") for seed in seeds]
    if group == 1:
        labels = [random_labels(len(true), memorized.classes, source, noise, true) for source in sources]
        return memorized.floats(), torch.stack(labels).to(device)
    groups = class_groups(true, None, group, generator(0, "groups"))
    labels = [random_labels(len(groups), memorized.classes, source) for source in sources]
    whole = torch.stack(labels).repeat_interleave(group, dim=1)
    return memorized.floats(groups.flatten().to(device)), whole.to(device)


def _network(
    architecture: str, split: MemorizedSplit, shape: Mapping[str, Sequence[int]], seed: int
) -> StagedNetwork:
    """The untrained network of one seed."""
    images = split.reference
    options: dict[str, Any] = {"classes": images.classes, "hidden": tuple(shape["hidden"])}
    if architecture == "mlp":
        options |= {"inputs": images.channels * images.side**2, "widths": tuple(shape["widths"])}
    else:
        options |= {"channels": images.channels}
    if architecture == "small_cnn":
        options |= {"widths": tuple(shape["widths"]), "strides": tuple(shape["strides"])}
    return network(architecture, generator=generator(seed, "weights"), **options)


def _checkpoint(folder: str, architecture: str, what: Sequence[Any]) -> Path | None:
    """A file for this training; the checkpoint itself knows what else must agree."""
    if not folder:
        return None
    digest = hashlib.sha256(json.dumps([architecture, *what]).encode()).hexdigest()[:12]
    return Path(folder) / f"{architecture}-{digest}.pt"


def _rows(done: Fit, networks: int) -> list[list[Row]]:
    """Put the numbers of training beside those of the probes, by network."""
    trained: Any = done.history.set_index(["member", "epoch"])[["loss", "batch_accuracy"]].to_dict("index")
    nothing = {"loss": float("nan"), "batch_accuracy": float("nan")}
    rows: list[list[Row]] = [[] for _ in range(networks)]
    for record in done.watched.to_dict("records"):
        row: Row = {str(name): value for name, value in record.items()}
        member, epoch = int(row.pop("member")), int(row["epoch"])
        at = "start" if epoch == 0 else "end" if epoch == done.epochs[member] else "during"
        rows[member].append({"at": at, **row, **trained.get((member, epoch), nothing)})
    return rows
