"""Trained networks: their shapes and recipe, what is measured at their queries, and examples left out."""

import math

import numpy as np
import pandas as pd
import pytest
import torch

from memorization.data.synthetic import linear_core_task
from memorization.draws import generator
from memorization.measures.stability import auc, covariance
from memorization.report.figures import panels
from memorization.studies.spurious_memorization import trained_networks as module
from memorization.studies.spurious_memorization.figures import (
    draw_left_out,
    draw_network_panels,
    named_networks,
)
from memorization.studies.spurious_memorization.trained_networks import (
    PaperRecipe,
    WithoutExamples,
    accuracy,
    class_auc,
    initial_network,
    label_covariance,
    last_layer_gram,
    left_out_examples,
    network_points,
    tangent_gram,
    trained_networks,
    unrelated_queries,
)
from memorization.training.train import TrainingError


def source(seed=0):
    return generator(seed, "weights")


def synthetic(**changes):
    base = {
        "dataset": "synthetic",
        "network": "fc",
        "n": 20,
        "epochs": 3,
        "d": 30,
        "n_test": 40,
        "seeds": [0],
    }
    return trained_networks(**(base | changes))


def digits(**changes):
    base = {
        "dataset": "digits", "network": "cnn", "n": 20, "epochs": 2, "pad": 2, "n_test": 30, "seeds": [0],
    }  # fmt: skip
    return trained_networks(**(base | changes))


COLUMNS = {
    "N", "chance", "updates", "train_accuracy", "test_accuracy", "spurious_accuracy", "spurious_auc",
    "covariance", "unrelated_accuracy", "unrelated_auc", "unrelated_covariance",
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters"),
    [
        ("fc", (1, 1, 1000), 1, 1001 * 500 + 501 * 200 + 201),
        ("fc", (1, 48, 48), 10, 2305 * 500 + 501 * 200 + 201 * 10),
        ("cnn", (1, 48, 48), 10, 10 * 16 + 145 * 32 + 4609 * 256 + 257 * 10),
        ("cnn", (3, 48, 48), 10, 28 * 16 + 145 * 32 + 4609 * 256 + 257 * 10),
        ("resnet18", (3, 48, 48), 10, 11_176_512 + 5120),
    ],
)
def test_the_networks_have_the_papers_sizes(name, shape, classes, parameters):
    made = initial_network(name, shape, classes, source())
    assert sum(value.numel() for value in made.parameters()) == parameters
    rows = torch.rand(3, *shape)
    assert made.eval()(rows).shape == (3, classes)


