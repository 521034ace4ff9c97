"""How far a student is from its teacher."""

import pytest
import torch

from memorization.studies.feature_contamination.distillation import distillation_error, total_variance


def representations(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_a_perfect_student_has_error_0_and_one_that_gives_the_mean_error_1():
    teacher = representations(2, 50, 4)
    assert distillation_error(teacher, teacher).tolist() == [0, 0]
    mean = teacher.mean(1, keepdim=True).expand_as(teacher)
    assert distillation_error(mean, teacher).tolist() == pytest.approx([1, 1])


def test_the_error_does_not_depend_on_the_scale_of_the_representation():
    student, teacher = representations(2, 50, 4)
    small = distillation_error(student * 0.01, teacher * 0.01)
    assert small.item() == pytest.approx(distillation_error(student, teacher).item(), rel=1e-4)


def test_the_unit_can_be_the_variance_on_other_examples():
    student, teacher, other = representations(3, 50, 4)
    error = distillation_error(student, teacher, total_variance(other))
    expected = (student - teacher).square().sum(1).mean() / other.var(0, correction=0).sum()
    assert error.item() == pytest.approx(expected.item())


def test_a_teacher_that_gives_one_representation_for_all_is_refused():
    with pytest.raises(
        ValueError, match="cannot normalize the distillation error: the teacher gives the same"
    ):
        distillation_error(representations(5, 3), torch.ones(5, 3))


def test_representations_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"the student gives \(5, 3\) and the teacher \(5, 2\)"):
        distillation_error(torch.zeros(5, 3), torch.zeros(5, 2))
