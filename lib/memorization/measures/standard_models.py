"""Standard models: networks trained on ImageNet's labels alone, the baseline of effective robustness."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from memorization.data.imagenet import IMAGENET_SHIFTS, class_numbers, imagenet_set
from memorization.data.large_pictures import central_batches, supervised
from memorization.data.vision import load_torchvision
from memorization.data.words import did_you_mean
from memorization.measures.picture_sets import collected, top1
from memorization.runs.sweep import experiment

STANDARD_MODELS = (
    "alexnet",
    "squeezenet1_1",
    "shufflenet_v2_x1_0",
    "mobilenet_v2",
    "vgg11",
    "vgg16",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
)
"""torchvision's networks whose first published weights come from plain supervised training at 224 pixels.
A choice of ours: Zhang et al. (ICML 2024) publish no list of theirs."""


@experiment("standard_accuracies")
def standard_accuracies(
    *,
    root: str = "",
    models: Sequence[str] = STANDARD_MODELS,
    cache: str = "",
    classes: int | None = None,
    shifts: Sequence[str] = IMAGENET_SHIFTS,
    batch: int = 256,
    workers: int = 8,
    device: str = "cpu",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Test torchvision's supervised networks on ImageNet and its shifts, as far as their weights are here.

    Taori et al. (NeurIPS 2020) and Miller et al. (ICML 2021): on such models the accuracy under shift is a
    function of the accuracy without, see :func:`robustness_line`.

    Args:
        root: folder that holds ``imagenet`` and the shifts; empty: ``$MEMORIZATION_DATA`` or ``data``.
        models: names of ``STANDARD_MODELS``.
        cache: folder with torchvision's weight files; empty: torch's own. Nothing is fetched.
        classes: number of ImageNet classes, spread evenly, whose outputs are compared; None: all.
        shifts: some of ``v2``, ``r``, ``a``, ``sketch``, ``objectnet``.
        batch: pictures a batch.
        workers: worker processes that decode pictures.
        device: where to compute.
        seed: not used: the networks are given; a sweep hands one to every function.

    Returns:
        One row per model and set: ``model``, ``set``, ``images``, ``accuracy`` (top-1). Models without
        weights have none, and a warning names their files.

    Raises:
        ValueError: for an unknown model, or other than ImageNet's 1000 classes in ``imagenet/train``.
        FileNotFoundError: if a set is absent, or no weights of any of the models are there.
        RuntimeError: if a file of weights is damaged.
    """
    sets = [imagenet_set(name, root or None, classes=classes) for name in ("val", *shifts)]
    columns = _columns(root, classes)
    folder = Path(cache) if cache else Path(torch.hub.get_dir()) / "checkpoints"
    files = {name: folder / _file(name) for name in models}
    absent = [file.name for file in files.values() if not file.is_file()]
    if absent:
        text = (
            f"no weights in {folder} for {len(absent)} of {len(files)} standard models: {', '.join(absent)}"
        )
        if len(absent) == len(files):
            raise FileNotFoundError(
                f"{text}. Put some there (torchvision names where they are), or leave them out"
            )
        warnings.warn(f"{text}; they have no rows", stacklevel=2)
    how, rows = supervised(), []
    for name, file in files.items():
        if not file.is_file():
            continue
        network = _network(name, file)
        for pictures in sets:
            outputs = collected(
                network, central_batches(pictures, how, batch, workers), len(pictures), device
            )
            row = {"model": name, "set": pictures.name, "images": len(pictures)}
            rows.append({**row, "accuracy": top1(outputs[:, columns], pictures)})
    return rows


def _columns(root: str, classes: int | None) -> list[int]:
    whole = len(class_numbers(root))
    if whole != 1000:
        raise ValueError(
            f"imagenet/train has {whole} classes; torchvision's networks have one output for each of the "
            "1000: keep the whole list there, and choose fewer with classes="
        )
    return list(class_numbers(root, classes))


def _file(name: str) -> str:
    """The name of the weight file, as torch keeps it."""
    if name not in STANDARD_MODELS:
        near = did_you_mean(name, STANDARD_MODELS)
        raise ValueError(f"unknown standard model {name!r}; choose one of {', '.join(STANDARD_MODELS)}{near}")
    models: Any = load_torchvision().models
    return str(models.get_model_weights(name).IMAGENET1K_V1.url).rsplit("/", 1)[1]


def _network(name: str, file: Path) -> nn.Module:
    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
        models: Any = load_torchvision().models
        with torch.device("meta"):
            network = models.get_model(name, weights=None)
        network = network.to_empty(device="cpu")
        network.load_state_dict(values)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise RuntimeError(f"{file} cannot be read as weights of {name} ({type(error).__name__})") from error
    return network
