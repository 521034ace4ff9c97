"""CLIP's towers, their students, linear probes and standard models: made weights on made pictures."""

import importlib
import importlib.util
import json
import math
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from made_imagenet import make_imagenet, write
from PIL import Image
from torch import nn

from memorization.data.files import load_torchvision
from memorization.studies.feature_contamination import pretrained
from memorization.studies.feature_contamination.imagenet import IMAGENET_SHIFTS, clip_view
from memorization.studies.feature_contamination.pretrained import (
    CLIP_STUDENTS,
    clip_recipe,
    clip_student,
    clip_teacher,
    clip_weights,
    distil_clip,
    fit_linear_head,
    fit_to_teacher,
    standard_accuracies,
)
from memorization.training.batches import checksum
from memorization.training.train import TrainingError

needs_open_clip = pytest.mark.skipif(
    importlib.util.find_spec("open_clip") is None, reason="the package open_clip is absent (extra 'clip')"
)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A home without caches."""
    monkeypatch.setenv("HOME", str(tmp_path))
    if importlib.util.find_spec("huggingface_hub") is not None:
        constants = importlib.import_module("huggingface_hub.constants")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def as_published(tower: nn.Module, path: Path, dtype=torch.float16) -> Path:
    """Write a tower's weights as the whole of CLIP has them, text tower included."""
    values = {f"visual.{name}": value.to(dtype) for name, value in tower.state_dict().items()}
    torch.save({**values, "token_embedding.weight": torch.zeros(2, 3)}, path)
    return path


def test_absent_weights_are_named_with_the_stand_ins(nowhere):
    with pytest.raises(FileNotFoundError) as error:
        clip_teacher("RN50")
    text = str(error.value)
    for part in (
        str(nowhere / ".cache/clip/RN50.pt"),
        "timm/resnet50_clip.openai",
        "never fetched",
        "'distil'",
    ):
        assert part in text


def test_a_file_that_was_given_and_is_absent_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=rf"no weights of CLIP ViT-B-16 in {tmp_path}/mine.pt\. They"):
        clip_weights("ViT-B-16", tmp_path / "mine.pt")


def test_weights_that_openai_s_package_has_kept_are_found(nowhere):
    kept = nowhere / ".cache" / "clip" / "RN101.pt"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert clip_weights("RN101") == kept


def test_an_unknown_architecture_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"unknown CLIP architecture 'RN-50'; did you mean 'RN50'"):
        clip_student("RN-50", source())


@pytest.mark.parametrize(("name", "pixels"), [("RN50", 100), ("ViT-B-16", 40), ("RN50", 0)])
def test_a_size_that_the_tower_cannot_take_is_refused(name, pixels):
    with pytest.raises(ValueError, match=rf"pixels={pixels}; allowed for {name}: a multiple of"):
        clip_student(name, source(), pixels=pixels)


def test_without_the_package_its_installation_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)  # an import of it fails as if it were absent
    with pytest.raises(ImportError, match=r"pip install 'memorization-measured\[clip\]'.*'distil'"):
        clip_student("RN50", source())


@needs_open_clip
@pytest.mark.parametrize("training", [False, True])
def test_the_views_are_those_of_open_clip(training):
    load_torchvision()
    published = importlib.import_module("open_clip").image_transform(32, is_train=training)
    picture = Image.effect_noise((61, 40), 80).convert("RGB")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        theirs = published(picture)
        torch.manual_seed(2)
        ours = clip_view(32, training=training)(picture)
    assert any(torch.equal(one, theirs) for one in (ours, ours.flip(2)))  # open_clip never flips


@needs_open_clip
@pytest.mark.parametrize("name", CLIP_STUDENTS)
def test_the_table_of_students_has_the_sizes_of_open_clip(name):
    load_torchvision()
    folder = Path(importlib.import_module("open_clip").__file__).parent / "model_configs"
    config = json.loads((folder / f"{name}.json").read_text())
    assert CLIP_STUDENTS[name].pixels == config["vision_cfg"]["image_size"]
    assert CLIP_STUDENTS[name].dimensions == config["embed_dim"]


