"""Planted examples and members: what is planted, which scores find it, and a sentence for bad values."""

import math

import pytest
import torch
from torch.nn import functional as F  # noqa: N812

from memorization.measures.detection import detection
from memorization.measures.scores import read_scores
from memorization.studies.random_label_heads import detection_experiments as use
from memorization.studies.random_label_heads.detection_experiments import (
    PLANTED,
    SCORES,
    planted_examples,
    planted_scores,
    planted_task,
    unlearned_members,
)
from memorization.studies.random_label_heads.experiments import headed_task, random_label_heads
from memorization.training.train import TrainingError

SMALL = {"widths": [12, 8], "count": 3, "n_train": 200, "batch": 40, "epochs": 4, "resamples": 5}
FEW = {**SMALL, "labellings": 2, "frozen_steps": 20, "watch_at": [2]}
LONG = {**FEW, "widths": [24, 16], "n_train": 600, "epochs": 40, "labellings": 6, "watch_at": [5]}


def drawn(seeds=(0, 1), **more):
    sizes = {
        "planted": "wrong labels", "share": 0.1, "labellings": 3, "dataset": "digits", "network": "mlp",
        "widths": [12, 8], "class_wise": True, "count": 3, "n_train": 200, "data_root": None, "device": "cpu",
    }  # fmt: skip
    return planted_task(list(seeds), **{**sizes, **more})


def plain(seeds=(0, 1)):
    sizes = {
        "dataset": "digits", "network": "mlp", "widths": [12, 8], "class_wise": True, "count": 3,
        "sites": "last", "label_noise": 0.0, "dropout": 0.0, "n_train": 200, "n_test": None, "split": "seed",
        "data_root": None, "device": "cpu",
    }  # fmt: skip
    return headed_task(list(seeds), **sizes)


@pytest.fixture(scope="module")
def long():
    """Areas by look and score, means over two seeds, of both kinds of planted examples."""
    found = {}
    for kind in PLANTED:
        rows = planted_examples(planted=kind, **LONG, seeds=[0, 1])
        for row in rows[0] + rows[1]:
            found.setdefault((kind, row["epoch"], row["score"]), []).append(row)
    return found


def mean(rows, name="auroc"):
    return sum(row[name] for row in rows) / len(rows)


# ---- what is planted


def test_planted_labels_are_wrong_and_all_others_right():
    made = drawn()
    assert made.planted.sum(1).tolist() == [20, 20]
    assert torch.equal(made.task.given != made.task.true, made.planted)
    assert torch.equal(made.task.images, plain().images)
    assert len((made.task.given - made.task.true)[made.planted].remainder(10).unique()) == 9


def test_canaries_have_the_pixels_of_their_image_in_another_order_and_a_class_by_lot():
    made, before = drawn(planted="canaries", share=0.5), plain()
    same = (made.task.images == before.images).flatten(2).all(2)
    assert torch.equal(~same, made.planted)
    assert torch.equal(made.task.images.flatten(2).sort(2).values, before.images.flatten(2).sort(2).values)
    moved = made.task.given != made.task.true
    assert not bool(moved[~made.planted].any())
    assert float(moved[made.planted].double().mean()) == pytest.approx(0.9, abs=0.07)  # 200 draws, 3 sd


def test_pixels_move_with_all_their_channels():
    images = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    moved = use._shuffled(images, torch.Generator().manual_seed(1)).flatten(2)
    match = (moved[:, :, :, None] == images.flatten(2)[:, :, None]).all(1)  # (image, place, from where)
    assert torch.equal(match.sum(2), torch.ones(4, 25, dtype=torch.int64))
    assert torch.equal(match.sum(1), torch.ones(4, 25, dtype=torch.int64))
    assert len({tuple(one.tolist()) for one in match.int().argmax(2)}) == 4


def test_labellings_differ_and_the_first_is_that_of_the_page():
    made = drawn(planted="canaries")
    assert made.labels.shape == (2, 3, 200)
    assert not torch.equal(made.labels[0, 0], made.labels[0, 1])
    assert not torch.equal(made.labels[0, 0], made.labels[1, 0])
    for given, labels in zip(made.task.given, made.labels, strict=True):
        for c in range(10):
            counts = torch.stack([each[given == c].bincount(minlength=3) for each in labels])
            assert int((counts.amax(1) - counts.amin(1)).max()) <= 1  # balanced within each class
    whole = use._task([0], dataset="digits", network="mlp", widths=[12, 8], class_wise=True, count=3,
                      n_train=200, data_root=None, device="cpu")  # fmt: skip
    assert torch.equal(use._labelled(whole, 2)[0][0][0], plain([0]).labels[0])
    assert torch.equal(use._labelled(whole, 2)[1][0][0], plain([0]).test_labels[0])


