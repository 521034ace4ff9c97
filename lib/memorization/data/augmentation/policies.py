"""Augmentation policies by name: from a batch of images to one random view of each, or to K fixed views.

Anagnostidis et al. (ICLR 2023): their augmentations and strength sweep, and milder policies for small images.
A policy is made of steps: crop, flips, rotation, shift, color jitter, blur, grayscale, erasing. Their images
may also have K fixed views (1, 2, 4, ...): the same labels for all views of an image, or one label a view.
View k of image i is a function of (seed, i, k) here, so a view made again from its key and one kept in a bank
show the same picture. What a policy of one's own gives back is looked at before it is trusted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from memorization.checks import check_images, did_you_mean
from memorization.data.augmentation.colors import Jitter, blur_, draw_jitter, grayscale_, jitter_
from memorization.data.augmentation.randaugment import ordinary, sixteen_operations
from memorization.data.augmentation.small_images import SMALL_IMAGES
from memorization.data.augmentation.warps import check_range, crop_boxes, erase, erase_boxes, look, rotations
from memorization.draws import Draws, view_keys

Number = float | Tensor  # one for all views, or one per view as (B, 1)
_LEAST_AREA = 0.01  # of a crop, where a strength above 1 would ask for less
_RATIO = (3 / 4, 4 / 3)
_SIGMA = (0.1, 2.0)
_ERASED_AREA, _ERASED_RATIO = (0.02, 0.33), (0.3, 3.3)


@dataclass(frozen=True)
class Views:
    """The random numbers of B views; None where a policy lacks the step.

    Attributes:
        boxes: crops: left, top, width, height in pixels, (B, 4).
        flips: mirrored left-right, up-down, (B, 2), bool.
        degrees: clockwise rotation, (B,).
        shift: to the right and down in whole pixels, (B, 2).
        jitter: color jitter.
        sigma: standard deviation of the blur in pixels, 0 for none, (B,).
        gray: whether turned to gray, (B,), bool.
        erased: boxes set to zero, as ``boxes``; no pixels for none.
    """

    boxes: Tensor | None = None
    flips: Tensor | None = None
    degrees: Tensor | None = None
    shift: Tensor | None = None
    jitter: Jitter | None = None
    sigma: Tensor | None = None
    gray: Tensor | None = None
    erased: Tensor | None = None


@dataclass(frozen=True)
class Steps:
    """Which steps a policy has, in this order; a probability of 0 leaves a step out.

    A strength s multiplies every probability (up to 1), the rotation, the shift, the jitter's ranges and the
    logarithm of the crop's aspect, and moves the crop's areas from 1 towards the policy's: 1 - s (1 - area),
    at least 0.01. s = 1 is the policy itself, s = 0 changes nothing.

    Attributes:
        crop: smallest and largest area of a crop as a fraction of the image (aspect 3/4 to 4/3); None: no
            crop.
        mirror: probability of a left-right flip.
        upside_down: probability of an up-down flip.
        degrees: rotation U[0, degrees].
        shift: largest shift per axis as a fraction of the side, rounded to whole pixels; zeros come in.
        jitter: probability of color jitter.
        ranges: of the jitter: brightness, contrast, saturation, hue.
        blur: probability of a 3 x 3 Gaussian blur, standard deviation U[0.1, 2] pixels.
        gray: probability of grayscale.
        erase: probability that a box (area 0.02 to 0.33, aspect 0.3 to 3.3) is set to zero.

    Raises:
        ValueError: for a probability outside [0, 1], an area outside (0, 1] or a negative range.
    """

    crop: tuple[float, float] | None = None
    mirror: float = 0.0
    upside_down: float = 0.0
    degrees: float = 0.0
    shift: float = 0.0
    jitter: float = 0.0
    ranges: tuple[float, float, float, float] = (0.8, 0.8, 0.8, 0.2)
    blur: float = 0.0
    gray: float = 0.0
    erase: float = 0.0

    def __post_init__(self) -> None:
        """Refuse numbers out of range."""
        if self.crop is not None:
            check_range("crop scale", *self.crop, most=1)
        for name in ("mirror", "upside_down", "jitter", "blur", "gray", "erase"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is a probability; allowed: 0..1")
        if not (self.degrees >= 0 and self.shift >= 0 and all(v >= 0 for v in self.ranges)):
            raise ValueError(
                f"degrees={self.degrees}, shift={self.shift}, ranges={self.ranges}; none may be negative"
            )

    @property
    def colors(self) -> bool:
        """Whether the policy needs three channels."""
        return self.jitter > 0 or self.gray > 0

    def draw(self, draws: Draws, channels: int, size: int, strength: Number) -> Views:
        """Draw the random numbers of B views of images with side ``size``."""
        drawn: dict[str, Tensor | Jitter | None] = {}
        if self.crop is not None:
            drawn["boxes"] = self._boxes(draws, size, strength)
        if self.mirror or self.upside_down:
            coins = torch.tensor([self.mirror, self.upside_down], device=draws.device)
            drawn["flips"] = draws.uniform(2) < coins * strength
        if self.degrees or self.shift:
            numbers = draws.uniform(3)
            drawn["degrees"] = (numbers[:, :1] * (self.degrees * strength)).squeeze(1)
            drawn["shift"] = ((2 * numbers[:, 1:] - 1) * (self.shift * size * strength)).round()
        if self.jitter:
            drawn["jitter"] = draw_jitter(draws, self.jitter * strength, self.ranges, strength)
        if self.blur:
            numbers = draws.uniform(2)
            sigma = _SIGMA[0] + numbers[:, :1] * (_SIGMA[1] - _SIGMA[0])
            drawn["sigma"] = (sigma * (numbers[:, 1:] < self.blur * strength)).squeeze(1)
        if self.gray:
            drawn["gray"] = (draws.uniform() < self.gray * strength).squeeze(1)
        if self.erase:
            boxes = erase_boxes(draws, size, _ERASED_AREA, _ERASED_RATIO)
            drawn["erased"] = boxes * (draws.uniform() < self.erase * strength)
        return Views(**drawn)  # type: ignore[arg-type]

    def _boxes(self, draws: Draws, size: int, strength: Number) -> Tensor:
        assert self.crop is not None
        areas = [1 - strength * (1 - end) for end in self.crop]
        low, high = (
            a.clamp(min=_LEAST_AREA) if isinstance(a, Tensor) else max(a, _LEAST_AREA) for a in areas
        )
        ratio = (_RATIO[0] ** strength, _RATIO[1] ** strength)
        return crop_boxes(draws, size, (low, high), ratio)

    def apply(self, images: Tensor, views: Views) -> Tensor:
        """Return the views of images (B, c, S, S), floats in [0, 1]; the images stay as they are."""
        maps = None
        if views.degrees is not None and views.shift is not None:
            maps = rotations(views.degrees, views.shift)
        if views.boxes is None and views.flips is None and maps is None:
            images = images.clone()  # the steps below write into it
        else:
            images = look(images, views.boxes, views.flips, maps)
        if views.jitter is not None:
            images = jitter_(images, views.jitter)
        if views.sigma is not None:
            images = blur_(images, views.sigma)
        if views.gray is not None:
            images = grayscale_(images, views.gray)
        return images if views.erased is None else erase(images, views.erased)


def part_of(views: object, rows: slice) -> object:
    """Return some rows of a dataclass of tensors, of dataclasses of them, or None."""
    if views is None or isinstance(views, Tensor):
        return None if views is None else views[rows]
    parts = {f.name: part_of(getattr(views, f.name), rows) for f in fields(views)}  # type: ignore[arg-type]
    return type(views)(**parts)


_FULL = Steps(crop=(0.08, 1.0), mirror=0.5, jitter=0.8, gray=0.2)
PLANS = {
    "none": Steps(),
    "full": _FULL,
    "full_rotations": Steps(crop=(0.08, 1.0), mirror=0.5, degrees=180, shift=0.2, jitter=0.8, gray=0.2),
    "most_difficult": Steps(
        crop=(0.08, 1.0), mirror=0.5, upside_down=0.5, degrees=180, shift=0.2, jitter=0.8, blur=0.3, gray=0.2,
        erase=0.5,
    ),
    "isometry": Steps(mirror=0.5, degrees=180, shift=0.2),
}  # fmt: skip


_CHUNK = 1 << 20  # numbers in a chunk of images on a CPU: 341 color images of 32 x 32; measured


class Plan(Protocol):
    """What a policy is made of: random numbers, and views that are a function of them."""

    @property
    def colors(self) -> bool:
        """Whether the images must have three channels."""

    def draw(self, draws: Draws, channels: int, size: int, strength: Any) -> Any:
        """Draw the random numbers of B views (a dataclass of tensors)."""

    def apply(self, images: Tensor, views: Any) -> Tensor:
        """Return the views; the images stay as they are."""


@dataclass(frozen=True)
class Policy:
    """A random map of images, drawn anew for every image of a batch.

    Attributes:
        name: as given to :func:`augmentation`.
        plan: what is drawn, and what is done with it.
    """

    name: str
    plan: Plan

    def __call__(
        self,
        images: Tensor,
        chance: torch.Generator | Draws,
        strength: float | Tensor = 1.0,
        *,
        check: bool = True,
    ) -> Tensor:
        """Return one view of each image.

        Args:
            images: shape (B, c, S, S), floating point in [0, 1].
            chance: a generator, or draws for the B views (with keys, a view is a function of its key alone).
            strength: s >= 0; 0 changes nothing, 1 is the policy itself, see the plan's class for what lies
                between and beyond. A tensor (B,) gives each image its own, for instance one per stacked
                model.
            check: look at all numbers first. It costs a pass over the batch (and on a GPU a wait), so a
                training loop that made its images itself can do without.

        Returns:
            Views of the shape, type and device of ``images``, in [0, 1] (``small_*``: not clamped).

        Raises:
            ValueError: for images or strengths that are not as above.
        """
        if check:
            self._check(images, strength)
        if isinstance(chance, Draws) and chance.rows != len(images):
            raise ValueError(
                f"draws for {chance.rows} views but {len(images)} images; give one key per image"
            )
        if not isinstance(strength, Tensor) and strength == 0:
            return images
        draws = chance if isinstance(chance, Draws) else Draws.of(chance, len(images), images.device)
        work = images.float() if images.dtype in (torch.bfloat16, torch.float16) else images
        amount = strength.float().unsqueeze(1) if isinstance(strength, Tensor) else strength
        views = self.plan.draw(draws, images.shape[1], images.shape[-1], amount)
        out = self.apply(work, views).to(images.dtype)
        if isinstance(strength, Tensor):  # exactly nothing at 0, also where sampling rounds
            still = strength == 0
            if images.is_cuda or bool(still.any()):  # looking costs a GPU a wait, and a CPU less than a copy
                out = torch.where(still.view(-1, 1, 1, 1), images, out)
        return out

    def apply(self, images: Tensor, views: Any) -> Tensor:
        """Return the views for random numbers drawn before; on a CPU in chunks that fit its cache."""
        rows = max(1, _CHUNK // max(1, images[:1].numel()))
        if images.is_cuda or len(images) <= rows:
            return self.plan.apply(images, views)
        out = torch.empty_like(images)
        for start in range(0, len(images), rows):
            some = slice(start, start + rows)
            out[some] = self.plan.apply(images[some], part_of(views, some))
        return out

    def _check(self, images: Tensor, strength: float | Tensor) -> None:
        if len(images):
            check_images(images, bytes_too=False, square=True, channels=(1, 3))
        channels = images.shape[1]
        if self.plan.colors and channels != 3:
            raise ValueError(
                f"color ops need 3 channels, and {self.name!r} has some; the images have {channels}. "
                "Choose a policy without colors: isometry, small_digits, small_mnist or small_fashion"
            )
        if isinstance(strength, Tensor) and strength.shape != images.shape[:1]:
            raise ValueError(
                f"strength has shape {tuple(strength.shape)} for {len(images)} images; give one number, or "
                "one per image"
            )
        least = float(torch.as_tensor(strength).min()) if len(images) else 0.0
        if not least >= 0:
            raise ValueError(f"strength={least:g} is out of range; allowed: numbers >= 0")


def augmentation(spec: str | float) -> Policy:
    """Return a policy.

    Args:
        spec: ``none``; ``full`` (the paper's standard), ``full_rotations``, ``most_difficult``, ``isometry``,
            ``myrandaugment``; ``small_digits``, ``small_mnist``, ``small_fashion``, ``small_color``; or a
            number a in [0, 1], the paper's strength sweep: RandAugment with a number of steps and a
            magnitude that grow with a.

    Returns:
        The policy, to be called with images and a source of chance.

    Raises:
        ValueError: for an unknown name or a number outside [0, 1].
    """
    if isinstance(spec, int | float) and not isinstance(spec, bool):
        return Policy(f"randaugment {spec:g}", ordinary(float(spec)))
    plans: dict[str, Plan] = {**PLANS, "myrandaugment": sixteen_operations(), **SMALL_IMAGES}
    if spec not in plans:
        raise ValueError(
            f"unknown augmentation {spec!r}{did_you_mean(str(spec), plans)}; "
            f"choose one of {', '.join(plans)}, or a number in [0, 1]"
        )
    return Policy(spec, plans[spec])


_ROUNDING = 1e-3  # resampling may leave [0, 1] by a last bit, also in half precision


def policy_name(policy: Callable[..., Any]) -> str:
    """Return what a policy is called, for messages: its name, its function's or its class's."""
    if isinstance(policy, partial):
        return policy_name(policy.func)
    name = getattr(policy, "name", getattr(policy, "__qualname__", None))
    return str(name or type(policy).__name__)


def check_views(policy: Callable[..., Any], images: Tensor, views: Any, *, unit_range: bool = True) -> None:
    """Refuse what is not one view of each image.

    Args:
        policy: what made the views.
        images: shape (B, c, S, S), floating point in [0, 1].
        views: what the policy returned for them.
        unit_range: whether the views must lie in [0, 1], too. The library's own ``small_*`` policies add
            noise and clamp nothing, so they need not.

    Raises:
        TypeError: if the views are no tensor of the images' type and device.
        ValueError: if they have another shape, hold NaN or Inf, or lie outside [0, 1]; names the policy.
    """
    who = f"the policy {policy_name(policy)!r}"
    wanted = f"{images.dtype} on {images.device}"
    if not isinstance(views, Tensor) or (views.dtype, views.device) != (images.dtype, images.device):
        kind = f"{views.dtype} on {views.device}" if isinstance(views, Tensor) else type(views).__name__
        raise TypeError(
            f"{who} returned {kind} for images of {wanted}; return a tensor of that type and device"
        )
    if views.shape != images.shape:
        raise ValueError(
            f"{who} returned shape {tuple(views.shape)} for images of shape {tuple(images.shape)}; "
            "return one view of each image, of the image's shape"
        )
    low, high = (float(end) for end in torch.aminmax(views)) if views.numel() else (0.0, 1.0)
    if not low > -torch.inf or not high < torch.inf:  # false for NaN, too
        raise ValueError(f"{who} returned NaN or Inf; return finite numbers")
    if unit_range and not _is_ours(policy) and (low < -_ROUNDING or high > 1 + _ROUNDING):
        raise ValueError(
            f"{who} returned values from {low:.4g} to {high:.4g}; allowed: [0, 1]: clamp its result, and "
            "leave standardization to the network's first layer"
        )


def _is_ours(policy: Callable[..., Any]) -> bool:
    return _is_ours(policy.func) if isinstance(policy, partial) else isinstance(policy, Policy)


_ROWS = 4096  # views that are made at a time for a bank


def keyed_views(
    policy: Policy,
    images: Tensor,
    examples: Tensor,
    numbers: Tensor | int,
    seed: int | Tensor,
    strength: float | Tensor = 1.0,
    *,
    check: bool = True,
) -> Tensor:
    """Return given views of given images.

    Args:
        policy: from :func:`~memorization.data.augmentation.policies.augmentation`.
        images: all N images, shape (N, c, S, S), floating point in [0, 1].
        examples: which images, shape (B,), int64.
        numbers: which view of each, int64 of shape (B,), or one for all; any number >= 0.
        seed: of the views; an int64 tensor (B,) gives each its own.
        strength: one number, or shape (B,).
        check: see :class:`~memorization.data.augmentation.policies.Policy`.

    Returns:
        Views of shape (B, c, S, S) in the images' type.
    """
    keys = view_keys(seed, examples, numbers)
    return policy(images[examples], Draws.keyed(keys), strength, check=check)


def make_bank(
    policy: Policy,
    images: Tensor,
    views: int,
    seed: int,
    strength: float = 1.0,
    *,
    cap_mib: float = 4096,
    dtype: torch.dtype = torch.uint8,
) -> Tensor:
    """Make the first K views of all images and keep them; :func:`from_bank` looks them up.

    Args:
        policy: from :func:`~memorization.data.augmentation.policies.augmentation`.
        images: shape (N, c, S, S), floating point in [0, 1].
        views: number K of views per image, >= 1.
        seed: of the views, as in :func:`keyed_views`.
        strength: of the policy.
        cap_mib: largest size of the bank in MiB.
        dtype: ``torch.uint8`` (rounded to 256 levels; values outside [0, 1], which the ``small_*`` policies
            can give, are clamped) or a floating-point type (as :func:`keyed_views` gives them).

    Returns:
        Shape (N, K, c, S, S), on the images' device.

    Raises:
        ValueError: for fewer than 1 view, another type, or a bank larger than the cap.
    """
    if views < 1:
        raise ValueError(f"views={views} per image; at least 1 is needed")
    if dtype != torch.uint8 and not dtype.is_floating_point:
        raise ValueError(f"a bank cannot hold {dtype}; allowed: torch.uint8 or a floating-point type")
    size = images.numel() * views * dtype.itemsize / 2**20
    if size > cap_mib:
        raise ValueError(
            f"a bank of {views} views of {len(images)} images takes {size:,.0f} MiB in {dtype}; allowed are "
            f"cap_mib={cap_mib:,.0f}. Take fewer views or torch.uint8, raise the cap, or make the views at "
            "each visit with keyed_views"
        )
    shape = (len(images) * views, *images.shape[1:])
    bank = torch.empty(shape, dtype=dtype, device=images.device)
    for start in range(0, len(bank), _ROWS):
        rows = torch.arange(start, min(start + _ROWS, len(bank)), device=images.device)
        made = keyed_views(policy, images, rows // views, rows % views, seed, strength)
        bank[start : start + _ROWS] = to_bytes(made) if dtype == torch.uint8 else made
    return bank.view(len(images), views, *images.shape[1:])


def from_bank(bank: Tensor, examples: Tensor, numbers: Tensor | int) -> Tensor:
    """Return views of a bank as floats; bytes are divided by 255.

    Args:
        bank: from :func:`make_bank`, shape (N, K, c, S, S).
        examples: which images, shape (B,), int64.
        numbers: which view of each, int64 of shape (B,) in 0..K-1, or one for all.

    Returns:
        Shape (B, c, S, S), float32 for a bank of bytes, otherwise in the bank's type.
    """
    views = bank[examples, numbers]
    return views.float().div_(255) if bank.dtype == torch.uint8 else views


def to_bytes(images: Tensor) -> Tensor:
    """Round images in [0, 1] to 256 levels, uint8; values outside are clamped."""
    return (images * 255).round_().clamp_(0, 255).to(torch.uint8)
