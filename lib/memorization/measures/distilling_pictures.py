"""Distillation on pictures: a student that fits an invariant teacher on one kind of ground, shown another.

The image stand-in for the distillation experiments of Zhang et al. (ICML 2024). Digits stand on colored
grounds, and the color is independent of the label throughout. A teacher learned labels on grounds of any
color; a student fits the teacher's representation on in-distribution grounds, without labels; a standard
network learns labels on the same grounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from memorization.data.grounds import GroundedDigits
from memorization.data.seeds import generator
from memorization.data.strokes import SIDE
from memorization.measures.imitation import distillation_error, total_variance
from memorization.measures.linear import linear_probe
from memorization.models.initialization import build
from memorization.models.small import mlp
from memorization.models.stacked import StackedNetwork
from memorization.runs.sweep import experiment
from memorization.training.finite import LossWatch
from memorization.training.objectives import cross_entropy
from memorization.training.recipe import Recipe

Row = dict[str, Any]
Batches = Callable[[], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]
_REPRESENTATION, _CLASSES = 64, 10


@experiment("distil_pictures")
def distil_pictures(
    *,
    digits: str = "procedural",
    train: int = 6000,
    test: int = 4000,
    width: int = 128,
    batch: int = 128,
    learning_rate: float = 3e-3,
    weight_decay: float = 0.01,
    steps: int = 500,
    teacher_steps: int = 1000,
    ridge: float = 0.1,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row]]:
    """Train teacher, student and standard network of each seed, stacked over seeds, and probe all three.

    Each is a multilayer perceptron 588-width-width-64 with a linear representation of 64 numbers; teacher and
    standard network have a linear head on it. AdamW, cosine per step, fresh grounds at every step. Student
    and standard network start from the same weights.

    Args:
        digits: ``procedural`` (needs no files) or ``mnist``, see ``data.strokes.stroke_images``.
        train: N, pictures that all three train on.
        test: pictures of the test set, shown on grounds in and out of distribution.
        width: of the two hidden layers, >= 1.
        batch: pictures a step, >= 1, drawn with replacement.
        learning_rate: at the start, > 0.
        weight_decay: of AdamW, >= 0.
        steps: of student and standard network, >= 1.
        teacher_steps: of the teacher, >= 1.
        ridge: penalty of the probes, > 0, see ``measures.linear.linear_probe``.
        device: where to compute.
        seeds: of pictures, weights, batches and grounds.

    Returns:
        For each seed three rows, ``model`` being ``teacher``, ``student`` and ``standard``: the accuracy of a
        linear probe, fitted on in-distribution grounds, on test pictures in and out of distribution
        (``id_accuracy``, ``ood_accuracy``), and the :func:`distillation_error` on both (``id_error``,
        ``ood_error``; 0 for the teacher, NaN for the standard network, which is not asked to fit it).

    Raises:
        ValueError: for values that do not fit, or a teacher that gives one representation for all pictures.
        FileNotFoundError: if MNIST is asked for and absent.
        TrainingError: if a loss becomes infinite or not a number.
    """
    _check(ridge, {"steps": steps, "teacher_steps": teacher_steps})
    shown = GroundedDigits.load(digits, train, seeds, "train", device)
    unseen = GroundedDigits.load(digits, test, seeds, "test", device)

    def recipe(count: int) -> Recipe:
        options: dict[str, Any] = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        return Recipe(count, batch, "adamw", schedule="cosine", **options)  # one step is one epoch here

    teacher = _networks(seeds, "teacher", width, device)
    _train(teacher, shown.batches("any", batch, "teacher"), _label_loss, recipe(teacher_steps))
    teacher = _bodies(teacher)
    labelled = shown.batches("in", batch, "standard")
    standard = _networks(seeds, "student", width, device)
    student = _bodies(standard)
    _train(standard, labelled, _label_loss, recipe(steps))
    unlabelled = _represented(shown.batches("in", batch, "student"), teacher)
    unit = total_variance(_outputs(teacher, shown.on("in", "unit")))
    _train(student, unlabelled, partial(distillation_error, unit=unit), recipe(steps))
    models = {"teacher": teacher, "student": student, "standard": _bodies(standard)}
    return _rows(models, shown, unseen, ridge)


def _check(ridge: float, steps: dict[str, int]) -> None:
    """Refuse before the training what would fail after it."""
    for name, count in steps.items():
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ValueError(f"{name}={count!r}; allowed: a whole number of optimizer steps, 1 or more")
    if not (ridge > 0 and math.isfinite(ridge)):
        raise ValueError(f"ridge={ridge!r}; allowed: a finite number > 0")


def _networks(seeds: Sequence[int], purpose: str, width: int, device: str) -> StackedNetwork:
    """Untrained networks, each a body that gives the representation and a linear head on it."""
    members = []
    for seed in seeds:
        source = generator(seed, "weights", purpose)
        inputs = 3 * SIDE * SIDE
        body = mlp(inputs=inputs, widths=(width, width), classes=_REPRESENTATION, hidden=(), generator=source)
        head = build(lambda: nn.Linear(_REPRESENTATION, _CLASSES), source)
        members.append(nn.Sequential(body, head))
    return StackedNetwork(members).to(device)


def _bodies(stack: StackedNetwork) -> StackedNetwork:
    """The networks without their heads, copied."""
    return StackedNetwork([cast(nn.Sequential, member)[0] for member in stack.members()])


def _train(stack: StackedNetwork, batches: Batches, loss: Loss, recipe: Recipe) -> None:
    """Train a stack on fresh batches, in place, one step for each epoch of the recipe."""
    optimizer = recipe.build(stack.parameters())
    losses = LossWatch(recipe.epochs, "learning rate")
    for step in range(recipe.epochs):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, 1)
        inputs, targets = batches()
        optimizer.zero_grad(set_to_none=True)
        value = loss(stack(inputs), targets)  # (M,)
        value.sum().backward()
        optimizer.step()
        losses.add(value.detach())


def _represented(batches: Batches, teacher: StackedNetwork) -> Batches:
    """Replace the labels of batches by the teacher's representation."""

    def batch() -> tuple[Tensor, Tensor]:
        pictures, _ = batches()
        return pictures, _outputs(teacher, pictures)

    return batch


