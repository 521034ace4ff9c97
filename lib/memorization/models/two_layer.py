"""Two-layer networks of one shape, stacked on a model axis, with their gradient in closed form.

Zhang et al. (ICML 2024), section 2.3 of the theory (no biases, output weights +-1/m frozen) and the network
of the published code (biases, PyTorch's initialization, everything trained).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memorization.data.checks import check_whole
from memorization.models.pointwise import StackedActivation


@dataclass(frozen=True)
class TwoLayerNetworks:
    """M networks ``second phi(first x + bias) + offset`` with m neurons, D inputs and K outputs.

    Attributes:
        first: shape (M, m, D), the neurons' weights.
        second: shape (M, K, m), output weights.
        activation: phi, one for each network (else a ValueError).
        bias: shape (M, 1, m), or None without biases.
        offset: shape (M, 1, K), output biases, or None.
    """

    first: Tensor
    second: Tensor
    activation: StackedActivation
    bias: Tensor | None = None
    offset: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.activation.names) != len(self.first):
            raise ValueError(
                f"activations for {len(self.activation.names)} networks, weights for {len(self.first)}; "
                "give one activation each"
            )

    @property
    def size(self) -> int:
        """The number M of networks."""
        return len(self.first)

    def tensors(self) -> dict[str, Tensor]:
        """Return all weights by name, those that are there."""
        named = {"first": self.first, "bias": self.bias, "second": self.second, "offset": self.offset}
        return {name: value for name, value in named.items() if value is not None}

    def with_tensors(self, **tensors: Tensor) -> TwoLayerNetworks:
        """Return the networks with other weights."""
        return replace(self, **tensors)  # type: ignore[arg-type]

    def to(self, device: torch.device | str) -> TwoLayerNetworks:
        """Return the networks on another device."""
        return self.with_tensors(**{name: value.to(device) for name, value in self.tensors().items()})

    def take(self, rows: slice) -> TwoLayerNetworks:
        """Return some of the networks; their weights are views."""
        part = {name: value[rows] for name, value in self.tensors().items()}
        return replace(self, activation=self.activation.take(rows), **part)

    def __call__(self, x: Tensor) -> Tensor:
        """Return outputs (M, N, K) of inputs (M, N, D); differentiable."""
        return self._out(self.activation.value(self.hidden_inputs(x)))

    def hidden_inputs(self, x: Tensor) -> Tensor:
        """Return the neurons' pre-activations (M, m, N) of inputs (M, N, D); differentiable."""
        columns = x.transpose(1, 2).contiguous()  # a layout in which both large products are fast
        hidden = torch.bmm(self.first, columns)
        return hidden if self.bias is None else hidden + self.bias.transpose(1, 2)

    def outputs_and_back(self, x: Tensor, scratch: Tensor) -> tuple[Tensor, Backward]:
        """Return outputs (M, N, K) and what the closed-form gradient needs of this pass, without a graph.

        Args:
            x: inputs, shape (M, N, D).
            scratch: memory for M m N numbers of the weights' type, overwritten; new memory at each step costs
                as much as a product.
        """
        hidden = scratch[: self.size * self.first.shape[1] * x.shape[1]].view(self.size, -1, x.shape[1])
        torch.bmm(self.first, x.transpose(1, 2).contiguous(), out=hidden)
        if self.bias is not None:
            hidden.add_(self.bias.transpose(1, 2))
        value, derivative = self.activation.value_then_derivative(hidden)
        return self._out(value), Backward(self, x, value, derivative)

    def _out(self, hidden: Tensor) -> Tensor:
        outputs = torch.bmm(self.second, hidden).transpose(1, 2)
        return outputs if self.offset is None else outputs + self.offset


