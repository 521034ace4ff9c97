"""Pretrained networks on ImageNet and its shifts: CLIP's image towers, their students, and standard models.

Zhang et al. (ICML 2024) distill an image tower of CLIP (Radford et al., ICML 2021) into a network of the same
architecture that starts at random and sees pictures alone, without labels. If the student fits the teacher on
ImageNet and fails on its shifts, then what fails is the learning, not what the network can represent; neither
labels nor capacity explain it. Linear probes on teacher and student are compared with networks that were
trained on ImageNet's labels alone. CLIP's architectures come from the optional package open_clip; weights are
read from files, and never fetched.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import math
import pickle
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from memorization.checks import check_choice
from memorization.data.files import load_torchvision
from memorization.draws import generator
from memorization.models.layers import build
from memorization.models.stacked import StackedNetwork
from memorization.runs.sweep import experiment
from memorization.studies.feature_contamination.distillation import distillation_error
from memorization.studies.feature_contamination.imagenet import (
    IMAGENET_SHIFTS,
    STAND_INS,
    PictureSet,
    class_numbers,
    clip_view,
    imagenet_set,
    picture_outputs,
    top1,
    training_batches,
)
from memorization.training.batches import LoaderBatches, TensorBatches, checksum
from memorization.training.recipe import Recipe
from memorization.training.train import train


@dataclass(frozen=True)
class ClipStudent:
    """How Zhang et al. (ICML 2024) trained one student; from the training scripts of their published code.

    Attributes:
        pixels: side of the images.
        dimensions: D, length of the features of teacher and student.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        epochs: passes over ImageNet's training half.
        hub: where open_clip keeps OpenAI's weights of the teacher, a repository of Hugging Face.
    """

    pixels: int
    dimensions: int
    learning_rate: float
    weight_decay: float
    epochs: int
    hub: str


CLIP_STUDENTS = {
    "RN50": ClipStudent(224, 1024, 1e-3, 0.05, 50, "timm/resnet50_clip.openai"),
    "RN101": ClipStudent(224, 512, 1e-3, 0.1, 50, "timm/resnet101_clip.openai"),
    "RN50x4": ClipStudent(288, 640, 1e-4, 0.5, 50, "timm/resnet50x4_clip.openai"),
    "RN50x16": ClipStudent(384, 768, 1e-4, 0.5, 100, "timm/resnet50x16_clip.openai"),
    "ViT-B-16": ClipStudent(224, 512, 5e-5, 0.1, 300, "timm/vit_base_patch16_clip_224.openai"),
}
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_WIDTH_AXIS = {"class_embedding": -1, "positional_embedding": -1, "proj": 0}  # of the bare parameters


def clip_student(architecture: str, generator: torch.Generator, *, pixels: int | None = None) -> nn.Module:
    """Return an image tower of CLIP at random: every module as PyTorch initializes it by default.

    CLIP's own beginning (zero in the last normalization of each block) is not kept, as in the code of Zhang
    et al. (ICML 2024); embeddings and the projection are Gaussian with variance 1/width.

    Args:
        architecture: a name of ``CLIP_STUDENTS``.
        generator: source of the weights, on the CPU.
        pixels: side of the images; None: the architecture's own. A ResNet needs a multiple of 32.

    Returns:
        Maps (B, 3, pixels, pixels) to features (B, D), unnormalized; float32.

    Raises:
        ValueError: for an unknown architecture or a size that it cannot take.
        ImportError: if open_clip is absent.
    """
    tower = _empty_tower(architecture, pixels)
    with torch.random.fork_rng(devices=[]), torch.no_grad():  # PyTorch resets from the global generator alone
        torch.set_rng_state(generator.get_state())
        for module in reversed(list(tower.modules())):  # an attention resets its output layer once more
            reset: Any = getattr(module, "reset_parameters", None)
            if isinstance(module, nn.MultiheadAttention):
                module._reset_parameters()
            elif reset is not None:
                reset()
            else:
                for name, value in module.named_parameters(recurse=False):
                    value.normal_(0, value.shape[_WIDTH_AXIS[name]] ** -0.5)
    return tower.train()


def clip_teacher(architecture: str, weights: str | Path = "", *, pixels: int | None = None) -> nn.Module:
    """Return an image tower of CLIP with OpenAI's weights, frozen, in evaluation mode.

    Args:
        architecture: a name of ``CLIP_STUDENTS``.
        weights: file with the weights; empty: the local caches, see :func:`clip_weights`.
        pixels: side of the images; None: the architecture's own. At another one the position embeddings are
            interpolated (bicubic), and the features are not quite those of the published tower.

    Returns:
        Maps (B, 3, pixels, pixels) to features (B, D), unnormalized (``encode_image``); float32.

    Raises:
        ValueError, ImportError: as :func:`clip_student`.
        FileNotFoundError: if no file is there; says where it was looked for.
        RuntimeError: if the file does not hold this tower.
    """
    path = clip_weights(architecture, weights)
    tower = _empty_tower(architecture, pixels)
    try:
        found = {k[7:]: v.float() for k, v in _read(path).items() if k.startswith("visual.")}
        sizes = {name: value.shape for name, value in tower.state_dict().items()}
        for name, value in found.items():
            if name.endswith("positional_embedding") and name in sizes:
                found[name] = _resized(value, sizes[name][0])
        tower.load_state_dict(found)
    except Exception as error:
        raise RuntimeError(
            f"{path} does not hold the image tower of {architecture} ({type(error).__name__}: {error})"
        ) from error
    return tower.eval().requires_grad_(False)


def clip_weights(architecture: str, weights: str | Path = "") -> Path:
    """Return the file with OpenAI's weights: the one given, else one in the caches of clip and open_clip.

    Raises:
        ValueError: for an unknown architecture.
        FileNotFoundError: if there is none; nothing is fetched.
    """
    check_choice("CLIP architecture", architecture, CLIP_STUDENTS)
    hub = CLIP_STUDENTS[architecture].hub
    places = [Path(weights)] if str(weights) else [Path.home() / ".cache" / "clip" / f"{architecture}.pt"]
    if not str(weights) and importlib.util.find_spec("huggingface_hub"):
        cached = importlib.import_module("huggingface_hub").try_to_load_from_cache
        places += [Path(path) for file in _HUB_FILES if isinstance(path := cached(hub, file), str)]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"no weights of CLIP {architecture} in {places[0]}"
        + ("" if str(weights) else f", nor in the Hugging Face cache as {hub}")
        + ". They are never fetched here: load them once with open_clip.create_model("
        f"{architecture!r}, pretrained='openai'), or give their file as weights=. {STAND_INS}"
    )


def _empty_tower(architecture: str, pixels: int | None) -> nn.Module:
    """The image tower with storage, and no numbers in it; the text tower is made without storage."""
    check_choice("CLIP architecture", architecture, CLIP_STUDENTS)
    side = CLIP_STUDENTS[architecture].pixels if pixels is None else pixels
    step = 16 if architecture.startswith("ViT") else 32
    if side < step or side % step:
        raise ValueError(
            f"pixels={side}; allowed for {architecture}: a multiple of {step}, such as {8 * step}"
        )
    load_torchvision()  # open_clip imports it, which fails beside a torch without CUDA unless done here
    try:
        package: Any = importlib.import_module("open_clip")
    except ImportError as error:
        raise ImportError(
            f"CLIP needs the package open_clip ({error}): pip install 'memorization-measured[clip]'. "
            f"{STAND_INS}"
        ) from error
    config = package.get_model_config(architecture)
    config["vision_cfg"]["image_size"] = side
    # not open_clip.create_model: it would make the text tower too, and warn that no weights are loaded
    with torch.device("meta"):
        whole = package.CLIP(**{**config, "quick_gelu": True})  # the activation of OpenAI's own networks
    return whole.visual.to_empty(device="cpu")


def _read(path: Path) -> dict[str, Tensor]:
    """All weights of a file: OpenAI's compiled archive, a state as torch saves it, or safetensors."""
    if path.suffix == ".safetensors":
        return importlib.import_module("safetensors.torch").load_file(path)
    try:
        return torch.jit.load(path, map_location="cpu").state_dict()
    except RuntimeError:
        return torch.load(path, map_location="cpu", weights_only=True)


