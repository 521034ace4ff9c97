"""What stacked networks see: their own views, labels and order, the same whenever asked."""

import itertools

import pytest
import torch

from memorization.data.augmentation.policies import augmentation
from memorization.draws import generator
from memorization.training.batches import FreshBatches, LabelledViews, TensorBatches

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


OWN = torch.rand(3, N, 1, 8, 8, generator=generator(0, "own images"))


def own_views(**more):
    given = {"policy": augmentation("small_digits"), "strength": torch.tensor([0.0, 0.5, 1.0]), **more}
    return LabelledViews(OWN, LABELS, (0, 1, 2), C, **given)


def test_images_of_ones_own_are_shown_to_their_network_alone():
    plain, _ = own_views(policy=None).batch(EVERY.flip(1), 1)
    assert torch.equal(plain, OWN.flip(1))
    assert torch.equal(own_views().images_of(2), OWN[2])
    assert torch.equal(views().images_of(2), IMAGES)


@pytest.mark.parametrize("members", [[2], [2, 0]])
def test_networks_with_images_of_their_own_see_the_same_without_the_others(members):
    whole, _ = own_views().batch(EVERY, 2)
    some, _ = own_views().take(members).batch(EVERY[: len(members)], 2)
    assert torch.equal(some, whole[members])


def test_views_of_shared_images_are_those_of_images_of_ones_own_that_are_alike():
    alike = LabelledViews(IMAGES.expand(3, *IMAGES.shape), LABELS, (0, 1, 2), C, augmentation("small_digits"))
    assert torch.equal(alike.batch(EVERY, 3)[0], views(strength=torch.ones(1)).batch(EVERY, 3)[0])


def test_bytes_of_ones_own_are_scaled():
    plain, _ = LabelledViews((OWN * 255).byte(), LABELS, (0, 1, 2), C).batch(EVERY, 0)
    torch.testing.assert_close(plain, OWN, atol=1 / 255, rtol=0)


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
        (
            {"images": IMAGES.expand(2, *IMAGES.shape)},
            ValueError,
            r"images have shape \(2, 30, 1, 8, 8\) for 3 networks; allowed: \(N, c, height, width\), shared "
            r"by all, or \(3, N, c, height, width\), each network's own",
        ),
        (
            {"images": IMAGES.expand(3, *IMAGES.shape)[:, :9]},
            ValueError,
            "9 images but 30 labels for each network",
        ),
        ({"images": 2 * IMAGES.expand(3, *IMAGES.shape)}, ValueError, "images have values from"),
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


NUMBERS = torch.arange(12.0).view(12, 1)
CLASSES_OF = torch.tensor([[0] * 8 + [1] * 3 + [3], [1] * 12])


def tensors(**more):
    return TensorBatches(NUMBERS, CLASSES_OF, (0, 1), 4, **more)


def first(batches, batch, count, begin=0):
    return list(itertools.islice(batches.stream(batch, begin), count))


def test_each_example_is_shown_once_an_epoch_and_each_network_has_an_order_of_its_own():
    shown = first(tensors(), 4, 6)
    for epoch in (shown[:3], shown[3:]):
        seen = torch.cat([one.examples for one in epoch], 1)
        assert seen.sort(1).values.tolist() == [list(range(12))] * 2
        assert not torch.equal(seen[0], seen[1])
    assert all(torch.equal(one.inputs[..., 0], one.examples.float()) for one in shown)
    assert all(torch.equal(one.targets, CLASSES_OF.gather(1, one.examples)) for one in shown)


@pytest.mark.parametrize("draw", ["shuffle", "whole", "replace", "balanced"])
@pytest.mark.parametrize("begin", [1, 3, 5])
def test_a_stream_goes_on_from_any_step(draw, begin):
    straight, later = first(tensors(draw=draw), 4, 7)[begin:], first(tensors(draw=draw), 4, 7 - begin, begin)
    assert all(torch.equal(a.examples, b.examples) for a, b in zip(straight, later, strict=True))


@pytest.mark.parametrize("draw", ["shuffle", "replace", "balanced"])
def test_a_network_sees_the_same_alone(draw):
    both, alone = first(tensors(draw=draw), 4, 4), first(tensors(draw=draw).take([1]), 4, 4)
    assert all(torch.equal(a.examples[1:], b.examples) for a, b in zip(both, alone, strict=True))


