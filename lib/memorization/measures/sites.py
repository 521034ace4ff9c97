"""Features of a network at several named sites from one forward pass.

Anagnostidis et al. (ICLR 2023) probe the layers one by one: after the stem, after each stage, the pooled
embedding, the projector's hidden layer and the logits.

Invariance of features under augmentation, on one scale for every site.

Anagnostidis et al. (ICLR 2023) read benign memorization as learning of invariances; the normalized measure
is ours: the distance of two views of one image over the distance of views of two images.

Every probe at every site of one network: one row per site.

What is measured of a network while it memorizes: probes at every site, and accuracies kept apart.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from memorization.data.augmentation.policies import check_views
from memorization.data.splits import MemorizedSplit
from memorization.draws import generator
from memorization.measures.accuracy import (
    Policy,
    bank_accuracy,
    calibrated,
    check_batch,
    check_images,
    class_scores,
    device_of,
    evaluating,
    memorization_accuracies,
)
from memorization.measures.probes import AbsentClassWarning, linear_probe, nearest, noise_probe, unit_rows
from memorization.models.networks import StagedNetwork
from memorization.training.batches import LabelledViews

Sites = Mapping[str, str] | Sequence[str]


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
    if isinstance(pool, bool) or not isinstance(pool, int) or pool < 1:
        raise ValueError(f"pool must be a whole number >= 1; got {pool!r}")
    modules = find_sites(model, sites)
    recorder = _Recorder(list(modules), len(images), pool, dtype)
    hooks = [module.register_forward_hook(recorder.hook(site)) for site, module in modules.items()]
    device = device_of(model, images)
    try:
        with evaluating(model):
            for part in images.split(batch):
                recorder.begin(len(part))
                model(part.to(device))
                recorder.finish()
    finally:
        for hook in hooks:
            hook.remove()
    return recorder.features


def find_sites(model: nn.Module, sites: Sites) -> dict[str, nn.Module]:
    """Return the submodule of each site.

    Args:
        model: any network.
        sites: as in :func:`site_features`; one name alone is one site.

    Returns:
        {name of the site: submodule}.

    Raises:
        KeyError: for an unknown submodule, listing the available ones.
        ValueError: if no site is named, or one twice.
    """
    names = [sites] if isinstance(sites, str) else sites
    wanted = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
    if not wanted or len(wanted) != len(names):
        raise ValueError(f"name at least one site, and each once; got {list(names)}")
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in wanted.values():
        if name not in modules or not name:
            available = ", ".join(filter(None, modules))
            raise KeyError(f"the network has no site {name!r}; available are {available}")
    return {site: modules[name] for site, name in wanted.items()}


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
    given: dict[str, list[Any]] = {name: [] for name, _ in model.named_children()}
    hooks = [
        child.register_forward_hook(lambda module, inputs, output, name=name: given[name].append(output))
        for name, child in model.named_children()
    ]
    try:
        with evaluating(model):
            model(some)
    finally:
        for hook in hooks:
            hook.remove()
    left_out = {name: f"used {len(seen)} times" for name, seen in given.items() if len(seen) != 1}
    for name in given.keys() - left_out.keys():
        if not _is_feature(given[name][0], len(some)):
            left_out[name] = "gives no feature"
    return {name: name for name in given if name not in left_out}, left_out


def _is_feature(output: Any, rows: int) -> bool:
    return isinstance(output, Tensor) and output.ndim in (2, 3, 4) and len(output) == rows


class _Recorder:
    """Pools what passes the sites and writes it into one preallocated matrix per site."""

    def __init__(self, sites: Sequence[str], n: int, pool: int, dtype: torch.dtype | None) -> None:
        self.features: dict[str, Tensor] = dict.fromkeys(sites, torch.empty(0))
        self._n, self._pool, self._dtype = n, pool, dtype
        self._start = self._rows = 0
        self._calls: dict[str, int] = {}

    def begin(self, rows: int) -> None:
        """Start a forward pass over ``rows`` images."""
        self._rows, self._calls = rows, dict.fromkeys(self.features, 0)

    def hook(self, site: str) -> Callable[[nn.Module, Any, Any], None]:
        """Return the forward hook of one site."""

        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            self._calls[site] += 1
            self._store(site, self._flat(site, output))

        return record

    def finish(self) -> None:
        """End a forward pass; each site must have been passed once."""
        for site, count in self._calls.items():
            if count != 1:
                raise ValueError(
                    f"site {site!r} was passed {count} times in one forward pass; choose a submodule that is "
                    "used once"
                )
        self._start += self._rows

    def _flat(self, site: str, output: Any) -> Tensor:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        if not _is_feature(output, self._rows):
            raise ValueError(
                f"site {site!r} gives {shape} for {self._rows} images; a feature has shape (B, d), (B, T, d) "
                "or (B, c, h, w)"
            )
        if output.ndim == 3:
            return output.mean(dim=1)
        if output.ndim == 4:
            height, width = output.shape[2:]
            return adaptive_avg_pool2d(output, (min(height, self._pool), min(width, self._pool))).flatten(1)
        return output

    def _store(self, site: str, rows: Tensor) -> None:
        if self._start == 0:
            self.features[site] = rows.new_empty(self._n, rows.shape[1], dtype=self._dtype)
        self.features[site][self._start : self._start + self._rows] = rows


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
        sites: as in :func:`~memorization.measures.sites.site_features`; one pass serves all.
        generator: source of the views.
        views: views per image, an even number >= 2.
        pool: see :func:`~memorization.measures.sites.site_features`.
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


Row = dict[str, float | str]
COLUMNS = (
    "site",
    "size",
    "clean_probe",
    "initial_probe",
    "initial_probe_uncalibrated",
    "noise_probe",
    "linear_probe",
    "invariance",
)
_INVARIANCE_IMAGES = 256


@dataclass(frozen=True)
class Data:
    """Training images with their memorized and their true labels, and labelled test images."""

    images: Tensor
    labels: Tensor
    true_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


@dataclass(frozen=True)
class Setting:
    """How the sites are probed: {site: submodule}, K, pooling, batch, strength of the policy, seed."""

    places: Mapping[str, str]
    k: int
    pool: int
    batch: int
    strength: float
    seed: int


def site_rows(
    model: nn.Module, initial: nn.Module, data: Data, policy: Policy | None, setting: Setting
) -> dict[str, Row]:
    """Probe a trained network and the one it started from.

    Args:
        model: the trained network.
        initial: the network before training.
        data: checked images and labels.
        policy: augmentation; None leaves the invariance NaN.
        setting: how the sites are probed.

    Returns:
        {site: row with the entries of ``COLUMNS``}.
    """
    rows = _trained_probes(model, data, setting)
    before = {
        "initial_probe": calibrated(initial, data.images, setting.batch),
        "initial_probe_uncalibrated": initial,
    }
    for column, network in before.items():
        for site, (train, test) in _both(network, data, setting):
            with _named(site):
                found = nearest(train, test, setting.k)
                rows[site][column] = found.accuracy(data.true_labels, data.test_labels)
    for site, value in _invariances(model, data.test_images, policy, setting).items():
        rows[site]["invariance"] = value
    return rows


def _trained_probes(model: nn.Module, data: Data, setting: Setting) -> dict[str, Row]:
    rows: dict[str, Row] = {}
    for site, (train, test) in _both(model, data, setting):
        with _named(site):
            clean = nearest(train, test, setting.k)
            rows[site] = {
                "site": site,
                "size": train.shape[1],
                "clean_probe": clean.accuracy(data.true_labels, data.test_labels),
                "noise_probe": noise_probe(train, data.labels, setting.k).accuracy,
                "linear_probe": linear_probe(train, data.true_labels, test, data.test_labels).accuracy,
            }
    return rows


@contextmanager
def _named(site: str) -> Iterator[None]:
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


def _both(network: nn.Module, data: Data, setting: Setting) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    """Each site with its features of the training and of the test images."""
    train, test = (
        site_features(network, images, setting.places, pool=setting.pool, batch=setting.batch)
        for images in (data.images, data.test_images)
    )
    for site in setting.places:
        yield site, (train[site], test[site])


def _invariances(
    model: nn.Module, images: Tensor, policy: Policy | None, setting: Setting
) -> dict[str, float]:
    if policy is None or len(images) < 2:
        return dict.fromkeys(setting.places, float("nan"))
    order = torch.randperm(len(images), generator=generator(setting.seed, "images for invariance"))
    chosen = images[order[:_INVARIANCE_IMAGES].to(images.device)]
    views = generator(setting.seed, "views for invariance")
    return invariance(
        model,
        chosen,
        policy,
        setting.places,
        views,
        pool=setting.pool,
        strength=setting.strength,
        batch=setting.batch,
    )


_NAN = float("nan")
_BANK_VIEWS = 64  # of a larger bank the first ones are looked at


@dataclass(frozen=True)
class Watcher:
    """Measures a network in training; called by the training loop as ``watch(epoch, member, network)``.

    Attributes:
        split: memorized images, reference and test set, on the networks' device.
        views: what the networks see.
        policy: the augmentation of fresh views and of the invariance.
        strength: of that policy, for the invariance; the same for all arms, so that they can be compared.
        k: neighbors of the probes.
        pool: feature maps are average-pooled to at most this side.
    """

    split: MemorizedSplit
    views: LabelledViews
    policy: Policy
    strength: float
    k: int = 20
    pool: int = 4

    def __call__(self, epoch: int, member: int, network: nn.Module) -> list[dict[str, Any]]:
        """Return one row per site; what belongs to the whole network stands in each.

        Before the first step (epoch 0) the network is measured with calibrated batch-norm statistics, and
        ``uncalibrated_probe`` is its clean probe without.
        """
        raw = self._clean(network) if epoch == 0 else {}
        if epoch == 0:
            network = calibrated(network, self.images)
        seed = self.views.seeds[member]
        whole = self._accuracies(network, member)
        spread = invariance(
            network,
            self._test[:_INVARIANCE_IMAGES],
            self.policy,
            self._sites(network),
            generator(seed, "views for invariance"),
            pool=self.pool,
            strength=self.strength,
        )
        noise = self._noise(network, self.views.labels[member])
        return [
            {
                "site": site,
                "depth": depth,
                "clean_probe": clean,
                "uncalibrated_probe": raw.get(site, _NAN),
                "noise_probe": noise[site],
                "invariance": spread[site],
                **whole,
            }
            for depth, (site, clean) in enumerate(self._clean(network).items())
        ]

    @property
    def images(self) -> Tensor:
        """The memorized images."""
        return self.split.memorized.floats()

    @property
    def _test(self) -> Tensor:
        return self.split.test.floats()

    @staticmethod
    def _sites(network: nn.Module) -> dict[str, str]:
        if isinstance(network, StagedNetwork):
            return network.sites
        return {name: name for name, _ in network.named_children()}

    def _features(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        return site_features(network, images, self._sites(network), pool=self.pool)

    def _clean(self, network: nn.Module) -> dict[str, float]:
        """Test accuracy of the vote of the reference images, with true labels, at each site."""
        reference = self._features(network, self.split.reference.floats())
        test = self._features(network, self._test)
        labels, wanted = self.split.reference.labels, self.split.test.labels
        return {
            site: nearest(rows, test[site], self.k).accuracy(labels, wanted)
            for site, rows in reference.items()
        }

    def _noise(self, network: nn.Module, labels: Tensor) -> dict[str, float]:
        """Accuracy on the memorized labels of a leave-one-out vote among the memorized images."""
        features = self._features(network, self.views.images)
        return {
            site: nearest(rows, None, self.k, leave_one_out=True).accuracy(labels, labels)
            for site, rows in features.items()
        }

    def _accuracies(self, network: nn.Module, member: int) -> dict[str, float]:
        """The memorization accuracies kept apart, and the test accuracy of the network's own answers."""
        seed, strength = self.views.seeds[member], float(self.views.strength[member])
        labels = self.views.labels[member]
        source = generator(seed, "fresh views")
        found = memorization_accuracies(
            network, self.views.images, labels, self.policy, source, strength=strength
        )
        answers = class_scores(network, self._test, 1024).argmax(1)
        return {
            "clean_view": found["clean_view"],
            "fresh_view": found["fresh_view"],
            "bank_view": self._bank(network, member),
            "test_accuracy": float((answers == self.split.test.labels).double().mean()),
        }

    def _bank(self, network: nn.Module, member: int) -> float:
        """Accuracy on the fixed views themselves, NaN where each visit shows a fresh one."""
        fixed = min(int(self.views.bank[member]), _BANK_VIEWS)
        if fixed == 0:
            return _NAN
        mine = self.views.take([member])
        examples = torch.arange(mine.examples, device=mine.images.device)[None]
        numbers = [torch.full_like(examples, k) for k in range(fixed)]
        bank = torch.stack([mine.show(examples, k)[0] for k in numbers], 1)
        labels = torch.stack([mine.label(examples, k)[0] for k in numbers], 1)
        return bank_accuracy(network, bank, labels)
