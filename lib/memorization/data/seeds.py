"""Random numbers that depend on a seed and a purpose, never on what else was drawn before."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

# torch fills normal numbers in groups of 16; whole groups make a longer draw begin with the shorter one.
_GROUP = 16


def generator(seed: int, *purpose: str | int) -> torch.Generator:
    """Return a CPU generator of its own for one seed and one purpose.

    Two purposes of one seed give independent streams, so a result for one seed does not change when
    other seeds, sizes or points are run before it.

    Args:
        seed: the seed of the run, a whole number >= 0.
        *purpose: what the numbers are for, such as ``"weights"`` or ``"training set", 200``.

    Returns:
        A ``torch.Generator`` on the CPU.

    Raises:
        ValueError: if the seed is not a whole number >= 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be a whole number >= 0; got {seed!r}")
    text = "/".join(str(part) for part in (seed, *purpose))
    digest = hashlib.sha256(text.encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def normal_rows(rows: int, columns: int, source: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Draw standard normal rows such that a shorter draw is the beginning of a longer one.

    The numbers are drawn in float32 whatever the result's type is, so that runs in float32 and float64 can be
    compared number by number.

    Args:
        rows: number of rows, >= 0.
        columns: number of columns, >= 1.
        source: generator of the numbers.
        dtype: floating-point type of the result.

    Returns:
        Tensor of shape (rows, columns) on the generator's device.
    """
    whole = -(-rows // _GROUP) * _GROUP
    values = torch.randn(whole, columns, generator=source, dtype=torch.float32, device=source.device)
    return values[:rows].to(dtype)