@needs_open_clip
@pytest.mark.parametrize(("name", "pixels"), [("RN50", 64), ("ViT-B-16", 32)])
def test_a_student_gives_features_and_learns_from_the_first_step(name, pixels):
    before = torch.get_rng_state()
    student = clip_student(name, source(), pixels=pixels)
    assert torch.equal(torch.get_rng_state(), before)
    features = student(torch.randn(2, 3, pixels, pixels, generator=source(1)))
    assert features.shape == (2, CLIP_STUDENTS[name].dimensions)
    features.square().mean().backward()
    gradients = {n: p.grad for n, p in student.named_parameters()}
    assert [n for n, g in gradients.items() if g is None or not g.isfinite().all()] == []


@needs_open_clip
def test_a_student_begins_as_pytorch_does_and_not_as_clip_does():
    student = clip_student("RN50", source(), pixels=64)
    assert (student.layer1[0].bn3.weight == 1).all()
    inner = student.layer1[0].conv2.weight
    assert inner.abs().max() <= 1 / 576**0.5
    assert inner.std().item() == pytest.approx(1 / (3 * 576) ** 0.5, rel=0.02)
    assert student.attnpool.positional_embedding.std().item() == pytest.approx(2048**-0.5, rel=0.05)


@needs_open_clip
def test_a_seed_gives_the_same_student_and_another_one_another():
    first, again, other = (clip_student("RN50", source(s), pixels=64).conv1.weight for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@needs_open_clip
@pytest.mark.parametrize(("name", "pixels"), [("RN50", 64), ("ViT-B-16", 32)])
def test_a_teacher_has_the_weights_of_the_file_and_is_frozen(tmp_path, name, pixels):
    kept = clip_student(name, source(), pixels=pixels)
    teacher = clip_teacher(name, as_published(kept, tmp_path / "w.pt", torch.float32), pixels=pixels)
    images = torch.randn(2, 3, pixels, pixels, generator=source(1))
    assert torch.allclose(teacher(images), kept.eval()(images), atol=1e-4)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher.training


@needs_open_clip
def test_a_tower_has_the_activation_of_openai_s_networks():
    kinds = {type(module).__name__ for module in clip_student("ViT-B-16", source(), pixels=32).modules()}
    assert ("QuickGELU" in kinds, "GELU" in kinds) == (True, False)


@needs_open_clip
def test_half_precision_weights_become_float32(tmp_path):
    kept = as_published(clip_student("RN50", source(), pixels=64), tmp_path / "w.pt")
    assert {p.dtype for p in clip_teacher("RN50", kept, pixels=64).parameters()} == {torch.float32}


@needs_open_clip
def test_weights_in_the_hugging_face_cache_are_found_and_read(nowhere):
    model = nowhere / "hub" / "models--timm--resnet50_clip.openai"
    (model / "snapshots" / "abc").mkdir(parents=True)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text("abc")
    kept = clip_student("RN50", source(), pixels=64)
    values = {f"visual.{name}": value for name, value in kept.state_dict().items()}
    save = importlib.import_module("safetensors.torch").save_file
    save(values, model / "snapshots" / "abc" / "open_clip_model.safetensors")
    assert torch.equal(clip_teacher("RN50", pixels=64).conv1.weight, kept.conv1.weight)


@needs_open_clip
def test_openai_s_compiled_archive_is_read(tmp_path):
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = clip_student("RN50", source(), pixels=64).layer1[0].conv2
            self.other = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.other(x)

    whole = Whole()
    torch.jit.script(whole).save(tmp_path / "w.pt")
    assert torch.equal(pretrained._read(tmp_path / "w.pt")["visual.weight"], whole.visual.weight)


@needs_open_clip
@pytest.mark.parametrize(("name", "published", "pixels"), [("RN50", 96, 64), ("ViT-B-16", 48, 32)])
def test_at_another_size_the_positions_are_interpolated(tmp_path, name, published, pixels):
    kept = clip_student(name, source(), pixels=published)
    table = kept.attnpool.positional_embedding if name == "RN50" else kept.positional_embedding
    with torch.no_grad():
        table[1:] = table[1]  # the same at every place of the grid: interpolation changes nothing
    teacher = clip_teacher(name, as_published(kept, tmp_path / "w.pt", torch.float32), pixels=pixels)
    found = teacher.attnpool.positional_embedding if name == "RN50" else teacher.positional_embedding
    assert found.shape == (5, table.shape[1])
    assert torch.allclose(found[0], table[0])
    assert torch.allclose(found[1:], table[1:5], atol=1e-5)


@needs_open_clip
def test_a_file_of_another_tower_is_refused(tmp_path):
    file = as_published(nn.Linear(3, 3), tmp_path / "w.pt")
    with pytest.raises(RuntimeError, match=r"w\.pt does not hold the image tower of RN50"):
        clip_teacher("RN50", file, pixels=64)


RECIPE = clip_recipe(epochs=4, learning_rate=1e-2, weight_decay=1e-3, warmup=3)
STEPS = 5


class Small(nn.Module):
    """A small convolutional net; remembers in which modes it was called."""

    def __init__(self, seed: int, width: int = 8, features: int = 6):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, width, 3, 2, 1),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
                nn.Linear(width, features),
            )
        self.modes: set[tuple[bool, bool]] = set()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.modes.add((self.training, torch.is_grad_enabled()))
        return self.layers(images)