@pytest.mark.parametrize("name", ["fc", "cnn"])
def test_weights_have_pytorchs_own_law_and_come_from_the_seed(name):
    first, again, other = (initial_network(name, (1, 14, 14), 10, source(seed)) for seed in (0, 0, 1))
    for (key, one), two, three in zip(
        first.named_parameters(), again.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(one, two)
        assert not torch.equal(one, three)
        if key.endswith("weight"):
            bound = 1 / math.sqrt(one[0].numel())
            assert 0.9 * bound < float(one.detach().abs().max()) <= bound


def test_the_learning_rate_is_multiplied_by_four_fifths_after_every_hundred_epochs():
    recipe = PaperRecipe(epochs=1000)
    rates = [recipe.rate(epoch * 7, 7) for epoch in (0, 99, 100, 199, 200, 999)]
    assert rates == pytest.approx([1e-3, 1e-3, 8e-4, 8e-4, 6.4e-4, 1e-3 * 0.8**9])
    assert recipe.rate(100 * 7 - 1, 7) == 1e-3


@pytest.mark.parametrize("rows", [synthetic(), digits()])
def test_a_seed_has_one_row_of_plain_numbers(rows):
    (row,) = rows[0]
    assert set(row) == COLUMNS
    assert all(type(value) in (int, float) for value in row.values())


def test_a_seed_is_the_same_alone_and_in_a_stack():
    for make in (synthetic, digits):
        (alone,), (among,) = make(seeds=[3])[0], make(seeds=[1, 3])[1]
        assert alone == pytest.approx(among, rel=1e-4, abs=1e-5)


def test_seeds_have_data_of_their_own_and_so_has_each_number_of_examples(monkeypatch):
    drawn, task = [], module.linear_core_task

    def remembered(**arguments):
        drawn.append(task(**arguments))
        return drawn[-1]

    monkeypatch.setattr(module, "linear_core_task", remembered)
    synthetic(seeds=[0, 1])
    synthetic(seeds=[0], n=30)
    first, other, larger = drawn
    assert not torch.isin(first.train, other.train).any()
    assert not torch.isin(first.train, larger.train).any()


@pytest.mark.parametrize(
    ("n", "batch", "updates"), [(20, 1024, 5), (20, 20, 5), (21, 20, 10), (40, 20, 10), (50, 20, 15)]
)
def test_updates_are_epochs_times_batches_rounded_up(n, batch, updates):
    assert synthetic(n=n, batch=batch, epochs=5)[0][0]["updates"] == updates


@pytest.mark.parametrize(
    ("make", "network", "objective", "decay"),
    [
        (synthetic, "fc", "mse", 0),
        (digits, "cnn", "cross_entropy", 0),
        (digits, "resnet18", "cross_entropy", 5e-4),
    ],
)
def test_each_network_has_its_objective_and_decay(make, network, objective, decay, monkeypatch):
    asked = []

    def seen(networks, batches, objective, recipe):
        asked.append((objective, recipe.weight_decay, recipe.optimizer, recipe.learning_rate))
        raise TrainingError("enough")

    monkeypatch.setattr(module, "train", seen)
    with pytest.raises(TrainingError):
        make(network=network)
    assert asked == [(objective, decay, "adam", 1e-3)]


def test_a_long_training_fits_its_examples_and_remembers_their_spurious_parts():
    (row,) = digits(network="fc", epochs=40)[0]
    assert row["train_accuracy"] == 1
    assert row["chance"] == 0.1
    assert row["spurious_accuracy"] > 0.8
    assert row["unrelated_accuracy"] < 0.4
    assert row["covariance"] > 5 * abs(row["unrelated_covariance"])
    (row,) = synthetic(epochs=100, n=30, d=60)[0]
    assert row["train_accuracy"] == 1
    assert row["chance"] == 0.5
    assert row["spurious_auc"] > 0.8


def test_a_network_whose_loss_is_not_finite_fails_alone(monkeypatch):
    make, made = module.initial_network, []

    def broken(*arguments):
        made.append(make(*arguments))
        if len(made) == 2:
            next(made[-1].parameters()).data.fill_(math.inf)
        return made[-1]

    monkeypatch.setattr(module, "initial_network", broken)
    well, failed = synthetic(seeds=[0, 1])
    assert well[0]["N"] == 20
    assert "network 1 became" in str(failed)


def test_unrelated_queries_share_the_core_with_the_query_and_the_frame_with_nobody():
    task = linear_core_task(n_train=30, n_test=12, d=20, alpha=0.5, seed=0)
    rows, columns = unrelated_queries(task), task.spurious_columns
    assert torch.equal(rows[:, ~columns], task.spurious[:, ~columns])
    assert torch.equal(rows[12:24, columns], task.test[:, columns])
    assert not torch.isin(rows[:, columns], task.train[:, columns]).any()


def test_accuracy_takes_the_sign_of_one_output_and_the_largest_of_several():
    assert accuracy(torch.tensor([[2.0], [-1.0], [0.5]]), torch.tensor([1, 1, -1])) == pytest.approx(1 / 3)
    assert accuracy(torch.tensor([[0.0, 1.0], [3.0, 2.0]]), torch.tensor([1.0, 1.0])) == 0.5


def test_the_covariance_of_two_classes_is_half_that_of_the_difference_of_their_probabilities():
    scores = torch.randn(50, 2, generator=source())
    labels = torch.randint(0, 2, (50,), generator=source())
    chances = scores.double().softmax(1)
    of_signs = covariance(chances[:, 1] - chances[:, 0], 2.0 * labels - 1)
    assert label_covariance(scores, labels) == pytest.approx(float(of_signs) / 2)


def test_answers_that_are_sure_and_right_have_the_largest_covariance_and_constant_ones_none():
    labels = torch.tensor([0, 1, 2, 2])
    sure = 1e4 * torch.nn.functional.one_hot(labels, 3).double()
    assert label_covariance(sure, labels) == pytest.approx(1 - (1 / 16 + 1 / 16 + 1 / 4))
    assert label_covariance(sure[:1].expand(4, 3), labels) == 0
    one = torch.tensor([[0.5], [-2.0], [1.0]])
    assert label_covariance(one, torch.tensor([1, -1, 1])) == pytest.approx(
        float(covariance(one[:, 0], torch.tensor([1.0, -1.0, 1.0])))
    )


def test_the_area_under_the_curve_is_a_mean_over_classes_and_sees_through_a_lean_to_one():
    labels = torch.tensor([0, 0, 1, 1])
    scores = 2 * torch.nn.functional.one_hot(labels, 3).double()
    assert class_auc(scores, labels) == 1
    leaning = scores + torch.tensor([0.0, 60.0, 0.0])
    assert accuracy(leaning, labels) == 0.5
    assert class_auc(leaning, labels) == 1
    swapped = scores[[0, 2, 1, 3]]  # of four pairs one is right, one wrong, two tie
    assert class_auc(swapped, labels) == 0.5
    one = torch.tensor([[0.3], [0.1], [0.2]])
    assert class_auc(one, torch.tensor([1, 1, -1])) == float(auc(one[:, 0], torch.tensor([1, 1, -1])))


def test_the_area_of_a_class_is_that_of_its_probability():
    scores = torch.randn(40, 3, generator=source(), dtype=torch.float64)
    labels = torch.randint(0, 3, (40,), generator=source(1))
    chances = scores.softmax(1)
    of_each = [float(auc(chances[:, c], torch.where(labels == c, 1, -1))) for c in range(3)]
    assert class_auc(scores, labels) == pytest.approx(sum(of_each) / 3)


def test_there_is_no_area_where_all_have_one_label():
    assert math.isnan(class_auc(torch.randn(4, 3), torch.ones(4)))
    assert math.isnan(class_auc(torch.randn(4, 1), torch.ones(4)))


def test_points_are_read_from_texts_the_fewest_examples_first():
    points = network_points(["synthetic:0:fc:200", "mnist:10:cnn:1000"], [50, 20], 200)
    assert [one["n"] for one in points] == [20, 20, 50, 50]
    assert points[0] == {
        "dataset": "synthetic", "pad": 0, "network": "fc", "epochs": 200, "d": 200, "n": 20,
    }  # fmt: skip
    assert points[1] == {"dataset": "mnist", "pad": 10, "network": "cnn", "epochs": 1000, "n": 20}


@pytest.mark.parametrize(
    "spec", ["mnist:10:cnn", "moons:1:fc:10", "mnist:1:mlp:10", "mnist:-1:fc:10", "mnist:1:fc:x"]
)
def test_a_panel_that_is_none_is_refused_with_the_form(spec):
    with pytest.raises(ValueError, match=f"panel '{spec}'; allowed: DATASET:PAD:NETWORK:EPOCHS"):
        network_points([spec], [20], 200)


@pytest.mark.parametrize("spec", ["synthetic:0:cnn:10", "mnist:10:cnn:0", "digits:0:fc:10"])
def test_a_panel_that_could_not_be_trained_is_refused_before_anything_runs(spec):
    with pytest.raises(ValueError, match=f"panel '{spec}'; allowed: 1 epoch or more"):
        network_points([spec], [20], 200)


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (synthetic, {"n": 0}, "n=0; allowed: a whole number, 1 or more"),
        (synthetic, {"epochs": 1.5}, "epochs=1.5; allowed: a whole number"),
        (synthetic, {"seeds": []}, "seeds=.*allowed: a list"),
        (synthetic, {"network": "cnn"}, r"network 'cnn' needs images.*got inputs of shape \(1, 1, 30\)"),
        (synthetic, {"network": "cn"}, "unknown network 'cn'.*choose one of fc, cnn, resnet18"),
        (synthetic, {"dataset": "moons"}, "unknown data set 'moons'.*synthetic, digits"),
        (digits, {"pad": 0}, "at least 1 pixel wide"),
        (
            digits,
            {"n": 1780},
            "asked for 1780 training and 30 test images, but the 10 classes of digits hold",
        ),
    ],
)
def test_what_cannot_be_trained_is_refused(make, change, message):
    with pytest.raises(ValueError, match=message):
        make(**change)


