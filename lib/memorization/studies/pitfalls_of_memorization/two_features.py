"""The two-feature problem with noise of each example's own, solved by gradient descent in its dual form.

Bayat et al. (ICLR 2025), section 2 and Figure 1: inputs hold a core feature, a stronger spurious feature that
agrees with it for most examples, and d coordinates of noise by which each example can be told from all
others. A linear model with two logits is trained by full-batch gradient descent. Only the difference of the
logits matters, and it moves within the span of the training inputs, so what is kept is one number per
training example. With ``x = (x_y, gamma x_a, sigma e)`` the kernel of all settings is ``x_y x_y' + gamma^2
x_a x_a' + sigma^2 e e'``: many settings are columns of one matrix, and a step of all of them is one product
with ``e e'``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_finite, check_whole
from memorization.draws import generator
from memorization.training.held_out import check_halves

_JITTER = 0.12  # standard deviation of both features around -1 or +1, in the published code
_LOOKED_AT_ONCE = 64  # columns of a product that looks wait for: alone, each would cost more than a step
PUBLISHED_SEED = 1234  # of the training set of Figure 1; the test set has the next one


@dataclass(frozen=True)
class LinearSet:
    """Examples before strengths and noise are chosen.

    Attributes:
        core: x_y, shape (n,).
        spurious: x_a, without its strength gamma, shape (n,).
        noise: e, standard normal, shape (n, d).
        labels: 0 or 1, shape (n,), floating point: what is trained on.
        majority: whether both features vote for the same class, shape (n,), bool.
    """

    core: Tensor
    spurious: Tensor
    noise: Tensor
    labels: Tensor
    majority: Tensor

    @cached_property
    def features(self) -> Tensor:
        """Core and spurious feature side by side, shape (n, 2)."""
        return torch.stack([self.core, self.spurious], 1)

    @cached_property
    def kinds(self) -> Tensor:
        """Whether an example is of the majority, and of the minority, 0 or 1: shape (2, n)."""
        return torch.stack([self.majority, ~self.majority]).float()


@dataclass(frozen=True)
class LinearProblem:
    """Training and test examples, and the initial weights of a two-logit linear model.

    Attributes:
        train: n examples, of which ``int((1 - majority_rate) n)`` are exceptions.
        test: n examples, half of them exceptions.
        start: difference of the initial weights of the two logits, shape (2 + d,).
    """

    train: LinearSet
    test: LinearSet
    start: Tensor


def linear_problem(
    *, n: int = 1000, d: int = 1798, majority_rate: float = 0.9, seed: int, published: bool = False
) -> LinearProblem:
    """Draw the problem of Figure 1.

    Args:
        n: examples of each split, >= 2.
        d: noise coordinates, >= 1.
        majority_rate: share of training examples whose features agree, in (0, 1).
        seed: whole number >= 0.
        published: the stream of the published script from this seed on (its own is 1234): training set, then
            test set from the next seed, then weights. Two neighboring seeds then share numbers; False:
            streams of our own.

    Raises:
        ValueError: naming the number that is out of range.
    """
    check_whole("n", n, 2)
    check_whole("d", d, 1)
    check_finite("majority_rate", majority_rate)
    if not 0 < majority_rate < 1:
        raise ValueError(f"majority_rate={majority_rate}; allowed: a number in (0, 1)")
    sources = [
        torch.Generator().manual_seed(seed + k) if published else generator(seed, "linear", split)
        for k, split in enumerate(("train", "test"))
    ]
    train = _draw(n, d, majority_rate, sources[0])
    test = _draw(n, d, 0.5, sources[1])
    bound = (2 + d) ** -0.5  # PyTorch's own law of a linear layer
    weights = torch.empty(2, 2 + d).uniform_(-bound, bound, generator=sources[1])
    return LinearProblem(train, test, weights[1] - weights[0])


def _draw(n: int, d: int, majority_rate: float, source: torch.Generator) -> LinearSet:
    labels = torch.bernoulli(torch.full((n, 1), 0.5), generator=source)
    signs = 2 * labels - 1
    core, spurious = ((_JITTER * torch.randn(n, 1, generator=source) - 1) * signs for _ in range(2))
    exceptions = torch.randperm(n, generator=source)[: int((1 - majority_rate) * n)]  # 99 of 1,000 at 0.9
    spurious[exceptions] *= -1
    noise = torch.randn(n, d, generator=source)
    return LinearSet(core[:, 0], spurious[:, 0], noise, labels[:, 0], (core * spurious)[:, 0] > 0)


def with_label_noise(problem: LinearProblem, fraction: float, seed: int) -> LinearProblem:
    """Flip the label of ``round(fraction n)`` random training examples; features and ``majority`` stay.

    Raises:
        ValueError: a fraction outside [0, 1).
    """
    check_finite("label_noise", fraction)
    if not 0 <= fraction < 1:
        raise ValueError(f"label_noise={fraction}; allowed: a fraction in [0, 1)")
    count = len(problem.train.labels)
    chosen = torch.randperm(count, generator=generator(seed, "linear", "label noise"))[
        : round(fraction * count)
    ]
    labels = problem.train.labels.clone()
    labels[chosen] = 1 - labels[chosen]
    return replace(problem, train=replace(problem.train, labels=labels))


@dataclass(frozen=True)
class Columns:
    """Settings that are trained side by side, one a column.

    Attributes:
        gamma: strength of the spurious feature, > 0, shape (C,).
        sigma: strength of the noise, >= 0, shape (C,).
        rate: learning rate, > 0, shape (C,).
        shifts: added to the logit difference in training, shape (n, C) or (n, 1); None: 0.
        weights: of the examples, shape (n, C) or (n, 1), of mean 1 for a mean loss; None: 1.
        groups: number of each example's group, shape (n,), int64, for group distributionally robust
            optimization.
        robust: which columns are so trained, shape (C,), bool; None: none.
        eta: step of their group weights, > 0.
    """

    gamma: Tensor
    sigma: Tensor
    rate: Tensor
    shifts: Tensor | None = None
    weights: Tensor | None = None
    groups: Tensor | None = None
    robust: Tensor | None = None
    eta: float = 0.1

    def __post_init__(self) -> None:
        """Refuse strengths and rates out of range."""
        for name, least in (("gamma", False), ("sigma", True), ("rate", False)):
            value = getattr(self, name)
            fits = value >= 0 if least else value > 0
            if value.ndim != 1 or not bool((fits & value.isfinite()).all()):
                raise ValueError(f"{name}={value.tolist()}; allowed: numbers {'>= 0' if least else '> 0'}")
        if self.eta <= 0:
            raise ValueError(f"eta={self.eta}; allowed: a number above 0")

    @cached_property
    def strengths(self) -> Tensor:
        """What the products of core and of spurious features count in the kernel, shape (2, C)."""
        return torch.stack([torch.ones_like(self.gamma), self.gamma.square()])

    @cached_property
    def noise_strength(self) -> Tensor | None:
        """What products of noise count, shape (C,); None where no column has noise."""
        return self.sigma.square() if bool((self.sigma > 0).any()) else None


def columns(
    gamma: float | Sequence[float],
    sigma: float | Sequence[float],
    rate: float | Sequence[float],
    **more: Tensor | float | None,
) -> Columns:
    """Return columns of these strengths and rates, each one number or one per column."""
    values = [torch.as_tensor(v, dtype=torch.float32).reshape(-1) for v in (gamma, sigma, rate)]
    size = max(len(value) for value in values)
    return Columns(*(value.expand(size).clone() for value in values), **more)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Kernel:
    """Products of the noise of a problem: computed once, for every strength.

    Attributes:
        problem: the examples.
        train: ``e e'`` of the training examples, shape (n, n).
        test: ``e_test e'``, shape (n, n).
    """

    problem: LinearProblem
    train: Tensor
    test: Tensor

    @classmethod
    def of(cls, problem: LinearProblem) -> Kernel:
        """Compute the products of a problem."""
        train, test = problem.train.noise, problem.test.noise
        return cls(problem, train @ train.T, test @ train.T)

    def apply(self, at: LinearSet, which: Columns, residuals: Tensor, noise: Tensor) -> Tensor:
        """Return kernel times ``residuals`` (n, C) at examples; ``noise``: their block of products."""
        pulled = (self.problem.train.features.T @ residuals).mul_(which.strengths)  # (2, C)
        if which.noise_strength is None:
            return at.features @ pulled
        return _product(noise, residuals).mul_(which.noise_strength).addmm_(at.features, pulled)

    def begin(self, at: LinearSet, which: Columns) -> Tensor:
        """Return the logit differences (n, C) of the initial weights."""
        w = self.problem.start
        plain = (at.core * w[0])[:, None] + which.gamma * (at.spurious * w[1])[:, None]
        return plain + which.sigma * (at.noise @ w[2:])[:, None]


def _product(matrix: Tensor, columns: Tensor) -> Tensor:
    if columns.shape[1] == 1:
        return torch.mv(matrix, columns[:, 0])[:, None]
    if columns.shape[1] > 10:
        return matrix @ columns
    return F.linear(columns.T.contiguous(), matrix).T  # measured: a few columns as columns cost as many as 40


@dataclass(frozen=True)
class Descent:
    """Where gradient descent stands after the last epoch.

    Attributes:
        columns: the settings.
        logits: difference of the two logits at the training examples, without shifts, shape (n, C).
        dual: one number per training example and setting, shape (n, C): weights are the start plus ``x'
            dual``.
        accuracies: by epoch that was looked at: accuracy of majority and minority, in training and test, each
            (C,).
    """

    columns: Columns
    logits: Tensor
    dual: Tensor
    accuracies: dict[int, dict[str, Tensor]]


def descend(kernel: Kernel, which: Columns, *, epochs: int, look_at: Sequence[int] = ()) -> Descent:
    """Train all columns by full-batch gradient descent on the mean cross-entropy of two logits.

    Args:
        kernel: of the problem.
        which: the settings.
        epochs: E >= 1. As in the published code an epoch is looked at before its update: epoch 1 shows the
            initial weights, epoch E those after E - 1 updates, and there it ends.
        look_at: epochs at which accuracies are taken; the last one always is.

    Raises:
        ValueError: for epochs below 1.
        FloatingPointError: the logits of a column are not finite: its learning rate is too large.
    """
    check_whole("epochs", epochs, 1)
    train, n = kernel.problem.train, len(kernel.problem.train.labels)
    y = train.labels[:, None]
    step = 2 * which.rate / n  # two logits move the difference twice as fast as one
    z, dual = kernel.begin(train, which), torch.zeros(n, len(which.gamma))
    wanted = {*look_at, epochs}
    members, q = _robust_start(which)
    accuracies: dict[int, dict[str, Tensor]] = {}
    kept: dict[int, tuple[Tensor, Tensor]] = {}
    for epoch in range(1, epochs + 1):
        if epoch in wanted:
            kept[epoch] = z.clone(), dual.clone()
            if epoch == epochs or len(kept) * len(which.gamma) >= _LOOKED_AT_ONCE:
                accuracies |= _accuracies(kernel, which, kept)
                kept = {}
        if epoch == epochs:
            break
        shifted = z if which.shifts is None else z + which.shifts
        residuals = torch.sigmoid(shifted).sub_(y)
        if which.weights is not None:
            residuals *= which.weights
        if members is not None and which.robust is not None and q is not None:
            losses = members @ (F.softplus(shifted) - y * shifted)  # mean loss of each group, (G, C)
            factor = n * (members.T @ q)
            residuals = torch.where(which.robust, residuals * factor, residuals)
            q = q * (which.eta * losses).exp()
            q = q / q.sum(0)
        residuals *= step
        dual -= residuals
        z -= kernel.apply(train, which, residuals, kernel.train)
    _check_finite(z, which)
    return Descent(which, z, dual, accuracies)


def _robust_start(which: Columns) -> tuple[Tensor | None, Tensor | None]:
    """Group means as a matrix (G, n), and even group weights (G, C)."""
    if which.groups is None:
        return None, None
    members = F.one_hot(which.groups).T.float()
    counts = members.sum(1, keepdim=True)
    return members / counts.clamp(min=1), (counts > 0).float().expand(-1, len(which.gamma)) / (
        counts > 0
    ).sum()


def _check_finite(z: Tensor, which: Columns) -> None:
    broken = (~z.isfinite()).any(0)
    if bool(broken.any()):
        first = int(broken.nonzero()[0])
        at = {name: float(getattr(which, name)[first]) for name in ("gamma", "sigma", "rate")}
        raise FloatingPointError(f"logits are not finite at {at}; lower the learning rate")


def _accuracies(
    kernel: Kernel, which: Columns, kept: dict[int, tuple[Tensor, Tensor]]
) -> dict[int, dict[str, Tensor]]:
    """Accuracies at several epochs, from logits and dual (n, C) of each: all of them are one product."""
    settings, looks = len(which.gamma), len(kept)
    wide = Columns(which.gamma.repeat(looks), which.sigma.repeat(looks), which.rate.repeat(looks))
    z, dual = (torch.cat(values, 1) for values in zip(*kept.values(), strict=True))
    parts = {
        "train": (kernel.problem.train, z),
        "test": (kernel.problem.test, test_logits(kernel, wide, dual)),
    }
    found: dict[str, tuple[Tensor, ...]] = {}
    for split, (one, logits) in parts.items():
        right = (logits > 0) == (one.labels[:, None] > 0.5)
        shares = (one.kinds @ right.float()).double() / one.kinds.sum(1, keepdim=True)  # counts are exact
        for name, share in zip(("majority", "minority"), shares, strict=True):
            found[f"{split}_{name}"] = share.split(settings)
    return {epoch: {name: value[k] for name, value in found.items()} for k, epoch in enumerate(kept)}


def test_logits(kernel: Kernel, which: Columns, dual: Tensor) -> Tensor:
    """Return the logit differences at the test examples, shape (n, C)."""
    test = kernel.problem.test
    return kernel.begin(test, which) + kernel.apply(test, which, dual, kernel.test)


@dataclass(frozen=True)
class Weights:
    """Weights of the logit difference, each (C,): of the core feature, of the spurious one, and the noise's
    norm.

    Attributes:
        core: w_y.
        spurious: w_a, of the coordinate ``gamma x_a``.
        noise: norm of the weights of the noise coordinates.
        reliance: ``gamma |w_a| / |w_y|``, what the spurious feature moves relative to the core one.
    """

    core: Tensor
    spurious: Tensor
    noise: Tensor
    reliance: Tensor


def weights_of(kernel: Kernel, descent: Descent) -> Weights:
    """Return the weights that a descent has reached."""
    train, w, which = kernel.problem.train, kernel.problem.start, descent.columns
    core = w[0] + train.core @ descent.dual
    spurious = w[1] + which.gamma * (train.spurious @ descent.dual)
    noise = w[2:, None] + which.sigma * (train.noise.T @ descent.dual)
    return Weights(core, spurious, noise.norm(dim=0), which.gamma * spurious.abs() / core.abs())


@dataclass(frozen=True)
class LinearTwins:
    """Held-out predictions by twins in dual form.

    Attributes:
        logits: held-out difference of the two logits at each training example, shape (n,); of S strengths
            side by side, shape (n, S).
        flipped: whether an example's label was another one at the end, of the same shape, bool.
    """

    logits: Tensor
    flipped: Tensor


def linear_twins(
    kernel: Kernel,
    *,
    gamma: float | Sequence[float],
    sigma: float | Sequence[float],
    rate: float,
    epochs: int,
    seed: int,
    flipping: bool = True,
) -> LinearTwins:
    """Run Cross-Risk Minimization on the problem: two models, each trained on half of the examples.

    The published script's way: plain mean cross-entropy, flips by the held-out logits of the same pass.

    Args:
        kernel: of the problem.
        gamma: strength of the spurious feature; or S of them, each with a pair of twins of its own. All pairs
            have the same halves, initial weights and chances of a flip, as they would have alone.
        sigma: strength of the noise; or S of them.
        rate: learning rate.
        epochs: >= 1; as in :func:`descend`.
        seed: of halves, second initial weights and flips.
        flipping: False keeps the labels.

    Raises:
        ValueError: ``class k is missing from one half``: too few examples.
        FloatingPointError: logits are not finite: the learning rate is too large.
    """
    check_whole("epochs", epochs, 1)
    problem, one = kernel.problem, columns(gamma, sigma, rate)
    pair = Columns(one.gamma.repeat(2), one.sigma.repeat(2), one.rate.repeat(2))
    n, source = len(problem.train.labels), generator(seed, "linear", "twins")
    first = torch.rand(n, generator=source) < 0.5
    check_halves(problem.train.labels.long(), first, 2)
    step = torch.stack([first, ~first], 1) * (2 * rate / n)  # of a twin, at the examples that it learns
    step = step.repeat_interleave(len(one.gamma), 1)  # first twins, then second
    bound = len(problem.start) ** -0.5
    other = torch.empty(2, len(problem.start)).uniform_(-bound, bound, generator=source)
    second = replace(kernel, problem=replace(problem, start=other[1] - other[0]))  # with the same products
    z = torch.cat([k.begin(problem.train, one) for k in (kernel, second)], 1)
    given = problem.train.labels[:, None]
    labels = given.expand(-1, len(one.gamma))
    for _ in range(1, epochs):
        held_out = _held_out(z, first)
        residuals = torch.sigmoid(z).sub_(labels.repeat(1, 2)).mul_(step)
        z -= kernel.apply(problem.train, pair, residuals, kernel.train)
        if flipping:
            sure = torch.sigmoid(held_out.abs())
            flips = torch.rand(n, 1, generator=source) < (2 * sure - 1).clamp(0, 1)
            labels = torch.where(flips, (held_out > 0).float(), labels)
    _check_finite(z, pair)
    held_out, flipped = _held_out(z, first), labels != given
    if isinstance(gamma, Sequence) or isinstance(sigma, Sequence):
        return LinearTwins(held_out, flipped)
    return LinearTwins(held_out[:, 0], flipped[:, 0])


def _held_out(z: Tensor, first: Tensor) -> Tensor:
    """Outputs (n, S) of the twins that did not learn an example, from first and second twins' (n, 2 S)."""
    one, other = z.chunk(2, 1)
    return torch.where(first[:, None], other, one)
