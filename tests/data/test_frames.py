import pytest
import torch

from memorization.data.frames import Frames, add_frames, frame_fraction, frame_widths, image_task
from memorization.data.image_sets import Images, load_images, two_classes
from memorization.draws import generator


@pytest.fixture
def pool():
    return two_classes(load_images("digits", "all"), 1, 7)


def make(pool, **changes):
    return image_task(pool, **({"n_train": 20, "n_test": 30, "pad": 2, "seed": 0} | changes))


def color(n=6):
    pixels = torch.randint(0, 256, (n, 3, 4, 4), generator=generator(0, "c"), dtype=torch.uint8)
    return Images(pixels, torch.arange(n) % 2 * 2 - 1, ("a", "b"), "color", 255)


def test_borders_are_bytes_and_cover_every_level_and_channel():
    pixels = torch.zeros(400, 3, 4, 4, dtype=torch.uint8)
    images = Images(pixels, torch.zeros(400, dtype=torch.int64), ("a",), "x", 16)
    frames = add_frames(images, 1, generator(0, "n"))
    assert frames.borders.dtype == torch.uint8
    assert frames.borders.shape == (400, 3, 20)
    counts = torch.bincount(frames.borders.flatten().int(), minlength=17).float() / frames.borders.numel()
    assert len(counts) == 17
    assert (counts - 1 / 17).abs().max() < 0.006


def test_a_framed_image_has_the_image_inside_and_its_own_noise_around():
    frames = add_frames(color(), 2, generator(0, "n"))
    framed = frames.framed(torch.tensor([4, 1]))
    assert framed.shape == (2, 3, 8, 8)
    assert torch.equal(framed[:, :, 2:-2, 2:-2], frames.images.pixels[[4, 1]])
    assert torch.equal(framed[..., frames.mask()], frames.borders[[4, 1]])


@pytest.mark.parametrize(("pad", "alpha"), [(2, 0.5556), (3, 0.6735)])
def test_the_spurious_fraction_of_framed_digits_is_as_specified(pool, pad, alpha):
    task = make(pool, pad=pad)
    assert task.alpha == pytest.approx(alpha, abs=5e-5)
    assert task.train.shape == (20, (8 + 2 * pad) ** 2)


def test_a_black_query_keeps_the_border_and_nothing_else(pool):
    task = make(pool)
    core = ~task.spurious_columns
    assert torch.equal(task.spurious[:, task.spurious_columns], task.train[:, task.spurious_columns])
    assert float(task.spurious[:, core].abs().max()) == 0
    assert float(task.train[:, core].max()) > 0


def test_the_mean_fill_shows_the_mean_image_of_the_pool(pool):
    task = make(pool, fill="mean")
    mean = pool.pixels.float().mean(dim=0).flatten()
    assert torch.allclose(task.spurious[:, ~task.spurious_columns], mean.expand(20, -1))


def test_the_fresh_fill_never_shows_a_training_image(pool):
    task = make(pool, n_train=300, n_test=20, fill="fresh")
    core = ~task.spurious_columns
    shown, trained = task.spurious[:, core], task.train[:, core]
    assert not bool((shown[:, None] == trained[None]).all(dim=2).any())


def test_training_and_test_images_are_disjoint_and_used_once(pool):
    task = make(pool, n_train=200, n_test=161)
    core = ~task.spurious_columns
    rows = torch.cat([task.train[:, core], task.test[:, core]])
    assert len(rows.unique(dim=0)) == len(pool.pixels.flatten(1).unique(dim=0))


def test_raw_pixels_stay_whole_numbers_in_their_range(pool):
    train = make(pool).train
    assert torch.equal(train, train.round())
    assert 0 <= float(train.min()) < float(train.max()) == 16


def test_standardized_inputs_have_mean_zero_and_mean_square_one(pool):
    task = make(pool, n_train=300, n_test=61, center="standardize")
    assert abs(float(task.train.mean())) < 0.01
    assert float(task.train.square().mean()) == pytest.approx(1, abs=0.02)


def test_centering_does_not_depend_on_the_training_subset(pool):
    raw, centered = make(pool), make(pool, center="mean")
    shift = raw.train - centered.train
    assert torch.allclose(shift, shift[:1].expand_as(shift), atol=1e-5)
    assert torch.allclose(shift[0], make(pool, seed=5).train[0] - make(pool, seed=5, center="mean").train[0])


