"""Folders of ImageNet and its shifts: which pictures, which classes, which columns."""

import json
import shutil

import pytest
import torch
from made_imagenet import IN_A, IN_R, OBJECTS, WNIDS, make_imagenet

from memorization.studies.feature_contamination.pretrained import (
    IMAGENET_SETS,
    class_numbers,
    imagenet_set,
    set_outputs,
)


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
    assert [str(label) for label in v2.labels.tolist()] == places(v2)
    assert v2.groups == tuple((number,) for number in range(12))


@pytest.mark.parametrize(("name", "numbers"), [("r", IN_R), ("a", IN_A)])
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


def test_the_sketches_have_all_classes(made):
    assert imagenet_set("sketch", made).groups == tuple((number,) for number in range(12))


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
    assert dict(zip(sorted({*places(objects)}), objects.groups, strict=True)) == {
        "alarm_clock": (1,),
        "wok": (2,),
    }


def test_outputs_are_restricted_and_the_largest_of_a_group_is_taken():
    outputs = torch.tensor([[0.0, 5.0, 2.0, 9.0], [3.0, 1.0, 4.0, -1.0]])
    assert set_outputs(outputs, [(1,), (0, 2)]).tolist() == [[5.0, 2.0], [1.0, 4.0]]


def test_outputs_of_groups_agree_with_a_plain_loop():
    outputs = torch.randn(7, 12, generator=torch.Generator().manual_seed(0))
    groups = [(3,), (1, 5, 9), (0, 11), (2,)]
    plain = torch.stack([outputs[:, list(group)].max(1).values for group in groups], 1)
    assert torch.equal(set_outputs(outputs, groups), plain)


def test_the_digest_does_not_depend_on_where_the_folder_lies(made, own):
    assert imagenet_set("train", made).digest() == imagenet_set("train", own).digest()


def test_the_digest_depends_on_the_files(own):
    before = imagenet_set("train", own).digest()
    next((own / "imagenet/train" / WNIDS[5]).iterdir()).unlink()
    assert imagenet_set("train", own).digest() != before


@pytest.mark.parametrize("name", IMAGENET_SETS)
def test_an_absent_folder_is_named_with_what_it_should_hold_and_the_stand_ins(own, name):
    folder = next((own / place) for place in _PLACES[name] if (own / place).exists())
    shutil.rmtree(folder)
    if name == "train":
        shutil.rmtree(own / "imagenet/val")
    with pytest.raises(FileNotFoundError) as error:
        imagenet_set(name, own)
    text = str(error.value)
    assert str(folder) in text
    assert "It should hold" in text
    assert "never downloaded" in text
    assert "'distil'" in text
    assert "procedural digits" in text


_PLACES = {
    "train": ["imagenet/train"],
    "val": ["imagenet/val"],
    "v2": ["imagenetv2-matched-frequency-format-val"],
    "r": ["imagenet-r"],
    "a": ["imagenet-a"],
    "sketch": ["sketch"],
    "objectnet": ["objectnet-1.0/images"],
}


def test_without_a_training_half_the_classes_are_those_of_the_validation_half(own):
    shutil.rmtree(own / "imagenet/train")
    assert len(imagenet_set("val", own)) == 24


def test_an_empty_set_is_absent(own):
    for picture in (own / "sketch").rglob("*.JPEG"):
        picture.unlink()
    with pytest.raises(FileNotFoundError, match=r"sketch holds 0 pictures of 12 of the 12 classes"):
        imagenet_set("sketch", own)


def test_the_files_that_explain_objectnet_are_asked_for_by_name(own):
    (own / "objectnet-1.0/mappings/pytorch_to_imagenet_2012_id.json").unlink()
    with pytest.raises(
        FileNotFoundError, match=r"pytorch_to_imagenet_2012_id.json was not found. ObjectNet br"
    ):
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
    with pytest.raises(
        ValueError, match=rf"1 folders that are no class of imagenet/train, such as {WNIDS[10]}"
    ):
        imagenet_set("r", own)


def test_an_unknown_set_is_refused_with_the_nearest(made):
    with pytest.raises(ValueError, match=r"unknown ImageNet set 'sketches'; .* did you mean 'sketch'"):
        imagenet_set("sketches", made)


@pytest.mark.parametrize("classes", [1, 13])
def test_a_number_of_classes_out_of_range_is_refused(made, classes):
    with pytest.raises(ValueError, match=rf"classes={classes}; allowed: 2 to 12"):
        imagenet_set("train", made, classes=classes)
