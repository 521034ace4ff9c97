"""Where a training stands: the networks still in training, the optimizer, and what was seen so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from memorization.models.stacked import StackedNetwork
from memorization.training.recipe import Recipe


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