def _resized(embedding: Tensor, tokens: int) -> Tensor:
    """Interpolate the positions of a square grid, (1 + side^2, width); the first one is the whole image's."""
    if len(embedding) == tokens:
        return embedding
    old, new = math.isqrt(len(embedding) - 1), math.isqrt(tokens - 1)
    grid = embedding[1:].T.reshape(1, -1, old, old)
    grid = interpolate(grid, size=(new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([embedding[:1], grid.flatten(2)[0].T])


Batches = Callable[[int], Iterable[Tensor | Sequence[Tensor]]]
"""Returns the batches of an epoch, counted from 0: images, or images and what is not looked at."""


def fit_to_teacher(
    teacher: nn.Module,
    student: nn.Module,
    batches: Batches,
    steps: int,
    recipe: Recipe,
    *,
    weight: float = 1.0,
    device: str | torch.device = "cpu",
    data: str = "",
    checkpoint: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[nn.Module, pd.DataFrame]:
    """Train a student to give a teacher's features.

    Zhang et al. (ICML 2024), distillation of CLIP: the loss is the squared distance of the features, averaged
    over batch and dimensions. The student is in training mode throughout. The teacher is in evaluation mode
    and frozen, sees the same views, and computes in float32.

    Args:
        teacher: maps images (B, ...) to features (B, D); moved to ``device`` and frozen.
        student: the same shapes; a copy is trained.
        batches: the batches of an epoch.
        steps: batches in each epoch, >= 1.
        recipe: how to descend, see :func:`clip_recipe`.
        weight: factor of the loss, > 0; it matters beside the clipping of gradients only.
        device: where to compute.
        data: what the batches are, in words or as a digest: a checkpoint of others is refused.
        checkpoint: file to go on from, where it exists; written after each epoch.
        progress: called as ``progress(epochs done, epochs)``.

    Returns:
        The trained student, in evaluation mode, and one row per epoch: ``epoch`` (counted from 1), ``loss``,
        ``learning_rate``.

    Raises:
        ValueError: for values out of range, features of different shapes, an epoch with another number of
            batches, a warm-up that would fill the training, or a checkpoint of another training.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    if steps < 1 or not weight > 0:
        raise ValueError(f"steps={steps}, weight={weight}; allowed: steps >= 1 in an epoch, weight > 0")
    _check_warmup(recipe, steps)
    _placed(teacher, device).eval().requires_grad_(False)

    @torch.no_grad()
    def features(images: Tensor) -> Tensor:
        if images.ndim == 4:  # as the student gets them: a convolution rounds by the layout in memory
            images = images.contiguous(memory_format=torch.channels_last)
        return teacher(images)

    def distance(given: Tensor, wanted: Tensor, _: Tensor) -> Tensor:
        if given.shape != wanted.shape:
            raise ValueError(
                f"the student gives features of shape {tuple(given.shape[1:])}, the teacher "
                f"{tuple(wanted.shape[1:])}; allowed: the same shape"
            )
        return weight * (given.float() - wanted.float()).square().mean((1, 2))

    described = f"{data}, weight {weight}, teacher {checksum(*teacher.state_dict().values())}"
    shown = LoaderBatches(batches, steps, features, torch.device(device), described)
    student = _placed(student, device).train()
    given: dict[str, Any] = {"checkpoint": checkpoint, "checkpoint_every": 1, "progress": progress}
    done = train(StackedNetwork([student], "loop"), shown, distance, recipe, **given)
    return done.networks[0], done.history[["epoch", "loss", "learning_rate"]]


def clip_recipe(
    epochs: int = 50,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.05,
    warmup: int = 10_000,
    precision: str = "float32",
) -> Recipe:
    """Return AdamW with a linear warm-up by steps, a cosine to zero and gradients clipped to length 1.

    The defaults are those of Zhang et al. (ICML 2024) for distilling CLIP's RN50.
    """
    given: dict[str, Any] = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    given |= {"warmup_steps": warmup, "precision": precision}
    return Recipe(epochs, 1, "adamw", schedule="cosine", clip=1.0, **given)


def _check_warmup(recipe: Recipe, steps: int, name: str = "warmup") -> None:
    if recipe.warmup_steps >= recipe.total(steps):
        raise ValueError(
            f"{name}={recipe.warmup_steps} steps, but {recipe.epochs} epochs have only "
            f"{recipe.total(steps)}; allowed: fewer, so that the learning rate comes down again"
        )


def _placed(network: nn.Module, device: str | torch.device) -> nn.Module:
    """On a GPU convolutions are faster with the channels last."""
    network.to(device)
    if torch.device(device).type == "cuda":
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's own stub lacks it
    return network


def fit_linear_head(
    features: Tensor,
    labels: Tensor,
    classes: int,
    recipe: Recipe,
    *,
    seed: int,
    batch: int = 256,
    device: str | torch.device = "cpu",
) -> nn.Linear:
    """Train a linear layer by cross-entropy on features that were computed once.

    Zhang et al. (ICML 2024), linear probe: AdamW with learning rate 1e-3, 500 steps of warm-up, 10 epochs of
    batches of 256, and weight decay 0.1 on CLIP's own features, 1e-3 on distilled ones.

    Args:
        features: shape (N, D), floating point, on any device; they stay there, and batches are moved.
        labels: shape (N,), int64 in 0..C-1.
        classes: number C >= 2 of classes.
        recipe: how to descend.
        seed: of the initial weights and the order.
        batch: examples a step, in 1..N; the incomplete last batch is dropped.
        device: where to compute.

    Returns:
        The trained layer, in evaluation mode, on ``device``.

    Raises:
        ValueError: for shapes or labels that do not fit, or a batch larger than N.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    _check_linear_head(features, labels, classes, batch)
    _check_warmup(recipe, len(features) // batch)
    head = build(lambda: nn.Linear(features.shape[1], classes), generator(seed, "head")).to(device)
    shown = TensorBatches(features.float(), labels[None], (seed,), classes, purpose="head order", to=device)
    done = train([head], shown, "cross_entropy", replace(recipe, batch=batch))
    return done.networks[0].requires_grad_(False)


def _check_linear_head(features: Tensor, labels: Tensor, classes: int, batch: int) -> None:
    if features.ndim != 2 or not features.is_floating_point() or labels.shape != features.shape[:1]:
        raise ValueError(
            f"features are {features.dtype} of shape {tuple(features.shape)}, labels of shape "
            f"{tuple(labels.shape)}; allowed: floating point (N, D) and (N,)"
        )
    if classes < 2 or bool(((labels < 0) | (labels >= classes)).any()):
        raise ValueError(f"labels must be in 0..{classes - 1} (classes={classes}; at least 2)")
    if not 1 <= batch <= len(features):
        raise ValueError(f"batch={batch}; allowed: 1 to {len(features)}, the number of examples")


STANDARD_MODELS = (
    "alexnet",
    "squeezenet1_1",
    "shufflenet_v2_x1_0",
    "mobilenet_v2",
    "vgg11",
    "vgg16",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
)
"""torchvision's networks whose first published weights come from plain supervised training at 224 pixels.
A choice of ours: Zhang et al. (ICML 2024) publish no list of theirs."""


@experiment("standard_accuracies")
def standard_accuracies(
    *,
    root: str = "",
    models: Sequence[str] = STANDARD_MODELS,
    cache: str = "",
    classes: int | None = None,
    shifts: Sequence[str] = IMAGENET_SHIFTS,
    batch: int = 256,
    workers: int = 8,
    device: str = "cpu",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Test torchvision's supervised networks on ImageNet and its shifts, as far as their weights are here.

    Taori et al. (NeurIPS 2020) and Miller et al. (ICML 2021): on such models the accuracy under shift is a
    function of the accuracy without, see :func:`robustness_line`.

    Args:
        root: folder that holds ``imagenet`` and the shifts; empty: ``$MEMORIZATION_DATA`` or ``data``.
        models: names of ``STANDARD_MODELS``.
        cache: folder with torchvision's weight files; empty: torch's own. Nothing is fetched.
        classes: number of ImageNet classes, spread evenly, whose outputs are compared; None: all.
        shifts: some of ``v2``, ``r``, ``a``, ``sketch``, ``objectnet``.
        batch: pictures a batch.
        workers: worker processes that decode pictures.
        device: where to compute.
        seed: not used: the networks are given; a sweep hands one to every function.

    Returns:
        One row per model and set: ``model``, ``set``, ``images``, ``accuracy`` (top-1). Models without
        weights have none, and a warning names their files.

    Raises:
        ValueError: for an unknown model, or other than ImageNet's 1000 classes in ``imagenet/train``.
        FileNotFoundError: if a set is absent, or no weights of any of the models are there.
        RuntimeError: if a file of weights is damaged.
    """
    for name in models:
        check_choice("standard model", name, STANDARD_MODELS)
    sets = _sets(("val",), shifts, root, classes)
    columns = _columns(root, classes)
    known: Any = load_torchvision().models
    published = {name: known.get_model_weights(name).IMAGENET1K_V1 for name in models}
    folder = Path(cache) if cache else Path(torch.hub.get_dir()) / "checkpoints"
    files = {name: folder / Path(weights.url).name for name, weights in published.items()}
    absent = [file.name for file in files.values() if not file.is_file()]
    if absent:
        text = (
            f"no weights in {folder} for {len(absent)} of {len(files)} standard models: {', '.join(absent)}"
        )
        if len(absent) == len(files):
            raise FileNotFoundError(
                f"{text}. Put some there (torchvision names where they are), or leave them out"
            )
        warnings.warn(f"{text}; they have no rows", stacklevel=2)
    rows = []
    for name in (name for name, file in files.items() if file.is_file()):
        network, view = _network(name, files[name]), published[name].transforms()
        for pictures in sets.values():
            outputs = picture_outputs(network, pictures, view, batch, workers, device)
            row = {"model": name, "set": pictures.name, "images": len(pictures)}
            rows.append({**row, "accuracy": top1(outputs[:, columns], pictures)})
    return rows


def _columns(root: str, classes: int | None) -> list[int]:
    whole = len(class_numbers(root))
    if whole != 1000:
        raise ValueError(
            f"imagenet/train has {whole} classes; torchvision's networks have one output for each of the "
            "1000: keep the whole list there, and choose fewer with classes="
        )
    return list(class_numbers(root, classes))


def _network(name: str, file: Path) -> nn.Module:
    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
        with torch.device("meta"):
            network: nn.Module = load_torchvision().models.get_model(name, weights=None)
        network.load_state_dict(values, assign=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        raise RuntimeError(f"{file} cannot be read as weights of {name} ({type(error).__name__})") from error
    return network


Row = dict[str, Any]
HEAD_DECAY = {"teacher": 0.1, "student": 1e-3}
"""Weight decay of the linear probe, from the scripts of Zhang et al. (ICML 2024)."""


@experiment("distil_clip")
def distil_clip(
    *,
    architecture: str = "RN50",
    root: str = "",
    weights: str = "",
    classes: int | None = None,
    shifts: Sequence[str] = IMAGENET_SHIFTS,
    pixels: int | None = None,
    epochs: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    warmup: int = 10_000,
    batch: int = 256,
    precision: str = "float32",
    probe_epochs: int = 10,
    probe_warmup: int = 500,
    workers: int = 8,
    device: str = "cpu",
    checkpoints: str = "",
    seed: int = 0,
) -> list[Row]:
    """Distill a CLIP image tower on ImageNet; probe teacher and student on ImageNet and its shifts.

    The paper's setting is the default; RN50 then takes days on one GPU. A cheaper variant: ``classes=100,
    pixels=160, epochs=30, warmup=1000``.

    Args:
        architecture: a name of ``CLIP_STUDENTS``, which also holds what None stands for below.
        root: folder that holds ``imagenet`` and the shifts; empty: ``$MEMORIZATION_DATA`` or ``data``.
        weights: file with OpenAI's weights; empty: the local caches.
        classes: number of ImageNet classes, spread evenly; None: all.
        shifts: some of ``v2``, ``r``, ``a``, ``sketch``, ``objectnet``.
        pixels: side of the views.
        epochs: passes over the training half.
        learning_rate: of the student.
        weight_decay: of the student.
        warmup: steps, fewer than those of the training.
        batch: pictures a step, of student and probe.
        precision: of the student's training, ``float32`` or ``bf16``.
        probe_epochs: epochs of the linear probe.
        probe_warmup: steps.
        workers: worker processes that decode pictures.
        device: where to compute.
        checkpoints: folder for a checkpoint after each epoch, to go on from after a loss; empty: none.
        seed: of the student's weights, the views and the probes.

    Returns:
        One row for ``teacher`` and ``student`` and each set (``val`` and the shifts): ``model``, ``set``,
        ``images``, ``accuracy`` (top-1), ``distillation_error`` (in units of the variance of the teacher's
        features; 0 for the teacher itself) and ``loss`` of the student's last epoch.

    Raises:
        FileNotFoundError: if a set or the weights are absent, before anything is trained.
        ImportError: if open_clip is absent.
        ValueError: for values out of range.
        TrainingError: a loss became infinite or not a number; names the step.
    """
    check_choice("CLIP architecture", architecture, CLIP_STUDENTS)
    sets = _sets(("train", "val"), shifts, root, classes)
    settings = CLIP_STUDENTS[architecture]
    side = settings.pixels if pixels is None else pixels
    recipe = clip_recipe(
        settings.epochs if epochs is None else epochs,
        settings.learning_rate if learning_rate is None else learning_rate,
        settings.weight_decay if weight_decay is None else weight_decay,
        warmup,
        precision,
    )
    decays = HEAD_DECAY.items()
    probes = {model: clip_recipe(probe_epochs, 1e-3, decay, probe_warmup) for model, decay in decays}
    views = training_batches(sets["train"], clip_view(side, training=True), batch, seed, workers)
    steps = len(sets["train"]) // batch
    _check_warmup(recipe, steps)
    _check_warmup(probes["student"], steps, "probe_warmup")  # before days of training, not after
    teacher = clip_teacher(architecture, weights, pixels=pixels)
    student = clip_student(architecture, generator(seed, "student"), pixels=pixels)
    data = f"{sets['train'].digest()} {side} {batch} {seed}"
    file = hashlib.sha256(f"{recipe} {data}".encode()).hexdigest()[:12]  # one for each training
    student, history = fit_to_teacher(
        teacher,
        student,
        views,
        steps,
        recipe,
        device=device,
        data=data,
        checkpoint=Path(checkpoints) / f"clip-{architecture}-{seed}-{file}.pt" if checkpoints else None,
    )
    labels, count = sets["train"].labels, len(sets["train"].groups)
    rows: list[Row] = []
    wanted: dict[str, Tensor] = {}  # the teacher's features
    for model, tower in (("teacher", teacher), ("student", student)):
        found = {
            name: picture_outputs(tower, pictures, clip_view(side), batch, workers, device)
            for name, pictures in sets.items()
        }
        features, probe = found.pop("train"), probes[model]
        head = fit_linear_head(features, labels, count, probe, seed=seed, batch=batch, device=device).cpu()
        del features  # 5 GB
        wanted = wanted or found
        for name, features in found.items():
            row = {"model": model, "set": name, "images": len(sets[name])}
            row |= {"accuracy": top1(head(features), sets[name])}
            row |= {"distillation_error": distillation_error(features, wanted[name]).item()}
            rows.append({**row, "loss": float(history["loss"].iloc[-1])})
    return rows


def _sets(
    names: Sequence[str], shifts: Sequence[str], root: str, classes: int | None
) -> dict[str, PictureSet]:
    """The named sets and the shifts, by name."""
    for shift in shifts:
        check_choice("shift of ImageNet", shift, IMAGENET_SHIFTS)
    if len(set(shifts)) < len(shifts):
        raise ValueError(f"shifts={list(shifts)}; allowed: each once")
    return {name: imagenet_set(name, root or None, classes=classes) for name in (*names, *shifts)}
