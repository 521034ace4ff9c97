"""Random-label heads: all of them in one product, seeds in one stack, labellings by one factorization.

The plain ways are what a user of PyTorch writes: a list of ``nn.Linear``, one for each class, whose examples
are picked by a mask; one training after the other by ``torch.optim``; one least-squares fit for each
labelling. Both ways have the same examples, weights and labels. Stacked trainings must agree in logits to
1e-6 after 20 steps in float64 before anything is timed; over 60 epochs of float32 rounding grows, and
accuracies must agree to 2 %. The two rows of a network with heads against the same without say what heads
cost: there ours does more, and the network must end with the same bits.

    python benchmarks/random_label_heads.py [--quick] [--out FILE]
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import Case, check_equal, main
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.image_sets import load_images
from memorization.data.labels import balanced_labels
from memorization.draws import generator
from memorization.measures.random_labels import rademacher_complexity, random_label_accuracy
from memorization.models.heads import RandomLabelHeads, TappedNetwork
from memorization.models.networks import small_cnn
from memorization.training.batches import TensorBatches
from memorization.training.random_labels import RandomLabelLoss
from memorization.training.recipe import Recipe
from memorization.training.train import train

OUT = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "random_label_heads.json"
Found = dict[str, Tensor | float]

COUNT = 14  # random labels of a class
RATE, HEAD_RATE, MOMENTUM = 0.1, 0.5, 0.9
WIDTHS = (64, 64, 64, 24)


# ---- steps of heads


@dataclass(frozen=True)
class HeadSteps:
    """Features (T, B, d), classes and random labels (T, B) of T steps, and the first weights.

    Weights have shape (C, n, d); biases begin at zero.
    """

    features: Tensor
    classes: Tensor
    labels: Tensor
    weights: Tensor


def head_steps(steps: int, classes: int, batch: int = 128, width: int = 64) -> HeadSteps:
    """Draw what both ways are given, after a first use of both."""
    if steps > 2:
        for way in (plain_heads, our_heads):
            way(head_steps(2, classes))
    source = generator(0, "steps of heads", classes)
    return HeadSteps(
        torch.randn(steps, batch, width, generator=source),
        torch.randint(classes, (steps, batch), generator=source),
        torch.randint(COUNT, (steps, batch), generator=source),
        0.1 * torch.randn(classes, COUNT, width, generator=source),
    )


def plain_heads(inputs: HeadSteps) -> Found:
    """One linear layer for each class, and a loop over classes at every step."""
    layers = nn.ModuleList(nn.Linear(inputs.features.shape[2], COUNT) for _ in inputs.weights)
    with torch.no_grad():
        for layer, weight in zip(layers, inputs.weights, strict=True):
            layer.weight.copy_(weight)  # type: ignore[operator, union-attr]
            layer.bias.zero_()  # type: ignore[operator, union-attr]
    optimizer = torch.optim.SGD(layers.parameters(), lr=HEAD_RATE)
    for x, y, r in zip(inputs.features, inputs.classes, inputs.labels, strict=True):
        loss = x.new_zeros(())
        for number, layer in enumerate(layers):
            mine = y == number
            if bool(mine.any()):
                loss = loss + F.cross_entropy(layer(x[mine]), r[mine], reduction="sum")
        optimizer.zero_grad()
        (loss / len(x)).backward()
        optimizer.step()
    weights = torch.stack([layer.weight for layer in layers])  # type: ignore[misc]
    return {"weights": weights.detach(), "loss": torch.tensor([float(loss.detach()) / len(x)])}


def our_heads(inputs: HeadSteps) -> Found:
    """All heads in one product."""
    groups, _, width = inputs.weights.shape
    heads = RandomLabelHeads(width, COUNT, groups=groups)
    heads.weight.copy_(inputs.weights.flatten(0, 1).T[None, :, None])
    for x, y, r in zip(inputs.features, inputs.classes, inputs.labels, strict=True):
        known = heads(x[None], y[None]).log_softmax(-1)  # (1, B, 1, n)
        slopes = (known.exp() - F.one_hot(r, COUNT)[None, :, None]) / len(x)
        for name, gradient in heads.gradients(x[None], slopes, y[None]).items():
            heads.values()[name].sub_(gradient, alpha=HEAD_RATE)
    weights = heads.weight[0, :, 0].T.unflatten(0, (groups, COUNT))
    return {"weights": weights, "loss": F.nll_loss(known[0, :, 0], r)[None]}


# ---- seeds


@dataclass(frozen=True)
class Seeds:
    """Perceptrons with batch normalization on 1,400 digits, and class-wise heads on their last layer."""

    networks: tuple[nn.Module, ...]
    inputs: Tensor
    classes: Tensor
    labels: Tensor
    recipe: Recipe

    @property
    def batches(self) -> TensorBatches:
        """What each network sees at each step."""
        seeds = tuple(range(len(self.networks)))
        return TensorBatches(self.inputs, self.classes.expand(len(seeds), -1), seeds, 10)


def perceptron(source: torch.Generator) -> nn.Module:
    """Make the network 64-64-64-24-10, its hidden layers with batch normalization and ReLU."""
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    before = 64
    for number, width in enumerate(WIDTHS, start=1):
        layer = nn.Linear(before, width)
        nn.init.normal_(layer.weight, std=(2 / before) ** 0.5, generator=source)
        nn.init.zeros_(layer.bias)
        stages[f"layer{number}"] = nn.Sequential(layer, nn.BatchNorm1d(width), nn.ReLU())
        before = width
    stages["logits"] = nn.Linear(before, 10)
    nn.init.normal_(stages["logits"].weight, std=before**-0.5, generator=source)  # type: ignore[arg-type]
    nn.init.zeros_(stages["logits"].bias)  # type: ignore[arg-type]
    return nn.Sequential(stages)


def seeds(count: int, epochs: int, steps: int | None = None, dtype: torch.dtype = torch.float32) -> Seeds:
    """Return what both ways are given, after a first use of both."""
    if steps is None:
        for way in (plain_seeds, our_seeds):
            way(seeds(1, 1, 2))
    images = load_images("digits", "all")
    chosen = torch.randperm(len(images), generator=generator(0, "split"))[:1400]
    pixels = images.pixels[chosen].flatten(1).to(dtype)
    classes, ids = images.labels[chosen], torch.arange(1400)
    return Seeds(
        tuple(perceptron(generator(seed, "weights")).to(dtype) for seed in range(count)),
        (pixels - pixels.mean()) / pixels.std(),
        classes,
        torch.stack([balanced_labels(ids, COUNT, seed, classes) for seed in range(count)]),
        Recipe(
            epochs=epochs, batch=128, optimizer="sgd", learning_rate=RATE, momentum=MOMENTUM,
            schedule="cosine", steps=steps,
        ),
    )  # fmt: skip


def plain_seeds(inputs: Seeds) -> Found:
    """Train one network after the other, its heads by an optimizer of their own."""
    done = []
    for number, given in enumerate(inputs.networks):
        network = perceptron(generator(0)).to(inputs.inputs.dtype)
        network.load_state_dict(given.state_dict())
        heads = nn.Linear(WIDTHS[-1], 10 * COUNT, dtype=inputs.inputs.dtype)
        nn.init.zeros_(heads.weight)
        nn.init.zeros_(heads.bias)
        own = torch.optim.SGD(network.parameters(), lr=RATE, momentum=MOMENTUM)
        theirs = torch.optim.SGD(heads.parameters(), lr=HEAD_RATE, momentum=MOMENTUM)
        steps = len(inputs.inputs) // inputs.recipe.batch
        stream = inputs.batches.take([number]).stream(inputs.recipe.batch, 0)
        for step, seen in zip(range(inputs.recipe.total(steps)), stream, strict=False):
            rows = seen.examples[0]
            x, y, r = inputs.inputs[rows], inputs.classes[rows], inputs.labels[number][rows]
            for optimizer, rate in ((own, RATE), (theirs, HEAD_RATE)):
                optimizer.param_groups[0]["lr"] = inputs.recipe.scheduled(rate, step, steps)
                optimizer.zero_grad()
            features = network[:-1](x)  # type: ignore[index]
            loss = F.cross_entropy(network[-1](features), y)  # type: ignore[index]
            loss = loss + F.cross_entropy(of_class(heads(features.detach()), y), r)
            loss.backward()
            own.step()
            theirs.step()
        network.eval()
        with torch.no_grad():
            features = network[:-1](inputs.inputs)  # type: ignore[index]
            done.append((network(inputs.inputs), of_class(heads(features), inputs.classes)))
    return seeds_found(inputs, done)


def of_class(logits: Tensor, classes: Tensor) -> Tensor:
    """Logits (B, C n) of all heads, to those of each example's own class, (B, n)."""
    return logits.unflatten(1, (10, COUNT))[torch.arange(len(classes)), classes]


