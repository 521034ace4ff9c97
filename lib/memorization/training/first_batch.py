"""A look at the first batch before anything is trained: what does not fit is told at once."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memorization.models.stacked import StackedNetwork
from memorization.training.recipe import Recipe
from memorization.training.views import LabelledViews


def check_first_batch(
    stack: StackedNetwork, views: LabelledViews, recipe: Recipe, *, one_output_per_class: bool
) -> None:
    """Show the first batch to the policy and to a copy of the first network; nothing that is trained moves.

    Args:
        stack: the networks, on the images' device.
        views: what they see.
        recipe: how they are trained.
        one_output_per_class: whether the objective compares output c with class c, as the named ones do.

    Raises:
        TypeError: if the policy cannot be called, or policy or network return no tensor.
        ValueError: if the policy's result is not one view of each image in [0, 1], or the network's not one
            row of at least C outputs for each image.
    """
    examples = views.order(0, recipe.batch)[:, 0]
    views.check_policy(examples)
    images, _ = views.batch(examples, 0)
    network = stack.member(0).train()
    devices = [images.device.index] if images.is_cuda else []
    # dropout draws from the global generator, which training finds as if nobody had looked
    with torch.no_grad(), torch.random.fork_rng(devices=devices), recipe.arithmetic(images.device):
        outputs = network(images[0])
    _check_outputs(outputs, len(images[0]), views, one_output_per_class)


def _check_outputs(outputs: Any, batch: int, views: LabelledViews, one_output_per_class: bool) -> None:
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the networks return a {type(outputs).__name__} in training mode; allowed: one tensor of "
            "outputs of shape (B, C): wrap the network, so that it returns its scores alone"
        )
    if outputs.ndim != 2 or len(outputs) != batch:
        raise ValueError(
            f"the networks map {batch} images to outputs of shape {tuple(outputs.shape)}; "
            f"allowed: ({batch}, C), one row for each image"
        )
    count = outputs.shape[1]
    if one_output_per_class and count < views.classes:
        raise ValueError(
            f"the networks have {count} outputs for {views.classes} classes; give networks with "
            f"{views.classes} outputs"
        )
    if one_output_per_class and views.mix is not None and count != views.classes:
        raise ValueError(
            f"the networks have {count} outputs, mixed labels {views.classes} classes; give networks with "
            f"{views.classes} outputs"
        )
