"""Points of the first paper's sweeps: measured curves over the number of training examples.

Bombari & Mondelli (ICML 2024), the RF and NTK figures. Every function takes plain values and a seed and
returns one flat row per N. A seed's rows depend on its own arguments only: one seed shares data and
directions across activations (common random numbers), different seeds share nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from memorization.data.frames import image_task
from memorization.data.images import Images, load_images, two_classes
from memorization.data.synthetic import linear_core_task
from memorization.data.task import SpuriousTask, spurious_size
from memorization.measures.curve import Model, Row, curve, float_type
from memorization.measures.theory import alignment_lower_bound, kernel_profile
from memorization.measures.theory_accuracy import predict_synthetic
from memorization.runs.sweep import experiment


@experiment("synthetic_curve")
def synthetic_curve(
    *,
    feature_map: str,
    activation: str,
    alpha: float,
    d: int,
    width: int | None,
    sizes: Sequence[int],
    n_test: int = 1000,
    law: str = "gaussian",
    ridge: float = 0.0,
    nested: bool = True,
    seed: int,
    dtype: str = "float32",
    device: str = "cpu",
) -> list[Row]:
    """Measure one curve of the synthetic panels and predict it in closed form.

    Args:
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation.
        alpha: spurious fraction of the coordinates, in (0, 1).
        d: number of coordinates.
        width: k directions; 0 or None for the infinite-width kernel.
        sizes: numbers N of training examples.
        n_test: number of test examples.
        law: ``gaussian`` or ``spheres``.
        ridge: added to the kernel per unit of width, >= 0.
        nested: one draw serves every N (its first N rows); False draws data and directions anew at each N.
        seed: whole number >= 0.
        dtype: type of inputs and features, ``float32`` or ``float64``; kernels are always float64.
        device: where to compute, such as ``cpu`` or ``cuda``.

    Returns:
        One row per N: the columns of :func:`memorization.measures.curve.measure` and of :func:`theory_curve`.

    Raises:
        ValueError: for arguments out of range, with what is allowed.
    """

    def draw(n: int, purpose: str) -> SpuriousTask:
        return linear_core_task(
            n_train=n,
            n_test=n_test,
            d=d,
            alpha=alpha,
            seed=seed,
            law=law,
            dtype=float_type(dtype),
            purpose=purpose,
        )

    measured = curve(
        Model(feature_map, activation, width, ridge, device), draw, sizes, nested=nested, seed=seed
    )
    predicted = theory_curve(
        feature_map=feature_map, activation=activation, alpha=alpha, d=d, sizes=sizes, ridge=ridge
    )
    return [{**row, **theory} for row, theory in zip(measured, predicted, strict=True)]


@experiment("image_curve")
def image_curve(
    *,
    dataset: str,
    negative: int,
    positive: int,
    pad: int,
    feature_map: str,
    activation: str,
    width: int | None,
    sizes: Sequence[int],
    n_test: int,
    fill: str = "zero",
    center: str = "none",
    ridge: float = 0.0,
    nested: bool = True,
    data_root: str | None = None,
    seed: int,
    dtype: str = "float32",
    device: str = "cpu",
) -> list[Row]:
    """Measure one curve of the image panels: noise frames around the images of two classes.

    Args:
        dataset: ``digits``, ``mnist``, ``fashion_mnist`` or ``cifar10``.
        negative: class that gets label -1.
        positive: class that gets label +1.
        pad: width of the frame in pixels (the paper: 10 for MNIST, 8 for CIFAR-10).
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation (the paper: ``relu``; others need ``center="standardize"``).
        width: k directions; 0 or None for the infinite-width kernel.
        sizes: numbers N of training examples.
        n_test: number of test examples.
        fill: inside of a spurious query, ``zero``, ``mean`` or ``fresh``.
        center: ``none`` (raw pixel values, as in the paper), ``mean`` or ``standardize``.
        ridge: added to the kernel per unit of width, >= 0.
        nested: one draw serves every N; False draws subset, noise and directions anew at each N.
        data_root: folder of the data sets; None for ``$MEMORIZATION_DATA`` or ``data``.
        seed: whole number >= 0.
        dtype: type of inputs and features, ``float32`` or ``float64``; kernels are always float64.
        device: where to compute.

    Returns:
        One row per N with the columns of :func:`memorization.measures.curve.measure`.

    Raises:
        ValueError: for arguments out of range; FileNotFoundError: if the data set is absent.
    """
    pool, test_pool = _pools(dataset, negative, positive, data_root)

    def draw(n: int, purpose: str) -> SpuriousTask:
        return image_task(
            pool, test_pool=test_pool, n_train=n, n_test=n_test, pad=pad, seed=seed,
            fill=fill, center=center, dtype=float_type(dtype), purpose=purpose,
        )  # fmt: skip

    return curve(Model(feature_map, activation, width, ridge, device), draw, sizes, nested=nested, seed=seed)


def theory_curve(
    *, feature_map: str, activation: str, alpha: float, d: int, sizes: Sequence[int], ridge: float = 0.0
) -> list[Row]:
    """Predict a synthetic curve at infinite width.

    Args:
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation.
        alpha: spurious fraction of the coordinates, in (0, 1).
        d: number of coordinates.
        sizes: numbers N of training examples.
        ridge: added to the kernel per unit of width, >= 0.

    Returns:
        One row per N: ``N``, ``psi``, ``gamma``, ``gamma_floor`` (the RF theorem's bound; NaN for tangent
        features) and ``theory_`` test and spurious accuracy, test_mse, stability_covariance, covariance.
        Where the theory is undefined (affine activation with N >= d) they are NaN.
    """
    profile = kernel_profile(feature_map, activation)
    part = spurious_size(d, alpha) / d
    floor = math.nan
    if feature_map == "rf" and profile.linear + profile.curved > 0:
        floor = alignment_lower_bound(profile, part)
    rows: list[Row] = []
    for n in sizes:
        row: Row = {"N": n, "psi": n / d, "gamma_floor": floor}
        if profile.curved + ridge == 0 and n >= d:
            row |= dict.fromkeys(_THEORY, math.nan)
        else:
            found = predict_synthetic(profile, part, n / d, n=n, ridge=ridge, even="accept")
            row |= {column: getattr(found, field) for column, field in _THEORY.items()}
        rows.append(row)
    return rows


_THEORY = {
    "gamma": "gamma",
    "theory_test_accuracy": "test_accuracy",
    "theory_spurious_accuracy": "spurious_accuracy",
    "theory_test_mse": "test_mse",
    "theory_stability_covariance": "stability_covariance",
    "theory_covariance": "covariance",
}


def _pools(dataset: str, negative: int, positive: int, root: str | None) -> tuple[Images, Images | None]:
    """Return where training and test images come from; digits are one set, split anew by every seed."""
    if dataset == "digits":
        return two_classes(load_images(dataset, "all"), negative, positive), None
    train, test = (
        two_classes(load_images(dataset, half, root), negative, positive) for half in ("train", "test")
    )
    return train, test
