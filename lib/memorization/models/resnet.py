"""ResNet-18 and ResNet-50 as encoders, with a wide projector on top.

Anagnostidis et al. (ICLR 2023), with the settings of the authors' published code: ResNet-18 whose stem fits
small images, and a projector with one hidden layer of 65,536 neurons. The blocks are those of He et al.
(CVPR 2016) as torchvision has them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from memorization.data.words import did_you_mean
from memorization.models.initialization import build
from memorization.models.parts import check_channels, make_projector, normalization
from memorization.models.staged import StagedNetwork

STEMS = ("small", "medium", "imagenet")
_WIDTHS = (64, 128, 256, 512)
_EXPANSION = 4  # a bottleneck gives four times its width

Block = Callable[[int, int, int], nn.Module]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: the block of ResNet-18.

    Args:
        before: channels of the input.
        width: channels of the output.
        stride: stride of the first convolution and of the shortcut.
        norm: normalization after each convolution, one of ``NORMS``.
    """

    def __init__(self, before: int, width: int, stride: int, norm: str) -> None:
        super().__init__()
        self.conv1 = _convolution(before, width, 3, stride)
        self.norm1 = nn.Sequential(*normalization(norm, width))
        self.conv2 = _convolution(width, width, 3)
        self.norm2 = nn.Sequential(*normalization(norm, width))
        self.downsample = _shortcut(before, width, stride, norm)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, before, height, width) to (B, width, height / stride, width / stride)."""
        out = self.relu(self.norm1(self.conv1(x)))
        return self.relu(self.norm2(self.conv2(out)) + self.downsample(x))


class Bottleneck(nn.Module):
    """A 1x1, a 3x3 and a 1x1 convolution and a shortcut: the block of ResNet-50.

    Args:
        before: channels of the input.
        width: channels inside; the output has four times as many.
        stride: stride of the block.
        norm: normalization after each convolution, one of ``NORMS``.
        v1: whether the first 1x1 convolution has the stride, as in the first version of the paper, and not
            the 3x3 convolution.
    """

    def __init__(self, before: int, width: int, stride: int, norm: str, v1: bool = False) -> None:
        super().__init__()
        out = _EXPANSION * width
        self.conv1 = _convolution(before, width, 1, stride if v1 else 1)
        self.norm1 = nn.Sequential(*normalization(norm, width))
        self.conv2 = _convolution(width, width, 3, 1 if v1 else stride)
        self.norm2 = nn.Sequential(*normalization(norm, width))
        self.conv3 = _convolution(width, out, 1)
        self.norm3 = nn.Sequential(*normalization(norm, out))
        self.downsample = _shortcut(before, out, stride, norm)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, before, height, width) to (B, 4 width, height / stride, width / stride)."""
        out = self.relu(self.norm1(self.conv1(x)))
        out = self.relu(self.norm2(self.conv2(out)))
        return self.relu(self.norm3(self.conv3(out)) + self.downsample(x))


def resnet18(
    *,
    stem: str = "small",
    channels: int = 3,
    classes: int = 10,
    hidden: Sequence[int] = (65_536,),
    norm: str = "batch",
    projector_norm: str = "none",
    generator: torch.Generator | None,
) -> StagedNetwork:
    """Make a ResNet-18 encoder with a projector without biases.

    The sites are ``stem``, ``stage1`` to ``stage4``, ``embedding`` (512 numbers), the hidden layers and
    ``logits``.

    Args:
        stem: ``small``, one 3x3 convolution of stride 1, for CIFAR; ``medium``, the same with stride 2, for
            images of 64x64; ``imagenet``, a 7x7 convolution of stride 2 and max-pooling.
        channels: channels of the images, 1 or 3.
        classes: C, number of outputs.
        hidden: widths of the projector's hidden layers; empty for a linear head.
        norm: normalization of the encoder: ``batch``, ``group``, ``layer`` or ``none``.
        projector_norm: normalization of the projector's hidden layers, by the same names.
        generator: source of the initial weights; None leaves the network without storage.

    Returns:
        The network, float32. With three channels the encoder has 11,168,832 parameters (small or medium).

    Raises:
        ValueError: for sizes that do not fit, or an unknown name.
    """

    def block(before: int, width: int, stride: int) -> nn.Module:
        return BasicBlock(before, width, stride, norm)

    projector = partial(make_projector, classes=classes, hidden=hidden, bias=False, norm=projector_norm)
    return _resnet(partial(_stem, stem, channels, norm), block, (2, 2, 2, 2), 1, projector, generator)


