"""Digits on colored grounds, the distance to a teacher, and both experiments with students, in seconds."""

import dataclasses
import json
import math
from dataclasses import replace

import pytest
import torch

from memorization.data.image_sets import load_images
from memorization.draws import generator
from memorization.runs.records import clean
from memorization.studies.feature_contamination import distillation
from memorization.studies.feature_contamination.distillation import (
    GROUNDS,
    GroundedDigits,
    _bodies,
    _distance,
    _networks,
    distil,
    distil_pictures,
    distillation_error,
    draw_digits,
    ground_colors,
    on_ground,
    stroke_images,
    total_variance,
)


def drawn(labels, name="hand"):
    return draw_digits(labels, generator(0, name))


def test_masks_are_ink_between_0_and_1_on_14_by_14_pixels():
    pictures = stroke_images("procedural", 300, seed=0)
    assert pictures.images.shape == (300, 1, 14, 14)
    assert pictures.images.dtype == torch.float32
    assert 0 <= pictures.images.min() <= pictures.images.max() <= 1
    assert pictures.labels.unique().tolist() == list(range(10))


def test_one_seed_gives_the_same_pictures_and_another_seed_or_half_others():
    state = torch.random.get_rng_state()
    first, again, other = (stroke_images("procedural", 50, seed) for seed in (1, 1, 2))
    assert torch.equal(first.images, again.images)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images)
    assert not torch.equal(first.images, stroke_images("procedural", 50, 1, "test").images)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_more_segments_are_more_ink():
    ink = {digit: drawn(torch.full((400,), digit)).sum((1, 2, 3)).mean().item() for digit in (1, 7, 2, 8)}
    assert ink[1] < ink[7] < ink[2] < ink[8]


def test_digits_that_differ_in_the_middle_differ_in_the_middle():
    eight, zero = (drawn(torch.full((2000,), digit)).mean(0)[0] for digit in (8, 0))
    difference = (eight - zero).abs()
    row, column = divmod(int(difference.argmax()), 14)
    assert (row in (6, 7), column in (6, 7)) == (True, True)
    assert difference[[0, -1]].max() < 0.05


def test_no_two_pictures_are_alike_and_most_look_like_their_digit():
    masks, labels = drawn(torch.arange(100) % 10), torch.arange(100) % 10
    assert len(masks.flatten(1).unique(dim=0)) == 100
    means = torch.stack([drawn(torch.full((500,), d)).mean(0).flatten() for d in range(10)])
    nearest = torch.cdist(masks.flatten(1), means).argmin(1)
    assert (
        nearest == labels
    ).double().mean() > 0.4  # the mean picture is a poor classifier, not a useless one


def test_the_distance_is_that_to_the_nearest_point_of_the_segment():
    places = torch.tensor([[0.0, 2.0, -3.0], [1.0, 0.0, 4.0]])  # (0, 1), (2, 0), (-3, 4)
    start, end = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    assert _distance(places, start, end)[0].tolist() == pytest.approx([1.0, 1.0, 5.0])
    assert _distance(places, start, start)[0].tolist() == pytest.approx([1.0, 2.0, 5.0])


def test_mnist_pictures_are_averages_of_2_by_2_pixels(real_data):
    pictures, others = (stroke_images("mnist", 20, seed, "test", real_data) for seed in (0, 1))
    stored = load_images("mnist", "test", real_data)
    pooled = (stored.pixels.double() / 255).view(-1, 14, 2, 14, 2).mean((2, 4)).flatten(1)
    images = pictures.images.double().flatten(1)
    distance, found = torch.cdist(images, pooled, compute_mode="donot_use_mm_for_euclid_dist").min(1)
    assert distance.max() < 1e-5
    assert torch.equal(pictures.labels, stored.labels[found])
    assert not torch.equal(pictures.images, others.images)


def test_more_pictures_than_mnist_holds_are_refused(real_data):
    with pytest.raises(ValueError, match=r"n=10001; allowed: 1\.\.10000, the images of this half of MNIST"):
        stroke_images("mnist", 10_001, 0, "test", real_data)


