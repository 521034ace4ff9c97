"""Names, ends and gains of the arms of the benign-memorization page, and their table."""

import pandas as pd
import pytest

from memorization.runs.sweep import sweep
from memorization.studies.benign_memorization import tables
from memorization.studies.benign_memorization.experiments import memorize
from memorization.studies.benign_memorization.tables import benign_table, readable


def names(records):
    return list(tables.arm_names(records)["arm"])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"strength": 0.0}, "no augmentation"),
        ({}, "augmentation"),
        ({"views": 1}, "1 view"),
        ({"views": 16}, "16 views"),
        ({"views": 4, "view_labels": "independent"}, "4 views, a label each"),
        ({"noise": 0.0}, "true labels"),
        ({"noise": 0.0, "strength": 0.0}, "true labels, no augmentation"),
        ({"noise": 0.25}, "25 % random labels, augmentation"),
        ({"group": 10, "strength": 0.0}, "groups of 10"),
        ({"group": 10}, "groups of 10, augmentation"),
        ({"mix": "mixup_mixed"}, "augmentation, mixup with mixed labels"),
    ],
)
def test_an_arm_says_labels_and_views_in_words(benign_run, given, name):
    assert set(names(benign_run(**given))) == {name}


def test_the_strength_is_named_where_one_data_set_has_several(benign_run):
    records = pd.concat(
        [
            benign_run(strength=0.5),
            benign_run(strength=1.0),
            benign_run(dataset="cifar10", policy="small_color", strength=1.0),
        ]
    )
    found = list(dict.fromkeys(names(records)))
    assert found == ["augmentation, strength 0.5", "augmentation, strength 1", "augmentation"]


def test_the_end_is_one_row_a_run_at_the_site_that_is_asked_for(benign_run):
    records = benign_run()
    assert tables.at_end(records, "logits")["site"].tolist() == ["logits"] * 2
    assert tables.at_end(records)["epoch"].tolist() == [9] * 2
    assert tables.at_start(records)["epoch"].tolist() == [0] * 2


def test_an_unknown_site_lists_those_there_are(benign_run):
    with pytest.raises(ValueError, match=r"no site 'conv9'; they have conv1, embedding, hidden, logits"):
        tables.at_end(benign_run(), "conv9")


def test_the_gain_compares_each_run_with_its_own_start(benign_run):
    records = pd.concat([benign_run(start=0.8, gain=0.1), benign_run(strength=0.0, start=0.7, gain=-0.05)])
    gains = tables.paired_gain(records.sample(frac=1, random_state=0)).set_index(["strength", "seed"])
    assert gains["gain"].round(6).to_dict() == {
        (0.5, 0): 0.1, (0.5, 1): 0.1, (0.0, 0): -0.05, (0.0, 1): -0.05,
    }  # fmt: skip
    assert gains.loc[(0.5, 1), "probe_start"] == pytest.approx(0.81)


def test_a_run_without_its_start_is_refused(benign_run):
    records = benign_run()
    with pytest.raises(ValueError, match="2 runs have an end and 1 a start"):
        tables.paired_gain(records[(records["at"] == "end") | (records["seed"] == 0)])


def test_the_table_judges_each_arm_at_random_labels_alone(benign_run):
    records = pd.concat(
        [
            benign_run(gain=0.1),
            benign_run(strength=0.0, gain=-0.02),
            benign_run(noise=0.0, gain=0.15),
            benign_run(strength=2.0, policy="other", gain=0.1, clean=0.4),
        ]
    ).pipe(tables.arm_names)
    records.loc[records["policy"] == "other", "arm"] = "too strong"
    table = benign_table(records, 1000).set_index("arm")
    assert table["verdict"].to_dict() == {
        "augmentation": "benign", "no augmentation": "malign", "true labels": "–",
        "too strong": "not memorized",
    }  # fmt: skip
    assert table["agreeing"].tolist() == [2, 2, 0, 2]


def test_fixed_views_are_judged_by_their_own_accuracy(benign_run):
    independent = benign_run(views=4, view_labels="independent", clean=0.1, bank=0.99, gain=0.1)
    assert benign_table(independent, 1000)["verdict"].tolist() == ["benign"]


def test_the_verdict_is_that_of_the_mean_and_its_seeds_are_counted(benign_run):
    records = pd.concat([benign_run(seeds=(0, 1), gain=0.1), benign_run(seeds=(2,), gain=0.0)])
    row = benign_table(records, 1000).iloc[0]
    assert (row["verdict"], row["seeds"], row["agreeing"]) == ("benign", 3, 2)
    assert row["difference"] == pytest.approx(0.2 / 3)
    assert row["low"] < 0 < row["high"]


def test_two_runs_of_one_arm_and_seed_are_refused(benign_run):
    records = pd.concat([benign_run(dataset="digits"), benign_run(dataset="mnist", policy="small_mnist")])
    with pytest.raises(ValueError, match=r"more than one row for arm=augmentation, seed=0"):
        benign_table(records, 1000)
    assert len(benign_table(records, {"digits": 1397, "mnist": 2000}, by=["dataset"])) == 2


