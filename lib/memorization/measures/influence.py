"""Self-influence: what a training example's own presence does for the answer at this example.

Feldman and Zhang (NeurIPS 2020): the probability that a model trained with the example is right at it, minus
that of one trained without. It is estimated by models that were trained on random subsets.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from memorization.checks import check_finite, check_tensor, check_whole


def random_subsets(models: int, examples: int, fraction: float, source: torch.Generator) -> Tensor:
    """Draw which examples each model is trained on.

    Args:
        models: the number M of models, >= 2.
        examples: the number N of examples, >= 2.
        fraction: of the examples in a subset, in (0, 1); each subset has ``round(fraction N)`` of them.
        source: CPU generator of the choice.

    Returns:
        Whether a model has an example, shape (M, N), bool.

    Raises:
        ValueError: for fewer than 2 models, or a fraction that leaves no example in or out.
    """
    check_whole("models", models, 2)
    check_whole("examples", examples, 2)
    check_finite("fraction", fraction)
    size = round(fraction * examples)
    if not 0 < fraction < 1 or not 0 < size < examples:
        raise ValueError(
            f"fraction={fraction} of {examples} examples; allowed: a number in (0, 1) that leaves some out"
        )
    included = torch.zeros(models, examples, dtype=torch.bool)
    for row in included:
        row[torch.randperm(examples, generator=source)[:size]] = True
    return included


def self_influence(correct: Tensor, included: Tensor) -> Tensor:
    """Estimate the self-influence of each example.

    Args:
        correct: whether a model is right at an example, shape (M, N), bool; or its probability, in [0, 1].
        included: whether a model was trained on it, shape (M, N), bool.

    Returns:
        Mean over the models with the example minus mean over those without, in [-1, 1]: shape (N,), float64.
        NaN where all or no models had it: there is no estimate.

    Raises:
        ValueError: tables of other shapes, or fewer than 2 models.
    """
    for name, one in (("correct", correct), ("included", included)):
        check_tensor(name, one)
    if (
        correct.ndim != 2
        or correct.shape != included.shape
        or len(correct) < 2
        or included.dtype != torch.bool
    ):
        raise ValueError(
            f"correct has shape {tuple(correct.shape)}, included {tuple(included.shape)} "
            f"({included.dtype}); allowed: (M, N) both, the second of bool, with M >= 2 models"
        )
    with_it, right = included.double(), correct.double()
    inside, outside = with_it.sum(0), (1 - with_it).sum(0)
    difference = (right * with_it).sum(0) / inside - (right * (1 - with_it)).sum(0) / outside
    return torch.where((inside > 0) & (outside > 0), difference, math.nan)
