"""Where stacked two-layer networks learn and are tested: structured examples for all arms and seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memorization.data.backgrounds import Backgrounds
from memorization.data.seeds import generator
from memorization.data.structured import StructuredFeatures, StructuredSample, dictionary
from memorization.measures.feature_arms import ArmStack


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