def test_more_test_images_make_a_small_gain_benign(benign_run):
    records = pd.concat(
        [
            benign_run(dataset="digits", gain=0.02),
            benign_run(dataset="mnist", policy="small_mnist", gain=0.02),
        ]
    )
    table = benign_table(records, {"digits": 100, "mnist": 100_000}, by=["dataset"])
    assert table["verdict"].tolist() == ["malign", "benign"]


def test_the_page_shows_the_difference_with_its_interval_and_no_empty_column(benign_run):
    text = readable(benign_table(benign_run(gain=-0.1), 1000))
    assert "fixed views" not in text
    assert text["difference [95 % over seeds]"].tolist() == ["−0.100 [−0.100, −0.100]"]
    assert text["verdict"].tolist() == ["malign (2 of 2 seeds)"]


def test_one_seed_has_no_interval(benign_run):
    text = readable(benign_table(benign_run(seeds=(0,)), 1000))
    assert text["difference [95 % over seeds]"].tolist() == ["+0.100"]


def test_real_records_have_the_columns_that_are_measured_and_pair_up():
    records = sweep(
        memorize,
        {"strength": [0.0, 0.5]},
        seeds=2,
        stacked=True,
        fixed={
            "memorized": 40, "reference": 40, "test": 60, "widths": [4, 4, 8], "hidden": [16],
            "recipe": {"epochs": 2, "batch": 20},
        },
        progress=False,
    )  # fmt: skip
    table = benign_table(records, 60)
    assert table["arm"].tolist() == ["no augmentation", "augmentation"]
    assert table["initialization"].nunique() == 1


def test_data_sets_have_their_usual_names_and_sides():
    records = pd.DataFrame(
        {"dataset": ["digits", "mnist", "cifar10", "cifar100"], "side": [8, None, 32, None]}
    )
    assert tables.named_sets(records)["dataset"].tolist() == [
        "digits, 8×8", "MNIST, 14×14", "CIFAR-10, 32×32", "CIFAR-100"
    ]  # fmt: skip


def test_one_row_per_run_lays_sites_side_by_side(benign_run):
    records = benign_run(start=0.8, gain=0.1)
    runs = tables.one_row_per_run(records.assign(_code="x"))
    assert len(runs) == 2
    one = runs.iloc[0]
    mine = records[(records["seed"] == 0) & (records["site"] == "embedding")].set_index("at")
    assert one["probe"] == one["clean_embedding"] == mine.loc["end", "clean_probe"]
    assert one["start"] == one["start_clean_embedding"] == mine.loc["start", "clean_probe"]
    assert one["gain"] == pytest.approx(0.1)
    assert one["early_gain"] == pytest.approx(1 / 3)
    assert (one["epochs"], one["view_order"], one["room"], one["_code"]) == (9, tables.FRESH, 16, "x")
    assert one["augmented"]


def test_the_same_networks_untrained_have_the_same_columns_and_gained_nothing(benign_run):
    records = benign_run(start=0.8, gain=0.1, views=4)
    records["batch_accuracy"] = records["batch_accuracy"].where(records["at"] != "start")
    ends, starts = tables.one_row_per_run(records), tables.one_row_per_run(records, at="start")
    assert list(starts) == list(ends)
    assert starts["seed"].tolist() == [0, 1]
    one = starts.iloc[1]
    assert one["probe"] == one["clean_embedding"] == one["start"] == pytest.approx(0.81)
    assert one["gain"] == 0
    assert (one["clean_view"], one["fresh_view"], one["test_accuracy"]) == (0.1, 0.1, 0.1)
    assert one["noise_logits"] == one["start_noise_logits"] == pytest.approx(0.1)  # 0.1 + 0.02 * 3 * 0
    assert ends.iloc[1]["noise_logits"] == pytest.approx(0.64)  # 0.1 + 0.02 * 3 * 9
    assert starts[["early_gain", "early_memorization", "batch_accuracy"]].isna().all(axis=None)
    given = ["strength", "views", "view_order", "augmented", "noise", "epochs", "room", "projector_layers"]
    pd.testing.assert_frame_equal(starts[given], ends[given])
    assert starts["epochs"].tolist() == [9, 9]


def test_a_table_is_of_the_start_or_of_the_end(benign_run):
    with pytest.raises(ValueError, match=r"unknown at 'begin'.*choose one of start, end"):
        tables.one_row_per_run(benign_run(), at="begin")


@pytest.mark.parametrize("at", ["start", "end"])
def test_an_empty_table_stays_empty(at):
    assert tables.one_row_per_run(pd.DataFrame(), at).empty


def test_a_further_measure_of_the_experiment_needs_no_naming(benign_run):
    records = benign_run(start=0.8, gain=0.1)
    records["sharpness"] = range(len(records))  # differs within a run
    runs = tables.one_row_per_run(records)
    assert len(runs) == 2
    ends = records[records["at"] == "end"].groupby("seed", sort=False)["sharpness"].first()
    assert runs["sharpness"].tolist() == ends.tolist()
