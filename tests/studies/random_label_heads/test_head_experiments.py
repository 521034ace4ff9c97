"""The one point at the size of a test: what it returns, who learns what, and a sentence for bad values."""

import math

import pandas as pd
import pytest
import torch

from memorization.draws import Draws, generator, view_keys
from memorization.studies.random_label_heads import experiments
from memorization.studies.random_label_heads.arms import (
    PROTOCOLS,
    arm,
    at_chance,
    in_place_of,
    points,
    with_arms,
)
from memorization.studies.random_label_heads.experiments import (
    HeadedTask,
    probe_disturbance,
    random_label_heads,
    random_shift,
)
from memorization.training.train import TrainingError

SMALL = {
    "widths": [12, 8], "count": 3, "n_train": 200, "n_test": 80, "batch": 40, "epochs": 6, "frozen_steps": 20,
}  # fmt: skip
LONG = {**SMALL, "epochs": 60, "frozen_steps": 150}
ACCURACIES = ("train", "train_true", "test", "online", "held_out", "frozen", "fresh", "class_probe")


def point(seeds=(0, 1), **more):
    return random_label_heads(**{**SMALL, **more}, seeds=list(seeds))


def mean(rows, name):
    return sum(one[-1][name] for one in rows) / len(rows)


@pytest.fixture(scope="module")
def long():
    """Longer trainings of two seeds under some conditions, each once."""
    arms = {
        "none": {},
        "untrained": {"trained": False},
        "joint": {"mode": "joint", "strength": 1.0},
        "unlearning": {"mode": "unlearning", "strength": 1.0},
        "noise": {"label_noise": 0.5},
    }
    return {arm: random_label_heads(**LONG, **more, seeds=[0, 1]) for arm, more in arms.items()}


def test_a_row_for_each_seed_look_and_site_of_plain_numbers():
    rows = point(sites="all", watch_at=[2, 6])
    assert [len(one) for one in rows] == [6, 6]
    assert [(r["epoch"], r["site"], r["depth"], r["width"]) for r in rows[0]] == [
        (epoch, site, depth, width)
        for epoch in (2, 6)
        for depth, (site, width) in enumerate({"pixels": 64, "layer1": 12, "embedding": 8}.items())
    ]
    for row in rows[0] + rows[1]:
        assert {type(value) for value in row.values()} <= {int, float, str}
        assert all(0 <= row[name] <= 1 for name in ACCURACIES)
        assert math.isnan(row["wrong_fitted"])
        assert row["online_rho"] == pytest.approx((3 * row["online"] - 1) / 2)
        assert row["leverage"] == pytest.approx(row["width"] * 10 / 200)
    assert len({row["label_digest"] for row in rows[0]}) == 1
    assert rows[0][0]["label_digest"] != rows[1][0]["label_digest"]


@pytest.mark.parametrize("more", [{"dropout": 0.2}, {"shift": 1}, {"label_noise": 0.3}])
def test_a_seed_does_not_depend_on_the_others(more):
    together, alone = point([0, 1], **more)[1][0], point([1], **more)[0][0]
    assert together["label_digest"] == alone["label_digest"]
    assert together["class_loss"] == pytest.approx(alone["class_loss"], rel=1e-3)  # up to rounding
    assert together["fresh"] == pytest.approx(alone["fresh"], abs=0.02)


def test_equal_arguments_give_equal_rows():
    assert str(point()) == str(point())


def test_a_convolutional_network_has_heads_too():
    rows = point(network="small_cnn", widths=[4, 6], sites="hidden", class_wise=False)
    assert [row["site"] for row in rows[0]] == ["conv1", "embedding"]


def test_joint_training_learns_the_given_labels_and_no_others(long):
    assert mean(long["joint"], "online") > mean(long["none"], "online") + 0.05
    assert mean(long["joint"], "frozen") > mean(long["joint"], "fresh") + 0.03


def test_unlearning_hides_the_labels_from_the_heads_that_were_there(long):
    assert mean(long["unlearning"], "online") < mean(long["none"], "online") - 0.1
    assert mean(long["unlearning"], "train") > 0.95


