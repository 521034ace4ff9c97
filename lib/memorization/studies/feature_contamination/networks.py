"""Two-layer networks of one shape, stacked on a model axis: arms, activations, gradient in closed form.

Zhang et al. (ICML 2024): section 2.3 of the theory (no biases, output weights +-1/m frozen) and the network
of the published code (biases, PyTorch's initialization, everything trained). Every arm of one stack has the
same shape of network, loss and optimizer; activation, rates, backgrounds and remedies may differ.

Activations are one for each network, with their derivatives: ReLU, GELU, leaky ReLU, tanh, sigmoid and the
identity. ReLU, leaky ReLU and identity are one family with a slope s on the negative side: 0, s and 1.
Without a graph a layer works in place, with plain arithmetic: comparing and choosing costs a processor ten
times what a product does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_choice, check_finite, check_whole
from memorization.draws import generator
from memorization.studies.feature_contamination.data import (
    Backgrounds,
    StructuredFeatures,
    StructuredSample,
    dictionary,
)

Both = tuple[Tensor, Callable[[], Tensor]]
POINTWISE = ("relu", "leaky", "identity", "gelu", "tanh", "sigmoid")


class StackedActivation:
    """The activations of M stacked networks.

    Attributes:
        names: M names of ``POINTWISE``.
        slopes: M slopes on the negative side: given for ``leaky``, 0 for ``relu``, 1 for ``identity``; NaN
            for the smooth ones.

    Raises:
        ValueError: for an unknown name or a slope outside [0, 1].
    """

    def __init__(self, names: Sequence[str], slopes: Sequence[float]) -> None:
        self.names = tuple(names)
        self.slopes = tuple(_slope(name, slope) for name, slope in zip(names, slopes, strict=True))
        kinds = ["piecewise" if slope == slope else n for n, slope in zip(names, self.slopes, strict=True)]
        rows = {kind: [i for i, k in enumerate(kinds) if k == kind] for kind in dict.fromkeys(kinds)}
        self._groups = [(kind, rows[kind], self._negative(kind, rows[kind])) for kind in rows]

    def take(self, rows: slice) -> StackedActivation:
        """Return the activations of some of the networks."""
        return StackedActivation(self.names[rows], [s if s == s else 0.0 for s in self.slopes[rows]])

    def value(self, x: Tensor) -> Tensor:
        """Return the activations of pre-activations, shape (M, m, N); differentiable."""
        if len(self._groups) == 1:
            kind, _, slopes = self._groups[0]
            return _VALUES[kind](x, _like(slopes, x))
        out = torch.empty_like(x)
        for kind, rows, slopes in self._groups:
            out[rows] = _VALUES[kind](x[rows], _like(slopes, x))
        return out

    def value_then_derivative(self, x: Tensor) -> tuple[Tensor, Callable[[], Tensor]]:
        """Return the activations (M, m, N), without a graph, and a function that returns their derivatives.

        Both may lie where x lay: use the values before asking for the derivatives. The derivative of ReLU at
        0 is 0, as in PyTorch.
        """
        if len(self._groups) == 1:
            kind, _, slopes = self._groups[0]
            return _IN_PLACE[kind](x, _like(slopes, x))
        parts = [(rows, *_IN_PLACE[kind](x[rows], _like(slopes, x))) for kind, rows, slopes in self._groups]
        for rows, value, _ in parts:
            x[rows] = value

        def derivative() -> Tensor:
            for rows, _, part in parts:
                x[rows] = part()
            return x

        return x, derivative

    def _negative(self, kind: str, rows: Sequence[int]) -> Tensor | None:
        """Slopes (rows, 1, 1) of the piecewise linear ones; None where all of them are 0."""
        slopes = [self.slopes[row] for row in rows]
        if kind != "piecewise" or not any(slopes):
            return None
        return torch.tensor(slopes, dtype=torch.float64).view(-1, 1, 1)


def _slope(name: str, slope: float) -> float:
    check_choice("activation", name, POINTWISE)
    if name == "leaky" and not 0 <= slope <= 1:
        raise ValueError(f"slope={slope} of a leaky ReLU; allowed: 0 (ReLU) to 1 (identity)")
    return {"relu": 0.0, "leaky": float(slope), "identity": 1.0}.get(name, math.nan)


def _like(slopes: Tensor | None, x: Tensor) -> Tensor | None:
    return None if slopes is None else slopes.to(x)


def _piecewise(x: Tensor, slopes: Tensor | None) -> Tensor:
    return torch.relu(x) if slopes is None else torch.where(x > 0, x, slopes * x)


def _piecewise_in_place(x: Tensor, slopes: Tensor | None) -> Both:
    if slopes is None:
        value = x.clamp_(min=0)
        return value, value.sign_
    above = x.clamp(min=0)
    value = x.mul_(slopes).addcmul_(above, 1 - slopes)
    return value, lambda: above.sign_().mul_(1 - slopes).add_(slopes)


def _gelu_in_place(x: Tensor, _: Tensor | None) -> Both:
    below = torch.special.ndtr(x)
    density = torch.exp(-0.5 * x * x).mul_(1 / math.sqrt(2 * math.pi))
    derivative = below.addcmul(x, density)
    return x.mul_(below), lambda: derivative


def _tanh_in_place(x: Tensor, _: Tensor | None) -> Both:
    value = x.tanh_()
    return value, lambda: value.mul_(value).neg_().add_(1)


def _sigmoid_in_place(x: Tensor, _: Tensor | None) -> Both:
    value = x.sigmoid_()
    return value, lambda: value.sub_(value * value)


_VALUES: dict[str, Any] = {
    "piecewise": _piecewise,
    "gelu": lambda x, _: F.gelu(x),
    "tanh": lambda x, _: torch.tanh(x),
    "sigmoid": lambda x, _: torch.sigmoid(x),
}
_IN_PLACE: dict[str, Callable[[Tensor, Tensor | None], Both]] = {
    "piecewise": _piecewise_in_place,
    "gelu": _gelu_in_place,
    "tanh": _tanh_in_place,
    "sigmoid": _sigmoid_in_place,
}


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


@dataclass(frozen=True)
class FeatureArm:
    """What one arm does differently.

    Attributes:
        activation: a name of ``POINTWISE``.
        slope: negative slope of ``leaky``.
        rate: learning rate.
        decay: weight decay.
        init_scale: factor of the first layer's initial weights.
        mean: subtracted from each background weight (0: weights uniform on [0, 1]; 1/2: mean zero).
        flip: probability that a training example's background is negated.
        environment: factor of the background in half of the training examples; 1: one environment.
        penalty: weight of the variance of the environments' risks (V-REx).
        symmetric: show about half of the training examples as mirror images (-x, -y).
        center: subtract the mean of the training inputs (before any are mirrored).

    Raises:
        ValueError: for a number that is not finite, a choice that is not True or False, or a slope without
            ``leaky``. Ranges are checked where the numbers are used.
    """

    activation: str = "relu"
    slope: float = 0.0
    rate: float = 0.5
    decay: float = 0.0
    init_scale: float = 1.0
    mean: float = 0.0
    flip: float = 0.0
    environment: float = 1.0
    penalty: float = 0.0
    symmetric: bool = False
    center: bool = False

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if name in ("symmetric", "center"):
                if value not in (True, False):
                    raise ValueError(f"{name}={value!r} of an arm; allowed: True, False")
            elif name != "activation":
                check_finite(name, value)
        own = 1.0 if self.activation == "identity" else 0.0
        if self.activation != "leaky" and self.slope not in (0, own):
            raise ValueError(
                f"slope={self.slope} of activation={self.activation!r}; only 'leaky' takes a slope"
            )

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> FeatureArm:
        """Return an arm from plain values.

        Raises:
            ValueError: for an unknown name, with those there are, or what is no mapping.
        """
        if not isinstance(given, Mapping):
            raise ValueError(
                f"arm {given!r}; allowed: a mapping of settings, such as {{'activation': 'relu'}}"
            )
        names = [field.name for field in fields(cls)]
        for name in given:
            check_choice("setting of an arm", name, names)
        return cls(**given)

    @property
    def leaves_assumptions(self) -> bool:
        """Whether it trains on background weights outside [0, 1]."""
        moved = bool(self.mean or self.flip or self.symmetric or self.center)
        return moved or not 0 <= self.environment <= 1

    @property
    def row(self) -> dict[str, Any]:
        """The arm's settings as columns of a record; the slope is that on the negative side."""
        slopes = StackedActivation([self.activation], [self.slope]).slopes
        return asdict(self) | {"slope": slopes[0]}


