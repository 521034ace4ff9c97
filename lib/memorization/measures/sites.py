"""What a network knows at its named sites: features from one forward pass, every probe of them, invariance.

Anagnostidis et al. (ICLR 2023) probe the layers one by one: after the stem, after each stage, the pooled
embedding, the projector's hidden layer and the logits. They read benign memorization as learning of
invariances; the normalized measure of it is ours: the distance of two views of one image over the distance
of views of two images, on one scale for every site.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from memorization.checks import check_images, check_whole
from memorization.data.augmentation.policies import check_views
from memorization.measures.accuracy import Policy, check_batch, device_of
from memorization.measures.probes import AbsentClassWarning, linear_probe, nearest, noise_probe, unit_rows
from memorization.models.networks import Sites, evaluating, find_sites


@dataclass(frozen=True)
class SiteProber:
    """Asks the sites of networks for the true classes of test images, and for memorized labels.

    Attributes:
        reference: images that vote, shape (N, ...), whatever the networks take.
        labels: their true labels, shape (N,), int64.
        test: images that are classified, shape (T, ...).
        test_labels: their true labels, shape (T,), int64.
        k: number K of neighbors.
        pool: feature maps are average-pooled to at most this side.
        batch: images per forward pass.
    """

    reference: Tensor
    labels: Tensor
    test: Tensor
    test_labels: Tensor
    k: int = 20
    pool: int = 4
    batch: int = 1024

    def probes(
        self,
        network: nn.Module,
        sites: Sites,
        memorized: Tensor | None = None,
        memorized_labels: Tensor | None = None,
        *,
        linear: bool = False,
    ) -> dict[str, dict[str, float]]:
        """Probe every site of one network.

        Args:
            network: any network; evaluated in evaluation mode.
            sites: as in :func:`site_features`.
            memorized: images whose labels were memorized; None asks for no noise probe.
            memorized_labels: those labels, one for each.
            linear: whether to take the linear probe, too.

        Returns:
            For each site ``size`` (features per image), ``clean_probe`` (k-NN with true labels, accuracy on
            the test images) and, where asked for, ``noise_probe`` (the memorized labels by leave-one-out
            k-NN; chance is 1/C) and ``linear_probe`` (true labels, test images).

        Raises:
            KeyError: for an unknown site, with the available ones.
            ValueError: naming the site whose features cannot be probed.
        """
        train, test = (
            self._features(network, sites, self.reference),
            self._features(network, sites, self.test),
        )
        noisy = train
        if memorized is not None and memorized is not self.reference:
            noisy = self._features(network, sites, memorized)
        rows: dict[str, dict[str, float]] = {}
        for site, known in train.items():
            with _told_with(site):
                clean = nearest(known, test[site], self.k).accuracy(self.labels, self.test_labels)
                rows[site] = {"size": known.shape[1], "clean_probe": clean}
                if memorized_labels is not None:
                    rows[site]["noise_probe"] = noise_probe(noisy[site], memorized_labels, self.k).accuracy
                if linear:
                    found = linear_probe(known, self.labels, test[site], self.test_labels)
                    rows[site]["linear_probe"] = found.accuracy
        return rows

    def _features(self, network: nn.Module, sites: Sites, images: Tensor) -> dict[str, Tensor]:
        return site_features(network, images, sites, pool=self.pool, batch=self.batch)


@contextmanager
def _told_with(site: str) -> Iterator[None]:
    """Say at which site a probe warns or fails."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield
        except ValueError as error:
            raise ValueError(f"site {site!r}: {error}") from error
    for warning in caught:  # absent classes are those of the data, and the same at every site
        where = "" if issubclass(warning.category, AbsentClassWarning) else f"site {site!r}: "
        warnings.warn(f"{where}{warning.message}", warning.category, stacklevel=3)


