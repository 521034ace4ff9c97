"""Random labels that a linear head can fit: how much, against what any features of that size would allow.

Becker and Risse (2024) read memorization off heads that learn random labels beside the classes. One head
gives two readings, kept apart here: the *online* accuracy of a head that was trained along with the network
(:func:`random_label_accuracy` of its logits, whatever its rate and the length of training made of it), and
the *frozen* accuracy of new heads on features that stay as they are (:func:`frozen_accuracy`), always beside
their accuracy on *fresh* labels that the network never saw. Below both lies the null: a head on d features
without meaning fits random labels, too (:func:`null_accuracy`, :func:`null_simulation`), and the share that
it fits of labels -1 and +1 is a Rademacher complexity of linear heads.

The law of the null, the relation to Rademacher complexity and the half-width are derivations of this project,
not results that the paper prints.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from scipy.special import roots_hermitenorm
from torch import Tensor

from memorization.checks import as_classes, check_finite, check_seeds, check_tensor, check_whole
from memorization.data.labels import check_label_count
from memorization.draws import generator
from memorization.measures.scores import ExampleScores
from memorization.training.recipe import Recipe

_BLOCK = 2**23  # predictions held at once: 32 MiB in float32
_NODES = 400  # of Gauss and Hermite: an error below 1e-7 up to 100,000 labels

# Adam's decay d adds d V to the gradient: the penalty is 1e-4 times the squared norm.
FROZEN_HEAD = Recipe(steps=300, optimizer="adam", learning_rate=0.05, schedule="cosine", weight_decay=2e-4)

Number = TypeVar("Number", float, Tensor)


class ConstantFeatureWarning(UserWarning):
    """Features that are the same in every example, and tell a head nothing."""


class WideBandWarning(UserWarning):
    """So few examples for so many labels that the band of chance is wider than what is looked for."""


@dataclass(frozen=True)
class FrozenAccuracies:
    """Accuracies of new heads on frozen features; those of heads trained along are *online* accuracies.

    Attributes:
        given: on the labels that were given, as a rule those of training; shape (K,) or (S, K), float64.
        fresh: on as many labels drawn anew, the control: what the features allow for any labels.
    """

    given: Tensor
    fresh: Tensor


@dataclass(frozen=True)
class MonteCarlo:
    """One number for each draw of random labels.

    Attributes:
        values: shape (draws,), or (S, draws) for S draws of features, float64.
    """

    values: Tensor

    @property
    def mean(self) -> float:
        """Mean over all draws."""
        return float(self.values.mean())

    @property
    def sd(self) -> float:
        """Standard deviation over the labels, at the same features: how far a single draw lies off."""
        return float(self.values.var(dim=-1).mean().sqrt())

    @property
    def error(self) -> float:
        """Standard error of the mean: over draws of features where there are several, else over labels."""
        several = self.values.ndim == 2 and len(self.values) > 1
        each = self.values.mean(dim=1) if several else self.values.flatten()
        return float(each.std() / math.sqrt(len(each)))


def random_label_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the fraction of training examples whose random label has the largest logit.

    Of the logits of heads trained along with a network, this is the online accuracy.

    Args:
        logits: of the n random labels, for class-wise heads those of the example's class alone; shape
            (..., m, n), floating point, finite.
        labels: the random labels, shape (..., m), integers in 0..n-1.

    Returns:
        Accuracy in [0, 1], shape (...), float64; chance is 1/n. Compare other n by :func:`chance_corrected`.

    Raises:
        TypeError: for logits that are not floating point, or labels that are not integers.
        ValueError: for fewer than two labels, shapes that do not fit, NaN or Inf, a label outside 0..n-1.
    """
    wanted = _check_logits(logits, labels)
    return (logits.argmax(dim=-1) == wanted).double().mean(dim=-1)


def chance_corrected(accuracy: Number, n: int) -> Number:
    """Return ``(n accuracy - 1) / (n - 1)``: 0 at chance, 1 where every random label is fitted.

    For labels -1 and +1 it is ``2 accuracy - 1``, the mean of label times prediction. A score below 0 is the
    mark of heads that trail the network or are fooled by it, and no negative memorization.

    Args:
        accuracy: in [0, 1], a number or a tensor.
        n: the number of random labels, >= 2.

    Returns:
        The score in [-1 / (n - 1), 1], of the kind and shape of ``accuracy``.

    Raises:
        ValueError: for fewer than two labels, or an accuracy outside [0, 1].
    """
    check_label_count(n)
    _check_range("accuracy", accuracy, "a fraction in [0, 1]", 0.0, 1.0)
    return (n * accuracy - 1) / (n - 1)


