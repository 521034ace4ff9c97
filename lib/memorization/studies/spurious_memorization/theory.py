"""Closed forms at infinite width for the synthetic task: alignment, accuracies and covariances at any N/d.

Bombari & Mondelli (ICML 2024) prove that the alignment concentrates (the RF theorem, the NTK theorem); the
forms here extend theirs to any ratio psi = N/d for isotropic inputs, labels ``sign(u . x)``, N << d^2 and
large width. Per unit of width the kernel of unit-norm inputs is ``kappa(rho) = sum_l a_l rho^l``. Test
accuracy depends only on psi and on the ratio r of the curved to the linear part of the kernel: not on the
spurious fraction alpha, nor on which degree carries the curvature.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import torch

from memorization.data.synthetic import spurious_size
from memorization.models.activations import activation, hermite_coefficients, second_moment

_DEGREE = 60  # the smooth activations' coefficients are below 1e-6 by then
_NEGLIGIBLE = 1e-10
_B = math.sqrt(2 / math.pi)  # E[g (u.x)/|u|]: what a linear predictor can see of the sign


@dataclass(frozen=True)
class Profile:
    """What the theory needs to know of a feature map and its activation.

    Attributes:
        name: feature map and activation, for messages.
        constant: ``a_0``, weight of the constant part of the kernel.
        linear: ``a_1``, weight of the linear part.
        curved: ``s``, the sum of all ``a_l`` with l >= 2.
        kappa: the kernel as a function of the correlation ``rho`` in [-1, 1].
    """

    name: str
    constant: float
    linear: float
    curved: float
    kappa: Callable[[float], float]

    def tail(self, alpha: float) -> float:
        """Return ``T(alpha) = sum over l >= 2 of a_l alpha^l``."""
        return self.kappa(alpha) - self.constant - self.linear * alpha


@lru_cache(maxsize=64)
def kernel_profile(feature_map: str, activation_name: str) -> Profile:
    """Expand the kernel of a feature map in powers of the correlation.

    Args:
        feature_map: ``rf`` or ``ntk``.
        activation_name: name of the activation.

    Returns:
        The profile; exact for ReLU, otherwise from Hermite coefficients.

    Raises:
        ValueError: for unknown names.
    """
    function = activation(activation_name, feature_map).apply_
    if activation_name == "relu":
        squares, total, inner = _RELU[feature_map]
    else:
        series = (hermite_coefficients(function, _DEGREE) ** 2).tolist()
        squares, total = (_clean(series[0]), _clean(series[1])), second_moment(function)

        def inner(rho: float) -> float:
            return sum(value * rho**l for l, value in enumerate(series))  # noqa: E741

    name = f"{feature_map} {activation_name}"
    if feature_map == "rf":
        return Profile(name, *squares, _clean(total - sum(squares)), inner)
    return Profile(name, 0.0, squares[0], _clean(total - squares[0]), lambda rho: rho * inner(rho))


def _clean(value: float) -> float:
    return value if abs(value) > _NEGLIGIBLE else 0.0


def _relu_kappa(rho: float) -> float:
    return (math.sqrt(max(0.0, 1 - rho * rho)) + rho * (math.pi - math.acos(rho))) / (2 * math.pi)


def _step_kappa(rho: float) -> float:
    return 0.25 + math.asin(rho) / (2 * math.pi)


# First two squared coefficients, sum of all, and the kernel: the series itself converges too slowly.
_RELU: dict[str, tuple[tuple[float, float], float, Callable[[float], float]]] = {
    "rf": ((1 / (2 * math.pi), 0.25), 0.5, _relu_kappa),
    "ntk": ((0.25, 1 / (2 * math.pi)), 0.5, _step_kappa),
}


def unexplained_fraction(psi: float, r: float) -> float:
    """Return m(psi, r), the part of a row's linear component that the other rows do not explain.

    The root of ``m^2 + (r + psi - 1) m - r = 0`` in (0, 1]: 1 for N << d, about r/psi for N >> d.

    Args:
        psi: N/d, > 0.
        r: weight of the curved part (plus ridge) over the linear one, >= 0.
    """
    b = r + psi - 1
    root = math.sqrt(b * b + 4 * r)
    return 2 * r / (b + root) if b > 0 else (root - b) / 2  # no cancellation on either side


def alignment(
    profile: Profile, alpha: float, psi: float, *, n: int | None = None, ridge: float = 0.0
) -> float:
    """Predict the feature alignment gamma between a spurious query with a fresh core and its training row.

    ``gamma = (t + a_1 alpha m + T(alpha)) / (t + a_1 m + s + ridge)``, with ``t`` the constant part that
    the other rows leave.

    Args:
        profile: the feature map.
        alpha: spurious fraction of the coordinates, in (0, 1).
        psi: N/d, > 0.
        n: number of training rows; includes the constant part t, and makes N = 1 exact.
        ridge: added to the kernel per unit of width, >= 0.

    Returns:
        gamma; it lies in (0, alpha) without ridge and constant part.

    Raises:
        ValueError: for an affine activation with N >= d and no ridge, or alpha outside (0, 1).
    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must lie strictly between 0 and 1; got {alpha}")
    s = profile.curved + ridge
    if s == 0 and psi >= 1:
        raise ValueError(
            f"gamma is undefined for N >= d with the affine activation {profile.name}: the kernel matrix "
            "has rank at most d + 1. For N < d gamma = alpha; pass ridge > 0 otherwise"
        )
    _warn_outside(profile, psi, n)
    if n == 1:
        return profile.kappa(alpha) / (profile.kappa(1.0) + ridge)
    m = unexplained_fraction(psi, s / profile.linear) if profile.linear > 0 else 0.0
    own = profile.linear * m + s
    t = 0.0 if n is None else profile.constant / (1 + profile.constant * n / own)
    return (t + profile.linear * alpha * m + profile.tail(alpha)) / (t + own)


