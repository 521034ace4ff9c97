"""Random features and tangent features: explicit (plain), as Gram blocks (fast), and at infinite width.

Bombari & Mondelli (ICML 2024). Random features ``phi(V z)`` have P = k of them; tangent features ``z (x)
phi'(W z)`` have P = dk. Rows of V and W are N(0, 1/d). The Gram blocks never hold an N x P matrix. Their
arithmetic is three products: inputs with directions, and the activations of all rows with those of the
training rows. Two of them repeat work: a spurious query shares its spurious part with its training row, and
the training block is symmetric. Neither is computed twice here.

The infinite-width kernel is what the blocks per unit of width converge to. Its arc-cosine and arc-sine
forms hold for inputs of any norm (images). The other activations have the form of a Hermite series, which
needs inputs on the sphere ``|z|^2 = d``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor

from memorization.data.synthetic import check_floating
from memorization.draws import generator, normal_rows
from memorization.models.activations import activation, hermite_coefficients

# Directions per block: large enough for fast products, small enough to stay far below the inputs in memory.
# A multiple of 16, so that the directions do not depend on it (see draws.normal_rows).
_BLOCK = 2048
# Training rows per column block of the kernel: small enough to skip most of the upper triangle.
_COLUMNS = 256
# Rows per block of the infinite-width kernel: its functions need several matrices of this height.
_KERNEL_ROWS = 512
_SERIES_DEGREE = 60
_SPHERE_TOLERANCE = 1e-5


def directions(width: int, d: int, source: torch.Generator, dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw rows of V or W, i.i.d. N(0, 1/d), shape (width, d)."""
    return normal_rows(width, d, source, dtype) / d**0.5


def explicit_features(rows: Tensor, weights: Tensor, *, feature_map: str, activation_name: str) -> Tensor:
    """Compute the feature matrix itself: the plain way, for small sizes and for checks.

    Args:
        rows: inputs, shape (B, D).
        weights: directions, shape (k, D), see :func:`directions`.
        feature_map: ``rf`` or ``ntk``.
        activation_name: name of the activation.

    Returns:
        Features, shape (B, k) for ``rf`` and (B, D k) for ``ntk``, without a factor for the width.

    Raises:
        TypeError, ValueError: for inputs that are not finite floating-point matrices, or unknown names.
    """
    check_floating("rows", rows)
    hidden = activation(activation_name, feature_map).apply_(rows @ weights.T)
    if feature_map == "rf":
        return hidden
    return torch.einsum("bd,bk->bdk", rows, hidden).flatten(1)


@dataclass(frozen=True)
class GramBlocks:
    """Kernel between training rows and everything that is predicted, per unit of width.

    Random features: ``Phi Phi^T / k``; tangent features: ``Phi Phi^T / (k d)``. Predictions, stability and
    feature alignment do not depend on this scale; a ridge does.

    Attributes:
        train: shape (N, N), float64.
        spurious: shape (N, N), float64; row i is the spurious query of training row i.
        test: shape (T, N), float64.
        parameters: P, the number of features; None for infinite width.
    """

    train: Tensor
    spurious: Tensor
    test: Tensor
    parameters: int | None


def gram_blocks(
    train: Tensor,
    spurious: Tensor,
    test: Tensor,
    *,
    feature_map: str,
    activation_name: str,
    width: int | None,
    seed: int,
    purpose: str | int = "weights",
) -> GramBlocks:
    """Compute the three kernel blocks of a task without any feature matrix.

    Features are computed block by block in the inputs' floating-point type and accumulated in float64.

    Args:
        train: shape (N, D). float32 or float64; raw pixels are exact in both.
        spurious: shape (N, D).
        test: shape (T, D).
        feature_map: ``rf`` or ``ntk``.
        activation_name: name of the activation.
        width: k >= 1 directions; 0 or None for the infinite-width kernel.
        seed: seed of the directions.
        purpose: names the stream of directions.

    Returns:
        The blocks, on the inputs' device.

    Raises:
        TypeError, ValueError: for inputs that are not finite floating-point matrices, or unknown names.
    """
    for name, part in (("train", train), ("spurious", spurious), ("test", test)):
        check_floating(name, part)
    n, d = train.shape
    act = activation(activation_name, feature_map)
    if not width:
        rows = torch.cat([train, spurious, test])
        kernel = infinite_width_kernel(rows, train, feature_map=feature_map, activation_name=activation_name)
    elif width < 0:
        raise ValueError(f"width must be at least 1, or 0 for the infinite-width kernel; got {width}")
    else:
        inputs = LinearInputs(train, spurious, test)
        kernel = hidden_gram(inputs, width, generator(seed, purpose), act.apply_)
        if feature_map == "ntk":
            kernel.mul_(torch.cat([train, spurious, test]) @ (train / d).T)
    parameters = None if not width else width if feature_map == "rf" else width * d
    top = kernel[:n]
    return GramBlocks((top + top.T).mul_(0.5), kernel[n : 2 * n], kernel[2 * n :], parameters)


