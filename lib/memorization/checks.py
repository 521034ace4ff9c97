"""What bad input gets: one function a kind of check, one wording: what was given, and what is allowed.

Torch is imported by the checks of tensors alone: commands that compute nothing start without it.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return the nearest known name, or None if none is near."""
    close = difflib.get_close_matches(str(word), list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``; did you mean 'x'?`` for the nearest known name, or nothing if none is near."""
    near = closest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def check_choice(what: str, given: object, allowed: Iterable[str]) -> None:
    """Raise a ValueError unless a name is one of those allowed; ``what`` says what it is the name of."""
    names = list(allowed)
    if given not in names:
        raise ValueError(
            f"unknown {what} {given!r}{did_you_mean(str(given), names)}; choose one of {', '.join(names)}"
        )


def check_whole(name: str, value: object, least: int = 0) -> None:
    """Raise a ValueError unless a value is a whole number of at least ``least``; 10.0 and "10" are none."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}={value!r}; allowed: a whole number, {least} or more")


def check_finite(name: str, value: object) -> None:
    """Raise a ValueError unless a value is a finite real number."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
        raise ValueError(f"{name}={value!r}; allowed: a finite number")


def check_seeds(seeds: Any, *, repeated: bool = False) -> tuple[int, ...]:
    """Return seeds as a tuple.

    Raises:
        ValueError: unless they are whole numbers from 0 to 2**63 - 1, at least one, and each once or
            ``repeated``: networks of several arms share a seed.
    """
    given = list(seeds) if isinstance(seeds, list | tuple | range) else []
    wrong = [seed for seed in given if type(seed) is not int or not 0 <= seed < 2**63]
    if not given or wrong or (len(set(given)) < len(given) and not repeated):
        each = "one per network" if repeated else "each once"
        raise ValueError(
            f"seeds={seeds!r}; allowed: a list of one or more whole numbers >= 0 (and below 2**63), {each}, "
            "such as [0, 1]"
        )
    return tuple(given)


def check_image_shape(
    images: Tensor, name: str = "images", *, square: bool = False, channels: tuple[int, ...] = ()
) -> None:
    """Refuse what is no tensor of images (N, c, height, width), N >= 1; ``square``, and c in ``channels``."""
    from torch import Tensor

    fits = isinstance(images, Tensor) and images.ndim == 4 and 0 not in images.shape
    if fits and square:
        fits = images.shape[2] == images.shape[3]
    if fits and channels:
        fits = images.shape[1] in channels
    if not fits:
        shape = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        wanted = "(N, c, side, side)" if square else "(N, c, height, width)"
        some = f", c {' or '.join(map(str, channels))}" if channels else ""
        raise ValueError(
            f"{name}: got {shape}; allowed: a tensor of shape {wanted}{some}, with at least one image"
        )


def check_images(
    images: Tensor,
    name: str = "images",
    *,
    bytes_too: bool = True,
    square: bool = False,
    channels: tuple[int, ...] = (),
) -> None:
    """Refuse images as :func:`check_image_shape`, and those not floats in [0, 1] or, ``bytes_too``, uint8."""
    import torch

    check_image_shape(images, name, square=square, channels=channels)
    if images.dtype == torch.uint8 and bytes_too:
        return
    if not images.is_floating_point():
        other = ", or uint8 in 0..255" if bytes_too else ": divide by the largest level"
        raise TypeError(f"{name} are {images.dtype}; allowed: floating point in [0, 1]{other}")
    low, high = (float(end) for end in torch.aminmax(images))
    if not (low >= 0 and high <= 1):  # true for NaN, too
        raise ValueError(
            f"{name} have values from {low:.4g} to {high:.4g}; allowed: [0, 1]: divide by the largest level, "
            "and leave standardization to the network's first layer"
        )


def check_labels(labels: Tensor, images: Tensor, models: int, classes: int) -> None:
    """Refuse labels that are not int64 class numbers (M, N) beside the images."""
    import torch
    from torch import Tensor

    if type(classes) is not int or classes < 1:
        raise ValueError(f"classes={classes!r}; allowed: a whole number >= 1")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64:
        kind = labels.dtype if isinstance(labels, Tensor) else f"a {type(labels).__name__}"
        raise TypeError(f"labels are {kind}; allowed: int64 class numbers")
    if labels.device != images.device:
        raise ValueError(
            f"labels are on {labels.device}, images on {images.device}; give labels.to(images.device)"
        )
    if labels.ndim != 2 or len(labels) != models:
        raise ValueError(
            f"labels have shape {tuple(labels.shape)} for {models} networks; allowed: ({models}, N)"
        )
    if labels.shape[1] != len(images):
        raise ValueError(
            f"{len(images)} images but {labels.shape[1]} labels for each network; give one label per image"
        )
    low, high = (int(end) for end in torch.aminmax(labels))
    if low < 0 or high >= classes:
        raise ValueError(f"labels must be in 0..{classes - 1}; got {low}..{high}")


def per_network(value: Any, name: str, models: int, device: torch.device) -> Tensor:
    """Return one number >= 0 for each network, shape (M,), of a tensor or of one number for all."""
    import torch
    from torch import Tensor

    if not isinstance(value, Tensor):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name}={value!r} ({type(value).__name__}); allowed: a tensor or a number")
        value = torch.tensor([value])
    if value.dtype == torch.bool or value.is_complex():
        raise TypeError(f"{name} is {value.dtype}; allowed: numbers >= 0")
    if tuple(value.shape) not in ((), (1,), (models,)):
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} for {models} networks; give one number, or shape "
            f"({models},)"
        )
    if not bool(((value >= 0) & value.isfinite()).all()):
        raise ValueError(f"{name} holds {value.flatten().tolist()}; allowed: numbers >= 0")
    return value.to(device).expand(models)


def check_tensor(name: str, value: object) -> None:
    """Refuse what is no tensor, such as a NumPy array."""
    from torch import Tensor

    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}: got a {type(value).__name__}; allowed: a tensor, such as torch.as_tensor(array)"
        )


def as_classes(labels: Tensor, n: int, name: str, classes: int | None = None) -> Tensor:
    """Return one class number per row as int64.

    Args:
        labels: shape (n,), integers in 0..C-1.
        n: number of rows that they belong to.
        name: what they label, for the messages.
        classes: number C of classes; None asks only for numbers >= 0.

    Raises:
        TypeError: for what is no tensor of integers.
        ValueError: for another shape, or a label outside 0..C-1.
    """
    import torch

    check_tensor(f"{name} labels", labels)
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"{name} labels must be class numbers of an integer type; got {labels.dtype}")
    if tuple(labels.shape) != (n,):
        raise ValueError(
            f"{name}: one label per row is needed; got {n} rows and labels of shape {tuple(labels.shape)}"
        )
    if classes is not None:
        check_whole("classes", classes, 1)
    numbers = labels.long()
    outside = (numbers < 0) | (numbers >= (classes or torch.iinfo(torch.int64).max))
    if bool(outside.any()):
        first = int(outside.nonzero()[0])
        allowed = f"0..{classes - 1}" if classes else "0..C-1"
        raise ValueError(f"{name} label {int(numbers[first])} of row {first} is outside {allowed}")
    return numbers
