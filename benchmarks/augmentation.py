"""The standard augmentation on 32 x 32 color images: a batch at once against one image at a time.

The plain way is what a data loader does: torchvision's transforms, image by image. The first row gives both
ways the same random numbers and compares every pixel; in the others each way draws its own. Both use one
thread.

    python benchmarks/augmentation.py [--quick] [--out FILE]
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from harness import Case, main
from PIL import Image
from torch import Tensor

from memorization.data.augmentation.policies import augmentation, to_bytes
from memorization.data.files import load_torchvision
from memorization.draws import Draws, generator, view_keys

OUT = Path(__file__).resolve().parents[1] / "results" / "benchmarks" / "augmentation.json"
SIZE, BATCH = 32, 256
FULL = augmentation("full")

torch.set_num_threads(1)  # the runs import this file, so this holds for them too


def pictures(n: int) -> Tensor:
    """Make random color images with smooth parts, on 256 levels as photographs have them."""
    coarse = torch.rand(n, 3, SIZE // 4, SIZE // 4, generator=generator(0, "pictures"))
    fine = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bilinear")
    load_torchvision()
    return (fine * 255).round() / 255


def pictures_and_views(n: int) -> tuple[Tensor, Any, list[tuple[Any, ...]]]:
    """Make images and the random numbers of their views, for a batch and as plain numbers per image."""
    views = FULL.plan.draw(Draws.keyed(view_keys(0, torch.arange(n), 0)), 3, SIZE, 1.0)
    columns = (views.boxes.int(), views.flips[:, 0], views.jitter.order, views.jitter.factors, views.gray)
    return pictures(n), views, list(zip(*(column.tolist() for column in columns), strict=True))


def bytes_of_pictures(n: int) -> Tensor:
    """Make the same images as bytes, as data sets store them."""
    return to_bytes(pictures(n))


def plain_same_numbers(given: tuple[Tensor, Any, list[tuple[Any, ...]]]) -> dict[str, Tensor]:
    """Apply torchvision's functions to one image after the other."""
    images, _, numbers = given
    f = load_torchvision().transforms.functional
    adjust = (f.adjust_brightness, f.adjust_contrast, f.adjust_saturation, f.adjust_hue)
    out = []
    for image, ((left, top, width, height), flip, order, factors, gray) in zip(images, numbers, strict=True):
        image = f.resized_crop(image, top, left, height, width, [SIZE, SIZE])
        image = f.hflip(image) if flip else image
        if factors != [1.0, 1.0, 1.0, 0.0]:
            for kind in order:
                image = adjust[kind](image, factors[kind])
        out.append(f.rgb_to_grayscale(image, num_output_channels=3) if gray else image)
    return {"views": torch.stack(out)}


def our_same_numbers(given: tuple[Tensor, Any, list[tuple[Any, ...]]]) -> dict[str, Tensor]:
    """Apply each step to all images."""
    images, views, _ = given
    return {"views": FULL.apply(images, views)}


def transforms(*last: Any) -> Any:
    """Return torchvision's transforms of the standard augmentation."""
    t = load_torchvision().transforms
    return t.Compose(
        [
            t.RandomResizedCrop(SIZE, scale=(0.08, 1.0)),
            t.RandomHorizontalFlip(),
            t.RandomApply([t.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            t.RandomGrayscale(p=0.2),
            *last,
        ]
    )


def plain_tensors(images: Tensor) -> dict[str, Tensor]:
    """Draw and apply, one tensor after the other."""
    augment = transforms()
    return {"views": torch.stack([augment(image) for image in images])}


def plain_pillow(images: Tensor) -> dict[str, Tensor]:
    """Draw and apply, one Pillow image after the other, then make tensors, as torchvision's data sets do."""
    t = load_torchvision().transforms
    augment = transforms(t.ToTensor())
    arrays = images.permute(0, 2, 3, 1).numpy()
    return {"views": torch.stack([augment(Image.fromarray(array)) for array in arrays])}


def ours(images: Tensor) -> dict[str, Tensor]:
    """Draw and apply, one batch after the other."""
    source = generator(0, "views")
    return {"views": torch.cat([FULL(batch, source) for batch in images.split(BATCH)])}


def ours_from_bytes(images: Tensor) -> dict[str, Tensor]:
    """Make floats of bytes, then draw and apply, one batch after the other."""
    return ours(images.float() / 255)


def cases(quick: bool) -> list[Case]:
    """Return the cases: thousands of images, or hundreds."""
    n, once = (256, 1) if quick else (4096, 5)
    images = f"{n:,} color images of 32 x 32, one view each, 1 thread"
    return [
        Case(
            f"{images}: same random numbers, every pixel compared",
            partial(pictures_and_views, n),
            plain_same_numbers,
            our_same_numbers,
            tolerance=1e-4,
            repeats=once,
        ),
        Case(
            f"{images}: own random numbers; plain on tensors one by one, ours in batches of {BATCH}",
            partial(pictures, n),
            plain_tensors,
            ours,
            tolerance=None,
            repeats=once,
        ),
        Case(
            f"{images}: own random numbers, from bytes; plain on Pillow images one by one, ours in "
            f"batches of {BATCH}",
            partial(bytes_of_pictures, n),
            plain_pillow,
            ours_from_bytes,
            tolerance=None,
            repeats=once,
        ),
    ]


if __name__ == "__main__":
    main(cases, OUT)