class LinearInputs:
    """Training rows, spurious queries and test rows, ready to be multiplied with directions.

    Args:
        train: shape (N, D), floating point.
        spurious: shape (N, D).
        test: shape (T, D).
    """

    def __init__(self, train: Tensor, spurious: Tensor, test: Tensor) -> None:
        self.n, self.d = train.shape
        self.dtype, self.device = train.dtype, train.device  # of the inputs and of the products
        shared = (train == spurious).all(dim=0)
        order = torch.argsort(shared.int(), stable=True)  # own columns first, shared ones last
        self._order = None if bool((order == torch.arange(self.d, device=order.device)).all()) else order
        scaled = [rows[:, order] / self.d**0.5 for rows in (train, spurious, test)]
        self._own = int((~shared).sum())
        self._train, self._query = scaled[0], scaled[1][:, : self._own]
        self._test = scaled[2]
        if self.n > 1 and bool((self._query == self._query[:1]).all()):
            self._query = self._query[:1]  # black or mean images: one row serves all queries

    def __len__(self) -> int:
        return 2 * self.n + len(self._test)

    def times(self, directions: Tensor, out: Tensor) -> Tensor:
        """Write ``rows @ directions.T / sqrt(D)`` for train, spurious and test rows into ``out``.

        Args:
            directions: standard normal, shape (B, D).
            out: shape (2N + T, B).
        """
        weights = directions.T if self._order is None else directions[:, self._order].T  # (D, B)
        train, query, test = out[: self.n], out[self.n : 2 * self.n], out[2 * self.n :]
        torch.mm(self._train[:, self._own :], weights[self._own :], out=query)  # the shared part
        torch.addmm(query, self._train[:, : self._own], weights[: self._own], out=train)
        if len(self._query) == self.n:
            query.addmm_(self._query, weights[: self._own])
        else:
            query.add_(self._query @ weights[: self._own])
        torch.mm(self._test, weights, out=test)
        return out


def hidden_gram(
    inputs: LinearInputs, width: int, source: torch.Generator, apply_: Callable[[Tensor], Tensor]
) -> Tensor:
    """Compute the mean over directions of ``act(row . v) act(train row . v)``.

    Args:
        inputs: all rows.
        width: number of directions, >= 1.
        source: CPU generator of the directions.
        apply_: activation; it may overwrite its argument.

    Returns:
        Kernel, shape (2N + T, N), float64; products in the inputs' type, sums over blocks in float64.
    """
    n, rows = inputs.n, len(inputs)
    # Buffers are reused: fresh ones of this size cost more in page faults than the sums do.
    hidden_space = torch.empty(rows * min(width, _BLOCK), dtype=inputs.dtype, device=inputs.device)
    product_space = torch.empty(rows * min(n, _COLUMNS), dtype=inputs.dtype, device=inputs.device)
    total = torch.zeros(rows, n, dtype=torch.float64, device=inputs.device)
    for start in range(0, width, _BLOCK):
        size = min(_BLOCK, width - start)
        block = normal_rows(size, inputs.d, source, inputs.dtype).to(inputs.device)
        hidden = apply_(inputs.times(block, hidden_space[: rows * size].view(rows, size)))
        add_gram(total, hidden, product_space)
    mirror(total)
    return total.div_(width)


def add_gram(total: Tensor, hidden: Tensor, space: Tensor) -> None:
    """Add ``hidden @ hidden[:N].T`` to ``total``, leaving out most of the upper triangle of the first N rows.

    Args:
        total: shape (R, N), float64; complete after :func:`mirror`.
        hidden: activations, shape (R, B).
        space: buffer of at least ``R min(N, 256)`` entries in the activations' type.
    """
    rows, n = total.shape
    for left in range(0, n, _COLUMNS):
        right = min(left + _COLUMNS, n)
        shape = (rows - left, right - left)
        product = space[: shape[0] * shape[1]].view(shape)
        total[left:, left:right] += torch.mm(hidden[left:], hidden[left:right].T, out=product)


