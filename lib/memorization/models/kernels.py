"""Infinite-width kernels: what the Gram blocks per unit of width converge to as the width grows.

Arc-cosine and arc-sine forms hold for inputs of any norm (images). The other activations have the form of a
Hermite series, which needs inputs on the sphere ``|z|^2 = d``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from memorization.models.activations import activation
from memorization.models.hermite import hermite_coefficients

_SERIES_DEGREE = 60
_SPHERE_TOLERANCE = 1e-5


def infinite_width_kernel(rows: Tensor, columns: Tensor, *, feature_map: str, activation_name: str) -> Tensor:
    """Compute the kernel per unit of width between two sets of inputs.

    Random features: ``E phi(v.z) phi(v.z')``; tangent features: ``(z.z'/d) E phi'(w.z) phi'(w.z')``.

    Args:
        rows: shape (B, D), float64.
        columns: shape (N, D), float64.
        feature_map: ``rf`` or ``ntk``.
        activation_name: name of the activation.

    Returns:
        Kernel, shape (B, N).

    Raises:
        ValueError: if the activation's kernel is only known on the sphere and the inputs are not on it.
    """
    d = rows.shape[1]
    correlation = rows @ columns.T / d
    q1 = rows.square().sum(dim=1, keepdim=True) / d  # (B, 1)
    q2 = columns.square().sum(dim=1) / d  # (N,)
    act = activation(activation_name, feature_map)
    form = _FORMS.get((act.name, feature_map))
    if form is None:
        kernel = _sphere_series(act.name, feature_map, correlation, q1, q2)
    else:
        kernel = form(correlation, q1, q2)
    return kernel if feature_map == "rf" else kernel.mul_(correlation)


def _angle(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    scale = (q1 * q2).sqrt()
    # A zero input has no angle: the product of the norms is 0 there, and so is the ReLU kernel.
    return torch.acos((c / scale.clamp_min(torch.finfo(c.dtype).tiny)).clamp_(-1.0, 1.0))


def _phi2(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return c + c**2 + 0.5 * (q1 - 1) * (q2 - 1)


def _phi4(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    excess = (q1 - 1) * (q2 - 1)
    return c + c**4 + 3 * c**2 * excess + 0.375 * excess**2


def _phi4_tangent(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return 1 + c**3 + 1.5 * c * (q1 - 1) * (q2 - 1)


def _relu(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    angle = _angle(c, q1, q2)
    return (q1 * q2).sqrt() * (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)


def _step(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return (math.pi - _angle(c, q1, q2)) / (2 * math.pi)


def _h2(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return c**2 + 0.5 * (q1 - 1) * (q2 - 1)


def _erf(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return torch.asin(2 * c / ((1 + 2 * q1) * (1 + 2 * q2)).sqrt()) * (2 / math.pi)


def _erf_tangent(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return (4 / math.pi) / ((1 + 2 * q1) * (1 + 2 * q2) - 4 * c**2).sqrt()


def _sine(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return torch.exp(-0.5 * (q1 + q2)) * torch.sinh(c)


def _sine_tangent(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return torch.exp(-0.5 * (q1 + q2)) * torch.cosh(c)


_FORMS: dict[tuple[str, str], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    ("phi2", "rf"): _phi2,
    ("phi2", "ntk"): lambda c, q1, q2: 1 + c,
    ("phi4", "rf"): _phi4,
    ("phi4", "ntk"): _phi4_tangent,
    ("relu", "rf"): _relu,
    ("relu", "ntk"): _step,
    ("h2", "rf"): _h2,
    ("h2", "ntk"): lambda c, q1, q2: 2 * c,
    ("erf", "rf"): _erf,
    ("erf", "ntk"): _erf_tangent,
    ("sine", "rf"): _sine,
    ("sine", "ntk"): _sine_tangent,
    ("identity", "rf"): lambda c, q1, q2: c.clone(),
    ("identity", "ntk"): lambda c, q1, q2: torch.ones_like(c),
}


@lru_cache(maxsize=32)
def _squared_coefficients(name: str, feature_map: str) -> tuple[float, ...]:
    return tuple((hermite_coefficients(activation(name, feature_map).apply_, _SERIES_DEGREE) ** 2).tolist())


def _sphere_series(name: str, feature_map: str, c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    away = max((q1 - 1).abs().max().item(), (q2 - 1).abs().max().item())
    if away > _SPHERE_TOLERANCE:
        known = ", ".join(sorted({known for known, _ in _FORMS}))
        raise ValueError(
            f"the infinite-width kernel of {name!r} is implemented for inputs with |z|^2 = d; "
            f"got |z|^2/d up to {away:.3g} away from 1. Use law='spheres', a finite width, or one of {known}"
        )
    kernel = torch.zeros_like(c)
    for coefficient in reversed(_squared_coefficients(name, feature_map)):  # Horner
        kernel.mul_(c).add_(coefficient)
    return kernel
