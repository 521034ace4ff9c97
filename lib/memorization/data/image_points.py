"""Which image experiments to run, as short texts that fit a parameter."""

from __future__ import annotations

from collections.abc import Sequence

from memorization.data.images import DATASETS


def image_points(specs: Sequence[str]) -> list[dict[str, str | int]]:
    """Read texts such as ``mnist:1:7:10``: data set, class labelled -1, class labelled +1, frame in pixels.

    Args:
        specs: one text per experiment.

    Returns:
        One mapping each with ``dataset``, ``negative``, ``positive`` and ``pad``.

    Raises:
        ValueError: a text of another form, or an unknown data set; says what was given and what is allowed.
    """
    points: list[dict[str, str | int]] = []
    for spec in specs:
        name, *numbers = spec.split(":")
        if name not in DATASETS or len(numbers) != 3 or not all(number.isdigit() for number in numbers):
            raise ValueError(
                f"image set {spec!r}; allowed: DATASET:NEGATIVE:POSITIVE:PAD with DATASET one of "
                f"{', '.join(DATASETS)} and three whole numbers, such as 'mnist:1:7:10'"
            )
        negative, positive, pad = map(int, numbers)
        points.append({"dataset": name, "negative": negative, "positive": positive, "pad": pad})
    return points
