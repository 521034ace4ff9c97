"""The measures of benign memorization on a network and data of one's own, and the verdict on them.

Anagnostidis et al. (ICLR 2023), layer by layer: what a network that was trained on random labels knows of
the true ones, where the random ones can be read, and whether its memorization is benign. They call
memorization of random labels *benign* if a probe of the features does better than at initialization,
*malign* if it does no better. The verdict is our operational reading.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from scipy.stats import chi2_contingency
from scipy.stats.contingency import crosstab
from torch import Tensor, nn

from memorization.checks import as_classes, check_choice, check_images, check_whole
from memorization.data.augmentation.policies import augmentation
from memorization.draws import generator
from memorization.measures.accuracy import Policy, calibrated, class_scores, memorization_accuracies
from memorization.measures.sites import SiteProber, default_sites, invariance
from memorization.models.layers import redrawn
from memorization.models.networks import Sites, find_sites

THRESHOLDS = {"clean-view": 0.95, "fresh-view": 0.9, "bank": 0.95}
_SURPRISE = 1e-4  # probability below which labels are not taken as random
_INVARIANCE_IMAGES = 256
COLUMNS = (
    "site", "size", "clean_probe", "initial_probe", "initial_probe_uncalibrated", "noise_probe",
    "linear_probe", "invariance",
)  # fmt: skip


@dataclass(frozen=True)
class MemorizationReport:
    """What a network memorized and where.

    Attributes:
        table: one row per site, in order: ``site``, ``size`` (features per image), ``clean_probe`` (k-NN with
            true labels, on the test images), ``initial_probe`` (the same at initialization, batch norm
            calibrated), ``initial_probe_uncalibrated``, ``noise_probe`` (the memorized labels by
            leave-one-out k-NN on the training images; chance is 1/C), ``linear_probe`` (true labels, test
            images), ``invariance`` (test images; NaN without a policy).
        accuracies: memorization accuracies ``clean_view`` and, with a policy, ``fresh_view``; ``test``, the
            network's own accuracy on the test images, which is about chance for random labels.
        verdict: benign, malign or not memorized, judged at the embedding.
        warnings: sentences about what to read with care.
    """

    table: pd.DataFrame
    accuracies: Mapping[str, float]
    verdict: Verdict
    warnings: tuple[str, ...]


def memorization_report(
    model: nn.Module,
    initial: nn.Module | None,
    images: Tensor,
    labels: Tensor,
    true_labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    policy: Policy | str | None = None,
    sites: Sites | None = None,
    embedding: str | None = None,
    *,
    k: int = 20,
    seed: int = 0,
    strength: float = 1.0,
    measure: str = "clean-view",
    pool: int = 4,
    batch: int = 1024,
) -> MemorizationReport:
    """Report on a network that was trained on random labels.

    Args:
        model: the trained network, images (B, c, S, S) to scores (B, C); it is not changed.
        initial: the network before training; None draws one, see
            :func:`~memorization.models.layers.redrawn`.
        images: training images, un-augmented, shape (n, c, S, S), float in [0, 1].
        labels: the (random) labels that it was trained on, shape (n,), integers in 0..C-1.
        true_labels: the true ones, shape (n,), integers >= 0.
        test_images: held-out images, shape (T, c, S, S), float in [0, 1].
        test_labels: their true labels, shape (T,), each a class that ``true_labels`` may have.
        policy: the augmentation it was trained with, ``policy(images, generator, strength=strength)``, or a
            name that :func:`augmentation` knows; None measures neither fresh
            views nor invariance.
        sites: where to probe, see :func:`~memorization.measures.sites.site_features`; None takes
            ``model.sites`` if there is such a mapping, else those direct children of the network that a
            forward pass uses once; a warning names the others.
        embedding: the site that the verdict is about; None takes the one named ``embedding``, or the only
            one.
        k: number K of neighbors.
        seed: whole number >= 0, of the views, of the images for invariance and of a drawn initial network.
        strength: passed to the policy.
        measure: memorization measure of the verdict, ``clean-view`` or ``fresh-view``.
        pool: largest side of pooled feature maps.
        batch: images per forward pass.

    Returns:
        Table, accuracies, verdict and warnings.

    Raises:
        KeyError: for an unknown site, listing the available ones.
        TypeError: for labels that are not integers, or a policy that is no function.
        ValueError: for images not float in [0, 1], lengths that do not fit, labels outside their range, no
            embedding, an unknown name of a policy, a network whose outputs are not finite, a parameter that
            ``reset_parameters`` does not set, or the trained network as initial.
    """
    if initial is model:
        raise ValueError(
            "initial is the trained network itself; give a copy made before training (copy.deepcopy), or None"
        )
    data = _checked(images, labels, true_labels, test_images, test_labels)
    prober = SiteProber(images, data["true"], test_images, data["test"], k, pool, batch)
    policy = _policy(policy)
    places, left_out = _places(model, sites, images)
    at = _embedding(list(places), embedding)
    if measure not in ("clean-view", "fresh-view") or (measure == "fresh-view" and policy is None):
        raise ValueError(f"measure must be clean-view, or fresh-view with a policy; got {measure!r}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = redrawn(model, seed) if initial is None else initial
        rows = _rows(prober, model, before, data["training"], places)
        for site, value in _spread(prober, model, places, policy, strength, seed).items():
            rows[site]["invariance"] = value
        found = memorization_accuracies(
            model, images, labels, policy, generator(seed, "fresh views"), strength=strength, batch=batch
        )
        answers = class_scores(model, test_images, batch).argmax(dim=1).cpu()
    others = {name: value for name, value in found.items() if name != measure.replace("-", "_")}
    probes = rows[at]["clean_probe"], rows[at]["initial_probe"]
    judged = verdict(found[measure.replace("-", "_")], *probes, len(test_images), measure, others=others)
    told = [str(entry.message) for entry in caught if issubclass(entry.category, UserWarning)]
    told += notes(data["training"], data["true"], k)
    told += _left_undone(drawn=initial is None, without_policy=policy is None, left_out=left_out)
    table = pd.DataFrame([{"site": site, **row} for site, row in rows.items()])[list(COLUMNS)]
    accuracies = {**found, "test": float((answers == data["test"].cpu()).double().mean())}
    return MemorizationReport(table, accuracies, judged, tuple(dict.fromkeys(told)))


def _checked(
    images: Tensor, labels: Tensor, true_labels: Tensor, test_images: Tensor, test_labels: Tensor
) -> dict[str, Tensor]:
    """The three labellings as class numbers; refuses images and labels that do not fit."""
    check_images(images, "training images", bytes_too=False)
    check_images(test_images, "test images", bytes_too=False)
    if images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            "training and test images must have one shape; "
            f"got {tuple(images.shape)} and {tuple(test_images.shape)}"
        )
    if images.device == test_images.device and torch.equal(images, test_images):
        raise ValueError("the test images are the training images; give images that were held out")
    true = as_classes(true_labels, len(images), "true")
    return {
        "training": as_classes(labels, len(images), "training"),  # the largest: see the outputs
        "true": true,
        "test": as_classes(test_labels, len(test_images), "test", int(true.max()) + 1),
    }


def _rows(
    prober: SiteProber, model: nn.Module, initial: nn.Module, labels: Tensor, places: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """The probes at each site of the trained network and of the one it started from."""
    rows = prober.probes(model, places, prober.reference, labels, linear=True)
    before = {
        "initial_probe": calibrated(initial, prober.reference, prober.batch),
        "initial_probe_uncalibrated": initial,
    }
    for column, network in before.items():
        for site, found in prober.probes(network, places).items():
            rows[site][column] = found["clean_probe"]
    return rows


def _spread(
    prober: SiteProber,
    model: nn.Module,
    places: Mapping[str, str],
    policy: Policy | None,
    strength: float,
    seed: int,
) -> dict[str, float]:
    """The invariance at each site, of some test images; NaN without a policy."""
    if policy is None or len(prober.test) < 2:
        return dict.fromkeys(places, float("nan"))
    order = torch.randperm(len(prober.test), generator=generator(seed, "images for invariance"))
    some = prober.test[order[:_INVARIANCE_IMAGES].to(prober.test.device)]
    views = generator(seed, "views for invariance")
    settings: dict[str, Any] = {"pool": prober.pool, "strength": strength, "batch": prober.batch}
    return invariance(model, some, policy, places, views, **settings)


def _policy(given: Policy | str | None) -> Policy | None:
    if isinstance(given, str):
        return augmentation(given)
    if given is not None and not callable(given):
        raise TypeError(
            f"policy={given!r}; allowed: a function policy(images, generator, strength=...), the name of an "
            "augmentation, or None"
        )
    return given


def _places(model: nn.Module, sites: Sites | None, images: Tensor) -> tuple[dict[str, str], dict[str, str]]:
    """Name of each site and of its submodule, and the direct children that cannot be sites by default."""
    own = getattr(model, "sites", None)
    if sites is None and not isinstance(own, Mapping):
        places, left_out = default_sites(model, images)
        if not places:
            raise ValueError("no direct child of the network is used once in a forward pass; give sites=")
        return places, left_out
    chosen: Any = own if sites is None else sites
    return find_sites(model, chosen), {}


def _embedding(sites: list[str], wanted: str | None) -> str:
    if wanted is None and len(sites) == 1:
        return sites[0]
    name = "embedding" if wanted is None else wanted
    if name not in sites:
        raise ValueError(
            f"which site is the embedding, that the verdict is about? got {wanted!r}; give embedding= one of "
            f"{', '.join(sites)}"
        )
    return name


def notes(labels: Tensor, true_labels: Tensor, k: int) -> list[str]:
    """Return sentences on what to read with care: labels that are not random, too many neighbors.

    Args:
        labels: the memorized labels, shape (n,), int64.
        true_labels: the true ones, shape (n,), int64.
        k: neighbors of the probes.
    """
    per_class = len(labels) / int(true_labels.max() + 1)
    memorized, true = labels.cpu(), true_labels.cpu()
    agreement = float((memorized == true).double().mean())
    one = len(memorized.unique()) == 1
    found = {
        f"k={k} neighbors are more than the {per_class:.0f} training images per class: every k-NN probe "
        "reads low; compare probes of one k only": k > per_class,
        f"{agreement:.0%} of the memorized labels are the true ones, and they tell the true classes: the "
        "noise probe and the verdict are about random labels": not one and _depend(memorized, true),
        "all memorized labels are one class: there was nothing to memorize, and every probe finds it": one,
        "all true labels are one class: the clean and the linear probe find it in any network": (
            len(true.unique()) == 1
        ),
    }
    return [sentence for sentence, holds in found.items() if holds]


def _depend(memorized: Tensor, true: Tensor) -> bool:
    """Whether the labels tell the true classes, by Pearson's chi-square of their table.

    It sees any dependence, such as true labels under other names, which agree nowhere.
    """
    table = crosstab(memorized.numpy(), true.numpy()).count
    return bool(chi2_contingency(table, correction=False).pvalue < _SURPRISE)


def _left_undone(*, drawn: bool, without_policy: bool, left_out: Mapping[str, str]) -> list[str]:
    """Sentences on what was not given, and what could not be measured."""
    children = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
    found = {
        "the initial network was drawn by reset_parameters; if the trained one began otherwise, give it as "
        "initial": drawn,
        "no policy was given: neither fresh views nor invariance were measured": without_policy,
        f"no sites are the direct children {children}; name others as sites": bool(left_out),
    }
    return [sentence for sentence, holds in found.items() if holds]


@dataclass(frozen=True)
class Verdict:
    """A verdict and everything that it was made from.

    Attributes:
        kind: ``not memorized``, ``malign`` or ``benign``.
        memorization: memorization accuracy, in [0, 1].
        measure: which one: ``clean-view``, ``fresh-view`` or ``bank``.
        threshold: what it must reach to count as memorized.
        probe: probe accuracy of the trained network, in [0, 1].
        probe_init: probe accuracy at initialization, in [0, 1].
        n_test: number of test images.
        difference: ``probe - probe_init``.
        interval: (low, high) of the difference.
        others: other memorization accuracies, by name, to be read beside the verdict.
    """

    kind: str
    memorization: float
    measure: str
    threshold: float
    probe: float
    probe_init: float
    n_test: int
    difference: float
    interval: tuple[float, float]
    others: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say the verdict in one sentence."""
        low, high = self.interval
        others = "".join(f", {name} {value:.3f}" for name, value in self.others.items())
        return (
            f"{self.kind}: {self.measure} memorization {self.memorization:.3f} (threshold "
            f"{self.threshold:g}{others}), probe {self.probe:.3f} against {self.probe_init:.3f} at "
            f"initialization, difference {self.difference:+.3f} in [{low:+.3f}, {high:+.3f}] "
            f"({self.n_test} test images)."
        )


