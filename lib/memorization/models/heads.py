"""Heads that predict random labels, and networks that show what they read: the features at named sites.

Becker & Risse (2024) train a standard network on its classes and, from its representation, heads on labels
that were drawn at random: what the heads can tell is what the features hold of single examples. A head per
class, for the examples of its class, is how a summary describes that version; one shared head is the method
of the follow-up (Becker et al., ICLR 2026), as are heads at several sites at once and a layer in between.
That feature maps are averaged over all places is our reading of both.

:class:`TappedNetwork` gives class logits and features in one pass; :class:`RandomLabelHeads` are the heads of
M networks at one site, for K labellings; a :class:`HeadedNetwork` is one network with its heads.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from memorization.checks import as_classes, check_choice, check_whole
from memorization.data.labels import check_label_count
from memorization.draws import generator
from memorization.models.networks import Sites, StagedNetwork, find_sites

FLAT = 30  # heads up to which one product for all of them beats a product of gathered ones; measured


class TappedNetwork(nn.Module):
    """A network that returns its class logits and, beside them, the features at some of its sites.

    Stacked it stays one network of plain layers, where the given one is.

    Attributes:
        network: the given one.
        places: name of the site to name of its submodule, in the order of the outputs.
        widths: name of the site to d, the length of its features.
        classes: the number C of class logits.
        acting: sites whose features carry gradients back.
    """

    def __init__(
        self, network: nn.Module, sites: Sites, inputs: Tensor, acting: Sequence[str] | None = None
    ) -> None:
        """Look at what the sites give.

        Args:
            network: maps inputs (B, ...) to class logits (B, C); it is not copied.
            sites: names of sites or submodules, or {name: submodule}; see ``networks.find_sites``.
            inputs: a few inputs of the network, (B, ...), B >= 1.
            acting: names of sites at which heads may act on the network; None: all. The features of others
                are constants for a gradient, which makes a probe cheaper.

        Raises:
            KeyError: for an unknown site, with the available ones and the nearest.
            TypeError: if the network returns no tensor.
            ValueError: naming the site that is passed never or twice, or gives no features; or outputs that
                are not (B, C).
        """
        super().__init__()
        self.places = find_sites(network, sites)
        twin = copy.deepcopy(network).eval()
        with torch.no_grad():
            logits, features = _seen(twin, self.places, inputs)
        self.acting = frozenset(self.places if acting is None else acting)
        for site in self.acting:
            check_choice("acting site", site, self.places)
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"the network returns a {type(logits).__name__}; allowed: one tensor of class logits (B, C): "
                "wrap the network, so that it returns its scores alone"
            )
        if logits.ndim != 2 or len(logits) != len(inputs):
            raise ValueError(
                f"the network maps {len(inputs)} inputs to outputs of shape {tuple(logits.shape)}; "
                f"allowed: ({len(inputs)}, C), one row for each input"
            )
        self.network, self.classes = network, logits.shape[1]
        self.widths = {site: rows.shape[1] for site, rows in features.items()}

    def forward(self, x: Tensor) -> Tensor:
        """Return class logits and the features of each site side by side: (B, C + d_1 + d_2 + ...)."""
        logits, features = _seen(self.network, self.places, x, self.acting)
        return torch.cat([logits, *features.values()], dim=1)

    def split(self, outputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return class logits (..., C) and the features (..., d) of each site, from outputs side by side."""
        return split_outputs(outputs, self.classes, self.widths)