def test_absent_mnist_is_said_with_its_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match=str(tmp_path)):
        stroke_images("mnist", 10, 0, root=tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("mnits", 10, 0), r"unknown digits 'mnits'; did you mean 'mnist'.*procedural, mnist"),
        (("procedural", 10, 0, "all"), "unknown split 'all'; choose one of train, test"),
        (("procedural", 0, 0), "n=0; allowed: a whole number, 1 or more"),
        (("procedural", 2.5, 0), "n=2.5; allowed: a whole number, 1 or more"),
    ],
)
def test_pictures_that_cannot_be_made_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        stroke_images(*given)


def test_a_label_that_is_no_digit_is_refused():
    with pytest.raises(ValueError, match=r"digits are drawn for labels 0\.\.9; got labels from 3 to 10"):
        drawn(torch.tensor([3, 10]))


RANGES = {
    "in": [(0.5, 0.8), (0.0, 0.1), (0.0, 0.1)],
    "out": [(0.0, 0.1), (0.5, 0.8), (0.5, 0.8)],
    "any": [(0.0, 0.9)] * 3,
}


def grounded(n=40, seeds=(0, 1), split="train"):
    return GroundedDigits.load("procedural", n, seeds, split)


@pytest.mark.parametrize("ground", GROUNDS)
def test_colors_fill_the_range_of_their_ground(ground):
    colors = ground_colors(5000, ground, generator(0, "colors"))
    assert colors.shape == (5000, 3)
    assert colors.dtype == torch.float32
    for channel, (low, high) in zip(colors.T, RANGES[ground], strict=True):
        assert low <= channel.min() < low + 0.01
        assert high - 0.01 < channel.max() <= high


def test_an_unknown_ground_is_refused_with_the_nearest_name():
    with pytest.raises(ValueError, match=r"unknown ground 'on'; did you mean .*choose one of in, out, any"):
        ground_colors(3, "on", generator(0))


def test_ink_is_white_and_its_absence_shows_the_ground():
    masks = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1, 1)
    ground = torch.tensor([0.2, 0.4, 0.6]).expand(3, 3)
    expected = [[0.2, 0.4, 0.6], [0.6, 0.7, 0.8], [1.0, 1.0, 1.0]]
    torch.testing.assert_close(on_ground(masks, ground).flatten(1), torch.tensor(expected))


def test_pictures_of_stacked_masks_equal_those_one_by_one():
    masks = torch.rand(2, 3, 1, 4, 5, generator=generator(0, "masks"))
    ground = torch.rand(2, 3, 3, generator=generator(0, "ground"))
    together = on_ground(masks, ground)
    assert together.shape == (2, 3, 3, 4, 5)
    one = masks[1, 2] + (1 - masks[1, 2]) * ground[1, 2].view(3, 1, 1)
    torch.testing.assert_close(together[1, 2], one)


@pytest.mark.parametrize(
    ("masks", "ground"), [((2, 1, 4, 4), (3, 3)), ((2, 3, 4, 4), (2, 3)), ((4, 4), (3,))]
)
def test_masks_without_a_color_each_are_refused(masks, ground):
    with pytest.raises(ValueError, match=r"allowed: masks \(\.\.\., 1, height, width\) and one color"):
        on_ground(torch.zeros(masks), torch.zeros(ground))


@pytest.mark.parametrize("ground", GROUNDS)
def test_the_ground_does_not_look_at_the_label(ground):
    given = grounded()
    other = replace(given, labels=given.labels.flip(1))
    pictures, labels = given.batches(ground, 30, "x")()
    same, changed = other.batches(ground, 30, "x")()
    assert torch.equal(pictures, same)
    assert not torch.equal(labels, changed)
    assert torch.equal(given.on(ground, "x"), other.on(ground, "x"))


@pytest.mark.parametrize("ground", GROUNDS)
def test_every_digit_stands_on_the_same_grounds(ground):
    pictures, labels = grounded(2000, (0,)).batches(ground, 5000, "x")()
    darkest = pictures[0].flatten(2).min(2).values  # of a channel: the ground's, some pixel has no ink
    spread = darkest.std(0)
    for digit in range(10):
        mine = darkest[labels[0] == digit]
        assert ((mine.mean(0) - darkest.mean(0)).abs() < 5 * spread / len(mine) ** 0.5).all()