def verdict(
    memorization: float,
    probe: float,
    probe_init: float,
    n_test: int,
    measure: str = "clean-view",
    *,
    others: Mapping[str, float] | None = None,
) -> Verdict:
    """Judge one network.

    Below the threshold the verdict is ``not memorized``, whatever the probe. Otherwise it is ``benign`` if
    the whole interval of ``probe - probe_init`` is above 0, and ``malign`` if not: malign means *no better
    than initialization*, so a difference inside the noise is malign, not undecided; a difference that is
    clearly negative is malign too. ``difference`` and ``interval`` tell the two apart. The interval is
    ``difference -/+ 2 sqrt(p (1 - p) / n_test)``, two standard deviations of one accuracy, where p is the
    probe nearer to 1/2.

    Args:
        memorization: memorization accuracy by ``measure``, in [0, 1].
        probe: probe accuracy of the trained network on the test images, in [0, 1].
        probe_init: the same at initialization; calibrate its batch norm first.
        n_test: number of test images, >= 1.
        measure: ``clean-view`` (threshold 0.95), ``fresh-view`` (0.9) or ``bank`` (0.95).
        others: other memorization accuracies to show.

    Returns:
        The verdict with all its inputs; ``str()`` of it is a sentence.

    Raises:
        ValueError: for an unknown measure, or a number outside its range.
    """
    check_choice("measure", measure, THRESHOLDS)
    for name, value in {"memorization": memorization, "probe": probe, "probe_init": probe_init}.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must be a fraction in [0, 1]; got {value!r}")
    check_whole("n_test", n_test, 1)
    limit, difference = THRESHOLDS[measure], probe - probe_init
    tolerance = 2 * math.sqrt(max(p * (1 - p) for p in (probe, probe_init)) / n_test)
    low, high = difference - tolerance, difference + tolerance
    kind = "not memorized" if memorization < limit else "benign" if low > 0 else "malign"
    return Verdict(
        kind, memorization, measure, limit, probe, probe_init, n_test, difference, (low, high), others or {}
    )
