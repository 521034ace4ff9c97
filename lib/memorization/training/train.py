"""A look at the first batch before anything is trained: what does not fit is told at once.

Where a training stands: the networks still in training, the optimizer, and what was seen so far.

The one training loop: one network or many stacked, from the first step or from a checkpoint.

A look at the losses of stacked networks: a training that cannot go on says where it broke.

AdamW with a linear warm-up by steps, a cosine to zero and clipped gradients, for any module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from memorization.models.stacked import StackedNetwork
from memorization.training.batches import LabelledViews
from memorization.training.checkpoint import identity, load_checkpoint, save_checkpoint
from memorization.training.objectives import Objective
from memorization.training.objectives import objective as objective_named
from memorization.training.recipe import Recipe


def check_first_batch(
    stack: StackedNetwork, views: LabelledViews, recipe: Recipe, *, one_output_per_class: bool
) -> None:
    """Show the first batch to the policy and to a copy of the first network; nothing that is trained moves.

    Args:
        stack: the networks, on the images' device.
        views: what they see.
        recipe: how they are trained.
        one_output_per_class: whether the objective compares output c with class c, as the named ones do.

    Raises:
        TypeError: if the policy cannot be called, or policy or network return no tensor.
        ValueError: if the policy's result is not one view of each image in [0, 1], or the network's not one
            row of at least C outputs for each image.
    """
    examples = views.order(0, recipe.batch)[:, 0]
    views.check_policy(examples)
    images, _ = views.batch(examples, 0)
    network = stack.member(0).train()
    devices = [images.device.index] if images.is_cuda else []
    # dropout draws from the global generator, which training finds as if nobody had looked
    with torch.no_grad(), torch.random.fork_rng(devices=devices), recipe.arithmetic(images.device):
        outputs = network(images[0])
    _check_outputs(outputs, len(images[0]), views, one_output_per_class)


def _check_outputs(outputs: Any, batch: int, views: LabelledViews, one_output_per_class: bool) -> None:
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the networks return a {type(outputs).__name__} in training mode; allowed: one tensor of "
            "outputs of shape (B, C): wrap the network, so that it returns its scores alone"
        )
    if outputs.ndim != 2 or len(outputs) != batch:
        raise ValueError(
            f"the networks map {batch} images to outputs of shape {tuple(outputs.shape)}; "
            f"allowed: ({batch}, C), one row for each image"
        )
    count = outputs.shape[1]
    if one_output_per_class and count < views.classes:
        raise ValueError(
            f"the networks have {count} outputs for {views.classes} classes; give networks with "
            f"{views.classes} outputs"
        )
    if one_output_per_class and views.mix is not None and count != views.classes:
        raise ValueError(
            f"the networks have {count} outputs, mixed labels {views.classes} classes; give networks with "
            f"{views.classes} outputs"
        )


@dataclass
class TrainingState:
    """Everything that changes during a training.

    Attributes:
        stack: the networks still in training.
        optimizer: over the stack's parameters.
        active: the numbers of those networks.
        forward: the stack, or its compiled form.
        epoch: epochs done.
        streak: for each network, epochs in a row at the accuracy at which it may stop.
        finished: networks that are done, each with its number of epochs.
        history: rows of training, see ``Fit``.
        watched: rows that ``watch`` returned.
        looked_at: epochs after which ``watch`` was shown all networks still in training.
    """

    stack: StackedNetwork
    optimizer: torch.optim.Optimizer
    active: list[int]
    forward: Callable[[Tensor], Tensor]
    epoch: int = 0
    streak: dict[int, int] = field(default_factory=dict)
    finished: dict[int, tuple[nn.Module, int]] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    watched: list[dict[str, Any]] = field(default_factory=list)
    looked_at: list[int] = field(default_factory=list)

    @classmethod
    def fresh(cls, stack: StackedNetwork, recipe: Recipe) -> TrainingState:
        """Return the state before the first step; trains a copy."""
        copy = stack.keep(range(stack.size)).train()
        return cls(copy, recipe.build(copy.parameters()), list(range(stack.size)), _forward(copy, recipe))

    def record(self, losses: Tensor, accuracies: Tensor, rate: float) -> None:
        """Keep one finished epoch: losses (M, steps), batch accuracies (M,) and the last learning rate."""
        self.epoch += 1
        means, hits = losses.mean(1).tolist(), accuracies.tolist()
        for member, loss, accuracy in zip(self.active, means, hits, strict=True):
            row = {"loss": loss, "batch_accuracy": accuracy, "learning_rate": rate}
            self.history.append({"member": member, "epoch": self.epoch, **row})

    def leaving(self, recipe: Recipe) -> list[int]:
        """Return the networks that have reached the accuracy at which they may stop."""
        if recipe.stop_at is None:
            return []
        last = {row["member"]: row["batch_accuracy"] for row in self.history[-len(self.active) :]}
        for member in self.active:
            self.streak[member] = self.streak.get(member, 0) + 1 if last[member] >= recipe.stop_at else 0
        return [member for member in self.active if self.streak[member] >= recipe.stop_after]

    def is_due(self, every: int, recipe: Recipe) -> bool:
        """Whether a checkpoint is to be written after this epoch."""
        return self.epoch % every == 0 or self.epoch == recipe.epochs or not self.active

    def watch(self, watch: Any, members: Sequence[int]) -> None:
        """Show networks to ``watch``, in evaluation mode, and keep the rows that it returns."""
        if watch is None or not members:
            return
        if len(members) == len(self.active):
            self.looked_at.append(self.epoch)
        networks = self.stack.members()
        for member in members:
            rows = watch(self.epoch, member, networks[self.active.index(member)].eval())
            self.watched += [{"member": member, "epoch": self.epoch, **row} for row in rows]

    def release(self, leaving: Sequence[int], recipe: Recipe) -> None:
        """Take finished networks out of the stack, so that the others go on faster."""
        if not leaving:
            return
        networks = self.stack.members()
        for member in leaving:
            self.finished[member] = (networks[self.active.index(member)].eval(), self.epoch)
        rows = [row for row, member in enumerate(self.active) if member not in leaving]
        self.active = [self.active[row] for row in rows]
        if rows:
            old = self.optimizer.state_dict()
            self.stack = self.stack.keep(rows)
            self._rebuild(recipe, _rows_of(old, rows, len(rows) + len(leaving)))

    def saved(self) -> dict[str, Any]:
        """Return the state as tensors, numbers and strings."""
        return {
            "stack": self.stack.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "active": self.active,
            "epoch": self.epoch,
            "streak": self.streak,
            "finished": {member: (n.state_dict(), epochs) for member, (n, epochs) in self.finished.items()},
            "history": self.history,
            "watched": self.watched,
            "looked_at": self.looked_at,
        }

    def restore(self, saved: Mapping[str, Any], recipe: Recipe) -> None:
        """Go on from a saved state of the same training."""
        for member, (values, epochs) in saved["finished"].items():
            network = self.stack.members()[0].eval()
            network.load_state_dict(values)
            self.finished[member] = (network, epochs)
        self.active, self.epoch = list(saved["active"]), saved["epoch"]
        self.streak, self.history = saved["streak"], saved["history"]
        self.watched, self.looked_at = saved["watched"], saved["looked_at"]
        if self.active:
            self.stack = self.stack.keep(self.active)
            self.stack.load_state_dict(saved["stack"])
            self._rebuild(recipe, saved["optimizer"])

    def as_undisturbed(self, watch_at: Sequence[int], recipe: Recipe) -> list[int]:
        """Drop looks that an undisturbed training would not have taken, such as that at a former end.

        Returns:
            Epochs that an undisturbed training would have looked at and this one did not.
        """

        def stays(row: Mapping[str, Any]) -> bool:
            epoch, ended = row["epoch"], self.finished.get(row["member"], (None, recipe.epochs))[1]
            return epoch == 0 or epoch in watch_at or epoch == ended

        self.watched = [row for row in self.watched if stays(row)]
        wanted = {0, *watch_at, recipe.epochs}
        self.looked_at = [epoch for epoch in self.looked_at if epoch in wanted]
        return sorted(epoch for epoch in wanted - set(self.looked_at) if 0 <= epoch <= self.epoch)

    def _rebuild(self, recipe: Recipe, optimizer: Mapping[str, Any]) -> None:
        self.optimizer = recipe.build(self.stack.parameters())
        self.optimizer.load_state_dict(dict(optimizer))
        self.forward = _forward(self.stack, recipe)


def _forward(stack: StackedNetwork, recipe: Recipe) -> Callable[[Tensor], Tensor]:
    return torch.compile(stack) if recipe.compiled else stack


def _rows_of(optimizer: Mapping[str, Any], rows: Sequence[int], models: int) -> dict[str, Any]:
    """The optimizer's state for some of the networks: every tensor but the step count has the model axis."""

    def chosen(value: Any) -> Any:
        return value[list(rows)].clone() if isinstance(value, Tensor) and value.ndim else value

    state = {key: {k: chosen(v) for k, v in one.items()} for key, one in optimizer["state"].items()}
    return {"state": state, "param_groups": optimizer["param_groups"]}


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


