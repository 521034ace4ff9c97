"""CLIP's image towers: the teacher with OpenAI's weights, and a student of the same architecture.

Zhang et al. (ICML 2024) distill a tower of CLIP (Radford et al., ICML 2021) into a network of the same
architecture that starts at random. The architectures come from the optional package open_clip; the weights
are read from a file, and never fetched.
"""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from memorization.data.imagenet import STAND_INS
from memorization.data.vision import load_torchvision
from memorization.data.words import did_you_mean


@dataclass(frozen=True)
class ClipStudent:
    """How Zhang et al. (ICML 2024) trained one student; from the training scripts of their published code.

    Attributes:
        pixels: side of the images.
        dimensions: D, length of the features of teacher and student.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        epochs: passes over ImageNet's training half.
    """

    pixels: int
    dimensions: int
    learning_rate: float
    weight_decay: float
    epochs: int


CLIP_STUDENTS = {
    "RN50": ClipStudent(224, 1024, 1e-3, 0.05, 50),
    "RN101": ClipStudent(224, 512, 1e-3, 0.1, 50),
    "RN50x4": ClipStudent(288, 640, 1e-4, 0.5, 50),
    "RN50x16": ClipStudent(384, 768, 1e-4, 0.5, 100),
    "ViT-B-16": ClipStudent(224, 512, 5e-5, 0.1, 300),
}
_HUBS = {
    "RN50": "timm/resnet50_clip.openai",
    "RN101": "timm/resnet101_clip.openai",
    "RN50x4": "timm/resnet50x4_clip.openai",
    "RN50x16": "timm/resnet50x16_clip.openai",
    "ViT-B-16": "timm/vit_base_patch16_clip_224.openai",
}
_HUB_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_EMBEDDINGS = ("class_embedding", "positional_embedding", "proj")


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
    with torch.no_grad():
        for module in reversed(list(tower.modules())):  # a module's own law comes after its parts'
            _draw(module, generator)
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
    _settings(architecture)
    original = Path.home() / ".cache" / "clip" / f"{architecture}.pt"
    places = [Path(weights)] if str(weights) else [original, *_hub_files(architecture)]
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"no weights of CLIP {architecture} in {places[0]}"
        + ("" if str(weights) else f", nor in the Hugging Face cache as {_HUBS[architecture]}")
        + ". They are never fetched here: load them once with open_clip.create_model("
        f"{architecture!r}, pretrained='openai'), or give their file as weights=. {STAND_INS}"
    )


def _settings(architecture: str) -> ClipStudent:
    if architecture not in CLIP_STUDENTS:
        raise ValueError(
            f"unknown CLIP architecture {architecture!r}; choose one of {', '.join(CLIP_STUDENTS)}"
            f"{did_you_mean(architecture, CLIP_STUDENTS)}"
        )
    return CLIP_STUDENTS[architecture]


def _hub_files(architecture: str) -> list[Path]:
    try:
        hub = importlib.import_module("huggingface_hub")
    except ImportError:
        return []
    found = [hub.try_to_load_from_cache(_HUBS[architecture], file) for file in _HUB_FILES]
    return [Path(path) for path in found if isinstance(path, str)]


def _open_clip() -> ModuleType:
    load_torchvision()  # open_clip imports it, which fails beside a torch without CUDA unless done here
    try:
        return importlib.import_module("open_clip")
    except ImportError as error:
        raise ImportError(
            f"CLIP needs the package open_clip ({error}): pip install 'memorization-measured[clip]'. "
            f"{STAND_INS}"
        ) from error


def _empty_tower(architecture: str, pixels: int | None) -> nn.Module:
    """The image tower with storage, and no numbers in it; the text tower is made without storage."""
    side = _settings(architecture).pixels if pixels is None else pixels
    step = 16 if architecture.startswith("ViT") else 32
    if side < step or side % step:
        raise ValueError(
            f"pixels={side}; allowed for {architecture}: a multiple of {step}, such as {8 * step}"
        )
    package: Any = _open_clip()
    config = package.get_model_config(architecture)
    config["vision_cfg"]["image_size"] = side
    with torch.device("meta"):
        whole = package.CLIP(**{**config, "quick_gelu": True})  # the activation of OpenAI's own networks
    return whole.visual.to_empty(device="cpu")


def _draw(module: nn.Module, generator: torch.Generator) -> None:
    """Draw a module's own parameters by PyTorch's default laws."""
    values = dict(module.named_parameters(recurse=False))
    if isinstance(module, nn.Conv2d | nn.Linear):
        bound = 1 / math.sqrt(module.weight[0].numel())
        for value in values.values():
            value.uniform_(-bound, bound, generator=generator)
    elif isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
    elif isinstance(module, nn.MultiheadAttention):
        nn.init.xavier_uniform_(values["in_proj_weight"], generator=generator)
        nn.init.zeros_(values["in_proj_bias"])
        nn.init.zeros_(module.out_proj.bias)
    else:
        for name, value in values.items():
            if name not in _EMBEDDINGS:
                raise TypeError(f"no law for {name} of {type(module).__name__}")
            width = value.shape[0] if name == "proj" else value.shape[-1]
            value.normal_(0, width**-0.5, generator=generator)


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
