"""Figures of the page on random-label heads: readings of heads, and what any features allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from memorization.measures.random_labels import null_accuracy
from memorization.report.figures import (
    curve_with_band,
    draw_arms,
    dumbbells,
    log_ticks,
    log_ticks_from_zero,
    name_panel,
    reference_line,
    seed_curve,
    theory_curve,
)
from memorization.report.styles import COLORS, INK, PALETTE
from memorization.studies.random_label_heads.complexity import HEADS

_MARKERS = ("o", "s", "^", "D", "P")


def named_heads(records: pd.DataFrame) -> pd.DataFrame:
    """Return rows of ``random_label_null`` with ``heads`` in words and ``score``, corrected for chance.

    The columns are those of ``null_grid``, so that drawn labels can be marks beside the law.
    """
    score = (records["n"] * records["accuracy"] - 1) / (records["n"] - 1)
    return records.assign(heads=[HEADS[bool(one)] for one in records["class_wise"]], score=score)


def draw_null(ax: Axes, records: pd.DataFrame, column: str = "accuracy") -> pd.DataFrame:
    """Draw which accuracy any features allow against the number of labels, and the law, for each dimension.

    Args:
        ax: the panel.
        records: rows of ``random_label_null`` of one m and one kind of heads; at most five dimensions d.
        column: ``accuracy``, of least-squares heads, or ``trained``.

    Returns:
        The means over seeds that are drawn, with ``half``, half of their 95 % interval, and ``d``.

    Raises:
        ValueError: for more than five dimensions.
    """
    dims = sorted(records["d"].unique())
    if len(dims) > len(_MARKERS):
        raise ValueError(f"{len(dims)} dimensions d in one panel; draw {len(_MARKERS)} or fewer")
    between = np.geomspace(records["n"].min(), records["n"].max(), 40).round().astype(int)
    dense = np.union1d(between, records["n"].to_numpy(dtype=int))
    drawn = []
    for d, color, marker in zip(dims, PALETTE, _MARKERS, strict=False):
        one = records[records["d"] == d]
        h = float(one["leverage"].mean())
        ax.plot(dense, [null_accuracy(int(n), h) for n in dense], color=color, linewidth=1.8)
        curve = seed_curve(one, "n", column)
        draw_points(ax, curve, "n", color, marker, f"{d} features")
        drawn.append(curve.assign(d=d))
    ax.plot(dense, 1 / dense, color=COLORS["reference"], linestyle=":", linewidth=1.4, label="guessing")
    ax.set(xlabel="random labels n [labels]", ylabel="random-label accuracy [fraction]", ylim=(-0.03, 1.03))
    log_ticks(ax, records["n"])
    ax.add_line(Line2D([], [], color=INK, linewidth=1.8, label="law"))
    return pd.concat(drawn, ignore_index=True)


def draw_points(ax: Axes, curve: pd.DataFrame, x: str, color: str, marker: str, label: str) -> None:
    """Draw means over seeds as marks, with bars where there are intervals; the legend shows the mark."""
    bars = curve["half"] if curve["half"].notna().any() else None
    ax.errorbar(curve[x], curve["mean"], yerr=bars, color=color, marker=marker, linestyle="none", capsize=3)
    ax.plot([], [], color=color, marker=marker, linestyle="none", label=label)


def draw_least_squares(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the Rademacher complexity of least-squares heads against the number of features, and its law.

    Args:
        ax: the panel.
        records: rows of ``random_label_rademacher`` of one m and one kind of features.

    Returns:
        The means over seeds that are drawn, with ``half``, half of their 95 % interval.
    """
    curve = seed_curve(records, "d", "complexity")
    draw_points(ax, curve, "d", COLORS["test accuracy"], "o", "drawn labels")
    theory_curve(ax, _mean_of(records, "law"), "d", "law", label="law, or bound")
    ax.set(xlabel="features d [features]", ylabel="complexity [fraction]", ylim=(0, None))
    return curve


