"""Views made on a GPU: the random numbers are the same bits, the pictures the same up to rounding."""

import pytest
import torch

from memorization.data.augmentation.mixing import cutmix, mixup
from memorization.data.augmentation.policies import PLANS, augmentation
from memorization.data.augmentation.small_images import SMALL_IMAGES
from memorization.draws import Draws, generator, view_keys, view_labels, view_number

pytestmark = pytest.mark.gpu
NAMES = [*PLANS, "myrandaugment", 1.0, *SMALL_IMAGES]


def test_numbers_from_keys_are_the_same_bits_on_a_gpu():
    examples = torch.arange(5000)
    here, there = view_keys(3, examples, 7), view_keys(3, examples.cuda(), 7)
    assert torch.equal(there.cpu(), here)
    cpu, gpu = Draws.keyed(here), Draws.keyed(there)
    assert torch.equal(gpu.uniform(9).cpu(), cpu.uniform(9))
    assert torch.equal(gpu.integers(1000, 9).cpu(), cpu.integers(1000, 9))
    assert (gpu.normal(9).cpu() - cpu.normal(9)).abs().max() < 1e-5
    for function, last in ((view_number, 5), (view_labels, 10)):
        first = (2, examples) if function is view_number else (2, examples, 4)
        moved = tuple(v.cuda() if isinstance(v, torch.Tensor) else v for v in first)
        rest = (last, 0) if function is view_number else (last,)
        assert torch.equal(function(*moved, *rest).cpu(), function(*first, *rest))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("strength", ["number", "one per image"])
def test_a_policy_gives_the_same_views_on_a_gpu(name, strength):
    images, policy = torch.rand(64, 3, 32, 32, generator=generator(0, "images")), augmentation(name)
    keys = view_keys(0, torch.arange(64), 0)
    s = 0.7 if strength == "number" else torch.linspace(0, 1, 64)
    here = policy(images, Draws.keyed(keys), s)
    there = policy(images.cuda(), Draws.keyed(keys.cuda()), s.cuda() if isinstance(s, torch.Tensor) else s)
    different = ~((there.cpu() - here).abs() < 1e-4)
    assert different.double().mean() < 0.01  # thresholds and nearest pixels can fall to the other side


@pytest.mark.parametrize("mix", [mixup, cutmix])
def test_mixing_is_the_same_on_a_gpu(mix):
    images, labels = torch.rand(2, 8, 3, 8, 8), torch.arange(8).expand(2, -1)
    here = mix(images, labels, 8, generator(0, "x"), targets="mixed")
    there = mix(images.cuda(), labels.cuda(), 8, generator(0, "x"), targets="mixed")
    for cpu, gpu in zip(here, there, strict=True):
        assert (gpu.cpu() - cpu).abs().max() < 1e-6
