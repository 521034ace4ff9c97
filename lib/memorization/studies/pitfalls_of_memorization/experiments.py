"""The experiments on the pitfalls of memorization: two features, noisy curves, and images with a spurious
attribute.

Bayat et al. (ICLR 2025). The linear ones are at the paper's full scale; methods of one seed share data and
initial weights, so their differences are paired. Image experiments train all methods and seeds in one stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from memorization.checks import check_choice, check_seeds, check_whole
from memorization.data.groups import GroupedSplits, color_mnist, spurious_digits
from memorization.draws import generator
from memorization.measures.influence import random_subsets, self_influence
from memorization.models.networks import mlp
from memorization.runs.sweep import experiment
from memorization.studies.pitfalls_of_memorization.linear import (
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
from memorization.studies.pitfalls_of_memorization.methods import (
    SELECTIONS,
    Plan,
    at_selected,
    compare_methods,
    subset_answers,
)
from memorization.studies.pitfalls_of_memorization.regression import (
    PUBLISHED_SEED,
    core_function,
    describe,
    fit_curves,
    noisy_curve,
)
from memorization.studies.pitfalls_of_memorization.theory import MaxMargin, hard_margin, max_margin
from memorization.training.held_out import HeldOut, attribute_shift, group_weights, memorization_shift
from memorization.training.recipe import Recipe

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
    settings = {"gamma": gamma, "sigma": sigma, "rate": rate, "epochs": epochs, "seed": seed}
    which, _ = _linear_columns(kernel, [(method, temperature)], **settings)
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
    settings = {"gamma": gamma, "sigma": sigma, "rate": rate, "epochs": epochs, "seed": seed}
    which, twins = _linear_columns(kernel, arms, **settings)
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
    gamma: float,
    sigma: float,
    rate: float,
    epochs: int,
    seed: int,
) -> tuple[Columns, LinearTwins | None]:
    """One column for each method and temperature, and the twins that some of them needed."""
    train = kernel.problem.train
    n, labels = len(train.labels), train.labels.long()
    groups = 2 * labels + train.majority.long()
    shifts, weights = torch.zeros(n, len(arms)), torch.ones(n, len(arms))
    twins: dict[bool, LinearTwins] = {}
    for k, (method, temperature) in enumerate(arms):
        check_choice("method", method, LINEAR_METHODS)
        if method in ("mat", "mat_no_flipping"):
            flipping = method == "mat"
            if flipping not in twins:
                twins[flipping] = linear_twins(
                    kernel, gamma=gamma, sigma=sigma, rate=rate, epochs=epochs, seed=seed, flipping=flipping
                )
            half = twins[flipping].logits / 2
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
    size = [1.0] * len(arms)
    made = columns(
        [gamma * one for one in size], sigma, rate, shifts=shifts, weights=weights,
        groups=groups if bool(robust.any()) else None, robust=robust,
    )  # fmt: skip
    return made, twins.get(True)


def _asked_twins(kernel: Kernel, twins: LinearTwins | None) -> Row:
    """What twins flipped and got right, by majority and minority; NaN where there were none."""
    train, row = kernel.problem.train, {}
    for name, members in (("majority", train.majority), ("minority", ~train.majority)):
        flipped = right = float("nan")
        if twins is not None:
            flipped = float(twins.flipped[members].double().mean())
            right = float(((twins.logits > 0) == (train.labels > 0.5))[members].double().mean())
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
        method: ``erm``, ``group_dro``, ``weights`` or ``mat_oracle``: what needs no twins.
        seed: whole number >= 0.

    Returns:
        One row for each pair: ``gamma``, ``sigma``, accuracies as in :func:`linear_curves`, and
        ``limit_minority``, ``limit_majority``, those of the max-margin limit in closed form (NaN without
        noise).
    """
    check_choice("method", method, ("erm", "weights", "group_dro", "mat_oracle"))
    kernel = Kernel.of(linear_problem(n=n, d=d, majority_rate=majority_rate, seed=seed))
    pairs = [(gamma, sigma) for gamma in gammas for sigma in sigmas]
    one, _ = _linear_columns(kernel, [(method, 0.0)], gamma=1.0, sigma=0.0, rate=rate, epochs=1, seed=seed)
    strengths = [list(values) for values in zip(*pairs, strict=True)]
    robust = None if one.robust is None else one.robust.expand(len(pairs))
    which = columns(
        *strengths, rate, shifts=one.shifts, weights=one.weights, groups=one.groups, robust=robust
    )
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


