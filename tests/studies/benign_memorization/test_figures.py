"""The figures of the benign-memorization page draw what was measured, where it is looked for."""

import pandas as pd
import pytest
import torch

from memorization.data.augmentation.policies import augmentation
from memorization.data.splits import memorized_split
from memorization.draws import generator
from memorization.report.figures import legend_above, panels, show
from memorization.report.styles import BACKGROUND, COLORS
from memorization.studies.benign_memorization import figures as benign
from memorization.studies.benign_memorization.experiments import _training_set
from memorization.studies.benign_memorization.figures import LabelledPictures, labelled_pictures
from memorization.training.batches import LabelledViews


def legend_of(ax):
    return ax.get_legend_handles_labels()[1]


def title_of(ax):
    return "".join(ax.get_title(loc=place) for place in ("left", "center", "right"))  # the theme moves titles


def ticks_of(ax):
    return [tick.get_text() for tick in ax.get_xticklabels()]


def pictures(channels=1, size=4):
    images = torch.full((2, channels, size, size), 0.5)
    return LabelledPictures(images, ("three", "four"), ("six", "one"), images[:1].repeat(3, 1, 1, 1) * 3, 10)


@pytest.fixture
def three_arms(benign_run):
    return pd.concat([benign_run(strength=0.0, gain=-0.05), benign_run(), benign_run(noise=0.0, gain=0.15)])


@pytest.fixture
def by_views(benign_run):
    shared = [benign_run(views=views, gain=views / 1000) for views in (1, 4, 16)]
    return pd.concat([*shared, benign_run(views=0, gain=0.1)])


def test_each_picture_has_its_true_class_above_and_its_random_label_below():
    _, axes = panels(2)
    benign.draw_random_labels(axes, pictures())
    assert [text.get_text() for text in axes[0].texts][:4] == ["three", "six", "four", "one"]
    assert [text.get_text() for text in axes[1].texts][:6] == ["", "six"] * 3


def test_which_word_is_true_and_which_is_random_is_said_in_the_letters_of_the_words():
    _, axes = panels(2, titles=["one", "other"])
    benign.draw_random_labels(axes, pictures())
    looks = {text.get_text(): (text.get_color(), text.get_weight()) for ax in axes for text in ax.texts}
    assert looks["above: true class"] == looks["three"]
    assert looks["below: random label"] == looks["below: the same random label"] == looks["six"]
    assert looks["three"] != looks["six"]


def test_the_pixels_that_are_drawn_come_back_clamped():
    _, axes = panels(2)
    table = benign.draw_random_labels(axes, pictures())
    assert len(table) == 5 * 16
    assert table.groupby("panel")["gray"].unique().map(list).to_dict() == {"images": [0.5], "views": [1.0]}


def test_color_pictures_come_back_with_three_channels():
    _, axes = panels(2)
    assert {"red", "green", "blue"} < set(benign.draw_random_labels(axes, pictures(channels=3)))


def test_curves_begin_before_the_first_step(three_arms):
    _, axes = panels(3, columns=3)
    table = benign.draw_memorization_curves(axes, three_arms)
    assert table["epoch"].unique().tolist() == [0, 3, 9]
    assert ticks_of(axes[0])[0] == "0"
    assert [title_of(ax) for ax in axes] == ["clean views", "fresh views", "k-NN probe"]


def test_the_probe_before_training_is_a_dashed_line_beside_the_curves(three_arms):
    _, axes = panels(3, columns=3)
    benign.draw_memorization_curves(axes, three_arms)
    dashed = [line for line in axes[2].lines if line.get_linestyle() == "--"]
    assert [line.get_ydata()[0] for line in dashed] == pytest.approx([0.805])
    assert "initialization" in legend_of(axes[2])


