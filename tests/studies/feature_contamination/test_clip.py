"""CLIP's image towers: at random, and from a file of weights."""

import importlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

from memorization.data.files import load_torchvision
from memorization.studies.feature_contamination import pretrained as clip
from memorization.studies.feature_contamination.pretrained import (
    CLIP_STUDENTS,
    clip_student,
    clip_teacher,
    clip_weights,
)

needs_open_clip = pytest.mark.skipif(
    importlib.util.find_spec("open_clip") is None, reason="the package open_clip is absent (extra 'clip')"
)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """A home without caches."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(clip, "_hub_files", lambda architecture: [])
    return tmp_path


def as_published(tower: torch.nn.Module, path: Path, dtype=torch.float16) -> Path:
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
    with pytest.raises(ValueError, match=r"unknown CLIP architecture 'RN-50'; .* did you mean 'RN50'"):
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
def test_half_precision_weights_become_float32(tmp_path):
    kept = as_published(clip_student("RN50", source(), pixels=64), tmp_path / "w.pt")
    assert {p.dtype for p in clip_teacher("RN50", kept, pixels=64).parameters()} == {torch.float32}


@needs_open_clip
def test_weights_in_the_hugging_face_cache_are_found_and_read(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    constants = importlib.import_module("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    model = tmp_path / "hub" / "models--timm--resnet50_clip.openai"
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
    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.visual = clip_student("RN50", source(), pixels=64).layer1[0].conv2
            self.other = torch.nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.other(x)

    whole = Whole()
    torch.jit.script(whole).save(tmp_path / "w.pt")
    assert torch.equal(clip._read(tmp_path / "w.pt")["visual.weight"], whole.visual.weight)


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
    file = as_published(torch.nn.Linear(3, 3), tmp_path / "w.pt")
    with pytest.raises(RuntimeError, match=r"w\.pt does not hold the image tower of RN50"):
        clip_teacher("RN50", file, pixels=64)
