"""The structured feature model: a label decided by core features beside background features that ignore it.

Zhang et al. (ICML 2024): inputs are sums of orthonormal feature directions. Core weights carry the label,
background weights are independent of it and of the core, so no statistic of the data ties background to
label. Out of distribution the background weights change sign and nothing else changes.

Samples are drawn in *latent* coordinates, the weights of the features. :func:`dictionary` and
:func:`check_dictionary` are for those who want the ambient space. Arms of an experiment share the draws of a
seed and differ in what :class:`Backgrounds` does to them: the background's mean, how often it is negated in
training, and the remedies that change the inputs (theirs, and our extensions).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.checks import check_whole

LABEL_RULES = ("linear", "sphere")
MEAN_WEIGHT = 0.5  # first moment of a weight, uniform on [0, 1]


@dataclass(frozen=True)
class StructuredFeatures:
    """Which features there are, and how the core decides the label.

    Attributes:
        core: number of core features, >= 1.
        background: number of background features, >= 0.
        labels: ``linear``: core weights are label times uniform on [0, 1] (Zhang et al., Definition 1);
            ``sphere``: the core is a uniform direction, of norm 1 for label +1 and of norm 2 for label -1
            (default of the published code), which no linear score separates.

    Raises:
        ValueError: for a number of features or a label rule that is not allowed.
    """

    core: int
    background: int
    labels: str = "linear"

    def __post_init__(self) -> None:
        check_whole("core", self.core, 1)
        check_whole("background", self.background, 0)
        if self.labels not in LABEL_RULES:
            raise ValueError(f"labels={self.labels!r}; allowed: {', '.join(LABEL_RULES)}")

    @property
    def features(self) -> int:
        """Number of all features, d_0."""
        return self.core + self.background

    def draw(
        self,
        n: int,
        sources: Sequence[torch.Generator],
        *,
        balanced: bool = False,
        dtype: torch.dtype = torch.float32,
    ) -> StructuredSample:
        """Draw N examples for each of S seeds, each from a generator of its own.

        Args:
            n: number N of examples, >= 1.
            sources: S CPU generators.
            balanced: labels alternate, +1 first: half of each (as in the published code), in any two halves
                of the examples too; else each label is drawn.
            dtype: floating-point type; the numbers are drawn in float32 and are the same in all types.

        Returns:
            The sample.

        Raises:
            ValueError: if n is no whole number >= 1.
        """
        check_whole("n", n, 1)
        numbers = torch.stack([torch.rand(n, self.features + 2, generator=g) for g in sources]).to(dtype)
        signs = torch.where(numbers[..., -1] < 0.5, 1.0, -1.0).to(dtype)
        if balanced:
            signs = torch.where(torch.arange(n) % 2 == 0, 1.0, -1.0).to(dtype).expand(signs.shape).clone()
        if self.labels == "linear":
            core = numbers[..., : self.core] * signs[..., None]
        else:
            normal = torch.stack([torch.randn(n, self.core, generator=g) for g in sources]).to(dtype)
            radius = torch.where(signs > 0, 1.0, 2.0).to(dtype)
            core = normal * (radius / normal.norm(dim=-1))[..., None]
        return StructuredSample(core, numbers[..., self.core : -2], signs, numbers[..., -2])


@dataclass(frozen=True)
class StructuredSample:
    """Examples of the structured feature model for S seeds.

    Attributes:
        core: signed weights of the core features, shape (S, N, core).
        background: weights of the background features before any shift, shape (S, N, background), in [0, 1).
        labels: shape (S, N), -1 or +1.
        coins: shape (S, N), uniform on [0, 1), for what happens to some examples only.
    """

    core: Tensor
    background: Tensor
    labels: Tensor
    coins: Tensor

    def inputs(self, shift: float | Tensor = 1.0) -> Tensor:
        """Return the examples with their background times ``shift``, in latent coordinates.

        Args:
            shift: 1 is the training distribution, -1 the out-of-distribution one of Zhang et al.; a tensor
                that broadcasts against (S, N, background).

        Returns:
            Shape (S, N, core + background).
        """
        return torch.cat([self.core, self.background * shift], dim=-1)

    def to(self, device: torch.device | str) -> StructuredSample:
        """Return the sample on another device."""
        parts = (self.core, self.background, self.labels, self.coins)
        return StructuredSample(*(part.to(device) for part in parts))


def check_signs(labels: Tensor) -> None:
    """Raise a ValueError unless all labels are -1 or +1."""
    if not bool((labels.abs() == 1).all()):
        found = sorted(set(labels.unique()[:6].tolist()))
        hint = ": map 0 to -1, for example by 2 * labels - 1" if found == [0, 1] else ""
        raise ValueError(f"labels must be -1 or +1; got {found}{hint}")


def dictionary(
    features: int, ambient: int, source: torch.Generator, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Draw random orthonormal feature directions.

    Args:
        features: number of features d_0.
        ambient: dimension D of the inputs, >= d_0.
        source: CPU generator.
        dtype: floating-point type of the result.

    Returns:
        Shape (d_0, D), orthonormal rows: ``latent @ rows`` gives ambient inputs.

    Raises:
        ValueError: if ``ambient`` is smaller than ``features``.
    """
    if ambient < features:
        raise ValueError(
            f"ambient dimension {ambient} must be at least the number of features, {features} (core + "
            "background)"
        )
    gaussian = torch.randn(ambient, features, generator=source, dtype=torch.float64)
    return torch.linalg.qr(gaussian).Q.T.contiguous().to(dtype)


def check_dictionary(rows: Tensor, tolerance: float = 1e-5) -> None:
    """Raise a ValueError unless feature directions are orthonormal: the latent shortcut needs it.

    Args:
        rows: shape (..., d_0, D).
        tolerance: largest deviation of an entry of ``rows rows^T`` from the identity.
    """
    if rows.shape[-1] < rows.shape[-2]:
        raise ValueError(
            f"ambient dimension {rows.shape[-1]} must be at least the number of features, {rows.shape[-2]}"
        )
    wide = rows.double()
    gram = wide @ wide.transpose(-1, -2)
    deviation = (gram - torch.eye(rows.shape[-2], dtype=torch.float64, device=rows.device)).abs().max().item()
    if not deviation <= tolerance:  # false for NaN too
        raise ValueError(
            f"the dictionary is not orthonormal: its Gram matrix differs from the identity by up to "
            f"{deviation:.3g}, allowed is {tolerance:g}; latent coordinates would not be exact. "
            "Orthonormalize it (torch.linalg.qr) or train in ambient coordinates"
        )


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
