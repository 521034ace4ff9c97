"""Scores by example: joined by id, never by place, and files that are whole or absent."""

import os

import pytest
import torch

from memorization.measures.scores import ExampleScores, read_scores

IDS = torch.tensor([7, 2, 40])


def scores(dataset="d1", ids=IDS, **columns):
    columns = columns or {"stability": torch.tensor([0.7, 0.2, 4.0])}
    return ExampleScores(dataset, ids, columns, {name: {"seed": 0} for name in columns})


def test_scores_are_looked_up_by_id_in_the_order_asked_for():
    found = scores(logits=torch.arange(6).view(3, 2)).at(torch.tensor([40, 7]))
    assert found.ids.tolist() == [40, 7]
    assert found.columns["logits"].tolist() == [[4, 5], [0, 1]]


def test_the_first_absent_example_is_named():
    with pytest.raises(KeyError, match=r"example 3 has no scores \(2 of 3 have none\)"):
        scores().at(torch.tensor([2, 3, 99]))


def test_a_join_is_by_id_whatever_the_order():
    other = scores(ids=torch.tensor([1, 40, 2, 7]), loss=torch.tensor([1, 40, 2, 7]))
    both = scores().join(other)
    assert both.ids.tolist() == [7, 2, 40]
    assert both.columns["loss"].tolist() == [7, 2, 40]
    assert set(both.made) == {"stability", "loss"}


def test_an_example_that_the_other_lacks_is_named():
    with pytest.raises(KeyError, match="example 40 has no scores"):
        scores().join(scores(ids=IDS[:2], loss=torch.ones(2)))


def test_scores_of_another_data_set_are_not_joined():
    with pytest.raises(ValueError, match="scores of two data sets are not joined: d1 and d2"):
        scores().join(scores("d2", loss=torch.ones(3)))


def test_a_column_that_both_have_is_refused():
    with pytest.raises(ValueError, match=r"both have the columns \['stability'\]"):
        scores().join(scores())


@pytest.mark.parametrize(
    "column",
    [
        torch.tensor([0.1, float("nan"), -0.0], dtype=torch.float64),
        torch.tensor([1 / 3, 1e-40, float("inf")]),
        torch.tensor([[0.1, 2.0], [3.0, 4.0], [5.0, 6.0]], dtype=torch.bfloat16),
        torch.tensor([2**62, -1, 0]),
        torch.tensor([True, False, True]),
        torch.tensor([[True], [False], [True]]),
    ],
    ids=str,
)
def test_a_file_gives_back_the_same_bits(tmp_path, column):
    digest = scores(x=column).save(tmp_path / "x.csv")
    found = read_scores(tmp_path / "x.csv", digest)
    assert found.columns["x"].dtype == column.dtype
    assert found.columns["x"].shape == column.shape
    assert torch.equal(found.columns["x"].nan_to_num(-5), column.nan_to_num(-5))
    assert (found.dataset, found.ids.tolist(), found.made) == ("d1", [7, 2, 40], {"x": {"seed": 0}})
    assert found.digest == digest


def test_a_file_of_other_scores_than_the_record_names_is_refused(tmp_path):
    scores(loss=torch.ones(3)).save(tmp_path / "x.csv")
    with pytest.raises(ValueError, match=r"has the digest \w+, the record \w+: it holds other scores"):
        read_scores(tmp_path / "x.csv", scores().digest)


@pytest.mark.parametrize(
    "change", [lambda t: t[:-3], lambda t: t.replace("0.2", "0.3"), lambda t: t + "8,1\n"]
)
def test_a_damaged_file_is_refused(tmp_path, change):
    path = tmp_path / "x.csv"
    scores().save(path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=r"x.csv is damaged \(its checksum does not fit\); write it anew"):
        read_scores(path)


def test_another_file_is_no_file_of_scores(tmp_path):
    (tmp_path / "x.csv").write_text("id,loss\n1,2\n")
    with pytest.raises(
        ValueError, match="is no file of example scores that this code reads; it begins 'id,loss'"
    ):
        read_scores(tmp_path / "x.csv")


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"x.csv is no file of example scores: it is no text"):
        read_scores(tmp_path / "x.csv")


def test_a_full_disk_leaves_what_was_there_and_no_half_of_a_file(tmp_path, monkeypatch):
    path = tmp_path / "x.csv"
    scores().save(path)
    before = path.read_text()

    def full(*paths):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"scores were not written \(No space left on device\).*x.csv"):
        scores(loss=torch.ones(3)).save(path)
    assert path.read_text() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.csv"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"ids": torch.tensor([7, 2, 7])}, ValueError, "example 7 is there twice; give each example once"),
        ({"ids": IDS.int()}, TypeError, r"ids are torch.int32 of shape \(3,\); allowed: int64"),
        ({"ids": IDS.numpy()}, TypeError, "ids: got a ndarray; allowed: a tensor"),
        ({"ids": IDS[:0], "x": torch.ones(0)}, ValueError, "scores of no example; give at least one"),
        ({"x": torch.ones(2)}, ValueError, r"x has shape \(2,\) .* for 3 examples; allowed: real numbers"),
        ({"x": torch.ones(3).numpy()}, TypeError, "x: got a ndarray; allowed: a tensor"),
        ({"id": torch.ones(3)}, ValueError, "a column is named 'id'; allowed: a word such as"),
    ],
)
def test_what_cannot_be_joined_by_id_is_refused(change, error, message):
    with pytest.raises(error, match=message):
        scores(**change)


def test_a_column_of_which_it_is_not_said_how_it_was_made_is_refused():
    with pytest.raises(
        ValueError, match=r"columns are \['loss'\], made tells of \[\]; say of each column how"
    ):
        ExampleScores("d1", IDS, {"loss": torch.ones(3)}, {})
