"""Colored grounds under strokes: a feature that is independent of the label, in and out of distribution.

The image stand-in for Zhang et al. (ICML 2024): the ground takes the part of the background features, the
strokes that of the core features. In distribution grounds are reds, out of distribution the other colors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.data.seeds import generator
from memorization.data.strokes import stroke_images
from memorization.data.words import did_you_mean

# A color is base + u * spread with u uniform on [0, 1), one number per channel.
_RANGES = {
    "in": ((0.5, 0.0, 0.0), (0.3, 0.1, 0.1)),
    "out": ((0.0, 0.5, 0.5), (0.1, 0.3, 0.3)),
    "any": ((0.0, 0.0, 0.0), (0.9, 0.9, 0.9)),
}
GROUNDS = tuple(_RANGES)


def ground_colors(n: int, ground: str, source: torch.Generator) -> Tensor:
    """Draw colors of the ground; no label enters, so that a ground is independent of it.

    Args:
        n: number N of colors, >= 0.
        ground: ``in``: dark reds (0.5, 0, 0) + u (0.3, 0.1, 0.1); ``out``: (0, 0.5, 0.5) + u (0.1, 0.3, 0.3);
            ``any``: 0.9 u; u is uniform on [0, 1) in each channel.
        source: generator of the numbers.

    Returns:
        Shape (N, 3), float32, red, green and blue in [0, 0.9], on the generator's device.

    Raises:
        ValueError: for an unknown ground.
    """
    if ground not in _RANGES:
        raise ValueError(
            f"unknown ground {ground!r}{did_you_mean(ground, GROUNDS)}; choose one of {', '.join(GROUNDS)}"
        )
    base, spread = (torch.tensor(values, device=source.device) for values in _RANGES[ground])
    return base + spread * torch.rand(n, 3, generator=source, device=source.device)


def on_ground(masks: Tensor, colors: Tensor) -> Tensor:
    """Put white ink on colored grounds: I + (1 - I) color.

    Args:
        masks: ink I, shape (..., 1, height, width), floating point in [0, 1].
        colors: of the grounds, shape (..., 3), in [0, 1].

    Returns:
        Pictures of shape (..., 3, height, width), in [0, 1].

    Raises:
        ValueError: if there is not one color per mask.
    """
    if masks.ndim < 3 or masks.shape[-3] != 1 or colors.shape != (*masks.shape[:-3], 3):
        raise ValueError(
            f"masks of shape {tuple(masks.shape)} and colors of shape {tuple(colors.shape)}; allowed: masks "
            "(..., 1, height, width) and one color (..., 3) for each"
        )
    return torch.addcmul(masks, 1 - masks, colors[..., None, None])


@dataclass(frozen=True)
class GroundedDigits:
    """Digits of M seeds, each a set of its own, to be shown on colored grounds.

    Attributes:
        masks: ink, shape (M, N, 1, 14, 14), float32 in [0, 1].
        labels: shape (M, N), int64 in 0..9.
        seeds: M whole numbers >= 0, of the grounds and of the batches.
    """

    masks: Tensor
    labels: Tensor
    seeds: tuple[int, ...]

    @classmethod
    def load(
        cls, digits: str, n: int, seeds: Sequence[int], split: str, device: torch.device | str = "cpu"
    ) -> GroundedDigits:
        """Return N digits for each seed; arguments as in :func:`~memorization.data.strokes.stroke_images`.

        Raises:
            ValueError: without a seed, or for values that do not fit.
            FileNotFoundError: if MNIST is asked for and absent.
        """
        if not seeds:
            raise ValueError("seeds is empty; give at least one whole number >= 0")
        sets = [stroke_images(digits, n, seed, split) for seed in seeds]
        masks, labels = torch.stack([s.images for s in sets]), torch.stack([s.labels for s in sets])
        return cls(masks.to(device), labels.to(device), tuple(seeds))

    def on(self, ground: str, purpose: str) -> Tensor:
        """Return all pictures on fresh grounds, shape (M, N, 3, 14, 14); ``purpose`` names the grounds."""
        sources = [generator(seed, "grounds", purpose) for seed in self.seeds]
        return on_ground(self.masks, self._colors(self.labels.shape[1], ground, sources))

    def batches(self, ground: str, size: int, purpose: str) -> Callable[[], tuple[Tensor, Tensor]]:
        """Return a function that gives the next batch of each seed, on fresh grounds.

        Args:
            ground: as in :func:`ground_colors`.
            size: B, pictures a batch, drawn with replacement.
            purpose: names the stream of random numbers.

        Returns:
            A function without arguments that returns pictures (M, B, 3, 14, 14) and labels (M, B).
        """
        sources = [generator(seed, "batches", purpose) for seed in self.seeds]
        models, n = self.labels.shape
        first = torch.arange(0, models * n, n)[:, None]

        def batch() -> tuple[Tensor, Tensor]:
            chosen = torch.stack([torch.randint(n, (size,), generator=source) for source in sources])
            rows = (chosen + first).flatten().to(self.masks.device)
            masks = self.masks.flatten(0, 1).index_select(0, rows).unflatten(0, (models, size))
            labels = self.labels.flatten().index_select(0, rows).view(models, size)
            return on_ground(masks, self._colors(size, ground, sources)), labels

        return batch

    def _colors(self, n: int, ground: str, sources: Sequence[torch.Generator]) -> Tensor:
        return torch.stack([ground_colors(n, ground, source) for source in sources]).to(self.masks.device)