def test_a_batch_pairs_pictures_with_their_own_labels():
    given = grounded(25, (3, 4))
    flat = replace(given, masks=given.labels[..., None, None, None].float().expand(-1, -1, 1, 14, 14) / 9)
    pictures, labels = flat.batches("any", 60, "x")()
    assert pictures.shape == (2, 60, 3, 14, 14)
    assert (pictures[labels == 9] == 1).all()
    assert (pictures[labels == 0].amax((1, 2, 3)) < 1).all()


def test_every_batch_has_fresh_grounds_and_the_next_run_the_same_ones():
    given = grounded()
    one, other = given.batches("any", 8, "x"), given.batches("any", 8, "x")
    first, second = one()[0], one()[0]
    assert not torch.equal(first, second)
    assert torch.equal(first, other()[0])
    assert torch.equal(second, other()[0])
    assert not torch.equal(first, given.batches("any", 8, "y")()[0])


def test_a_seed_sees_the_same_alone_and_with_others():
    both, alone = grounded(seeds=(0, 7)), grounded(seeds=(7,))
    assert torch.equal(both.on("in", "x")[1], alone.on("in", "x")[0])
    for mine, theirs in zip(both.batches("in", 9, "x")(), alone.batches("in", 9, "x")(), strict=True):
        assert torch.equal(mine[1], theirs[0])


def test_the_same_digits_are_shown_on_all_grounds():
    given = grounded()
    inside, outside = given.on("in", "x"), given.on("out", "x")
    ink = (given.masks == 1).expand_as(inside)
    assert ink.any()
    assert (inside[ink] == 1).all()
    assert (outside[ink] == 1).all()


def test_digits_without_a_seed_are_refused():
    with pytest.raises(ValueError, match=r"seeds=\(\); allowed: a list of one or more whole numbers"):
        grounded(seeds=())


def representations(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_a_perfect_student_has_error_0_and_one_that_gives_the_mean_error_1():
    teacher = representations(2, 50, 4)
    assert distillation_error(teacher, teacher).tolist() == [0, 0]
    mean = teacher.mean(1, keepdim=True).expand_as(teacher)
    assert distillation_error(mean, teacher).tolist() == pytest.approx([1, 1])


def test_the_error_does_not_depend_on_the_scale_of_the_representation():
    student, teacher = representations(2, 50, 4)
    small = distillation_error(student * 0.01, teacher * 0.01)
    assert small.item() == pytest.approx(distillation_error(student, teacher).item(), rel=1e-4)


def test_the_unit_can_be_the_variance_on_other_examples():
    student, teacher, other = representations(3, 50, 4)
    error = distillation_error(student, teacher, total_variance(other))
    expected = (student - teacher).square().sum(1).mean() / other.var(0, correction=0).sum()
    assert error.item() == pytest.approx(expected.item())


@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_a_teacher_that_says_always_the_same_is_refused(value):
    outputs = torch.rand(2, 4000, 3)
    outputs[1] = value
    with pytest.raises(
        ValueError, match="cannot normalize the distillation error: the teacher gives the sam"
    ):
        total_variance(outputs)


def test_representations_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"the student gives \(5, 3\) and the teacher \(5, 2\)"):
        distillation_error(torch.zeros(5, 3), torch.zeros(5, 2))


FEATURES = {"core": 4, "background": 4, "teacher_width": 8, "representation": 3}
FEATURES |= {"width": 16, "batch": 32, "steps": 40, "test": 200}
PICTURES = {"train": 300, "test": 200, "width": 16, "batch": 32, "steps": 20, "teacher_steps": 30}


def fitted(seeds=(0,), **more):
    """For each seed the row of each model on structured features, by its name."""
    rows = distil(**{**FEATURES, **more}, seeds=list(seeds))
    return [{row["model"]: row for row in one} for one in rows]


