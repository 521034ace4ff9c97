"""A fixed number of views per image: made again from keys, or kept in a bank.

Anagnostidis et al. let every image have K fixed views (1, 2, 4, ...): the same labels for all views of an
image, or one label per view. View k of image i is a function of (seed, i, k) here, so both ways show the
same pictures.
"""

from __future__ import annotations

import torch
from torch import Tensor

from memorization.data.draws import Draws, view_keys
from memorization.data.policies import Policy

_ROWS = 4096  # views that are made at a time for a bank


def keyed_views(
    policy: Policy,
    images: Tensor,
    examples: Tensor,
    numbers: Tensor | int,
    seed: int | Tensor,
    strength: float | Tensor = 1.0,
    *,
    check: bool = True,
) -> Tensor:
    """Return given views of given images.

    Args:
        policy: from :func:`~memorization.data.policies.augmentation`.
        images: all N images, shape (N, c, S, S), floating point in [0, 1].
        examples: which images, shape (B,), int64.
        numbers: which view of each, int64 of shape (B,), or one for all; any number >= 0.
        seed: of the views; an int64 tensor (B,) gives each its own.
        strength: one number, or shape (B,).
        check: see :class:`~memorization.data.policies.Policy`.

    Returns:
        Views of shape (B, c, S, S) in the images' type.
    """
    keys = view_keys(seed, examples, numbers)
    return policy(images[examples], Draws.keyed(keys), strength, check=check)


def make_bank(
    policy: Policy,
    images: Tensor,
    views: int,
    seed: int,
    strength: float = 1.0,
    *,
    cap_mib: float = 4096,
    dtype: torch.dtype = torch.uint8,
) -> Tensor:
    """Make the first K views of all images and keep them; :func:`from_bank` looks them up.

    Args:
        policy: from :func:`~memorization.data.policies.augmentation`.
        images: shape (N, c, S, S), floating point in [0, 1].
        views: number K of views per image, >= 1.
        seed: of the views, as in :func:`keyed_views`.
        strength: of the policy.
        cap_mib: largest size of the bank in MiB.
        dtype: ``torch.uint8`` (rounded to 256 levels; values outside [0, 1], which the ``small_*`` policies
            can give, are clamped) or a floating-point type (as :func:`keyed_views` gives them).

    Returns:
        Shape (N, K, c, S, S), on the images' device.

    Raises:
        ValueError: for fewer than 1 view, another type, or a bank larger than the cap.
    """
    if views < 1:
        raise ValueError(f"views={views} per image; at least 1 is needed")
    if dtype != torch.uint8 and not dtype.is_floating_point:
        raise ValueError(f"a bank cannot hold {dtype}; allowed: torch.uint8 or a floating-point type")
    size = images.numel() * views * dtype.itemsize / 2**20
    if size > cap_mib:
        raise ValueError(
            f"a bank of {views} views of {len(images)} images takes {size:,.0f} MiB in {dtype}; allowed are "
            f"cap_mib={cap_mib:,.0f}. Take fewer views or torch.uint8, raise the cap, or make the views at "
            "each visit with keyed_views"
        )
    shape = (len(images) * views, *images.shape[1:])
    bank = torch.empty(shape, dtype=dtype, device=images.device)
    for start in range(0, len(bank), _ROWS):
        rows = torch.arange(start, min(start + _ROWS, len(bank)), device=images.device)
        made = keyed_views(policy, images, rows // views, rows % views, seed, strength)
        bank[start : start + _ROWS] = to_bytes(made) if dtype == torch.uint8 else made
    return bank.view(len(images), views, *images.shape[1:])


def from_bank(bank: Tensor, examples: Tensor, numbers: Tensor | int) -> Tensor:
    """Return views of a bank as floats; bytes are divided by 255.

    Args:
        bank: from :func:`make_bank`, shape (N, K, c, S, S).
        examples: which images, shape (B,), int64.
        numbers: which view of each, int64 of shape (B,) in 0..K-1, or one for all.

    Returns:
        Shape (B, c, S, S), float32 for a bank of bytes, otherwise in the bank's type.
    """
    views = bank[examples, numbers]
    return views.float().div_(255) if bank.dtype == torch.uint8 else views


def to_bytes(images: Tensor) -> Tensor:
    """Round images in [0, 1] to 256 levels, uint8; values outside are clamped."""
    return (images * 255).round_().clamp_(0, 255).to(torch.uint8)
