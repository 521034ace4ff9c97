"""A use of the heads: finding wrong labels and canaries, and telling which images were in the training.

Random-label heads score single examples by how clearly they tell the example's random label, the margin of
``measures.random_labels.head_margins``. That needs no second network and no clean data; but neither does the
loss. So every score of the heads stands beside the loss and the margin of the class, and beside the leverage
of the example among those of its class, which is what heads find in any features. Questions of ours; Becker &
Risse (2024) and the follow-up do not ask them, as far as their text was at hand.
"""

from __future__ import annotations

import hashlib
import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from memorization.checks import check_choice, check_finite, check_seeds, check_whole
from memorization.data.labels import balanced_labels
from memorization.draws import generator
from memorization.measures.detection import Detection, detection, membership_inference
from memorization.measures.random_labels import (
    FROZEN_HEAD,
    ConstantFeatureWarning,
    frozen_logits,
    head_margins,
    leverages,
    random_label_accuracy,
)
from memorization.measures.scores import ExampleScores
from memorization.models.heads import HeadedNetwork
from memorization.runs.sweep import experiment
from memorization.studies.random_label_heads.experiments import (
    HeadedTask,
    check_looks,
    headed_task,
    page_recipe,
    share_of,
)
from memorization.training.batches import LabelledViews
from memorization.training.random_labels import HeadRecipe, RandomLabelLoss
from memorization.training.train import TrainingError, train

Row = dict[str, Any]

PLANTED = ("wrong labels", "canaries")
SCORES = ("online_heads", "new_heads", "leverage", "loss", "margin")
_SITE = "embedding"  # the last hidden layer, the input of the class head


@dataclass(frozen=True)
class PlantedTask:
    """What networks are trained on, some examples of which were planted.

    Attributes:
        task: images and given classes, planted ones among them.
        planted: which ones, shape (M, N), bool.
        labels: K labellings of each network, shape (M, K, N), in 0..n-1.
    """

    task: HeadedTask
    planted: Tensor
    labels: Tensor


# ---- planted examples


