"""A look at the losses of stacked networks."""

import math

import pytest
import torch

from memorization.training.train import LOOK_EVERY, LossWatch, TrainingError, check_finite_losses


def test_a_loss_that_is_not_finite_is_refused_with_its_step():
    losses = torch.tensor([[1.0, 1.0], [1.0, math.nan]])
    with pytest.raises(
        TrainingError, match="loss of network 1 became nan at step 12; lower the learning rate"
    ):
        check_finite_losses(losses, 12, "learning rate")


def add_until(watch, bad):
    for step in range(1, LOOK_EVERY + 8):
        watch.add(torch.tensor([math.inf if step == bad else 1.0]))


@pytest.mark.parametrize("bad", [1, LOOK_EVERY, LOOK_EVERY + 1, LOOK_EVERY + 7])
def test_every_step_is_looked_at_once(bad):
    watch = LossWatch(LOOK_EVERY + 7, "rate")
    with pytest.raises(TrainingError, match=rf"network 0 became inf at step {bad}; lower the rate, or look"):
        add_until(watch, bad)
