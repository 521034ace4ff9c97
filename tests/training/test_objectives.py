"""Objectives: one number for each stacked network."""

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from memorization.training.objectives import cross_entropy, mean_squared_error, objective

SOURCE = torch.Generator().manual_seed(0)
OUTPUTS = torch.randn(2, 5, 3, generator=SOURCE, dtype=torch.float64)
LABELS = torch.randint(3, (2, 5), generator=SOURCE)
NUMBERS = torch.arange(5).expand(2, 5)


def test_squared_error_is_pytorchs_on_one_hot_targets():
    targets = F.one_hot(LABELS, 3).double()
    expected = [F.mse_loss(o, t).item() for o, t in zip(OUTPUTS, targets, strict=True)]
    assert mean_squared_error(OUTPUTS, LABELS, NUMBERS).tolist() == pytest.approx(expected)
    assert mean_squared_error(OUTPUTS, targets, NUMBERS).tolist() == pytest.approx(expected)


def test_squared_error_of_knowing_nothing():
    ones = torch.full((1, 7, 10), 0.1)
    assert mean_squared_error(ones, torch.zeros(1, 7, dtype=torch.int64), NUMBERS).item() == pytest.approx(
        0.09
    )


def test_cross_entropy_is_pytorchs():
    expected = [F.cross_entropy(o, y).item() for o, y in zip(OUTPUTS, LABELS, strict=True)]
    assert cross_entropy(OUTPUTS, LABELS, NUMBERS).tolist() == pytest.approx(expected)
    soft = torch.full((2, 5, 3), 1 / 3, dtype=torch.float64)
    expected = [F.cross_entropy(o, t).item() for o, t in zip(OUTPUTS, soft, strict=True)]
    assert cross_entropy(OUTPUTS, soft, NUMBERS).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [mean_squared_error, cross_entropy])
def test_losses_of_half_precision_are_in_float32(loss):
    assert loss(OUTPUTS.bfloat16(), LABELS, NUMBERS).dtype == torch.float32


def test_an_unknown_objective_is_refused():
    with pytest.raises(ValueError, match=r"unknown objective 'mae'; .*choose one of mse, cross_entropy"):
        objective("mae")
