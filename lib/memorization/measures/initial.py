"""The untrained network that a trained one started from, or one drawn by the same laws."""

from __future__ import annotations

import copy

import torch
from torch import nn

from memorization.data.seeds import generator


def redrawn(model: nn.Module, seed: int) -> nn.Module:
    """Copy a network and draw its parameters anew by each submodule's ``reset_parameters``.

    These are PyTorch's own laws. A network with laws of its own (Kaiming by hand, say) should be kept
    untrained beside the trained one and given instead. The global generator is left as it was.

    Args:
        model: any network; it is not changed.
        seed: whole number >= 0.

    Returns:
        The untrained copy, with the same modes, on the same device.

    Raises:
        ValueError: naming the parameters that no ``reset_parameters`` sets.
    """
    twin = copy.deepcopy(model)
    devices = sorted({p.device.index for p in twin.parameters() if p.device.type == "cuda"})
    with torch.no_grad(), torch.random.fork_rng(devices=devices):
        torch.manual_seed(generator(seed, "initial weights").initial_seed())
        for parameter in twin.parameters():
            parameter.fill_(torch.nan)  # tells afterwards which were not set
        for module in twin.modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
    kept = [name for name, parameter in twin.named_parameters() if bool(parameter.isnan().any())]
    if kept:
        raise ValueError(
            f"no reset_parameters sets {', '.join(kept)}: keep a copy of the network before training and "
            "give it as the initial one"
        )
    return twin