def split_outputs(
    outputs: Tensor, classes: int, widths: Mapping[str, int]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Take the outputs of a :class:`TappedNetwork` apart.

    Args:
        outputs: shape (..., C + d_1 + d_2 + ...).
        classes: the number C of class logits.
        widths: name of the site to length of its features.

    Returns:
        Class logits (..., C), and name of the site to features (..., d).
    """
    logits, *features = outputs.split([classes, *widths.values()], dim=-1)
    return logits, dict(zip(widths, features, strict=True))


def _seen(
    network: nn.Module, places: Mapping[str, str], x: Tensor, acting: Collection[str] = ()
) -> tuple[Any, dict[str, Tensor]]:
    """What a network returns, and the features at its sites, each read at once: ReLU may follow in place."""

    def reading(site: str, output: Any, batch: int) -> Tensor:
        constant = isinstance(output, Tensor) and site not in acting
        return averaged(site, output.detach() if constant else output, batch)

    stages = _stages(network)
    if set(places.values()) <= set(stages):  # without hooks, which cannot be compiled
        read: dict[str, Tensor] = {}
        size = len(x)
        for place, stage in stages.items():
            x = stage(x)
            read |= {site: reading(site, x, size) for site, wanted in places.items() if wanted == place}
        return x, {site: read[site] for site in places}
    passed: dict[str, list[Tensor]] = {site: [] for site in places}
    hooks = [
        network.get_submodule(place).register_forward_hook(
            lambda module, inputs, output, site=site: passed[site].append(reading(site, output, len(x)))
        )
        for site, place in places.items()
    ]
    try:
        logits = network(x)
    finally:
        for hook in hooks:
            hook.remove()
    for site, found in passed.items():
        if len(found) != 1:
            raise ValueError(
                f"site {site!r} was passed {len(found)} times in one forward pass; choose a submodule that "
                "is used once"
            )
    return logits, {site: found[0] for site, found in passed.items()}


def _stages(network: nn.Module) -> dict[str, nn.Module]:
    """The stages of a staged network by the names of their submodules, in order of use; of others none."""
    if not isinstance(network, StagedNetwork) or type(network).forward is not StagedNetwork.forward:
        return {}
    chains = [("encoder", network.encoder), ("projector", network.projector)]
    if any(type(chain).forward is not nn.Sequential.forward for _, chain in chains):
        return {}
    # not named_children(), which leaves out a stage that is used again
    stages = {f"{part}.{name}": stage for part, chain in chains for name, stage in chain._modules.items()}
    return {place: stage for place, stage in stages.items() if stage is not None}


def averaged(site: str, output: Any, batch: int) -> Tensor:
    """Return what a head reads of a site's output, as a copy.

    Args:
        site: its name, for the message.
        output: (B, d); feature maps (B, c, h, w), averaged over all places; or tokens (B, T, d), averaged.
        batch: B.

    Returns:
        Shape (B, d).

    Raises:
        ValueError: for any other output.
    """
    if not isinstance(output, Tensor) or output.ndim not in (2, 3, 4) or len(output) != batch:
        given = tuple(output.shape) if isinstance(output, Tensor) else f"a {type(output).__name__}"
        raise ValueError(
            f"site {site!r} gives {given} for {batch} inputs; a feature has shape (B, d), (B, T, d) or "
            "(B, c, h, w): choose another submodule"
        )
    return output.clone() if output.ndim == 2 else output.mean((2, 3) if output.ndim == 4 else 1)


class RandomLabelHeads(nn.Module):
    """The heads of M networks at one site: logits of n random labels, for K labellings at once.

    The numbers are buffers with the networks on the first axis, since no optimizer of the networks trains
    them. All heads start at zero, as in our runs; a layer between starts as a linear layer of PyTorch does,
    alike for all labellings, and serves all heads of a labelling.

    Attributes:
        weight: shape (M, d, K, G n): all heads of a network flat, so that one product serves them; with a
            layer of h numbers between, (M, h, K, G n).
        bias: shape (M, K, G n).
        hidden_weight: shape (M, d, K, h); absent without a layer between, like ``hidden_bias`` (M, K, h).
    """

    weight: Tensor
    bias: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor

    def __init__(
        self,
        width: int,
        count: int,
        *,
        models: int = 1,
        groups: int = 1,
        labellings: int = 1,
        hidden: int | None = None,
        seeds: Sequence[int] = (),
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        """Make the heads.

        Args:
            width: d, the length of the features, >= 1.
            count: the number n of random labels, >= 2.
            models: M >= 1.
            groups: G, heads that share a labelling: C for a head per class, 1 for one head for all.
            labellings: K >= 1.
            hidden: h, numbers of a ReLU layer between features and heads; None: there is none.
            seeds: of that layer, one whole number for each network.
            dtype: floating-point type of the heads and their logits.
            device: where they are.

        Raises:
            ValueError: for sizes out of range, or seeds that are not one for each network.
        """
        super().__init__()
        check_label_count(count)
        sizes = {"width": width, "models": models, "groups": groups, "labellings": labellings}
        for name, value in {**sizes, **({} if hidden is None else {"hidden": hidden})}.items():
            check_whole(name, value, 1)
        self.count, self.groups, self.labellings, self.hidden = count, groups, labellings, hidden
        kind: dict[str, Any] = {"dtype": dtype, "device": device}
        outputs = (labellings, groups * count)
        self.register_buffer("weight", torch.zeros(models, hidden or width, *outputs, **kind))
        self.register_buffer("bias", torch.zeros(models, *outputs, **kind))
        if hidden is not None:
            if len(seeds) != models:
                raise ValueError(
                    f"{len(seeds)} seeds for the hidden layers of {models} networks; give one for each"
                )
            sources = [generator(seed, "hidden layer of a random-label head") for seed in seeds]
            drawn = [(2 * torch.rand(width + 1, hidden, generator=source) - 1) for source in sources]
            layer = (torch.stack(drawn) / width**0.5).to(**kind)
            layer = layer[:, :, None].expand(-1, -1, labellings, -1)
            self.register_buffer("hidden_weight", layer[:, :-1].clone())
            self.register_buffer("hidden_bias", layer[:, -1].clone())

    def values(self) -> dict[str, Tensor]:
        """Return the numbers of the heads by name: the buffers themselves."""
        return dict(self.named_buffers())

    def forward(self, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return the logits of each example's random labels.

        Args:
            features: shape (M, B, d).
            classes: shape (M, B), int64 in 0..G-1: whose head reads an example; needed for a head per class.

        Returns:
            Shape (M, B, K, n).

        Raises:
            ValueError: a head per class, and no classes.
        """
        if self.groups > 1 and classes is None:
            raise ValueError(
                f"{self.groups} class-wise heads need y, the class of each example; give classes (M, B)"
            )
        read = self._read(features)
        if self.groups > FLAT and classes is not None:
            return self._gathered(read, classes)
        logits = _product(read, self.weight, self.bias)
        if self.groups == 1 or classes is None:
            return logits
        return logits.unflatten(3, (self.groups, self.count)).gather(3, self._own(classes)).squeeze(3)

    def gradients(self, features: Tensor, slopes: Tensor, classes: Tensor | None = None) -> dict[str, Tensor]:
        """Return the gradient of ``(slopes * logits).sum()`` by the numbers of the heads, in closed form.

        Args:
            features: shape (M, B, d), as for the logits, like the classes.
            slopes: shape (M, B, K, n): what a loss changes by with each logit.
            classes: shape (M, B).

        Returns:
            Name of the buffer to a tensor of its shape.
        """
        read = self._read(features)
        if self.groups > 1 and classes is not None:
            sizes = (*slopes.shape[:3], self.groups, self.count)
            slopes = slopes.new_zeros(sizes).scatter_(3, self._own(classes), slopes[:, :, :, None]).flatten(3)
        found = {"weight": _summed(read, slopes), "bias": slopes.sum(1)}
        if self.hidden is not None:
            back = torch.einsum("mbkq,mhkq->mbkh", slopes, self.weight) * (read > 0)
            rows = features.to(self.weight.dtype)
            found |= {"hidden_weight": _summed(rows, back), "hidden_bias": back.sum(1)}
        return found

    def _read(self, features: Tensor) -> Tensor:
        """What the heads are linear in: the features (M, B, d), or the layer's numbers (M, B, K, h)."""
        features = features.to(self.weight.dtype)
        if self.hidden is None:
            return features
        return torch.relu(_product(features, self.hidden_weight, self.hidden_bias))

    def _own(self, classes: Tensor) -> Tensor:
        """Where the logits of each example's own head are among all (M, B, K, G, n)."""
        return classes[:, :, None, None, None].expand(-1, -1, self.labellings, 1, self.count)

    def _gathered(self, features: Tensor, classes: Tensor) -> Tensor:
        """Logits of each example's own head alone, a batched product: for many classes."""
        rows = torch.arange(len(classes), device=classes.device)[:, None]
        split = (self.groups, self.count)
        weight = self.weight.unflatten(3, split).movedim(3, 1)[rows, classes]  # (M, B, d, K, n)
        bias = self.bias.unflatten(2, split).movedim(2, 1)[rows, classes]  # (M, B, K, n)
        how = "mbd,mbdkn->mbkn" if features.ndim == 3 else "mbkd,mbdkn->mbkn"
        return torch.einsum(how, features, weight) + bias

    def extra_repr(self) -> str:
        """Return the sizes."""
        sizes = f"count={self.count}, groups={self.groups}, labellings={self.labellings}"
        return f"{sizes}, hidden={self.hidden}"


def _product(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One product for all heads: features (M, B, d) or (M, B, K, d), weights (M, d, K, q): (M, B, K, q)."""
    if features.ndim == 3:
        flat = torch.baddbmm(bias.flatten(1)[:, None], features, weight.flatten(2))
        return flat.unflatten(2, bias.shape[1:])
    return (features.transpose(1, 2) @ weight.transpose(1, 2)).transpose(1, 2) + bias[:, None]


def _summed(read: Tensor, slopes: Tensor) -> Tensor:
    """Products summed over examples: read (M, B, d) or (M, B, K, d), slopes (M, B, K, q): (M, d, K, q)."""
    if read.ndim == 3:
        return (read.transpose(1, 2) @ slopes.flatten(2)).unflatten(2, slopes.shape[2:])
    return torch.einsum("mbkd,mbkq->mdkq", read, slopes)


class HeadedNetwork(nn.Module):
    """One network with its random-label heads, as a training showed or left it.

    ``forward`` returns class logits, so that everything that measures a network measures it, too.

    Attributes:
        tapped: the network with its features.
        heads: those of each site, in the order of ``tapped.widths``; of one network each (M = 1).
        sites: the network's own sites, where it has them, by the names of their submodules here.
        batch_accuracy: name of the site to the accuracy of its heads on the batches of the last epoch, in
            training mode; NaN before the first step, and empty where nobody counted.
    """

    def __init__(
        self,
        tapped: TappedNetwork,
        heads: Sequence[RandomLabelHeads],
        batch_accuracy: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.tapped, self.heads = tapped, nn.ModuleList(heads)
        self.batch_accuracy = dict(batch_accuracy or {})
        own = getattr(tapped.network, "sites", None)
        places = own if isinstance(own, Mapping) else tapped.places
        self.sites = {site: f"tapped.network.{place}" for site, place in places.items()}

    @property
    def network(self) -> nn.Module:
        """The network alone."""
        return self.tapped.network

    def forward(self, x: Tensor) -> Tensor:
        """Return the class logits, shape (B, C)."""
        return self.tapped.network(x)

    def with_heads(self, x: Tensor, classes: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Return class logits and the logits of all heads, from one pass.

        Args:
            x: inputs (B, ...).
            classes: shape (B,), the class that was trained with; needed for a head per class.

        Returns:
            Class logits (B, C), and name of the site to logits of random labels, (B, K, n).

        Raises:
            TypeError: classes that are no whole numbers.
            ValueError: classes that are absent, not one for each input, or outside 0..C-1.
        """
        logits, features = self.tapped.split(self.tapped(x))
        return logits, {site: self.told(site, rows, classes) for site, rows in features.items()}

    def told(self, site: str, features: Tensor, classes: Tensor | None = None) -> Tensor:
        """Return the logits (B, K, n) of random labels of one site's heads, from its features (B, d).

        Args:
            site: of ``tapped.widths``.
            features: of the inputs there.
            classes: as in :meth:`with_heads`, which also tells the errors.
        """
        check_choice("site", site, self.tapped.widths)
        head = self.heads[list(self.tapped.widths).index(site)]
        if classes is not None:
            classes = as_classes(classes, len(features), "class", self.tapped.classes)[None]
        return head(features[None], classes)[0]