LOOK_EVERY = 50  # steps between two looks: each costs a GPU a wait


class LossWatch:
    """Looks at the losses of every step, many steps at once.

    Attributes:
        steps: T, after which the last look is taken.
        remedy: what to lower, in the words of the caller's arguments.
    """

    def __init__(self, steps: int, remedy: str) -> None:
        self.steps, self.remedy = steps, remedy
        self._done = 0
        self._waiting: list[Tensor] = []

    def add(self, losses: Tensor) -> None:
        """Take the losses (M,) of the next step.

        Raises:
            TrainingError: one of the waiting losses is not finite; names the first step and its network.
        """
        self._done += 1
        self._waiting.append(losses)
        if len(self._waiting) == LOOK_EVERY or self._done == self.steps:
            check_finite_losses(torch.stack(self._waiting), self._done, self.remedy)
            self._waiting.clear()


def check_finite_losses(losses: Tensor, done: int, remedy: str) -> None:
    """Refuse losses that are not finite.

    Args:
        losses: shape (steps, M), of the last steps.
        done: number of the last of them, counted from 1.
        remedy: what to lower, in the words of the caller's arguments.

    Raises:
        TrainingError: names the first such step, and its first network.
    """
    bad = (~losses.isfinite()).nonzero()
    if len(bad):
        row, member = bad[0].tolist()
        raise TrainingError(
            f"the loss of network {member} became {losses[row, member].item()} at step "
            f"{done - len(losses) + row + 1}; lower the {remedy}, or look for inputs that are not finite"
        )