@dataclass(frozen=True)
class Backward:
    """One forward pass, from which gradients follow in closed form (no graph is built).

    Attributes:
        networks: what was passed through.
        x: inputs, shape (M, N, D).
        value: activations, shape (M, m, N).
        derivative: returns their derivatives, shape (M, m, N), in place of the activations.
    """

    networks: TwoLayerNetworks
    x: Tensor
    value: Tensor
    derivative: Callable[[], Tensor]

    def gradients(self, slope: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """Return the gradients of a loss; may be called once, it overwrites what it kept.

        Args:
            slope: derivative of the loss by the outputs, shape (M, N, K).
            wanted: names of ``TwoLayerNetworks.tensors``.

        Returns:
            By name, a tensor of the weights' shape.
        """
        found: dict[str, Tensor] = {}
        if "second" in wanted:
            found["second"] = torch.bmm(self.value, slope).transpose(1, 2)
        if "offset" in wanted:
            found["offset"] = slope.sum(1, keepdim=True)
        second = self.networks.second
        at_neurons = self.derivative()
        if slope.shape[2] == 1:  # both factors of the output go where there are fewer numbers
            rows, ones, factor = self.x * slope, slope, second.transpose(1, 2)
        else:
            at_neurons.mul_(torch.bmm(second.transpose(1, 2), slope.transpose(1, 2)))
            rows, ones, factor = self.x, torch.ones_like(slope[..., :1]), torch.ones_like(second[:, :1, :1])
        if "first" in wanted:
            found["first"] = torch.bmm(at_neurons, rows).mul_(factor)
        if "bias" in wanted:
            found["bias"] = torch.bmm(at_neurons, ones).mul_(factor).transpose(1, 2)
        return found


def theory_networks(
    width: int,
    inputs: int,
    activation: StackedActivation,
    scale: Sequence[float],
    sources: Sequence[torch.Generator],
    dtype: torch.dtype = torch.float32,
) -> TwoLayerNetworks:
    """Return the networks of the theory: no biases, output weights +1/m and -1/m, normal first layer.

    Args:
        width: number m of neurons; of an odd one the positive half has one more.
        inputs: number D of inputs.
        activation: one for each of the M networks.
        scale: M standard deviations of the first layer.
        sources: M CPU generators.
        dtype: floating-point type.

    Raises:
        ValueError: for a width below 1, or other numbers of scales and generators.
    """
    check_whole("width", width, 1)
    if len(scale) != len(sources):
        raise ValueError(f"{len(scale)} scales and {len(sources)} generators; give one of each a network")
    normal = torch.stack([torch.randn(width, inputs, generator=source) for source in sources]).to(dtype)
    first = normal * torch.tensor(scale, dtype=dtype).view(-1, 1, 1)
    return TwoLayerNetworks(first, _balanced(len(first), 1, width, dtype), activation)


def pytorch_networks(
    width: int,
    inputs: int,
    outputs: int,
    activation: StackedActivation,
    sources: Sequence[torch.Generator],
    *,
    frozen_output: bool = False,
    dtype: torch.dtype = torch.float32,
) -> TwoLayerNetworks:
    """Return networks with biases and PyTorch's default initialization, uniform on +-1/sqrt(fan-in).

    Args:
        width: number m of neurons.
        inputs: number D of inputs.
        outputs: number K of outputs.
        activation: one for each of the M networks.
        sources: M CPU generators.
        frozen_output: +1/m on the first half of the neurons and -1/m on the second instead, as the published
            code does for the theory's setting; the output bias keeps its random value.
        dtype: floating-point type.
    """
    check_whole("width", width, 1)

    def uniform(rows: int, columns: int, fan_in: int) -> Tensor:
        drawn = [torch.rand(rows, columns, generator=source) for source in sources]
        return ((2 * torch.stack(drawn) - 1) / fan_in**0.5).to(dtype)

    first, bias = uniform(width, inputs, inputs), uniform(1, width, inputs)
    second, offset = uniform(outputs, width, width), uniform(1, outputs, width)
    if frozen_output:
        second = _balanced(len(first), outputs, width, dtype)
    return TwoLayerNetworks(first, second, activation, bias, offset)


def normal_networks(
    width: int,
    inputs: int,
    outputs: int,
    activation: StackedActivation,
    scales: tuple[float, float, float],
    sources: Sequence[torch.Generator],
    dtype: torch.dtype = torch.float32,
) -> TwoLayerNetworks:
    """Return networks with normal weights and biases in both layers.

    Args:
        width: number m of neurons.
        inputs: number D of inputs.
        outputs: number K of outputs.
        activation: one for each of the M networks.
        scales: standard deviations of the first layer, its biases, and the second layer; output biases are 0.
        sources: M CPU generators.
        dtype: floating-point type.
    """
    check_whole("width", width, 1)

    def normal(rows: int, columns: int, scale: float) -> Tensor:
        return scale * torch.stack([torch.randn(rows, columns, generator=g) for g in sources]).to(dtype)

    first, bias = normal(width, inputs, scales[0]), normal(1, width, scales[1])
    second = normal(outputs, width, scales[2])
    return TwoLayerNetworks(first, second, activation, bias, first.new_zeros(len(first), 1, outputs))


def in_latent(networks: TwoLayerNetworks, rows: Tensor) -> TwoLayerNetworks:
    """Return networks in the coordinates of an orthonormal dictionary: the part of a neuron that data touch.

    Args:
        networks: with D ambient inputs.
        rows: dictionaries, shape (M, d_0, D) or (d_0, D).
    """
    return networks.with_tensors(first=networks.first @ rows.transpose(-1, -2))


def _balanced(models: int, outputs: int, width: int, dtype: torch.dtype) -> Tensor:
    """Output weights (M, K, m): +1/m, then -1/m; of an odd width the positive half has one more."""
    signs = torch.where(torch.arange(width) < width - width // 2, 1.0, -1.0).to(dtype) / width
    return signs.expand(models, outputs, width).clone()
