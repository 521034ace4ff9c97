# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown] tags=["theory"]
# (nb-benign-memorization)=
# # Can a network learn from random labels?
#
# Give every image a label drawn by lot, and train until all of them are known by heart. There is nothing to be learned
# from such labels. {cite:t}`anagnostidis2023curious` do this with the usual data augmentation and find features
# inside the network that tell the *true* classes apart, although nobody ever named them: *benign memorization*. Two
# questions follow. Why does it happen? And where in the network do the random labels sit?

# %% [markdown] tags=["theory"]
# ## What is the same as in the paper, and what is not
#
# Objective, probe, and the split into encoder and projector are
# those of the paper's published code. The `book` profile uses a small convolutional network and a part of scikit-learn's
# 8×8 digits instead of a ResNet-18 and 50,000 images of CIFAR-10, and mild rotations and shifts instead of crops and
# colors. `desktop` adds MNIST, Fashion-MNIST and CIFAR-10; `paper` is the authors' recipe. The paper's tables and
# curves could not be checked, so none of their numbers is printed here: every number on this page was measured by
# this run or, where a section says so, by a published one of the `desktop` profile.
# [The idea in one page](../book/ideas/benign_memorization.md) comes first for those who are new to it, and
# [its own section](benign-price) says what this page costs. Words are in the {ref}`glossary <glossary>`, symbols in the
# {ref}`notation <notation>`.

# %% [markdown] tags=["setup"]
# ## Parameters, and how to run this page
#
# Every number that this page depends on is a parameter; what titles, texts and tables say of results is computed by the
# run, as the verdicts are.

# %% tags=["parameters", "hide-input"]
profile: str = "book"  # which parameter file the values come from | name | one of smoke, book, desktop, paper
dataset: str = "digits"  # data set of the page's main experiments | name | one of digits, mnist, fashion_mnist, cifar10, cifar100, tiny_imagenet
memorized: int = 400  # images N that are memorized | images | 20..100000
reference: int = 400  # images that vote in the k-NN probe, with true labels; the memorized ones are among them | images | 20..100000
n_test: int = 1397  # test images | images | 20..10000
side: int = 8  # side of the images, average-pooled to it | pixels | 4..64
split: str = "seed"  # which images are memorized, vote and test: fixed, the same for all seeds, or drawn by each seed | name | one of fixed, seed
architecture: str = "small_cnn"  # the network | name | one of small_cnn, mlp, resnet18_small, resnet18_medium
widths: list[int] = [16, 32, 64]  # channels of the encoder's blocks (small_cnn), or neurons of its layers (mlp) | channels | 1..1024; may repeat
strides: list[int] = [1, 2, 2]  # strides of the blocks (small_cnn) | pixels | 1..4; may repeat
hidden: list[int] = [1024]  # hidden widths of the projector | neurons | 1..65536; may repeat
policy: str = "small_digits"  # augmentation | name | one of small_digits, small_mnist, small_fashion, small_color, full, full_rotations, most_difficult, isometry, myrandaugment
strength: float = 0.5  # strength of the augmentation in the standard arm | factor | (0..4]
epochs: int = 800  # epochs with augmentation | epochs | 1..20000
epochs_plain: int = 300  # epochs without augmentation | epochs | 1..20000
epochs_true: int = 200  # epochs with true labels (and augmentation) | epochs | 1..20000
batch: int = 100  # images a step | images | 2..4096
learning_rate: float = 0.001  # of Adam, constant | rate | (0..1)
precision: str = "float32"  # of the network's arithmetic | name | one of float32, bf16
compiled: bool = False  # compile the network's forward and backward pass: worth it on a GPU | flag | any
stop_at: float = 0.999  # in the sweeps over views and strengths: a network stops after 20 epochs at this batch accuracy; 0 never stops | fraction | 0..1
probe_at: list[int] = [25, 50, 100, 200, 400]  # epochs after which to probe, beside the first and the last | epochs | 1..20000
k: int = 20  # neighbors that vote | images | 1..1000
first_seed: int = 100  # first of the seeds; those below 100 chose bounds of ours, and do not judge them | seed | 0..1000000
core_seeds: int = 5  # networks of each of the three main arms | seeds | 1..100
seeds: int = 3  # networks of each other arm | seeds | 1..100
view_counts: list[int] = [1, 4, 16]  # numbers V of fixed views of an image | views | 1..100000
strengths: list[float] = [0.125, 1.0, 2.0]  # other strengths | factor | (0..4]
independent_views: list[int] = [4, 16]  # numbers V of views that have a random label each | views | 1..100000
scales: list[str] = ["mnist", "fashion_mnist", "cifar10"]  # further data sets, each at a scale that the library names | name | any
workers: int = 0  # arms that are trained side by side, in a process each; 0: one per core | processes | 0..1024
checkpoints: bool = False  # keep checkpoints of trainings under _build/checkpoints and go on from them | flag | any
device: str = "auto"  # where to compute; auto takes a GPU where there is one | name | one of auto, cpu, cuda

# %% tags=["setup", "hide-input"]
import pandas as pd

from memorization.report.explorations import explore
from memorization.report.figures import legend_above, panels, show
from memorization.report.judging import judge
from memorization.report.prices import cost, foot, price_table, write_price
from memorization.report.scoreboard import verdict_sentence, verdict_table
from memorization.report.styles import apply_theme
from memorization.report.tables import how_to_run, number, parameter_table, say, solution, table
from memorization.report.words import compare, curves_in_words, in_short, listed, not_reproduced, ordered, outcome, rows_in_words, trend
from memorization.runs.start import start

run = start("benign_memorization", globals())
apply_theme()

