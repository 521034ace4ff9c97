"""Parts that several networks share, and the one way in which their weights are drawn.

PyTorch's layers draw from the global generator when they are made. Here a network is built without storage
(on the meta device), gets its storage, and then all its numbers from one ``torch.Generator``.
"""

from __future__ import annotations

import copy
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from memorization.checks import check_choice, check_finite, check_whole
from memorization.draws import Draws, view_keys
from memorization.draws import generator as seeded

NORMS = ("batch", "group", "layer", "none")
_GROUP = 8  # channels that one group of group normalization holds

Model = TypeVar("Model", bound=nn.Module)


class Standardization(nn.Module):
    """Subtract a mean from each channel of images and divide by a deviation: a network's first layer.

    Attributes:
        mean: of each channel, shape (c,).
        std: likewise, > 0; as a rule over the training images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Take one number for each channel.

        Raises:
            ValueError: other numbers of them, one that is not finite, or a deviation that is not above 0.
        """
        super().__init__()
        if len(mean) != len(std) or not mean:
            raise ValueError(f"{len(mean)} means, {len(std)} deviations; give one of each for each channel")
        for name, values in (("mean", mean), ("std", std)):
            for place, value in enumerate(values):
                check_finite(f"{name}[{place}]", value)
        if min(std) <= 0:
            raise ValueError(
                f"std={list(std)}; allowed: numbers above 0: leave out a channel that is the same in all "
                "images"
            )
        self.channels = (tuple(mean), tuple(std))
        for name in ("mean", "std"):
            self.register_buffer(name, torch.empty(len(mean)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set both to the numbers given: a network is made without storage, which comes later."""
        for value, numbers in zip((self.mean, self.std), self.channels, strict=True):
            value.copy_(torch.tensor(numbers, device=value.device))

    def forward(self, x: Tensor) -> Tensor:
        """Return images (B, c, height, width), standardized."""
        return (x - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)

    def stacked(self, x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
        """Return the images (M, c, height, width, B) of M networks, standardized by (M, c) each."""
        return (x - mean[..., None, None, None]) / std[..., None, None, None]


_DRAWN = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_RESET = (_BatchNorm, nn.GroupNorm, nn.LayerNorm, Standardization)


def normalization(norm: str, channels: int) -> nn.Module:
    """Return the normalization layer for feature maps (B, channels, height, width).

    Args:
        norm: ``batch``; ``group``, in groups of 8 channels; ``layer``, over all channels and places of one
            example; or ``none``.
        channels: number of channels, >= 1; a multiple of 8 for ``group``.

    Raises:
        ValueError: for an unknown name, or channels that do not divide into groups.
    """
    check_choice("norm", norm, NORMS)
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm == "group" and channels % _GROUP:
        raise ValueError(
            f"group norm has groups of {_GROUP} channels; {channels} channels do not divide: choose a "
            f"multiple of {_GROUP}, or another norm"
        )
    return nn.GroupNorm(channels // _GROUP if norm == "group" else 1, channels)


class Dropout(nn.Module):
    """Dropout whose masks are a function of a seed and the number of the pass.

    PyTorch's own draws from the global generator, so that a network of a stack would depend on the others.
    Here each has a seed, drawn with its weights, and a mask can be drawn again on any device.

    Attributes:
        share: of the numbers that are set to zero in training, in [0, 1); the others are scaled up.
        seed: shape (), int64.
        visit: shape (), int64, passes in training mode so far.
    """

    seed: Tensor
    visit: Tensor

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.register_buffer("seed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("visit", torch.zeros((), dtype=torch.int64))

    def reset(self, source: torch.Generator) -> None:
        """Draw a seed, and begin anew."""
        self.seed.fill_(int(torch.randint(2**62, (), generator=source, device=source.device)))
        self.visit.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return vectors or feature maps (B, ...), in training mode with zeros among them."""
        return self.stacked(x.movedim(0, -1)[None], self.seed[None], self.visit[None])[0].movedim(-1, 0)

    def stacked(self, x: Tensor, seed: Tensor, visit: Tensor) -> Tensor:
        """Return the vectors (M, d, B) of M networks with seeds (M,); ``visit`` (M,) counts on, in place."""
        if not self.training or not self.share:
            return x
        draws = Draws.keyed(view_keys(seed, torch.zeros_like(visit), visit))
        visit += 1
        kept = draws.uniform(x[0].numel()).view_as(x) >= self.share
        return x * (kept / (1 - self.share)).to(x.dtype)

    def extra_repr(self) -> str:
        """Return the share."""
        return f"share={self.share}"


def check_share(name: str, value: object) -> None:
    """Refuse what is no number in [0, 1)."""
    check_finite(name, value)
    if not 0 <= value < 1:  # type: ignore[operator]
        raise ValueError(f"{name}={value!r}; allowed: a number in [0, 1)")


def make_projector(inputs: int, classes: int, *, hidden: Sequence[int], bias: bool) -> nn.Sequential:
    """Make the projector: Linear-ReLU for each hidden width, then the linear ``logits``.

    Args:
        inputs: length of an embedding, >= 1.
        classes: the number C of outputs, >= 1.
        hidden: widths of the hidden layers, each >= 1; empty for a linear head.
        bias: whether the linear layers have biases.

    Returns:
        Named parts ``hidden`` (``hidden1``, ``hidden2``... if there are several) and ``logits``.

    Raises:
        ValueError: for sizes below 1.
    """
    check_layer_sizes("hidden", hidden, least=0)
    check_whole("classes", classes, 1)
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, width in enumerate(hidden, start=1):
        name = "hidden" if len(hidden) == 1 else f"hidden{number}"
        parts[name] = nn.Sequential(nn.Linear(inputs, width, bias=bias), nn.ReLU())
        inputs = width
    parts["logits"] = nn.Linear(inputs, classes, bias=bias)
    return nn.Sequential(parts)


def check_layer_sizes(name: str, sizes: object, *, least: int = 1) -> None:
    """Refuse what is no list of at least ``least`` whole numbers >= 1."""
    if not isinstance(sizes, Sequence) or isinstance(sizes, str) or len(sizes) < least:
        raise ValueError(f"{name}={sizes!r}; allowed: a list of {least} or more whole numbers, such as [64]")
    for place, size in enumerate(sizes):
        check_whole(f"{name}[{place}]", size, 1)


def check_channels(channels: int) -> None:
    """Refuse images with other than 1 or 3 channels."""
    if channels not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels; got channels={channels!r}")


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


def initialize(model: Model, generator: torch.Generator) -> Model:
    """Draw all weights of a model anew, in the order of its submodules.

    Convolutions: Kaiming normal, fan-out, for ReLU. Linear layers, and the biases of convolutions if there
    are any: uniform within 1/sqrt(fan-in), which is PyTorch's own law. Normalization: weight 1, bias 0,
    running statistics reset. Standardization: its own numbers. Dropout: a seed.

    Args:
        model: any model of convolutions, linear and normalization layers; changed in place.
        generator: where the numbers come from, on the device of the model.

    Returns:
        The same model.

    Raises:
        TypeError: if a submodule has parameters or buffers for which no law is known here; nothing is drawn.
    """
    for name, module in model.named_modules():
        own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        if own and not isinstance(module, (*_DRAWN, *_RESET, Dropout)):
            raise TypeError(
                f"no law for {[key for key, _ in own]} of {name or 'the model'} ({type(module).__name__}); "
                "known are convolutions, linear layers, dropout and batch, group and layer normalization"
            )
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _RESET):
                module.reset_parameters()  # to constants: nothing is drawn
            elif isinstance(module, _DRAWN):
                _draw(module, generator)
            elif isinstance(module, Dropout):
                module.reset(generator)
    return model


def _draw(layer: Any, generator: torch.Generator) -> None:
    bound = 1 / math.sqrt(layer.weight[0].numel())
    if isinstance(layer, nn.Linear):
        layer.weight.uniform_(-bound, bound, generator=generator)
    else:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu", generator=generator)
    if layer.bias is not None:
        layer.bias.uniform_(-bound, bound, generator=generator)


def redrawn(model: Model, seed: int) -> Model:
    """Copy a network of any kind and draw its parameters anew by each submodule's ``reset_parameters``.

    These are PyTorch's own laws, which draw from the global generator; it is left as it was. A network with
    laws of its own (Kaiming by hand, say) should be kept untrained beside the trained one instead.

    Args:
        model: any network; it is not changed.
        seed: whole number >= 0.

    Returns:
        The untrained copy, with the same modes, on the same device.

    Raises:
        ValueError: naming the parameters that no ``reset_parameters`` sets.
    """
    twin = copy.deepcopy(model)
    devices = sorted({p.device.index for p in twin.parameters() if p.device.type == "cuda"})
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(seeded(seed, "initial weights").initial_seed())
        for parameter in twin.parameters():
            parameter.fill_(torch.nan)  # tells afterwards which were not set
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    kept = [name for name, parameter in twin.named_parameters() if bool(parameter.isnan().any())]
    if kept:
        raise ValueError(
            f"no reset_parameters sets {', '.join(kept)}: keep a copy of the network before training and "
            "give it as the initial one"
        )
    return twin
