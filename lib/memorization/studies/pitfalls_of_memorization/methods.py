"""Ways to train under a spurious correlation, side by side in one stack, and what each group gains by them.

The rows of Table 1 of Bayat et al. (ICLR 2025) and their rivals: what differs between them is a weight or a
logit shift of each example, or group weights; so all methods and seeds are one training.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from memorization.checks import check_choice, check_whole
from memorization.data.groups import GroupedSet, GroupedSplits, check_groups_present
from memorization.draws import generator
from memorization.measures.accuracy import group_accuracies
from memorization.measures.influence import random_subsets
from memorization.training.held_out import (
    CrossRisk,
    HeldOut,
    attribute_shift,
    check_inferred,
    error_weights,
    group_weights,
    k_fold_predictions,
    memorization_shift,
    predict,
    stacked_batches,
    subsample_weights,
    train_twins,
)
from memorization.training.objectives import ExampleCrossEntropy
from memorization.training.recipe import Recipe
from memorization.training.train import Trained, TrainingError, train

METHODS = (
    "erm", "weights", "subsample", "group_dro", "xrm_group_dro", "mat", "mat_k_fold", "mat_oracle",
    "logit_correction", "jtt",
)  # fmt: skip
SELECTIONS = ("last", "annotated", "inferred")
_NEED_TWINS = {"xrm_group_dro", "mat", "logit_correction"}
_ROBUST = ("group_dro", "xrm_group_dro")
_JTT_FACTOR, _JTT_SHARE, _FOLDS = 20.0, 0.1, 5

Make = Callable[[torch.Generator], nn.Module]


@dataclass(frozen=True)
class Comparison:
    """How methods are compared on one kind of data: networks, recipes, batches.

    Attributes:
        make: makes a network from a generator of its weights.
        recipe: of the methods.
        twins: recipe of the twins, phase 1.
        draw: batches of both, see ``TensorBatches``.
        temperature: tau of memorization-aware training, > 0.
        eta: step of group distributionally robust optimization, > 0.
        evaluate_every: steps between two looks at the validation set.
        device: where to compute.
        make_twin: makes a twin; None: as the methods' networks.
        one_by_one: train one network after the other, where they are too large to be stacked.
    """

    make: Make
    recipe: Recipe
    twins: Recipe
    draw: str = "whole"
    temperature: float = 0.1
    eta: float = 0.1
    evaluate_every: int = 50
    device: str = "cpu"
    make_twin: Make | None = None
    one_by_one: bool = False

    @property
    def looks(self) -> list[int]:
        """Steps after which the validation set is looked at; the last one always is."""
        steps = self.recipe.total(1)
        return sorted({*range(self.evaluate_every, steps, self.evaluate_every), steps})


@dataclass(frozen=True)
class Tables:
    """What a method does to each example: weights (N,), logit shifts (N, C), groups (N,); -1: no group."""

    weights: Tensor
    shifts: Tensor
    groups: Tensor


def prepare(
    method: str,
    one: GroupedSet,
    seed: int,
    plan: Comparison,
    found: CrossRisk | None,
    held_out: HeldOut | None = None,
) -> Tables:
    """Return the tables of one method on one training set.

    Args:
        method: of ``METHODS``.
        one: the training set.
        seed: of sub-samples, first networks and folds.
        plan: how networks are trained.
        found: what twins found out; needed by methods that use held-out predictions or inferred groups.
        held_out: predictions to use in place of the twins' in memorization-aware training.

    Raises:
        ValueError: an unknown method, a group without a member, predictions of other examples.
        RuntimeError: inferred groups are asked for and degenerate.
    """
    check_choice("method", method, METHODS)
    n, count = len(one), one.classes * one.values
    weights, shifts = torch.ones(n), torch.zeros(n, one.classes)
    groups = torch.full((n,), -1)
    if method in _NEED_TWINS and found is None:
        raise ValueError(f"method {method!r} needs what twins found out; run train_twins first")
    if method == "weights":
        weights = group_weights(one.groups, count)
    elif method == "subsample":
        weights = subsample_weights(one.groups, count, generator(seed, "subsample"))
    elif method == "group_dro":
        check_groups_present(one.groups, count)
        groups = one.groups
    elif method == "xrm_group_dro" and found is not None:
        check_inferred(found.mistakes, one.labels, one.classes)
        groups = 2 * one.labels + found.mistakes
    elif method == "mat_oracle":
        shifts = attribute_shift(one.labels, one.attributes, one.classes, one.values)
    elif method == "logit_correction" and found is not None:
        estimated = found.held_out.logits.argmax(1)
        shifts = attribute_shift(one.labels, estimated, one.classes, one.classes)
    elif method == "jtt":
        weights = error_weights(_first_logits(one, seed, plan), one.labels, _JTT_FACTOR)
    elif method in ("mat", "mat_k_fold"):
        if method == "mat_k_fold":
            networks = [plan.make(generator(seed, "fold", k)) for k in range(_FOLDS)]
            held_out = k_fold_predictions(
                networks, one, plan.twins, seed=seed, draw=plan.draw, device=plan.device
            )
        predictions = held_out if held_out is not None or found is None else found.held_out
        assert predictions is not None
        shifts = memorization_shift(predictions, one.labels, one.ids, plan.temperature)
    return Tables(weights, shifts, groups)


def _first_logits(one: GroupedSet, seed: int, plan: Comparison) -> Tensor:
    """A briefly trained network's outputs: its errors are what Just Train Twice weighs."""
    steps = max(1, round(_JTT_SHARE * plan.recipe.total(1)))
    recipe = Recipe(
        steps=steps,
        batch=plan.recipe.batch,
        optimizer=plan.recipe.optimizer,
        learning_rate=plan.recipe.learning_rate,
    )
    batches = stacked_batches([one], [seed], draw=plan.draw, device=plan.device)
    done = train([plan.make(generator(seed, "first")).to(plan.device)], batches, "cross_entropy", recipe)
    return predict(done.networks[0], one.inputs).cpu()


