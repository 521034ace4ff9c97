"""How far a student is from its teacher, in units of what the teacher varies."""

from __future__ import annotations

import torch
from torch import Tensor


def distillation_error(student: Tensor, teacher: Tensor, unit: Tensor | None = None) -> Tensor:
    """Return the mean squared distance of a student's representation from the teacher's, normalized.

    Zhang et al. (ICML 2024), their distillation objective, in units of the teacher's total variance: 0 for a
    perfect student, 1 for one that always gives the teacher's mean.

    Args:
        student: shape (..., N, P), floating point.
        teacher: the representation that is to be fitted, of the same shape.
        unit: shape (...), > 0, from :func:`total_variance`; None takes that of ``teacher``.

    Returns:
        Shape (...), >= 0.

    Raises:
        ValueError: if the shapes differ, or the teacher's variance is zero.
    """
    if student.shape != teacher.shape or student.ndim < 2:
        raise ValueError(
            f"the student gives {tuple(student.shape)} and the teacher {tuple(teacher.shape)}; allowed: one "
            "shape (..., N, P)"
        )
    return (student - teacher).square().sum(-1).mean(-1) / (total_variance(teacher) if unit is None else unit)


def total_variance(representation: Tensor) -> Tensor:
    """Return the variance over examples, summed over features.

    Args:
        representation: shape (..., N, P), floating point.

    Returns:
        Shape (...), > 0.

    Raises:
        ValueError: if it is zero.
    """
    total = representation.var(-2, correction=0).sum(-1)
    rounding = (8 * torch.finfo(total.dtype).eps) ** 2 * representation.square().sum(-1).mean(-1)
    if not bool((total > rounding).all()):  # equal numbers can have a variance above zero
        raise ValueError(
            "cannot normalize the distillation error: the teacher gives the same representation for all "
            f"{representation.shape[-2]} examples; train it longer, or at a lower learning rate"
        )
    return total
