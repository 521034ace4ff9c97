from dataclasses import replace

import pytest
import torch

from memorization.draws import generator
from memorization.studies.feature_contamination.distillation import (
    GROUNDS,
    GroundedDigits,
    ground_colors,
    on_ground,
)

RANGES = {
    "in": [(0.5, 0.8), (0.0, 0.1), (0.0, 0.1)],
    "out": [(0.0, 0.1), (0.5, 0.8), (0.5, 0.8)],
    "any": [(0.0, 0.9)] * 3,
}


def colors(n, ground, name="colors"):
    return ground_colors(n, ground, generator(0, name))


def digits(n=40, seeds=(0, 1), split="train"):
    return GroundedDigits.load("procedural", n, seeds, split)


@pytest.mark.parametrize("ground", GROUNDS)
def test_colors_fill_the_range_of_their_ground(ground):
    drawn = colors(5000, ground)
    assert drawn.shape == (5000, 3)
    assert drawn.dtype == torch.float32
    for channel, (low, high) in zip(drawn.T, RANGES[ground], strict=True):
        assert low <= channel.min() < low + 0.01
        assert high - 0.01 < channel.max() <= high


def test_an_unknown_ground_is_refused_with_the_nearest_name():
    with pytest.raises(
        ValueError, match=r"unknown ground 'on'; did you mean '.*'.*choose one of in, out, any"
    ):
        colors(3, "on")


def test_ink_is_white_and_its_absence_shows_the_ground():
    masks = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1)
    ground = torch.tensor([0.2, 0.4, 0.6]).expand(3, 3)
    expected = [[0.2, 0.4, 0.6], [0.6, 0.7, 0.8], [1.0, 1.0, 1.0]]
    torch.testing.assert_close(on_ground(masks, ground).flatten(1), torch.tensor(expected))


def test_pictures_of_stacked_masks_equal_those_one_by_one():
    masks = torch.rand(2, 3, 1, 4, 5, generator=generator(0, "masks"))
    ground = torch.rand(2, 3, 3, generator=generator(0, "ground"))
    together = on_ground(masks, ground)
    assert together.shape == (2, 3, 3, 4, 5)
    one = masks[1, 2] + (1 - masks[1, 2]) * ground[1, 2].view(3, 1, 1)
    torch.testing.assert_close(together[1, 2], one)


@pytest.mark.parametrize(
    ("masks", "ground"), [((2, 1, 4, 4), (3, 3)), ((2, 3, 4, 4), (2, 3)), ((4, 4), (3,))]
)
def test_masks_without_a_color_each_are_refused(masks, ground):
    with pytest.raises(ValueError, match=r"allowed: masks \(\.\.\., 1, height, width\) and one color"):
        on_ground(torch.zeros(masks), torch.zeros(ground))


def test_the_ground_does_not_look_at_the_label():
    given = digits()
    other = replace(given, labels=given.labels.flip(1))
    for ground in GROUNDS:
        pictures, labels = given.batches(ground, 30, "x")()
        same, changed = other.batches(ground, 30, "x")()
        assert torch.equal(pictures, same)
        assert not torch.equal(labels, changed)
        assert torch.equal(given.on(ground, "x"), other.on(ground, "x"))


@pytest.mark.parametrize("ground", GROUNDS)
def test_every_digit_stands_on_the_same_grounds(ground):
    given = digits(2000, (0,))
    next_batch = given.batches(ground, 5000, "x")
    pictures, labels = next_batch()
    darkest = pictures[0].flatten(2).min(2).values  # of a channel: the ground's, some pixel has no ink
    spread = darkest.std(0)
    for digit in range(10):
        mine = darkest[labels[0] == digit]
        assert ((mine.mean(0) - darkest.mean(0)).abs() < 5 * spread / len(mine) ** 0.5).all()


def test_a_batch_pairs_pictures_with_their_own_labels():
    given = digits(25, (3, 4))
    flat = replace(given, masks=given.labels[..., None, None, None].float().expand(-1, -1, 1, 14, 14) / 9)
    pictures, labels = flat.batches("any", 60, "x")()
    ground = torch.stack([p for p in pictures])
    assert pictures.shape == (2, 60, 3, 14, 14)
    white = labels == 9
    assert (ground[white] == 1).all()
    assert (ground[labels == 0].amax((1, 2, 3)) < 1).all()


def test_every_batch_has_fresh_grounds_and_the_next_run_the_same_ones():
    given = digits()
    one, other = given.batches("any", 8, "x"), given.batches("any", 8, "x")
    first, second = one()[0], one()[0]
    assert not torch.equal(first, second)
    assert torch.equal(first, other()[0])
    assert torch.equal(second, other()[0])
    assert not torch.equal(first, given.batches("any", 8, "y")()[0])


def test_a_seed_sees_the_same_alone_and_with_others():
    both, alone = digits(seeds=(0, 7)), digits(seeds=(7,))
    assert torch.equal(both.on("in", "x")[1], alone.on("in", "x")[0])
    for mine, theirs in zip(both.batches("in", 9, "x")(), alone.batches("in", 9, "x")(), strict=True):
        assert torch.equal(mine[1], theirs[0])


def test_the_same_digits_are_shown_on_all_grounds():
    given = digits()
    inside, outside = given.on("in", "x"), given.on("out", "x")
    ink = given.masks == 1
    assert ink.any()
    assert (inside[ink.expand_as(inside)] == 1).all()
    assert (outside[ink.expand_as(outside)] == 1).all()


def test_digits_without_a_seed_are_refused():
    with pytest.raises(ValueError, match="seeds is empty; give at least one whole number >= 0"):
        digits(seeds=())
