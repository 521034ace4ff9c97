"""Tables that figures and claims on feature contamination read, from the records of ``contaminate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from memorization.data.structured import MEAN_WEIGHT
from memorization.measures.contamination import growth_ratio, predicted_growth_ratio, predicted_margin

_SETTINGS = ["activation", "slope", "rate", "decay", "init_scale", "mean", "flip"]
_SETTINGS += ["environment", "penalty", "symmetric", "center"]


def runs_of(records: pd.DataFrame) -> list[str]:
    """Return the columns that tell one network of ``contaminate`` from another, those that there are."""
    sizes = ["core", "background", "labels", "width", "ambient", "initialization", "examples", "steps"]
    return [name for name in [*sizes, "loss", "optimizer", *_SETTINGS, "seed"] if name in records]


def feature_ends(records: pd.DataFrame) -> pd.DataFrame:
    """Return one row per network: its last step at shift -1, and what it started from.

    Args:
        records: of a sweep over ``contaminate``.

    Returns:
        The rows of the last steps, with ``gap`` (out-of-distribution risk minus risk in distribution),
        ``accuracy_gap`` (accuracy in distribution minus outside), ``b_over_c``, and ``norm_growth`` (the
        background's norm over its value before training, NaN where step 0 was not recorded). No records give
        none, here and below.
    """
    if records.empty:
        return records
    at = records[records["shift"] == -1]
    ends = at[at["step"] == at["steps"]].copy()
    ends["gap"] = ends["ood_risk"] - ends["id_risk"]
    ends["accuracy_gap"] = ends["id_accuracy"] - ends["ood_accuracy"]
    ends["b_over_c"] = ends["b_plus"] / ends["c_plus"]
    keys = runs_of(records)
    start = at[at["step"] == 0].groupby(keys, dropna=False)["background_norm"].first().rename("start_norm")
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
        of the student and ``error_ratio``, the second over the first.
    """
    if records.empty:
        return records
    measured = ("model", "id_accuracy", "ood_accuracy", "id_error", "ood_error")
    keys = [c for c in records if c not in measured and not str(c).startswith("_")]
    named = records.assign(**{str(key): records[key].map(_hashable) for key in keys})
    student = named[named["model"] == "student"]
    out = student[[*keys, "id_error", "ood_error"]].copy()
    out["error_ratio"] = out["ood_error"] / np.maximum(out["id_error"], 1e-12)
    for model in (name for name in models if (named["model"] == name).any()):
        one = named[named["model"] == model][[*keys, "id_accuracy", "ood_accuracy"]]
        columns = {"id_accuracy": f"{model}_id", "ood_accuracy": f"{model}_ood"}
        out = out.merge(one.rename(columns=columns), how="left", on=keys)
    return out.reset_index(drop=True)


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
