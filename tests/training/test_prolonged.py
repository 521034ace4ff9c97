"""A training that is prolonged leaves the records of one that never stopped."""

import pytest
import torch
from torch import nn

from memorization.draws import generator
from memorization.training.batches import LabelledViews
from memorization.training.recipe import Recipe
from memorization.training.train import train

IMAGES = torch.rand(12, 1, 4, 4, generator=generator(0, "images"))
LABELS = torch.randint(3, (2, 12), generator=generator(0, "labels"))


def networks():
    made = [nn.Sequential(nn.Flatten(), nn.Linear(16, 3)) for _ in range(2)]
    for seed, network in enumerate(made):
        nn.init.normal_(network[1].weight, generator=generator(seed, "weights"))
        nn.init.zeros_(network[1].bias)
    return made


def look(epoch, member, network):
    return [{"norm": network[1].weight.norm().item()}]


def trained(epochs, path=None, *, watch=look, watch_at=(2,), **recipe):
    settings = Recipe(epochs=epochs, batch=6, learning_rate=1e-2, **recipe)
    data = LabelledViews(IMAGES, LABELS, (0, 1), 3)
    return train(networks(), data, "mse", settings, watch=watch, watch_at=watch_at, checkpoint=path)


def test_the_look_at_the_former_end_is_dropped(tmp_path):
    trained(4, tmp_path / "run.pt")
    longer = trained(6, tmp_path / "run.pt")
    assert longer.watched["epoch"].tolist() == [0, 0, 2, 2, 6, 6]
    assert longer.watched.equals(trained(6).watched)


def test_the_look_at_the_former_end_stays_where_it_is_asked_for(tmp_path):
    trained(4, tmp_path / "run.pt", watch_at=(2, 4))
    longer = trained(6, tmp_path / "run.pt", watch_at=(2, 4))
    assert longer.watched.equals(trained(6, watch_at=(2, 4)).watched)


def test_a_network_that_had_stopped_keeps_its_last_look(tmp_path):
    stopping = {"stop_at": 0.4, "stop_after": 2}
    trained(28, tmp_path / "run.pt", **stopping)
    longer, straight = trained(60, tmp_path / "run.pt", **stopping), trained(60, **stopping)
    assert min(straight.epochs) < 28 < max(straight.epochs)
    assert longer.epochs == straight.epochs
    assert longer.watched.equals(straight.watched)


def test_the_same_command_again_keeps_the_last_look(tmp_path):
    first = trained(4, tmp_path / "run.pt")
    assert trained(4, tmp_path / "run.pt").watched.equals(first.watched)


@pytest.mark.parametrize(
    ("then", "missed"), [({"watch_at": (1, 2)}, r"\[1\]"), ({"watch_at": (3,)}, r"\[3\]"), ({}, r"\[0, 2\]")]
)
def test_looks_that_were_not_taken_cannot_be_made_up_for(tmp_path, then, missed):
    trained(4, tmp_path / "run.pt", watch=look if then else None)
    with pytest.raises(
        ValueError, match=rf"run\.pt passed epochs {missed} without the look that watch and watch_at"
    ):
        trained(6, tmp_path / "run.pt", **then)


def test_a_checkpoint_may_be_named_by_a_string(tmp_path):
    trained(2, str(tmp_path / "run.pt"))
    assert (tmp_path / "run.pt").is_file()
    assert trained(2, str(tmp_path / "run.pt")).epochs == [2, 2]


def test_a_folder_is_no_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint='.*' is a folder; give the name of a file in it"):
        trained(2, tmp_path)


@pytest.mark.parametrize("every", [0, 2.5])
def test_checkpoints_are_written_after_whole_epochs(every):
    data = LabelledViews(IMAGES, LABELS, (0, 1), 3)
    with pytest.raises(ValueError, match=f"checkpoint_every={every}; allowed: a whole number of epochs >= 1"):
        train(networks(), data, "mse", Recipe(epochs=1, batch=6), checkpoint_every=every)
