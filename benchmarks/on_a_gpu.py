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

from memorization.data.augmentation.policies import augmentation
from memorization.data.synthetic import SpuriousTask, linear_core_task
from memorization.draws import generator
from memorization.models.kernels import directions, explicit_features
from memorization.models.networks import resnet18
from memorization.studies.spurious_memorization.experiments import Model, solve
from memorization.training.batches import LabelledViews
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
    transform = transforms_of("full", 32)
    pictures = work.pixels.movedim(1, -1).numpy()
    examples = list(zip(pictures, work.labels.tolist(), strict=True))
    workers = min(8, torch.get_num_threads())
    loader = DataLoader(
        examples,  # type: ignore[arg-type]  # a list is a data set
        work.batch,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        multiprocessing_context="fork",
        collate_fn=partial(_collated, transform),
    )
    network = resnet18(channels=3, hidden=(512,), generator=generator(0, "weights")).to(DEVICE)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for images, labels in loader:
        target = F.one_hot(labels, CLASSES).float().to(DEVICE)
        loss = F.mse_loss(network(images.to(DEVICE)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"steps": float(len(loader))}


def _collated(transform: Any, examples: Any) -> tuple[Tensor, Tensor]:
    images = torch.stack([transform(Image.fromarray(picture)) for picture, _ in examples])
    return images, torch.tensor([label for _, label in examples])


def our_epoch(work: Photographs) -> dict[str, Any]:
    """The same epoch: whole batches on the device, half-precision arithmetic where that is fast."""
    network: nn.Module = resnet18(channels=3, hidden=(512,), generator=generator(0, "weights"))
    policy = partial(augmentation("full"), check=False)
    pixels, labels = work.pixels.to(DEVICE), work.labels[None].to(DEVICE)
    views = LabelledViews(pixels, labels, (0,), CLASSES, policy=policy)
    recipe = Recipe(1, work.batch, precision="bf16" if DEVICE == "cuda" else "float32")
    done = train([network], views, "mse", recipe)
    return {"steps": float(len(work.labels) // work.batch * len(done.history))}


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
    ]


if __name__ == "__main__":
    main(cases, OUT)
