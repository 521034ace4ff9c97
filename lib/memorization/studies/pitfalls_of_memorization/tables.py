"""Tables of the page on the pitfalls of memorization: means, pairs, chosen draws, the literature's rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from IPython.display import HTML

from memorization.data.labels import label_digest
from memorization.measures.scores import ExampleScores
from memorization.report.tables import check_once, file_links

if TYPE_CHECKING:
    from memorization.runs.start import Run

_SELECTED = {"annotated groups": "annotated_worst", "inferred groups": "inferred_worst"}
_BY = {"annotated groups": "validation_annotated", "inferred groups": "validation_inferred"}


def mean_influence(scores: pd.DataFrame) -> pd.DataFrame:
    """Return the mean self-influence of majority and minority: one row per method, ``minority`` (0 or 1) and
    seed.

    Args:
        scores: rows of ``linear_influence``, ``group_influence`` or ``bird_influence``; those without an
            estimate are left out of the mean.
    """
    known = [name for name in ("method", "arm", "exception", "seed") if name in scores]
    return scores.groupby(known, sort=False)["influence"].mean().reset_index()


_NO_ARGUMENTS = {
    "method", "methods", "seed", "id", "label", "attribute", "exception", "influence", "arm", "group",
    "data_root",
}  # fmt: skip


def influence_scores(scores: pd.DataFrame, dataset: str) -> dict[int, ExampleScores]:
    """Return self-influence as tables by example, one for each seed, to be joined with other scores by id.

    Args:
        scores: rows of ``group_influence`` or ``bird_influence``, one for each image, method and seed.
        dataset: name of the data set.

    Returns:
        By seed: ``label``, ``attribute``, and for each method M ``self_influence_M``, in [-1, 1] (NaN without
        an estimate). The digest of the data set is its name and that of its ids, labels and attributes: draws
        of digits differ in these. How a column was made tells the arguments of the experiment.

    Raises:
        ValueError: a method that has no row of an example of its seed, or two.
    """
    found = {}
    for seed in scores["seed"].unique().tolist():
        rows = scores[scores["seed"] == seed]
        check_once(rows, ["id", "method"])
        wide = rows.pivot(index="id", columns="method", values="influence")
        known = rows.drop_duplicates("id").set_index("id").loc[wide.index]
        if len(rows) != wide.size:
            raise ValueError(
                f"{len(rows)} rows of {len(wide)} examples and {wide.shape[1]} methods at seed {seed}; give "
                "one for each example and method"
            )
        ids, label, attribute = (
            torch.tensor(column.tolist()) for column in (wide.index, known["label"], known["attribute"])
        )
        arguments = {
            str(name): values.tolist()[0]
            for name, values in rows.items()
            if not str(name).startswith("_") and name not in _NO_ARGUMENTS
        }
        columns = {"label": label, "attribute": attribute}
        made: dict[str, Any] = {"label": dataset, "attribute": dataset}
        for method in rows["method"].unique():
            columns[f"self_influence_{method}"] = torch.tensor(wide[method].tolist(), dtype=torch.float64)
            made[f"self_influence_{method}"] = {**arguments, "method": method, "seed": seed}
        digest = f"{dataset}-{label_digest(ids, 2 * label + attribute)}"
        found[seed] = ExampleScores(digest, ids, columns, made)
    return found


def offer_scores(run: Run, scores: pd.DataFrame, dataset: str) -> HTML:
    """Store the tables of :func:`influence_scores` beside the figures' data, and return links to them.

    Args:
        run: the started run.
        scores: as there.
        dataset: likewise; begins the files' names.
    """
    files = {}
    for seed, one in influence_scores(scores, dataset).items():
        files[f"draw {seed}"] = f"{dataset}_scores_{seed}.csv"
        one.save(run.figures_folder / files[f"draw {seed}"])
    return file_links(run, "Self-influence to download, one row an image and one column a method", files)


def paired_gap(records: pd.DataFrame, by: str, one: str = "mat", other: str = "erm") -> pd.DataFrame:
    """Return the difference of two methods' worst-group accuracies: one row per value of ``by`` and seed.

    Args:
        records: rows of ``group_methods``.
        by: what changes, such as ``minority``.
        one: the method.
        other: the method that is taken off.

    Returns:
        ``by``, ``seed`` and ``gap``.
    """
    wide = records.pivot_table("test_worst", [by, "seed"], "method").reset_index()
    return wide.assign(gap=wide[one] - wide[other])[[by, "seed", "gap"]]


def at_chosen_draw(records: pd.DataFrame, by: Sequence[str] = ()) -> pd.DataFrame:
    """Return, for each method and seed, the hyper-parameter draw that its validation groups choose.

    Args:
        records: rows of ``color_mnist_draw`` or ``benchmark_methods``, several draws of each method and seed.
        by: further columns within which a draw is chosen.

    Returns:
        One row per selection (by annotated or inferred groups), method and seed: ``test_worst`` is then the
        test set's worst group at the chosen draw and step. Ties go to the draw with the smaller number.
    """
    chosen = []
    for selection, column in _BY.items():
        ranked = records.sort_values([column, "draw"], ascending=[False, True], kind="stable")
        best = ranked.groupby([*by, "method", "seed"], sort=False).head(1)
        chosen.append(best.assign(selection=selection, test_worst=best[_SELECTED[selection]]))
    table = pd.concat(chosen, ignore_index=True)
    return table.sort_values(["selection", "method", "seed"], kind="stable", ignore_index=True)


def draws_again(first: pd.DataFrame, more: pd.DataFrame) -> pd.DataFrame:
    """Return what the draws that were chosen at a first seed give at all seeds, as the published protocol
    does.

    Args:
        first: rows of ``color_mnist_draw`` of all draws and one seed.
        more: rows of the chosen draws at several seeds.

    Returns:
        The rows of :func:`at_chosen_draw`, one for each seed of ``more``.
    """
    picked = at_chosen_draw(first)[["selection", "method", "draw"]]
    found = picked.merge(more, on=["method", "draw"])
    columns = found["selection"].map(_SELECTED)
    return found.assign(
        test_worst=[row[name] for (_, row), name in zip(found.iterrows(), columns, strict=True)]
    )


# As the XRM repository carries them (read_results.py): average / worst group in percent, and where groups
# are annotated.
_LITERATURE = (
    ("validation", "ERM", "97.3 / 72.6", "95.6 / 47.2", "82.4 / 67.9", "83.1 / 69.5"),
    ("validation", "LfF", "91.2 / 78.0", "85.1 / 77.2", "80.8 / 70.2", "68.2 / 50.3"),
    ("validation", "EIIL", "96.9 / 78.7", "89.5 / 77.8", "79.4 / 70.0", "90.5 / 67.0"),
    ("validation", "JTT", "93.3 / 86.7", "88.0 / 81.1", "78.6 / 72.6", "83.3 / 64.3"),
    ("validation", "CnC", "90.9 / 88.5", "89.9 / 88.8", "–", "–"),
    ("validation", "AFR", "94.4 / 90.4", "91.3 / 82.0", "81.4 / 73.4", "89.8 / 68.7"),
    ("none", "LfF", "86.6 / 75.0", "81.1 / 53.0", "71.4 / 57.3", "69.1 / 42.2"),
    ("none", "EIIL", "90.8 / 64.5", "95.7 / 41.7", "80.3 / 64.7", "–"),
    ("none", "JTT", "88.9 / 71.2", "95.9 / 48.3", "81.4 / 65.1", "79.0 / 51.0"),
    ("none", "LS", "91.2 / 86.1", "87.2 / 83.3", "78.7 / 72.1", "–"),
    ("none", "BAM", "91.4 / 89.1", "88.4 / 80.1", "80.3 / 70.8", "88.3 / 79.3"),
)
# XRM's own table, as quoted in its public reviews: worst group of GroupDRO with inferred and with human
# groups.
_QUOTED = (
    ("none", "XRM + GroupDRO (quoted)", "– / 88.1", "– / 89.1", "– / 72.1", "– / 72.2"),
    ("all", "GroupDRO (quoted)", "– / 86.5", "– / 88.3", "– / 73.4", "– / 73.8"),
)


def literature() -> pd.DataFrame:
    """Return the literature's rows: method, where groups are annotated, average / worst group in percent."""
    names = ["groups annotated in", "method", "Waterbirds", "CelebA", "MultiNLI", "CivilComments"]
    rows = pd.DataFrame([*_LITERATURE, *_QUOTED], columns=names)
    return rows[["method", *[name for name in names if name != "method"]]]
