"""Figures of the page on spurious memorization: pictures, curves and their closed forms, products, images.

What is drawn of a correlated spurious feature, which the follow-up paper is about, comes last.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes

from memorization.data.frames import add_frames
from memorization.data.image_sets import load_images
from memorization.draws import generator
from memorization.report.explorations import seed_intervals
from memorization.report.figures import curve_with_band, log_ticks, reference_line, theory_curve
from memorization.report.intervals import half_width
from memorization.report.styles import COLORS, INK, arm_styles
from memorization.report.tables import number
from memorization.studies.spurious_memorization.image_scores import ScoredImages
from memorization.studies.spurious_memorization.theory import kernel_profile, predict_synthetic

_NAMES = {"phi2": "φ₂", "phi3": "φ₃", "phi4": "φ₄", "phi6": "φ₆", "h2": "h₂", "relu": "ReLU", "gelu": "GELU"}
_MAPS = {"rf": "random features", "ntk": "tangent features"}
_N_LABEL = "training examples N [examples]"
_COVARIANCE = "Cov(f(zˢ), g) [label²]"


def example_pictures(
    *,
    dataset: str,
    pad: int,
    label: int | None = None,
    index: int = 0,
    seed: int = 0,
    root: str | Path | None = None,
) -> dict[str, np.ndarray]:
    """Return one training image, its framed version and the spurious query (Figure 1 of the paper).

    Args:
        dataset: name of a data set, see :func:`memorization.data.image_sets.load_images`.
        pad: width of the noise frame in pixels, >= 1.
        label: class of the image; None for any.
        index: which training image, among those of the class.
        seed: seed of the noise.
        root: folder of the data sets.

    Returns:
        ``image``, ``framed`` and ``query``: arrays of shape (height, width) or (height, width, 3), uint8,
        scaled to 0..255 whatever the data set's levels are.

    Raises:
        ValueError: if there is no image of that index.
    """
    images = load_images(dataset, "train", root)
    if label is not None:
        images = images.take((images.labels == label).nonzero().flatten())
    if not 0 <= index < len(images):
        of_class = "" if label is None else f" of class {label}"
        raise ValueError(
            f"{dataset} has {len(images)} training images{of_class}; got index={index}, counted from 0"
        )
    chosen = images.take(torch.tensor([index]))
    frames = add_frames(chosen, pad, generator(seed, "picture"))
    row = torch.zeros(1, dtype=torch.int64)
    pictures = {
        "image": chosen.pixels,
        "framed": frames.framed(row),
        "query": frames.framed(row, torch.zeros_like(chosen.pixels)),
    }
    return {name: _displayable(pixels[0], images.levels) for name, pixels in pictures.items()}


def _displayable(pixels: torch.Tensor, levels: int) -> np.ndarray:
    array = (pixels.to(torch.float32) * (255 / levels)).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[2] == 1 else array


def named_curves(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``curve``: activation and spurious fraction in words."""
    names = [
        f"{_NAMES.get(activation, activation)}, α = {Fraction(alpha).limit_denominator(100)}"
        for activation, alpha in zip(records["activation"], records["alpha"], strict=True)
    ]
    return records.assign(curve=names)


