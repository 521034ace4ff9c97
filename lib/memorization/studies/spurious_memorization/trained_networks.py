"""Trained networks on data with a spurious feature, and what leaving one example out changes in them.

Bombari & Mondelli (ICML 2024), the figure on neural networks: a fully connected network on the synthetic task
and on framed images of all classes, and a small convolutional network on framed images; a ResNet-18 as in
the released code's third script. Inputs are raw pixel values, a spurious query is scored against the training
label of the example whose spurious part it shows, and every N has data and networks of its own.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from memorization.checks import check_choice, check_seeds, check_whole
from memorization.data.frames import image_task
from memorization.data.image_sets import DATASETS, load_images, two_classes
from memorization.data.synthetic import SpuriousTask, linear_core_task
from memorization.draws import generator
from memorization.measures.accuracy import class_scores
from memorization.measures.stability import auc, covariance, sign_accuracy, stability
from memorization.models.kernels import GramBlocks
from memorization.models.layers import build, make_projector, redrawn
from memorization.models.networks import StagedNetwork, network
from memorization.models.regression import fit
from memorization.runs.sweep import experiment
from memorization.training.batches import TensorBatches
from memorization.training.recipe import Recipe
from memorization.training.train import TrainingError, train

Row = dict[str, float | int | str]
Shape = tuple[int, int, int]

NETWORKS = ("fc", "cnn", "resnet18")
_WIDTHS = (500, 200)  # hidden layers of the fully connected network
_RESNET_DECAY = 5e-4  # the third script's weight decay
_FALL, _EVERY = 0.8, 100  # of the learning rate, and after how many epochs


@dataclass(frozen=True)
class PaperRecipe(Recipe):
    """Adam at 1e-3, the rate multiplied by 0.8 after every 100 epochs: the released code's recipe."""

    def scheduled(self, largest: float, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0, where an epoch has ``steps`` steps."""
        return super().scheduled(largest, step, steps) * _FALL ** (step // steps // _EVERY)


def initial_network(name: str, shape: Shape, classes: int, source: torch.Generator) -> nn.Module:
    """Make an untrained network of the paper's.

    Args:
        name: ``fc``, hidden layers of 500 and 200; ``cnn``, two 3x3 convolutions to 16 and 32 channels, each
            with max-pooling by 2, and a hidden layer of 256; ``resnet18``, ImageNet's stem. ReLU throughout.
        shape: channels, height and width of an input; a synthetic one is (1, 1, d).
        classes: number of outputs.
        source: of the weights. They have PyTorch's own laws, the ResNet's those of He et al.

    Returns:
        The network, with an ``encoder`` whose output is the last layer's features.

    Raises:
        ValueError: an unknown name, or images too small for the network.
    """
    check_choice("network", name, NETWORKS)
    if name == "fc":
        return network(
            "mlp", inputs=math.prod(shape), widths=_WIDTHS, classes=classes, hidden=(), generator=source
        )
    if min(shape[1:]) < 4:
        raise ValueError(
            f"network {name!r} needs images of at least 4x4 pixels; got inputs of shape {shape}; "
            "use 'fc', which takes any input"
        )
    if name == "resnet18":
        return network("resnet18", channels=shape[0], classes=classes, hidden=(), generator=source)
    made = build(lambda: _convolutional(shape, classes), source)
    return redrawn(made, source.initial_seed())  # the house draws convolutions by another law


def _convolutional(shape: Shape, classes: int) -> StagedNetwork:
    channels, height, width = shape
    stages: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after) in enumerate(((channels, 16), (16, 32)), start=1):
        convolution = nn.Conv2d(before, after, 3, padding=1)
        # the paper rectifies before it pools: the largest of four is the same either way, and cheaper so
        stages[f"conv{number}"] = nn.Sequential(convolution, nn.MaxPool2d(2), nn.ReLU())
    flat = 32 * (height // 4) * (width // 4)
    stages["embedding"] = nn.Sequential(nn.Flatten(), nn.Linear(flat, 256), nn.ReLU())
    return StagedNetwork(nn.Sequential(stages), make_projector(256, classes, hidden=(), bias=True))


@dataclass(frozen=True)
class _Setting:
    """Where the examples come from; ``classes`` is C, or 1 for labels -1 and +1 and one output."""

    draw: Callable[..., SpuriousTask]
    shape: Shape
    classes: int

    @property
    def chance(self) -> float:
        return 1 / max(2, self.classes)


def _setting(
    dataset: str, *, pad: int, d: int, alpha: float, fill: str, pair: Sequence[int], data_root: str | None
) -> _Setting:
    """Synthetic data, or framed images: of all classes, or of a pair of them with labels -1 and +1."""
    check_choice("data set", dataset, ("synthetic", *DATASETS))
    if dataset == "synthetic":

        def synthetic(**draws: Any) -> SpuriousTask:
            return linear_core_task(d=d, alpha=alpha, **draws)

        return _Setting(synthetic, (1, 1, d), 1)
    parts = ("all",) if dataset == "digits" else ("train", "test")
    pools = [load_images(dataset, part, data_root) for part in parts]
    if pair:
        pools = [two_classes(pool, *pair) for pool in pools]
    channels, height, width = pools[0].pixels.shape[1:]

    def framed(**draws: Any) -> SpuriousTask:
        return image_task(pools[0], test_pool=pools[1] if pools[1:] else None, pad=pad, fill=fill, **draws)

    classes = 1 if pair else len(pools[0].class_names)
    return _Setting(framed, (channels, height + 2 * pad, width + 2 * pad), classes)


def network_points(specs: Sequence[str], sizes: Sequence[int], d: int) -> list[dict[str, str | int]]:
    """Read texts such as ``mnist:10:cnn:1000``: data set, frame in pixels, network, epochs.

    Args:
        specs: one text for each panel; ``synthetic:0:fc:1000`` for synthetic data, which have no frame.
        sizes: numbers N of training examples.
        d: number of coordinates of synthetic data.

    Returns:
        Arguments of :func:`trained_networks`, the smallest N first: those cost least.

    Raises:
        ValueError: a text of another form; says what was given and what is allowed.
    """
    points: list[dict[str, str | int]] = []
    for n in sorted(sizes):
        for spec in specs:
            name, *rest = spec.split(":")
            known = len(rest) == 3 and name in ("synthetic", *DATASETS) and rest[1] in NETWORKS
            if not known or not rest[0].isdigit() or not rest[2].isdigit():
                raise ValueError(
                    f"panel {spec!r}; allowed: DATASET:PAD:NETWORK:EPOCHS with DATASET one of synthetic, "
                    f"{', '.join(DATASETS)}, NETWORK one of {', '.join(NETWORKS)} and two whole numbers, "
                    "such as 'mnist:10:cnn:1000'"
                )
            pad, epochs = int(rest[0]), int(rest[2])
            fits = rest[1] == "fc" if name == "synthetic" else pad > 0
            if not fits or epochs < 1:
                raise ValueError(
                    f"panel {spec!r}; allowed: 1 epoch or more, for images a frame of 1 pixel or more, and "
                    "for synthetic data the network fc, since they are no images"
                )
            one: dict[str, str | int] = {"dataset": name, "pad": pad, "network": rest[1]}
            points.append(one | {"n": n, "epochs": epochs} | ({"d": d} if name == "synthetic" else {}))
    return points


@experiment("trained_networks")
def trained_networks(
    *,
    dataset: str,
    network: str,
    n: int,
    epochs: int,
    pad: int = 0,
    d: int = 200,
    alpha: float = 0.5,
    n_test: int = 500,
    batch: int = 1024,
    fill: str = "zero",
    data_root: str | None = None,
    seeds: Sequence[int],
    device: str = "cpu",
) -> list[list[Row] | TrainingError]:
    """Train one network a seed, all in one stack, and ask each at its spurious queries.

    On synthetic data the network has one output and the squared loss on labels -1 and +1; on images one
    output a class and the cross-entropy.

    Args:
        dataset: ``synthetic``, ``digits``, ``mnist``, ``fashion_mnist`` or ``cifar10``.
        network: ``fc``, ``cnn`` or ``resnet18``; synthetic data take ``fc`` alone.
        n: number N of training examples.
        epochs: passes over them; one step each while N <= batch.
        pad: width of the frame in pixels (images; the paper: 10 for MNIST, 8 for CIFAR-10).
        d: number of coordinates (synthetic data; the paper: 1000).
        alpha: spurious fraction (synthetic data).
        n_test: number of test examples.
        batch: most examples a step: an epoch has N/batch steps, rounded up, of one size.
        fill: inside of a spurious query of an image, ``zero``, ``mean`` or ``fresh``.
        data_root: folder of the data sets.
        seeds: of data, weights and batches, one network each.
        device: where to compute, such as ``cpu`` or ``cuda``.

    Returns:
        For each seed one row, or the error of a network that failed: ``N``, ``chance`` (1/2 or 1/C),
        ``updates`` (optimizer steps), ``train_accuracy``, ``test_accuracy``; ``spurious_accuracy``,
        ``spurious_auc`` and ``covariance`` at the spurious queries, and ``unrelated_accuracy``,
        ``unrelated_auc`` and ``unrelated_covariance`` at queries whose spurious part is fresh, too, all
        against the training labels, see :func:`label_covariance` and :func:`class_auc`.

    Raises:
        ValueError: for arguments out of range, with what is allowed.
        FileNotFoundError: the data set is absent.
        TrainingError: every network failed.
    """
    seeds = check_seeds(seeds)
    for name, value in (("n", n), ("epochs", epochs), ("n_test", n_test), ("batch", batch)):
        check_whole(name, value, 1)
    setting = _setting(dataset, pad=pad, d=d, alpha=alpha, fill=fill, pair=(), data_root=data_root)
    purpose = f"N={n}"
    tasks = [setting.draw(n_train=n, n_test=n_test, seed=seed, purpose=purpose) for seed in seeds]
    networks = [
        initial_network(network, setting.shape, setting.classes, generator(seed, purpose, "weights"))
        for seed in seeds
    ]
    steps = -(-n // batch)
    batches = TensorBatches(
        torch.stack([_shaped(task.train, setting) for task in tasks]).to(device),
        torch.stack([_targets(task.labels, setting) for task in tasks]).to(device),
        seeds,
        classes=0 if setting.classes == 1 else setting.classes,
        draw="whole" if steps == 1 else "shuffle",
        own=True,
        purpose=f"{purpose} order",
    )
    decay = _RESNET_DECAY if network == "resnet18" else 0.0
    recipe = PaperRecipe(epochs=epochs, batch=n // steps, weight_decay=decay)
    done = train(networks, batches, "mse" if setting.classes == 1 else "cross_entropy", recipe)
    known: Row = {"N": n, "chance": setting.chance, "updates": epochs * batches.steps(recipe.batch)}
    return [
        done.failed[m] if m in done.failed else [{**known, **_measured(done.networks[m], task, setting)}]
        for m, task in enumerate(tasks)
    ]


def _shaped(rows: Tensor, setting: _Setting) -> Tensor:
    """Flat rows as images; synthetic rows stay rows."""
    return rows if setting.shape[:2] == (1, 1) else rows.unflatten(1, setting.shape)


def _targets(labels: Tensor, setting: _Setting) -> Tensor:
    """Labels -1 and +1 as numbers (N, 1), or class numbers (N,)."""
    return labels[:, None].float() if setting.classes == 1 else labels.long()


def _measured(trained: nn.Module, task: SpuriousTask, setting: _Setting) -> dict[str, float]:
    def scores(rows: Tensor) -> Tensor:
        return class_scores(trained, _shaped(rows, setting)).cpu()

    found = {
        "train_accuracy": accuracy(scores(task.train), task.labels),
        "test_accuracy": accuracy(scores(task.test), task.test_labels),
    }
    for name, rows in (("spurious", task.spurious), ("unrelated", unrelated_queries(task))):
        seen = scores(rows)
        found[f"{name}_accuracy"] = accuracy(seen, task.labels)
        found[f"{name}_auc"] = class_auc(seen, task.labels)
        found["covariance" if name == "spurious" else "unrelated_covariance"] = label_covariance(
            seen, task.labels
        )
    return found


def unrelated_queries(task: SpuriousTask) -> Tensor:
    """Return the spurious queries with other examples' spurious parts, which nobody trained on: (N, D).

    The null of every measure at the queries: they share nothing with the training examples that they are
    scored against. The parts are those of the test rows, again from the first where there are fewer.
    """
    rows = torch.arange(len(task.spurious)) % len(task.test)
    return torch.where(task.spurious_columns, task.test[rows], task.spurious)


def accuracy(scores: Tensor, labels: Tensor) -> float:
    """Fraction of right answers: the sign of one output (labels -1 and +1), or the largest of C outputs.

    Args:
        scores: shape (B, C), or (B, 1).
        labels: shape (B,), class numbers 0..C-1, or -1 and +1.
    """
    if scores.shape[1] == 1:
        return float(sign_accuracy(scores[:, 0], labels))
    return float((scores.argmax(1) == labels).double().mean())


def label_covariance(scores: Tensor, labels: Tensor) -> float:
    """Covariance of predictions with labels, the paper's measure of memorization, for any number of classes.

    With one output f and labels g = -1, +1 it is ``Cov(f, g)``. With C outputs it is the sum over the classes
    of ``Cov(p_c, 1[g = c])``, where p is the softmax of the outputs: the trace of the covariance matrix of
    predicted probabilities and one-hot labels. It is 0 where they are independent, in expectation, and at
    most ``1 - sum over c of (share of class c)^2``, where every label is told with certainty. For two classes
    it is half of ``Cov(p_1 - p_0, g)``.

    Args: as :func:`accuracy`.
    """
    if scores.shape[1] == 1:
        return float(covariance(scores[:, 0], labels))
    chances = scores.double().softmax(1)
    return sum(float(covariance(chances[:, c], (labels == c).double())) for c in range(scores.shape[1]))


def class_auc(scores: Tensor, labels: Tensor) -> float:
    """Area under the curve of one class against the others, by its log-odds; the mean over the classes.

    Where all answers lean to one class it still tells whether the right one is likelier than elsewhere. With
    one output it is the area of the output. A class that every label is of, or none, has no area; NaN where
    no class has one.

    Args: as :func:`accuracy`.
    """
    classes = scores.shape[1]
    if classes == 1:
        odds, present = scores, [labels > 0]
    else:
        wide, own = scores.double(), torch.eye(classes, dtype=torch.bool)
        # not the probabilities themselves, which a sure network rounds to 0 or 1
        odds = wide - wide[:, None].masked_fill(own, -math.inf).logsumexp(2)
        present = [labels == c for c in range(classes)]
    areas = [
        float(auc(odds[:, c], torch.where(of, 1, -1)))
        for c, of in enumerate(present)
        if bool(of.any()) and not bool(of.all())
    ]
    return sum(areas) / len(areas) if areas else math.nan


class WithoutExamples(nn.Module):
    """Squared loss of stacked networks, each of which does not see some of the examples.

    Args:
        seen: shape (M, N), whether network m is trained on example i; each on at least one.
    """

    weights: Tensor

    def __init__(self, seen: Tensor) -> None:
        super().__init__()
        if seen.dtype != torch.bool or seen.ndim != 2 or not bool(seen.any(1).all()):
            raise ValueError(
                f"seen is {seen.dtype} of shape {tuple(seen.shape)}; allowed: one bool for each network and "
                "example, (M, N), with at least one example for each network"
            )
        self.register_buffer("weights", seen / seen.sum(1, keepdim=True))

    def forward(self, outputs: Tensor, targets: Tensor, examples: Tensor) -> Tensor:
        """Return the losses (M,): of each network the mean over its own examples; all come at once."""
        each = (outputs - targets).square().mean(2)
        return (each * self.weights.gather(1, examples)).sum(1)


@experiment("left_out_examples")
def left_out_examples(
    *,
    dataset: str,
    n: int,
    left_out: int,
    epochs: int,
    negative: int = 1,
    positive: int = 7,
    pad: int = 3,
    d: int = 200,
    alpha: float = 0.5,
    fill: str = "zero",
    data_root: str | None = None,
    seed: int,
    device: str = "cpu",
) -> list[Row]:
    """Train a fully connected network without one example, for several examples, and compare with theory.

    All networks of a seed begin alike and see the whole training set at each step, but for the example left
    out: what differs at its spurious query at the end is what that example put there. Beside it, for all
    examples, stands the product F_i S_i that the theory gives for a model linear in features: in the trained
    network's last layer (with a bias), and in its tangent features before the first step.

    Args:
        dataset: ``synthetic``, or images of two classes with labels -1 and +1.
        n: number N of training examples; at most 201, the last layer's features.
        left_out: how many of them are left out in turn, the first ones, 1..N.
        epochs: full-batch steps.
        negative: class with label -1 (images).
        positive: class with label +1 (images).
        pad: width of the frame in pixels (images).
        d: number of coordinates (synthetic data).
        alpha: spurious fraction (synthetic data).
        fill: inside of a spurious query of an image.
        data_root: folder of the data sets.
        seed: of data and weights.
        device: where to compute.

    Returns:
        One row for each example: ``example``, ``label``, ``spurious`` f(z_i^s). Of those left out
        ``change``, f(z_i^s) minus the answer of the network without i, and ``stability``, the same at z_i;
        NaN for the others. ``last_layer`` and ``tangent``, the predicted change F_i S_i;
        ``last_layer_alignment`` and ``tangent_alignment``, F_i.

    Raises:
        ValueError: for arguments out of range, or features that do not tell N examples apart.
        TrainingError: a network failed.
    """
    check_whole("n", n, 2)
    check_whole("left_out", left_out, 1)
    if not left_out <= n <= _WIDTHS[-1] + 1:
        raise ValueError(
            f"left_out={left_out}, n={n}; allowed: left_out <= n <= {_WIDTHS[-1] + 1}, since the last layer "
            "has no more features"
        )
    options = {"pad": pad, "d": d, "alpha": alpha, "fill": fill, "data_root": data_root}
    setting = _setting(dataset, pair=(negative, positive), **options)  # type: ignore[arg-type]
    task = setting.draw(n_train=n, n_test=2, seed=seed, purpose="left out")
    initial = initial_network("fc", setting.shape, 1, generator(seed, "left out", "weights"))
    models = left_out + 1  # the last one sees all
    seen = ~torch.eye(models, n, dtype=torch.bool)
    seen[-1] = True
    batches = TensorBatches(
        task.train.to(device), _targets(task.labels, setting).expand(models, n, 1).to(device),
        (seed,) * models, draw="whole",
    )  # fmt: skip
    recipe = PaperRecipe(epochs=epochs, batch=n)
    done = train([initial] * models, batches, WithoutExamples(seen).to(device), recipe)
    if done.failed:
        raise next(iter(done.failed.values()))
    *without, full = [trained.cpu() for trained in done.networks]
    return _left_out_rows(task, initial, full, without)


def _left_out_rows(
    task: SpuriousTask, initial: nn.Module, full: nn.Module, without: Sequence[nn.Module]
) -> list[Row]:
    count, labels = len(without), task.labels.double()

    def answers(model: nn.Module, rows: Tensor) -> Tensor:
        return class_scores(model, rows)[:, 0].double()

    columns: dict[str, Tensor] = {"label": labels, "spurious": answers(full, task.spurious)}
    for name, rows in (("change", task.spurious), ("stability", task.train)):
        alone = torch.stack([answers(one, rows[i : i + 1])[0] for i, one in enumerate(without)])
        missing = torch.full((len(labels) - count,), math.nan, dtype=torch.float64)
        columns[name] = torch.cat([answers(full, rows)[:count] - alone, missing])
    start = torch.zeros_like(labels), answers(initial, task.train)
    kernels = (last_layer_gram(full, task), tangent_gram(initial, task))
    for name, blocks, begun in zip(("last_layer", "tangent"), kernels, start, strict=True):
        found = stability(fit(blocks, labels - begun).at())
        columns[name] = found.alignment * found.residuals
        columns[f"{name}_alignment"] = found.alignment
    numbers = {name: column.tolist() for name, column in columns.items()}
    return [
        {"N": len(labels), "example": i, **{name: column[i] for name, column in numbers.items()}}
        for i in range(len(labels))
    ]


def last_layer_gram(trained: nn.Module, task: SpuriousTask) -> GramBlocks:
    """Kernel of a network's last hidden layer and a constant, float64, between queries and training rows.

    Args:
        trained: a network with an ``encoder``.
        task: the examples; its test rows stand in the third block.
    """
    features = [
        nn.functional.pad(class_scores(trained.encoder, rows).double(), (0, 1), value=1.0)  # type: ignore[arg-type]
        for rows in (task.train, task.spurious, task.test)
    ]
    train, spurious, test = (rows @ features[0].T for rows in features)
    return GramBlocks(train, spurious, test, features[0].shape[1])


def tangent_gram(model: nn.Module, task: SpuriousTask) -> GramBlocks:
    """Tangent kernel of a network with one output, float64: products of gradients by all its parameters.

    Args: as :func:`last_layer_gram`.
    """
    values = {name: value.detach() for name, value in model.named_parameters()}

    def output(parameters: dict[str, Tensor], row: Tensor) -> Tensor:
        return functional_call(model, parameters, (row[None],))[0, 0]

    rows = torch.cat([task.train, task.spurious, task.test])
    gradients = vmap(grad(output), (None, 0))(values, rows)
    kernel = torch.zeros(len(rows), len(task.train), dtype=torch.float64)
    for one in gradients.values():
        flat = one.flatten(1).double()
        kernel += flat @ flat[: len(task.train)].T
    train, spurious, test = kernel.split([len(part) for part in (task.train, task.spurious, task.test)])
    return GramBlocks(train, spurious, test, sum(value.numel() for value in values.values()))
