"""Networks in two parts, encoder and projector, each a chain of named stages, and their names.

Anagnostidis et al. (ICLR 2023): ``f = g o h`` with an encoder ``h``, whose output is the *embedding*, and a
projector ``g`` on top. Each named stage is a place to probe; how it is probed is not decided here. The
encoder of the authors' published code is a ResNet-18 whose stem fits small images, with a hidden layer of
65,536 neurons in the projector; a wide ResNet is the network of Becker & Risse (2024) here. The small
convolutional network and the perceptron stand in for them on a laptop; they are plain layers in chains, so
that many of one shape can be stacked and trained as one.
"""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from memorization.checks import check_choice, check_finite, check_whole, did_you_mean
from memorization.data.files import load_torchvision
from memorization.models.layers import (
    Dropout,
    Standardization,
    build,
    check_channels,
    check_layer_sizes,
    check_share,
    make_projector,
    normalization,
)

Sites = Mapping[str, str] | Sequence[str]


class StagedNetwork(nn.Module):
    """An encoder and a projector whose stages have names.

    Attributes:
        encoder: named stages in order of depth; the last one is ``embedding`` and gives (B, P).
        projector: named parts in order of depth; the last one is ``logits`` and gives (B, C).
        sites: the default places to probe: name of the stage to name of its submodule, in order of depth.
    """

    def __init__(
        self, encoder: nn.Sequential, projector: nn.Sequential, *, leave_out: Iterable[str] = ()
    ) -> None:
        """Put the parts together.

        Args:
            encoder: the encoder.
            projector: the projector.
            leave_out: stages that are no site, such as a block whose pooled output is the embedding.

        Raises:
            ValueError: if a part is misnamed, or a name is used twice or unknown.
        """
        super().__init__()
        self.encoder, self.projector = encoder, projector
        stages: dict[str, str] = {}
        for part, last in (("encoder", "embedding"), ("projector", "logits")):
            names = [name for name, _ in getattr(self, part).named_children()]
            if names[-1:] != [last]:
                raise ValueError(
                    f"the last stage of the {part} must be named {last!r}; its stages are {names}"
                )
            if twice := sorted(set(names) & set(stages)):
                raise ValueError(f"stage names {twice} are in both parts; give each stage a name of its own")
            stages |= {name: f"{part}.{name}" for name in names}
        for name in (left_out := set(leave_out)):
            check_choice("stage to leave out", name, stages)
        self.sites = {name: place for name, place in stages.items() if name not in left_out}

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits g(h(x)), shape (B, C)."""
        return self.projector(self.encoder(x))


def find_sites(model: nn.Module, sites: Sites) -> dict[str, str]:
    """Return the name of the submodule of each site.

    Args:
        model: any network.
        sites: names of submodules as in ``model.named_modules()``, or of the network's own ``sites``; or
            {name of the site: name of the submodule}. One name alone is one site.

    Returns:
        {name of the site: name of the submodule}.

    Raises:
        KeyError: for an unknown submodule, listing the available ones and the nearest.
        ValueError: if no site is named, or one twice.
    """
    names = [sites] if isinstance(sites, str) else sites
    wanted = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
    if not wanted or len(wanted) != len(names):
        raise ValueError(f"name at least one site, and each once; got {list(names)}")
    modules = {name: name for name, _ in model.named_modules(remove_duplicate=False) if name}
    own = getattr(model, "sites", None)
    known = {**own, **modules} if isinstance(own, Mapping) else modules
    for name in wanted.values():
        if name not in known:
            available = ", ".join(known)
            raise KeyError(
                f"the network has no site {name!r}; available are {available}{did_you_mean(name, known)}"
            )
    return {site: known[name] for site, name in wanted.items()}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode without gradients; each submodule gets its own mode back.

    Args:
        model: any network; a part of it may be frozen in evaluation mode while the rest trains.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def small_cnn(
    *,
    channels: int = 1,
    widths: Sequence[int] = (16, 32, 64),
    strides: Sequence[int] = (1, 2, 2),
    classes: int = 10,
    hidden: Sequence[int] = (1024,),
    norm: str = "batch",
    pool: bool = False,
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
        classes: the number C of outputs.
        hidden: widths of the projector's hidden layers; empty for a linear head.
        norm: ``batch``, ``group``, ``layer`` or ``none``, after each convolution.
        pool: whether each block but the first begins with 2x2 max-pooling; an odd last row or column is lost.
        generator: source of the initial weights; None leaves the network without storage.

    Returns:
        The network; the default has 100,218 parameters and a 64-dimensional embedding.

    Raises:
        ValueError: for sizes that do not fit, or an unknown norm.
    """
    check_channels(channels)
    check_layer_sizes("widths", widths)
    check_layer_sizes("strides", strides)
    if len(widths) != len(strides):
        raise ValueError(f"{len(widths)} widths but {len(strides)} strides; give one stride per width")

    def make() -> StagedNetwork:
        encoder: OrderedDict[str, nn.Module] = OrderedDict()
        before = channels
        for number, (width, stride) in enumerate(zip(widths, strides, strict=True), start=1):
            convolution = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
            pooling = [nn.MaxPool2d(2)] if pool and number > 1 else []
            block = [*pooling, convolution, normalization(norm, width), nn.ReLU()]
            encoder[f"conv{number}"] = nn.Sequential(*block)
            before = width
        encoder["embedding"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        projector = make_projector(before, classes, hidden=hidden, bias=True)
        return StagedNetwork(nn.Sequential(encoder), projector, leave_out=[f"conv{len(widths)}"])

    return build(make, generator)


def mlp(
    *,
    inputs: int,
    widths: Sequence[int] = (256, 256, 256),
    classes: int = 10,
    hidden: Sequence[int] = (1024,),
    norm: str = "none",
    dropout: float = 0.0,
    generator: torch.Generator | None,
) -> StagedNetwork:
    """Make a multilayer perceptron: flattened images, Linear-ReLU for each width, then the projector.

    The last of the encoder's layers is its ``embedding``, so three widths give the sites ``layer1``,
    ``layer2``, ``embedding``, the hidden layers and ``logits``.

    Args:
        inputs: D, numbers in one flattened image.
        widths: widths of the encoder's layers, each >= 1.
        classes: the number C of outputs.
        hidden: widths of the projector's hidden layers; empty for a linear head.
        norm: ``batch`` or ``none``, after each of the encoder's linear layers.
        dropout: share of the numbers that each of the encoder's layers loses in training, in [0, 1).
        generator: source of the initial weights; None leaves the network without storage.

    Returns:
        The network; all linear layers have biases.

    Raises:
        ValueError: for sizes below 1, an unknown norm, or a share outside [0, 1).
    """
    check_whole("inputs", inputs, 1)
    check_layer_sizes("widths", widths)
    check_choice("norm", norm, ("batch", "none"))
    check_share("dropout", dropout)

    def make() -> StagedNetwork:
        encoder: OrderedDict[str, nn.Module] = OrderedDict()
        before = inputs
        for number, width in enumerate(widths, start=1):
            name = "embedding" if number == len(widths) else f"layer{number}"
            flatten = [nn.Flatten()] if number == 1 else []
            norms = [nn.BatchNorm1d(width)] if norm == "batch" else []
            drop = [Dropout(dropout)] if dropout else []
            encoder[name] = nn.Sequential(*flatten, nn.Linear(before, width), *norms, nn.ReLU(), *drop)
            before = width
        projector = make_projector(before, classes, hidden=hidden, bias=True)
        return StagedNetwork(nn.Sequential(encoder), projector)

    return build(make, generator)


_STEMS = {"small": (3, 1), "medium": (3, 2), "imagenet": (7, 2)}  # kernel and stride


def resnet18(
    *,
    stem: str = "small",
    channels: int = 3,
    classes: int = 10,
    hidden: Sequence[int] = (65_536,),
    norm: str = "batch",
    generator: torch.Generator | None,
) -> StagedNetwork:
    """Make a ResNet-18 encoder of torchvision's blocks (He et al., CVPR 2016) and a projector without biases.

    The sites are ``stem``, ``stage1`` to ``stage4``, ``embedding`` (512 numbers), the hidden layers and
    ``logits``.

    Args:
        stem: ``small``, one 3x3 convolution of stride 1, for CIFAR; ``medium``, the same with stride 2, for
            images of 64x64; ``imagenet``, a 7x7 convolution of stride 2 and max-pooling.
        channels: channels of the images, 1 or 3.
        classes: the number C of outputs.
        hidden: widths of the projector's hidden layers; empty for a linear head.
        norm: normalization of the encoder: ``batch``, ``group``, ``layer`` or ``none``.
        generator: source of the initial weights; None leaves the network without storage.

    Returns:
        The network, float32. With three channels the encoder has 11,168,832 parameters (small or medium).

    Raises:
        ValueError: for sizes that do not fit, or an unknown name.
    """
    check_channels(channels)
    check_choice("stem", stem, _STEMS)
    make_block = load_torchvision().models.resnet.BasicBlock

    def convolution(before: int, width: int, kernel: int, stride: int) -> list[nn.Module]:
        layer = nn.Conv2d(before, width, kernel, stride=stride, padding=kernel // 2, bias=False)
        return [layer, normalization(norm, width)]

    def block(before: int, width: int, stride: int) -> nn.Module:
        shortcut = nn.Sequential(*convolution(before, width, 1, stride)) if before != width else None
        return make_block(before, width, stride, shortcut, norm_layer=partial(normalization, norm))

    def make() -> StagedNetwork:
        first = nn.Sequential(*convolution(channels, 64, *_STEMS[stem]), nn.ReLU())
        if stem == "imagenet":
            first.append(nn.MaxPool2d(3, stride=2, padding=1))
        encoder: OrderedDict[str, nn.Module] = OrderedDict(stem=first)
        before = 64
        for number, width in enumerate((64, 128, 256, 512), start=1):
            stride = 1 if number == 1 else 2
            encoder[f"stage{number}"] = nn.Sequential(block(before, width, stride), block(width, width, 1))
            before = width
        encoder["embedding"] = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return StagedNetwork(
            nn.Sequential(encoder), make_projector(before, classes, hidden=hidden, bias=False)
        )

    return build(make, generator)


class _WideBlock(nn.Module):
    """BN-ReLU-conv-BN-ReLU-dropout-conv, added to what came in, or to its projection where sizes change."""

    def __init__(self, before: int, width: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(before), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.dropout = Dropout(dropout) if dropout else nn.Identity()
        changes = before != width or stride != 1
        self.projection = nn.Conv2d(before, width, 1, stride=stride, bias=False) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Return feature maps (B, width, height, width of the image), both sides divided by the stride."""
        active = torch.relu(self.norm1(x))
        out = self.dropout(torch.relu(self.norm2(self.conv1(active))))
        return self.conv2(out) + (x if self.projection is None else self.projection(active))


def wide_resnet(
    *,
    depth: int = 16,
    width: int = 4,
    dropout: float = 0.0,
    channels: int = 3,
    classes: int = 10,
    hidden: Sequence[int] = (),
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    generator: torch.Generator | None,
) -> StagedNetwork:
    """Make a wide ResNet for small images (Zagoruyko & Komodakis, BMVC 2016).

    A 3x3 convolution to 16 channels; three stages of (depth - 4) / 6 pre-activation blocks with 16, 32 and 64
    times ``width`` channels, strides 1, 2 and 2; BN-ReLU, and the mean over all places. WRN-16-4 is the
    network that we take for the paper scale of Becker & Risse (2024), after another paper of the group. The
    sites are ``conv``, ``block1``, ``block2``..., ``embedding`` (64 times ``width`` numbers), the hidden
    layers and ``logits``.

    Args:
        depth: 6 k + 4 for k blocks a stage: 10, 16, 22, 28...
        width: what the channels of the blocks are multiplied by, >= 1.
        dropout: probability between the two convolutions of a block, in [0, 1).
        channels: channels of the images, 1 or 3.
        classes: the number C of outputs.
        hidden: widths of the projector's hidden layers; empty for a linear head.
        mean: of each channel, subtracted by the first layer; empty, like ``std``: no standardization.
        std: of each channel, > 0, by which the first layer divides.
        generator: source of the initial weights; None leaves the network without storage.

    Returns:
        The network, float32: for 10 classes WRN-16-4 has 2,748,890 parameters, WRN-28-10 36,479,194.

    Raises:
        ValueError: for sizes that do not fit.
    """
    check_channels(channels)
    check_whole("depth", depth, 10)
    check_whole("width", width, 1)
    check_finite("dropout", dropout)
    blocks, left = divmod(depth - 4, 6)
    if left:
        raise ValueError(
            f"depth={depth}; allowed: 6 k + 4 for k blocks in each of three stages, such as "
            f"{depth - left} or {depth - left + 6}"
        )
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout}; allowed: a probability in [0, 1)")
    if (mean or std) and not len(mean) == len(std) == channels:
        raise ValueError(
            f"{len(mean)} means and {len(std)} deviations for {channels} channels; give one of each for each "
            "channel, or neither"
        )

    def make() -> StagedNetwork:
        first = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        standardized = nn.Sequential(Standardization(mean, std), first) if mean else first
        encoder: OrderedDict[str, nn.Module] = OrderedDict(conv=standardized)
        before = 16
        for number in range(3 * blocks):
            stage, place = divmod(number, blocks)
            after = 16 * 2**stage * width
            stride = 2 if stage and place == 0 else 1
            encoder[f"block{number + 1}"] = _WideBlock(before, after, stride, dropout)
            before = after
        last = [nn.BatchNorm2d(before), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        encoder["embedding"] = nn.Sequential(*last)
        return StagedNetwork(
            nn.Sequential(encoder), make_projector(before, classes, hidden=hidden, bias=True)
        )

    return build(make, generator)


_MAKERS: dict[str, Callable[..., StagedNetwork]] = {
    "small_cnn": small_cnn,
    "mlp": mlp,
    "resnet18_small": partial(resnet18, stem="small"),
    "resnet18_medium": partial(resnet18, stem="medium"),
    "resnet18": partial(resnet18, stem="imagenet"),
    "wide_resnet": wide_resnet,
}

NETWORKS = tuple(_MAKERS)


def network(name: str, *, generator: torch.Generator | None, **options: Any) -> StagedNetwork:
    """Make a network by its name, as a parameter file names it.

    Args:
        name: ``small_cnn``; ``mlp``; ``wide_resnet``; or a :func:`resnet18`: ``resnet18_small`` (CIFAR),
            ``resnet18_medium`` (64x64) or ``resnet18`` (ImageNet's stem).
        generator: source of the initial weights; None leaves the network without storage.
        **options: options of that network, such as ``classes`` and ``hidden``.

    Returns:
        The network.

    Raises:
        ValueError: for an unknown name or option, or values that do not fit.
        TypeError: if an option is lacking.
    """
    check_choice("network", name, NETWORKS)
    make = _MAKERS[name]
    fixed = make.keywords if isinstance(make, partial) else {}
    allowed = set(inspect.signature(make).parameters) - {"generator", *fixed}
    for option in options:
        check_choice(f"option of {name}", option, sorted(allowed))
    return make(generator=generator, **options)
