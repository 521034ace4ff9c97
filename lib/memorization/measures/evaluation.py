"""Networks as they are when they are measured: evaluation mode, no gradients, every mode restored after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain

import torch
from torch import Tensor, nn


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode without gradients; each submodule gets its own mode back.

    Args:
        model: any network; a part of it may be frozen in evaluation mode while the rest trains.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def device_of(model: nn.Module, images: Tensor) -> torch.device:
    """Return the device of a network's first parameter or buffer, or the images' if it has none."""
    first = next(chain(model.parameters(), model.buffers()), images)
    return first.device


def class_scores(model: nn.Module, images: Tensor, batch: int = 1024) -> Tensor:
    """Return the network's outputs in evaluation mode.

    Args:
        model: maps (B, ...) to (B, C).
        images: shape (n, ...); batches are moved to the model's device.
        batch: images per forward pass.

    Returns:
        Scores of the classes, shape (n, C), on the model's device.

    Raises:
        ValueError: if there are no images, or the output is not one row of finite scores per image: a class
            would be read off NaN as well.
    """
    check_batch(images, batch)
    device = device_of(model, images)
    with evaluating(model):
        scores = torch.cat([_scores(model, part.to(device)) for part in images.split(batch)])
    broken = int((~scores.isfinite()).any(dim=1).sum())
    if broken:
        raise ValueError(
            f"the network gives NaN or Inf for {broken} of {len(scores)} images; a network that diverged "
            "cannot be evaluated: look for the step at which its loss grew, or for images that are not finite"
        )
    return scores


def check_batch(images: Tensor, batch: int) -> None:
    """Refuse an empty set of images, and a batch that is not a whole number >= 1."""
    if images.ndim == 0 or len(images) == 0:
        raise ValueError(f"at least one image is needed; got shape {tuple(images.shape)}")
    if isinstance(batch, bool) or not isinstance(batch, int) or batch < 1:
        raise ValueError(f"batch must be a whole number >= 1; got {batch!r}")


def check_images(images: Tensor, name: str = "images") -> None:
    """Refuse images that are not floating-point numbers in [0, 1], the range that policies expect.

    Raises:
        ValueError: saying what was given; NaN is outside the range too.
    """
    if images.ndim != 4 or len(images) == 0:
        raise ValueError(
            f"{name}: expected images of shape (n, channels, height, width); got {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise ValueError(
            f"{name}: expected float images in [0,1]; got {images.dtype}: divide by the largest level"
        )
    low, high = (float(value) for value in images.aminmax())
    if not (low >= 0 and high <= 1):
        raise ValueError(f"{name}: expected float images in [0,1]; got values from {low:g} to {high:g}")


def _scores(model: nn.Module, images: Tensor) -> Tensor:
    scores = model(images)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"the network must map {len(images)} images to scores of shape ({len(images)}, C); got {shape}"
        )
    return scores
