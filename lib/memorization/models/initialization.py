"""Initial weights from a generator of their own.

PyTorch's layers draw from the global generator when they are made. Here a network is built without storage
(on the meta device), gets its storage, and then all its numbers from one ``torch.Generator``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

Model = TypeVar("Model", bound=nn.Module)


def initialize(model: Model, generator: torch.Generator) -> Model:
    """Draw all weights of a model anew, in the order of its submodules.

    Convolutions: Kaiming normal, fan-out, for ReLU. Linear layers, and the biases of convolutions if there
    are any: uniform within 1/sqrt(fan-in), which is PyTorch's own law. Normalization: weight 1, bias 0,
    running statistics reset.

    Args:
        model: any model of convolutions, linear and normalization layers; changed in place.
        generator: where the numbers come from, on the device of the model.

    Returns:
        The same model.

    Raises:
        TypeError: if a submodule has parameters or buffers for which no law is known here; nothing is drawn.
    """
    laws = [(module, _law(name, module)) for name, module in model.named_modules()]
    with torch.no_grad():
        for module, law in laws:
            law(module, generator)
    return model


def build(make: Callable[[], Model], generator: torch.Generator | None) -> Model:
    """Make a model without touching the global generator.

    Args:
        make: makes the model; called with the meta device as default.
        generator: source of the weights, which also names the device; None leaves the model on the meta
            device, with shapes and without storage, to count parameters.

    Returns:
        The initialized model, float32.
    """
    with torch.device("meta"):
        model = make()
    if generator is None:
        return model
    return initialize(model.to_empty(device=generator.device), generator)


def _law(name: str, module: nn.Module) -> Callable[[nn.Module, torch.Generator], None]:
    for kinds, law in _LAWS:
        if isinstance(module, kinds):
            return law
    own = [key for key, _ in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))]
    if own:
        raise TypeError(
            f"no law for {own} of {name or 'the model'} ({type(module).__name__}); known are convolutions, "
            "linear layers and batch, group and layer normalization"
        )
    return _nothing


def _nothing(module: nn.Module, generator: torch.Generator) -> None:
    pass


def _convolution(module: nn.Module, generator: torch.Generator) -> None:
    weight = _tensor(module, "weight")
    nn.init.kaiming_normal_(weight, mode="fan_out", nonlinearity="relu", generator=generator)
    if module.bias is not None:
        _uniform(_tensor(module, "bias"), weight[0].numel(), generator)


def _linear(module: nn.Module, generator: torch.Generator) -> None:
    weight = _tensor(module, "weight")
    _uniform(weight, weight.shape[1], generator)
    if module.bias is not None:
        _uniform(_tensor(module, "bias"), weight.shape[1], generator)


def _normalization(module: nn.Module, generator: torch.Generator) -> None:
    if module.weight is not None:
        nn.init.ones_(_tensor(module, "weight"))
    if module.bias is not None:
        nn.init.zeros_(_tensor(module, "bias"))
    if isinstance(module, _BatchNorm):
        module.reset_running_stats()


def _uniform(tensor: Tensor, fan_in: int, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(fan_in)
    tensor.uniform_(-bound, bound, generator=generator)


def _tensor(module: nn.Module, name: str) -> Tensor:
    value = getattr(module, name)
    assert isinstance(value, Tensor)
    return value


_LAWS: tuple[tuple[tuple[type[nn.Module], ...], Callable[[nn.Module, torch.Generator], None]], ...] = (
    ((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    ((nn.Linear,), _linear),
    ((_BatchNorm, nn.GroupNorm, nn.LayerNorm), _normalization),
)
