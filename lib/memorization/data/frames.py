"""A frame of noise around an image: the spurious feature of the image experiments.

Bombari & Mondelli (ICML 2024), Figure 1 and the MNIST and CIFAR-10 panels. The frame is 10 pixels wide for
MNIST and 8 for CIFAR-10; its integers are uniform on {0, ..., levels}. Borders are stored as bytes and framed
images are built only for the rows that are asked for: all of CIFAR-10 as 64-bit integers would take 2.8 GB.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.data.images import Images
from memorization.data.seeds import generator
from memorization.data.task import SpuriousTask

FILLS = ("fresh", "zero", "mean")
CENTERS = ("none", "mean", "standardize")


@dataclass(frozen=True)
class Frames:
    """Images with a noise border of their own each.

    Attributes:
        images: the N images inside.
        borders: noise, shape (N, channels, border pixels), uint8, 0..levels.
        pad: width of the frame in pixels.
    """

    images: Images
    borders: Tensor
    pad: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of a framed image."""
        _, channels, height, width = self.images.pixels.shape
        return channels, height + 2 * self.pad, width + 2 * self.pad

    def mask(self) -> Tensor:
        """Return which pixels belong to the border, shape (height, width) of the framed image, bool."""
        return _border(self.shape[1], self.shape[2], self.pad)

    def columns(self) -> Tensor:
        """Return which coordinates of a flat framed image are spurious, shape (D,), bool."""
        return self.mask().expand(self.shape).flatten()

    def framed(self, indices: Tensor, core: Tensor | None = None) -> Tensor:
        """Build framed images, shape (B, channels, height, width), in raw pixel values.

        Args:
            indices: rows to build, shape (B,), int64.
            core: what to show inside instead of the images, broadcastable to the images' shape.
        """
        inside = self.images.pixels[indices] if core is None else core
        out = torch.empty(len(indices), *self.shape, dtype=inside.dtype)
        out[..., self.mask()] = self.borders[indices].to(inside.dtype)
        out[..., self.pad : -self.pad, self.pad : -self.pad] = inside
        return out


def add_frames(images: Images, pad: int, source: torch.Generator) -> Frames:
    """Draw a noise border for every image.

    Args:
        images: N images.
        pad: width of the frame in pixels, >= 1.
        source: CPU generator of the noise.

    Raises:
        ValueError: if ``pad`` is below 1.
    """
    if pad < 1:
        raise ValueError(f"the frame must be at least 1 pixel wide; got pad={pad}")
    n, channels, height, width = images.pixels.shape
    size = int(_border(height + 2 * pad, width + 2 * pad, pad).sum())
    borders = torch.randint(0, images.levels + 1, (n, channels, size), generator=source, dtype=torch.uint8)
    return Frames(images, borders, pad)


def image_task(
    pool: Images,
    *,
    n_train: int,
    n_test: int,
    pad: int,
    seed: int,
    test_pool: Images | None = None,
    fill: str = "zero",
    center: str = "none",
    dtype: torch.dtype = torch.float32,
    purpose: str | int = "images",
) -> SpuriousTask:
    """Draw one trial: N training and T test images without replacement, framed, and their spurious queries.

    Args:
        pool: images of two classes with labels -1 and +1.
        n_train: number N of training images.
        n_test: number T of test images.
        pad: width of the noise frame in pixels, >= 1.
        seed: whole number >= 0.
        test_pool: where test images come from; None takes them from ``pool``, disjoint from the training set.
        fill: inside of a query: ``zero`` (black, as in the paper), ``mean`` (mean image of the pool) or
            ``fresh`` (another image, drawn from those that are not trained on).
        center: ``none`` (raw pixel values, as in the paper), ``mean`` (subtract the expected framed image) or
            ``standardize`` (and divide by one number, so that the mean square is 1; for Hermite activations).
        dtype: floating-point type of the inputs.
        purpose: names the stream of random numbers.

    Returns:
        The task, D = channels x framed height x framed width, flat in row-major order; the unit of an entry
        is one pixel value (0..levels), or the pool's standard deviation after ``standardize``.

    Raises:
        ValueError: for unknown choices or more images than there are.
    """
    _check_choice("fill", fill, FILLS)
    _check_choice("center", center, CENTERS)
    train, test, rest = _split(pool, test_pool, n_train, n_test, generator(seed, purpose, "subset"))
    frames = add_frames(train, pad, generator(seed, purpose, "noise"))
    test_frames = add_frames(test, pad, generator(seed, purpose, "test noise"))
    mean_core = pool.pixels.to(dtype).mean(dim=0)
    core = _query_core(fill, rest, mean_core, n_train, generator(seed, purpose, "fresh core"))
    shift, scale = _shift_and_scale(center, frames, mean_core, pool)

    def flat(rows: Tensor) -> Tensor:
        return (rows.to(dtype).flatten(1) - shift) / scale

    rows = torch.arange(n_train)
    return SpuriousTask(
        train=flat(frames.framed(rows)),
        spurious=flat(frames.framed(rows, core)),
        test=flat(test_frames.framed(torch.arange(n_test))),
        labels=train.labels.to(dtype),
        test_labels=test.labels.to(dtype),
        alpha=frames.columns().double().mean().item(),
        spurious_columns=frames.columns(),
    )


