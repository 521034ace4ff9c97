"""The one training loop: many networks of one shape, from the first step or from a checkpoint.

Looking on, stopping one by one, keeping the best step, checkpoints and the check for finite losses are here,
and nowhere else. What the networks see are *batches*, what they make small an *objective*, how a *recipe*.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from memorization.models.stacked import StackedNetwork
from memorization.training.batches import Batch, Batches
from memorization.training.checkpoint import identity, load_checkpoint, save_checkpoint
from memorization.training.objectives import Objective
from memorization.training.objectives import objective as objective_named
from memorization.training.recipe import Optimizer, Recipe, StackedSgd, numbers

Watch = Callable[[int, int, nn.Module], Sequence[Mapping[str, Any]]]
_LOOK_EVERY = 50  # steps between two looks at the losses: each costs a GPU a wait


class TrainingError(RuntimeError):
    """A training that cannot go on: says at which step."""


class OwnStep(Protocol):
    """Stacked networks that bring their own gradient, in closed form; all of them are trained to the end."""

    @property
    def size(self) -> int:
        """M."""

    def parameters(self) -> Sequence[Tensor]:
        """Return what is trained, each with the networks on its first axis."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return all weights by name."""

    def check(self, batch: Batch, objective: Any) -> None:
        """Refuse a first batch that does not fit."""

    def gradients(self, batch: Batch, objective: Any) -> Tensor:
        """Set the parameters' ``grad``, and return the losses (M,)."""


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        networks: the M trained networks, in evaluation mode, at their best step where one was kept, and with
            what the objective trained beside them; None for one that failed. Empty for networks with an own
            step, which are in ``stack``.
        history: one row per network and epoch: ``member``, ``epoch`` (counted from 1), ``loss``,
            ``batch_accuracy`` (in training mode, on the batches; only with labels), ``learning_rate``.
        watched: the rows that ``watch`` returned, each with ``member`` and ``epoch``.
        epochs: epochs that each network was trained (steps, where the recipe counts these).
        failed: for networks whose loss became infinite or not a number, the error that says where.
        best: for each network the epoch that was kept and its score, where ``keep_best`` was asked for.
        states: what a stateful objective kept of each network at its end, by name.
        stack: the networks with an own step.
    """

    networks: list[Any]
    history: pd.DataFrame
    watched: pd.DataFrame
    epochs: list[int]
    failed: dict[int, TrainingError]
    best: dict[int, tuple[int, float]]
    states: dict[int, dict[str, Tensor]]
    stack: Any = None

    def raise_failed(self) -> None:
        """Raise the first network's error, for whoever can do nothing with the others alone.

        Raises:
            TrainingError: a network failed; it says which, and at which step.
        """
        if self.failed:
            raise next(iter(self.failed.values()))


def train(
    networks: StackedNetwork | Sequence[nn.Module] | OwnStep,
    batches: Batches,
    objective: str | Objective | Any,
    recipe: Recipe,
    *,
    watch: Watch | None = None,
    watch_all: Callable[[int, Any], None] | None = None,
    watch_at: Sequence[int] = (),
    keep_best: str = "",
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 100,
    progress: Callable[[int, int], None] | None = None,
) -> Trained:
    """Train networks of one shape, all at once.

    Each network sees its own batches; all share recipe and objective. A network of the stack ends as it would
    alone, up to rounding. One whose loss is not finite fails, and the others go on.

    Args:
        networks: a stack, or a list of M >= 1 networks (copied); or networks with a step of their own.
        batches: what each network sees.
        objective: ``mse``, ``cross_entropy``, or a function of outputs, targets and example numbers that
            returns losses (M,); with a state: a module, see ``training.objectives``.
        recipe: how they are trained.
        watch: called as ``watch(epoch, member, network)`` with a copy in evaluation mode, and with what the
            objective trains beside it: before the first step (epoch 0), after the epochs of ``watch_at`` and
            after a network's last. Returns rows to keep.
        watch_all: called as ``watch_all(epoch, stack)`` at the same times, with the stack in training: what
            is to be kept of it has to be copied.
        watch_at: epochs, counted from 1; steps, where the recipe counts these.
        keep_best: a column of the rows of ``watch``: each network ends as it was when its mean was largest,
            the last time.
        checkpoint: file to go on from, where it exists, and to write; a finished training leaves it. It can
            be prolonged by a recipe of more epochs: then it ends as if it had never stopped, and the look at
            its old end is dropped, unless ``watch_at`` names that epoch.
        checkpoint_every: epochs between two writes.
        progress: called as ``progress(epochs done, epochs)``.

    Returns:
        The trained networks, their history, and what ``watch`` returned.

    Raises:
        TypeError: no list of networks, or a policy or network that does not return a tensor.
        ValueError: batches for another number of networks, too few examples for one batch, views or outputs
            of another shape, fewer outputs than classes (named objectives), or a checkpoint of another
            training or of a longer one.
        TrainingError: the loss of every network became infinite or not a number; says where.
    """
    stack: Any = networks
    if isinstance(networks, Sequence | nn.ModuleList) or not hasattr(networks, "parameters"):
        stack = StackedNetwork(networks)  # type: ignore[arg-type]  # which refuses what is no network
    if stack.size != len(batches.seeds):
        raise ValueError(
            f"{stack.size} networks but batches for {len(batches.seeds)}; give one seed per network"
        )
    batches.steps(recipe.batch)
    if type(checkpoint_every) is not int or checkpoint_every < 1:
        raise ValueError(f"checkpoint_every={checkpoint_every!r}; allowed: a whole number of epochs >= 1")
    if keep_best and hasattr(objective, "dress"):
        raise ValueError(
            f"keep_best={keep_best!r} keeps the best step of networks, but not of their heads; leave it out"
        )
    if keep_best and watch is None:
        raise ValueError(f"keep_best={keep_best!r} needs a watch that returns this column")
    training = _Training(stack, batches, objective, recipe, _Looks(watch, watch_all, watch_at, keep_best))
    path = None if checkpoint is None else Path(checkpoint)
    training.begin(path)
    while not training.over:
        training.epoch()
        if path is not None and training.is_due(checkpoint_every):
            save_checkpoint(path, training.name, training.saved())
        if progress is not None:
            progress(training.done, training.epochs)
    return training.result()


@dataclass(frozen=True)
class _Looks:
    """Who looks on, and when."""

    watch: Watch | None
    watch_all: Callable[[int, Any], None] | None
    at: Sequence[int]
    keep_best: str


class _Training:
    """Where a training stands: the networks still in training, their optimizer, and what was seen so far."""

    def __init__(
        self, stack: Any, batches: Batches, objective: str | Objective, recipe: Recipe, looks: _Looks
    ) -> None:
        self.recipe, self.looks = recipe, looks
        self.by_class = isinstance(objective, str)
        asked = objective_named(objective) if isinstance(objective, str) else objective
        self.objective: Any = copy.deepcopy(asked) if isinstance(asked, nn.Module) else asked
        self.own = hasattr(stack, "gradients")
        self.given = stack
        self.stack: Any = stack if self.own else stack.to(batches.device).keep(range(stack.size)).train()
        self.all_batches = batches
        self.per_epoch = batches.steps(recipe.batch) if recipe.steps is None else recipe.steps
        self.epochs = recipe.epochs if recipe.steps is None else 1
        self.given_objective, self.name = objective, dict[str, str]()
        self.optimizer: Optimizer = recipe.build(self.stack.parameters(), frozen_too=self.own)
        self.largest_rate = numbers(recipe.learning_rate)[0]
        self.forward = self._compiled()
        self.active = list(range(stack.size))
        self.done = 0  # epochs
        self.streak: dict[int, int] = {}
        self.finished: dict[int, tuple[nn.Module, int]] = {}
        self.failed: dict[int, str] = {}
        self.best: dict[int, tuple[int, float, dict[str, Tensor]]] = {}
        self.states: dict[int, dict[str, Tensor]] = {}
        self.history: list[dict[str, Any]] = []
        self.watched: list[dict[str, Any]] = []
        self.looked_at: list[int] = []
        self.stream: Iterator[Batch] = iter(())

    # ---- from beginning to end

    def begin(self, path: Path | None) -> None:
        """Check the first batch, and look on before the first step; or go on from the checkpoint."""
        self.all_batches.check(self.recipe.batch)
        if path is not None and not self.all_batches.identity():
            raise ValueError(
                f"checkpoint={str(path)!r}, but these batches cannot be drawn again; leave the checkpoint out"
            )
        if path is not None:  # which takes as long as to read all data once
            self.name = identity(self.stack, self.all_batches, self.recipe, self.given_objective)
        found = load_checkpoint(path, self.name)
        if found is not None:
            self._restore(found, path)
        if not self.over:
            self._open()
            first = next(self.stream)
            self._check_first(first)
            self.stream = _again(first, self.stream)
        if found is None:
            self._look(0, self.active)

    @property
    def over(self) -> bool:
        """Whether there is nothing left to train."""
        return self.done >= self.epochs or not self.active or not self.per_epoch

    def epoch(self) -> None:
        """Train one epoch, let those go that are ready, and look on."""
        recipe, steps = self.recipe, self.per_epoch
        losses: list[Tensor] = []
        hits: Tensor | int = 0
        seen, rate = 0, recipe.rate(0, steps)
        first, inside = self.done * steps, recipe.steps is not None
        asked = set(self.looks.at) if inside else set()
        train = self._own_step if self.own else self._step
        for step in range(first, first + steps):
            rate = self._set_rate(step)
            batch = next(self.stream)
            outputs, loss = train(batch)
            losses.append(loss)
            if outputs is not None and batch.labels is not None:
                scores = outputs[..., : getattr(self.objective, "scores", None)]
                hits = hits + (scores.argmax(-1) == batch.labels).sum(1)
                seen += batch.labels.shape[1]
            if (step + 1 - first) % _LOOK_EVERY == 0 or step + 1 == first + steps:
                since = (len(losses) - 1) % _LOOK_EVERY + 1
                self._check_finite(torch.stack(losses[-since:], 1).cpu(), step + 2 - since)
            if step + 1 in asked and step + 1 < steps:
                self._look(step + 1, self.active)
        self.done += 1
        means = torch.stack(losses, 1).mean(1).tolist() if losses else [float("nan")] * len(self.active)
        accuracies = (hits / seen).tolist() if isinstance(hits, Tensor) else [float("nan")] * len(self.active)
        for member, mean, accuracy in zip(self.active, means, accuracies, strict=True):
            row = {"loss": mean, "batch_accuracy": accuracy, "learning_rate": rate}
            self.history.append({"member": member, "epoch": self._at, **row})
        leaving = self._leaving()
        everyone = self.done == self.epochs or (not inside and self.done in self.looks.at)
        self._look(self._at, self.active if everyone else leaving)
        self._release([*leaving, *self.failed])

    @property
    def _at(self) -> int:
        """Epochs done, or steps where the recipe counts these."""
        return self.done if self.recipe.steps is None else self.done * self.per_epoch

    def is_due(self, every: int) -> bool:
        """Whether a checkpoint is to be written after this epoch."""
        return self.done % every == 0 or self.over

    def result(self) -> Trained:
        """Return what came out, with the networks at their best step where one was kept."""
        self._release(list(self.active))
        size = self.given.size
        networks: list[Any] = []
        for member in range(0 if self.own else size):
            network = self.finished[member][0] if member in self.finished else None
            if network is not None and member in self.best:
                network.load_state_dict(self.best[member][2])
            networks.append(None if network is None else self._dressed(network, self.states[member]))
        epochs = [self.finished[m][1] if m in self.finished else self._at for m in range(size)]
        return Trained(
            networks,
            pd.DataFrame(self.history),
            pd.DataFrame(self.watched),
            epochs,
            {member: TrainingError(sentence) for member, sentence in self.failed.items()},
            {member: (at, score) for member, (at, score, _) in self.best.items()},
            self.states,
            self.stack if self.own else None,
        )

    def _dressed(self, network: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
        """A network with what an objective has trained beside it."""
        return self.objective.dress(network, state) if hasattr(self.objective, "dress") else network

    # ---- one step

    def _set_rate(self, step: int) -> float:
        optimizer: Any = self.optimizer
        if hasattr(self.objective, "follow"):
            self.objective.follow(self.recipe.scheduled(1.0, step, self.per_epoch))
        if isinstance(optimizer, StackedSgd):
            optimizer.factor = self.recipe.scheduled(1.0, step, self.per_epoch)
            return self.largest_rate * optimizer.factor
        rate = self.recipe.scheduled(self.largest_rate, step, self.per_epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Take one step by autograd; return outputs and losses (M,), detached."""
        self.stack.zero_grad(set_to_none=True)
        with self.recipe.arithmetic(batch.inputs.device):
            outputs = self.forward(_in_memory(batch.inputs, self.stack))
        loss = self.objective(outputs, batch.targets, batch.examples)
        loss.sum().backward()
        if self.recipe.clip is not None:
            nn.utils.clip_grad_norm_(self.stack.parameters(), self.recipe.clip)
        self.optimizer.step()
        if hasattr(self.objective, "after_step"):
            with torch.no_grad():
                self.objective.after_step(outputs.detach(), batch.targets, batch.examples)
        return outputs.detach(), loss.detach()

    def _own_step(self, batch: Batch) -> tuple[None, Tensor]:
        """Take one step by the networks' own gradients."""
        loss = self.stack.gradients(batch, self.objective)
        self.optimizer.step()
        return None, loss

    def _check_finite(self, losses: Tensor, first: int) -> None:
        """Note the networks whose losses (M, steps) are not finite; ``first`` is the first step's number."""
        for row, place in (~losses.isfinite()).nonzero().tolist():
            member = self.active[row]
            if member not in self.failed:
                step = first + place
                epoch = f" (epoch {(step - 1) // self.per_epoch + 1})" if self.recipe.steps is None else ""
                blamed = self.objective.blame(row) if hasattr(self.objective, "blame") else ""
                self.failed[member] = (
                    f"the loss of network {member} became {losses[row, place].item()} at step {step}{epoch}"
                    f"{blamed}; lower the learning rate, or look for inputs that are not finite"
                )
        if self.failed and set(self.failed) >= set(self.active) and not self.finished:
            raise TrainingError(next(iter(self.failed.values())))

    # ---- looking on

    def _look(self, at: int, members: Sequence[int]) -> None:
        """Show networks to those who look on, in evaluation mode, and keep the rows that they return."""
        there = [member for member in members if member not in self.failed]
        if members and len(members) == len(self.active):
            if self.looks.watch_all is not None:
                self.looks.watch_all(at, self.stack)
            if self.looks.watch is not None:
                self.looked_at.append(at)
        if self.looks.watch is None or not there:
            return
        networks = self.stack.members()
        for member in there:
            network = networks[self.active.index(member)].eval()
            returned = self.looks.watch(at, member, self._dressed(network, self._state_of(member)))
            rows = [{"member": member, "epoch": at, **row} for row in returned]
            self.watched += rows
            if self.looks.keep_best:
                self._keep_best(at, member, rows)

    def _keep_best(self, at: int, member: int, rows: Sequence[Mapping[str, Any]]) -> None:
        name = self.looks.keep_best
        if not rows or any(name not in row for row in rows):
            known = ", ".join(rows[0]) if rows else "nothing"
            raise ValueError(f"keep_best={name!r}, but watch returned {known}; give one of its columns")
        score = sum(float(row[name]) for row in rows) / len(rows)
        if member not in self.best or score >= self.best[member][1]:
            self.best[member] = (at, score, self.stack.member(self.active.index(member)).state_dict())

    # ---- leaving

    def _leaving(self) -> list[int]:
        """The networks that have reached where they may stop; partners leave together."""
        wanted, bound = self.recipe.stop_at, self.recipe.stop_below
        if wanted is None and bound is None:
            return []
        last = {row["member"]: row for row in self.history[-len(self.active) :]}
        for member in self.active:
            row = last[member]
            reached = row["batch_accuracy"] >= wanted if wanted is not None else row["loss"] <= bound
            self.streak[member] = self.streak.get(member, 0) + 1 if reached else 0
        ready = {member for member in self.active if self.streak[member] >= self.recipe.stop_after}
        return [member for member in self.active if ready >= self._partners(member)]

    def _partners(self, member: int) -> set[int]:
        """The networks that an objective needs together: side by side on the model axis."""
        count = int(getattr(self.objective, "together", 1))
        first = member - member % count
        return set(range(first, first + count)) & set(self.active)

    def _release(self, leaving: Sequence[int]) -> None:
        """Take finished and failed networks out of the stack, so that the others go on faster."""
        going = set(leaving) & set(self.active)
        gone = {partner for member in going for partner in self._partners(member)}
        if not gone:
            return
        lost = {member for member in gone if self._partners(member) & set(self.failed)}
        for member in sorted(lost - set(self.failed)):
            partner = min(self._partners(member) & set(self.failed))
            self.failed[member] = f"network {member} needs network {partner}: {self.failed[partner]}"
        for member in sorted(gone):
            self.states[member] = self._state_of(member)
            if not self.own and member not in self.failed:
                network = self.stack.member(self.active.index(member)).eval()
                self.finished[member] = (network, self._at)
        rows = [row for row, member in enumerate(self.active) if member not in gone]
        if self.own:
            self.active = [] if not rows else self.active  # own steps go on with all, to the end
            return
        models = len(self.active)
        self.active = [self.active[row] for row in rows]
        if rows:
            state = self.optimizer.state_dict()
            self.stack = self.stack.keep(rows)
            self._thin_objective(rows)
            self._rebuild(_rows_of(state, rows, models))
            self._open()

    def _state_of(self, member: int) -> dict[str, Tensor]:
        row = self.active.index(member)
        return {name: value[row].clone() for name, value in self._buffers().items()}

    def _buffers(self) -> dict[str, Tensor]:
        """What a stateful objective keeps of each network: its persistent buffers, model axis first."""
        return dict(self.objective.state_dict()) if isinstance(self.objective, nn.Module) else {}

    def _thin_objective(self, rows: Sequence[int]) -> None:
        for name, value in self._buffers().items():
            module, _, last = name.rpartition(".")
            owner = self.objective.get_submodule(module)
            owner._buffers[last] = value[list(rows)].clone()

    def _open(self) -> None:
        members = self.all_batches if self.own else self.all_batches.take(self.active)
        self.stream = members.stream(self.recipe.batch, self.done * self.per_epoch)

    # ---- checkpoints

    def saved(self) -> dict[str, Any]:
        """Return the state as tensors, numbers and strings."""
        return {
            "stack": self.stack.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "objective": self._buffers(),
            "active": self.active,
            "epoch": self.done,
            "streak": self.streak,
            "finished": {member: (n.state_dict(), epochs) for member, (n, epochs) in self.finished.items()},
            "failed": self.failed,
            "best": self.best,
            "states": self.states,
            "history": self.history,
            "watched": self.watched,
            "looked_at": self.looked_at,
        }

    def _restore(self, saved: Mapping[str, Any], path: Path | None) -> None:
        """Go on from a saved state of the same training."""
        if saved["epoch"] > self.epochs:
            raise ValueError(
                f"{path} holds {saved['epoch']} epochs, {self.epochs} were asked for; give another "
                "file, or delete this one to begin anew"
            )
        for member, (values, epochs) in saved["finished"].items():
            network = self.stack.member(0).eval()
            network.load_state_dict(values)
            self.finished[member] = (network, epochs)
        self.active, self.done = list(saved["active"]), saved["epoch"]
        for name in ("streak", "failed", "best", "states", "history", "watched", "looked_at"):
            setattr(self, name, saved[name])
        if self.active:
            if not self.own:
                self.stack = self.stack.keep(self.active)
            self.stack.load_state_dict(saved["stack"])
            self._thin_objective(self.active)
            for name, value in self._buffers().items():
                value.copy_(saved["objective"][name])
            self._rebuild(saved["optimizer"])
        if self.looks.watch is not None and (missed := self._as_undisturbed()):
            raise ValueError(
                f"{path} passed epochs {missed} without the look that watch and watch_at ask for; give "
                "another file, or delete this one to begin anew"
            )

    def _as_undisturbed(self) -> list[int]:
        """Drop looks that an undisturbed training would not have taken, such as that at a former end.

        Returns:
            Epochs that an undisturbed training would have looked at and this one did not.
        """

        def stays(row: Mapping[str, Any]) -> bool:
            epoch, ended = row["epoch"], self.finished.get(row["member"], (None, self.epochs))[1]
            return epoch == 0 or epoch in self.looks.at or epoch == ended

        self.watched = [row for row in self.watched if stays(row)]
        wanted = {0, *self.looks.at, self.epochs}
        self.looked_at = [epoch for epoch in self.looked_at if epoch in wanted]
        return sorted(epoch for epoch in wanted - set(self.looked_at) if 0 <= epoch <= self.done)

    def _rebuild(self, optimizer: dict[str, Any]) -> None:
        recipe = self.recipe.take(self.active)
        self.optimizer = recipe.build(self.stack.parameters(), frozen_too=self.own)
        self.optimizer.load_state_dict(dict(optimizer))
        self.forward = self._compiled()

    def _compiled(self) -> Callable[[Tensor], Tensor]:
        return torch.compile(self.stack) if self.recipe.compiled and not self.own else self.stack

    # ---- the first batch

    def _check_first(self, batch: Batch) -> None:
        """Show the first batch to a copy of the first network; nothing that is trained moves."""
        if self.own:
            self.stack.check(batch, self.objective)
            return
        network = self.stack.member(0).train()
        devices = [batch.inputs.device.index] if batch.inputs.is_cuda else []
        # dropout draws from the global generator, which training finds as if nobody had looked
        arithmetic = self.recipe.arithmetic(batch.inputs.device)
        with torch.no_grad(), torch.random.fork_rng(devices=devices), arithmetic:
            outputs = network(batch.inputs[0])
        _check_outputs(outputs, batch, self.all_batches.classes if self.by_class else 0)
        if hasattr(self.objective, "check"):
            self.objective.check(outputs, batch, getattr(self.all_batches, "examples", None))


