"""Checkpoints: a training that was lost goes on from its last one, and ends with the same numbers."""

from __future__ import annotations

import hashlib
import io
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from memorization.training.batches import Batches, checksum, described
from memorization.training.recipe import Recipe

_VERSION = 3  # 3: with the state of the objective, the best step and what failed
_DIGEST = 32  # bytes of SHA-256 before the content: a flipped bit would go on from other weights, silently


def save_checkpoint(path: Path, name: dict[str, str], state: dict[str, Any]) -> None:
    """Write a checkpoint, complete or not at all; ``name`` says which training it belongs to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = io.BytesIO()
    torch.save({"version": _VERSION, "training": name, "state": state}, content)
    half = path.with_name(f".{path.name}.part")
    half.write_bytes(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
    os.replace(half, path)


def load_checkpoint(path: Path | None, name: dict[str, str]) -> dict[str, Any] | None:
    """Return the saved state of this training; None where there is no file.

    Raises:
        RuntimeError: if the file cannot be read.
        ValueError: if it is a folder, or belongs to another training; names what differs.
    """
    if path is None or not path.exists():
        return None
    if path.is_dir():
        raise ValueError(f"checkpoint={str(path)!r} is a folder; give the name of a file in it")
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[_DIGEST:]).digest() != content[:_DIGEST]:
            raise ValueError("its checksum does not fit")
        found = torch.load(io.BytesIO(content[_DIGEST:]), map_location="cpu", weights_only=True)
        version, saved, state = found["version"], found["training"], found["state"]
    except Exception as error:
        raise RuntimeError(
            f"{path} cannot be read as a checkpoint ({type(error).__name__}: {error}); "
            "delete it to begin anew"
        ) from error
    if version != _VERSION:
        raise ValueError(
            f"{path} has checkpoint version {version}, this code reads {_VERSION}; delete it to begin anew"
        )
    different = [key for key in name if saved.get(key) != name[key]]
    if different:
        raise ValueError(
            f"{path} belongs to another training: {', '.join(different)} differ; "
            "give another file, or delete this one to begin anew"
        )
    return state


def identity(stack: Any, batches: Batches, recipe: Recipe, objective: Any) -> dict[str, str]:
    """Return what makes a training this one: a short checksum of each part.

    The number of epochs is left out where the schedule does not depend on it, so that a finished training can
    be prolonged. An objective with a state, or with tables by example, is known by all its tensors: two that
    weigh other groups are not the same training.
    """
    settings = asdict(recipe)
    if recipe.schedule == "constant":
        del settings["epochs"]
    named = objective if isinstance(objective, str) else described(objective)
    if isinstance(objective, nn.Module):
        tensors = [*dict(objective.named_buffers()).values(), *objective.parameters()]
        named = f"{type(objective).__qualname__} {checksum(*tensors)} {objective.extra_repr()}"
    return {
        "recipe": hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16],
        **batches.identity(),
        "objective": named,
        "initial weights": checksum(*stack.state_dict().values()),
    }
