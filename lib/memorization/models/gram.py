"""Sums of products of hidden activations over many random directions, without holding the activations.

The arithmetic of random and tangent features (Bombari & Mondelli, ICML 2024) is three products: inputs with
directions, and the activations of all rows with those of the training rows. Two of them repeat work: a
spurious query shares its spurious part with its training row, and the training block is symmetric. Neither
is computed twice here.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from memorization.data.seeds import normal_rows

# Directions per block: large enough for fast products, small enough to stay far below the inputs in memory.
# A multiple of 16, so that the directions do not depend on it (see data.seeds.normal_rows).
_BLOCK = 2048
# Training rows per column block of the kernel: small enough to skip most of the upper triangle.
_COLUMNS = 256


class LinearInputs:
    """Training rows, spurious queries and test rows, ready to be multiplied with directions.

    Args:
        train: shape (N, D), floating point.
        spurious: shape (N, D).
        test: shape (T, D).
    """

    def __init__(self, train: Tensor, spurious: Tensor, test: Tensor) -> None:
        self.n, self.d = train.shape
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

    @property
    def dtype(self) -> torch.dtype:
        """Type of the inputs and of the products."""
        return self._train.dtype

    @property
    def device(self) -> torch.device:
        """Device of the inputs."""
        return self._train.device

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
