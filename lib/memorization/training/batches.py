"""What each stacked network sees at each step: inputs, targets, and which examples they are.

Every kind of batches gives the same: a stream of ``Batch``, which the training loop takes one a step.

* :class:`LabelledViews`: augmented images. A view is a function of (seed, example, view), and which view is
  shown one of (seed, example, visit). So stacked networks share the images, unless each has its
  own, but nothing random, and a resumed run sees what the lost one would have.
* :class:`TensorBatches`: plain tensors of any shape, each example once an epoch, all at once, or drawn with
  replacement, from all examples or from each class alike.
* :class:`FreshBatches`: new examples at every step.
* :class:`LoaderBatches`: one network's batches from a loader, of pictures in a folder, say.
"""

from __future__ import annotations

import copy
import hashlib
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from memorization.checks import check_choice, check_images, check_labels, check_seeds, per_network
from memorization.data.augmentation.policies import check_views, policy_name
from memorization.draws import Draws, generator, view_keys, view_labels, view_number

Policy = Callable[..., Tensor]
Mix = Callable[[Tensor, Tensor, int, torch.Generator], tuple[Tensor, Tensor]]
VIEW_LABELS = ("shared", "independent")
DRAWS = ("shuffle", "whole", "replace", "balanced")
_AT_ONCE = (
    4096  # views made by one call of the policy: fewer calls for tiny images, little memory for large ones
)


@dataclass(slots=True)  # not frozen: made at every step
class Batch:
    """What M networks see at one step.

    Attributes:
        inputs: shape (M, B, ...).
        targets: what the objective compares with: labels (M, B), int64, or numbers (M, B, C).
        examples: shape (M, B), int64: numbers of the examples, the rows of an example table; -1: not known.
        labels: shape (M, B), int64, for the accuracy on the batch; None: there is none.
    """

    inputs: Tensor
    targets: Tensor
    examples: Tensor
    labels: Tensor | None = None