def test_the_whole_set_comes_at_each_step():
    (one,) = first(tensors(draw="whole"), 4, 1)
    assert one.inputs.shape == (2, 12, 1)
    assert tensors(draw="whole").steps(4) == 1


def test_the_whole_set_is_shown_as_it_lies_without_a_copy():
    own = torch.stack([NUMBERS, NUMBERS + 1])
    for inputs, more in ((NUMBERS, {}), (own, {"own": True})):
        for one in first(TensorBatches(inputs, CLASSES_OF, (0, 1), 4, draw="whole", **more), 4, 3, begin=2):
            assert one.inputs.data_ptr() == inputs.data_ptr()
            assert torch.equal(one.inputs, inputs.expand(2, *NUMBERS.shape))
            assert torch.equal(one.targets, CLASSES_OF)
            assert one.examples.tolist() == [list(range(12))] * 2


def test_balanced_draws_show_each_class_that_is_there_as_often():
    seen = torch.cat([one.targets[0] for one in first(tensors(draw="balanced"), 12, 500)])
    counts = torch.bincount(seen, minlength=4)
    assert counts[2] == 0
    assert ((counts[[0, 1, 3]] - 2000).abs() < 5 * (6000 * 2 / 9) ** 0.5).all()
    examples = torch.cat([one.examples[0] for one in first(tensors(draw="balanced"), 12, 500)])
    of_first = torch.bincount(examples[examples < 8], minlength=8)
    assert (of_first - of_first.float().mean()).abs().max() < 5 * (of_first.float().mean()) ** 0.5


def test_inputs_of_ones_own_go_with_their_network():
    own = torch.stack([NUMBERS, NUMBERS + 100])
    one = first(TensorBatches(own, CLASSES_OF, (0, 1), 4, own=True), 4, 1)[0]
    assert torch.equal(one.inputs[..., 0], one.examples + torch.tensor([[0.0], [100.0]]))


def test_fresh_batches_are_drawn_in_their_order_and_thinned():
    asked = []

    def draw(step):
        asked.append(step)
        return torch.full((3, 2, 1), float(step)) + torch.arange(3.0).view(3, 1, 1), torch.zeros(3, 2, 1)

    seen = first(FreshBatches(draw, (0, 1, 2)).take([2, 0]).take([1]), 9, 3)
    assert asked == [0, 1, 2]
    assert [one.inputs[:, 0, 0].tolist() for one in seen] == [[0.0], [1.0], [2.0]]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"inputs": NUMBERS.numpy()}, r"inputs is a ndarray; allowed: a tensor, such as torch.from_numpy"),
        ({"targets": CLASSES_OF[0]}, r"targets of shape \(12,\) for 2 networks; allowed: targets \(M, N"),
        ({"inputs": NUMBERS[:5]}, r"inputs of shape \(5, 1\).*allowed"),
        ({"draw": "random"}, "unknown draw 'random'.*choose one of shuffle, whole, replace, balanced"),
        ({"classes": 2}, r"labels must be in 0..1; got 0..3"),
        ({"classes": 0, "draw": "balanced"}, "draw='balanced' needs class numbers; give classes=C"),
        ({"seeds": ()}, "one or more whole numbers"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(given, message):
    options = {"inputs": NUMBERS, "targets": CLASSES_OF, "seeds": (0, 1), "classes": 4}
    with pytest.raises((ValueError, TypeError), match=message):
        TensorBatches(**options | given)


def test_a_batch_larger_than_the_examples_is_no_step():
    assert tensors().steps(5) == 2
    with pytest.raises(ValueError, match="batch=13 is larger than the 12 examples"):
        tensors().steps(13)


def test_fresh_batches_of_all_networks_are_passed_on_as_they_are_drawn():
    drawn = torch.rand(2, 3, 4), torch.rand(2, 3)
    all_of_them = FreshBatches(lambda step: drawn, (7, 8)).take([0, 1])
    assert next(all_of_them.stream(3)).inputs is drawn[0]
    swapped = next(FreshBatches(lambda step: drawn, (7, 8)).take([1, 0]).stream(3))
    assert torch.equal(swapped.inputs, drawn[0].flip(0))