# %% tags=["setup", "hide-input"]
from memorization.studies.benign_memorization.experiments import (
    check_relations, checkpoint_folders, core_arms, longest_first, memorize, pixel_probe, scale,
)  # fmt: skip
from memorization.studies.benign_memorization.figures import (
    draw_datasets, draw_depth, draw_groups, draw_invariance, draw_label_noise, draw_memorization_curves,
    draw_projector, draw_random_labels, draw_shared_independent, draw_strength, draw_views,
    labelled_pictures, trail_colors, training_trails,
)  # fmt: skip
from memorization.studies.benign_memorization.own_network import THRESHOLDS
from memorization.studies.benign_memorization.tables import (
    arm_names, at_end, at_start, benign_table, named_sets, one_row_per_run, plain_arms, readable,
)  # fmt: skip

check_relations(run.settings)
# %% tags=["setup", "remove-input"]
how_to_run(run)

# %% tags=["setup", "remove-input"]
parameter_table(run)

# %% [markdown]
# ## What is memorized: labels drawn by lot
#
# What does the network see? Each image has one random label, drawn once for the whole training. With augmentation it is
# shown as another *view* at each visit, with that same label.

# %% tags=["hide-input"]
of_images = {"dataset": dataset, "memorized": memorized, "reference": reference, "side": side}
of_images |= {"split": split, "seed": first_seed}
pictures = labelled_pictures(**of_images, policy=policy, strength=strength)
figure, axes = panels(2, titles=["true class and random label", "views of one image"], height=3.6)
shown = draw_random_labels(axes, pictures)
show(
    run, figure, shown, name="labels",
    title="The label belongs to the image, not to what it shows: all its views carry the same random one",
    alt="Left: small images, each with its true class above and its random label below. Right: several augmented "
    "views of one of them, all with the same random label.",
)  # fmt: skip

# %% [markdown]
# A random label is right by chance, so the network's own answers to new images are guesses. What counts is
# what its *embedding* holds, the output of the encoder before the projector.

# %% [markdown] tags=["theory"]
# ## The paper in twenty lines
#
# Without the library, to copy: a small network learns random labels of some digits by heart, once as they are and once with
# a small random warp at each visit. What do the nearest neighbors in its embedding say of the *true* classes of new digits?

# %% tags=["twenty-lines"]
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

images, true = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
images = images.float().view(-1, 1, 8, 8) / 16
lot, probed = torch.randint(10, (300,), generator=torch.manual_seed(0)), {}  # labels, drawn by lot


def neighbors_vote(encoder):
    rows, asked = (F.normalize(encoder(part).detach()) for part in (images[:300], images[300:]))
    votes = F.one_hot(true[(asked @ rows.T).topk(20).indices], 10).sum(1)
    return (votes.argmax(1) == true[300:]).double().mean().item()


for amount in (0.0, 0.1):
    torch.manual_seed(0)
    sizes = ((1, 16, 1), (16, 32, 2), (32, 64, 2))  # channels in and out, stride
    blocks = [one for i, o, s in sizes for one in (nn.Conv2d(i, o, 3, s, 1), nn.BatchNorm2d(o), nn.ReLU())]
    encoder = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = nn.Sequential(encoder, nn.Linear(64, 1024), nn.ReLU(), nn.Linear(1024, 10))
    before, optimizer = neighbors_vote(encoder), torch.optim.Adam(model.parameters())
    for _ in range(800):
        chosen, warp = torch.randint(300, (100,)), torch.eye(2, 3) + amount * torch.randn(100, 2, 3)
        views = F.grid_sample(images[chosen], F.affine_grid(warp, (100, 1, 8, 8), False), align_corners=False)
        optimizer.zero_grad()
        F.mse_loss(model(views), F.one_hot(lot[chosen], 10).float()).backward()
        optimizer.step()
    probed[amount] = before, neighbors_vote(encoder), (model(images[:300]).argmax(1) == lot).double().mean().item()

# %% [markdown]
# Does the library say the same of the network that was trained last?

# %%
from memorization.measures.probes import knn_probe

with torch.no_grad():
    rows, asked = encoder(images[:300]), encoder(images[300:])
assert knn_probe(rows, true[:300], asked, true[300:], k=20).accuracy == probed[0.1][1]

# %% tags=["remove-input"]
say("It does. " + " ".join(
    f"{name} {number(100 * known, 2)} % of the random labels are known in the end, and the share of new digits whose neighbors "
    f"know their class went from {number(start, 2)} to {number(end, 2)}."
    for name, (start, end, known) in zip(("Without warps", "With them"), probed.values(), strict=True)
))  # fmt: skip

# %% [markdown]
# ## All arms
#
# Every experiment of this page trains networks that differ in one thing: no augmentation, augmentation, true labels;
# the number of fixed views; the strength; labels of their own for each view. All arms of a seed start from the same
# weights with the same images and random labels. Seeds vary initialization, random labels, order and views and, unless `split` is
# *fixed*, the images that are memorized, that vote and that are tested on. Networks of one arm are trained stacked, as one, and arms
# run side by side.

# %%
data = {"dataset": dataset, "side": side, "test": n_test}
data |= {"memorized": memorized, "reference": reference}
shape = {"architecture": architecture, "widths": widths}
shape |= {"strides": strides, "hidden": hidden}
probes = {"probe_at": probe_at, "probe_strength": strength, "k": k}
common = {**data, "split": split, **shape, **probes, "policy": policy}

# %%
recipe = {"batch": batch, "learning_rate": learning_rate}
recipe |= {"precision": precision} | ({"compiled": True} if compiled else {})
stopping = {**recipe, "epochs": epochs, "stop_at": stop_at or None}
stopping |= {"stop_after": 20}

