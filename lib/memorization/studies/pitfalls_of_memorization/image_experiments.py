"""The experiments on images with a spurious attribute: methods against each other, and single examples.

Bayat et al. (ICLR 2025), Table 1 and Figure 2, at the size of a laptop. All methods and seeds are one stack,
and methods of one seed share data and initial weights, so their differences are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from memorization.checks import check_seeds, check_whole
from memorization.data.groups import GroupedSet, GroupedSplits, color_mnist, spurious_digits
from memorization.measures.influence import self_influence
from memorization.models.networks import mlp
from memorization.runs.sweep import experiment
from memorization.studies.pitfalls_of_memorization.experiments import example_rows
from memorization.studies.pitfalls_of_memorization.methods import (
    SELECTIONS,
    Comparison,
    at_selected,
    compare_methods,
    subset_answers,
)
from memorization.training.recipe import Recipe
from memorization.training.train import TrainingError

Row = dict[str, Any]


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
) -> Comparison:
    """Return how networks on image vectors are trained: Adam, and the full batch where ``batch`` is 0."""
    draw = "replace" if batch else "whole"
    common: dict[str, Any] = {"learning_rate": rate, "batch": batch or 1}
    return Comparison(
        partial(_head, inputs, tuple(widths)),
        Recipe(steps=steps, **common),
        Recipe(steps=twin_steps, **common),
        draw,
        device=device,
        **more,
    )


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
) -> list[list[Row] | TrainingError]:
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
        annotated or inferred groups (NaN where these are degenerate); and of the twins the shares
        ``flipped_majority`` and ``flipped_minority``, and how well inferred groups find the minority:
        ``recall`` and ``precision`` of the training set, ``validation_recall`` and ``validation_precision``.
    """
    seeds = check_seeds(seeds)
    make = partial(spurious_digits, dataset, minority=minority, shown=shown, n_train=n_train, root=data_root)
    splits = [make(seed=seed) for seed in seeds]
    plan = image_plan(
        splits[0].train.inputs.shape[1],
        widths=widths,
        rate=rate,
        steps=steps,
        twin_steps=twin_steps,
        batch=batch,
        device=device,
        temperature=temperature,
        eta=eta,
        evaluate_every=evaluate_every,
    )
    return method_rows(splits, seeds, methods, plan)


_KEPT = ("train_worst", "test_worst", "test_average", "test_average_train_mix", "validation_worst_annotated")


def method_rows(
    splits: Sequence[GroupedSplits],
    seeds: Sequence[int],
    methods: Sequence[str],
    plan: Comparison,
    *,
    twin_splits: Sequence[GroupedSplits] | None = None,
    correlated: bool = True,
) -> list[list[Row] | TrainingError]:
    """Train methods and return, for each seed, the rows of :func:`group_methods`; see ``compare_methods``.

    A seed of which a network failed has its error in place of rows. ``correlated``: the attribute goes with
    the label, so that there is a minority to be found.
    """
    outcome = compare_methods(splits, seeds, methods, plan, twin_splits=twin_splits)
    chosen: dict[str, dict[tuple[int, str], Row]] = {}
    for name in SELECTIONS:
        records = at_selected(outcome.rows, name).to_dict("records")
        rows_of = [{str(k): v for k, v in row.items()} for row in records]
        chosen[name] = {(int(row["seed"]), str(row["method"])): row for row in rows_of}
    answers: list[list[Row] | TrainingError] = []
    for seed, one in zip(seeds, twin_splits or splits, strict=True):
        if seed in outcome.failed:
            answers.append(outcome.failed[seed])
            continue
        twins = outcome.twins[seed]
        known = {"flip_rate": twins.flip_rate, "degenerate": int(twins.degenerate)}
        exceptions = _exceptions(one.train, correlated)
        for name, members in (("majority", ~exceptions), ("minority", exceptions)):
            known[f"flipped_{name}"] = float(twins.flipped[members].double().mean())
        known |= _found(twins.mistakes, exceptions, "")
        if seed in outcome.inferred:
            members = _exceptions(one.validation, correlated)
            known |= _found(outcome.inferred[seed], members, "validation_")
        rows = []
        for method in methods:
            last = chosen["last"][seed, method]
            groups = {name: float(value) for name, value in last.items() if name.startswith("test_group_")}
            kept = {name: float(last[name]) for name in _KEPT if name in last}
            selected: Row = {}
            for name in SELECTIONS[1:]:
                at = chosen[name][seed, method]
                selected[f"{name}_worst"] = float(at["test_worst"])
                selected[f"validation_{name}"] = float(at[f"validation_worst_{name}"])
            if twins.degenerate:
                selected["inferred_worst"] = float("nan")  # there is nothing to choose a step by
            rows.append({"method": method, **kept, **selected, **groups, **known})
        answers.append(rows)
    return answers