def batches(epoch: int):
    source = torch.Generator().manual_seed(epoch)
    return [torch.randn(16, 3, 8, 8, generator=source) for _ in range(STEPS)]


def distil(recipe=RECIPE, student=None, teacher=None, **more):
    given = {"batches": batches, "steps": STEPS, **more}
    found = fit_to_teacher(teacher or Small(0, 16), student or Small(1), recipe=recipe, **given)
    return SimpleNamespace(student=found[0], history=found[1])


def weights_digest(network: nn.Module) -> str:
    return checksum(*network.state_dict().values())


def test_the_distance_to_the_teacher_falls():
    history = distil(clip_recipe(20, 2e-2, 0.0, 5)).history
    assert history["epoch"].tolist() == list(range(1, 21))
    assert history["loss"].iloc[-1] < 0.3 * history["loss"].iloc[0]


def test_a_student_that_is_the_teacher_has_nothing_to_learn():
    teacher, student = Small(0), Small(0)
    for tower in (teacher, student):
        tower.layers[1] = nn.Identity()  # batch statistics would tell the modes apart
    assert distil(clip_recipe(2, 1e-2, 0.0, 3), student, teacher).history["loss"].max() == 0


def test_the_loss_is_the_mean_over_batch_and_dimensions_times_the_weight():
    teacher, student = Small(0), Small(1)
    images = batches(0)[0]
    with torch.no_grad():
        wanted = (student.train()(images) - teacher.eval()(images)).square().mean().item()
    options = {"batches": lambda epoch: [images], "steps": 1, "weight": 0.9}
    once = distil(clip_recipe(1, 1e-3, 0.0, 0), Small(1), teacher, **options)
    assert once.history["loss"].item() == pytest.approx(0.9 * wanted, rel=1e-5)


def test_the_student_trains_and_the_teacher_is_frozen_and_in_evaluation_mode():
    teacher, student = Small(0), Small(1).eval()
    before = weights_digest(teacher)
    done = distil(student=student, teacher=teacher.train())
    assert done.student.modes <= {
        (True, True),
        (True, False),
    }  # without a graph in the look at the first batch
    assert (True, True) in done.student.modes
    assert teacher.modes == {(False, False)}
    assert weights_digest(teacher) == before
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not done.student.training


def test_batches_may_come_with_labels():
    with_labels = distil(batches=lambda epoch: [(images, torch.zeros(16)) for images in batches(epoch)])
    assert with_labels.history.equals(distil().history)


def stop_after(epochs: int):
    def progress(done: int, whole: int) -> None:
        if done == epochs:
            raise KeyboardInterrupt

    return progress


def test_a_lost_training_ends_as_an_undisturbed_one(tmp_path):
    straight = distil()
    with pytest.raises(KeyboardInterrupt):
        distil(checkpoint=tmp_path / "run.pt", progress=stop_after(2))
    seen = []
    resumed = distil(checkpoint=tmp_path / "run.pt", progress=lambda done, whole: seen.append(done))
    assert seen == [3, 4]
    assert weights_digest(resumed.student) == weights_digest(straight.student)
    assert resumed.history.equals(straight.history)


