"""Many networks of one shape on a model axis ``M``, trained as one.

Small networks spend most of a step waiting for the next operation, not computing. Stacked, M of them share
each operation: a linear layer or a convolution is one batched matrix product, a batch norm one over M times
the channels. Every parameter and buffer has a leading axis M, so an optimizer that works entry by entry
trains M independent networks.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from memorization.models.batched import batched_forward, has_batched_form, is_narrow

WAYS = ("auto", "batched", "vmap", "loop")

_Forward = Callable[[dict[str, Tensor], Tensor], Tensor]


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
        shapes = [{name: value.shape for name, value in m.state_dict().items()} for m in members]
        different = [i for i, shape in enumerate(shapes) if shape != shapes[0]]
        if different:
            raise ValueError(
                f"network {different[0]} has other layers than network 0; one stack holds one shape"
            )
        self._template = [copy.deepcopy(members[0])]  # in a list, so that its weights are no parameters here
        self.size = len(members)
        self.way = _chosen(way, members)
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
        return self._run(self._named(), x)

    def members(self) -> list[nn.Module]:
        """Return the networks one by one: copies of today's weights, in the stack's mode."""
        return [self.member(m) for m in range(self.size)]

    def keep(self, which: Sequence[int]) -> StackedNetwork:
        """Return a stack of some of the networks: numbers 0..M-1, at least one, in the order given."""
        chosen = [self.member(m) for m in which]
        smaller = StackedNetwork(chosen, self.way)
        return smaller.train(self.training)

    def _named(self) -> dict[str, Tensor]:
        """Parameters and buffers under the names that the networks give them."""
        own = dict(self.named_parameters()) | dict(self.named_buffers())
        return {_unflat(name): value for name, value in own.items()}

    def member(self, m: int) -> nn.Module:
        """Return a copy of network m, 0..M-1, with today's weights, in the stack's mode."""
        member = copy.deepcopy(self._template[0])
        member.load_state_dict({name: value[m] for name, value in self._named().items()})
        return member.train(self.training)

    def train(self, mode: bool = True) -> StackedNetwork:
        """Set training or evaluation mode, of the architecture too."""
        super().train(mode)
        self._template[0].train(mode)
        return self

    def _prepared(self) -> _Forward:
        template = self._template[0]
        if self.way == "batched":
            return batched_forward(template)

        def one(values: dict[str, Tensor], x: Tensor) -> Any:
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


def _chosen(way: str, members: Sequence[nn.Module]) -> str:
    if way not in WAYS:
        raise ValueError(f"way={way!r}; allowed: {', '.join(WAYS)}")
    batched = has_batched_form(members[0])
    if way == "batched" and not batched:
        raise ValueError("this network has a layer without a batched form; use way='vmap' or way='loop'")
    if way != "auto":
        return way
    if not any(parameter.is_cuda for parameter in members[0].parameters()):
        return "batched" if batched and is_narrow(members[0]) else "loop"
    if len(members) == 1:
        return "loop"
    return "batched" if batched else "vmap"


def _unbound(values: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    """Split stacked values by network; views, so gradients and running statistics reach the stack."""
    size = len(next(iter(values.values())))
    parts = {name: value.unbind(0) for name, value in values.items()}
    return [{name: part[m] for name, part in parts.items()} for m in range(size)]


def _flat(name: str) -> str:
    """A parameter's name must hold no dot."""
    return name.replace(".", "/")


def _unflat(name: str) -> str:
    return name.replace("/", ".")