def frozen_accuracy(
    features: Tensor,
    labels: Tensor,
    n: int,
    source: torch.Generator | Sequence[torch.Generator],
    classes: Tensor | None = None,
    recipe: Recipe = FROZEN_HEAD,
    *,
    few: bool = False,
) -> FrozenAccuracies:
    """Train new heads on frozen features, on the labels given and on as many drawn anew.

    Labels are drawn in equal numbers, in each class if there are classes.

    Args:
        features: of the training examples, evaluation mode, shape (m, d) or (S, m, d) of S networks.
        labels: K labellings, shape (K, m), for all networks, or (S, K, m); integers in 0..n-1.
        n: the number of random labels, >= 2.
        source: generator of the fresh labels; or one for each of S networks, none of which then depends on
            the others.
        classes: a head for each class: the classes that the heads were trained with (noise included), shape
            (m,) or (S, m), integers >= 0; None for one head for all.
        recipe: how heads are trained, on all examples at each step; ``steps`` counts.
        few: allow more labels than a head has examples, so that some labels have none.

    Returns:
        Accuracies of shape (K,) or (S, K).

    Raises:
        TypeError: for features that are not floating point, or labels that are not integers.
        ValueError: as :func:`frozen_logits`, and for more labels than a head has examples.
    """
    given, groups = _check_heads(features, labels, n, classes)
    _check_enough(n, groups, classes is not None, few)
    sources = [source] * len(groups) if isinstance(source, torch.Generator) else list(source)
    if len(sources) != len(groups):
        raise ValueError(f"{len(sources)} generators for {len(groups)} networks; give one, or one for each")
    pairs = zip(groups, sources, strict=True)
    fresh = torch.stack([_drawn_by_head(row, n, given.shape[1], one, balanced=True) for row, one in pairs])
    both = torch.cat([given, fresh], dim=1)
    both = both if features.ndim == 3 else both[0]
    found = random_label_accuracy(frozen_logits(features, both, n, classes, recipe), both)
    k = given.shape[1]
    return FrozenAccuracies(found[..., :k], found[..., k:])


@torch.no_grad()
def frozen_logits(
    features: Tensor, labels: Tensor, n: int, classes: Tensor | None = None, recipe: Recipe = FROZEN_HEAD
) -> Tensor:
    """Train a new linear head for each network, labelling and class, all in one product, and apply it.

    Features are standardized over the examples; heads begin at zero and minimize cross-entropy by Adam on
    all examples at each step.

    Args:
        features: shape (m, d) or (S, m, d), floating point, finite.
        labels: shape (K, m) or (S, K, m), integers in 0..n-1.
        n: the number of random labels, >= 2.
        classes: shape (m,) or (S, m), a head for each class; None for one head for all.
        recipe: how heads are trained; ``steps`` counts.

    Returns:
        Logits of the n labels of the example's own head, shape (K, m, n) or (S, K, m, n).

    Raises:
        TypeError: for features that are not floating point, or labels that are not integers.
        ValueError: for NaN or Inf in the features, fewer than two labels, a label outside 0..n-1, shapes
            that do not fit, or a recipe that counts epochs.
    """
    given, groups = _check_heads(features, labels, n, classes)
    if recipe.steps is None:
        raise ValueError(f"the recipe counts {recipe.epochs} epochs; give the number of steps of the heads")
    rows = _standardized(features if features.ndim == 3 else features[None])
    inputs, places = _by_head(rows, groups)  # (S G, w, d + 1), (S, m)
    s, k, m = given.shape
    width, heads = inputs.shape[1], len(inputs) // s
    targets = given.new_zeros(s, k, heads * width).scatter_(2, places[:, None].expand_as(given), given)
    targets = targets.view(s, k, heads, width).transpose(1, 2).reshape(s * heads, k, 1, width)
    weights = _trained(inputs, targets, n, m, recipe)
    logits = (inputs @ weights.transpose(1, 2)).view(s, heads * width, k, n)
    logits = logits.gather(1, places[:, :, None, None].expand(-1, -1, k, n)).transpose(1, 2)
    return logits if features.ndim == 3 else logits[0]


