"""Frames around images: one of noise that a network memorizes, and one of a color that it need not look at.

Bombari & Mondelli (ICML 2024), Figure 1 and the MNIST and CIFAR-10 panels: the spurious feature is a frame of
noise, 10 pixels wide for MNIST and 8 for CIFAR-10; its integers are uniform on {0, ..., levels}. Borders are
stored as bytes and framed images are built only for the rows that are asked for: all of CIFAR-10 as 64-bit
integers would take 2.8 GB.

Zhang et al. (ICML 2024), padded CIFAR-10: training images are padded with brick red (150, 50, 50) and cropped
at random, so that a frame of that color, which says nothing about the label, shows at up to two sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad as padded_by

from memorization.checks import check_choice, check_finite, check_image_shape, check_whole
from memorization.data.image_sets import Images
from memorization.data.synthetic import SpuriousTask
from memorization.draws import Draws, generator

FILLS = ("fresh", "zero", "mean")
CENTERS = ("none", "mean", "standardize")


@dataclass(frozen=True)
class Frames:
    """Images with a noise border of their own each.

    Attributes:
        images: the N images inside.
        borders: noise, shape (N, channels, border pixels), uint8, 0..levels.
        pad: width of the frame in pixels, >= 1.

    Raises:
        ValueError: for borders that do not fit the images, or a frame below 1 pixel.
    """

    images: Images
    borders: Tensor
    pad: int

    def __post_init__(self) -> None:
        """Refuse borders of other images or of another width."""
        _check_pad(self.pad)
        n, channels, height, width = self.images.pixels.shape
        wanted = (n, channels, _border_size(height, width, self.pad))
        if tuple(self.borders.shape) != wanted or self.borders.dtype != torch.uint8:
            raise ValueError(
                f"borders are {self.borders.dtype} of shape {tuple(self.borders.shape)} for {n} images of "
                f"{height} x {width} pixels in a frame of {self.pad}; allowed: uint8 of shape {wanted}"
            )

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
    _check_pad(pad)
    n, channels, height, width = images.pixels.shape
    size = _border_size(height, width, pad)
    borders = torch.randint(0, images.levels + 1, (n, channels, size), generator=source, dtype=torch.uint8)
    return Frames(images, borders, pad)


def frame_fraction(side: int, pad: int) -> float:
    """Return alpha, the share of the pixels of a framed square image that belong to its frame.

    Args:
        side: height and width of the image in pixels, >= 1.
        pad: width of the frame in pixels, >= 1.
    """
    check_whole("side", side, 1)
    _check_pad(pad)
    return _border_size(side, side, pad) / (side + 2 * pad) ** 2


def frame_widths(side: int, fractions: Sequence[float]) -> list[int]:
    """Return the widths of frames whose share of the pixels is nearest to those wanted, each width once.

    Small images have few shares to choose from: one pixel around an image of 8 x 8 takes 0.36 already.

    Args:
        side: height and width of the image in pixels, >= 1.
        fractions: shares alpha that are wanted, each in (0, 1).

    Raises:
        ValueError: for a share that is not between 0 and 1.
    """
    check_whole("side", side, 1)
    widths = []
    for wanted in fractions:
        check_finite("fraction", wanted)
        if not 0 < wanted < 1:
            raise ValueError(f"fraction={wanted}; allowed: strictly between 0 and 1")
        exact = side * ((1 - wanted) ** -0.5 - 1) / 2  # 1 - alpha = side^2 / (side + 2 pad)^2
        near = {max(1, math.floor(exact)), math.ceil(exact)}
        widths.append(min(near, key=lambda pad: abs(frame_fraction(side, pad) - wanted)))
    return sorted(set(widths))


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
    noise: str = "noise",
) -> SpuriousTask:
    """Draw one trial: N training and T test images without replacement, framed, and their spurious queries.

    Args:
        pool: images of two classes with labels -1 and +1, or of C classes with their numbers.
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
        noise: names the stream of the training images' frames within it; another name puts the same images
            into other frames.

    Returns:
        The task, D = channels x framed height x framed width, flat in row-major order; the unit of an entry
        is one pixel value (0..levels), or the pool's standard deviation after ``standardize``. Labels are the
        pool's, as numbers of the inputs' type.

    Raises:
        ValueError: for unknown choices or more images than there are.
    """
    check_choice("fill", fill, FILLS)
    check_choice("center", center, CENTERS)
    rows, test, rest = _split(pool, test_pool, n_train, n_test, generator(seed, purpose, "subset"))
    train = pool.take(rows)
    frames = add_frames(train, pad, generator(seed, purpose, noise))
    test_frames = add_frames(test, pad, generator(seed, purpose, "test noise"))
    mean_core = pool.pixels.to(dtype).mean(dim=0)
    core = _query_core(fill, rest, mean_core, n_train, generator(seed, purpose, "fresh core"))
    shift, scale = _shift_and_scale(center, frames, mean_core, pool)

    def flat(rows: Tensor) -> Tensor:
        return (rows.to(dtype).flatten(1) - shift) / scale

    all_rows = torch.arange(n_train)
    return SpuriousTask(
        train=flat(frames.framed(all_rows)),
        spurious=flat(frames.framed(all_rows, core)),
        test=flat(test_frames.framed(torch.arange(n_test))),
        labels=train.labels.to(dtype),
        test_labels=test.labels.to(dtype),
        alpha=frames.columns().double().mean().item(),
        spurious_columns=frames.columns(),
        rows=rows,
    )


def _check_pad(pad: int) -> None:
    if isinstance(pad, bool) or not isinstance(pad, int) or pad < 1:
        raise ValueError(f"the frame must be at least 1 pixel wide, in whole pixels; got pad={pad!r}")


def _border_size(height: int, width: int, pad: int) -> int:
    """Return how many pixels the frame of an image of this height and width has."""
    return (height + 2 * pad) * (width + 2 * pad) - height * width


def _border(height: int, width: int, pad: int) -> Tensor:
    mask = torch.ones(height, width, dtype=torch.bool)
    mask[pad:-pad, pad:-pad] = False
    return mask


def _split(
    pool: Images, test_pool: Images | None, n_train: int, n_test: int, source: torch.Generator
) -> tuple[Tensor, Images, Images]:
    """Draw rows of the pool to train on, and test images; the third set is what nobody trains on."""
    wanted, there = (n_train + n_test, len(pool)) if test_pool is None else (n_train, len(pool))
    if wanted > there or (test_pool is not None and n_test > len(test_pool)):
        have = f"{there} images" if test_pool is None else f"{there} + {len(test_pool)} images (train + test)"
        raise ValueError(
            f"asked for {n_train} training and {n_test} test images, but the {len(pool.class_names)} classes "
            f"of {pool.name} hold {have}; ask for fewer"
        )
    order = torch.randperm(len(pool), generator=source)
    train, rest = order[:n_train], pool.take(order[n_train:])
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


FRAME_COLORS = {
    name: tuple(level / 255 for level in levels)
    for name, levels in {"red": (150, 50, 50), "blue": (50, 50, 150), "green": (50, 150, 50)}.items()
}
FRAME_KINDS = ("padded", "raw", "random")
_RAW_PAD = 1


@dataclass(frozen=True)
class ColoredFrames:
    """A policy: pad every image, cut a window of its own size at a random place, and flip it or not.

    Attributes:
        kind: ``padded`` with one color (Zhang et al.: 8 pixels of brick red for 32 x 32 images); ``random``,
            padded with a color of its own for each view, uniform on [0, 1] in each channel; or ``raw``,
            padded with 1 pixel of the image's own reflection, whatever ``pad`` and ``color`` are.
        pad: width of the padding in pixels, >= 1.
        color: of ``padded``: red, green and blue in [0, 1].
        flip: probability of a left-right flip.

    Raises:
        ValueError: for an unknown kind or numbers out of range.
    """

    kind: str = "padded"
    pad: int = 4
    color: Sequence[float] = FRAME_COLORS["red"]
    flip: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what is no frame."""
        check_choice("frame", self.kind, FRAME_KINDS)
        _check_frame(self.pad, self.color)
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip={self.flip} is a probability; allowed: 0..1")

    @property
    def name(self) -> str:
        """What a checkpoint knows the policy by."""
        return f"{self.kind} pad={self.pad} color={tuple(self.color)} flip={self.flip}"

    def __call__(
        self, images: Tensor, chance: torch.Generator | Draws, strength: float | Tensor = 1.0
    ) -> Tensor:
        """Return one view of each image.

        Args:
            images: shape (B, 3, S, S), floating point in [0, 1].
            chance: a generator, or draws for the B views.
            strength: s in [0, 1], multiplies the largest shift of the window (in whole pixels) and the
                probability of the flip; 0 changes nothing. A tensor (B,) gives each view its own.

        Returns:
            Views of the shape, type and device of ``images``.

        Raises:
            ValueError: for images that are not square color images, or a strength out of range.
        """
        check_image_shape(images, square=True, channels=(3,))
        draws = chance if isinstance(chance, Draws) else Draws.of(chance, len(images), images.device)
        numbers = draws.uniform(6)
        amount = _checked(torch.as_tensor(strength, dtype=numbers.dtype, device=numbers.device))
        pad = _RAW_PAD if self.kind == "raw" else self.pad
        corner = _corner(numbers[:, :2], pad, amount)
        views = _windows(self._padded(images, numbers[:, 3:]), corner, images.shape[-1])
        flipped = numbers[:, 2:3] < self.flip * amount  # (B, 1)
        return torch.where(flipped[:, :, None, None], views.flip(3), views)

    def _padded(self, images: Tensor, numbers: Tensor) -> Tensor:
        if self.kind == "raw":
            return padded_by(images, (_RAW_PAD,) * 4, mode="reflect")
        colors = numbers if self.kind == "random" else numbers.new_tensor(self.color).expand_as(numbers)
        return _framed(images, colors, self.pad)