def test_more_images_than_there_are_is_refused_with_both_counts(pool):
    with pytest.raises(ValueError, match=r"asked for 300 training and 62 test images.*hold 361 images"):
        make(pool, n_train=300, n_test=62)


def test_more_test_images_than_their_pool_holds_is_refused(pool):
    small = pool.take(torch.arange(10))
    with pytest.raises(ValueError, match=r"asked for 20 training and 11 test .* 361 \+ 10 images"):
        make(pool, n_test=11, test_pool=small)


@pytest.mark.parametrize(("what", "value"), [("fill", "noise"), ("center", "whiten")])
def test_unknown_choices_list_the_allowed_ones(pool, what, value):
    with pytest.raises(ValueError, match=f"unknown {what} '{value}'; choose one of"):
        make(pool, **{what: value})


def test_a_frame_of_no_width_is_refused(pool):
    with pytest.raises(ValueError, match="at least 1 pixel wide, in whole pixels; got pad=0"):
        make(pool, pad=0)


@pytest.mark.parametrize(
    ("name", "pair", "pad", "d", "alpha"),
    [("mnist", (1, 7), 10, 2304, 0.6597), ("cifar10", (3, 8), 8, 6912, 0.5556)],
)
def test_the_papers_frames_have_the_papers_sizes(real_data, name, pair, pad, d, alpha):
    task = make(two_classes(load_images(name, "test", real_data), *pair), pad=pad)
    assert task.train.shape == (20, d)
    assert task.alpha == pytest.approx(alpha, abs=5e-5)


def test_borders_of_other_images_or_another_width_are_refused():
    frames = add_frames(load_images("digits").take(torch.arange(4)), 2, generator(0, "noise"))
    for borders in (frames.borders[:3], frames.borders[..., :-1], frames.borders.float()):
        with pytest.raises(ValueError, match=r"borders are .* for 4 images of 8 x 8 pixels in a frame of 2"):
            Frames(frames.images, borders, 2)
    with pytest.raises(ValueError, match=r"in a frame of 3; allowed: uint8 of shape \(4, 1, 132\)"):
        Frames(frames.images, frames.borders, 3)


def test_the_share_of_a_frame_is_counted_in_pixels():
    frames = add_frames(load_images("digits").take(torch.arange(2)), 3, generator(0, "noise"))
    assert frame_fraction(8, 3) == pytest.approx(frames.columns().double().mean().item())
    assert frame_fraction(28, 10) == pytest.approx(0.6597, abs=1e-4)  # the paper's MNIST
    assert frame_fraction(32, 8) == pytest.approx(0.5556, abs=1e-4)  # and CIFAR-10


def test_frames_are_as_wide_as_comes_nearest_to_the_share_that_is_wanted():
    assert frame_widths(28, [0.2, 0.66, 0.9]) == [2, 10, 30]
    assert frame_widths(8, [0.9, 0.1, 0.2]) == [1, 9]  # one pixel takes 0.36 of a digit already
    for side, wanted in ((8, 0.5), (28, 0.5), (32, 0.35)):
        (width,) = frame_widths(side, [wanted])
        nearest = min(range(1, 60), key=lambda pad: abs(frame_fraction(side, pad) - wanted))
        assert width == nearest


@pytest.mark.parametrize("wanted", [0.0, 1.0, float("nan")])
def test_a_share_that_no_frame_has_is_refused(wanted):
    with pytest.raises(ValueError, match="fraction="):
        frame_widths(8, [wanted])


def test_a_task_knows_which_images_of_the_pool_train():
    pool = two_classes(load_images("digits"), 1, 7)
    task = image_task(pool, n_train=20, n_test=5, pad=2, seed=0)
    assert torch.equal(pool.labels[task.rows].float(), task.labels)
    assert len(task.rows.unique()) == 20


def test_another_stream_of_noise_changes_frames_alone():
    pool = two_classes(load_images("digits"), 1, 7)
    one, other = (
        image_task(pool, n_train=20, n_test=5, pad=2, seed=0, noise=name) for name in ("noise", "other noise")
    )
    assert torch.equal(one.test, other.test)
    assert torch.equal(one.train[:, ~one.spurious_columns], other.train[:, ~one.spurious_columns])
    assert not torch.equal(one.train, other.train)