# ---- what finds it


def test_a_row_for_each_seed_look_and_score():
    rows = planted_examples(**FEW, seeds=[0, 1])
    assert [(row["epoch"], row["score"]) for row in rows[0]] == [(e, s) for e in (0, 2, 4) for s in SCORES]
    for row in rows[0] + rows[1]:
        assert {type(value) for value in row.values()} <= {int, float, str}
        for name in ("auroc", "average_precision"):
            assert 0 <= row[f"{name}_low"] <= row[f"{name}_high"] <= 1
        assert all(0 <= row[name] <= 1 for name in ("train", "planted_fitted", "test"))
    assert rows[0] != rows[1]


def test_a_seed_does_not_depend_on_the_others():
    found = [
        (planted_examples(**FEW, seeds=[0, 1])[1], planted_examples(**FEW, seeds=[1])[0]),
        (unlearned_members(**SMALL, seeds=[0, 1])[1], unlearned_members(**SMALL, seeds=[1])[0]),
    ]
    for both, alone in found:
        for one, other in zip(both, alone, strict=True):
            for name in ("auroc", "train", "test"):  # the rank of nearly equal scores is rounding
                assert one[name] == pytest.approx(other[name], abs=0.01)


def test_every_score_is_high_where_a_label_is_wrong(long):
    for score in SCORES:
        assert mean(long["wrong labels", 5, score]) > 0.65
    assert mean(long["wrong labels", 0, "online_heads"]) == 0.5  # heads start at zero
    assert mean(long["wrong labels", 0, "loss"]) == pytest.approx(0.5, abs=0.1)
    assert mean(long["wrong labels", 0, "leverage"]) > 0.65  # of any features, in the class that was given


def test_the_loss_finds_wrong_labels_early_better_than_heads(long):
    assert mean(long["wrong labels", 5, "loss"]) > mean(long["wrong labels", 5, "new_heads"])
    assert mean(long["wrong labels", 5, "loss"]) > mean(long["wrong labels", 40, "loss"])


def test_canaries_are_found_by_heads_and_leverage_in_an_untrained_network(long):
    for score in ("new_heads", "leverage"):
        assert mean(long["canaries", 0, score]) > 0.85
    assert mean(long["canaries", 0, "loss"]) < 0.7


def test_scores_are_what_their_names_say():
    made = drawn([0])
    looks, failed = use._looks(
        made, class_wise=True, epochs=2, batch=40, rate=0.1, head_rate=0.5, watch_at=()
    )
    assert not failed
    network, given = looks[2][0], made.task.given[0]
    found = use.suspicion(made, looks[2], 20)[0]
    with torch.no_grad():
        logits, told = network.with_heads(made.task.images[0], given)
    assert torch.allclose(found["loss"], F.cross_entropy(logits, given, reduction="none"))
    for i in (0, 17, 199):
        row = logits[i].tolist()
        own = row.pop(int(given[i]))
        assert float(found["margin"][i]) == pytest.approx(max(row) - own, abs=1e-5)
        expected = []
        for k in range(3):
            row = told["embedding"][i, k].tolist()
            own = row.pop(int(made.labels[0, k, i]))
            expected.append(own - max(row))
        assert float(found["online_heads"][i]) == pytest.approx(sum(expected) / 3, abs=1e-4)
    rank = sum(float(found["leverage"][given == c].sum()) for c in range(10))
    assert rank == pytest.approx(round(rank), abs=1e-4)


def test_the_training_is_that_of_the_page():
    shared = {**{k: v for k, v in SMALL.items() if k != "resamples"}, "seeds": [0, 1]}
    rows, plain_rows = (
        unlearned_members(**shared, strengths=[0.0, 3.0], resamples=5),
        random_label_heads(**shared),
    )
    unlearned = random_label_heads(**shared, mode="unlearning", strength=3.0)
    for one, probe, hidden in zip(rows, plain_rows, unlearned, strict=True):
        for row in one:
            other = hidden[0] if row["strength"] else probe[0]
            for name in ("train", "test", "online", "held_out"):
                assert row[name] == pytest.approx(other[name], abs=0.006)  # one image of 200, rounding


# ---- scores to download


