"""Every probe at every site of one network: one row per site."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from memorization.data.seeds import generator
from memorization.measures.calibration import calibrated
from memorization.measures.features import site_features
from memorization.measures.invariance import invariance
from memorization.measures.linear import linear_probe
from memorization.measures.memorized import Policy
from memorization.measures.nearest import nearest, noise_probe
from memorization.measures.probe import AbsentClassWarning

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