def test_a_finished_training_is_not_repeated(tmp_path):
    first = distil(checkpoint=tmp_path / "run.pt")
    again = distil(checkpoint=tmp_path / "run.pt", batches=lambda epoch: pytest.fail("trained again"))
    assert weights_digest(again.student) == weights_digest(first.student)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"data": "others"}, "data differ"),
        ({"student": Small(2)}, "initial weights differ"),
        ({"teacher": Small(3, 16)}, "data differ"),
        ({"weight": 0.9}, "data differ"),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, change, text):
    distil(checkpoint=tmp_path / "run.pt")
    with pytest.raises(ValueError, match=text):
        distil(checkpoint=tmp_path / "run.pt", **change)


def test_a_loss_that_is_no_number_stops_the_training_with_its_step(tmp_path):
    def spoiled(epoch: int):
        found = batches(epoch)
        if epoch == 1:
            found[2][0, 0, 0, 0] = math.nan
        return found

    with pytest.raises(TrainingError, match=r"became nan at step 8 \(epoch 2\)"):
        distil(batches=spoiled, checkpoint=tmp_path / "run.pt")
    assert torch.isfinite(distil(checkpoint=tmp_path / "run.pt").student.layers[0].weight).all()


def test_bf16_narrows_the_student_alone():
    wide, narrow = distil(), distil(clip_recipe(4, 1e-2, 1e-3, 3, "bf16"))
    assert narrow.student.layers[0].weight.dtype == torch.float32
    assert narrow.history["loss"].tolist() == pytest.approx(wide.history["loss"].tolist(), rel=0.1)
    assert not narrow.history.equals(wide.history)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"steps": 6}, "epoch 1 had 5 batches, steps=6 were said"),
        ({"student": Small(1, features=5)}, r"shape \(16, 5\), the teacher \(16, 6\); allowed: the same"),
        ({"steps": 0}, "steps=0, weight=1.0; allowed: steps >= 1"),
        ({"weight": 0.0}, "weight=0.0; allowed"),
    ],
)
def test_what_does_not_fit_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        distil(**options)


PROBE = clip_recipe(epochs=20, learning_rate=3e-2, weight_decay=1e-3, warmup=5)


def clusters(n: int = 120):
    source = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 3
    centers = 3 * torch.eye(3, 5)
    return centers[labels] + 0.3 * torch.randn(n, 5, generator=source), labels


def test_clusters_are_told_apart():
    features, labels = clusters()
    head = fit_linear_head(features, labels, 3, PROBE, seed=0, batch=30)
    assert (head(features).argmax(1) == labels).all()
    assert not head.weight.requires_grad