def _trained(inputs: Tensor, targets: Tensor, n: int, m: int, recipe: Recipe) -> Tensor:
    """Minimize the cross-entropy of heads (H, K n, d + 1) by its gradient in closed form.

    Examples are on the last axis: over a short last axis of labels PyTorch's softmax takes ten times as long.
    """
    blocks, width, _ = inputs.shape
    weights = inputs.new_zeros(blocks, targets.shape[1] * n, inputs.shape[2])
    optimizer: Any = recipe.build([weights], frozen_too=True)
    less = inputs.new_full((), -1.0).expand(targets.shape)
    across = inputs.transpose(1, 2).contiguous()
    for step in range(recipe.total(1)):
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, 1)
        slopes = (weights @ across).view(blocks, -1, n, width).softmax(2).scatter_add_(2, targets, less)
        weights.grad = (slopes.view(blocks, -1, width) @ inputs).div_(m)  # rows of zeros fill up: no share
        optimizer.step()
    return weights


def _by_head(rows: Tensor, groups: Tensor) -> tuple[Tensor, Tensor]:
    """Sort examples by head, with a column of ones, filled up with zeros; and where each example went."""
    s, m, d = rows.shape
    order = groups.argsort(dim=1, stable=True)
    ordered = groups.gather(1, order)
    rank = torch.arange(m, device=groups.device) - torch.searchsorted(ordered, ordered)
    heads, width = int(groups.max()) + 1, int(rank.max()) + 1
    places = torch.empty_like(order).scatter_(1, order, ordered * width + rank)
    inputs = rows.new_zeros(s, heads * width, d + 1)
    with_ones = torch.cat([rows, rows.new_ones(s, m, 1)], dim=2)
    inputs.scatter_(1, places[:, :, None].expand_as(with_ones), with_ones)
    return inputs.view(s * heads, width, d + 1), places


def null_accuracy(n: int, leverage: Number) -> Number:
    r"""Return what a least-squares head on features without meaning fits of n random labels.

    The law ``E_z[Phi(z + sqrt(n h / (1 - h)))^(n - 1)]`` with z standard normal; ``Phi(sqrt(h / (1 - h)))``
    for n = 2. Sums over other examples are taken as normal, which needs many examples a label: at 10 of them
    (m = 1400, d = 60) the law is .005 too high for labels in equal numbers and .08 for independent ones, and
    on features in clusters more. There use :func:`null_simulation` or :func:`least_squares_accuracy`.

    Args:
        n: the number of random labels, >= 2.
        leverage: h, in [0, 1): ``(d + 1) / m`` for d features, a bias and labels drawn independently;
            ``d / m`` for labels in equal numbers, of which a bias fits nothing; m counts the class's
            examples for class-wise heads. Or the leverages of examples (:func:`leverages`), of which some may
            be 1: such an example is always fitted.

    Returns:
        Accuracy of the kind and shape of ``leverage`` (a tensor in float64); 1/n at h = 0.

    Raises:
        ValueError: for fewer than two labels, or a leverage outside [0, 1), as where m <= d + 1.
    """
    check_label_count(n)
    allowed = "a number in [0, 1), so more examples of each head than d + 1: with fewer it fits every label"
    _check_range("leverage", leverage, allowed, 0.0, 1 + 1e-9)
    h = torch.as_tensor(leverage, dtype=torch.float64).clamp(max=1)
    if float(h.mean()) > 1 - 1e-9:
        raise ValueError(f"leverage={float(h.mean()):.6g}; allowed: {allowed}")
    nodes, weights = (torch.from_numpy(values).to(h.device) for values in roots_hermitenorm(_NODES))
    shift = (n * h / (1 - h)).sqrt()[..., None]
    # the power by its logarithm: Phi^(n - 1) itself loses all digits where Phi is near 0 or 1
    found = ((n - 1) * torch.special.log_ndtr(nodes + shift)).exp() @ (weights / weights.sum())
    return found if isinstance(leverage, Tensor) else float(found)