def named_pairs(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``pair``: data set and the two classes, such as ``digits 1/7``."""
    if records.empty:
        return records
    pair = records["dataset"] + " " + records["negative"].astype(str) + "/" + records["positive"].astype(str)
    return records.assign(pair=pair)


def at_largest(records: pd.DataFrame, column: str, at_most: float) -> pd.DataFrame:
    """Return the rows at the largest value of ``column`` that is not above ``at_most``, or the smallest."""
    below = records.loc[records[column] <= at_most, column]
    return records[records[column] == (below.max() if len(below) else records[column].min())]


def draw_pictures(axes: Sequence[Axes], pictures: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Draw small images side by side at one scale; return their pixels as a table.

    Args:
        axes: one panel per picture.
        pictures: arrays of shape (height, width) or (height, width, 3), 0..255.
    """
    side = max(max(picture.shape[:2]) for picture in pictures.values())
    rows = []
    for ax, (name, picture) in zip(axes, pictures.items(), strict=True):
        height, width = picture.shape[:2]
        ax.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
        ax.set_xlim((width - side) / 2 - 0.5, (width + side) / 2 - 0.5)
        ax.set_ylim((height + side) / 2 - 0.5, (height - side) / 2 - 0.5)
        ax.axis("off")
        flat = picture.reshape(height * width, -1)
        for place, values in enumerate(flat):
            rows.append([name, place // width, place % width, *values.tolist()])
    channels = ["gray"] if len(rows[0]) == 4 else ["red", "green", "blue"]
    return pd.DataFrame(rows, columns=["picture", "row", "column", *channels])


def draw_curves(ax: Axes, records: pd.DataFrame, y: str, *, theory: str) -> None:
    """Draw one measured curve per activation and spurious fraction, each with its prediction.

    Args:
        ax: the panel.
        records: with columns ``activation``, ``alpha``, ``N``, ``seed`` and ``curve``.
        y: column of an accuracy, drawn from 0.48 to 1.02 as in the paper.
        theory: column of its prediction, dotted.
    """
    for _, (color, _), curves in _arms(records):
        for alpha, one in curves.groupby("alpha", sort=False):
            line, marker = ("-", "o") if alpha == records["alpha"].max() else ("--", "s")
            label = one["curve"].iloc[0]
            curve_with_band(ax, one, "N", y, label=label, color=color, linestyle=line, marker=marker)
            theory_curve(ax, one, "N", theory, label="_")
    _name_closed_form(ax)
    ax.set(ylim=(0.48, 1.02), xlabel=_N_LABEL, ylabel="accuracy [fraction]")
    log_ticks(ax, records["N"])


def draw_alignment(ax: Axes, records: pd.DataFrame) -> None:
    """Draw mean alignment against the spurious fraction, with closed form and the theorem's lower bound."""
    _draw_by_activation(ax, records, "alpha")
    bounded = records.dropna(subset="gamma_floor")
    for _, (color, _), one in _arms(bounded):
        floor = one.drop_duplicates("alpha").sort_values("alpha")
        ax.plot(floor["alpha"], floor["gamma_floor"], color=color, linewidth=1, alpha=0.7, label="_")
    ends = [0, 1]
    ax.plot(ends, ends, color=COLORS["reference"], linestyle="--", linewidth=1.2, label="alignment = α")
    _name_closed_form(ax)
    if not bounded.empty:
        ax.plot([], [], color=INK, linewidth=1, label="theorem's lower bound")
    ax.set(xlabel="spurious fraction α [fraction]", xlim=(0, 1), ylim=(-0.02, 1.02))


def draw_alignment_decay(ax: Axes, records: pd.DataFrame) -> None:
    """Draw mean alignment against N/d for each activation, with its closed form.

    Args:
        ax: the panel.
        records: one feature map and one spurious fraction; columns ``psi``, ``alignment_mean``, ``gamma``.
    """
    _draw_by_activation(ax, records, "psi")
    _name_closed_form(ax)
    ax.set(xlabel="N/d [ratio]", ylim=(0, records["alpha"].max()))
    log_ticks(ax, records["psi"])


def _draw_by_activation(ax: Axes, records: pd.DataFrame, x: str) -> None:
    """Draw mean alignment as points, and its closed form as a dotted line, for each activation."""
    for name, (color, marker), one in _arms(records):
        look = {"label": name, "color": color, "marker": marker}
        curve_with_band(ax, one, x, "alignment_mean", linestyle="none", **look)
        theory_curve(ax, one, x, "gamma", label="_", color=color)
    ax.set_ylabel("feature alignment [ratio]")


def predicted_map(
    *, d: int, ratios: Sequence[float], fractions: Sequence[float], activations: Sequence[str]
) -> pd.DataFrame:
    """Return the closed forms over a grid that a reader can explore, at infinite width.

    Args:
        d: number of coordinates.
        ratios: N/d, each > 0; those above d/8 are left out, since the forms hold for N far below d².
        fractions: spurious fractions α in (0, 1).
        activations: their names.

    Returns:
        One row per feature map, activation, N/d and α: ``features`` and ``activation`` in words, ``ratio``,
        ``alpha``, ``gamma``, ``spurious_accuracy`` and ``test_accuracy``.

    Raises:
        ValueError: see :func:`memorization.studies.spurious_memorization.theory.alignment`.
    """
    rows = []
    for feature_map, name in product(_MAPS, activations):
        profile = kernel_profile(feature_map, name)
        for ratio, alpha in product((ratio for ratio in ratios if ratio <= d / 8), fractions):
            found = predict_synthetic(profile, alpha, ratio, n=max(2, round(ratio * d)))
            rows.append(
                {
                    "features": _MAPS[feature_map],
                    "activation": _NAMES.get(name, name),
                    "ratio": ratio,
                    "alpha": alpha,
                    "gamma": found.gamma,
                    "spurious_accuracy": found.spurious_accuracy,
                    "test_accuracy": found.test_accuracy,
                }
            )
    return pd.DataFrame(rows)


def measured_map(records: pd.DataFrame) -> pd.DataFrame:
    """Return what was measured, as :func:`predicted_map` returns what is predicted, with 95 % intervals.

    Args:
        records: of ``synthetic_curve`` at infinite width; a point that was measured twice is averaged.
    """
    named = records.assign(
        features=records["feature_map"].map(_MAPS),
        activation=records["activation"].map(lambda name: _NAMES.get(name, name)),
        ratio=records["psi"],
        gamma=records["alignment_mean"],
    )
    by = ["features", "activation", "ratio", "alpha"]
    quantities = ["gamma", "spurious_accuracy", "test_accuracy"]
    return seed_intervals(named.groupby([*by, "seed"])[quantities].mean().reset_index(), by, quantities)


def _arms(records: pd.DataFrame) -> Iterator[tuple[str, tuple[str, str], pd.DataFrame]]:
    """Yield each activation with its color and marker and its records."""
    names = records["activation"].map(lambda name: _NAMES.get(name, name))
    styles = arm_styles(names)
    for name, one in records.groupby(names, sort=False):
        yield str(name), styles[str(name)], one


def _name_closed_form(ax: Axes) -> None:
    ax.plot([], [], color=INK, linestyle=":", linewidth=2.2, label="closed form")


def draw_products(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw covariance against alignment × stability covariance; and both, with the bound, against N.

    Args:
        axes: two panels: every curve at every N, and the first curve.
        records: synthetic curves of both feature maps.

    Returns:
        What is drawn: the means over seeds, one row per curve and N, with the columns ``product`` and
        ``covariance_half``.
    """
    by = ["feature_map", "activation", "alpha", "N"]
    columns = ["covariance", "alignment_mean", "stability_covariance", "bound"]
    groups = records.groupby(by, sort=False)
    means = groups[columns].mean().reset_index()
    means["covariance_half"] = groups["covariance"].agg(half_width).to_numpy()
    means["product"] = means["alignment_mean"] * means["stability_covariance"]
    left, right = axes
    for feature_map, one in means.groupby(means["feature_map"].map(_MAPS), sort=False):
        color, marker = arm_styles(_MAPS.values())[str(feature_map)]
        left.errorbar(
            one["product"], one["covariance"], yerr=one["covariance_half"],
            fmt=marker, elinewidth=1, alpha=0.75, color=color, label=feature_map,
        )  # fmt: skip
    top = float(means[["covariance", "product"]].max().max()) * 1.08
    left.plot([0, top], [0, top], color=COLORS["reference"], linestyle="--", linewidth=1.2, label="equal")
    left.set(xlabel="alignment × Cov(S, g) [label²]", ylabel=_COVARIANCE, xlim=(0, top), ylim=(0, top))
    _draw_below_bound(right, means[(means[by[:3]] == means[by[:3]].iloc[0]).all(axis=1)])
    return means


def _draw_below_bound(ax: Axes, curve: pd.DataFrame) -> None:
    color = COLORS["covariance"]
    ax.plot(curve["N"], curve["bound"], color=COLORS["reference"], linestyle="-.", label="its bound")
    ax.plot(curve["N"], curve["product"], color=INK, linestyle=":", label="alignment × Cov(S, g)")
    ax.errorbar(
        curve["N"],
        curve["covariance"],
        yerr=curve["covariance_half"],
        fmt="o",
        color=color,
        label="covariance",
    )
    ax.set(xlabel=_N_LABEL, ylabel=_COVARIANCE, ylim=(0, None))
    log_ticks(ax, curve["N"])


def draw_image_panels(left: Axes, right: Axes, records: pd.DataFrame, exact: pd.DataFrame) -> None:
    """Draw one pair of classes: accuracies and area under the curve; covariance below its bound.

    Args:
        left: panel of what lies between 0 and 1.
        right: panel of the covariance.
        records: at finite width, one row per N and seed.
        exact: the same at infinite width, dotted.
    """
    for column, label, color, marker in (
        ("test_accuracy", "test accuracy", COLORS["test accuracy"], "o"),
        ("spurious_accuracy", "spurious accuracy", COLORS["spurious accuracy"], "s"),
        ("spurious_auc", "spurious AUC", COLORS["covariance"], "^"),
    ):
        curve_with_band(left, records, "N", column, label=label, color=color, marker=marker)
        _infinite_width(left, exact, column, color)
    reference_line(left, 0.5, "chance")
    left.set(ylim=(0.42, 1.02), xlabel=_N_LABEL, ylabel="accuracy, AUC [fraction]")
    log_ticks(left, records["N"])
    curve_with_band(right, records, "N", "covariance", label="covariance", color=COLORS["covariance"])
    _infinite_width(right, exact, "covariance", COLORS["covariance"])
    right.plot([], [], color=INK, linestyle=":", linewidth=2.2, label="infinite width")
    curve_with_band(
        right, records, "N", "bound", label="its bound", color=COLORS["reference"], linestyle="--", marker=""
    )
    right.set(xlabel=_N_LABEL, ylabel=_COVARIANCE)
    right.set_ylim(bottom=min(0.0, right.get_ylim()[0]))
    log_ticks(right, records["N"])


def draw_against_width(ax: Axes, records: pd.DataFrame, y: str, theory: str, label: str) -> None:
    """Draw a quantity against the width, with its prediction at infinite width."""
    quantity = "test accuracy" if "accuracy" in y else "feature alignment"
    curve_with_band(ax, records, "width", y, label="measured", color=COLORS[quantity])
    theory_curve(ax, records, "width", theory, label="infinite width")
    ax.set(xlabel="width k [features]", ylabel=label)
    if quantity == "feature alignment":  # from 0 to its limit alpha, so that a small difference looks small
        ax.set_ylim(0, records["alpha"].iloc[0])
    log_ticks(ax, records["width"])


def _infinite_width(ax: Axes, records: pd.DataFrame, column: str, color: str) -> None:
    """Draw the mean at infinite width, where no chance is left in the features: dotted, as other theory."""
    if records.empty:
        return
    means = records.groupby("N")[column].mean()
    ax.plot(means.index, means, color=color, linestyle=":", linewidth=2.2, label="_")


def draw_image_alignment(ax: Axes, records: pd.DataFrame, exact: pd.DataFrame) -> None:
    """Draw the measured alignment of both feature maps against N, and that of the infinite-width kernels.

    Args:
        ax: the panel.
        records: one pair of classes at finite width, with ``feature_map``, ``N`` and ``alignment_mean``.
        exact: the same at infinite width.
    """
    for feature_map, one in records.groupby("feature_map", sort=False):
        color, marker = arm_styles(_MAPS.values())[_MAPS[str(feature_map)]]
        name = _MAPS[str(feature_map)]
        curve_with_band(ax, one, "N", "alignment_mean", label=name, color=color, marker=marker)
        _infinite_width(ax, exact[exact["feature_map"] == feature_map], "alignment_mean", color)
    ax.plot([], [], color=INK, linestyle=":", linewidth=2.2, label="infinite width")
    ax.set(ylim=(0, 1), xlabel=_N_LABEL, ylabel="feature alignment [ratio]")
    log_ticks(ax, records["N"])


_PREPARED = {"none": "raw pixel values", "mean": "centered pixel values"}


def draw_borders(left: Axes, right: Axes, records: pd.DataFrame) -> None:
    """Draw alignment, beside the share of the frame itself, and covariance against that share.

    Args:
        left: panel of the alignment.
        right: panel of the covariance.
        records: one pair of classes, with ``center``, ``alpha``, ``alignment_mean`` and ``covariance``.
    """
    styles = arm_styles(_PREPARED.values())
    for center, one in records.groupby("center", sort=False):
        name = _PREPARED[str(center)]
        look = {"label": name, "color": styles[name][0], "marker": styles[name][1]}
        curve_with_band(left, one, "alpha", "alignment_mean", **look)
        curve_with_band(right, one, "alpha", "covariance", **look)
    ends = [0, 1]
    left.plot(ends, ends, color=COLORS["reference"], linestyle="--", linewidth=1.2, label="alignment = α")
    for ax, label in ((left, "feature alignment [ratio]"), (right, _COVARIANCE)):
        ax.set(xlim=(0, 1), xlabel="share of the frame α [fraction]", ylabel=label)
    left.set_ylim(0, 1)
    right.set_ylim(bottom=0)


def draw_activation_rows(left: Axes, right: Axes, records: pd.DataFrame) -> None:
    """Draw alignment and mean squared stability of each activation, a row each, beside their closed forms.

    Args:
        left: panel of the alignment.
        right: panel of the stability.
        records: one spurious fraction and one N, with ``feature_map``, ``activation`` and both quantities;
            the activations with the largest alignment, mean over feature maps, come first.
    """
    order = list(records.groupby("activation")["alignment_mean"].mean().sort_values().index)
    for ax, y, theory in (
        (left, "alignment_mean", "gamma"),
        (right, "stability_mse", "theory_test_mse"),
    ):
        for place, feature_map in enumerate(_MAPS):
            groups = records[records["feature_map"] == feature_map].groupby("activation")
            means, halves = groups[[y, theory]].mean().loc[order], groups[y].agg(half_width).loc[order]
            color, marker = arm_styles(_MAPS.values())[_MAPS[feature_map]]
            rows = np.arange(len(order)) + (0.16, -0.16)[place]
            ax.errorbar(
                means[y], rows, xerr=halves, fmt=marker, markersize=6, elinewidth=1.2, color=color,
                label=_MAPS[feature_map],
            )  # fmt: skip
            name = "_" if place else "closed form"
            ax.plot(means[theory], rows, "D", color=INK, markersize=10, markerfacecolor="none", label=name)
        ax.set_yticks(range(len(order)), [_NAMES.get(name, name) for name in order])
        ax.set_ylabel("activation [name]")
    left.set(xlabel="feature alignment [ratio]", xlim=(0, records["alpha"].max()))
    right.set(xlabel="mean squared stability [label²]")
    right.set_xlim(left=0)


def draw_membership(ax: Axes, records: pd.DataFrame, strangers: pd.DataFrame) -> None:
    """Draw how well frames give away what was trained on, against N; and the same of frames never seen.

    Args:
        ax: the panel.
        records: one pair of classes, with ``feature_map``, ``N`` and ``membership_auc``.
        strangers: the same where fresh frames are suspected.
    """
    for feature_map, one in records.groupby("feature_map", sort=False):
        name = _MAPS[str(feature_map)]
        color, marker = arm_styles(_MAPS.values())[name]
        look = {"color": color, "marker": marker}
        curve_with_band(ax, one, "N", "membership_auc", label=name, **look)
        other = strangers[strangers["feature_map"] == feature_map]
        look |= {"label": f"{name}, fresh frames", "linestyle": "--"}
        curve_with_band(ax, other, "N", "membership_auc", **look)
    reference_line(ax, 0.5, "chance")
    ax.set(ylim=(0.3, 1.02), xlabel=_N_LABEL, ylabel="area under the curve [fraction]")
    log_ticks(ax, records["N"])


def ranked_pictures(images: ScoredImages, count: int = 3) -> dict[str, np.ndarray]:
    """Return the framed images that are memorized most, and those that are memorized least.

    Args:
        images: training images with their scores.
        count: how many of each.

    Returns:
        Pictures by rank and score, the largest ``memorization`` before the smallest, 0..255.
    """
    found = images.scores.columns["memorization"]
    order = found.argsort(descending=True)
    chosen = {"most": order[:count], "least": order[-count:]}
    return {
        f"{word} {place}: {found[row]:.2f}": _displayable(images.framed[row], images.levels)
        for word, rows in chosen.items()
        for place, row in enumerate(rows.tolist(), start=1)
    }


def named_settings(records: pd.DataFrame, d: int) -> pd.DataFrame:
    """Return records of ``correlated_ridge`` with a column ``setting``: N/d and the spurious variance."""
    if records.empty:
        return records
    words = [
        f"N = {number(n / d)} d" + (f", variance of y {number(variance)}" if variance != 1 else "")
        for n, variance in zip(records["n"], records["variance"], strict=True)
    ]
    return records.assign(setting=words)


def draw_correlated(left: Axes, right: Axes, ridge: pd.DataFrame, features: pd.DataFrame) -> None:
    """Draw what is learned of a correlated spurious feature, and the test error, against the ridge.

    Args:
        left: panel of C.
        right: panel of the test error.
        ridge: ridge regression, with ``setting`` and ``penalty``.
        features: random features without a ridge, at the penalty that they bring along.
    """
    styles = arm_styles([*ridge["setting"].unique(), "random features, no ridge"])
    for ax, y in ((left, "spurious_covariance"), (right, "test_mse")):
        for setting, one in ridge.groupby("setting", sort=False):
            color, marker = styles[str(setting)]
            curve_with_band(
                ax, one, "penalty", y, label=str(setting), color=color, linestyle="none", marker=marker
            )
            theory_curve(ax, one, "penalty", f"theory_{y}", label="_", color=color)
        groups = features.groupby("activation", sort=False)
        color, marker = styles["random features, no ridge"]
        ax.errorbar(
            groups["penalty"].mean(), groups[y].mean(), yerr=groups[y].agg(half_width),
            fmt=marker, markersize=10, color=color, label="random features, no ridge",
        )  # fmt: skip
        _name_closed_form(ax)
        log_ticks(ax, ridge["penalty"])
        ax.set_xlabel("ridge penalty λ [variance of x]")
    left.set_ylabel("C = Cov(f([x′, y]), g) [label²]")
    right.set_ylabel("test error [label²]")
    left.set_ylim(bottom=min(0.0, left.get_ylim()[0]))


_NETWORKS = {"fc": "fully connected", "cnn": "convolutional", "resnet18": "ResNet-18"}


def named_networks(records: pd.DataFrame) -> pd.DataFrame:
    """Return records of trained networks with a column ``panel``: ``digits, convolutional``."""
    if records.empty:
        return records
    return records.assign(panel=records["dataset"] + ", " + records["network"].map(_NETWORKS))


def draw_network_panels(left: Axes, right: Axes, records: pd.DataFrame) -> None:
    """Draw one network on one data set: accuracies with chance; covariances at spurious and other queries.

    Args:
        left: axes of the accuracies; as in the paper, from just below chance to 1.
        right: axes of the covariances.
        records: one panel of :func:`named_networks`.
    """
    null = COLORS["reference"]
    for column, label, color, marker, line in (
        ("test_accuracy", "test accuracy", COLORS["test accuracy"], "o", "-"),
        ("spurious_accuracy", "spurious accuracy", COLORS["spurious accuracy"], "s", "-"),
        ("unrelated_accuracy", "at fresh spurious parts", null, "d", "--"),
    ):
        look = {"label": label, "color": color, "marker": marker, "linestyle": line}
        curve_with_band(left, records, "N", column, **look)
    reference_line(left, records["chance"].iloc[0], "chance")
    left.set(ylim=(0, 1.02), xlabel=_N_LABEL, ylabel="accuracy [fraction]")
    curve_with_band(right, records, "N", "covariance", label="covariance", color=COLORS["covariance"])
    curve_with_band(
        right, records, "N", "unrelated_covariance", label="_", color=null, marker="d", linestyle="--"
    )
    binary = records["chance"].iloc[0] == 0.5
    right.set(xlabel=_N_LABEL, ylabel=_COVARIANCE if binary else "Σ Cov(p(zˢ), class) [fraction²]")
    for ax in (left, right):
        log_ticks(ax, records["N"])


def draw_left_out(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw what leaving an example out changed at its query against three predictions, with the diagonal.

    Args:
        axes: three panels: alignment times stability in the tangent features at the start; in the last layer
            at the end; the last layer's alignment times the stability that was measured.
        records: of the experiment ``left_out_examples``.

    Returns:
        What is drawn: the examples that were left out, all changes times the label; columns ``change``,
        ``tangent``, ``last_layer``, ``mixed``.
    """
    out = records.dropna(subset="change")
    mixed = out["last_layer_alignment"] * out["stability"]
    numbers = out.assign(mixed=mixed)[["change", "tangent", "last_layer", "mixed"]].mul(out["label"], axis=0)
    low, high = float(numbers.min().min()) - 0.05, float(numbers.max().max()) + 0.05
    for ax, column in zip(axes, ("tangent", "last_layer", "mixed"), strict=True):
        ax.plot([low, high], [low, high], color=COLORS["reference"], linestyle="--", label="equal")
        x, y = numbers[column], numbers["change"]
        ax.plot(x, y, "o", alpha=0.7, color=COLORS["covariance"], label="one example")
        ax.set(xlabel="predicted × g [label²]", ylabel="measured × g [label²]")
        ax.set(xlim=(low, high), ylim=(low, high))
    return pd.concat([out[["N", "seed", "example", "label"]], numbers], axis=1)
