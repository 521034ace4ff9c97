"""Which pictures are shown: those of a group with the largest self-influence, found by their ids."""

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure

from memorization.data.groups import GroupedSet, GroupedSplits
from memorization.studies.pitfalls_of_memorization import figures
from memorization.studies.pitfalls_of_memorization.figures import draw_most_memorized

GROUPS = {(0, 0): "landbird, land", (1, 1): "waterbird, water"}
IDS = [50, 10, 40, 20, 30, 60]
LABELS = [0, 0, 1, 1, 0, 1]
ATTRIBUTES = [0, 0, 1, 1, 0, 0]


def test_photographs_are_found_by_id_and_ordered_by_influence(monkeypatch):
    pixels = torch.tensor(IDS, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    columns = [torch.tensor(one) for one in (LABELS, ATTRIBUTES, IDS)]
    part = GroupedSet(pixels, *columns, 2, 2, "made")
    monkeypatch.setattr(figures, "waterbirds64", lambda root: GroupedSplits(part, part, part))
    scores = pd.DataFrame({"id": IDS, "label": LABELS, "attribute": ATTRIBUTES})
    scores["influence"] = [0.1, 0.9, 0.2, 0.3, 0.5, 1.0]
    axes = Figure().subplots(1, 2)
    shown = draw_most_memorized(axes, scores, "waterbirds64", GROUPS)
    assert shown["id"].tolist() == [10, 30, 50, 20, 40]
    assert shown["group"].tolist() == ["landbird, land"] * 3 + ["waterbird, water"] * 2
    drawn = np.asarray(axes[0].images[0].get_array())
    assert [round(255 * drawn[3, 3 + 6 * k, 0]) for k in range(3)] == [10, 30, 50]