def framed_test(images: Tensor, color: Sequence[float], pad: int, source: torch.Generator) -> Tensor:
    """Return test images in a frame of one color, cut as in training but not flipped.

    A centered window would show no frame. With generators of one seed, images in frames of two colors
    show the same windows and differ in the color alone.

    Args:
        images: shape (N, 3, S, S), floating point in [0, 1].
        color: red, green and blue in [0, 1], see ``FRAME_COLORS``.
        pad: width of the padding in pixels, >= 1.
        source: generator of the places of the windows, uniform on the (2 pad + 1)^2 there are.

    Returns:
        Views of the shape, type and device of ``images``.

    Raises:
        ValueError: for images that are not square color images, or a frame out of range.
    """
    _check_frame(pad, color)
    return ColoredFrames("padded", pad, color, flip=0.0)(images, source)


def _framed(images: Tensor, colors: Tensor, pad: int) -> Tensor:
    """Return images in frames of the colors (B, 3): (B, 3, S + 2 pad, S + 2 pad)."""
    side = images.shape[-1] + 2 * pad
    out = colors.to(images.dtype)[:, :, None, None].expand(-1, -1, side, side).contiguous()
    out[:, :, pad:-pad, pad:-pad] = images
    return out


def _corner(numbers: Tensor, pad: int, strength: Tensor) -> Tensor:
    """Return where windows begin (B, 2): whole numbers, uniform on pad - reach .. pad + reach."""
    reach = (pad * strength).round()
    places = torch.minimum((numbers * (2 * reach + 1)).floor(), 2 * reach)  # the product can round up
    return (places - reach + pad).long()


def _windows(images: Tensor, corner: Tensor, side: int) -> Tensor:
    """Cut a window of this side out of each image; corner (B, 2) is its left and top."""
    every = images.unfold(2, side, 1).unfold(3, side, 1)  # a view (B, 3, top, left, side, side), no copy
    return every[torch.arange(len(images), device=images.device), :, corner[:, 1], corner[:, 0]]


def _checked(strength: Tensor) -> Tensor:
    """Return strengths as a column, one for all views or one for each."""
    wrong = ~((strength >= 0) & (strength <= 1))
    if bool(wrong.any()):
        raise ValueError(
            f"strength={strength[wrong][0].item():g} is out of range; allowed: numbers in [0, 1]"
        )
    return strength.reshape(-1, 1)


def _check_frame(pad: int, color: Sequence[float]) -> None:
    _check_pad(pad)
    if len(color) != 3 or not all(0 <= level <= 1 for level in color):
        raise ValueError(
            f"color={tuple(color)!r}; allowed: red, green and blue in [0, 1] (divide levels 0..255 by 255)"
        )
