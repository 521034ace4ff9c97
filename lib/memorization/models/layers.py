"""Parts that several networks share: normalization layers, the projector, and checks of sizes.

Initial weights from a generator of their own.

PyTorch's layers draw from the global generator when they are made. Here a network is built without storage
(on the meta device), gets its storage, and then all its numbers from one ``torch.Generator``.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from memorization.checks import did_you_mean

NORMS = ("batch", "group", "layer", "none")
_GROUP = 8  # channels that one group of group normalization holds


def normalization(norm: str, channels: int, *, images: bool = True) -> list[nn.Module]:
    """Return the normalization layer for feature maps or for vectors, as a list of none or one.

    Args:
        norm: ``batch``; ``group``, in groups of 8 channels; ``layer``, over all channels and places of one
            example; or ``none``.
        channels: number of channels, >= 1; a multiple of 8 for ``group``.
        images: whether the features are maps (B, channels, height, width), not vectors (B, channels).

    Raises:
        ValueError: for an unknown name, or channels that do not divide into groups.
    """
    if norm not in NORMS:
        raise ValueError(
            f"unknown norm {norm!r}{did_you_mean(norm, NORMS)}; choose one of {', '.join(NORMS)}"
        )
    if norm == "none":
        return []
    if norm == "batch":
        return [nn.BatchNorm2d(channels) if images else nn.BatchNorm1d(channels)]
    if norm == "group" and channels % _GROUP:
        raise ValueError(
            f"group norm has groups of {_GROUP} channels; {channels} channels do not divide: choose a "
            f"multiple of {_GROUP}, or another norm"
        )
    return [nn.GroupNorm(channels // _GROUP if norm == "group" else 1, channels)]


def make_projector(
    embedding_size: int, classes: int, *, hidden: Sequence[int], bias: bool, norm: str = "none"
) -> nn.Sequential:
    """Make the projector: for each hidden width Linear-[norm]-ReLU, then the linear ``logits``.

    Args:
        embedding_size: length of the input, >= 1.
        classes: C, number of outputs, >= 1.
        hidden: widths of the hidden layers, each >= 1; empty for a linear head.
        bias: whether the linear layers have biases.
        norm: normalization of the hidden layers, one of ``NORMS``.

    Returns:
        Named parts ``hidden`` (``hidden1``, ``hidden2``... if there are several) and ``logits``.

    Raises:
        ValueError: for sizes below 1 or an unknown norm.
    """
    check_sizes("hidden", hidden, at_least=0)
    check_sizes("classes", [classes])
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    size = embedding_size
    for number, width in enumerate(hidden, start=1):
        name = "hidden" if len(hidden) == 1 else f"hidden{number}"
        layers = [nn.Linear(size, width, bias=bias), *normalization(norm, width, images=False), nn.ReLU()]
        parts[name] = nn.Sequential(*layers)
        size = width
    parts["logits"] = nn.Linear(size, classes, bias=bias)
    return nn.Sequential(parts)


def check_sizes(name: str, sizes: Iterable[int], *, at_least: int = 1) -> None:
    """Refuse sizes that are not whole numbers >= 1, or fewer than ``at_least`` of them."""
    if isinstance(sizes, int | str) or not isinstance(sizes, Sequence):
        raise ValueError(f"{name} must be a list of whole numbers, such as (64,); got {sizes!r}")
    if len(sizes) < at_least:
        raise ValueError(f"{name} needs at least {at_least} number(s); got {list(sizes)}")
    wrong = [size for size in sizes if isinstance(size, bool) or not isinstance(size, int) or size < 1]
    if wrong:
        raise ValueError(f"{name} must be whole numbers >= 1; got {list(sizes)}")


def check_channels(channels: int) -> None:
    """Refuse images with other than 1 or 3 channels."""
    if channels not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels; got channels={channels!r}")


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
