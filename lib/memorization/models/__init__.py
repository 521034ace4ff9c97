"""What learns: random-feature and neural-tangent regression, and networks split in named stages."""

from memorization.models.activations import ACTIVATIONS, FEATURE_MAPS, Activation, activation
from memorization.models.clip import CLIP_STUDENTS, ClipStudent, clip_student, clip_teacher, clip_weights
from memorization.models.features import GramBlocks, directions, explicit_features, gram_blocks
from memorization.models.hermite import hermite_coefficients, hermite_polynomials
from memorization.models.initialization import build, initialize
from memorization.models.kernels import infinite_width_kernel
from memorization.models.networks import NETWORKS, network
from memorization.models.parts import NORMS
from memorization.models.pointwise import POINTWISE, StackedActivation
from memorization.models.prediction import predict_random_features
from memorization.models.regression import Regression, Solution, fit
from memorization.models.resnet import STEMS, resnet18, resnet50
from memorization.models.small import mlp, small_cnn
from memorization.models.stacked import StackedNetwork
from memorization.models.staged import StagedNetwork
from memorization.models.two_layer import (
    TwoLayerNetworks,
    in_latent,
    normal_networks,
    pytorch_networks,
    theory_networks,
)

__all__ = [
    "ACTIVATIONS",
    "CLIP_STUDENTS",
    "FEATURE_MAPS",
    "NETWORKS",
    "NORMS",
    "POINTWISE",
    "STEMS",
    "Activation",
    "ClipStudent",
    "GramBlocks",
    "Regression",
    "Solution",
    "StackedActivation",
    "StackedNetwork",
    "StagedNetwork",
    "TwoLayerNetworks",
    "activation",
    "build",
    "clip_student",
    "clip_teacher",
    "clip_weights",
    "directions",
    "explicit_features",
    "fit",
    "gram_blocks",
    "hermite_coefficients",
    "hermite_polynomials",
    "in_latent",
    "infinite_width_kernel",
    "initialize",
    "mlp",
    "network",
    "normal_networks",
    "predict_random_features",
    "pytorch_networks",
    "resnet18",
    "resnet50",
    "small_cnn",
    "theory_networks",
]
