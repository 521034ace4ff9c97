"""The networks whose features random-label heads read: perceptrons and small convolutional networks.

Becker & Risse (2024) take WRN-16-4, of whose taps nothing was at hand. These are small enough for a laptop,
with batch normalization, and with a site after each hidden layer: what lies there, averaged over all places,
is what a head sees. Their raw pixels can be a site, too: depth 0.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from memorization.checks import check_choice
from memorization.draws import generator
from memorization.models.layers import Standardization
from memorization.models.networks import StagedNetwork, mlp, small_cnn

NETWORKS = ("mlp", "small_cnn")
SITES = ("last", "hidden", "all")  # the input of the class head; every hidden layer; these and the pixels


def make_network(
    kind: str, images: Tensor, widths: Sequence[int], classes: int, *, dropout: float = 0.0, seed: int
) -> StagedNetwork:
    """Make a network for images, with its first weights.

    Each hidden layer is a linear map (``mlp``) or a 3x3 convolution (``small_cnn``, with 2x2 max-pooling
    between), batch normalization and ReLU. Weights are normal of variance 2/fan-in, those of the class head
    1/fan-in; biases are zero. The first stage, ``pixels``, standardizes each channel by these images.

    Args:
        kind: ``mlp`` or ``small_cnn``.
        images: of the training, shape (N, c, side, side), floating point in [0, 1].
        widths: of the hidden layers.
        classes: the number C of classes.
        dropout: share of each hidden layer's numbers that is lost in training, in [0, 1); ``mlp`` only.
        seed: of the weights and of the dropout, whole number >= 0. Equal seeds have equal weights, with
            dropout or without.

    Returns:
        The network, on the images' device.

    Raises:
        ValueError: for an unknown kind, sizes that do not fit, or dropout of a convolutional network.
    """
    check_choice("network", kind, NETWORKS)
    source, channels, side = generator(seed, "network"), images.shape[1], images.shape[2]
    if kind == "mlp":
        inputs = images[0].numel()
        base = mlp(inputs=inputs, widths=widths, classes=classes, hidden=(), norm="batch", dropout=dropout,
                   generator=source)  # fmt: skip
    else:
        if dropout:
            raise ValueError(f"dropout={dropout} with network='small_cnn'; allowed: 0, or network='mlp'")
        if side >> (len(widths) - 1) < 1:
            raise ValueError(
                f"{len(widths)} convolutions with 2x2 max-pooling between need images of side "
                f"{2 ** (len(widths) - 1)} or more; these have {side}"
            )
        strides = [1] * len(widths)
        base = small_cnn(channels=channels, widths=widths, strides=strides, classes=classes, hidden=(),
                         pool=True, generator=source)  # fmt: skip
    _draw_weights(base, generator(seed, "weights"))
    standardization = Standardization(
        images.mean((0, 2, 3)).tolist(), images.std((0, 2, 3), correction=0).tolist()
    )
    pixels = nn.Sequential(standardization, *([nn.Flatten()] if kind == "mlp" else []))
    stages = OrderedDict(pixels=pixels, **dict(base.encoder.named_children()))
    hidden = f"conv{len(widths)}"
    left_out = ["pixels", hidden] if kind == "small_cnn" else []
    return StagedNetwork(nn.Sequential(stages), base.projector, leave_out=left_out).to(images.device)


def _draw_weights(network: StagedNetwork, source: torch.Generator) -> None:
    with torch.no_grad():
        for name, layer in network.named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d):
                gain = 1 if name.endswith("logits") else 2
                layer.weight.normal_(0, math.sqrt(gain / layer.weight[0].numel()), generator=source)
                if layer.bias is not None:
                    layer.bias.zero_()


def sites_of(network: StagedNetwork, which: str) -> dict[str, int]:
    """Return the names of the sites at which heads read, with their depths: 0 the pixels, L the last.

    Args:
        network: as :func:`make_network` makes them.
        which: ``last``, ``hidden`` or ``all``.

    Raises:
        ValueError: for an unknown name, or the pixels of a convolutional network, whose mean over all places
            tells nothing.
    """
    check_choice("sites", which, SITES)
    hidden = [site for site in network.sites if site not in ("pixels", "logits")]
    depths = {site: depth for depth, site in enumerate(hidden, start=1)}
    if which == "last":
        return {"embedding": len(hidden)}
    if which == "all":
        if "pixels" not in network.sites:
            raise ValueError(
                "sites='all' has heads on the pixels, of which a convolutional network gives a mean alone; "
                "allowed: 'last' or 'hidden', or network='mlp'"
            )
        return {"pixels": 0, **depths}
    return depths
