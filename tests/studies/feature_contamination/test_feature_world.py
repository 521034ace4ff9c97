"""Where stacked networks learn and are tested: what arms and seeds share."""

import pytest
import torch

from memorization.studies.feature_contamination.data import StructuredFeatures
from memorization.studies.feature_contamination.networks import ArmStack, FeatureArm, FeatureWorld

CORE, BACKGROUND = 3, 2
PLAIN = FeatureArm()


def world(arms=(PLAIN,), seeds=(0, 1), ambient=0, examples=0, test=7, labels="linear"):
    features = StructuredFeatures(CORE, BACKGROUND, labels)
    return FeatureWorld.draw(features, ArmStack(tuple(arms), tuple(seeds)), ambient, examples, test)


def test_arms_of_a_seed_share_fresh_examples_and_seeds_do_not():
    x, labels = world([PLAIN, FeatureArm(rate=0.1)]).batches(4)(0)
    assert (x.shape, labels.shape) == ((4, 4, 5), (4, 4, 1))
    assert torch.equal(x[:2], x[2:])
    assert not torch.equal(x[0], x[1])


def test_every_batch_is_fresh():
    batches = world().batches(4)
    assert not torch.equal(batches(0)[0], batches(1)[0])


def test_training_starts_with_the_same_batches_each_time():
    made = world()
    assert torch.equal(made.batches(4)(0)[0], made.batches(4)(0)[0])


@pytest.mark.parametrize("examples", [0, 6])
def test_a_seed_gives_the_same_world_alone_and_among_others(examples):
    alone, among = (world(seeds=seeds, ambient=6, examples=examples) for seeds in ((1,), (0, 1)))
    assert torch.equal(alone.batches(4)(0)[0][0], among.batches(4)(0)[0][1])
    assert torch.equal(alone.test_inputs(-1.0)[0], among.test_inputs(-1.0)[1])
    assert torch.equal(alone.dictionaries[0], among.dictionaries[1])


def test_the_number_of_test_examples_does_not_change_training():
    assert torch.equal(world(test=7).batches(4)(0)[0], world(test=50).batches(4)(0)[0])


def test_test_examples_are_not_those_of_training():
    made = world(examples=8, test=8)
    fresh = world(test=8).batches(8)(0)[0][..., :CORE]
    for trained in (made.fixed.core, fresh):
        assert not torch.equal(made.tested.core.abs(), trained.abs())


def test_ambient_inputs_are_latent_ones_in_the_dictionary():
    latent, ambient = world([PLAIN, PLAIN]), world([PLAIN, PLAIN], ambient=9)
    x = ambient.test_inputs(-1.0)
    assert x.shape == (4, 7, 9)
    torch.testing.assert_close(x @ ambient.dictionaries.mT, latent.test_inputs(-1.0))
    assert torch.equal(ambient.dictionaries[0], ambient.dictionaries[2])  # arms of a seed share it
    assert not torch.equal(ambient.dictionaries[0], ambient.dictionaries[1])


def test_fixed_examples_come_all_at_once_at_each_step():
    batches = world(examples=6).batches(4)
    (x, labels), (again, _) = batches(0), batches(1)
    assert x.shape == (2, 6, 5)
    assert torch.equal(x, again)
    assert (labels.sum(1) == 0).all()


def test_fixed_environments_say_nothing_about_the_label():
    x, labels = world([FeatureArm(environment=-1.0)], examples=40).training_examples()
    second = (x[..., CORE:] < 0).all(-1)
    assert (second.sum(1) == 20).all()
    assert (labels[..., 0][second].view(2, 20).sum(1) == 0).all()


def test_training_cores_are_fixed_and_have_other_backgrounds():
    made = world(examples=6)
    x, (trained, _) = made.training_cores(-1.0), made.training_examples()
    assert torch.equal(x[..., :CORE], trained[..., :CORE])
    assert (x[..., CORE:] <= 0).all()
    assert not torch.equal(-x[..., CORE:], trained[..., CORE:])


def test_test_inputs_out_of_distribution_keep_core_and_negate_background():
    made = world()
    inside, outside = made.test_inputs(None), made.test_inputs(-1.0)
    assert torch.equal(inside[..., :CORE], outside[..., :CORE])
    assert torch.equal(inside[..., CORE:], -outside[..., CORE:])


def test_labels_of_seeds_are_repeated_for_each_arm():
    made = world([PLAIN, PLAIN, PLAIN])
    for_all = made.for_all(made.tested.labels)
    assert torch.equal(for_all, torch.cat([made.tested.labels] * 3))


def test_a_world_on_its_own_device_is_the_same():
    made = world([FeatureArm(flip=0.5)], ambient=6, examples=6)
    moved = made.to("cpu")
    assert torch.equal(moved.batches(4)(0)[0], made.batches(4)(0)[0])
    assert torch.equal(moved.training_cores(-1.0), made.training_cores(-1.0))


def test_without_fixed_examples_there_is_nothing_to_return():
    with pytest.raises(ValueError, match="there are no fixed training examples; give examples >= 1"):
        world().training_examples()
    with pytest.raises(ValueError, match="there are no fixed training examples"):
        world().training_cores(-1.0)