def test_an_example_that_a_network_does_not_see_changes_nothing_in_its_loss_or_gradient():
    seen = torch.tensor([[True, False, True], [True, True, True]])
    loss = WithoutExamples(seen)
    examples = torch.arange(3).expand(2, 3)
    outputs = torch.randn(2, 3, 1, generator=source()).requires_grad_()
    targets = torch.ones(2, 3, 1)
    losses = loss(outputs, targets, examples)
    squares = (outputs - 1).square()[..., 0]
    assert losses.tolist() == pytest.approx([squares[0, [0, 2]].mean().item(), squares[1].mean().item()])
    losses.sum().backward()
    assert outputs.grad[0, 1] == 0
    assert outputs.grad[1, 1] != 0


def test_a_network_without_any_example_is_refused():
    with pytest.raises(ValueError, match="at least one example for each network"):
        WithoutExamples(torch.zeros(2, 3, dtype=torch.bool))


@pytest.fixture(scope="module")
def rows():
    return left_out_examples(dataset="synthetic", n=25, left_out=6, epochs=100, d=60, seed=0)


def test_left_out_examples_have_a_measured_change_and_all_have_a_predicted_one(rows):
    assert [row["example"] for row in rows] == list(range(25))
    assert [math.isnan(row["change"]) for row in rows] == [False] * 6 + [True] * 19
    assert all(math.isfinite(row["last_layer"]) and math.isfinite(row["tangent"]) for row in rows)


