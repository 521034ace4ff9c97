"""The figures of the feature-contamination page draw what was measured, where it is looked for."""

import pandas as pd
import pytest

from memorization.report.figures import legend_above, panels, show
from memorization.report.styles import BACKGROUND, COLORS
from memorization.studies.feature_contamination import (
    figures as contamination,
)
from memorization.studies.feature_contamination import (
    figures as contamination_formulas,
)
from memorization.studies.feature_contamination import (
    figures as contamination_sweeps,
)

IDENTITY = {"activation": "identity", "slope": 1.0}
HALF = {"activation": "leaky", "slope": 0.5}


def title_of(ax):
    return "".join(ax.get_title(loc=place) for place in ("left", "center", "right"))  # the theme moves titles


def line_of(ax, label):
    return next(line for line in ax.lines if line.get_label() == label)


def rows_of(ax):
    return [tick.get_text() for tick in ax.get_yticklabels()]


def test_risk_is_solid_in_and_dashed_and_hollow_out_of_distribution_in_the_color_of_the_arm(contaminated):
    _, axes = panels(2)
    contamination.draw_risks(axes, contaminated({}, IDENTITY))
    inside, outside = (line_of(axes[0], f"ReLU, {w} distribution") for w in ("in", "out of"))
    assert (inside.get_linestyle(), outside.get_linestyle()) == ("-", "--")
    assert inside.get_color() == outside.get_color() == COLORS["ReLU"]
    assert (inside.get_markerfacecolor(), outside.get_markerfacecolor()) == (COLORS["ReLU"], BACKGROUND)
    assert line_of(axes[1], "identity, in distribution").get_color() == COLORS["identity"]


def test_risks_are_those_at_the_shift_of_the_paper(contaminated):
    _, axes = panels(2)
    table = contamination.draw_risks(axes, contaminated({}))
    assert table.query("quantity == 'ood_risk'")["mean"].tolist() == pytest.approx([1.005] * 5)
    assert table.query("quantity == 'id_risk'")["mean"].iloc[-1] == pytest.approx(0.105)


def test_risks_of_two_losses_do_not_share_an_axis(contaminated):
    _, axes = panels(2)
    both = pd.concat([contaminated({}), contaminated(IDENTITY, loss="logistic")])
    with pytest.raises(ValueError, match="one axis cannot hold several losses, got hinge, logistic"):
        contamination.draw_risks(axes, both)


def test_correlations_have_a_panel_per_arm_at_one_scale(contaminated):
    _, axes = panels(2)
    records = contaminated({}, IDENTITY)
    halved = records["slope"].map({0.0: 1.0, 1.0: 0.5})
    contamination.draw_correlations(axes, records.assign(c_plus=halved * records["c_plus"], c_minus=0.0))
    assert [title_of(ax) for ax in axes] == ["ReLU", "identity"]
    assert axes[0].get_ylim() == axes[1].get_ylim() == pytest.approx((-0.22, 0.22))


def test_correlations_tell_neurons_by_the_line_and_features_by_the_color(contaminated):
    _, axes = panels(1)
    contamination.draw_correlations(axes, contaminated({}))
    core, background = line_of(axes[0], "core, − neurons"), line_of(axes[0], "background, − neurons")
    assert (core.get_linestyle(), core.get_ydata()[-1]) == ("--", pytest.approx(-0.2))
    assert (background.get_color(), background.get_ydata()[-1]) == (
        COLORS["background feature"],
        pytest.approx(0.2),
    )


def test_neurons_are_followed_from_start_to_end_beside_the_other_arm(contaminated):
    _, axes = panels(4)
    table = contamination.draw_neurons(axes, contaminated({}, IDENTITY))
    titles = ["ReLU, before training", "ReLU, step 10", "ReLU, step 100", "identity, step 100"]
    assert [title_of(ax) for ax in axes] == titles
    end = table.query("panel == 'ReLU, step 100'")
    assert end[["core", "background"]].values.tolist() == [[0.2, 0.2], [-0.2, 0.2], [0, 0.01]]
    assert end["sign"].tolist() == ["+", "−", "+"]


def test_neurons_with_positive_output_weight_have_a_color_and_marker_of_their_own(contaminated):
    _, axes = panels(4)
    contamination.draw_neurons(axes, contaminated({}, IDENTITY))
    positive, negative = (line_of(axes[2], f"{sign} output weight") for sign in ("positive", "negative"))
    assert list(positive.get_xdata()) == [0.2, 0]
    assert positive.get_color() != negative.get_color()
    assert positive.get_marker() != negative.get_marker()


def test_panels_of_one_stage_of_training_share_their_scale(contaminated):
    _, axes = panels(4)
    contamination.draw_neurons(axes, contaminated({}, IDENTITY))
    limits = [(*ax.get_xlim(), *ax.get_ylim()) for ax in axes]
    assert limits[0] == limits[1] != limits[2] == limits[3]


def test_records_without_neurons_say_how_to_make_them(contaminated):
    _, axes = panels(4)
    with pytest.raises(ValueError, match=r"hold no neurons; make them with contaminate\(neurons=True\)"):
        contamination.draw_neurons(axes, contaminated({}).drop(columns="core_sums"))


