"""What an augmentation must give back: a policy of one's own is looked at before it is trusted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from memorization.data.policies import Policy

_ROUNDING = 1e-3  # resampling may leave [0, 1] by a last bit, also in half precision


def policy_name(policy: Callable[..., Any]) -> str:
    """Return what a policy is called, for messages: its name, its function's or its class's."""
    if isinstance(policy, partial):
        return policy_name(policy.func)
    name = getattr(policy, "name", getattr(policy, "__qualname__", None))
    return str(name or type(policy).__name__)


def check_views(policy: Callable[..., Any], images: Tensor, views: Any, *, unit_range: bool = True) -> None:
    """Refuse what is not one view of each image.

    Args:
        policy: what made the views.
        images: shape (B, c, S, S), floating point in [0, 1].
        views: what the policy returned for them.
        unit_range: whether the views must lie in [0, 1], too. The library's own ``small_*`` policies add
            noise and clamp nothing, so they need not.

    Raises:
        TypeError: if the views are no tensor of the images' type and device.
        ValueError: if they have another shape, hold NaN or Inf, or lie outside [0, 1]; names the policy.
    """
    who = f"the policy {policy_name(policy)!r}"
    wanted = f"{images.dtype} on {images.device}"
    if not isinstance(views, Tensor) or (views.dtype, views.device) != (images.dtype, images.device):
        kind = f"{views.dtype} on {views.device}" if isinstance(views, Tensor) else type(views).__name__
        raise TypeError(
            f"{who} returned {kind} for images of {wanted}; return a tensor of that type and device"
        )
    if views.shape != images.shape:
        raise ValueError(
            f"{who} returned shape {tuple(views.shape)} for images of shape {tuple(images.shape)}; "
            "return one view of each image, of the image's shape"
        )
    low, high = (float(end) for end in torch.aminmax(views)) if views.numel() else (0.0, 1.0)
    if not low > -torch.inf or not high < torch.inf:  # false for NaN, too
        raise ValueError(f"{who} returned NaN or Inf; return finite numbers")
    if unit_range and not _is_ours(policy) and (low < -_ROUNDING or high > 1 + _ROUNDING):
        raise ValueError(
            f"{who} returned values from {low:.4g} to {high:.4g}; allowed: [0, 1]: clamp its result, and "
            "leave standardization to the network's first layer"
        )


def _is_ours(policy: Callable[..., Any]) -> bool:
    return _is_ours(policy.func) if isinstance(policy, partial) else isinstance(policy, Policy)
