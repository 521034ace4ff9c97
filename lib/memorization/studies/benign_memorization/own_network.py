"""The untrained network that a trained one started from, or one drawn by the same laws.

What to read with care in a report on a network of one's own, in sentences.

Benign, malign, or not memorized: the verdict on one trained network.

Anagnostidis et al. (ICLR 2023) call memorization of random labels *benign* if a probe of the features does
better than at initialization, *malign* if it does no better. This is our operational reading.

The measures of benign memorization on a network and data of one's own.

Anagnostidis et al. (ICLR 2023), layer by layer: what a network that was trained on random labels knows of
the true ones, where the random ones can be read, and whether its memorization is benign.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import torch
from scipy.stats import chi2
from torch import Tensor, nn

from memorization.data.augmentation.policies import augmentation
from memorization.draws import generator
from memorization.measures.accuracy import Policy, check_images, class_scores, memorization_accuracies
from memorization.measures.probes import check_labels
from memorization.measures.sites import (
    COLUMNS,
    Data,
    Row,
    Setting,
    Sites,
    default_sites,
    find_sites,
    site_rows,
)


def redrawn(model: nn.Module, seed: int) -> nn.Module:
    """Copy a network and draw its parameters anew by each submodule's ``reset_parameters``.

    These are PyTorch's own laws. A network with laws of its own (Kaiming by hand, say) should be kept
    untrained beside the trained one and given instead. The global generator is left as it was.

    Args:
        model: any network; it is not changed.
        seed: whole number >= 0.

    Returns:
        The untrained copy, with the same modes, on the same device.

    Raises:
        ValueError: naming the parameters that no ``reset_parameters`` sets.
    """
    twin = copy.deepcopy(model)
    devices = sorted({p.device.index for p in twin.parameters() if p.device.type == "cuda"})
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(generator(seed, "initial weights").initial_seed())
        for parameter in twin.parameters():
            parameter.fill_(torch.nan)  # tells afterwards which were not set
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    kept = [name for name, parameter in twin.named_parameters() if bool(parameter.isnan().any())]
    if kept:
        raise ValueError(
            f"no reset_parameters sets {', '.join(kept)}: keep a copy of the network before training and "
            "give it as the initial one"
        )
    return twin


_SURPRISE = 1e-4  # probability below which labels are not taken as random


def notes(data: Data, k: int, *, drawn: bool, without_policy: bool, left_out: Mapping[str, str]) -> list[str]:
    """Return sentences on the labels, the neighbors and what could not be measured.

    Args:
        data: checked images and labels.
        k: neighbors of the probes.
        drawn: whether the initial network was drawn anew.
        without_policy: whether there was no augmentation.
        left_out: direct children of the network that are no sites, with the reason.
    """
    per_class = len(data.images) / int(data.true_labels.max() + 1)
    memorized, true = data.labels.cpu(), data.true_labels.cpu()
    agreement = float((memorized == true).double().mean())
    one = len(memorized.unique()) == 1
    children = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
    found = {
        f"k={k} neighbors are more than the {per_class:.0f} training images per class: every k-NN probe "
        "reads low; compare probes of one k only": k > per_class,
        f"{agreement:.0%} of the memorized labels are the true ones, and they tell the true classes: the "
        "noise probe and the verdict are about random labels": not one and _depend(memorized, true),
        "all memorized labels are one class: there was nothing to memorize, and every probe finds it": one,
        "all true labels are one class: the clean and the linear probe find it in any network": len(
            true.unique()
        )
        == 1,
        "the initial network was drawn by reset_parameters; if the trained one began otherwise, give it as "
        "initial": drawn,
        "no policy was given: neither fresh views nor invariance were measured": without_policy,
        f"no sites are the direct children {children}; name others as sites": bool(left_out),
    }
    return [sentence for sentence, holds in found.items() if holds]


def _depend(memorized: Tensor, true: Tensor) -> bool:
    """Whether the labels tell the true classes, by Pearson's chi-square of their table.

    It sees any dependence, such as true labels under other names, which agree nowhere.
    """
    rows, columns = (values.unique(return_inverse=True)[1] for values in (memorized, true))
    height, width = int(rows.max()) + 1, int(columns.max()) + 1
    table = (rows * width + columns).bincount(minlength=height * width).view(height, width).double()
    expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / len(rows)
    freedom = (height - 1) * (width - 1)
    chi_square = float(((table - expected).square() / expected).sum())
    return freedom > 0 and bool(chi2.sf(chi_square, freedom) < _SURPRISE)


THRESHOLDS = {"clean-view": 0.95, "fresh-view": 0.9, "bank": 0.95}


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
    threshold: float | None = None,
    *,
    interval: tuple[float, float] | None = None,
    others: Mapping[str, float] | None = None,
) -> Verdict:
    """Judge one network.

    Below the threshold the verdict is ``not memorized``, whatever the probe. Otherwise it is ``benign`` if
    the whole interval of ``probe - probe_init`` is above 0, and ``malign`` if not: malign means *no better
    than initialization*, so a difference inside the noise is malign, not undecided; a difference that is
    clearly negative is malign too. ``difference`` and ``interval`` tell the two apart.

    Args:
        memorization: memorization accuracy by ``measure``, in [0, 1].
        probe: probe accuracy of the trained network on the test images, in [0, 1].
        probe_init: the same at initialization; calibrate its batch norm first.
        n_test: number of test images, >= 1.
        measure: ``clean-view`` (threshold 0.95), ``fresh-view`` (0.9) or ``bank`` (0.95).
        threshold: another threshold, in (0, 1].
        interval: (low, high) of the difference, such as :func:`paired_interval` gives; None for
            ``difference -/+ 2 sqrt(p (1 - p) / n_test)``, two standard deviations of one accuracy, where p
            is the probe nearer to 1/2.
        others: other memorization accuracies to show.

    Returns:
        The verdict with all its inputs; ``str()`` of it is a sentence.

    Raises:
        ValueError: for an unknown measure, or a number outside its range.
    """
    if measure not in THRESHOLDS:
        raise ValueError(f"unknown measure {measure!r}; choose one of {', '.join(THRESHOLDS)}")
    limit = THRESHOLDS[measure] if threshold is None else threshold
    given = {"memorization": memorization, "probe": probe, "probe_init": probe_init, "threshold": limit}
    for name, value in given.items():
        if not 0 <= value <= 1 or (name == "threshold" and value == 0):
            raise ValueError(f"{name} must be a fraction in [0, 1] (a threshold above 0); got {value!r}")
    if isinstance(n_test, bool) or not isinstance(n_test, int) or n_test < 1:
        raise ValueError(f"n_test must be a whole number >= 1; got {n_test!r}")
    difference = probe - probe_init
    low, high = interval or _two_deviations(probe, probe_init, n_test)
    if not low <= difference <= high:
        raise ValueError(
            f"interval must be (low, high) around the difference {difference:+.3f}; got ({low}, {high})"
        )
    kind = "not memorized" if memorization < limit else "benign" if low > 0 else "malign"
    return Verdict(
        kind, memorization, measure, limit, probe, probe_init, n_test, difference, (low, high), others or {}
    )


def paired_interval(
    correct: Tensor, correct_init: Tensor, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap the difference of two accuracies on the same test images.

    Images are drawn with replacement and both networks are judged on the same draw, so that images that are
    easy or hard for both add no noise.

    Args:
        correct: whether each test image is right, shape (n_test,), bool; ``Probe.correct``.
        correct_init: the same images under the other network.
        level: probability between the two ends, in (0, 1).
        draws: bootstrap draws, >= 1.
        seed: whole number >= 0.

    Returns:
        (low, high) of ``mean(correct) - mean(correct_init)``.

    Raises:
        ValueError: if the two are not bool of one non-empty shape, or level or draws is outside its range.
    """
    one_shape = correct.ndim == 1 and len(correct) > 0 and correct.shape == correct_init.shape
    if not one_shape or correct.dtype != torch.bool or correct_init.dtype != torch.bool:
        raise ValueError(
            "need whether each of the same test images is right: two bool vectors of one length; got "
            f"{correct.dtype} {tuple(correct.shape)} and {correct_init.dtype} {tuple(correct_init.shape)}"
        )
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1; got {level!r}")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws must be a whole number >= 1; got {draws!r}")
    better = int((correct & ~correct_init).sum())
    worse = int((~correct & correct_init).sum())
    sampled = _resampled(better, worse, len(correct), draws, generator(seed, "paired bootstrap"))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = sampled.quantile(ends).tolist()
    return low, high