def test_records_of_start_and_end_alone_show_no_neuron_on_its_way(contaminated):
    _, axes = panels(4)
    few = contaminated({}, IDENTITY).query("step in (0, 100)")
    with pytest.raises(ValueError, match=r"the steps recorded are \[0, 100\]; give record_at a step between"):
        contamination.draw_neurons(axes, few)


def test_firing_is_not_drawn_for_the_identity(contaminated):
    _, (ax,) = panels(1)
    table = contamination.draw_asymmetry(ax, contaminated({}, IDENTITY))
    assert ax.get_legend_handles_labels()[1] == ["ReLU: own class", "ReLU: other class"]
    assert table.query("quantity == 'other'")["mean"].tolist() == [0.5, 0, 0, 0, 0]


def test_growth_is_measured_and_predicted_for_each_slope(contaminated):
    _, (ax,) = panels(1)
    table = contamination_formulas.draw_growth(ax, contaminated({}, HALF, IDENTITY))
    assert table["measured"].tolist() == pytest.approx([1, 1 / 3, 0])
    assert table["predicted"].tolist() == pytest.approx([1, 1 / 3, 0])
    assert [text.get_text() for text in ax.texts] == ["ReLU", "slope 0.5", "identity"]


def test_growth_averages_the_firing_over_the_recorded_steps(contaminated):
    _, (ax,) = panels(1)
    table = contamination_formulas.draw_growth(ax, contaminated({}), between=(0, 10))
    assert table["predicted"].tolist() == pytest.approx([0.5])  # own 0.5 and 1, other 0.5 and 0


def test_growth_needs_both_ends_of_its_interval(contaminated):
    _, (ax,) = panels(1)
    with pytest.raises(ValueError, match="step 15 was not recorded; add it to record_at"):
        contamination_formulas.draw_growth(ax, contaminated({}), between=(15, 30))


def test_growth_of_two_runs_of_a_slope_and_seed_is_refused(contaminated):
    _, (ax,) = panels(1)
    both = pd.concat([contaminated({}), contaminated({}, width=64)])
    with pytest.raises(ValueError, match="more than one run of a slope and seed"):
        contamination_formulas.draw_growth(ax, both)


def test_margins_come_with_the_formula_as_far_as_it_holds(contaminated):
    _, (ax,) = panels(1)
    table = contamination_formulas.draw_margins(ax, contaminated({})).set_index("shift")
    assert table["mean"].to_dict() == {-2: -2, -1: -1, 0: 0, 0.5: 0.5, 1: 1}
    expected = {-1: 0.1, 0: 0.2, 0.5: 0.25, 1: 0.3}  # core 4 * 0.2 / 4, background shift * 2 * 0.2 / 4
    assert pd.isna(table["formula"][-2])
    assert table["formula"].drop(-2).to_dict() == pytest.approx(expected)


def test_the_formula_knows_the_mean_of_the_background(contaminated):
    _, (ax,) = panels(1)
    table = contamination_formulas.draw_margins(ax, contaminated({"mean": 0.5})).set_index("shift")
    assert table["formula"].drop(-2).tolist() == pytest.approx([0.2] * 4)


def test_the_formula_of_the_identity_holds_no_background(contaminated):
    _, (ax,) = panels(1)
    table = contamination_formulas.draw_margins(ax, contaminated(IDENTITY)).set_index("shift")
    assert table["formula"].drop(-2).tolist() == pytest.approx([0.4] * 4)  # core 4 * 0.2 / 2


@pytest.mark.parametrize("draw", ["draw_margins", "draw_shift_accuracy"])
def test_the_axis_of_shifts_runs_away_from_training(contaminated, draw):
    _, (ax,) = panels(1)
    getattr(contamination_formulas, draw)(ax, contaminated({}))
    assert ax.get_xlim()[0] > 1 > -2 > ax.get_xlim()[1]
    ticks = [tick.get_text() for tick in ax.get_xticklabels()]
    assert ticks == ["−2", "−1\nnegated", "0", "0.5", "1\ntraining"]


def test_accuracy_against_the_shift_is_that_after_training(contaminated):
    _, (ax,) = panels(1)
    table = contamination_formulas.draw_shift_accuracy(ax, contaminated({}, IDENTITY))
    relu = table.query("arm == 'ReLU'").set_index("shift")["mean"]
    assert relu.to_dict() == pytest.approx({-2: 0.605, -1: 0.705, 0: 0.805, 0.5: 0.855, 1: 0.905})


@pytest.mark.parametrize(
    ("dial", "values", "places"),
    [
        ("mean", (0.0, 0.25, 0.5), [0, 0.25, 0.5]),
        ("mean", (0.1, 0.2), [0.3, 0.4]),
        ("decay", (0.0, 0.01), [0, 0.01]),
        ("flip", (0.0, 0.5), [0, 0.5]),
    ],
)
def test_a_sweep_stands_where_its_setting_is(contaminated, dial, values, places):
    _, (ax,) = panels(1)
    table = contamination_sweeps.draw_sweep(ax, contaminated(*({dial: v} for v in values)), dial)
    assert table.query("quantity == 'ood_risk'")["value"].tolist() == pytest.approx(places)