def draw_norm_bounded(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw the Rademacher complexity of heads of norm 1 against the number of features, and its bound.

    Args and returns: as :func:`draw_least_squares`.
    """
    curve = seed_curve(records, "d", "norm_bounded")
    draw_points(ax, curve, "d", COLORS["test accuracy"], "o", "drawn labels")
    theory_curve(ax, _mean_of(records, "norm_bound"), "d", "norm_bound", label="law, or bound")
    ax.set(xlabel="features d [features]", ylabel="complexity [value]", ylim=(0, None))
    return curve


def _mean_of(records: pd.DataFrame, column: str) -> pd.DataFrame:
    """A prediction that depends on the drawn features a little, as its mean over seeds."""
    return records.groupby("d")[[column]].mean().reset_index()


# ---- readings of trained heads

READINGS = {"online": "heads trained along", "frozen": "new heads"}
_WORDS = {"none": "plain training", "% noise": "% of classes by lot", "lambda ": "λ = "}


def in_symbols(records: pd.DataFrame) -> pd.DataFrame:
    """Return records whose arms are named as figures and tables name them."""
    names = records["arm"].astype(str)
    for word, shown in _WORDS.items():
        names = names.str.replace(word, shown, regex=False)
    return records.assign(arm=names)


def changes(records: pd.DataFrame, arm: str = "none") -> pd.DataFrame:
    """Return the arms but one with ``online_change`` and ``frozen_change``, within seed and site.

    Args:
        records: rows of ``random_label_heads`` with a column ``arm``.
        arm: what the others are compared with.
    """
    place = ["seed", "depth"]
    base = records[records["arm"] == arm].set_index(place)[list(READINGS)].add_suffix("_base")
    joined = records[records["arm"] != arm].join(base, on=place)
    gaps = {f"{name}_change": joined[name] - joined[f"{name}_base"] for name in READINGS}
    return joined.drop(columns=base.columns).assign(**gaps)


def draw_readings(ax: Axes, records: pd.DataFrame, chance: float) -> pd.DataFrame:
    """Draw both readings of each arm, a row an arm, and chance.

    Args:
        ax: the panel.
        records: rows of ``random_label_heads`` with a column ``arm``, one site.
        chance: 1/n.

    Returns:
        The means over seeds that are drawn.
    """
    shown = dumbbells(ax, records, list(READINGS), words=list(READINGS.values()))
    reference_line(ax, chance, "guessing", axis="x")
    ax.set(xlabel="random-label accuracy [fraction]", ylabel="training [name]", xlim=(-0.02, 1.02))
    return shown


def draw_changes(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw how far both readings move from those of plain training, a row an arm.

    Args:
        ax: the panel.
        records: rows of :func:`changes`.

    Returns:
        The means over seeds that are drawn.
    """
    shown = dumbbells(ax, records, [f"{name}_change" for name in READINGS], words=list(READINGS.values()))
    ax.axvline(0, color=COLORS["reference"], linewidth=1.2)
    ax.set(xlabel="change against plain training [difference]", ylabel="training [name]")
    return shown


def draw_over_epochs(ax: Axes, records: pd.DataFrame) -> None:
    """Draw both readings against the epochs that a training is long, with test accuracy."""
    colors = {"online": COLORS["spurious accuracy"], "frozen": COLORS["covariance"]}
    for name, words in READINGS.items():
        curve_with_band(ax, records, "epochs", name, label=words, color=colors[name])
    curve_with_band(
        ax, records, "epochs", "test", label="test accuracy", color=COLORS["test accuracy"], marker="s"
    )
    ax.set(xlabel="length of training [epochs]", ylabel="accuracy [fraction]", ylim=(-0.03, 1.03))
    log_ticks(ax, records["epochs"])


def draw_by_depth(axes: Sequence[Axes], records: pd.DataFrame) -> None:
    """Draw the frozen and the online reading and a probe of the classes against depth, a line an arm.

    Args:
        axes: three panels.
        records: rows of ``random_label_heads`` with a column ``arm``, several sites.
    """
    words = {"frozen": "random labels [fraction]", "online": "random labels [fraction]"}
    for ax, column in zip(axes, ("frozen", "online", "class_probe"), strict=True):
        draw_arms(ax, records, "depth", column)
        ax.set(
            xlabel="depth [layers]", ylabel=words.get(column, "classes, test [fraction]"), ylim=(-0.03, 1.03)
        )
        ax.set_xticks(sorted(records["depth"].unique()))


def draw_strengths(axes: Sequence[Axes], records: pd.DataFrame) -> None:
    """Draw what unlearning does with its strength: both readings, and accuracy in training and test.

    Args:
        axes: two panels.
        records: rows of ``random_label_heads`` with ``strength``, 0 for plain training, and ``chance``.
    """
    colors = {"online": COLORS["spurious accuracy"], "frozen": COLORS["covariance"]}
    for name, words in READINGS.items():
        curve_with_band(axes[0], records, "strength", name, label=words, color=colors[name])
    reference_line(axes[0], float(records["chance"].iloc[0]), "guessing")
    for name, words, color, marker in (
        ("train", "classes, training", INK, "s"), ("test", "classes, test", COLORS["test accuracy"], "o"),
    ):  # fmt: skip
        curve_with_band(axes[1], records, "strength", name, label=words, color=color, marker=marker)
    axes[0].set(ylabel="random-label accuracy [fraction]", ylim=(-0.02, None))
    axes[1].set(ylabel="accuracy [fraction]", ylim=(None, 1.01))
    for ax in axes:
        _strength_axis(ax, records["strength"])


def draw_by_strength(axes: Sequence[Axes], records: pd.DataFrame, columns: Mapping[str, str]) -> None:
    """Draw quantities against the strength of unlearning, a panel a quantity and a line an arm.

    Args:
        axes: one panel for each quantity.
        records: with ``strength``, ``seed`` and ``arm``, what is compared.
        columns: the quantities, and what their axes are called.
    """
    for ax, (column, words) in zip(axes, columns.items(), strict=True):
        draw_arms(ax, records, "strength", column)
        ax.set_ylabel(words)
        _strength_axis(ax, records["strength"])


def _strength_axis(ax: Axes, strengths: pd.Series) -> None:
    """A logarithmic axis of strengths, with 0 at its left end where it was measured."""
    log_ticks_from_zero(ax, strengths)
    if strengths.min() == 0:
        ax.set_xlim(left=-0.15 * strengths[strengths > 0].min())
    ax.set_xlabel("strength λ [ratio]")


# ---- what heads are good for: planted examples and members

LOOKS = ("start", "early", "end")
FOUND_BY = {
    "loss": "loss", "leverage": "leverage", "new_heads": "new heads", "online_heads": "heads trained along",
}  # fmt: skip
TOLD_BY = {
    "online_heads": "heads, labels known", "loss": "loss", "sure_heads": "heads, how sure they are",
}  # fmt: skip


def at_looks(records: pd.DataFrame) -> pd.DataFrame:
    """Return rows of ``planted_examples`` with ``look``: ``start``, ``early`` or ``end`` of the training.

    Args:
        records: each seed at its beginning, one early epoch and its end.

    Raises:
        ValueError: for another number of looks.
    """
    if records.empty:  # nothing is recorded yet
        return records.reindex(columns=[*records.columns, "look"])
    epochs = sorted(records["epoch"].unique().tolist())
    if len(epochs) != len(LOOKS):
        raise ValueError(f"looks at epochs {epochs}; give the beginning, one early epoch and the end")
    return records.assign(look=records["epoch"].map(dict(zip(epochs, LOOKS, strict=True))))


def draw_found(axes: Sequence[Axes], records: pd.DataFrame) -> pd.DataFrame:
    """Draw how well each score finds planted examples, early and at the end: a panel a kind, a row a score.

    Args:
        axes: one panel for each kind that was planted.
        records: rows of :func:`at_looks`.

    Returns:
        The means over seeds that are drawn, with ``planted``.
    """
    early = int(records.loc[records["look"] == "early", "epoch"].iloc[0])
    means = records[records["score"].isin(FOUND_BY) & (records["look"] != "start")]
    least = means.groupby(["planted", "look", "score"])["auroc"].mean().min()
    drawn = []
    for ax, (kind, one) in zip(axes, records.groupby("planted", sort=False), strict=True):
        wide = one.pivot(index=["score", "seed"], columns="look", values="auroc")
        rows = wide.reindex(list(FOUND_BY), level="score").rename_axis(columns=None).reset_index()
        rows = rows.assign(arm=rows["score"].map(FOUND_BY))
        words = ("end of training", f"epoch {early}")
        drawn.append(dumbbells(ax, rows, ["end", "early"], words=words).assign(planted=kind))
        ax.set(
            xlabel="area under the ROC curve [fraction]",
            ylabel="score [name]",
            xlim=(min(0.48, least - 0.02), 1.02),
        )
        reference_line(ax, 0.5, "guessing", axis="x")
        name_panel(ax, str(kind))
    return pd.concat(drawn, ignore_index=True)


def draw_members(ax: Axes, records: pd.DataFrame) -> pd.DataFrame:
    """Draw how well scores tell training images from test images, against the strength of unlearning.

    Args:
        ax: the panel.
        records: rows of ``unlearned_members``, strength 0 for heads that look on.

    Returns:
        The means over seeds that are drawn.
    """
    shown = pd.concat(
        [records[records["score"] == name].assign(arm=words) for name, words in TOLD_BY.items()]
    )
    curves = draw_arms(ax, shown, "strength", "auroc")
    reference_line(ax, 0.5, "guessing")
    _strength_axis(ax, shown["strength"])
    ax.set_ylabel("area under ROC [fraction]")
    return curves
