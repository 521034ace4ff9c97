"""Mixup and cutmix: every image of a batch mixed with another one.

Anagnostidis et al. ran both with the label of the first image as the only target, so that mixing acts as
structured noise of the input. The textbook's target is mixed like the images. Both are here.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from memorization.checks import check_choice

TARGETS = ("first", "mixed")


def mixup(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: torch.Generator,
    *,
    probability: float = 0.8,
    targets: str = "first",
) -> tuple[Tensor, Tensor]:
    """Mix each image with another one of its batch: w x + (1 - w) x', one w ~ Beta(1, 1) = U(0, 1) per batch.

    Args:
        images: shape (B, c, S, S), or (M, B, c, S, S) for stacked models, which mix and draw by themselves.
        labels: shape (B,) or (M, B), int64 in 0..C-1.
        classes: number C of classes.
        generator: CPU generator of weights and partners.
        probability: of mixing a batch at all.
        targets: ``first`` (one-hot label of the first image, as the authors ran it) or ``mixed``
            (w y + (1 - w) y', as in the textbook).

    Returns:
        Images of the same shape, and targets of shape (B, C) or (M, B, C) in the images' type.

    Raises:
        ValueError: for a probability outside [0, 1], an unknown kind of targets, or labels that do not fit.
    """
    _check(images, labels, probability, targets)
    weight, partner = _draw(labels.shape, generator, probability)  # (M, 1), (M, B); M = 1 without models
    weight = weight.to(images.device, images.dtype)
    whole = images.view(*partner.shape, *images.shape[-3:])
    amount = weight[..., None, None, None]
    mixed = whole * amount + _take(whole, partner) * (1 - amount)
    return mixed.view_as(images), _targets(images, labels, classes, partner, weight, targets)


def cutmix(
    images: Tensor,
    labels: Tensor,
    classes: int,
    generator: torch.Generator,
    *,
    probability: float = 1.0,
    targets: str = "first",
) -> tuple[Tensor, Tensor]:
    """Replace one box of each image by that of another one of its batch.

    The box has the area 1 - w, w ~ Beta(1, 1) = U(0, 1), and a uniform center, is cut at the edges, and is
    the same for the whole batch. Mixed targets weigh by the area that was really replaced. At which
    probability the authors ran it is not known.

    Args, Returns and Raises as :func:`mixup`.
    """
    _check(images, labels, probability, targets)
    weight, partner = _draw(labels.shape, generator, probability)
    size = images.shape[-1]
    center = (torch.rand(len(weight), 2, generator=generator) * size).floor()  # (M, 2)
    half = ((1 - weight).sqrt() * size).floor() // 2  # (M, 1)
    pixel = torch.arange(size)
    low, high = (center - half).unsqueeze(2), (center + half).unsqueeze(2)
    inside = (pixel >= low) & (pixel < high)  # (M, 2, S)
    box = inside[:, 1, :, None] & inside[:, 0, None, :]  # (M, S, S)
    kept = 1 - box.double().mean(dim=(1, 2)).unsqueeze(1).to(images.device, images.dtype)
    whole = images.view(*partner.shape, *images.shape[-3:])
    mixed = torch.where(box[:, None, None].to(images.device), _take(whole, partner), whole)
    return mixed.view_as(images), _targets(images, labels, classes, partner, kept, targets)


def _draw(shape: torch.Size, generator: torch.Generator, probability: float) -> tuple[Tensor, Tensor]:
    """Return the weight of the first image per model (1 where nothing is mixed) and partners."""
    models, batch = (1, *shape)[-2:]
    weight, coin = torch.rand(2, models, 1, generator=generator)
    partner = torch.rand(models, batch, generator=generator).argsort(dim=1)  # a permutation for each model
    return torch.where(coin < probability, weight, 1.0), partner


def _take(values: Tensor, partner: Tensor) -> Tensor:
    """Return ``values[m, partner[m]]`` for every model m."""
    models = torch.arange(len(partner)).unsqueeze(1)
    return values[models.to(values.device), partner.to(values.device)]


def _targets(
    images: Tensor, labels: Tensor, classes: int, partner: Tensor, weight: Tensor, kind: str
) -> Tensor:
    first = one_hot(labels, classes).to(images.dtype)
    if kind == "first":
        return first
    whole = first.view(*partner.shape, classes)
    share = weight.unsqueeze(-1)
    return (whole * share + _take(whole, partner) * (1 - share)).view_as(first)


def _check(images: Tensor, labels: Tensor, probability: float, targets: str) -> None:
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability}; allowed: 0..1")
    check_choice("targets", targets, TARGETS)
    if images.ndim not in (4, 5) or labels.shape != images.shape[:-3]:
        raise ValueError(
            f"images of shape {tuple(images.shape)} and labels of shape {tuple(labels.shape)}; allowed: "
            "(B, c, S, S) and (B,), or (M, B, c, S, S) and (M, B)"
        )
