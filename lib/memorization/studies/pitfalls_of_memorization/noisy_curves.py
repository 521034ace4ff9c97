"""Good, bad and ugly memorization: one regression with more or less noise of each example's own.

Bayat et al. (ICLR 2025), section 5 and Figure 3: twenty noisy values of a smooth function; the network sees
its argument beside 30 coordinates of noise of strength sigma. How strong these are decides where the label
noise goes: into spikes at the training points, or into the curve itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from memorization.checks import check_finite, check_whole
from memorization.draws import generator
from memorization.models.layers import build, initialize
from memorization.training.batches import TensorBatches
from memorization.training.recipe import Recipe
from memorization.training.train import train

POINTS, COORDINATES, SWEEP = 20, 30, 1000
LABEL_NOISE = 0.08
PUBLISHED_SEED = 123


def core_function(x: Tensor) -> Tensor:
    """Return ``tanh(x) + tanh(-5 x) / 2``, the function to be learned."""
    return torch.tanh(x) + 0.5 * torch.tanh(-5 * x)


@dataclass(frozen=True)
class NoisyCurve:
    """The data of one seed, before the noise coordinates get their strength.

    Attributes:
        sweep: arguments at which a curve is drawn, shape (1000,), from -1.5 to 1.5.
        places: which of them are training points, shape (20,).
        noise: standard normal noise coordinates of the training points, shape (20, 30).
        targets: noisy values at them, shape (20,).
        source: where the initial weights come from.
    """

    sweep: Tensor
    places: Tensor
    noise: Tensor
    targets: Tensor
    source: torch.Generator

    def inputs(self, sigma: float) -> Tensor:
        """Return the training inputs, shape (20, 31)."""
        return torch.cat([self.sweep[self.places, None], sigma * self.noise], 1)


def noisy_curve(seed: int, *, published: bool = False) -> NoisyCurve:
    """Draw the data of one seed.

    Args:
        seed: whole number >= 0; the published figure has 123.
        published: draw from the published script's stream; False: from streams of our own.
    """
    source = torch.Generator().manual_seed(seed) if published else generator(seed, "noisy curve")
    sweep = torch.linspace(-1.5, 1.5, SWEEP)
    places = torch.from_numpy(np.floor(np.linspace(0, SWEEP - 1, POINTS))).long()
    noise = torch.randn(POINTS, COORDINATES, generator=source)
    targets = core_function(sweep[places]) + LABEL_NOISE * torch.randn(POINTS, generator=source)
    return NoisyCurve(sweep, places, noise, targets, source)


@dataclass(frozen=True)
class Fitted:
    """A network that fits the noisy values.

    Attributes:
        curve: its answers along the sweep without noise coordinates, shape (1000,).
        at_points: its answers at the training inputs, shape (20,).
        steps: how many steps it was trained.
        loss: its last loss.
    """

    curve: Tensor
    at_points: Tensor
    steps: int
    loss: float


def fit_curves(
    curves: Sequence[NoisyCurve], sigmas: Sequence[float], *, width: int, tolerance: float, most_steps: int
) -> list[Fitted]:
    """Fit each curve with its noise strength, all networks stacked, until its loss is below the tolerance.

    Args:
        curves: one for each network.
        sigmas: strength of the noise coordinates of each network, >= 0.
        width: of the two hidden layers, >= 1.
        tolerance: loss at which a network stops, > 0.
        most_steps: at which it stops at the latest.

    Raises:
        ValueError: naming what is out of range.
    """
    check_whole("width", width, 1)
    for sigma in sigmas:
        check_finite("sigma", sigma)
        if sigma < 0:
            raise ValueError(f"sigma={sigma}; allowed: a number >= 0")
    inputs = torch.stack([one.inputs(sigma) for one, sigma in zip(curves, sigmas, strict=True)])
    targets = torch.stack([one.targets for one in curves])[..., None]
    recipe = Recipe(epochs=most_steps, learning_rate=1e-3, stop_below=tolerance, stop_after=1)
    batches = TensorBatches(inputs, targets, tuple(range(len(curves))), draw="whole", own=True)
    networks = [_network(width, _again(one.source)) for one in curves]
    done = train(networks, batches, "mse", recipe)
    done.raise_failed()
    last = done.history.groupby("member")["loss"].last()
    found = []
    for member, (network, one) in enumerate(zip(done.networks, curves, strict=True)):
        with torch.no_grad():
            plain = torch.cat([one.sweep[:, None], torch.zeros(SWEEP, COORDINATES)], 1)
            answers = network(plain)[:, 0], network(inputs[member])[:, 0]
        found.append(Fitted(*answers, done.epochs[member], float(last[member])))
    return found


def _network(width: int, source: torch.Generator) -> nn.Module:
    def make() -> nn.Module:
        sizes = (1 + COORDINATES, width, width, 1)
        layers = [part for before, after in pairwise(sizes) for part in (nn.Linear(before, after), nn.Tanh())]
        return nn.Sequential(*layers[:-1])

    return initialize(build(make, torch.Generator()), source)


def _again(source: torch.Generator) -> torch.Generator:
    """A generator in the same state: a second fit of a curve begins from the same weights."""
    return torch.Generator().set_state(source.get_state())


def describe(fitted: Fitted, curve: NoisyCurve) -> dict[str, float]:
    """Measure what kind of memorization a fit is.

    Returns:
        ``mse``, mean squared distance of the curve without noise coordinates to the true function;
        ``straightness``, R² of a straight line fitted to the curve; ``variation``, total variation of the
        curve over that of the true function; ``label_mse``, mean squared distance of the curve at the
        training points to the noisy values; ``spike``, mean distance of its answers there with and without
        noise coordinates; ``steps``; ``loss``.
    """
    x, y, true = curve.sweep.double(), fitted.curve.double(), core_function(curve.sweep.double())
    line = np.polynomial.Polynomial.fit(x.numpy(), y.numpy(), 1)(x.numpy())
    rest = float((y - torch.from_numpy(line)).square().mean() / y.var(correction=0))
    return {
        "mse": float((y - true).square().mean()),
        "straightness": 1 - rest,
        "variation": float(y.diff().abs().sum() / true.diff().abs().sum()),
        "label_mse": float((y[curve.places] - curve.targets).square().mean()),
        "spike": float((y[curve.places] - fitted.at_points).abs().mean()),
        "steps": float(fitted.steps),
        "loss": fitted.loss,
    }
