import pytest
import torch
from scipy import stats

from memorization.data.augmentation.warps import crop_boxes, erase, erase_boxes, look, rotations
from memorization.data.files import load_torchvision
from memorization.draws import Draws, generator

transforms = load_torchvision().transforms
functional = transforms.functional
FULL = ((0.08, 1.0), (3 / 4, 4 / 3))


def draws(n, name="x"):
    return Draws.of(generator(0, name), n)


def random_images(n, channels=3, size=32, name="images"):
    return torch.rand(n, channels, size, size, generator=generator(0, name))


def drawn(n, size):
    source = draws(n)
    flips = source.uniform(2) < 0.5
    shift = ((2 * source.uniform(2) - 1) * 0.2 * size).round()
    return crop_boxes(source, size, *FULL), flips, source.uniform().squeeze(1) * 180, shift


def one_after_another(image, box, flips, degrees=None, shift=None):
    """Crop, flip and move one image with torchvision."""
    left, top, width, height = (int(v) for v in box)
    image = functional.resized_crop(image, top, left, height, width, [image.shape[-1]] * 2)
    image = functional.hflip(image) if flips[0] else image
    image = functional.vflip(image) if flips[1] else image
    if degrees is None:
        return image
    return functional.affine(image, float(degrees), [int(s) for s in shift], 1.0, [0.0, 0.0])


@pytest.mark.parametrize("size", [8, 28, 32])
def test_crop_and_flip_equal_torchvision(size):
    images, (boxes, flips, _, _) = random_images(60, size=size), drawn(60, size)
    expected = torch.stack([one_after_another(*row) for row in zip(images, boxes, flips, strict=True)])
    assert (look(images, boxes, flips) - expected).abs().max() < 1e-5


@pytest.mark.parametrize("size", [8, 28, 32])
def test_crop_flip_rotation_and_shift_in_one_sampling_equal_torchvisions_four_steps(size):
    images, views = random_images(60, size=size), drawn(60, size)
    expected = torch.stack([one_after_another(*row) for row in zip(images, *views, strict=True)])
    boxes, flips, degrees, shift = views
    different = ~((look(images, boxes, flips, rotations(degrees, shift)) - expected).abs() < 1e-5)
    assert different.double().mean() < 2e-3  # a place on the edge between two pixels can round either way


def test_rotation_and_shift_move_pixels_and_never_mix_them():
    images, (_, _, degrees, shift) = random_images(60, 1), drawn(60, 32)
    moved = look(images, maps=rotations(degrees, shift))
    for image, view in zip(images, moved, strict=True):
        assert set(view.flatten().tolist()) <= {0.0, *image.flatten().tolist()}


def test_a_quarter_turn_is_clockwise_and_a_shift_goes_right_and_down():
    image = torch.arange(9.0).view(1, 1, 3, 3) + 1
    turned = look(image, maps=rotations(torch.tensor([90.0]), torch.zeros(1, 2)))
    assert torch.equal(turned[0, 0], image[0, 0].rot90(-1))
    shifted = look(image, maps=rotations(torch.zeros(1), torch.tensor([[1.0, 2.0]])))
    assert shifted[0, 0].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 2]]


@pytest.mark.parametrize("size", [7, 28, 32])
def test_flipping_twice_and_looking_at_everything_change_nothing(size):
    images = random_images(5, size=size)
    flips = torch.tensor([[True, False], [False, True], [True, True], [False, False], [True, False]])
    assert torch.equal(look(look(images, flips=flips), flips=flips), images)
    assert torch.equal(look(images, maps=rotations(torch.zeros(5), torch.zeros(5, 2))), images)


def test_crops_follow_the_law_of_torchvision():
    boxes = crop_boxes(draws(40_000), 32, *FULL)
    assert float(boxes[:, 2:].prod(dim=1).mean() / 32**2) == pytest.approx(0.491, abs=0.004)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        get = transforms.RandomResizedCrop.get_params
        theirs = torch.tensor([get(torch.zeros(1, 32, 32), *map(list, FULL)) for _ in range(8000)])
    top, left, height, width = theirs.double().T
    for ours, other in zip(boxes.double().T, (left, top, width, height), strict=True):
        both = [torch.bincount(v.long(), minlength=33) for v in (ours, other)]
        table = torch.stack(both)[:, sum(both) > 40].numpy()
        assert stats.chi2_contingency(table).pvalue > 1e-3


def test_crops_lie_inside_the_image():
    left, top, width, height = crop_boxes(draws(50_000), 8, *FULL).T
    for start, side in ((left, width), (top, height)):
        assert float(start.min()) == 0
        assert float(side.min()) >= 1
        assert float((start + side).max()) == 8


def test_a_crop_that_cannot_fit_is_the_largest_centered_one():
    wide = crop_boxes(draws(5), 32, (1.0, 1.0), (2.0, 2.0))
    assert wide.tolist() == [[0, 8, 32, 16]] * 5
    tall = crop_boxes(draws(5), 32, (1.0, 1.0), (0.25, 0.5))
    assert tall.tolist() == [[8, 0, 16, 32]] * 5


def test_erased_boxes_follow_the_law_of_torchvision():
    boxes = erase_boxes(draws(40_000), 32, (0.02, 0.33), (0.3, 3.3))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        get, image = transforms.RandomErasing.get_params, torch.zeros(1, 32, 32)
        theirs = [get(image, (0.02, 0.33), (0.3, 3.3), [0.0])[:4] for _ in range(8000)]
    assert float(boxes[:, 2:].max()) == 31  # torchvision takes no box as large as the image
    top, left, height, width = torch.tensor(theirs).double().T
    for ours, other in zip(boxes.double().T, (left, top, width, height), strict=True):
        both = [torch.bincount(v.long(), minlength=33) for v in (ours, other)]
        table = torch.stack(both)[:, sum(both) > 40].numpy()
        assert stats.chi2_contingency(table).pvalue > 1e-3


def test_erasing_equals_torchvision():
    images, boxes = random_images(20), erase_boxes(draws(20), 32, (0.02, 0.33), (0.3, 3.3))
    for image, box, ours in zip(images, boxes, erase(images, boxes, 0.25), strict=True):
        left, top, width, height = (int(v) for v in box)
        assert torch.equal(ours, functional.erase(image, top, left, height, width, torch.tensor(0.25)))


@pytest.mark.parametrize("scale", [(0.0, 1.0), (0.5, 0.4), (0.5, 1.1), (-0.1, 0.5)])
def test_crop_areas_out_of_range_are_refused(scale):
    with pytest.raises(
        ValueError, match=r"crop scale=\(.*\) is no range; allowed: 0 < smallest <= largest <= 1"
    ):
        crop_boxes(draws(2), 32, scale, (1.0, 1.0))


@pytest.mark.parametrize("ratio", [(0.0, 1.0), (2.0, 1.0)])
def test_ratios_out_of_range_are_refused(ratio):
    with pytest.raises(ValueError, match=r"crop ratio=\(.*\) is no range; allowed: 0 < smallest <= largest$"):
        crop_boxes(draws(2), 32, (0.5, 1.0), ratio)
    with pytest.raises(ValueError, match=r"erasing ratio=\(.*\) is no range"):
        erase_boxes(draws(2), 32, (0.5, 1.0), ratio)