def our_seeds(inputs: Seeds) -> Found:
    """Train all networks and heads as one stack."""
    tapped = [TappedNetwork(network, ["layer4"], inputs.inputs[:2]) for network in inputs.networks]
    loss = RandomLabelLoss(tapped[0], inputs.labels, COUNT, dtype=inputs.inputs.dtype)
    trained = train(tapped, inputs.batches, loss, inputs.recipe)
    done = []
    for network in trained.networks:
        with torch.no_grad():
            logits, heads = network.eval().with_heads(inputs.inputs, inputs.classes)  # type: ignore[operator]
        done.append((logits, heads["layer4"][:, 0]))
    return seeds_found(inputs, done)


def seeds_found(inputs: Seeds, done: Sequence[tuple[Tensor, Tensor]]) -> Found:
    """Accuracies of each network and of its heads; after few steps all logits, too."""
    right = [(logits.argmax(1) == inputs.classes).double().mean() for logits, _ in done]
    online = [random_label_accuracy(heads, r) for (_, heads), r in zip(done, inputs.labels, strict=True)]
    found: Found = {"accuracies": torch.stack(right), "random_label_accuracies": torch.stack(online)}
    if inputs.recipe.steps is not None:
        found |= {
            "logits": torch.stack([logits for logits, _ in done]),
            "head_logits": torch.stack([heads for _, heads in done]),
        }
    return found


