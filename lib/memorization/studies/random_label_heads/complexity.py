"""What random labels cost without any network: the null of features without meaning, and complexities.

Becker and Risse (2024) motivate random-label heads by Rademacher complexity, of which only the abstract and
the beginning of the introduction were at hand. The law of the null, its simulations and the closed forms are
derived for this book: they say which accuracy a head reaches on d numbers for each of m examples where no
network memorized anything.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from memorization.checks import check_choice, check_finite, check_whole
from memorization.data.image_sets import load_images
from memorization.data.labels import balanced_labels, check_label_count
from memorization.draws import generator
from memorization.measures.random_labels import (
    chance_corrected,
    frozen_logits,
    least_squares_accuracy,
    leverages,
    mcdiarmid_half_width,
    norm_bounded_complexity,
    null_accuracy,
    rademacher_complexity,
    random_label_accuracy,
)
from memorization.runs.sweep import experiment
from memorization.training.random_labels import bounded, reversal

FEATURES = ("gaussian", "digits")
HEADS = {True: "a head per class", False: "one shared head"}
_CLASSES = 10  # of digits; of normal features as many, in turn
_ALL_DIGITS = 1797

Row = dict[str, float]


# ---- features that no network made


def null_features(features: str, m: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return features without training, and ten classes.

    Args:
        features: ``gaussian``, independent standard normal numbers, which know nothing of the classes; or
            ``digits``, the first principal components of m of the 1,797 digits, centered, in units of the
            standard deviation of all their pixels: they lie in clusters, one or more for each class.
        m: the number of examples, >= 20; of digits <= 1,797.
        d: the number of features, >= 1; of digits at most their rank, 61 for most of them.
        seed: whole number >= 0.

    Returns:
        Features (m, d), float32, and classes (m,), int64.

    Raises:
        ValueError: for an unknown name, or numbers out of range.
    """
    check_choice("features", features, FEATURES)
    check_whole("m", m, 2 * _CLASSES)
    check_whole("d", d, 1)
    source = generator(seed, "features without training")
    if features == "gaussian":
        return torch.randn(m, d, generator=source), torch.arange(m) % _CLASSES
    if m > _ALL_DIGITS:
        raise ValueError(
            f"m={m}, but there are {_ALL_DIGITS} digits; give m in {2 * _CLASSES}..{_ALL_DIGITS}"
        )
    images = load_images("digits", "all")
    chosen = torch.randperm(_ALL_DIGITS, generator=source)[:m]
    pixels = images.pixels[chosen].flatten(1).double()
    pixels = pixels / pixels.std()
    left, sizes, _ = torch.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    rank = int((sizes > 1e-9 * sizes[0]).sum())
    if d > rank:
        raise ValueError(f"d={d}, but {m} digits have {rank} principal components; give d in 1..{rank}")
    return (left * sizes)[:, :d].float(), images.labels[chosen]


# ---- the null


@experiment("random_label_null")
def random_label_null(
    *,
    features: str = "gaussian",
    m: int = 1400,
    d: int = 60,
    n: int = 14,
    class_wise: bool = False,
    draws: int = 100,
    trained_draws: int = 0,
    seed: int,
) -> Row:
    """Fit heads to random labels, in equal numbers, of features that no network made.

    Args:
        features: see :func:`null_features`, like the next two.
        m: the number of examples.
        d: the number of features.
        n: the number of random labels, from 2 to the number of examples of the smallest head.
        class_wise: a head for each of ten classes, or one head for all.
        draws: labellings that least-squares heads are fitted to, >= 2.
        trained_draws: labellings that heads are trained on by the recipe of frozen heads, >= 0.
        seed: of features and labels.

    Returns:
        Accuracies: ``accuracy`` and ``sd``, mean and standard deviation over labellings of least-squares
        heads; ``trained``, of trained heads, NaN without any; ``law``, the null's law at the mean leverage,
        and ``law_by_example``, its mean over the leverages of the examples; ``chance``. And ``leverage``, its
        mean, less the share of the biases, which fit nothing of labels in equal numbers.

    Raises:
        ValueError: for numbers out of range, or features with which heads fit every label.
    """
    check_whole("trained_draws", trained_draws)
    inputs, groups = null_features(features, m, d, seed)
    classes = groups if class_wise else None
    sizes = groups.bincount() if class_wise else torch.tensor([m])
    least = int(sizes.min())
    if d > least - 2:
        raise ValueError(
            f"d={d} features for {least} examples of a head: with a bias it fits every label; give d in "
            f"1..{least - 2}"
        )
    own = leverages(inputs, classes) - 1 / (sizes[groups] if class_wise else m)
    found = least_squares_accuracy(inputs, n, draws, generator(seed, "null labels", n), classes)
    return {
        "accuracy": found.mean,
        "sd": found.sd,
        "trained": _trained(inputs, n, classes, trained_draws, seed),
        "law": null_accuracy(n, float(own.mean())),
        "law_by_example": float(null_accuracy(n, own.clamp(min=0)).mean()),
        "chance": 1 / n,
        "leverage": float(own.mean()),
    }