def null_simulation(
    m: int | Sequence[int],
    d: int,
    n: int,
    seeds: Sequence[int],
    draws: int = 100,
    recipe: Recipe | None = None,
    *,
    balanced: bool = True,
    few: bool = False,
) -> MonteCarlo:
    """Fit heads with a bias to random labels of independent normal features.

    Trained heads need a null of their own: by cross-entropy they fit more than least squares where labels are
    many (.87 and .45 for m = 1400, d = 60, n = 140; .67 and .51 for classes of 140, d = 24, n = 14). Beside
    frozen accuracies belongs the null of their recipe.

    Args:
        m: the number of examples, or those of each class for class-wise heads.
        d: the number of features, >= 1.
        n: the number of random labels, >= 2.
        seeds: of the features and labels, one draw of features each.
        draws: labellings for each seed, >= 2; trained heads hold m n draws logits at once.
        recipe: how heads are trained, as by :func:`frozen_logits`; None for least squares.
        balanced: labels in equal numbers for each head, or each drawn independently.
        few: allow more labels than a head has examples.

    Returns:
        Accuracies, shape (S, draws). Their error is over the features where there are several seeds.

    Raises:
        ValueError: for numbers that are no whole numbers in range, or more labels than a head has examples.
    """
    sizes = list(m) if isinstance(m, Sequence) else [m]
    for size in sizes:
        check_whole("m", size, 2)
    check_whole("d", d, 1)
    check_label_count(n)
    check_whole("draws", draws, 2)
    heads = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    _check_enough(n, heads[None], len(sizes) > 1, few)
    found = []
    for seed in check_seeds(seeds):
        features = torch.randn(sum(sizes), d, generator=generator(seed, "null features"))
        source, classes = generator(seed, "null labels"), heads if len(sizes) > 1 else None
        if recipe is None:
            how = {"balanced": balanced, "few": few}
            found.append(least_squares_accuracy(features, n, draws, source, classes, **how).values)
        else:
            labels = _drawn_by_head(heads, n, draws, source, balanced)
            found.append(random_label_accuracy(frozen_logits(features, labels, n, classes, recipe), labels))
    return MonteCarlo(torch.stack(found))


def least_squares_accuracy(
    features: Tensor,
    n: int,
    draws: int,
    source: torch.Generator,
    classes: Tensor | None = None,
    *,
    balanced: bool = True,
    few: bool = False,
) -> MonteCarlo:
    """Fit least-squares heads with a bias to many random labellings of given features, by one factorization.

    Args:
        features: shape (m, d), floating point, finite; features that depend on others count once.
        n: the number of random labels, >= 2.
        draws: the number of labellings, >= 2.
        source: generator of the labels.
        classes: a head for each class, shape (m,), integers >= 0; None for one head for all.
        balanced: labels in equal numbers for each head, or each drawn independently.
        few: allow more labels than a head has examples.

    Returns:
        Accuracies, shape (draws,).

    Raises:
        TypeError: for features that are not floating point, or classes that are not integers.
        ValueError: for NaN or Inf, fewer than two labels or draws, or more labels than a head has examples.
    """
    _check_features(features, (2,))
    check_label_count(n)
    check_whole("draws", draws, 2)
    groups = _groups(features, classes)
    _check_enough(n, groups[None], classes is not None, few)
    total = torch.zeros(draws, dtype=torch.float64, device=features.device)
    for head in groups.unique().tolist():
        total += _hits(_basis(features[groups == head]).float(), n, draws, source, balanced)
    return MonteCarlo(total / len(features))


def leverages(features: Tensor, classes: Tensor | None = None) -> Tensor:
    """Return the leverage of each example in least squares with a bias.

    Args:
        features: shape (m, d), floating point, finite.
        classes: a head for each class, shape (m,), integers >= 0; None for one head for all.

    Returns:
        Numbers in (0, 1] whose sum is the rank of the features and the bias (of each head), shape (m,),
        float64. Less 1/m, the bias's share, they are those for labels in equal numbers.

    Raises:
        TypeError: for features that are not floating point, or classes that are not integers.
        ValueError: for NaN or Inf, or shapes that do not fit.
    """
    _check_features(features, (2,))
    found = torch.empty(len(features), dtype=torch.float64, device=features.device)
    groups = _groups(features, classes)
    for head in groups.unique().tolist():
        found[groups == head] = _basis(features[groups == head]).square().sum(dim=1)
    return found


