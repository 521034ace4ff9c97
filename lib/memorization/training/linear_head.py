"""A linear classifier on frozen features, trained as in the papers on distribution shift."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from memorization.data.seeds import generator
from memorization.models.initialization import build
from memorization.training.warm_descent import WarmDescent, WarmRecipe


def fit_linear_head(
    features: Tensor,
    labels: Tensor,
    classes: int,
    recipe: WarmRecipe,
    *,
    seed: int,
    batch: int = 256,
    device: str | torch.device = "cpu",
) -> nn.Linear:
    """Train a linear layer by cross-entropy on features that were computed once.

    Zhang et al. (ICML 2024), linear probe: AdamW with learning rate 1e-3, 500 steps of warm-up, 10 epochs of
    batches of 256, and weight decay 0.1 on CLIP's own features, 1e-3 on distilled ones.

    Args:
        features: shape (N, D), floating point, on any device; they stay there, and batches are moved.
        labels: shape (N,), int64 in 0..C-1.
        classes: number C >= 2 of classes.
        recipe: how to descend.
        seed: of the initial weights and the order.
        batch: examples a step, in 1..N; the incomplete last batch is dropped.
        device: where to compute.

    Returns:
        The trained layer, in evaluation mode, on ``device``.

    Raises:
        ValueError: for shapes or labels that do not fit, or a batch larger than N.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    _check(features, labels, classes, batch)
    width = features.shape[1]
    head = build(lambda: nn.Linear(width, classes), generator(seed, "head")).to(device)
    steps = len(features) // batch
    descent = WarmDescent(head.parameters(), recipe, steps)
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(features), generator=generator(seed, "head order", epoch))
        for chosen in order[: steps * batch].to(features.device).view(steps, batch):
            seen, wanted = features[chosen].to(device).float(), labels[chosen.to(labels.device)].to(device)
            descent.down(cross_entropy(head(seen), wanted))
        descent.end_epoch()
    return head.eval().requires_grad_(False)


def _check(features: Tensor, labels: Tensor, classes: int, batch: int) -> None:
    if features.ndim != 2 or not features.is_floating_point() or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features are {features.dtype} of shape {tuple(features.shape)}, labels of shape "
            f"{tuple(labels.shape)}; allowed: floating point (N, D) and (N,)"
        )
    if classes < 2 or bool(((labels < 0) | (labels >= classes)).any()):
        raise ValueError(f"labels must be in 0..{classes - 1} (classes={classes}; at least 2)")
    if not 1 <= batch <= len(features):
        raise ValueError(f"batch={batch}; allowed: 1 to {len(features)}, the number of examples")
