"""How it learns: one loop for one network or many stacked, and what it is asked to make small."""

from memorization.training.descent import Descent, DescentRecipe
from memorization.training.distillation import Distilled, fit_to_teacher
from memorization.training.linear_head import fit_linear_head
from memorization.training.loop import Fit, TrainingError, fit
from memorization.training.objectives import OBJECTIVES, cross_entropy, mean_squared_error, objective
from memorization.training.recipe import Recipe
from memorization.training.views import LabelledViews

__all__ = [
    "OBJECTIVES",
    "Descent",
    "DescentRecipe",
    "Distilled",
    "Fit",
    "LabelledViews",
    "Recipe",
    "TrainingError",
    "cross_entropy",
    "fit",
    "fit_linear_head",
    "fit_to_teacher",
    "mean_squared_error",
    "objective",
]
