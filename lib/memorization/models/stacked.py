"""Many networks of one shape on a model axis ``M``, trained as one.

Small networks spend most of a step waiting for the next operation, not computing. Stacked, M of them share
each operation: a linear layer or a convolution is one batched matrix product, a batch norm one over M times
the channels. Every parameter and buffer has a leading axis M, so an optimizer that works entry by entry
trains M independent networks.

In the batched form the examples lie last: images as (M, c, height, width, B), vectors as (M, D, B). Then
weights multiply from the left as they are stored, and gradients come out in the layout of the weights. A
convolution is one product of the weights with *columns*, what the kernel sees at each position and example:
every copy of pixels into columns moves long runs of memory.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import functional_call, vmap
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_choice
from memorization.models.heads import TappedNetwork
from memorization.models.layers import Dropout, Standardization
from memorization.models.networks import StagedNetwork

WAYS = ("auto", "batched", "vmap", "loop")
NARROW = 32  # input channels up to which columns beat the CPU's own convolutions; measured
_IN_CACHE = 2**18  # numbers in the widest layer of networks that a CPU works on together: a MiB; measured


Values = dict[str, Tensor]
Step = Callable[[Values, Tensor], Tensor]


class StackedNetwork(nn.Module):
    """M networks of one architecture: ``forward`` maps (M, B, ...) to (M, B, C).

    Args:
        members: the networks, M >= 1, of equal architecture; their weights are copied.
        way: ``batched`` (plain layers only), ``vmap`` (anything that ``torch.func`` can map), ``loop`` (one
            after the other), or ``auto``. That is on a CPU: batched for plain layers (also for one network)
            whose convolutions are narrow, loop otherwise. On a GPU, where launching operations is the price:
            batched for several networks of plain layers, vmap for several others, loop for one.

    Raises:
        TypeError: no list of networks.
        ValueError: no members, members of different shape, tied weights, an unknown way, or a layer without
            batched form.
    """

    def __init__(self, members: Sequence[nn.Module], way: str = "auto") -> None:
        super().__init__()
        _check_members(members)
        self._template = [copy.deepcopy(members[0])]  # in a list, so that its weights are no parameters here
        self.size = len(members)
        self.asked, self.way = way, _chosen(way, members)
        self._run = self._prepared()
        parameters = [dict(member.named_parameters()) for member in members]
        buffers = [dict(member.named_buffers()) for member in members]
        for name in parameters[0]:
            value = torch.stack([p[name].detach() for p in parameters])
            learns = {p[name].requires_grad for p in parameters}
            if len(learns) > 1:
                raise ValueError(
                    f"{name} is frozen in some networks only; freeze it in all of a stack or in none"
                )
            self.register_parameter(_flat(name), nn.Parameter(value, requires_grad=learns.pop()))
        for name in buffers[0]:
            self.register_buffer(_flat(name), torch.stack([b[name] for b in buffers]))

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of all networks, each on its own batch.

        Args:
            x: shape (M, B, ...), one batch per network.

        Returns:
            Shape (M, B, C).
        """
        if x.shape[0] != self.size:
            raise ValueError(
                f"{self.size} stacked networks need x of shape ({self.size}, B, ...); got {tuple(x.shape)}"
            )
        together = self._together(x)
        if together >= self.size:
            return self._run(self._named(), x)
        parts = {name: value.split(together) for name, value in self._named().items()}
        blocks = enumerate(x.split(together))
        return torch.cat([self._run({n: v[k] for n, v in parts.items()}, block) for k, block in blocks])

    def _together(self, x: Tensor) -> int:
        """How many networks compute side by side: of wide layers and large batches no more than fit a cache.

        Autograd goes back block by block, too. All networks at once would send every layer through memory,
        which costs more than the operations that are saved.
        """
        if self.way != "batched" or x.ndim > 3 or x.device.type != "cpu":
            return self.size
        widest = max((p.shape[1] for p in self.parameters() if p.ndim == 3), default=1)
        return max(1, _IN_CACHE // (x.shape[1] * widest))

    def member(self, m: int) -> nn.Module:
        """Return a copy of network m, 0..M-1, with today's weights, in the stack's mode."""
        member = copy.deepcopy(self._template[0])
        member.load_state_dict({name: value[m] for name, value in self._named().items()})
        return member.train(self.training)

    def members(self) -> list[nn.Module]:
        """Return the networks one by one: copies of today's weights, in the stack's mode."""
        return [self.member(m) for m in range(self.size)]

    def keep(self, which: Sequence[int]) -> StackedNetwork:
        """Return a stack of some of the networks: numbers 0..M-1, at least one, in the order given."""
        return StackedNetwork([self.member(m) for m in which], self.asked).train(self.training)

    def train(self, mode: bool = True) -> StackedNetwork:
        """Set training or evaluation mode, of the architecture too."""
        super().train(mode)
        self._template[0].train(mode)
        return self

    def _apply(self, fn: Any, recurse: bool = True) -> StackedNetwork:
        """Bring the architecture along: a member has the stack's device and precision."""
        self._template[0]._apply(fn, recurse)
        return super()._apply(fn, recurse)

    def _named(self) -> Values:
        """Parameters and buffers under the names that the networks give them."""
        own = dict(self.named_parameters()) | dict(self.named_buffers())
        return {name.replace("/", "."): value for name, value in own.items()}

    def _prepared(self) -> Step:
        template = self._template[0]
        if self.way == "batched":
            return batched_forward(template)

        def one(values: Values, x: Tensor) -> Any:
            return functional_call(template, values, (x,))

        if self.way == "vmap":
            return vmap(one, randomness="different")
        return lambda values, x: torch.stack([one(v, x[m]) for m, v in enumerate(_unbound(values))])


def _check_members(members: Any) -> None:
    if not isinstance(members, Sequence | nn.ModuleList) or isinstance(members, str):
        raise TypeError(
            f"networks is a {type(members).__name__}; give a list of networks, for one: [network]"
        )
    if not members:
        raise ValueError("a stack needs at least one network; got none")
    for number, member in enumerate(members):
        if not isinstance(member, nn.Module):
            raise TypeError(f"network {number} is a {type(member).__name__}; allowed: torch.nn.Module")
        if _shapes(member) != _shapes(members[0]):
            raise ValueError(f"network {number} has other layers than network 0; one stack holds one shape")
    parameters = members[0].named_parameters(remove_duplicate=False)
    buffers = members[0].named_buffers(remove_duplicate=False)
    first: dict[int, str] = {}
    for name, value in chain(parameters, buffers):
        other = first.setdefault(id(value), name)
        if other != name:
            raise ValueError(
                f"{other} and {name} are one and the same tensor (tied weights, or a layer that is used "
                "twice), which a stack cannot keep so; give each layer a tensor of its own"
            )


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


def _chosen(way: str, members: Sequence[nn.Module]) -> str:
    check_choice("way", way, WAYS)
    if way != "auto":
        return way
    batched = has_batched_form(members[0])
    if not any(parameter.is_cuda for parameter in members[0].parameters()):
        convolutions = (layer for layer in members[0].modules() if isinstance(layer, nn.Conv2d))
        narrow = all(layer.in_channels <= NARROW for layer in convolutions)
        return "batched" if batched and narrow else "loop"
    if len(members) == 1:
        return "loop"
    return "batched" if batched else "vmap"


def _unbound(values: Values) -> list[Values]:
    """Split stacked values by network; views, so gradients and running statistics reach the stack."""
    size = len(next(iter(values.values())))
    parts = {name: value.unbind(0) for name, value in values.items()}
    return [{name: part[m] for name, part in parts.items()} for m in range(size)]


def _flat(name: str) -> str:
    """A parameter's name must hold no dot."""
    return name.replace(".", "/")


def has_batched_form(network: nn.Module) -> bool:
    """Whether every layer has a stacked form and the layers are chained one after the other.

    The plain layers are Linear, Conv2d (zero padding given in numbers), BatchNorm1d, BatchNorm2d, ReLU, Tanh,
    Flatten, Identity, AdaptiveAvgPool2d to one place, MaxPool2d of 2x2, and Standardization and Dropout of
    ``models.layers``, in ``nn.Sequential``s of any nesting or a :class:`StagedNetwork`; a
    :class:`TappedNetwork` of such a network has one, too.
    """
    leaves = _leaves("", network)
    if leaves is None or not all(_tapped_after(network, [name for name, _ in leaves])):
        return False
    return all(_step(name, layer) is not None for name, layer in leaves)


def batched_forward(network: nn.Module) -> Step:
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
    leaves = _leaves("", network) or []
    steps = [_step(name, layer) for name, layer in leaves]
    taps = [inside[-1] for inside in _tapped_after(network, [name for name, _ in leaves])]
    heard = _acting_after(network, taps)
    flat = bool(leaves) and isinstance(leaves[0][1], nn.Flatten)

    def forward(values: Values, x: Tensor) -> Tensor:
        x = (x.flatten(2) if flat else x).movedim(1, -1)
        if x.ndim > 3:  # products read vectors as they lie
            x = x.contiguous()
        seen = {}
        for number, step in enumerate(steps):
            x = step(values, x)  # type: ignore[misc]
            if number in taps:
                read = x if number in heard else x.detach()
                seen[number] = (read.mean((2, 3)) if x.ndim == 5 else read).movedim(-1, 1)
        outputs = x.movedim(-1, 1)
        return torch.cat([outputs, *(seen[number] for number in taps)], 2) if taps else outputs.contiguous()

    return forward


def _tapped_after(network: nn.Module, leaves: Sequence[str]) -> list[list[int]]:
    """For each site of a tapped network, the numbers of its layers; its features are those of the last."""
    places = network.places.values() if isinstance(network, TappedNetwork) else ()
    return [[k for k, leaf in enumerate(leaves) if f"{leaf}.".startswith(f"network.{p}.")] for p in places]


def _acting_after(network: nn.Module, taps: Sequence[int]) -> set[int]:
    """The layers of taps whose features carry gradients back."""
    if not isinstance(network, TappedNetwork):
        return set()
    return {number for site, number in zip(network.places, taps, strict=True) if site in network.acting}


def _leaves(prefix: str, module: nn.Module) -> list[tuple[str, nn.Module]] | None:
    """The layers in order of use; None if some module does more than chain its children."""
    chained = [nn.Sequential.forward, StagedNetwork.forward, *([TappedNetwork.forward] if not prefix else [])]
    if type(module).forward not in chained:
        return None if list(module.children()) else [(prefix, module)]  # a subclass may do something else
    found: list[tuple[str, nn.Module]] = []
    for name, child in module._modules.items():  # named_children() leaves out a layer that is used again
        inner = None if child is None else _leaves(f"{prefix}.{name}" if prefix else name, child)
        if inner is None:
            return None
        found += inner
    return found


def _step(name: str, layer: nn.Module) -> Step | None:
    """The stacked form of one layer; None if it has none."""
    if isinstance(layer, nn.ReLU):
        return lambda values, x: F.relu(x)
    if isinstance(layer, nn.Tanh):
        return lambda values, x: torch.tanh(x)
    if isinstance(layer, nn.Identity):
        return lambda values, x: x
    if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) == (1, -1):
        return lambda values, x: x.flatten(1, -2)  # (M, c height width, B)
    if isinstance(layer, nn.AdaptiveAvgPool2d) and layer.output_size in (1, (1, 1)):
        return lambda values, x: x.mean((2, 3), keepdim=True)
    if isinstance(layer, nn.MaxPool2d) and layer.extra_repr() == nn.MaxPool2d(2).extra_repr():
        return lambda values, x: _pooled(x)
    norms: dict[Any, Any] = {nn.BatchNorm1d: _batch_norm, nn.BatchNorm2d: _batch_norm}
    own: dict[Any, Any] = {Standardization: _with_buffers, Dropout: _with_buffers}
    with_weights = {nn.Linear: _linear, nn.Conv2d: _convolution, **norms, **own}
    make = with_weights.get(type(layer))
    return None if make is None else make(name, layer)