def resnet50(
    *,
    stem: str = "imagenet",
    v1: bool = False,
    channels: int = 3,
    classes: int = 10,
    hidden: Sequence[int] = (65_536,),
    norm: str = "batch",
    projector_norm: str = "none",
    generator: torch.Generator | None,
) -> StagedNetwork:
    """Make a ResNet-50 encoder (2048-dimensional embedding) with a projector without biases.

    Args:
        stem: see :func:`resnet18`.
        v1: whether a stage's stride is in the first 1x1 convolution of its first block, not in the 3x3 one.
        channels: channels of the images, 1 or 3.
        classes: C, number of outputs.
        hidden: widths of the projector's hidden layers; empty for a linear head.
        norm: normalization of the encoder: ``batch``, ``group``, ``layer`` or ``none``.
        projector_norm: normalization of the projector's hidden layers, by the same names.
        generator: source of the initial weights; None leaves the network without storage.

    Returns:
        The network, float32, with the sites of :func:`resnet18`.

    Raises:
        ValueError: for sizes that do not fit, or an unknown name.
    """

    def block(before: int, width: int, stride: int) -> nn.Module:
        return Bottleneck(before, width, stride, norm, v1)

    projector = partial(make_projector, classes=classes, hidden=hidden, bias=False, norm=projector_norm)
    return _resnet(
        partial(_stem, stem, channels, norm), block, (3, 4, 6, 3), _EXPANSION, projector, generator
    )


def _resnet(
    make_stem: Callable[[], nn.Module],
    block: Block,
    depths: Sequence[int],
    expansion: int,
    projector: Callable[[int], nn.Sequential],
    generator: torch.Generator | None,
) -> StagedNetwork:
    def make() -> StagedNetwork:
        encoder: OrderedDict[str, nn.Module] = OrderedDict(stem=make_stem())
        before = _WIDTHS[0]
        for number, (width, depth) in enumerate(zip(_WIDTHS, depths, strict=True), start=1):
            first = block(before, width, 1 if number == 1 else 2)
            before = expansion * width
            others = (block(before, width, 1) for _ in range(depth - 1))
            encoder[f"stage{number}"] = nn.Sequential(first, *others)
        encoder["embedding"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return StagedNetwork(nn.Sequential(encoder), projector(before), embedding_size=before)

    return build(make, generator)


def _stem(stem: str, channels: int, norm: str) -> nn.Sequential:
    check_channels(channels)
    if stem not in STEMS:
        raise ValueError(
            f"unknown stem {stem!r}{did_you_mean(stem, STEMS)}; choose one of {', '.join(STEMS)}"
        )
    kernel, stride = {"small": (3, 1), "medium": (3, 2), "imagenet": (7, 2)}[stem]
    layers = [
        _convolution(channels, _WIDTHS[0], kernel, stride),
        *normalization(norm, _WIDTHS[0]),
        nn.ReLU(),
    ]
    pool = [nn.MaxPool2d(3, stride=2, padding=1)] if stem == "imagenet" else []
    return nn.Sequential(*layers, *pool)


def _convolution(before: int, after: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(before, after, kernel, stride=stride, padding=kernel // 2, bias=False)


def _shortcut(before: int, after: int, stride: int, norm: str) -> nn.Sequential:
    if stride == 1 and before == after:
        return nn.Sequential()  # the input itself
    return nn.Sequential(_convolution(before, after, 1, stride), *normalization(norm, after))
