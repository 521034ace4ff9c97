"""Random-label heads on a wide ResNet: the published recipe, what is read of the heads, what is refused."""

import math

import pytest
import torch

from memorization.data.labels import balanced_labels
from memorization.data.splits import memorized_split
from memorization.models.heads import TappedNetwork
from memorization.studies.random_label_heads import paper_scale
from memorization.studies.random_label_heads.paper_scale import random_label_wide

TINY = {
    "dataset": "digits", "side": 8, "n_train": 120, "n_test": 60, "size": (10, 1), "labels": 3, "epochs": 2,
    "sites": ("conv", "embedding"), "recipe": {"batch": 40, "learning_rate": 0.1}, "seed": 0,
}  # fmt: skip


def wide(**more):
    return random_label_wide(**{**TINY, **more})


def rows_at(rows, at):
    return {row["site"]: row for row in rows if row["at"] == at}


@pytest.fixture(scope="module")
def probe():
    return wide()


@pytest.fixture
def seen(monkeypatch):
    """What the training core is given, without a training."""
    calls = {}

    class StoppedError(Exception):
        pass

    def train(networks, batches, objective, recipe, **how):
        calls.update(networks=networks, batches=batches, objective=objective, recipe=recipe, **how)
        raise StoppedError

    monkeypatch.setattr(paper_scale, "train", train)

    def look(**more):
        with pytest.raises(StoppedError):
            wide(**more)
        return calls

    return look


def test_each_look_has_a_row_for_each_site(probe):
    assert [(row["at"], row["epoch"], row["site"]) for row in probe] == [
        (at, epoch, site) for at, epoch in (("start", 0), ("end", 2)) for site in TINY["sites"]
    ]
    assert [row["dimension"] for row in probe[:2]] == [16, 64]
    assert [row["depth"] for row in probe[:2]] == [0, 1]


def test_accuracies_are_fractions_and_absent_only_before_the_first_step(probe):
    names = ("train_accuracy", "test_accuracy", "online", "held_out", "frozen", "fresh", "null")
    for row in probe:
        assert all(0 <= row[name] <= 1 for name in names)
        later = [row[name] for name in ("batch_online", "batch_accuracy", "loss")]
        assert all(math.isnan(value) for value in later) == (row["at"] == "start")


def test_heads_at_zero_tell_the_first_label_of_all(probe):
    """Which is as frequent as the others, up to one in a class."""
    for row in rows_at(probe, "start").values():
        assert row["online"] == pytest.approx(1 / 3, abs=0.05)


def test_the_same_call_gives_the_same_rows(probe):
    assert str(wide()) == str(probe)
    assert str(wide(seed=1)) != str(probe)


def test_dropout_comes_from_the_seed_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    one = wide(dropout=0.3)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert str(wide(dropout=0.3)) == str(one)


def test_a_probe_and_a_lambda_of_zero_leave_the_network_as_it_is(probe):
    silent = wide(mode="unlearning", strength=0.0)
    for one, other in zip(probe, silent, strict=True):
        assert one["train_accuracy"] == other["train_accuracy"]
        assert one["frozen"] == other["frozen"]
    loud = rows_at(wide(mode="joint"), "end")["embedding"]
    assert (
        loud["loss"] > rows_at(probe, "end")["embedding"]["loss"] + 0.5
    )  # class loss, and that of the heads


def test_heads_learn_where_the_trunk_serves_them_and_unlearn_where_it_fights_them():
    common = {"epochs": 30, "augmented": False, "sites": ("embedding",), "smoothing": 0.0}
    found = {
        name: rows_at(wide(**common, **more), "end")["embedding"]
        for name, more in {
            "joint": {"mode": "joint"},
            "probe": {},
            "unlearning": {"mode": "unlearning", "strength": 0.3},
        }.items()
    }
    assert found["joint"]["online"] > 0.9
    assert found["joint"]["online"] > found["probe"]["online"] > found["unlearning"]["online"]
    assert found["joint"]["batch_online"] > found["unlearning"]["batch_online"]
    assert found["probe"]["train_accuracy"] > 0.9
    assert abs(found["joint"]["held_out"] - 1 / 3) < 0.2


def test_batches_say_what_evaluation_says_once_nothing_moves():
    """One batch of all images as they are, a network at rest: its statistics and its heads settle."""
    still = {"batch": 120, "learning_rate": 1e-9, "weight_decay": 0.0}
    row = rows_at(wide(epochs=80, recipe=still, augmented=False), "end")["embedding"]
    assert row["batch_online"] > 0.5
    assert row["batch_online"] == pytest.approx(row["online"], abs=0.03)
    assert row["batch_accuracy"] == pytest.approx(row["train_accuracy"], abs=0.03)


def test_a_lost_training_goes_on_and_ends_alike(tmp_path, probe):
    wide(epochs=1, recipe={**TINY["recipe"], "schedule": "constant", "warmup": 0}, checkpoints=str(tmp_path))
    constant = {**TINY["recipe"], "schedule": "constant", "warmup": 0}
    resumed = wide(recipe=constant, checkpoints=str(tmp_path))
    assert len(list(tmp_path.iterdir())) == 1
    assert str(resumed) == str(wide(recipe=constant))


