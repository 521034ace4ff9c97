"""The linear-core task: a label that is the sign of a linear form of the core, and a spurious part of noise.

Bombari & Mondelli (ICML 2024): the synthetic experiments (Gaussian data), and the theory's data (two
spheres).
"""

from __future__ import annotations

import torch
from torch import Tensor

from memorization.data.seeds import generator, normal_rows
from memorization.data.task import SpuriousTask, spurious_size

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
    if law not in LAWS:
        raise ValueError(f"unknown law {law!r}; choose one of {', '.join(LAWS)}")
    if n_train < 1 or n_test < 1:
        raise ValueError(f"need at least one training and one test row; got {n_train} and {n_test}")
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