@experiment("linear_minority")
def linear_minority(
    *,
    rates: Sequence[float],
    methods: Sequence[str],
    gamma: float = 5.0,
    sigma: float = 0.5,
    rate: float = 0.01,
    epochs: int = 1000,
    n: int = 1000,
    d: int = 1798,
    seed: int,
) -> list[Row]:
    """Train methods at several sizes of the minority.

    Args:
        rates: shares of training examples whose features disagree, each in (0, 1).
        methods: of ``LINEAR_METHODS``.
        gamma: as in :func:`linear_methods`, like the next.
        sigma: strength of the noise.
        rate: learning rate.
        epochs: as in ``descend``.
        n: examples of each split.
        d: noise coordinates.
        seed: whole number >= 0.

    Returns:
        The rows of :func:`linear_methods` with ``minority``, the share.
    """
    same = {
        "methods": methods,
        "gamma": gamma,
        "sigma": sigma,
        "rate": rate,
        "epochs": epochs,
        "n": n,
        "d": d,
    }
    return [
        {"minority": share, **row}
        for share in rates
        for row in linear_methods(**same, majority_rate=1 - share, seed=seed)
    ]


@experiment("linear_road")
def linear_road(
    *,
    epochs: int,
    look_at: Sequence[int],
    gamma: float = 5.0,
    sigma: float = 0.5,
    rate: float = 0.01,
    n: int = 1000,
    d: int = 1798,
    majority_rate: float = 0.9,
    seed: int,
) -> list[Row]:
    """Follow plain gradient descent far beyond Figure 1, toward the max-margin classifier.

    Args:
        epochs: as in ``descend``.
        look_at: epochs at which accuracies are taken, beside the last.
        gamma: strength of the spurious feature.
        sigma: strength of the noise, > 0.
        rate: learning rate.
        n: examples of each split.
        d: noise coordinates.
        majority_rate: share of training examples whose features agree, in (0, 1).
        seed: whole number >= 0.

    Returns:
        One row for each epoch: ``epoch``, the accuracies, and ``limit_minority`` of the closed form.
    """
    kernel = Kernel.of(linear_problem(n=n, d=d, majority_rate=majority_rate, seed=seed))
    descent = descend(kernel, columns(gamma, sigma, rate), epochs=epochs, look_at=look_at)
    members = int(kernel.problem.train.majority.sum())
    limit = max_margin(majority=members, minority=n - members, d=d, gamma=gamma, sigma=sigma)
    return [
        {"epoch": epoch, **{name: float(v[0]) for name, v in found.items()}, "limit_minority": limit.minority}
        for epoch, found in descent.accuracies.items()
    ]


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
        One row for each example and method: ``method``, ``id``, ``minority`` (0 or 1), ``influence`` (NaN
        without an estimate).
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
        settings = {"gamma": gamma, "sigma": sigma, "rate": rate, "epochs": epochs, "seed": seed}
        one, _ = _linear_columns(kernel, [(method, temperature)], **settings)
        assert one.weights is not None
        strengths = [[gamma] * models, sigma, rate]
        which = columns(*strengths, shifts=one.shifts, weights=one.weights * subsets)  # type: ignore[arg-type]
        right = (descend(kernel, which, epochs=epochs).logits > 0) == labels[:, None]
        rows += _influence_rows(
            method, self_influence(right.T, included), torch.arange(n), {"minority": minority}
        )
    return rows


def _influence_rows(method: str, scores: Tensor, ids: Tensor, more: dict[str, Tensor]) -> list[Row]:
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


# ---- images


def _head(inputs: int, widths: Sequence[int], source: torch.Generator) -> nn.Module:
    """A perceptron, or a linear head where there is no hidden layer."""
    if widths:
        return mlp(inputs=inputs, widths=widths, classes=2, hidden=(), generator=source)
    bound, head = inputs**-0.5, nn.Linear(inputs, 2)
    with torch.no_grad():
        for value in head.parameters():
            value.uniform_(-bound, bound, generator=source)
    return head


def image_plan(
    inputs: int,
    *,
    widths: Sequence[int],
    rate: float,
    steps: int,
    twin_steps: int,
    batch: int,
    device: str,
    **more: Any,
) -> Plan:
    """Return how networks on image vectors are trained: Adam, and the full batch where ``batch`` is 0."""
    draw = "replace" if batch else "whole"
    common = {"learning_rate": rate, "batch": batch or 1}
    return Plan(
        partial(_head, inputs, tuple(widths)), Recipe(steps=steps, **common), Recipe(steps=twin_steps, **common),
        draw, device=device, **more,
    )  # fmt: skip


