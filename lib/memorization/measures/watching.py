"""What is measured of a network while it memorizes: probes at every site, and accuracies kept apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from memorization.data.memorized_split import MemorizedSplit
from memorization.data.policies import Policy
from memorization.data.seeds import generator
from memorization.measures.calibration import calibrated
from memorization.measures.evaluation import class_scores
from memorization.measures.features import site_features
from memorization.measures.invariance import invariance
from memorization.measures.memorized import bank_accuracy, memorization_accuracies
from memorization.measures.nearest import nearest
from memorization.models.staged import StagedNetwork
from memorization.training.views import LabelledViews

_NAN = float("nan")
_INVARIANCE_IMAGES = 256
_BANK_VIEWS = 64  # of a larger bank the first ones are looked at


@dataclass(frozen=True)
class Watcher:
    """Measures a network in training; called by the training loop as ``watch(epoch, member, network)``.

    Attributes:
        split: memorized images, reference and test set, on the networks' device.
        views: what the networks see.
        policy: the augmentation of fresh views and of the invariance.
        strength: of that policy, for the invariance; the same for all arms, so that they can be compared.
        k: neighbors of the probes.
        pool: feature maps are average-pooled to at most this side.
    """

    split: MemorizedSplit
    views: LabelledViews
    policy: Policy
    strength: float
    k: int = 20
    pool: int = 4

    def __call__(self, epoch: int, member: int, network: nn.Module) -> list[dict[str, Any]]:
        """Return one row per site; what belongs to the whole network stands in each.

        Before the first step (epoch 0) the network is measured with calibrated batch-norm statistics, and
        ``uncalibrated_probe`` is its clean probe without.
        """
        raw = self._clean(network) if epoch == 0 else {}
        if epoch == 0:
            network = calibrated(network, self.images)
        seed = self.views.seeds[member]
        whole = self._accuracies(network, member)
        spread = invariance(
            network,
            self._test[:_INVARIANCE_IMAGES],
            self.policy,
            self._sites(network),
            generator(seed, "views for invariance"),
            pool=self.pool,
            strength=self.strength,
        )
        noise = self._noise(network, self.views.labels[member])
        return [
            {
                "site": site,
                "depth": depth,
                "clean_probe": clean,
                "uncalibrated_probe": raw.get(site, _NAN),
                "noise_probe": noise[site],
                "invariance": spread[site],
                **whole,
            }
            for depth, (site, clean) in enumerate(self._clean(network).items())
        ]

    @property
    def images(self) -> Tensor:
        """The memorized images."""
        return self.split.memorized.floats()

    @property
    def _test(self) -> Tensor:
        return self.split.test.floats()

    @staticmethod
    def _sites(network: nn.Module) -> dict[str, str]:
        if isinstance(network, StagedNetwork):
            return network.sites
        return {name: name for name, _ in network.named_children()}

    def _features(self, network: nn.Module, images: Tensor) -> dict[str, Tensor]:
        return site_features(network, images, self._sites(network), pool=self.pool)

    def _clean(self, network: nn.Module) -> dict[str, float]:
        """Test accuracy of the vote of the reference images, with true labels, at each site."""
        reference = self._features(network, self.split.reference.floats())
        test = self._features(network, self._test)
        labels, wanted = self.split.reference.labels, self.split.test.labels
        return {
            site: nearest(rows, test[site], self.k).accuracy(labels, wanted)
            for site, rows in reference.items()
        }

    def _noise(self, network: nn.Module, labels: Tensor) -> dict[str, float]:
        """Accuracy on the memorized labels of a leave-one-out vote among the memorized images."""
        features = self._features(network, self.views.images)
        return {
            site: nearest(rows, None, self.k, leave_one_out=True).accuracy(labels, labels)
            for site, rows in features.items()
        }

    def _accuracies(self, network: nn.Module, member: int) -> dict[str, float]:
        """The memorization accuracies kept apart, and the test accuracy of the network's own answers."""
        seed, strength = self.views.seeds[member], float(self.views.strength[member])
        labels = self.views.labels[member]
        source = generator(seed, "fresh views")
        found = memorization_accuracies(
            network, self.views.images, labels, self.policy, source, strength=strength
        )
        answers = class_scores(network, self._test, 1024).argmax(1)
        return {
            "clean_view": found["clean_view"],
            "fresh_view": found["fresh_view"],
            "bank_view": self._bank(network, member),
            "test_accuracy": float((answers == self.split.test.labels).double().mean()),
        }

    def _bank(self, network: nn.Module, member: int) -> float:
        """Accuracy on the fixed views themselves, NaN where each visit shows a fresh one."""
        fixed = min(int(self.views.bank[member]), _BANK_VIEWS)
        if fixed == 0:
            return _NAN
        mine = self.views.take([member])
        examples = torch.arange(mine.examples, device=mine.images.device)[None]
        numbers = [torch.full_like(examples, k) for k in range(fixed)]
        bank = torch.stack([mine.show(examples, k)[0] for k in numbers], 1)
        labels = torch.stack([mine.label(examples, k)[0] for k in numbers], 1)
        return bank_accuracy(network, bank, labels)
