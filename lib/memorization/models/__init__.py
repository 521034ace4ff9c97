"""What learns: random-feature and neural-tangent regression."""

from memorization.models.activations import ACTIVATIONS, FEATURE_MAPS, Activation, activation
from memorization.models.features import GramBlocks, directions, explicit_features, gram_blocks
from memorization.models.hermite import hermite_coefficients, hermite_polynomials
from memorization.models.kernels import infinite_width_kernel
from memorization.models.prediction import predict_random_features
from memorization.models.regression import Regression, Solution, fit

__all__ = [
    "ACTIVATIONS",
    "FEATURE_MAPS",
    "Activation",
    "GramBlocks",
    "Regression",
    "Solution",
    "activation",
    "directions",
    "explicit_features",
    "fit",
    "gram_blocks",
    "hermite_coefficients",
    "hermite_polynomials",
    "infinite_width_kernel",
    "predict_random_features",
]
