"""Distillation without labels: a student fits an invariant teacher in distribution, and fails outside it.

Zhang et al. (ICML 2024) fit students to CLIP's representations. Here the teacher sees only the core features,
so it is invariant by construction, and the student sees everything: whatever it loses under a shift of the
background it picked up by itself. Fitting uses no label, so no label can be tied to the background.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from memorization.data.seeds import generator
from memorization.data.structured import StructuredFeatures, StructuredSample
from memorization.measures.linear import linear_probe
from memorization.models.pointwise import StackedActivation
from memorization.models.two_layer import TwoLayerNetworks, normal_networks
from memorization.training.descending import descend
from memorization.training.descent import Descent

Row = dict[str, Any]
TEACHERS = ("network", "linear")
_ALL = ("first", "bias", "second", "offset")


def distil(
    *,
    teacher: str = "network",
    student: str = "relu",
    labels: str = "sphere",
    core: int = 16,
    background: int = 32,
    teacher_width: int = 64,
    representation: int = 32,
    width: int = 128,
    init_scale: float = 1.0,
    rate: float = 5e-3,
    batch: int = 256,
    steps: int = 800,
    test: int = 4000,
    ridge: float = 1e-4,
    standard: bool = True,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row]]:
    """Fit a student to a teacher's representation, and a network of the same shape to the labels.

    The dictionary is the identity: inputs are the weights of the features. All seeds are trained stacked, by
    AdamW with a cosine schedule on fresh examples.

    Args:
        teacher: ``network`` (two layers, ReLU, random) or ``linear`` (a random linear map) of the core.
        student: activation of student and label-trained network, a name of ``POINTWISE``.
        labels: ``linear`` or ``sphere``, see ``StructuredFeatures``.
        core: number of core features.
        background: number of background features.
        teacher_width: neurons of the ``network`` teacher.
        representation: dimension of the representation.
        width: neurons of the student.
        init_scale: factor of the student's first layer.
        rate: initial learning rate.
        batch: fresh examples a step.
        steps: T.
        test: examples that probes are fitted on; as many others are tested on.
        ridge: penalty of the linear probes, see ``linear_probe``.
        standard: also train the network on labels.
        device: where to compute.
        seeds: of teacher, students and examples.

    Returns:
        For each seed a row per ``model`` (``teacher``, ``student``, ``standard``: trained on labels):
        ``id_accuracy``, ``ood_accuracy`` of a linear probe that was fitted in distribution, and ``id_error``,
        ``ood_error``, the squared error to the teacher over its total variance (NaN for ``standard``).

    Raises:
        ValueError: for values that are not allowed, or a teacher whose output does not vary.
    """
    features = StructuredFeatures(core, background, labels)
    sources = {what: [generator(seed, what) for seed in seeds] for what in ("train", "fit", "test")}
    fit, tested = (features.draw(test, sources[what]).to(device) for what in ("fit", "test"))
    aim = _teacher(teacher, features, teacher_width, representation, seeds).to(device)
    activation = StackedActivation([student] * len(seeds), [0.0] * len(seeds))

    def untrained(outputs: int, what: str) -> TwoLayerNetworks:
        scales = (init_scale / features.features**0.5, 0.0, width**-0.5)
        drawn = [generator(seed, what) for seed in seeds]
        return normal_networks(width, features.features, outputs, activation, scales, drawn).to(device)

    def trained(networks: TwoLayerNetworks, loss: str, target: Callable[[StructuredSample], Tensor]) -> Any:
        descent = Descent(steps, loss, "adamw", rate, schedule="cosine", trained=_ALL)

        def batches(step: int) -> tuple[Tensor, Tensor]:
            sample = features.draw(batch, sources["train"]).to(device)
            return sample.inputs(), target(sample)

        return descend(networks, batches, descent)

    fitted = trained(untrained(aim.second.shape[1], "student"), "squared", lambda s: aim(s.inputs()))
    models = {"teacher": aim, "student": fitted}
    if standard:
        models["standard"] = trained(untrained(1, "standard"), "logistic", lambda s: s.labels[..., None])
    rows: list[list[Row]] = [[] for _ in seeds]
    for name, networks in models.items():
        for s, row in enumerate(_judged(networks, aim, fit, tested, ridge)):
            rows[s].append({"model": name, **row})
    return rows


def total_variance(outputs: Tensor) -> Tensor:
    """Return the variance of representations (M, N, K), summed over K: shape (M,).

    Raises:
        ValueError: if an output does not vary: there is nothing to imitate.
    """
    variance = outputs.var(1, correction=0).sum(-1)
    if not bool((variance > 0).all()):
        raise ValueError(
            "the teacher's output has no variance: cannot normalize the distillation error; check the "
            "teacher's weights and inputs"
        )
    return variance


def _teacher(
    kind: str, features: StructuredFeatures, width: int, outputs: int, seeds: Sequence[int]
) -> TwoLayerNetworks:
    """A teacher that is blind to the background."""
    if kind not in TEACHERS:
        raise ValueError(f"teacher={kind!r}; allowed: {', '.join(TEACHERS)}")
    sources = [generator(seed, "teacher") for seed in seeds]
    if kind == "linear":
        activation = StackedActivation(["identity"] * len(seeds), [0.0] * len(seeds))
        networks = normal_networks(
            outputs, features.features, outputs, activation, (features.core**-0.5, 0.0, 0.0), sources
        )
        networks = networks.with_tensors(second=torch.eye(outputs).repeat(len(seeds), 1, 1))
    else:
        activation = StackedActivation(["relu"] * len(seeds), [0.0] * len(seeds))
        scales = (2 * features.core**-0.5, 0.5, width**-0.5)
        networks = normal_networks(width, features.features, outputs, activation, scales, sources)
    first = networks.first.clone()
    first[..., features.core :] = 0
    return networks.with_tensors(first=first)


def _judged(
    networks: TwoLayerNetworks,
    aim: TwoLayerNetworks,
    fit: StructuredSample,
    tested: StructuredSample,
    ridge: float,
) -> list[Row]:
    """Probe accuracies and errors of each network, in and out of distribution."""
    known = networks(fit.inputs())
    variance = total_variance(aim(fit.inputs()))
    rows: list[Row] = [{} for _ in fit.labels]
    for where, shift in ("id", 1.0), ("ood", -1.0):
        x = tested.inputs(shift)
        seen = networks(x)
        comparable = seen.shape == aim(x).shape
        for s, row in enumerate(rows):
            probe = linear_probe(
                known[s], _classes(fit.labels[s]), seen[s], _classes(tested.labels[s]), ridge
            )
            row[f"{where}_accuracy"] = probe.accuracy
            distance = (seen - aim(x))[s].square().sum(-1).mean() / variance[s] if comparable else torch.nan
            row[f"{where}_error"] = float(distance)
    return rows


def _classes(labels: Tensor) -> Tensor:
    return (labels > 0).long()
