"""Scores of framed images by their place in the data set, and membership from answers at frames."""

import pytest
import torch

from memorization.data.image_sets import load_images
from memorization.measures.scores import read_scores
from memorization.studies.spurious_memorization import image_scores as module
from memorization.studies.spurious_memorization.experiments import Model, image_curve
from memorization.studies.spurious_memorization.image_scores import image_scores, membership

PAIR = {"dataset": "digits", "negative": 1, "positive": 7, "pad": 2}


def scored(**changes):
    return image_scores(Model("ntk", "relu", 0), **({**PAIR, "n": 40, "seed": 3} | changes))


def test_scores_are_those_of_the_curves_model():
    found = scored().scores.columns
    (row,) = image_curve(**PAIR, feature_map="ntk", activation="relu", width=0, sizes=[40], n_test=50, seed=3)
    assert float(found["alignment"].mean()) == pytest.approx(row["alignment_mean"], rel=1e-9)
    assert float(found["residual"].square().mean()) == pytest.approx(row["stability_mse"], rel=1e-9)
    assert torch.allclose(found["spurious"], found["held_out"] + found["alignment"] * found["residual"])
    assert torch.equal(found["memorization"], found["alignment"] * found["residual"] * found["label"])


def test_ids_are_places_in_the_data_set():
    images = scored()
    digits = load_images("digits", "all")
    assert torch.equal(images.framed[:, :, 2:-2, 2:-2], digits.pixels[images.scores.ids])
    classes = digits.labels[images.scores.ids]
    assert torch.equal(torch.where(classes == 7, 1.0, -1.0).double(), images.scores.columns["label"])


def test_scores_of_two_seeds_are_of_one_data_set():
    assert scored().scores.dataset == scored(seed=4, pad=3).scores.dataset
    assert scored().scores.made["alignment"]["pad"] == 2


def test_scores_can_be_stored_and_read(tmp_path):
    scores = scored().scores
    digest = scores.save(tmp_path / "scores.csv")
    again = read_scores(tmp_path / "scores.csv", digest)
    assert torch.equal(again.ids, scores.ids)
    assert torch.equal(again.columns["memorization"], scores.columns["memorization"])


def asked(**changes):
    base = {**PAIR, "feature_map": "ntk", "width": 0, "sizes": [20, 100], "seed": 0}
    return membership(**(base | changes))


def test_frames_that_were_trained_on_are_told_from_fresh_ones():
    own, fresh = ([asked(asked=whose, seed=seed) for seed in range(5)] for whose in ("own", "fresh"))

    def mean(runs, place):
        return sum(rows[place]["membership_auc"] for rows in runs) / 5

    assert mean(own, 0) > 0.8
    assert mean(own, 0) > mean(own, 1) > 0.6
    assert abs(mean(fresh, 1) - 0.5) < 0.1


def test_the_shift_by_a_black_core_costs_what_centering_wins():
    rows = [asked(seed=seed)[0] for seed in range(5)]
    assert sum(row["membership_auc"] - row["raw_auc"] for row in rows) > 0


def test_other_frames_surround_the_same_images(monkeypatch):
    tasks, make = [], module.image_task

    def remembered(*arguments, **options):
        tasks.append(make(*arguments, **options))
        return tasks[-1]

    monkeypatch.setattr(module, "image_task", remembered)
    asked()
    seen, fresh, other = tasks
    frame = seen.spurious_columns
    for one in (fresh, other):
        assert torch.equal(seen.train[:, ~frame], one.train[:, ~frame])
        assert (seen.train[:, frame] != one.train[:, frame]).float().mean() > 0.8
    assert not torch.equal(fresh.train, other.train)


@pytest.mark.parametrize(
    ("senseless", "message"),
    [
        ({"asked": "mine"}, "unknown asked 'mine'.*choose one of own, fresh"),
        ({"sizes": [400]}, "asked for 400 training and 1 test images.* hold 361 images"),
        ({"sizes": [20, 20]}, "sizes=.*; allowed: a list of whole numbers N >= 1, each once"),
        ({"sizes": []}, "sizes=.*; allowed: a list of whole numbers N >= 1, each once"),
        ({"width": 5, "feature_map": "rf"}, "got N=100, p=5; increase the width or pass ridge > 0"),
        ({"negative": 7}, "two different classes are needed"),
    ],
)
def test_a_senseless_question_is_refused(senseless, message):
    with pytest.raises(ValueError, match=message):
        asked(**senseless)
