"""The one training loop: one network or many stacked, from the first step or from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from memorization.models.stacked import StackedNetwork
from memorization.training.checkpoint import identity, load_checkpoint, save_checkpoint
from memorization.training.first_batch import check_first_batch
from memorization.training.objectives import Objective
from memorization.training.objectives import objective as objective_named
from memorization.training.recipe import Recipe
from memorization.training.state import TrainingState
from memorization.training.views import LabelledViews

Watch = Callable[[int, int, nn.Module], Sequence[Mapping[str, Any]]]
_AT_ONCE = (
    4096  # views made by one call of the policy: fewer calls for tiny images, little memory for large ones
)


class TrainingError(RuntimeError):
    """A training that cannot go on: says at which step."""


@dataclass(frozen=True)
class Fit:
    """A finished training.

    Attributes:
        networks: the M trained networks, in evaluation mode.
        history: one row per network and epoch: ``member``, ``epoch`` (counted from 1), ``loss``,
            ``batch_accuracy`` (in training mode, on the augmented batches), ``learning_rate``.
        watched: the rows that ``watch`` returned, each with ``member`` and ``epoch``.
        epochs: epochs that each network was trained.
    """

    networks: list[nn.Module]
    history: pd.DataFrame
    watched: pd.DataFrame
    epochs: list[int]


def fit(
    networks: StackedNetwork | Sequence[nn.Module],
    views: LabelledViews,
    recipe: Recipe,
    *,
    objective: str | Objective = "mse",
    watch: Watch | None = None,
    watch_at: Sequence[int] = (),
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """Train networks of one shape, all at once.

    Each network has its own labels, seed, strength and number of views (``views``); all share images, recipe
    and objective. A network of the stack ends as it would alone, up to rounding.

    Args:
        networks: a stack, or a list of M >= 1 networks (copied).
        views: what each network sees.
        recipe: how they are trained.
        objective: ``mse``, ``cross_entropy``, or a function of outputs, targets and example numbers
            that returns losses (M,), see ``training.objectives``.
        watch: called as ``watch(epoch, member, network)`` with a copy in evaluation mode: before the first
            step (epoch 0), after the epochs of ``watch_at`` and after a network's last. Returns rows to keep.
        watch_at: epochs, counted from 1.
        checkpoint: file to go on from, where it exists, and to write; a finished training leaves it. It can
            be prolonged by a recipe of more epochs: then it ends as if it had never stopped, and the look at
            its old end is dropped, unless ``watch_at`` names that epoch.
        checkpoint_every: epochs between two writes.
        progress: called as ``progress(epochs done, epochs)``.

    Returns:
        The trained networks, their history, and what ``watch`` returned.

    Raises:
        TypeError: no list of networks, or a policy or network that does not return a tensor.
        ValueError: views for another number of networks, too few examples for one batch, views or outputs of
            another shape, fewer outputs than classes (named objectives), or a checkpoint of another training
            or of a longer one.
        TrainingError: a loss became infinite or not a number; says where.
    """
    stack = networks if isinstance(networks, StackedNetwork) else StackedNetwork(networks)
    if stack.size != len(views.seeds):
        raise ValueError(f"{stack.size} networks but views for {len(views.seeds)}; give one seed per network")
    recipe.steps(views.examples)
    if type(checkpoint_every) is not int or checkpoint_every < 1:
        raise ValueError(f"checkpoint_every={checkpoint_every!r}; allowed: a whole number of epochs >= 1")
    asked = objective_named(objective) if isinstance(objective, str) else objective
    stack = stack.to(views.images.device)
    check_first_batch(stack, views, recipe, one_output_per_class=isinstance(objective, str))
    name, path = identity(stack, views, recipe, objective), None if checkpoint is None else Path(checkpoint)
    state = _begun(stack, recipe, path, name, watch, watch_at)
    while state.epoch < recipe.epochs and state.active:
        state.record(*_epoch(state, views.take(state.active), recipe, asked))
        leaving = state.leaving(recipe)
        everyone = state.epoch in watch_at or state.epoch == recipe.epochs
        state.watch(watch, members=state.active if everyone else leaving)
        state.release(leaving, recipe)
        if path is not None and state.is_due(checkpoint_every, recipe):
            save_checkpoint(path, name, state.saved())
        if progress is not None:
            progress(state.epoch, recipe.epochs)
    state.release(list(state.active), recipe)
    done = [state.finished[member] for member in range(stack.size)]
    return Fit(
        [n for n, _ in done], pd.DataFrame(state.history), pd.DataFrame(state.watched), [e for _, e in done]
    )


def _begun(
    stack: StackedNetwork,
    recipe: Recipe,
    path: Path | None,
    name: dict[str, str],
    watch: Watch | None,
    watch_at: Sequence[int],
) -> TrainingState:
    """The state before the first step, or that of the checkpoint."""
    state = TrainingState.fresh(stack, recipe)
    found = load_checkpoint(path, name)
    if found is None:
        state.watch(watch, members=range(stack.size))
        return state
    state.restore(found, recipe)
    if state.epoch > recipe.epochs:
        raise ValueError(
            f"{path} holds {state.epoch} epochs, {recipe.epochs} were asked for; give another "
            "file, or delete this one to begin anew"
        )
    missed = [] if watch is None else state.as_undisturbed(watch_at, recipe)
    if missed:
        raise ValueError(
            f"{path} passed epochs {missed} without the look that watch and watch_at ask for; give another "
            "file, or delete this one to begin anew"
        )
    return state


def _epoch(
    state: TrainingState, views: LabelledViews, recipe: Recipe, objective: Objective
) -> tuple[Tensor, Tensor, float]:
    """Train one epoch; return the losses (M, steps), the accuracies (M,) and the last learning rate."""
    order = views.order(state.epoch, recipe.batch)
    models, steps, batch = order.shape
    losses = torch.zeros(models, steps, device=order.device)
    hits = torch.zeros(models, dtype=torch.int64, device=order.device)
    at_once = max(1, _AT_ONCE // (models * batch))
    rate = recipe.learning_rate
    state.stack.train()
    for first in range(0, steps, at_once):
        chosen = order[:, first : first + at_once]
        images, labels = views.batch(chosen.flatten(1), state.epoch)
        images, labels = images.unflatten(1, chosen.shape[1:]), labels.view(chosen.shape)
        for k in range(chosen.shape[1]):
            step = first + k
            rate = recipe.rate(state.epoch * steps + step, steps)
            for group in state.optimizer.param_groups:
                group["lr"] = rate
            seen, targets = views.mixed(images[:, k], labels[:, k], state.epoch, step)
            outputs, loss = _step(state, seen, targets, chosen[:, k], recipe, objective)
            losses[:, step] = loss
            hits += (outputs.argmax(2) == labels[:, k]).sum(1)
    _check_finite(losses.cpu(), state, steps)
    return losses, hits / (steps * batch), rate


def _step(
    state: TrainingState,
    images: Tensor,
    targets: Tensor,
    examples: Tensor,
    recipe: Recipe,
    objective: Objective,
) -> tuple[Tensor, Tensor]:
    """Take one optimizer step; return outputs (M, B, C) and losses (M,), detached."""
    state.optimizer.zero_grad(set_to_none=True)
    with recipe.arithmetic(images.device):
        outputs = state.forward(_in_memory(images, state.stack))
    loss = objective(outputs, targets, examples)
    loss.sum().backward()
    state.optimizer.step()
    return outputs.detach(), loss.detach()


def _in_memory(images: Tensor, stack: StackedNetwork) -> Tensor:
    """Lay images out with the channels last, where convolutions are faster."""
    if images.ndim != 5 or images.shape[2] == 1 or stack.way == "batched":
        return images
    flat = images.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return flat.unflatten(0, images.shape[:2])


def _check_finite(losses: Tensor, state: TrainingState, steps: int) -> None:
    bad = ~losses.isfinite()
    if not bool(bad.any()):
        return
    step = int(bad.any(0).nonzero()[0])
    member = state.active[int(bad[:, step].nonzero()[0])]
    value = losses[state.active.index(member), step].item()
    raise TrainingError(
        f"the loss of network {member} became {value} at step {state.epoch * steps + step + 1} "
        f"(epoch {state.epoch + 1}); lower the learning rate, or look for inputs that are not finite"
    )
