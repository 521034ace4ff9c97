"""RandAugment on whole batches: a few random operations per image, one after another.

Anagnostidis et al. use it twice: torchvision's RandAugment for the strength sweep (a number a in [0, 1]),
and a list of sixteen operations (``myrandaugment``). In each step the images that drew the same operation
are changed together; all shears, shifts and rotations are one operation with different maps. Those on gray
levels (contrast stretching, equalization, posterizing, solarizing) take floats in [0, 1]; ``equalize`` and
``posterize`` are defined on 256 levels, so there values are rounded to multiples of 1/255 first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from memorization.data.augmentation.colors import BRIGHTNESS, CONTRAST, SATURATION, blend_, sharpen
from memorization.data.augmentation.warps import erase, look, rotations
from memorization.draws import Draws

_TOP = 255  # the largest level


def auto_contrast(images: Tensor) -> Tensor:
    """Stretch every channel of images (B, c, H, W) to [0, 1]; a channel of one value stays."""
    low, high = images.amin(dim=(2, 3), keepdim=True), images.amax(dim=(2, 3), keepdim=True)
    flat = high == low
    low = torch.where(flat, 0, low)
    return ((images - low) / torch.where(flat, 1, high - low)).clamp_(0, 1)


def equalize(images: Tensor) -> Tensor:
    """Spread the 256 levels of every channel evenly, by its histogram.

    A channel stays as it is where fewer than 255 of its pixels are below its largest level, and therefore
    always in images of less than 16 x 16 pixels.

    Args:
        images: shape (B, c, H, W), floats in [0, 1].

    Returns:
        Images of the same shape.
    """
    levels = (images * _TOP).round().long().flatten(0, 1).flatten(1)  # (B c, H W)
    counts = torch.zeros(len(levels), _TOP + 1, dtype=torch.int64, device=images.device)
    counts.scatter_add_(1, levels, torch.ones_like(levels))
    at_top = counts.gather(1, levels.amax(dim=1, keepdim=True))
    step = (levels.shape[1] - at_top) // _TOP  # (B c, 1)
    table = (counts.cumsum(dim=1) + step // 2) // step.clamp(min=1)
    table = torch.cat([torch.zeros_like(step), table[:, :-1]], dim=1).clamp_(0, _TOP)
    spread = (table.gather(1, levels).to(images.dtype) / _TOP).view_as(images)
    return torch.where(step.view(*images.shape[:2], 1, 1) == 0, images, spread)


def invert(images: Tensor) -> Tensor:
    """Return the negative."""
    return 1 - images


def posterize(images: Tensor, bits: Tensor) -> Tensor:
    """Keep the upper ``bits`` (B,) of 8 bits of every value; 8 keeps all, 0 none."""
    width = (2 ** (8 - bits.to(images.dtype)))[:, None, None, None]
    return ((images * _TOP).round() / width).floor_().mul_(width).div_(_TOP)


def solarize(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert all values that reach ``threshold`` (B,)."""
    return torch.where(images >= threshold.to(images.dtype)[:, None, None, None], 1 - images, images)


def solarize_add(images: Tensor, addition: Tensor) -> Tensor:
    """Add ``addition`` (B,), clamp, and invert all values that reach level 128 of 255."""
    brighter = (images + addition.to(images.dtype)[:, None, None, None]).clamp_(0, 1)
    return solarize(brighter, torch.full_like(addition, 128 / _TOP))


Number = float | Tensor  # one for all views, or one per view as (B, 1)
_MOVES = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
_BLENDS = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "color": SATURATION}
_CUT = (125 / 255, 123 / 255, 114 / 255)  # the color inside a cut-out; its mean for one channel


@dataclass(frozen=True)
class Operation:
    """One operation of a list.

    Attributes:
        name: which one, see :func:`operate`.
        magnitude: its number at strength 1.
        neutral: its number that changes (nearly) nothing, towards which the strength scales; None: there is
            none, the operation happens with probability min(strength, 1).
        signed: whether the sign of the magnitude is random.
        relative: whether the magnitude is a fraction of the image's side.
    """

    name: str
    magnitude: float = 0.0
    neutral: float | None = None
    signed: bool = False
    relative: bool = False


@dataclass(frozen=True)
class RandViews:
    """The random numbers of B views.

    Attributes:
        operation: number of the operation of each step, -1 for none, (B, steps), int64.
        magnitude: its number, (B, steps).
        center: of cut-outs, as fractions of the side, (B, steps, 2).
        offset: shift after padding in whole pixels, (B, 2).
        mirrored: whether flipped left-right in the end, (B,), bool.
    """

    operation: Tensor
    magnitude: Tensor
    center: Tensor
    offset: Tensor
    mirrored: Tensor


