from dataclasses import replace

import pytest
import torch

from memorization.data.synthetic import check_floating, linear_core_task


def make(**changes):
    return linear_core_task(**({"n_train": 40, "n_test": 30, "d": 12, "alpha": 0.25, "seed": 0} | changes))


def test_the_query_keeps_the_spurious_part_and_renews_the_core():
    task = make()
    assert torch.equal(task.spurious[:, 9:], task.train[:, 9:])
    assert not bool((task.spurious[:, :9] == task.train[:, :9]).any())
    assert task.spurious_columns.tolist() == [False] * 9 + [True] * 3
    assert task.alpha == 0.25


def test_the_label_is_a_linear_function_of_the_core_alone():
    task = make(n_train=2000, d=6, alpha=0.5)
    weights = torch.linalg.lstsq(task.train, task.labels[:, None]).solution[:, 0]
    assert weights[3:].abs().max() < 0.1 * weights[:3].norm()
    agreement = ((task.train[:, :3] @ weights[:3]).sign() == task.labels).float().mean()
    assert agreement > 0.97


def test_spheres_have_exact_norms_of_both_parts():
    task = make(law="spheres", dtype=torch.float64)
    for rows in (task.train, task.spurious, task.test):
        assert torch.allclose(rows[:, :9].norm(dim=1), torch.full((len(rows),), 3.0, dtype=torch.float64))
        assert torch.allclose(
            rows[:, 9:].norm(dim=1), torch.full((len(rows),), 3.0**0.5, dtype=torch.float64)
        )


def test_a_smaller_task_is_the_beginning_of_a_larger_one():
    small, large = make(n_train=10), make(n_train=40)
    assert torch.equal(small.train, large.train[:10])
    assert torch.equal(small.spurious, large.spurious[:10])
    assert torch.equal(small.labels, large.labels[:10])
    assert torch.equal(small.test, large.test)


def test_another_seed_gives_another_task():
    assert not torch.equal(make(seed=0).train, make(seed=1).train)


@pytest.mark.parametrize(("alpha", "size"), [(0.0, 0), (1.0, 12), (0.01, 0), (0.99, 12), (-0.2, -2)])
def test_alpha_must_leave_a_core_and_a_spurious_coordinate(alpha, size):
    with pytest.raises(
        ValueError, match=f"at least one core and one spurious coordinate; got d_y={size} of d=12"
    ):
        make(alpha=alpha)


def test_an_unknown_law_lists_the_choices():
    with pytest.raises(ValueError, match="unknown law 'cube'; choose one of gaussian, spheres"):
        make(law="cube")


def test_empty_sets_are_refused():
    with pytest.raises(ValueError, match="n_train=0; allowed: a whole number, 1 or more"):
        make(n_train=0)


def test_a_query_with_another_spurious_part_is_refused():
    task = make()
    with pytest.raises(ValueError, match=r"share its spurious part \(max difference 1\)"):
        replace(task, spurious=task.spurious + 1.0, train=task.train.clone())


def test_queries_that_are_not_aligned_are_refused():
    task = make()
    with pytest.raises(
        ValueError, match=r"row-aligned with the training set: got \(7, 12\) against \(40, 12\)"
    ):
        replace(task, spurious=task.spurious[:7])


@pytest.mark.parametrize("columns", [torch.arange(6, 12), torch.ones(12), torch.ones(11, dtype=torch.bool)])
def test_spurious_columns_that_are_not_one_bool_a_coordinate_are_refused(columns):
    with pytest.raises(ValueError, match=r"spurious_columns are .*; allowed: one bool per coordinate"):
        replace(make(), spurious_columns=columns)


def test_labels_of_one_class_are_refused():
    task = make()
    with pytest.raises(
        ValueError, match=r"need both classes: every label is \[1.0\]; for real-valued targets"
    ):
        replace(task, labels=torch.ones(40), test_labels=torch.ones(30))


def test_bytes_are_not_silently_converted():
    with pytest.raises(TypeError, match=r"train has type torch.uint8; convert it to floating point first"):
        check_floating("train", torch.zeros(2, 3, dtype=torch.uint8))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_the_first_entry_that_is_not_finite_is_named(bad):
    rows = torch.zeros(4, 3)
    rows[2, 1] = bad
    with pytest.raises(ValueError, match=f"test holds {bad} at row 2, column 1"):
        check_floating("test", rows)