@torch.no_grad()
def _outputs(stack: StackedNetwork, pictures: Tensor) -> Tensor:
    return stack(pictures)


def _label_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return cross_entropy(outputs, labels, labels)


def _rows(
    models: dict[str, StackedNetwork], shown: GroundedDigits, unseen: GroundedDigits, ridge: float
) -> list[list[Row]]:
    """Probe every network of every seed on the same pictures."""
    pictures = [shown.on("in", "probe"), unseen.on("in", "test"), unseen.on("out", "test")]
    given = {name: [_outputs(stack, one) for one in pictures] for name, stack in models.items()}
    unit = total_variance(given["teacher"][1])
    errors = {
        name: [distillation_error(given[name][k], given["teacher"][k], unit).tolist() for k in (1, 2)]
        for name in ("teacher", "student")
    }
    nothing = [[math.nan] * len(shown.seeds)] * 2

    def row(name: str, m: int) -> Row:
        reference, *queries = (one[m] for one in given[name])
        wanted = unseen.labels[m].repeat(2)
        probe = linear_probe(reference, shown.labels[m], torch.cat(queries), wanted, ridge, _CLASSES)
        inside, outside = probe.correct.view(2, -1).double().mean(1).tolist()
        error = [one[m] for one in errors.get(name, nothing)]
        accuracies = {"id_accuracy": inside, "ood_accuracy": outside}
        return {"model": name, **accuracies, "id_error": error[0], "ood_error": error[1]}

    return [[row(name, m) for name in models] for m in range(len(shown.seeds))]
