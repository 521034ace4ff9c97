"""Networks trained on framed pictures, in seconds: digits need no files."""

import pandas as pd
import pytest
import torch

from memorization.studies.feature_contamination.experiments import _first_images, relative_shift, train_framed

SMALL = {
    "dataset": "digits",
    "train": 300,
    "test": 200,
    "side": 8,
    "widths": [4, 6, 8],
    "epochs": 2,
    "batch": 30,
}


def table(seeds=(0, 1), **more):
    return pd.DataFrame(train_framed(**{**SMALL, **more}, seeds=list(seeds)))


def test_each_seed_has_a_row_of_accuracies_and_a_shift():
    rows = table()
    colors = ["red", "blue", "green", "unframed"]
    assert len(rows) == 2
    assert rows[[*colors, "batch_accuracy"]].apply(lambda c: c.between(0, 1)).all(axis=None)
    expected = rows["red"] - (rows["blue"] + rows["green"]) / 2
    assert rows["red_gain"].tolist() == pytest.approx(expected.tolist())
    assert (rows["feature_shift"] > 0).all()
    assert rows["loss"].notna().all()


@pytest.mark.parametrize("frame", ["padded", "random", "raw"])
def test_the_same_seed_gives_the_same_row_in_every_frame(frame):
    pd.testing.assert_frame_equal(table((5,), frame=frame), table((5,), frame=frame))


def test_the_three_frames_give_three_networks():
    rows = pd.concat([table((0,), frame=frame) for frame in ("padded", "random", "raw")])
    assert rows["loss"].nunique() == 3


def test_a_seed_gives_the_same_row_alone_and_with_others():
    both, alone = table((0, 1)), table((1,))
    pd.testing.assert_frame_equal(both.tail(1).reset_index(drop=True), alone, rtol=0.02, atol=0.02)


def test_a_network_trained_in_red_frames_answers_best_in_red_frames():
    sizes = {"train": 1400, "test": 360, "widths": [8, 16, 16], "epochs": 6, "batch": 50}
    padded, random = (table(frame=frame, **sizes)["red_gain"] for frame in ("padded", "random"))
    assert (padded > 0.05).all()
    assert (random.abs() < padded).all()


def test_training_is_on_as_many_images_as_were_asked_for():
    few = table((0,), train=10, batch=10, epochs=150, frame="raw", widths=[8, 16, 16])
    assert few["batch_accuracy"].item() > 0.85  # ten images can be learned by heart
    assert few["unframed"].item() < 0.7  # and are not enough to answer on others
    with pytest.raises(ValueError, match="batch=30 is larger than the 20 examples"):
        table(train=20)


def test_the_shift_is_relative_to_the_length_of_the_features():
    before = torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    after = before + torch.tensor([[0.0, 1.0], [0.0, 2.0]])
    assert relative_shift(before, after) == pytest.approx(0.3)
    assert relative_shift(before, before) == 0


def test_features_that_are_zero_have_no_relative_shift():
    with pytest.raises(ValueError, match="all features are zero; no shift can be relative to them"):
        relative_shift(torch.zeros(2, 3), torch.ones(2, 3))


def test_features_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(2, 3\) and \(2, 4\); allowed: one shape \(N, P\)"):
        relative_shift(torch.ones(2, 3), torch.ones(2, 4))


def test_gray_images_are_shown_in_three_equal_channels():
    images, labels, classes = _first_images("digits", "test", 10, 8, "cpu")
    assert images.shape == (10, 3, 8, 8)
    assert torch.equal(images[:, 0], images[:, 2])
    assert (len(labels), classes) == (10, 10)


@pytest.mark.parametrize(("name", "size"), [("train", 1438), ("test", 361), ("test", 0)])
def test_more_images_than_there_are_are_refused(name, size):
    with pytest.raises(ValueError, match=rf"{name}={size}, but digits has \d+ images in this split"):
        table(**{name: size})


def test_an_unknown_frame_is_refused():
    with pytest.raises(ValueError, match="unknown frame 'paded'; did you mean 'padded'"):
        table(frame="paded")
