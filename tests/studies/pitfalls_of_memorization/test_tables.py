"""Tables of the page: self-influence by example, whose columns are joined by id."""

import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from memorization.measures.scores import read_scores
from memorization.studies.pitfalls_of_memorization.tables import influence_scores, offer_scores

LABELS, ATTRIBUTES = [0, 1, 1], [0, 0, 1]
VALUES = {(0, "erm"): [0.5, 0.25, math.nan], (0, "mat"): [0.0, 0.125, 1.0], (1, "erm"): [0.1, 0.2, 0.3]}


def made_rows(**changes):
    """Two draws of three images, the second by one method alone; ids in another order than the table's."""
    rows = []
    for (seed, method), values in VALUES.items():
        for place, value in enumerate(values):
            known = {"id": 9 - place, "label": LABELS[place], "attribute": ATTRIBUTES[place]}
            known["exception"] = int(known["label"] != known["attribute"])
            how = {"models": 4, "n_train": None, "data_root": "elsewhere", "_seconds": 2.0}
            rows.append({**how, "seed": seed, "method": method, **known, "influence": value, "arm": "x"})
    return pd.DataFrame(rows).assign(**changes)


def test_each_draw_has_a_row_an_image_and_a_column_a_method():
    found = influence_scores(made_rows(), "digits")
    assert list(found) == [0, 1]
    one = found[0].at(torch.tensor([9, 8, 7]))
    assert list(one.columns) == ["label", "attribute", "self_influence_erm", "self_influence_mat"]
    assert one.columns["label"].tolist() == LABELS
    assert one.columns["attribute"].tolist() == ATTRIBUTES
    for method in ("erm", "mat"):
        values = torch.tensor(VALUES[0, method], dtype=torch.float64)
        torch.testing.assert_close(one.columns[f"self_influence_{method}"], values, equal_nan=True)
    assert list(found[1].columns) == ["label", "attribute", "self_influence_erm"]


def test_what_is_known_of_a_column_are_arguments_without_paths():
    made = influence_scores(made_rows(), "digits")[1].made
    assert made["self_influence_erm"] == {"models": 4, "n_train": None, "method": "erm", "seed": 1}
    assert made["label"] == "digits"


def test_the_digest_tells_data_sets_and_draws_apart():
    def digests(name, **changes):
        return [one.dataset for one in influence_scores(made_rows(**changes), name).values()]

    usual = digests("digits")
    assert usual[0] == usual[1]
    assert usual[0].startswith("digits-")
    others = [digests("mnist"), digests("digits", label=1), digests("digits", attribute=1)]
    assert len({usual[0], *(one[0] for one in others)}) == 4


def test_tables_go_into_a_file_and_join_by_id(tmp_path):
    first, second = influence_scores(made_rows(), "digits").values()
    digest = first.save(tmp_path / "scores.csv")
    again = read_scores(tmp_path / "scores.csv", digest)
    torch.testing.assert_close(
        again.columns["self_influence_erm"], first.columns["self_influence_erm"], equal_nan=True
    )
    with pytest.raises(ValueError, match="both have the columns"):
        again.join(second)


def test_an_example_without_a_score_of_a_method_is_refused():
    with pytest.raises(ValueError, match="5 rows of 3 examples and 2 methods at seed 0; give one for each"):
        influence_scores(made_rows().drop(index=1), "digits")


def test_an_example_with_two_scores_of_a_method_is_refused():
    rows = made_rows()
    with pytest.raises(ValueError, match="more than one row for id=9, method=erm, seed=0"):
        influence_scores(pd.concat([rows, rows.head(1)]), "digits")


def test_the_tables_are_offered_as_files_that_can_be_read_again(tmp_path):
    run = SimpleNamespace(figures_folder=tmp_path, figures_href="figures/pitfalls")
    offered = offer_scores(run, made_rows(), "digits").data
    for seed, one in influence_scores(made_rows(), "digits").items():
        assert f'href="figures/pitfalls/digits_scores_{seed}.csv" download>draw {seed}</a>' in offered
        assert read_scores(tmp_path / f"digits_scores_{seed}.csv", one.digest).dataset == one.dataset
