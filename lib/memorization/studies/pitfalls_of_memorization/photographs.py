"""The experiments on photographs and text: Waterbirds at 64x64 on a processor, and the published benchmarks.

Bayat et al. (ICLR 2025), Table 1. Without a pre-trained network Waterbirds is a hard case: features are those
of random patches (after Coates and Ng), of an untrained or of a self-trained network, or a small network is
trained from scratch. The published benchmarks have the published training configuration: linear heads on
frozen features of a ResNet-50 for the twins, and the networks of the specification for the methods.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_choice, check_seeds, check_whole
from memorization.data.files import load_torchvision
from memorization.data.group_benchmarks import BENCHMARKS, read_benchmark, waterbirds64
from memorization.data.groups import GroupedSet, GroupedSplits
from memorization.draws import generator
from memorization.models.networks import StagedNetwork, small_cnn
from memorization.runs.sweep import experiment
from memorization.studies.pitfalls_of_memorization.image_experiments import (
    Row,
    image_plan,
    influence_rows,
    method_rows,
    published_draw,
)
from memorization.studies.pitfalls_of_memorization.methods import Comparison
from memorization.training.batches import TensorBatches
from memorization.training.held_out import predict
from memorization.training.recipe import Recipe
from memorization.training.train import TrainingError, train

FEATURES = ("random_patches", "random_network", "self_trained")
_PATCH, _FILTERS, _SAMPLES = 6, 400, 20_000
_WIDTHS = (16, 32, 64)


def pooled(splits: GroupedSplits) -> GroupedSplits:
    """Return photographs as floats in [0, 1] at half their side: (N, 3, 64, 64) bytes to (N, 3, 32, 32)."""
    halves = [replace(one, inputs=F.avg_pool2d(one.inputs.float().div_(255), 2)) for one in splits]
    return GroupedSplits(*halves)


@lru_cache(maxsize=2)
def bird_features(kind: str, root: str | None, seed: int = 0) -> GroupedSplits:
    """Return Waterbirds as standardized feature vectors; the same ones for all seeds of a page.

    Args:
        kind: ``random_patches``: 3,200 rectified answers to 400 whitened 6x6 patches of the training images,
            averaged over the four quarters of an image; ``random_network``: the embedding of an untrained
            network and its last maps' quarters; ``self_trained``: of that network, trained on the training
            labels.
        root: folder of the data sets.
        seed: of patches and weights.

    Raises:
        ValueError: an unknown kind. FileNotFoundError: if the data set is absent.
    """
    check_choice("features", kind, FEATURES)
    splits = pooled(waterbirds64(root))
    if kind == "random_patches":
        describe: Callable[[Tensor], Tensor] = _patch_features(splits.train.inputs, seed)
    else:
        network = _bird_network(generator(seed, "photographs", "weights"))
        if kind == "self_trained":
            network = _self_trained(network, splits.train, seed)
        describe = partial(_map_features, network)
    vectors = [torch.cat([describe(part) for part in one.inputs.split(256)]) for one in splits]
    mean, scale = vectors[0].mean(0), vectors[0].std(0, correction=0).clamp(min=1e-6)
    parts = [replace(one, inputs=(v - mean) / scale) for one, v in zip(splits, vectors, strict=True)]
    return GroupedSplits(*parts)


def _patch_features(images: Tensor, seed: int) -> Callable[[Tensor], Tensor]:
    """Return what maps images (B, 3, 32, 32) to (B, 3200), with filters taken from these images."""
    source = generator(seed, "photographs", "patches")
    last = images.shape[-1] - _PATCH + 1
    which = torch.randint(len(images), (_SAMPLES,), generator=source)
    corner = torch.randint(last, (_SAMPLES, 2), generator=source)
    windows = images.unfold(2, _PATCH, 1).unfold(3, _PATCH, 1)  # a view (N, 3, top, left, 6, 6)
    patches = _normalized(windows[which, :, corner[:, 0], corner[:, 1]].flatten(1))
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
    whitening = vectors @ torch.diag((values + 0.1).rsqrt()) @ vectors.T
    filters = F.normalize((patches[torch.randperm(_SAMPLES, generator=source)[:_FILTERS]] - mean) @ whitening)
    turn = whitening @ filters.T  # whitens a patch and compares it with the filters at once

    def describe(part: Tensor) -> Tensor:
        seen = _normalized(F.unfold(part, _PATCH).movedim(1, 2))  # (B, places, 108)
        answers = (seen - mean) @ turn
        both = torch.cat([(answers - 0.25).clamp(min=0), (-answers - 0.25).clamp(min=0)], 2)
        return F.adaptive_avg_pool2d(both.movedim(1, 2).unflatten(2, (last, last)), 2).flatten(1)

    return describe


def _normalized(patches: Tensor) -> Tensor:
    centered = patches - patches.mean(-1, keepdim=True)
    return centered / (centered.square().mean(-1, keepdim=True) + 0.01).sqrt()


def _bird_network(source: torch.Generator) -> StagedNetwork:
    return small_cnn(channels=3, widths=_WIDTHS, strides=(2, 2, 1), classes=2, hidden=(), generator=source)


def _self_trained(network: StagedNetwork, one: GroupedSet, seed: int, steps: int = 400) -> StagedNetwork:
    batches = TensorBatches(one.inputs, one.labels[None], (seed,), one.classes, "replace")
    recipe = Recipe(steps=steps, batch=min(128, len(one)))
    return train([network], batches, "cross_entropy", recipe).networks[0]


@torch.no_grad()
def _map_features(network: StagedNetwork, images: Tensor) -> Tensor:
    """The last maps of the encoder, averaged over the four quarters of an image."""
    network.eval()
    maps = images
    for name, stage in network.encoder.named_children():
        maps = maps if name == "embedding" else stage(maps)
    return F.adaptive_avg_pool2d(maps, 2).flatten(1)


@experiment("bird_heads")
def bird_heads(
    *,
    features: str,
    methods: Sequence[str],
    rate: float = 3e-3,
    steps: int = 300,
    twin_steps: int = 200,
    temperature: float = 0.1,
    eta: float = 0.1,
    data_root: str | None = None,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Train linear heads by every method on features of Waterbirds at 64x64, full batch.

    Args:
        features: of ``FEATURES``.
        methods: of ``METHODS``.
        rate: learning rate of Adam.
        steps: of the methods, looked at every 50.
        twin_steps: of the twins.
        temperature: of memorization-aware training.
        eta: of group distributionally robust optimization.
        data_root: folder of the data sets.
        device: where to compute.
        seeds: of heads, halves and flips; images and features are the same.

    Returns:
        For each seed one row per method, as ``group_methods`` returns them.
    """
    seeds, splits = check_seeds(seeds), bird_features(features, data_root)
    plan = image_plan(
        splits.train.inputs.shape[1], widths=(), rate=rate, steps=steps, twin_steps=twin_steps, batch=0,
        device=device, temperature=temperature, eta=eta,
    )  # fmt: skip
    return method_rows([splits] * len(seeds), seeds, methods, plan)