@dataclass(frozen=True)
class Outcome:
    """Methods trained on one kind of data.

    Attributes:
        rows: one for each method, seed and step that was looked at: accuracies of training, validation and
            test set.
        networks: the trained networks, by method and seed.
        twins: what twins found out, by seed.
        inferred: by seed, groups of the validation examples that twins inferred, shape (N,), 0 or 1; none of
            a seed whose twins are degenerate.
        failed: by seed, the error of a network whose loss is not finite; such a seed has no rows.
    """

    rows: pd.DataFrame
    networks: dict[tuple[str, int], nn.Module]
    twins: dict[int, CrossRisk]
    inferred: dict[int, Tensor]
    failed: dict[int, TrainingError]


def compare_methods(
    splits: Sequence[GroupedSplits],
    seeds: Sequence[int],
    methods: Sequence[str],
    plan: Comparison,
    *,
    selection: str = "last",
    twin_splits: Sequence[GroupedSplits] | None = None,
) -> Outcome:
    """Train every method on every seed's data, all networks in one stack.

    Args:
        splits: one data set for each seed, of one size.
        seeds: of weights, batches and everything else; methods share them.
        methods: of ``METHODS``, each once.
        plan: how networks are trained.
        selection: which step each network ends with: the ``last`` one; or the last of those at which
            worst-group accuracy on the validation set was largest, by ``annotated`` or by ``inferred``
            groups.
        twin_splits: what twins see instead, the same examples in the same order: features of a frozen
            network, say.

    Raises:
        ValueError: an unknown name, ``group annotations required``, or no method or seed.
        RuntimeError: inferred groups are needed and degenerate, in the training or the validation set.
        TrainingError: the loss of every network is not finite; of some, their seeds are in ``failed``.
    """
    check_choice("selection", selection, SELECTIONS)
    if not methods or len(set(methods)) < len(methods):
        raise ValueError(f"methods={list(methods)}; allowed: one or more of {', '.join(METHODS)}, each once")
    for method in methods:
        check_choice("method", method, METHODS)
    if selection == "annotated" and any(one.validation.values < 2 for one in splits):
        raise ValueError(
            "group annotations required for selection='annotated'; give a validation set with attributes"
        )
    check_whole("evaluate_every", plan.evaluate_every, 1)
    make_twin, seen = plan.make_twin or plan.make, twin_splits or splits
    twins = [make_twin(generator(seed, "twin", k)) for seed in seeds for k in (0, 1)]
    found = train_twins(
        twins, [one.train for one in seen], seeds, plan.twins, draw=plan.draw, device=plan.device
    )
    members = [(method, k) for k in range(len(seeds)) for method in methods]
    tables = [prepare(method, splits[k].train, seeds[k], plan, found[k]) for method, k in members]
    inferred = {
        seed: one.mistakes_at(part.validation.inputs, part.validation.labels)
        for seed, one, part in zip(seeds, found, seen, strict=True)
        if selection == "inferred" or not one.degenerate
    }
    if selection == "inferred":
        for seed, part in zip(seeds, splits, strict=True):
            check_inferred(inferred[seed], part.validation.labels, part.validation.classes)
    rows: list[pd.DataFrame] = []
    networks: dict[tuple[str, int], nn.Module] = {}
    failed: dict[int, TrainingError] = {}
    every = range(len(members))
    for some in [[m] for m in every] if plan.one_by_one else [list(every)]:
        trained = [members[m] for m in some]

        def watch(step: int, member: int, network: nn.Module, trained: Any = trained) -> list[dict[str, Any]]:
            method, k = trained[member]
            found_at = evaluate(network, splits[k], inferred.get(seeds[k]), train=step == plan.looks[-1])
            return [{"method": method, "seed": seeds[k], **found_at}]

        done = _train_stack(trained, splits, seeds, [tables[m] for m in some], plan, watch, selection)
        for member, error in done.failed.items():
            failed.setdefault(seeds[trained[member][1]], error)
        rows.append(done.watched.rename(columns={"epoch": "step"}).drop(columns="member"))
        ended = zip(trained, done.networks, strict=True)
        networks |= {(method, seeds[k]): network for (method, k), network in ended if network is not None}
    table = pd.concat(rows, ignore_index=True)
    kept = table[(table.step > 0) & ~table.seed.isin(list(failed))].reset_index(drop=True)
    return Outcome(kept, networks, dict(zip(seeds, found, strict=True)), inferred, failed)