def test_a_seed_gives_the_same_probe_and_another_one_another():
    features, labels = clusters()
    first, again, other = (
        fit_linear_head(features, labels, 3, PROBE, seed=seed, batch=30).weight for seed in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_more_weight_decay_gives_smaller_weights():
    features, labels = clusters()
    sizes = [
        fit_linear_head(features, labels, 3, clip_recipe(20, 3e-2, decay, 5), seed=0, batch=30).weight.norm()
        for decay in (0.0, 5.0)
    ]
    assert sizes[1] < 0.8 * sizes[0]


def test_the_incomplete_last_batch_is_dropped():
    features, labels = clusters(121)
    assert fit_linear_head(features, labels, 3, PROBE, seed=0, batch=60).weight.isfinite().all()


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"batch": 121}, "batch=121; allowed: 1 to 120"),
        ({"classes": 2}, r"labels must be in 0..1 \(classes=2"),
        ({"labels": torch.zeros(7, dtype=torch.int64)}, r"labels of shape \(7,\); allowed"),
    ],
)
def test_what_does_not_fit_a_probe_is_refused(change, text):
    features, labels = clusters()
    given = {"features": features, "labels": labels, "classes": 3, "recipe": PROBE, "batch": 30} | change
    with pytest.raises(ValueError, match=text):
        fit_linear_head(**given, seed=0)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory):
    """A thousand folders, with pictures of three of them: torchvision's networks have 1000 outputs."""
    root = tmp_path_factory.mktemp("thousand")
    for number in range(1000):
        (root / f"imagenet/train/n{number:08d}").mkdir(parents=True)
    for number, name in [(0, "0"), (7, "0"), (500, "0"), (500, "1")]:
        write(root / f"imagenet/val/n{number:08d}/{name}.JPEG", (number % 256, 90, 20))
    for number in (7, 500):
        write(root / f"imagenet-r/n{number:08d}/0.jpg", (number % 256, 90, 20))
    return root


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Made weights of SqueezeNet that give class 500 whatever they see."""
    folder = tmp_path_factory.mktemp("cache")
    network = load_torchvision().models.get_model("squeezenet1_1", weights=None)
    with torch.no_grad():
        network.classifier[1].weight.zero_()
        network.classifier[1].bias.zero_()[500] = 1
    torch.save(network.state_dict(), folder / "squeezenet1_1-b8a52dc0.pth")
    return folder


def test_a_network_whose_weights_are_here_is_tested_and_the_others_are_named(thousand, cache):
    with pytest.warns(UserWarning, match=r"1 of 2 standard models: resnet18-\w+\.pth; they have no rows"):
        rows = standard_accuracies(
            root=str(thousand),
            models=["resnet18", "squeezenet1_1"],
            cache=str(cache),
            shifts=["r"],
            workers=0,
        )
    assert rows == [
        {"model": "squeezenet1_1", "set": "val", "images": 4, "accuracy": 0.5},
        {"model": "squeezenet1_1", "set": "r", "images": 2, "accuracy": 0.5},
    ]


def test_with_fewer_classes_their_outputs_alone_compete(thousand, cache):
    rows = standard_accuracies(
        root=str(thousand),
        models=["squeezenet1_1"],
        cache=str(cache),
        classes=2,  # 0 and 500
        shifts=[],
        workers=0,
    )
    assert [(row["images"], row["accuracy"]) for row in rows] == [(3, pytest.approx(2 / 3))]


def test_without_any_weights_nothing_is_fetched_and_the_files_are_named(thousand, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=rf"no weights in {tmp_path} for 1 of 1 .* alexnet-[\w-]+\.pth"
    ):
        standard_accuracies(root=str(thousand), models=["alexnet"], cache=str(tmp_path), shifts=[])


def test_another_number_of_classes_is_refused(tmp_path, cache):
    make_imagenet(tmp_path)
    with pytest.raises(ValueError, match="imagenet/train has 12 classes; torchvision's networks"):
        standard_accuracies(root=str(tmp_path), models=["squeezenet1_1"], cache=str(cache), shifts=[])


def test_an_unknown_model_is_refused_with_the_nearest(thousand, cache):
    with pytest.raises(ValueError, match=r"unknown standard model 'resnet_50'; did you mean 'resnet50'"):
        standard_accuracies(root=str(thousand), models=["resnet_50"], cache=str(cache), shifts=[])


@pytest.mark.parametrize("content", [None, {}])
def test_a_damaged_file_of_weights_is_named(thousand, tmp_path, content):
    torch.save(content, tmp_path / "squeezenet1_1-b8a52dc0.pth")
    if content is None:
        (tmp_path / "squeezenet1_1-b8a52dc0.pth").write_bytes(b"nothing")
    with pytest.raises(
        RuntimeError, match=r"squeezenet1_1-b8a52dc0.pth cannot be read as weights of squeeze"
    ):
        standard_accuracies(root=str(thousand), models=["squeezenet1_1"], cache=str(tmp_path), shifts=[])


SMALL = {"pixels": 8, "epochs": 2, "learning_rate": 1e-2, "warmup": 2, "batch": 12, "workers": 0}
SMALL |= {"probe_epochs": 2, "probe_warmup": 2}


def tower(source: torch.Generator) -> nn.Module:
    layers = [nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(4)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(256, 24))
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.6, generator=source)
    return network


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return make_imagenet(tmp_path_factory.mktemp("imagenet"), pictures=6)


def table(root, **more) -> pd.DataFrame:
    """Rows of the experiment, with small towers in the place of CLIP's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrained, "clip_teacher", lambda *_, **__: tower(source(9)).eval())
        patch.setattr(pretrained, "clip_student", lambda name, source, pixels: tower(source))
        return pd.DataFrame(distil_clip(root=str(root), **{**SMALL, **more})).set_index(["model", "set"])


@pytest.fixture(scope="module")
def rows(made):
    return table(made, probe_epochs=40, probe_warmup=10)


def test_teacher_and_student_are_tested_on_every_set(rows):
    sets = ["val", *IMAGENET_SHIFTS]
    assert rows.index.tolist() == [(model, name) for model in ("teacher", "student") for name in sets]
    assert rows["images"].loc["student"].tolist() == [24, 24, 6, 4, 24, 6]