def test_depth_shows_the_end_of_training_with_one_color_an_arm(three_arms):
    _, axes = panels(2)
    table = benign.draw_depth(axes, three_arms)
    colors = {line.get_label(): line.get_color() for line in axes[0].lines}
    assert colors == {
        "initialization": COLORS["initialization"], "no augmentation": COLORS["no augmentation"],
        "augmentation": COLORS["augmentation"], "true labels": COLORS["true labels"],
        "chance": COLORS["initialization"],
    }  # fmt: skip
    ends = table.query("arm == 'augmentation' and quantity == 'noise_probe'").set_index("site")["mean"]
    assert ends.to_dict() == pytest.approx({"conv1": 0.1, "embedding": 0.28, "hidden": 0.46, "logits": 0.64})


def test_a_network_that_learned_true_labels_has_no_random_ones_to_read(three_arms):
    _, axes = panels(2)
    table = benign.draw_depth(axes, three_arms)
    assert "true labels" in legend_of(axes[0])
    assert "true labels" not in legend_of(axes[1])
    assert "true labels" not in set(table.query("quantity == 'noise_probe'")["arm"])


def test_the_projector_is_shaded_from_behind_the_embedding(three_arms):
    _, axes = panels(2)
    benign.draw_depth(axes, three_arms, classes=4)
    shade = axes[0].patches[0].get_extents().transformed(axes[0].transData.inverted())
    assert (shade.x0, shade.x1) == pytest.approx((1.5, 3.35))
    assert ticks_of(axes[0]) == ["conv1", "embedding", "hidden", "logits"]
    assert [line.get_ydata()[0] for line in axes[1].lines if line.get_label() == "chance"] == [0.25]


def test_what_layers_know_is_told_apart_by_the_labels_of_training(three_arms):
    depth = benign.draw_depth(panels(2)[1], three_arms)
    _, axes = panels(2)
    shown = benign.draw_known(axes, depth, classes=4)
    assert legend_of(axes[0]) == ["true class", benign.BEFORE, "chance"]
    assert legend_of(axes[1]) == ["random label", "true class", benign.BEFORE, "chance"]
    known = shown.query("panel == 'random labels' and quantity == 'random label'").set_index("site")["mean"]
    assert known.to_dict() == pytest.approx({"conv1": 0.1, "embedding": 0.28, "hidden": 0.46, "logits": 0.64})
    assert [line.get_ydata()[0] for line in axes[1].lines if line.get_label() == "chance"] == [0.25]


def test_what_an_untrained_network_knows_is_dashed_in_both_panels(three_arms):
    depth = benign.draw_depth(panels(2)[1], three_arms)
    _, axes = panels(2)
    shown = benign.draw_known(axes, depth, classes=4)
    untrained = depth.query("arm == 'initialization' and quantity == 'clean_probe'")["mean"].tolist()
    for ax in axes:
        dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
        assert [list(line.get_ydata()) for line in dashed] == [pytest.approx(untrained)]
    assert shown.groupby("panel")["quantity"].apply(lambda names: benign.BEFORE in set(names)).all()


def test_invariance_is_drawn_for_every_arm_below_the_line_of_none(three_arms):
    _, (ax,) = panels(1)
    table = benign.draw_invariance(ax, three_arms)
    assert table["arm"].unique().tolist() == [
        "initialization", "no augmentation", "augmentation", "true labels",
    ]  # fmt: skip
    assert ax.get_ylim() == pytest.approx((0, 1.16))


def test_two_networks_in_one_depth_figure_are_refused(benign_run):
    _, axes = panels(2)
    both = pd.concat([benign_run(), benign_run(hidden=[64])])
    with pytest.raises(ValueError, match="the records hold several runs or curves"):
        benign.draw_depth(axes, both)


def test_fresh_views_stand_behind_the_largest_number_of_fixed_ones(by_views):
    _, axes = panels(2)
    table = benign.draw_views(axes, by_views)
    assert ticks_of(axes[0]) == ["1", "4", "16", "∞ (fresh)"]
    probe = table.query("arm == 'augmentation' and quantity == 'clean_probe'")
    assert probe.set_index("views")["mean"].to_dict() == pytest.approx(
        {"1": 0.806, "4": 0.809, "16": 0.821, "∞ (fresh)": 0.905}
    )


