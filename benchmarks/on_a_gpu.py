"""The work of the pages on a GPU: ours against the plain way on the same one (or on a processor, for want).

python benchmarks/on_a_gpu.py [--quick] [--out FILE]
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from _loops import CLASSES, transforms_of
from feature_contamination import Setting, inputs_of
from feature_contamination import ours as descend
from feature_contamination import plain_loop as descend_plainly
from harness import Case, main
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, its usual name
from torch.utils.data import DataLoader

from memorization.data.augmentation.policies import Policy, augmentation
from memorization.data.augmentation.small_images import FlipCutoutCrop
from memorization.data.labels import balanced_labels
from memorization.data.synthetic import SpuriousTask, linear_core_task
from memorization.draws import generator
from memorization.models.heads import TappedNetwork
from memorization.models.kernels import directions, explicit_features
from memorization.models.networks import resnet18, wide_resnet
from memorization.models.stacked import StackedNetwork
from memorization.studies.spurious_memorization.experiments import Model, solve
from memorization.training.batches import LabelledViews
from memorization.training.random_labels import RandomLabelLoss
from memorization.training.recipe import Recipe
from memorization.training.train import train

OUT = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "on_a_gpu.json"
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@dataclass(frozen=True)
class Photographs:
    """Random pictures of CIFAR-10's shape with random labels, on the processor."""

    pixels: Tensor
    labels: Tensor
    batch: int


def photographs(count: int, batch: int) -> Photographs:
    """Draw them: what is in a picture does not change how long it takes."""
    pixels = torch.randint(256, (count, 3, 32, 32), generator=generator(0, "pixels"), dtype=torch.uint8)
    labels = torch.randint(CLASSES, (count,), generator=generator(0, "labels"))
    return Photographs(pixels, labels, batch)