class Batches(Protocol):
    """What the training loop asks of batches."""

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed for each network."""

    @property
    def classes(self) -> int:
        """C, where the targets are class numbers; 0: they are none."""

    @property
    def device(self) -> torch.device:
        """Where the batches are."""

    def steps(self, batch: int) -> int:
        """Return the steps of an epoch of batches of this size; raise a ValueError where there is none."""

    def check(self, batch: int) -> None:
        """Look at what will be shown, once, before the first step."""

    def stream(self, batch: int, first: int) -> Iterator[Batch]:
        """Yield the batches from step ``first`` on, counted from 0 over all epochs, without an end."""

    def take(self, members: Sequence[int]) -> Batches:
        """Return what some of the networks see, by their numbers."""

    def identity(self) -> dict[str, str]:
        """Return what a checkpoint must agree with; empty: the stream cannot be begun again."""


@dataclass(frozen=True)
class LabelledViews:
    """Images, labels and augmentation for M stacked networks.

    Attributes:
        images: shape (N, c, height, width), shared by all networks, or (M, N, c, height, width), each
            network's own; floating point in [0, 1], or uint8 0..255.
        labels: shape (M, N), int64 in 0..C-1, on the images' device: each example's label for each network.
        seeds: one whole number >= 0 per network, of order and augmentation.
        classes: the number C of classes.
        policy: augmentation ``policy(images, draws, strength=...)``; None shows the images as they are. It
            returns one view of each image, of its shape and type and in [0, 1].
        strength: shape (M,), or one number for all, >= 0; see :mod:`memorization.data.augmentation.policies`.
        bank: shape (M,), or one number for all, integers: number K of fixed views of an image; 0: a fresh
            view at each visit.
        view_labels: ``shared``: all views of an image have its label; ``independent``: each of its K views
            has a random label of its own (Anagnostidis et al., the capacity argument).
        mix: ``mix(images, labels, classes, generator)`` returns mixed images and soft targets (B, C) of one
            network's batch, see :mod:`memorization.data.augmentation.mixing`; None mixes nothing.

    Raises:
        TypeError: for labels, views, strength or images of a type that is not as above.
        ValueError: for shapes, numbers or a device that are not as above, or independent labels of views that
            do not differ.
    """

    images: Tensor
    labels: Tensor
    seeds: tuple[int, ...]
    classes: int
    policy: Policy | None = None
    strength: Tensor = field(default_factory=lambda: torch.ones(1))
    bank: Tensor = field(default_factory=lambda: torch.zeros(1, dtype=torch.int64))
    view_labels: str = "shared"
    mix: Mix | None = None

    def __post_init__(self) -> None:
        """Refuse labels, seeds and views that do not fit."""
        seeds = check_seeds(self.seeds, repeated=True)
        models, device = len(seeds), self.images.device
        self._check_images(models)
        check_labels(self.labels, self.images_of(0), models, self.classes)
        bank = per_network(self.bank, "bank", models, device)
        if bank.is_floating_point():
            raise TypeError(
                f"bank is {bank.dtype}; allowed: whole numbers, K >= 1 views, or 0 for fresh ones"
            )
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "strength", per_network(self.strength, "strength", models, device))
        object.__setattr__(self, "bank", bank.long())
        self._check_policy()

    def _check_images(self, models: int) -> None:
        """Refuse what are no images, or not one set for each network."""
        if self._own and len(self.images) != models:
            raise ValueError(
                f"images have shape {tuple(self.images.shape)} for {models} networks; allowed: (N, c, "
                f"height, width), shared by all, or ({models}, N, c, height, width), each network's own"
            )
        check_images(self.images.flatten(0, 1) if self._own else self.images)

    def _check_policy(self) -> None:
        """Refuse views that contradict each other; tell of a number of views without any view to count."""
        if self.policy is not None and not callable(self.policy):
            raise TypeError(
                f"policy={self.policy!r}; allowed: a function policy(images, draws, strength=...), such as "
                "augmentation(name), or None"
            )
        if self.view_labels not in VIEW_LABELS:
            raise ValueError(f"view_labels={self.view_labels!r}; allowed: {', '.join(VIEW_LABELS)}")
        alike = self.policy is None or bool((self.strength == 0).any())
        if self.view_labels == "independent" and bool((self.bank == 0).any()):
            raise ValueError("independent labels need a fixed number of views; give bank >= 1")
        if self.view_labels == "independent" and alike and bool((self.bank > 1).any()):
            raise ValueError(
                "independent labels give one picture several labels where its views do not differ; give a "
                "policy and a strength above 0"
            )
        if self.policy is None and bool((self.bank > 0).any()):
            warnings.warn(
                f"bank={self.bank.tolist()} without a policy: all views of an image are the image itself; "
                "give a policy, or leave bank out",
                UserWarning,
                stacklevel=4,
            )

    @property
    def examples(self) -> int:
        """The number N of examples of each network."""
        return self.labels.shape[1]

    @property
    def device(self) -> torch.device:
        """The images' device."""
        return self.images.device

    @property
    def _own(self) -> bool:
        """Whether each network has images of its own."""
        return self.images.ndim == 5

    def images_of(self, member: int) -> Tensor:
        """Return the images of one network, by its number: shape (N, c, height, width)."""
        return self.images[member] if self._own else self.images

    def steps(self, batch: int) -> int:
        """Return the steps of an epoch; an incomplete last batch is dropped."""
        return _whole_batches(self.examples, batch)

    def check(self, batch: int) -> None:
        """Show the first batch to the policy, see :meth:`check_policy`."""
        self.check_policy(self.order(0, batch)[:, 0])

    def stream(self, batch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches from step ``first`` on; many views are made by one call of the policy."""
        steps = self.steps(batch)
        while True:
            epoch, begin = divmod(first, steps)
            order = self.order(epoch, batch)  # (M, steps, B)
            at_once = max(1, _AT_ONCE // (len(order) * batch))
            for start in range(begin, steps, at_once):
                chosen = order[:, start : start + at_once]
                images, labels = self.batch(chosen.flatten(1), epoch)
                images, labels = images.unflatten(1, chosen.shape[1:]), labels.view(chosen.shape)
                for k in range(chosen.shape[1]):
                    seen, targets = self.mixed(images[:, k], labels[:, k], epoch, start + k)
                    yield Batch(seen, targets, chosen[:, k], labels[:, k])
            first += steps - begin

    def identity(self) -> dict[str, str]:
        """Return checksums of images and labels, the seeds, and how views are made, in words."""
        views = f"{described(self.policy)} {self.view_labels} {described(self.mix)}"
        data = checksum(self.images, self.labels, self.strength, self.bank)
        return {"data": data, "seeds": str(self.seeds), "views": views}

    def take(self, members: Sequence[int]) -> LabelledViews:
        """Return what some of the networks see, by their numbers."""
        rows = list(members)
        chosen = copy.copy(self)  # no new object: what was checked once is not looked at again every epoch
        for name in ("labels", "strength", "bank", *(("images",) if self._own else ())):
            object.__setattr__(chosen, name, getattr(self, name)[rows])
        object.__setattr__(chosen, "seeds", tuple(self.seeds[m] for m in rows))
        return chosen

    def order(self, epoch: int, batch: int) -> Tensor:
        """Return which examples each network sees, step by step: shape (M, steps, batch), int64.

        Args:
            epoch: number of the epoch; each has its own random order for each network.
            batch: examples a step; the incomplete last batch is dropped.
        """
        steps = self.examples // batch
        rows = [
            torch.randperm(self.examples, generator=generator(seed, "order", epoch)) for seed in self.seeds
        ]
        return torch.stack(rows)[:, : steps * batch].view(len(rows), steps, batch).to(self.images.device)

    def shown(self, examples: Tensor, visit: int) -> Tensor:
        """Return the number of the view that each example shows: shape of ``examples``, (M, B)."""
        return view_number(visit, examples, self.bank[:, None], self._seeds)

    def label(self, examples: Tensor, views: Tensor) -> Tensor:
        """Return the labels of these views: shape (M, B), int64."""
        if self.view_labels == "independent":
            return view_labels(self._seeds, examples, views, self.classes)
        return self.labels.gather(1, examples)

    def show(self, examples: Tensor, views: Tensor) -> Tensor:
        """Return these views of these examples: (M, B) each, to (M, B, c, height, width), floating point."""
        images = self._plain(examples)
        if self.policy is not None:
            images = self._augmented(self.policy, images, examples, views)
        return images.unflatten(0, examples.shape)

    def check_policy(self, examples: Tensor) -> None:
        """Call the policy once and look at what comes back: its work is trusted from then on.

        Args:
            examples: numbers of the examples of a batch, shape (M, B), int64.

        Raises:
            TypeError: if the policy cannot be called as it will be, or returns no tensor of the images' type.
            ValueError: if it returns no view of each image, or one that is not finite or outside [0, 1].
        """
        if self.policy is None:
            return
        images = self._plain(examples)
        try:
            views = self._augmented(self.policy, images, examples, self.shown(examples, 0))
        except TypeError as error:
            raise TypeError(
                f"the policy {policy_name(self.policy)!r} is called as policy(images, draws, strength=...), "
                f"with draws and strengths of a batch of views, and failed: {error}"
            ) from error
        check_views(self.policy, images, views)

    def _plain(self, examples: Tensor) -> Tensor:
        images = self.images
        if self._own:  # their images lie one set behind the other
            first = torch.arange(len(images), device=images.device)[:, None] * images.shape[1]
            images, examples = images.flatten(0, 1), examples + first
        images = images.index_select(0, examples.flatten())  # faster than indexing
        return images.float().div_(255) if images.dtype == torch.uint8 else images

    def _augmented(self, policy: Policy, images: Tensor, examples: Tensor, views: Tensor) -> Tensor:
        keys = view_keys(self._seeds, examples, views).flatten()
        strength = self.strength[:, None].expand(examples.shape).flatten()
        return policy(images, Draws.keyed(keys), strength=strength)

    def mixed(self, images: Tensor, labels: Tensor, epoch: int, step: int) -> tuple[Tensor, Tensor]:
        """Mix each network's batch by itself, where asked for; return images and what is aimed at."""
        if self.mix is None:
            return images, labels
        sources = [generator(seed, "mix", epoch, step) for seed in self.seeds]
        pairs = [self.mix(x, y, self.classes, g) for x, y, g in zip(images, labels, sources, strict=True)]
        return torch.stack([x for x, _ in pairs]), torch.stack([y for _, y in pairs])

    def batch(self, examples: Tensor, visit: int) -> tuple[Tensor, Tensor]:
        """Return views and labels of a visit: (M, B, c, height, width) and (M, B)."""
        views = self.shown(examples, visit)
        return self.show(examples, views), self.label(examples, views)

    @property
    def _seeds(self) -> Tensor:
        return torch.tensor(self.seeds, device=self.images.device)[:, None]


@dataclass(frozen=True)
class TensorBatches:
    """Plain tensors for M stacked networks.

    Attributes:
        inputs: shape (N, ...), shared by all networks, or (M, N, ...) where ``own`` is set.
        targets: shape (M, N), int64 class numbers, or (M, N, ...), numbers.
        seeds: one whole number >= 0 per network, of the order or the draws.
        classes: the number C of classes where the targets are class numbers; 0: they are none.
        draw: ``shuffle``: each example once an epoch; ``whole``: all of them at each step; ``replace``: drawn
            with replacement; ``balanced``: so, each class with the same probability.
        own: whether each network has inputs of its own.
        purpose: names the stream of random numbers.
        to: device that batches are moved to; None: where the tensors are.

    Raises:
        TypeError: what is no tensor.
        ValueError: shapes that do not fit, an unknown draw, class numbers outside 0..C-1 or absent.
    """

    inputs: Tensor
    targets: Tensor
    seeds: tuple[int, ...]
    classes: int = 0
    draw: str = "shuffle"
    own: bool = False
    purpose: str = "order"
    to: str | torch.device | None = None

    def __post_init__(self) -> None:
        """Refuse what does not fit together."""
        object.__setattr__(self, "seeds", check_seeds(self.seeds, repeated=True))
        for name in ("inputs", "targets"):
            if not isinstance(getattr(self, name), Tensor):
                kind = type(getattr(self, name)).__name__
                raise TypeError(f"{name} is a {kind}; allowed: a tensor, such as torch.from_numpy({name})")
        check_choice("draw", self.draw, DRAWS)
        lead = tuple(self.targets.shape[:2])
        given = tuple(self.inputs.shape[:2]) if self.own else (len(self.seeds), *self.inputs.shape[:1])
        if len(lead) < 2 or lead[0] != len(self.seeds) or lead != given:
            shapes = (
                f"inputs of shape {tuple(self.inputs.shape)}, targets of shape {tuple(self.targets.shape)}"
            )
            raise ValueError(
                f"{shapes} for {len(self.seeds)} networks; allowed: targets (M, N, ...), inputs "
                f"{'(M, N, ...)' if self.own else '(N, ...)'}"
            )
        if self.classes:
            check_labels(
                self.targets, self.inputs if not self.own else self.inputs[0], len(self.seeds), self.classes
            )
        elif self.draw == "balanced":
            raise ValueError("draw='balanced' needs class numbers; give classes=C")

    @property
    def examples(self) -> int:
        """The number N of examples of each network."""
        return self.targets.shape[1]

    @property
    def device(self) -> torch.device:
        """The device of the batches."""
        return self.inputs.device if self.to is None else torch.device(self.to)

    def steps(self, batch: int) -> int:
        """Return the steps of an epoch: one where all examples come at once."""
        return 1 if self.draw == "whole" else _whole_batches(self.examples, batch)

    def check(self, batch: int) -> None:
        """Nothing more to look at."""

    def stream(self, batch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches from step ``first`` on; each draw belongs to its seed and step, or epoch."""
        if self.draw == "whole":  # the same at each step: nothing is gathered
            yield from itertools.repeat(self._whole())
        steps, models = self.steps(batch), torch.arange(len(self.seeds))[:, None]
        order = torch.empty(0)
        for step in itertools.count(first):
            epoch, place = divmod(step, steps)
            if self.draw == "shuffle":
                if place == 0 or step == first:
                    order = torch.stack(
                        [torch.randperm(self.examples, generator=g) for g in self._sources(epoch)]
                    )
                chosen = order[:, place * batch : (place + 1) * batch]
            else:
                chosen = self._drawn(batch, self._sources(step))
            here = chosen.to(self.inputs.device)
            seen = self.inputs[models.to(here.device), here] if self.own else self.inputs[here]
            targets = self.targets[models.to(self.targets.device), chosen.to(self.targets.device)].to(
                self.device
            )
            yield Batch(
                seen.to(self.device), targets, chosen.to(self.device), targets if self.classes else None
            )

    def take(self, members: Sequence[int]) -> TensorBatches:
        """Return what some of the networks see, by their numbers."""
        rows = list(members)
        chosen = copy.copy(self)
        object.__setattr__(chosen, "targets", self.targets[rows])
        object.__setattr__(chosen, "seeds", tuple(self.seeds[m] for m in rows))
        if self.own:
            object.__setattr__(chosen, "inputs", self.inputs[rows])
        return chosen

    def identity(self) -> dict[str, str]:
        """Return a checksum of the tensors, the seeds, and how examples are drawn."""
        data = checksum(self.inputs, self.targets)
        return {"data": data, "seeds": str(self.seeds), "draws": f"{self.draw} {self.purpose}"}

    def _whole(self) -> Batch:
        """All examples as they lie; shared inputs are not copied for each network."""
        inputs, targets = self.inputs.to(self.device), self.targets.to(self.device)
        if not self.own:
            inputs = inputs.expand(len(self.seeds), *inputs.shape)
        examples = torch.arange(self.examples, device=self.device).expand(len(self.seeds), -1)
        return Batch(inputs, targets, examples, targets if self.classes else None)

    def _sources(self, number: int) -> list[torch.Generator]:
        return [generator(seed, self.purpose, number) for seed in self.seeds]

    def _drawn(self, batch: int, sources: Sequence[torch.Generator]) -> Tensor:
        """Examples with replacement, (M, B); balanced: first a class, then one of its examples."""
        if self.draw == "replace":
            return torch.stack([torch.randint(self.examples, (batch,), generator=g) for g in sources])
        rows = []
        for labels, source in zip(self.targets.cpu(), sources, strict=True):
            counts = torch.bincount(labels, minlength=self.classes)
            there = counts.nonzero().flatten()
            sorted_, begin = labels.argsort(stable=True), counts.cumsum(0) - counts
            wanted = there[torch.randint(len(there), (batch,), generator=source)]
            place = (torch.rand(batch, generator=source) * counts[wanted]).long()
            rows.append(sorted_[begin[wanted] + place])
        return torch.stack(rows)


@dataclass(frozen=True)
class FreshBatches:
    """New examples at every step: ``draw(step)`` returns inputs (M, B, ...) and targets (M, B, ...).

    A lost training cannot go on from a checkpoint, since nobody can draw its examples again.

    Attributes:
        draw: called once a step, in their order.
        seeds: one whole number >= 0 per network.
        device: where the batches are.
        classes: the number C of classes where the targets are class numbers; 0: they are none.
        rows: the networks that are shown their part; None: all.
    """

    draw: Callable[[int], tuple[Tensor, Tensor]]
    seeds: tuple[int, ...]
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    classes: int = 0
    rows: tuple[int, ...] | None = None

    def steps(self, batch: int) -> int:
        """Return 1: every step is new."""
        return 1

    def check(self, batch: int) -> None:
        """Nothing can be looked at before it is drawn."""

    def stream(self, batch: int, first: int = 0) -> Iterator[Batch]:
        """Yield fresh batches, of the size that ``draw`` gives them."""
        for step in itertools.count(first):
            inputs, targets = self.draw(step)
            if self.rows is not None:
                inputs, targets = inputs[list(self.rows)], targets[list(self.rows)]
            yield Batch(inputs, targets, _UNKNOWN, targets if self.classes else None)

    def take(self, members: Sequence[int]) -> FreshBatches:
        """Return what some of the networks see, by their numbers."""
        rows = tuple(members) if self.rows is None else tuple(self.rows[m] for m in members)
        if self.rows is None and rows == tuple(range(len(self.seeds))):
            return self  # all of them: nothing has to be picked from each batch
        return FreshBatches(self.draw, tuple(self.seeds[m] for m in members), self.device, self.classes, rows)

    def identity(self) -> dict[str, str]:
        """Return nothing: the stream cannot be begun again."""
        return {}


@dataclass(frozen=True)
class LoaderBatches:
    """One network's batches from a loader.

    Attributes:
        epochs: returns the batches of an epoch, counted from 0; the same ones at each call: images, or images
            and what is not looked at.
        count: batches in each epoch, >= 1.
        targets: what the objective compares with, from the images on the device.
        device: where to compute.
        described: what the batches are, in words or as a digest: a checkpoint of others is refused.
    """

    epochs: Callable[[int], Iterable[Tensor | Sequence[Tensor]]]
    count: int
    targets: Callable[[Tensor], Tensor]
    device: torch.device
    described: str = ""
    seeds: tuple[int, ...] = (0,)
    classes: int = 0

    def steps(self, batch: int) -> int:
        """Return the number of batches in an epoch."""
        return self.count

    def check(self, batch: int) -> None:
        """Nothing is loaded before the training begins."""

    def stream(self, batch: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches from step ``first`` on, the first one of an epoch.

        Raises:
            ValueError: an epoch has another number of batches.
        """
        for epoch in itertools.count(first // self.count):
            number = 0
            for one in self.epochs(epoch):
                number += 1
                images = one if isinstance(one, Tensor) else one[0]
                images = images.to(self.device, non_blocking=True)
                yield Batch(images[None], self.targets(images)[None], _UNKNOWN)
            if number != self.count:
                raise ValueError(f"epoch {epoch + 1} had {number} batches, steps={self.count} were said")

    def take(self, members: Sequence[int]) -> LoaderBatches:
        """Return the batches themselves: they are one network's."""
        return self

    def identity(self) -> dict[str, str]:
        """Return what the batches are, in words."""
        return {"data": f"{self.described} {self.count}"}


_UNKNOWN = torch.full((1, 1), -1)


def described(function: Any) -> str:
    """Return a policy, mix or objective in words; two lambdas cannot be told apart."""
    if isinstance(function, partial):
        return f"{described(function.func)} {function.args} {sorted(function.keywords.items())}"
    return str(getattr(function, "name", getattr(function, "__qualname__", function)))


def checksum(*values: Tensor) -> str:
    """Return sixteen hexadecimal digits of the bytes of tensors."""
    digest = hashlib.sha256()
    for value in values:
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _whole_batches(examples: int, batch: int) -> int:
    if examples < batch:
        raise ValueError(
            f"batch={batch} is larger than the {examples} examples, and incomplete batches are "
            f"dropped: no optimizer step would be taken; allowed: batch <= {examples}"
        )
    return examples // batch
