"""Networks by name, as a parameter file names them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from memorization.data.words import did_you_mean
from memorization.models.resnet import resnet18, resnet50
from memorization.models.small import mlp, small_cnn
from memorization.models.staged import StagedNetwork

_MAKERS: dict[str, Callable[..., StagedNetwork]] = {
    "small_cnn": small_cnn,
    "mlp": mlp,
    "resnet18_small": partial(resnet18, stem="small"),
    "resnet18_medium": partial(resnet18, stem="medium"),
    "resnet18": partial(resnet18, stem="imagenet"),
    "resnet50": resnet50,
}

NETWORKS = tuple(_MAKERS)


def network(name: str, *, generator: torch.Generator | None, **options: Any) -> StagedNetwork:
    """Make a network by its name.

    Args:
        name: ``small_cnn`` or ``mlp``, see :func:`memorization.models.small.small_cnn` and
            :func:`memorization.models.small.mlp`; ``resnet18_small`` (CIFAR), ``resnet18_medium`` (64x64) or
            ``resnet18`` (ImageNet's stem), see :func:`memorization.models.resnet.resnet18`; ``resnet50``.
        generator: source of the initial weights; None leaves the network without storage.
        **options: options of that network, such as ``classes`` and ``hidden``.

    Returns:
        The network.

    Raises:
        ValueError: for an unknown name or values that do not fit.
        TypeError: for an option that the network does not have, or lacks.
    """
    if name not in _MAKERS:
        raise ValueError(
            f"unknown network {name!r}{did_you_mean(name, NETWORKS)}; choose one of {', '.join(NETWORKS)}"
        )
    make = _MAKERS[name]
    fixed = make.keywords if isinstance(make, partial) else {}
    known = {key: p for key, p in inspect.signature(make).parameters.items() if key != "generator"}
    allowed = [key for key in known if key not in fixed]
    for option in options:
        if option not in allowed:
            raise TypeError(
                f"{name} has no option {option!r}{did_you_mean(option, allowed)}; it has {', '.join(allowed)}"
            )
    for key in allowed:
        if known[key].default is inspect.Parameter.empty and key not in options:
            raise TypeError(f"{name} needs the option {key!r}")
    return make(generator=generator, **options)
