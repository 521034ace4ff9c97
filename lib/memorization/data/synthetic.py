"""The linear-core task of the first paper: train, spurious queries, test.

Bombari & Mondelli (ICML 2024): the label is the sign of a linear form of the core, the spurious part is
noise. The law of the inputs is that of the synthetic experiments (Gaussian data) or of the theory (two
spheres).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from memorization.checks import check_choice, check_finite, check_whole
from memorization.draws import generator, normal_rows


@dataclass(frozen=True)
class SpuriousTask:
    """Samples whose inputs have a core part, which decides the label, and a spurious part, which does not.

    Attributes:
        train: training inputs, shape (N, D), floating point.
        spurious: row i shares the spurious part of training row i; its core is uninformative. Shape (N, D).
        test: inputs of which no part was seen, shape (T, D).
        labels: training labels, shape (N,), -1 or +1 (real-valued targets are allowed; see the accuracies).
        test_labels: test labels, shape (T,).
        alpha: fraction of the inputs' coordinates that are spurious, in (0, 1).
        spurious_columns: which coordinates are spurious, shape (D,), bool.
        rows: which examples of a pool the training rows are, shape (N,), int64; None for drawn data.

    Raises:
        TypeError: if inputs are not floating point.
        ValueError: if shapes disagree, an entry is not finite, the spurious parts differ, or there is one
            class.
    """

    train: Tensor
    spurious: Tensor
    test: Tensor
    labels: Tensor
    test_labels: Tensor
    alpha: float
    spurious_columns: Tensor
    rows: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("train", "spurious", "test"):
            check_floating(name, getattr(self, name))
        _check_rows(self)
        _check_shared_part(self)
        values = torch.cat([self.labels, self.test_labels]).unique()
        if len(values) < 2:
            raise ValueError(
                f"need both classes: every label is {values.tolist()}; "
                "for real-valued targets ask for the covariance only"
            )

    def to(self, device: torch.device | str) -> SpuriousTask:
        """Return the task with its tensors on another device."""
        return replace(
            self,
            train=self.train.to(device),
            spurious=self.spurious.to(device),
            test=self.test.to(device),
            labels=self.labels.to(device),
            test_labels=self.test_labels.to(device),
            spurious_columns=self.spurious_columns.to(device),
        )


def check_floating(name: str, rows: Tensor) -> None:
    """Refuse inputs that are not a finite floating-point matrix.

    Args:
        name: what to call the inputs in the message.
        rows: tensor to check, expected shape (N, D).

    Raises:
        TypeError: if the type is an integer or boolean one.
        ValueError: if the shape is not two-dimensional or an entry is NaN or infinite.
    """
    if not rows.is_floating_point():
        raise TypeError(f"{name} has type {rows.dtype}; convert it to floating point first, e.g. .float()")
    if rows.ndim != 2:
        raise ValueError(f"{name} must have shape (examples, coordinates); got {tuple(rows.shape)}")
    finite = torch.isfinite(rows)
    if not bool(finite.all()):
        row, column = torch.nonzero(~finite)[0].tolist()
        bad = rows[row, column].item()
        raise ValueError(f"{name} holds {bad} at row {row}, column {column}; remove or replace such entries")


def spurious_size(d: int, alpha: float) -> int:
    """Return how many of ``d`` coordinates are spurious: ``round(alpha d)``, at least one of each kind.

    Args:
        d: number of coordinates, >= 2.
        alpha: spurious fraction, in (0, 1).

    Raises:
        ValueError: if no core or no spurious coordinate would be left.
    """
    check_finite("alpha", alpha)
    size = round(alpha * d)
    if not 0 < alpha < 1 or not 0 < size < d:
        raise ValueError(
            f"need at least one core and one spurious coordinate; got d_y={size} of d={d} (alpha={alpha}); "
            "choose alpha strictly between 0 and 1"
        )
    return size


def _check_rows(task: SpuriousTask) -> None:
    if task.spurious.shape != task.train.shape:
        raise ValueError(
            "spurious queries must be row-aligned with the training set: "
            f"got {tuple(task.spurious.shape)} against {tuple(task.train.shape)}"
        )
    if task.test.shape[1] != task.train.shape[1]:
        raise ValueError(f"test has {task.test.shape[1]} columns, the training set {task.train.shape[1]}")
    for name, rows, labels in (("train", task.train, task.labels), ("test", task.test, task.test_labels)):
        if labels.shape != rows.shape[:1]:
            raise ValueError(f"{name}: {len(rows)} rows but labels of shape {tuple(labels.shape)}")


def _check_shared_part(task: SpuriousTask) -> None:
    columns = task.spurious_columns
    if columns.dtype != torch.bool or columns.shape != task.train.shape[1:]:
        raise ValueError(
            f"spurious_columns are {columns.dtype} of shape {tuple(columns.shape)}; allowed: one bool per "
            f"coordinate, shape ({task.train.shape[1]},), not the columns' numbers"
        )
    difference = (task.spurious[:, columns] - task.train[:, columns]).abs().max().item()
    if difference > 0:
        raise ValueError(
            "spurious queries must be row-aligned with the training set and share its spurious part "
            f"(max difference {difference:.3g})"
        )


LAWS = ("gaussian", "spheres")


def linear_core_task(
    *,
    n_train: int,
    n_test: int,
    d: int,
    alpha: float,
    seed: int,
    law: str = "gaussian",
    dtype: torch.dtype = torch.float32,
    purpose: str | int = "task",
) -> SpuriousTask:
    """Draw the linear-core task ``g = sign(u . x)`` with inputs ``z = [x, y]``.

    A spurious query is ``[x', y_i]``: the spurious part of training row i beside a fresh core. The first rows
    of a larger draw are the smaller draw of the same seed, so nested training sets share their data.

    Args:
        n_train: number N of training rows, >= 1.
        n_test: number T of test rows, >= 1.
        d: number of coordinates, >= 2.
        alpha: fraction of them that are spurious, in (0, 1); the last ``round(alpha d)`` columns.
        seed: whole number >= 0.
        law: ``gaussian`` (independent N(0, 1)) or ``spheres`` (``|x| = sqrt(d_x)``, ``|y| = sqrt(d_y)``
            exactly).
        dtype: floating-point type of the inputs.
        purpose: names the stream of random numbers; another purpose gives an independent task of one seed.

    Returns:
        The task; labels have the inputs' type and are -1 or +1.

    Raises:
        ValueError: for an unknown law, sizes below 1, or an alpha that leaves no core or spurious coordinate.
    """
    check_choice("law", law, LAWS)
    for name, value, least in (("n_train", n_train, 1), ("n_test", n_test, 1), ("d", d, 2)):
        check_whole(name, value, least)
    d_y = spurious_size(d, alpha)
    d_x = d - d_y

    def part(what: str, rows: int, columns: int) -> Tensor:
        values = normal_rows(rows, columns, generator(seed, purpose, what), dtype)
        return values if law == "gaussian" else _on_sphere(values)

    direction = normal_rows(1, d_x, generator(seed, purpose, "direction"), dtype)[0] / d_x**0.5
    core, noise = part("core", n_train, d_x), part("noise", n_train, d_y)
    test_core = part("test core", n_test, d_x)
    columns = torch.arange(d) >= d_x
    return SpuriousTask(
        train=torch.cat([core, noise], dim=1),
        spurious=torch.cat([part("fresh core", n_train, d_x), noise], dim=1),
        test=torch.cat([test_core, part("test noise", n_test, d_y)], dim=1),
        labels=_sign(core @ direction),
        test_labels=_sign(test_core @ direction),
        alpha=d_y / d,
        spurious_columns=columns,
    )


def _on_sphere(values: Tensor) -> Tensor:
    return values * (values.shape[1] ** 0.5 / values.norm(dim=1, keepdim=True))


def _sign(values: Tensor) -> Tensor:
    return torch.where(values > 0, 1.0, -1.0).to(values.dtype)
