"""What it memorized: stability, feature alignment, accuracies, and the formulas that predict them."""

from memorization.measures.accuracy import auc, covariance, mean_squared_error, sign_accuracy
from memorization.measures.curve import Model, curve, measure, solve
from memorization.measures.spurious import image_curve, synthetic_curve, theory_curve
from memorization.measures.spurious_checks import example_scores, identity_check, negative_control
from memorization.measures.stability import (
    Stability,
    feature_alignment,
    leave_one_out_residuals,
    stability,
)
from memorization.measures.theory import (
    Profile,
    alignment,
    alignment_few_examples,
    alignment_lower_bound,
    alignment_many_examples,
    kernel_profile,
    unexplained_fraction,
)
from memorization.measures.theory_accuracy import Prediction, predict_synthetic

__all__ = [
    "Model",
    "Prediction",
    "Profile",
    "Stability",
    "alignment",
    "alignment_few_examples",
    "alignment_lower_bound",
    "alignment_many_examples",
    "auc",
    "covariance",
    "curve",
    "example_scores",
    "feature_alignment",
    "identity_check",
    "image_curve",
    "kernel_profile",
    "leave_one_out_residuals",
    "mean_squared_error",
    "measure",
    "negative_control",
    "predict_synthetic",
    "sign_accuracy",
    "solve",
    "stability",
    "synthetic_curve",
    "theory_curve",
    "unexplained_fraction",
]
