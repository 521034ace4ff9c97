"""Distillation without labels: a student fits a teacher that is blind to the background.

Zhang et al. (ICML 2024) fit students to CLIP's representations. Here the teacher is invariant to the
background and the student sees everything: whatever it loses under a shift of the background it picked up by
itself. Fitting uses no label, so no label can be tied to the background. Two experiments:

- :func:`distil`, on the structured features of the theory. The teacher sees only the core features.
- :func:`distil_pictures`, the image stand-in for the experiments on CLIP. Digits are strokes of white ink,
  drawn by a program that needs no files or taken from MNIST, on a colored ground that is independent of the
  label: the ground takes the part of the background features, the strokes that of the core features. The
  teacher learned labels on grounds of any color; student and standard network see reds alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from memorization.checks import check_choice, check_finite, check_seeds, check_whole
from memorization.data.image_sets import ImageSet, as_image_set, load_images
from memorization.draws import generator
from memorization.measures.probes import linear_probe
from memorization.models.layers import build
from memorization.models.networks import mlp
from memorization.models.stacked import StackedNetwork
from memorization.runs.sweep import experiment
from memorization.studies.feature_contamination.data import StructuredFeatures, StructuredSample
from memorization.studies.feature_contamination.descent import WEIGHTS, DescendingNetworks, SignedRisk
from memorization.studies.feature_contamination.networks import (
    StackedActivation,
    TwoLayerNetworks,
    normal_networks,
)
from memorization.training.batches import FreshBatches
from memorization.training.objectives import cross_entropy
from memorization.training.recipe import Recipe
from memorization.training.train import TrainingError, train

Row = dict[str, Any]
Batches = Callable[[], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]
STROKES = ("procedural", "mnist")
TEACHERS = ("network", "linear")
DTYPES = {"float32": torch.float32, "float64": torch.float64}
SIDE = 14  # pixels of a digit
_REPRESENTATION, _CLASSES = 64, 10  # of the networks on pictures

# The six corners of a seven-segment display in pixels from the center, x to the right and y down.
_CORNERS = ((-2.5, -4.5), (2.5, -4.5), (-2.5, 0.0), (2.5, 0.0), (-2.5, 4.5), (2.5, 4.5))
# Segments as pairs of corners: top, upper left, upper right, middle, lower left, lower right, bottom.
_SEGMENTS = ((0, 1), (0, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5))
_LIT = ("1110111", "0010010", "1011101", "1011011", "0111010",
        "1101011", "1101111", "1010010", "1111111", "1111011")  # fmt: skip
_JITTER = 0.4  # of each corner, in pixels to each side
_STRETCH = (0.9, 1.1)  # of width and of height
_SHEAR = 0.3  # pixels to the side per pixel of height
_SHIFT = 1.5  # of the whole digit, in pixels to each side
_HALF_WIDTH = (0.9, 1.5)  # of a stroke, in pixels
_NOISE = 0.15  # standard deviation of the noise of a pixel


def stroke_images(
    digits: str, n: int, seed: int, split: str = "train", root: str | Path | None = None
) -> ImageSet:
    """Return digits as masks of ink.

    Args:
        digits: ``procedural``, drawn by :func:`draw_digits` with labels uniform on 0..9; or ``mnist``, a
            random subset, average-pooled from 28 x 28 to 14 x 14 pixels.
        n: number N of pictures, >= 1.
        seed: of the pictures, a whole number >= 0.
        split: ``train`` or ``test``; the two are independent draws, or the two halves of MNIST.
        root: folder of the data sets, used for ``mnist`` only.

    Returns:
        Masks of shape (N, 1, 14, 14), float32 in [0, 1] with 1 for ink, and labels in 0..9.

    Raises:
        ValueError: for an unknown name or split, or more pictures than there are.
        FileNotFoundError: if MNIST is absent.
    """
    check_choice("digits", digits, STROKES)
    check_choice("split", split, ("train", "test"))
    check_whole("n", n, 1)
    source = generator(seed, "strokes", digits, split)
    if digits == "mnist":
        stored = load_images("mnist", split, root)
        if n > len(stored):
            raise ValueError(f"n={n}; allowed: 1..{len(stored)}, the images of this half of MNIST")
        return as_image_set(stored.take(torch.randperm(len(stored), generator=source)[:n]), side=SIDE)
    labels = torch.randint(10, (n,), generator=source)
    names = tuple(str(digit) for digit in range(10))
    return ImageSet(draw_digits(labels, source), labels, names, "procedural digits")


def draw_digits(labels: Tensor, source: torch.Generator) -> Tensor:
    """Draw digits in the style of a seven-segment display, each with a hand of its own.

    Every digit has its own shear, stretch, place, stroke width and jittered corners, and noise on all pixels.

    Args:
        labels: which digits, shape (N,), int64 in 0..9.
        source: generator of the random numbers, on the device of the labels.

    Returns:
        Masks of shape (N, 1, 14, 14), float32 in [0, 1].

    Raises:
        ValueError: for labels outside 0..9.
    """
    if bool(((labels < 0) | (labels > 9)).any()):
        raise ValueError(
            f"digits are drawn for labels 0..9; got labels from {labels.min()} to {labels.max()}"
        )
    numbers = torch.rand(len(labels), 18, generator=source, device=labels.device)
    corners, half_width = _corners(numbers[:, :17]), _between(_HALF_WIDTH, numbers[:, 17:])
    lit = torch.tensor([[float(on) for on in row] for row in _LIT], device=labels.device)[labels]  # (N, 7)
    axis = torch.arange(SIDE, device=labels.device) - (SIDE - 1) / 2
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    places = torch.stack([x.flatten(), y.flatten()])  # (2, 196)
    ink = torch.zeros(len(labels), SIDE * SIDE, device=labels.device)
    for segment, (start, end) in enumerate(_SEGMENTS):
        distance = _distance(places, corners[:, start], corners[:, end])
        stroke = (half_width + 0.5 - distance).clamp_(0, 1)  # an edge one pixel wide
        ink = torch.maximum(ink, stroke * lit[:, segment, None])
    ink += _NOISE * torch.randn(ink.shape, generator=source, device=labels.device)
    return ink.clamp_(0, 1).view(-1, 1, SIDE, SIDE)


def _corners(numbers: Tensor) -> Tensor:
    """Return the places of the corners of each digit, (N, 6, 2), from 17 uniform numbers each."""
    jitter, stretch, shear, shift = numbers.split([12, 2, 1, 2], dim=1)
    corners = torch.tensor(_CORNERS, device=numbers.device) + _JITTER * (2 * jitter - 1).view(-1, 6, 2)
    corners = corners * _between(_STRETCH, stretch)[:, None]
    slant = _SHEAR * (2 * shear - 1) * corners[..., 1]  # (N, 6)
    return corners + torch.stack([slant, torch.zeros_like(slant)], 2) + _SHIFT * (2 * shift - 1)[:, None]


def _distance(places: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """Return how far places (2, pixels) are from the segments between two corners (N, 2): (N, pixels)."""
    along = end - start
    squared = along.square().sum(1, keepdim=True).clamp(min=1e-6)  # two corners can meet
    x, y = (places[i] - start[:, i, None] for i in (0, 1))
    nearest = ((x * along[:, :1] + y * along[:, 1:]) / squared).clamp_(0, 1)
    return torch.hypot(x - nearest * along[:, :1], y - nearest * along[:, 1:])


def _between(ends: tuple[float, float], numbers: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * numbers


# A color is base + u * spread with u uniform on [0, 1), one number per channel.
_RANGES = {
    "in": ((0.5, 0.0, 0.0), (0.3, 0.1, 0.1)),
    "out": ((0.0, 0.5, 0.5), (0.1, 0.3, 0.3)),
    "any": ((0.0, 0.0, 0.0), (0.9, 0.9, 0.9)),
}
GROUNDS = tuple(_RANGES)


def ground_colors(n: int, ground: str, source: torch.Generator) -> Tensor:
    """Draw colors of the ground; no label enters, so that a ground is independent of it.

    Args:
        n: number N of colors, >= 0.
        ground: ``in``: dark reds (0.5, 0, 0) + u (0.3, 0.1, 0.1); ``out``: (0, 0.5, 0.5) + u (0.1, 0.3, 0.3);
            ``any``: 0.9 u; u is uniform on [0, 1) in each channel.
        source: generator of the numbers.

    Returns:
        Shape (N, 3), float32, red, green and blue in [0, 0.9], on the generator's device.

    Raises:
        ValueError: for an unknown ground.
    """
    check_choice("ground", ground, GROUNDS)
    base, spread = (torch.tensor(values, device=source.device) for values in _RANGES[ground])
    return base + spread * torch.rand(n, 3, generator=source, device=source.device)


def on_ground(masks: Tensor, colors: Tensor) -> Tensor:
    """Put white ink on colored grounds: I + (1 - I) color.

    Args:
        masks: ink I, shape (..., 1, height, width), floating point in [0, 1].
        colors: of the grounds, shape (..., 3), in [0, 1].

    Returns:
        Pictures of shape (..., 3, height, width), in [0, 1].

    Raises:
        ValueError: if there is not one color per mask.
    """
    if masks.ndim < 3 or masks.shape[-3] != 1 or colors.shape != (*masks.shape[:-3], 3):
        raise ValueError(
            f"masks of shape {tuple(masks.shape)} and colors of shape {tuple(colors.shape)}; allowed: masks "
            "(..., 1, height, width) and one color (..., 3) for each"
        )
    return torch.addcmul(masks, 1 - masks, colors[..., None, None])


@dataclass(frozen=True)
class GroundedDigits:
    """Digits of M seeds, each a set of its own, to be shown on colored grounds.

    Attributes:
        masks: ink, shape (M, N, 1, 14, 14), floating point in [0, 1].
        labels: shape (M, N), int64 in 0..9.
        seeds: M whole numbers >= 0, of the grounds and of the batches.
    """

    masks: Tensor
    labels: Tensor
    seeds: tuple[int, ...]

    @classmethod
    def load(
        cls,
        digits: str,
        n: int,
        seeds: Sequence[int],
        split: str,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> GroundedDigits:
        """Return N digits for each seed, shown in this data type; arguments as in :func:`stroke_images`.

        Raises:
            ValueError: without a seed, or for values that do not fit.
            FileNotFoundError: if MNIST is asked for and absent.
        """
        seeds = check_seeds(seeds)
        sets = [stroke_images(digits, n, seed, split) for seed in seeds]
        masks, labels = torch.stack([s.images for s in sets]), torch.stack([s.labels for s in sets])
        return cls(masks.to(device, dtype), labels.to(device), seeds)

    def on(self, ground: str, purpose: str) -> Tensor:
        """Return all pictures on fresh grounds, shape (M, N, 3, 14, 14); ``purpose`` names the grounds."""
        sources = [generator(seed, "grounds", purpose) for seed in self.seeds]
        return on_ground(self.masks, self._colors(self.labels.shape[1], ground, sources))

    def batches(self, ground: str, size: int, purpose: str) -> Callable[[], tuple[Tensor, Tensor]]:
        """Return a function that gives the next batch of each seed, on fresh grounds.

        Args:
            ground: as in :func:`ground_colors`.
            size: B, pictures a batch, drawn with replacement.
            purpose: names the stream of random numbers.

        Returns:
            A function without arguments that returns pictures (M, B, 3, 14, 14) and labels (M, B).
        """
        sources = [generator(seed, "batches", purpose) for seed in self.seeds]
        models, n = self.labels.shape
        first = torch.arange(0, models * n, n)[:, None]

        def batch() -> tuple[Tensor, Tensor]:
            chosen = torch.stack([torch.randint(n, (size,), generator=source) for source in sources])
            rows = (chosen + first).flatten().to(self.masks.device)
            masks = self.masks.flatten(0, 1).index_select(0, rows).unflatten(0, (models, size))
            labels = self.labels.flatten().index_select(0, rows).view(models, size)
            return on_ground(masks, self._colors(size, ground, sources)), labels

        return batch

    def _colors(self, n: int, ground: str, sources: Sequence[torch.Generator]) -> Tensor:
        return torch.stack([ground_colors(n, ground, source) for source in sources]).to(self.masks)


def distillation_error(student: Tensor, teacher: Tensor, unit: Tensor | None = None) -> Tensor:
    """Return the mean squared distance of a student's representation from the teacher's, normalized.

    Zhang et al. (ICML 2024), their distillation objective, in units of the teacher's total variance: 0 for a
    perfect student, 1 for one that always gives the teacher's mean.

    Args:
        student: shape (..., N, P), floating point.
        teacher: the representation that is to be fitted, of the same shape.
        unit: shape (...), > 0, from :func:`total_variance`; None takes that of ``teacher``.

    Returns:
        Shape (...), >= 0.

    Raises:
        ValueError: if the shapes differ, or the teacher's variance is zero.
    """
    if student.shape != teacher.shape or student.ndim < 2:
        raise ValueError(
            f"the student gives {tuple(student.shape)} and the teacher {tuple(teacher.shape)}; allowed: one "
            "shape (..., N, P)"
        )
    return (student - teacher).square().sum(-1).mean(-1) / (total_variance(teacher) if unit is None else unit)


def total_variance(representation: Tensor) -> Tensor:
    """Return the variance over examples, summed over features.

    Args:
        representation: shape (..., N, P), floating point.

    Returns:
        Shape (...), > 0.

    Raises:
        ValueError: if it is zero.
    """
    total = representation.var(-2, correction=0).sum(-1)
    rounding = (8 * torch.finfo(total.dtype).eps) ** 2 * representation.square().sum(-1).mean(-1)
    if not bool((total > rounding).all()):  # equal numbers can have a variance above zero
        raise ValueError(
            "cannot normalize the distillation error: the teacher gives the same representation for all "
            f"{representation.shape[-2]} examples; train it longer, or at a lower learning rate"
        )
    return total


@experiment("distil")
def distil(
    *,
    teacher: str = "network",
    student: str = "relu",
    labels: str = "sphere",
    core: int = 16,
    background: int = 32,
    teacher_width: int = 64,
    representation: int = 32,
    width: int = 128,
    init_scale: float = 1.0,
    rate: float = 5e-3,
    batch: int = 256,
    steps: int = 800,
    test: int = 4000,
    ridge: float = 1e-4,
    standard: bool = True,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Fit a student to a teacher's representation, and a network of the same shape to the labels.

    The dictionary is the identity: inputs are the weights of the features. All seeds are trained stacked, by
    AdamW with a cosine schedule on fresh examples.

    Args:
        teacher: ``network`` (two layers, ReLU, random) or ``linear`` (a random linear map) of the core.
        student: activation of student and label-trained network, a name of ``POINTWISE`` but ``leaky``.
        labels: ``linear`` or ``sphere``, see ``StructuredFeatures``.
        core: number of core features.
        background: number of background features.
        teacher_width: neurons of the ``network`` teacher.
        representation: dimension of the representation.
        width: neurons of the student.
        init_scale: factor of the student's first layer.
        rate: initial learning rate.
        batch: fresh examples a step.
        steps: T.
        test: examples that probes are fitted on; as many others are tested on.
        ridge: penalty of the linear probes, see ``linear_probe``.
        standard: also train the network on labels.
        device: where to compute.
        seeds: of teacher, students and examples.

    Returns:
        For each seed a row per ``model`` (``teacher``, ``student``, ``standard``: trained on labels):
        ``id_accuracy``, ``ood_accuracy`` of a linear probe that was fitted in distribution, and ``id_error``,
        ``ood_error``, the squared error to the teacher over its total variance (NaN for ``standard``).

    Raises:
        ValueError: for values that are not allowed, or a teacher whose output does not vary.
    """
    sizes = {"representation": representation, "teacher_width": teacher_width, "width": width}
    _check(ridge, **sizes, batch=batch, test=test)
    check_finite("init_scale", init_scale)
    if student == "leaky":
        raise ValueError("student='leaky' would need a slope; choose relu, identity, gelu, tanh or sigmoid")
    features, seeds = StructuredFeatures(core, background, labels), check_seeds(seeds)
    fit, tested = (features.draw(test, _sources(seeds, what)).to(device) for what in ("fit", "test"))
    aim = _teacher(teacher, features, teacher_width, representation, seeds).to(device)
    total_variance(aim(fit.inputs()))  # refuses a teacher that says nothing before anything is trained
    recipe = Recipe(optimizer="adamw", learning_rate=rate, schedule="cosine", steps=steps)
    failed: dict[int, TrainingError] = {}

    def trained(
        what: str, outputs: int, loss: str, target: Callable[[StructuredSample], Tensor]
    ) -> TwoLayerNetworks:
        activation = StackedActivation([student] * len(seeds), [0.0] * len(seeds))
        scales = (init_scale / features.features**0.5, 0.0, width**-0.5)
        given = (width, features.features, outputs, activation, scales, _sources(seeds, what))
        examples = _sources(seeds, "train")  # both models see the same ones

        def batches(step: int) -> tuple[Tensor, Tensor]:
            sample = features.draw(batch, examples).to(device)
            return sample.inputs(), target(sample)

        draws = FreshBatches(batches, seeds, torch.device(device))
        networks = DescendingNetworks(normal_networks(*given).to(device), WEIGHTS)
        failed.update(train(networks, draws, SignedRisk(loss), recipe).failed)
        return networks.networks

    models = {"teacher": aim}
    models["student"] = trained("student", representation, "squared", lambda sample: aim(sample.inputs()))
    if standard:
        models["standard"] = trained("standard", 1, "logistic", lambda sample: sample.labels[..., None])
    shown = fit.inputs(), tested.inputs(), tested.inputs(-1.0)
    given = {name: [networks(x) for x in shown] for name, networks in models.items()}
    known, wanted = ((sample.labels > 0).long() for sample in (fit, tested))
    rows = _judged(given, known, wanted, total_variance(given["teacher"][0]), ridge, 2)
    return [failed.get(s) or row for s, row in enumerate(rows)]


