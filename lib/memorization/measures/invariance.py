"""Invariance of features under augmentation, on one scale for every site.

Anagnostidis et al. (ICLR 2023) read benign memorization as learning of invariances; the normalized measure
is ours: the distance of two views of one image over the distance of views of two images.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from memorization.data.view_checks import check_views
from memorization.measures.evaluation import check_images, device_of
from memorization.measures.features import Sites, site_features
from memorization.measures.memorized import Policy
from memorization.measures.probe import unit_rows


def invariance(
    model: nn.Module,
    images: Tensor,
    policy: Policy,
    sites: Sites,
    generator: torch.Generator,
    *,
    views: int = 8,
    pool: int = 4,
    strength: float = 1.0,
    batch: int = 1024,
) -> dict[str, float]:
    """Compare the distance between views of one image with that between views of two.

    ``I = E |z(t(x)) - z(t'(x))|^2 / E |z(t(x)) - z(t'(x'))|^2`` with z divided by its norm. Views (0, 1),
    (2, 3), ... are compared; the other image x' is the next one, so the images should be in random order.

    Args:
        model: any network; measured in evaluation mode.
        images: shape (n, c, S, S), float in [0, 1], n >= 2; held-out images, so that it is not memorization.
            256 are enough.
        policy: augmentation, ``policy(images, generator, strength=strength)``.
        sites: as in :func:`~memorization.measures.features.site_features`; one pass serves all.
        generator: source of the views.
        views: views per image, an even number >= 2.
        pool: see :func:`~memorization.measures.features.site_features`.
        strength: passed to the policy.
        batch: images per forward pass.

    Returns:
        For each site I >= 0: 0 is perfectly invariant; 1 means that two views of one image are as far apart
        as views of two images; NaN, with a warning, if the site has one and the same feature for all.

    Raises:
        KeyError: for an unknown site.
        ValueError: for images not float in [0, 1], fewer than two, an odd number of views, or a policy that
            returns no finite view of each image.
    """
    check_images(images)
    if len(images) < 2:
        raise ValueError("invariance compares different images: at least two are needed; got 1")
    if isinstance(views, bool) or not isinstance(views, int) or views < 2 or views % 2:
        raise ValueError(f"views are compared in pairs: an even number >= 2 is needed; got {views!r}")
    images = images.to(device_of(model, images))
    sums: dict[str, Tensor] = {}
    for _ in range(views // 2):
        both = [policy(images, generator, strength=strength) for _ in range(2)]
        check_views(policy, images, both[0], unit_range=False)
        pair = torch.cat(both)
        for site, rows in site_features(model, pair, sites, pool=pool, batch=batch).items():
            first, second = unit_rows(rows, f"site {site!r}")[0].double().chunk(2)
            found = torch.stack([_distance(first, second), _distance(first, second.roll(1, dims=0))])
            sums[site] = sums.get(site, 0) + found
    return {site: _ratio(site, *total.tolist()) for site, total in sums.items()}


def _distance(first: Tensor, second: Tensor) -> Tensor:
    return (first - second).square().sum(dim=1).mean()


def _ratio(site: str, same: float, different: float) -> float:
    if different == 0:
        warnings.warn(
            f"site {site!r} has one feature for all images: its invariance is undefined (NaN)",
            UserWarning,
            stacklevel=3,
        )
        return float("nan")
    return same / different
