"""Train stacked networks beside a background that says nothing of the label: what they take up and lose.

Zhang et al. (ICML 2024). :func:`contaminate` has the theory's setting (online SGD in latent coordinates),
that of the published code (fixed examples, ambient inputs, biases, AdamW) and everything between; what cannot
be trained is refused first, and what is outside the theory is said. :func:`train_framed` is the laptop-scale
stand-in for their padded CIFAR-10: no adversarial training, and the accuracy under frames of several colors
in place of a look at the filters.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from memorization.checks import check_choice, check_finite, check_seeds, check_whole
from memorization.data.frames import FRAME_COLORS, ColoredFrames, framed_test
from memorization.data.image_sets import as_image_set, stored_images
from memorization.draws import generator
from memorization.measures.accuracy import class_scores
from memorization.measures.sites import site_features
from memorization.models.networks import small_cnn
from memorization.runs.sweep import experiment
from memorization.studies.feature_contamination.data import StructuredFeatures, check_dictionary
from memorization.studies.feature_contamination.descent import WEIGHTS, DescendingNetworks, SignedRisk
from memorization.studies.feature_contamination.networks import (
    ArmStack,
    FeatureArm,
    FeatureWorld,
    TwoLayerNetworks,
    in_latent,
    pytorch_networks,
    theory_networks,
)
from memorization.studies.feature_contamination.theory import NeuronFeatures, firing, risk_accuracy_margin
from memorization.training.batches import FreshBatches, LabelledViews
from memorization.training.objectives import SignedLoss
from memorization.training.recipe import OPTIMIZERS, Recipe, numbers
from memorization.training.train import Trained, TrainingError, train

INITIALIZATIONS = ("theory", "pytorch", "pytorch_frozen")
COORDINATES = ("latent", "ambient")
_MAY_BE_ZERO = ("ambient", "examples", "steps")


def check_choices(initialization: str, coordinates: str, ambient: int) -> None:
    """Raise a ValueError for an unknown choice, and for ambient coordinates without a dimension."""
    if initialization not in INITIALIZATIONS:
        raise ValueError(f"initialization={initialization!r}; allowed: {', '.join(INITIALIZATIONS)}")
    if coordinates not in COORDINATES:
        raise ValueError(f"coordinates={coordinates!r}; allowed: {', '.join(COORDINATES)}")
    if coordinates == "ambient" and not ambient:
        raise ValueError("coordinates='ambient' need a dimension; give ambient >= core + background")


def check_sizes(**sizes: int) -> None:
    """Raise a ValueError for a size that is no whole number, or too small."""
    for name, value in sizes.items():
        check_whole(name, value, 0 if name in _MAY_BE_ZERO else 1)


def check_recording(record_at: Sequence[int], steps: int, shifts: Sequence[float]) -> None:
    """Raise a ValueError for a step to record at that never comes, or a shift that is no number."""
    for step in record_at:
        check_whole("record_at", step)
        if step > steps:
            raise ValueError(f"record_at={step} is after the last step; allowed: 0..{steps} (steps)")
    for shift in shifts:
        check_finite("shifts", shift)


def read_arms(given: Sequence[Mapping[str, Any]], labels: str) -> tuple[FeatureArm, ...]:
    """Return arms from plain values.

    Args:
        given: a list of settings, see ``FeatureArm``.
        labels: label rule of the examples.

    Raises:
        ValueError: if there is no list, or it is empty, or an arm does not fit the label rule.
    """
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ValueError(f"arms={given!r}; give a list of at least one arm, [{{}}] is the standard one alone")
    arms = tuple(FeatureArm.read(arm) for arm in given)
    if labels != "linear" and any(arm.symmetric for arm in arms):
        raise ValueError(
            f"symmetric=True with labels={labels!r}: the mirror image -x of an example has its label, not "
            "the opposite one; use labels='linear'"
        )
    return arms


def warn_outside(arms: Sequence[FeatureArm]) -> None:
    """Warn, once for all arms, if some train on background weights outside [0, 1].

    The theorems' statistics ``good``, ``good_core`` and ``good_background`` are computed for them as well.
    The warning points to the first caller outside the library.
    """
    outside = [number for number, arm in enumerate(arms) if arm.leaves_assumptions]
    if outside:
        text = (
            "outside the model's assumptions: background weights leave [0, 1] in the training of arms "
            f"{outside} (from 0); their good, good_core and good_background are not those of Theorem 2"
        )
        warnings.warn(text, UserWarning, stacklevel=_levels_inside() + 1)


def _levels_inside() -> int:
    """How many frames of the library are between here and the reader's own call."""
    level, frame = 0, sys._getframe(1)
    package = __name__.partition(".")[0]
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == package:
        level, frame = level + 1, frame.f_back
    return level


