"""Batch-norm statistics of a network set by one pass over images, with no change of a weight."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from memorization.measures.evaluation import check_batch, device_of


def calibrated(model: nn.Module, images: Tensor, batch: int = 1024) -> nn.Module:
    """Copy a network and set its batch-norm statistics to their averages over one pass.

    An untrained network has running mean 0 and variance 1, that is no normalization at all, which moves the
    k-NN probe at initialization by several percentage points, up or down. Benign or malign is judged against
    that probe, so it is measured on a calibrated copy.

    Each layer sees batches normalized by their own statistics, as in training, and stores the average of the
    batches' means and (unbiased) variances, weighted by the batches' sizes. Everything else, such as
    dropout, is in evaluation mode.

    Args:
        model: any network; it is not changed. Without batch norm the copy is equal to it.
        images: shape (n, ...), un-augmented training images; at least two for batch norm on vectors.
        batch: largest number of images per forward pass; the images are split into nearly equal batches.

    Returns:
        A deep copy with the same weights and modes on the same device.
    """
    check_batch(images, batch)
    twin = copy.deepcopy(model)
    norms = [
        module
        for module in twin.modules()
        if isinstance(module, _BatchNorm) and module.running_mean is not None  # else there is nothing to set
    ]
    if norms:
        _one_pass(twin, norms, images, batch)
    return twin


def _one_pass(model: nn.Module, norms: list[_BatchNorm], images: Tensor, batch: int) -> None:
    modes = [(module, module.training) for module in model.modules()]
    momenta = [norm.momentum for norm in norms]
    device, seen = device_of(model, images), 0
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
    with torch.no_grad():
        for part in images.tensor_split(-(-len(images) // batch)):
            seen += len(part)
            for norm in norms:
                norm.momentum = len(part) / seen  # makes the running value the weighted average so far
            model(part.to(device))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for module, training in modes:
        module.training = training