@experiment("bird_networks")
def bird_networks(
    *,
    methods: Sequence[str],
    rate: float = 1e-3,
    steps: int = 600,
    twin_steps: int = 300,
    batch: int = 128,
    temperature: float = 0.1,
    eta: float = 0.1,
    evaluate_every: int = 200,
    data_root: str | None = None,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Train a small convolutional network from scratch by every method on Waterbirds at 32x32.

    Args:
        methods: of ``METHODS``.
        rate: learning rate of Adam.
        steps: of the methods.
        twin_steps: of the twins.
        batch: examples a step, drawn with replacement.
        temperature: of memorization-aware training.
        eta: of group distributionally robust optimization.
        evaluate_every: steps between two looks at the validation set.
        data_root: folder of the data sets.
        device: where to compute.
        seeds: of weights, batches, halves and flips; the images are the same.

    Returns:
        For each seed one row per method, as ``group_methods`` returns them.
    """
    seeds, splits = check_seeds(seeds), pooled(waterbirds64(data_root))
    plan = Comparison(
        _bird_network,
        Recipe(steps=steps, batch=batch, learning_rate=rate),
        Recipe(steps=twin_steps, batch=batch, learning_rate=rate),
        "replace",
        temperature=temperature,
        eta=eta,
        evaluate_every=evaluate_every,
        device=device,
    )
    return method_rows([splits] * len(seeds), seeds, methods, plan)


@experiment("bird_influence")
def bird_influence(
    *,
    features: str = "random_patches",
    methods: Sequence[str] = ("erm", "mat"),
    models: int = 20,
    fraction: float = 0.7,
    rate: float = 3e-3,
    steps: int = 300,
    twin_steps: int = 200,
    data_root: str | None = None,
    device: str = "cpu",
    seed: int,
) -> list[Row]:
    """Estimate the self-influence of every training photograph of Waterbirds, by linear heads on subsets
    (Figure 2).

    Args:
        features: of ``FEATURES``.
        methods: of ``METHODS`` without group distributionally robust optimization.
        models: heads a method, >= 2.
        fraction: of the training set in a subset, in (0, 1).
        rate: learning rate of Adam.
        steps: of the heads.
        twin_steps: of the twins.
        data_root: folder of the data sets.
        device: where to compute.
        seed: of subsets, heads, halves and flips.

    Returns:
        One row for each photograph and method, as ``group_influence`` returns them; ids are rows of the
        metadata.
    """
    check_whole("models", models, 2)
    splits = bird_features(features, data_root)
    plan = image_plan(
        splits.train.inputs.shape[1],
        widths=(),
        rate=rate,
        steps=steps,
        twin_steps=twin_steps,
        batch=0,
        device=device,
    )
    return influence_rows(splits, seed, methods, plan, models=models, fraction=fraction)


# ---- the published benchmarks

_MEAN, _SCALE = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FINE_TUNED = {"celeba", "multinli", "civilcomments"}  # phase 2; Waterbirds has linear heads there, too
_STEPS = {"waterbirds": 1001, "celeba": 10_001, "multinli": 60_001, "civilcomments": 60_001}


class Photographs(nn.Module):
    """A network of torchvision that takes bytes (B, 3, height, width), with a linear head of its own.

    Attributes:
        network: the network; its last layer is the head.
    """

    network: Any
    mean: Tensor
    scale: Tensor

    def __init__(self, name: str, classes: int, weights: str) -> None:
        super().__init__()
        models = load_torchvision().models
        known = [one for one in models.list_models() if one.startswith(("resnet", "wide_resnet", "resnext"))]
        check_choice("network", name, known)
        self.network = models.get_model(name, weights=None if weights == "none" else weights)
        self.network.fc = _zero_head(self.network.fc.in_features, classes)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("scale", torch.tensor(_SCALE)[:, None, None])

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        return self.network((x.float() / 255 - self.mean) / self.scale)


class Texts(nn.Module):
    """A BERT that takes token ids, mask and segments (B, 3, T), with a classification head."""

    network: Any

    def __init__(self, name: str, classes: int) -> None:
        super().__init__()
        try:
            transformers = importlib.import_module("transformers")
        except ImportError as error:
            raise ImportError("text needs transformers; install it with pip install -e '.[text]'") from error
        self.network = transformers.AutoModelForSequenceClassification.from_pretrained(
            name, num_labels=classes
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (B, C)."""
        ids, mask, segments = x.unbind(1)
        return self.network(input_ids=ids, attention_mask=mask, token_type_ids=segments).logits


def _zero_head(inputs: int, classes: int) -> nn.Linear:
    head = nn.Linear(inputs, classes)
    for value in head.parameters():
        nn.init.zeros_(value)
    return head


def benchmark_draw(dataset: str, number: int) -> dict[str, float]:
    """Return one of the ten hyper-parameter draws of the reference code for a benchmark.

    Args:
        dataset: of ``BENCHMARKS``.
        number: 0 to 9.

    Returns:
        ``rate``, ``batch``, ``weight_decay``, ``temperature``: for text the rate is ten times smaller and
        batches are half as large as for images.
    """
    check_choice("benchmark", dataset, BENCHMARKS)
    text = dataset in ("multinli", "civilcomments")
    chosen = published_draw(number, (4, 6) if text else (5, 7))
    return {**chosen, "rate": chosen["rate"] / 10} if text else chosen


@experiment("benchmark_methods")
def benchmark_methods(
    *,
    dataset: str,
    draw: int,
    methods: Sequence[str] = ("erm", "group_dro", "xrm_group_dro", "mat"),
    network: str = "",
    weights: str = "IMAGENET1K_V1",
    size: int = 224,
    steps: int | None = None,
    twin_steps: int | None = None,
    evaluate_every: int | None = None,
    eta: float = 0.01,
    verify: bool = True,
    cache: str = "",
    data_root: str | None = None,
    device: str = "cpu",
    seed: int,
) -> list[Row]:
    """Train methods on a published benchmark by the published configuration, with one draw of
    hyper-parameters.

    For images twins are linear heads on frozen features; so are the methods on Waterbirds, and whole networks
    on CelebA. For text both phases train a whole BERT.

    Args:
        dataset: of ``BENCHMARKS``.
        draw: number of the draw, 0 to 9.
        methods: of ``METHODS``.
        network: of torchvision or, for text, of transformers; empty: ``resnet50`` or ``bert-base-uncased``.
        weights: of torchvision's pre-trained weights; ``none``: drawn from the seed.
        size: side of the images in pixels.
        steps: of the methods; None: as published, like the next.
        twin_steps: of the twins.
        evaluate_every: steps between two looks at the validation set.
        eta: of group distributionally robust optimization.
        verify: hold the numbers of examples against the published ones.
        cache: folder of the decoded images; empty: they are kept in memory.
        data_root: folder of the data sets.
        device: where to compute.
        seed: of weights, batches, halves and flips.

    Returns:
        One row for each method as ``group_methods`` returns them, with the draw's numbers.
    """
    chosen, text = benchmark_draw(dataset, draw), dataset in ("multinli", "civilcomments")
    options: dict[str, Any] = {} if text else {"size": size, "cache": cache or None}
    splits = read_benchmark(dataset, data_root, verify=verify, **options)
    name, classes = network or ("bert-base-uncased" if text else "resnet50"), splits.train.classes
    common: dict[str, Any] = {"batch": int(chosen["batch"]), "learning_rate": chosen["rate"]}
    common |= {"weight_decay": chosen["weight_decay"], "optimizer": "adamw" if text else "sgd"}
    usual = _STEPS[dataset]
    make_whole = partial(
        _seeded, partial(Texts, name, classes) if text else partial(Photographs, name, classes, weights)
    )
    twin_splits: list[GroupedSplits] | None = None
    make_twin: Callable[[torch.Generator], nn.Module] = make_whole
    if not text:
        frozen = make_whole(generator(0, "frozen"))
        twin_splits = [frozen_features(frozen, splits, device)]
        make_twin = partial(_seeded, partial(_zero_head, twin_splits[0].train.inputs.shape[1], classes))
    fine = dataset in _FINE_TUNED
    plan = Comparison(
        make_whole if fine else make_twin,
        Recipe(steps=steps or usual, **common),
        Recipe(steps=twin_steps or usual, **common),
        "balanced" if dataset == "civilcomments" else "shuffle",
        temperature=chosen["temperature"],
        eta=eta,
        evaluate_every=evaluate_every or (250 if text else 50),
        device=device,
        make_twin=make_twin,
        one_by_one=fine,
    )
    trained = [splits] if fine or twin_splits is None else twin_splits
    rows = method_rows(trained, [seed], methods, plan, twin_splits=twin_splits)[0]
    if isinstance(rows, TrainingError):
        raise rows
    return [{**chosen, **row} for row in rows]


def _seeded(make: Callable[[], Any], source: torch.Generator) -> Any:
    """Make a network whose layers draw from the global generator, which is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(source.initial_seed())
        return make()


def frozen_features(network: Photographs, splits: GroupedSplits, device: str = "cpu") -> GroupedSplits:
    """Return the inputs of the last layer of :class:`Photographs`, before any training, as a data set.

    Args:
        network: its head is passed over.
        splits: photographs, bytes (N, 3, height, width).
        device: where to compute.
    """
    body = network.to(device)
    head, body.network.fc = body.network.fc, nn.Identity()
    try:
        parts = [replace(one, inputs=predict(body, one.inputs).cpu()) for one in splits]
    finally:
        body.network.fc = head
    return GroupedSplits(*parts)
