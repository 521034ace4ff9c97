"""Activations of stacked two-layer networks, one for each network, with their derivatives.

Zhang et al. (ICML 2024) compare ReLU, GELU, leaky ReLU, tanh, sigmoid and the identity. ReLU, leaky ReLU and
identity are one family with a slope s on the negative side: 0, s and 1.

Without a graph a layer works in place, with plain arithmetic: comparing and choosing costs a processor ten
times what a product does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.words import did_you_mean

Both = tuple[Tensor, Callable[[], Tensor]]
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
        rows = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in dict.fromkeys(kinds)}
        self._groups = [(kind, rows[kind], self._negative(kind, rows[kind])) for kind in rows]

    def take(self, rows: slice) -> StackedActivation:
        """Return the activations of some of the networks."""
        return StackedActivation(self.names[rows], [s if s == s else 0.0 for s in self.slopes[rows]])

    def value(self, x: Tensor) -> Tensor:
        """Return the activations of pre-activations, shape (M, m, N); differentiable."""
        if len(self._groups) == 1:
            kind, _, slopes = self._groups[0]
            return _VALUES[kind](x, _like(slopes, x))
        out = torch.empty_like(x)
        for kind, rows, slopes in self._groups:
            out[rows] = _VALUES[kind](x[rows], _like(slopes, x))
        return out

    def value_then_derivative(self, x: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """Return the activations (M, m, N), without a graph, and a function that returns their derivatives.

        Both may lie where x lay: use the values before asking for the derivatives. The derivative of ReLU at
        0 is 0, as in PyTorch.
        """
        if len(self._groups) == 1:
            kind, _, slopes = self._groups[0]
            return _IN_PLACE[kind](x, _like(slopes, x))
        parts = [(rows, *_IN_PLACE[kind](x[rows], _like(slopes, x))) for kind, rows, slopes in self._groups]
        for rows, value, _ in parts:
            x[rows] = value

        def derivative() -> Tensor:
            for rows, _, part in parts:
                x[rows] = part()
            return x

        return x, derivative

    def _negative(self, kind: str, rows: Sequence[int]) -> Tensor | None:
        """Slopes (rows, 1, 1) of the piecewise linear ones; None where all of them are 0."""
        slopes = [self.slopes[row] for row in rows]
        if kind != "piecewise" or not any(slopes):
            return None
        return torch.tensor(slopes, dtype=torch.float64).view(-1, 1, 1)


def _slope(name: str, slope: float) -> float:
    if name not in POINTWISE:
        raise ValueError(
            f"unknown activation {name!r}{did_you_mean(name, POINTWISE)}; "
            f"choose one of {', '.join(POINTWISE)}"
        )
    if name == "leaky" and not 0 <= slope <= 1:
        raise ValueError(f"slope={slope} of a leaky ReLU; allowed: 0 (ReLU) to 1 (identity)")
    return {"relu": 0.0, "leaky": float(slope), "identity": 1.0}.get(name, math.nan)


def _like(slopes: Tensor | None, x: Tensor) -> Tensor | None:
    return None if slopes is None else slopes.to(x)


def _piecewise(x: Tensor, slopes: Tensor | None) -> Tensor:
    return torch.relu(x) if slopes is None else torch.where(x > 0, x, slopes * x)


def _piecewise_in_place(x: Tensor, slopes: Tensor | None) -> Both:
    if slopes is None:
        value = x.clamp_(min=0)
        return value, value.sign_
    above = x.clamp(min=0)
    value = x.mul_(slopes).addcmul_(above, 1 - slopes)
    return value, lambda: above.sign_().mul_(1 - slopes).add_(slopes)


def _gelu_in_place(x: Tensor, _: Tensor | None) -> Both:
    below = torch.special.ndtr(x)
    density = torch.exp(-0.5 * x * x).mul_(1 / math.sqrt(2 * math.pi))
    derivative = below.addcmul(x, density)
    return x.mul_(below), lambda: derivative


def _tanh_in_place(x: Tensor, _: Tensor | None) -> Both:
    value = x.tanh_()
    return value, lambda: value.mul_(value).neg_().add_(1)


def _sigmoid_in_place(x: Tensor, _: Tensor | None) -> Both:
    value = x.sigmoid_()
    return value, lambda: value.sub_(value * value)


_VALUES: dict[str, Any] = {
    "piecewise": _piecewise,
    "gelu": lambda x, _: F.gelu(x),
    "tanh": lambda x, _: torch.tanh(x),
    "sigmoid": lambda x, _: torch.sigmoid(x),
}
_IN_PLACE: dict[str, Callable[[Tensor, Tensor | None], Both]] = {
    "piecewise": _piecewise_in_place,
    "gelu": _gelu_in_place,
    "tanh": _tanh_in_place,
    "sigmoid": _sigmoid_in_place,
}