def test_the_views_of_training_are_the_fixed_ones_and_fresh_ones_where_each_visit_has_another(by_views):
    _, axes = panels(2)
    table = benign.draw_views(axes, by_views).query("quantity == 'seen_view'")
    assert table["mean"].tolist() == pytest.approx([0.98, 0.98, 0.98, 0.9])
    assert legend_of(axes[1]) == ["views of training", "unseen views"]
    assert axes[1].lines[1].get_markerfacecolor() == BACKGROUND


def test_own_labels_are_compared_with_shared_ones_at_fixed_views_only(by_views, benign_run):
    _, axes = panels(2)
    own = [benign_run(views=views, view_labels="independent", gain=-0.05) for views in (1, 4, 16)]
    table = benign.draw_shared_independent(axes, pd.concat([by_views, *own]))
    assert legend_of(axes[0]) == ["initialization", "one label per image", "a label per view"]
    assert table["views"].unique().tolist() == ["1", "4", "16"]
    assert table.query("arm == 'independent labels' and quantity == 'clean_probe'")["mean"].max() < 0.8


def test_strength_begins_at_none(benign_run):
    _, axes = panels(2)
    table = benign.draw_strength(axes, pd.concat([benign_run(strength=s) for s in (0.0, 0.5, 1.0, 2.0)]))
    assert ticks_of(axes[0]) == ["0", "0.5", "1", "2"]
    assert set(table["quantity"]) == {"clean_probe", "clean_view", "fresh_view"}
    assert legend_of(axes[1]) == ["fresh views", "clean views"]
    assert axes[1].get_ylim() == (0, 1.04)
    assert axes[1].transData.transform((0, 0))[0] == pytest.approx(axes[1].bbox.x0, abs=20)  # pixels


def test_the_projector_without_a_hidden_layer_comes_first_and_the_deepest_last(benign_run):
    _, axes = panels(2)
    sizes = [[512, 512], [1024], [], [64], [64, 32]]
    table = benign.draw_projector(axes, pd.concat([benign_run(hidden=h) for h in sizes]))
    assert ticks_of(axes[1]) == ["none", "64", "1024", "64+32", "2×512"]
    assert set(table["hidden"]) == set(ticks_of(axes[1]))
    assert set(table["quantity"]) == {"clean_probe", "noise_probe"}


def test_label_noise_compares_augmentation_with_none_at_each_level(benign_run):
    _, (ax,) = panels(1)
    points = [benign_run(noise=p, strength=s) for p in (0.0, 0.5, 1.0) for s in (0.0, 0.5)]
    table = benign.draw_label_noise(ax, pd.concat(points))
    assert legend_of(ax) == ["initialization", "no augmentation", "augmentation"]
    assert table.query("arm == 'augmentation'")["noise"].tolist() == [0, 0.5, 1]


def test_groups_are_drawn_where_they_were_measured(benign_run):
    _, (ax,) = panels(1)
    table = benign.draw_groups(ax, pd.concat([benign_run(group=g, strength=0.0) for g in (1, 3, 30)]))
    assert ticks_of(ax) == ["1", "3", "30"]
    assert table.query("arm == 'no augmentation'")["group"].tolist() == [1, 3, 30]