@dataclass(frozen=True)
class RandAugment:
    """Steps of RandAugment, then a random crop from a padded image, then a flip.

    A strength s moves each magnitude from its neutral number to its own at s = 1, and is the factor of the
    probabilities and of the padding.

    Attributes:
        operations: the list that each step draws from uniformly, with replacement.
        steps: number of operations per image.
        padding: zeros around the image before the crop, in pixels.
        mirror: probability of the flip.
    """

    operations: tuple[Operation, ...]
    steps: int
    padding: int = 0
    mirror: float = 0.0
    colors: bool = True  # some operations need three channels

    def draw(self, draws: Draws, channels: int, size: int, strength: Number) -> RandViews:
        """Draw the random numbers of B views."""
        numbers = draws.uniform(5 * self.steps + 3)
        kind, sign, coin, *center = numbers[:, 3:].view(-1, 5, self.steps).unbind(1)  # each (B, steps)
        operation = (kind * len(self.operations)).long().clamp(max=len(self.operations) - 1)
        magnitude, neutral, signed, all_or_nothing = self._tables(size, draws.device)
        least = neutral[operation]
        number = least + (magnitude[operation] - least) * strength
        number = torch.where((sign < 0.5) & signed[operation], -number, number)
        operation = torch.where(all_or_nothing[operation] & (coin >= strength), -1, operation)
        reach = torch.as_tensor(self.padding * strength, device=draws.device).round()
        offset = (numbers[:, :2] * (2 * reach + 1)).floor().clamp(max=2 * reach) - reach
        mirrored = (numbers[:, 2:3] < self.mirror * strength).squeeze(1)
        return RandViews(operation, number, torch.stack(center, dim=2), offset, mirrored)

    def _tables(self, size: int, device: torch.device) -> tuple[Tensor, ...]:
        """Return magnitude, neutral number, whether signed, whether all or nothing, for each operation."""
        rows = [
            (o.magnitude * (size if o.relative else 1), o.magnitude if o.neutral is None else o.neutral,
             o.signed, o.neutral is None)
            for o in self.operations
        ]  # fmt: skip
        columns = torch.tensor(rows, device=device).T
        return columns[0], columns[1], columns[2] > 0, columns[3] > 0

    def apply(self, images: Tensor, views: RandViews) -> Tensor:
        """Return the views of images (B, c, S, S), floats in [0, 1]; the images stay as they are."""
        images = images.clone()
        numbers = {o.name: i for i, o in enumerate(self.operations)}
        groups: dict[str, list[int]] = {}
        for name, i in numbers.items():
            groups.setdefault("moves" if name in _MOVES else name, []).append(i)
        for step in range(self.steps):
            operation = views.operation[:, step]
            counts = torch.bincount(operation + 1, minlength=len(numbers) + 1).tolist()
            _, *parts = operation.argsort().split(counts)  # the rows of each operation; first those of none
            for name, members in groups.items():
                rows = torch.cat([parts[i] for i in members])
                if not len(rows):
                    continue
                magnitude = views.magnitude[rows, step]
                if name == "moves":
                    maps = _maps(numbers, operation[rows], magnitude, images.shape[-1])
                    images[rows] = look(images[rows], maps=maps)
                else:
                    images[rows] = operate(name, images[rows], magnitude, views.center[rows, step])
        if not self.padding and not self.mirror:
            return images
        return look(images, maps=_crop_maps(views.offset, views.mirrored))


_LEVELS: dict[str, Callable[..., Tensor]] = {
    "auto_contrast": auto_contrast,
    "equalize": equalize,
    "invert": invert,
    "solarize": solarize,
    "solarize_add": solarize_add,
}


def operate(name: str, images: Tensor, number: Tensor, center: Tensor) -> Tensor:
    """Apply one operation that moves nothing.

    Args:
        name: ``identity``, ``auto_contrast``, ``equalize``, ``invert``, ``posterize`` (bits), ``solarize``
            (threshold), ``solarize_add`` (addition), ``brightness``, ``contrast``, ``color``, ``sharpness``
            (change of the factor 1) or ``cut_out`` (side in pixels).
        images: shape (B, c, S, S), floats in [0, 1]; may be overwritten.
        number: the operation's number, shape (B,).
        center: of cut-outs, as fractions of the side, (B, 2).
    """
    if name in _BLENDS:
        return blend_(images, 1 + number, torch.full_like(number, _BLENDS[name], dtype=torch.int64))
    if name in ("auto_contrast", "equalize", "invert"):
        return _LEVELS[name](images)
    if name == "posterize":
        return posterize(images, number.round())
    if name in ("solarize", "solarize_add"):
        return _LEVELS[name](images, number)
    if name == "sharpness":
        return sharpen(images, 1 + number)
    if name == "cut_out":
        return _cut_out(images, number, center)
    return images


