"""One experiment on feature contamination, in a second or two."""

import json
import math
import warnings

import pytest

from memorization.runs.records import clean
from memorization.runs.sweep import sweep
from memorization.studies.feature_contamination.experiments import contaminate
from memorization.studies.feature_contamination.theory import growth_ratio, predicted_growth_ratio

SMALL = {"core": 4, "background": 4, "width": 8, "batch": 32, "steps": 12, "test": 100}
ARMS = [
    {},
    {"activation": "tanh", "rate": 0.2, "decay": 0.1},
    {"activation": "leaky", "slope": 0.3, "environment": 0.5, "penalty": 1.0},
]
THEORY = {"core": 8, "background": 8, "width": 32, "batch": 256, "test": 2000, "steps": 300}


def run(seeds=(0,), **more):
    return contaminate(**{**SMALL, **more}, seeds=list(seeds))


def assert_rows(first, second, tolerance=1e-6, leave_out=()):
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {"activation", *leave_out}:
            assert one[name] == pytest.approx(other[name], rel=tolerance, abs=tolerance, nan_ok=True), name


def test_there_is_a_row_for_each_arm_recorded_step_and_last_shift():
    (rows, _) = run((0, 1), arms=ARMS, record_at=[3], shifts=[0.5, -1, 0.5, 2])
    found = [(row["activation"], row["step"], row["shift"]) for row in rows]
    at = [(0, -1), (3, -1), (12, -1), (12, 0.5), (12, 2)]
    assert found == [(arm, *place) for place in at for arm in ("relu", "tanh", "leaky")]


def test_a_row_holds_settings_risks_and_features():
    settings = "activation slope rate decay init_scale mean flip environment penalty symmetric center"
    features = (
        "c_plus c_minus b_plus b_minus core_norm background_norm good good_core good_background own other"
    )
    risks = [f"{where}_{what}" for where in ("id", "ood") for what in ("risk", "accuracy", "margin")]
    assert set(run()[0][0]) == {*settings.split(), *features.split(), *risks, "step", "shift"}


def test_the_last_step_is_recorded_once():
    assert [row["step"] for row in run(record_at=[12, 0, 12])[0]] == [0, 12]
    assert [row["step"] for row in run(steps=0, shifts=[1.0])[0]] == [0, 0]


def test_a_seed_gives_the_same_rows_alone_and_among_others():
    both, alone = run((0, 1), arms=ARMS), run((1,), arms=ARMS)
    assert_rows(both[1], alone[0])
    assert both[0][-1]["id_risk"] != both[1][-1]["id_risk"]


def test_an_arm_gives_the_same_rows_alone_and_among_others():
    together = run((0, 1), arms=ARMS)
    for a, arm in enumerate(ARMS):
        for seed, rows in enumerate(run((0, 1), arms=[arm])):
            assert_rows(rows, together[seed][a::3])


def test_the_same_arguments_give_the_same_rows():
    assert json.dumps(run(arms=ARMS)) == json.dumps(run(arms=ARMS))


def test_all_arms_of_a_seed_begin_with_the_same_network():
    first, second = run(arms=[{}, {"rate": 0.1, "decay": 0.2}])[0][:2]
    assert_rows([first], [second], leave_out=("rate", "decay"))


def test_an_initial_scale_is_a_factor_of_the_first_layer():
    plain, half = run(arms=[{}, {"init_scale": 0.5}], steps=0)[0]
    assert half["core_norm"] == pytest.approx(plain["core_norm"] / 2)
    for law in ("pytorch", "pytorch_frozen"):
        plain, half = run(arms=[{}, {"init_scale": 0.5}], steps=0, initialization=law)[0]
        assert half["background_norm"] == pytest.approx(plain["background_norm"] / 2)


def test_the_theory_begins_with_the_variance_of_its_ambient_dimension():
    (row,) = run(width=2000, steps=0, core=16, background=16)[0]
    norm = math.sqrt(2) * math.exp(math.lgamma(8.5) - math.lgamma(8))  # mean norm of 16 normal numbers
    assert row["core_norm"] == pytest.approx(norm / math.sqrt(32**2.5), rel=0.02)
    (row,) = run(width=2000, steps=0, core=16, background=16, ambient=64)[0]
    assert row["core_norm"] == pytest.approx(norm / 8, rel=0.02)


@pytest.mark.parametrize("options", [{}, {"examples": 10, "neurons": True, "initialization": "pytorch"}])
def test_rows_can_be_written_as_json(options):
    rows = run((0, 1), arms=ARMS, record_at=[5], shifts=[0.5], **options)
    assert json.loads(json.dumps(clean(rows, "rows"), allow_nan=False))
    nan = {name for one in rows for row in one for name, value in row.items() if value != value}
    assert nan <= {"slope", "good_core", "good_background"}


def test_a_shift_of_one_is_in_distribution():
    row = run(shifts=[1.0])[0][-1]
    for what in ("risk", "accuracy", "margin"):
        assert row[f"ood_{what}"] == row[f"id_{what}"]


def test_fixed_examples_are_reported_beside_fresh_ones():
    last = run(examples=10, steps=400)[0][-1]
    assert last["train_risk"] < 0.01 < 0.02 < last["id_risk"]
    assert last["train_ood_risk"] > 0.3
    assert last["train_accuracy"] == 1


