"""Random numbers that depend on a seed and a purpose, never on what else was drawn before.

For one purpose they come from a stream of its own; for views of images from one stream or, view by view, from
a key. Anagnostidis et al. (ICLR 2023) study how memorization depends on the number of views of an image: with
a key computed from (seed, example, view), a view can be made again at any time, in any batch and on any
device, so that K fixed views of an image cost no memory. The hash is built from 32-bit shift-and-multiply
steps (the constants are Wellons'). Words live in int64 tensors and are masked to 32 bits: no product
overflows, so all devices give the same bits.
"""

from __future__ import annotations

import hashlib
import math
from functools import lru_cache
from typing import Any

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


_MASK = 0xFFFFFFFF
# Multipliers of absolute value < 2^31: their product with a 32-bit word fits into int64.
_FIRST, _SECOND, _THIRD = 0xED5AD4BB - 2**32, 0xAC4C1B51 - 2**32, 0x31848BAB
_HIGH, _LOW, _NUMBER, _LABEL = 0x51ED270B, 0x2545F491, 0x6C078965, 0x1F83D9AB  # one stream per purpose


class Draws:
    """Random numbers for B views, one row per view.

    Every call of :meth:`uniform`, :meth:`normal` or :meth:`integers` goes on where the last one stopped. With
    keys, the numbers of a row depend on its key and on the calls before, and on nothing else: not on other
    rows, their order or the device. (Normal numbers go through a logarithm and a cosine, whose last bit may
    differ between devices.)

    Attributes:
        rows: number B of views.
        device: where the numbers lie.
    """

    def __init__(self, rows: int, device: torch.device, source: torch.Generator | None, keys: Tensor | None):
        self.rows, self.device = rows, device
        self._source, self._counter = source, 0
        if keys is not None:
            self._low = (keys & _MASK).unsqueeze(1)  # (B, 1)
            self._high = ((keys >> 32) & _MASK).unsqueeze(1)  # (B, 1)

    @classmethod
    def of(cls, generator: torch.Generator, rows: int, device: torch.device | str = "cpu") -> Draws:
        """Return draws for ``rows`` views from one stream; fast, and different at every use of the stream.

        Args:
            generator: on any device; numbers of a CPU generator are moved to ``device``.
            rows: number B of views.
            device: where the numbers are needed.
        """
        return cls(rows, torch.device(device), generator, None)

    @classmethod
    def keyed(cls, keys: Tensor) -> Draws:
        """Return draws that are a function of the keys.

        Args:
            keys: shape (B,), int64, any values; :func:`view_keys` makes them.

        Raises:
            TypeError: if the keys are not int64 of shape (B,).
        """
        if keys.dtype != torch.int64 or keys.ndim != 1:
            raise TypeError(
                f"keys are {keys.dtype} of shape {tuple(keys.shape)}; allowed: int64 of shape (B,), one key "
                "per view; make them with view_keys"
            )
        return cls(len(keys), keys.device, None, keys)

    def uniform(self, columns: int = 1) -> Tensor:
        """Return (B, columns) float32 numbers, uniform on [0, 1) in steps of 2^-24."""
        if self._source is not None:
            return self._stream(torch.rand, columns)
        return (self._words(columns) >> 8).float().mul_(2.0**-24)

    def normal(self, columns: int = 1) -> Tensor:
        """Return (B, columns) float32 standard normal numbers."""
        if self._source is not None:
            return self._stream(torch.randn, columns)
        # Box and Muller, two numbers from one word: 20 bits for the radius (up to 5.4), 12 for the angle.
        half = -(-columns // 2)
        words = self._words(half)
        radius = (words >> 12).float().add_(0.5).mul_(2.0**-20).log_().mul_(-2.0).sqrt_()
        angle = (words & 0xFFF).float().add_(0.5).mul_(2 * math.pi / 4096)
        pairs = torch.cat([radius * angle.cos(), radius * angle.sin()], dim=1)
        return pairs[:, :columns]

    def integers(self, high: int | Tensor, columns: int = 1) -> Tensor:
        """Return (B, columns) int64 numbers, uniform on 0..high-1.

        Args:
            high: >= 1 and < 2^31; a number, or an int64 tensor broadcastable to (B, columns).
            columns: numbers per view.
        """
        if self._source is None:
            return (self._words(columns) * high) >> 32
        shape, device = (self.rows, columns), self._source.device
        words = torch.randint(2**32, shape, generator=self._source, device=device)
        return (words.to(self.device) * high) >> 32

    def _stream(self, draw: Any, columns: int) -> Tensor:
        values = draw(self.rows, columns, generator=self._source, device=self._source.device)  # type: ignore[union-attr]
        return values.to(self.device)

    def _words(self, columns: int) -> Tensor:
        """Return the next (B, columns) 32-bit words of the keyed streams; their upper bits are the best."""
        words = _step(self._low ^ _column_words(self._counter, columns, self.device), 17, _FIRST)
        self._counter += columns
        words ^= self._high
        return _step(_step(words, 11, _SECOND), 15, _THIRD)


def view_keys(seed: int | Tensor, examples: Tensor, views: Tensor | int) -> Tensor:
    """Return the key of each view, a 63-bit hash of (seed, example, view).

    Args:
        seed: a whole number >= 0, or int64 tensor (stacked models can have one seed each).
        examples: int64, numbers of the images.
        views: int64, numbers of the views. The three are broadcast against each other.

    Returns:
        int64 keys >= 0 of the broadcast shape.
    """
    # One word for the view and one for the example, each shifted by the seed: no two views share a key.
    high = _mix(_mix(_word(seed) ^ _HIGH) ^ views)
    low = _mix(_mix(_word(seed) ^ _LOW) ^ examples)
    return ((high >> 1) << 32) | low


def view_number(visit: int | Tensor, examples: Tensor, bank: int | Tensor, seed: int | Tensor) -> Tensor:
    """Return which of its K fixed views an example shows at a visit.

    Anagnostidis et al.: at each visit one of K views is drawn uniformly, with replacement.

    Args:
        visit: number of the visit (for instance the epoch), int or int64 tensor.
        examples: int64, numbers of the images.
        bank: number K of fixed views; 0 means a fresh view at each visit. An int64 tensor gives stacked
            models their own K each. All arguments are broadcast against each other.
        seed: as in :func:`view_keys`.

    Returns:
        int64 tensor of the broadcast shape: 0..K-1, or the visit itself where K = 0.

    Raises:
        ValueError: if ``bank`` is a negative number.
    """
    if isinstance(bank, int) and bank < 0:
        raise ValueError(
            f"bank={bank} fixed views; allowed: K >= 1 views, or 0 for a fresh view at each visit"
        )
    shown = (_hash(_NUMBER, seed, examples, visit) * bank) >> 32
    if isinstance(bank, int):
        return shown if bank else torch.zeros_like(shown) + visit
    return torch.where(bank > 0, shown, visit)


def view_labels(seed: int | Tensor, examples: Tensor, views: Tensor | int, classes: int) -> Tensor:
    """Return an independent random label for each view (the capacity experiment: nothing to share).

    Args:
        seed: as in :func:`view_keys`.
        examples: int64, numbers of the images.
        views: int64, numbers of the views. The three are broadcast against each other.
        classes: number C of classes, >= 1.

    Returns:
        int64 labels in 0..C-1 of the broadcast shape.

    Raises:
        ValueError: if ``classes`` is below 1.
    """
    if classes < 1:
        raise ValueError(f"classes={classes}; at least 1 class is needed")
    return (_hash(_LABEL, seed, examples, views) * classes) >> 32


@lru_cache(maxsize=256)  # the same few ranges at every step of a training
def _column_words(first: int, columns: int, device: torch.device) -> Tensor:
    return _mix(torch.arange(first, first + columns, device=device) + _NUMBER)  # no column is all zeros


def _hash(purpose: int, seed: int | Tensor, examples: Tensor, third: int | Tensor) -> Any:
    """Hash three whole numbers, broadcast against each other, to one 32-bit word each."""
    return _mix(_mix(_mix(_word(seed) ^ purpose) ^ examples) ^ third)


# The functions below take and return whole numbers or int64 tensors alike.


def _word(seed: Any) -> Any:
    """Fold a seed of up to 63 bits into 32."""
    return _mix(seed >> 32) ^ (seed & _MASK)


def _mix(word: Any) -> Any:
    """Scramble 32-bit words, one to one; every bit depends on every bit."""
    word = _step(_step(word ^ (word >> 17), 11, _SECOND), 15, _THIRD)
    return word ^ (word >> 14)


def _step(word: Any, shift: int, factor: int) -> Any:
    """Shift and multiply. A tensor that is given is left as it is."""
    word = word ^ (word >> shift)
    word *= factor  # in place for tensors: the line above made a new one
    word &= _MASK
    return word
