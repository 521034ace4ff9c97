"""What the background does in each arm of an experiment on the structured feature model.

Arms share the draws of a seed and differ in what is done to them: the background's mean, how often it is
negated in training, and the remedies that change the inputs (Zhang et al., ICML 2024, and our extensions).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.data.structured import StructuredSample


@dataclass(frozen=True)
class Backgrounds:
    """Backgrounds of A arms; every attribute is a tensor of shape (A,).

    Attributes:
        mean: subtracted from each background weight, so that their mean is 1/2 minus it.
        flip: probability that the whole background of a training example is negated, in [0, 1]
            (diversity of the training backgrounds).
        environment: factor of the background in the second half of a training batch, a second environment;
            1: there is one environment only.
        symmetric: 1 shows each example as its mirror image (-x, -y) with probability 1/2.
        center: 1 subtracts the mean of the training inputs from all inputs.

    Raises:
        ValueError: for a probability outside [0, 1].
    """

    mean: Tensor
    flip: Tensor
    environment: Tensor
    symmetric: Tensor
    center: Tensor

    def __post_init__(self) -> None:
        if bool(((self.flip < 0) | (self.flip > 1) | self.flip.isnan()).any()):
            raise ValueError(f"flip probability {self.flip.tolist()}; allowed: 0..1")

    def train(self, sample: StructuredSample) -> tuple[Tensor, Tensor]:
        """Return training inputs and labels: (A, S, N, d_0) and (A, S, N)."""
        x = self._inputs(sample, self._training_shift(sample)) - self._centers(sample)
        labels = sample.labels.expand(x.shape[:-1])
        # One coin decides both: its upper half mirrors, and within each half it is uniform again.
        mirrored = (sample.coins >= 0.5) & (_wide(self.symmetric, 2) > 0)
        sign = torch.where(mirrored, -1.0, 1.0).to(x.dtype)
        return x * sign[..., None], labels * sign

    def test(self, sample: StructuredSample, shift: float | None = None) -> Tensor:
        """Return test inputs (A, S, N, d_0).

        Args:
            sample: the examples.
            shift: factor of the whole background; None: drawn like the training inputs (in distribution),
                from the first environment.
        """
        amount = _flips(sample, self.flip) if shift is None else torch.tensor(shift, dtype=sample.core.dtype)
        return self._inputs(sample, amount) - self._centers(sample)

    def to(self, device: torch.device | str) -> Backgrounds:
        """Return the backgrounds with their tensors on another device."""
        parts = (self.mean, self.flip, self.environment, self.symmetric, self.center)
        return Backgrounds(*(part.to(device) for part in parts))

    def _inputs(self, sample: StructuredSample, shift: Tensor) -> Tensor:
        background = (sample.background - _wide(self.mean, 3).to(sample.core.dtype)) * shift
        core = sample.core.expand(*background.shape[:-1], -1)
        return torch.cat([core, background], dim=-1)

    def _training_shift(self, sample: StructuredSample) -> Tensor:
        n = sample.labels.shape[1]
        second = (torch.arange(n, device=sample.labels.device) >= n - n // 2)[:, None]
        factors = torch.where(second, _wide(self.environment, 3), 1.0).to(sample.core.dtype)  # (A, 1, N, 1)
        return _flips(sample, self.flip) * factors

    def _centers(self, sample: StructuredSample) -> Tensor:
        """The mean of the training inputs: of the core 0, of a background weight by its law."""
        environments = (1 + self.environment) / 2
        mean = (0.5 - self.mean) * (1 - 2 * self.flip) * environments * self.center
        core = mean.new_zeros(len(mean), 1, 1, sample.core.shape[-1])
        background = _wide(mean, 3).expand(-1, 1, 1, sample.background.shape[-1])
        return torch.cat([core.to(background), background], dim=-1).to(sample.core.dtype)


def _flips(sample: StructuredSample, flip: Tensor) -> Tensor:
    """-1 where the background is negated: (A, S, N, 1)."""
    within = (2 * sample.coins) % 1
    flipped = within < _wide(flip, 2).to(within.dtype)
    return torch.where(flipped, -1.0, 1.0).to(sample.core.dtype)[..., None]


def _wide(values: Tensor, more: int) -> Tensor:
    return values.view(-1, *[1] * more)