@experiment("group_methods")
def group_methods(
    *,
    dataset: str,
    methods: Sequence[str],
    minority: float = 0.05,
    shown: str = "colored",
    widths: Sequence[int] = (128,),
    rate: float = 3e-3,
    steps: int = 300,
    twin_steps: int = 150,
    batch: int = 0,
    temperature: float = 0.1,
    eta: float = 0.1,
    evaluate_every: int = 50,
    n_train: int | None = None,
    data_root: str | None = None,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row]]:
    """Train every method on images with a spurious attribute, all methods and seeds in one stack.

    Args:
        dataset: as in ``spurious_digits``, like the next two.
        methods: of ``METHODS``.
        minority: fraction of each class whose attribute is the other class's.
        shown: ``colored`` or ``background``.
        widths: of the hidden layers; none for a linear head.
        rate: learning rate of Adam.
        steps: of the methods.
        twin_steps: of the twins.
        batch: examples a step, drawn with replacement; 0: all of them.
        temperature: of memorization-aware training.
        eta: of group distributionally robust optimization.
        evaluate_every: steps between two looks at the validation set.
        n_train: training images; None: the data set's usual number.
        data_root: folder of the data sets.
        device: where to compute.
        seeds: of data, weights and everything else.

    Returns:
        For each seed one row per method: at the last step ``train_worst``, ``test_worst``, ``test_average``
        (plain mean), ``test_average_train_mix`` and ``test_group_0``...; ``annotated_worst`` and
        ``inferred_worst``, the test set's worst-group accuracy at the step that validation chooses by
        annotated or inferred groups; and of the twins the shares ``flipped_majority`` and
        ``flipped_minority``, and how well inferred groups find the minority: ``recall`` and ``precision`` of
        the training set, ``validation_recall`` and ``validation_precision``.
    """
    seeds = check_seeds(seeds)
    make = partial(spurious_digits, dataset, minority=minority, shown=shown, n_train=n_train, root=data_root)
    splits = [make(seed=seed) for seed in seeds]
    plan = image_plan(
        splits[0].train.inputs.shape[1], widths=widths, rate=rate, steps=steps, twin_steps=twin_steps, batch=batch,
        device=device, temperature=temperature, eta=eta, evaluate_every=evaluate_every,
    )  # fmt: skip
    return method_rows(splits, seeds, methods, plan)


_KEPT = ("train_worst", "test_worst", "test_average", "test_average_train_mix", "validation_worst_annotated")


def method_rows(
    splits: Sequence[GroupedSplits], seeds: Sequence[int], methods: Sequence[str], plan: Plan
) -> list[list[Row]]:
    """Train methods and return, for each seed, the rows of :func:`group_methods`."""
    outcome = compare_methods(splits, seeds, methods, plan)
    chosen = {name: at_selected(outcome.rows, name).set_index(["seed", "method"]) for name in SELECTIONS}
    answers = []
    for seed, one in zip(seeds, splits, strict=True):
        twins = outcome.twins[seed]
        known = {"flip_rate": twins.flip_rate, "degenerate": int(twins.degenerate)}
        exceptions = one.train.attributes != one.train.labels
        for name, members in (("majority", ~exceptions), ("minority", exceptions)):
            known[f"flipped_{name}"] = float(twins.flipped[members].double().mean())
        known |= _found(twins.mistakes, exceptions, "")
        if not twins.degenerate:
            mistakes = twins.mistakes_at(one.validation.inputs, one.validation.labels)
            known |= _found(mistakes, one.validation.attributes != one.validation.labels, "validation_")
        rows = []
        for method in methods:
            last = chosen["last"].loc[(seed, method)]
            groups = {name: float(last[name]) for name in last.index if name.startswith("test_group_")}
            kept = {name: float(last[name]) for name in _KEPT if name in last.index}
            selected = {
                f"{s}_worst": float(chosen[s].loc[(seed, method), "test_worst"]) for s in SELECTIONS[1:]
            }
            rows.append({"method": method, **kept, **selected, **groups, **known})
        answers.append(rows)
    return answers


def _found(mistakes: Tensor, exceptions: Tensor, prefix: str) -> dict[str, float]:
    """Share of the minority that is inferred (recall), and of what is inferred that is minority (precision)."""
    inferred = mistakes.bool()
    both = float((inferred & exceptions).sum())
    parts = {"recall": float(exceptions.sum()), "precision": float(inferred.sum())}
    return {prefix + name: both / count if count else float("nan") for name, count in parts.items()}


