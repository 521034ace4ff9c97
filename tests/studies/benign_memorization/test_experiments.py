"""The experiments in seconds, and the settings of the page that do not fit together."""

import itertools
from pathlib import Path

import pandas as pd
import pytest
import torch

from memorization.data.augmentation.policies import augmentation
from memorization.data.splits import memorized_split, splits_of
from memorization.runs.parameters import PROFILES, declared_parameters, profile_values
from memorization.studies.benign_memorization.experiments import (
    SCALES,
    _training_set,
    check_relations,
    checkpoint_folders,
    core_arms,
    longest_first,
    memorize,
    mixer,
    pixel_probe,
    scale,
)

SMALL = {
    "memorized": 60,
    "reference": 80,
    "test": 100,
    "widths": [4, 6, 8],
    "hidden": [16],
    "k": 5,
    "recipe": {"epochs": 4, "batch": 20},
}


def table(seeds=(0, 1), **more):
    rows = memorize(**{**SMALL, **more}, seeds=list(seeds))
    return pd.concat(
        [pd.DataFrame(one).assign(seed=s) for s, one in zip(seeds, rows, strict=True)], ignore_index=True
    )


def test_every_site_is_probed_at_the_start_between_and_at_the_end():
    rows = table(probe_at=[2])
    assert rows.groupby("seed").size().tolist() == [15, 15]
    assert rows["at"].unique().tolist() == ["start", "during", "end"]
    assert rows["site"].unique().tolist() == ["conv1", "conv2", "embedding", "hidden", "logits"]
    assert (
        rows[["clean_probe", "noise_probe", "clean_view", "fresh_view"]]
        .apply(lambda c: c.between(0, 1))
        .all(axis=None)
    )
    start = rows[rows["at"] == "start"]
    assert start["uncalibrated_probe"].notna().all()
    assert (start["uncalibrated_probe"] != start["clean_probe"]).any()
    assert rows.loc[rows["at"] != "start", "batch_accuracy"].notna().all()


@pytest.mark.parametrize("seeds", [(), (0, 0), (-1,)])
def test_no_seed_or_one_twice_is_refused_by_name(seeds):
    with pytest.raises(ValueError, match=r"seeds=\[.*\]; allowed: a list of one or more whole numbers >= 0"):
        table(seeds=seeds)


def test_all_arms_of_a_seed_start_from_the_same_network():
    first, second = table(strength=0.0), table(strength=0.5, views=3)
    columns = ["site", "clean_probe", "noise_probe", "invariance"]
    start = [one.loc[one["at"] == "start", columns].reset_index(drop=True) for one in (first, second)]
    pd.testing.assert_frame_equal(*start)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"split": "seed"},
        {"split": "seed", "mix": "mixup"},
        {"split": "seed", "views": 3},
        {"split": "seed", "views": 3, "view_labels": "independent"},
        {"split": "seed", "noise": 0.5, "strength": 0.0},
    ],
)
def test_a_seed_gives_the_same_rows_alone_and_with_others(given):
    both, alone = table(seeds=(0, 1), **given), table(seeds=(1,), **given)
    mine = both[both["seed"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone, atol=0.051)  # rounding grows over the steps; 60 images


def test_each_seed_memorizes_and_is_tested_on_images_of_its_own_where_asked_for():
    sizes = {"memorized": 60, "reference": 80, "test": 100}
    (fixed, same), (one, other) = (
        splits_of(how, "digits", sizes, [0, 1], "cpu") for how in ("fixed", "seed")
    )
    assert fixed is same
    for part in ("memorized", "reference", "test"):
        drawn = [getattr(each, part).images for each in (fixed, one, other)]
        assert not any(torch.equal(*pair) for pair in itertools.combinations(drawn, 2))
    (again,) = splits_of("seed", "digits", sizes, [1], "cpu")
    assert torch.equal(again.test.images, other.test.images)
    images, labels = _training_set([one, other], 0.0, 1, [0, 1])
    assert torch.equal(images, torch.stack([each.memorized.floats() for each in (one, other)]))
    assert torch.equal(labels, torch.stack([each.memorized.labels for each in (one, other)]))


def test_the_random_labels_of_a_seed_do_not_depend_on_its_split():
    fixed, own = (splits_of(how, "digits", {"memorized": 60}, [0, 1], "cpu") for how in ("fixed", "seed"))
    assert torch.equal(_training_set(fixed, 1.0, 1, [0, 1])[1], _training_set(own, 1.0, 1, [0, 1])[1])


def test_a_network_is_watched_on_the_images_that_it_memorizes():
    recipe = {"epochs": 100, "batch": 20, "learning_rate": 5e-3}
    end = table(split="seed", strength=0.0, recipe=recipe).query("at == 'end'")
    assert (end["clean_view"] > 0.9).all()  # of other images it would know the random labels by chance only
    assert (end.query("site == 'logits'")["noise_probe"] > 0.6).all()
    bank = table(split="seed", strength=0.5, views=2, recipe=recipe).query("at == 'end'")
    assert (bank["bank_view"] > 0.8).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"split": "seeds"}, "unknown split 'seeds'; did you mean 'seed'"),
        (
            {"split": "seed", "group": 3},
            r"group=3 with split='seed': .* another number of groups, .*; give split='fixed', or group=1",
        ),
    ],
)
def test_a_split_that_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        table(**given)