def _check_choice(what: str, given: str, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise ValueError(f"unknown {what} {given!r}; choose one of {', '.join(choices)}")


def _border(height: int, width: int, pad: int) -> Tensor:
    mask = torch.ones(height, width, dtype=torch.bool)
    mask[pad:-pad, pad:-pad] = False
    return mask


def _split(
    pool: Images, test_pool: Images | None, n_train: int, n_test: int, source: torch.Generator
) -> tuple[Images, Images, Images]:
    """Draw disjoint training and test images; the third set is what nobody trains on."""
    wanted, there = (n_train + n_test, len(pool)) if test_pool is None else (n_train, len(pool))
    if wanted > there or (test_pool is not None and n_test > len(test_pool)):
        have = f"{there} images" if test_pool is None else f"{there} + {len(test_pool)} images (train + test)"
        raise ValueError(
            f"asked for {n_train} training and {n_test} test images, but the two classes of {pool.name} "
            f"hold {have}; ask for fewer"
        )
    order = torch.randperm(len(pool), generator=source)
    train, rest = pool.take(order[:n_train]), pool.take(order[n_train:])
    if test_pool is None:
        return train, pool.take(order.flip(0)[:n_test]), rest
    chosen = torch.randperm(len(test_pool), generator=source)[:n_test]
    return train, test_pool.take(chosen), rest if len(rest) else test_pool


def _query_core(fill: str, rest: Images, mean_core: Tensor, n: int, source: torch.Generator) -> Tensor:
    if fill == "zero":
        return torch.zeros_like(mean_core).expand(n, *mean_core.shape)
    if fill == "mean":
        return mean_core.expand(n, *mean_core.shape)
    # With replacement once fewer images are left than queries; each is still independent of its label.
    order = torch.cat([torch.randperm(len(rest), generator=source) for _ in range(-(-n // len(rest)))])
    return rest.pixels[order[:n]].to(mean_core.dtype)


def _shift_and_scale(center: str, frames: Frames, mean_core: Tensor, pool: Images) -> tuple[Tensor, float]:
    """Return the expected framed image (flat) and the scale, both independent of the training subset."""
    channels, height, width = frames.shape
    expected = torch.full((channels, height, width), pool.levels / 2, dtype=mean_core.dtype)
    expected[:, frames.pad : -frames.pad, frames.pad : -frames.pad] = mean_core
    if center == "none":
        return torch.zeros_like(expected).flatten(), 1.0
    if center == "mean":
        return expected.flatten(), 1.0
    core_energy = pool.pixels.to(mean_core.dtype).var(dim=0, correction=0).sum().item()
    noise_energy = channels * int(frames.mask().sum()) * ((pool.levels + 1) ** 2 - 1) / 12
    return expected.flatten(), ((core_energy + noise_energy) / expected.numel()) ** 0.5
