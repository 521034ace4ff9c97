"""What does not fit is told at the first batch: a policy of one's own, outputs of another shape."""

from functools import partial

import pytest
import torch
from torch import nn

from memorization.data.augmentation.mixing import mixup
from memorization.data.augmentation.policies import augmentation
from memorization.draws import generator
from memorization.training.batches import LabelledViews
from memorization.training.recipe import Recipe
from memorization.training.train import train

N, C = 12, 3
IMAGES = torch.rand(N, 1, 8, 8, generator=generator(0, "images"))
LABELS = torch.randint(C, (2, N), generator=generator(0, "labels"))


class Counting(nn.Module):
    """A network that gives back whatever `answer` makes of its scores, and counts its calls."""

    def __init__(self, outputs=C, answer=lambda scores: scores, dropout=0.0):
        super().__init__()
        self.inner = nn.Sequential(nn.Flatten(), nn.Dropout(dropout), nn.Linear(64, outputs))
        self.answer = answer

    def forward(self, x):
        return self.answer(self.inner(x))


def trained(networks=None, recipe=Recipe(epochs=1, batch=6), objective="mse", **more):  # noqa: B008, never changed
    data = LabelledViews(IMAGES, LABELS, (0, 1), C, **more)
    return train([Counting(), Counting()] if networks is None else networks, data, objective, recipe)


def wrong_shape(images, draws, strength):
    return images[..., :4]


def not_a_number(images, draws, strength):
    return images / torch.zeros(1)


def standardized(images, draws, strength):
    return (images - 0.5) / 0.2


def a_list(images, draws, strength):
    return list(images)


def wider(images, draws, strength):
    return images.double()


def images_alone(images):
    return images


@pytest.mark.parametrize(
    ("policy", "error", "message"),
    [
        (
            wrong_shape,
            ValueError,
            r"'wrong_shape' returned shape \(12, 1, 8, 4\) for images of shape \(12, 1, 8, 8\)",
        ),
        (not_a_number, ValueError, "'not_a_number' returned NaN or Inf; return finite numbers"),
        (
            standardized,
            ValueError,
            r"'standardized' returned values from -2.\d+ to 2.\d+; allowed: \[0, 1\]: clamp",
        ),
        (partial(standardized), ValueError, r"the policy 'standardized' returned values"),
        (a_list, TypeError, "'a_list' returned list for images of torch.float32 on cpu; return a tensor"),
        (wider, TypeError, "'wider' returned torch.float64 on cpu for images of torch.float32 on cpu"),
        (
            images_alone,
            TypeError,
            r"'images_alone' is called as policy\(images, draws, strength=...\), .* failed:",
        ),
    ],
)
def test_a_policy_of_ones_own_is_named_with_what_it_returned(policy, error, message):
    with pytest.raises(error, match=message):
        trained(policy=policy)


@pytest.mark.parametrize(
    "policy", [augmentation("small_digits"), partial(augmentation("small_digits"), check=False)]
)
def test_the_librarys_own_policies_add_noise_and_clamp_nothing(policy):
    assert trained(policy=policy, strength=2.0).epochs == [1, 1]


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (
            lambda s: (s, s),
            TypeError,
            r"networks return a tuple in training mode; .* returns its scores alone",
        ),
        (
            lambda s: s[:, 0],
            ValueError,
            r"map 6 images to outputs of shape \(6,\); allowed: \(6, C\), one row",
        ),
        (lambda s: s[:3], ValueError, r"map 6 images to outputs of shape \(3, 3\); allowed: \(6, C\)"),
    ],
)
def test_outputs_that_are_no_row_of_scores_for_each_image_are_refused(answer, error, message):
    with pytest.raises(error, match=message):
        trained([Counting(answer=answer), Counting(answer=answer)])


@pytest.mark.parametrize("objective", ["mse", "cross_entropy"])
def test_fewer_outputs_than_classes_are_refused(objective):
    with pytest.raises(
        ValueError, match="networks have 2 outputs for 3 classes; give networks with 3 outputs"
    ):
        trained([Counting(2), Counting(2)], objective=objective)


def test_more_outputs_than_classes_are_allowed_but_not_with_mixed_labels():
    assert trained([Counting(5), Counting(5)]).epochs == [1, 1]
    with pytest.raises(
        ValueError, match="networks have 5 outputs, mixed labels 3 classes; give networks with 3"
    ):
        trained([Counting(5), Counting(5)], mix=partial(mixup, targets="mixed"))


def test_an_objective_of_ones_own_may_ask_for_one_output():
    def signs(outputs, labels, examples):
        return (outputs[..., 0] - labels).square().mean(1)

    assert trained([Counting(1), Counting(1)], objective=signs).epochs == [1, 1]


def test_the_look_draws_nothing_from_the_global_generator():
    networks = [Counting(dropout=0.5), Counting(dropout=0.5)]
    calls = []
    networks[0].answer = networks[1].answer = lambda scores: calls.append(torch.get_rng_state()) or scores
    before = torch.get_rng_state()
    trained(networks)
    torch.set_rng_state(before)
    torch.nn.functional.dropout(torch.ones(6, 64))
    after_one_dropout = torch.get_rng_state()
    assert torch.equal(calls[0], after_one_dropout)  # of the look, on a fork
    assert torch.equal(calls[1], after_one_dropout)  # of the first step, as if nobody had looked
