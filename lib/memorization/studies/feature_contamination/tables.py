"""Tables that figures and claims on feature contamination read, from the records of its experiments.

Growth and margins of the structured feature model; effective robustness, which is accuracy under shift beyond
what the accuracy without shift lets one expect; students of CLIP, their teachers and standard models side by
side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from memorization.checks import check_choice
from memorization.studies.feature_contamination.data import MEAN_WEIGHT
from memorization.studies.feature_contamination.theory import (
    growth_ratio,
    predicted_growth_ratio,
    predicted_margin,
)

_SETTINGS = ["activation", "slope", "rate", "decay", "init_scale", "mean", "flip"]
_SETTINGS += ["environment", "penalty", "symmetric", "center"]


def runs_of(records: pd.DataFrame) -> list[str]:
    """Return the columns that tell one network of ``contaminate`` from another, those that there are."""
    sizes = ["core", "background", "labels", "width", "ambient", "initialization", "examples", "steps"]
    return [name for name in [*sizes, "loss", "optimizer", *_SETTINGS, "seed"] if name in records]


def feature_ends(records: pd.DataFrame, at: str = "end") -> pd.DataFrame:
    """Return one row per network: its last step at shift -1, and what it started from.

    Args:
        records: of a sweep over ``contaminate``.
        at: ``end`` of the training, or ``start``: the same networks untrained, which learned no feature.

    Returns:
        The rows of the last steps (or of step 0), with ``gap`` (out-of-distribution risk minus risk in
        distribution), ``accuracy_gap`` (accuracy in distribution minus outside), ``b_over_c``, and
        ``norm_growth`` (the background's norm over its value before training, NaN where step 0 was not
        recorded). No records give none, here and below.

    Raises:
        ValueError: another ``at``.
    """
    check_choice("at", at, ("start", "end"))
    if records.empty:
        return records
    shifted = records[records["shift"] == -1]
    ends = shifted[shifted["step"] == (shifted["steps"] if at == "end" else 0)].copy()
    ends["gap"] = ends["ood_risk"] - ends["id_risk"]
    ends["accuracy_gap"] = ends["id_accuracy"] - ends["ood_accuracy"]
    ends["b_over_c"] = ends["b_plus"] / ends["c_plus"]
    keys = runs_of(records)
    start = (
        shifted[shifted["step"] == 0]
        .groupby(keys, dropna=False)["background_norm"]
        .first()
        .rename("start_norm")
    )
    ends = ends.merge(start, how="left", left_on=keys, right_index=True)
    ends["norm_growth"] = ends["background_norm"] / ends["start_norm"]
    return ends.reset_index(drop=True)


def growth_table(records: pd.DataFrame, first: int = 10, last: int = 30) -> pd.DataFrame:
    """Return how much faster background grew than core, beside what activation asymmetry predicts.

    Args:
        records: of a sweep over ``contaminate``, recorded at ``first``, at ``last`` and, if possible,
            between.
        first: step from which growth counts.
        last: step to which it counts.

    Returns:
        One row per network of a piecewise linear activation: ``activation``, ``slope``, ``seed``,
        ``measured``, ``predicted`` (from firing probabilities averaged over the recorded steps between),
        ``own``, ``other`` and ``error``, measured minus predicted. The prediction is for linear labels
        and backgrounds as they are; it is NaN where an arm changes them.

    Raises:
        ValueError: if a step was not recorded.
    """
    window = records[records["step"].between(first, last) & (records["shift"] == -1)].dropna(subset="slope")
    rows = []
    for _, one in window.groupby(runs_of(records), dropna=False, sort=False):
        steps = one.set_index("step").sort_index()
        for step in (first, last):
            if step not in steps.index:
                raise ValueError(f"step {step} was not recorded; add it to record_at")
        grown = {name: steps[name].to_dict() for name in ("c_plus", "b_plus")}
        start, end = ({name: float(by_step[at]) for name, by_step in grown.items()} for at in (first, last))
        measured, slope = growth_ratio(start, end), float(one["slope"].iloc[0])
        own, other = steps["own"].mean(), steps["other"].mean()
        row: dict[Any, Any] = one.iloc[0].to_dict()
        plain = _is_plain(row) and row["mean"] == 0
        predicted = predicted_growth_ratio(own, other, slope) if plain else np.nan
        names = {name: one[name].iloc[0] for name in ("activation", "slope", "seed")}
        numbers = {"measured": measured, "predicted": predicted, "own": own, "other": other}
        rows.append({**names, **numbers, "error": measured - predicted})
    return pd.DataFrame(rows)


def margin_table(records: pd.DataFrame) -> pd.DataFrame:
    """Return the mean margin at each tested shift, beside what the correlations alone predict.

    Args:
        records: of a sweep over ``contaminate``, with several shifts after the last step.

    Returns:
        The rows of the last step of piecewise linear activations, with ``predicted`` and ``error`` (measured
        minus predicted margin). The prediction is for networks of the theory, linear labels and no remedy,
        else NaN; it holds while the neurons of an example's class fire.
    """
    last = records[records["step"] == records["steps"]].dropna(subset="slope").copy()
    last["predicted"] = [_predicted(row) for row in last.to_dict("records")]
    last["error"] = last["ood_margin"] - last["predicted"]
    return last.reset_index(drop=True)


def _is_plain(row: Mapping[Any, Any]) -> bool:
    """Whether neither labels nor what is done to the training inputs change what the formulas assume."""
    changed = row["flip"] != 0 or row["environment"] != 1 or row["symmetric"] or row["center"]
    return not changed and row.get("labels", "linear") == "linear"


def _predicted(row: Mapping[Any, Any]) -> float:
    if not _is_plain(row) or row.get("initialization", "theory") != "theory":
        return float("nan")
    c, b = (row["c_plus"] - row["c_minus"]) / 2, (row["b_plus"] + row["b_minus"]) / 2
    sizes = (row["core"], row["background"], row["shift"])
    mean = MEAN_WEIGHT - row["mean"]
    return predicted_margin(c, b, *sizes, slope=row["slope"], background_mean=mean)


def model_table(
    records: pd.DataFrame, models: Sequence[str] = ("teacher", "student", "standard")
) -> pd.DataFrame:
    """Lay the models of a distillation side by side: one row for each seed (and setting).

    Args:
        records: of a sweep over ``distil`` or ``distil_pictures``, one row per seed and model.
        models: which, of those that there are.

    Returns:
        For each model ``MODEL_id`` and ``MODEL_ood``, accuracies of its probe; ``id_error`` and ``ood_error``
        of the student and ``error_ratio``, the second over the first. The columns of provenance are those of
        the student's records.
    """
    if records.empty:
        return records
    measured = ("model", "id_accuracy", "ood_accuracy", "id_error", "ood_error")
    provenance = [c for c in records if str(c).startswith("_")]
    keys = [c for c in records if c not in measured and c not in provenance]
    named = records.assign(**{str(key): records[key].map(_hashable) for key in keys})
    student = named[named["model"] == "student"]
    out = student[[*keys, "id_error", "ood_error", *provenance]].copy()
    out["error_ratio"] = out["ood_error"] / np.maximum(out["id_error"], 1e-12)
    for model in (name for name in models if (named["model"] == name).any()):
        one = named[named["model"] == model][[*keys, "id_accuracy", "ood_accuracy"]]
        columns = {"id_accuracy": f"{model}_id", "ood_accuracy": f"{model}_ood"}
        out = out.merge(one.rename(columns=columns), how="left", on=keys)
    return out.reset_index(drop=True)


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


Accuracies = Tensor | Sequence[float]


@dataclass(frozen=True)
class RobustnessLine:
    """The accuracy under shift that standard models of a given accuracy have.

    Attributes:
        intercept: b0 of ``logit(out) = b0 + b1 logit(in)``.
        slope: b1.
    """

    intercept: float
    slope: float

    def expected(self, id_accuracy: Accuracies) -> Tensor:
        """Return the accuracy under shift on the line, shape of ``id_accuracy`` (M,), float64 in (0, 1)."""
        return torch.sigmoid(self.intercept + self.slope * _logit(id_accuracy, "id_accuracy"))


def robustness_line(id_accuracy: Accuracies, ood_accuracy: Accuracies) -> RobustnessLine:
    """Fit the line of standard models by least squares between the logits of their accuracies.

    Taori et al. (NeurIPS 2020), section 2; Miller et al. (ICML 2021).

    Args:
        id_accuracy: shape (M,), in (0, 1), of M >= 2 standard models without shift.
        ood_accuracy: shape (M,), in (0, 1), of the same models under shift.

    Returns:
        The line.

    Raises:
        ValueError: for accuracies outside (0, 1), different lengths, or fewer than two different models.
    """
    x, y = _pair(id_accuracy, ood_accuracy)
    spread = (x - x.mean()).square().sum()
    if len(x) < 2 or spread == 0:
        raise ValueError(
            f"{len(x)} standard models of {x.unique().numel()} different accuracies give no line; "
            "at least two different ones are needed"
        )
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread
    return RobustnessLine(float(y.mean() - slope * x.mean()), float(slope))


def effective_robustness(id_accuracy: Accuracies, ood_accuracy: Accuracies, line: RobustnessLine) -> Tensor:
    """Return how far models lie above the line of standard models, in units of accuracy.

    Taori et al. (NeurIPS 2020), equation 1: ``out - expected(in)``. 0.1 are ten percentage points more than a
    standard model of the same accuracy without shift.

    Args:
        id_accuracy: shape (M,), in (0, 1), of any models without shift.
        ood_accuracy: shape (M,), in (0, 1), under shift.
        line: of standard models, from :func:`robustness_line`.

    Returns:
        Shape (M,), float64 in (-1, 1).

    Raises:
        ValueError: for accuracies outside (0, 1) or different lengths.
    """
    _pair(id_accuracy, ood_accuracy)
    return torch.as_tensor(ood_accuracy, dtype=torch.float64) - line.expected(id_accuracy)


def _pair(id_accuracy: Accuracies, ood_accuracy: Accuracies) -> tuple[Tensor, Tensor]:
    x, y = _logit(id_accuracy, "id_accuracy"), _logit(ood_accuracy, "ood_accuracy")
    if x.shape != y.shape:
        raise ValueError(
            f"{len(x)} accuracies without shift and {len(y)} under shift; give both of each model"
        )
    return x, y


def _logit(accuracy: Accuracies, name: str) -> Tensor:
    values = torch.as_tensor(accuracy, dtype=torch.float64)
    outside = ~((values > 0) & (values < 1))
    if values.ndim != 1 or bool(outside.any()):
        wrong = values[outside][0].item() if bool(outside.any()) else tuple(values.shape)
        raise ValueError(
            f"{name} has {wrong}; allowed: a list of fractions strictly between 0 and 1 (no percentages; at "
            "0 and 1 the logit is infinite: leave such models out)"
        )
    return torch.logit(values)


_KEYS = ["architecture", "seed", "model"]


def clip_table(distilled: pd.DataFrame, standard: pd.DataFrame, unshifted: str = "val") -> pd.DataFrame:
    """Return one row per model and shifted set, beside its accuracy without shift.

    Zhang et al. (ICML 2024), motivating scatter: accuracy under shift against accuracy without, for probes
    on pre-trained representations, probes on distilled ones, and standard models.

    Args:
        distilled: records of ``distil_clip``.
        standard: records of ``standard_accuracies``; may be empty.
        unshifted: the set without shift.

    Returns:
        ``architecture`` (the name of a standard model), ``seed``, ``model`` (``teacher``, ``student`` or
        ``standard``), ``set``, ``id_accuracy``, ``ood_accuracy``, ``gap``, and ``effective_robustness`` over
        the line of the standard models on that set (NaN with fewer than two of them).
    """
    others = standard.assign(architecture=standard.get("model"), model="standard")
    parts = [part for part in (distilled, others) if not part.empty]
    if not parts:
        return pd.DataFrame()
    both = pd.concat(parts, ignore_index=True)
    at_home = both[both["set"] == unshifted].set_index(_KEYS)["accuracy"].rename("id_accuracy")
    moved = both[both["set"] != unshifted].rename(columns={"accuracy": "ood_accuracy"})
    found = moved.merge(at_home, left_on=_KEYS, right_index=True)[
        [*_KEYS, "set", "id_accuracy", "ood_accuracy"]
    ]
    found["gap"] = found["id_accuracy"] - found["ood_accuracy"]
    sets = [_with_robustness(part) for _, part in found.groupby("set", sort=False)]
    return pd.concat(sets, ignore_index=True)


def _with_robustness(one: pd.DataFrame) -> pd.DataFrame:
    """Fit the line of standard models on one set; accuracies of 0 and 1 have no logit and are left out."""
    inside = one[["id_accuracy", "ood_accuracy"]].gt(0).all(axis=1)
    inside &= one[["id_accuracy", "ood_accuracy"]].lt(1).all(axis=1)
    standard = one[inside & (one["model"] == "standard")]
    robustness = pd.Series(float("nan"), index=one.index)
    if standard["id_accuracy"].nunique() >= 2:
        line = robustness_line(standard["id_accuracy"].tolist(), standard["ood_accuracy"].tolist())
        kept = one[inside]
        values = effective_robustness(kept["id_accuracy"].tolist(), kept["ood_accuracy"].tolist(), line)
        robustness[inside] = values.numpy()
    return one.assign(effective_robustness=robustness)
