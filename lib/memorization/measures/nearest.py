"""k-NN probes: one blockwise matrix product serves every K and every set of labels.

Anagnostidis et al. (ICLR 2023), the k-NN probe of the embedding: rows divided by their norms, Euclidean
distance (the order of cosine similarity), K = 20 neighbors, uniform votes, true labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.measures.largest import grid_shape, largest
from memorization.measures.probe import (
    Probe,
    check_features,
    check_k,
    check_labels,
    check_same_width,
    unit_rows,
    warn_of_absent_classes,
)

_BLOCK = 2**25  # similarities held at once: 128 MiB in float32


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

    def votes(self, labels: Tensor, k: int | None = None, classes: int | None = None) -> Tensor:
        """Count the neighbors of each class.

        Args:
            labels: classes of the reference rows, shape (n_reference,), integers in 0..C-1.
            k: how many neighbors vote, 1..k_max; None for all of them.
            classes: number C of classes; None for the largest label + 1.

        Returns:
            Votes, shape (Q, C), int32; each row sums to k.
        """
        near = self._labels(labels, k, classes)
        width = classes or int(labels.max()) + 1
        votes = torch.zeros(len(near), width, dtype=torch.int32, device=near.device)
        return votes.scatter_add_(1, near, torch.ones_like(near, dtype=torch.int32))

    def predict(self, labels: Tensor, k: int | None = None, classes: int | None = None) -> Tensor:
        """Return the class with most votes, the smallest one if several have most; arguments as in votes.

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
        wanted = check_labels(query_labels, len(self.indices), "query", classes).to(self.indices.device)
        predictions = self.predict(labels, k, classes)
        warn_of_absent_classes(labels, wanted)
        return Probe(predictions, predictions == wanted)

    def accuracy(
        self, labels: Tensor, query_labels: Tensor, k: int | None = None, classes: int | None = None
    ) -> float:
        """Return the fraction of queries whose prediction is their label."""
        return self.probe(labels, query_labels, k, classes).accuracy

    def _labels(self, labels: Tensor, k: int | None, classes: int | None) -> Tensor:
        k_max = self.indices.shape[1]
        k = k_max if k is None else k
        check_k(k, k_max, "k_max")
        numbers = check_labels(labels, self.n_reference, "reference", classes)
        return numbers.to(self.indices.device)[self.indices[:, :k]]  # (Q, k)


def nearest(
    reference: Tensor,
    queries: Tensor | None = None,
    k_max: int = 20,
    *,
    chunk: int | None = None,
    leave_one_out: bool = False,
    zero_rows: str = "farthest",
) -> Neighbors:
    """Find the k_max nearest reference rows of each query by direction.

    Equal similarities, also those that compete for the last place, go to the smaller row number. Equal are
    those with the same floating-point number: one direction at two lengths may differ in the last bit.
    A reference row of zeros is farther than any other; a query of zeros is equally far from all others.

    Args:
        reference: shape (n_reference, d), floating point, finite.
        queries: shape (Q, d), on the reference's device; None takes the reference rows themselves.
        k_max: number of neighbors, a whole number in 1..n_reference, one less with ``leave_one_out``.
        chunk: queries per matrix product; None keeps a block of similarities at 128 MiB in float32.
        leave_one_out: query i is reference row i and must not find itself.
        zero_rows: ``farthest`` (with a warning) or ``raise``.

    Returns:
        The neighbors, nearest first.

    Raises:
        TypeError: for features that are not floating point.
        ValueError: for another k, shapes that do not fit, NaN or Inf, or a chunk < 1.
    """
    n = len(check_features(reference, "reference"))
    asked = reference if queries is None else check_features(queries, "query")
    check_same_width(reference, asked)
    if leave_one_out and asked is not reference and not torch.equal(asked, reference):
        raise ValueError(
            "leave_one_out needs query i to be reference row i; got other rows: leave out the queries"
        )
    check_k(k_max, n - leave_one_out, "n_reference - 1" if leave_one_out else "n_reference")
    unit, zero = unit_rows(reference, "reference", zero_rows)
    directions = unit if asked is reference else unit_rows(asked, "query", zero_rows)[0]
    if not bool(zero.any()):
        return _search(unit, directions, k_max, chunk, leave_one_out, None)
    return _search(unit, directions, k_max, chunk, leave_one_out, zero)


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


def _search(
    unit: Tensor, directions: Tensor, k: int, chunk: int | None, own: bool, zero: Tensor | None
) -> Neighbors:
    """Multiply block by block and keep the k largest similarities of each query."""
    n, q = len(unit), len(directions)
    groups, width = grid_shape(n, k)
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
