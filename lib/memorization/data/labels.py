"""Random labels, balanced or not, partial label noise, and groups of images of one class."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from memorization.checks import as_classes, check_tensor, check_whole
from memorization.draws import generator as seeded


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


def balanced_labels(
    ids: Tensor, count: int, seed: int, classes: Tensor | None = None, *, few: bool = False
) -> Tensor:
    """Draw random labels 0..n-1 by example id, each as often as the others up to one.

    Becker et al. (ICLR 2026): labels are drawn once before the training, and stay. That they are balanced is
    ours: then chance is 1/n, and always saying the most frequent label is no better. They depend on seed, ids
    and classes, and not on the order of the rows.

    Args:
        ids: shape (N,), int64, each once.
        count: the number n of random labels, >= 2.
        seed: whole number >= 0.
        classes: shape (N,), integers >= 0: the class that is trained with, given or wrong, for heads of one
            class each: the labels are balanced within each class. None: over all, for one shared head.
        few: allow fewer examples than labels, so that some labels have none: an example against the others.

    Returns:
        Random labels, shape (N,), int64, on the device of ``ids``.

    Raises:
        TypeError: ids or classes of another type.
        ValueError: fewer than two labels, an id that is there twice, or more labels than examples, of all or
            of a class.
    """
    check_label_count(count)
    check_whole("seed", seed, 0)
    _check_ids(ids)
    groups = None if classes is None else as_classes(classes, len(ids), "class").cpu()
    order = ids.cpu().argsort()
    labels = torch.empty(len(ids), dtype=torch.int64)
    for group in [None] if groups is None else groups.unique().tolist():
        members = order if groups is None else order[groups[order] == group]
        if count > len(members) and not few:
            whose = "the whole set" if group is None else f"class {group}"
            raise ValueError(
                f"n={count} random labels, but {whose} has {len(members)} examples; allowed: n <= "
                f"{len(members)}, or few=True, where a label may have no example"
            )
        source = seeded(seed, "balanced random labels", "all" if group is None else group)
        shift = int(torch.randint(count, (1,), generator=source))
        shuffled = members[torch.randperm(len(members), generator=source)]
        labels[shuffled] = (torch.arange(len(members)) + shift) % count
    return labels.to(ids.device)


def label_digest(ids: Tensor, labels: Tensor) -> str:
    """Return sixteen hexadecimal digits that name a labelling, whatever the order of its rows.

    Args:
        ids: shape (N,), int64, each once.
        labels: shape (N,), integers >= 0.

    Raises:
        TypeError: ids or labels of another type.
        ValueError: an id that is there twice, or labels that are not one for each.
    """
    _check_ids(ids)
    numbers = as_classes(labels, len(ids), "random").cpu()
    pairs = torch.stack([ids.cpu(), numbers])[:, ids.cpu().argsort()]
    return hashlib.sha256(pairs.numpy().tobytes()).hexdigest()[:16]


def check_label_count(count: object) -> None:
    """Refuse a number n of random labels below 2."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 2:
        raise ValueError(f"n={count!r}; need at least two random labels: give a whole number >= 2")


def _check_ids(ids: Tensor) -> None:
    """Refuse what does not name each example."""
    check_tensor("ids", ids)
    if ids.dtype != torch.int64 or ids.ndim != 1 or not len(ids):
        raise TypeError(
            f"ids are {ids.dtype} of shape {tuple(ids.shape)}; allowed: int64 of shape (N,), one for each "
            "example"
        )
    values, times = ids.unique(return_counts=True)
    if bool((times > 1).any()):
        raise ValueError(
            f"id {int(values[times > 1][0])} is there {int(times.max())} times; give each example an id "
            "of its own"
        )


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
