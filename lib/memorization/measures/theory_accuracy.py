"""Closed forms for the accuracies of the synthetic task at infinite width.

Labels ``sign(u . x)``, isotropic inputs, N << d^2. Test accuracy depends only on psi = N/d and on the ratio
r of the curved to the linear part of the kernel: not on alpha, nor on which degree carries the curvature.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch

from memorization.measures.theory import Profile, alignment, unexplained_fraction

_B = math.sqrt(2 / math.pi)  # E[g (u.x)/|u|]: what a linear predictor can see of the sign
_EVEN_CHOICES = ("warn", "raise", "accept")


@dataclass(frozen=True)
class Prediction:
    """Predicted measurements of the synthetic task.

    Attributes:
        test_accuracy: fraction, [0, 1].
        spurious_accuracy: fraction, [0, 1].
        test_mse: generalization error R = mean squared stability.
        stability_covariance: ``Cov(S, g)``.
        covariance: ``Cov(f(z^s), g) = gamma Cov(S, g)``.
        gamma: feature alignment.
    """

    test_accuracy: float
    spurious_accuracy: float
    test_mse: float
    stability_covariance: float
    covariance: float
    gamma: float


def predict_synthetic(
    profile: Profile,
    alpha: float,
    psi: float,
    *,
    n: int | None = None,
    ridge: float = 0.0,
    even: str = "warn",
) -> Prediction:
    """Predict accuracies, generalization error and covariances of the synthetic task.

    Args:
        profile: the feature map.
        alpha: spurious fraction of the coordinates, in (0, 1).
        psi: N/d, > 0.
        n: number of training rows; includes the constant part of the kernel in gamma.
        ridge: added to the kernel per unit of width, >= 0.
        even: what to do where the kernel has no linear part: ``warn``, ``raise`` or ``accept``.

    Returns:
        The prediction; without a linear part nothing is learned: test accuracy 1/2, spurious accuracy 1.

    Raises:
        ValueError: see :func:`memorization.measures.theory.alignment`; or no linear part and
            ``even="raise"``.
    """
    gamma = alignment(profile, alpha, psi, n=n, ridge=ridge)
    if profile.linear == 0:
        _even(profile, even)
        return Prediction(0.5, 1.0, 1.0, 1.0, gamma, gamma)
    signal, second = _moments(psi, (profile.curved + ridge) / profile.linear)
    noise = max(second - signal**2, 0.0)
    along = 1 - signal * _B
    return Prediction(
        test_accuracy=1 - math.acos(min(1.0, signal / math.sqrt(second))) / math.pi,
        spurious_accuracy=_spurious_accuracy(gamma, alpha, signal, noise),
        test_mse=1 - 2 * signal * _B + second,
        stability_covariance=along,
        covariance=gamma * along,
        gamma=gamma,
    )


def _even(profile: Profile, choice: str) -> None:
    if choice not in _EVEN_CHOICES:
        raise ValueError(f"unknown choice even={choice!r}; choose one of {', '.join(_EVEN_CHOICES)}")
    message = (
        f"{profile.name} has no linear part: nothing of the label is learned (test 1/2, spurious accuracy 1)"
    )
    if choice == "raise":
        raise ValueError(message)
    if choice == "warn":
        warnings.warn(message, UserWarning, stacklevel=3)


def _moments(psi: float, r: float) -> tuple[float, float]:
    """Return c, the prediction's slope along the label's direction, and tau, its second moment."""
    m = unexplained_fraction(psi, r)
    c = (1 - m) * _B
    if r == 0:  # affine activation, N < d: the limit of the forms below
        return c, _B**2 * psi + (1 - _B**2) * psi / (1 - psi) if psi < 1 else math.nan
    slope = (1 - m) / (2 * m + r + psi - 1)  # dm/dr, from the quadratic that defines m
    q, q2 = m / r, m / r**2 - slope / r
    tau = _B**2 * (1 - 2 * m + r * r * q2) + (1 - _B**2) * (q - r * q2)
    return c, tau


def _spurious_accuracy(gamma: float, alpha: float, c: float, noise: float) -> float:
    variance = c**2 + (1 - alpha) * noise + (1 - gamma) ** 2 * alpha * noise + gamma**2 * (1 - alpha) * noise
    t = torch.linspace(0.0, 12.0, 12001, dtype=torch.float64)  # |standard normal|
    weights = torch.exp(-0.5 * t**2)
    weights[0] *= 0.5
    hit = torch.special.ndtr(gamma * (1 - c * t) / max(variance, 1e-300) ** 0.5)
    return ((weights @ hit) / weights.sum()).item()
