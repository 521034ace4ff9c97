"""Two-layer networks on the structured feature model: closed form and stacked against a plain PyTorch loop.

The plain loop is what a user of PyTorch writes: ``nn.Linear`` layers, autograd, ``torch.optim``, ambient
inputs, one seed after the other. Both ways have the same initial weights and examples, and must go through
the same losses and end at the same correlations with the features, to 1e-9 in float64.

    python benchmarks/feature_contamination.py [--quick] [--out FILE]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import Case, check_equal, main
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.draws import generator
from memorization.studies.feature_contamination.data import StructuredFeatures, dictionary
from memorization.studies.feature_contamination.descent import WEIGHTS, DescendingNetworks, SignedRisk
from memorization.studies.feature_contamination.networks import (
    StackedActivation,
    TwoLayerNetworks,
    in_latent,
    pytorch_networks,
    theory_networks,
)
from memorization.training.batches import FreshBatches
from memorization.training.recipe import Recipe, numbers
from memorization.training.train import train

OUT = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "feature_contamination.json"
LOOKS = 5  # how often losses are compared on the way


@dataclass(frozen=True)
class Setting:
    """One of the settings of Zhang et al. (ICML 2024).

    Attributes:
        name: ``theory`` (linear labels, hinge, SGD with momentum, output frozen), ``default`` (non-linear
            labels, logistic, AdamW) or ``online`` (the theory itself: no biases, fresh examples).
        features: number of core features, and of background features.
        ambient: dimension D.
        examples: number N of examples a step.
        width: neurons m.
        seeds: number S of networks.
        steps: T.
        dtype: of all arithmetic.
        threads: of PyTorch; None: all cores, 1: as points of a sweep run, side by side.
        device: where both ways compute.
    """

    name: str
    features: int
    ambient: int
    examples: int
    width: int
    seeds: int
    steps: int
    dtype: torch.dtype = torch.float32
    threads: int | None = None
    device: str = "cpu"

    @property
    def recipe(self) -> Recipe:
        """How the networks are trained; SGD with a rate for each."""
        each: dict[str, Any] = {"steps": self.steps, "momentum": 0.0}
        if self.name == "theory":
            rates, decays = [1e-3] * self.seeds, [1e-3] * self.seeds
            return Recipe(
                optimizer="sgd", learning_rate=rates, weight_decay=decays, **each | {"momentum": 0.9}
            )
        if self.name == "online":
            return Recipe(optimizer="sgd", learning_rate=[0.5] * self.seeds, **each)
        return Recipe(optimizer="adamw", learning_rate=1e-3, weight_decay=1e-3, **each)

    @property
    def trained(self) -> tuple[str, ...]:
        """Which weights are trained."""
        return {"theory": ("first", "bias"), "online": ("first",)}.get(self.name, WEIGHTS)


@dataclass(frozen=True)
class Inputs:
    """Initial networks, dictionaries (S, d_0, D), and latent examples with their labels for each step."""

    setting: Setting
    networks: TwoLayerNetworks
    rows: Tensor
    batches: list[tuple[Tensor, Tensor]]


def warm(setting: Setting) -> Inputs:
    """Return what :func:`inputs_of` returns, after a first use of both ways, which loads modules."""
    short = inputs_of(replace(setting, examples=8, steps=LOOKS, seeds=1))
    plain_loop(short)
    ours(short)
    return inputs_of(setting)


def inputs_of(setting: Setting) -> Inputs:
    """Draw everything; fixed examples are one batch."""
    seeds, size = range(setting.seeds), 2 * setting.features
    activation = StackedActivation(["relu"] * setting.seeds, [0.0] * setting.seeds)
    sources = [generator(seed, "weights") for seed in seeds]
    rows = torch.stack(
        [dictionary(size, setting.ambient, generator(seed, "rows"), setting.dtype) for seed in seeds]
    )
    labels = "sphere" if setting.name == "default" else "linear"
    world = StructuredFeatures(setting.features, setting.features, labels)
    drawn = [generator(seed, "examples") for seed in seeds]
    count = setting.steps if setting.name == "online" else 1
    samples = [
        world.draw(setting.examples, drawn, balanced=count == 1, dtype=setting.dtype) for _ in range(count)
    ]
    if setting.name == "online":
        scales = [setting.ambient**-0.5] * setting.seeds
        networks = theory_networks(setting.width, setting.ambient, activation, scales, sources, setting.dtype)
    else:
        frozen = setting.name == "theory"
        networks = pytorch_networks(
            setting.width, setting.ambient, 1, activation, sources, frozen_output=frozen, dtype=setting.dtype
        )
    here = torch.device(setting.device)
    batches = [(sample.inputs().to(here), sample.labels[..., None].to(here)) for sample in samples]
    return Inputs(setting, networks.to(here), rows.to(here), batches)


def plain_loop(inputs: Inputs) -> dict[str, Tensor]:
    """Train one network after the other with PyTorch's own layers, gradients and optimizers."""
    done = [_plain(inputs, seed) for seed in range(inputs.setting.seeds)]
    losses, correlations = zip(*done, strict=True)
    return {"losses": torch.tensor(losses, dtype=torch.float64), "correlations": torch.stack(correlations)}


