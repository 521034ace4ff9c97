"""What each stacked network sees: which view of which image, with which label.

A view is a function of (seed, example, view), and which view is shown one of (seed, example, visit). So
stacked networks share the images but nothing random, and a resumed run sees what the lost one would have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from memorization.data.draws import Draws, view_keys, view_labels, view_number
from memorization.data.seeds import generator

Policy = Callable[..., Tensor]
Mix = Callable[[Tensor, Tensor, int, torch.Generator], tuple[Tensor, Tensor]]
VIEW_LABELS = ("shared", "independent")


@dataclass(frozen=True)
class LabelledViews:
    """Images, labels and augmentation for M stacked networks.

    Attributes:
        images: shape (N, c, height, width), floating point in [0, 1], or uint8 0..255; shared.
        labels: shape (M, N), int64 in 0..C-1: the label of each example for each network.
        seeds: one whole number >= 0 per network, of order and augmentation.
        classes: C.
        policy: augmentation ``policy(images, draws, strength=...)``; None shows the images as they are.
        strength: shape (M,), >= 0; see :mod:`memorization.data.policies`.
        bank: shape (M,), int64: number K of fixed views of an image; 0: a fresh view at each visit.
        view_labels: ``shared``: all views of an image have its label; ``independent``: each of its K views
            has a random label of its own (Anagnostidis et al., the capacity argument).
        mix: ``mix(images, labels, classes, generator)`` returns mixed images and soft targets (B, C) of one
            network's batch, see :mod:`memorization.data.mixing`; None mixes nothing.
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
        models, device = len(self.seeds), self.images.device
        object.__setattr__(self, "strength", self.strength.to(device).expand(models))
        object.__setattr__(self, "bank", self.bank.to(device).expand(models))
        if self.labels.dtype != torch.int64:
            raise TypeError(f"labels are {self.labels.dtype}; allowed: int64 class numbers")
        if self.labels.ndim != 2 or len(self.labels) != models:
            raise ValueError(
                f"labels have shape {tuple(self.labels.shape)} for {models} networks; allowed: ({models}, N)"
            )
        if self.labels.shape[1] != len(self.images):
            raise ValueError(
                f"{len(self.images)} images but {self.labels.shape[1]} labels for each network; "
                "give one label per image"
            )
        if bool(((self.labels < 0) | (self.labels >= self.classes)).any()):
            raise ValueError(f"labels must be in 0..{self.classes - 1}")
        if bool((self.bank < 0).any()):
            raise ValueError("number of fixed views below 0; allowed: K >= 1, or 0 for fresh views")
        if self.view_labels not in VIEW_LABELS:
            raise ValueError(f"view_labels={self.view_labels!r}; allowed: {', '.join(VIEW_LABELS)}")
        if self.view_labels == "independent" and bool((self.bank == 0).any()):
            raise ValueError("independent labels need a fixed number of views; give bank >= 1")

    @property
    def examples(self) -> int:
        """The number N of examples of each network."""
        return self.labels.shape[1]

    def take(self, members: Sequence[int]) -> LabelledViews:
        """Return what some of the networks see, by their numbers."""
        rows = list(members)
        return replace(
            self,
            labels=self.labels[rows],
            seeds=tuple(self.seeds[m] for m in rows),
            strength=self.strength[rows],
            bank=self.bank[rows],
        )

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
        images = self.images.index_select(0, examples.flatten())  # faster than indexing
        if images.dtype == torch.uint8:
            images = images.float().div_(255)
        if self.policy is not None:
            keys = view_keys(self._seeds, examples, views).flatten()
            strength = self.strength[:, None].expand(examples.shape).flatten()
            images = self.policy(images, Draws.keyed(keys), strength=strength)
        return images.unflatten(0, examples.shape)

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