def mirror(total: Tensor) -> None:
    """Fill the upper triangle of the first N rows of ``total`` (shape (R, N)) from the lower one."""
    n = total.shape[1]
    lower = total[:n].tril()
    total[:n] = lower + lower.tril(-1).T


def infinite_width_kernel(rows: Tensor, columns: Tensor, *, feature_map: str, activation_name: str) -> Tensor:
    """Compute the kernel per unit of width between two sets of inputs.

    Random features: ``E phi(v.z) phi(v.z')``; tangent features: ``(z.z'/d) E phi'(w.z) phi'(w.z')``.

    Args:
        rows: shape (B, D), floating point; computed in float64.
        columns: shape (N, D), floating point.
        feature_map: ``rf`` or ``ntk``.
        activation_name: name of the activation.

    Returns:
        Kernel, shape (B, N), float64.

    Raises:
        TypeError: for inputs that are not floating point, such as the bytes of images.
        ValueError: if the activation's kernel is only known on the sphere and the inputs are not on it, or
            inputs are no finite matrices of one width.
    """
    for name, part in (("rows", rows), ("columns", columns)):
        check_floating(name, part)
    if rows.shape[1] != columns.shape[1]:
        raise ValueError(
            f"rows have {rows.shape[1]} coordinates, columns {columns.shape[1]}; give equal ones"
        )
    d, act = rows.shape[1], activation(activation_name, feature_map)
    form = _FORMS.get((act.name, feature_map), partial(_sphere_series, act.name, feature_map))
    columns = columns.double()
    q2 = columns.square().sum(dim=1) / d  # (N,)
    kernel = torch.empty(len(rows), len(columns), dtype=torch.float64, device=rows.device)
    for start in range(0, len(rows), _KERNEL_ROWS):
        part = rows[start : start + _KERNEL_ROWS].double()
        correlation = part @ columns.T / d
        q1 = part.square().sum(dim=1, keepdim=True) / d  # (B, 1)
        block = form(correlation, q1, q2)
        kernel[start : start + len(part)] = block if feature_map == "rf" else block.mul_(correlation)
    return kernel


def _angle(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    scale = (q1 * q2).sqrt()
    # A zero input has no angle: the product of the norms is 0 there, and so is the ReLU kernel.
    return torch.acos((c / scale.clamp_min(torch.finfo(c.dtype).tiny)).clamp_(-1.0, 1.0))


def _phi4(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    excess = (q1 - 1) * (q2 - 1)
    return c + c**4 + 3 * c**2 * excess + 0.375 * excess**2


def _relu(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    angle = _angle(c, q1, q2)
    return (q1 * q2).sqrt() * (angle.sin() + (math.pi - angle) * angle.cos()) / (2 * math.pi)


def _erf(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return torch.asin(2 * c / ((1 + 2 * q1) * (1 + 2 * q2)).sqrt()) * (2 / math.pi)


def _erf_tangent(c: Tensor, q1: Tensor, q2: Tensor) -> Tensor:
    return (4 / math.pi) / ((1 + 2 * q1) * (1 + 2 * q2) - 4 * c**2).sqrt()


# Functions of c = z.z'/d, q1 = |z|^2/d and q2 = |z'|^2/d.
_FORMS: dict[tuple[str, str], Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    ("phi2", "rf"): lambda c, q1, q2: c + c**2 + 0.5 * (q1 - 1) * (q2 - 1),
    ("phi2", "ntk"): lambda c, q1, q2: 1 + c,
    ("phi4", "rf"): _phi4,
    ("phi4", "ntk"): lambda c, q1, q2: 1 + c**3 + 1.5 * c * (q1 - 1) * (q2 - 1),
    ("relu", "rf"): _relu,
    ("relu", "ntk"): lambda c, q1, q2: (math.pi - _angle(c, q1, q2)) / (2 * math.pi),
    ("h2", "rf"): lambda c, q1, q2: c**2 + 0.5 * (q1 - 1) * (q2 - 1),
    ("h2", "ntk"): lambda c, q1, q2: 2 * c,
    ("erf", "rf"): _erf,
    ("erf", "ntk"): _erf_tangent,
    ("sine", "rf"): lambda c, q1, q2: torch.exp(-0.5 * (q1 + q2)) * torch.sinh(c),
    ("sine", "ntk"): lambda c, q1, q2: torch.exp(-0.5 * (q1 + q2)) * torch.cosh(c),
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
