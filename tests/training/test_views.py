"""What stacked networks see: their own views, labels and order, the same whenever asked."""

import pytest
import torch

from memorization.data.augmentation.policies import augmentation
from memorization.draws import generator
from memorization.training.batches import LabelledViews

N, C = 30, 4
IMAGES = torch.rand(N, 1, 8, 8, generator=generator(0, "images"))
LABELS = torch.randint(C, (3, N), generator=generator(0, "labels"))
EVERY = torch.arange(N).expand(3, N)


def views(**more):
    given = {"policy": augmentation("small_digits"), "strength": torch.tensor([0.0, 0.5, 1.0]), **more}
    return LabelledViews(IMAGES, LABELS, (0, 1, 2), C, **given)


def test_a_view_is_the_same_whenever_it_is_shown():
    data = views(bank=torch.tensor([0, 3, 3]))
    first, _ = data.batch(EVERY[:, :10], 5)
    again, _ = data.batch(EVERY[:, :20], 5)
    assert torch.equal(first, again[:, :10])


def test_networks_have_views_of_their_own_and_one_alone_has_the_same():
    whole, labels = views().batch(EVERY, 2)
    assert not torch.equal(whole[1], whole[2])
    alone, its = views().take([2]).batch(EVERY[:1], 2)
    assert torch.equal(alone[0], whole[2])
    assert torch.equal(its[0], labels[2])


def test_strength_zero_shows_the_images():
    assert torch.equal(views().batch(EVERY, 1)[0][0], IMAGES)


def test_a_bank_has_so_many_views_and_fresh_ones_never_repeat():
    data = views(bank=torch.tensor([1, 4, 0]))
    shown = torch.stack([data.shown(EVERY, visit) for visit in range(40)])  # (visits, M, N)
    assert [len(shown[:, m, 0].unique()) for m in range(3)] == [1, 4, 40]


def test_labels_are_the_images_unless_each_view_has_its_own():
    shared = views(bank=torch.tensor([4]))
    assert torch.equal(shared.label(EVERY, shared.shown(EVERY, 7)), LABELS)
    own = views(bank=torch.tensor([4]), view_labels="independent", strength=torch.ones(1))
    labels = torch.stack([own.label(EVERY, torch.full_like(EVERY, k)) for k in range(4)])
    assert len({tuple(row) for row in labels[:, 0].tolist()}) == 4
    assert torch.equal(labels[1], own.label(EVERY, torch.full_like(EVERY, 1)))


def test_an_epoch_shows_each_example_once_in_an_order_of_its_own():
    order = views().order(0, 10)
    assert order.shape == (3, 3, 10)
    assert order[1].flatten().sort().values.tolist() == list(range(N))
    assert not torch.equal(order[0], order[1])
    assert not torch.equal(order[0], views().order(1, 10)[0])


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"labels": LABELS.float()}, TypeError, "labels are torch.float32; allowed: int64 class numbers"),
        (
            {"labels": LABELS[:2]},
            ValueError,
            r"labels have shape \(2, 30\) for 3 networks; allowed: \(3, N\)",
        ),
        (
            {"labels": LABELS[:, :9]},
            ValueError,
            "30 images but 9 labels for each network; give one label per",
        ),
        ({"labels": LABELS + 1}, ValueError, r"labels must be in 0\.\.3"),
        ({"bank": torch.tensor([-1])}, ValueError, r"bank holds \[-1\]; allowed: numbers >= 0"),
        ({"view_labels": "own"}, ValueError, "view_labels='own'; allowed: shared, independent"),
        ({"view_labels": "independent"}, ValueError, "independent labels need a fixed number of views"),
    ],
)
def test_labels_and_views_that_do_not_fit_are_refused(wrong, error, message):
    given = {"images": IMAGES, "labels": LABELS, "seeds": (0, 1, 2), "classes": C, **wrong}
    with pytest.raises(error, match=message):
        LabelledViews(**given)