def rademacher_complexity(features: Tensor, draws: int, source: torch.Generator) -> MonteCarlo:
    """Draw the share that least-squares heads fit of labels -1 and +1: the mean of ``2 accuracy - 1``.

    The fitted head stands for the supremum over linear heads with a bias, so this is a proxy from below of
    their empirical Rademacher complexity, not of that of the network.

    Args:
        features: shape (m, d), floating point, finite.
        draws: labellings, each label independent, >= 2.
        source: generator of the labels.

    Returns:
        Shares in [-1, 1], shape (draws,), with their standard error.

    Raises:
        TypeError: for features that are not floating point.
        ValueError: for NaN or Inf, fewer than two draws or examples.
    """
    return MonteCarlo(2 * least_squares_accuracy(features, 2, draws, source, balanced=False).values - 1)


def norm_bounded_complexity(
    features: Tensor, bound: float, draws: int, source: torch.Generator
) -> MonteCarlo:
    r"""Draw the empirical Rademacher complexity of linear heads without a bias whose norm is bounded.

    For each draw the supremum over ``|w| <= B`` is ``(B / m) |sum_i sigma_i x_i|``. The mean is at most
    ``B |X|_F / m``.

    Args:
        features: shape (m, d), floating point, finite; not centered.
        bound: B > 0.
        draws: of the signs, >= 2.
        source: generator of the signs.

    Returns:
        Suprema, shape (draws,), with their standard error.

    Raises:
        TypeError: for features that are not floating point.
        ValueError: for NaN or Inf, a bound that is not above 0, or fewer than two draws.
    """
    _check_features(features, (2,))
    check_whole("draws", draws, 2)
    check_finite("bound", bound)
    if bound <= 0:
        raise ValueError(f"bound={bound!r}; allowed: a number above 0, the largest norm of a head")
    bits = torch.randint(2, (draws, len(features)), generator=source, device=source.device)
    signs = (2 * bits - 1).to(features.device, torch.promote_types(features.dtype, torch.float32))
    lengths = torch.linalg.vector_norm((signs @ features.to(signs.dtype)).double(), dim=1)
    return MonteCarlo(bound / len(features) * lengths)


def mcdiarmid_half_width(m: int, n: int = 2, delta: float = 0.05) -> float:
    """Return how far one labelling's chance-corrected score may lie off its mean.

    With probability 1 - delta the best head's score lies within ``n / (n - 1) sqrt(log(2 / delta) / (2 m))``:
    another label of one example changes its accuracy by 1/m at most (McDiarmid). For n = 2 it is
    ``sqrt(2 log(2 / delta) / m)``. That is a guarantee for the best head; trained heads scatter less in
    practice, see ``MonteCarlo.sd``.

    Args:
        m: the number of examples, >= 1.
        n: the number of random labels, >= 2.
        delta: in (0, 1).

    Returns:
        The half-width. Warns where m < 10 n.

    Raises:
        ValueError: for numbers outside their range.
    """
    check_whole("m", m, 1)
    check_label_count(n)
    check_finite("delta", delta)
    if not 0 < delta < 1:
        raise ValueError(f"delta={delta!r}; allowed: a probability in (0, 1)")
    if m < 10 * n:
        warnings.warn(
            f"{m} examples for {n} labels: the band of chance is wider than the effect; give 10 n or more",
            WideBandWarning,
            stacklevel=2,
        )
    return n / (n - 1) * math.sqrt(math.log(2 / delta) / (2 * m))


def head_margins(
    logits: Tensor, labels: Tensor, ids: Tensor, dataset: str, made: Mapping[str, Any] | None = None
) -> ExampleScores:
    """Score each example by how clearly heads tell its random label, averaged over labellings.

    Args:
        logits: of K labellings, shape (K, m, n), as :func:`frozen_logits` gives them.
        labels: the labels that the heads were trained on, shape (K, m), integers in 0..n-1.
        ids: of the m examples, shape (m,), int64, each once.
        dataset: digest of the data set.
        made: more that tells how (experiment, seed, heads); what JSON can hold.

    Returns:
        A table with the column ``head_margin``, the mean of the logit of the random label less the largest
        other, float64: the larger, the more the features tell this example from others.

    Raises:
        TypeError: for logits that are not floating point, labels or ids that are not integers.
        ValueError: as :func:`random_label_accuracy`, for labellings of other examples than the ids', or an
            id that is there twice.
    """
    wanted = _check_logits(logits, labels)
    check_tensor("ids", ids)
    if logits.ndim != 3 or ids.shape != labels.shape[1:]:
        raise ValueError(
            f"{tuple(ids.shape)} ids for logits of shape {tuple(logits.shape)}; allowed: K labellings that "
            "cover the m examples of the ids, (K, m, n)"
        )
    values, first = logits.topk(2, dim=-1)
    own = logits.gather(-1, wanted[..., None])[..., 0]
    other = torch.where(first[..., 0] == wanted, values[..., 1], values[..., 0])
    margins = (own.double() - other.double()).mean(dim=0).to(ids.device)
    how = {"measure": "head_margin", "labellings": len(logits), "labels": logits.shape[2], **(made or {})}
    return ExampleScores(dataset, ids, {"head_margin": margins}, {"head_margin": how})


