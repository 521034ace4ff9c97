"""Figures of the page on the pitfalls of memorization: two features, noisy curves, methods, influence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from memorization.data.group_benchmarks import waterbirds64
from memorization.data.image_sets import load_images
from memorization.report.figures import (
    curve_with_band,
    draw_arms,
    log_ticks,
    log_ticks_from_zero,
    plain_log,
    reference_line,
)
from memorization.report.styles import COLORS, INK
from memorization.studies.pitfalls_of_memorization.theory import harmful_noise
from memorization.studies.pitfalls_of_memorization.two_features import PUBLISHED_SEED, linear_problem

METHOD_NAMES = {
    "erm": "ERM",
    "weights": "group-balanced weights",
    "subsample": "sub-sampling",
    "group_dro": "GroupDRO",
    "xrm_group_dro": "XRM + GroupDRO",
    "mat": "MAT",
    "mat_k_fold": "MAT, K-fold",
    "mat_oracle": "MAT-oracle",
    "mat_no_flipping": "MAT, no flipping",
    "logit_correction": "logit correction",
    "jtt": "JTT",
}
_TRAIN, _TEST = INK, COLORS["spurious accuracy"]
_MAP = "RdYlBu"


def named(records: pd.DataFrame) -> pd.DataFrame:
    """Return the records with a column ``arm``, the method in words; where there are none, as they are."""
    if records.empty:
        return records
    return records.assign(arm=[METHOD_NAMES.get(name, name) for name in records["method"]])


def named_panels(curves: pd.DataFrame) -> pd.DataFrame:
    """Return rows of ``linear_curves`` with a column ``panel``: method, and whether there is noise."""
    pairs = zip(curves["method"], curves["sigma"], strict=True)
    return curves.assign(
        panel=[f"{METHOD_NAMES[m]}, {'noise' if sigma else 'no noise'}" for m, sigma in pairs]
    )


def draw_panel(ax: Axes, curves: pd.DataFrame) -> None:
    """Draw accuracies against epochs as in Figure 1: training and test, majority and minority.

    Args:
        ax: the panel.
        curves: one method and seed, or several seeds; rows of ``linear_curves``.
    """
    for split, color in (("train", _TRAIN), ("test", _TEST)):
        for part, line in (("majority", "-"), ("minority", "--")):
            curve_with_band(
                ax,
                curves,
                "epoch",
                f"{split}_{part}",
                label=f"{split}, {part}",
                color=color,
                linestyle=line,
                marker="",
            )
    ax.set(ylim=(-0.03, 1.03), xlabel="epoch [epochs]", ylabel="accuracy [fraction]")


def draw_decision(ax: Axes, end: Mapping[str, Any], *, gamma: float, n: int, d: int) -> None:
    """Draw what a linear model says of the two features, with noise 0, and the published training examples.

    Args:
        ax: the panel.
        end: a row with ``core`` and ``spurious``, the weights of both coordinates.
        gamma: strength of the spurious feature.
        n: examples that were drawn.
        d: noise coordinates that were drawn.
    """
    x, y = np.meshgrid(np.linspace(-2, 2, 100), np.linspace(-10, 10, 100))
    logits = end["core"] * x + end["spurious"] * y
    ax.imshow(
        1 / (1 + np.exp(-10 * logits)),
        origin="lower",
        extent=(-2, 2, -10, 10),
        aspect="auto",
        cmap=_MAP,
        alpha=0.55,
    )
    ax.contour(x, y, logits, levels=[0], colors=[INK], linewidths=1.5)
    train = linear_problem(n=n, d=d, seed=PUBLISHED_SEED, published=True).train
    colors = [
        COLORS["core feature"] if label > 0.5 else COLORS["background feature"] for label in train.labels
    ]
    ax.scatter(train.core, gamma * train.spurious, c=colors, s=6, linewidths=0)
    ax.set(xlabel="core feature [value]", ylabel="spurious feature [value]", xlim=(-2, 2), ylim=(-10, 10))
    ax.grid(visible=False)


def draw_diagram(
    figure: Figure, axes: Sequence[Axes], diagram: pd.DataFrame, *, n: int, d: int
) -> pd.DataFrame:
    """Draw minority accuracy over the strengths of noise and spurious feature: measured, and in the limit.

    Args:
        figure: that of the panels.
        axes: two panels.
        diagram: rows of ``linear_diagram``.
        n: training examples.
        d: noise coordinates.

    Returns:
        The means over seeds that are drawn.
    """
    means = diagram.groupby(["gamma", "sigma"])[["test_minority", "limit_minority"]].mean().reset_index()
    exceptions = int((1 - 0.9) * n)
    for ax, column in zip(axes, ("test_minority", "limit_minority"), strict=True):
        grid = means.pivot(index="gamma", columns="sigma", values=column)
        shown = ax.imshow(grid.to_numpy(), origin="lower", vmin=0, vmax=1, cmap=_MAP, aspect="auto")
        ax.set_xticks(range(len(grid.columns)), [f"{sigma:g}" for sigma in grid.columns])
        ax.set_yticks(range(len(grid.index)), [f"{gamma:g}" for gamma in grid.index])
        for (row, place), value in np.ndenumerate(grid.to_numpy()):
            text = "–" if np.isnan(value) else f"{value:.2f}".removeprefix("0")
            ink = "white" if value > 0.85 or value < 0.12 else INK  # both ends of the colors are dark
            ax.text(place, row, text, ha="center", va="center", fontsize=9, color=ink)
        edges = [
            _place(
                grid.columns, harmful_noise(majority=n - exceptions, minority=exceptions, d=d, gamma=gamma)
            )
            for gamma in grid.index
        ]
        ax.plot(edges, range(len(edges)), color=INK, linestyle=":", linewidth=2.2)
        ax.set(xlabel="noise σ [std]", ylabel="spurious strength γ [ratio]")
        ax.grid(visible=False)
    bar = figure.colorbar(shown, ax=list(axes), label="minority accuracy [fraction]", shrink=0.9)
    bar.ax.xaxis.set_visible(False)
    return means


def _place(ticks: Iterable[Any], value: float) -> float:
    """Where a value lies among unevenly spaced ticks, 0 for the first; NaN beyond the last one."""
    known = list(ticks)
    return float(np.interp(value, known, range(len(known)), left=np.nan, right=np.nan))


def draw_temperatures(ax: Axes, records: pd.DataFrame) -> None:
    """Draw minority accuracy against the temperature of memorization-aware training, with and without
    flipping.

    Args:
        ax: the panel.
        records: rows of ``linear_methods`` of several temperatures, with ``arm``.
    """
    swept = records[records["method"].isin(["mat", "mat_no_flipping"])]
    draw_arms(ax, swept, "temperature", "test_minority")
    for name in ("erm", "mat_oracle"):
        level = float(records.loc[records["method"] == name, "test_minority"].mean())
        reference_line(ax, level, METHOD_NAMES[name], color=COLORS["reference"] if name == "erm" else INK)
    ax.set(xlabel="temperature τ [ratio]", ylabel="minority accuracy [fraction]", ylim=(-0.03, 1.03))
    plain_log(ax)


def draw_road(ax: Axes, road: pd.DataFrame, limit: float) -> None:
    """Draw minority accuracy of plain training far beyond Figure 1, and the accuracy in the limit."""
    curve_with_band(ax, road, "epoch", "test_minority", label="test, minority", color=_TEST, linestyle="--")
    curve_with_band(
        ax, road, "epoch", "train_minority", label="train, minority", color=_TRAIN, linestyle="--", marker=""
    )
    reference_line(ax, limit, "max-margin limit, closed form", color=COLORS["theory"])
    ax.set(xlabel="epochs [epochs]", ylabel="accuracy [fraction]", ylim=(-0.03, 1.03))
    log_ticks(ax, road["epoch"])


def draw_wrong_labels(axes: Sequence[Axes], records: pd.DataFrame) -> None:
    """Draw majority and minority accuracy against the share of flipped training labels, for each method."""
    for ax, part in zip(axes, ("majority", "minority"), strict=True):
        draw_arms(ax, records, "label_noise", f"test_{part}")
        ax.set(xlabel="flipped labels [fraction]", ylabel="test accuracy [fraction]", ylim=(0, 1.03))


_BINS = np.linspace(-0.5, 1, 31)


def draw_influence(
    axes: Sequence[Axes], scores: pd.DataFrame, groups: Mapping[Any, str], by: str = "exception"
) -> pd.DataFrame:
    """Draw how self-influence is spread in each group, a panel a method.

    Args:
        axes: one panel for each method.
        scores: rows of ``linear_influence``, ``group_influence`` or ``bird_influence``, with ``arm``.
        groups: values of ``by``, and what each group is called.
        by: column that tells groups apart.

    Returns:
        Share of each group's examples in each bin.
    """
    colors = [COLORS["test accuracy"], COLORS["spurious accuracy"], COLORS["covariance"], COLORS["stability"]]
    drawn = []
    for ax, (arm, one) in zip(axes, scores.groupby("arm", sort=False), strict=True):
        for (value, name), color in zip(groups.items(), colors, strict=False):
            known = one.loc[one[by] == value, "influence"].dropna()
            counts, edges = np.histogram(known, bins=_BINS)
            shares = counts / max(1, len(known))
            ax.stairs(shares, edges, label=name, color=color, linewidth=1.8, fill=False)
            drawn.append(
                pd.DataFrame(
                    {"arm": arm, "group": name, "from": edges[:-1], "to": edges[1:], "share": shares}
                )
            )
        ax.set(xlabel="self-influence [difference]", ylabel="share of the group [fraction]", ylim=(0, 1))
    return pd.concat(drawn, ignore_index=True)


def draw_noisy_curve(ax: Axes, drawn: pd.DataFrame) -> None:
    """Draw one panel of Figure 3: the true function, the fitted curve, and spikes to the noisy values.

    Args:
        ax: the panel.
        drawn: rows of ``draw_noisy_curves`` of one strength.
    """
    parts = {kind: one for kind, one in drawn.groupby("kind")}
    ax.plot(
        parts["true"]["x"],
        parts["true"]["y"],
        color=COLORS["reference"],
        linestyle="--",
        label="true function",
    )
    ax.plot(
        parts["curve"]["x"],
        parts["curve"]["y"],
        color=COLORS["spurious accuracy"],
        label="fit, noise coordinates 0",
    )
    base = np.interp(parts["spike"]["x"], parts["curve"]["x"], parts["curve"]["y"])
    ax.vlines(
        parts["spike"]["x"], base, parts["spike"]["y"], color=COLORS["spurious accuracy"], linewidth=1,
        label="fit, at training inputs",
    )  # fmt: skip
    ax.plot(
        parts["point"]["x"],
        parts["point"]["y"],
        color=COLORS["test accuracy"],
        marker="o",
        linestyle="none",
        label="noisy values",
    )
    ax.set(xlabel="core feature x [value]", ylabel="value [value]", xlim=(-1.6, 1.6), ylim=(-0.75, 0.75))


def draw_kinds(axes: Sequence[Axes], fits: pd.DataFrame) -> None:
    """Draw what kind of memorization a strength of the noise coordinates gives: error, and wiggles of the
    curve.

    Args:
        axes: two panels.
        fits: rows of ``fit_noisy_curves``.
    """
    for column, label, color in (
        ("mse", "to the true function", COLORS["test accuracy"]),
        ("label_mse", "to the noisy values", COLORS["spurious accuracy"]),
    ):
        curve_with_band(axes[0], fits, "sigma", column, label=label, color=color)
    curve_with_band(axes[1], fits, "sigma", "variation", label="total variation", color=COLORS["covariance"])
    curve_with_band(
        axes[1],
        fits,
        "sigma",
        "straightness",
        label="straightness (R² of a line)",
        color=COLORS["stability"],
        marker="s",
    )
    reference_line(axes[1], 1.0, "the true function's variation")
    axes[0].set(ylabel="squared distance [value²]", ylim=(0, None))
    axes[1].set(ylabel="ratio, or R² [ratio]", ylim=(0, None))
    for ax in axes:
        log_ticks_from_zero(ax, fits["sigma"])
        ax.set_xlabel("noise σ [std]")


def draw_by_minority(ax: Axes, records: pd.DataFrame, y: str) -> None:
    """Draw an accuracy against the share of the minority, for each method.

    Args:
        ax: the panel.
        records: with ``minority``, ``arm`` and ``seed``.
        y: column of the accuracy.
    """
    draw_arms(ax, records, "minority", y)
    ax.set(xlabel="minority [fraction]", ylabel="worst-group accuracy [fraction]", ylim=(0, 1.03))
    log_ticks(ax, records["minority"])


def draw_most_memorized(
    axes: Sequence[Axes],
    scores: pd.DataFrame,
    dataset: str,
    groups: Mapping[tuple[int, int], str],
    *,
    root: str | None = None,
) -> pd.DataFrame:
    """Show the training images with the largest self-influence of each group, a panel a group.

    Args:
        axes: one panel for each group.
        scores: one method and seed; rows with ``id``, ``label``, ``attribute`` and ``influence``.
        dataset: ``digits``, ``mnist``, ``fashion_mnist`` or ``waterbirds64``: where ids lead.
        groups: label and attribute of each group, and its name.
        root: folder of the data sets.

    Returns:
        What is shown: ``group``, ``id``, ``influence``.
    """
    shown = []
    for ax, ((label, attribute), name) in zip(axes, groups.items(), strict=True):
        members = scores[(scores["label"] == label) & (scores["attribute"] == attribute)]
        best = members.sort_values("influence", ascending=False, kind="stable").head(8)
        pictures = [_picture(dataset, int(one), attribute, root) for one in best["id"]]
        tiles = [np.pad(p, ((1, 1), (1, 1), (0, 0)), constant_values=1.0) for p in pictures]
        rows = [
            np.concatenate(tiles[k : k + 4], 1) for k in range(0, len(tiles), 4) if len(tiles[k : k + 4]) == 4
        ]
        ax.imshow(np.concatenate(rows or [np.concatenate(tiles, 1)], 0), interpolation="nearest")
        ax.set_title(name)
        ax.axis("off")
        shown.append(best[["id", "influence"]].assign(group=name))
    return pd.concat(shown, ignore_index=True)


def _picture(dataset: str, row: int, attribute: int, root: str | None) -> np.ndarray:
    """One image as numbers in [0, 1], (height, width, 3); digits in red or green, by their attribute."""
    if dataset == "waterbirds64":
        train = waterbirds64(root).train
        place = int((train.ids == row).nonzero()[0])
        return train.inputs[place].permute(1, 2, 0).numpy() / 255
    images = load_images(dataset, "all" if dataset == "digits" else "train", root)
    gray = images.pixels[row, 0].float() / images.levels
    shown = torch.zeros(*gray.shape, 3)
    shown[..., attribute] = gray
    return shown.numpy()