def _of(layer: str, value: str) -> str:
    """The name of a layer's parameter; a network that is one layer has no name for it."""
    return f"{layer}.{value}" if layer else value


def _linear(name: str, layer: Any) -> Step:
    def step(values: Values, x: Tensor) -> Tensor:
        return _product(values[_of(name, "weight")], x, values.get(_of(name, "bias")))

    return step


def _convolution(name: str, layer: Any) -> Step | None:
    if layer.padding_mode != "zeros" or isinstance(layer.padding, str):
        return None
    window = Window(layer.kernel_size, layer.stride, layer.padding, layer.dilation)

    def step(values: Values, x: Tensor) -> Tensor:
        columns = columns_of(x, window)  # (M, c, 3, 3, height, width, B)
        weight = values[_of(name, "weight")].flatten(2)  # (M, out, c/groups 3 3)
        seen = columns.flatten(4).flatten(1, 3)  # (M, c 3 3, height width B)
        if layer.groups > 1:  # the groups of a network are side by side, as small networks of their own
            seen = seen.unflatten(1, (layer.groups, -1)).flatten(0, 1)
            weight = weight.unflatten(1, (layer.groups, -1)).flatten(0, 1)
        out = _product(weight, seen, values.get(_of(name, "bias")))
        return out.view(len(x), -1, *columns.shape[4:])

    return step


