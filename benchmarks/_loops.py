"""Two loops that train one network for an epoch: a loader with worker processes, and the library's.

The plain loop is what a user of PyTorch writes: one picture after the other goes through torchvision's
transforms, two worker processes make the batches, autograd and Adam do the rest. Ours makes all views of a
batch at once, in the process that trains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from harness import check_equal
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, its usual name
from torch.utils.data import DataLoader, Dataset

from memorization.data.augmentation.policies import augmentation
from memorization.data.files import load_torchvision
from memorization.data.image_sets import load_images
from memorization.data.labels import random_labels
from memorization.draws import generator
from memorization.models.networks import resnet18, small_cnn
from memorization.training.batches import LabelledViews
from memorization.training.recipe import Recipe
from memorization.training.train import train

CLASSES, WORKERS = 10, 2
SHAPES = {"cifar10": (3, 32, 32), "mnist": (1, 28, 28)}


@dataclass(frozen=True)
class Training:
    """One epoch of training, whichever loop does it.

    Attributes:
        network: ``resnet18``, ``small_cnn`` or ``linear`` (of the mean color: next to no arithmetic).
        policy: augmentation, ``full``, ``isometry`` or ``none``.
        batch: examples a step.
        pixels: shape (N, c, S, S), uint8.
        labels: shape (N,), int64.
        dtype: of all arithmetic.
    """

    network: str
    policy: str
    batch: int
    pixels: Tensor
    labels: Tensor
    dtype: torch.dtype = torch.float32


def training(
    network: str, policy: str, batch: int, dataset: str, size: int, dtype: torch.dtype = torch.float32
) -> Training:
    """Draw the first images of a data set, or random bytes of their shape where it is absent."""
    pixels = bytes_of(dataset)[:size]
    labels = random_labels(len(pixels), CLASSES, generator(0, "labels"))
    return Training(network, policy, batch, pixels, labels, dtype)


def warm(*what: Any) -> Training:
    """Return what :func:`training` returns, after a first use of both loops, which loads modules."""
    work = training(*what)
    short = replace(work, network="linear", pixels=work.pixels[:4], labels=work.labels[:4], batch=2)
    plain_loop(short)
    our_loop(short)
    return work


def bytes_of(dataset: str) -> Tensor:
    """Return a data set's training pixels, or random ones of their shape where it is absent."""
    try:
        return load_images(dataset, "train").pixels
    except FileNotFoundError:
        shape = (60_000, *SHAPES[dataset])
        return torch.randint(256, shape, generator=generator(0, "pixels"), dtype=torch.uint8)


def made(network: str, channels: int) -> nn.Module:
    """Make a network of ``Training``, with the same initial weights at each call."""
    source = generator(0, "weights")
    if network == "resnet18":
        return resnet18(channels=channels, hidden=(512,), generator=source)
    if network == "small_cnn":
        return small_cnn(channels=channels, generator=source)
    linear = nn.Linear(channels, CLASSES)
    nn.init.normal_(linear.weight, generator=source)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear)


class Pictures(Dataset):
    """Pictures and labels one by one, each through torchvision's transforms."""

    def __init__(self, work: Training) -> None:
        pixels = work.pixels.movedim(1, -1).numpy()  # as torchvision keeps them
        self.pixels = np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        self.labels = work.labels.tolist()
        self.transform = transforms_of(work.policy, self.pixels.shape[1])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.pixels[number])), self.labels[number]


def transforms_of(policy: str, size: int) -> Any:
    """Return torchvision's transforms for a policy of ours."""
    load_torchvision()
    from torchvision import transforms as t  # noqa: TID251, after the line above

    steps = {
        "none": [],
        "full": [
            t.RandomResizedCrop(size),
            t.RandomHorizontalFlip(),
            t.RandomApply([t.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            t.RandomGrayscale(0.2),
        ],
        "isometry": [t.RandomHorizontalFlip(), t.RandomAffine((0, 180), translate=(0.2, 0.2))],
    }
    return t.Compose([*steps[policy], t.ToTensor()])


def plain_loop(work: Training, order: Tensor | None = None) -> dict[str, Tensor]:
    """Train one epoch with a loader; return the weights.

    Args:
        work: what to train.
        order: numbers of the examples, (steps, batch); None shuffles.
    """
    if order is None:
        given: dict[str, Any] = {"batch_size": work.batch, "shuffle": True, "drop_last": True}
    else:
        given = {"batch_sampler": order.tolist()}
    loader = DataLoader(
        Pictures(work),
        num_workers=WORKERS,
        multiprocessing_context="fork",
        generator=generator(0, "loader"),
        **given,
    )
    network = made(work.network, work.pixels.shape[1]).to(work.dtype)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    loss_sum, hits = 0.0, 0
    for images, labels in loader:
        outputs = network(images.to(work.dtype))
        loss = F.mse_loss(outputs, F.one_hot(labels, CLASSES).to(work.dtype))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item()
        hits += int((outputs.argmax(1) == labels).sum())
    return {"weights": weights_of(network)}


def our_loop(work: Training) -> dict[str, Tensor]:
    """Train one epoch with the library; return the weights."""
    network = made(work.network, work.pixels.shape[1]).to(work.dtype)
    done = train([network], views_of(work), "mse", Recipe(epochs=1, batch=work.batch))
    return {"weights": weights_of(done.networks[0])}


def views_of(work: Training) -> LabelledViews:
    """Return what the library's loop sees."""
    images = work.pixels
    if work.dtype != torch.float32:
        images = (images.float() / 255).to(work.dtype)
    policy = None if work.policy == "none" else partial(augmentation(work.policy), check=False)
    return LabelledViews(images, work.labels.unsqueeze(0), (0,), CLASSES, policy=policy)


def weights_of(network: nn.Module) -> Tensor:
    """Return all weights of a network, one after the other."""
    return torch.cat([value.detach().flatten() for value in network.parameters()])


def check_loops(network: str, dataset: str, *, size: int = 6, batch: int = 3) -> None:
    """Raise an AssertionError unless both loops, in one order and unaugmented, end at the same weights."""
    work = training(network, "none", batch, dataset, size, torch.float64)
    order = views_of(work).order(0, batch)[0]
    check_equal(plain_loop(work, order), our_loop(work), tolerance=1e-6)
