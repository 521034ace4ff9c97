"""The line of standard models, and how far above it a model lies."""

import numpy as np
import pytest
import torch

from memorization.studies.feature_contamination.tables import (
    RobustnessLine,
    effective_robustness,
    robustness_line,
)

STANDARD = [0.56, 0.58, 0.69, 0.72, 0.76, 0.78]


def on_line(accuracies, intercept=-1.2, slope=0.9):
    x = np.array(accuracies)
    return 1 / (1 + np.exp(-(intercept + slope * np.log(x / (1 - x)))))


def test_a_line_that_the_models_lie_on_is_found():
    line = robustness_line(STANDARD, on_line(STANDARD))
    assert line.intercept == pytest.approx(-1.2, abs=1e-12)
    assert line.slope == pytest.approx(0.9, abs=1e-12)


def test_the_fit_is_that_of_least_squares_between_logits():
    ood = np.random.default_rng(0).uniform(0.2, 0.5, 6)
    slope, intercept = np.polyfit(
        np.log(np.array(STANDARD) / (1 - np.array(STANDARD))), np.log(ood / (1 - ood)), 1
    )
    line = robustness_line(torch.tensor(STANDARD, dtype=torch.float64), torch.tensor(ood))
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept), abs=1e-12)


def test_the_residual_is_in_units_of_accuracy():
    line = robustness_line(STANDARD, on_line(STANDARD))
    above = effective_robustness([0.6, 0.73], on_line([0.6, 0.73]) + np.array([0.2, -0.05]), line)
    assert above.tolist() == pytest.approx([0.2, -0.05], abs=1e-12)


def test_residuals_of_the_standard_models_themselves_average_to_zero_between_logits():
    ood = [0.3, 0.2, 0.35, 0.45, 0.4, 0.5]
    line = robustness_line(STANDARD, ood)
    residuals = torch.logit(torch.tensor(ood, dtype=torch.float64)) - torch.logit(line.expected(STANDARD))
    assert residuals.mean().item() == pytest.approx(0, abs=1e-12)


def test_equal_odds_are_expected_of_the_identity_line():
    assert RobustnessLine(0.0, 1.0).expected([0.3, 0.9]).tolist() == pytest.approx([0.3, 0.9])


@pytest.mark.parametrize("wrong", [0.0, 1.0, 76.1])
def test_an_accuracy_that_has_no_logit_is_refused(wrong):
    with pytest.raises(ValueError, match=rf"ood_accuracy has {wrong}; allowed: .* strictly between 0 and 1"):
        robustness_line(STANDARD[:2], [0.5, wrong])


@pytest.mark.parametrize("accuracies", [[0.5], [0.5, 0.5]])
def test_models_of_one_accuracy_give_no_line(accuracies):
    with pytest.raises(ValueError, match="at least two different ones are needed"):
        robustness_line(accuracies, [0.4, 0.3][: len(accuracies)])


def test_lists_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="2 accuracies without shift and 1 under shift"):
        effective_robustness([0.5, 0.6], [0.4], RobustnessLine(0.0, 1.0))
