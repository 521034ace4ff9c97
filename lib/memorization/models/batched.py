"""Stacked forms of plain layers: every layer of M networks is one batched matrix product.

Between layers the examples lie last: images as (M, c, height, width, B), vectors as (M, D, B).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.models.columns import Window, columns_of
from memorization.models.staged import StagedNetwork

Values = dict[str, Tensor]
Step = Callable[[Values, Tensor, int], Tensor]


def has_batched_form(network: nn.Module) -> bool:
    """Whether every layer has a stacked form and the layers are chained one after the other.

    The plain layers are Linear, Conv2d, BatchNorm2d, ReLU, Flatten, Identity and AdaptiveAvgPool2d to one
    place, in ``nn.Sequential``s of any nesting or a :class:`StagedNetwork`.
    """
    leaves = _leaves("", network)
    return leaves is not None and all(_step(name, layer) is not None for name, layer in leaves)


def batched_forward(network: nn.Module) -> Callable[[Values, Tensor], Tensor]:
    """Return ``forward(values, x)`` for stacked parameters and buffers.

    Args:
        network: the architecture; its own weights are not used. Its mode decides whether batch norm uses the
            batch (and updates the stacked running statistics in place) or the running statistics.

    Returns:
        A function of the values by name, each with leading axis M, and x of shape (M, B, c, height, width) or
        (M, B, D), that returns (M, B, C).

    Raises:
        ValueError: if a layer has no stacked form.
    """
    if not has_batched_form(network):
        raise ValueError("this network has a layer without a batched form; use way='vmap' or way='loop'")
    steps = [_step(name, layer) for name, layer in _leaves("", network) or []]

    def forward(values: Values, x: Tensor) -> Tensor:
        size = x.shape[0]
        x = x.movedim(1, -1).contiguous()  # the examples last
        for step in steps:
            x = step(values, x, size)  # type: ignore[misc]
        return x.movedim(-1, 1)

    return forward


def _leaves(prefix: str, module: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """The layers in order of use; None if some module does more than chain its children."""
    if not isinstance(module, nn.Sequential | StagedNetwork):
        return None if list(module.children()) else [(prefix, module)]
    found: list[tuple[str, nn.Module]] = []
    for name, child in module.named_children():
        inner = _leaves(f"{prefix}.{name}" if prefix else name, child)
        if inner is None:
            return None
        found += inner
    return found


def _step(name: str, layer: nn.Module) -> Step | None:
    """The stacked form of one layer; None if it has none."""
    if isinstance(layer, nn.ReLU):
        return lambda values, x, size: F.relu(x)
    if isinstance(layer, nn.Identity):
        return lambda values, x, size: x
    if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
        return _flatten
    if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
        return lambda values, x, size: x.mean((2, 3), keepdim=True)
    for kind, make in _WITH_WEIGHTS.items():
        if type(layer) is kind:
            return make(name, layer)
    return None


def _flatten(values: Values, x: Tensor, size: int) -> Tensor:
    return x.flatten(1, -2)  # (M, c height width, B)


def _linear(name: str, layer: Any) -> Step:
    def step(values: Values, x: Tensor, size: int) -> Tensor:
        weight = values[f"{name}.weight"]
        if layer.bias is None:
            return torch.bmm(weight, x)
        return torch.baddbmm(values[f"{name}.bias"].unsqueeze(2), weight, x)

    return step


def _convolution(name: str, layer: Any) -> Step | None:
    if layer.padding_mode != "zeros" or layer.groups != 1 or isinstance(layer.padding, str):
        return None
    window = Window(layer.kernel_size, layer.stride, layer.padding, layer.padding, layer.dilation)

    def step(values: Values, x: Tensor, size: int) -> Tensor:
        weight = values[f"{name}.weight"]
        columns = columns_of(x, window)
        out = torch.bmm(weight.flatten(2), columns.flatten(4).flatten(1, 3))
        if layer.bias is not None:
            out = out + values[f"{name}.bias"].unsqueeze(2)
        return out.view(size, -1, *columns.shape[4:])

    return step


def _batch_norm(name: str, layer: Any) -> Step | None:
    if not (layer.track_running_stats and layer.affine and layer.momentum is not None):
        return None

    def step(values: Values, x: Tensor, size: int) -> Tensor:
        mean, variance = values[f"{name}.running_mean"], values[f"{name}.running_var"]
        if layer.training:
            values[f"{name}.num_batches_tracked"] += 1
        scale, shift = values[f"{name}.weight"].flatten(), values[f"{name}.bias"].flatten()
        side_by_side = x.reshape(1, scale.numel(), -1)  # the networks' channels, one after the other
        statistics = (mean.view(-1), variance.view(-1), scale, shift)
        out = F.batch_norm(side_by_side, *statistics, layer.training, layer.momentum, layer.eps)
        return out.view_as(x)

    return step


_WITH_WEIGHTS: dict[type, Callable[[str, Any], Step | None]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _batch_norm,
}