def test_an_untrained_trunk_has_heads_that_learn(long):
    assert mean(long["untrained"], "online") > 1 / 3 + 0.1
    assert mean(long["untrained"], "train") < 0.4
    assert mean(long["none"], "train") > 0.95


def test_a_probe_leaves_the_classes_alone(long):
    other = random_label_heads(**{**LONG, "frozen_steps": 1}, head_steps=3, head_rate=0.1, seeds=[0, 1])
    assert mean(long["none"], "online") != mean(other, "online")
    for one, same in zip(long["none"], other, strict=True):
        assert (one[0]["test"], one[0]["class_loss"]) == (same[0]["test"], same[0]["class_loss"])


def test_wrong_labels_are_counted_apart(long):
    for one in long["noise"]:
        assert one[0]["train"] > one[0]["train_true"]
        wrong = 0.5 * 0.9
        right = (one[0]["train"] - wrong * one[0]["wrong_fitted"]) / (1 - wrong)
        assert 0 <= right <= 1.05


def test_a_head_reads_the_images_of_the_class_that_was_trained_with_wrong_or_right():
    served = random_label_heads(**LONG, label_noise=0.5, mode="joint", strength=3.0, seeds=[0, 1])
    assert mean(served, "online") > 0.95  # by the true classes it would be about 0.67
    assert mean(served, "frozen") > 0.95  # and this 0.86


def test_held_out_labels_are_chance_whatever_was_learned(long):
    for rows in long.values():
        assert mean(rows, "held_out") == pytest.approx(1 / 3, abs=4 * (2 / 9 / 160) ** 0.5)


def test_the_trunk_hears_of_all_layers_or_of_the_last_alone():
    of = {"mode": "unlearning", "strength": 3.0, "sites": "hidden", "epochs": 20}
    last, hidden = (point(acting=acting, **of) for acting in ("last", "hidden"))
    assert hidden[0][0]["online"] < last[0][0]["online"]


def test_lambda_is_counted_as_the_papers_do():
    def strengths(regularizer, **more):
        task = HeadedTask(*[None] * 8, {"layer1": 1, "embedding": 2}, 4, True, (0,))
        return experiments._strengths(task, "unlearning", 2.0, regularizer, more.get("acting", "last"))

    assert strengths("bounded") == {"embedding": 0.5}  # the objective multiplies by n
    assert strengths("reversal") == {"embedding": 2.0}
    assert strengths("bounded", acting="hidden") == {"layer1": 0.5, "embedding": 0.5}


def test_a_trunk_that_hears_too_late_is_that_of_a_probe():
    given = {"mode": "unlearning", "strength": 5.0}
    late, probe, early = (point([0], **more)[0][0] for more in ({**given, "late": 0.99}, {}, given))
    assert late["class_loss"] == pytest.approx(probe["class_loss"], rel=1e-6)
    assert early["class_loss"] != pytest.approx(probe["class_loss"], rel=1e-3)


@pytest.mark.parametrize("trained", [True, False])
def test_the_recipe_is_that_of_the_protocol(monkeypatch, trained):
    class SeenError(Exception):
        pass

    def seen(networks, views, objective, recipe, **more):
        raise SeenError(recipe)

    monkeypatch.setattr(experiments, "train", seen)
    with pytest.raises(SeenError) as caught:
        point(weight_decay=0.01, rate=0.2, epochs=30, trained=trained)
    (recipe,) = caught.value.args
    assert (recipe.optimizer, recipe.momentum, recipe.schedule, recipe.warmup_steps) == (
        "sgd",
        0.9,
        "cosine",
        3,
    )
    assert (recipe.decay_on, recipe.weight_decay) == ("weights", 0.01 if trained else 0.0)
    assert recipe.learning_rate == (0.2 if trained else [0.0])


def test_new_heads_can_be_left_out():
    assert math.isnan(point(frozen_steps=0)[0][0]["frozen"])


def test_a_network_whose_loss_is_not_finite_fails_alone(monkeypatch):
    made = experiments.make_network

    def broken(*given, seed, **more):
        network = made(*given, seed=seed, **more)
        if seed == 1:
            with torch.no_grad():
                network.projector.logits.weight.fill_(torch.inf)
        return network

    monkeypatch.setattr(experiments, "make_network", broken)
    fine, failed = point()
    assert isinstance(failed, TrainingError)
    assert len(fine) == 1


