"""Probes: what features tell of labels, by nearest neighbors or by a linear classifier.

Anagnostidis et al. (ICLR 2023), the k-NN probe of the embedding: rows divided by their norms, Euclidean
distance (the order of cosine similarity), K = 20 neighbors, uniform votes, true labels. One blockwise
matrix product serves every K and every set of labels. The linear probe beside it is ridge regression on
one-hot targets, in closed form.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from memorization.checks import as_classes, check_tensor

_BLOCK = 2**25  # similarities held at once: 128 MiB in float32


class AbsentClassWarning(UserWarning):
    """Queries of a class that no reference row has, so that no probe can name it."""


@dataclass(frozen=True)
class Probe:
    """The answers of one probe on its queries.

    Attributes:
        predictions: predicted class of each query, shape (Q,), int64.
        correct: whether the prediction is the query's label, shape (Q,), bool.
    """

    predictions: Tensor
    correct: Tensor

    @property
    def accuracy(self) -> float:
        """Fraction of correct answers, in [0, 1]."""
        return float(self.correct.double().mean())


@dataclass(frozen=True)
class Neighbors:
    """The nearest reference rows of each query, for any K up to ``k_max`` and any labels.

    Attributes:
        indices: row numbers in the reference, nearest first, shape (Q, k_max), int64.
        similarities: cosine similarities, shape (Q, k_max); -2 for a reference row of zeros.
        n_reference: number of reference rows.
    """

    indices: Tensor
    similarities: Tensor
    n_reference: int

    def predict(self, labels: Tensor, k: int | None = None, classes: int | None = None) -> Tensor:
        """Return the class with most votes, the smallest one if several have most.

        Args:
            labels: classes of the reference rows, shape (n_reference,), integers in 0..C-1.
            k: how many neighbors vote, 1..k_max; None for all of them.
            classes: number C of classes; None does not check the largest label.

        Returns:
            Classes, shape (Q,), int64.
        """
        near = self._labels(labels, k, classes).sort(dim=1).values
        # in a sorted row, a class has as many votes as its run is long: no (Q, C) table for many classes
        lengths = torch.searchsorted(near, near, right=True) - torch.searchsorted(near, near)
        return near.gather(1, lengths.argmax(dim=1, keepdim=True))[:, 0]  # argmax takes the first of equals

    def probe(
        self, labels: Tensor, query_labels: Tensor, k: int | None = None, classes: int | None = None
    ) -> Probe:
        """Compare the predictions with the queries' labels, shape (Q,), integers.

        Warns of queries whose class no reference row has; they count as wrong.
        """
        wanted = as_classes(query_labels, len(self.indices), "query", classes).to(self.indices.device)
        predictions = self.predict(labels, k, classes)
        _warn_of_absent_classes(labels, wanted)
        return Probe(predictions, predictions == wanted)

    def accuracy(
        self, labels: Tensor, query_labels: Tensor, k: int | None = None, classes: int | None = None
    ) -> float:
        """Return the fraction of queries whose prediction is their label."""
        return self.probe(labels, query_labels, k, classes).accuracy

    def _labels(self, labels: Tensor, k: int | None, classes: int | None) -> Tensor:
        k_max = self.indices.shape[1]
        k = k_max if k is None else k
        _check_k(k, k_max, "k_max")
        numbers = as_classes(labels, self.n_reference, "reference", classes)
        return numbers.to(self.indices.device)[self.indices[:, :k]]  # (Q, k)


def nearest(
    reference: Tensor,
    queries: Tensor | None = None,
    k_max: int = 20,
    *,
    chunk: int | None = None,
    leave_one_out: bool = False,
) -> Neighbors:
    """Find the k_max nearest reference rows of each query by direction.

    Equal similarities, also those that compete for the last place, go to the smaller row number. Equal are
    those with the same floating-point number: one direction at two lengths may differ in the last bit.
    A reference row of zeros is farther than any other; a query of zeros is equally far from all others; both
    are told in a warning.

    Args:
        reference: shape (n_reference, d), floating point, finite.
        queries: shape (Q, d), on the reference's device; None takes the reference rows themselves.
        k_max: number of neighbors, a whole number in 1..n_reference, one less with ``leave_one_out``.
        chunk: queries per matrix product; None keeps a block of similarities at 128 MiB in float32.
        leave_one_out: query i is reference row i and must not find itself.

    Returns:
        The neighbors, nearest first.

    Raises:
        TypeError: for features that are not floating point.
        ValueError: for another k, shapes that do not fit, NaN or Inf, or a chunk < 1.
    """
    asked = reference if queries is None else queries
    n = _check_pair(reference, asked)
    if leave_one_out and asked is not reference and not torch.equal(asked, reference):
        raise ValueError(
            "leave_one_out needs query i to be reference row i; got other rows: leave out the queries"
        )
    _check_k(k_max, n - leave_one_out, "n_reference - 1" if leave_one_out else "n_reference")
    unit, zero = unit_rows(reference, "reference")
    directions = unit if asked is reference else unit_rows(asked, "query")[0]
    return _search(unit, directions, k_max, chunk, leave_one_out, zero if bool(zero.any()) else None)


def knn_probe(
    reference: Tensor,
    reference_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    k: int = 20,
    classes: int | None = None,
    chunk: int | None = None,
    leave_one_out: bool = False,
) -> Probe:
    """Probe features with a K-nearest-neighbor vote.

    Anagnostidis et al. (ICLR 2023). Uniform votes; of classes with equally many votes the smallest wins, as
    in scikit-learn. For several K or several sets of labels call :func:`nearest` once.

    Args:
        reference: features with known labels, shape (n_reference, d).
        reference_labels: shape (n_reference,), integers in 0..C-1.
        queries: shape (Q, d).
        query_labels: shape (Q,), integers in 0..C-1.
        k: number K of neighbors.
        classes: number C of classes; None does not check the largest label.
        chunk: queries per matrix product, see :func:`nearest`.
        leave_one_out: the queries are the reference rows, and none finds itself.

    Returns:
        Predictions and which are correct; ``.accuracy`` is the probe's accuracy.

    Example:
        >>> rows, labels = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]]), torch.tensor([0, 0, 1])
        >>> knn_probe(rows, labels, torch.tensor([[0.1, 2.0]]), torch.tensor([1]), k=1).accuracy
        1.0
    """
    found = nearest(reference, queries, k, chunk=chunk, leave_one_out=leave_one_out)
    return found.probe(reference_labels, query_labels, classes=classes)


def noise_probe(
    features: Tensor, random_labels: Tensor, k: int = 20, classes: int | None = None, chunk: int | None = None
) -> Probe:
    """Ask whether features tell the *random* labels: leave-one-out K-NN on the memorized training images.

    Anagnostidis et al. (ICLR 2023), separation of signal and noise over depth. No image may vote for its
    own label; features that do not know the labels give chance, 1/C.

    Args:
        features: of the memorized training images, un-augmented, shape (n, d).
        random_labels: the labels that were memorized, shape (n,), integers in 0..C-1.
        k: number K of neighbors, 1..n-1.
        classes: number C of classes; None does not check the largest label.
        chunk: queries per matrix product, see :func:`nearest`.

    Returns:
        Predictions and which are correct.
    """
    return nearest(features, None, k, chunk=chunk, leave_one_out=True).probe(
        random_labels, random_labels, classes=classes
    )


def linear_probe(
    reference: Tensor,
    reference_labels: Tensor,
    queries: Tensor,
    query_labels: Tensor,
    ridge: float = 1.0,
    classes: int | None = None,
) -> Probe:
    """Probe features with a linear classifier.

    Beside the k-NN probe of Anagnostidis et al. (ICLR 2023): it asks what can be read off linearly, whatever
    the distances. Minimizes ``|X W + b - Y|^2 + penalty |W|^2`` on one-hot targets Y; the intercept b is
    free, the prediction is the largest output. Solved by Cholesky in float64, in d or in n_reference
    dimensions, whichever are fewer.

    Args:
        reference: features with known labels, shape (n_reference, d), floating point, finite.
        reference_labels: shape (n_reference,), integers in 0..C-1.
        queries: shape (Q, d).
        query_labels: shape (Q,), integers in 0..C-1.
        ridge: > 0, the penalty in units of the mean squared length of a centered reference row, so that
            features of any scale are treated alike.
        classes: number C of classes; None for the largest reference label + 1.

    Returns:
        Predictions and which are correct. Warns of queries whose class no reference row has.

    Raises:
        TypeError: for features that are not floating point, or labels that are not integers.
        ValueError: for shapes that do not fit, NaN or Inf, labels outside 0..C-1, or ridge <= 0.
    """
    _check_pair(reference, queries)
    for rows, name in ((reference, "reference"), (queries, "query")):
        _row_norms(rows, name)
    labels = as_classes(reference_labels, len(reference), "reference", classes).to(reference.device)
    wanted = as_classes(query_labels, len(queries), "query", classes).to(reference.device)
    if not (ridge > 0 and math.isfinite(ridge)):
        raise ValueError(f"ridge must be a finite number > 0; got {ridge!r}")
    weights, intercept = _ridge(reference, one_hot(labels, classes or -1).double(), ridge)
    _warn_of_absent_classes(labels, wanted)
    predictions = (queries.double() @ weights + intercept).argmax(dim=1)
    return Probe(predictions, predictions == wanted)


def _ridge(features: Tensor, targets: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """Return weights (d, C) and intercept (C,) of the penalized least-squares problem."""
    rows, center, level = features.double(), features.double().mean(dim=0), targets.mean(dim=0)
    rows, targets = rows - center, targets - level  # centering makes the intercept free of the penalty
    n, d = rows.shape
    gram = rows.T @ rows if d <= n else rows @ rows.T
    scale = gram.trace() / n
    gram.diagonal().add_(ridge * torch.where(scale > 0, scale, torch.ones_like(scale)))  # constant features
    factor = torch.linalg.cholesky(gram)
    if d <= n:
        weights = torch.cholesky_solve(rows.T @ targets, factor)
    else:
        weights = rows.T @ torch.cholesky_solve(targets, factor)
    return weights, level - center @ weights


def _search(
    unit: Tensor, directions: Tensor, k: int, chunk: int | None, own: bool, zero: Tensor | None
) -> Neighbors:
    """Multiply block by block and keep the k largest similarities of each query."""
    n, q = len(unit), len(directions)
    groups = max(1, math.isqrt(n // (k + 1)))  # the cheapest grid has about as many maxima as candidates
    width = max(-(-n // groups), k + 1)
    rows = max(1, _BLOCK // (groups * width)) if chunk is None else chunk
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise ValueError(f"chunk must be a whole number >= 1, or None; got {chunk!r}")
    dtype = torch.promote_types(unit.dtype, directions.dtype)
    unit, rows = unit.to(dtype), min(rows, q)
    block = unit.new_full((rows, groups * width), -torch.inf)  # what no reference fills stays farthest
    indices = torch.empty(q, k, dtype=torch.int64, device=unit.device)
    similarities = unit.new_empty(q, k)
    for start in range(0, q, rows):
        part = slice(start, min(start + rows, q))
        similar = block[: part.stop - start]
        torch.mm(directions[part].to(dtype), unit.T, out=similar[:, :n])
        if zero is not None:
            similar[:, :n].masked_fill_(zero, -2)  # below -1, the least cosine
        if own:
            similar[:, start : part.stop].fill_diagonal_(-torch.inf)
        similarities[part], indices[part] = largest(similar.view(len(similar), groups, width), k)
    return Neighbors(indices, similarities, n)


def largest(grid: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest entries of each (groups, width) grid and their places, smaller places first.

    Two steps are cheaper than one pass over everything, whatever the order of the entries: the k + 1 largest
    are in the k + 1 columns with the largest maxima.

    Args:
        grid: entries in any order, shape (B, groups, width) with width > k; filled up with -inf.
        k: how many, of which none may be -inf.

    Returns:
        Values in descending order, shape (B, k), and places 0..groups * width - 1, shape (B, k), int64. Of
        equal values the smaller place comes first, and goes in first.
    """
    columns = grid.amax(dim=1).topk(k + 1).indices  # (B, k + 1)
    candidates = grid.gather(2, columns[:, None, :].expand(-1, grid.shape[1], -1)).flatten(1)
    values, at = candidates.topk(k + 1)
    places = at // (k + 1) * grid.shape[2] + columns.gather(1, at % (k + 1))
    tied = values[:, k - 1] == values[:, k]  # the last place goes to one of several
    places, order = places[:, :k].sort(dim=1)
    values, order = values[:, :k].gather(1, order).sort(dim=1, descending=True, stable=True)
    places = places.gather(1, order)
    for rows in tied.nonzero()[:, 0].split(64):
        places[rows] = _smallest_places(grid[rows].flatten(1), values[rows], places[rows])
    return values, places


