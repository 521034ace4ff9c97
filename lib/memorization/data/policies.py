"""Augmentation policies by name: from a batch of images to one random view of each.

Anagnostidis et al. (ICLR 2023), their augmentations and strength sweep, and milder policies for small images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from memorization.data.draws import Draws
from memorization.data.randaugment import ordinary, sixteen_operations
from memorization.data.recipes import RECIPES, part_of
from memorization.data.small_images import SMALL_IMAGES
from memorization.data.words import did_you_mean

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
        check_images(images)
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
    plans: dict[str, Plan] = {**RECIPES, "myrandaugment": sixteen_operations(), **SMALL_IMAGES}
    if spec not in plans:
        raise ValueError(
            f"unknown augmentation {spec!r}{did_you_mean(str(spec), plans)}; "
            f"choose one of {', '.join(plans)}, or a number in [0, 1]"
        )
    return Policy(spec, plans[spec])


def check_images(images: Tensor) -> None:
    """Raise a ValueError unless images are square floats (B, 1 or 3, S, S) in [0, 1]."""
    if images.ndim != 4 or images.shape[2] != images.shape[3] or images.shape[1] not in (1, 3):
        raise ValueError(f"images have shape {tuple(images.shape)}; allowed: (B, 1 or 3, S, S)")
    if not images.is_floating_point():
        raise ValueError(
            f"expected float images in [0,1]; got {images.dtype}. Divide by the largest level first"
        )
    if images.numel():
        low, high = (float(end) for end in torch.aminmax(images))
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"expected float images in [0,1]; got values from {low:g} to {high:g}. Divide by the largest "
                "level first"
            )
