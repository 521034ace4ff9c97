"""How much of a labelling a network has memorized: on clean images, on fresh views, on a bank of views.

Anagnostidis et al. (ICLR 2023). "Training accuracy" has several meanings that differ a lot, so they keep
their names: the *batch accuracy* comes from the training loop (training mode, augmented batches); here are
the *clean-view accuracy* (un-augmented images, which overstates memorization), the *fresh-view accuracy*
(new random views) and the accuracy on a fixed *bank* of views, all in evaluation mode.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from memorization.data.view_checks import check_views
from memorization.measures.evaluation import check_batch, check_images, class_scores, device_of
from memorization.measures.probe import check_labels

Policy = Callable[..., Tensor]


def memorization_accuracies(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    policy: Policy | None = None,
    generator: torch.Generator | None = None,
    *,
    draws: int = 4,
    strength: float = 1.0,
    batch: int = 1024,
) -> dict[str, float]:
    """Measure which fraction of the memorized labels the network gives back.

    Args:
        model: maps images to scores (B, C).
        images: the training images, shape (n, c, S, S), float in [0, 1].
        labels: the labels that it was trained on, shape (n,), integers in 0..C-1.
        policy: augmentation, ``policy(images, generator, strength=strength)``; None measures no fresh views.
        generator: source of the views; needed with a policy.
        draws: fresh views per image, >= 1.
        strength: passed to the policy.
        batch: images per forward pass; the views drawn depend on it.

    Returns:
        ``clean_view`` and, with a policy, ``fresh_view``: accuracies in [0, 1].

    Raises:
        TypeError: for labels that are not integers.
        ValueError: for images not float in [0, 1], labels that do not fit, draws < 1, a policy that returns
            no finite view of each image, or a network whose outputs are not finite.
    """
    check_images(images)
    check_batch(images, batch)
    scores = class_scores(model, images, batch)
    wanted = check_labels(labels, len(images), "training", scores.shape[1]).to(scores.device)
    found = {"clean_view": _agreement(scores, wanted)}
    if policy is None:
        return found
    if generator is None:
        raise ValueError("fresh views are drawn at random: pass a generator with the policy")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws must be a whole number >= 1; got {draws!r}")
    device, total = device_of(model, images), 0.0
    for _ in range(draws):
        for part, goal in zip(images.split(batch), wanted.split(batch), strict=True):
            here = part.to(device)
            views = policy(here, generator, strength=strength)
            check_views(policy, here, views, unit_range=False)
            total += _agreement(class_scores(model, views, batch), goal) * len(part)
    return found | {"fresh_view": total / (draws * len(images))}


def bank_accuracy(model: nn.Module, bank: Tensor, labels: Tensor, *, batch: int = 1024) -> float:
    """Measure memorization on the fixed views that a network was trained on.

    Args:
        model: maps images to scores (B, C).
        bank: K fixed views of each image, shape (n, K, c, S, S), floating point.
        labels: shape (n,), shared by an image's views, or (n, K), one label per view; integers in 0..C-1.
        batch: images whose K views are taken together; a forward pass has at most ``batch`` views.

    Returns:
        Accuracy over all n K views, in [0, 1].

    Raises:
        TypeError: for labels that are not integers.
        ValueError: for a bank that is not float or has no view, or labels that do not fit.
    """
    if bank.ndim != 5 or 0 in bank.shape or not bank.is_floating_point():
        raise ValueError(
            "the bank must hold float views of shape (n, K, channels, height, width) with K >= 1; "
            f"got {bank.dtype} of shape {tuple(bank.shape)}"
        )
    n, views = bank.shape[:2]
    if tuple(labels.shape) not in ((n,), (n, views)):
        raise ValueError(
            f"labels must have shape ({n},), shared by the views, or ({n}, {views}), one per view; "
            f"got {tuple(labels.shape)}"
        )
    goals = (labels if labels.ndim == 2 else labels[:, None].expand(n, views)).flatten()
    scores = class_scores(model, bank.flatten(0, 1), batch)
    return _agreement(scores, check_labels(goals, n * views, "bank", scores.shape[1]).to(scores.device))


def _agreement(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(dim=1) == labels).double().mean())