@pytest.mark.filterwarnings("ignore:outside the model's assumptions")
def test_the_training_risk_is_of_what_was_trained_on():
    arms = [{"environment": 3.0}, {"symmetric": True}]
    for row in run(arms=arms, examples=4, width=32, steps=800)[0][2:]:
        assert row["train_risk"] < 0.01


def test_neurons_are_returned_as_lists_that_agree_with_the_means():
    row = run(neurons=True)[0][-1]
    sums = list(zip(row["core_sums"], row["background_sums"], row["positive"], strict=True))
    assert len(sums) == 8
    good = [abs(c) for c, b, positive in sums if (c > 0) == positive and b > 0]
    assert len(good) / 8 == row["good"]
    assert sum(good) / len(good) == pytest.approx(row["good_core"], abs=1e-5)
    assert row["positive"] == [True] * 4 + [False] * 4


@pytest.mark.parametrize("initialization", ["theory", "pytorch_frozen"])
def test_latent_and_ambient_coordinates_give_the_same_rows(initialization):
    options = {"ambient": 10, "initialization": initialization, "arms": [{"decay": 0.05}], "momentum": 0.5}
    latent, ambient = (run(coordinates=c, **options)[0] for c in ("latent", "ambient"))
    assert_rows(latent, ambient, tolerance=2e-5)


@pytest.mark.parametrize("options", [{}, {"initialization": "pytorch", "loss": "logistic", "examples": 10}])
def test_the_closed_gradient_and_autograd_give_the_same_rows(options):
    closed, autograd = (run(arms=ARMS, gradient=g, **options)[0] for g in ("closed", "autograd"))
    assert_rows(closed, autograd, tolerance=2e-5)


@pytest.mark.parametrize(("initialization", "changes"), [("pytorch", True), ("pytorch_frozen", False)])
def test_output_weights_are_trained_unless_frozen(initialization, changes):
    options = {"initialization": initialization, "ambient": 10, "coordinates": "ambient", "optimizer": "adam"}
    rows = run(arms=[{"rate": 0.1}], neurons=True, steps=60, width=32, loss="squared", **options)[0]
    assert (rows[0]["positive"] != rows[-1]["positive"]) is changes


@pytest.fixture(scope="module")
def theory():
    """Rows of ReLU and identity in the theory's setting, at a small size; by activation and step."""
    arms = [{"rate": 1.0}, {"rate": 1.0, "activation": "identity"}]
    rows = contaminate(**THEORY, arms=arms, record_at=[5, 15], shifts=[0.5], seeds=[0, 1])
    return [{(row["activation"], row["step"], row["shift"]): row for row in one} for one in rows]


def test_a_relu_network_learns_background_and_fails_out_of_distribution(theory):
    for rows in theory:
        last = rows["relu", 300, -1.0]
        assert last["id_risk"] < 0.03
        assert last["ood_risk"] > 0.6
        assert min(last["b_plus"], last["b_minus"]) > 0.5 * last["c_plus"] > 0.1
        assert last["own"] > 0.8 > 0.2 > last["other"]
        assert last["good"] > 0.8


def test_a_linear_network_does_not(theory):
    for rows in theory:
        first, last = rows["identity", 0, -1.0], rows["identity", 300, -1.0]
        assert last["id_risk"] < 0.02
        assert last["ood_risk"] < last["id_risk"] + 0.02
        assert abs(last["b_plus"]) < 0.01
        assert last["background_norm"] == pytest.approx(first["background_norm"], rel=0.05)


def test_asymmetry_predicts_how_fast_background_grows(theory):
    for rows in theory:
        before, after = (rows["relu", step, -1.0] for step in (5, 15))
        own, other = ((before[name] + after[name]) / 2 for name in ("own", "other"))
        assert growth_ratio(before, after) == pytest.approx(predicted_growth_ratio(own, other), abs=0.04)


@pytest.mark.filterwarnings("ignore:outside the model's assumptions")
@pytest.mark.parametrize("remedy", [{"mean": 0.5}, {"flip": 0.5}, {"symmetric": True}, {"center": True}])
def test_backgrounds_of_mean_zero_are_not_learned(remedy):
    (row,) = contaminate(**{**THEORY, "steps": 150}, arms=[{"rate": 1.0, **remedy}], seeds=[0])[0][1:]
    assert abs(row["b_plus"]) < 0.1 * row["c_plus"]


def test_a_smooth_activation_that_is_odd_learns_no_background():
    (row,) = contaminate(**{**THEORY, "steps": 150}, arms=[{"rate": 1.0, "activation": "tanh"}], seeds=[0])[
        0
    ][1:]
    assert abs(row["b_plus"]) < 0.1 * row["c_plus"]


def test_outside_the_assumptions_there_is_one_warning_that_points_to_the_caller():
    with pytest.warns(UserWarning, match=r"outside the model's assumptions: .* of arms \[1, 2\]") as caught:
        run((0, 1), arms=[{}, {"mean": 0.5}, {"flip": 0.1}])
    assert [warning.filename for warning in caught] == [__file__]


def test_inside_the_assumptions_there_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(arms=ARMS)


def test_a_sweep_over_arms_outside_the_assumptions_goes_through():
    points = [{**SMALL, "arms": [{"mean": 0.5}]}]
    with pytest.warns(UserWarning, match="outside the model's assumptions") as caught:
        table = sweep(contaminate, points, seeds=2, stacked=True, progress=False)
    assert table["step"].tolist() == [0, 12] * 2
    assert {warning.filename for warning in caught} == {__file__}
