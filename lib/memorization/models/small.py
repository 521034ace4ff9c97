"""Small networks that one CPU core trains in seconds: a convolutional network and a multilayer perceptron.

They are the laptop-scale stand-ins for the encoder of Anagnostidis et al. (ICLR 2023). Only plain layers in
chains are used, so that many networks of one shape can be stacked and trained as one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import nn

from memorization.models.initialization import build
from memorization.models.parts import check_channels, check_sizes, make_projector, normalization
from memorization.models.staged import StagedNetwork


def small_cnn(
    *,
    channels: int = 1,
    widths: Sequence[int] = (16, 32, 64),
    strides: Sequence[int] = (1, 2, 2),
    classes: int = 10,
    hidden: Sequence[int] = (1024,),
    bias: bool = True,
    norm: str = "batch",
    generator: torch.Generator | None,
) -> StagedNetwork:
    """Make a small convolutional network for images of any side.

    Each block is a 3x3 convolution (padding 1, no bias), normalization and ReLU; the embedding is the mean
    over all places. The sites are ``conv1``, ``conv2``..., ``embedding``, the hidden layers and ``logits``;
    the last block is left out, since the embedding is its mean.

    Args:
        channels: channels of the images, 1 or 3.
        widths: channels of the blocks, each >= 1.
        strides: stride of each block, as many as widths.
        classes: C, number of outputs.
        hidden: widths of the projector's hidden layers; empty for a linear head.
        bias: whether the projector's linear layers have biases.
        norm: ``batch``, ``group``, ``layer`` or ``none``, after each convolution.
        generator: source of the initial weights; None leaves the network without storage.

    Returns:
        The network; the default has 100,218 parameters and a 64-dimensional embedding.

    Raises:
        ValueError: for sizes that do not fit, or an unknown norm.
    """
    check_channels(channels)
    check_sizes("widths", widths)
    check_sizes("strides", strides)
    if len(widths) != len(strides):
        raise ValueError(f"{len(widths)} widths but {len(strides)} strides; give one stride per width")

    def make() -> StagedNetwork:
        encoder: OrderedDict[str, nn.Module] = OrderedDict()
        before = channels
        for number, (width, stride) in enumerate(zip(widths, strides, strict=True), start=1):
            convolution = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
            encoder[f"conv{number}"] = nn.Sequential(convolution, *normalization(norm, width), nn.ReLU())
            before = width
        encoder["embedding"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return StagedNetwork(
            nn.Sequential(encoder),
            make_projector(before, classes, hidden=hidden, bias=bias),
            embedding_size=before,
            leave_out=[f"conv{len(widths)}"],
        )

    return build(make, generator)


def mlp(
    *,
    inputs: int,
    widths: Sequence[int] = (256, 256, 256),
    classes: int = 10,
    hidden: Sequence[int] = (1024,),
    generator: torch.Generator | None,
) -> StagedNetwork:
    """Make a multilayer perceptron: flattened images, Linear-ReLU for each width, then the projector.

    The last of the encoder's layers is its ``embedding``, so three widths give the sites ``layer1``,
    ``layer2``, ``embedding``, the hidden layers and ``logits``.

    Args:
        inputs: D, numbers in one flattened image.
        widths: widths of the encoder's layers, each >= 1.
        classes: C, number of outputs.
        hidden: widths of the projector's hidden layers; empty for a linear head.
        generator: source of the initial weights; None leaves the network without storage.

    Returns:
        The network; all linear layers have biases.

    Raises:
        ValueError: for sizes below 1.
    """
    check_sizes("inputs", [inputs])
    check_sizes("widths", widths)

    def make() -> StagedNetwork:
        encoder: OrderedDict[str, nn.Module] = OrderedDict()
        before = inputs
        for number, width in enumerate(widths, start=1):
            name = "embedding" if number == len(widths) else f"layer{number}"
            flatten = [nn.Flatten()] if number == 1 else []
            encoder[name] = nn.Sequential(*flatten, nn.Linear(before, width), nn.ReLU())
            before = width
        projector = make_projector(before, classes, hidden=hidden, bias=True)
        return StagedNetwork(nn.Sequential(encoder), projector, embedding_size=before)

    return build(make, generator)