def _train_stack(
    members: Sequence[tuple[str, int]],
    splits: Sequence[GroupedSplits],
    seeds: Sequence[int],
    tables: Sequence[Tables],
    plan: Comparison,
    watch: Callable[[int, int, nn.Module], list[dict[str, Any]]],
    selection: str,
) -> Trained:
    """Train one network for each member, all in one stack, each with its own tables and its seed's data."""

    def stacked(name: str) -> Tensor:
        return torch.stack([getattr(one, name) for one in tables]).to(plan.device)

    robust = any(bool((one.groups >= 0).any()) for one in tables)
    objective = ExampleCrossEntropy(
        stacked("weights"), stacked("shifts"), stacked("groups") if robust else None, plan.eta
    )
    sets = [splits[k].train for _, k in members]
    batches = stacked_batches(sets, [seeds[k] for _, k in members], draw=plan.draw, device=plan.device)
    networks = [plan.make(generator(seeds[k], "weights")).to(plan.device) for _, k in members]
    best = "" if selection == "last" else f"score_{selection}"

    def watched(step: int, member: int, network: nn.Module) -> list[dict[str, Any]]:
        rows = watch(step, member, network)
        # A network that has not learned yet is balanced by chance: the first look never counts.
        scores = {
            f"score_{name}": rows[0][f"validation_worst_{name}"] if step else -1.0 for name in SELECTIONS[1:]
        }
        return [{**row, **scores} for row in rows]

    return train(
        networks, batches, objective, plan.recipe, watch=watched, watch_at=plan.looks, keep_best=best
    )


