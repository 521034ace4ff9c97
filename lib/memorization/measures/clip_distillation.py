"""The experiment on CLIP: a student that learned CLIP's features on ImageNet, tested under shift.

Zhang et al. (ICML 2024), distillation: the student has the teacher's architecture and sees the teacher's
features as targets, so neither labels nor capacity explain where it falls behind the teacher.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from memorization.data.imagenet import IMAGENET_SHIFTS, PictureSet, imagenet_set
from memorization.data.large_pictures import Preparation, central_batches, training_batches
from memorization.data.seeds import generator
from memorization.data.words import did_you_mean
from memorization.measures.imitation import distillation_error
from memorization.measures.picture_sets import collected, top1
from memorization.models.clip import CLIP_STUDENTS, clip_student, clip_teacher
from memorization.runs.sweep import experiment
from memorization.training.distillation import Distilled, fit_to_teacher
from memorization.training.linear_head import fit_linear_head
from memorization.training.warm_descent import WarmRecipe

Row = dict[str, Any]
HEAD_DECAY = {"teacher": 0.1, "student": 1e-3}
"""Weight decay of the linear probe, from the scripts of Zhang et al. (ICML 2024)."""


@experiment("distil_clip")
def distil_clip(
    *,
    architecture: str = "RN50",
    root: str = "",
    weights: str = "",
    classes: int | None = None,
    shifts: Sequence[str] = IMAGENET_SHIFTS,
    pixels: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    warmup: int = 10_000,
    batch: int = 256,
    precision: str = "float32",
    probe_epochs: int = 10,
    probe_warmup: int = 500,
    workers: int = 8,
    device: str = "cpu",
    checkpoints: str = "",
    seed: int = 0,
) -> list[Row]:
    """Distill a CLIP image tower on ImageNet; probe teacher and student on ImageNet and its shifts.

    The paper's setting is the default; RN50 then takes days on one GPU. A cheaper variant: ``classes=100,
    pixels=160, epochs=30, warmup=1000``.

    Args:
        architecture: a name of ``CLIP_STUDENTS``, which also holds what None stands for below.
        root: folder that holds ``imagenet`` and the shifts; empty: ``$MEMORIZATION_DATA`` or ``data``.
        weights: file with OpenAI's weights; empty: the local caches.
        classes: number of ImageNet classes, spread evenly; None: all.
        shifts: some of ``v2``, ``r``, ``a``, ``sketch``, ``objectnet``.
        pixels: side of the views.
        epochs: passes over the training half.
        learning_rate: of the student.
        weight_decay: of the student.
        warmup: steps, fewer than those of the training.
        batch: pictures a step, of student and probe.
        precision: of the student's training, ``float32`` or ``bf16``.
        probe_epochs: epochs of the linear probe.
        probe_warmup: steps.
        workers: worker processes that decode pictures.
        device: where to compute.
        checkpoints: folder for a checkpoint after each epoch, to go on from after a loss; empty: none.
        seed: of the student's weights, the views and the probes.

    Returns:
        One row for ``teacher`` and ``student`` and each set (``val`` and the shifts): ``model``, ``set``,
        ``images``, ``accuracy`` (top-1), ``distillation_error`` (in units of the variance of the teacher's
        features; 0 for the teacher itself) and ``loss`` of the student's last epoch.

    Raises:
        FileNotFoundError: if a set or the weights are absent, before anything is trained.
        ImportError: if open_clip is absent.
        ValueError: for values out of range.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    if architecture not in CLIP_STUDENTS:
        meant = did_you_mean(architecture, CLIP_STUDENTS)
        names = ", ".join(CLIP_STUDENTS)
        raise ValueError(f"unknown architecture {architecture!r}{meant}; choose one of {names}")
    sets = {name: imagenet_set(name, root or None, classes=classes) for name in ("train", "val", *shifts)}
    settings = CLIP_STUDENTS.get(architecture)
    teacher = clip_teacher(architecture, weights, pixels=pixels)  # refuses an unknown architecture
    assert settings is not None
    how = Preparation(pixels or settings.pixels)
    student = clip_student(architecture, generator(seed, "student"), pixels=pixels)
    recipe = WarmRecipe(
        settings.epochs if epochs is None else epochs,
        settings.learning_rate if learning_rate is None else learning_rate,
        settings.weight_decay if weight_decay is None else weight_decay,
        warmup,
    )
    file = _checkpoint(checkpoints, architecture, seed, recipe, how, sets["train"], batch)
    views = training_batches(sets["train"], how, batch, seed, workers)
    done = fit_to_teacher(
        teacher,
        student,
        views,
        len(sets["train"]) // batch,
        recipe,
        precision=precision,
        device=device,
        data=f"{sets['train'].digest()} {how} {batch} {seed}",
        checkpoint=file,
    )
    probe = WarmRecipe(probe_epochs, 1e-3, 0.0, probe_warmup)
    return _rows(teacher, done, sets, how, probe, batch, workers, device, seed)


def _checkpoint(folder: str, architecture: str, seed: int, *what: Any) -> Path | None:
    """A file for this training; the checkpoint itself knows what else must agree."""
    if not folder:
        return None
    *settings, pictures, batch = what
    text = f"{settings} {pictures.digest()} {batch}"
    return Path(folder) / f"clip-{architecture}-{seed}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.pt"


def _rows(
    teacher: nn.Module,
    done: Distilled,
    sets: dict[str, PictureSet],
    how: Preparation,
    probe: WarmRecipe,
    batch: int,
    workers: int,
    device: str,
    seed: int,
) -> list[Row]:
    """Probe both towers: their features are computed once for each set."""
    rows: list[Row] = []
    classes = len(sets["train"].groups)
    wanted: dict[str, Tensor] = {}
    for model, tower in (("teacher", teacher), ("student", done.student)):
        found = {
            name: collected(tower, central_batches(pictures, how, batch, workers), len(pictures), device)
            for name, pictures in sets.items()
        }
        recipe = replace(probe, weight_decay=HEAD_DECAY[model])
        train = found.pop("train")
        labels = sets["train"].labels
        head = fit_linear_head(train, labels, classes, recipe, seed=seed, batch=batch, device=device).cpu()
        del train  # 5 GB
        wanted = wanted or found
        for name, features in found.items():
            row = {"model": model, "set": name, "images": len(sets[name])}
            row |= {"accuracy": top1(head(features), sets[name])}
            row |= {"distillation_error": distillation_error(features, wanted[name]).item()}
            rows.append({**row, "loss": float(done.history["loss"].iloc[-1])})
    return rows