def test_data_sets_are_rows_of_dots_with_intervals(benign_run, three_arms):
    _, (ax,) = panels(1)
    other = benign_run(dataset="fashion_mnist", seeds=(0,))
    pixels = {"digits": 0.91, "cifar10": 0.3}
    table = benign.draw_datasets(ax, pd.concat([three_arms, other]), pixels).set_index(["dataset", "arm"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["digits", "fashion mnist"]
    assert table.loc[("digits", "augmentation"), "mean"] == pytest.approx(0.905)
    assert table.loc[("digits", "augmentation"), "half"] == pytest.approx(12.7062 * 0.005)  # two seeds
    assert table.loc[("digits", "initialization"), "seeds"] == 2
    assert pd.isna(table.loc[("fashion_mnist", "augmentation"), "half"])
    assert ("cifar10", "raw pixels") not in table.index


def test_two_runs_of_one_arm_of_a_data_set_are_refused(benign_run):
    _, (ax,) = panels(1)
    with pytest.raises(ValueError, match="more than one row for dataset=digits, arm=augmentation, seed=0"):
        benign.draw_datasets(ax, pd.concat([benign_run(), benign_run(strength=1.0)]))


@pytest.mark.parametrize("draw", [benign.draw_depth, benign.draw_memorization_curves, benign.draw_invariance])
def test_a_figure_with_its_data_fits_the_rules_of_a_page(run, three_arms, draw):
    count = {"draw_depth": 2, "draw_memorization_curves": 3, "draw_invariance": 1}[draw.__name__]
    figure, axes = panels(count, columns=count)
    data = draw(axes if count > 1 else axes[0], three_arms)
    legend_above(figure)
    html = show(
        run, figure, data, name="a", title="What is stored sits late",
        alt="One line an arm, which rises from the first to the last site.",
    )  # fmt: skip
    assert "max-width: 600px" in html.data  # the panels can be put below each other


def test_a_title_that_a_panel_has_is_kept(three_arms):
    _, axes = panels(2, titles=["mine", "yours"])
    benign.draw_depth(axes, three_arms)
    assert [title_of(ax) for ax in axes] == ["mine", "yours"]


def test_labels_and_views_are_those_of_training():
    pictures = labelled_pictures(images=20, views=3, memorized=100, reference=100, seed=2)
    split = memorized_split("digits", memorized=100, reference=100)
    images, labels = _training_set([split], 1.0, 1, [2])
    views = LabelledViews(images, labels, (2,), 10, augmentation("small_digits"), torch.tensor([0.5]))
    first = torch.zeros(1, 1, dtype=torch.int64)
    seen = torch.cat([views.batch(first, visit)[0][0] for visit in range(3)])
    assert pictures.random == tuple(str(label) for label in labels[0, :20].tolist())
    assert pictures.true == tuple(str(label) for label in split.memorized.labels[:20].tolist())
    assert torch.equal(pictures.images, images[:20])
    assert torch.allclose(pictures.views, seen)


def test_random_labels_are_not_the_true_ones():
    pictures = labelled_pictures(images=100, seed=0)
    agreeing = sum(a == b for a, b in zip(pictures.true, pictures.random, strict=True))
    assert 0 <= agreeing < 30  # one in ten by chance


@pytest.mark.parametrize(("images", "views"), [(0, 1), (401, 1), (1, 0)])
def test_a_number_of_pictures_that_is_not_there_is_refused(images, views):
    with pytest.raises(ValueError, match=r"400 memorized images: choose images in 1\.\.400 and views >= 1"):
        labelled_pictures(images=images, views=views)


def test_the_generator_of_the_labels_is_that_of_the_seed():
    assert labelled_pictures(seed=0).random != labelled_pictures(seed=1).random
    assert generator(0, "labels").initial_seed() != generator(1, "labels").initial_seed()


def test_trails_go_up_to_the_epoch_that_is_looked_at(by_views):
    trails = benign.training_trails(by_views, by_views["strength"].max())
    views = trails[trails["varies"] == "number of views"]
    assert {"1 view", "fresh views"} <= set(views["arm"])
    assert (trails["epoch"] <= trails["until"]).all()
    first = views[views["until"] == views["until"].min()]
    assert first["epoch"].nunique() == 1
    colors = benign.trail_colors(trails)
    assert set(colors) == set(trails["arm"])
    assert colors["1 view"] != colors["fresh views"]