# %%
core = core_arms(strength, (epochs_plain, epochs, epochs_true), recipe)
standard = {"strength": strength, "recipe": stopping}
varied = [{**standard, "views": v} for v in view_counts]
varied += [{**standard, "strength": s} for s in strengths]
apart = {**standard, "view_labels": "independent"}
varied += [{**apart, "views": v} for v in independent_views]

# %%
how = {"stacked": True, "workers": workers or run.workers}
folders = checkpoint_folders(run.build / "checkpoints") if checkpoints else ""
how |= {"unkeyed": {"device": run.device, "checkpoints": folders}}
points = longest_first([*core, *varied])
runs = run.sweep(memorize, points, seeds=seeds, fixed=common, **how)
core_runs = run.sweep(memorize, core, seeds=core_seeds, fixed=common, **how)

# %%
arms = arm_names(runs)
core_arms_ = arm_names(core_runs)
ends = one_row_per_run(arms)
core_ends = one_row_per_run(core_arms_)
ends["standard"] = ends["strength"] == strength

# %% [markdown]
# ## Malign or benign?
#
# Are the labels memorized, and what became of the features? The *k-NN probe* answers the second question: the training
# images get their true classes back, and each test image is classified by the {math}`K` nearest of them in the
# embedding. Even an untrained network sorts images somewhat, so what counts is the change. We call memorization
# *benign* if the probe rose above its value at initialization by more than chance explains, and *malign* otherwise.

# %% tags=["hide-input"]
table(
    readable(benign_table(core_arms_, n_test)),
    f"Three arms, mean over {core_seeds} seeds: memorized in three senses, probe before and after, verdict",
)