def ordinary(a: float) -> RandAugment:
    """Return torchvision's RandAugment as the paper's strength sweep uses it.

    The number of steps is floor(10 a / 3) + 1 and the magnitude is bin min(floor(100 a), 99) of 100. Values
    are floats here; torchvision's own works on bytes and cuts to whole levels after each operation.

    Raises:
        ValueError: for a outside [0, 1].
    """
    if not 0 <= a <= 1:
        raise ValueError(
            f"augmentation strength {a} is outside [0, 1]; give a number in it, or a policy's name"
        )
    # 100 * 0.29 is 28.99...: the small number keeps the bin that is meant
    part = min(math.floor(100 * a + 1e-9), 99) / 99
    turn, blend = (("rotate", 30.0),), tuple((name, 0.9) for name in (*_BLENDS, "sharpness"))
    shear, shift = (("shear_x", 0.3), ("shear_y", 0.3)), ("translate_x", "translate_y")
    signed = [Operation(name, most * part, 0.0, True) for name, most in (*shear, *turn, *blend)]
    shifts = [Operation(name, 150 / 331 * part, 0.0, True, relative=True) for name in shift]
    bits, threshold = 8.0 - round(4 * part), 1 - part
    rest = [Operation("posterize", bits, 8.0), Operation("solarize", threshold, 1.0)]
    plain = [Operation(name) for name in ("identity", "auto_contrast", "equalize")]
    return RandAugment((*plain, *signed, *shifts, *rest), steps=math.floor(10 * a / 3 + 1e-9) + 1)


def sixteen_operations(magnitude: float = 14 / 30) -> RandAugment:
    """Return ``myrandaugment``: two of sixteen operations, a crop from 4 pixels of padding, a flip.

    The numbers are those of the list that is usual beside this set of names: shifts of up to 100 pixels and
    cut-outs of up to 40 were meant for larger images, so at 14/30 a shift leaves nothing of a 32-pixel image,
    and posterizing leaves one bit.
    """
    f = magnitude
    enhanced = [
        Operation(name, 1.8 * f - 0.9, 0.0) for name in ("color", "contrast", "brightness", "sharpness")
    ]
    moved = [
        ("rotate", 30.0),
        ("shear_x", 0.3),
        ("shear_y", 0.3),
        ("translate_x", 100.0),
        ("translate_y", 100.0),
    ]
    signed = [Operation(name, most * f, 0.0, True) for name, most in moved]
    leveled = [
        *(Operation(name) for name in ("auto_contrast", "equalize", "invert")),
        Operation("posterize", float(max(1, math.floor(4 * f))), 8.0),
        Operation("solarize", 256 / 255 * f, 1.0),
        Operation("solarize_add", 110 / 255 * f),
    ]
    operations = (*leveled, *enhanced, *signed, Operation("cut_out", 40 * f, 0.0))
    return RandAugment(operations, steps=2, padding=4, mirror=0.5)


def _maps(numbers: dict[str, int], operation: Tensor, magnitude: Tensor, size: int) -> Tensor:
    """Return maps (B, 2, 3) of rotations (degrees counterclockwise), shears and shifts (whole pixels)."""
    turn, shear_x, shear_y, *shift = (
        torch.where(operation == numbers.get(name, -1), magnitude, 0) for name in _MOVES
    )
    maps = rotations(-turn, torch.stack(shift, dim=1).trunc())
    for row, shear in enumerate((shear_x, shear_y)):
        maps[:, row, 1 - row] += shear
        maps[:, row, 2] += shear * (size / 2)  # about the upper left corner
    return maps


def _crop_maps(offset: Tensor, mirrored: Tensor) -> Tensor:
    maps = torch.zeros(len(offset), 2, 3, device=offset.device)
    maps[:, 0, 0] = 1 - 2 * mirrored.float()
    maps[:, 1, 1] = 1
    maps[:, :, 2] = offset
    return maps


def _cut_out(images: Tensor, side: Tensor, center: Tensor) -> Tensor:
    size = images.shape[-1]
    start = (center * size - side[:, None] / 2).clamp(min=0).floor()
    boxes = torch.cat([start, side.round()[:, None].expand(-1, 2)], dim=1)
    color = torch.tensor(_CUT, device=images.device).view(3, 1, 1)
    return erase(images, boxes, color if images.shape[1] == 3 else float(color.mean()))