def site_features(
    model: nn.Module,
    images: Tensor,
    sites: Sites,
    *,
    pool: int = 4,
    batch: int = 1024,
    dtype: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Collect the outputs of named submodules, one matrix per site.

    Feature maps (B, c, h, w) are average-pooled to at most ``pool`` x ``pool`` and flattened; early layers'
    probes depend on it, so name it beside the result. Token sequences (B, T, d) are averaged over T.

    Args:
        model: any network; evaluated in evaluation mode, every submodule's mode is restored.
        images: shape (n, ...), whatever the network takes; batches are moved to its device.
        sites: names of submodules as in ``model.named_modules()``, or {name of the site: name of the
            submodule}.
        pool: largest height and width of pooled feature maps, >= 1.
        batch: images per forward pass.
        dtype: floating-point type to store; None keeps the output's.

    Returns:
        For each site a matrix (n, d) on the model's device, in the order of ``sites``.

    Raises:
        KeyError: for an unknown submodule, listing the available ones.
        ValueError: if a site is reached never or twice in a forward pass, or its output is no feature.
    """
    check_batch(images, batch)
    check_whole("pool", pool, 1)
    modules = {site: model.get_submodule(place) for site, place in find_sites(model, sites).items()}
    device = device_of(model, images)
    passed: dict[str, list[Tensor]] = {site: [] for site in modules}
    features: dict[str, Tensor] = {}
    done = 0
    with _hooked(model, modules, lambda site, output: passed[site].append(_pooled(site, output, part, pool))):
        for part in images.split(batch):
            model(part.to(device))
            for site, found in passed.items():
                if len(found) != 1:
                    raise ValueError(
                        f"site {site!r} was passed {len(found)} times in one forward pass; choose a "
                        "submodule that is used once"
                    )
                rows = found.pop()
                if done == 0:
                    features[site] = rows.new_empty(len(images), rows.shape[1], dtype=dtype)
                features[site][done : done + len(part)] = rows
            done += len(part)
    return features


@contextmanager
def _hooked(
    model: nn.Module, modules: Mapping[str, nn.Module], see: Callable[[str, Any], None]
) -> Iterator[None]:
    """Evaluate a network, and see what each of the modules gives, with the module's name."""
    hooks = [
        module.register_forward_hook(lambda module, inputs, output, site=site: see(site, output))
        for site, module in modules.items()
    ]
    try:
        with evaluating(model):
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _pooled(site: str, output: Any, images: Tensor, pool: int) -> Tensor:
    """Make a matrix of an output, at once: what comes after a site may change its output in place."""
    if not _is_feature(output, images):
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ValueError(
            f"site {site!r} gives {shape} for {len(images)} images; a feature has shape (B, d), (B, T, d) "
            "or (B, c, h, w)"
        )
    if output.ndim == 3:
        return output.mean(dim=1)
    if output.ndim == 4:
        height, width = output.shape[2:]
        return adaptive_avg_pool2d(output, (min(height, pool), min(width, pool))).flatten(1)
    return output.clone()


def _is_feature(output: Any, images: Tensor) -> bool:
    return isinstance(output, Tensor) and output.ndim in (2, 3, 4) and len(output) == len(images)


def default_sites(model: nn.Module, images: Tensor) -> tuple[dict[str, str], dict[str, str]]:
    """Return the direct children at which a network can be probed, and why the others cannot.

    Args:
        model: any network; evaluated on a few images.
        images: shape (n, ...), n >= 1, whatever the network takes.

    Returns:
        {name of the site: name of the submodule}, and {name of a child left out: the reason}. A child is left
        out if one forward pass uses it never or twice (a shared activation), or if it gives no feature.
    """
    some = images[:2].to(device_of(model, images))
    children = dict(model.named_children())
    given: dict[str, list[Any]] = {name: [] for name in children}
    with _hooked(model, children, lambda name, output: given[name].append(output)):
        model(some)
    left_out = {name: f"used {len(seen)} times" for name, seen in given.items() if len(seen) != 1}
    for name in [name for name in given if name not in left_out]:
        if not _is_feature(given[name][0], some):
            left_out[name] = "gives no feature"
    return {name: name for name in given if name not in left_out}, left_out


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
        sites: as in :func:`site_features`; one pass serves all.
        generator: source of the views.
        views: views per image, an even number >= 2.
        pool: see :func:`site_features`.
        strength: passed to the policy.
        batch: images per forward pass.

    Returns:
        For each site I >= 0: 0 is perfectly invariant; 1 means that two views of one image are as far apart
        as views of two images; NaN, with a warning, if the site has one and the same feature for all.

    Raises:
        KeyError: for an unknown site.
        TypeError: for images that are not floating point.
        ValueError: for images outside [0, 1], fewer than two, an odd number of views, or a policy that
            returns no finite view of each image.
    """
    check_images(images, bytes_too=False)
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
