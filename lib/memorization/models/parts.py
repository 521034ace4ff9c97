"""Parts that several networks share: normalization layers, the projector, and checks of sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from torch import nn

from memorization.data.words import did_you_mean

NORMS = ("batch", "group", "layer", "none")
_GROUP = 8  # channels that one group of group normalization holds


def normalization(norm: str, channels: int, *, images: bool = True) -> list[nn.Module]:
    """Return the normalization layer for feature maps or for vectors, as a list of none or one.

    Args:
        norm: ``batch``; ``group``, in groups of 8 channels; ``layer``, over all channels and places of one
            example; or ``none``.
        channels: number of channels, >= 1; a multiple of 8 for ``group``.
        images: whether the features are maps (B, channels, height, width), not vectors (B, channels).

    Raises:
        ValueError: for an unknown name, or channels that do not divide into groups.
    """
    if norm not in NORMS:
        raise ValueError(
            f"unknown norm {norm!r}{did_you_mean(norm, NORMS)}; choose one of {', '.join(NORMS)}"
        )
    if norm == "none":
        return []
    if norm == "batch":
        return [nn.BatchNorm2d(channels) if images else nn.BatchNorm1d(channels)]
    if norm == "group" and channels % _GROUP:
        raise ValueError(
            f"group norm has groups of {_GROUP} channels; {channels} channels do not divide: choose a "
            f"multiple of {_GROUP}, or another norm"
        )
    return [nn.GroupNorm(channels // _GROUP if norm == "group" else 1, channels)]


def make_projector(
    embedding_size: int, classes: int, *, hidden: Sequence[int], bias: bool, norm: str = "none"
) -> nn.Sequential:
    """Make the projector: for each hidden width Linear-[norm]-ReLU, then the linear ``logits``.

    Args:
        embedding_size: length of the input, >= 1.
        classes: C, number of outputs, >= 1.
        hidden: widths of the hidden layers, each >= 1; empty for a linear head.
        bias: whether the linear layers have biases.
        norm: normalization of the hidden layers, one of ``NORMS``.

    Returns:
        Named parts ``hidden`` (``hidden1``, ``hidden2``... if there are several) and ``logits``.

    Raises:
        ValueError: for sizes below 1 or an unknown norm.
    """
    check_sizes("hidden", hidden, at_least=0)
    check_sizes("classes", [classes])
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    size = embedding_size
    for number, width in enumerate(hidden, start=1):
        name = "hidden" if len(hidden) == 1 else f"hidden{number}"
        layers = [nn.Linear(size, width, bias=bias), *normalization(norm, width, images=False), nn.ReLU()]
        parts[name] = nn.Sequential(*layers)
        size = width
    parts["logits"] = nn.Linear(size, classes, bias=bias)
    return nn.Sequential(parts)


def check_sizes(name: str, sizes: Iterable[int], *, at_least: int = 1) -> None:
    """Refuse sizes that are not whole numbers >= 1, or fewer than ``at_least`` of them."""
    if isinstance(sizes, int | str) or not isinstance(sizes, Sequence):
        raise ValueError(f"{name} must be a list of whole numbers, such as (64,); got {sizes!r}")
    if len(sizes) < at_least:
        raise ValueError(f"{name} needs at least {at_least} number(s); got {list(sizes)}")
    wrong = [size for size in sizes if isinstance(size, bool) or not isinstance(size, int) or size < 1]
    if wrong:
        raise ValueError(f"{name} must be whole numbers >= 1; got {list(sizes)}")


def check_channels(channels: int) -> None:
    """Refuse images with other than 1 or 3 channels."""
    if channels not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels; got channels={channels!r}")