def plain_epoch(work: Photographs) -> dict[str, Any]:
    """One epoch as a user of PyTorch writes it: torchvision's transforms, a loader with workers, float32."""
    loader = _loader_of(work)
    network = resnet18(channels=3, hidden=(512,), generator=generator(0, "weights")).to(DEVICE)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for images, labels, _ in loader:
        target = F.one_hot(labels, CLASSES).float().to(DEVICE)
        loss = F.mse_loss(network(images.to(DEVICE)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"steps": float(len(loader))}


def _loader_of(work: Photographs) -> DataLoader[Any]:
    """Batches of images, labels and example numbers, by worker processes."""
    pictures = work.pixels.movedim(1, -1).numpy()
    return DataLoader(
        list(zip(pictures, work.labels.tolist(), range(len(pictures)), strict=True)),  # type: ignore[arg-type]
        work.batch,
        shuffle=True,
        drop_last=True,
        num_workers=min(8, torch.get_num_threads()),
        multiprocessing_context="fork",
        collate_fn=partial(_collated, transforms_of("full", 32)),
    )


def _collated(transform: Any, examples: Any) -> tuple[Tensor, Tensor, Tensor]:
    images = torch.stack([transform(Image.fromarray(picture)) for picture, _, _ in examples])
    return images, torch.tensor([y for _, y, _ in examples]), torch.tensor([k for _, _, k in examples])


def our_epoch(work: Photographs) -> dict[str, Any]:
    """The same epoch: whole batches on the device, half-precision arithmetic where that is fast."""
    network: nn.Module = resnet18(channels=3, hidden=(512,), generator=generator(0, "weights"))
    policy = partial(augmentation("full"), check=False)
    pixels, labels = work.pixels.to(DEVICE), work.labels[None].to(DEVICE)
    views = LabelledViews(pixels, labels, (0,), CLASSES, policy=policy)
    recipe = Recipe(1, work.batch, precision="bf16" if DEVICE == "cuda" else "float32")
    done = train([network], views, "mse", recipe)
    return {"steps": float(len(work.labels) // work.batch * len(done.history))}


RANDOM = 10  # random labels of each class
TAPS = ("conv", *(f"block{number}" for number in range(1, 7)), "embedding")


def plain_heads(work: Photographs) -> dict[str, Any]:
    """One epoch of WRN-16-4 beside class-wise heads, written by hand: a loop over sites and classes."""
    loader = _loader_of(work)
    random = balanced_labels(torch.arange(len(work.labels)), RANDOM, 0, work.labels, few=True).to(DEVICE)
    network = wide_resnet(generator=generator(0, "weights")).to(DEVICE)
    seen: dict[str, Tensor] = {}
    for tap in TAPS:
        place = network.encoder.get_submodule(tap)
        place.register_forward_hook(lambda _, __, out, tap=tap: seen.update({tap: out}))
    with torch.no_grad():
        network(torch.zeros(2, 3, 32, 32, device=DEVICE), acting=())
    widths = [seen[tap].shape[1] for tap in TAPS]
    heads = nn.ModuleList(nn.ModuleList(nn.Linear(d, RANDOM) for _ in range(CLASSES)) for d in widths).to(
        DEVICE
    )
    common: dict[str, Any] = {"lr": 0.1, "momentum": 0.9}
    optimizers = [torch.optim.SGD(model.parameters(), **common) for model in (network, heads)]
    for images, labels, ids in loader:
        labels, wanted = labels.to(DEVICE), random[ids.to(DEVICE)]
        loss = F.cross_entropy(network(images.to(DEVICE)), labels)
        for tap, of_site in zip(TAPS, heads, strict=True):
            features = seen[tap].detach().flatten(2).mean(2) if seen[tap].ndim == 4 else seen[tap].detach()
            for c, head in enumerate(of_site):  # type: ignore[arg-type, var-annotated]
                mine = labels == c
                loss = loss + F.cross_entropy(head(features[mine]), wanted[mine], reduction="sum") / len(
                    labels
                )
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
    return {"steps": float(len(loader))}


def our_heads(work: Photographs) -> dict[str, Any]:
    """The same epoch: whole batches, one product for all heads of a site, half-precision arithmetic."""
    network = wide_resnet(generator=generator(0, "weights")).to(DEVICE)
    pixels, labels = work.pixels.to(DEVICE), work.labels.to(DEVICE)
    tapped = TappedNetwork(network, TAPS, torch.zeros(2, 3, 32, 32, device=DEVICE), acting=())
    random = balanced_labels(torch.arange(len(labels), device=DEVICE), RANDOM, 0, labels, few=True)
    policy = partial(Policy("cutout", FlipCutoutCrop((0.5, 0.5, 0.5))), check=False)
    views = LabelledViews(pixels, labels[None], (0,), CLASSES, policy=policy)
    precision = "bf16" if DEVICE == "cuda" else "float32"
    recipe = Recipe(1, work.batch, "sgd", 0.1, precision=precision)
    done = train(
        StackedNetwork([tapped], "loop"), views, RandomLabelLoss(tapped, random[None], RANDOM), recipe
    )
    return {"steps": float(len(labels) // work.batch * len(done.history))}


def task(n: int, d: int) -> SpuriousTask:
    """Draw the synthetic task with as many test as training rows."""
    return linear_core_task(n_train=n, n_test=n, d=d, alpha=0.5, seed=0)


def plain_features(data: SpuriousTask, width: int) -> dict[str, Any]:
    """All random features as one matrix, and the pseudo-inverse, on the device."""
    weights = directions(width, data.train.shape[1], generator(0, "weights"), torch.float32).to(DEVICE)
    train_rows, test = (
        explicit_features(rows.to(DEVICE), weights, feature_map="rf", activation_name="phi2")
        for rows in (data.train, data.test)
    )
    theta = torch.linalg.pinv(train_rows) @ data.labels.to(DEVICE)
    return {"test": (test @ theta).cpu()}


def our_features(data: SpuriousTask, width: int) -> dict[str, Any]:
    """The kernel in blocks, factored once."""
    found = solve(Model("rf", "phi2", width, device=DEVICE), data, seed=0).at()
    return {"test": found.test_predictions.cpu()}


def cases(quick: bool) -> list[Case]:
    """Return the cases, the cheapest first."""
    d, k, n = (100, 2000, 100) if quick else (1000, 10_000, 2000)
    count, batch = (256, 64) if quick else (10_000, 256)
    where = "on a GPU" if DEVICE == "cuda" else "on a processor, for want of a GPU"
    setting = Setting("theory", 32, 256, 1000, 256, 2 if quick else 10, 20 if quick else 100, device=DEVICE)
    common: dict[str, Any] = {"repeats": 1 if quick else 2, "device": DEVICE}
    return [
        Case(
            f"{where}: random features, d={d}, k={k:,}, N={n:,}: fit and predict",
            partial(task, n, d),
            partial(plain_features, width=k),
            partial(our_features, width=k),
            tolerance=1e-2,
            **common,
        ),
        Case(
            f"{where}: {setting.seeds} two-layer networks, {setting.steps} steps at the authors' size",
            partial(inputs_of, setting),
            descend_plainly,
            descend,
            tolerance=None,
            **common,
        ),
        Case(
            f"{where}: an epoch of ResNet-18 on {count:,} pictures of 32x32, augmented",
            partial(photographs, count, batch),
            plain_epoch,
            our_epoch,
            **common,
        ),
        Case(
            f"{where}: an epoch of WRN-16-4 on {count:,} pictures of 32x32, augmented, beside heads of "
            f"{RANDOM} random labels of each class at {len(TAPS)} sites",
            partial(photographs, count, batch),
            plain_heads,
            our_heads,
            **common,
        ),
    ]


if __name__ == "__main__":
    main(cases, OUT)
