"""Twelve made classes in the folders in which ImageNet and its shifts are published."""

import colorsys
import json
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = [f"n{number:08d}" for number in range(1000, 1012)]
NAMES = [f"thing {number}, object {number}" for number in range(12)]
IN_R, IN_A = [1, 4, 10], [0, 10]
OBJECTS = {"alarm_clock": ("Alarm clock", [2, 7]), "wok": ("Wok", [4]), "bench": ("Bench", [11])}
RED = (255, 0, 0)


def color(number: int) -> tuple[int, ...]:
    return tuple(round(255 * value) for value in colorsys.hsv_to_rgb(number / 12, 0.9, 0.8))


def write(path: Path, fill, size=(24, 20), border: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    array = np.full((size[1], size[0], 3), fill, dtype=np.uint8)
    if border:
        framed = np.full_like(array, RED)
        framed[border:-border, border:-border] = array[border:-border, border:-border]
        array = framed
    Image.fromarray(array).save(path, **({} if path.suffix == ".png" else {"quality": 95}))


def make_imagenet(root: Path, pictures: int = 3) -> Path:
    """Write all seven sets below ``root``; ``pictures`` of each class in the training half, two elsewhere."""
    for number, wnid in enumerate(WNIDS):
        for k in range(pictures):
            write(root / "imagenet/train" / wnid / f"{wnid}_{k}.JPEG", color(number))
        for k in range(2):
            write(root / "imagenet/val" / wnid / f"val_{k}.JPEG", color(number))
            write(root / f"imagenetv2-matched-frequency-format-val/{number}/{k}.jpeg", color(number))
            write(root / "sketch" / wnid / f"sketch_{k}.JPEG", color(number))
    for folder, numbers in (("imagenet-r", IN_R), ("imagenet-a", IN_A)):
        for number in numbers:
            for k in range(2):
                write(root / folder / WNIDS[number] / f"{k}.jpg", color(number))
    make_objectnet(root / "objectnet-1.0")
    return root


def make_objectnet(folder: Path) -> None:
    for place, (_, numbers) in OBJECTS.items():
        for k in range(2):
            write(folder / "images" / place / f"{k}.png", color(numbers[0]), border=2)
    write(folder / "images" / "armchair" / "0.png", color(0), border=2)  # no ImageNet class
    labels = {place: label for place, (label, _) in OBJECTS.items()} | {"armchair": "Armchair"}
    joined = {label: "; ".join(NAMES[number] for number in numbers) for label, numbers in OBJECTS.values()}
    files = {
        "folder_to_objectnet_label.json": json.dumps(labels),
        "objectnet_to_imagenet_1k.json": json.dumps(joined),
        # the list of names has an order of its own: here backwards
        "pytorch_to_imagenet_2012_id.json": json.dumps({str(number): 11 - number for number in range(12)}),
        "imagenet_to_label_2012_v2": "\n".join(reversed(NAMES)) + "\n",
    }
    (folder / "mappings").mkdir(parents=True)
    for name, text in files.items():
        (folder / "mappings" / name).write_text(text)
