"""Distillation without labels: a student fits an invariant teacher in distribution, and fails outside it.

Zhang et al. (ICML 2024) fit students to CLIP's representations. Here the teacher sees only the core features,
so it is invariant by construction, and the student sees everything: whatever it loses under a shift of the
background it picked up by itself. Fitting uses no label, so no label can be tied to the background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from memorization.data.checks import check_finite, check_seeds
from memorization.data.seeds import generator
from memorization.data.structured import StructuredFeatures, StructuredSample
from memorization.measures.feature_checks import check_ridge, check_sizes
from memorization.measures.imitation import distillation_error, total_variance
from memorization.measures.linear import linear_probe
from memorization.models.pointwise import StackedActivation
from memorization.models.two_layer import TwoLayerNetworks, normal_networks
from memorization.runs.sweep import experiment
from memorization.training.descending import descend
from memorization.training.descent import WEIGHTS, Descent

Row = dict[str, Any]
TEACHERS = ("network", "linear")
Target = Callable[[StructuredSample], Tensor]


@experiment("distil")
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
        student: activation of student and label-trained network, a name of ``POINTWISE`` but ``leaky``.
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
    check_sizes(
        representation=representation, teacher_width=teacher_width, width=width, batch=batch, test=test
    )
    check_finite("init_scale", init_scale)
    check_ridge(ridge)
    if student == "leaky":
        raise ValueError("student='leaky' would need a slope; choose relu, identity, gelu, tanh or sigmoid")
    features, seeds = StructuredFeatures(core, background, labels), check_seeds(seeds)
    fit, tested = (features.draw(test, _sources(seeds, what)).to(device) for what in ("fit", "test"))
    aim = _teacher(teacher, features, teacher_width, representation, seeds).to(device)
    total_variance(aim(fit.inputs()))  # refuses a teacher that says nothing before anything is trained
    descent: dict[str, Any] = {"optimizer": "adamw", "rate": rate, "schedule": "cosine", "trained": WEIGHTS}

    def trained(what: str, outputs: int, loss: str, target: Target) -> TwoLayerNetworks:
        activation = StackedActivation([student] * len(seeds), [0.0] * len(seeds))
        scales = (init_scale / features.features**0.5, 0.0, width**-0.5)
        given = (width, features.features, outputs, activation, scales, _sources(seeds, what))
        examples = _sources(seeds, "train")  # both models see the same ones

        def batches(step: int) -> tuple[Tensor, Tensor]:
            sample = features.draw(batch, examples).to(device)
            return sample.inputs(), target(sample)

        return descend(normal_networks(*given).to(device), batches, Descent(steps, loss, **descent))

    models = {
        "teacher": aim,
        "student": trained("student", aim.second.shape[1], "squared", lambda sample: aim(sample.inputs())),
    }
    if standard:
        models["standard"] = trained("standard", 1, "logistic", lambda sample: sample.labels[..., None])
    rows: list[list[Row]] = [[] for _ in seeds]
    for name, networks in models.items():
        imitated = None if name == "standard" else aim
        for s, row in enumerate(_judged(networks, imitated, fit, tested, ridge)):
            rows[s].append({"model": name, **row})
    return rows


def _teacher(
    kind: str, features: StructuredFeatures, width: int, outputs: int, seeds: Sequence[int]
) -> TwoLayerNetworks:
    """A teacher that is blind to the background."""
    if kind not in TEACHERS:
        raise ValueError(f"teacher={kind!r}; allowed: {', '.join(TEACHERS)}")
    sources = _sources(seeds, "teacher")
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
    aim: TwoLayerNetworks | None,
    fit: StructuredSample,
    tested: StructuredSample,
    ridge: float,
) -> list[Row]:
    """Probe accuracies of each network, and errors against an aim, in and out of distribution."""
    known = networks(fit.inputs())
    rows: list[Row] = [{} for _ in fit.labels]
    for where, shift in ("id", 1.0), ("ood", -1.0):
        x = tested.inputs(shift)
        seen = networks(x)
        unit = total_variance(aim(fit.inputs())) if aim else None
        errors = distillation_error(seen, aim(x), unit).tolist() if aim else [math.nan] * len(rows)
        for s, row in enumerate(rows):
            known_classes, classes = (_classes(sample.labels[s]) for sample in (fit, tested))
            probe = linear_probe(known[s], known_classes, seen[s], classes, ridge, 2)
            row |= {f"{where}_accuracy": probe.accuracy, f"{where}_error": errors[s]}
    return rows


def _classes(labels: Tensor) -> Tensor:
    return (labels > 0).long()


def _sources(seeds: Sequence[int], purpose: str) -> list[torch.Generator]:
    return [generator(seed, purpose) for seed in seeds]