def check(count: int = 2, steps: int = 20) -> None:
    """Raise an AssertionError unless both ways of training seeds go the same way."""
    inputs = seeds(count, 1, steps, torch.float64)
    check_equal(plain_seeds(inputs), our_seeds(inputs), tolerance=1e-6)


# ---- labellings


@dataclass(frozen=True)
class Labellings:
    """Features (m, d) and how many labellings by signs they are fitted to."""

    features: Tensor
    draws: int


def labellings(draws: int, m: int = 1400, d: int = 60) -> Labellings:
    """Draw the features."""
    return Labellings(torch.randn(m, d, generator=generator(0, "features")), draws)


def plain_labellings(inputs: Labellings) -> Found:
    """Fit a least-squares head with a bias to each labelling on its own."""
    rows = torch.cat([torch.ones(len(inputs.features), 1), inputs.features], 1)
    labels = torch.randint(2, (inputs.draws, len(rows)), generator=generator(0, "signs"))
    shares = []
    for one in labels:
        signs = 2.0 * one - 1
        said = (rows @ torch.linalg.lstsq(rows, signs[:, None]).solution)[:, 0].sign()
        shares.append((signs * said).double().mean())
    return {"shares": torch.stack(shares)}


def our_labellings(inputs: Labellings) -> Found:
    """Factor the features once."""
    return {"shares": rademacher_complexity(inputs.features, inputs.draws, generator(0, "signs")).values}


# ---- what heads cost


@dataclass(frozen=True)
class Images:
    """A convolutional network, images (N, 3, side, side) with classes, and random labels within these."""

    network: nn.Module
    inputs: Tensor
    classes: Tensor
    count: int
    labels: Tensor
    recipe: Recipe

    @property
    def batches(self) -> TensorBatches:
        """What the network sees at each step."""
        return TensorBatches(self.inputs, self.classes[None], (0,), int(self.classes.max()) + 1)


