"""Benign, malign, or not memorized: the verdict on one trained network.

Anagnostidis et al. (ICLR 2023) call memorization of random labels *benign* if a probe of the features does
better than at initialization, *malign* if it does no better. This is our operational reading.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from memorization.data.seeds import generator

THRESHOLDS = {"clean-view": 0.95, "fresh-view": 0.9, "bank": 0.95}


@dataclass(frozen=True)
class Verdict:
    """A verdict and everything that it was made from.

    Attributes:
        kind: ``not memorized``, ``malign`` or ``benign``.
        memorization: memorization accuracy, in [0, 1].
        measure: which one: ``clean-view``, ``fresh-view`` or ``bank``.
        threshold: what it must reach to count as memorized.
        probe: probe accuracy of the trained network, in [0, 1].
        probe_init: probe accuracy at initialization, in [0, 1].
        n_test: number of test images.
        difference: ``probe - probe_init``.
        interval: (low, high) of the difference.
        others: other memorization accuracies, by name, to be read beside the verdict.
    """

    kind: str
    memorization: float
    measure: str
    threshold: float
    probe: float
    probe_init: float
    n_test: int
    difference: float
    interval: tuple[float, float]
    others: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """Say the verdict in one sentence."""
        low, high = self.interval
        others = "".join(f", {name} {value:.3f}" for name, value in self.others.items())
        return (
            f"{self.kind}: {self.measure} memorization {self.memorization:.3f} (threshold "
            f"{self.threshold:g}{others}), probe {self.probe:.3f} against {self.probe_init:.3f} at "
            f"initialization, difference {self.difference:+.3f} in [{low:+.3f}, {high:+.3f}] "
            f"({self.n_test} test images)."
        )


def verdict(
    memorization: float,
    probe: float,
    probe_init: float,
    n_test: int,
    measure: str = "clean-view",
    threshold: float | None = None,
    *,
    interval: tuple[float, float] | None = None,
    others: Mapping[str, float] | None = None,
) -> Verdict:
    """Judge one network.

    Below the threshold the verdict is ``not memorized``, whatever the probe. Otherwise it is ``benign`` if
    the whole interval of ``probe - probe_init`` is above 0, and ``malign`` if not: malign means *no better
    than initialization*, so a difference inside the noise is malign, not undecided; a difference that is
    clearly negative is malign too. ``difference`` and ``interval`` tell the two apart.

    Args:
        memorization: memorization accuracy by ``measure``, in [0, 1].
        probe: probe accuracy of the trained network on the test images, in [0, 1].
        probe_init: the same at initialization; calibrate its batch norm first.
        n_test: number of test images, >= 1.
        measure: ``clean-view`` (threshold 0.95), ``fresh-view`` (0.9) or ``bank`` (0.95).
        threshold: another threshold, in (0, 1].
        interval: (low, high) of the difference, such as :func:`paired_interval` gives; None for
            ``difference -/+ 2 sqrt(p (1 - p) / n_test)``, two standard deviations of one accuracy, where p
            is the probe nearer to 1/2.
        others: other memorization accuracies to show.

    Returns:
        The verdict with all its inputs; ``str()`` of it is a sentence.

    Raises:
        ValueError: for an unknown measure, or a number outside its range.
    """
    if measure not in THRESHOLDS:
        raise ValueError(f"unknown measure {measure!r}; choose one of {', '.join(THRESHOLDS)}")
    limit = THRESHOLDS[measure] if threshold is None else threshold
    given = {"memorization": memorization, "probe": probe, "probe_init": probe_init, "threshold": limit}
    for name, value in given.items():
        if not 0 <= value <= 1 or (name == "threshold" and value == 0):
            raise ValueError(f"{name} must be a fraction in [0, 1] (a threshold above 0); got {value!r}")
    if isinstance(n_test, bool) or not isinstance(n_test, int) or n_test < 1:
        raise ValueError(f"n_test must be a whole number >= 1; got {n_test!r}")
    difference = probe - probe_init
    low, high = interval or _two_deviations(probe, probe_init, n_test)
    if not low <= difference <= high:
        raise ValueError(
            f"interval must be (low, high) around the difference {difference:+.3f}; got ({low}, {high})"
        )
    kind = "not memorized" if memorization < limit else "benign" if low > 0 else "malign"
    return Verdict(
        kind, memorization, measure, limit, probe, probe_init, n_test, difference, (low, high), others or {}
    )


def paired_interval(
    correct: Tensor, correct_init: Tensor, *, level: float = 0.95, draws: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Bootstrap the difference of two accuracies on the same test images.

    Images are drawn with replacement and both networks are judged on the same draw, so that images that are
    easy or hard for both add no noise.

    Args:
        correct: whether each test image is right, shape (n_test,), bool; ``Probe.correct``.
        correct_init: the same images under the other network.
        level: probability between the two ends, in (0, 1).
        draws: bootstrap draws, >= 1.
        seed: whole number >= 0.

    Returns:
        (low, high) of ``mean(correct) - mean(correct_init)``.

    Raises:
        ValueError: if the two are not bool of one non-empty shape, or level or draws is outside its range.
    """
    one_shape = correct.ndim == 1 and len(correct) > 0 and correct.shape == correct_init.shape
    if not one_shape or correct.dtype != torch.bool or correct_init.dtype != torch.bool:
        raise ValueError(
            "need whether each of the same test images is right: two bool vectors of one length; got "
            f"{correct.dtype} {tuple(correct.shape)} and {correct_init.dtype} {tuple(correct_init.shape)}"
        )
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1; got {level!r}")
    if isinstance(draws, bool) or not isinstance(draws, int) or draws < 1:
        raise ValueError(f"draws must be a whole number >= 1; got {draws!r}")
    better = int((correct & ~correct_init).sum())
    worse = int((~correct & correct_init).sum())
    sampled = _resampled(better, worse, len(correct), draws, generator(seed, "paired bootstrap"))
    ends = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=torch.float64)
    low, high = sampled.quantile(ends).tolist()
    return low, high


def _resampled(better: int, worse: int, n: int, draws: int, source: torch.Generator) -> Tensor:
    """Differences of accuracy in resampled test sets: only the counts of +1 and -1 matter."""
    ups = torch.binomial(
        torch.full((draws,), n, dtype=torch.float64),
        torch.full((draws,), better / n, dtype=torch.float64),
        generator=source,
    )
    rest = worse / (n - better) if better < n else 0.0
    downs = torch.binomial(n - ups, torch.full((draws,), rest, dtype=torch.float64), generator=source)
    return (ups - downs) / n


def _two_deviations(probe: float, probe_init: float, n_test: int) -> tuple[float, float]:
    tolerance = 2 * math.sqrt(max(p * (1 - p) for p in (probe, probe_init)) / n_test)
    return probe - probe_init - tolerance, probe - probe_init + tolerance
