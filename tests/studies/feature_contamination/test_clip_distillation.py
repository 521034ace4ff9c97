"""The experiment on CLIP from folders to rows, with small towers in the place of CLIP's."""

import shutil

import pandas as pd
import pytest
import torch
from made_imagenet import make_imagenet
from torch import nn

from memorization.studies.feature_contamination import pretrained as clip_distillation
from memorization.studies.feature_contamination.pretrained import IMAGENET_SHIFTS, distil_clip

SMALL = {
    "pixels": 8,
    "epochs": 3,
    "learning_rate": 1e-2,
    "warmup": 2,
    "batch": 12,
    "probe_epochs": 40,
    "probe_warmup": 10,
    "workers": 0,
}


def tower(source: torch.Generator) -> nn.Module:
    layers = [nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(256, 24)]
    network = nn.Sequential(*layers)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.6, generator=source)
    return network


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_imagenet(tmp_path_factory.mktemp("imagenet"), pictures=6)


@pytest.fixture(autouse=True)
def small_towers(monkeypatch):
    def teacher(architecture, weights="", *, pixels=None):
        return tower(torch.Generator().manual_seed(9)).eval()

    monkeypatch.setattr(clip_distillation, "clip_teacher", teacher)
    monkeypatch.setattr(clip_distillation, "clip_student", lambda name, source, pixels: tower(source))


def table(root, **more) -> pd.DataFrame:
    return pd.DataFrame(distil_clip(root=str(root), **{**SMALL, **more}))


def test_teacher_and_student_are_tested_on_every_set(made):
    rows = table(made)
    assert rows.groupby("model", sort=False)["set"].agg(list).to_dict() == {
        "teacher": ["val", *IMAGENET_SHIFTS],
        "student": ["val", *IMAGENET_SHIFTS],
    }
    images = rows.set_index(["model", "set"])["images"].loc["student"]
    assert images.to_dict() == {"val": 24, "v2": 24, "r": 6, "a": 4, "sketch": 24, "objectnet": 6}


def test_the_teacher_tells_the_made_classes_apart_and_has_no_distance_to_itself(made):
    teacher = table(made).set_index("model").loc["teacher"].set_index("set")
    assert teacher.loc["val", "accuracy"] > 0.9
    assert teacher["distillation_error"].max() == 0


def test_more_training_brings_the_student_closer(made):
    short, long = (table(made, epochs=epochs, shifts=()) for epochs in (1, 30))
    errors = [rows.set_index("model").loc["student", "distillation_error"] for rows in (short, long)]
    assert errors[1] < 0.5 * errors[0]


def test_a_seed_gives_the_same_rows(made):
    pd.testing.assert_frame_equal(table(made, shifts=["r"], seed=1), table(made, shifts=["r"], seed=1))


def test_a_checkpoint_is_gone_on_from(made, tmp_path, monkeypatch):
    first = table(made, shifts=(), checkpoints=str(tmp_path))
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    pd.testing.assert_frame_equal(table(made, shifts=(), checkpoints=str(tmp_path)), first)
    assert file.stat().st_mtime_ns == written


def test_a_set_that_is_absent_stops_the_run_before_it_trains(made, tmp_path, monkeypatch):
    root = shutil.copytree(made, tmp_path / "copy")
    shutil.rmtree(root / "sketch")
    monkeypatch.setattr(clip_distillation, "fit_to_teacher", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(FileNotFoundError, match="ImageNet-Sketch"):
        table(root)


def test_fewer_classes_leave_fewer_pictures(made):
    rows = table(made, classes=6, shifts=["r"])
    assert rows.set_index(["model", "set"]).loc["student", "images"].to_dict() == {"val": 12, "r": 4}


def test_a_misspelled_architecture_is_told_before_any_data_is_looked_for(tmp_path):
    with pytest.raises(ValueError, match="unknown architecture 'RN51'; did you mean 'RN50'"):
        distil_clip(architecture="RN51", root=str(tmp_path))
