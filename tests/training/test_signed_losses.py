"""Losses on labels -1 and +1, and their derivatives."""

import pytest
import torch

from memorization.training.objectives import SIGNED_LOSSES, signed_loss


def outputs_and_labels():
    outputs = torch.linspace(-3, 3, 25, dtype=torch.float64).repeat(2)  # margins of exactly 1 are among them
    labels = torch.cat([torch.ones(25), -torch.ones(25)]).double()
    return outputs.view(2, 25, 1).clone(), labels.view(2, 25, 1)


@pytest.mark.parametrize("name", SIGNED_LOSSES)
def test_derivatives_are_those_of_autograd(name):
    loss = signed_loss(name)
    outputs, labels = outputs_and_labels()
    outputs.requires_grad_()
    (expected,) = torch.autograd.grad(loss.value(outputs, labels).sum(), outputs)
    torch.testing.assert_close(loss.derivative(outputs.detach(), labels), expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("hinge", [0.0, 0.5, 3.0]), ("logistic", [0.126928, 0.474077, 2.126928]), ("squared", [1.0, 0.25, 9.0])],
)
def test_losses_at_three_margins(name, expected):
    outputs = torch.tensor([2.0, -0.5, -2.0]).view(1, 3, 1)
    labels = torch.tensor([1.0, -1.0, 1.0]).view(1, 3, 1)
    assert signed_loss(name).value(outputs, labels)[0].tolist() == pytest.approx(expected, abs=1e-6)


def test_the_logistic_loss_does_not_overflow():
    outputs, labels = torch.full((1, 1, 1), -200.0), torch.ones(1, 1, 1)
    assert signed_loss("logistic").value(outputs, labels).item() == pytest.approx(200)
    assert signed_loss("logistic").derivative(outputs, labels).item() == pytest.approx(-1)


def test_losses_of_several_outputs_are_summed():
    outputs, targets = torch.zeros(2, 5, 3), torch.ones(2, 5, 3)
    assert torch.equal(signed_loss("squared").value(outputs, targets), torch.full((2, 5), 3.0))


def test_an_unknown_loss_is_refused():
    with pytest.raises(
        ValueError, match=r"unknown loss 'hing'; did you mean 'hinge'.*hinge, logistic, squared"
    ):
        signed_loss("hing")
