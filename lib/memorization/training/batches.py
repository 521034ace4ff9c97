"""What each stacked network sees: which view of which image, with which label.

A view is a function of (seed, example, view), and which view is shown one of (seed, example, visit). So
stacked networks share the images but nothing random, and a resumed run sees what the lost one would have.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from memorization.checks import check_images, check_labels, checked_seeds, per_network
from memorization.data.augmentation.policies import check_views, policy_name
from memorization.draws import Draws, generator, view_keys, view_labels, view_number

Policy = Callable[..., Tensor]
Mix = Callable[[Tensor, Tensor, int, torch.Generator], tuple[Tensor, Tensor]]
VIEW_LABELS = ("shared", "independent")


@dataclass(frozen=True)
class LabelledViews:
    """Images, labels and augmentation for M stacked networks.

    Attributes:
        images: shape (N, c, height, width), floating point in [0, 1], or uint8 0..255; shared.
        labels: shape (M, N), int64 in 0..C-1, on the images' device: each example's label for each network.
        seeds: one whole number >= 0 per network, of order and augmentation.
        classes: C.
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
        seeds = checked_seeds(self.seeds)
        check_images(self.images)
        models, device = len(seeds), self.images.device
        check_labels(self.labels, self.images, models, self.classes)
        bank = per_network(self.bank, "bank", models, device)
        if bank.is_floating_point():
            raise TypeError(
                f"bank is {bank.dtype}; allowed: whole numbers, K >= 1 views, or 0 for fresh ones"
            )
        object.__setattr__(self, "seeds", seeds)
        object.__setattr__(self, "strength", per_network(self.strength, "strength", models, device))
        object.__setattr__(self, "bank", bank.long())
        self._check_policy()

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

    def take(self, members: Sequence[int]) -> LabelledViews:
        """Return what some of the networks see, by their numbers."""
        rows = list(members)
        chosen = copy.copy(self)  # no new object: what was checked once is not looked at again every epoch
        for name in ("labels", "strength", "bank"):
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
        images = self.images.index_select(0, examples.flatten())  # faster than indexing
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
