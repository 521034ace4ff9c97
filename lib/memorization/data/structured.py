"""The structured feature model: a label decided by core features beside background features that ignore it.

Zhang et al. (ICML 2024): inputs are sums of orthonormal feature directions. Core weights carry the label,
background weights are independent of it and of the core, so no statistic of the data ties background to
label. Out of distribution the background weights change sign and nothing else changes.

Samples are drawn in *latent* coordinates, the weights of the features. :func:`dictionary` and
:func:`check_dictionary` are for those who want the ambient space.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.data.checks import check_whole

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


def check_labels(labels: Tensor) -> None:
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