def _trained(inputs: Tensor, n: int, classes: Tensor | None, draws: int, seed: int) -> float:
    """Mean accuracy of heads that are trained on this many labellings."""
    if not draws:
        return math.nan
    ids = torch.arange(len(inputs))
    labels = torch.stack([balanced_labels(ids, n, draws * seed + k, classes) for k in range(draws)])
    return float(random_label_accuracy(frozen_logits(inputs, labels, n, classes), labels).mean())


def null_grid(
    ms: Sequence[int], ds: Sequence[int], ns: Sequence[int], classes: int = _CLASSES
) -> pd.DataFrame:
    """Return the null's law over numbers of examples, features and labels, of one head and of one per class.

    Args:
        ms: numbers m of examples, each at least twice the number of classes.
        ds: numbers d of features, each >= 1.
        ns: numbers n of random labels, each >= 2.
        classes: of equal size, >= 2.

    Returns:
        One row for each m, n, d and kind of heads: ``m``, ``n``, ``d``, ``heads`` (of ``HEADS``, or
        ``guessing``), ``accuracy`` (1 where a head has no more examples than features and bias; NaN where it
        has fewer than labels) and ``score``, the accuracy corrected for chance.

    Raises:
        ValueError: for numbers out of range.
    """
    check_whole("classes", classes, 2)
    for name, numbers, low in (("m", ms, 2 * classes), ("d", ds, 1)):
        for value in numbers:
            check_whole(name, value, low)
    rows = []
    for m in ms:
        for n in ns:
            check_label_count(n)
            for d in ds:
                at: dict[str, Any] = {"m": m, "n": n, "d": d}
                for class_wise, name in HEADS.items():
                    own = m // classes if class_wise else m
                    accuracy = math.nan if n > own else 1.0 if d >= own - 1 else null_accuracy(n, d / own)
                    rows.append({**at, "heads": name, "accuracy": accuracy})
                rows.append({**at, "heads": "guessing", "accuracy": 1 / n})
    table = pd.DataFrame(rows)
    known = table["accuracy"].notna()
    table["score"] = [
        chance_corrected(accuracy, n) if there else math.nan
        for accuracy, n, there in zip(table["accuracy"], table["n"], known, strict=True)
    ]
    return table


# ---- complexities


@experiment("random_label_rademacher")
def random_label_rademacher(
    *,
    features: str = "gaussian",
    m: int = 1400,
    d: int = 60,
    draws: int = 2000,
    checked: int = 20,
    seed: int,
) -> Row:
    """Draw the Rademacher complexities of two classes of linear heads, beside what theory says of them.

    Args:
        features: see :func:`null_features`, like the next two.
        m: the number of examples.
        d: the number of features, <= m - 2.
        draws: labellings by independent signs, >= 2.
        checked: labellings that a plain solver fits one by one, >= 1.
        seed: of features and signs.

    Returns:
        Of least-squares heads with a bias: ``complexity`` and ``sd``, mean and standard deviation over
        labellings of the mean of sign times prediction; ``law``, what the null's law says; ``half_width``,
        that of McDiarmid's 95 % interval, and ``inside``, the fraction of labellings that it holds;
        ``relation_error``, the largest distance of that mean from twice the accuracy less one, over the
        checked labellings. Of heads of norm 1 at most, without a bias: ``norm_bounded``, the drawn
        complexity; ``norm_bound``, the Frobenius norm of the features over m; ``norm_ratio``, the first over
        the second.

    Raises:
        ValueError: for numbers out of range.
    """
    check_whole("checked", checked, 1)
    inputs, _ = null_features(features, m, d, seed)
    if d > m - 2:
        raise ValueError(f"d={d} features for {m} examples: a head fits every sign; give d in 1..{m - 2}")
    fitted = rademacher_complexity(inputs, draws, generator(seed, "signs"))
    lengths = norm_bounded_complexity(inputs, 1.0, draws, generator(seed, "signs of the norm-bounded class"))
    half = mcdiarmid_half_width(m)
    bound = float(inputs.double().norm()) / m
    return {
        "complexity": fitted.mean,
        "sd": fitted.sd,
        "law": 2 * float(null_accuracy(2, leverages(inputs)).mean()) - 1,
        "half_width": half,
        "inside": float(((fitted.values - fitted.mean).abs() <= half).double().mean()),
        "relation_error": _relation_error(inputs, checked, generator(seed, "checked signs")),
        "norm_bounded": lengths.mean,
        "norm_bound": bound,
        "norm_ratio": lengths.mean / bound,
    }


