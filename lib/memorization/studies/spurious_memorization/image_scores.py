"""Scores of framed images, one by one, and what they give away: which images were trained on.

Bombari & Mondelli (ICML 2024) split the answer at the spurious query of image i into a part that owes nothing
to it and ``F_i S_i``, feature alignment times stability; ``F_i S_i g_i`` is how much of the right answer was
memorized. Who holds a frame and a label can ask whether they were trained on together: an earlier version of
the paper (arXiv 2305.12100, v1) tells the same mathematics as an attack on privacy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from memorization.checks import check_choice
from memorization.data.frames import image_task
from memorization.data.image_sets import Images, load_images
from memorization.data.synthetic import SpuriousTask
from memorization.measures.detection import membership_inference
from memorization.measures.scores import ExampleScores
from memorization.runs.sweep import experiment
from memorization.studies.spurious_memorization.experiments import (
    Model,
    Row,
    check_counts,
    pools,
    score_columns,
    solve,
)

ASKED = ("own", "fresh")


@dataclass(frozen=True)
class ScoredImages:
    """Scores of training images, and what the model saw of them.

    Attributes:
        scores: by the image's place in the file of its data set.
        framed: the images in their frames, shape (N, channels, height, width), uint8, 0..levels.
        levels: the largest value of a pixel.
    """

    scores: ExampleScores
    framed: Tensor
    levels: int


def image_scores(
    model: Model,
    *,
    dataset: str,
    negative: int,
    positive: int,
    pad: int,
    n: int,
    fill: str = "zero",
    data_root: str | None = None,
    seed: int,
) -> ScoredImages:
    """Score every training image of one model, that of ``image_curve`` with n as its largest size.

    Args:
        model: the feature regression, on raw pixel values.
        dataset: ``digits``, ``mnist``, ``fashion_mnist`` or ``cifar10``.
        negative: class with label -1.
        positive: class with label +1.
        pad: width of the frame in pixels.
        n: number N of training images.
        fill: inside of a spurious query, ``zero``, ``mean`` or ``fresh``.
        data_root: folder of the data sets.
        seed: whole number >= 0.

    Returns:
        The columns of ``score_columns`` by the image's place in the training file (for digits, in the whole
        set). The data set is named by a digest of its pixels and labels, whatever the seed is, so that
        scores of several measures join.

    Raises:
        ValueError: for arguments out of range; FileNotFoundError: if the data set is absent.
    """
    pool, test_pool = pools(dataset, negative, positive, data_root)
    task = image_task(
        pool, n_train=n, n_test=1, pad=pad, seed=seed, test_pool=test_pool, fill=fill, purpose="nested"
    )
    every = load_images(dataset, "all" if test_pool is None else "train", data_root)
    places = torch.nonzero((every.labels == negative) | (every.labels == positive)).flatten()
    assert task.rows is not None  # images have rows in their pool
    columns = score_columns(solve(model, task, seed, "nested weights").at())
    where = {"dataset": dataset, "negative": negative, "positive": positive, "pad": pad, "fill": fill}
    made = {**asdict(model), **where, "n": n, "seed": seed}
    scores = ExampleScores(_digest(every), places[task.rows], columns, dict.fromkeys(columns, made))
    _, channels, height, width = every.pixels.shape
    framed = task.train.reshape(n, channels, height + 2 * pad, width + 2 * pad)
    return ScoredImages(scores, framed.to(torch.uint8), every.levels)


def _digest(images: Images) -> str:
    """Sixteen hexadecimal digits that name a data set."""
    content = hashlib.sha256(images.pixels.numpy().tobytes())
    content.update(images.labels.numpy().tobytes())
    return content.hexdigest()[:16]


@experiment("membership")
def membership(
    *,
    dataset: str,
    negative: int,
    positive: int,
    pad: int,
    feature_map: str,
    activation: str = "relu",
    width: int | None,
    sizes: Sequence[int],
    fill: str = "zero",
    asked: str = "own",
    data_root: str | None = None,
    seed: int,
) -> list[Row]:
    """Tell frames that a model was trained on from fresh ones, by its answers at the frames alone.

    An example is suspected to have been trained on where the answer at its spurious query speaks for its
    label, ``f(z_i^s) g_i``. It is compared with a fresh frame beside the same label, so that nothing but the
    frame differs. The answers are taken less their mean at fresh frames, which anybody can ask for: a black
    core moves all of them to one side.

    Args:
        dataset: ``digits``, ``mnist``, ``fashion_mnist`` or ``cifar10``.
        negative: class with label -1.
        positive: class with label +1.
        pad: width of the frame in pixels.
        feature_map: ``rf`` or ``ntk``.
        activation: name of the activation.
        width: k directions; 0 or None for the infinite-width kernel.
        sizes: numbers N of training images; the training sets are nested.
        fill: inside of a spurious query, ``zero``, ``mean`` or ``fresh``.
        asked: whose frames are suspected: each image's ``own``, or ``fresh`` ones, which gives 1/2.
        data_root: folder of the data sets.
        seed: whole number >= 0.

    Returns:
        One row per N: ``membership_auc``, 1/2 where nothing can be inferred, and ``raw_auc``, the same of
        answers whose mean was left.

    Raises:
        ValueError: for arguments out of range; FileNotFoundError: if the data set is absent.
    """
    check_choice("asked", asked, ASKED)
    counts = check_counts(sizes)
    pool, test_pool = pools(dataset, negative, positive, data_root)

    def framed(noise: str) -> SpuriousTask:
        return image_task(
            pool, n_train=max(counts), n_test=1, pad=pad, seed=seed, test_pool=test_pool, fill=fill,
            purpose="nested", noise=noise,
        )  # fmt: skip

    seen, fresh, other = framed("noise"), framed("fresh noise"), framed("other noise")
    queries = torch.cat([fresh.spurious, other.spurious])
    labels = torch.cat([seen.labels, seen.labels])
    task = replace(seen, test=queries, test_labels=labels)
    regression = solve(Model(feature_map, activation, width), task, seed, "nested weights")
    rows: list[Row] = []
    for n in counts:
        solution = regression.at(n)
        at_fresh, at_other = (part[:n] for part in solution.test_predictions.split(max(counts)))
        suspected = solution.spurious_predictions if asked == "own" else at_other
        g, mean = solution.targets, at_fresh.mean()
        found = membership_inference((suspected - mean) * g, (at_fresh - mean) * g)
        raw = membership_inference(suspected * g, at_fresh * g)
        rows.append({"N": n, "membership_auc": found.auroc, "raw_auc": raw.auroc})
    return rows
