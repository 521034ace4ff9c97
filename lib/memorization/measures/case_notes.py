"""What to read with care in a report on a network of one's own, in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from scipy.stats import chi2
from torch import Tensor

from memorization.measures.site_table import Data

_SURPRISE = 1e-4  # probability below which labels are not taken as random


def notes(data: Data, k: int, *, drawn: bool, without_policy: bool, left_out: Mapping[str, str]) -> list[str]:
    """Return sentences on the labels, the neighbors and what could not be measured.

    Args:
        data: checked images and labels.
        k: neighbors of the probes.
        drawn: whether the initial network was drawn anew.
        without_policy: whether there was no augmentation.
        left_out: direct children of the network that are no sites, with the reason.
    """
    per_class = len(data.images) / int(data.true_labels.max() + 1)
    memorized, true = data.labels.cpu(), data.true_labels.cpu()
    agreement = float((memorized == true).double().mean())
    one = len(memorized.unique()) == 1
    children = ", ".join(f"{name} ({reason})" for name, reason in left_out.items())
    found = {
        f"k={k} neighbors are more than the {per_class:.0f} training images per class: every k-NN probe "
        "reads low; compare probes of one k only": k > per_class,
        f"{agreement:.0%} of the memorized labels are the true ones, and they tell the true classes: the "
        "noise probe and the verdict are about random labels": not one and _depend(memorized, true),
        "all memorized labels are one class: there was nothing to memorize, and every probe finds it": one,
        "all true labels are one class: the clean and the linear probe find it in any network": len(
            true.unique()
        )
        == 1,
        "the initial network was drawn by reset_parameters; if the trained one began otherwise, give it as "
        "initial": drawn,
        "no policy was given: neither fresh views nor invariance were measured": without_policy,
        f"no sites are the direct children {children}; name others as sites": bool(left_out),
    }
    return [sentence for sentence, holds in found.items() if holds]


def _depend(memorized: Tensor, true: Tensor) -> bool:
    """Whether the labels tell the true classes, by Pearson's chi-square of their table.

    It sees any dependence, such as true labels under other names, which agree nowhere.
    """
    rows, columns = (values.unique(return_inverse=True)[1] for values in (memorized, true))
    height, width = int(rows.max()) + 1, int(columns.max()) + 1
    table = (rows * width + columns).bincount(minlength=height * width).view(height, width).double()
    expected = table.sum(1, keepdim=True) * table.sum(0, keepdim=True) / len(rows)
    freedom = (height - 1) * (width - 1)
    chi_square = float(((table - expected).square() / expected).sum())
    return freedom > 0 and bool(chi2.sf(chi_square, freedom) < _SURPRISE)
