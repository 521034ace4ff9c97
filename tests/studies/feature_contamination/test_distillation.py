"""A student learns a teacher's features, and a lost training goes on."""

import math

import pytest
import torch
from torch import nn

from memorization.studies.feature_contamination.pretrained import fit_to_teacher, weights_digest
from memorization.training.train import TrainingError, WarmRecipe

RECIPE = WarmRecipe(epochs=4, learning_rate=1e-2, weight_decay=1e-3, warmup=3)
STEPS = 5


class Tower(nn.Module):
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
    return fit_to_teacher(teacher or Tower(0, 16), student or Tower(1), recipe=recipe, **given)


def test_the_distance_to_the_teacher_falls():
    history = distil(WarmRecipe(20, 2e-2, 0.0, 5)).history
    assert history["epoch"].tolist() == list(range(1, 21))
    assert history["loss"].iloc[-1] < 0.3 * history["loss"].iloc[0]


def test_a_student_that_is_the_teacher_has_nothing_to_learn():
    teacher, student = Tower(0), Tower(0)
    for tower in (teacher, student):
        tower.layers[1] = nn.Identity()  # batch statistics would tell the modes apart
    assert distil(WarmRecipe(2, 1e-2, 0.0, 3), student, teacher).history["loss"].max() == 0


def test_the_loss_is_the_mean_over_batch_and_dimensions_times_the_weight():
    teacher, student = Tower(0), Tower(1)
    images = batches(0)[0]
    with torch.no_grad():
        wanted = (student.train()(images) - teacher.eval()(images)).square().mean().item()
    options = {"batches": lambda epoch: [images], "steps": 1, "weight": 0.9}
    once = distil(WarmRecipe(1, 1e-3, 0.0, 0), Tower(1), teacher, **options)
    assert once.history["loss"].item() == pytest.approx(0.9 * wanted, rel=1e-5)


def test_the_student_trains_and_the_teacher_is_frozen_and_in_evaluation_mode():
    teacher, student = Tower(0), Tower(1).eval()
    before = weights_digest(teacher)
    done = distil(student=student, teacher=teacher.train())
    assert student.modes == {(True, True)}
    assert teacher.modes == {(False, False)}
    assert weights_digest(teacher) == before
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert done.student is student
    assert not student.training


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
        ({"student": Tower(2)}, "initial weights differ"),
        ({"teacher": Tower(3, 16)}, "teacher differ"),
        ({"weight": 0.9}, "recipe differ"),
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

    with pytest.raises(TrainingError, match=r"became nan at step 8 of 20"):
        distil(batches=spoiled, checkpoint=tmp_path / "run.pt")
    assert torch.isfinite(distil(checkpoint=tmp_path / "run.pt").student.layers[0].weight).all()


def test_bf16_narrows_the_student_alone():
    wide, narrow = distil(), distil(precision="bf16")
    assert narrow.student.layers[0].weight.dtype == torch.float32
    assert narrow.history["loss"].tolist() == pytest.approx(wide.history["loss"].tolist(), rel=0.1)
    assert not narrow.history.equals(wide.history)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"steps": 6}, "epoch 1 had 5 batches, steps=6 were said"),
        ({"student": Tower(1, features=5)}, r"shape \(16, 5\), the teacher \(16, 6\); allowed: the same"),
        ({"precision": "fp16"}, "precision='fp16'; allowed: float32, bf16"),
        ({"steps": 0}, "steps=0, weight=1.0; allowed: steps >= 1"),
        ({"weight": 0.0}, "weight=0.0; allowed"),
    ],
)
def test_what_does_not_fit_is_refused(options, text):
    with pytest.raises(ValueError, match=text):
        distil(**options)