def _resampled(better: int, worse: int, n: int, draws: int, source: torch.Generator) -> Tensor:
    """Differences of accuracy in resampled test sets: only the counts of +1 and -1 matter."""
    ups = torch.binomial(
        torch.full((draws,), n, dtype=torch.float64),
        torch.full((draws,), better / n, dtype=torch.float64),
        generator=source,
    )
    rest = worse / (n - better) if better < n else 0.0
    downs = torch.binomial(n - ups, torch.full((draws,), rest, dtype=torch.float64), generator=source)
    return (ups - downs) / n


def _two_deviations(probe: float, probe_init: float, n_test: int) -> tuple[float, float]:
    tolerance = 2 * math.sqrt(max(p * (1 - p) for p in (probe, probe_init)) / n_test)
    return probe - probe_init - tolerance, probe - probe_init + tolerance


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
            :func:`~memorization.studies.benign_memorization.own_network.redrawn`.
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
    policy = _policy(policy)
    places, left_out = _places(model, sites, images)
    at = _embedding(list(places), embedding)
    if measure not in ("clean-view", "fresh-view") or (measure == "fresh-view" and policy is None):
        raise ValueError(f"measure must be clean-view, or fresh-view with a policy; got {measure!r}")
    setting = Setting(places, k, pool, batch, strength, seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        rows = site_rows(model, redrawn(model, seed) if initial is None else initial, data, policy, setting)
        accuracies = _accuracies(model, data, policy, setting)
    judged = _judged(accuracies, measure, rows[at], len(data.test_images))
    told = [str(entry.message) for entry in caught if issubclass(entry.category, UserWarning)]
    told += notes(data, k, drawn=initial is None, without_policy=policy is None, left_out=left_out)
    table = pd.DataFrame(list(rows.values()), columns=list(COLUMNS))
    return MemorizationReport(table, accuracies, judged, tuple(dict.fromkeys(told)))


def _checked(
    images: Tensor, labels: Tensor, true_labels: Tensor, test_images: Tensor, test_labels: Tensor
) -> Data:
    check_images(images, "training images")
    check_images(test_images, "test images")
    if images.shape[1:] != test_images.shape[1:]:
        raise ValueError(
            "training and test images must have one shape; "
            f"got {tuple(images.shape)} and {tuple(test_images.shape)}"
        )
    memorized = check_labels(labels, len(images), "training")  # the largest is checked against the outputs
    true = check_labels(true_labels, len(images), "true")
    test = check_labels(test_labels, len(test_images), "test", int(true.max()) + 1)
    return Data(images, memorized, true, test_images, test)


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
    find_sites(model, chosen)
    if isinstance(chosen, Mapping):
        return dict(chosen), {}
    return {name: name for name in ([chosen] if isinstance(chosen, str) else chosen)}, {}


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


def _accuracies(model: nn.Module, data: Data, policy: Policy | None, setting: Setting) -> dict[str, float]:
    views = generator(setting.seed, "fresh views")
    found = memorization_accuracies(
        model, data.images, data.labels, policy, views, strength=setting.strength, batch=setting.batch
    )
    predicted = class_scores(model, data.test_images, setting.batch).argmax(dim=1).cpu()
    return found | {"test": float((predicted == data.test_labels.cpu()).double().mean())}


def _judged(accuracies: Mapping[str, float], measure: str, row: Row, n_test: int) -> Verdict:
    """Judge the embedding's row, and show the other memorization accuracies beside."""
    key = measure.replace("-", "_")
    others = {name: value for name, value in accuracies.items() if name not in (key, "test")}
    probe, before = float(row["clean_probe"]), float(row["initial_probe"])
    return verdict(accuracies[key], probe, before, n_test, measure, others=others)