def _smallest_places(entries: Tensor, values: Tensor, places: Tensor) -> Tensor:
    """Give the places of the last value's ties to the first of all entries that have it; shape (B, k)."""
    k, width = values.shape[1], entries.shape[1]
    numbers = torch.arange(width, device=entries.device)
    ties = torch.where(entries == values[:, -1:], numbers, width).topk(k, largest=False).values
    above = (values > values[:, -1:]).sum(dim=1, keepdim=True)
    rank = torch.arange(k, device=entries.device).expand_as(places)
    return torch.where(rank < above, places, ties.gather(1, (rank - above).clamp(min=0)))


def unit_rows(features: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Divide every row by its Euclidean norm; rows of zeros stay zero, and are told in a warning.

    Args:
        features: shape (rows, d), floating point; half precision is computed in float32.
        name: whose features these are, for the messages.

    Returns:
        The unit rows, shape (rows, d), and a mask of the rows of zeros, shape (rows,), bool.

    Raises:
        ValueError: for NaN or Inf, with the count.
    """
    norms = _row_norms(features, name)
    zero = norms == 0
    if count := int(zero.sum()):
        warnings.warn(
            f"{count} of {len(norms)} rows of the {name} features are zero and have no direction; they count "
            "as farthest from everything",
            UserWarning,
            stacklevel=3,
        )
    return features / norms.masked_fill(zero, 1)[:, None], zero


def _row_norms(features: Tensor, name: str) -> Tensor:
    """The Euclidean norm of every row, shape (rows,), in float32 or float64; refuses NaN and Inf."""
    dtype = torch.promote_types(features.dtype, torch.float32)
    norms = torch.linalg.vector_norm(features, dim=1, dtype=dtype)
    broken = int((~norms.isfinite()).sum())  # of the norms alone: a pass over all features costs more
    if broken:
        raise ValueError(
            f"{broken} of {len(norms)} rows of the {name} features hold NaN or Inf, or numbers whose square "
            "overflows; a network that diverged cannot be probed"
        )
    return norms


def _check_pair(reference: Tensor, queries: Tensor) -> int:
    """Refuse what are no two sets of features of one width; return the number of reference rows."""
    for features, name in ((reference, "reference"), (queries, "query")):
        check_tensor(f"{name} features", features)
        if features.ndim != 2 or 0 in features.shape:
            raise ValueError(
                f"{name} features must be a matrix (rows, d) with at least one entry; "
                f"got shape {tuple(features.shape)}"
            )
        if not features.is_floating_point():
            raise TypeError(f"{name} features must be floating-point numbers; got {features.dtype}")
    if reference.shape[1] != queries.shape[1]:
        raise ValueError(
            "reference and query features must have one dimension; "
            f"got shapes {tuple(reference.shape)} and {tuple(queries.shape)}"
        )
    return len(reference)


def _check_k(k: int, limit: int, bound: str = "n_reference") -> None:
    """Refuse a number of neighbors that is not a whole number in 1..limit."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= limit:
        raise ValueError(f"k must be in [1, {bound}]; got k={k!r}, {bound}={limit}")


def _warn_of_absent_classes(reference_labels: Tensor, query_labels: Tensor) -> None:
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