def ours(inputs: Inputs) -> dict[str, Tensor]:
    """Train all networks as one, in latent coordinates where that is exact."""
    setting, losses = inputs.setting, []
    latent = setting.recipe.optimizer == "sgd"
    networks = in_latent(inputs.networks, inputs.rows) if latent else inputs.networks
    batches = inputs.batches if latent else [(torch.bmm(x, inputs.rows), y) for x, y in inputs.batches]

    def look(step: int, now: DescendingNetworks) -> None:
        x, y = batches[(step if step < setting.steps else 0) % len(batches)]
        losses.append(_loss(setting, now.networks(x), y))

    descending = DescendingNetworks(networks, setting.trained)
    seeds, device = tuple(range(setting.seeds)), torch.device(setting.device)
    draws = FreshBatches(lambda step: batches[step % len(batches)], seeds, device)
    risk = SignedRisk("logistic" if setting.name == "default" else "hinge")
    train(descending, draws, risk, setting.recipe, watch_all=look, watch_at=_looks(setting))
    done = descending.networks
    found = done.first if latent else done.first @ inputs.rows.transpose(1, 2)
    return {"losses": torch.stack(losses, dim=1).cpu(), "correlations": found.cpu()}


def _plain(inputs: Inputs, seed: int) -> tuple[list[float], Tensor]:
    setting, start = inputs.setting, inputs.networks
    network = _module(start, seed)
    if setting.name != "default":
        network[2].requires_grad_(False)
    free = [parameter for parameter in network.parameters() if parameter.requires_grad]
    how = setting.recipe
    rate, decay = numbers(how.learning_rate)[0], numbers(how.weight_decay)[0]
    if how.optimizer == "sgd":
        optimizer = torch.optim.SGD(free, lr=rate, momentum=how.momentum, weight_decay=decay)
    else:
        optimizer = torch.optim.AdamW(free, lr=rate, weight_decay=decay)
    fixed = len(inputs.batches) == 1
    shown = [(x[seed] @ inputs.rows[seed], y[seed]) for x, y in inputs.batches] if fixed else []
    losses, looks = [], set(_looks(setting))
    for step in range(setting.steps):
        if fixed:
            x, y = shown[0]
        else:
            x, y = inputs.batches[step][0][seed] @ inputs.rows[seed], inputs.batches[step][1][seed]
        loss = _loss(setting, network(x), y)
        if step in looks:
            losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x, y = inputs.batches[0]
    losses.append(_loss(setting, network(x[seed] @ inputs.rows[seed]), y[seed]).item())
    return losses, (network[0].weight.detach() @ inputs.rows[seed].T).cpu()


def _looks(setting: Setting) -> list[int]:
    return [*range(0, setting.steps, setting.steps // LOOKS), setting.steps]


def _loss(setting: Setting, outputs: Tensor, labels: Tensor) -> Tensor:
    margins = labels * outputs
    each = F.softplus(-margins) if setting.name == "default" else torch.relu(1 - margins)
    return each.mean((-2, -1))


def _module(networks: TwoLayerNetworks, seed: int) -> nn.Sequential:
    _, width, inputs = networks.first.shape
    biased = networks.bias is not None
    module = nn.Sequential(nn.Linear(inputs, width, bias=biased), nn.ReLU(), nn.Linear(width, 1, bias=biased))
    module.to(networks.first.device, networks.first.dtype)
    values = {"0.weight": networks.first, "0.bias": networks.bias, "2.weight": networks.second}
    values["2.bias"] = networks.offset
    state = {name: value[seed] for name, value in values.items() if value is not None}
    module.load_state_dict({name: v[0] if name.endswith("bias") else v for name, v in state.items()})
    return module


def check(setting: Setting) -> None:
    """Raise an AssertionError unless both ways go the same way in float64.

    What is timed runs in float32, where rounding grows from step to step: a neuron that fires a step earlier
    takes another way.
    """
    inputs = inputs_of(replace(setting, seeds=2, steps=4 * LOOKS, examples=100, dtype=torch.float64))
    check_equal(plain_loop(inputs), ours(inputs), tolerance=1e-9)


def cases(quick: bool) -> list[Case]:
    """Return the cases."""
    words = {
        "theory": "theory's setting at the authors' size (1,000 examples, 256 inputs, 256 neurons)",
        "default": "authors' default setting (non-linear labels, AdamW, everything trained)",
        "online": "online SGD in the theory's own dimension, D = d_0^2.5 = {ambient:,} ({examples} examples, "
        "{width} neurons)",
    }
    steps, many = (20, 2) if quick else (100, 10)
    size = {"features": 32, "ambient": 256, "examples": 1000, "width": 256, "steps": steps}
    theory = [Setting("theory", seeds=s, threads=k, **size) for k in (None, 1) for s in (1, many)]
    default = [Setting("default", seeds=s, **size) for s in (1, many)]
    online = Setting("online", 16, 5793, 256, 128, many, 10 if quick else 50)
    chosen = [*theory, *default, online]
    made = []
    for setting in chosen:
        check(setting)
        what = words[setting.name].format(
            ambient=setting.ambient, examples=setting.examples, width=setting.width
        )
        networks = "one network" if setting.seeds == 1 else f"{setting.seeds} stacked networks"
        thread = ", one thread" if setting.threads == 1 else ""
        work = f"{networks}, {setting.steps} steps{thread}: {what}"
        made.append(
            Case(
                work,
                partial(warm, setting),
                plain_loop,
                ours,
                tolerance=None,
                threads=setting.threads,
                repeats=1 if quick else 3,
            )
        )
    return made


if __name__ == "__main__":
    main(cases, OUT)
