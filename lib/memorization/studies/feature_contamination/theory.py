"""What two-layer networks learned of core and background features, and what the mechanism predicts of it.

Zhang et al. (ICML 2024), Theorems 1 to 4 and the quantities of the published code, and closed forms that
follow from the gradient's projection on a feature. ``c`` and ``b`` are mean correlations of neurons with core
and background features, ``_plus`` over neurons with positive output weight and ``_minus`` over the others.
Contamination is no spurious correlation: :func:`background_correlation` checks that nothing in the data ties
the background to the label.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.draws import generator
from memorization.runs.sweep import experiment
from memorization.studies.feature_contamination.data import MEAN_WEIGHT, StructuredFeatures, check_signs
from memorization.studies.feature_contamination.networks import TwoLayerNetworks
from memorization.training.objectives import SignedLoss


@dataclass(frozen=True)
class NeuronFeatures:
    """How each neuron of M networks projects on the features; the first output weight gives its sign.

    Attributes:
        core: shape (M, m, core), inner products of neurons and core directions.
        background: shape (M, m, background).
        positive: shape (M, m), bool, whether the output weight is above 0.
    """

    core: Tensor
    background: Tensor
    positive: Tensor

    @classmethod
    def of(cls, networks: TwoLayerNetworks, core: int, rows: Tensor | None = None) -> NeuronFeatures:
        """Project neurons on the features.

        Args:
            networks: with latent inputs, or ambient ones.
            core: number of core features; they come first.
            rows: dictionaries (M, d_0, D) of networks with ambient inputs; None: the inputs are latent.
        """
        latent = networks.first if rows is None else networks.first @ rows.transpose(-1, -2)
        return cls(latent[..., :core], latent[..., core:], networks.second[:, 0] > 0)

    def sums(self, mean: float = MEAN_WEIGHT) -> tuple[Tensor, Tensor]:
        """Return the summed projections C_k and B_k of Theorem 2, (M, m) each.

        Args:
            mean: first moment of the weights.
        """
        return mean * self.core.sum(-1), mean * self.background.sum(-1)

    def summary(self) -> dict[str, Tensor]:
        """Return numbers of each network, shape (M,) each.

        ``c_plus``, ``c_minus``, ``b_plus``, ``b_minus``: signed means; ``core_norm``, ``background_norm``:
        mean over neurons of the norm of their projections ("Avg. Feature Corr." of the published code);
        ``good``: fraction of neurons with sign(a_k) C_k > 0 and B_k > 0 (Theorem 2); ``good_core`` and
        ``good_background``: means of \\|C_k\\| and B_k over these (NaN without any).
        """
        c_sum, b_sum = self.sums()
        sign = torch.where(self.positive, 1.0, -1.0).to(c_sum.dtype)
        good = (sign * c_sum > 0) & (b_sum > 0)
        return {
            "c_plus": _mean_where(self.core.mean(-1), self.positive),
            "c_minus": _mean_where(self.core.mean(-1), ~self.positive),
            "b_plus": _mean_where(_mean(self.background), self.positive),
            "b_minus": _mean_where(_mean(self.background), ~self.positive),
            "core_norm": self.core.norm(dim=-1).mean(-1),
            "background_norm": self.background.norm(dim=-1).mean(-1),
            "good": good.to(c_sum.dtype).mean(-1),
            "good_core": _mean_where(c_sum.abs(), good),
            "good_background": _mean_where(b_sum, good),
        }


def firing(pre_activations: Tensor, labels: Tensor, positive: Tensor) -> dict[str, Tensor]:
    """Return how often neurons fire on the class of their sign, and on the other.

    Zhang et al. (ICML 2024), Theorem 1. Nearly 1 and nearly 0 is activation asymmetry.

    Args:
        pre_activations: shape (M, m, N).
        labels: shape (M, N), -1 or +1.
        positive: shape (M, m), bool, sign of the output weights.

    Returns:
        ``own`` and ``other``, shape (M,): probabilities, averaged over the neurons.
    """
    fires = (pre_activations > 0).to(pre_activations.dtype)
    weights = (labels > 0).to(fires.dtype)[..., None]  # (M, N, 1)
    on_plus = (fires @ weights)[..., 0] / weights.sum(1)  # (M, m)
    on_minus = (fires @ (1 - weights))[..., 0] / (1 - weights).sum(1)
    return {
        "own": torch.where(positive, on_plus, on_minus).mean(-1),
        "other": torch.where(positive, on_minus, on_plus).mean(-1),
    }


def risk_accuracy_margin(outputs: Tensor, labels: Tensor, loss: SignedLoss) -> dict[str, Tensor]:
    """Return mean loss, accuracy (a tie is an error) and mean margin E[y h], shape (M,) each.

    Args:
        outputs: shape (M, N, 1).
        labels: shape (M, N), -1 or +1.
        loss: of an example.

    Raises:
        ValueError: for other labels.
    """
    check_signs(labels)
    margins = labels * outputs[..., 0]
    risk = loss.value(outputs, labels[..., None]).mean(1)
    return {"risk": risk, "accuracy": (margins > 0).to(risk.dtype).mean(1), "margin": margins.mean(1)}


def growth_ratio(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """Return how much faster background grew than core, in neurons of positive sign; NaN if core did not.

    Args:
        before: ``c_plus`` and ``b_plus`` of :meth:`NeuronFeatures.summary`.
        after: the same, later.
    """
    core = after["c_plus"] - before["c_plus"]
    return (after["b_plus"] - before["b_plus"]) / core if core else math.nan


def predicted_growth_ratio(own: float, other: float, slope: float = 0.0) -> float:
    """Return the ratio of growth rates, background over core, that activation asymmetry predicts.

    While all examples are inside the hinge, the gradient of a neuron with positive output weight projects on
    a core feature in proportion to P+ + P-, and on a background feature in proportion to P+ - P-. A slope s
    on the negative side replaces P by s + (1 - s) P. NaN for neurons that never fire.

    Args:
        own: probability of firing on the class of the neuron's sign.
        other: on the other class.
        slope: of a leaky ReLU: 0 is ReLU, 1 the identity.
    """
    first, second = (slope + (1 - slope) * p for p in (own, other))
    return (first - second) / (first + second) if first + second else math.nan


def predicted_margin(
    c: float,
    b: float,
    core: int,
    background: int,
    shift: float = 1.0,
    *,
    slope: float = 0.0,
    background_mean: float = MEAN_WEIGHT,
) -> float:
    """Return the mean margin E[y h] that follows from the correlations alone.

    Half of the neurons fire, those of the example's class; with a slope s the others contribute s times their
    pre-activation. As long as the class's neurons fire at this shift:
    E[y h] = (1 + s)/2 * c * core * 1/2 + (1 - s)/2 * shift * b * background * mean.

    Args:
        c: magnitude of the mean correlation with core features.
        b: mean correlation with background features.
        core: number of core features, whose weights have mean 1/2.
        background: number of background features.
        shift: factor of the background.
        slope: of a leaky ReLU: 0 is ReLU, 1 the identity.
        background_mean: mean background weight in training.
    """
    from_core = (1 + slope) / 2 * c * core * MEAN_WEIGHT
    return from_core + (1 - slope) / 2 * shift * b * background * background_mean


def _mean(values: Tensor) -> Tensor:
    return values.mean(-1) if values.shape[-1] else values.new_zeros(values.shape[:-1])


def _mean_where(values: Tensor, where: Tensor) -> Tensor:
    """Mean over the last axis of the values where the condition holds; NaN where it holds nowhere."""
    return torch.where(where, values, 0.0).sum(-1) / where.sum(-1)


@experiment("background_correlation")
def background_correlation(
    *, core: int, background: int, labels: str = "linear", examples: int = 100_000, seed: int
) -> dict[str, float]:
    """Return the largest correlation of a background feature with the label.

    Args:
        core: number of core features.
        background: number of background features, >= 1.
        labels: ``linear`` or ``sphere``.
        examples: number n of examples.
        seed: of the examples.

    Returns:
        ``correlation``: largest absolute correlation over the background features; ``allowed``: 5/sqrt(n),
        far outside of chance; ``core_correlation``: largest one of a core feature, for comparison.

    Raises:
        ValueError: without a background feature.
    """
    if background < 1:
        raise ValueError(f"background={background}; allowed: 1 or more, there is nothing to correlate")
    sample = StructuredFeatures(core, background, labels).draw(examples, [generator(seed, "correlation")])
    y = sample.labels[0] - sample.labels[0].mean()
    x = sample.inputs()[0]
    x = x - x.mean(0)
    found = (x.T @ y / (x.norm(dim=0) * y.norm())).abs()
    return {
        "correlation": found[core:].max().item(),
        "core_correlation": found[:core].max().item(),
        "allowed": 5 / examples**0.5,
    }