def test_the_change_follows_the_tangent_features_of_the_untrained_network(rows):
    measured = torch.tensor([row["change"] for row in rows[:6]])
    predicted = torch.tensor([row["tangent"] for row in rows[:6]])
    assert float(torch.corrcoef(torch.stack([measured, predicted]))[0, 1]) > 0.8
    assert float(predicted.abs().mean()) == pytest.approx(float(measured.abs().mean()), rel=0.4)


def trained_on(keep, epochs=100):
    """The task of ``rows``, and the answers of a network that a plain loop trains on some of its examples."""
    task = linear_core_task(n_train=25, n_test=2, d=60, alpha=0.5, seed=0, purpose="left out")
    network = initial_network("fc", (1, 1, 60), 1, generator(0, "left out", "weights"))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(epochs):
        optimizer.zero_grad()
        (network(task.train[keep])[:, 0] - task.labels[keep]).square().mean().backward()
        optimizer.step()
    return task, lambda rows: network(rows)[:, 0].tolist()


def test_the_network_without_an_example_is_the_one_trained_on_the_others(rows):
    task, answers = trained_on(torch.arange(25) != 2)
    assert rows[2]["spurious"] - rows[2]["change"] == pytest.approx(answers(task.spurious)[2], abs=5e-3)
    at_row = float(task.labels[2]) - answers(task.train)[2]
    assert rows[2]["stability"] == pytest.approx(at_row, abs=0.05)  # the full network fits by then


def test_the_full_network_is_trained_on_all_examples(rows):
    task, answers = trained_on(torch.arange(25) >= 0)
    assert [row["spurious"] for row in rows] == pytest.approx(answers(task.spurious), abs=5e-3)


def gradients(network, rows):
    found = []
    for row in rows:
        network.zero_grad()
        network(row[None]).sum().backward()
        found.append(torch.cat([value.grad.flatten() for value in network.parameters()]).double())
    return torch.stack(found)


def test_the_predicted_change_is_that_of_the_linearized_network_fitted_without_the_example():
    rows = left_out_examples(dataset="synthetic", n=6, left_out=1, epochs=1, d=12, seed=0)
    task = linear_core_task(n_train=6, n_test=2, d=12, alpha=0.5, seed=0, purpose="left out")
    network = initial_network("fc", (1, 1, 12), 1, generator(0, "left out", "weights"))
    features, queries = gradients(network, task.train), gradients(network, task.spurious)
    start = network(task.train).detach()[:, 0].double()
    answers = []
    for keep in (torch.arange(6) >= 0, torch.arange(6) != 4):
        change = torch.linalg.pinv(features[keep]) @ (task.labels[keep] - start[keep])
        answers.append(float(queries[4] @ change))
    assert rows[4]["tangent"] == pytest.approx(answers[0] - answers[1], rel=1e-3)


