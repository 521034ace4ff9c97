"""Training: whole batches of tensors against a loader with workers, and stacked networks against one by one.

Each of the two loops of ``_loops.py`` is timed with its network, and with one so small (the mean color and
one linear layer) that everything but the network's own arithmetic is left. Both have all cores; a loader's
workers share them with the process that trains. Stacks have one thread, as the points of a sweep. Peak memory
is that of the training process, without the workers.

What is timed cannot be compared number by number: the two loops draw different random views, and in float32
rounding grows from step to step. So before anything is timed both ways run in float64, the loops without
augmentation and in one given order, and must end at the same weights.

    MEMORIZATION_DATA=DIR python benchmarks/training.py [--quick] [--out FILE]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from _loops import CLASSES, WORKERS, check_loops, our_loop, plain_loop, warm, weights_of
from harness import Case, check_equal, main
from torch import Tensor, nn

from memorization.data.augmentation.policies import augmentation
from memorization.data.image_sets import load_images
from memorization.data.labels import random_labels
from memorization.data.splits import memorized_split
from memorization.draws import generator
from memorization.models.networks import mlp, small_cnn
from memorization.models.stacked import StackedNetwork
from memorization.training.batches import LabelledViews
from memorization.training.recipe import Recipe
from memorization.training.train import train

OUT = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "training.json"
Inputs = tuple[list[nn.Module], LabelledViews, Recipe]


@dataclass(frozen=True)
class Stack:
    """Networks of one shape on the digits, each with random labels of its own.

    Attributes:
        network: ``mlp`` (64-32-10) or ``small_cnn``.
        models: number M of networks.
        examples: number N of digits.
        epochs: passes over them, in steps of 100.
        dtype: of all arithmetic.
    """

    network: str
    models: int
    examples: int
    epochs: int
    dtype: torch.dtype = torch.float32

    def networks(self) -> list[nn.Module]:
        """Return the untrained networks."""
        sources = [generator(seed, "weights") for seed in range(self.models)]
        shape = {"inputs": 64, "widths": (32,), "hidden": ()}
        make = partial(mlp, **shape) if self.network == "mlp" else small_cnn
        return [make(generator=source).to(self.dtype) for source in sources]

    def views(self) -> LabelledViews:
        """Return what they see: digits, for the convolutional network augmented as in the book."""
        images = memorized_split("digits", memorized=self.examples).memorized.floats().to(self.dtype)
        labels = [random_labels(len(images), CLASSES, generator(m, "labels")) for m in range(self.models)]
        policy = partial(augmentation("small_digits"), check=False) if self.network != "mlp" else None
        strength = torch.tensor([0.5])
        shown = LabelledViews(images, torch.stack(labels), tuple(range(self.models)), CLASSES)
        return replace(shown, policy=policy, strength=strength)


def inputs_of(stack: Stack) -> Inputs:
    """Return networks, views and recipe, after a first use of each way, which loads modules."""
    networks, views = stack.networks(), stack.views()
    for way in ("loop", "batched", "vmap"):
        train(StackedNetwork(networks[:2], way), views.take([0, 1]), "mse", Recipe(epochs=1))
    return networks, views, Recipe(epochs=stack.epochs)


def one_by_one(inputs: Inputs) -> dict[str, Tensor]:
    """Train one network after the other, each with PyTorch's own layers."""
    networks, views, recipe = inputs
    done = [
        train(StackedNetwork([network], "loop"), views.take([m]), "mse", recipe)
        for m, network in enumerate(networks)
    ]
    return {"weights": torch.stack([weights_of(one.networks[0]) for one in done])}


def stacked(inputs: Inputs, *, way: str) -> dict[str, Tensor]:
    """Train all networks as one."""
    networks, views, recipe = inputs
    done = train(StackedNetwork(networks, way), views, "mse", recipe)
    return {"weights": torch.stack([weights_of(network) for network in done.networks])}


def check_stack(network: str, way: str) -> None:
    """Raise an AssertionError unless stacked networks end at the weights that each has alone."""
    inputs = inputs_of(Stack(network, models=3, examples=200, epochs=5, dtype=torch.float64))
    check_equal(one_by_one(inputs), stacked(inputs, way=way), tolerance=1e-9)


def stack_case(stack: Stack, way: str, repeats: int) -> Case:
    """Return the case of one stack."""
    size = "64-32-10 perceptrons" if stack.network == "mlp" else "small CNNs (3 blocks, hidden layer 1,024)"
    work = (
        f"{stack.models} {size} on {stack.examples:,} digits of 8x8, batch 100, {stack.epochs} epochs; "
        f"plain: one after the other, ours: stacked, {way}"
    )
    prepare, ours = partial(inputs_of, stack), partial(stacked, way=way)
    return Case(work, prepare, one_by_one, ours, tolerance=None, repeats=repeats, threads=1)


def loop_case(network: str, policy: str, batch: int, dataset: str, size: int, repeats: int) -> Case:
    """Return the case of one loop, against a loader."""
    names = {"cifar10": "CIFAR-10", "mnist": "MNIST"}
    images = f"{size:,} images of {names[dataset]}"
    try:
        load_images(dataset, "train")
    except FileNotFoundError:
        images = f"{size:,} random images of the size of {names[dataset]}'s"
    what = {
        "resnet18": "ResNet-18 (3x3 stem, hidden layer 512)",
        "small_cnn": "small CNN (3 blocks, hidden layer 1,024)",
        "linear": "everything but the network",
    }
    work = (
        f"{what[network]}: {images}, batch {batch}, augmented by {policy!r}; plain: torchvision on pictures, "
        f"{WORKERS} workers"
    )
    prepare = partial(warm, network, policy, batch, dataset, size)
    return Case(work, prepare, plain_loop, our_loop, tolerance=None, repeats=repeats)


def cases(quick: bool) -> list[Case]:
    """Check that the ways agree, then return the cases."""
    for network, dataset in (("resnet18", "cifar10"), ("small_cnn", "mnist"), ("linear", "cifar10")):
        check_loops(network, dataset)
    for network, way in (("mlp", "batched"), ("small_cnn", "batched"), ("small_cnn", "vmap")):
        check_stack(network, way)
    once = 1 if quick else 3
    deep, colors, gray = (16, 512, 1000) if quick else (768, 10_000, 60_000)
    mlps, cnns = Stack("mlp", 50, 1000, 20), Stack("small_cnn", 8, 400, 20)
    if quick:
        mlps, cnns = Stack("mlp", 10, 400, 2), Stack("small_cnn", 3, 200, 2)
    return [
        loop_case("resnet18", "full", 8 if quick else 128, "cifar10", deep, 1 if quick else 2),
        loop_case("linear", "full", 128, "cifar10", colors, once),
        loop_case("small_cnn", "isometry", 100, "mnist", gray, 1 if quick else 2),
        loop_case("linear", "isometry", 100, "mnist", gray, once),
        stack_case(mlps, "batched", once),
        stack_case(cnns, "batched", once),
        stack_case(cnns, "vmap", once),
    ]


if __name__ == "__main__":
    main(cases, OUT)
