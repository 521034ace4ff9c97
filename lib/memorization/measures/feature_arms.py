"""The arms of an experiment on feature contamination, put on the model axis of one stack.

Every arm of one stack has the same shape of network, loss and optimizer; activation, rates, backgrounds and
remedies may differ. Arms of one seed share initial weights, training draws and test draws.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from memorization.data.backgrounds import Backgrounds
from memorization.data.checks import check_finite
from memorization.data.words import did_you_mean
from memorization.models.pointwise import StackedActivation


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
            if name not in names:
                raise ValueError(
                    f"unknown setting {name!r} of an arm{did_you_mean(name, names)}; "
                    f"choose from {', '.join(names)}"
                )
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