def test_images_of_two_classes_can_be_left_out():
    rows = left_out_examples(dataset="digits", n=12, left_out=1, epochs=5, pad=2, seed=0)
    assert {row["label"] for row in rows} == {-1.0, 1.0}


@pytest.mark.parametrize(("n", "left_out"), [(10, 11), (202, 5)])
def test_more_examples_than_features_or_than_there_are_is_refused(n, left_out):
    with pytest.raises(ValueError, match=f"left_out={left_out}, n={n}; allowed: left_out <= n <= 201"):
        left_out_examples(dataset="synthetic", n=n, left_out=left_out, epochs=1, d=20, seed=0)


def test_the_kernels_are_products_of_features_and_of_gradients():
    task = linear_core_task(n_train=4, n_test=3, d=10, alpha=0.5, seed=0)
    network = initial_network("fc", (1, 1, 10), 1, source())
    everything = gradients(network, torch.cat([task.train, task.spurious, task.test]))
    tangent = everything @ everything[:4].T
    found = tangent_gram(network, task)
    assert torch.allclose(torch.cat([found.train, found.spurious, found.test]), tangent, rtol=1e-4)
    assert found.parameters == 11 * 500 + 501 * 200 + 201
    features = network.encoder(task.train).double()
    last = last_layer_gram(network, task)
    assert torch.allclose(last.train, features @ features.T + 1)
    assert last.spurious.shape == (4, 4)
    assert last.parameters == 201


def network_records():
    points = [(dataset, n, seed) for dataset in ("synthetic", "digits") for n in (20, 200) for seed in (0, 1)]
    frame = pd.DataFrame(points, columns=["dataset", "N", "seed"]).assign(network="fc")
    frame["chance"] = np.where(frame.dataset == "synthetic", 0.5, 0.1)
    columns = ["test_accuracy", "spurious_accuracy", "unrelated_accuracy"]
    columns += ["covariance", "unrelated_covariance"]
    for place, column in enumerate(columns):
        frame[column] = 0.1 * place + 0.01 * frame.seed
    return frame


def test_panels_are_named_by_data_set_and_network():
    assert list(named_networks(network_records()).panel.unique()) == [
        "synthetic, fully connected",
        "digits, fully connected",
    ]
    others = pd.DataFrame({"dataset": ["digits", "cifar10"], "network": ["cnn", "resnet18"]})
    assert list(named_networks(others).panel) == ["digits, convolutional", "cifar10, ResNet-18"]
    assert named_networks(pd.DataFrame()).empty


@pytest.mark.parametrize(
    ("panel", "chance", "unit"),
    [("synthetic, fully connected", 0.5, "label²"), ("digits, fully connected", 0.1, "fraction²")],
)
def test_a_panel_has_its_curves_its_chance_and_its_unit(panel, chance, unit):
    _, (left, right) = panels(2)
    draw_network_panels(left, right, named_networks(network_records()).query("panel == @panel"))
    lines = {line.get_label(): list(line.get_ydata()) for line in left.lines}
    assert lines["test accuracy"] == pytest.approx([0.005, 0.005])
    assert lines["spurious accuracy"] == pytest.approx([0.105, 0.105])
    assert lines["at fresh spurious parts"] == pytest.approx([0.205, 0.205])
    assert lines["chance"] == [chance, chance]
    assert [list(line.get_ydata()) for line in right.lines] == [
        pytest.approx([0.305, 0.305]), pytest.approx([0.405, 0.405]),
    ]  # fmt: skip
    assert right.get_ylabel().endswith(f"[{unit}]")


def test_changes_are_drawn_times_the_label_against_three_predictions(rows):
    _, axes = panels(3, columns=3)
    shown = draw_left_out(axes, pd.DataFrame(rows).assign(seed=0))
    assert list(shown.example) == list(range(6))
    first = rows[0]
    wanted = {"change": first["change"], "tangent": first["tangent"], "last_layer": first["last_layer"]}
    wanted["mixed"] = first["last_layer_alignment"] * first["stability"]
    for name, value in wanted.items():
        assert shown[name].iloc[0] == pytest.approx(value * first["label"])
    for ax, name in zip(axes, ("tangent", "last_layer", "mixed"), strict=True):
        points = ax.lines[1]
        assert list(points.get_xdata()) == list(shown[name])
        assert list(points.get_ydata()) == list(shown.change)
