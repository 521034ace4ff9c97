"""The limit of gradient descent in the two-feature problem: a max-margin classifier of two variables.

Not from the paper: Bayat et al. (ICLR 2025) prove what happens without noise and for an ever stronger
spurious feature. Here jitter is left out and noise vectors count as orthogonal, of squared norm ``sigma^2
d``. Gradient descent on separable data tends to the max-margin classifier, which then depends on ``w_y`` and
``u = gamma w_a`` alone; they make small

    w_y^2 + u^2 / gamma^2 + A [1 - w_y - u]_+^2 + B [1 - w_y + u]_+^2,

``A = n_maj / (sigma^2 d)`` and ``B = n_min / (sigma^2 d)``: what the two features leave of a margin of 1 must
be fitted by noise, example by example.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize
from scipy.stats import norm

from memorization.checks import check_finite, check_whole


@dataclass(frozen=True)
class MaxMargin:
    """A max-margin classifier, as far as test accuracy depends on it.

    Attributes:
        core: w_y.
        spurious: u, the weight of the spurious feature times its strength.
        noise: norm of the weights of the noise coordinates.
        majority: accuracy at new examples whose features agree.
        minority: accuracy at new examples whose features disagree.
    """

    core: float
    spurious: float
    noise: float
    majority: float
    minority: float

    @classmethod
    def of(cls, core: float, spurious: float, noise: float, sigma: float) -> MaxMargin:
        """Compute the accuracies from the weights: a new example's noise is independent of them."""
        scale = max(sigma * noise, 1e-300)
        agree, disagree = (float(norm.cdf((core + sign * spurious) / scale)) for sign in (1, -1))
        return cls(core, spurious, noise, agree, disagree)


def max_margin(*, majority: int, minority: int, d: int, gamma: float, sigma: float) -> MaxMargin:
    """Solve the problem of two variables in closed form.

    Args:
        majority: training examples whose features agree, >= 1.
        minority: those whose features disagree, >= 1.
        d: noise coordinates, >= 1.
        gamma: strength of the spurious feature, > 0.
        sigma: strength of the noise, > 0.

    Raises:
        ValueError: naming what is out of range.
    """
    for name, count in (("majority", majority), ("minority", minority), ("d", d)):
        check_whole(name, count, 1)
    for name, value in (("gamma", gamma), ("sigma", sigma)):
        check_finite(name, value)
        if value <= 0:
            raise ValueError(f"{name}={value}; allowed: a number above 0")
    a, b, cost = majority / (sigma**2 * d), minority / (sigma**2 * d), gamma**-2.0
    determinant = (1 + a + b) * (cost + a + b) - (a - b) ** 2
    core, spurious = ((a + b) * cost + 4 * a * b) / determinant, (a - b) / determinant
    margins = 1 - core - spurious, 1 - core + spurious  # both above 0 for any numbers
    noise = math.sqrt(a * margins[0] ** 2 + b * margins[1] ** 2)
    return MaxMargin.of(core, spurious, noise, sigma)


def harmful_noise(*, majority: int, minority: int, d: int, gamma: float) -> float:
    """Return the noise strength above which the limit is wrong on more than half of the minority.

    For a strong spurious feature and many more examples in the majority this is ``sqrt(4 minority / d)``:
    memorization hurts once the noise's capacity ``sigma^2 d`` exceeds four times the number of exceptions.
    NaN where no noise between 1e-4 and 1e4 does.
    """

    def excess(log_sigma: float) -> float:
        sigma = math.exp(log_sigma)
        found = max_margin(majority=majority, minority=minority, d=d, gamma=gamma, sigma=sigma)
        return found.core - found.spurious

    low, high = math.log(1e-4), math.log(1e4)
    if excess(low) <= 0 or excess(high) >= 0:
        return math.nan
    return math.exp(float(brentq(excess, low, high)))


def hard_margin(inputs: NDArray[np.float64], signs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve the max-margin problem without a bias exactly, by its dual.

    Args:
        inputs: shape (n, D), separable through the origin.
        signs: labels -1 or +1, shape (n,).

    Returns:
        The weights, shape (D,), such that the smallest margin is 1.

    Raises:
        ValueError: the solver did not reach margins of 1 to 1e-4: the data are not separable.
    """
    signed = inputs * signs[:, None]
    gram = signed @ signed.T
    scale = float(np.trace(gram)) / len(gram)

    def dual(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        moved = gram @ values / scale
        return float(values @ moved / 2 - values.sum()), moved - 1

    solved = minimize(
        dual, np.zeros(len(gram)), jac=True, bounds=[(0, None)] * len(gram), method="L-BFGS-B",
        options={"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-8},
    )  # fmt: skip
    weights = signed.T @ solved.x / scale
    margin = float((signed @ weights).min())
    if not abs(margin - 1) < 1e-4:
        raise ValueError(
            f"smallest margin is {margin:.6f}, not 1: these data are not separable through the origin"
        )
    return weights / margin