@experiment("planted_examples")
def planted_examples(
    *,
    planted: str = "wrong labels",
    share: float = 0.1,
    labellings: int = 8,
    dataset: str = "digits",
    network: str = "mlp",
    widths: Sequence[int] = (64, 64, 24),
    class_wise: bool = True,
    count: int = 14,
    epochs: int = 60,
    batch: int = 128,
    rate: float = 0.1,
    head_rate: float = 0.5,
    n_train: int = 1400,
    watch_at: Sequence[int] = (5,),
    frozen_steps: int = 100,
    resamples: int = 100,
    data_root: str | None = None,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Plant wrong labels or canaries, train networks with heads that look on, and see which score finds them.

    Args:
        planted: ``wrong labels`` (another class, each alike) or ``canaries`` (the image's pixels in a random
            order of its own, with a class drawn by lot).
        share: of the training images, in (0, 1/2].
        labellings: K random labels of each image, each with heads of its own; scores are means over them.
        dataset: as in ``experiments.random_label_heads``, like all that are not named here.
        network: likewise; heads read the last hidden layer.
        widths: likewise.
        class_wise: likewise.
        count: likewise.
        epochs: likewise.
        batch: likewise.
        rate: likewise.
        head_rate: likewise.
        n_train: likewise.
        watch_at: epochs after which examples are scored, beside the beginning and the end.
        frozen_steps: of new heads on frozen features, >= 1.
        resamples: of the bootstrap over examples behind the intervals, >= 2.
        data_root: likewise.
        device: likewise.
        seeds: likewise.

    Returns:
        For each seed one row for each look and score (an error for a seed that failed): ``epoch``; ``score``,
        high where an example is suspected: ``online_heads`` and ``new_heads`` (margin of the random label),
        ``leverage`` (of the features, among the examples of one head), ``loss`` (cross-entropy of the given
        class) and ``margin`` (of the given class, times -1); ``auroc`` and ``average_precision`` with the
        ends of their bootstrap intervals, ``..._low`` and ``..._high``; the ``share`` that was planted; and
        of the classes the accuracies ``train`` (as given), ``planted_fitted`` (the same of planted ones) and
        ``test``.
    """
    seeds = check_seeds(seeds)
    check_whole("frozen_steps", frozen_steps, 1)
    check_whole("resamples", resamples, 2)
    made = planted_task(
        seeds, planted=planted, share=share, labellings=labellings, dataset=dataset, network=network,
        widths=widths, class_wise=class_wise, count=count, n_train=n_train, data_root=data_root,
        device=device,
    )  # fmt: skip
    looks, failed = _looks(
        made, class_wise=class_wise, epochs=epochs, batch=batch, rate=rate, head_rate=head_rate,
        watch_at=watch_at,
    )  # fmt: skip
    rows: dict[int, list[Row]] = {member: [] for member in range(len(seeds))}
    for epoch, networks in looks.items():
        for member, scores in suspicion(made, networks, frozen_steps).items():
            state = {"epoch": epoch, **_accuracies(made, member, networks[member])}
            rows[member] += [
                {**state, "score": name, **_detected(values, made.planted[member], seeds[member], resamples)}
                for name, values in scores.items()
            ]
    return [failed.get(member, rows[member]) for member in rows]


def planted_scores(*, seed: int, **arguments: Any) -> ExampleScores:
    """Score the training examples of one seed of :func:`planted_examples`, at the end of the training.

    Args:
        seed: whole number >= 0.
        **arguments: those of :func:`planted_examples`.

    Returns:
        By place in the training set: ``true`` and ``given`` class, ``planted``, and the scores by their
        names. The digest of the data set is that of the images and given classes.

    Raises:
        TrainingError: the training failed.
    """
    bound = inspect.signature(planted_examples).bind(seeds=[seed], **arguments)
    bound.apply_defaults()
    known = {**bound.arguments, "watch_at": ()}
    made = planted_task(**_taken(planted_task, known))
    looks, failed = _looks(made, **_taken(_looks, known))
    if failed:
        raise failed[0]
    scores = suspicion(made, looks[known["epochs"]], known["frozen_steps"])[0]
    columns = {
        "true": made.task.true[0].cpu(), "given": made.task.given[0].cpu(), "planted": made.planted[0].cpu(),
        **scores,
    }  # fmt: skip
    content = made.task.images_of(0).cpu().numpy().tobytes() + columns["given"].numpy().tobytes()
    how = _taken(planted_task, known) | _taken(_looks, known) | {"frozen_steps": known["frozen_steps"]}
    how = {name: value for name, value in how.items() if name not in ("seeds", "data_root", "watch_at")}
    how |= {"widths": list(known["widths"]), "seed": seed}
    return ExampleScores(
        hashlib.sha256(content).hexdigest()[:16], torch.arange(len(columns["given"])), columns,
        {name: {"experiment": "planted_examples", **how} for name in columns},
    )  # fmt: skip


def _taken(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Row:
    """Those of the arguments that a function takes."""
    return {name: arguments[name] for name in inspect.signature(function).parameters if name in arguments}


def _looks(
    made: PlantedTask,
    *,
    class_wise: bool,
    epochs: int,
    batch: int,
    rate: float,
    head_rate: float,
    watch_at: Sequence[int],
) -> tuple[dict[int, dict[int, HeadedNetwork]], dict[int, TrainingError]]:
    """Train with heads that look on; return networks by epoch and number, without those that failed."""
    check_looks(watch_at, epochs)
    looks: dict[int, dict[int, HeadedNetwork]] = {epoch: {} for epoch in sorted({0, *watch_at, epochs})}

    def watch(epoch: int, member: int, seen: nn.Module) -> list[Row]:
        looks[epoch][member] = seen  # type: ignore[assignment]
        return []

    task = made.task
    objective = RandomLabelLoss(
        task.networks[0], made.labels, task.count, class_wise=class_wise,
        head=HeadRecipe(learning_rate=head_rate),
    )  # fmt: skip
    recipe = page_recipe(epochs, batch, rate, task.given.shape[1])
    result = train(task.networks, _views(task), objective, recipe, watch=watch, watch_at=watch_at)
    for seen in looks.values():
        for member in result.failed:
            seen.pop(member, None)
    return looks, result.failed


def planted_task(
    seeds: Sequence[int],
    *,
    planted: str,
    share: float,
    labellings: int,
    dataset: str,
    network: str,
    widths: Sequence[int],
    class_wise: bool,
    count: int,
    n_train: int,
    data_root: str | None,
    device: str,
) -> PlantedTask:
    """Draw what :func:`planted_examples` trains, with its arguments."""
    check_choice("planted", planted, PLANTED)
    check_finite("share", share)
    if not 0 < share <= 0.5 or not round(share * n_train):
        raise ValueError(
            f"share={share!r} of {n_train} training images; allowed: a number in (0, 0.5] that makes one "
            "image or more"
        )
    check_whole("labellings", labellings, 1)
    task = _task(
        seeds, dataset=dataset, network=network, widths=widths, class_wise=class_wise, count=count,
        n_train=n_train, data_root=data_root, device=device,
    )  # fmt: skip
    task, chosen = _with_planted(task, planted, round(share * n_train))
    labels = torch.stack([
        _labellings(seed, labellings, count, own if class_wise else None, torch.arange(n_train))
        for seed, own in zip(seeds, task.given, strict=True)
    ])  # fmt: skip
    return PlantedTask(task, chosen, labels.to(task.given.device))


def _with_planted(task: HeadedTask, planted: str, number: int) -> tuple[HeadedTask, Tensor]:
    """Plant examples into each network's training images; return the task and which they are, (M, N)."""
    wrong, chosen = planted == "wrong labels", torch.zeros(task.true.shape, dtype=torch.bool)
    given, images = task.true.cpu().clone(), task.images.clone()
    for member, seed in enumerate(task.seeds):
        source = generator(seed, "planted")
        rows = torch.randperm(given.shape[1], generator=source)[:number]
        chosen[member, rows] = True
        drawn = torch.randint(task.classes - wrong, (number,), generator=source)
        given[member, rows] = (given[member, rows] + 1 + drawn) % task.classes if wrong else drawn
        if not wrong:
            images[member, rows] = _shuffled(images[member, rows], source)
    device = task.true.device
    return replace(task, images=images, given=given.to(device)), chosen.to(device)


def _task(seeds: Sequence[int], **arguments: Any) -> HeadedTask:
    """A task of the page with heads at the last hidden layer and right labels, each seed's images its own."""
    return headed_task(
        seeds, sites="last", label_noise=0.0, dropout=0.0, n_test=None, split="seed", **arguments
    )


def _shuffled(images: Tensor, source: torch.Generator) -> Tensor:
    """Put the pixels of each image in an order of its own, the same for all channels."""
    order = torch.rand(len(images), images[0, 0].numel(), generator=source).argsort(1).to(images.device)
    flat = images.flatten(2)
    return flat.gather(2, order[:, None].expand_as(flat)).view_as(images)


def _labellings(
    seed: int, labellings: int, count: int, classes: Tensor | None, ids: Tensor, *, few: bool = False
) -> Tensor:
    """Draw K labellings (K, N); the first is the one that the page's other experiments draw."""
    seeds = [seed, *(generator(seed, "labelling", k).initial_seed() for k in range(1, labellings))]
    return torch.stack([balanced_labels(ids, count, one, classes, few=few) for one in seeds])


def _views(task: HeadedTask) -> LabelledViews:
    return LabelledViews(task.images, task.given, task.seeds, task.classes)


# ---- scores of examples


@torch.no_grad()
def suspicion(
    made: PlantedTask, networks: Mapping[int, HeadedNetwork], frozen_steps: int
) -> dict[int, dict[str, Tensor]]:
    """Score every training example, high where it is suspected; each score of shape (N,), on the CPU.

    Args:
        made: what the networks are trained on.
        networks: number of the network to the network with its heads, in evaluation mode.
        frozen_steps: of new heads on the frozen features of all networks, in one product.

    Returns:
        The scores of :func:`planted_examples` by their names, for each network.
    """
    task, found, rows = made.task, dict[int, dict[str, Tensor]](), dict[int, Tensor]()
    for m, network in networks.items():
        logits, features = network.tapped.split(network.tapped(task.images_of(m)))
        given, rows[m] = task.given[m], features[_SITE]
        found[m] = {
            "online_heads": _margins(_told(network, rows[m], task.heads_of(given)), made.labels[m]),
            "leverage": leverages(rows[m], task.heads_of(given)),
            "loss": F.cross_entropy(logits, given, reduction="none"),
            "margin": -_class_margin(logits, given),
        }
    members = list(networks)
    if members:
        with warnings.catch_warnings():  # dead features tell a head nothing, which is what is measured
            warnings.simplefilter("ignore", ConstantFeatureWarning)
            told = frozen_logits(
                torch.stack(list(rows.values())), made.labels[members], task.count,
                task.heads_of(task.given[members]), replace(FROZEN_HEAD, steps=frozen_steps),
            )  # fmt: skip
        for m, each in zip(members, told, strict=True):
            found[m]["new_heads"] = _margins(each, made.labels[m])
    return {m: {name: scores[name].cpu() for name in SCORES} for m, scores in found.items()}


def _told(network: HeadedNetwork, features: Tensor, classes: Tensor | None) -> Tensor:
    """Logits (K, N, n) of the heads that were trained along."""
    return network.told(_SITE, features, classes).movedim(1, 0)


def _margins(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean margins (N,) of random labels, from logits (K, N, n)."""
    ids = torch.arange(labels.shape[1])
    return head_margins(logits, labels, ids, "").columns["head_margin"]


def _class_margin(logits: Tensor, classes: Tensor) -> Tensor:
    """Logit of the class less the largest other, (N,)."""
    own = logits.gather(1, classes[:, None])
    return (own - logits.scatter(1, classes[:, None], -torch.inf).amax(1, keepdim=True))[:, 0]


@torch.no_grad()
def _accuracies(made: PlantedTask, member: int, network: HeadedNetwork) -> Row:
    """What the class head gets right."""
    task = made.task
    right = network(task.images_of(member)).argmax(1) == task.given[member]
    return {
        "train": share_of(right),
        "planted_fitted": share_of(right[made.planted[member]]),
        "test": share_of(network(task.test[member]).argmax(1) == task.test_true[member]),
    }


def _detected(scores: Tensor, planted: Tensor, seed: int, resamples: int) -> Row:
    """What a score finds; every score of a seed is seen on the same resamples."""
    found = detection(scores, planted.cpu(), generator(seed, "bootstrap"), resamples)
    return _areas(found)


def _areas(found: Detection) -> Row:
    """Areas with the ends of their intervals, as columns."""
    row: Row = {}
    for name in ("auroc", "average_precision"):
        low, high = getattr(found, f"{name}_interval")
        row |= {name: getattr(found, name), f"{name}_low": low, f"{name}_high": high}
    return row


# ---- membership


@experiment("unlearned_members")
def unlearned_members(
    *,
    strengths: Sequence[float] = (0.0, 1.0, 3.0, 10.0, 30.0),
    labellings: int = 1,
    dataset: str = "digits",
    network: str = "mlp",
    widths: Sequence[int] = (64, 64, 24),
    class_wise: bool = True,
    count: int = 6,
    epochs: int = 120,
    batch: int = 50,
    rate: float = 0.1,
    head_rate: float = 0.5,
    n_train: int = 300,
    resamples: int = 100,
    data_root: str | None = None,
    device: str = "cpu",
    seeds: Sequence[int],
) -> list[list[Row] | TrainingError]:
    """Train networks that unlearn random labels with several strengths; can training images still be told?

    So few images are trained on that networks overfit, see ``arms.PROTOCOLS["little"]``. All strengths and
    seeds are one stack; a seed has the same images, first weights, labels and batches under
    each strength.

    Args:
        strengths: lambda of the bounded regularizer, as the papers count it, each >= 0 and once; 0: heads
            look on.
        labellings: K random labels of each image at once.
        dataset: as in ``experiments.random_label_heads``, like all that follow.
        network: likewise; heads act at the last hidden layer.
        widths: likewise.
        class_wise: likewise.
        count: likewise.
        epochs: likewise.
        batch: likewise.
        rate: likewise.
        head_rate: likewise.
        n_train: likewise.
        resamples: of the bootstrap over images behind the intervals, >= 2.
        data_root: likewise.
        device: likewise.
        seeds: likewise.

    Returns:
        For each seed one row for each strength and score (an error for a seed of which a training failed):
        ``strength``; ``score``, high where an image is taken for one of the training: ``loss`` and ``margin``
        (of the true class, the loss times -1), which anybody can compute; ``sure_heads`` (the logarithm of
        the heads' largest probability), for who has the heads; and ``online_heads`` (margin of the random
        label, test images having labels that no training saw), for an auditor who drew labels for both;
        ``auroc`` of training images against test images, 1/2 where nothing is told, and
        ``average_precision``, with the ends of their bootstrap intervals; accuracies ``train`` and ``test``
        of the classes, ``online`` and ``held_out`` of the random labels of both.
    """
    seeds = check_seeds(seeds)
    check_whole("labellings", labellings, 1)
    check_whole("resamples", resamples, 2)
    _check_strengths(strengths)
    task = _task(
        seeds, dataset=dataset, network=network, widths=widths, class_wise=class_wise, count=count,
        n_train=n_train, data_root=data_root, device=device,
    )  # fmt: skip
    sides = _labelled(task, labellings)
    task = _repeated(task, len(strengths))
    labels = torch.stack(sides[0] * len(strengths))
    each = [float(value) for value in strengths for _ in seeds]
    objective = RandomLabelLoss(
        task.networks[0], labels, count, class_wise=class_wise,
        mode=["unlearning" if value else "probe" for value in each],
        strength=[value / count for value in each],  # the objective multiplies by n
        head=HeadRecipe(learning_rate=head_rate),
    )  # fmt: skip
    result = train(task.networks, _views(task), objective, page_recipe(epochs, batch, rate, n_train))
    rows: list[list[Row] | TrainingError] = []
    for place in range(len(seeds)):
        members = range(place, len(each), len(seeds))
        failed = [result.failed[m] for m in members if m in result.failed]
        rows.append(failed[0] if failed else [
            {"strength": each[m], **row}
            for m in members
            for row in _told_members(
                task, m, result.networks[m], [side[place] for side in sides], resamples
            )
        ])  # fmt: skip
    return rows


def _check_strengths(strengths: Sequence[float]) -> None:
    for value in strengths:
        check_finite("strength", value)
    if not strengths or min(strengths) < 0 or len(set(strengths)) != len(strengths):
        raise ValueError(
            f"strengths={list(strengths)}; allowed: one or more numbers >= 0, each once (a negative lambda "
            "rewards memorization)"
        )


def _labelled(task: HeadedTask, labellings: int) -> tuple[list[Tensor], list[Tensor]]:
    """Random labels (K, N) of each network's training images, and (K, T) of its test images."""
    first = task.given.shape[1]
    sides: tuple[list[Tensor], list[Tensor]] = ([], [])
    for seed, given, test in zip(task.seeds, task.given, task.test_true, strict=True):
        for side, classes, begin in zip(sides, (given, test), (0, first), strict=True):
            ids = torch.arange(begin, begin + len(classes))
            own, few = task.heads_of(classes), begin > 0
            labels = _labellings(seed, labellings, task.count, own, ids, few=few)
            side.append(labels.to(given.device))
    return sides


def _repeated(task: HeadedTask, times: int) -> HeadedTask:
    """The same networks several times over, all in one stack."""
    return replace(
        task, images=torch.cat([task.images] * times), true=torch.cat([task.true] * times),
        given=torch.cat([task.given] * times), labels=torch.cat([task.labels] * times),
        test=list(task.test) * times, test_true=list(task.test_true) * times,
        test_labels=list(task.test_labels) * times, networks=list(task.networks) * times,
        seeds=task.seeds * times,
    )  # fmt: skip


@torch.no_grad()
def _told_members(
    task: HeadedTask, member: int, network: HeadedNetwork, labels: Sequence[Tensor], resamples: int
) -> list[Row]:
    """How well the scores of one network tell training from test images: one row a score."""
    scores, right, online = [], [], []
    images, classes = (
        (task.images_of(member), task.test[member]), (task.given[member], task.test_true[member]),
    )  # fmt: skip
    for shown, given, drawn in zip(images, classes, labels, strict=True):
        logits, features = network.tapped.split(network.tapped(shown))
        heads = _told(network, features[_SITE], task.heads_of(given))
        scores.append({
            "loss": -F.cross_entropy(logits, given, reduction="none"),
            "margin": _class_margin(logits, given),
            "sure_heads": heads.log_softmax(2).amax(2).mean(0),
            "online_heads": _margins(heads, drawn),
        })  # fmt: skip
        right.append(share_of(logits.argmax(1) == given))
        online.append(float(random_label_accuracy(heads, drawn).mean()))
    state = {"train": right[0], "test": right[1], "online": online[0], "held_out": online[1]}
    found = {
        name: membership_inference(
            scores[0][name], scores[1][name], generator(task.seeds[member], "bootstrap"), resamples
        )
        for name in scores[0]
    }
    return [{"score": name, **state, **_areas(one)} for name, one in found.items()]
