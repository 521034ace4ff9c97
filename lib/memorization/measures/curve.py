"""One curve over the number of training examples: draw, factor once, measure at every N.

Bombari & Mondelli (ICML 2024), sections on random and tangent features; see the measures for the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.data.task import SpuriousTask
from memorization.measures.accuracy import auc, covariance, mean_squared_error, sign_accuracy
from memorization.measures.stability import stability
from memorization.models.features import gram_blocks
from memorization.models.regression import Regression, Solution, fit

Row = dict[str, float | int | str]
_FLOATS = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Model:
    """A feature regression before it sees data.

    Attributes:
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation.
        width: k directions; 0 or None for the infinite-width kernel.
        ridge: added to the kernel per unit of width, >= 0.
        device: where to compute, such as ``cpu`` or ``cuda``.
    """

    feature_map: str
    activation: str
    width: int | None
    ridge: float = 0.0
    device: str = "cpu"


def solve(model: Model, task: SpuriousTask, seed: int, purpose: str = "weights") -> Regression:
    """Compute the kernel blocks of a task and factor them.

    Args:
        model: the feature regression.
        task: the data; moved to the model's device.
        seed: seed of the directions.
        purpose: names the stream of directions.

    Returns:
        The factored regression on all training rows.
    """
    moved = task.to(model.device)
    blocks = gram_blocks(
        moved.train,
        moved.spurious,
        moved.test,
        feature_map=model.feature_map,
        activation_name=model.activation,
        width=model.width,
        seed=seed,
        purpose=purpose,
    )
    return fit(blocks, moved.labels, ridge=model.ridge, train=moved.train)


def curve(
    model: Model, draw: Callable[[int, str], SpuriousTask], sizes: Sequence[int], *, nested: bool, seed: int
) -> list[Row]:
    """Measure one curve.

    Args:
        model: the feature regression.
        draw: ``draw(n, purpose)`` returns a task with n training rows from the stream named ``purpose``.
        sizes: numbers N of training examples.
        nested: one task and one factorization serve every N; False draws everything anew at each N.
        seed: seed of the directions.

    Returns:
        One row per N: ``N`` and the columns of :func:`measure`.

    Raises:
        ValueError: if a size is not a whole number >= 1.
    """
    counts = list(sizes)
    if not counts or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in counts):
        raise ValueError(f"sizes must be a list of whole numbers >= 1; got {counts}")
    rows: list[Row] = []
    regression = test_labels = None
    for n in counts:
        if regression is None or test_labels is None or not nested:
            purpose = "nested" if nested else f"N={n}"
            task = draw(max(counts) if nested else n, purpose)
            regression, test_labels = solve(model, task, seed, f"{purpose} weights"), task.test_labels
        rows.append({"N": n, **measure(regression.at(n), test_labels)})
    return rows


def measure(solution: Solution, test_labels: Tensor) -> Row:
    """Measure everything that a curve shows at one N.

    Args:
        solution: kernel regression on N rows with labels -1 and +1.
        test_labels: labels of the test rows, shape (T,).

    Returns:
        ``train_accuracy``, ``test_accuracy``, ``spurious_accuracy``; ``spurious_auc``, NaN while the
        training set has one class; ``covariance`` Cov(f(z^s), g); ``held_out_covariance``,
        its part that owes nothing to example i (0 up to sampling noise and a centering term of order -1/N);
        ``stability_covariance`` Cov(S, g); ``bound``, mean F times sqrt(mean S^2 Var g);
        ``alignment_mean``, ``alignment_sd``; ``stability_mse``, the mean of S^2; ``test_mse``;
        ``residual``, the largest |f(z_i) - g_i|.
    """
    test_labels = test_labels.to(solution.targets.device)
    g, scores = solution.targets, stability(solution)
    stability_mse = scores.residuals.square().mean()
    mean_alignment = scores.alignment.mean()
    one_class = bool((g == g[0]).all())
    values = {
        "train_accuracy": sign_accuracy(solution.train_predictions, g),
        "test_accuracy": sign_accuracy(solution.test_predictions, test_labels),
        "spurious_accuracy": sign_accuracy(scores.spurious, g),
        "spurious_auc": math.nan if one_class else auc(scores.spurious, g),
        "covariance": covariance(scores.spurious, g),
        "held_out_covariance": covariance(scores.held_out, g),
        "stability_covariance": covariance(scores.residuals, g),
        "bound": mean_alignment * (stability_mse * covariance(g, g)).sqrt(),
        "alignment_mean": mean_alignment,
        "alignment_sd": scores.alignment.std(correction=0),
        "stability_mse": stability_mse,
        "test_mse": mean_squared_error(solution.test_predictions, test_labels),
        "residual": (solution.train_predictions - g).abs().max(),
    }
    return {name: float(value) for name, value in values.items()}


def float_type(name: str) -> torch.dtype:
    """Return the torch type named ``float32`` or ``float64``."""
    if name not in _FLOATS:
        raise ValueError(f"unknown dtype {name!r}; choose one of {', '.join(_FLOATS)}")
    return _FLOATS[name]
