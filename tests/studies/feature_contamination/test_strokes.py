import pytest
import torch

from memorization.draws import generator
from memorization.studies.feature_contamination.distillation import _distance, draw_digits, stroke_images


def drawn(labels, name="hand"):
    return draw_digits(labels, generator(0, name))


def test_masks_are_ink_between_0_and_1_on_14_by_14_pixels():
    pictures = stroke_images("procedural", 300, seed=0)
    assert pictures.images.shape == (300, 1, 14, 14)
    assert pictures.images.dtype == torch.float32
    assert 0 <= pictures.images.min() <= pictures.images.max() <= 1
    assert pictures.labels.unique().tolist() == list(range(10))


def test_one_seed_gives_the_same_pictures_and_another_seed_others():
    first, again, other = (stroke_images("procedural", 50, seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)


def test_training_and_test_pictures_are_independent_draws():
    train, test = (stroke_images("procedural", 50, 0, split) for split in ("train", "test"))
    assert not torch.equal(train.images, test.images)


def test_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    stroke_images("procedural", 20, seed=0)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_more_segments_are_more_ink():
    ink = {digit: drawn(torch.full((400,), digit)).sum((1, 2, 3)).mean().item() for digit in (1, 7, 2, 8)}
    assert ink[1] < ink[7] < ink[2] < ink[8]


def test_digits_that_differ_in_the_middle_differ_in_the_middle():
    eight, zero = (drawn(torch.full((2000,), digit)).mean(0)[0] for digit in (8, 0))
    difference = (eight - zero).abs()
    row, column = divmod(int(difference.argmax()), 14)
    assert (row in (6, 7), column in (6, 7)) == (True, True)
    assert difference[[0, -1]].max() < 0.05


def test_no_two_digits_are_drawn_alike():
    masks, labels = drawn(torch.arange(100) % 10), torch.arange(100) % 10
    assert len(masks.flatten(1).unique(dim=0)) == 100
    means = torch.stack([drawn(torch.full((500,), d)).mean(0).flatten() for d in range(10)])
    nearest = torch.cdist(masks.flatten(1), means).argmin(1)
    assert (
        nearest == labels
    ).double().mean() > 0.4  # the mean picture is a poor classifier, not a useless one


def test_the_distance_is_that_to_the_nearest_point_of_the_segment():
    places = torch.tensor([[0.0, 2.0, -3.0], [1.0, 0.0, 4.0]])  # (0, 1), (2, 0), (-3, 4)
    start, end = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert _distance(places, start, end)[0].tolist() == pytest.approx([1.0, 1.0, 5.0])
    assert _distance(places, start, start)[0].tolist() == pytest.approx([1.0, 2.0, 5.0])


def test_mnist_pictures_are_averages_of_2_by_2_pixels(real_data):
    from memorization.data.image_sets import load_images

    pictures = stroke_images("mnist", 200, 0, "test", real_data)
    assert pictures.images.shape == (200, 1, 14, 14)
    stored = load_images("mnist", "test", real_data)
    pooled = (stored.pixels.double() / 255).view(-1, 14, 2, 14, 2).mean((2, 4)).flatten(1)
    images = pictures.images.double().flatten(1)
    distance, found = torch.cdist(images, pooled, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert distance.max() < 1e-5
    assert torch.equal(pictures.labels, stored.labels[found])
    assert not torch.equal(pictures.images, stroke_images("mnist", 200, 1, "test", real_data).images)


def test_more_pictures_than_mnist_holds_are_refused(real_data):
    with pytest.raises(ValueError, match=r"n=10001 pictures; allowed: a whole number, 1\.\.10000"):
        stroke_images("mnist", 10_001, 0, "test", real_data)


def test_absent_mnist_is_said_with_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        stroke_images("mnist", 10, 0, root=tmp_path)


def test_unknown_digits_are_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"unknown digits 'mnits'; did you mean 'mnist'.*procedural, mnist"):
        stroke_images("mnits", 10, 0)


def test_an_unknown_split_is_refused():
    with pytest.raises(ValueError, match="unknown split 'all'; choose train or test"):
        stroke_images("procedural", 10, 0, "all")


@pytest.mark.parametrize("n", [0, -1, 2.5, True])
def test_a_number_of_pictures_below_1_is_refused(n):
    with pytest.raises(ValueError, match="pictures; allowed: a whole number, 1 or more"):
        stroke_images("procedural", n, 0)


def test_a_label_that_is_no_digit_is_refused():
    with pytest.raises(ValueError, match=r"digits are drawn for labels 0\.\.9; got labels from 3 to 10"):
        drawn(torch.tensor([3, 10]))