def _with_buffers(name: str, layer: Any) -> Step:
    """The form that a layer of ours brings along."""
    names = [own for own, _ in layer.named_buffers()]
    return lambda values, x: layer.stacked(x, *(values[_of(name, own)] for own in names))


def _pooled(x: Tensor) -> Tensor:
    """2x2 max-pooling of (M, c, height, width, B); where two numbers are equal both get half the gradient."""
    height, width = (side // 2 * 2 for side in x.shape[2:4])
    rows: Tensor = _Larger.apply(x, 2, height)
    return _Larger.apply(rows, 3, width)


class _Larger(torch.autograd.Function):
    """The larger of two neighbors along an axis. PyTorch's own slices and maximum give the same numbers, but
    their gradient passes over memory three times as often."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, length: int) -> Tensor:
        first, second = _neighbors(x, axis, length)
        ctx.save_for_backward(x)
        ctx.axis, ctx.length = axis, length
        return torch.maximum(first, second)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        first, second = _neighbors(x, ctx.axis, ctx.length)
        share = torch.heaviside(first - second, x.new_tensor(0.5))  # of the first: 0, 1/2 or 1
        back = torch.empty_like(x)
        to_first, to_second = _neighbors(back, ctx.axis, ctx.length)
        torch.mul(gradient, share, out=to_first)
        torch.sub(gradient, to_first, out=to_second)
        back.narrow(ctx.axis, ctx.length, x.shape[ctx.axis] - ctx.length).zero_()  # an odd last one
        return back, None, None


def _neighbors(x: Tensor, axis: int, length: int) -> tuple[Tensor, Tensor]:
    """Entries 0, 2, 4... and 1, 3, 5... of an axis, up to an even length; views."""
    pairs = x.narrow(axis, 0, length).unflatten(axis, (length // 2, 2))
    return pairs.select(axis + 1, 0), pairs.select(axis + 1, 1)


def _product(weight: Tensor, x: Tensor, bias: Tensor | None) -> Tensor:
    if bias is None:
        return torch.bmm(weight, x)
    return torch.baddbmm(bias.reshape(len(weight), -1, 1), weight, x)


def _batch_norm(name: str, layer: Any) -> Step | None:
    if not (layer.track_running_stats and layer.affine and layer.momentum is not None):
        return None

    def step(values: Values, x: Tensor) -> Tensor:
        mean, variance = values[_of(name, "running_mean")], values[_of(name, "running_var")]
        if layer.training:
            values[_of(name, "num_batches_tracked")] += 1
        scale, shift = values[_of(name, "weight")].flatten(), values[_of(name, "bias")].flatten()
        together = x.flatten(0, 1).flatten(1).unsqueeze(0)  # (1, M c, height width B)
        statistics = (mean.view(-1), variance.view(-1))
        out = F.batch_norm(together, *statistics, scale, shift, layer.training, layer.momentum, layer.eps)
        return out.view_as(x)

    return step


Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """How a kernel moves over images; each pair is (vertical, horizontal).

    Attributes:
        kernel: pixels that the kernel covers.
        stride: pixels between two of its positions.
        padding: zeros on both sides of the image.
        dilation: pixels between two neighboring taps of the kernel.
    """

    kernel: Pair
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)

    def positions(self, axis: int, side: int) -> int:
        """Return how many positions the kernel has along an axis (0: vertical) of ``side`` pixels."""
        reach = self.dilation[axis] * (self.kernel[axis] - 1) + 1
        return (side + 2 * self.padding[axis] - reach) // self.stride[axis] + 1

    def taps(self, axis: int, side: int) -> Iterator[tuple[int, slice, slice]]:
        """Yield each tap of the kernel, the positions at which it lies on the image, and its pixels there."""
        stride, count = self.stride[axis], self.positions(axis, side)
        for tap in range(self.kernel[axis]):
            offset = tap * self.dilation[axis] - self.padding[axis]  # its pixel at position 0
            first = max(0, -(offset // stride))
            last = min(count - 1, (side - 1 - offset) // stride)
            if first <= last:
                pixels = slice(offset + first * stride, offset + last * stride + 1, stride)
                yield tap, slice(first, last + 1), pixels


def columns_of(images: Tensor, window: Window) -> Tensor:
    """Return what a kernel sees at each position: copied pixels, and zeros outside the image.

    Args:
        images: shape (M, c, height, width, B), floating point.
        window: how the kernel moves.

    Returns:
        Shape (M, c, kernel height, kernel width, positions down, positions across, B). Its gradient can be
        taken once.
    """
    return _Columns.apply(images, window)


class _Columns(torch.autograd.Function):
    """Copies pixels into columns; backwards, every pixel gets the sum over its copies."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, window: Window) -> Tensor:
        ctx.window, ctx.shape = window, images.shape
        models, channels, height, width, batch = images.shape
        positions = (window.positions(0, height), window.positions(1, width))
        columns = images.new_zeros(models, channels, *window.kernel, *positions, batch)
        for part, pixels in _pairs(columns, images, window):
            part.copy_(pixels)
        return columns

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        images = gradient.new_zeros(ctx.shape)
        for part, pixels in _pairs(gradient, images, ctx.window):
            pixels.add_(part)
        return images, None


def _pairs(columns: Tensor, images: Tensor, window: Window) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each tap of the kernel, the entries of the columns and the pixels that they stand for."""
    height, width = images.shape[2:4]
    across = list(window.taps(1, width))
    for y, down, rows in window.taps(0, height):
        for x, along, pixels in across:
            yield columns[:, :, y, x, down, along], images[:, :, rows, pixels]
