"""One experiment on benign memorization, in seconds."""

import pandas as pd
import pytest
import torch

from memorization.data.splits import memorized_split
from memorization.studies.benign_memorization.experiments import (
    FRESH,
    SCALES,
    _training_set,
    checkpoint_folders,
    core_arms,
    longest_first,
    memorize,
    mixer,
    one_row_per_run,
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
    assert rows.loc[rows["at"] == "start", "uncalibrated_probe"].notna().all()
    assert rows.loc[rows["at"] != "start", "batch_accuracy"].notna().all()


def test_all_arms_of_a_seed_start_from_the_same_network():
    first, second = table(strength=0.0), table(strength=0.5, views=3)
    columns = ["site", "clean_probe", "noise_probe", "invariance"]
    start = [one.loc[one["at"] == "start", columns].reset_index(drop=True) for one in (first, second)]
    pd.testing.assert_frame_equal(*start)


def test_a_seed_gives_the_same_rows_alone_and_with_others():
    both, alone = table(seeds=(0, 1)), table(seeds=(1,))
    mine = both[both["seed"] == 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(mine, alone, atol=0.051)  # rounding grows over the steps; 60 images


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
    images, labels = _training_set(split, 1.0, 5, [0, 1])
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
        ValueError, match="mix='blend'; allowed: none, mixup, cutmix, mixup_mixed, cutmix_mixed"
    ):
        mixer("blend")


def test_a_checkpoint_is_kept_where_a_folder_is_given(tmp_path):
    table(checkpoints=str(tmp_path))
    assert len(list(tmp_path.glob("small_cnn-*.pt"))) == 1


def test_a_prolonged_run_has_the_records_of_an_undisturbed_one(tmp_path):
    longer = {"recipe": {"epochs": 6, "batch": 20}, "probe_at": [2]}
    table(checkpoints=str(tmp_path), probe_at=[2])
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


def test_one_row_per_run_lays_sites_side_by_side():
    rows = table(strength=0.5, probe_at=[1]).assign(
        strength=0.5, noise=1.0, views=0, view_labels="shared", hidden=[[16]] * 30, _code="x"
    )
    runs = one_row_per_run(rows)
    assert len(runs) == 2
    one = runs.iloc[0]
    mine = rows[(rows["seed"] == 0) & (rows["site"] == "embedding")].set_index("at")
    assert one["probe"] == one["clean_embedding"] == mine.loc["end", "clean_probe"]
    assert one["gain"] == pytest.approx(one["probe"] - mine.loc["start", "clean_probe"])
    early = mine.loc["during", "clean_probe"] - one["start"]
    assert one["early_gain"] == pytest.approx(early / one["gain"], nan_ok=True)
    assert (one["epochs"], one["view_order"], one["room"], one["_code"]) == (4, FRESH, 16, "x")
    assert one["augmented"]


def test_an_empty_table_stays_empty():
    assert one_row_per_run(pd.DataFrame()).empty


def test_the_core_arms_differ_in_augmentation_and_labels_only():
    plain, augmented, true = core_arms(0.5, (3, 8, 2), {"batch": 10})
    assert (plain["strength"], augmented["strength"], true["noise"]) == (0.0, 0.5, 0.0)
    assert [arm["recipe"]["epochs"] for arm in longest_first([plain, true, augmented])] == [8, 3, 2]
    assert augmented["recipe"]["batch"] == 10


@pytest.mark.parametrize("name", SCALES)
def test_every_scale_names_arguments_that_the_experiment_takes(name):
    from memorization.runs.grid import bound_point

    for arm in scale(name).arms:
        bound_point(memorize, arm, {}, stacked=True)


def test_an_unknown_scale_is_refused():
    with pytest.raises(ValueError, match="unknown scale 'cifar1'; did you mean 'cifar10'"):
        scale("cifar1")
