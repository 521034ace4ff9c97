"""Two features with noise in dual form, and methods in one stack, against plain PyTorch loops.

The plain loops are what a user of PyTorch writes: ``nn.Linear`` or ``nn.Sequential``, cross-entropy,
autograd, ``torch.optim``, one network after the other. Both ways have the same examples, initial weights,
tables and random flips. Accuracies at the end must be equal and logits agree to 1e-3. Networks trained by
Adam must agree in losses and accuracies to 1e-3 after 20 steps and to 1e-2 after 300, since rounding grows
from step to step. Both ways have one thread, as points of a sweep that run side by side.

    python benchmarks/pitfalls_of_memorization.py [--quick] [--out FILE]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from harness import Case, check_equal, main
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812, its usual name

from memorization.data.groups import GroupedSplits, spurious_digits
from memorization.draws import generator
from memorization.measures.influence import random_subsets, self_influence
from memorization.studies.pitfalls_of_memorization.experiments import linear_diagram
from memorization.studies.pitfalls_of_memorization.image_experiments import image_plan
from memorization.studies.pitfalls_of_memorization.methods import Comparison, Tables, prepare
from memorization.studies.pitfalls_of_memorization.two_features import (
    PUBLISHED_SEED,
    Kernel,
    LinearProblem,
    LinearSet,
    columns,
    descend,
    linear_problem,
    linear_twins,
)
from memorization.training.held_out import (
    HeldOut,
    memorization_shift,
    predict,
    stacked_batches,
    train_twins,
)
from memorization.training.objectives import ExampleCrossEntropy
from memorization.training.train import train

OUT = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "pitfalls_of_memorization.json"
Found = dict[str, Tensor | float]

GAMMA, SIGMA, RATE, TEMPERATURE = 5.0, 0.5, 0.01, 0.1
PANELS = (("erm", 0.0, 0.03), ("erm", SIGMA, RATE), ("mat", SIGMA, RATE))  # of Figure 1: sigma, learning rate
GAMMAS, SIGMAS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0), (0.1, 0.25, 0.5, 0.75, 1.0)
SOME_GAMMAS, SOME_SIGMAS = (2.0, 5.0), (0.1, 0.25, 0.5, 1.0)
METHODS = ("erm", "weights", "subsample", "group_dro", "mat")
ETA = 0.1
KINDS = ("majority", "minority")


# ---- two features: what both ways are given


@dataclass(frozen=True)
class Linear:
    """A problem of two features, and for how long a linear model is trained on it."""

    problem: LinearProblem
    epochs: int
    seed: int
    models: int = 0


def linear(n: int, d: int, epochs: int, *, published: bool = False, models: int = 0) -> Linear:
    """Draw a problem: the published one, or that of seed 0."""
    seed = PUBLISHED_SEED if published else 0
    return Linear(linear_problem(n=n, d=d, seed=seed, published=published), epochs, seed, models)


def warm(first: Any, *what: Any, **more: Any) -> Linear:
    """Return a problem after a first use of both ways, which loads modules."""
    for way in first:
        way(linear(20, 5, 3, models=4))
    return linear(*what, **more)


def inputs_of(one: LinearSet, gamma: float, sigma: float) -> Tensor:
    """The inputs as the paper writes them, (x_y, gamma x_a, sigma e)."""
    return torch.cat([one.core[:, None], gamma * one.spurious[:, None], sigma * one.noise], 1)


def layer_of(start: Tensor) -> nn.Linear:
    """Two logits, whose difference begins as the one that ours trains."""
    layer = nn.Linear(len(start), 2, bias=False)
    layer.load_state_dict({"weight": torch.stack([-start / 2, start / 2])})
    return layer


def difference(logits: Tensor) -> Tensor:
    """What a model of two logits says: the second minus the first."""
    return (logits[:, 1] - logits[:, 0]).detach()


def shift_of(held_out: Tensor, labels: Tensor) -> Tensor:
    """The logit shift (n, 2) of memorization-aware training, from held-out logit differences (n,)."""
    ids = torch.arange(len(labels))
    return memorization_shift(
        HeldOut(ids, torch.stack([-held_out / 2, held_out / 2], 1)), labels, ids, TEMPERATURE
    )


# ---- Figure 1


def plain_panels(inputs: Linear) -> Found:
    """Train the three panels one after the other, as the published script does."""
    found = []
    for method, sigma, rate in PANELS:
        train_x, test_x = (inputs_of(s, GAMMA, sigma) for s in (inputs.problem.train, inputs.problem.test))
        labels, flips = inputs.problem.train.labels.long(), 0.0
        shift = None
        if method == "mat":
            held_out, flips = plain_twins(inputs, train_x, rate)
            shift = shift_of(held_out, labels)
        logits, curve = plain_curve(inputs, train_x, test_x, rate, shift)
        found.append((logits, curve, flips))
    return panels_found(found)


def plain_curve(
    inputs: Linear, train_x: Tensor, test_x: Tensor, rate: float, shift: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Train one panel; return logits, and accuracies (epochs, 4) before each update."""
    layer = layer_of(inputs.problem.start)
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate)
    train_set, test_set = inputs.problem.train, inputs.problem.test
    labels, test_labels = train_set.labels.long(), test_set.labels.long()
    members = (train_set.majority, ~train_set.majority), (test_set.majority, ~test_set.majority)
    curve = []
    for epoch in range(1, inputs.epochs + 1):
        outputs = layer(train_x)
        with torch.no_grad():
            right = (outputs.argmax(1) == labels).float(), (layer(test_x).argmax(1) == test_labels).float()
            curve.append([r[m].mean().item() for r, pair in zip(right, members, strict=True) for m in pair])
        if epoch == inputs.epochs:
            break
        loss = F.cross_entropy(outputs if shift is None else outputs + shift, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return difference(outputs), torch.tensor(curve, dtype=torch.float64)


def plain_twins(inputs: Linear, x: Tensor, rate: float) -> tuple[Tensor, float]:
    """Cross-Risk Minimization with the random numbers of ours; return held-out logits, and flipped labels."""
    start, true = inputs.problem.start, inputs.problem.train.labels.long()
    n, source = len(true), generator(inputs.seed, "linear", "twins")
    first = torch.rand(n, generator=source) < 0.5
    bound = len(start) ** -0.5
    other = torch.empty(2, len(start)).uniform_(-bound, bound, generator=source)
    twins = layer_of(start), layer_of(other[1] - other[0])
    optimizer = torch.optim.SGD([p for twin in twins for p in twin.parameters()], lr=rate)
    labels = true.clone()
    for epoch in range(1, inputs.epochs + 1):
        one, two = (twin(x) for twin in twins)
        held_out = torch.where(first[:, None], two, one).detach()
        if epoch == inputs.epochs:
            break
        loss = F.cross_entropy(torch.where(first[:, None], one, two), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        sure, said = held_out.softmax(1).max(1)
        flips = torch.rand(n, generator=source) < (2 * sure - 1).clamp(0, 1)
        labels = torch.where(flips, said, labels)
    return difference(held_out), float((labels != true).sum())


def our_panels(inputs: Linear) -> Found:
    """Multiply the noise once, and train each panel in dual form."""
    kernel, looks = Kernel.of(inputs.problem), range(1, inputs.epochs + 1)
    found = []
    for method, sigma, rate in PANELS:
        flips, shifts = 0.0, None
        if method == "mat":
            how: dict[str, Any] = {"sigma": sigma, "rate": rate, "epochs": inputs.epochs, "seed": inputs.seed}
            twins = linear_twins(kernel, gamma=GAMMA, **how)
            shift = shift_of(twins.logits, inputs.problem.train.labels.long())
            flips, shifts = float(twins.flipped.sum()), (shift[:, 1] - shift[:, 0])[:, None]
        which = columns(GAMMA, sigma, rate, shifts=shifts)
        done = descend(kernel, which, epochs=inputs.epochs, look_at=looks)
        by_epoch = [torch.stack([v[0] for v in one.values()]) for one in done.accuracies.values()]
        found.append((done.logits[:, 0], torch.stack(by_epoch), flips))
    return panels_found(found)


def panels_found(found: Sequence[tuple[Tensor, Tensor, float]]) -> Found:
    """Logits at the training examples, final accuracies and flips as single numbers, and mean curves."""
    names = [f"{split}_{kind}" for split in ("train", "test") for kind in KINDS]
    result: Found = {"logits": torch.stack([logits for logits, _, _ in found])}
    for number, (_, curve, flips) in enumerate(found, start=1):
        last = {name: round(float(v), 6) for name, v in zip(names, curve[-1], strict=True)}
        result |= {f"panel_{number}_{name}": value for name, value in last.items()}
        result[f"panel_{number}_flipped"] = flips
    result["mean_curves"] = torch.stack([curve.mean(0) for _, curve, _ in found])
    return result


# ---- the diagram


def plain_cells(inputs: Linear) -> Found:
    """Train a part of the cells, one after the other."""
    problem, result = inputs.problem, dict[str, Tensor | float]()
    for gamma in SOME_GAMMAS:
        for sigma in SOME_SIGMAS:
            train_x, test_x = (inputs_of(one, gamma, sigma) for one in (problem.train, problem.test))
            labels = problem.train.labels.long()
            layer = trained_layer(problem.start, train_x, labels, inputs.epochs)
            for split, x, one in (("train", train_x, problem.train), ("test", test_x, problem.test)):
                right = (difference(layer(x)) > 0) == (one.labels > 0.5)
                for kind, members in zip(KINDS, (one.majority, ~one.majority), strict=True):
                    value = float(right[members].double().mean())
                    result[f"{split}_{kind} at {gamma}, {sigma}"] = round(value, 6)
    return result


def trained_layer(start: Tensor, x: Tensor, labels: Tensor, epochs: int) -> nn.Linear:
    """Train a linear model by plain gradient descent."""
    layer = layer_of(start)
    optimizer = torch.optim.SGD(layer.parameters(), lr=RATE)
    for _ in range(1, epochs):
        loss = F.cross_entropy(layer(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return layer


def our_cells(inputs: Linear) -> Found:
    """Train all cells as columns; the problem is drawn anew, which the plain way is spared."""
    train_set = inputs.problem.train
    rows = linear_diagram(
        gammas=GAMMAS, sigmas=SIGMAS, rate=RATE, epochs=inputs.epochs, n=len(train_set.labels),
        d=train_set.noise.shape[1], seed=inputs.seed,
    )  # fmt: skip
    cells = {(row["gamma"], row["sigma"]): row for row in rows}
    return {
        f"{split}_{kind} at {gamma}, {sigma}": round(cells[gamma, sigma][f"{split}_{kind}"], 6)
        for gamma in SOME_GAMMAS
        for sigma in SOME_SIGMAS
        for split in ("train", "test")
        for kind in KINDS
    }


# ---- self-influence

SOME_MODELS = 5


def subsets_of(inputs: Linear) -> Tensor:
    """Which examples each model is trained on, (models, n), bool."""
    n = len(inputs.problem.train.labels)
    return random_subsets(inputs.models, n, 0.7, generator(inputs.seed, "subsets"))


def plain_subsets(inputs: Linear) -> Found:
    """Train a part of the models one after the other, each on the examples that it has."""
    x, labels = inputs_of(inputs.problem.train, GAMMA, SIGMA), inputs.problem.train.labels.long()
    logits = []
    for included in subsets_of(inputs)[:SOME_MODELS]:
        layer = trained_layer(inputs.problem.start, x[included], labels[included], inputs.epochs)
        logits.append(difference(layer(x)))
    return subsets_found(inputs, torch.stack(logits))


def our_subsets(inputs: Linear) -> Found:
    """Train all models as columns, and estimate the self-influence of all examples."""
    kernel, included = Kernel.of(inputs.problem), subsets_of(inputs)
    weights = included.T * (included.shape[1] / included.sum(1))
    which = columns([GAMMA] * inputs.models, SIGMA, RATE, weights=weights)
    logits = descend(kernel, which, epochs=inputs.epochs).logits.T
    self_influence((logits > 0) == (inputs.problem.train.labels > 0.5), included)
    return subsets_found(inputs, logits[:SOME_MODELS])


def subsets_found(inputs: Linear, logits: Tensor) -> Found:
    """Logits at all training examples, and the share of right ones of each model."""
    right = ((logits > 0) == (inputs.problem.train.labels > 0.5)).double().mean(1)
    return {"logits": logits} | {f"accuracy_{k}": round(float(v), 6) for k, v in enumerate(right)}


# ---- methods on images


@dataclass(frozen=True)
class Methods:
    """Data of each seed, what each network's method does to each example, and initial networks."""

    plan: Comparison
    splits: tuple[GroupedSplits, ...]
    tables: tuple[Tables, ...]
    networks: tuple[nn.Module, ...]
    chosen: Tensor | None  # examples of each seed, step by step, (seeds, steps, batch); None: all of them

    @property
    def members(self) -> list[int]:
        """The number of each network's seed."""
        return [k for k in range(len(self.splits)) for _ in METHODS]


def methods(n: int, steps: int, seeds: int, batch: int = 0) -> Methods:
    """Return what both ways are given, after a first use of both, which loads modules."""
    if n > 60:
        for way in (plain_methods, our_methods):
            way(methods(60, 2, 1, min(batch, 8)))
    splits = tuple(spurious_digits("digits", minority=0.1, seed=seed, n_train=n) for seed in range(seeds))
    plan = image_plan(
        splits[0].train.inputs.shape[1], widths=(128,), rate=3e-3, steps=steps, twin_steps=max(2, steps // 6),
        batch=batch, device="cpu", eta=ETA,
    )  # fmt: skip
    twins = [plan.make(generator(seed, "twin", k)) for seed in range(seeds) for k in (0, 1)]
    found = train_twins(twins, [one.train for one in splits], range(seeds), plan.twins, draw=plan.draw)
    tables = [
        prepare(method, one.train, seed, plan, found[seed])
        for seed, one in enumerate(splits)
        for method in METHODS
    ]
    networks = [plan.make(generator(seed, "weights")) for seed in range(seeds) for _ in METHODS]
    chosen = None
    if batch:
        stream = stacked_batches([one.train for one in splits], range(seeds), draw=plan.draw).stream(batch)
        chosen = torch.stack([one.examples for one in islice(stream, steps)], 1)
    return Methods(plan, splits, tuple(tables), tuple(networks), chosen)


def plain_methods(inputs: Methods) -> Found:
    """Train one network after the other by PyTorch's own layers and Adam."""
    done = []
    for made, tables, k in zip(inputs.networks, inputs.tables, inputs.members, strict=True):
        part, state = inputs.splits[k].train, list(made.state_dict().values())
        width, size = state[0].shape
        network = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, 2))
        network.load_state_dict(dict(zip(network.state_dict(), state, strict=True)))
        optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
        robust = bool((tables.groups >= 0).any())
        groups = F.one_hot(tables.groups, 4).T.float() if robust else None
        shifted, weighted = bool(tables.shifts.any()), bool((tables.weights != 1).any())
        q = torch.full((4,), 0.25)
        for step in range(inputs.plan.recipe.total(1)):
            seen = slice(None) if inputs.chosen is None else inputs.chosen[k, step]
            outputs = network(part.inputs[seen])
            if shifted:
                outputs = outputs + tables.shifts[seen]
            each = F.cross_entropy(outputs, part.labels[seen], reduction="none")
            if groups is not None:
                members = groups[:, seen]
                counts = members.sum(1)
                losses = members @ each / counts.clamp(min=1)
                there = q * (counts > 0)
                loss = (there * losses).sum() / there.sum()
                moved = q * (ETA * losses.detach()).exp()
                q = moved / moved.sum()
            else:
                loss = (each * tables.weights[seen] if weighted else each).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        done.append(network)
    return methods_found(inputs, done)


def our_methods(inputs: Methods) -> Found:
    """Train all networks as one stack."""
    tables = {name: torch.stack([getattr(t, name) for t in inputs.tables]) for name in TABLES}
    sets = [inputs.splits[k].train for k in inputs.members]
    batches = stacked_batches(sets, inputs.members, draw=inputs.plan.draw)
    objective = ExampleCrossEntropy(**tables, eta=ETA)
    return methods_found(inputs, train(inputs.networks, batches, objective, inputs.plan.recipe).networks)


TABLES = ("weights", "shifts", "groups")


def methods_found(inputs: Methods, networks: Sequence[nn.Module]) -> Found:
    """Mean cross-entropy and accuracy of each network on its training and test set."""
    result: Found = {}
    for split in ("train", "test"):
        parts = [getattr(inputs.splits[k], split) for k in inputs.members]
        logits = [predict(network, part.inputs) for network, part in zip(networks, parts, strict=True)]
        both = list(zip(logits, [part.labels for part in parts], strict=True))
        result[f"{split}_losses"] = torch.stack([F.cross_entropy(z, y) for z, y in both])
        result[f"{split}_accuracies"] = torch.stack([(z.argmax(1) == y).double().mean() for z, y in both])
    return result


def check(n: int = 200, steps: int = 20, seeds: int = 2, batch: int = 0) -> None:
    """Raise an AssertionError unless both ways of training methods go the same way at first."""
    inputs = methods(n, steps, seeds, batch)
    check_equal(plain_methods(inputs), our_methods(inputs), tolerance=1e-3)


# ---- the rows


def methods_case(n: int, steps: int, seeds: int, batch: int, both: dict[str, Any]) -> Case:
    """Return the case of methods in one stack; ``batch`` 0: the full batch, where arithmetic is the price."""
    many = f"{steps} steps of Adam on batches of {batch}" if batch else f"{steps} full-batch steps of Adam"
    return Case(
        f"{len(METHODS)} methods x {seeds} seeds on {n} digits in two colors, {many} (a hidden layer of "
        "128); plain: one after the other, ours: stacked; one thread",
        partial(methods, n, steps, seeds, batch),
        plain_methods,
        our_methods,
        tolerance=1e-2,
        **both,
    )


def cases(quick: bool) -> list[Case]:
    """Return the cases at the paper's sizes, or at small ones."""
    n, d, epochs, models = (100, 198, 30, 10) if quick else (1000, 1798, 1000, 100)
    images, steps, seeds = (200, 20, 2) if quick else (900, 300, 3)
    repeats, cells = (1 if quick else 2), len(GAMMAS) * len(SIGMAS)
    check()
    check(batch=32)
    some = len(SOME_GAMMAS) * len(SOME_SIGMAS)
    size = f"n={n:,}, D={d + 2:,}, {epochs:,} epochs"
    both: dict[str, Any] = {"repeats": repeats, "threads": 1}
    return [
        Case(
            f"Figure 1 of Bayat et al., {size}: ERM without and with noise, and memorization-aware training "
            "with its twins, accuracies at every epoch; plain: nn.Linear, ours: dual form; one thread",
            partial(warm, (plain_panels, our_panels), n, d, epochs, published=True),
            plain_panels,
            our_panels,
            **both,
        ),
        Case(
            f"diagram of {cells} strengths of spurious feature and noise, {size}; seconds: plain for {some} "
            f"of the cells, ours for all {cells} as columns; ratio and agreement: by cell; one thread",
            partial(warm, (plain_cells, our_cells), n, d, epochs),
            plain_cells,
            our_cells,
            share=some / cells,
            **both,
        ),
        Case(
            f"self-influence by {models} models on subsets, {size}; seconds: plain for {SOME_MODELS} of the "
            f"models, ours for all {models} as columns; ratio and agreement: by model; one thread",
            partial(warm, (plain_subsets, our_subsets), n, d, epochs, models=models),
            plain_subsets,
            our_subsets,
            share=SOME_MODELS / models,
            **both,
        ),
        *(methods_case(images, steps, seeds, batch, both) for batch in (0, 128, 32)),
    ]


if __name__ == "__main__":
    main(cases, OUT)