def _exceptions(one: GroupedSet, correlated: bool) -> Tensor:
    """Examples whose attribute is not their class's; none unless two of both go together."""
    if (one.classes, one.values) != (2, 2) or not correlated:
        return torch.zeros(len(one), dtype=torch.bool)
    return one.attributes != one.labels


def _found(mistakes: Tensor, exceptions: Tensor, prefix: str) -> dict[str, float]:
    """Share of the minority that is inferred (recall), and of the inferred that is minority (precision)."""
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
        One row for each image and method: ``method``, ``id``, ``label``, ``attribute``, ``exception`` and
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
    one: GroupedSplits, seed: int, methods: Sequence[str], plan: Comparison, *, models: int, fraction: float
) -> list[Row]:
    """Return the rows of :func:`group_influence` of any data set."""
    answers, included = subset_answers(one, seed, methods, plan, models=models, fraction=fraction)
    part = one.train
    more = {
        "label": part.labels,
        "attribute": part.attributes,
        "exception": (part.attributes != part.labels).long(),
    }
    rows: list[Row] = []
    for method, right in answers.items():
        rows += example_rows(method, self_influence(right, included), part.ids, more)
    return rows


TEMPERATURES = (0.001, 0.01, 0.1)


def published_draw(number: int, exponents: tuple[int, int] = (3, 6)) -> dict[str, float]:
    """Return one of the ten hyper-parameter draws of the reference code.

    They are a function of the number alone: learning rate, batch size and weight decay from one stream, the
    temperature from a fresh one, so that it is not independent of the learning rate (specification, pitfall
    14).

    Args:
        number: 0 to 9.
        exponents: of two, between which that of the batch size is drawn; by default ColorMNIST's.

    Returns:
        ``rate``, ``batch``, ``weight_decay``, ``temperature``.
    """
    check_whole("draw", number)
    if number > 9:
        raise ValueError(f"draw={number}; allowed: 0 to 9, those that were published")
    stream = np.random.RandomState(number)
    rate, size, decay = 10 ** stream.uniform(-5, -3), stream.uniform(*exponents), 10 ** stream.uniform(-6, -3)
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
        "learning_rate": rate_factor * chosen["rate"],
        "batch": int(chosen["batch"]),
        "weight_decay": chosen["weight_decay"],
    }
    plan = Comparison(
        partial(_xavier_perceptron, splits.train.inputs.shape[1]), Recipe(steps=steps, **common),
        Recipe(steps=twin_steps, **common), "shuffle", temperature=chosen["temperature"], device=device,
    )  # fmt: skip
    rows = method_rows([splits], [seed], methods, plan, correlated=False)[0]
    if isinstance(rows, TrainingError):
        raise rows
    return [{**chosen, **row} for row in rows]


def _xavier_perceptron(inputs: int, source: torch.Generator) -> nn.Module:
    """The published network of ColorMNIST: 390-390, Xavier-uniform weights, zero biases."""
    network = mlp(inputs=inputs, widths=(390, 390), classes=2, hidden=(), generator=source)
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight, generator=source)
            nn.init.zeros_(layer.bias)
    return network