def evaluate(
    network: nn.Module, splits: GroupedSplits, inferred: Tensor | None, *, train: bool = True
) -> dict[str, float]:
    """Measure a network on all parts of a data set, by annotated and, in validation, by inferred groups.

    Args:
        network: maps inputs to logits.
        splits: the data set.
        inferred: groups of the validation examples that twins inferred, shape (N,), 0 or 1; None: not known.
        train: whether to measure the training set, which is the largest; else its numbers are left out.

    Returns:
        ``train_worst``, ``train_average``, ``validation_worst_annotated``, ``validation_worst_inferred`` (NaN
        without twins), ``validation_average``, ``test_worst``, ``test_average`` (plain mean),
        ``test_average_train_mix`` (groups as large as in training), and ``test_group_0``...: accuracies in
        [0, 1].
    """
    row: dict[str, float] = {}
    parts = {"train": splits.train} if train else {}
    for name, part in (parts | {"validation": splits.validation, "test": splits.test}).items():
        predictions = predict(network, part.inputs).argmax(1).cpu()
        measured = group_accuracies(predictions, part.labels, part.groups, part.classes * part.values)
        row[f"{name}_average"] = measured.average
        if name == "validation":
            row["validation_worst_annotated"] = measured.worst
            row["validation_worst_inferred"] = math.nan
            if inferred is not None:
                groups = 2 * part.labels + inferred
                by_inferred = group_accuracies(predictions, part.labels, groups, 2 * part.classes)
                row["validation_worst_inferred"] = by_inferred.worst
        else:
            row[f"{name}_worst"] = measured.worst
        if name == "test":
            if len(splits.train.counts) == len(measured.groups):
                row["test_average_train_mix"] = measured.average_at(splits.train.counts)
            row |= {f"test_group_{g}": float(value) for g, value in enumerate(measured.groups)}
    return row


def at_selected(rows: pd.DataFrame, selection: str) -> pd.DataFrame:
    """Return the row of each method and seed that a selection chooses.

    Args:
        rows: of ``Outcome``.
        selection: ``last``; ``annotated`` or ``inferred``: the last of the steps with the largest worst-group
            accuracy on the validation set.
    """
    check_choice("selection", selection, SELECTIONS)
    ordered = rows.sort_values("step", kind="stable")
    if selection != "last":
        ordered = ordered.sort_values(f"validation_worst_{selection}", kind="stable", na_position="first")
    return ordered.groupby(["method", "seed"], sort=False).tail(1)


def subset_answers(
    one: GroupedSplits, seed: int, methods: Sequence[str], plan: Comparison, *, models: int, fraction: float
) -> tuple[dict[str, Tensor], Tensor]:
    """Train networks of each method on random subsets of one training set, and ask each about all of it.

    Held-out predictions come from twins of the whole training set, once.

    Args:
        one: the data set.
        seed: of subsets and weights.
        methods: of ``METHODS``, without those of group distributionally robust optimization.
        plan: how networks are trained.
        models: networks a method, >= 2.
        fraction: of the training set in a subset, in (0, 1).

    Returns:
        By method, whether each network is right at each training example, (models, N), bool; and which
        examples each network had, (models, N), bool.

    Raises:
        ValueError: an unknown method, one with group weights, or no subset can be drawn.
        TrainingError: the loss of a network is not finite.
    """
    for method in methods:
        check_choice("method", method, METHODS)
        if method in _ROBUST:
            raise ValueError(
                f"method {method!r} has group weights that belong to the whole set; leave it out"
            )
    part = one.train
    included = random_subsets(models, len(part), fraction, generator(seed, "subsets"))
    found = None
    if any(method in _NEED_TWINS for method in methods):
        twins = [plan.make(generator(seed, "twin", k)) for k in (0, 1)]
        found = train_twins(twins, [part], [seed], plan.twins, draw=plan.draw, device=plan.device)[0]
    scale = included * (len(part) / included.sum(1, keepdim=True))
    tables, networks = [], []
    for method in methods:
        made = prepare(method, part, seed, plan, found)
        tables += [Tables(made.weights * row, made.shifts, made.groups) for row in scale]
        networks += [plan.make(generator(seed, "subset", m)) for m in range(models)]
    members = [(method, 0) for method in methods for _ in range(models)]
    objective = ExampleCrossEntropy(
        torch.stack([t.weights for t in tables]), torch.stack([t.shifts for t in tables]), eta=plan.eta
    )
    batches = stacked_batches(
        [part] * len(members), [seed] * len(members), draw=plan.draw, device=plan.device
    )
    done = train([n.to(plan.device) for n in networks], batches, objective.to(plan.device), plan.recipe)
    done.raise_failed()
    right = torch.stack([predict(n, part.inputs).argmax(1).cpu() == part.labels for n in done.networks])
    return dict(zip(methods, right.split(models), strict=True)), included
