"""One experiment on feature contamination: train stacked two-layer networks, watch core, background and risk.

Zhang et al. (ICML 2024): the theory's setting (online SGD in latent coordinates) and that of the published
code (fixed examples, ambient inputs, biases, AdamW), with everything between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from memorization.data.checks import check_seeds
from memorization.data.seeds import generator
from memorization.data.structured import StructuredFeatures, check_dictionary
from memorization.measures.contamination import NeuronFeatures, firing, risk_accuracy_margin
from memorization.measures.feature_arms import ArmStack
from memorization.measures.feature_checks import (
    check_choices,
    check_recording,
    check_sizes,
    read_arms,
    warn_outside,
)
from memorization.measures.feature_world import FeatureWorld
from memorization.models.two_layer import (
    TwoLayerNetworks,
    in_latent,
    pytorch_networks,
    theory_networks,
)
from memorization.runs.sweep import experiment
from memorization.training.descending import descend
from memorization.training.descent import WEIGHTS, Descent
from memorization.training.signed_losses import SignedLoss, signed_loss

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
) -> list[list[Row]]:
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
        TrainingError: if a loss is not finite.
    """
    check_choices(initialization, coordinates, ambient)
    check_sizes(width=width, ambient=ambient, examples=examples, batch=batch, steps=steps, test=test)
    check_recording(record_at, steps, shifts)
    features = StructuredFeatures(core, background, labels)
    stack = ArmStack(read_arms(arms, labels), check_seeds(seeds))
    descent = Descent(
        steps,
        loss=loss,
        optimizer=optimizer,
        rate=stack.each("rate"),
        decay=stack.each("decay"),
        momentum=momentum,
        gradient=gradient,
        trained=WEIGHTS if initialization == "pytorch" else ("first", "bias"),
        penalty=stack.each("penalty"),
    )
    world = FeatureWorld.draw(features, stack, ambient, examples, test).to(device)
    networks = _networks(initialization, stack, width, features.features, ambient).to(device)
    if coordinates == "latent":
        descent.check_latent()
        networks, world = _latent(networks, world)
    warn_outside(stack.arms)
    watcher = _Watcher(world, signed_loss(loss), steps, tuple(shifts), neurons)
    asked = {0, steps, *record_at}
    descend(networks, world.batches(batch), descent, watch=watcher, watch_at=asked)
    return watcher.rows


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

    def __call__(self, step: int, networks: TwoLayerNetworks) -> None:
        world = self.world
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