def test_the_accuracy_on_fixed_views_is_of_those_views():
    rows = table(strength=0.5, views=2, recipe={"epochs": 150, "batch": 20, "learning_rate": 5e-3})
    end = rows[rows["at"] == "end"]
    assert (end["bank_view"] > 0.9).all()
    assert (end["fresh_view"] < end["bank_view"]).all()
    assert table(strength=0.5)["bank_view"].isna().all()


def test_independent_labels_are_no_labels_of_the_image():
    recipe = {"epochs": 200, "batch": 20, "learning_rate": 5e-3}
    end = table(strength=0.5, views=2, view_labels="independent", recipe=recipe).query("at == 'end'")
    assert (end["bank_view"] > 0.8).all()
    assert (end["clean_view"] < 0.5).all()


def test_true_labels_are_learned():
    end = table(noise=0.0, strength=0.0, recipe={"epochs": 40, "batch": 20}).query("at == 'end'")
    assert (end["test_accuracy"] > 0.3).all()


def test_groups_share_one_random_label_and_one_true_class():
    split = memorized_split("digits", memorized=200, reference=200)
    images, labels = _training_set([split, split], 1.0, 5, [0, 1])
    assert len(images) == labels.shape[1]
    groups = labels[0].view(-1, 5)
    assert (groups == groups[:, :1]).all()
    assert len(groups[:, 0].unique()) > 1
    true = {
        pixels.numpy().tobytes(): y
        for pixels, y in zip(split.memorized.floats(), split.memorized.labels, strict=True)
    }
    classes = torch.stack([true[pixels.numpy().tobytes()] for pixels in images]).view(-1, 5)
    assert (classes == classes[:, :1]).all()


def test_mixing_is_chosen_by_name():
    assert mixer("none") is None
    images, labels = torch.rand(6, 1, 4, 4), torch.arange(6) % 3
    _, first = mixer("mixup")(images, labels, 3, torch.Generator().manual_seed(1))
    assert torch.equal(first.argmax(1), labels)
    assert set(first.unique().tolist()) == {0.0, 1.0}
    _, soft = mixer("mixup_mixed")(images, labels, 3, torch.Generator().manual_seed(1))
    torch.testing.assert_close(soft.sum(1), torch.ones(6))
    with pytest.raises(
        ValueError, match="unknown mix 'blend'; choose one of none, mixup, mixup_mixed, cutmix, cutmix_mixed"
    ):
        mixer("blend")


def test_a_checkpoint_is_kept_where_a_folder_is_given(tmp_path):
    table(checkpoints=str(tmp_path))
    assert len(list(tmp_path.glob("small_cnn-*.pt"))) == 1
    table(checkpoints=str(tmp_path), split="seed")  # of other images: in a file of its own
    assert len(list(tmp_path.glob("small_cnn-*.pt"))) == 2


@pytest.mark.parametrize("split", ["fixed", "seed"])
def test_a_prolonged_run_has_the_records_of_an_undisturbed_one(tmp_path, split):
    longer = {"recipe": {"epochs": 6, "batch": 20}, "probe_at": [2], "split": split}
    table(checkpoints=str(tmp_path), probe_at=[2], split=split)
    prolonged = table(checkpoints=str(tmp_path), **longer)
    pd.testing.assert_frame_equal(prolonged, table(**longer))
    assert prolonged.groupby("at", sort=False)["epoch"].unique().map(list).to_dict() == {
        "start": [0],
        "during": [2],
        "end": [6],
    }


