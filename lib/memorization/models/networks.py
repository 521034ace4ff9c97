"""A network in two parts, encoder and projector, each a chain of named stages.

Anagnostidis et al. (ICLR 2023): ``f = g o h`` with an encoder ``h``, whose output is the *embedding*, and a
projector ``g`` on top. Each named stage is a place to probe; how it is probed is not decided here.

Small networks that one CPU core trains in seconds: a convolutional network and a multilayer perceptron.

They are the laptop-scale stand-ins for the encoder of Anagnostidis et al. (ICLR 2023). Only plain layers in
chains are used, so that many networks of one shape can be stacked and trained as one.

ResNet-18 and ResNet-50 as encoders, with a wide projector on top.

Anagnostidis et al. (ICLR 2023), with the settings of the authors' published code: ResNet-18 whose stem fits
small images, and a projector with one hidden layer of 65,536 neurons. The blocks are those of He et al.
(CVPR 2016) as torchvision has them.

Networks by name, as a parameter file names them.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from memorization.checks import did_you_mean
from memorization.models.layers import build, check_channels, check_sizes, make_projector, normalization


class StagedNetwork(nn.Module):
    """An encoder and a projector whose stages have names.

    The names are those of the submodules: stage ``conv1`` of the encoder is the submodule ``encoder.conv1``.

    Args:
        encoder: named stages in order of depth; the last one is ``embedding`` and gives (B, embedding_size).
        projector: named parts in order of depth; the last one is ``logits`` and gives (B, C).
        embedding_size: length of an embedding, >= 1.
        leave_out: stages that are no probe site unless asked for by name, such as a block whose pooled
            output is the embedding.

    Raises:
        ValueError: if a part is misnamed, or a name is used twice or unknown.
    """

    def __init__(
        self,
        encoder: nn.Sequential,
        projector: nn.Sequential,
        *,
        embedding_size: int,
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = projector
        self.embedding_size = embedding_size
        self._stages = _stages(encoder, projector)
        self._left_out = frozenset(leave_out)
        if unknown := sorted(self._left_out - set(self._stages)):
            raise ValueError(f"leave_out names {unknown}; the stages are {', '.join(self._stages)}")

    @property
    def sites(self) -> dict[str, str]:
        """The default probe sites: site name to name of the submodule, in order of depth."""
        return {site: name for site, name in self._stages.items() if site not in self._left_out}

    def choose_sites(self, names: Iterable[str]) -> dict[str, str]:
        """Return some stages as probe sites, those left out by default included.

        Args:
            names: names of stages, in the order that is wanted.

        Returns:
            Site name to name of the submodule.

        Raises:
            KeyError: if there is no such stage, with those there are.
        """
        wanted = list(names)
        for name in wanted:
            if name not in self._stages:
                raise KeyError(
                    f"no site {name!r}{did_you_mean(name, self._stages)}; "
                    f"this network has {', '.join(self._stages)}"
                )
        return {name: self._stages[name] for name in wanted}

    def embed(self, x: Tensor) -> Tensor:
        """Return the embeddings h(x), shape (B, embedding_size)."""
        return self.encoder(x)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits g(h(x)), shape (B, C)."""
        return self.projector(self.encoder(x))


def _stages(encoder: nn.Sequential, projector: nn.Sequential) -> dict[str, str]:
    stages: dict[str, str] = {}
    for part, chain, last in (("encoder", encoder, "embedding"), ("projector", projector, "logits")):
        names = [name for name, _ in chain.named_children()]
        if not names or names[-1] != last:
            raise ValueError(f"the last stage of the {part} must be named {last!r}; its stages are {names}")
        if twice := sorted(set(names) & set(stages)):
            raise ValueError(f"stage names {twice} are in both parts; give each stage a name of its own")
        stages |= {name: f"{part}.{name}" for name in names}
    return stages


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
        name: ``small_cnn`` or ``mlp``, see :func:`memorization.models.networks.small_cnn` and
            :func:`mlp`; ``resnet18_small`` (CIFAR), ``resnet18_medium`` (64x64) or
            ``resnet18`` (ImageNet's stem), see :func:`memorization.models.networks.resnet18`; ``resnet50``.
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
