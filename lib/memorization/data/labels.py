"""Random labels, partial label noise, and groups of images of one class."""

from __future__ import annotations

import torch
from torch import Tensor


def random_labels(
    n: int, classes: int, generator: torch.Generator, noise: float = 1.0, true: Tensor | None = None
) -> Tensor:
    """Draw random labels, and keep the true label of exactly floor(n (1 - noise)) examples.

    Anagnostidis et al., random labels and partial label noise: labels are drawn i.i.d. uniform over the
    classes, with replacement and independent of the images, so a fraction of about 1/C of them is right by
    chance. One generator state gives the same random labels at every noise level.

    Args:
        n: number N of examples, >= 0.
        classes: number C of classes, >= 1.
        generator: of the labels alone, on the CPU, so that they do not depend on anything else.
        noise: fraction p of examples with a random label, 0..1.
        true: true labels, shape (N,), int64 in 0..C-1; needed for noise < 1.

    Returns:
        int64 labels of shape (N,) in 0..C-1, on the device of ``true``.

    Raises:
        ValueError: for a noise level outside [0, 1], fewer than 1 class, or true labels that are missing, of
            another length or outside 0..C-1.
    """
    if not 0 <= noise <= 1:
        raise ValueError(f"label noise {noise} is outside [0, 1]; give the fraction of random labels")
    if classes < 1:
        raise ValueError(f"classes={classes}; at least 1 class is needed")
    labels = torch.randint(classes, (n,), generator=generator)
    if noise == 1:
        return labels if true is None else labels.to(true.device)
    if true is None:
        raise ValueError(f"label noise {noise} keeps true labels; give them as true=")
    _check_true(true, n, classes)
    # 10 * (1 - 0.9) is 0.99...: without the small number no label would be kept
    kept = torch.randperm(n, generator=generator)[: int(n * (1 - noise) + 1e-9)]
    labels[kept] = true.cpu()[kept]
    return labels.to(true.device)


def class_groups(labels: Tensor, anchors: Tensor | None, size: int, generator: torch.Generator) -> Tensor:
    """Give each anchor image further images of its class, to be shown as if they were its views.

    Anagnostidis et al., the arm of ideal augmentations: a "view" of an image is another image of its true
    class. Groups are disjoint. A group counts its anchor; the authors' number of augmentations is size - 1.

    Args:
        labels: true labels, shape (N,), int64.
        anchors: numbers of A images, shape (A,), int64, all different; None takes as many random anchors as
            the classes can fill groups for.
        size: images in a group, >= 1, the anchor included.
        generator: CPU generator of the choice.

    Returns:
        Numbers of images, shape (A, size), int64, on the CPU; the anchors are column 0.

    Raises:
        ValueError: if ``size`` is no whole number >= 1, an anchor is named twice, or a class has too few
            images; without anchors, if no class fills a single group.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(
            f"groups of size {size!r}; a group has at least its anchor (size 1): give a whole number >= 1"
        )
    labels, order = labels.cpu(), torch.randperm(len(labels), generator=generator)
    if anchors is None:
        anchors = _all_anchors(labels[order], order, size)
    anchors = anchors.cpu()
    if len(anchors.unique()) != len(anchors):
        raise ValueError(
            "an anchor is named twice; groups are disjoint, so every anchor must be another image"
        )
    free = torch.ones(len(labels), dtype=torch.bool)
    free[anchors] = False
    order = order[free[order]]
    groups = torch.empty(len(anchors), size, dtype=torch.int64)
    groups[:, 0] = anchors
    for label in labels[anchors].unique().tolist():
        members, rows = order[labels[order] == label], labels[anchors] == label
        count = int(rows.sum())
        if count * (size - 1) > len(members):
            raise ValueError(
                f"class {label} has {len(members) + count} images, but its {count} anchors with groups of "
                f"size {size} need {count * size}; ask for smaller groups or fewer anchors of this class"
            )
        groups[rows, 1:] = members[: count * (size - 1)].view(count, size - 1)
    return groups


def _all_anchors(labels: Tensor, order: Tensor, size: int) -> Tensor:
    """Return the first images of each class, as many as groups fit into it."""
    classes = labels.unique().tolist()
    chosen = [order[labels == c][: int((labels == c).sum()) // size] for c in classes]
    if labels.numel() and not any(len(part) for part in chosen):
        largest = int(labels.unique(return_counts=True)[1].max())
        raise ValueError(
            f"no class has images enough for one group of size {size}; the largest has {largest}: ask for "
            f"groups of size 1..{largest}"
        )
    return torch.cat(chosen) if chosen else order


def _check_true(true: Tensor, n: int, classes: int) -> None:
    if true.shape != (n,):
        raise ValueError(f"true labels have shape {tuple(true.shape)} for {n} examples; give one label each")
    if n and not (int(true.min()) >= 0 and int(true.max()) < classes):
        raise ValueError(
            f"true labels lie in {int(true.min())}..{int(true.max())}; allowed: 0..{classes - 1} "
            f"(classes={classes})"
        )