def images(
    widths: Sequence[int], strides: Sequence[int], classes: int, count: int, n: int, batch: int, steps: int
) -> Images:
    """Draw images of 32x32 pixels, after a first use of both ways."""
    if steps > 1:
        for way in (plain_images, our_images):
            way(images(widths, strides, classes, count, n, batch, 1))
    source = generator(0, "images", n)
    labels = torch.arange(n) % classes
    return Images(
        small_cnn(channels=3, widths=widths, strides=strides, classes=classes, hidden=(), generator=source),
        torch.rand(n, 3, 32, 32, generator=source),
        labels,
        count,
        balanced_labels(torch.arange(n), count, 0, labels, few=True)[None],
        Recipe(batch=batch, optimizer="sgd", learning_rate=0.05, steps=steps),
    )


def plain_images(inputs: Images) -> Found:
    """Train the network alone, by the same loop."""
    trained = train([inputs.network], inputs.batches, "cross_entropy", inputs.recipe)
    return weights_found(trained.networks[0])


def our_images(inputs: Images) -> Found:
    """Train it with a head per class at every stage, which only look on."""
    blocks = [f"encoder.{name}" for name, _ in inputs.network.encoder.named_children()]  # type: ignore[operator, union-attr]
    tapped = TappedNetwork(inputs.network, blocks[:-1], inputs.inputs[:2], acting=())
    loss = RandomLabelLoss(tapped, inputs.labels, inputs.count)
    trained = train([tapped], inputs.batches, loss, inputs.recipe)
    return weights_found(trained.networks[0].network)  # type: ignore[arg-type]


def weights_found(network: nn.Module) -> Found:
    """All numbers of a network, in one row."""
    state = [value.detach().double().flatten() for value in network.state_dict().values()]
    return {"weights": torch.cat(state)}


# ---- the rows

TAPPED = ((16, 32, 64, 64), (1, 2, 2, 2))  # channels and strides: four sites
SEVEN = ((16, 64, 64, 128, 128, 256, 256), (1, 2, 1, 2, 1, 2, 1))  # channels of WRN-16-4's seven sites


def cases(quick: bool) -> list[Case]:
    """Return the cases at the sizes of the page, or at small ones."""
    check()
    both: dict[str, Any] = {"repeats": 1 if quick else 2, "threads": 1}
    steps, epochs, draws = (50, 2, 100) if quick else (300, 60, 2000)
    rows = [
        Case(
            f"{steps:,} steps, forward and backward, of random-label heads for {c} classes (B=128, d=64, "
            f"n={COUNT}); plain: a loop over classes, ours: one product; one thread",
            partial(head_steps, steps, c),
            plain_heads,
            our_heads,
            **both,
        )
        for c in (10, 100)
    ]
    rows += [
        Case(
            f"{count} seeds of a perceptron 64-64-64-24-10 with class-wise heads (n={COUNT}) on 1,400 "
            f"digits, {epochs} epochs; plain: one after the other, ours: stacked; one thread",
            partial(seeds, count, epochs),
            plain_seeds,
            our_seeds,
            tolerance=0.02,
            **both,
        )
        for count in ((2,) if quick else (5, 20))
    ]
    rows.append(
        Case(
            f"{draws:,} labellings by signs of 1,400 examples with 60 features; plain: a least-squares fit "
            "each, ours: one factorization; one thread",
            partial(labellings, draws),
            plain_labellings,
            our_labellings,
            **both,
        )
    )
    few = 2 if quick else 20
    rows.append(
        Case(
            f"{few} steps of a convolutional network on 32x32 images (B=128); plain: no heads, ours: "
            f"class-wise heads at four sites look on (10 classes, n={COUNT}); one thread",
            partial(images, *TAPPED, 10, COUNT, 1280, 128, few),
            plain_images,
            our_images,
            tolerance=0.0,
            **both,
        )
    )
    rows.append(
        Case(
            "memory of heads: two steps of a convolutional network with WRN-16-4's seven widths on 32x32 "
            "images (B=256); plain: no heads, ours: heads for 100 classes (n=10) at seven sites look on; one "
            "thread",
            partial(images, *SEVEN, 100, 10, 1000, 64 if quick else 256, 2),
            plain_images,
            our_images,
            tolerance=0.0,
            **{**both, "repeats": 1},
        )
    )
    return rows


if __name__ == "__main__":
    main(cases, OUT)
