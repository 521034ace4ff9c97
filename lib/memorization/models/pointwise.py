"""Activations of stacked two-layer networks, one for each network, with their derivatives.

Zhang et al. (ICML 2024) compare ReLU, GELU, leaky ReLU, tanh, sigmoid and the identity. ReLU, leaky ReLU and
identity are one family with a slope s on the negative side: 0, s and 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.words import did_you_mean

POINTWISE = ("relu", "leaky", "identity", "gelu", "tanh", "sigmoid")


class StackedActivation:
    """The activations of M stacked networks.

    Attributes:
        names: M names of ``POINTWISE``.
        slopes: M slopes on the negative side: given for ``leaky``, 0 for ``relu``, 1 for ``identity``; NaN
            for the smooth ones.

    Raises:
        ValueError: for an unknown name or a slope outside [0, 1].
    """

    def __init__(self, names: Sequence[str], slopes: Sequence[float]) -> None:
        self.names = tuple(names)
        self.slopes = tuple(_slope(name, slope) for name, slope in zip(names, slopes, strict=True))
        kinds = ["piecewise" if slope == slope else n for n, slope in zip(names, self.slopes, strict=True)]
        self._rows = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in dict.fromkeys(kinds)}

    def value(self, x: Tensor) -> Tensor:
        """Return the activations of pre-activations (M, N, m); differentiable."""
        return self._by_kind(x, 0)[0]

    def value_and_derivative(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return activations and derivatives, (M, N, m) each, without a graph; x may be overwritten.

        The derivative of ReLU at 0 is 0, as in PyTorch.
        """
        value, derivative = self._by_kind(x, 1)
        return value, derivative

    def _by_kind(self, x: Tensor, both: int) -> tuple[Tensor, ...]:
        if len(self._rows) == 1:
            kind, rows = next(iter(self._rows.items()))
            return _FUNCTIONS[kind][both](x, self._negative(kind, rows, x))
        parts = [_FUNCTIONS[k][both](x[rows], self._negative(k, rows, x)) for k, rows in self._rows.items()]
        order = torch.tensor([row for rows in self._rows.values() for row in rows], device=x.device).argsort()
        return tuple(torch.cat(same)[order] for same in zip(*parts, strict=True))

    def _negative(self, kind: str, rows: Sequence[int], like: Tensor) -> Tensor | None:
        """Slopes (rows, 1, 1) of the piecewise linear ones; None where all of them are 0."""
        slopes = [self.slopes[row] for row in rows]
        if kind != "piecewise" or not any(slopes):
            return None
        return torch.tensor(slopes, dtype=like.dtype, device=like.device).view(-1, 1, 1)


def _slope(name: str, slope: float) -> float:
    if name not in POINTWISE:
        raise ValueError(
            f"unknown activation {name!r}{did_you_mean(name, POINTWISE)}; "
            f"choose one of {', '.join(POINTWISE)}"
        )
    if name == "leaky" and not 0 <= slope <= 1:
        raise ValueError(f"slope={slope} of a leaky ReLU; allowed: 0 (ReLU) to 1 (identity)")
    return {"relu": 0.0, "leaky": float(slope), "identity": 1.0}.get(name, math.nan)


def _piecewise(x: Tensor, slopes: Tensor | None) -> tuple[Tensor, ...]:
    return (torch.relu(x) if slopes is None else torch.where(x > 0, x, slopes * x),)


def _piecewise_both(x: Tensor, slopes: Tensor | None) -> tuple[Tensor, ...]:
    derivative = (x > 0).to(x.dtype)
    if slopes is None:
        return x.clamp_(min=0), derivative
    derivative = derivative.mul_(1 - slopes).add_(slopes)
    return x.mul_(derivative), derivative


def _gelu_both(x: Tensor, _: Tensor | None) -> tuple[Tensor, ...]:
    below = torch.special.ndtr(x)
    density = torch.exp(-0.5 * x * x).mul_(1 / math.sqrt(2 * math.pi))
    return x * below, below.addcmul(x, density)


def _tanh_both(x: Tensor, _: Tensor | None) -> tuple[Tensor, ...]:
    value = x.tanh_()
    return value, 1 - value * value


def _sigmoid_both(x: Tensor, _: Tensor | None) -> tuple[Tensor, ...]:
    value = x.sigmoid_()
    return value, value * (1 - value)


_FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "piecewise": (_piecewise, _piecewise_both),
    "gelu": (lambda x, _: (F.gelu(x),), _gelu_both),
    "tanh": (lambda x, _: (torch.tanh(x),), _tanh_both),
    "sigmoid": (lambda x, _: (torch.sigmoid(x),), _sigmoid_both),
}