def fitted_pictures(seeds=(0,), **more):
    """For each seed the row of each model on pictures, by its name."""
    rows = distil_pictures(**{**PICTURES, **more}, seeds=list(seeds))
    return [{row["model"]: row for row in one} for one in rows]


@pytest.mark.parametrize("run", [fitted, fitted_pictures])
def test_each_seed_has_a_row_for_teacher_student_and_standard_that_json_can_hold(run):
    rows = run((0, 1))
    assert [list(one) for one in rows] == [["teacher", "student", "standard"]] * 2
    columns = {"model", "id_accuracy", "ood_accuracy", "id_error", "ood_error"}
    assert {frozenset(row) for one in rows for row in one.values()} == {frozenset(columns)}
    assert json.dumps(clean(rows, "rows"), allow_nan=False)


def test_in_float64_a_seed_ends_alike_in_any_stack():
    """As on any processor: what differs is the order in which sums are rounded."""
    alone, stacked = fitted_pictures((1,), dtype="float64")[0], fitted_pictures((0, 1), dtype="float64")[1]
    for model, row in alone.items():
        assert row["ood_accuracy"] == stacked[model]["ood_accuracy"]
    assert alone["student"]["ood_error"] == pytest.approx(stacked["student"]["ood_error"], rel=1e-9)
    with pytest.raises(ValueError, match="unknown dtype 'float46'; did you mean 'float64'"):
        fitted_pictures(dtype="float46")


@pytest.mark.parametrize("run", [fitted, fitted_pictures])
def test_the_teacher_has_no_error_and_the_network_that_learned_labels_is_not_asked(run):
    (rows,) = run()
    assert rows["teacher"]["id_error"] == rows["teacher"]["ood_error"] == 0
    assert rows["student"]["id_error"] > 0
    assert math.isnan(rows["standard"]["id_error"])
    assert math.isnan(rows["standard"]["ood_error"])


@pytest.mark.parametrize("run", [fitted, fitted_pictures])
def test_a_seed_gives_the_same_rows_alone_and_among_others(run):
    among, alone = run((0, 1))[1], run((1,))[0]
    for name, row in alone.items():
        for column in ("id_error", "ood_error"):
            assert among[name][column] == pytest.approx(row[column], rel=1e-4, nan_ok=True)
        for column in ("id_accuracy", "ood_accuracy"):
            assert among[name][column] == pytest.approx(row[column], abs=0.011)  # two of 200 examples


@pytest.mark.parametrize("teacher", ["network", "linear"])
def test_the_teacher_is_blind_to_the_background(teacher):
    for rows in fitted((0, 1), teacher=teacher, steps=0, standard=False):
        assert rows["teacher"]["id_accuracy"] == rows["teacher"]["ood_accuracy"]


def test_a_student_comes_nearer_to_its_teacher_in_distribution():
    errors = [fitted(steps=steps, standard=False)[0]["student"]["id_error"] for steps in (0, 40, 400)]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_a_relu_student_fails_outside_the_distribution_and_a_linear_one_does_not():
    options = {"teacher": "linear", "width": 64, "batch": 128, "steps": 300, "rate": 1e-2, "background": 8}
    relu, linear = (fitted(student=s, standard=False, **options)[0]["student"] for s in ("relu", "identity"))
    assert relu["id_error"] < 0.01
    assert relu["ood_error"] > 0.1
    assert linear["ood_error"] < 1e-4


def test_student_and_standard_network_see_the_same_examples(monkeypatch):
    seen, whole = [], distillation.train

    def spy(networks, batches, *rest):
        seen.append([])

        def draw(step):
            x, targets = batches.draw(step)
            seen[-1].append(x)
            return x, targets

        return whole(networks, dataclasses.replace(batches, draw=draw), *rest)

    monkeypatch.setattr(distillation, "train", spy)
    fitted()
    assert len(seen) == 2
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


