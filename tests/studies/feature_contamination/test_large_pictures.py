"""Views of picture files: they are torchvision's, and a function of seed, epoch and picture."""

import pickle

import numpy as np
import pytest
import torch
from made_imagenet import RED, color, make_imagenet
from PIL import Image

from memorization.data.files import load_torchvision
from memorization.draws import generator
from memorization.studies.feature_contamination.pretrained import (
    PictureSet,
    Preparation,
    central,
    central_batches,
    crop_box,
    imagenet_set,
    open_picture,
    random_crop,
    supervised,
    training_batches,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_imagenet(tmp_path_factory.mktemp("imagenet"))


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def as_bytes(view: torch.Tensor, how: Preparation) -> torch.Tensor:
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (how.mean, how.deviation))
    return (view * deviation + mean).mul(255).round().to(torch.uint8)


@pytest.mark.parametrize("size", [(61, 40), (40, 61), (33, 33), (17, 50)])
@pytest.mark.parametrize("how", [Preparation(32), Preparation(28, 32, "bilinear"), supervised()])
def test_the_central_view_is_that_of_torchvision(size, how):
    transforms = load_torchvision().transforms
    mode = getattr(transforms.InterpolationMode, how.filter.upper())
    theirs = transforms.Compose(
        [
            transforms.Resize(how.shorter or how.pixels, mode),
            transforms.CenterCrop(how.pixels),
            transforms.ToTensor(),
            transforms.Normalize(how.mean, how.deviation),
        ]
    )
    assert torch.allclose(central(noise(*size), how), theirs(noise(*size)), atol=1e-6)


def test_a_random_view_is_the_box_shrunk_as_torchvision_shrinks_it():
    transforms = load_torchvision().transforms
    how, picture = Preparation(16), noise(50, 40)
    views = [random_crop(picture, how, generator(0, k)) for k in range(8)]
    for k, view in enumerate(views):
        numbers = torch.rand(23, generator=generator(0, k)).tolist()
        left, top, right, bottom = crop_box(picture.size, (0.9, 1.0), (3 / 4, 4 / 3), numbers[1:])
        mode = transforms.InterpolationMode.BICUBIC
        theirs = transforms.functional.resized_crop(
            picture, top, left, bottom - top, right - left, [16, 16], mode
        )
        wanted = torch.from_numpy(np.array(theirs)).permute(2, 0, 1)
        assert torch.equal(as_bytes(view, how), wanted.flip(2) if numbers[0] < 0.5 else wanted)


def test_half_of_the_random_views_are_flipped():
    flips = [torch.rand(23, generator=generator(0, "view", 0, k))[0].item() < 0.5 for k in range(2000)]
    assert abs(np.mean(flips) - 0.5) < 4 * 0.5 / 2000**0.5


def test_boxes_have_the_area_and_aspect_that_were_asked_for():
    source = torch.Generator().manual_seed(0)
    for numbers in torch.rand(500, 22, generator=source).tolist():
        left, top, right, bottom = crop_box((400, 400), (0.5, 0.7), (0.8, 1.25), numbers)
        assert 0 <= left < right <= 400
        assert 0 <= top < bottom <= 400
        area, aspect = (right - left) * (bottom - top) / 400**2, (right - left) / (bottom - top)
        assert 0.495 < area < 0.705
        assert 0.79 < aspect < 1.26


def test_a_box_that_never_fits_is_the_largest_centered_one_of_an_allowed_aspect():
    assert crop_box((300, 100), (0.9, 1.0), (3 / 4, 4 / 3), [0.5] * 22) == (83, 0, 216, 100)


def test_the_border_of_objectnet_is_cut_off(made):
    objects = imagenet_set("objectnet", made)
    whole, inner = (np.array(open_picture(objects.files[0], border)) for border in (0, 2))
    assert (whole[0, 0] == RED).all()
    assert inner.shape == (16, 20, 3)
    assert (inner == color(2)).all()


def test_labels_come_with_their_pictures(made):
    val = imagenet_set("val", made)
    batches = list(central_batches(val, Preparation(16), 10))
    labels = torch.cat([label for _, label in batches])
    assert [len(label) for _, label in batches] == [10, 10, 4]
    assert torch.equal(labels, val.labels)
    means = as_bytes(torch.cat([images for images, _ in batches]), Preparation(16)).float().mean((2, 3))
    wanted = torch.tensor([color(label) for label in labels.tolist()])
    assert (means - wanted).abs().max() <= 6  # JPEG colors are not exact


def test_views_do_not_depend_on_the_number_of_workers(made):
    train = imagenet_set("train", made)
    alone, two = (
        [images for images, _ in training_batches(train, Preparation(16), 8, 0, workers)(3)]
        for workers in (0, 2)
    )
    assert len(alone) == 4
    assert torch.equal(torch.stack(alone), torch.stack(two))


def test_what_decodes_can_be_sent_to_a_worker_process(made):
    # where processes are not forked: macOS, Windows, and Linux from Python 3.14 on
    pictures = imagenet_set("val", made)
    for loader in (
        central_batches(pictures, Preparation(16), 8),
        training_batches(pictures, Preparation(16), 8, 0)(0),
    ):
        sent = pickle.loads(pickle.dumps(loader.dataset))
        assert torch.equal(sent[3][0], loader.dataset[3][0])


def test_each_epoch_has_an_order_of_its_own(made):
    batches = training_batches(imagenet_set("train", made), Preparation(16), 36, 0)
    first, again, second = (next(iter(batches(epoch)))[1] for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_a_view_is_a_function_of_seed_epoch_and_picture(tmp_path):
    noise(50, 40).save(tmp_path / "one.png")
    one = PictureSet("one", (str(tmp_path / "one.png"),), torch.tensor([0]), ((0,),))
    how, seed = Preparation(16), 3
    batches = training_batches(one, how, 1, seed)
    for epoch in range(3):
        wanted = random_crop(noise(50, 40), how, generator(seed, "view", epoch, 0))
        assert torch.equal(next(iter(batches(epoch)))[0][0], wanted)


def test_no_number_is_taken_from_the_global_generator(made):
    before = torch.get_rng_state()
    pictures = imagenet_set("train", made)
    next(iter(training_batches(pictures, Preparation(16), 8, 0)(0)))
    next(iter(central_batches(pictures, Preparation(16), 8)))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_damaged_picture_is_named(tmp_path):
    path = tmp_path / "half.JPEG"
    noise(60, 60).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(RuntimeError, match=r"half\.JPEG is damaged: it cannot be decoded"):
        open_picture(str(path))


def test_gray_pictures_get_three_channels(tmp_path):
    noise(9, 9).convert("L").save(tmp_path / "gray.png")
    assert central(open_picture(str(tmp_path / "gray.png")), Preparation(8)).shape == (3, 8, 8)


def test_a_batch_larger_than_the_set_is_refused(made):
    with pytest.raises(ValueError, match="batch=37; allowed: 1 to 36, the pictures of train"):
        training_batches(imagenet_set("train", made), Preparation(16), 37, 0)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"pixels": 0}, "pixels=0"),
        ({"pixels": 32, "shorter": 16}, "shorter=16; allowed: 1 <= pixels <= shorter"),
        ({"pixels": 32, "filter": "cubic"}, "filter='cubic'; allowed: bicubic, bilinear"),
    ],
)
def test_a_preparation_that_cannot_be_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        Preparation(**options)