def _check_outputs(outputs: Any, batch: Batch, classes: int) -> None:
    size = batch.inputs.shape[1]
    if not isinstance(outputs, Tensor):
        raise TypeError(
            f"the networks return a {type(outputs).__name__} in training mode; allowed: one tensor of "
            "outputs of shape (B, C): wrap the network, so that it returns its scores alone"
        )
    if outputs.ndim != 2 or len(outputs) != size:
        raise ValueError(
            f"the networks map {size} images to outputs of shape {tuple(outputs.shape)}; "
            f"allowed: ({size}, C), one row for each image"
        )
    count, mixed = outputs.shape[1], batch.targets.ndim == 3
    if classes and count < classes:
        raise ValueError(
            f"the networks have {count} outputs for {classes} classes; give networks with {classes} outputs"
        )
    if classes and mixed and count != classes:
        raise ValueError(
            f"the networks have {count} outputs, mixed labels {classes} classes; give networks with "
            f"{classes} outputs"
        )


def _again(first: Batch, rest: Iterator[Batch]) -> Iterator[Batch]:
    yield first
    yield from rest


def _in_memory(inputs: Tensor, stack: StackedNetwork) -> Tensor:
    """Lay images out with the channels last, where convolutions are faster."""
    if inputs.ndim != 5 or inputs.shape[2] == 1 or stack.way == "batched":
        return inputs
    flat = inputs.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    return flat.unflatten(0, inputs.shape[:2])


def _rows_of(optimizer: Mapping[str, Any], rows: Sequence[int], models: int) -> dict[str, Any]:
    """The optimizer's state for some of the networks: every tensor but the step count has the model axis."""

    def chosen(value: Any) -> Any:
        return value[list(rows)].clone() if isinstance(value, Tensor) and value.ndim else value

    state = {key: {k: chosen(v) for k, v in one.items()} for key, one in optimizer["state"].items()}
    return {"state": state, "param_groups": optimizer["param_groups"]}
