"""The measures of benign memorization on a network and data of one's own.

Anagnostidis et al. (ICLR 2023), layer by layer: what a network that was trained on random labels knows of
the true ones, where the random ones can be read, and whether its memorization is benign.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from torch import Tensor, nn

from memorization.data.policies import augmentation
from memorization.data.seeds import generator
from memorization.measures.case_notes import notes
from memorization.measures.evaluation import check_images, class_scores
from memorization.measures.features import Sites, default_sites, find_sites
from memorization.measures.initial import redrawn
from memorization.measures.memorized import Policy, memorization_accuracies
from memorization.measures.probe import check_labels
from memorization.measures.site_table import COLUMNS, Data, Row, Setting, site_rows
from memorization.measures.verdict import Verdict, verdict


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
            :func:`~memorization.measures.initial.redrawn`.
        images: training images, un-augmented, shape (n, c, S, S), float in [0, 1].
        labels: the (random) labels that it was trained on, shape (n,), integers in 0..C-1.
        true_labels: the true ones, shape (n,), integers >= 0.
        test_images: held-out images, shape (T, c, S, S), float in [0, 1].
        test_labels: their true labels, shape (T,), each a class that ``true_labels`` may have.
        policy: the augmentation it was trained with, ``policy(images, generator, strength=strength)``, or a
            name that :func:`~memorization.data.policies.augmentation` knows; None measures neither fresh
            views nor invariance.
        sites: where to probe, see :func:`~memorization.measures.features.site_features`; None takes
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
