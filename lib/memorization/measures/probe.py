"""What every probe of features returns, and the checks that every probe makes of its inputs."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

ZERO_ROWS = ("farthest", "raise")


class AbsentClassWarning(UserWarning):
    """Queries of a class that no reference row has, so that no probe can name it."""


@dataclass(frozen=True)
class Probe:
    """The answers of one probe on its queries.

    Attributes:
        predictions: predicted class of each query, shape (Q,), int64.
        correct: whether the prediction is the query's label, shape (Q,), bool; what
            :func:`~memorization.measures.verdict.paired_interval` compares between two networks.
    """

    predictions: Tensor
    correct: Tensor

    @property
    def accuracy(self) -> float:
        """Fraction of correct answers, in [0, 1]."""
        return float(self.correct.double().mean())


def check_features(features: Tensor, name: str) -> Tensor:
    """Return the features if they are a non-empty matrix of floating-point numbers."""
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(
            f"{name} features must be a matrix (rows, d) with at least one entry; "
            f"got shape {tuple(features.shape)}"
        )
    if not features.is_floating_point():
        raise TypeError(f"{name} features must be floating-point numbers; got {features.dtype}")
    return features


def check_same_width(reference: Tensor, queries: Tensor) -> None:
    """Refuse queries whose features have another dimension than the reference's."""
    if reference.shape[1] != queries.shape[1]:
        raise ValueError(
            "reference and query features must have one dimension; "
            f"got shapes {tuple(reference.shape)} and {tuple(queries.shape)}"
        )


def check_labels(labels: Tensor, n: int, name: str, classes: int | None = None) -> Tensor:
    """Check one class number per row.

    Args:
        labels: shape (n,), integers in 0..C-1.
        n: number of rows that they belong to.
        name: what they label, for the messages.
        classes: number C of classes; None asks only for numbers >= 0.

    Returns:
        The labels as int64.

    Raises:
        TypeError: for labels that are not integers.
        ValueError: for another shape, or a label outside 0..C-1.
    """
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name} labels must be class numbers of an integer type; got {labels.dtype}")
    if tuple(labels.shape) != (n,):
        raise ValueError(
            f"{name}: one label per row is needed; got {n} rows and labels of shape {tuple(labels.shape)}"
        )
    if classes is not None and (isinstance(classes, bool) or not isinstance(classes, int) or classes < 1):
        raise ValueError(f"classes must be a whole number >= 1; got {classes!r}")
    numbers = labels.long()
    outside = (numbers < 0) | (numbers >= (classes or torch.iinfo(torch.int64).max))
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        allowed = f"0..{classes - 1}" if classes else "0..C-1"
        raise ValueError(f"{name} label {int(numbers[first])} of row {first} is outside {allowed}")
    return numbers


def warn_of_absent_classes(reference_labels: Tensor, query_labels: Tensor) -> None:
    """Say which queries no probe can get right; their classes are in no reference row.

    They stay in the accuracy: left out, it would be that of other queries, and lie higher, without a sign.
    """
    lost = query_labels[~torch.isin(query_labels, reference_labels.to(query_labels.device))]
    if len(lost):
        classes = ", ".join(str(c) for c in lost.unique().tolist()[:10])
        warnings.warn(
            f"{len(lost)} of {len(query_labels)} queries have a class that no reference row has ({classes}) "
            "and count as wrong; add reference rows of it, or take these queries out",
            AbsentClassWarning,
            stacklevel=4,
        )


def check_k(k: int, limit: int, bound: str = "n_reference") -> None:
    """Refuse a number of neighbors that is not a whole number in 1..limit."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= limit:
        raise ValueError(f"k must be in [1, {bound}]; got k={k!r}, {bound}={limit}")


def row_norms(features: Tensor, name: str) -> Tensor:
    """Return the Euclidean norm of every row, shape (rows,), in float32 or float64.

    Raises:
        ValueError: with the count, if rows hold NaN or Inf (or numbers whose square overflows).
    """
    norms = torch.linalg.vector_norm(features, dim=1, dtype=_at_least_float32(features.dtype))
    broken = int((~norms.isfinite()).sum())  # of the norms alone: a pass over all features costs more
    if broken:
        raise ValueError(
            f"{broken} of {len(norms)} rows of the {name} features hold NaN or Inf, or numbers whose square "
            "overflows; a network that diverged cannot be probed"
        )
    return norms


def unit_rows(features: Tensor, name: str, zero_rows: str = "farthest") -> tuple[Tensor, Tensor]:
    """Divide every row by its Euclidean norm.

    Args:
        features: shape (rows, d), floating point; half precision is computed in float32.
        name: whose features these are, for the messages.
        zero_rows: ``farthest`` warns of rows of zeros and leaves them zero, ``raise`` refuses them.

    Returns:
        The unit rows, shape (rows, d), and a mask of the rows of zeros, shape (rows,), bool.

    Raises:
        TypeError: for features that are not floating point.
        ValueError: for NaN or Inf, with the count; for rows of zeros if they are to raise.
    """
    if zero_rows not in ZERO_ROWS:
        raise ValueError(f"zero_rows must be one of {', '.join(ZERO_ROWS)}; got {zero_rows!r}")
    norms = row_norms(check_features(features, name), name)
    zero = norms == 0
    count = int(zero.sum())
    if count:
        message = f"{count} of {len(norms)} rows of the {name} features are zero and have no direction"
        if zero_rows == "raise":
            raise ValueError(f"{message}; zero_rows='farthest' goes on without them")
        warnings.warn(f"{message}; they count as farthest from everything", UserWarning, stacklevel=3)
    return features / norms.masked_fill(zero, 1)[:, None], zero


def _at_least_float32(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
