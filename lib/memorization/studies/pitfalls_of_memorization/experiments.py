"""The experiments on two features and on noisy curves, at the paper's full scale.

Bayat et al. (ICLR 2025), Figures 1 and 3, and what theory says about the first. Methods of one seed share
data and initial weights, so their differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from memorization.checks import check_choice, check_seeds
from memorization.draws import generator
from memorization.measures.influence import random_subsets, self_influence
from memorization.runs.sweep import experiment
from memorization.studies.pitfalls_of_memorization.noisy_curves import (
    PUBLISHED_SEED,
    core_function,
    describe,
    fit_curves,
    noisy_curve,
)
from memorization.studies.pitfalls_of_memorization.theory import MaxMargin, hard_margin, max_margin
from memorization.studies.pitfalls_of_memorization.two_features import (
    Columns,
    Kernel,
    LinearTwins,
    columns,
    descend,
    linear_problem,
    linear_twins,
    weights_of,
    with_label_noise,
)
from memorization.training.held_out import HeldOut, attribute_shift, group_weights, memorization_shift

Row = dict[str, Any]
LINEAR_METHODS = ("erm", "weights", "group_dro", "mat", "mat_oracle", "mat_no_flipping")


@experiment("linear_curves")
def linear_curves(
    *,
    method: str,
    sigma: float,
    rate: float,
    gamma: float = 5.0,
    temperature: float = 0.1,
    epochs: int = 1000,
    look_at: Sequence[int] = (),
    n: int = 1000,
    d: int = 1798,
    majority_rate: float = 0.9,
    published: bool = False,
    seed: int,
) -> list[Row]:
    """Train one panel of Figure 1 and look at it on the way.

    Args:
        method: of ``LINEAR_METHODS``.
        sigma: strength of the noise, >= 0.
        rate: learning rate, > 0.
        gamma: strength of the spurious feature, > 0.
        temperature: of memorization-aware training, > 0.
        epochs: as in ``descend``, like the next.
        look_at: epochs at which accuracies are taken, beside the last.
        n: examples of each split.
        d: noise coordinates.
        majority_rate: share of training examples whose features agree, in (0, 1).
        published: draw from the published script's streams; see ``linear_problem``.
        seed: whole number >= 0.

    Returns:
        One row for each epoch: ``epoch``, accuracies ``train_majority``, ``train_minority``,
        ``test_majority``, ``test_minority``; and, the same in all rows, the weights at the end: ``core``,
        ``spurious`` (of the coordinate ``gamma x_a``), ``noise`` (norm) and ``reliance``.
    """
    kernel = Kernel.of(linear_problem(n=n, d=d, majority_rate=majority_rate, seed=seed, published=published))
    which, _ = _linear_columns(
        kernel, [(method, temperature)], gamma=[gamma], sigma=[sigma], rate=rate, epochs=epochs, seed=seed
    )
    descent = descend(kernel, which, epochs=epochs, look_at=look_at)
    reached = weights_of(kernel, descent)
    ends = {name: float(getattr(reached, name)[0]) for name in ("core", "spurious", "noise", "reliance")}
    return [
        {"epoch": epoch, **{name: float(value[0]) for name, value in found.items()}, **ends}
        for epoch, found in descent.accuracies.items()
    ]


@experiment("linear_methods")
def linear_methods(
    *,
    temperatures: Sequence[float] = (0.1,),
    methods: Sequence[str] = LINEAR_METHODS,
    sigma: float = 0.5,
    gamma: float = 5.0,
    rate: float = 0.01,
    epochs: int = 1000,
    label_noise: float = 0.0,
    n: int = 1000,
    d: int = 1798,
    majority_rate: float = 0.9,
    seed: int,
) -> list[Row]:
    """Train all methods on one draw of the two-feature problem, as columns of one descent.

    Args:
        temperatures: of memorization-aware training, each > 0.
        methods: of ``LINEAR_METHODS``.
        sigma: strength of the noise, >= 0.
        gamma: strength of the spurious feature, > 0.
        rate: learning rate, > 0.
        epochs: as in ``descend``; of twins and methods alike.
        label_noise: share of training labels that are flipped, in [0, 1).
        n: examples of each split.
        d: noise coordinates.
        majority_rate: share of training examples whose features agree, in (0, 1).
        seed: whole number >= 0.

    Returns:
        One row for each method and, of memorization-aware training, temperature (0 for the others):
        accuracies and weights at the last epoch as in :func:`linear_curves`; of the twins,
        ``flipped_majority``, ``flipped_minority`` (shares of labels) and ``held_out_majority``,
        ``held_out_minority`` (accuracies).
    """
    problem = linear_problem(n=n, d=d, majority_rate=majority_rate, seed=seed)
    kernel = Kernel.of(with_label_noise(problem, label_noise, seed))
    arms = [
        (m, t)
        for m in methods
        for t in (temperatures if m.startswith("mat") and m != "mat_oracle" else [0.0])
    ]
    strengths = {"gamma": [gamma] * len(arms), "sigma": [sigma] * len(arms)}
    which, twins = _linear_columns(kernel, arms, **strengths, rate=rate, epochs=epochs, seed=seed)
    descent = descend(kernel, which, epochs=epochs)
    reached, accuracies = weights_of(kernel, descent), descent.accuracies[epochs]
    asked = _asked_twins(kernel, twins)
    return [
        {
            "method": method,
            "temperature": temperature,
            **{name: float(value[k]) for name, value in accuracies.items()},
            **{name: float(getattr(reached, name)[k]) for name in ("core", "spurious", "noise", "reliance")},
            **asked,
        }
        for k, (method, temperature) in enumerate(arms)
    ]


def _linear_columns(
    kernel: Kernel,
    arms: Sequence[tuple[str, float]],
    *,
    gamma: Sequence[float],
    sigma: Sequence[float],
    rate: float,
    epochs: int,
    seed: int,
) -> tuple[Columns, LinearTwins | None]:
    """One column for each method and temperature, with a strength of both features each, and the twins that
    some of them needed: a pair for each pair of strengths.
    """
    train, strengths = kernel.problem.train, list(zip(gamma, sigma, strict=True))
    distinct = list(dict.fromkeys(strengths))
    n, labels = len(train.labels), train.labels.long()
    groups = 2 * labels + train.majority.long()
    shifts, weights = torch.zeros(n, len(arms)), torch.ones(n, len(arms))
    twins: dict[bool, LinearTwins] = {}
    for k, (method, temperature) in enumerate(arms):
        check_choice("method", method, LINEAR_METHODS)
        if method in ("mat", "mat_no_flipping"):
            flipping = method == "mat"
            if flipping not in twins:
                gammas, sigmas = zip(*distinct, strict=True)
                twins[flipping] = linear_twins(
                    kernel, gamma=gammas, sigma=sigmas, rate=rate, epochs=epochs, seed=seed, flipping=flipping
                )
            half = twins[flipping].logits[:, distinct.index(strengths[k])] / 2
            held_out = HeldOut(torch.arange(n), torch.stack([-half, half], 1))
            shift = memorization_shift(held_out, labels, held_out.ids, temperature)
        elif method == "mat_oracle":
            shift = attribute_shift(labels, (train.spurious < 0).long(), 2, 2)  # class 1 sits at -1
        else:
            shift = torch.zeros(n, 2)
        shifts[:, k] = shift[:, 1] - shift[:, 0]
        if method == "weights":
            weights[:, k] = group_weights(groups, 4)
    robust = torch.tensor([method == "group_dro" for method, _ in arms])
    made = columns(
        gamma, sigma, rate, shifts=shifts, weights=weights,
        groups=groups if bool(robust.any()) else None, robust=robust,
    )  # fmt: skip
    return made, twins.get(True)


def _asked_twins(kernel: Kernel, twins: LinearTwins | None) -> Row:
    """What twins of one pair of strengths flipped and got right, by majority and minority, or NaN."""
    train = kernel.problem.train
    row: Row = {}
    for name, members in (("majority", train.majority), ("minority", ~train.majority)):
        flipped = right = float("nan")
        if twins is not None:
            flipped = float(twins.flipped[members].double().mean())
            right = float(((twins.logits > 0) == (train.labels[:, None] > 0.5))[members].double().mean())
        row |= {f"flipped_{name}": flipped, f"held_out_{name}": right}
    return row


@experiment("linear_diagram")
def linear_diagram(
    *,
    gammas: Sequence[float],
    sigmas: Sequence[float],
    rate: float = 0.01,
    epochs: int = 1000,
    n: int = 1000,
    d: int = 1798,
    majority_rate: float = 0.9,
    method: str = "erm",
    temperature: float = 0.1,
    seed: int,
) -> list[Row]:
    """Train one method at every strength of the spurious feature and of the noise, as columns of one descent.

    Args:
        gammas: strengths of the spurious feature, each > 0.
        sigmas: strengths of the noise, each >= 0.
        rate: learning rate, > 0; up to 0.15 is stable at gamma = 5, and less at a larger one.
        epochs: as in ``descend``.
        n: examples of each split.
        d: noise coordinates.
        majority_rate: share of training examples whose features agree, in (0, 1).
        method: of ``LINEAR_METHODS``; those that need twins have a pair of them at each pair of strengths.
        temperature: of memorization-aware training, > 0.
        seed: whole number >= 0.

    Returns:
        One row for each pair: ``gamma``, ``sigma``, accuracies as in :func:`linear_curves`, and
        ``limit_minority``, ``limit_majority``, those of the max-margin limit in closed form (NaN without
        noise).
    """
    kernel = Kernel.of(linear_problem(n=n, d=d, majority_rate=majority_rate, seed=seed))
    pairs = [(gamma, sigma) for gamma in gammas for sigma in sigmas]
    strengths = {"gamma": [gamma for gamma, _ in pairs], "sigma": [sigma for _, sigma in pairs]}
    arms = [(method, temperature)] * len(pairs)
    which, _ = _linear_columns(kernel, arms, **strengths, rate=rate, epochs=epochs, seed=seed)
    accuracies = descend(kernel, which, epochs=epochs).accuracies[epochs]
    members = int(kernel.problem.train.majority.sum())
    rows = []
    for k, (gamma, sigma) in enumerate(pairs):
        limit = None
        if sigma > 0:
            limit = max_margin(majority=members, minority=n - members, d=d, gamma=gamma, sigma=sigma)
        rows.append(
            {
                "gamma": gamma,
                "sigma": sigma,
                **{name: float(value[k]) for name, value in accuracies.items()},
                "limit_minority": limit.minority if limit else float("nan"),
                "limit_majority": limit.majority if limit else float("nan"),
            }
        )
    return rows


@experiment("capacity_rule")
def capacity_rule(
    *, n: int, d: int, gamma: float, sigma: float, minority: float = 0.1, seed: int
) -> list[Row]:
    """Compare the closed form of the max-margin limit with an exact solver, features -1 and +1 without
    jitter.

    Args:
        n: examples, >= 2.
        d: noise coordinates, >= 1.
        gamma: strength of the spurious feature.
        sigma: strength of the noise.
        minority: share of examples whose features disagree.
        seed: whole number >= 0.

    Returns:
        One row: ``core``, ``spurious`` (u), ``noise`` (norm) and ``accuracy`` (of the minority) of the
        solver, the same with ``limit_`` of the closed form, and ``spurious_error``, the relative difference
        of u.
    """
    exceptions = round(minority * n)
    signs = np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    spurious = signs.copy()
    spurious[:exceptions] *= -1
    noise = torch.randn(n, d, generator=generator(seed, "capacity")).numpy().astype(np.float64) * sigma
    weights = hard_margin(np.column_stack([signs, gamma * spurious, noise]), signs)
    exact = MaxMargin.of(weights[0], gamma * weights[1], float(np.linalg.norm(weights[2:])), sigma)
    limit = max_margin(majority=n - exceptions, minority=exceptions, d=d, gamma=gamma, sigma=sigma)
    row = {"core": exact.core, "spurious": exact.spurious, "noise": exact.noise, "accuracy": exact.minority}
    row |= {"limit_core": limit.core, "limit_spurious": limit.spurious, "limit_noise": limit.noise}
    row |= {"limit_accuracy": limit.minority, "spurious_error": abs(exact.spurious / limit.spurious - 1)}
    return [{name: float(value) for name, value in row.items()}]


@experiment("linear_influence")
def linear_influence(
    *,
    methods: Sequence[str] = ("erm", "mat"),
    models: int = 100,
    fraction: float = 0.7,
    gamma: float = 5.0,
    sigma: float = 0.5,
    rate: float = 0.01,
    temperature: float = 0.1,
    epochs: int = 1000,
    n: int = 1000,
    d: int = 1798,
    majority_rate: float = 0.9,
    seed: int,
) -> list[Row]:
    """Estimate the self-influence of every training example of the two-feature problem, by models on subsets.

    Held-out predictions come from twins of the whole training set, once; all models of a method are columns
    of one descent.

    Args:
        methods: of ``LINEAR_METHODS``, without ``group_dro``, whose groups would change with the subset.
        models: a method, >= 2.
        fraction: of the examples in a subset, in (0, 1).
        gamma: strength of the spurious feature, > 0.
        sigma: strength of the noise, >= 0.
        rate: learning rate, > 0.
        temperature: of memorization-aware training, > 0.
        epochs: as in ``descend``.
        n: examples.
        d: noise coordinates.
        majority_rate: share of examples whose features agree, in (0, 1).
        seed: whole number >= 0.

    Returns:
        One row for each example and method: ``method``, ``id``, ``exception`` (1 in the minority, else 0) and
        ``influence`` (NaN without an estimate).
    """
    kernel = Kernel.of(linear_problem(n=n, d=d, majority_rate=majority_rate, seed=seed))
    included = random_subsets(models, n, fraction, generator(seed, "subsets"))
    subsets = (included * (n / included.sum(1, keepdim=True))).T  # weights (n, models)
    labels, minority = kernel.problem.train.labels > 0.5, (~kernel.problem.train.majority).long()
    rows: list[Row] = []
    for method in methods:
        if method == "group_dro":
            raise ValueError(
                "method 'group_dro' has group weights that belong to the whole set; leave it out"
            )
        one, _ = _linear_columns(
            kernel, [(method, temperature)], gamma=[gamma], sigma=[sigma], rate=rate, epochs=epochs, seed=seed
        )
        assert one.weights is not None
        weights = one.weights * subsets
        which = columns([gamma] * models, sigma, rate, shifts=one.shifts, weights=weights)
        right = (descend(kernel, which, epochs=epochs).logits > 0) == labels[:, None]
        rows += example_rows(
            method, self_influence(right.T, included), torch.arange(n), {"exception": minority}
        )
    return rows


def example_rows(method: str, scores: Tensor, ids: Tensor, more: dict[str, Tensor]) -> list[Row]:
    """Return one row for each example: ``method``, ``id``, what else is known of it, and ``influence``."""
    table = pd.DataFrame({"id": ids.tolist(), **{name: v.tolist() for name, v in more.items()}})
    table["influence"] = [round(value, 4) for value in scores.tolist()]
    return [{"method": method, **{str(k): v for k, v in row.items()}} for row in table.to_dict("records")]


# ---- noisy curves


@experiment("fit_noisy_curves")
def fit_noisy_curves(
    *,
    sigmas: Sequence[float],
    width: int = 300,
    tolerance: float = 1e-6,
    most_steps: int = 100_000,
    seeds: Sequence[int],
) -> list[list[Row]]:
    """Fit the noisy curve of Figure 3 at each noise strength, all seeds and strengths stacked.

    Args:
        sigmas: strengths of the noise coordinates, each >= 0.
        width: of the two hidden layers.
        tolerance: loss at which a network stops.
        most_steps: at which it stops at the latest.
        seeds: of data and weights.

    Returns:
        For each seed one row per strength: ``sigma`` and the quantities of ``describe``.
    """
    seeds = check_seeds(seeds)
    pairs = [(seed, sigma) for seed in seeds for sigma in sigmas]
    curves = [noisy_curve(seed) for seed, _ in pairs]
    fitted = fit_curves(
        curves, [sigma for _, sigma in pairs], width=width, tolerance=tolerance, most_steps=most_steps
    )
    rows = [
        {"sigma": sigma, **describe(one, curve)}
        for (_, sigma), one, curve in zip(pairs, fitted, curves, strict=True)
    ]
    return [rows[k * len(sigmas) : (k + 1) * len(sigmas)] for k in range(len(seeds))]


@experiment("draw_noisy_curves")
def draw_noisy_curves(
    *,
    sigmas: Sequence[float],
    width: int = 300,
    tolerance: float = 1e-6,
    most_steps: int = 100_000,
    seed: int = PUBLISHED_SEED,
) -> list[Row]:
    """Fit the three panels of Figure 3 on the published draw, and return what is drawn.

    Args: as in :func:`fit_noisy_curves`; the seed is one of the published script, whose own is 123.

    Returns:
        For each strength ``sigma`` rows with ``kind``, ``x`` and ``y``: the true function and the curve at
        every fifth of 1,000 places (``true``, ``curve``), the noisy values (``point``), and the answers there
        with their noise coordinates (``spike``).
    """
    curves = [noisy_curve(seed, published=True) for _ in sigmas]
    fitted = fit_curves(curves, sigmas, width=width, tolerance=tolerance, most_steps=most_steps)
    rows: list[Row] = []
    for sigma, one, curve in zip(sigmas, fitted, curves, strict=True):
        places, every = curve.places, slice(None, None, 5)
        drawn = {
            "true": (curve.sweep[every], core_function(curve.sweep[every])),
            "curve": (curve.sweep[every], one.curve[every]),
            "point": (curve.sweep[places], curve.targets),
            "spike": (curve.sweep[places], one.at_points),
        }
        for kind, (xs, ys) in drawn.items():
            pairs = zip(xs.tolist(), ys.tolist(), strict=True)
            rows += [{"sigma": sigma, "kind": kind, "x": round(x, 4), "y": round(y, 5)} for x, y in pairs]
    return rows
