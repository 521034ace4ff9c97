"""What it memorized: stability, feature alignment, accuracies, probes, and the formulas that predict them."""

from memorization.measures.accuracy import auc, covariance, mean_squared_error, sign_accuracy
from memorization.measures.arms import checkpoint_folders, core_arms, longest_first, one_row_per_run, scale
from memorization.measures.background_correlation import background_correlation
from memorization.measures.calibration import calibrated
from memorization.measures.clip_distillation import distil_clip
from memorization.measures.clip_table import clip_table
from memorization.measures.contaminating import contaminate
from memorization.measures.contamination import (
    NeuronFeatures,
    firing,
    growth_ratio,
    predicted_growth_ratio,
    predicted_margin,
)
from memorization.measures.curve import Model, curve, measure, solve
from memorization.measures.distilling import distil
from memorization.measures.distilling_pictures import distil_pictures
from memorization.measures.effective_robustness import RobustnessLine, effective_robustness, robustness_line
from memorization.measures.feature_arms import FeatureArm
from memorization.measures.feature_tables import feature_ends, growth_table, margin_table, model_table
from memorization.measures.features import site_features
from memorization.measures.framing import train_framed
from memorization.measures.imitation import distillation_error, total_variance
from memorization.measures.initial import redrawn
from memorization.measures.invariance import invariance
from memorization.measures.linear import linear_probe
from memorization.measures.memorized import bank_accuracy, memorization_accuracies
from memorization.measures.memorizing import memorize
from memorization.measures.nearest import Neighbors, knn_probe, nearest, noise_probe
from memorization.measures.own_case import MemorizationReport, memorization_report
from memorization.measures.pixels import pixel_probe
from memorization.measures.probe import AbsentClassWarning, Probe
from memorization.measures.relations import check_relations
from memorization.measures.spurious import image_curve, synthetic_curve, theory_curve
from memorization.measures.spurious_checks import example_scores, identity_check, negative_control
from memorization.measures.stability import (
    Stability,
    feature_alignment,
    leave_one_out_residuals,
    stability,
)
from memorization.measures.standard_models import STANDARD_MODELS, standard_accuracies
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
    "STANDARD_MODELS",
    "AbsentClassWarning",
    "FeatureArm",
    "MemorizationReport",
    "Model",
    "Neighbors",
    "NeuronFeatures",
    "Prediction",
    "Probe",
    "Profile",
    "RobustnessLine",
    "Stability",
    "Verdict",
    "alignment",
    "alignment_few_examples",
    "alignment_lower_bound",
    "alignment_many_examples",
    "auc",
    "background_correlation",
    "bank_accuracy",
    "calibrated",
    "check_relations",
    "checkpoint_folders",
    "clip_table",
    "contaminate",
    "core_arms",
    "covariance",
    "curve",
    "distil",
    "distil_clip",
    "distil_pictures",
    "distillation_error",
    "effective_robustness",
    "example_scores",
    "feature_alignment",
    "feature_ends",
    "firing",
    "growth_ratio",
    "growth_table",
    "identity_check",
    "image_curve",
    "invariance",
    "kernel_profile",
    "knn_probe",
    "leave_one_out_residuals",
    "linear_probe",
    "longest_first",
    "margin_table",
    "mean_squared_error",
    "measure",
    "memorization_accuracies",
    "memorization_report",
    "memorize",
    "model_table",
    "nearest",
    "negative_control",
    "noise_probe",
    "one_row_per_run",
    "paired_interval",
    "pixel_probe",
    "predict_synthetic",
    "predicted_growth_ratio",
    "predicted_margin",
    "redrawn",
    "robustness_line",
    "scale",
    "sign_accuracy",
    "site_features",
    "solve",
    "stability",
    "standard_accuracies",
    "synthetic_curve",
    "theory_curve",
    "total_variance",
    "train_framed",
    "unexplained_fraction",
    "verdict",
]