def test_looks_in_between_are_marked(probe):
    rows = wide(look_at=[1])
    assert [row["at"] for row in rows] == ["start", "start", "during", "during", "end", "end"]
    assert str(rows[4:]) == str(probe[2:])


def test_the_recipe_is_the_published_one(seen):
    recipe = seen(recipe=None, epochs=200)["recipe"]
    assert (recipe.optimizer, recipe.learning_rate, recipe.momentum) == ("sgd", 0.5, 0.9)
    assert (recipe.weight_decay, recipe.batch, recipe.epochs, recipe.warmup) == (5e-4, 256, 200, 1)
    assert recipe.rate(0, 195) == pytest.approx(0.5 / 195)
    assert recipe.rate(100 * 195, 195) == pytest.approx(0.25)


def test_the_loss_smooths_over_the_other_classes_and_acts_where_it_is_asked_to(seen):
    objective = seen(mode="unlearning", strength=0.1, acting=("conv",))["objective"]
    assert objective.smoothing == pytest.approx(0.1 * 10 / 9)
    assert objective.weights.tolist() == [pytest.approx([0.1 * 3, 0.0])]
    assert list(objective.widths) == ["conv", "embedding"]


def test_random_labels_are_those_of_the_seed_balanced_within_each_class(seen):
    images = memorized_split("digits", memorized=120, reference=120, test=60, side=8).memorized
    expected = balanced_labels(torch.arange(120), 3, 5, images.labels)
    assert torch.equal(seen(seed=5)["objective"].labels[0, 0], expected)
    shared = balanced_labels(torch.arange(120), 3, 5)
    assert torch.equal(seen(seed=5, class_wise=False)["objective"].labels[0, 0], shared)


def test_images_are_standardized_by_their_channels_and_cut_out_by_their_mean(seen):
    calls = seen()
    images = memorized_split("digits", memorized=120, reference=120, test=60, side=8).memorized.floats()
    (network,) = calls["networks"].members()
    first = network.network.encoder.conv[0]
    assert float(first.mean) == pytest.approx(float(images.mean()))
    assert float(first.std) == pytest.approx(float(images.double().std(correction=0)))
    assert calls["batches"].policy.func.plan.fill == pytest.approx((float(images.mean()),))
    assert seen(augmented=False)["batches"].policy is None


def test_by_default_every_block_has_a_head(seen):
    assert list(seen(sites=(), size=(16, 1))["objective"].widths) == [
        "conv", "block1", "block2", "block3", "block4", "block5", "block6", "embedding"
    ]  # fmt: skip


def test_a_tapped_wide_resnet_is_one_graph_for_a_compiler():
    network = paper_scale.wide_resnet(depth=10, width=1, generator=paper_scale.generator(0, "weights"))
    x = torch.rand(4, 3, 8, 8)
    tapped = TappedNetwork(network, ["conv", "block2", "embedding"], x).eval()
    compiled = torch.compile(tapped, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), tapped(x))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"size": (15, 1)}, "depth=15; allowed: 6 k . 4 for k blocks in each of three stages"),
        ({"size": 16}, r"size=16; allowed: depth and width of the network, such as \(16, 4\)"),
        ({"size": (16, 4, 1)}, r"size=\(16, 4, 1\); allowed: depth and width of the network"),
        ({"dropout": 1.5}, r"dropout=1.5; allowed: a probability in \[0, 1\)"),
        ({"acting": ("embeding",)}, "unknown acting site 'embeding'; did you mean 'embedding'"),
        ({"mode": "prob"}, "unknown mode 'prob'; did you mean 'probe'"),
        ({"mode": "unlearning"}, "mode='unlearning' needs a strength"),
        ({"mode": "unlearning", "strength": -1.0}, "a negative lambda rewards memorization"),
        ({"strength": 0.1}, "for network 0 in mode 'probe', whose heads only look on"),
        ({"labels": 1}, "labels=1; allowed: a whole number, 2 or more"),
        ({"labels": 100}, r"n=100 random labels, but class \d has \d+ examples"),
        ({"recipe": {"batch": 500}}, "batch=500 is larger than the 120 examples"),
        ({"epochs": 0}, "epochs=0: no optimizer step would be taken"),
        ({"smoothing": 1.0}, r"smoothing=1.0; allowed: a number in \[0, 1\)"),
        ({"side": 5}, "side=5 does not divide that"),
        ({"dataset": "cifar1000"}, "unknown data set 'cifar1000'; did you mean 'cifar100'"),
    ],
)
def test_values_that_do_not_fit_are_refused_before_any_training(wrong, told, monkeypatch):
    monkeypatch.setattr(paper_scale.HeadReader, "__call__", lambda *_: pytest.fail("a look was taken"))
    with pytest.raises(ValueError, match=told):
        wide(**wrong)


def test_a_site_that_is_not_there_is_told_with_those_that_are():
    with pytest.raises(KeyError, match="no site 'block9'; available are conv, block1, block2, block3"):
        wide(sites=("block9",))