def _drawn(m: int, n: int, draws: int, source: torch.Generator, balanced: bool) -> Tensor:
    """Draw labels (draws, m): 0..n-1 in turn from a random beginning in random order, or independently."""
    device = source.device
    if not balanced:
        return torch.randint(n, (draws, m), generator=source, device=device)
    first = torch.randint(n, (draws, 1), generator=source, device=device)
    order = torch.rand(draws, m, generator=source, device=device).argsort(dim=1)
    return (order + first) % n


def _drawn_by_head(groups: Tensor, n: int, draws: int, source: torch.Generator, balanced: bool) -> Tensor:
    """Draw labels (draws, m) for each head on its own, groups (m,)."""
    labels = groups.new_empty(draws, len(groups))
    for head in groups.unique().tolist():
        members = (groups == head).nonzero()[:, 0]
        labels[:, members] = _drawn(len(members), n, draws, source, balanced).to(labels.device)
    return labels


def _hits(basis: Tensor, n: int, draws: int, source: torch.Generator, balanced: bool) -> Tensor:
    """Count the examples (draws,) whose label has the largest least-squares output."""
    m, block, found = len(basis), max(1, _BLOCK // (len(basis) * n)), []
    for start in range(0, draws, block):
        labels = _drawn(m, n, min(block, draws - start), source, balanced).T.to(basis.device)  # (m, draws)
        targets = basis.new_zeros(*labels.shape, n).scatter_(2, labels[..., None], 1.0)
        outputs = (basis @ (basis.T @ targets.flatten(1))).view_as(targets)
        found.append((outputs.argmax(dim=2) == labels).double().sum(dim=0))
    return torch.cat(found)


def _basis(features: Tensor) -> Tensor:
    """Orthonormal columns that span a bias and the features, by thin QR; shape (m, rank), float64."""
    rows = _scaled(features, _constant(features)).double()
    left, right = torch.linalg.qr(torch.cat([torch.ones_like(rows[:, :1]), rows], dim=1))
    turn, sizes, _ = torch.linalg.svd(right, full_matrices=False)  # QR alone invents a direction for none
    precision = torch.finfo(torch.promote_types(features.dtype, torch.float32)).eps
    return left @ turn[:, sizes > precision * right.shape[1] * sizes[0]]


def _constant(features: Tensor) -> Tensor:
    """Which features are one number in every example, up to rounding; shape (..., d)."""
    low, high = features.amin(dim=-2), features.amax(dim=-2)
    precision = torch.finfo(torch.promote_types(features.dtype, torch.float32)).eps
    return high - low <= 8 * precision * torch.maximum(low.abs(), high.abs())


def _scaled(features: Tensor, constant: Tensor) -> Tensor:
    """Standardize each feature over the examples; a constant one is zero."""
    rows = features.to(torch.promote_types(features.dtype, torch.float32))
    rows = rows - rows.mean(dim=-2, keepdim=True)
    spread = rows.square().mean(dim=-2, keepdim=True).sqrt()
    return torch.where(constant[..., None, :], 0.0, rows / spread)


def _standardized(features: Tensor) -> Tensor:
    constant = _constant(features)
    if dead := int(constant.sum()):
        warnings.warn(
            f"{dead} of {constant.numel()} features are the same in every example; they are treated as "
            "constant, and tell a head nothing",
            ConstantFeatureWarning,
            stacklevel=3,
        )
    return _scaled(features, constant)


def _groups(features: Tensor, classes: Tensor | None) -> Tensor:
    """The head of each example, shape (m,), on the features' device."""
    if classes is None:
        return torch.zeros(len(features), dtype=torch.int64, device=features.device)
    return as_classes(classes, len(features), "class").to(features.device)


def _check_range(name: str, value: float | Tensor, allowed: str, low: float, high: float) -> None:
    """Refuse numbers outside [low, high], and NaN."""
    numbers = torch.as_tensor(value, dtype=torch.float64)
    outside = numbers[~((numbers >= low) & (numbers <= high))]
    if len(outside.flatten()):
        raise ValueError(f"{name}={float(outside.flatten()[0]):.6g}; allowed: {allowed}")


def _check_features(features: Tensor, axes: tuple[int, ...]) -> None:
    check_tensor("features", features)
    if features.ndim not in axes or 0 in features.shape or features.shape[-2] < 2:
        wanted = "(m, d) or (S, m, d)" if 3 in axes else "(m, d)"
        raise ValueError(
            f"features have shape {tuple(features.shape)}; allowed: {wanted}, with two or more examples"
        )
    if not features.is_floating_point():
        raise TypeError(f"features are {features.dtype}; allowed: floating-point numbers")
    broken = int((~features.isfinite()).any(dim=-1).sum())
    if broken:
        raise ValueError(
            f"{broken} of {features[..., 0].numel()} rows of the features hold NaN or Inf; a network that "
            "diverged cannot be probed: look for the step at which its loss grew"
        )


def _check_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Refuse logits (..., m, n) that no label can be read off; return the labels as int64 beside them."""
    check_tensor("logits", logits)
    if not logits.is_floating_point():
        raise TypeError(f"logits are {logits.dtype}; allowed: floating-point numbers")
    if logits.ndim < 2 or logits.shape[-2] == 0:
        raise ValueError(
            f"logits have shape {tuple(logits.shape)}; allowed: (..., m, n), with one example or more"
        )
    check_label_count(logits.shape[-1])
    broken = int((~logits.isfinite()).any(dim=-1).sum())
    if broken:
        raise ValueError(
            f"logits of {broken} examples hold NaN or Inf, from which no label can be read; the head "
            "diverged: lower its learning rate"
        )
    return _as_random_labels(labels, tuple(logits.shape[:-1]), logits.shape[-1]).to(logits.device)


def _as_random_labels(labels: Tensor, shape: tuple[int, ...], n: int) -> Tensor:
    """Return random labels as int64; name the first outside 0..n-1 by its place."""
    check_tensor("random labels", labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"random labels are {labels.dtype}; allowed: an integer type")
    if tuple(labels.shape) != shape:
        raise ValueError(
            f"random labels have shape {tuple(labels.shape)}; allowed: {shape}, one label for each example"
        )
    outside = ((labels < 0) | (labels >= n)).nonzero()
    if len(outside):
        place = tuple(outside[0].tolist())
        raise ValueError(f"random label {int(labels[place])} of example {place[-1]} is outside 0..{n - 1}")
    return labels.long()


def _check_heads(features: Tensor, labels: Tensor, n: int, classes: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the labels (S, K, m) and the head of each example (S, m), beside the features."""
    _check_features(features, (2, 3))
    check_label_count(n)
    check_tensor("random labels", labels)
    s, m = (1 if features.ndim == 2 else len(features)), features.shape[-2]
    if labels.ndim not in (2, features.ndim) or 0 in labels.shape:
        more = f", or ({s}, K, {m}), of each network" if features.ndim == 3 else ""
        raise ValueError(
            f"random labels have shape {tuple(labels.shape)}; allowed: K labellings (K, {m}){more}"
        )
    shape = (*labels.shape[:-1], m) if labels.ndim == 2 else (s, labels.shape[1], m)
    given = _as_random_labels(labels, shape, n).to(features.device).expand(s, labels.shape[-2], m)
    own = classes.ndim == 2 and len(classes) == s if isinstance(classes, Tensor) else False
    each = classes if isinstance(classes, Tensor) and own else [classes]
    heads = torch.stack([_groups(given[0].T, one) for one in each])
    return given, heads.expand(s, m)


def _check_enough(n: int, groups: Tensor, class_wise: bool, few: bool) -> None:
    """Refuse more labels than a head has examples, unless there may be ``few``; groups (S, m)."""
    for row in groups:
        heads, sizes = row.unique(return_counts=True)
        if n > int(sizes.min()) and not few:
            whose = f"class {int(heads[sizes.argmin()])} has" if class_wise else "there are"
            raise ValueError(
                f"n={n} random labels, but {whose} {int(sizes.min())} examples; allowed: at most one label "
                "for each example of a head, or few=True, where a label may have no example"
            )
