"""Stacked forms of plain layers: M networks as batched matrix products.

Inside, the examples lie last: images as (M, c, height, width, B), vectors as (M, D, B). Then weights multiply
from the left as they are stored, gradients come out in the layout of the weights, and a convolution is one
product too, see :mod:`memorization.models.columns`.
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
Step = Callable[[Values, Tensor], Tensor]
_CHAINS = (nn.Sequential.forward, StagedNetwork.forward)
NARROW = 32  # input channels up to which columns beat the CPU's own convolutions; measured


def has_batched_form(network: nn.Module) -> bool:
    """Whether every layer has a stacked form and the layers are chained one after the other.

    The plain layers are Linear, Conv2d (zero padding given in numbers), BatchNorm2d, ReLU, Flatten, Identity
    and AdaptiveAvgPool2d to one place, in ``nn.Sequential``s of any nesting or a :class:`StagedNetwork`.
    """
    leaves = _leaves("", network)
    return leaves is not None and all(_step(name, layer) is not None for name, layer in leaves)


def is_narrow(network: nn.Module) -> bool:
    """Whether no convolution has more than ``NARROW`` input channels."""
    layers = (layer for layer in network.modules() if isinstance(layer, nn.Conv2d))
    return all(layer.in_channels <= NARROW for layer in layers)


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
        x = x.movedim(1, -1).contiguous()
        for step in steps:
            x = step(values, x)  # type: ignore[misc]
        return x.movedim(-1, 1).contiguous()

    return forward


def _leaves(prefix: str, module: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """The layers in order of use; None if some module does more than chain its children."""
    if type(module).forward not in _CHAINS:  # a subclass may do something else
        return None if list(module.children()) else [(prefix, module)]
    found: list[tuple[str, nn.Module]] = []
    for name, child in module._modules.items():  # named_children() leaves out a layer that is used again
        if child is None:
            return None
        inner = _leaves(f"{prefix}.{name}" if prefix else name, child)
        if inner is None:
            return None
        found += inner
    return found


def _step(name: str, layer: nn.Module) -> Step | None:
    """The stacked form of one layer; None if it has none."""
    if isinstance(layer, nn.ReLU):
        return lambda values, x: F.relu(x)
    if isinstance(layer, nn.Identity):
        return lambda values, x: x
    if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
        return lambda values, x: x.flatten(1, -2)  # (M, c height width, B)
    if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
        return lambda values, x: x.mean((2, 3), keepdim=True)
    for kind, make in _WITH_WEIGHTS.items():
        if type(layer) is kind:
            return make(name, layer)
    return None


def _linear(name: str, layer: Any) -> Step:
    def step(values: Values, x: Tensor) -> Tensor:
        return _product(values[f"{name}.weight"], x, values.get(f"{name}.bias"))

    return step


def _convolution(name: str, layer: Any) -> Step | None:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    window = Window(layer.kernel_size, layer.stride, layer.padding, layer.dilation)

    def step(values: Values, x: Tensor) -> Tensor:
        columns = columns_of(x, window)  # (M, c, 3, 3, height, width, B)
        weight = values[f"{name}.weight"].flatten(2)  # (M, out, c/groups 3 3)
        seen = columns.flatten(4).flatten(1, 3)  # (M, c 3 3, height width B)
        if layer.groups > 1:  # the groups of a network are side by side, as small networks of their own
            seen = seen.unflatten(1, (layer.groups, -1)).flatten(0, 1)
            weight = weight.unflatten(1, (layer.groups, -1)).flatten(0, 1)
        out = _product(weight, seen, values.get(f"{name}.bias"))
        return out.view(len(x), -1, *columns.shape[4:])

    return step


def _product(weight: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return torch.bmm(weight, x)
    return torch.baddbmm(bias.reshape(len(weight), -1, 1), weight, x)


def _batch_norm(name: str, layer: Any) -> Step | None:
    if not (layer.track_running_stats and layer.affine and layer.momentum is not None):
        return None

    def step(values: Values, x: Tensor) -> Tensor:
        mean, variance = values[f"{name}.running_mean"], values[f"{name}.running_var"]
        if layer.training:
            values[f"{name}.num_batches_tracked"] += 1
        scale, shift = values[f"{name}.weight"].flatten(), values[f"{name}.bias"].flatten()
        together = x.flatten(0, 1).flatten(1).unsqueeze(0)  # (1, M c, height width B)
        statistics = (mean.view(-1), variance.view(-1))
        out = F.batch_norm(together, *statistics, scale, shift, layer.training, layer.momentum, layer.eps)
        return out.view_as(x)

    return step


_WITH_WEIGHTS: dict[type, Callable[[str, Any], Step | None]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.BatchNorm2d: _batch_norm,
}