def alignment_lower_bound(profile: Profile, alpha: float) -> float:
    """Return the RF theorem's lower bound: T(alpha) over the sum of all a_l with l >= 1."""
    return profile.tail(alpha) / (profile.linear + profile.curved)


def _warn_outside(profile: Profile, psi: float, n: int | None) -> None:
    if n is None and profile.constant > 0:
        warnings.warn(
            f"{profile.name} has a constant part, which raises the alignment at small N; pass n",
            UserWarning,
            stacklevel=3,
        )
    if n is not None and n > 1 and n >= (n / psi) ** 2 / 4:
        warnings.warn(
            f"N={n} is not small against d^2 (d={n / psi:.0f}): the quadratic part starts to be learned, "
            "which the formula leaves out",
            UserWarning,
            stacklevel=3,
        )


@dataclass(frozen=True)
class Prediction:
    """Predicted measurements of the synthetic task.

    Attributes:
        gamma: feature alignment.
        test_accuracy: fraction, [0, 1].
        spurious_accuracy: fraction, [0, 1].
        test_mse: generalization error R = mean squared stability.
        stability_covariance: ``Cov(S, g)``.
        covariance: ``Cov(f(z^s), g) = gamma Cov(S, g)``.
    """

    gamma: float
    test_accuracy: float
    spurious_accuracy: float
    test_mse: float
    stability_covariance: float
    covariance: float


def predict_synthetic(
    profile: Profile, alpha: float, psi: float, *, n: int | None = None, ridge: float = 0.0
) -> Prediction:
    """Predict accuracies, generalization error and covariances of the synthetic task.

    Args:
        profile: the feature map.
        alpha: spurious fraction of the coordinates, in (0, 1).
        psi: N/d, > 0.
        n: number of training rows; includes the constant part of the kernel in gamma.
        ridge: added to the kernel per unit of width, >= 0.

    Returns:
        The prediction; without a linear part nothing is learned: test accuracy 1/2, spurious accuracy 1.

    Raises:
        ValueError: see :func:`alignment`.
    """
    gamma = alignment(profile, alpha, psi, n=n, ridge=ridge)
    if profile.linear == 0:
        return Prediction(gamma, 0.5, 1.0, 1.0, 1.0, gamma)
    signal, second = _moments(psi, (profile.curved + ridge) / profile.linear)
    noise = max(second - signal**2, 0.0)
    along = 1 - signal * _B
    return Prediction(
        gamma=gamma,
        test_accuracy=1 - math.acos(min(1.0, signal / math.sqrt(second))) / math.pi,
        spurious_accuracy=_spurious_accuracy(gamma, alpha, signal, noise),
        test_mse=1 - 2 * signal * _B + second,
        stability_covariance=along,
        covariance=gamma * along,
    )


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
    """Return the chance of the right sign at a spurious query, integrated over the label's margin."""
    variance = c**2 + (1 - alpha) * noise + (1 - gamma) ** 2 * alpha * noise + gamma**2 * (1 - alpha) * noise
    t = torch.linspace(0.0, 12.0, 12001, dtype=torch.float64)  # |standard normal|
    weights = torch.exp(-0.5 * t**2)
    weights[0] *= 0.5
    hit = torch.special.ndtr(gamma * (1 - c * t) / max(variance, 1e-300) ** 0.5)
    return ((weights @ hit) / weights.sum()).item()


def predict_curve(
    *, feature_map: str, activation: str, alpha: float, d: int, sizes: Sequence[int], ridge: float = 0.0
) -> list[dict[str, float]]:
    """Predict a synthetic curve at infinite width.

    Args:
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation.
        alpha: spurious fraction of the coordinates, in (0, 1).
        d: number of coordinates.
        sizes: numbers N of training examples.
        ridge: added to the kernel per unit of width, >= 0.

    Returns:
        One row per N: ``N``, ``psi``, ``gamma``, ``gamma_floor`` (the RF theorem's bound; NaN for tangent
        features) and ``theory_`` test and spurious accuracy, test_mse, stability_covariance, covariance.
        Where the theory is undefined (affine activation with N >= d) they are NaN.
    """
    profile = kernel_profile(feature_map, activation)
    part = spurious_size(d, alpha) / d
    floor = math.nan
    if feature_map == "rf" and profile.linear + profile.curved > 0:
        floor = alignment_lower_bound(profile, part)
    rows = []
    for n in sizes:
        found = Prediction(*[math.nan] * 6)
        if profile.curved + ridge != 0 or n < d:
            found = predict_synthetic(profile, part, n / d, n=n, ridge=ridge)
        row = {"N": n, "psi": n / d, "gamma_floor": floor, "gamma": found.gamma}
        rows.append(row | {f"theory_{k}": value for k, value in asdict(found).items() if k != "gamma"})
    return rows
