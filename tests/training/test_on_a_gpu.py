"""The same training on a GPU: half-precision arithmetic, a compiled network, stacked networks."""

import pytest
import torch

from memorization.draws import generator
from memorization.models.networks import network
from memorization.training.batches import LabelledViews
from memorization.training.recipe import Recipe
from memorization.training.train import train

pytestmark = pytest.mark.gpu


def views(models, device):
    images = torch.rand(64, 3, 32, 32, generator=generator(0, "images"))
    labels = torch.randint(10, (models, 64), generator=generator(0, "labels"))
    return LabelledViews(images.to(device), labels.to(device), tuple(range(models)), 10)


def networks(name, models, **options):
    return [network(name, channels=3, generator=generator(s, "weights"), **options) for s in range(models)]


def test_a_stack_on_the_gpu_trains_as_on_the_processor():
    recipe = Recipe(epochs=3, batch=16)
    here = train(networks("small_cnn", 3, hidden=[32]), views(3, "cpu"), "mse", recipe).history
    there = train(networks("small_cnn", 3, hidden=[32]), views(3, "cuda"), "mse", recipe).history
    assert there["loss"].tolist() == pytest.approx(here["loss"].tolist(), rel=0.02)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_residual_network_memorizes_in_half_precision(compiled):
    recipe = Recipe(epochs=30, batch=32, learning_rate=1e-3, precision="bf16", compiled=compiled)
    done = train(networks("resnet18_small", 1, hidden=[1024]), views(1, "cuda"), "mse", recipe)
    assert done.history["batch_accuracy"].iloc[-1] > 0.9
    assert next(done.networks[0].parameters()).dtype == torch.float32


def test_a_lost_training_on_the_gpu_goes_on(tmp_path):
    recipe = Recipe(epochs=4, batch=16)
    straight = train(networks("small_cnn", 2, hidden=[32]), views(2, "cuda"), "mse", recipe)
    half = Recipe(epochs=2, batch=16)
    train(
        networks("small_cnn", 2, hidden=[32]), views(2, "cuda"), "mse", half, checkpoint=tmp_path / "run.pt"
    )
    resumed = train(
        networks("small_cnn", 2, hidden=[32]), views(2, "cuda"), "mse", recipe, checkpoint=tmp_path / "run.pt"
    )
    assert resumed.history["loss"].tolist() == pytest.approx(straight.history["loss"].tolist(), rel=0.02)
