"""Features of a network at several named sites from one forward pass.

Anagnostidis et al. (ICLR 2023) probe the layers one by one: after the stem, after each stage, the pooled
embedding, the projector's hidden layer and the logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from memorization.measures.evaluation import check_batch, device_of, evaluating

Sites = Mapping[str, str] | Sequence[str]


def site_features(
    model: nn.Module,
    images: Tensor,
    sites: Sites,
    *,
    pool: int = 4,
    batch: int = 1024,
    dtype: torch.dtype | None = None,
) -> dict[str, Tensor]:
    """Collect the outputs of named submodules, one matrix per site.

    Feature maps (B, c, h, w) are average-pooled to at most ``pool`` x ``pool`` and flattened; early layers'
    probes depend on it, so name it beside the result. Token sequences (B, T, d) are averaged over T.

    Args:
        model: any network; evaluated in evaluation mode, every submodule's mode is restored.
        images: shape (n, ...), whatever the network takes; batches are moved to its device.
        sites: names of submodules as in ``model.named_modules()``, or {name of the site: name of the
            submodule}.
        pool: largest height and width of pooled feature maps, >= 1.
        batch: images per forward pass.
        dtype: floating-point type to store; None keeps the output's.

    Returns:
        For each site a matrix (n, d) on the model's device, in the order of ``sites``.

    Raises:
        KeyError: for an unknown submodule, listing the available ones.
        ValueError: if a site is reached never or twice in a forward pass, or its output is no feature.
    """
    check_batch(images, batch)
    if isinstance(pool, bool) or not isinstance(pool, int) or pool < 1:
        raise ValueError(f"pool must be a whole number >= 1; got {pool!r}")
    modules = find_sites(model, sites)
    recorder = _Recorder(list(modules), len(images), pool, dtype)
    hooks = [module.register_forward_hook(recorder.hook(site)) for site, module in modules.items()]
    device = device_of(model, images)
    try:
        with evaluating(model):
            for part in images.split(batch):
                recorder.begin(len(part))
                model(part.to(device))
                recorder.finish()
    finally:
        for hook in hooks:
            hook.remove()
    return recorder.features


def find_sites(model: nn.Module, sites: Sites) -> dict[str, nn.Module]:
    """Return the submodule of each site.

    Args:
        model: any network.
        sites: as in :func:`site_features`; one name alone is one site.

    Returns:
        {name of the site: submodule}.

    Raises:
        KeyError: for an unknown submodule, listing the available ones.
        ValueError: if no site is named, or one twice.
    """
    names = [sites] if isinstance(sites, str) else sites
    wanted = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
    if not wanted or len(wanted) != len(names):
        raise ValueError(f"name at least one site, and each once; got {list(names)}")
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in wanted.values():
        if name not in modules or not name:
            available = ", ".join(filter(None, modules))
            raise KeyError(f"the network has no site {name!r}; available are {available}")
    return {site: modules[name] for site, name in wanted.items()}


def default_sites(model: nn.Module, images: Tensor) -> tuple[dict[str, str], dict[str, str]]:
    """Return the direct children at which a network can be probed, and why the others cannot.

    Args:
        model: any network; evaluated on a few images.
        images: shape (n, ...), n >= 1, whatever the network takes.

    Returns:
        {name of the site: name of the submodule}, and {name of a child left out: the reason}. A child is left
        out if one forward pass uses it never or twice (a shared activation), or if it gives no feature.
    """
    some = images[:2].to(device_of(model, images))
    given: dict[str, list[Any]] = {name: [] for name, _ in model.named_children()}
    hooks = [
        child.register_forward_hook(lambda module, inputs, output, name=name: given[name].append(output))
        for name, child in model.named_children()
    ]
    try:
        with evaluating(model):
            model(some)
    finally:
        for hook in hooks:
            hook.remove()
    left_out = {name: f"used {len(seen)} times" for name, seen in given.items() if len(seen) != 1}
    for name in given.keys() - left_out.keys():
        if not _is_feature(given[name][0], len(some)):
            left_out[name] = "gives no feature"
    return {name: name for name in given if name not in left_out}, left_out


def _is_feature(output: Any, rows: int) -> bool:
    return isinstance(output, Tensor) and output.ndim in (2, 3, 4) and len(output) == rows


class _Recorder:
    """Pools what passes the sites and writes it into one preallocated matrix per site."""

    def __init__(self, sites: Sequence[str], n: int, pool: int, dtype: torch.dtype | None) -> None:
        self.features: dict[str, Tensor] = dict.fromkeys(sites, torch.empty(0))
        self._n, self._pool, self._dtype = n, pool, dtype
        self._start = self._rows = 0
        self._calls: dict[str, int] = {}

    def begin(self, rows: int) -> None:
        """Start a forward pass over ``rows`` images."""
        self._rows, self._calls = rows, dict.fromkeys(self.features, 0)

    def hook(self, site: str) -> Callable[[nn.Module, Any, Any], None]:
        """Return the forward hook of one site."""

        def record(module: nn.Module, inputs: Any, output: Any) -> None:
            self._calls[site] += 1
            self._store(site, self._flat(site, output))

        return record

    def finish(self) -> None:
        """End a forward pass; each site must have been passed once."""
        for site, count in self._calls.items():
            if count != 1:
                raise ValueError(
                    f"site {site!r} was passed {count} times in one forward pass; choose a submodule that is "
                    "used once"
                )
        self._start += self._rows

    def _flat(self, site: str, output: Any) -> Tensor:
        shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        if not _is_feature(output, self._rows):
            raise ValueError(
                f"site {site!r} gives {shape} for {self._rows} images; a feature has shape (B, d), (B, T, d) "
                "or (B, c, h, w)"
            )
        if output.ndim == 3:
            return output.mean(dim=1)
        if output.ndim == 4:
            height, width = output.shape[2:]
            return adaptive_avg_pool2d(output, (min(height, self._pool), min(width, self._pool))).flatten(1)
        return output

    def _store(self, site: str, rows: Tensor) -> None:
        if self._start == 0:
            self.features[site] = rows.new_empty(self._n, rows.shape[1], dtype=self._dtype)
        self.features[site][self._start : self._start + self._rows] = rows