@dataclass(frozen=True)
class ArmStack:
    """A arms times S seeds on one model axis of length M = A S, arm by arm."""

    arms: tuple[FeatureArm, ...]
    seeds: tuple[int, ...]

    def each(self, name: str) -> list[Any]:
        """Return an attribute of the arms, once for each stacked network."""
        return [getattr(arm, name) for arm in self.arms for _ in self.seeds]

    @property
    def activation(self) -> StackedActivation:
        """The activations of the stacked networks."""
        return StackedActivation(self.each("activation"), self.each("slope"))

    @property
    def backgrounds(self) -> Backgrounds:
        """What each arm does to the background."""
        names: Sequence[str] = ("mean", "flip", "environment", "symmetric", "center")
        values = {name: torch.tensor([float(getattr(arm, name)) for arm in self.arms]) for name in names}
        return Backgrounds(**values)


@dataclass(frozen=True)
class FeatureWorld:
    """Examples for M = A S stacked networks, arm by arm; arms of one seed share them.

    Attributes:
        features: the structured feature model.
        stack: the arms and seeds.
        backgrounds: what each arm does to the background.
        dictionaries: shape (M, d_0, D), or None in latent coordinates.
        tested: test examples of the S seeds.
        fixed: fixed training examples, or None where each step has fresh ones.
        fixed_elsewhere: the same cores with other backgrounds.
    """

    features: StructuredFeatures
    stack: ArmStack
    backgrounds: Backgrounds
    dictionaries: Tensor | None
    tested: StructuredSample
    fixed: StructuredSample | None = None
    fixed_elsewhere: StructuredSample | None = None

    @classmethod
    def draw(
        cls, features: StructuredFeatures, stack: ArmStack, ambient: int, examples: int, test: int
    ) -> FeatureWorld:
        """Draw dictionaries, test examples, and training examples where they are fixed.

        Args:
            features: the structured feature model.
            stack: the arms and seeds.
            ambient: dimension D of the inputs; 0 stays in latent coordinates.
            examples: number of fixed training examples, half of each label; 0: fresh ones each step.
            test: number of test examples.
        """
        rows = None
        if ambient:
            drawn = [dictionary(features.features, ambient, g) for g in _sources(stack, "dictionary")]
            rows = torch.stack(drawn).repeat(len(stack.arms), 1, 1)
        tested = features.draw(test, _sources(stack, "test"))
        world = cls(features, stack, stack.backgrounds, rows, tested)
        if not examples:
            return world
        fixed = features.draw(examples, _sources(stack, "train"), balanced=True)
        other = features.draw(examples, _sources(stack, "train elsewhere")).background
        return replace(world, fixed=fixed, fixed_elsewhere=replace(fixed, background=other))

    def batches(self, batch: int) -> Callable[[int], tuple[Tensor, Tensor]]:
        """Return ``batches(step)``, which gives inputs (M, N, D) and labels (M, N, 1).

        Args:
            batch: number N of fresh examples each step; fixed examples come all at once.
        """
        if self.fixed is not None:
            everything = self.training_examples()
            return lambda step: everything
        sources = _sources(self.stack, "train")

        def fresh(step: int) -> tuple[Tensor, Tensor]:
            sample = self.features.draw(batch, sources).to(self.tested.labels.device)
            return self._trained_on(sample)

        return fresh

    def test_inputs(self, shift: float | None) -> Tensor:
        """Return test inputs (M, N, D) at a shift; None: in distribution."""
        return self._placed(self.backgrounds.test(self.tested, shift))

    def training_examples(self) -> tuple[Tensor, Tensor]:
        """Return the fixed training inputs (M, N, D) and labels (M, N, 1)."""
        return self._trained_on(_there(self.fixed))

    def training_cores(self, shift: float) -> Tensor:
        """Return the cores of the fixed training examples beside other backgrounds, shifted: (M, N, D)."""
        return self._placed(self.backgrounds.test(_there(self.fixed_elsewhere), shift))

    def for_all(self, labels: Tensor) -> Tensor:
        """Return labels (S, N) for all arms: (M, N)."""
        return labels.repeat(len(self.stack.arms), 1)

    def to(self, device: str) -> FeatureWorld:
        """Return the world on another device."""
        rows = None if self.dictionaries is None else self.dictionaries.to(device)
        fixed, other = (part and part.to(device) for part in (self.fixed, self.fixed_elsewhere))
        return replace(
            self,
            backgrounds=self.backgrounds.to(device),
            dictionaries=rows,
            tested=self.tested.to(device),
            fixed=fixed,
            fixed_elsewhere=other,
        )

    def _trained_on(self, sample: StructuredSample) -> tuple[Tensor, Tensor]:
        x, labels = self.backgrounds.train(sample)
        return self._placed(x), labels.flatten(0, 1)[..., None]

    def _placed(self, x: Tensor) -> Tensor:
        """Latent inputs (A, S, N, d_0) as the networks take them."""
        flat = x.flatten(0, 1)
        return flat if self.dictionaries is None else torch.bmm(flat, self.dictionaries)


def _there(sample: StructuredSample | None) -> StructuredSample:
    if sample is None:
        raise ValueError("there are no fixed training examples; give examples >= 1")
    return sample


def _sources(stack: ArmStack, purpose: str) -> list[torch.Generator]:
    return [generator(seed, purpose) for seed in stack.seeds]
