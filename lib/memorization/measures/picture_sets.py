"""Accuracy of networks on ImageNet and its shifts, from features or outputs that are computed once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from memorization.data.imagenet import PictureSet, set_outputs


@torch.no_grad()
def collected(
    network: nn.Module, batches: Iterable[Sequence[Tensor]], examples: int, device: str | torch.device = "cpu"
) -> Tensor:
    """Return what a network gives for all examples, in evaluation mode.

    Args:
        network: maps (B, ...) to (B, D); moved to ``device`` and left in evaluation mode.
        batches: of images first, in order.
        examples: number N of examples in all the batches.
        device: where to compute.

    Returns:
        Shape (N, D), float32, on the CPU; memory is taken once (ImageNet's training half: 5 GB for D = 1024).

    Raises:
        ValueError: if the batches hold another number of examples.
    """
    network.to(device).eval()
    rows: Tensor | None = None
    done = 0
    for batch in batches:
        given = network(batch[0].to(device, non_blocking=True)).float().cpu()
        if rows is None:
            rows = torch.empty(examples, given.shape[1])
        if done + len(given) <= examples:
            rows[done : done + len(given)] = given
        done += len(given)
    if rows is None or done != examples:
        raise ValueError(f"the batches held {done} examples, {examples} were said")
    return rows


@torch.no_grad()
def top1(outputs: Tensor, pictures: PictureSet) -> float:
    """Return the fraction of pictures whose largest output is that of their class, ties to the first.

    Args:
        outputs: shape (N, C), one column per ImageNet class.
        pictures: N pictures, which also say which columns count.

    Returns:
        In [0, 1].
    """
    guesses = [set_outputs(part, pictures.groups).argmax(1).cpu() for part in outputs.split(4096)]
    return (torch.cat(guesses) == pictures.labels).double().mean().item()