_LOOK_EVERY = 50  # steps between two looks at the losses: on a GPU each look waits for the device


@dataclass(frozen=True)
class WarmRecipe:
    """One way to descend; the defaults are those of Zhang et al. (ICML 2024) for distilling CLIP's RN50.

    Attributes:
        epochs: passes over the examples, >= 1.
        learning_rate: largest one, > 0.
        weight_decay: decoupled from the gradient, >= 0.
        warmup: steps of linear increase from zero, >= 0; the cosine takes the others.
        clip: largest norm of the gradient of all parameters together, > 0.
    """

    epochs: int = 50
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    warmup: int = 10_000
    clip: float = 1.0

    def __post_init__(self) -> None:
        """Refuse values that cannot train anything."""
        if self.epochs < 1 or self.warmup < 0:
            raise ValueError(
                f"epochs={self.epochs}, warmup={self.warmup}; allowed: epochs >= 1, warmup >= 0 steps"
            )
        for name in ("learning_rate", "clip"):
            if not (getattr(self, name) > 0 and math.isfinite(getattr(self, name))):
                raise ValueError(f"{name}={getattr(self, name)}; allowed: a finite number above 0")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay={self.weight_decay}; allowed: a number >= 0")

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0, of ``steps`` in all."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / (steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * done))


class WarmDescent:
    """A descent that is under way.

    Attributes:
        step: optimizer steps done.
        steps: optimizer steps in all.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], recipe: WarmRecipe, steps: int) -> None:
        """Begin.

        Args:
            parameters: what is trained; those without ``requires_grad`` stay as they are.
            recipe: how.
            steps: optimizer steps in one epoch, >= 1.

        Raises:
            ValueError: if the warm-up would fill the whole training, or nothing can be trained.
        """
        self.step, self.steps, self._recipe = 0, recipe.epochs * steps, recipe
        if recipe.warmup >= self.steps:
            raise ValueError(
                f"warmup={recipe.warmup} steps, but {recipe.epochs} epochs have only {self.steps}; "
                "allowed: fewer, so that the learning rate comes down again"
            )
        self._parameters = [parameter for parameter in parameters if parameter.requires_grad]
        if not self._parameters:
            raise ValueError("no parameter has requires_grad=True: nothing would be trained")
        self._optimizer = torch.optim.AdamW(
            self._parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        self._losses: list[Tensor] = []
        self._looked = 0

    def down(self, loss: Tensor) -> None:
        """Take one step down the gradient of a scalar loss.

        Raises:
            TrainingError: if a loss was infinite or not a number; names its step.
        """
        rate = self._recipe.rate(self.step, self.steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self._parameters, self._recipe.clip)
        self._optimizer.step()
        self._losses.append(loss.detach())
        self.step += 1
        if len(self._losses) - self._looked >= _LOOK_EVERY:
            self._look()

    def end_epoch(self) -> dict[str, float]:
        """Return the mean loss of the steps since the last call, and the last learning rate.

        Raises:
            TrainingError: as :meth:`down`.
        """
        self._look()
        mean = torch.stack(self._losses).double().mean().item() if self._losses else math.nan
        self._losses, self._looked = [], 0
        return {"loss": mean, "learning_rate": self._recipe.rate(max(0, self.step - 1), self.steps)}

    def saved(self) -> dict[str, Any]:
        """Return the state between two epochs as tensors and numbers."""
        return {"step": self.step, "optimizer": self._optimizer.state_dict()}

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from a saved state of the same descent."""
        self.step = saved["step"]
        self._optimizer.load_state_dict(saved["optimizer"])

    def _look(self) -> None:
        values = (
            torch.stack(self._losses[self._looked :]).tolist() if len(self._losses) > self._looked else []
        )
        before = self.step - len(values)
        self._looked = len(self._losses)
        for number, value in enumerate(values, start=before + 1):
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss became {value} at step {number} of {self.steps}; lower the learning rate, or "
                    "look for inputs that are not finite"
                )
