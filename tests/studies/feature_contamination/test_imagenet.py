"""Folders of ImageNet and its shifts: which pictures, which columns, which views, and how many are right."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from made_imagenet import IN_A, IN_R, OBJECTS, WNIDS, color, make_imagenet
from PIL import Image
from torch import nn

from memorization.data.files import load_torchvision
from memorization.studies.feature_contamination.imagenet import (
    IMAGENET_SETS,
    PictureSet,
    class_numbers,
    clip_view,
    imagenet_set,
    picture_outputs,
    top1,
    training_batches,
)

TRAINING, CENTRAL = clip_view(16, training=True), clip_view(16)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_imagenet(tmp_path_factory.mktemp("imagenet"))


@pytest.fixture
def own(made, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(made, tmp_path / "copy")


def places(pictures) -> list[str]:
    return [file.split("/")[-2] for file in pictures.files]


def test_the_training_half_numbers_the_sorted_classes(made):
    train = imagenet_set("train", made)
    assert len(train) == 36
    assert [WNIDS[label] for label in train.labels.tolist()] == places(train)
    assert train.groups == tuple((number,) for number in range(12))


def test_folders_of_v2_are_numbers_and_not_sorted_as_words(made):
    v2 = imagenet_set("v2", made)
    assert places(v2)[::2] == [str(number) for number in range(12)]
    assert [str(label) for label in v2.labels.tolist()] == places(v2)


@pytest.mark.parametrize(("name", "numbers"), [("r", IN_R), ("a", IN_A), ("sketch", range(12))])
def test_a_shift_of_some_classes_leaves_the_other_columns_out(made, name, numbers):
    shift = imagenet_set(name, made)
    assert shift.groups == tuple((number,) for number in numbers)
    assert [WNIDS[numbers[label]] for label in shift.labels.tolist()] == places(shift)


def test_a_class_of_objectnet_stands_for_its_imagenet_classes(made):
    objects = imagenet_set("objectnet", made)
    assert objects.groups == tuple(tuple(OBJECTS[place][1]) for place in sorted(OBJECTS))
    assert [sorted(OBJECTS)[label] for label in objects.labels.tolist()] == places(objects)
    assert "armchair" not in places(objects)
    assert objects.border == 2


def test_fewer_classes_are_spread_over_the_list(made):
    assert class_numbers(made, 4) == (0, 3, 6, 9)
    train = imagenet_set("train", made, classes=4)
    assert places(train) == [WNIDS[number] for number in (0, 3, 6, 9) for _ in range(3)]
    assert train.labels.unique().tolist() == [0, 1, 2, 3]


def test_with_fewer_classes_the_numbers_of_v2_stay_those_of_the_whole_list(made):
    assert places(imagenet_set("v2", made, classes=3))[::2] == ["0", "4", "8"]


def test_with_fewer_classes_a_shift_keeps_those_that_are_left(made):
    shift = imagenet_set("r", made, classes=6)  # 0, 2, 4, 6, 8, 10
    assert places(shift)[::2] == [WNIDS[4], WNIDS[10]]
    assert shift.groups == ((2,), (5,))


def test_with_fewer_classes_an_object_keeps_the_columns_that_are_left(made):
    objects = imagenet_set("objectnet", made, classes=6)
    assert places(objects)[::2] == ["alarm_clock", "wok"]
    assert objects.groups == ((1,), (2,))


def test_the_digest_depends_on_the_files_and_not_on_where_they_lie(made, own):
    before = imagenet_set("train", own).digest()
    assert before == imagenet_set("train", made).digest()
    next((own / "imagenet/train" / WNIDS[5]).iterdir()).unlink()
    assert imagenet_set("train", own).digest() != before


PLACES = {"v2": "imagenetv2-matched-frequency-format-val", "r": "imagenet-r", "a": "imagenet-a"}
PLACES |= {"train": "imagenet", "val": "imagenet", "sketch": "sketch", "objectnet": "objectnet-1.0"}


@pytest.mark.parametrize("name", IMAGENET_SETS)
def test_an_absent_folder_is_named_with_what_it_should_hold_and_the_stand_ins(own, name):
    shutil.rmtree(own / PLACES[name])
    with pytest.raises(FileNotFoundError) as error:
        imagenet_set(name, own)
    for part in (str(own / PLACES[name]), "It should hold", "never downloaded", "'distil'", "digits"):
        assert part in str(error.value)


def test_without_a_training_half_the_classes_are_those_of_the_validation_half(own):
    shutil.rmtree(own / "imagenet/train")
    assert len(imagenet_set("val", own)) == 24


def test_an_empty_set_is_absent(own):
    for picture in (own / "sketch").rglob("*.JPEG"):
        picture.unlink()
    with pytest.raises(FileNotFoundError, match=r"sketch holds 0 pictures of 12 of the 12 classes"):
        imagenet_set("sketch", own)


@pytest.mark.parametrize("classes", [2, 3])
def test_a_shift_of_which_less_than_two_classes_are_left_is_refused(made, classes):
    with pytest.raises(
        FileNotFoundError, match=rf"of the {classes} classes; at least two classes are needed"
    ):
        imagenet_set({2: "objectnet", 3: "a"}[classes], made, classes=classes)


def test_the_files_that_explain_objectnet_are_asked_for_by_name(own):
    (own / "objectnet-1.0/mappings/pytorch_to_imagenet_2012_id.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"imagenet_2012_id.json was not found. ObjectNet brings"):
        imagenet_set("objectnet", own)


def test_mappings_that_do_not_fit_are_refused(own):
    path = own / "objectnet-1.0/mappings/objectnet_to_imagenet_1k.json"
    path.write_text(json.dumps({"Wok": "a thing of another list"}))
    with pytest.raises(ValueError, match="'Wok' stands for 'a thing of another list', which is not there"):
        imagenet_set("objectnet", own)


def test_v2_beside_a_part_of_the_classes_is_refused(own):
    shutil.rmtree(own / "imagenet/train" / WNIDS[0])
    with pytest.raises(ValueError, match=r"are not 0 to 10, .* choose fewer with classes="):
        imagenet_set("v2", own)


def test_a_folder_that_is_no_class_is_refused(own):
    shutil.rmtree(own / "imagenet/train" / WNIDS[10])
    with pytest.raises(ValueError, match=rf"1 folders that are no class of .*, such as {WNIDS[10]}"):
        imagenet_set("r", own)


def test_an_unknown_set_is_refused_with_the_nearest(made):
    with pytest.raises(ValueError, match=r"unknown ImageNet set 'sketches'; did you mean 'sketch'"):
        imagenet_set("sketches", made)


@pytest.mark.parametrize("classes", [1, 13, 2.5])
def test_a_number_of_classes_out_of_range_is_refused(made, classes):
    with pytest.raises(ValueError, match=rf"classes={classes}; allowed: "):
        imagenet_set("train", made, classes=classes)


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def one_picture(path, picture: Image.Image, border: int = 0) -> PictureSet:
    picture.save(path)
    return PictureSet("one", (str(path),), torch.tensor([0]), ((0,),), border)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory) -> PictureSet:
    """Twelve pictures of noise, no two views of which are alike."""
    folder = tmp_path_factory.mktemp("noisy")
    files = tuple(str(folder / f"{number:02d}.png") for number in range(12))
    for number, file in enumerate(files):
        noise(90, 80 + number).save(file)
    return PictureSet("noisy", files, torch.arange(12), tuple((number,) for number in range(12)))


def seen(pictures: PictureSet, view=CENTRAL) -> torch.Tensor:
    """The views of all pictures in order, as a network gets them."""
    return picture_outputs(nn.Flatten(), pictures, view).view(len(pictures), 3, 16, 16)


def test_the_central_view_is_the_middle_of_the_picture_in_clip_s_units():
    picture = Image.new("RGB", (40, 20), (255, 0, 0))
    picture.paste((0, 102, 0), (10, 0, 30, 20))
    inputs = clip_view(20)(picture)
    wanted = (torch.tensor([0, 0.4, 0]) - torch.tensor([0.48145466, 0.4578275, 0.40821073])) / torch.tensor(
        [0.26862954, 0.26130258, 0.27577711]
    )
    assert torch.allclose(inputs, wanted[:, None, None].expand(3, 20, 20), atol=1e-6)


def test_the_training_view_takes_nine_tenths_of_the_picture_or_more_and_flips_half_of_the_time():
    place = torch.arange(128).byte().expand(128, 128).numpy()  # a pixel's column
    with torch.random.fork_rng():
        torch.manual_seed(0)
        view = clip_view(128, training=True)
        views = torch.stack([view(Image.fromarray(np.stack([place] * 3, 2)))[0, 64] for _ in range(200)])
    columns = (views * 0.26862954 + 0.48145466) * 255  # (200, 128)
    assert abs((columns[:, 0] > columns[:, -1]).double().mean() - 0.5) < 4 * 0.5 / 200**0.5
    widths = (columns[:, 0] - columns[:, -1]).abs() + 1
    assert widths.min() >= 0.9 * 128 - 2  # of the full height, at least this wide
    assert widths.unique().numel() > 5


def test_the_border_of_objectnet_is_cut_off(made):
    objects = imagenet_set("objectnet", made)
    wanted = clip_view(16)(Image.new("RGB", (20, 16), color(2)))
    assert torch.allclose(seen(objects)[0], wanted, atol=1e-6)


def test_labels_come_with_their_pictures(made):
    train = imagenet_set("train", made)
    wanted = torch.stack([CENTRAL(Image.new("RGB", (24, 20), color(number))) for number in range(12)])
    for views, labels in training_batches(train, TRAINING, 10, 0)(0):
        assert (views.mean((2, 3)) - wanted[labels].mean((2, 3))).abs().max() < 0.1  # JPEG is not exact


def test_an_epoch_has_each_picture_once_but_for_the_incomplete_last_batch(made):
    train = imagenet_set("train", made)
    labels = [labels for _, labels in training_batches(train, TRAINING, 9, 0)(2)]
    assert torch.cat(labels).bincount().tolist() == [3] * 12
    assert [len(one) for one in labels] == [9] * 4
    assert len(training_batches(train, TRAINING, 10, 0)(2)) == 3


def test_each_epoch_has_an_order_and_views_of_its_own(noisy):
    batches = training_batches(noisy, TRAINING, 12, 0)
    (first, order), (again, same), (second, other) = (next(iter(batches(epoch))) for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(order, same)
    assert not torch.equal(order, other)
    changed = first[order.argsort()] != second[other.argsort()]
    assert changed.flatten(1).any(1).all()


def test_each_picture_of_an_epoch_has_a_view_of_its_own(noisy):
    alike = PictureSet("alike", noisy.files[:1] * 12, noisy.labels, noisy.groups)
    views, _ = next(iter(training_batches(alike, TRAINING, 12, 0)(0)))
    assert len(views.flatten(1).unique(dim=0)) > 6


def test_views_do_not_depend_on_the_number_of_workers(noisy):
    alone, two = ([views for views, _ in training_batches(noisy, TRAINING, 4, 0, n)(3)] for n in (0, 2))
    assert torch.equal(torch.stack(alone), torch.stack(two))


def test_what_decodes_can_be_sent_to_a_worker_process(noisy):
    # where processes are not forked: macOS, Windows, and Linux from Python 3.14 on
    views = training_batches(noisy, TRAINING, 8, 0)(0).dataset
    assert torch.equal(pickle.loads(pickle.dumps(views))[3][0], views[3][0])


def test_no_number_is_taken_from_the_global_generator(noisy):
    before = torch.get_rng_state()
    next(iter(training_batches(noisy, TRAINING, 8, 0)(0)))
    seen(noisy)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_damaged_picture_is_named(tmp_path):
    one = one_picture(tmp_path / "half.JPEG", noise(60, 60))
    (tmp_path / "half.JPEG").write_bytes((tmp_path / "half.JPEG").read_bytes()[:500])
    with pytest.raises(RuntimeError, match=r"half\.JPEG is damaged: it cannot be decoded"):
        seen(one)


def test_gray_pictures_get_three_channels(tmp_path):
    gray = seen(one_picture(tmp_path / "gray.png", noise(9, 9).convert("L")))
    assert gray.shape == (1, 3, 16, 16)


def test_a_batch_larger_than_the_set_is_refused(made):
    with pytest.raises(ValueError, match="batch=37; allowed: 1 to 36, the pictures of train"):
        training_batches(imagenet_set("train", made), TRAINING, 37, 0)


def test_a_view_without_a_pixel_is_refused():
    with pytest.raises(ValueError, match="pixels=0; allowed: a whole number, 1 or more"):
        clip_view(0)


def test_what_a_network_gives_is_collected_in_order_and_in_evaluation_mode(made):
    class Mean(nn.Module):
        def forward(self, views):
            assert not self.training
            return views.mean((2, 3))

    val = imagenet_set("val", made)
    rows = picture_outputs(Mean().train(), val, CENTRAL, batch=10)
    assert rows.shape == (24, 3)
    assert torch.allclose(rows, seen(val).mean((2, 3)), atol=1e-6)


def test_only_the_columns_of_the_set_compete():
    pictures = PictureSet("r", ("a", "b", "c"), torch.tensor([0, 1, 1]), ((1,), (3,)))
    outputs = torch.tensor([[9.0, 2.0, 9.0, 1.0], [9.0, 2.0, 9.0, 3.0], [0.0, 2.0, 0.0, 1.0]])
    assert top1(outputs, pictures) == pytest.approx(2 / 3)


def test_any_of_its_columns_wins_for_an_object():
    pictures = PictureSet("objectnet", ("a", "b"), torch.tensor([1, 1]), ((0,), (1, 2)))
    assert top1(torch.tensor([[5.0, 1.0, 6.0], [5.0, 1.0, 4.0]]), pictures) == 0.5


def test_torchvision_s_own_view_of_a_supervised_model_fits(made):
    view = load_torchvision().models.get_model_weights("resnet18").IMAGENET1K_V1.transforms()
    assert picture_outputs(nn.Flatten(), imagenet_set("a", made), view).shape == (4, 3 * 224 * 224)
