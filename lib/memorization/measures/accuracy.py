"""How much of a labelling a network has memorized: on clean images, on fresh views, on a bank of views.

Anagnostidis et al. (ICLR 2023). "Training accuracy" has several meanings that differ a lot, so they keep
their names: the *batch accuracy* comes from the training loop (training mode, augmented batches); here are
the *clean-view accuracy* (un-augmented images, which overstates memorization), the *fresh-view accuracy*
(new random views) and the accuracy on a fixed *bank* of views, all in evaluation mode: no gradients, and
every mode restored after. An untrained network is measured with batch-norm statistics that one pass over
images has set.

Groups of examples have an accuracy each (Sagawa et al., ICLR 2020); one without an example has none: NaN,
never 0, and it is not the worst one.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from memorization.checks import as_classes, check_images, check_tensor, check_whole
from memorization.data.augmentation.policies import check_views
from memorization.models.networks import evaluating

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
        TypeError: for images that are not floating point, or labels that are not integers.
        ValueError: for images outside [0, 1], labels that do not fit, draws < 1, a policy that returns
            no finite view of each image, or a network whose outputs are not finite.
    """
    check_images(images, bytes_too=False)
    check_batch(images, batch)
    scores = class_scores(model, images, batch)
    wanted = as_classes(labels, len(images), "training", scores.shape[1]).to(scores.device)
    found = {"clean_view": _agreement(scores, wanted)}
    if policy is None:
        return found
    if generator is None:
        raise ValueError("fresh views are drawn at random: pass a generator with the policy")
    check_whole("draws", draws, 1)
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
    check_tensor("bank", bank)
    check_tensor("labels", labels)
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
    return _agreement(scores, as_classes(goals, n * views, "bank", scores.shape[1]).to(scores.device))


def _agreement(scores: Tensor, labels: Tensor) -> float:
    return float((scores.argmax(dim=1) == labels).double().mean())


def class_scores(model: nn.Module, images: Tensor, batch: int = 1024) -> Tensor:
    """Return the network's outputs in evaluation mode.

    Args:
        model: maps (B, ...) to (B, C).
        images: shape (n, ...); batches are moved to the model's device.
        batch: images per forward pass.

    Returns:
        Scores of the classes, shape (n, C), on the model's device.

    Raises:
        ValueError: if there are no images, or the output is not one row of finite scores per image: a class
            would be read off NaN as well.
    """
    check_batch(images, batch)
    device = device_of(model, images)
    with evaluating(model):
        scores = torch.cat([_scores(model, part.to(device)) for part in images.split(batch)])
    broken = int((~scores.isfinite()).any(dim=1).sum())
    if broken:
        raise ValueError(
            f"the network gives NaN or Inf for {broken} of {len(scores)} images; a network that diverged "
            "cannot be evaluated: look for the step at which its loss grew, or for images that are not finite"
        )
    return scores


def _scores(model: nn.Module, images: Tensor) -> Tensor:
    scores = model(images)
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise ValueError(
            f"the network must map {len(images)} images to scores of shape ({len(images)}, C); got {shape}"
        )
    return scores


def check_batch(images: Tensor, batch: int) -> None:
    """Refuse what is no tensor, an empty set of images, and a batch that is not a whole number >= 1."""
    check_tensor("images", images)
    if images.ndim == 0 or len(images) == 0:
        raise ValueError(f"at least one image is needed; got shape {tuple(images.shape)}")
    check_whole("batch", batch, 1)


def calibrated(model: nn.Module, images: Tensor, batch: int = 1024) -> nn.Module:
    """Copy a network and set its batch-norm statistics to their averages over one pass.

    An untrained network has running mean 0 and variance 1, that is no normalization at all, which moves the
    k-NN probe at initialization by several percentage points, up or down. Benign or malign is judged against
    that probe, so it is measured on a calibrated copy.

    Each layer sees batches normalized by their own statistics, as in training, and stores the average of the
    batches' means and (unbiased) variances, weighted by the batches' sizes. Everything else, such as
    dropout, is in evaluation mode.

    Args:
        model: any network; it is not changed. Without batch norm the copy is equal to it.
        images: shape (n, ...), un-augmented training images; at least two for batch norm on vectors.
        batch: largest number of images per forward pass; the images are split into nearly equal batches.

    Returns:
        A deep copy with the same weights and modes on the same device.
    """
    check_batch(images, batch)
    twin = copy.deepcopy(model)
    norms = [m for m in twin.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    momenta, seen = [norm.momentum for norm in norms], 0
    # By hand: torch.optim.swa_utils.update_bn turns dropout on, and weighs batches of any size alike.
    with evaluating(twin):
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
        for part in images.tensor_split(-(-len(images) // batch)) if norms else ():
            seen += len(part)
            for norm in norms:
                norm.momentum = len(part) / seen  # makes the running value the weighted average so far
            twin(part.to(device_of(twin, images)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return twin


def device_of(model: nn.Module, images: Tensor) -> torch.device:
    """Return the device of a network's first parameter or buffer, or the images' if it has none."""
    first = next(chain(model.parameters(), model.buffers()), images)
    return first.device


@dataclass(frozen=True)
class GroupAccuracies:
    """Accuracies on one split.

    Attributes:
        groups: accuracy of each of G groups, in [0, 1], NaN for one without an example; shape (G,), float64.
        counts: examples of each group in this split, shape (G,).
        average: the plain mean over the examples of the split.
    """

    groups: Tensor
    counts: Tensor
    average: float

    @property
    def worst(self) -> float:
        """Worst-group accuracy: the smallest accuracy of a group that is present."""
        return float(self.groups[self.counts > 0].min())

    def average_at(self, counts: Tensor) -> float:
        """Average accuracy if the groups were as large as ``counts``, those of the training set, say.

        This is the average that tables on Waterbirds print, whose test set has another mix than its training
        set.

        Args:
            counts: shape (G,), >= 0, one above 0.

        Returns:
            The weighted mean; NaN where a group with a weight has no example here.
        """
        weights = counts.double() / counts.double().sum()
        there = weights > 0
        return float((weights[there] * self.groups[there]).sum()) if bool(there.any()) else math.nan


def group_accuracies(predictions: Tensor, labels: Tensor, groups: Tensor, count: int) -> GroupAccuracies:
    """Measure the accuracy of each group.

    Args:
        predictions: predicted classes, shape (N,), int64.
        labels: true classes, shape (N,), int64.
        groups: number of each example's group, shape (N,), int64 in 0..G-1.
        count: the number G of groups, >= 1.

    Raises:
        ValueError: columns of another length, no example, or a group outside 0..G-1.
    """
    check_whole("count", count, 1)
    for name, column in (("predictions", predictions), ("labels", labels), ("groups", groups)):
        check_tensor(name, column)
        if column.ndim != 1 or len(column) != len(labels) or len(column) == 0:
            raise ValueError(
                f"{name} have shape {tuple(column.shape)} for {len(labels)} labels; allowed: one for each "
                "example, at least one"
            )
    if not 0 <= int(groups.min()) <= int(groups.max()) < count:
        raise ValueError(f"groups lie in {int(groups.min())}..{int(groups.max())}; allowed: 0..{count - 1}")
    right = (predictions == labels).double()
    counts = torch.bincount(groups, minlength=count)
    sums = torch.zeros(count, dtype=torch.float64, device=right.device).scatter_add_(0, groups, right)
    found = torch.where(counts > 0, sums / counts.clamp(min=1), math.nan)
    return GroupAccuracies(found.cpu(), counts.cpu(), float(right.mean()))
