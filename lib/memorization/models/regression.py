"""Kernel regression that interpolates: one Cholesky factor serves every nested training set.

The minimum-norm interpolator ``theta = Phi^+ g`` predicts ``k(z, Z) K^{-1} g``, so a regression on P
features is solved in the small dimension N. For nested training sets (the first n rows of one set) the
leading block of the factor of K is the factor of the leading block, and the forward solve ``L^{-1} g`` is
shared.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from memorization.checks import check_tensor
from memorization.models.kernels import GramBlocks

CONDITION_LIMIT = 1e12
_POWER_STEPS = 6


@dataclass(frozen=True)
class Regression:
    """A factored kernel regression on N rows, ready for every training set of its first n rows.

    Attributes:
        blocks: the kernel blocks.
        targets: shape (N,), float64.
        ridge: what was added to the diagonal of the training block.
        lower: Cholesky factor of the training block plus ridge, shape (N, N).
        forward: ``lower^{-1} targets``, shape (N,).
    """

    blocks: GramBlocks
    targets: Tensor
    ridge: float
    lower: Tensor
    forward: Tensor

    def at(self, n: int | None = None) -> Solution:
        """Return the regression on the first ``n`` rows (all of them for None)."""
        size = len(self.targets) if n is None else n
        if not 1 <= size <= len(self.targets):
            raise ValueError(f"n must be in 1..{len(self.targets)}, the rows that were factored; got {size}")
        return Solution(self, size)


@dataclass(frozen=True)
class Solution:
    """The regression on the first ``size`` training rows.

    Attributes:
        regression: where the factor comes from.
        size: number n of training rows.
    """

    regression: Regression
    size: int

    @property
    def targets(self) -> Tensor:
        """Training targets, shape (n,)."""
        return self.regression.targets[: self.size]

    @cached_property
    def lower(self) -> Tensor:
        """Cholesky factor, shape (n, n)."""
        return self.regression.lower[: self.size, : self.size]

    @cached_property
    def coefficients(self) -> Tensor:
        """Dual coefficients ``(K + ridge)^{-1} g``, shape (n,)."""
        forward = self.regression.forward[: self.size, None]
        return torch.linalg.solve_triangular(self.lower.mT, forward, upper=True)[:, 0]

    @cached_property
    def inverse(self) -> Tensor:
        """``(K + ridge)^{-1}``, shape (n, n)."""
        return torch.cholesky_inverse(self.lower)

    @property
    def spurious_gram(self) -> Tensor:
        """Kernel between the n spurious queries and the n training rows, shape (n, n)."""
        return self.regression.blocks.spurious[: self.size, : self.size]

    def predict(self, kernel_rows: Tensor) -> Tensor:
        """Predict from kernel values against all N training rows, shape (B, N); returns shape (B,)."""
        return kernel_rows[:, : self.size] @ self.coefficients

    @cached_property
    def train_predictions(self) -> Tensor:
        """Predictions at the training rows, shape (n,)."""
        return self.predict(self.regression.blocks.train[: self.size])

    @cached_property
    def spurious_predictions(self) -> Tensor:
        """Predictions at the n spurious queries, shape (n,)."""
        return self.predict(self.regression.blocks.spurious[: self.size])

    @cached_property
    def test_predictions(self) -> Tensor:
        """Predictions at the test rows, shape (T,)."""
        return self.predict(self.regression.blocks.test)


def fit(
    blocks: GramBlocks, targets: Tensor, *, ridge: float = 0.0, train: Tensor | None = None
) -> Regression:
    """Factor the training kernel once; no jitter is added.

    Args:
        blocks: kernel blocks per unit of width.
        targets: training targets, shape (N,), any real type.
        ridge: added to the diagonal of the training block (per unit of width), >= 0.
        train: training inputs, shape (N, D); given, equal rows are named instead of a failed factorization.

    Returns:
        The factored regression.

    Raises:
        TypeError: for targets that are no tensor.
        ValueError: if there are more rows than features, equal rows, or a condition number above 1e12.
    """
    check_tensor("targets", targets)
    n = len(blocks.train)
    if targets.shape != (n,):
        raise ValueError(
            f"need one target per training row: {n} rows, targets of shape {tuple(targets.shape)}"
        )
    if not ridge >= 0 or ridge == float("inf"):
        raise ValueError(f"ridge must be a finite number >= 0; got {ridge}")
    if ridge == 0 and blocks.parameters is not None and n > blocks.parameters:
        raise _singular(blocks, "there are more rows than features")
    if ridge == 0 and train is not None:
        refuse_equal_rows(train)
    kernel = blocks.train.clone()
    kernel.diagonal().add_(ridge)
    lower, failed = torch.linalg.cholesky_ex(kernel)
    if int(failed) > 0:
        raise _singular(blocks, f"its Cholesky factorization fails at row {int(failed) - 1}")
    condition = condition_number(kernel, lower)
    if not condition <= CONDITION_LIMIT:
        raise _singular(blocks, f"its condition number is about {condition:.1e}, above {CONDITION_LIMIT:.0e}")
    goal = targets.to(dtype=lower.dtype, device=lower.device)
    forward = torch.linalg.solve_triangular(lower, goal[:, None], upper=False)[:, 0]
    return Regression(blocks, goal, float(ridge), lower, forward)


def refuse_equal_rows(rows: Tensor) -> None:
    """Raise a ValueError that names two equal rows, if there are any; rows of shape (N, D)."""
    probe = torch.linspace(1.0, 2.0, rows.shape[1], dtype=torch.float64, device=rows.device).sin()
    values, order = (rows.double() @ probe).sort()
    close = (values[1:] - values[:-1]).abs() <= 1e-9 * (1 + values[1:].abs())
    for position in torch.nonzero(close).flatten().tolist():
        first, second = sorted((int(order[position]), int(order[position + 1])))
        if torch.equal(rows[first], rows[second]):
            raise ValueError(
                f"training rows {first} and {second} are equal, so the kernel matrix is singular; "
                "remove one of them or pass ridge > 0"
            )


def condition_number(kernel: Tensor, lower: Tensor) -> float:
    """Estimate the condition number by power iterations with the matrix and its factor (from below).

    Args:
        kernel: symmetric positive definite, shape (N, N).
        lower: its Cholesky factor.
    """
    n = len(kernel)
    start = (
        torch.linspace(1.0, 2.0, n, dtype=kernel.dtype, device=kernel.device).mul_(37.0 * n).sin_()[:, None]
    )
    largest = smallest = start / start.norm()
    for _ in range(_POWER_STEPS):
        up, down = kernel @ largest, torch.cholesky_solve(smallest, lower)
        top, bottom = up.norm(), down.norm()
        largest, smallest = up / top, down / bottom
    return (top * bottom).item()


def _singular(blocks: GramBlocks, why: str) -> ValueError:
    features = "infinitely many" if blocks.parameters is None else blocks.parameters
    return ValueError(
        f"interpolation and alignment need an invertible N x N kernel, but {why}; "
        f"got N={len(blocks.train)}, p={features}; increase the width or pass ridge > 0"
    )