def _relation_error(inputs: Tensor, draws: int, source: torch.Generator) -> float:
    """Fit signs as numbers and random labels as columns, and compare mean sign x prediction with accuracy."""
    rows = torch.cat([torch.ones(len(inputs), 1), inputs], 1).double()
    labels = torch.randint(2, (draws, len(rows)), generator=source)
    worst = 0.0
    for one in labels:
        signs = 2.0 * one.double() - 1
        said = (rows @ torch.linalg.lstsq(rows, signs[:, None]).solution)[:, 0].sign()
        columns = torch.stack([1 - one, one], 1).double()
        outputs = rows @ torch.linalg.lstsq(rows, columns).solution
        score = 2 * float(random_label_accuracy(outputs, one)) - 1
        worst = max(worst, abs(float((signs * said).mean()) - score))
    return worst


# ---- the regularizer


@experiment("random_label_regularizer")
def random_label_regularizer(
    *, gaps: Sequence[float] = (1.0, 10.0, 16.0, 18.0, 30.0, 90.0), n: int = 2, draws: int = 200, seed: int
) -> list[Row]:
    """Hold the regularizer ``-log(1 - p)`` and its gradient against their closed forms.

    Args:
        gaps: by how much the logit of the random label exceeds the others, which are equal; each >= 0.
        n: the number of random labels, >= 2.
        draws: normal logits, of standard deviation 3, at which gradients are compared; >= 1.
        seed: of these logits.

    Returns:
        One row for each gap: ``gap``; ``plain_finite`` and ``plain_gradient_finite``, whether ``log(1 -
        softmax)`` is finite in float32 (1 or 0), and its gradient; ``stable_error``, the relative error of
        the stable form in float32. The same in all rows, in float64: ``gradient_error``, the largest distance
        of ``p / (1 - p) (1[j = r] - p_j)`` from automatic differentiation; ``size_error``, that of its l1
        norm from 2 p; ``chance_error``, by how much n - 1 times it misses gradient reversal at equal logits;
        and ``plain_limit``, the smallest gap, in steps of 0.01, at which the plain form is infinite.

    Raises:
        ValueError: for numbers out of range.
    """
    check_label_count(n)
    check_whole("draws", draws, 1)
    if not gaps:
        raise ValueError("gaps is empty; give one number or more")
    for gap in gaps:
        check_finite("gap", gap)
        if gap < 0:
            raise ValueError(f"gap={gap}; allowed: 0 or more, the excess of the random label's logit")
    shared = _gradient_errors(n, draws, seed) | {"plain_limit": _plain_limit(n)}
    return [{"gap": float(gap), **_at_gap(float(gap), n), **shared} for gap in gaps]


def _plain(logits: Tensor, labels: Tensor) -> Tensor:
    """The regularizer as its formula reads."""
    return -(1 - logits.softmax(-1).gather(-1, labels[:, None])[:, 0]).log()


def _at_gap(gap: float, n: int) -> Row:
    logits = torch.zeros(1, n)
    logits[0, 0] = gap
    label = torch.zeros(1, dtype=torch.int64)
    live = logits.clone().requires_grad_()
    loss = _plain(live, label)
    (gradient,) = torch.autograd.grad(loss.sum(), live)
    excess = gap - math.log(n - 1)  # over the others together; the loss is log(1 + exp(excess))
    exact = max(excess, 0.0) + math.log1p(math.exp(-abs(excess)))
    return {
        "plain_finite": float(loss.isfinite().all()),
        "plain_gradient_finite": float(gradient.isfinite().all()),
        "stable_error": abs(float(bounded(logits, label)) - exact) / exact,
    }


def _plain_limit(n: int) -> float:
    """The smallest gap at which the probability of the random label rounds to 1 in float32."""
    gaps = torch.arange(1000, 3000 + int(100 * math.log(n)), dtype=torch.float64) / 100
    logits = torch.zeros(len(gaps), n)
    logits[:, 0] = gaps.float()
    infinite = _plain(logits, torch.zeros(len(gaps), dtype=torch.int64)).isinf()
    return float(gaps[infinite].min())


def _gradient_errors(n: int, draws: int, seed: int) -> Row:
    source = generator(seed, "logits of the regularizer")
    logits = 3 * torch.randn(draws, n, generator=source, dtype=torch.float64)
    labels = torch.randint(n, (draws,), generator=source)
    found, shares = _gradient(bounded, logits, labels), logits.softmax(-1)
    own = shares.gather(-1, labels[:, None])
    marked = torch.nn.functional.one_hot(labels, n).double()
    others = shares.masked_fill(marked.bool(), 0.0).sum(-1, keepdim=True)  # 1 - p, without its cancellation
    formula = own / others * torch.where(marked.bool(), others, -shares)  # 1[j = r] - p_j, the same way
    equal = torch.zeros(1, n, dtype=torch.float64)
    at_chance = [_gradient(loss, equal, labels[:1]) for loss in (bounded, reversal)]
    return {
        "gradient_error": float((found - formula).abs().max()),
        "size_error": float((found.abs().sum(-1, keepdim=True) - 2 * own).abs().max()),
        "chance_error": float(((n - 1) * at_chance[0] - at_chance[1]).abs().max()),
    }


def _gradient(loss: Any, logits: Tensor, labels: Tensor) -> Tensor:
    live = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(live, labels).sum(), live)[0]