def _teacher(
    kind: str, features: StructuredFeatures, width: int, outputs: int, seeds: Sequence[int]
) -> TwoLayerNetworks:
    """A teacher that is blind to the background."""
    check_choice("teacher", kind, TEACHERS)
    sources = _sources(seeds, "teacher")
    if kind == "linear":
        activation = StackedActivation(["identity"] * len(seeds), [0.0] * len(seeds))
        networks = normal_networks(
            outputs, features.features, outputs, activation, (features.core**-0.5, 0.0, 0.0), sources
        )
        networks = networks.with_tensors(second=torch.eye(outputs).repeat(len(seeds), 1, 1))
    else:
        activation = StackedActivation(["relu"] * len(seeds), [0.0] * len(seeds))
        scales = (2 * features.core**-0.5, 0.5, width**-0.5)
        networks = normal_networks(width, features.features, outputs, activation, scales, sources)
    first = networks.first.clone()
    first[..., features.core :] = 0
    return networks.with_tensors(first=first)


def _sources(seeds: Sequence[int], purpose: str) -> list[torch.Generator]:
    return [generator(seed, purpose) for seed in seeds]


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
    dtype: str = "float32",
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Train teacher, student and standard network of each seed, stacked over seeds, and probe all three.

    Each is a multilayer perceptron 588-width-width-64 with a linear representation of 64 numbers; teacher and
    standard network have a linear head on it. AdamW, cosine per step, fresh grounds at every step. Student
    and standard network start from the same weights.

    Args:
        digits: ``procedural`` (needs no files) or ``mnist``, see :func:`stroke_images`.
        train: N, pictures that all three train on.
        test: pictures of the test set, shown on grounds in and out of distribution.
        width: of the two hidden layers, >= 1.
        batch: pictures a step, >= 1, drawn with replacement.
        learning_rate: at the start, > 0.
        weight_decay: of AdamW, >= 0.
        steps: of student and standard network, >= 1.
        teacher_steps: of the teacher, >= 1.
        ridge: penalty of the probes, > 0, see ``linear_probe``.
        dtype: of pictures and weights. These trainings are chaotic: with ``float32`` each kind of processor
            ends elsewhere (the mean of a few seeds outside moved by up to 0.06, one seed's by 0.18), and
            stacks of other sizes do, too; with ``float64`` all end alike.
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
    _check(ridge, width=width, batch=batch, steps=steps, teacher_steps=teacher_steps)
    check_choice("dtype", dtype, DTYPES)
    kind = DTYPES[dtype]
    shown = GroundedDigits.load(digits, train, seeds, "train", device, kind)
    unseen = GroundedDigits.load(digits, test, seeds, "test", device, kind)

    def recipe(count: int) -> Recipe:
        options: dict[str, Any] = {"learning_rate": learning_rate, "weight_decay": weight_decay}
        return Recipe(optimizer="adamw", schedule="cosine", steps=count, **options)

    failed: dict[int, TrainingError] = {}

    def trained(stack: StackedNetwork, batches: Batches, loss: Loss, count: int) -> StackedNetwork:
        done, lost = _trained(stack, batches, loss, recipe(count), seeds)
        failed.update(lost)
        return done

    teacher = _networks(seeds, "teacher", width).to(device, kind)
    drawn = shown.batches("any", batch, "teacher")
    teacher = _bodies(trained(teacher, drawn, _label_loss, teacher_steps))
    standard = _networks(seeds, "student", width).to(device, kind)
    student = _bodies(standard)
    standard = _bodies(trained(standard, shown.batches("in", batch, "standard"), _label_loss, steps))
    unlabelled = _represented(shown.batches("in", batch, "student"), teacher)
    unit = total_variance(_outputs(teacher, shown.on("in", "unit")))
    student = trained(student, unlabelled, partial(distillation_error, unit=unit), steps)
    models = {"teacher": teacher, "student": student, "standard": standard}
    pictures = [shown.on("in", "probe"), unseen.on("in", "test"), unseen.on("out", "test")]
    given = {name: [_outputs(stack, one) for one in pictures] for name, stack in models.items()}
    unit = total_variance(given["teacher"][1])
    rows = _judged(given, shown.labels, unseen.labels, unit, ridge, _CLASSES)
    return [failed.get(s) or row for s, row in enumerate(rows)]


def _networks(seeds: Sequence[int], purpose: str, width: int) -> StackedNetwork:
    """Untrained networks, each a body that gives the representation and a linear head on it."""
    members = []
    for seed in seeds:
        source = generator(seed, "weights", purpose)
        inputs = 3 * SIDE * SIDE
        body = mlp(inputs=inputs, widths=(width, width), classes=_REPRESENTATION, hidden=(), generator=source)
        head = build(lambda: nn.Linear(_REPRESENTATION, _CLASSES), source)
        members.append(nn.Sequential(body, head))
    return StackedNetwork(members)


def _bodies(stack: StackedNetwork) -> StackedNetwork:
    """The networks without their heads, copied."""
    return StackedNetwork([cast(nn.Sequential, member)[0] for member in stack.members()])


def _trained(
    stack: StackedNetwork, batches: Batches, loss: Loss, recipe: Recipe, seeds: Sequence[int]
) -> tuple[StackedNetwork, dict[int, TrainingError]]:
    """The networks after fresh batches, still in training mode, and those that failed (as they began)."""
    draws = FreshBatches(lambda _: batches(), tuple(seeds), next(stack.parameters()).device)
    done = train(stack, draws, lambda outputs, targets, _: loss(outputs, targets), recipe)
    networks = [one or old for one, old in zip(done.networks, stack.members(), strict=True)]
    return StackedNetwork(networks).train(), done.failed


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


def _check(ridge: float, **sizes: int) -> None:
    """Refuse before the training what would fail after it."""
    for name, size in sizes.items():
        check_whole(name, size, 1)
    check_finite("ridge", ridge)
    if ridge <= 0:
        raise ValueError(f"ridge={ridge}; allowed: a number above 0")


def _judged(
    given: dict[str, list[Tensor]], known: Tensor, wanted: Tensor, unit: Tensor, ridge: float, classes: int
) -> list[list[Row]]:
    """Probe each model of each seed, and measure how far it is from the teacher.

    Args:
        given: by model, what it gives for the examples that probes are fitted on, and for those that they are
            tested on in and out of distribution: three tensors (M, N, P).
        known: labels of the first, (M, N).
        wanted: labels of the second and the third, (M, N).
        unit: of the distance, (M,).
        ridge: penalty of the probes.
        classes: number C of classes.
    """
    nothing = torch.full((2, len(known)), math.nan)  # a network that learned labels has no teacher
    rows: list[list[Row]] = [[] for _ in known]
    for name, (fitted, *tested) in given.items():
        pairs = zip(tested, given["teacher"][1:], strict=True)
        distances = [distillation_error(*pair, unit) for pair in pairs] if name != "standard" else nothing
        for m, row in enumerate(rows):
            queries = torch.cat([one[m] for one in tested])
            probe = linear_probe(fitted[m], known[m], queries, wanted[m].repeat(2), ridge, classes)
            inside, outside = probe.correct.view(2, -1).double().mean(1).tolist()
            errors = {"id_error": distances[0][m].item(), "ood_error": distances[1][m].item()}
            row.append({"model": name, "id_accuracy": inside, "ood_accuracy": outside, **errors})
    return rows