def test_each_arm_has_its_own_folder_of_checkpoints_whatever_its_epochs(tmp_path):
    folder = checkpoint_folders(tmp_path)
    one, other = {"strength": 0.5, "recipe": {"epochs": 5}}, {"strength": 0.0, "recipe": {"epochs": 5}}
    assert folder(one) != folder(other)
    assert folder(one) == folder({**one, "recipe": {"epochs": 9}})
    for point in (one, other):  # two arms, one after the other, in the same place
        table(strength=point["strength"], checkpoints=folder(point))


def test_the_core_arms_differ_in_augmentation_and_labels_only():
    plain, augmented, true = core_arms(0.5, (3, 8, 2), {"batch": 10})
    assert (plain["strength"], augmented["strength"], true["noise"]) == (0.0, 0.5, 0.0)
    assert [arm["recipe"]["epochs"] for arm in longest_first([plain, true, augmented])] == [8, 3, 2]
    assert augmented["recipe"]["batch"] == 10


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_names_arguments_that_the_experiment_takes(name):
    from memorization.runs.sweep import _bound as bound_point

    for arm in scale(name).arms:
        bound_point(memorize, arm, {}, stacked=True)


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="unknown scale 'cifar1'; did you mean 'cifar10'"):
        scale("cifar1")


def test_the_probe_on_raw_pixels_gives_the_numbers_that_others_measured_on_the_same_digits():
    assert pixel_probe()["pixel_probe"] == pytest.approx(0.911, abs=5e-4)
    sizes = {"memorized": 1200, "reference": 1200, "test": 597}
    assert pixel_probe(**sizes)["pixel_probe"] == pytest.approx(0.973, abs=5e-4)


ROOT = Path(__file__).resolve().parents[3]
PAGE = {name: p.default for name, p in declared_parameters(ROOT, "benign_memorization").items()}


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_of_the_page_fits_together(profile):
    check_relations({**PAGE, **profile_values(ROOT, "benign_memorization", profile)})


MNIST = {"dataset": "mnist", "side": 14, "n_test": 2000, "policy": "small_mnist", "scales": ["cifar10"]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"k": 500},
            r"k = 500; allowed: 1..399 \(k neighbors are sought among reference = 400 images",
        ),
        ({"k": 400}, r"k = 400; allowed: 1..399 .* by the noise probe among the memorized = 400 without"),
        ({"memorized": 500}, r"memorized = 500; allowed: 1..400 .* reference = 400: give a larger one"),
        (
            {"reference": 1797},
            r"reference = 1797; allowed: 1..1796 \(digits has 1797 images, one of them for the test",
        ),
        (
            {**MNIST, "reference": 60_001},
            r"reference = 60001; allowed: 1..60000 \(mnist has 60000 images to train",
        ),
        ({**MNIST, "n_test": 10_001}, r"n_test = 10001; allowed: 1..10000 \(mnist, all of its test half"),
        ({"n_test": 1398}, r"n_test = 1398; allowed: 1..1397 \(digits, all that is left of 1797 images\)"),
        ({"side": 5}, r"side = 5; allowed: \[1, 2, 4, 8\], which divide the 8 pixels of digits"),
        (
            {"batch": 401},
            r"batch = 401; allowed: 2..400 \(a step takes one whole batch of the memorized = 400",
        ),
        (
            {"policy": "full"},
            r"policy = 'full' changes colors, and digits is gray; allowed: small_digits, small_m",
        ),
        (
            {"scales": ["mnist", "cifar_10"]},
            r"scales holds 'cifar_10'; did you mean 'cifar10'\?; allowed: digits,",
        ),
        (
            {"strides": [1, 2]},
            r"strides = \[1, 2\]; allowed: 3 numbers, one for each of widths = \[16, 32, 64\]",
        ),
    ],
)
def test_settings_that_do_not_fit_together_are_told(given, message):
    with pytest.raises(ValueError, match=message) as told:
        check_relations({**PAGE, **given})
    assert len(str(told.value).splitlines()) == 1


def test_all_that_does_not_fit_is_told_at_once():
    with pytest.raises(ValueError, match="memorized = 1797") as told:
        check_relations({**PAGE, "memorized": 1797, "k": 5000, "batch": 4000})
    assert [line.split()[0] for line in str(told.value).splitlines()] == ["memorized", "k", "batch"]


def test_a_perceptron_needs_no_strides():
    check_relations({**PAGE, "architecture": "mlp", "strides": [1]})


@pytest.mark.parametrize("name", ["small_digits", "small_mnist", "small_fashion", "isometry"])
def test_the_policies_that_gray_images_are_sent_to_change_no_colors(name):
    assert not augmentation(name).plan.colors
