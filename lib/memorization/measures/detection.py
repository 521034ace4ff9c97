"""How well scores of single examples find those that matter: planted wrong labels, canaries, members.

Areas under curves with bootstrap intervals. What a head of random labels says of an example stands beside its
loss or margin (``measures.random_labels``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memorization.checks import check_tensor, check_whole


@dataclass(frozen=True)
class Detection:
    """How well a score finds examples.

    Attributes:
        auroc: the probability that a found example has the higher score than another; 1/2 by chance.
        average_precision: area under precision over recall; the share of planted examples by chance.
        share: the share of planted examples.
        auroc_interval: 95 % of the bootstrap over examples; None if none was drawn.
        average_precision_interval: the same way.
    """

    auroc: float
    average_precision: float
    share: float
    auroc_interval: tuple[float, float] | None = None
    average_precision_interval: tuple[float, float] | None = None


def detection(
    scores: Tensor, planted: Tensor, source: torch.Generator | None = None, resamples: int = 200
) -> Detection:
    """Measure how well high scores find planted examples: wrong labels, canaries.

    Args:
        scores: shape (m,), finite; high where an example is suspected: a loss, a head margin, or less the
            margin of the given class.
        planted: which examples were planted, shape (m,), bool.
        source: generator of the bootstrap, on the CPU; None draws no intervals.
        resamples: draws of the bootstrap, each with as many planted examples and others, >= 2.

    Returns:
        Area under the ROC curve, average precision, and their intervals.

    Raises:
        TypeError: for planted marks that are not bool, or scores that are not real.
        ValueError: shapes that do not fit, NaN, no planted example or nothing else.
    """
    _check_detection(scores, planted)
    check_whole("resamples", resamples, 2)
    marks, (values, order) = planted.cpu(), scores.detach().double().cpu().sort(descending=True)
    ends = torch.cat([values[1:] != values[:-1], torch.tensor([True])]).nonzero()[:, 0]  # of equal scores
    auroc, precision = _areas(marks[order], torch.ones_like(values), ends)
    found = Detection(auroc, precision, float(marks.double().mean()))
    if source is None:
        return found
    drawn = [_areas(marks[order], _resampled(marks, source)[order], ends) for _ in range(resamples)]
    return replace(
        found,
        auroc_interval=_interval([one for one, _ in drawn]),
        average_precision_interval=_interval([one for _, one in drawn]),
    )


def _areas(planted: Tensor, counts: Tensor, ends: Tensor) -> tuple[float, float]:
    """Area under the ROC curve and average precision of examples in falling order of their scores.

    What scikit-learn gives with ``counts`` as weights, to 1e-12 (tested). It sorts anew for each of hundreds
    of resamples; here one order serves them all.

    Args:
        planted: shape (m,), bool.
        counts: how often each example is there, shape (m,), float64.
        ends: places of the last example of each score: thresholds lie between scores alone.
    """
    first = torch.zeros(1, dtype=torch.float64)
    hits = torch.cat([first, (counts * planted).cumsum(0)[ends]])
    false = torch.cat([first, (counts * ~planted).cumsum(0)[ends]])
    gained, precision = hits.diff(), hits[1:] / (hits + false)[1:].clamp(min=1)
    auroc = (false.diff() * (hits[1:] + hits[:-1]) / 2).sum() / (hits[-1] * false[-1])
    return float(auroc), float((gained * precision).sum() / hits[-1])


def membership_inference(
    members: Tensor, others: Tensor, source: torch.Generator | None = None, resamples: int = 200
) -> Detection:
    """Measure how well high scores tell training examples from examples of the same kind not trained on.

    Args:
        members: scores of training examples, shape (m,), finite; high where membership is suspected: less
            the loss, say.
        others: scores of examples that the network never saw, shape (q,).
        source: see :func:`detection`, like the next.
        resamples: draws of the bootstrap.

    Returns:
        What :func:`detection` gives, with the members as planted examples; its ``auroc`` is 1/2 where
        nothing can be inferred.
    """
    for name, one in (("members", members), ("others", others)):
        check_tensor(name, one)
        if one.ndim != 1 or len(one) == 0:
            raise ValueError(f"{name} have shape {tuple(one.shape)}; allowed: one score each, at least one")
    marks = torch.arange(len(members) + len(others)) < len(members)
    return detection(torch.cat([members.cpu(), others.cpu()]), marks, source, resamples)


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the middle 95 % of the values."""
    ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
    low, high = torch.tensor(values, dtype=torch.float64).quantile(ends).tolist()
    return low, high


def _resampled(planted: Tensor, source: torch.Generator) -> Tensor:
    """Draw how often each example is in a resample; planted ones and others keep their numbers."""
    counts = torch.zeros(len(planted), dtype=torch.float64)
    for rows in (planted.nonzero()[:, 0], (~planted).nonzero()[:, 0]):
        chosen = torch.randint(len(rows), (len(rows),), generator=source)
        counts[rows] = torch.bincount(chosen, minlength=len(rows)).double()
    return counts


def _check_detection(scores: Tensor, planted: Tensor) -> None:
    check_tensor("scores", scores)
    check_tensor("planted", planted)
    if scores.is_complex():
        raise TypeError(f"scores are {scores.dtype}; allowed: real numbers")
    if planted.dtype != torch.bool:
        raise TypeError(f"planted is {planted.dtype}; allowed: bool, True for a planted example")
    if scores.ndim != 1 or scores.shape != planted.shape:
        raise ValueError(
            f"scores have shape {tuple(scores.shape)}, planted {tuple(planted.shape)}; allowed: (m,) both"
        )
    if broken := int((~scores.isfinite()).sum()):
        raise ValueError(f"{broken} of {len(scores)} scores are NaN or Inf; leave these examples out")
    if not 0 < int(planted.sum()) < len(planted):
        raise ValueError(
            f"{int(planted.sum())} of {len(planted)} examples are planted; allowed: at least one, and one "
            "that is not"
        )
