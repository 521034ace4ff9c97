"""Activations of random features (the function itself) and of tangent features (its derivative).

Bombari & Mondelli (ICML 2024) define ``phi2`` and ``phi4`` separately for the two maps: tangent features
use ``h_0 + h_1`` and ``h_0 + h_3`` directly, which are not the derivatives of ``h_1 + h_2`` and ``h_1 +
h_4``; ``phi3`` and ``phi6`` continue the family in the same way. Here ``h_l`` are the normalized
probabilists' Hermite polynomials, with ``E[h_l(x) h_m(x)] = 1`` for ``l = m`` and 0 otherwise, x standard
normal. An activation's Hermite coefficients say how much of it is
constant, linear, quadratic, ...; the trapezoid rule on [-14, 14] gives them, because Gauss-Hermite nodes
overflow from a few hundred on.

Functions may overwrite their argument: the memory traffic of a copy costs more than the arithmetic.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.checks import check_choice

FEATURE_MAPS = ("rf", "ntk")
_HALF_WIDTH = 14.0
_NODES = 28001  # odd: one node sits at 0, where ReLU has its kink


@dataclass(frozen=True)
class Activation:
    """What one feature map applies to pre-activations.

    Attributes:
        name: name of the activation, such as ``phi2``.
        feature_map: ``rf`` (the activation) or ``ntk`` (its derivative).
        apply_: elementwise function of a floating-point tensor; it may overwrite its argument.
    """

    name: str
    feature_map: str
    apply_: Callable[[Tensor], Tensor]


def _h2(x: Tensor) -> Tensor:
    return x.square_().sub_(1.0).div_(math.sqrt(2))


def _phi2(x: Tensor) -> Tensor:
    return x.addcmul_(x, x, value=math.sqrt(0.5)).sub_(math.sqrt(0.5))


def _phi4(x: Tensor) -> Tensor:
    square = x * x
    quartic = (square - 6.0).mul_(square).add_(3.0)  # x^4 - 6x^2 + 3
    return x.add_(quartic, alpha=1 / math.sqrt(24))


def _phi4_tangent(x: Tensor) -> Tensor:
    return (x * x).sub_(3.0).mul_(x).div_(math.sqrt(6)).add_(1.0)


def _phi3(x: Tensor) -> Tensor:
    return x.add_((x * x).sub_(3.0).mul_(x), alpha=1 / math.sqrt(6))


def _phi3_tangent(x: Tensor) -> Tensor:
    return _h2(x).add_(1.0)


def _phi6(x: Tensor) -> Tensor:
    square = x * x
    sextic = (square - 15.0).mul_(square).add_(45.0).mul_(square).sub_(15.0)  # x^6 - 15x^4 + 45x^2 - 15
    return x.add_(sextic, alpha=1 / math.sqrt(720))


def _phi6_tangent(x: Tensor) -> Tensor:
    square = x * x
    return (square - 10.0).mul_(square).add_(15.0).mul_(x).div_(math.sqrt(120)).add_(1.0)


def _relu(x: Tensor) -> Tensor:
    return x.clamp_(min=0.0)


def _step(x: Tensor) -> Tensor:
    return x.gt_(0.0)


def _tanh_tangent(x: Tensor) -> Tensor:
    return x.tanh_().square_().neg_().add_(1.0)


def _gelu(x: Tensor) -> Tensor:
    return x.mul_(torch.special.ndtr(x))


def _gelu_tangent(x: Tensor) -> Tensor:
    density = torch.exp(-0.5 * x * x).mul_(1 / math.sqrt(2 * math.pi))
    return torch.special.ndtr(x).addcmul_(x, density)


def _erf_tangent(x: Tensor) -> Tensor:
    return x.square_().neg_().exp_().mul_(2 / math.sqrt(math.pi))


_FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "phi2": (_phi2, lambda x: x.add_(1.0)),
    "phi3": (_phi3, _phi3_tangent),
    "phi4": (_phi4, _phi4_tangent),
    "phi6": (_phi6, _phi6_tangent),
    "relu": (_relu, _step),
    "tanh": (torch.tanh_, _tanh_tangent),
    "h2": (_h2, lambda x: x.mul_(math.sqrt(2))),
    "gelu": (_gelu, _gelu_tangent),
    "erf": (torch.erf_, _erf_tangent),
    "softplus": (lambda x: x.copy_(torch.nn.functional.softplus(x)), torch.sigmoid_),
    "sine": (torch.sin_, torch.cos_),
    "identity": (lambda x: x, lambda x: x.fill_(1.0)),
}

ACTIVATIONS = tuple(_FUNCTIONS)


def activation(name: str, feature_map: str) -> Activation:
    """Look up what a feature map applies to its pre-activations.

    Args:
        name: one of ``ACTIVATIONS``.
        feature_map: ``rf`` for random features, ``ntk`` for tangent features.

    Returns:
        The activation (``rf``) or the derivative that the tangent features use (``ntk``).

    Raises:
        ValueError: for an unknown name or feature map.
    """
    check_choice("feature map", feature_map, FEATURE_MAPS)
    check_choice("activation", name, ACTIVATIONS)
    return Activation(name, feature_map, _FUNCTIONS[name][FEATURE_MAPS.index(feature_map)])


def gaussian_grid(nodes: int = _NODES) -> tuple[Tensor, Tensor]:
    """Return nodes x and weights w, shape (nodes,), float64: ``sum(w f(x)) = E f(x)`` for normal x."""
    x = torch.linspace(-_HALF_WIDTH, _HALF_WIDTH, nodes, dtype=torch.float64)
    weights = torch.exp(-0.5 * x**2)
    return x, weights / weights.sum()


def hermite_polynomials(x: Tensor, degree: int) -> Tensor:
    """Evaluate ``h_0 ... h_degree`` by the normalized three-term recurrence.

    Args:
        x: points, shape (B,), float64.
        degree: highest degree, >= 0.

    Returns:
        Values, shape (degree + 1, B).
    """
    values = [torch.ones_like(x), x]
    for l in range(1, degree):  # noqa: E741 - the degree is called l in the paper
        values.append((x * values[l] - l**0.5 * values[l - 1]) / (l + 1) ** 0.5)
    return torch.stack(values[: degree + 1])


def hermite_coefficients(function: Callable[[Tensor], Tensor], degree: int) -> Tensor:
    """Compute ``mu_l = E[function(x) h_l(x)]`` for l = 0 ... degree.

    Args:
        function: elementwise function of a float64 tensor; it may overwrite its argument.
        degree: highest degree, >= 0; beyond about 90 the grid no longer holds the polynomial's tails.

    Returns:
        Coefficients, shape (degree + 1,), float64.
    """
    x, weights = gaussian_grid()
    return hermite_polynomials(x, degree) @ (weights * function(x.clone()))


def second_moment(function: Callable[[Tensor], Tensor]) -> float:
    """Return ``E[function(x)^2]`` = the sum of all squared Hermite coefficients."""
    x, weights = gaussian_grid()
    return (weights @ function(x.clone()) ** 2).item()