@experiment("group_influence")
def group_influence(
    *,
    dataset: str,
    methods: Sequence[str] = ("erm", "mat"),
    models: int = 20,
    fraction: float = 0.7,
    minority: float = 0.05,
    shown: str = "colored",
    widths: Sequence[int] = (128,),
    rate: float = 3e-3,
    steps: int = 250,
    twin_steps: int = 150,
    batch: int = 0,
    n_train: int | None = None,
    data_root: str | None = None,
    device: str = "cpu",
    seed: int,
) -> list[Row]:
    """Estimate the self-influence of every training image, by networks on subsets, all in one stack.

    Args:
        dataset: as in :func:`group_methods`, like those not named here.
        methods: of ``METHODS`` without group distributionally robust optimization.
        models: networks a method, >= 2.
        fraction: of the training images in a subset, in (0, 1).
        minority: as in :func:`group_methods`.
        shown: likewise, like all that follow.
        widths: of the hidden layers.
        rate: learning rate.
        steps: of the networks.
        twin_steps: of the twins.
        batch: examples a step.
        n_train: training images.
        data_root: folder of the data sets.
        device: where to compute.
        seed: of data, subsets and weights.

    Returns:
        One row for each image and method: ``method``, ``id``, ``label``, ``attribute``, ``minority`` and
        ``influence``.
    """
    check_whole("models", models, 2)
    one = spurious_digits(dataset, minority=minority, seed=seed, shown=shown, n_train=n_train, root=data_root)
    plan = image_plan(
        one.train.inputs.shape[1],
        widths=widths,
        rate=rate,
        steps=steps,
        twin_steps=twin_steps,
        batch=batch,
        device=device,
    )
    return influence_rows(one, seed, methods, plan, models=models, fraction=fraction)


def influence_rows(
    one: GroupedSplits, seed: int, methods: Sequence[str], plan: Plan, *, models: int, fraction: float
) -> list[Row]:
    """Return the rows of :func:`group_influence` of any data set."""
    answers, included = subset_answers(one, seed, methods, plan, models=models, fraction=fraction)
    part = one.train
    more = {
        "label": part.labels,
        "attribute": part.attributes,
        "minority": (part.attributes != part.labels).long(),
    }
    rows: list[Row] = []
    for method, right in answers.items():
        rows += _influence_rows(method, self_influence(right, included), part.ids, more)
    return rows


TEMPERATURES = (0.001, 0.01, 0.1)


def published_draw(number: int) -> dict[str, float]:
    """Return one of the ten hyper-parameter draws of the reference code for ColorMNIST.

    They are a function of the number alone: learning rate, batch size and weight decay from one stream, the
    temperature from a fresh one, so that it is not independent of the learning rate (specification, pitfall
    14).

    Args:
        number: 0 to 9.

    Returns:
        ``rate``, ``batch``, ``weight_decay``, ``temperature``.
    """
    check_whole("draw", number)
    stream = np.random.RandomState(number)  # noqa: NPY002: the legacy stream is the published one
    rate, size, decay = 10 ** stream.uniform(-5, -3), stream.uniform(3, 6), 10 ** stream.uniform(-6, -3)
    temperature = np.random.RandomState(number).choice(TEMPERATURES)
    return {"rate": rate, "batch": int(2**size), "weight_decay": decay, "temperature": float(temperature)}


@experiment("color_mnist_draw")
def color_mnist_draw(
    *,
    draw: int,
    methods: Sequence[str] = ("erm", "group_dro", "xrm_group_dro", "mat"),
    variant: str = "color",
    steps: int = 1001,
    twin_steps: int = 1001,
    rate_factor: float = 1.0,
    sizes: Sequence[int] = (50_000, 10_000, 10_000),
    data_root: str | None = None,
    device: str = "cpu",
    seed: int,
) -> list[Row]:
    """Train methods on ColorMNIST with one of the ten published draws of hyper-parameters.

    Args:
        draw: its number, 0 to 9.
        methods: of ``METHODS``; ``group_dro`` uses the two human environments.
        variant: of ``COLOR_VARIANTS``.
        steps: of the methods, evaluated every 50.
        twin_steps: of the twins.
        rate_factor: the draw's learning rate is multiplied by it; 1: as published.
        sizes: of training, validation and test set.
        data_root: folder of the data sets.
        device: where to compute.
        seed: of labels, colors, weights and batches.

    Returns:
        One row for each method as in :func:`group_methods` (test groups are the classes), with the draw's
        ``rate``, ``batch``, ``weight_decay`` and ``temperature``.
    """
    chosen = published_draw(draw)
    splits = color_mnist(variant, seed=seed, sizes=sizes, root=data_root)
    common: dict[str, Any] = {
        "learning_rate": rate_factor * chosen["rate"], "batch": int(chosen["batch"]), "weight_decay": chosen["weight_decay"],
    }  # fmt: skip
    plan = Plan(
        partial(_xavier_perceptron, splits.train.inputs.shape[1]), Recipe(steps=steps, **common),
        Recipe(steps=twin_steps, **common), "shuffle", temperature=chosen["temperature"], device=device,
    )  # fmt: skip
    rows = method_rows([splits], [seed], methods, plan)[0]
    return [{**chosen, **row} for row in rows]


def _xavier_perceptron(inputs: int, source: torch.Generator) -> nn.Module:
    """The published network of ColorMNIST: 390-390, Xavier-uniform weights, zero biases."""
    network = mlp(inputs=inputs, widths=(390, 390), classes=2, hidden=(), generator=source)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=source)
            nn.init.zeros_(layer.bias)
    return network