def test_scores_of_one_seed_are_those_that_were_judged(tmp_path):
    scores = planted_scores(planted="canaries", **FEW, seed=1)
    rows = planted_examples(planted="canaries", **FEW, seeds=[1])[0]
    assert set(scores.columns) == {"true", "given", "planted", *SCORES}
    for row in rows:
        if row["epoch"] == 4:
            found = detection(scores.columns[row["score"]], scores.columns["planted"])
            assert found.auroc == pytest.approx(row["auroc"], abs=1e-6)
    assert scores.made["loss"]["seed"] == 1
    assert scores.made["loss"]["planted"] == "canaries"
    digest = scores.save(tmp_path / "scores.csv")
    back = read_scores(tmp_path / "scores.csv", digest)
    assert torch.equal(back.columns["planted"], scores.columns["planted"])
    assert scores.dataset != planted_scores(**FEW, seed=1).dataset


# ---- members


def test_a_row_for_each_seed_strength_and_score_of_members():
    rows = unlearned_members(**SMALL, strengths=[0.0, 3.0], labellings=2, seeds=[0, 1])
    names = ("loss", "margin", "sure_heads", "online_heads")
    assert [(r["strength"], r["score"]) for r in rows[0]] == [(s, name) for s in (0.0, 3.0) for name in names]
    for row in rows[0] + rows[1]:
        assert {type(value) for value in row.values()} <= {float, str}
        assert row["auroc_low"] <= row["auroc_high"]


def test_unlearning_hides_members_from_its_heads_and_not_from_the_loss():
    long = {**SMALL, "epochs": 60, "widths": [24, 16], "n_train": 300}
    rows = unlearned_members(**long, strengths=[0.0, 5.0], seeds=[0, 1])
    found = {
        (strength, score): mean(
            [r for one in rows for r in one if (r["strength"], r["score"]) == (strength, score)]
        )
        for strength in (0.0, 5.0)
        for score in ("loss", "online_heads")
    }
    assert found[0.0, "online_heads"] > 0.65
    assert found[5.0, "online_heads"] < found[0.0, "online_heads"] - 0.1
    assert min(found[strength, "loss"] for strength in (0.0, 5.0)) > 0.53


def test_a_network_that_fails_fails_its_seed_alone(monkeypatch):
    made = use.headed_task

    def broken(seeds, **more):
        task = made(seeds, **more)
        with torch.no_grad():
            task.networks[1].network.projector.logits.weight.fill_(torch.inf)
        return task

    monkeypatch.setattr(use, "headed_task", broken)
    fine, failed = planted_examples(**FEW, seeds=[0, 1])
    assert isinstance(failed, TrainingError)
    assert len(fine) == 3 * len(SCORES)
    fine, failed = unlearned_members(**SMALL, strengths=[0.0, 1.0], seeds=[0, 1])
    assert isinstance(failed, TrainingError)
    assert len(fine) == 8


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"share": 0.0}, r"share=0.0 of 200 training images; allowed: a number in \(0, 0.5\]"),
        ({"share": 0.6}, r"share=0.6 of 200 training images; allowed: a number in \(0, 0.5\]"),
        ({"share": 0.001}, "share=0.001 of 200 training images; allowed: .* one image or more"),
        ({"share": math.nan}, "share=nan; allowed: a finite number"),
        ({"labellings": 0}, "labellings=0; allowed: a whole number, 1 or more"),
        ({"planted": "canary"}, "unknown planted 'canary'; did you mean 'canaries'"),
        ({"frozen_steps": 0}, "frozen_steps=0; allowed: a whole number, 1 or more"),
        ({"batch": 0}, "batch=0; allowed: a whole number, 1 or more"),
        ({"watch_at": [999]}, r"watch_at=\[999\] with \d+ epochs"),
        ({"resamples": 1}, "resamples=1; allowed: a whole number, 2 or more"),
        ({"count": 1}, "n=1; need at least two random labels"),
        ({"count": 60}, r"n=60 random labels, but class \d has \d+ examples; allowed: n <="),
    ],
)
def test_what_cannot_be_planted_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        planted_examples(**{**FEW, **given}, seeds=[0])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"strengths": [0.0, -1.0]},
            r"strengths=\[0.0, -1.0\]; allowed: one or more numbers >= 0, each once",
        ),
        ({"strengths": [1.0, 1.0]}, r"strengths=\[1.0, 1.0\]; allowed: .* each once"),
        ({"strengths": []}, r"strengths=\[\]; allowed: one or more"),
        ({"strengths": [math.inf]}, "strength=inf; allowed: a finite number"),
        ({"labellings": 0}, "labellings=0; allowed: a whole number, 1 or more"),
    ],
)
def test_members_are_not_sought_with_bad_values(given, message):
    with pytest.raises(ValueError, match=message):
        unlearned_members(**{**SMALL, **given}, seeds=[0])
