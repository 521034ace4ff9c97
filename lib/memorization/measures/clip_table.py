"""Students of CLIP, their teachers and standard models side by side, with their effective robustness."""

from __future__ import annotations

import pandas as pd

from memorization.measures.effective_robustness import effective_robustness, robustness_line

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
