"""The same distillation on a GPU: channels last, half-precision arithmetic, and a checkpoint that goes on."""

import pytest
import torch
from torch import nn

from memorization.studies.feature_contamination.pretrained import clip_recipe, fit_to_teacher

pytestmark = pytest.mark.gpu


def tower(seed: int) -> nn.Module:
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 6)]
    network = nn.Sequential(*layers)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(seed))
    return network


def batches(epoch: int):
    return [
        torch.randn(32, 3, 8, 8, generator=torch.Generator().manual_seed(10 * epoch + k)) for k in range(5)
    ]


def distil(device: str, epochs: int = 4, precision: str = "float32", **more):
    recipe = clip_recipe(epochs, 1e-3, 0.05, 3, precision)
    return fit_to_teacher(tower(0), tower(1), batches, 5, recipe, device=device, **more)[1]


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 0.01), ("bf16", 0.05)])
def test_a_student_on_the_gpu_learns_as_on_the_processor(precision, tolerance):
    here, there = distil("cpu"), distil("cuda", precision=precision)
    assert there["loss"].tolist() == pytest.approx(here["loss"].tolist(), rel=tolerance)


def test_a_training_that_was_lost_on_the_gpu_goes_on(tmp_path):
    def lost(done: int, whole: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distil("cuda", checkpoint=tmp_path / "run.pt", progress=lost)
    resumed = distil("cuda", checkpoint=tmp_path / "run.pt")
    assert resumed["loss"].tolist() == pytest.approx(distil("cuda")["loss"].tolist(), rel=1e-3)