def test_a_sweep_over_points_counts_all_features(contaminated):
    _, (ax,) = panels(1)
    both = pd.concat([contaminated({}, core=n, background=n) for n in (8, 16)])
    table = contamination_sweeps.draw_sweep(ax, both, "features", ("other",), ylabel="firing [fraction]")
    assert table["value"].tolist() == [16, 32]
    assert ax.get_xscale() == "log"


def test_a_sweep_draws_how_much_background_there_is_beside_the_core(contaminated):
    _, (ax,) = panels(1)
    table = contamination_sweeps.draw_sweep(ax, contaminated({}, HALF), "slope")
    assert table.query("quantity == 'b/c'")["mean"].tolist() == pytest.approx([1, 1 / 3])


@pytest.mark.parametrize(
    ("dial", "quantities", "message"),
    [
        ("means", ("id_risk",), "unknown setting 'means'.*choose one of slope, mean"),
        ("mean", ("risk",), "unknown quantity 'risk'.*choose one of id_risk, ood_risk"),
    ],
)
def test_an_unknown_dial_or_quantity_lists_those_there_are(contaminated, dial, quantities, message):
    _, (ax,) = panels(1)
    with pytest.raises(ValueError, match=message):
        contamination_sweeps.draw_sweep(ax, contaminated({}), dial, quantities)


def test_the_dial_names_its_two_ends(contaminated):
    _, axes = panels(2)
    table = contamination_sweeps.draw_dial(axes, contaminated({}, HALF, IDENTITY))
    assert {text.get_text(): text.get_color() for text in axes[0].texts} == {
        "ReLU": COLORS["ReLU"], "identity": COLORS["identity"],
    }  # fmt: skip
    assert table.query("quantity == 'b'")["mean"].tolist() == pytest.approx([0.2, 0.2 / 3, 0])


def test_activations_are_rows_from_the_start_to_the_end_of_the_same_seeds(contaminated):
    _, axes = panels(2)
    table = contamination_sweeps.draw_activations(axes, contaminated({}, HALF))
    assert rows_of(axes[0]) == ["ReLU", "leaky ReLU 0.5"]
    means = table.query("arm == 'ReLU'").set_index("quantity")["mean"]
    assert means[["background_norm_start", "background_norm"]].tolist() == pytest.approx([0.15, 0.35])
    assert means["ood_accuracy"] == pytest.approx(0.705)


def test_an_activation_with_a_slope_has_the_color_of_its_kind(contaminated):
    _, axes = panels(2)
    contamination_sweeps.draw_activations(axes, contaminated(HALF))
    assert axes[1].lines[0].get_color() == COLORS["leaky ReLU"]


def test_remedies_begin_with_the_largest_risk_outside_and_the_plain_network_is_none(contaminated):
    _, axes = panels(2)
    records = contaminated({}, {"center": True}, HALF)
    worse = records["center"] & (records["step"] == records["step"].max())
    table = contamination_sweeps.draw_remedies(axes, records.assign(ood_risk=records["ood_risk"] + worse))
    assert rows_of(axes[0])[0] == "centered inputs"
    place = rows_of(axes[0]).index("none")
    plain = {line.get_color() for line in axes[0].lines if set(line.get_ydata()) == {place}}
    assert plain == {COLORS["ReLU"]}
    ratios = table.query("quantity == 'b/c'").set_index("remedy")["mean"].to_dict()
    assert ratios == pytest.approx({"none": 1, "centered inputs": 1, "leaky ReLU 0.5": 1 / 3})


def test_rows_are_named_at_the_left_only(contaminated):
    _, axes = panels(2)
    contamination_sweeps.draw_remedies(axes, contaminated({}, HALF))
    assert [ax.yaxis.get_tick_params()["labelleft"] for ax in axes] == [True, False]


DRAWINGS = {
    "risks": (contamination.draw_risks, 2),
    "correlations": (contamination.draw_correlations, 2),
    "neurons": (contamination.draw_neurons, 4),
    "asymmetry": (lambda axes, records: contamination.draw_asymmetry(axes[0], records), 1),
    "growth": (lambda axes, records: contamination_formulas.draw_growth(axes[0], records), 1),
    "margins": (lambda axes, records: contamination_formulas.draw_margins(axes[0], records), 1),
    "dial": (contamination_sweeps.draw_dial, 2),
    "activations": (contamination_sweeps.draw_activations, 2),
    "remedies": (contamination_sweeps.draw_remedies, 2),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_contamination_figure_fits_the_rules_of_a_page(run, contaminated, name):
    draw, count = DRAWINGS[name]
    figure, axes = panels(count)
    data = draw(axes, contaminated({}, IDENTITY))
    legend_above(figure)
    html = show(
        run, figure, data, name=name, title="The background grows with the core",
        alt="Marks and lines of two networks, one of which goes up while the other stays.",
    )  # fmt: skip
    assert "max-width: 600px" in html.data  # the panels can be put below each other