def test_labels_that_change_in_training_are_found_out(monkeypatch):
    def redrawn(self, outputs, targets, examples):
        self.labels.copy_((self.labels + 1) % self.count)

    monkeypatch.setattr(experiments.RandomLabelLoss, "after_step", redrawn)
    with pytest.raises(RuntimeError, match="random labels must stay fixed; those of network 0 changed"):
        point(epochs=1)


def test_shifts_are_whole_pixels_uniform_and_let_zeros_in():
    images = torch.rand(400, 1, 5, 5, generator=generator(0, "images")) + 0.1
    ids = torch.arange(400)
    views = random_shift(images, Draws.keyed(view_keys(0, ids, 0)), torch.full((400,), 1.0))
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    places = [(y, x) for y in range(3) for x in range(3)]
    crops = torch.stack([padded[:, :, y : y + 5, x : x + 5] for y, x in places], 1)
    same = (crops == views[:, None]).flatten(2).all(2)
    assert bool((same.sum(1) == 1).all())
    assert same.float().mean(0).tolist() == pytest.approx([1 / 9] * 9, abs=4 * (8 / 81 / 400) ** 0.5)
    still = random_shift(images, Draws.keyed(view_keys(0, ids, 0)), torch.zeros(400))
    assert torch.equal(still, images)


@pytest.mark.parametrize("network", ["mlp", "small_cnn"])
def test_probes_disturb_nothing_and_served_heads_do(network):
    small = {"widths": [12, 8], "count": 3, "n_train": 200, "batch": 40, "epochs": 2}
    for rows in probe_disturbance(network=network, **small, seeds=[0, 1]):
        found = {row["heads"]: (row["difference"], row["changed"]) for row in rows}
        assert found["one probe"] == found["all probes"] == (0.0, 0.0)
        assert found["joint"][0] > 1e-5
        assert found["joint"][1] > 0.5


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"count": 1}, ValueError, "n=1; need at least two random labels"),
        ({"count": 60}, ValueError, r"n=60 random labels, but class \d has \d+ examples; allowed: n <="),
        ({"class_wise": False, "count": 201}, ValueError, "n=201 random labels, but the whole set has 200"),
        ({"strength": -1.0, "mode": "unlearning"}, ValueError, "a negative lambda rewards memorization"),
        ({"strength": math.nan, "mode": "unlearning"}, ValueError, "strength=nan; allowed: a finite number"),
        ({"strength": 1.0}, ValueError, "in mode 'probe', whose heads only look on"),
        ({"mode": "jointly"}, ValueError, "unknown mode 'jointly'; did you mean 'joint'"),
        (
            {"regularizer": "confused", "mode": "unlearning", "strength": 1.0},
            ValueError,
            "unknown regularizer 'confused'; did you mean 'confusion'.*bounded, reversal",
        ),
        ({"sites": "middle"}, ValueError, "unknown sites 'middle'.*choose one of last, hidden, all"),
        ({"acting": "first"}, ValueError, "unknown acting 'first'; choose one of last, hidden"),
        (
            {"acting": "hidden", "mode": "joint", "strength": 1.0},
            ValueError,
            "acting='hidden' needs heads at every hidden layer: give sites='hidden' or 'all'",
        ),
        ({"late": 1.0}, ValueError, r"late=1.0; allowed: a number in \[0, 1\)"),
        ({"shift": 0.5}, ValueError, "shift=0.5; allowed: a whole number"),
        ({"label_noise": 1.5}, ValueError, "label noise 1.5 is outside"),
        ({"split": "both"}, ValueError, "unknown split 'both'; choose one of fixed, seed"),
        ({"n_train": 1790}, ValueError, r"digits: test=80, but the data set has 7 images for it"),
        ({"batch": 0}, ValueError, "batch=0; allowed: a whole number, 1 or more"),
        ({"watch_at": [7]}, ValueError, r"watch_at=\[7\] with 6 epochs; allowed: 0\.\.6"),
        ({"mode": "unlearning"}, ValueError, "strength=0.0 with mode='unlearning'; allowed: > 0"),
        ({"batch": 300}, ValueError, "batch=300 is larger than the 200 examples"),
        ({"dataset": "digit"}, ValueError, "unknown data set 'digit'; did you mean 'digits'"),
        ({"head_rate": 0.0}, ValueError, "heads with learning_rate=0.0"),
        ({"network": "resnet"}, ValueError, "unknown network 'resnet'"),
    ],
)
def test_what_cannot_be_run_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        point(**given)


