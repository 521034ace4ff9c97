"""Effective robustness: accuracy under shift beyond what the accuracy without shift lets one expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Accuracies = Tensor | Sequence[float]


@dataclass(frozen=True)
class RobustnessLine:
    """The accuracy under shift that standard models of a given accuracy have.

    Attributes:
        intercept: b0 of ``logit(out) = b0 + b1 logit(in)``.
        slope: b1.
    """

    intercept: float
    slope: float

    def expected(self, id_accuracy: Accuracies) -> Tensor:
        """Return the accuracy under shift on the line, shape of ``id_accuracy`` (M,), float64 in (0, 1)."""
        return torch.sigmoid(self.intercept + self.slope * _logit(id_accuracy, "id_accuracy"))


def robustness_line(id_accuracy: Accuracies, ood_accuracy: Accuracies) -> RobustnessLine:
    """Fit the line of standard models by least squares between the logits of their accuracies.

    Taori et al. (NeurIPS 2020), section 2; Miller et al. (ICML 2021).

    Args:
        id_accuracy: shape (M,), in (0, 1), of M >= 2 standard models without shift.
        ood_accuracy: shape (M,), in (0, 1), of the same models under shift.

    Returns:
        The line.

    Raises:
        ValueError: for accuracies outside (0, 1), different lengths, or fewer than two different models.
    """
    x, y = _pair(id_accuracy, ood_accuracy)
    spread = (x - x.mean()).square().sum()
    if len(x) < 2 or spread == 0:
        raise ValueError(
            f"{len(x)} standard models of {x.unique().numel()} different accuracies give no line; "
            "at least two different ones are needed"
        )
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread
    return RobustnessLine(float(y.mean() - slope * x.mean()), float(slope))


def effective_robustness(id_accuracy: Accuracies, ood_accuracy: Accuracies, line: RobustnessLine) -> Tensor:
    """Return how far models lie above the line of standard models, in units of accuracy.

    Taori et al. (NeurIPS 2020), equation 1: ``out - expected(in)``. 0.1 are ten percentage points more than a
    standard model of the same accuracy without shift.

    Args:
        id_accuracy: shape (M,), in (0, 1), of any models without shift.
        ood_accuracy: shape (M,), in (0, 1), under shift.
        line: of standard models, from :func:`robustness_line`.

    Returns:
        Shape (M,), float64 in (-1, 1).

    Raises:
        ValueError: for accuracies outside (0, 1) or different lengths.
    """
    _pair(id_accuracy, ood_accuracy)
    return torch.as_tensor(ood_accuracy, dtype=torch.float64) - line.expected(id_accuracy)


def _pair(id_accuracy: Accuracies, ood_accuracy: Accuracies) -> tuple[Tensor, Tensor]:
    x, y = _logit(id_accuracy, "id_accuracy"), _logit(ood_accuracy, "ood_accuracy")
    if x.shape != y.shape:
        raise ValueError(
            f"{len(x)} accuracies without shift and {len(y)} under shift; give both of each model"
        )
    return x, y


def _logit(accuracy: Accuracies, name: str) -> Tensor:
    values = torch.as_tensor(accuracy, dtype=torch.float64)
    outside = ~((values > 0) & (values < 1))
    if values.ndim != 1 or bool(outside.any()):
        wrong = values[outside][0].item() if bool(outside.any()) else tuple(values.shape)
        raise ValueError(
            f"{name} has {wrong}; allowed: a list of fractions strictly between 0 and 1 (no percentages; at "
            "0 and 1 the logit is infinite: leave such models out)"
        )
    return torch.logit(values)
