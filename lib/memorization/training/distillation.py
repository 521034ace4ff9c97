"""Distillation: a student learns a teacher's features from pictures alone, without labels.

Zhang et al. (ICML 2024): if a network of the teacher's own architecture, trained to give the teacher's
features on one distribution, fails on others, then what fails is the learning, not what it can represent.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from memorization.training.checkpoint import load_checkpoint, save_checkpoint
from memorization.training.warm_descent import WarmDescent, WarmRecipe

Batches = Callable[[int], Iterable[Tensor | Sequence[Tensor]]]
"""Returns the batches of an epoch, counted from 0: images, or images and what is not looked at."""
PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True)
class Distilled:
    """A finished distillation.

    Attributes:
        student: the trained student, in evaluation mode.
        history: one row per epoch: ``epoch`` (counted from 1), ``loss``, ``learning_rate``.
    """

    student: nn.Module
    history: pd.DataFrame


def fit_to_teacher(
    teacher: nn.Module,
    student: nn.Module,
    batches: Batches,
    steps: int,
    recipe: WarmRecipe,
    *,
    weight: float = 1.0,
    precision: str = "float32",
    device: str | torch.device = "cpu",
    data: str = "",
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Distilled:
    """Train a student to give a teacher's features.

    Zhang et al. (ICML 2024), distillation of CLIP: the loss is the squared distance of the features, averaged
    over batch and dimensions. The student is in training mode throughout. The teacher is in evaluation mode
    and frozen, sees the same views, and computes in float32.

    Args:
        teacher: maps images (B, ...) to features (B, D); moved to ``device`` and frozen.
        student: the same shapes; trained in place.
        batches: the batches of an epoch.
        steps: batches in each epoch, >= 1.
        recipe: how to descend.
        weight: factor of the loss, > 0; it matters beside the clipping of gradients only.
        precision: ``float32``, or ``bf16`` for the student's arithmetic (weights and loss stay float32).
        device: where to compute.
        data: what the batches are, in words or as a digest: a checkpoint of others is refused.
        checkpoint: file to go on from, where it exists; written after each epoch.
        progress: called as ``progress(epochs done, epochs)``.

    Returns:
        The student and its history.

    Raises:
        ValueError: for values out of range, features of different shapes, an epoch with another number of
            batches, or a checkpoint of another training.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    _check(steps, weight, precision)
    _placed(teacher, device).eval().requires_grad_(False)
    _placed(student, device).train()
    descent = WarmDescent(student.parameters(), recipe, steps)
    name = {
        "recipe": json.dumps({**asdict(recipe), "weight": weight, "precision": precision, "steps": steps}),
        "data": data,
        "teacher": weights_digest(teacher),
        "initial weights": weights_digest(student),
    }
    history: list[dict[str, Any]] = []
    found = load_checkpoint(checkpoint, name)
    if found is not None:
        student.load_state_dict(found["student"])
        descent.restore(found["descent"])
        history = found["history"]
    for epoch in range(len(history), recipe.epochs):
        _epoch(teacher, student, batches(epoch), descent, weight, precision, device)
        if descent.step != (epoch + 1) * steps:
            raise ValueError(
                f"epoch {epoch + 1} had {descent.step - epoch * steps} batches, steps={steps} were said"
            )
        history.append({"epoch": epoch + 1, **descent.end_epoch()})
        if checkpoint is not None:
            state = {"student": student.state_dict(), "descent": descent.saved(), "history": history}
            save_checkpoint(checkpoint, name, state)
        if progress is not None:
            progress(epoch + 1, recipe.epochs)
    return Distilled(student.eval(), pd.DataFrame(history))


def weights_digest(network: nn.Module) -> str:
    """Return sixteen hexadecimal digits of all weights and buffers of a network."""
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        flat = value.detach().cpu().contiguous().reshape(-1)
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _placed(network: nn.Module, device: str | torch.device) -> nn.Module:
    """On a GPU convolutions are faster with the channels last."""
    network.to(device)
    if torch.device(device).type == "cuda":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it
    return network


def _check(steps: int, weight: float, precision: str) -> None:
    if steps < 1 or not weight > 0:
        raise ValueError(f"steps={steps}, weight={weight}; allowed: steps >= 1 in an epoch, weight > 0")
    if precision not in PRECISIONS:
        raise ValueError(f"precision={precision!r}; allowed: {', '.join(PRECISIONS)}")


def _epoch(
    teacher: nn.Module,
    student: nn.Module,
    batches: Iterable[Tensor | Sequence[Tensor]],
    descent: WarmDescent,
    weight: float,
    precision: str,
    device: str | torch.device,
) -> None:
    kind = torch.device(device).type
    for batch in batches:
        images = batch if isinstance(batch, Tensor) else batch[0]
        images = images.to(device, non_blocking=True)
        if kind == "cuda" and images.ndim == 4:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.no_grad():
            wanted = teacher(images)
        with torch.autocast(kind, torch.bfloat16) if precision == "bf16" else nullcontext():
            given = student(images)
        if given.shape != wanted.shape:
            raise ValueError(
                f"the student gives features of shape {tuple(given.shape)}, the teacher "
                f"{tuple(wanted.shape)}; allowed: the same shape"
            )
        descent.down(weight * (given.float() - wanted.float()).square().mean())