# %% tags=["hide-input"]
figure, axes = panels(3, columns=3)
shown = draw_memorization_curves(axes, core_arms_)
legend_above(figure)
course = core_arms_[core_arms_["site"] == "embedding"]
show(
    run, figure, shown, name="curves",
    title="In training the probe "
    + listed(f"{trend(one, 'epoch', 'clean_probe')} with {arm}" for arm, one in course.groupby("arm", sort=False)),
    alt="Accuracy on the random labels, on clean and on fresh views, and the k-NN probe, against the epoch. "
    + curves_in_words(shown, "epoch", by=["quantity", "arm"]) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
means = core_ends.groupby("arm", sort=False).mean(numeric_only=True)
plain_, augmented_, true_ = (means.iloc[i] for i in range(3))
during = course[(course["arm"] == means.index[1]) & (course["epoch"] >= epochs / 4)]
early = during[during["epoch"] == during["epoch"].min()].mean(numeric_only=True)
verdicts_of = [text.split(" (")[0] for text in readable(benign_table(core_arms_, n_test))["verdict"]]
say(f"""
Without augmentation {number(100 * plain_.clean_view)} % of the labels are known at the end and the probe went from {number(plain_.start, 3)} to {number(plain_.probe, 3)}: *{verdicts_of[0]}*.
With augmentation {number(100 * augmented_.clean_view, 3)} % are known on the images themselves and {number(100 * augmented_.fresh_view, 3)} % on views that are new to it, and the probe
is at {number(augmented_.probe, 3)}: *{verdicts_of[1]}*. True labels give {number(true_.probe, 3)}. What comes earlier, memorization or features? After {number(early.epoch)} of {epochs} epochs
{number(100 * early.clean_view, 2)} % of the labels are known, and {number(100 * augmented_.get("early_gain", float("nan")), 2)} % of the probe's whole change is there. The network's own answers to test images are
right in {number(100 * augmented_.test_accuracy, 2)} % of the cases (chance: {number(100 / pictures.classes, 2)} %).
""")

# %% [markdown]
# *Known* has several meanings, and they differ: on the images as they are (clean views), on views that were never shown
# (fresh views; without augmentation these are the same), and, as the published code logs it, on the batches of training.
# We judge on clean views and print all.
#
# ## Where the random labels sit
#
# Now the main question. At each layer two probes: the *clean probe* asks for the true classes of test images, the
# *noise probe* lets each memorized image guess its **random** label from its neighbors. Where the noise probe is at
# chance, it finds nothing memorized; where it is one, everything. At which layer does the noise begin?

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["true classes (clean probe)", "random labels (noise probe)"])
shown = draw_depth(axes, core_arms_, classes=pictures.classes)
legend_above(figure)
without, with_ = (means.iloc[i] for i in range(2))
show(
    run, figure, shown, name="depth",
    title=f"Noise probe at the embedding: {number(without.noise_embedding)} without augmentation, {number(with_.noise_embedding)} with it",
    alt="Clean and noise probe at the sites of the network, encoder and then projector. "
    + curves_in_words(shown, "site", by=["quantity", "arm"]) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
chance, outset = 1 / pictures.classes, core_arms_.loc[core_arms_["depth"].idxmin(), "site"]
say(f"""
Noise probe at the embedding: {number(without.noise_embedding)} without augmentation, {number(with_.noise_embedding)} with it (chance {number(chance, 2)}); at the logits
{number(without.noise_logits)} and {number(with_.noise_logits)}. *Where* are the labels stored? Of {number(without.noise_logits - chance, 2)} beyond chance at the logits, {number(without.noise_embedding - chance, 2)} is there at the
embedding without augmentation; of {number(with_.noise_logits - chance, 2)}, {number(with_.noise_embedding - chance, 2)} with it. At the logits the clean probe is {number(without.clean_logits)} and {number(with_.clean_logits)}.

A caution: early layers without noise are evidence for augmentation where the arms differ. At `{outset}` the noise probe is
{number(without[f"noise_{outset}"])} without and {number(with_[f"noise_{outset}"])} with augmentation.
""")

# %% [markdown]
# ## The price of diversity
#
# ### Fixed views
#
# What if an image has $V$ views, fixed in advance? At $V = 1$ there is no augmentation to speak of, just altered
# images; without limit it is the arm above. Does the number of views turn malign into benign?

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["true classes in the embedding", "random labels known"])
standard_arms = arms[(arms["strength"] == strength) & (arms["noise"] == 1)]
shared = standard_arms.query("view_labels == 'shared'")
shown = draw_views(axes, shared)
legend_above(figure)
by_views = one_row_per_run(shared)
show(
    run, figure, shown, name="views",
    title=f"With more views the probe {trend(by_views, 'view_order', 'probe')} and accuracy on unseen views "
    f"{trend(by_views, 'view_order', 'fresh_view')}",
    alt="k-NN probe, and accuracy on views of training and on unseen ones, against the number of fixed views. "
    + curves_in_words(shown, "views", by=["quantity", "arm"]) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
kinds = [f"{row.arm}: *{row.verdict}*" for row in benign_table(shared, n_test).itertuples()]
ends_of = by_views.groupby("view_order")[["bank_view", "fresh_view"]].mean().sort_index()
say(f"""
By our definition the arms are, on the left: {"; ".join(kinds)}. On the right is the price. With the least number of fixed
views {number(100 * ends_of.bank_view.iloc[0], 3)} % of the labels are known on these views, and {number(100 * ends_of.fresh_view.iloc[0], 3)} % on views that the network has not seen.
""")

# %% [markdown]
# ### Strength
#
# Stronger augmentation makes more views, and harder ones. Is more of it always better?

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["true classes in the embedding", "random labels known"])
shown = draw_strength(axes, arms.query("views == 0 and noise == 1"))
legend_above(figure)
fresh = ends.query("views == 0 and noise == 1")
by_strength = fresh.groupby("strength")[["probe", "fresh_view", "clean_view"]].mean()
best, strongest = by_strength.probe.idxmax(), by_strength.index.max()
show(
    run, figure, shown, name="strength",
    title=f"The best probe is at strength {best:g}; with strength, memorization of clean views {trend(fresh, 'strength', 'clean_view')}",
    alt="k-NN probe and accuracy on the random labels against the strength of the augmentation. "
    + curves_in_words(shown, "strength", by=["quantity", "arm"]) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
say(f"""
The best probe, {number(by_strength.probe.max(), 3)}, is at strength {best:g}, where {number(by_strength.fresh_view[best])} of the labels are known on fresh views and
{number(by_strength.clean_view[best])} on the images themselves; our definition of *memorized* asks for {number(THRESHOLDS["clean-view"])} of these. At the greatest strength,
{strongest:g}, the probe is {number(by_strength.probe[strongest], 3)} and {number(by_strength.clean_view[strongest])} of the labels are known on the images themselves.
""")

# %% [markdown]
# ### A label for each view
#
# The paper's explanation is capacity: to store a label for each view separately is too expensive, so the network must use
# what the views of an image share. The control: give each of the $V$ views a random label **of its own**. The same
# augmentations are seen, but now nothing is shared. Are the features still good?

# %% tags=["remove-input"]
views_most = max(set(view_counts) & set(independent_views), default=max(view_counts))
here = ends[ends.views == views_most]
two = here.groupby("view_labels")[["probe", "bank_view", "start"]].mean().reindex(["shared", "independent"])
by_seed = here.pivot_table("probe", "seed", "view_labels")

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["true classes in the embedding", "labels of the views known"])
shown = draw_shared_independent(axes, standard_arms.query("views > 0"), classes=pictures.classes)
legend_above(figure)
show(
    run, figure, shown, name="independent",
    title=f"With {views_most} views the probe is {number(two.probe['shared'], 2)} where they share a label, "
    f"{number(two.probe['independent'], 2)} where each has its own; before training {number(two.start['shared'], 2)}",
    alt="k-NN probe and accuracy on the labels of the views, against the number of views. "
    + curves_in_words(shown, "views", by=["quantity", "arm"]) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
if two.probe.notna().all():
    display(say(f"""
    With $V = {views_most}$ views the probe is {number(two.probe["shared"], 3)} for shared labels, {compare(by_seed["shared"], by_seed["independent"])} that for independent ones,
    {number(two.probe["independent"], 3)} (initialization {number(two.start["shared"], 3)}). The augmented pixels are the same; what differs is whether the views share a
    label. Of its {number(views_most * memorized)} independent labels the network knows {number(100 * two.bank_view["independent"], 3)} %.
    """))

# %% [markdown]
# ### Watch the arms learn
#
# Each arm walks through training: to the right as it learns the random labels, up or down with what its features hold.
# Move the epochs, and choose what varies: strength, or the number of views. And ask for the labels on views that are new.
# Dashed is the probe before training. By our definition an arm is judged at the right, where its labels are memorized: benign
# above the line, malign otherwise. Of an arm that has not memorized them nothing is said.

# %% tags=["remove-input"]
trails = training_trails(runs, strength)
start_probe = at_start(runs)["clean_probe"].mean()
last = trails[(trails["until"] == trails["until"].max()) & (trails["epoch"] == trails["until"])]
last = last[last["asked"] == last["asked"].iloc[0]].drop_duplicates("arm")
first_seen = last.loc[last["varies"] == trails["varies"].iloc[0], "clean_probe"]
best, worst = last.loc[first_seen.idxmax()], last.loc[first_seen.idxmin()]
words = [f"{row.arm}: {number(row.known, 2)} known, probe {number(row.clean_probe, 2)}" for row in last.itertuples()]

# %% tags=["hide-input"]
explore(
    run, trails, name="trails", x="known", y=["clean_probe"], lines="arm", controls=["varies", "asked", "until"], trails=True,
    labels={
        "known": "random labels known [fraction]", "clean_probe": "k-NN probe [fraction]", "varies": "what varies [name]",
        "asked": "labels are asked for [name]", "until": "training [epochs]",
    },
    start={"until": epochs}, colors=trail_colors(trails),
    references={"clean_probe": ("before training", start_probe)},
    title=f"Farthest apart in the end: {best.arm} with a probe of {best.clean_probe:.3f}, {worst.arm} with {worst.clean_probe:.3f}",
    alt="Paths of the arms through training: k-NN probe against the share of random labels that are known, with a slider for the "
    f"epoch. Before training the probe is {number(start_probe, 2)}. At the end, {'; '.join(words)}.",
)  # fmt: skip

# %% [markdown]
# Where is the wall that independent labels run into? We ask a much smaller network. These runs belong to the
# `desktop` profile; every other profile shows their published records.

# %%
digits = {"dataset": "digits", "memorized": 400, "reference": 400, "test": 1397, "side": 8}
digits |= {"policy": "small_digits", "strides": [1, 2, 2]}
tiny = {**digits, "widths": [8, 16, 32], "hidden": [64]}
counts = [1, 4, 16, 64]
walls = [
    {"views": v, "view_labels": kind, "recipe": {"epochs": 800}}
    for v in counts
    for kind in ("shared", "independent")
]
longer = {"epochs": 3200, "schedule": "cosine"}
walls += [{**wall, "recipe": longer} for wall in walls if wall["views"] >= 16]
how |= {"seeds": 3}
wall = run.recorded(memorize, longest_first(walls), "desktop", fixed=tiny, **how)

# %% tags=["hide-input"]
if wall.empty:
    display(say("*No records of the `desktop` profile are published for this figure.*"))
else:
    brief = arm_names(wall[wall["recipe"].map(lambda r: r["epochs"] == 800)])
    figure, axes = panels(2, titles=["true classes in the embedding", "labels of the views known"])
    shown = draw_shared_independent(axes, brief)
    legend_above(figure)
    most = one_row_per_run(brief).query("views == views.max()").groupby("view_labels").bank_view.mean()
    display(show(
        run, figure, shown, name="wall",
        title=f"A small network, {brief['epoch'].max()} epochs, {brief['views'].max()} views: it knows {number(100 * most['shared'], 2)} % of "
        f"the labels where the views share one, {number(100 * most['independent'], 2)} % where each has its own",
        alt="k-NN probe and accuracy on the labels of the views, against the number of views. "
        + curves_in_words(shown, "views", by=["quantity", "arm"]) + ".",
    ))  # fmt: skip

# %% [markdown]
# Equal epochs mix capacity with time, so the control trains four times longer with a decaying rate. What does each kind
# of labels gain from it, and does their order change?

# %% tags=["hide-input"]
wall_ends = one_row_per_run(wall)
if not wall_ends.empty:
    wall_ends["schedule"] = wall_ends["recipe"].map(lambda r: r.get("schedule", "constant"))
    wall_table = wall_ends.groupby(["view_labels", "views", "epochs"])[["bank_view", "probe"]].mean()
    words = {"view_labels": "labels of the views", "bank_view": "accuracy on the views", "probe": "k-NN probe"}
    display(table(wall_table.reset_index().rename(columns=words), f"The small network: means over {how['seeds']} seeds"))

# %% [markdown]
# ## Invariance
#
# If the views of an image must share one label, an embedding that maps them close together makes that cheap. Is this
# what is learned? {term}`Invariance` compares the distance between two views of one *held-out* image with the distance
# between views of two images. A ratio of $0$ is perfect invariance; $1$ means that views of one image are strangers.

# %% tags=["hide-input"]
figure, (ax,) = panels(1)
few = runs[(runs["views"] == 1) | ((runs["view_labels"] == "independent") & (runs["views"] == views_most))]
several = arm_names(pd.concat([core_runs, few], ignore_index=True))
shown = draw_invariance(ax, several)
legend_above(figure)
order = ordered(at_end(several), "arm", "invariance")
show(
    run, figure, shown, name="invariance",
    title=f"Invariance ratio at the embedding: {order}",
    alt="Invariance ratio at the sites of the network. " + curves_in_words(shown, "site", by="arm") + ".",
)  # fmt: skip

# %% tags=["remove-input"]
untrained_ratio = at_start(several)["invariance"].mean()
say(f"""
By the invariance ratio the order is {order}; at initialization it is {number(untrained_ratio)}. By the probe the order is
{ordered(at_end(several), "arm", "clean_probe")}. If what holds the views of an image together also tells the classes
apart, one order is the other read backward.
""")

# %% [markdown]
# ## What else moves the noise
#
# The sections below belong to the `desktop` profile: it runs them in full, on the digits and on larger data; other
# profiles show its published records, with their date at [the foot of the page](benign-price).
#
# ### The width of the projector
#
# The projector is the room that memorization has outside the encoder. Does more room keep the embedding cleaner?

# %%
usual = {**digits, "strength": 0.5, "widths": [16, 32, 64]}
full = {"epochs": 800}
sizes = [[], [64], [256], [1024], [4096], [512, 512]]
rooms = [{"hidden": size, "recipe": full} for size in sizes]
projector = run.recorded(memorize, rooms, "desktop", fixed=usual, **how)

# %% tags=["hide-input"]
if not projector.empty:
    figure, axes = panels(2, titles=["true classes", "random labels"])
    shown = draw_projector(axes, projector)
    legend_above(figure)
    wide = one_row_per_run(projector).query("projector_layers == 1")
    display(show(
        run, figure, shown, name="projector",
        title=f"With a wider projector the embedding's clean probe {trend(wide, 'room', 'probe')} and its noise probe "
        f"{trend(wide, 'room', 'noise_embedding')}",
        alt="Clean and noise probe of the embedding against the projector's hidden layers. "
        + curves_in_words(shown, "hidden", by=["quantity", "arm"]) + ".",
    ))  # fmt: skip

# %% [markdown]
# ### Some labels random, others true
#
# What if a fraction $p$ of the labels is random?

# %%
both = [{"strength": 0.5, "recipe": {"epochs": 600}}]
both += [{"strength": 0.0, "recipe": {"epochs": 200}}]
noisy = [{**arm, "noise": p} for arm in both for p in (0.0, 0.25, 0.5, 0.75, 1.0)]
plain_net = {**digits, "widths": [16, 32, 64], "hidden": [1024]}
partial_noise = run.recorded(memorize, noisy, "desktop", fixed=plain_net, **how)

# %% tags=["hide-input"]
if not partial_noise.empty:
    figure, (ax,) = panels(1)
    shown = draw_label_noise(ax, partial_noise)
    legend_above(figure)
    by_noise = one_row_per_run(partial_noise).pivot_table("probe", "noise", "augmented")
    over_noise = by_noise.iloc[-1] - by_noise.iloc[0]
    display(show(
        run, figure, shown, name="noise",
        title=f"From true to random labels the probe moves by {number(over_noise[True], 2)} with augmentation, by "
        f"{number(over_noise[False], 2)} without it",
        alt="k-NN probe against the fraction of random labels. " + curves_in_words(shown, "noise", by="arm") + ".",
    ))  # fmt: skip

# %% [markdown]
# ### Other images of the class as views
#
# The ideal augmentation would show *another image of the same class*. Here the images of a class are split into groups,
# and each group shares one random label. There is no other augmentation. With groups of one this is plain memorization; with
# large groups the labels almost name the classes. What becomes of the probe in between?

# %%
short = {"strength": 0.0, "recipe": {"epochs": 150}}
groups = [{**short, "group": size} for size in (1, 3, 10, 30)]
more = {**plain_net, "memorized": 1200, "reference": 1200, "test": 597}
grouped = run.recorded(memorize, groups, "desktop", fixed=more, **how)

# %% tags=["hide-input"]
if not grouped.empty:
    figure, (ax,) = panels(1)
    shown = draw_groups(ax, grouped)
    legend_above(figure)
    display(show(
        run, figure, shown, name="groups",
        title=f"The probe {trend(one_row_per_run(grouped), 'group', 'probe')} with the number of images that share a random label",
        alt="k-NN probe against the number of images that share a label. " + curves_in_words(shown, "group", by="arm") + ".",
    ))  # fmt: skip

# %% [markdown]
# ### Another loss, another network, mixed inputs
#
# Does it hold with cross-entropy instead of squared error, for a perceptron without convolutions or batch norm, and with
# *mixup* as the published code runs it, where a mixture of two images has the label of one of them?

# %%
perceptron = {"architecture": "mlp", "widths": [256, 256, 256]}
others = [
    {"strength": s, "recipe": {"epochs": e}, **kind}
    for kind in ({"objective": "cross_entropy"}, perceptron)
    for s, e in ((0.5, 800), (0.0, 300))
]
others += [{"strength": 0.5, "mix": "mixup", "recipe": full}]
fixed = {**digits, "hidden": [1024]}
robust = run.recorded(memorize, others, "desktop", fixed=fixed, **how)

# %% tags=["hide-input"]
if not robust.empty:
    display(table(
        readable(benign_table(robust, 1397, by=["objective", "architecture"])),
        f"Cross-entropy, a perceptron, and mixup on the digits: mean over {how['seeds']} seeds",
    ))  # fmt: skip

# %% [markdown]
# ### Other data
#
# And on other images? Each data set has its own mild augmentation and its own small network; their numbers are in
# `memorization.studies.benign_memorization.experiments` (`-p scales "[cifar10_32]"` at profile `desktop` adds CIFAR-10 at its full size).

# %%
large = all(name.endswith("paper") for name in scales)
at = "paper" if large else "desktop"
elsewhere = [arm for name in scales for arm in scale(name).arms]
others_data = run.recorded(memorize, longest_first(elsewhere), at, **how)

# %%
pixels = [{**data, "k": k}]
pixels += [{x: a.get(x) for x in ("dataset", "side")} for a in elsewhere[::3]]
here = run.sweep(pixel_probe, pixels[:1])
there = run.recorded(pixel_probe, pixels[1:], at)
raw = pd.concat([here, there], ignore_index=True)

# %% tags=["hide-input"]
if not others_data.empty:
    every = named_sets(pd.concat([core_runs, others_data], ignore_index=True))
    figure, (ax,) = panels(1, height=4.2)
    shown = draw_datasets(ax, every, pixels=named_sets(raw).set_index("dataset")["pixel_probe"].to_dict())
    legend_above(figure)
    each = at_end(plain_arms(every)).pivot_table("clean_probe", ["dataset", "seed"], "arm")
    words = {name: compare(one["augmentation"], one["no augmentation"]) for name, one in each.groupby("dataset")}
    lies = {word: [name for name in words if words[name] == word] for word in words.values()}
    display(show(
        run, figure, shown, name="datasets",
        title="The probe with augmentation is " + listed(f"{word} that without on {listed(on)}" for word, on in lies.items()),
        alt="k-NN probe, a row of dots for each data set. "
        + rows_in_words(shown.assign(quantity=shown["arm"]), "dataset", {arm: arm for arm in shown["arm"]}) + ".",
    ))  # fmt: skip

# %% tags=["hide-input"]
if not others_data.empty:
    tests = 2000  # images, about as many as each data set is tested on
    display(table(
        readable(benign_table(plain_arms(every), tests, by=["dataset"])),
        f"All data sets, mean over seeds (tolerance of the verdict: {tests} test images)",
    ))  # fmt: skip
    spread = shown.pivot_table("mean", "dataset", "arm", sort=False)
    over = (spread["augmentation"] - spread["raw pixels"]).dropna()
    display(say(f"""
    *Benign* is a change, not a level. The probe with augmentation minus a k-NN on raw pixels:
    {"; ".join(f"{name} {number(gain, 2)}" for name, gain in over.items())}.
    """))

# %% [markdown] tags=["theory"]
# (own-case)=
# ## Is *my* network's memorization benign?
#
# The question is about networks that were trained on **random labels**: nothing but memorization explains that such labels are
# known, and true classes in the features then came from somewhere else. Take any `torch.nn.Module` with images in $[0, 1]$, their
# random labels, their true ones, and held-out images. If yours learned *true* labels, memorized and learned cannot be told
# apart, and the report warns so. Then train it once more by your recipe, with labels drawn by lot for all images, or for a part of
# them, and ask about the images whose labels were drawn. This runs as it stands:
#
# ```python
# import copy
# from collections import OrderedDict
#
# import torch
# from sklearn.datasets import load_digits
# from torch import nn
#
# from memorization.studies.benign_memorization.own_network import memorization_report
#
# images, true = (torch.as_tensor(part) for part in load_digits(return_X_y=True))
# images = images.float().view(-1, 1, 8, 8) / 16
# labels = torch.randint(10, (300,), generator=torch.manual_seed(0))  # drawn by lot
#
# model = nn.Sequential(OrderedDict(  # yours
#     early=nn.Sequential(nn.Conv2d(1, 16, 3, 1, 1), nn.ReLU()),
#     embedding=nn.Sequential(nn.Conv2d(16, 64, 3, 2, 1), nn.ReLU(), nn.Flatten()),
#     head=nn.Linear(64 * 4 * 4, 10),
# ))
# untrained = copy.deepcopy(model)  # or None: then a new one is drawn by PyTorch's own laws
# optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
# for _ in range(300):  # your recipe
#     optimizer.zero_grad()
#     nn.functional.cross_entropy(model(images[:300]), labels).backward()
#     optimizer.step()
#
# report = memorization_report(
#     model, untrained, images[:300], labels, true[:300], images[300:], true[300:],
#     policy="small_digits",  # the augmentation of training, or None; here for the invariance
#     sites={"early": "early", "embedding": "embedding", "head": "head"},  # your names: submodules
# )
# print(report.verdict)
# print(*report.warnings, sep="\n")
# print(report.table.round(2).to_string())
# ```
#
# How to read its table: a row is a layer. *Clean probe* is the share of held-out images whose nearest neighbors there tell
# the true class, *initial probe* the same before training: where the first is above the second, training has made
# the features better. *Noise probe* is the share of training images whose neighbors tell their random label: at chance,
# $1/C$, nothing of the labels is found there. *Linear probe* asks for the true classes by a linear classifier, and
# *invariance* is zero where views of one image coincide. The verdict compares clean and initial probe at the embedding, if the labels are
# memorized at all.
#
# Here it is at work, on a small network and digits with random labels:

# %%
from memorization.data.augmentation.policies import augmentation
from memorization.data.labels import random_labels
from memorization.data.splits import memorized_split
from memorization.draws import generator
from memorization.studies.benign_memorization.own_network import memorization_report
from memorization.models.networks import network
from memorization.training.batches import LabelledViews
from memorization.training.recipe import Recipe
from memorization.training.train import train

# %%
own = min(memorized, 400)  # digits, whatever the page itself is about
digits_split = memorized_split("digits", memorized=own, reference=own, test=min(n_test, 1397))
images, true = digits_split.memorized.floats(), digits_split.memorized.labels
labels = random_labels(len(true), 10, generator(0, "own case"))
untrained = network("small_cnn", hidden=[64], generator=generator(0, "own weights"))
seen = LabelledViews(images, labels[None], seeds=(0,), classes=10)
model = train([untrained], seen, "mse", Recipe(epochs=min(epochs, 100), batch=min(batch, own))).networks[0]

# %% tags=["hide-input"]
report = memorization_report(
    model, untrained, images, labels, true, digits_split.test.floats(), digits_split.test.labels,
    policy=augmentation("small_digits"), strength=0.5, k=min(k, own),
)  # fmt: skip
words = {name: name.replace("_", " ") for name in report.table}
table(
    report.table.rename(columns=words).drop(columns="initial probe uncalibrated"),
    "Layer by layer: what this network knows of the true and of the random labels",
)  # fmt: skip

# %% tags=["remove-input"]
say(f"The verdict: {report.verdict}")

# %% [markdown]
# ## What to know before the verdicts
#
# - **Absolute quality.** The small encoder's embedding is a mean over all places. How it compares with its own pixels is
#   said for each data set above; a verdict of *benign* does not say it.
# - **Malign** covers a loss and no change alike; the tables have the difference with its interval.
# - **Fresh views.** The authors train for 10,000 epochs in the paper; how far each budget here comes is in the tables.
# - **Layers.** The perceptron (claim BM-17) is judged at its last encoder layer, early layers by claim BM-6.
# - **Recalled**, in a claim's place: so we remember the paper, whose text was not at hand to check it.
# - **The capacity wall** (claim BM-10) is looked for in a deliberately small network.
# - **Noise probes of arms with fixed views** are taken on clean views, where the fixed views are not.

# %% tags=["remove-input"]
start = at_start(core_arms_)
off = start["uncalibrated_probe"] - start["clean_probe"]
say(f"""
- **The baseline.** At initialization batch norm has measured nothing. We calibrate its statistics on the memorized
  images; without that the probe at initialization would be off by {number(off.mean(), 2)} here.
""")

# %% [markdown]
# ## Claims
#
# Each claim below is a line of
# [a data file](https://github.com/memorization-measured/memorization-measured/blob/main/notebooks/claims/benign_memorization.yaml);
# its verdict is computed from the records. A claim that this profile does not test says so. The summary takes its
# verdicts from there.

# %% tags=["hide-input"]
live = {"core": core_ends, "arms": ends}
recorded = {
    "wall": wall_ends, "projector": one_row_per_run(projector), "noise": one_row_per_run(partial_noise),
    "groups": one_row_per_run(grouped), "robust": one_row_per_run(robust), "data": one_row_per_run(others_data),
}  # fmt: skip
tables = live | recorded
trained = {"core": core_arms_, "arms": arms, "wall": wall, "projector": projector, "noise": partial_noise}
trained |= {"groups": grouped, "robust": robust, "data": others_data}
at_start = {name: one_row_per_run(records, "start") for name, records in trained.items()}
at_start["arms"]["standard"] = at_start["arms"]["strength"] == strength
verdicts = judge(run, None, tables, untrained=at_start)
verdict_table(verdicts)

# %% tags=["remove-input"]
say(verdict_sentence(verdicts))

# %% [markdown]
# ## What did not reproduce

# %% tags=["remove-input"]
not_reproduced(run, verdicts)

# %% [markdown]
# ## Summary

# %% tags=["remove-input"]
say(f"""
- Are random labels **without** augmentation memorized, and do they spoil the embedding? BM-1: {outcome(verdicts, "BM-1")}.
- Are they memorized **with** augmentation, and what becomes of the features? BM-2: {outcome(verdicts, "BM-2")}. Do they then sit
  deeper in the network? BM-5: {outcome(verdicts, "BM-5")}.
- Is **diversity** the dial? By the number of views, BM-7: {outcome(verdicts, "BM-7")}; by strength, BM-8:
  {outcome(verdicts, "BM-8")}.
- Is it the **shared label** that teaches? BM-9: {outcome(verdicts, "BM-9")}.
- Say **which** memorization accuracy, and **which** initialization, before you say *benign*.
""")

# %% [markdown]
# ## Exercises
#
# Each is an option of `python -m memorization run benign_memorization`. The solutions were computed at profile `book`,
# at a smaller size.
#
# 1. How many neighbors should vote? `-p k 1` and `-p k 50`: does the verdict change, or just the level?

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    counts_of_neighbors = {votes: memorization_report(
        model, untrained, images, labels, true, digits_split.test.floats(), digits_split.test.labels,
        policy=augmentation("small_digits"), strength=0.5, k=votes,
    ) for votes in (1, min(50, own))}  # fmt: skip
    display(solution("For the small network of the section above: " + listed(
        f"with k = {votes} {str(one.verdict).rstrip('.')}" for votes, one in counts_of_neighbors.items()
    ) + "."))  # fmt: skip

# %% [markdown]
# 2. A wider projector: `-p hidden "[4096]"`. Look at the noise probe of the embedding.

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    rooms_of = one_row_per_run(projector)
    by_room = rooms_of.query("projector_layers < 2").groupby("room").noise_embedding.mean() if len(rooms_of) else {}
    display(solution("By the records of the `desktop` profile it is " + listed(
        f"{number(noise, 2)} with {room} hidden units" for room, noise in by_room.items()
    ) + "."))  # fmt: skip

# %% [markdown]
# 3. Smaller batches: `-p batch 50`. Is the order of the arms the same?
#
# 4. Which augmentation is to thank? `-p policy isometry`: flips and rotations alone.

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    briefly = {**recipe, "epochs": max(1, epochs // 8)}
    usually = {"strength": strength, "policy": policy, "recipe": briefly}
    tried = [usually, {**usually, "recipe": {**briefly, "batch": max(2, batch // 2)}}, {**usually, "policy": "isometry"}]
    plainly = {"strength": 0.0, "policy": policy, "recipe": {**briefly, "batch": max(2, batch // 2)}}
    kept = {name: value for name, value in common.items() if name != "policy"} | {"probe_at": []}
    trials = one_row_per_run(run.sweep(memorize, [*tried, plainly], fixed=kept, **how | {"seeds": 2}))
    trials["batch"] = trials["recipe"].map(lambda found: found["batch"])
    gain = trials.groupby(["strength", "policy", "batch"], sort=False).gain.mean()
    display(solution(f"After {briefly['epochs']} epochs the probe has moved by " + listed(
        f"{number(change, 2)} at strength {s:g} of {name.replace('_', ' ')} in batches of {size}" for (s, name, size), change in gain.items()
    ) + "."))  # fmt: skip

# %% [markdown]
# (benign-price)=
# ## What this page costs
#
# The {ref}`scoreboard <prices>` has the prices of all pages, and says how to read one.

# %% tags=["remove-input"]
mine = tables if run.profile == "desktop" else live
write_price(run, mine)
price_table(run)

# %% tags=["remove-input"]
foot(run, tables)

# %% [markdown] tags=["in-short"]
# ## In short

# %% tags=["in-short", "remove-input"]
says = (
    "Trained on random labels with data augmentation, a network memorizes all of them and learns useful "
    "features nevertheless; the memorization sits in its last layers."
)
in_short(verdicts, says, ["BM-1", "BM-2", "BM-5", "BM-9", "BM-11"], cost(run))