def test_the_teacher_tells_the_made_classes_apart_and_has_no_distance_to_itself(rows):
    assert rows.loc[("teacher", "val"), "accuracy"] > 0.9
    assert rows.loc["teacher", "distillation_error"].max() == 0
    assert rows.loc["student", "distillation_error"].min() > 0


def test_more_training_brings_the_student_closer(made):
    short, long = (table(made, epochs=epochs, shifts=()) for epochs in (1, 10))
    errors = [rows.loc[("student", "val"), "distillation_error"] for rows in (short, long)]
    assert errors[1] < 0.7 * errors[0]


def test_a_checkpoint_is_gone_on_from_to_the_same_rows(made, tmp_path):
    first = table(made, shifts=(), checkpoints=str(tmp_path))
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    pd.testing.assert_frame_equal(table(made, shifts=(), checkpoints=str(tmp_path)), first)
    assert file.stat().st_mtime_ns == written
    pd.testing.assert_frame_equal(table(made, shifts=()), first)


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"pixels": 16}, {"epochs": 1}, {"batch": 11}, {"classes": 6}]
)
def test_another_training_has_a_checkpoint_of_its_own(made, tmp_path, change):
    for more in ({}, change):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pretrained, "picture_outputs", lambda *_: pytest.fail("reached"))
            with pytest.raises(pytest.fail.Exception):
                table(made, shifts=(), checkpoints=str(tmp_path), **more)
    assert len([*tmp_path.iterdir()]) == 2


def test_the_student_sees_random_crops_and_each_probe_has_the_decay_of_the_authors(made, monkeypatch):
    views, decays = [], []
    batches, probe = pretrained.training_batches, pretrained.fit_linear_head
    monkeypatch.setattr(
        pretrained, "training_batches", lambda *given: views.append(str(given[1])) or batches(*given)
    )
    monkeypatch.setattr(
        pretrained,
        "fit_linear_head",
        lambda *given, **more: decays.append(given[3].weight_decay) or probe(*given, **more),
    )
    table(made, shifts=(), epochs=1, warmup=0)
    assert views == [str(clip_view(8, training=True))]
    assert decays == [0.1, 1e-3]


def test_a_set_that_is_absent_stops_the_run_before_it_trains(made, tmp_path, monkeypatch):
    root = shutil.copytree(made, tmp_path / "copy")
    shutil.rmtree(root / "sketch")
    monkeypatch.setattr(pretrained, "fit_to_teacher", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(FileNotFoundError, match="ImageNet-Sketch"):
        table(root)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"warmup": 12}, "warmup=12 steps, but 2 epochs have only 12; allowed: fewer"),
        ({"probe_warmup": 12}, "probe_warmup=12 steps, but 2 epochs have only 12; allowed: fewer"),
        ({"probe_epochs": 0}, "epochs=0"),
        ({"pixels": 0}, "pixels=0; allowed"),
        ({"batch": 73}, "batch=73; allowed: 1 to 72, the pictures of train"),
    ],
)
def test_what_would_fail_after_days_is_refused_before_the_training(made, monkeypatch, given, message):
    monkeypatch.setattr(pretrained, "fit_to_teacher", lambda *_, **__: pytest.fail("trained"))
    with pytest.raises(ValueError, match=message):
        table(made, shifts=(), **given)


def test_fewer_classes_leave_fewer_pictures(made):
    found = table(made, classes=6, shifts=["r"])
    assert found["images"].loc["student"].to_dict() == {"val": 12, "r": 4}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"architecture": "RN51"}, "unknown CLIP architecture 'RN51'; did you mean 'RN50'"),
        ({"shifts": ["sketches"]}, "unknown shift of ImageNet 'sketches'; did you mean 'sketch'"),
        ({"shifts": ["train"]}, "unknown shift of ImageNet 'train'"),
        ({"shifts": ["r", "a", "r"]}, r"shifts=\['r', 'a', 'r'\]; allowed: each once"),
    ],
)
def test_what_does_not_exist_is_told_before_any_data_is_looked_for(tmp_path, given, message):
    with pytest.raises(ValueError, match=message):
        distil_clip(root=str(tmp_path), **given)