Row = dict[str, Any]


@experiment("contaminate")
def contaminate(
    *,
    arms: Sequence[Mapping[str, Any]] = ({},),
    core: int = 16,
    background: int = 16,
    labels: str = "linear",
    width: int = 128,
    ambient: int = 0,
    coordinates: str = "latent",
    initialization: str = "theory",
    examples: int = 0,
    batch: int = 256,
    steps: int = 600,
    record_at: Sequence[int] = (),
    shifts: Sequence[float] = (),
    loss: str = "hinge",
    optimizer: str = "sgd",
    momentum: float = 0.0,
    test: int = 4000,
    neurons: bool = False,
    gradient: str = "closed",
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Train one network per arm and seed, all stacked, and record risks and features on the way.

    Args:
        arms: what each arm does differently, names and values of ``FeatureArm``.
        core: number of core features.
        background: number of background features.
        labels: ``linear`` or ``sphere``, see ``StructuredFeatures``.
        width: number m of neurons.
        ambient: dimension D of the inputs, with a random dictionary for each seed; 0: D = d_0^2.5 as in the
            theory, which latent coordinates alone can hold.
        coordinates: ``latent`` trains the projections on the features, exact for SGD only; ``ambient``.
        initialization: ``theory`` (no biases, output weights +-1/m frozen, first layer normal with the
            variance 1/D), ``pytorch`` (biases, uniform, everything trained) or ``pytorch_frozen`` (the
            published code's theory setting: output layer frozen).
        examples: number N of fixed examples, all in each step, half of each label; 0: fresh ones each step.
        batch: fresh examples a step.
        steps: T.
        record_at: numbers of steps after which to record, besides 0 and T; in 0..T.
        shifts: factors of the background to test at after the last step, besides -1.
        loss: ``hinge``, ``logistic`` or ``squared``.
        optimizer: ``sgd``, ``adam`` or ``adamw`` (all arms at one rate and decay).
        momentum: of SGD.
        test: fresh examples that are tested on, the same at all times.
        neurons: also return, as lists, each neuron's sums of projections C_k and B_k and its sign.
        gradient: ``closed`` or ``autograd``.
        device: where to compute.
        seeds: of weights, dictionary, training and test examples; each once.

    Returns:
        For each seed one row per arm, recorded step and shift: the arm's settings, ``step``, ``shift``;
        ``id_risk``, ``id_accuracy``, ``id_margin`` on fresh examples; ``ood_...`` on the same ones with their
        background times ``shift``; with fixed examples ``train_...`` on these and ``train_ood_...`` on their
        cores beside fresh shifted backgrounds; ``own`` and ``other`` of ``firing``; the numbers of
        ``NeuronFeatures.summary``.

    Warns:
        UserWarning: once, for arms that train on background weights outside [0, 1].

    Raises:
        ValueError: for values that are not allowed.
        TrainingError: if the loss of every network becomes infinite or not a number. Where only some do, the
            error stands in place of that seed's rows.
    """
    check_choices(initialization, coordinates, ambient)
    check_sizes(width=width, ambient=ambient, examples=examples, batch=batch, steps=steps, test=test)
    check_recording(record_at, steps, shifts)
    features = StructuredFeatures(core, background, labels)
    stack = ArmStack(read_arms(arms, labels), check_seeds(seeds))
    recipe = _recipe(stack, steps, optimizer, momentum, coordinates)
    risk = SignedRisk(loss, stack.each("penalty"))
    world = FeatureWorld.draw(features, stack, ambient, examples, test).to(device)
    networks = _networks(initialization, stack, width, features.features, ambient).to(device)
    if coordinates == "latent":
        networks, world = _latent(networks, world)
    warn_outside(stack.arms)
    watcher = _Watcher(world, risk.signed, steps, tuple(shifts), neurons)
    trained = WEIGHTS if initialization == "pytorch" else ("first", "bias")
    draws = FreshBatches(world.batches(batch), stack.seeds * len(stack.arms), torch.device(device))
    descending = DescendingNetworks(networks, trained, gradient)
    done = train(descending, draws, risk, recipe, watch_all=watcher, watch_at=record_at)
    return [_failure(done, s, len(stack.seeds)) or rows for s, rows in enumerate(watcher.rows)]


def _recipe(stack: ArmStack, steps: int, optimizer: str, momentum: float, coordinates: str) -> Recipe:
    """How all arms are trained, each with its own rate and decay where it is SGD."""
    check_choice("optimizer", optimizer, OPTIMIZERS)
    if momentum and optimizer != "sgd":
        raise ValueError(f"momentum={momentum} with optimizer={optimizer!r}; only 'sgd' has one")
    if coordinates == "latent" and optimizer != "sgd":
        raise ValueError(
            f"optimizer={optimizer!r} needs ambient coordinates: only SGD follows the same path in "
            "latent ones (Adam scales each coordinate by itself); use 'sgd', or coordinates='ambient'"
        )
    rates, decays = stack.each("rate"), stack.each("decay")
    if 0 in numbers(rates):  # a recipe lets some networks of a stack stay as they are; every arm here learns
        raise ValueError(f"learning_rate={rates}; allowed: a number above 0")
    return Recipe(
        optimizer=optimizer, learning_rate=rates, weight_decay=decays, momentum=momentum, steps=steps
    )


def _failure(done: Trained, seed: int, seeds: int) -> TrainingError | None:
    """The error of the first arm of a seed whose loss was not finite; None where all arms were trained."""
    return next((error for member, error in done.failed.items() if member % seeds == seed), None)


def _networks(
    initialization: str, stack: ArmStack, width: int, features: int, ambient: int
) -> TwoLayerNetworks:
    """Initial networks; all arms of a seed begin with the same weights, but for their scale."""
    sources = [generator(seed, "first layer") for _ in stack.arms for seed in stack.seeds]
    inputs = ambient or features
    if initialization == "theory":
        dimension = ambient or features**2.5
        scales = [factor / dimension**0.5 for factor in stack.each("init_scale")]
        return theory_networks(width, inputs, stack.activation, scales, sources)
    frozen = initialization == "pytorch_frozen"
    networks = pytorch_networks(width, inputs, 1, stack.activation, sources, frozen_output=frozen)
    factors = networks.first.new_tensor(stack.each("init_scale")).view(-1, 1, 1)
    return networks.with_tensors(first=networks.first * factors)


def _latent(networks: TwoLayerNetworks, world: FeatureWorld) -> tuple[TwoLayerNetworks, FeatureWorld]:
    """The same training in the features' coordinates; the rest of a neuron never touches the data."""
    if world.dictionaries is None:
        return networks, world
    check_dictionary(world.dictionaries)
    return in_latent(networks, world.dictionaries), replace(world, dictionaries=None)


class _Watcher:
    """Collects the rows of one training: ``rows[s]`` are those of the s-th seed."""

    def __init__(
        self, world: FeatureWorld, loss: SignedLoss, steps: int, shifts: tuple[float, ...], neurons: bool
    ) -> None:
        self.world, self.loss, self.steps, self.neurons = world, loss, steps, neurons
        self.shifts = list(dict.fromkeys([-1.0, *map(float, shifts)]))
        self.rows: list[list[Row]] = [[] for _ in world.stack.seeds]

    def __call__(self, step: int, descending: DescendingNetworks) -> None:
        world, networks = self.world, descending.networks
        found = NeuronFeatures.of(networks, world.features.core, world.dictionaries)
        here = found.summary() | self._in_distribution(networks, found.positive)
        if world.fixed is not None:
            x, targets = world.training_examples()
            labels = world.for_all(world.fixed.labels)
            here |= self._tested(networks, x, "train", targets[..., 0])
            here |= self._tested(networks, world.training_cores(-1.0), "train_ood", labels)
        for shift in self.shifts if step == self.steps else self.shifts[:1]:
            labels = world.for_all(world.tested.labels)
            there = self._tested(networks, world.test_inputs(shift), "ood", labels)
            self._keep(step, shift, here | there, found)

    def _in_distribution(self, networks: TwoLayerNetworks, positive: Tensor) -> dict[str, Tensor]:
        x = self.world.test_inputs(None)
        labels = self.world.for_all(self.world.tested.labels)
        tested = self._tested(networks, x, "id", labels)
        return tested | firing(networks.hidden_inputs(x), labels, positive)

    def _tested(self, networks: TwoLayerNetworks, x: Tensor, name: str, labels: Tensor) -> dict[str, Tensor]:
        found = risk_accuracy_margin(networks(x), labels, self.loss)
        return {f"{name}_{what}": value for what, value in found.items()}

    def _keep(self, step: int, shift: float, numbers: Mapping[str, Tensor], found: NeuronFeatures) -> None:
        columns = {name: value.tolist() for name, value in numbers.items()}
        if self.neurons:
            sums = zip(("core_sums", "background_sums"), found.sums(), strict=True)
            columns |= {name: [[round(v, 5) for v in row] for row in part.tolist()] for name, part in sums}
            columns["positive"] = found.positive.tolist()
        seeds = len(self.world.stack.seeds)
        for a, arm in enumerate(self.world.stack.arms):
            for s in range(seeds):
                own = {name: values[a * seeds + s] for name, values in columns.items()}
                self.rows[s].append({**arm.row, "step": step, "shift": shift, **own})


@experiment("train_framed")
def train_framed(
    *,
    dataset: str = "cifar10",
    frame: str = "padded",
    train: int = 10_000,
    test: int = 2000,
    side: int = 16,
    pad: int | None = None,
    widths: Sequence[int] = (16, 32, 32),
    strides: Sequence[int] = (1, 2, 2),
    epochs: int = 4,
    batch: int = 96,
    learning_rate: float = 4e-3,
    weight_decay: float = 5e-4,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[Row | TrainingError]:
    """Train one small convolutional network per seed, stacked, and test each in frames of three colors.

    AdamW, cosine per step; every view is a random window of the padded image, flipped or not.

    Args:
        dataset: a data set of ``IMAGE_SETS``; gray images are shown in three equal channels.
        frame: in training: ``padded`` (brick red), ``random`` (a color of its own for each view) or ``raw``
            (1 pixel of reflection), see ``data.colored_frames.ColoredFrames``.
        train: N, the first training images.
        test: the first test images.
        side: side of the images in pixels, to which they are average-pooled.
        pad: width of the padding in pixels; None: a quarter of the side, as in the paper.
        widths: channels of the three convolutions.
        strides: of the convolutions, as many as widths.
        epochs: passes over the images.
        batch: images a step.
        learning_rate: at the start, > 0.
        weight_decay: of AdamW, >= 0.
        device: where to compute.
        seeds: of weights, order and views.

    Returns:
        For each seed a row: accuracy on test images framed ``red``, ``blue`` and ``green``, cut as in
        training and at the same places for all colors, frames and seeds, and ``unframed``; ``red_gain``: red
        minus the mean of blue and green; ``feature_shift``: see ``relative_shift``, of the embedding
        from red to blue; ``batch_accuracy`` and ``loss`` of the last epoch of training.

    Raises:
        ValueError: for values that do not fit, or more images than there are.
        FileNotFoundError: if the data set is absent.
    """
    pad = side // 4 if pad is None else pad
    policy = ColoredFrames(frame, pad)
    images, labels, classes = _first_images(dataset, "train", train, side, device)
    unseen, wanted, _ = _first_images(dataset, "test", test, side, device)
    views = LabelledViews(images, labels.expand(len(seeds), -1), tuple(seeds), classes, policy=policy)
    options: dict[str, Any] = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    recipe = Recipe(epochs, batch, "adamw", schedule="cosine", **options)
    shape: dict[str, Any] = {"widths": tuple(widths), "strides": tuple(strides), "hidden": ()}
    networks = [
        small_cnn(channels=3, classes=classes, generator=generator(seed, "weights"), **shape).to(device)
        for seed in seeds
    ]
    done = _trained(networks, views, recipe)
    shown = {name: framed_test(unseen, c, pad, generator(0, "frames")) for name, c in FRAME_COLORS.items()}
    shown["unframed"] = unseen
    last: Any = done.history[done.history["epoch"] == epochs].set_index("member")
    last = last[["batch_accuracy", "loss"]].to_dict("index")
    return [
        done.failed.get(m) or {**_row(network, shown, wanted), **last[m]}
        for m, network in enumerate(done.networks)
    ]


def _trained(networks: Sequence[nn.Module], views: LabelledViews, recipe: Recipe) -> Trained:
    return train(networks, views, "cross_entropy", recipe)  # whose name is an argument above


def relative_shift(before: Tensor, after: Tensor) -> float:
    """Return how far features move, relative to their length: mean |after - before| / mean |before|.

    Args:
        before: features of the same images in one frame, shape (N, P), floating point.
        after: in another frame, of the same shape.

    Returns:
        A number >= 0.

    Raises:
        ValueError: if the shapes differ, or all features before are zero.
    """
    if before.shape != after.shape or before.ndim != 2:
        raise ValueError(
            f"features have shapes {tuple(before.shape)} and {tuple(after.shape)}; allowed: one shape (N, P)"
        )
    length = before.norm(dim=1).mean()
    if not length > 0:
        raise ValueError("all features are zero; no shift can be relative to them")
    return float((after - before).norm(dim=1).mean() / length)


def _row(network: nn.Module, shown: dict[str, Tensor], labels: Tensor) -> Row:
    answers = {name: class_scores(network, images).argmax(1) for name, images in shown.items()}
    row = {name: float((answer == labels).double().mean()) for name, answer in answers.items()}
    site = {"embedding": "encoder.embedding"}
    red, blue = (site_features(network, shown[name], site)["embedding"] for name in ("red", "blue"))
    gain = row["red"] - (row["blue"] + row["green"]) / 2
    return {**row, "red_gain": gain, "feature_shift": relative_shift(red, blue)}


def _first_images(dataset: str, split: str, n: int, side: int, device: str) -> tuple[Tensor, Tensor, int]:
    """The first images of a split in three channels, their labels, and the number of classes."""
    stored = stored_images(dataset, split)
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= len(stored):
        raise ValueError(
            f"{split}={n!r}, but {dataset} has {len(stored)} images in this split; choose a whole number in "
            f"1..{len(stored)}"
        )
    chosen = as_image_set(stored.take(torch.arange(n)), side=side).to(device)
    return chosen.floats().expand(-1, 3, -1, -1), chosen.labels, chosen.classes