# ---- arms


def test_every_protocol_is_a_call_of_the_experiment():
    for protocol in PROTOCOLS:
        for made in points(
            protocol, ["none", "untrained", "joint", "shifts", "lambda 1, late"], dataset="digits"
        ):
            assert set(made) <= set(random_label_heads.__kwdefaults__ or {}) | {"dataset"}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("none", {}),
        ("40 % noise", {"label_noise": 0.4}),
        ("weight decay 1e-05", {"weight_decay": 1e-5}),
        ("5 epochs", {"epochs": 5}),
        ("lambda 10, 3 head steps", {"mode": "unlearning", "strength": 10.0, "head_steps": 3}),
        ("reversal 0.3", {"mode": "unlearning", "strength": 0.3, "regularizer": "reversal"}),
        ("35 labels,lambda 3.5", {"count": 35, "mode": "unlearning", "strength": 3.5}),
        (
            "40 % noise, lambda 3 at all layers",
            {
                "label_noise": 0.4,
                "mode": "unlearning",
                "strength": 3.0,
                "sites": "hidden",
                "acting": "hidden",
            },
        ),
    ],
)
def test_an_arm_is_what_its_name_says(name, changes):
    assert arm(name) == changes


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("lamda 10", "unknown part of the arm 'lamda 10' 'lamda'; did you mean 'lambda'"),
        ("dropout", "has no number at 'dropout'; write dropout with one"),
        ("joint, 3", "unknown part of the arm"),
        ("2.5 labels", "has 2.5 labels; allowed: a whole number of them"),
        ("lambda 1e", "unknown part of the arm 'lambda 1e' 'lambda 1e'; did you mean 'lambda'"),
    ],
)
def test_an_arm_that_cannot_be_read_is_refused(name, told):
    with pytest.raises(ValueError, match=told):
        arm(name)


def test_rows_are_named_by_what_made_them():
    arms = ["none", "5 epochs", "lambda 10", "lambda 10, late", "joint"]
    made = points("class-wise", arms, **SMALL)
    defaults = random_label_heads.__kwdefaults__
    records = [
        {**defaults, **one, "seed": seed, "test": 0.9 - 0.01 * k - 0.1 * seed}
        for seed in (0, 1)
        for k, one in enumerate(made)
    ]
    table = with_arms(pd.DataFrame(records).sample(frac=1, random_state=0), "class-wise", arms, **SMALL)
    assert table.groupby("arm").size().to_dict() == dict.fromkeys(arms, 2)
    assert table["test_change"].round(6).tolist() == [-0.01 * k for k in range(5) for _ in (0, 1)]
    assert set(table["chance"]) == {1 / 3}


def test_unknown_arms_and_protocols_are_refused():
    with pytest.raises(ValueError, match="unknown part of the arm 'jont' 'jont'; did you mean 'joint'"):
        points("class-wise", ["jont"])
    with pytest.raises(ValueError, match="unknown protocol 'share'; did you mean 'shared'"):
        points("share", ["joint"])


def test_records_at_chance_say_what_heads_say_of_unseen_images():
    frame = pd.DataFrame({"held_out": [0.1], "held_out_rho": [0.0], "online": [0.9], "online_rho": [0.8]})
    assert at_chance(frame)[["online", "online_rho", "frozen"]].to_numpy().tolist() == [[0.1, 0.0, 0.1]]


def test_rows_of_one_arm_can_stand_for_another():
    frame = pd.DataFrame({"arm": ["joint", "none", "joint"], "test": [0.1, 0.2, 0.3]})
    assert in_place_of(frame, "joint", "lambda 10").to_numpy().tolist() == [
        ["lambda 10", 0.1],
        ["lambda 10", 0.3],
    ]
