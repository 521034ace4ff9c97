"""Probes of a network on a GPU: the same neighbors and the same report as on the processor."""

import copy

import pytest
import torch
from torch import nn

from memorization.data.image_sets import load_images
from memorization.measures.probes import nearest
from memorization.studies.benign_memorization.own_network import memorization_report

pytestmark = pytest.mark.gpu


def noisy(images, chance, strength=1.0):
    noise = torch.randn(images.shape, generator=chance).to(images.device)
    return images + 0.1 * strength * noise


def test_neighbors_with_ties_are_the_same_on_a_gpu():
    source = torch.Generator().manual_seed(0)
    rows = torch.randint(0, 2, (3000, 6), generator=source).float() * 2 - 1
    there = nearest(rows.cuda(), rows[:500].cuda(), 20)
    assert torch.equal(there.indices.cpu(), nearest(rows, rows[:500], 20).indices)


def test_a_report_is_the_same_on_a_gpu():
    images = load_images("digits", "all")
    pixels = images.pixels[:600] / 16
    labels = torch.randint(0, 10, (200,), generator=torch.Generator().manual_seed(17))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10))
    given = [pixels[:200], labels, images.labels[:200], pixels[200:], images.labels[200:600], noisy]
    initial = copy.deepcopy(model)
    here = memorization_report(model, initial, *given, embedding="3").table
    there = memorization_report(model.cuda(), initial.cuda(), *given, embedding="3").table
    assert there["site"].tolist() == here["site"].tolist()
    for column in here.columns.drop("site"):
        # a similarity that differs in the last bit may move the vote of a few images
        assert there[column].tolist() == pytest.approx(here[column].tolist(), abs=0.02)
