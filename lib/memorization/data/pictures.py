"""Pictures for a page: an image, the image in its noise frame, and the spurious query."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from memorization.data.frames import add_frames
from memorization.data.images import load_images
from memorization.data.seeds import generator


def example_pictures(
    *,
    dataset: str,
    pad: int,
    label: int | None = None,
    index: int = 0,
    seed: int = 0,
    root: str | Path | None = None,
) -> dict[str, np.ndarray]:
    """Return one training image, its framed version and the spurious query (Figure 1 of the paper).

    Args:
        dataset: name of a data set, see :func:`memorization.data.images.load_images`.
        pad: width of the noise frame in pixels, >= 1.
        label: class of the image; None for any.
        index: which training image, among those of the class.
        seed: seed of the noise.
        root: folder of the data sets.

    Returns:
        ``image``, ``framed`` and ``query``: arrays of shape (height, width) or (height, width, 3), uint8,
        scaled to 0..255 whatever the data set's levels are.

    Raises:
        ValueError: if there is no image of that index.
    """
    images = load_images(dataset, "train", root)
    if label is not None:
        images = images.take((images.labels == label).nonzero().flatten())
    if not 0 <= index < len(images):
        of_class = "" if label is None else f" of class {label}"
        raise ValueError(
            f"{dataset} has {len(images)} training images{of_class}; got index={index}, counted from 0"
        )
    chosen = images.take(torch.tensor([index]))
    frames = add_frames(chosen, pad, generator(seed, "picture"))
    row = torch.zeros(1, dtype=torch.int64)
    pictures = {
        "image": chosen.pixels,
        "framed": frames.framed(row),
        "query": frames.framed(row, torch.zeros_like(chosen.pixels)),
    }
    return {name: _displayable(pixels[0], images.levels) for name, pixels in pictures.items()}


def _displayable(pixels: torch.Tensor, levels: int) -> np.ndarray:
    array = (pixels.to(torch.float32) * (255 / levels)).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return array[..., 0] if array.shape[2] == 1 else array
