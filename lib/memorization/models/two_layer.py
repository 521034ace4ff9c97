"""Two-layer networks of one shape, stacked on a model axis, with their gradient in closed form.

Zhang et al. (ICML 2024), section 2.3 of the theory (no biases, output weights +-1/m frozen) and the network
of the published code (biases, PyTorch's initialization, everything trained).
"""

from __future__ import annotations

from collections.abc import Sequence
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
        activation: phi, one for each network.
        bias: shape (M, 1, m), or None without biases.
        offset: shape (M, 1, K), output biases, or None.
    """

    first: Tensor
    second: Tensor
    activation: StackedActivation
    bias: Tensor | None = None
    offset: Tensor | None = None

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

    def __call__(self, x: Tensor) -> Tensor:
        """Return outputs (M, N, K) of inputs (M, N, D); differentiable."""
        return self._out(self.activation.value(self.hidden_inputs(x)))

    def hidden_inputs(self, x: Tensor) -> Tensor:
        """Return the neurons' pre-activations (M, N, m) of inputs (M, N, D)."""
        weights = self.first.transpose(1, 2)
        return torch.bmm(x, weights) if self.bias is None else torch.baddbmm(self.bias, x, weights)

    def outputs_and_back(self, x: Tensor) -> tuple[Tensor, Backward]:
        """Return outputs (M, N, K) and what the closed-form gradient needs of this pass, without a graph."""
        value, derivative = self.activation.value_and_derivative(self.hidden_inputs(x))
        return self._out(value), Backward(self, x, value, derivative)

    def _out(self, hidden: Tensor) -> Tensor:
        weights = self.second.transpose(1, 2)
        return (
            torch.bmm(hidden, weights) if self.offset is None else torch.baddbmm(self.offset, hidden, weights)
        )


@dataclass(frozen=True)
class Backward:
    """One forward pass, from which gradients follow in closed form (no graph is built)."""

    networks: TwoLayerNetworks
    x: Tensor
    value: Tensor
    derivative: Tensor

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
            found["second"] = torch.bmm(slope.transpose(1, 2), self.value)
        if "offset" in wanted:
            found["offset"] = slope.sum(1, keepdim=True)
        second = self.networks.second
        if slope.shape[2] == 1:  # the output weight is the same in all examples: it goes last
            at_neurons, factor = self.derivative.mul_(slope), second.transpose(1, 2)  # (M, m, 1)
        else:
            at_neurons, factor = self.derivative.mul_(torch.bmm(slope, second)), None
        if "first" in wanted:
            gradient = torch.bmm(at_neurons.transpose(1, 2), self.x)
            found["first"] = gradient if factor is None else gradient.mul_(factor)
        if "bias" in wanted:
            total = at_neurons.sum(1, keepdim=True)
            found["bias"] = total if factor is None else total.mul_(factor.transpose(1, 2))
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
        ValueError: for a width below 1.
    """
    check_whole("width", width, 1)
    normal = torch.stack([torch.randn(width, inputs, generator=source) for source in sources]).to(dtype)
    first = normal * torch.tensor(scale, dtype=dtype).view(-1, 1, 1)
    signs = torch.where(torch.arange(width) < width - width // 2, 1.0, -1.0).to(dtype) / width
    return TwoLayerNetworks(first, signs.expand(len(first), 1, width).clone(), activation)


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
        signs = torch.where(torch.arange(width) < width - width // 2, 1.0, -1.0).to(dtype) / width
        second = signs.expand(len(first), outputs, width).clone()
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
