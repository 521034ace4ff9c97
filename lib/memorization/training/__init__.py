"""How it learns: one loop for one network or many stacked, and what it is asked to make small."""

from memorization.training.descending import descend
from memorization.training.descent import Descent
from memorization.training.distillation import Distilled, fit_to_teacher
from memorization.training.linear_head import fit_linear_head
from memorization.training.loop import Fit, TrainingError, fit
from memorization.training.objectives import OBJECTIVES, cross_entropy, mean_squared_error, objective
from memorization.training.recipe import Recipe
from memorization.training.signed_losses import SIGNED_LOSSES, SignedLoss, signed_loss
from memorization.training.views import LabelledViews
from memorization.training.warm_descent import WarmDescent, WarmRecipe

__all__ = [
    "OBJECTIVES",
    "SIGNED_LOSSES",
    "Descent",
    "Distilled",
    "Fit",
    "LabelledViews",
    "Recipe",
    "SignedLoss",
    "TrainingError",
    "WarmDescent",
    "WarmRecipe",
    "cross_entropy",
    "descend",
    "fit",
    "fit_linear_head",
    "fit_to_teacher",
    "mean_squared_error",
    "objective",
    "signed_loss",
]
