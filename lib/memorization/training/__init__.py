"""How it learns: one loop for one network or many stacked, and what it is asked to make small."""

from memorization.training.loop import Fit, TrainingError, fit
from memorization.training.objectives import OBJECTIVES, cross_entropy, mean_squared_error, objective
from memorization.training.recipe import Recipe
from memorization.training.views import LabelledViews

__all__ = [
    "OBJECTIVES",
    "Fit",
    "LabelledViews",
    "Recipe",
    "TrainingError",
    "cross_entropy",
    "fit",
    "mean_squared_error",
    "objective",
]