def test_a_dead_teacher_is_refused_before_training(monkeypatch):
    monkeypatch.setattr(distillation, "train", None)
    with pytest.raises(ValueError, match="the teacher gives the same representation for all"):
        fitted((36,), core=1, labels="linear", teacher_width=1)  # its one neuron never fires


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher": "oracle"}, "unknown teacher 'oracle'; choose one of network, linear"),
        ({"student": "leaky"}, "student=.leaky. would need a slope; choose relu"),
        ({"student": "rellu"}, "unknown activation 'rellu'; did you mean 'relu'"),
        ({"labels": "circle"}, "circle"),
        ({"core": 0}, "core=0; allowed: a whole number, 1 or more"),
        ({"background": -1}, "background=-1; allowed: a whole number, 0 or more"),
        ({"teacher_width": 0}, "teacher_width=0; allowed: a whole number, 1 or more"),
        ({"representation": 0}, "representation=0; allowed: a whole number, 1 or more"),
        ({"width": 1.5}, "width=1.5; allowed: a whole number, 1 or more"),
        ({"batch": 0}, "batch=0; allowed: a whole number, 1 or more"),
        ({"test": 0}, "test=0; allowed: a whole number, 1 or more"),
        ({"steps": -1}, "steps=-1"),
        ({"rate": -1.0}, "rate=-1.0; allowed: a"),
        ({"rate": math.nan}, "rate=nan; allowed: a"),
        ({"init_scale": math.inf}, "init_scale=inf; allowed: a finite number"),
        ({"ridge": 0.0}, "ridge=0.0; allowed: a number above 0"),
        ({"ridge": math.nan}, "ridge=nan; allowed: a finite number"),
        ({"seeds": []}, r"seeds=\[\]; allowed: a list of one or more whole numbers"),
        ({"seeds": [2, 2]}, r"seeds=\[2, 2\]; allowed: .* each once"),
    ],
)
def test_what_is_not_allowed_on_features_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        fitted(**{"seeds": (0,), **given})


def test_a_student_of_pictures_fits_its_teacher_better_the_longer_it_trains():
    short, long = (fitted_pictures(steps=steps)[0]["student"]["id_error"] for steps in (1, 150))
    assert long < short / 2


def test_a_student_of_pictures_fails_where_its_teacher_does_not():
    (rows,) = fitted_pictures(train=800, width=32, batch=48, steps=200, teacher_steps=400)
    assert rows["teacher"]["ood_accuracy"] > rows["student"]["ood_accuracy"] + 0.1
    assert rows["student"]["ood_error"] > 3 * rows["student"]["id_error"]


def test_student_and_standard_network_start_from_the_same_weights():
    student, standard, teacher = (_networks([0, 1], name, 8) for name in ("student", "student", "x"))
    pictures = torch.rand(2, 5, 3, 14, 14)
    first = _bodies(student)(pictures)
    assert torch.equal(first, _bodies(standard)(pictures))
    assert not torch.equal(first, _bodies(teacher)(pictures))
    assert not torch.equal(first[0], first[1])


def test_a_teacher_of_pictures_that_died_in_training_stops_the_run():
    with pytest.raises(ValueError, match="same representation for all 300 examples; train it longer"):
        fitted_pictures((0, 1), learning_rate=10.0)


def test_mnist_is_asked_for_where_the_data_sets_are(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORIZATION_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="mnist"):
        fitted_pictures(digits="mnist")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"digits": "nmist"}, "unknown digits 'nmist'; did you mean 'mnist'"),
        ({"train": 0}, "n=0; allowed: a whole number, 1 or more"),
        ({"width": 0}, "width=0; allowed: a whole number, 1 or more"),
        ({"batch": 0}, "batch=0; allowed: a whole number, 1 or more"),
        ({"steps": 0}, "steps=0; allowed: a whole number, 1 or more"),
        ({"teacher_steps": 0}, "teacher_steps=0; allowed: a whole number, 1 or more"),
        ({"ridge": 0.0, "teacher_steps": 10**9}, r"ridge=0\.0; allowed: a number above 0"),
        ({"learning_rate": 0.0}, r"learning_rate=0\.0; allowed: a number above 0"),
        ({"weight_decay": -1.0}, r"weight_decay=-1\.0"),
        ({"seeds": (1, 1)}, r"seeds=\[1, 1\]; allowed: .* each once"),
    ],
)
def test_what_is_not_allowed_on_pictures_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        fitted_pictures(**given)
