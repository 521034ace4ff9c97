"""What it memorized: stability, feature alignment, accuracies, probes, and the formulas that predict them."""

from memorization.measures.accuracy import auc, covariance, mean_squared_error, sign_accuracy
from memorization.measures.arms import checkpoint_folders, core_arms, longest_first, one_row_per_run, scale
from memorization.measures.calibration import calibrated
from memorization.measures.curve import Model, curve, measure, solve
from memorization.measures.distilling_pictures import distil_pictures, distillation_error
from memorization.measures.features import site_features
from memorization.measures.framing import train_framed
from memorization.measures.initial import redrawn
from memorization.measures.invariance import invariance
from memorization.measures.linear import linear_probe
from memorization.measures.memorized import bank_accuracy, memorization_accuracies
from memorization.measures.memorizing import memorize
from memorization.measures.nearest import Neighbors, knn_probe, nearest, noise_probe
from memorization.measures.own_case import MemorizationReport, memorization_report
from memorization.measures.pixels import pixel_probe
from memorization.measures.probe import Probe
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
from memorization.measures.verdict import Verdict, paired_interval, verdict

__all__ = [
    "MemorizationReport",
    "Model",
    "Neighbors",
    "Prediction",
    "Probe",
    "Profile",
    "Stability",
    "Verdict",
    "alignment",
    "alignment_few_examples",
    "alignment_lower_bound",
    "alignment_many_examples",
    "auc",
    "bank_accuracy",
    "calibrated",
    "checkpoint_folders",
    "core_arms",
    "covariance",
    "curve",
    "distil_pictures",
    "distillation_error",
    "example_scores",
    "feature_alignment",
    "identity_check",
    "image_curve",
    "invariance",
    "kernel_profile",
    "knn_probe",
    "leave_one_out_residuals",
    "linear_probe",
    "longest_first",
    "mean_squared_error",
    "measure",
    "memorization_accuracies",
    "memorization_report",
    "memorize",
    "nearest",
    "negative_control",
    "noise_probe",
    "one_row_per_run",
    "paired_interval",
    "pixel_probe",
    "predict_synthetic",
    "redrawn",
    "scale",
    "sign_accuracy",
    "site_features",
    "solve",
    "stability",
    "synthetic_curve",
    "theory_curve",
    "train_framed",
    "unexplained_fraction",
    "verdict",
]
