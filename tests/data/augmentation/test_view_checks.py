"""What a policy of one's own gives back is looked at, and the policy is named."""

from functools import partial

import pytest
import torch
from torch import nn

from memorization.data.augmentation.policies import augmentation, check_views, policy_name

IMAGES = torch.rand(2, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def mine(images, draws, strength):
    return images


@pytest.mark.parametrize(
    ("policy", "name"),
    [
        (mine, "mine"),
        (partial(partial(mine), strength=2), "mine"),
        (augmentation("small_digits"), "small_digits"),
        (nn.Identity(), "Identity"),
    ],
)
def test_a_policy_is_called_by_its_name(policy, name):
    assert policy_name(policy) == name


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (IMAGES[:1], r"the policy 'mine' returned shape \(1, 1, 4, 4\) for images of shape \(2, 1, 4, 4\)"),
        (IMAGES * torch.nan, "the policy 'mine' returned NaN or Inf"),
        (IMAGES * torch.inf, "the policy 'mine' returned NaN or Inf"),
        (-IMAGES, r"the policy 'mine' returned values from -0\.\d+ to -0"),
    ],
)
def test_views_that_are_none_are_refused(views, message):
    with pytest.raises(ValueError, match=message):
        check_views(mine, IMAGES, views)


def test_the_range_may_be_left_open():
    check_views(mine, IMAGES, 3 * IMAGES, unit_range=False)


def test_a_last_bit_outside_the_range_is_rounding():
    check_views(mine, IMAGES, IMAGES.clamp(0.2).where(IMAGES < 0.9, torch.tensor(1.0001)))
