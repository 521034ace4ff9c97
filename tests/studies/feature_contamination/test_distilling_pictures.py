"""Teacher, student and standard network on colored grounds, in seconds."""

import pandas as pd
import pytest
import torch

from memorization.studies.feature_contamination.distillation import _bodies, _networks, distil_pictures

SMALL = {"train": 300, "test": 200, "width": 16, "batch": 32, "steps": 20, "teacher_steps": 30}


def table(seeds=(0, 1), **more):
    answers = distil_pictures(**{**SMALL, **more}, seeds=list(seeds))
    return pd.concat([pd.DataFrame(rows).assign(seed=s) for s, rows in zip(seeds, answers, strict=True)])


def test_each_seed_has_a_row_for_each_of_the_three_networks():
    rows = table()
    assert rows["model"].tolist() == ["teacher", "student", "standard"] * 2
    assert rows[["id_accuracy", "ood_accuracy"]].apply(lambda c: c.between(0, 1)).all(axis=None)
    assert (rows.loc[rows["model"] == "teacher", ["id_error", "ood_error"]] == 0).all(axis=None)
    assert (rows.loc[rows["model"] == "student", ["id_error", "ood_error"]] > 0).all(axis=None)
    assert rows.loc[rows["model"] == "standard", ["id_error", "ood_error"]].isna().all(axis=None)


def test_a_seed_gives_the_same_rows_alone_and_with_others():
    together = table(seeds=(0, 1)).query("seed == 1").reset_index(drop=True)
    pd.testing.assert_frame_equal(together, table(seeds=(1,)).reset_index(drop=True), rtol=0.02, atol=0.03)


def test_the_same_seed_gives_the_same_rows():
    pd.testing.assert_frame_equal(table(seeds=(3,)), table(seeds=(3,)))


def test_a_student_fits_its_teacher_better_the_longer_it_trains():
    short, long = (table(steps=steps, seeds=(0,)).query("model == 'student'") for steps in (1, 150))
    assert long["id_error"].item() < short["id_error"].item() / 2


def test_a_student_fails_where_its_teacher_does_not():
    rows = table(train=1500, width=48, batch=64, steps=250, teacher_steps=500, seeds=(0,)).set_index("model")
    assert rows.loc["teacher", "ood_accuracy"] > rows.loc["student", "ood_accuracy"] + 0.1
    assert rows.loc["student", "ood_error"] > 3 * rows.loc["student", "id_error"]


def test_student_and_standard_network_start_from_the_same_weights():
    stack = _networks([0, 1], "student", 16, "cpu")
    pictures = torch.rand(2, 5, 3, 14, 14)
    first = _bodies(stack)(pictures)
    assert torch.equal(first, _bodies(_networks([0, 1], "student", 16, "cpu"))(pictures))
    assert not torch.equal(first, _bodies(_networks([0, 1], "teacher", 16, "cpu"))(pictures))
    assert not torch.equal(first[0], first[1])


def test_a_teacher_that_died_in_training_stops_the_run():
    with pytest.raises(ValueError, match="same representation for all 300 examples; train it longer"):
        table(learning_rate=10.0)


def test_an_absent_mnist_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORIZATION_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="mnist"):
        table(digits="mnist")


def test_unknown_digits_are_refused():
    with pytest.raises(ValueError, match="unknown digits 'nmist'; did you mean 'mnist'"):
        table(digits="nmist")


@pytest.mark.parametrize("name", ["steps", "teacher_steps"])
def test_a_training_without_steps_is_refused(name):
    with pytest.raises(ValueError, match=f"{name}=0; allowed: a whole number of optimizer steps, 1 or more"):
        table(**{name: 0})


def test_a_ridge_that_no_probe_takes_is_refused_before_the_training():
    with pytest.raises(ValueError, match=r"ridge=0\.0; allowed: a finite number > 0"):
        table(ridge=0.0, teacher_steps=10**9)
