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
# (nb-random-label-heads)=
# # Can random labels measure memorization, or reduce it?
#
# Give each training image, beside its class, a label drawn by lot. Nothing but the image itself tells it, so a small *head*
# that finds it from what a network computes has recognized that one image. {cite:t}`becker2024learned` train such heads beside a
# network and read their accuracy as a measure of memorization and complexity; then they turn them round and train the network
# so that the heads find nothing. It then memorizes less, they report, and generalizes no better.
#
# The loss of the head and that of *unlearning*, with $\hat p_r$ the probability that a head gives to the right random label:
#
# $$ \begin{aligned} L_{\mathrm{rnd}} &= -\log \hat p_r, \\ L_{\mathrm{reg}} &= -\log(1 - \hat p_r). \end{aligned} $$ (eq-heads)
#
# A *probe* only looks on, in *joint* training the network serves the heads, in *unlearning* it is trained against them.
# [The idea in one page](../book/ideas/random_label_heads.md) says why, and derives what is compared here;
# [its own section](heads-price) says what this page costs to run.

# %% [markdown] tags=["theory"]
# ## What is the same as in the paper, and what is not
#
# **Paper.** Of its text the title, the abstract and the beginning of the introduction were at hand, and a short summary by a third
# party: one head per class, three losses, CIFAR-100, and a direction for each result. No figure, table, setting or number was,
# and none is given here as the paper's. **Follow-up.** Of {cite:t}`becker2026rlp`, notes and reviews: the losses and who gets which
# gradient, one shared head, taps at every layer, a few numbers at the scale of ImageNet. **Derived**: what any features
# would allow, gradients, complexities. **Measured**: everything else, on digits at profile `book`, on subsets of MNIST,
# Fashion-MNIST and CIFAR-10 at `desktop`, and with the group's published recipe of a wide ResNet at `paper`. So claims are
# about directions, and each says whose it is.

# %% [markdown] tags=["setup"]
# ## Parameters, and how to run this page
#
# Every number that this page depends on is a parameter; what titles, texts and tables say of results is computed by the
# run, as the verdicts are.

# %% tags=["parameters", "hide-input"]
profile: str = "book"  # which parameter file the values come from | name | one of smoke, book, desktop, paper
first_seed: int = 100  # first of the seeds; those below 100 chose bounds of ours, and do not judge them | seed | 0..1000000
seeds: int = 5  # draws of images, weights, random labels and batches | draws | 2..1000
n_train: int = 1400  # training images of the digits | images | 200..1400
count: int = 14  # random labels of each class, class-wise heads | labels | 2..1000
epochs: int = 60  # passes of a training on digits | epochs | 2..10000
frozen_steps: int = 150  # steps of new heads on frozen features | steps | 1..100000
depth_seeds: int = 5  # draws where every layer is read | draws | 2..100
little_seeds: int = 10  # draws where few images are compared with many | draws | 2..100
strengths: list[float] = [0.1, 1.0, 3.0, 10.0, 30.0]  # strengths λ of unlearning; 10 is swept in any case | ratio | (0..100000]
lengths: list[int] = [5, 10, 20]  # other lengths of training, each with a schedule of its own | epochs | 1..10000
head_rates: list[float] = [0.05, 2.0]  # learning rates of the heads, beside the usual rate of 0.5 | rate | (0..100]
decays: list[float] = [0.003, 0.01]  # weight decays | ratio | (0..10]
dropouts: list[float] = [0.1, 0.3, 0.5]  # shares of dropout | fraction | (0..0.95]
smoothings: list[float] = [0.1, 0.2]  # label smoothing of the class loss | fraction | (0..0.9]
null_examples: int = 1400  # examples without meaning, the null | examples | 200..1000000
null_dimensions: list[int] = [8, 24, 60]  # numbers of features without meaning | features | 1..100000
null_labels: list[int] = [2, 4, 14, 35, 140, 350]  # numbers of random labels of the null | labels | 2..100000
null_seeds: int = 5  # draws of features without meaning | draws | 2..1000
large_null_examples: int = 0  # examples at which the law's limit is judged; 0: not at this profile | examples | 0..1000000
rademacher_dimensions: list[int] = [8, 16, 32, 60]  # numbers of features, Rademacher complexity | features | 1..100000
rademacher_draws: int = 2000  # labellings of each Rademacher complexity | labellings | 2..1000000
rademacher_seeds: int = 10  # draws of features for it | draws | 2..1000
planted_share: float = 0.1  # share of training images that are planted, to be found | fraction | (0..0.5]
early: int = 5  # epoch of an early look at planted images, the last but one at most | epochs | 1..10000
labellings: int = 8  # random labels of each image at once, where images are scored | labellings | 1..100
n_members: int = 300  # training images where members are told from others; six labels each class | images | 200..1400
convolution_seeds: int = 5  # draws of convolutional networks, at profile desktop | draws | 2..100
image_sets: list[str] = ["mnist", "fashion_mnist", "cifar10"]  # larger images, at profile desktop | name | one of mnist, fashion_mnist, cifar10
image_seeds: int = 5  # draws of larger images | draws | 2..100
wide_dataset: str = "cifar100"  # images of the wide ResNet, at profile paper | name | one of mnist, fashion_mnist, cifar10, cifar100
wide_epochs: int = 200  # passes of the wide ResNet | epochs | 1..10000
wide_seeds: int = 3  # draws of the wide ResNet | draws | 1..100
wide_strengths: list[float] = [0.03, 0.1, 0.3]  # strengths of unlearning there, as a multiple of the number of labels | ratio | (0..1000]
device: str = "auto"  # where to compute; auto takes a GPU where there is one | name | one of auto, cpu, cuda

# %% tags=["setup", "hide-input"]
import pandas as pd

from memorization.report.explorations import explore, seed_intervals
from memorization.report.figures import legend_above, panels, show
from memorization.report.judging import judge
from memorization.report.prices import cost, foot, price_table, write_price
from memorization.report.scoreboard import verdict_sentence, verdict_table
from memorization.report.styles import apply_theme
from memorization.report.tables import file_links, how_to_run, number, parameter_table, say, seed_means, solution, table
from memorization.report.words import compare, curves_in_words, in_short, listed, not_reproduced, ordered, outcome, rows_in_words, span, trend
from memorization.runs.start import start

run = start("random_label_heads", globals())
apply_theme()

# %% tags=["setup", "hide-input"]
from memorization.studies.random_label_heads.arms import at_chance, check_settings, in_place_of, points, with_arms
from memorization.studies.random_label_heads.complexity import (
    null_grid, random_label_null, random_label_rademacher, random_label_regularizer,
)  # fmt: skip
from memorization.studies.random_label_heads.detection_experiments import PLANTED, planted_examples, planted_scores, unlearned_members
from memorization.studies.random_label_heads.experiments import probe_disturbance, random_label_heads
from memorization.studies.random_label_heads.figures import (
    FOUND_BY, TOLD_BY, at_looks, changes, draw_by_strength, draw_changes, draw_by_depth, draw_least_squares, draw_found, draw_members, draw_norm_bounded, draw_null, draw_over_epochs,
    draw_readings, draw_strengths, in_symbols, named_heads,
)  # fmt: skip
from memorization.studies.random_label_heads.paper_scale import random_label_wide

check_settings(run.settings)

# %% tags=["setup", "remove-input"]
how_to_run(run)

# %% tags=["setup", "remove-input"]
parameter_table(run)

# %% [markdown]
# ## Does a head that learns by lot tell memorization?
#
# The same network, trained in five ways beside class-wise heads at its last hidden layer: not at all; on its classes; with
# four in ten of them drawn by lot; with all of them; and so that it serves the heads, too. The last three force it to memorize
# single images: does a head see that? Each head is read twice: as it was trained along (*online*), and as a new head trained to the end
# on the finished features (*frozen*).

# %%
digits = {"n_train": n_train, "count": count, "epochs": epochs, "frozen_steps": frozen_steps}
forced = ["untrained", "none", "40 % noise", "100 % noise", "joint"]
meter = run.sweep(
    random_label_heads,
    points("class-wise", forced, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
meter = with_arms(meter, "class-wise", forced, **digits)

# %% tags=["hide-input"]
figure, (ax,) = panels(1, height=3.6)
shown = draw_readings(ax, in_symbols(meter), 1 / count)
legend_above(figure)
show(
    run, figure, shown, name="meter",
    title=f"By what new heads find: {ordered(in_symbols(meter), 'arm', 'frozen')}",
    alt="A row a way of training, random-label accuracy of heads trained along and of new heads: "
    + rows_in_words(shown, "arm", {"online": "online", "frozen": "frozen"}) + f"; guessing finds {number(1 / count, 2)}.",
)  # fmt: skip

# %% tags=["remove-input"]
by = {name: meter.pivot_table(name, "seed", "arm") for name in ("online", "frozen", "fresh", "held_out", "train", "test")}
frozen = by["frozen"]
noisy_frozen, online = frozen["40 % noise"], by["online"]
say(f"""
With four in ten classes drawn by lot new heads find {number(noisy_frozen.mean(), 2)} of the labels, {compare(noisy_frozen, frozen["none"])} the {number(frozen["none"].mean(), 2)} of plain
training; heads trained along find {number(online["40 % noise"].mean(), 2)}, {compare(online["40 % noise"], online["none"])} {number(online["none"].mean(), 2)}. An *untrained* network is at
{number(frozen["untrained"].mean(), 2)}, {compare(frozen["untrained"], frozen["none"])} the trained one. Where the network serves the heads, new heads find {number(frozen["joint"].mean(), 2)} of the
labels that it learned, and {number(by["fresh"]["joint"].mean(), 2)} of new labels, {compare(by["fresh"]["joint"], by["fresh"]["untrained"])} an untrained network's {number(by["fresh"]["untrained"].mean(), 2)}: what
lies between is memory of *these* labels. On new images heads find {number(by["held_out"]["none"].mean(), 3)}, where chance is {number(1 / count, 3)}. Test accuracy is
{number(by["test"]["joint"].mean(), 3)} with the labels to learn, {compare(by["test"]["joint"], by["test"]["none"])} the {number(by["test"]["none"].mean(), 3)} without.
""")

# %% [markdown]
# Does a probe disturb what it measures? The same training without a head, with one, with one at every hidden layer, and with
# one that the network serves:

# %%
disturbed = run.sweep(
    probe_disturbance,
    [{"n_train": n_train, "count": count}],
    seeds=3,
    stacked=True,
    workers=run.workers,
)

# %% tags=["remove-input"]
with_heads = {"one probe": "one probe", "all probes": "a probe at every hidden layer", "joint": "a head that the network serves"}
largest = disturbed.groupby("heads", sort=False).difference.max()
say(f"""
The largest difference of any number of the network is {listed(f"{number(value)} with {with_heads[name]}" for name, value in largest.items())}.
""")

# %% [markdown] tags=["theory"]
# ## The paper in twenty lines
#
# Without the library, to copy: a small network learns digits, while a head for each class learns labels drawn by lot from the
# same features. Once the heads only look on; once the network is trained against them. How many of the labels do they find, and
# what does hiding cost?

# %% tags=["twenty-lines"]
import copy

import torch
from sklearn.datasets import load_digits
from torch.nn import BatchNorm1d, Linear, ReLU, Sequential, functional as F, init

order, measured = torch.randperm(1797, generator=torch.manual_seed(0)), {}  # the first 1400 are for training
x, true = (torch.as_tensor(part)[order] for part in load_digits(return_X_y=True))
lot = F.one_hot(true[:1400]).cumsum(0).gather(1, true[:1400, None])[:, 0] % 14  # 14 labels, drawn in each class
layers = [(Linear(i, o), BatchNorm1d(o), ReLU()) for i, o in ((64, 64), (64, 64), (64, 24))]
[init.kaiming_normal_(linear.weight) for linear, *_ in layers]
start = Sequential(Sequential(*(part for layer in layers for part in layer)), Linear(24, 10)).double()
shown = [rows for _ in range(60) for rows in torch.randperm(1400)[:1280].view(10, 128)]
for force in (0.0, 10.0):  # lambda
    trunk, answer = net = copy.deepcopy(start)
    V, c = (torch.zeros(140, *size, dtype=x.dtype, requires_grad=True) for size in ((24,), ()))  # heads of 10 classes
    optimizer = torch.optim.SGD([{"params": net.parameters(), "lr": 0.1}, {"params": [V, c], "lr": 0.5}], momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, len(shown))
    for rows in shown:
        features, y, own = trunk(x[rows]), true[rows], F.one_hot(lot[rows], 14).bool()
        told = F.linear(features.detach(), V, c).view(-1, 10, 14)[range(128), y]  # trains the heads,
        known = F.linear(features, V.detach(), c.detach()).view(-1, 10, 14)[range(128), y]  # and this the trunk
        hide = F.softplus(known[own] - known[~own].view(-1, 13).logsumexp(1)).mean()  # -log(1 - p)
        loss = F.cross_entropy(answer(features), y) + F.cross_entropy(told, lot[rows]) + force * hide
        optimizer.zero_grad(), loss.backward(), optimizer.step(), schedule.step()
    right, told = answer(net.eval()[0](x)).argmax(1) == true, F.linear(trunk(x), V, c).view(-1, 10, 14)[range(1797), true]
    measured[force] = [part.double().mean().item() for part in (right[:1400], right[1400:], told[:1400].argmax(1) == lot)]

# %% [markdown]
# Does the library say the same of the same start and the same batches, with both networks in one stack?

# %%
from types import SimpleNamespace as Has

from memorization.measures.random_labels import random_label_accuracy
from memorization.models.heads import TappedNetwork
from memorization.training.random_labels import RandomLabelLoss
from memorization.training.recipe import Recipe
from memorization.training.train import train

tapped, modes = TappedNetwork(start, {"features": "0"}, x[:2]), {"mode": ["probe", "unlearning"], "strength": [0.0, 10 / 14]}
against = RandomLabelLoss(tapped, lot.expand(2, -1), 14, dtype=x.dtype, **modes)  # a strength is lambda / 14
stream = (Has(inputs=x[rows].expand(2, -1, -1), targets=true[rows].expand(2, -1), examples=rows.expand(2, -1), labels=None) for rows in shown)
same = Has(seeds=(0, 1), classes=10, device=x.device, check=lambda size: None, steps=lambda size: 10, take=lambda which: Has(stream=lambda *_: stream))
recipe = Recipe(epochs=60, batch=128, optimizer="sgd", learning_rate=0.1, momentum=0.9, schedule="cosine")
for one, mine in zip(train([tapped, tapped], same, against, recipe).networks, measured.values(), strict=True):
    logits, told = one.eval().with_heads(x, true)
    ours = (logits.argmax(1) == true)[1400:].double().mean(), random_label_accuracy(told["features"][:1400, 0], lot)
    assert max(abs(a - b) for a, b in zip(ours, mine[1:], strict=True)) < 0.005

# %% tags=["remove-input"]
(_, looked_on, seen_by_heads), (_, hiding, left_to_heads) = measured.values()
say(f"""
It does. The heads that look on find {number(seen_by_heads, 2)} of the labels, where a guess finds {number(1 / 14, 2)}; those that the network is trained
against find {number(left_to_heads, 2)}. Of new digits the network that is looked on gets {number(looked_on, 3)} right and
the other {number(hiding, 3)}.
""")


# %% [markdown]
# (any-features)=
# ## What any features would allow
#
# A head on $d$ numbers for each of $m$ examples fits some random labels whatever these numbers are: with $d + 1 = m$ it fits all.
# So a random-label accuracy says nothing by itself. What would a head reach on features that no network made?
# For least squares and labels in equal numbers there is a law, derived for this book. With the leverage
# $h = d/m$ ($m$ counts the examples of one class where each class has its head) and $z$ standard normal,
#
# $$
# \mathrm{RLA}_0(n, h) = \mathbb E_z\Bigl[\Phi\bigl(z + \sqrt{n h / (1 - h)}\bigr)^{n - 1}\Bigr].
# $$ (eq-random-label-null)
#
# Does it say what is drawn: independent normal features, random labels, and a fitted head?

# %%
fits = {n: max(20, 1000 // n) for n in {*null_labels, 14, 140}}  # many labels need few: each is a mean over all examples
null_points = [
    {"features": "gaussian", "m": null_examples, "d": d, "n": n, "class_wise": per_class, "draws": fits[n]}
    for per_class, own in ((False, null_examples), (True, null_examples // 10))
    for d in null_dimensions
    for n in null_labels
    if n <= own and d + 2 <= own
]
n_digits = min(null_examples, 1400)
components = min(max(null_dimensions[-1] - 10, 1), 50)

# %%
null_points += [
    {"features": "digits", "m": n_digits, "d": components, "n": n, "draws": fits[n]}
    for n in (14, 140)
    if 2 * n <= n_digits
]
null = run.sweep(random_label_null, null_points, seeds=null_seeds, workers=run.workers)
null = named_heads(null)

# %% tags=["hide-input"]
normal = null.query("features == 'gaussian'")
of_kind = dict(list(normal.groupby("heads", sort=False)))
figure, axes = panels(len(of_kind), titles=list(of_kind))
shown = [draw_null(ax, one) for ax, one in zip(axes, of_kind.values(), strict=True)]
legend_above(figure)
show(
    run, figure, pd.concat(shown), name="null",
    title="Without any network, heads fit " + listed(
        f"{span(one.groupby(['d', 'n']).accuracy.mean(), 2)} of the random labels ({name})" for name, one in of_kind.items()
    ),
    alt=f"Accuracy on random labels against their number, {number(null_examples)} examples without meaning; lines are the law, points are drawn. "
    + ". ".join(f"{name}: {curves_in_words(one, 'n', 'accuracy', 'd')}" for name, one in of_kind.items()) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
far = normal.assign(gap=normal.accuracy - normal.law_by_example).groupby(["n", "d", "class_wise"]).gap.mean().abs()
clustered = {n: one.set_index("seed") for n, one in null.query("features == 'digits'").groupby("n")}
say(f"""
With the leverage of each example put in, the law is {number(float(far.loc[min(null_labels)].max()), 1)} off for {min(null_labels)} labels, and {number(float(far.max()), 2)} off where it is
farthest; it is a limit of many examples for each label. On features in clusters (principal components of digits: {components}) heads find {listed(
f"{number(one.accuracy.mean(), 3)} of {n} labels, {compare(one.accuracy, one.law)} the law's {number(one.law.mean(), 3)}" for n, one in clustered.items())}: the law is of features
without clusters, and for others the null has to be drawn. An accuracy without its null beside it cannot be read.
""")

# %% [markdown] tags=["theory"]
# **Derived**: the null falls with the number of labels, as guessing does, and rises again once $n h$ is large.
#
# ### Dimension, examples, labels: move them
#
# How much of a random-label accuracy would features of that size give for nothing? Lines are the law; marks are drawn labels,
# where this page drew any. The score is the accuracy corrected for chance: guessing is at 0, all labels are at 1.

# %% tags=["hide-input"]
opening = {"m": null_examples, "n": 14, "d": 24}
sizes = [8, 16, 24, 32, 64, 96, 128, 192, 256]
grid = null_grid(sorted({300, null_examples, 5000, 50000}), sizes, sorted({2, 4, 14, 35, 140, min(null_labels)}))
networks = "a head per class, on a trained network"
grid = pd.concat([grid, grid.query("heads == 'guessing'").assign(heads=networks, score=float("nan"), accuracy=float("nan"))])
seen = meter[meter.arm == "none"].assign(heads=networks, m=n_train, n=count, d=meter.width, score=meter.frozen_rho, accuracy=meter.frozen)
seen = pd.concat([normal, seen], ignore_index=True).query("m in @grid.m.unique() and n in @grid.n.unique()")
marks = seed_intervals(seen, ["m", "n", "d", "heads"], ["score", "accuracy"])

# %% tags=["hide-input"]
opened = grid[(grid.m == opening["m"]) & (grid.n == opening["n"]) & (grid.d == opening["d"])]
explore(
    run, grid, name="null_explorer", x="d", y=["score", "accuracy"], lines="heads", controls=["m", "n"],
    start={"m": opening["m"], "n": opening["n"]}, read_at=opening["d"], marks=marks,
    labels={
        "d": "features d [features]", "m": "examples m [examples]", "n": "random labels n [labels]",
        "score": "score, corrected for chance [fraction]", "accuracy": "random-label accuracy [fraction]",
    },
    title=f"With {number(opening['m'])} examples, {opening['n']} labels and {opening['d']} features any features allow: " + listed(
        f"{name} {number(one.accuracy.iloc[0], 2)}" for name, one in opened.groupby("heads", sort=False) if name != networks
    ),
    alt="Score or accuracy that any features allow against their number, a line for a head per class, one for a shared head and one for guessing, "
    "with sliders for examples and labels.",
)  # fmt: skip

# %% [markdown]
# ## What else moves the reading?
#
# A meter of memorization should move with memorization alone. What of the learning rate of the heads, which the network
# never feels; of images that are shifted by a pixel; of smoothed labels; of the length of training?

# %%
moves = ["none", "shifts", "smoothing 0.2"] + [f"{length} epochs" for length in lengths if length != epochs]
moves += [f"heads learn at {rate:g}" for rate in head_rates]
moved = run.sweep(
    random_label_heads,
    points("class-wise", moves, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
moved = with_arms(moved, "class-wise", moves, **digits)

# %% tags=["hide-input"]
called = {"shifts": "shifts by a pixel", "smoothing 0.2": "label smoothing"}
chosen = ["none", *called, f"{min(lengths)} epochs", f"heads learn at {min(head_rates):g}"]
gaps = changes(moved[moved.arm.isin(chosen)].replace({"arm": called}))

# %% tags=["hide-input"]
figure, (ax,) = panels(1, height=3.4)
shown = draw_changes(ax, gaps)
by_shifts = shown[shown.arm == "shifts by a pixel"]["mean"]
legend_above(figure)
show(
    run, figure, shown, name="down_and_up",
    title=f"Shifted images move what heads trained along find by {by_shifts.iloc[0]:+.2f}, what new heads find by {by_shifts.iloc[1]:+.2f}".replace("-", "−"),
    alt="A row a change of training, and how far both readings move from those of plain training: "
    + rows_in_words(shown, "arm", {"online_change": "online", "frozen_change": "frozen"}) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
shifted = gaps[gaps.arm == "shifts by a pixel"].set_index("seed")
same_trunk = moved[(moved.epochs == epochs) & moved.arm.str.contains("none|learn")].groupby("head_rate").online.mean()
say(f"""
With images that move, the online reading is {compare(shifted.online_change, 0 * shifted.online_change)} that of plain training ({number(shifted.online_change.mean(), 2)}), and the frozen
one {compare(shifted.frozen_change, 0 * shifted.frozen_change)} it ({number(shifted.frozen_change.mean(), 2)}): whether heads cannot follow or features hold less, new heads tell. And one and the same
network reads {listed(f"{number(value, 2)} with heads that learn at {number(rate)}" for rate, value in same_trunk.items())}. So an online reading says how easily labels
are *found while training*, and compares networks at the same rate, length and input of the heads.
""")

# %% tags=["hide-input"]
over = moved[moved.arm.str.contains("epochs|none")]  # each length once
figure, (ax,) = panels(1)
draw_over_epochs(ax, over)
legend_above(figure)
show(
    run, figure, over, name="epochs",
    title=f"With longer training the online reading {trend(over, 'epochs', 'online')}, the frozen one {trend(over, 'epochs', 'frozen')}",
    alt=f"Against the length of training. Online, {curves_in_words(over, 'epochs', 'online')}; frozen, {curves_in_words(over, 'epochs', 'frozen')}; "
    f"test accuracy, {curves_in_words(over, 'epochs', 'test')}.",
)  # fmt: skip

# %% [markdown]
# ## Do regularizers lower it?
#
# The paper (by the summary) says that regularizers lower random-label accuracy; of the **follow-up** we know which: dropout, weight
# decay and label smoothing. Do they, in both readings?

# %%
regularizers = [f"weight decay {value:g}" for value in decays] + [f"dropout {value:g}" for value in dropouts]
regularizers += [f"smoothing {value:g}" for value in smoothings]
regularized = run.sweep(
    random_label_heads,
    points("class-wise", ["none", *regularizers], **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
regularized = with_arms(regularized, "class-wise", ["none", *regularizers], **digits)

# %% tags=["hide-input"]
figure, (ax,) = panels(1, height=4.2)
shown = draw_readings(ax, in_symbols(regularized), 1 / count)
legend_above(figure)
show(
    run, figure, shown, name="regularizers",
    title=f"By what heads trained along find: {ordered(in_symbols(regularized), 'arm', 'online')}",
    alt="A row a regularizer, random-label accuracy of heads trained along and of new heads: "
    + rows_in_words(shown, "arm", {"online": "online", "frozen": "frozen"}) + ".",
)  # fmt: skip

# %% tags=["hide-input"]
table(
    seed_means(in_symbols(regularized), ["arm"], {"online": "online", "frozen": "frozen", "test accuracy": "test"}),
    f"Regularizers on digits, chance {number(1 / count, 3)}: mean ± half of the 95 % interval",
)

# %% tags=["remove-input"]
readings = {arm: one.set_index("seed") for arm, one in in_symbols(regularized).groupby("arm", sort=False)}
beside = readings.pop("plain training")
apart = {arm: (compare(one.online, beside.online), compare(one.frozen, beside.frozen)) for arm, one in readings.items()}
say("Against plain training: " + "; ".join(
    f"{listed(arm for arm in apart if apart[arm] == both)} {'is' if list(apart.values()).count(both) == 1 else 'are'} "
    + (f"{both[0]} it in both readings" if both[0] == both[1] else f"{both[0]} it online and {both[1]} it frozen")
    for both in dict.fromkeys(apart.values())
) + ".")  # fmt: skip

# %% [markdown] tags=["theory"]
# ## At which depth do classes take over?
#
# **Paper** (by the summary): depth shows where information on single samples turns into information on classes; which way, we do
# not know. **Follow-up**: the online reading rises with depth. Here one shared head with 140 labels reads the pixels and four
# hidden layers of equal width, so that heads are of one size; beside them a linear probe of the classes.

# %%
at_depth = {"n_train": n_train, "epochs": epochs, "frozen_steps": frozen_steps}
deep = ["untrained", "none", "50 % noise", "joint", "lambda 10"]
depth = run.sweep(
    random_label_heads,
    points("depth", deep, **at_depth),
    seeds=depth_seeds,
    stacked=True,
    workers=run.workers,
)
depth_rows = with_arms(depth, "depth", deep, **at_depth)
depth = in_symbols(depth_rows)

# %% tags=["hide-input"]
figure, axes = panels(3, columns=3, titles=["new heads", "heads trained along", "classes"], height=3.4)
draw_by_depth(axes, depth)
legend_above(figure)
inside = dict(list(depth_rows[depth_rows.site != "pixels"].groupby("arm", sort=False)))
show(
    run, figure, depth, name="depth",
    title=f"From layer to layer of a network trained on classes what new heads find {trend(inside['none'], 'depth', 'frozen')}; in joint training it {trend(inside['joint'], 'depth', 'frozen')}",
    alt="Against depth, from the pixels on. New heads, " + curves_in_words(depth, "depth", "frozen", "arm")
    + ". Online, " + curves_in_words(depth, "depth", "online", "arm") + ".",
)  # fmt: skip

# %% tags=["remove-input"]
courses = {arm: f"{trend(one, 'depth', 'frozen')} ({curves_in_words(one, 'depth', 'frozen')})" for arm, one in inside.items()}
of_classes = depth_rows[depth_rows.arm == "none"]
say(f"""
Over the hidden layers of a network that is trained on classes what new heads find {courses["none"]}, while from the pixels to the last layer a probe of the
classes {trend(of_classes, "depth", "class_probe")}. Where random labels are learned on purpose, what new heads find {courses["joint"]}; with half of the classes drawn by lot
it {courses["50 % noise"]}, and in an untrained network it {courses["untrained"]}. So a course over depth tells memorization beside that of an untrained network.
""")

# %% [markdown] tags=["theory"]
# ## Unlearning: less memorization, and better?
#
# **Paper**: unlearning lowers memorization, and generalization does not improve. **Follow-up**: the online reading falls to chance, with
# training accuracy almost unchanged; on ImageNet test accuracy rises, on CIFAR-100 it falls. What do digits say?

# %%
levels = [f"lambda {value:g}" for value in sorted({10.0, *strengths})]
against = run.sweep(
    random_label_heads,
    points("class-wise", ["none", *levels], **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
against = with_arms(against, "class-wise", ["none", *levels], **digits)

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["random labels", "classes"])
draw_strengths(axes, against)
legend_above(figure)
show(
    run, figure, against, name="strengths",
    title=f"With the strength of unlearning the online reading {trend(against, 'strength', 'online')}, test accuracy {trend(against, 'strength', 'test')}",
    alt=f"Against the strength. Online, {curves_in_words(against, 'strength', 'online')}; frozen, {curves_in_words(against, 'strength', 'frozen')}; "
    f"training accuracy, {curves_in_words(against, 'strength', 'train', digits=3)}; test accuracy, {curves_in_words(against, 'strength', 'test', digits=3)}.",
)  # fmt: skip

# %% tags=["remove-input"]
strong = against[against.arm == "lambda 10"]
strong_by_seed = strong.set_index("seed")
say(f"""
At λ = {number(float(strong.strength.iloc[0]))} heads trained along find {number(strong.online.mean(), 3)} of the labels (chance {number(1 / count, 3)}), new heads
{number(strong.frozen.mean(), 3)} ({number(against[against.arm == "none"].frozen.mean(), 3)} in plain training). Training accuracy is
{number(strong.train.mean(), 3)}, and test accuracy changes by {number(100 * strong.test_change.mean(), 2)} points: it is {compare(strong_by_seed.test_change, strong_by_seed.test_change * 0)} that of
plain training.
""")

# %% [markdown] tags=["theory"]
# ### Another loss?
#
# **Derived**: the gradient of $-\log(1 - \hat p_r)$ goes away as the label is forgotten, that of reversed cross-entropy does not;
# the confusion loss stops at chance. And the sign that notes on the follow-up print would reward memorization. Does it show?

# %%
others = ["reversal 0.1", "reversal 0.3", "reversal 1", "confusion 1", "confusion 10", "confusion 30", "literal 1"]
rivals = run.sweep(
    random_label_heads,
    points("class-wise", others, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
rivals = with_arms(rivals, "class-wise", others, **digits)

# %% tags=["hide-input"]
words = {"bounded": "−log(1 − p)", "reversal": "reversed cross-entropy", "confusion": "confusion", "literal": "+log(1 − p)"}
losses = pd.concat([against[against.strength > 0], rivals], ignore_index=True)
losses = losses.assign(arm=losses.regularizer.map(words))
figure, axes = panels(2, titles=["random labels, online", "classes, training"])
draw_by_strength(axes, losses, {"online": "random-label accuracy [fraction]", "train": "accuracy [fraction]"})
legend_above(figure)
show(
    run, figure, losses, name="losses",
    title="Training accuracy at the largest strength tried: " + listed(
        f"{number(one[one.strength == one.strength.max()].train.mean(), 2)} ({arm})" for arm, one in losses.groupby("arm", sort=False)
    ),
    alt="Against the strength, a line a loss. Online, " + curves_in_words(losses, "strength", "online", "arm")
    + ". Training accuracy, " + curves_in_words(losses, "strength", "train", "arm") + ".",
)  # fmt: skip

# %% tags=["remove-input"]
strongest = losses[losses.strength == losses.groupby("arm").strength.transform("max")]
plain = against[against.arm == "none"]
say(f"""
Heads trained along then find {listed(f"{number(one.online.mean(), 2)} ({loss})" for loss, one in strongest.groupby("arm", sort=False))}, where a guess finds
{number(1 / count, 2)} and heads beside plain training {number(plain.online.mean(), 2)}.
""")

# %% [markdown]
# ### Is it gone, or only hidden?
#
# A network that fools the heads it is trained with may still hold what they look for. What do new heads find? Does a
# stronger adversary help, one that takes ten steps for each one of the network? And what if the network turns against the heads
# late, when they have learned?

# %%
stronger = ["lambda 10, 10 head steps", "lambda 10, late"]
hidden = run.sweep(
    random_label_heads,
    points("class-wise", stronger, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
hidden = with_arms(hidden, "class-wise", stronger, **digits)

# %% tags=["hide-input"]
compared = in_symbols(pd.concat([meter[meter.arm.isin(["untrained", "none"])], strong, hidden], ignore_index=True))
figure, (ax,) = panels(1, height=3.8)
shown = draw_readings(ax, compared, 1 / count)
legend_above(figure)
show(
    run, figure, shown, name="hidden",
    title=f"New heads still find: {ordered(compared, 'arm', 'frozen')}",
    alt="A row a training, random-label accuracy of heads trained along and of new heads: "
    + rows_in_words(shown, "arm", {"online": "online", "frozen": "frozen"}) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
unlearning = {arm: one.set_index("seed") for arm, one in pd.concat([strong, hidden]).groupby("arm", sort=False)}
weak, ten = unlearning["lambda 10"], unlearning["lambda 10, 10 head steps"]
seen_before = plain.set_index("seed").online
hides = compare(weak.online, seen_before) == "below" and compare(weak.frozen, weak.online) == "above"
between = ": what lies between is **hidden, not removed**" if hides else ""
say(f"""
Heads trained along are at {number(weak.online.mean(), 2)}, {compare(weak.online, seen_before)} the {number(seen_before.mean(), 2)} of plain training; new ones are at {number(weak.frozen.mean(), 2)}, {compare(weak.frozen, weak.online)}
those that were trained along{between}. With ten head
steps for each step of the network new heads find {number(ten.frozen.mean(), 2)}, {compare(ten.frozen, weak.frozen)} that. Of labels that the network did not unlearn they find
{number(weak.fresh.mean(), 2)} and {number(ten.fresh.mean(), 2)}: as far as these are like the others, what is left tells images apart, and not these labels.
""")

# %% [markdown] tags=["theory"]
# ### How strong, for how many labels?
#
# **Derived**: at chance the push is $1/(n-1)$ that of reversed cross-entropy, so the strength has to grow with the number of
# labels. One shared head, with λ = 1.4 and with λ = 0.1 n: which is enough for all?

# %%
counted = ["14 labels", "14 labels, lambda 1.4", "35 labels", "35 labels, lambda 3.5", "none"]  # none: 140 labels
counted += ["140 labels, lambda 1.4", "140 labels, lambda 14"]
of_one_head = {"n_train": n_train, "epochs": epochs, "frozen_steps": frozen_steps}
scaled = run.sweep(
    random_label_heads,
    points("shared", counted, **of_one_head),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
scaled = with_arms(scaled, "shared", counted, **of_one_head)

# %% tags=["hide-input"]
table(
    seed_means(scaled.assign(labels=scaled["count"], λ=scaled.strength), ["labels", "λ"], {
        "online": "online", "chance": "chance", "frozen": "frozen", "test accuracy": "test", "its change": "test_change",
    }),
    "One shared head: mean ± half of the 95 % interval",
)  # fmt: skip

# %% tags=["remove-input"]
scores = scaled.pivot_table("online_rho", "seed", "arm")
few_labels, many_labels, in_step = scores["14 labels, lambda 1.4"], scores["140 labels, lambda 1.4"], scores["140 labels, lambda 14"]
say(f"""
At the same λ the score of heads trained along, corrected for chance, is {number(many_labels.mean(), 2)} with many labels, {compare(many_labels, few_labels)} the {number(few_labels.mean(), 2)} with
few. With λ in step with the number of labels it is {number(in_step.mean(), 2)} with many, {compare(in_step, many_labels)} that.
""")

# %% [markdown] tags=["theory"]
# ## Who pays: little data, and wrong classes
#
# **Follow-up**: with less data unlearning no longer helps; with wrong classes it does. Left, many digits against few, with
# right classes. Right, four in ten classes drawn by lot, with heads at the last layer and at all layers. Who gains, who loses?

# %%
n_few = min(300, n_train // 2)
many, few = {**digits}, {**digits, "n_train": n_few, "count": min(6, n_few // 40), "epochs": 2 * epochs}
many_arms, few_arms = ["none", "lambda 10", "joint"], ["none", "lambda 3", "lambda 10", "lambda 30", "joint"]
little = [
    with_arms(
        run.sweep(
            random_label_heads, points(protocol, arms, **sizes),
            seeds=little_seeds, stacked=True, workers=run.workers,
        ),
        protocol, arms, **sizes,
    )
    for protocol, arms, sizes in (("class-wise", many_arms, many), ("little", few_arms, few))
]  # fmt: skip
little = pd.concat(little, ignore_index=True)

# %%
levels_of_noise = ["lambda 3", "lambda 10", "lambda 30"]
wrong_arms = ["40 % noise"] + [f"40 % noise, {level}{where}" for where in ("", " at all layers") for level in levels_of_noise]
wrong = run.sweep(
    random_label_heads,
    points("class-wise", wrong_arms, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
wrong = with_arms(wrong, "class-wise", wrong_arms, **digits)

# %% tags=["hide-input"]
unlearned = little[little.arm == "lambda 10"]
both = pd.concat([against, unlearned], ignore_index=True)
both = both[both.strength.isin(unlearned.strength.unique())].drop_duplicates(["n_train", "strength", "seed"])
both = both.assign(arm=[f"{size:,} images" for size in both.n_train])
zero = wrong[wrong.strength == 0.0]
noisy = pd.concat([
    zero.assign(arm="heads at the last layer"), wrong[(wrong.strength > 0) & (wrong.acting == "last")].assign(arm="heads at the last layer"),
    zero.assign(arm="heads at all layers"), wrong[(wrong.strength > 0) & (wrong.acting == "hidden")].assign(arm="heads at all layers"),
], ignore_index=True)  # fmt: skip
noisy = noisy[noisy.depth == noisy.groupby("acting").depth.transform("max")]

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["right classes, change", "four in ten by lot"])
draw_by_strength(axes[:1], both, {"test_change": "test accuracy [difference]"})
draw_by_strength(axes[1:], noisy, {"test": "test accuracy [fraction]"})
for ax in axes:
    ax.legend(fontsize=9)
paid = listed(f"{number(100 * one.test_change.mean(), 2)} points with {size}" for size, one in both[both.strength == strong.strength.iloc[0]].groupby("arm", sort=False))
show(
    run, figure, pd.concat([both, noisy], ignore_index=True), name="who_pays",
    title=f"At λ = {number(float(strong.strength.iloc[0]))} test accuracy changes by {paid}",
    alt="Left, change of test accuracy against strength: " + curves_in_words(both, "strength", "test_change", "arm", digits=3)
    + ". Right, test accuracy with wrong classes: " + curves_in_words(noisy, "strength", "test", "arm") + ".",
)  # fmt: skip

# %% tags=["remove-input"]
peaks = {place: one[one.strength == one.groupby("strength").test.mean().idxmax()].set_index("seed") for place, one in noisy.groupby("arm", sort=False)}
last_best, all_best = peaks["heads at the last layer"], peaks["heads at all layers"]
without = zero.set_index("seed")
say(f"""
With classes drawn by lot test accuracy is {number(without.test.mean(), 3)} without unlearning. At the best of the strengths tried it is {number(last_best.test.mean(), 3)} with heads at
the last layer (λ = {number(float(last_best.strength.iloc[0]))}), {compare(last_best.test, without.test)} that, and {number(all_best.test.mean(), 3)} with heads at all layers
(λ = {number(float(all_best.strength.iloc[0]))}), {compare(all_best.test, without.test)} it. There training accuracy is {number(all_best.train.mean(), 2)}; of the wrong classes
{number(all_best.wrong_fitted.mean(), 2)} are fitted, {number(without.wrong_fitted.mean(), 2)} without unlearning.
""")

# %% [markdown] tags=["theory"]
# ## Is it a complexity? The share of signs that a head fits
#
# **Derived**, but for the closed forms, which are known: for two labels, -1 and +1, the mean of label times prediction is twice
# the accuracy less one, and its mean over labellings is a Rademacher complexity: of least-squares heads on these features, not of
# networks. Heads whose weights have norm 1 at most have a
# complexity in closed form for each labelling, $\lVert \sum_i \sigma_i x_i \rVert / m$, whose mean is at most $\lVert X \rVert_F / m$. How do
# both grow with the number of features, and how far off is a single labelling?

# %%
complexity_points = [
    *({"features": "gaussian", "d": d, "m": null_examples} for d in rademacher_dimensions),
    {"features": "digits", "d": min(50, rademacher_dimensions[-1]), "m": n_digits},
]
rademacher = run.sweep(
    random_label_rademacher, complexity_points, seeds=rademacher_seeds,
    fixed={"draws": rademacher_draws}, workers=run.workers,
)  # fmt: skip
regularizer = run.sweep(random_label_regularizer, {"n": [2, 14]}, seeds=3)
large = [{"d": round(large_null_examples * 3 / 70), "draws": 150}] if large_null_examples else []
null_large = null.head(0)
if large:
    null_large = run.sweep(random_label_null, large, seeds=10, fixed={"m": large_null_examples, "n": 14}, workers=run.workers)

# %% tags=["hide-input"]
drawn = rademacher.query("features == 'gaussian'")
figure, axes = panels(2, titles=["least-squares heads", "heads of bounded norm"])
shown = [draw_least_squares(axes[0], drawn).assign(heads="least squares"), draw_norm_bounded(axes[1], drawn).assign(heads="bounded norm")]
legend_above(figure)
show(
    run, figure, pd.concat(shown), name="rademacher",
    title=f"From {min(rademacher_dimensions)} to {max(rademacher_dimensions)} features the complexity of linear heads {trend(drawn, 'd', 'complexity')}",
    alt="Rademacher complexity against the number of features, drawn and in closed form. Least-squares heads: "
    f"{curves_in_words(drawn, 'd', 'complexity')}; heads of bounded norm: {curves_in_words(drawn, 'd', 'norm_bounded')}.",
)  # fmt: skip

# %% tags=["remove-input"]
stable = regularizer.groupby("gap").plain_finite.min()
say(f"""
One labelling scatters by {span(rademacher.sd)} around its mean, and McDiarmid's 95 % interval, which holds for the best head of any class, is
±{span(rademacher.half_width)}: {span(100 * rademacher.inside)} % of the labellings lie inside. It goes with $1/\\sqrt m$, so one draw is enough for large $m$. Heads of bounded norm reach
{span(rademacher.norm_bounded / rademacher.norm_bound)} of their bound. Of the regularizer $-\\log(1-p)$, the plain form is infinite in float32 from a logit gap of
{number(regularizer.query("n == 2").plain_limit.min(), 4)} on ({listed(f"{gap:g}" for gap in stable[stable == 0].index)} of the gaps tried), the form used here is right to
{number(regularizer.stable_error.max(), 1)} at all of them, and the formula of its gradient agrees with automatic differentiation to {number(regularizer.gradient_error.max(), 1)} in float64.
""")

# %% [markdown]
# (heads-use)=
# ## What are the heads good for?
#
# A question of ours, which neither paper asks as far as we know. Somebody who has a trained network wants to know which training
# images it memorized: wrong labels, images that do not belong. A head tells how clearly *each* image is told from others: the margin of its random label, averaged over several
# labellings. That needs no clean data, and neither do the loss and the margin of the class. Which finds more? Of the training
# images a share is planted: once with a wrong class, once as *canaries*, images whose pixels are put in random order, with a class drawn by lot.
# Beside the scores stands the *leverage* of an image's features among those of its class, a closed form that needs no head.

# %%
early_look = min(early, epochs - 1)
sought = {"share": planted_share, "labellings": labellings, "n_train": n_train, "count": count, "epochs": epochs}
finds = at_looks(run.sweep(
    planted_examples,
    [{"planted": kind, "watch_at": [early_look], **sought} for kind in PLANTED],
    seeds=seeds,
    stacked=True,
    workers=run.workers,
))  # fmt: skip

# %% tags=["hide-input"]
areas = {key: one.pivot(index="seed", columns="score", values="auroc") for key, one in finds.groupby(["planted", "look"])}
figure, axes = panels(2, columns=1, titles=["", ""], height=2.2)
shown = draw_found(axes, finds)
legend_above(figure)
by_wrong, by_canary = areas["wrong labels", "end"], areas["canaries", "end"]
show(
    run, figure, shown, name="planted",
    title=f"At the end new heads are {compare(by_wrong.new_heads, by_wrong.loss)} the loss for wrong labels, {compare(by_canary.new_heads, by_canary.loss)} it for canaries",
    alt="Area under the ROC curve by score. " + " ".join(
        f"{kind}: {rows_in_words(one, 'arm', {'end': 'end', 'early': f'epoch {early_look}'})}." for kind, one in shown.groupby("planted", sort=False)
    ),
)  # fmt: skip

# %% tags=["remove-input"]
soon, at_start = areas["wrong labels", "early"], areas["canaries", "start"]
fitted = finds[finds.look != "start"].groupby(["planted", "look"]).planted_fitted.mean()
precise = finds[finds.look == "end"].pivot_table("average_precision", "planted", "score")
say(f"""
**Wrong labels.** After epoch {early_look} the loss ranks a wrong label above a right one with probability {number(soon.loss.mean())}, and new heads with
{number(soon.new_heads.mean())}, {compare(soon.new_heads, soon.loss)} it. At the end, when {number(fitted["wrong labels", "end"], 2)} of the wrong labels are fitted, the loss is at {number(by_wrong.loss.mean(), 2)}, new heads
at {number(by_wrong.new_heads.mean(), 2)}, {compare(by_wrong.new_heads, by_wrong.loss)} it, heads that were trained along at {number(by_wrong.online_heads.mean(), 2)}, and the leverage, without any head, at {number(by_wrong.leverage.mean(), 2)}.
**Canaries.** At the end their average precision is {number(precise.new_heads["canaries"], 2)} by new heads, {number(precise.leverage["canaries"], 2)} by leverage and
{number(precise.loss["canaries"], 2)} by the loss. New heads on the *untrained* network have an area of {number(at_start.new_heads.mean(), 2)}, {compare(at_start.new_heads, by_canary.new_heads)} the
{number(by_canary.new_heads.mean(), 2)} at the end: as far as they reach, heads find what is odd, memorized or not. Which score to use for what, RL-19 judges.
""")

# %% tags=["hide-input"]
looked = finds[finds.look != "start"].replace({"score": FOUND_BY})
both_looks = looked.pivot_table(["auroc", "average_precision"], ["planted", "score", "seed"], "look", sort=False)
both_looks.columns = [f"{name} {look}" for name, look in both_looks.columns]
table(
    seed_means(both_looks.reset_index(), ["planted", "score"], {
        f"AUROC, epoch {early_look}": "auroc early", "AUROC, end": "auroc end",
        f"average precision, epoch {early_look}": "average_precision early", "average precision, end": "average_precision end",
    }),
    f"A share of {number(planted_share)} is planted; guessing has an area of one half and an average precision of {number(planted_share)}: mean ± half of the 95 % interval",
)  # fmt: skip

# %% tags=["hide-input"]
of_draw = {}
for kind in PLANTED:
    of_draw[kind] = f"{kind.replace(' ', '_')}_scores_{first_seed}.csv"
    planted_scores(planted=kind, **sought, seed=first_seed).save(run.figures_folder / of_draw[kind])
file_links(run, f"Scores of draw {first_seed} to download, one row an image", of_draw)

# %% [markdown]
# ### Does unlearning protect the training images?
#
# **Membership inference** asks of an image whether it was in the training. Its success is the area under the ROC curve of a score on
# training images against test images. Of few images, so that the network overfits: anybody can use the loss. Who has the heads can see
# how sure they are of whatever label. And an auditor who drew labels for both kinds of images can ask for the margin of *that* label.
# What of all this does unlearning hide?

# %%
forces = sorted({0.0, 10.0, *(strength for strength in strengths if strength >= 1)})
members = run.sweep(
    unlearned_members,
    [{"strengths": forces, "n_train": n_members, "epochs": 2 * epochs}],
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)

# %% tags=["hide-input"]
told = {score: one.pivot(index="seed", columns="strength", values="auroc") for score, one in members.groupby("score")}
figure, (ax,) = panels(1)
shown = draw_members(ax, members)
legend_above(figure)
show(
    run, figure, shown, name="membership",
    title=f"From λ = {number(forces[0])} to {number(forces[-1])} the heads go from {number(told['online_heads'][0.0].mean(), 2)} to {number(told['online_heads'][forces[-1]].mean(), 2)}, an attack by the loss from {number(told['loss'][0.0].mean(), 2)} to {number(told['loss'][forces[-1]].mean(), 2)}",
    alt="Area under the ROC curve of training against test images by strength. " + "; ".join(
        f"{words}, {curves_in_words(shown[shown.arm == words], 'strength')}" for words in TOLD_BY.values()
    ) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
own_heads, by_loss, sure = told["online_heads"], told["loss"], told["sure_heads"][10.0]
accuracy = members[members.score == "loss"].pivot(index="seed", columns="strength", values="test")
say(f"""
At λ = {number(float(strong.strength.iloc[0]))} the heads tell the training images with {number(own_heads[10.0].mean(), 2)}, {compare(own_heads[10.0], own_heads[0.0])} the {number(own_heads[0.0].mean(), 2)} of heads that look on. The loss
tells them with {number(by_loss[10.0].mean(), 2)}, {compare(by_loss[10.0], by_loss[0.0])} its {number(by_loss[0.0].mean(), 2)} without unlearning, while test accuracy goes from {number(accuracy[0.0].mean())} to
{number(accuracy[10.0].mean())}. How sure the heads are is at {number(sure.mean(), 2)}, {compare(sure, 0 * sure + 0.5)} guessing: read from the side where it tells more, it tells members with
{number(max(sure.mean(), 1 - sure.mean()), 2)}. Whether what is hidden from its own heads is hidden from others, RL-20 judges.
""")

# %% [markdown] tags=["theory"]
# ## Larger images: is it the digits?
#
# The same on subsets of MNIST, Fashion-MNIST and CIFAR-10 (2,000 images of half the side, 20 labels for each class), and
# a convolutional network on the digits, at profile `desktop`.

# %%
of_images = ["untrained", "none", "40 % noise", "joint", "lambda 3", "lambda 10", "weight decay 0.01", "dropout 0.3", "smoothing 0.2"]
wanted = [point for name in image_sets for point in points("images", of_images, dataset=name)]
images = run.recorded(
    random_label_heads, wanted, "desktop", seeds=image_seeds, stacked=True, workers=run.workers
)
if len(images):
    images = pd.concat([with_arms(images[images.dataset == name], "images", of_images, dataset=name) for name in image_sets], ignore_index=True)

# %%
of_convolutions = ["untrained", "none", "40 % noise", "joint", "lambda 10"]
convolutions = run.recorded(
    random_label_heads, points("convolutions", of_convolutions), "desktop", seeds=convolution_seeds, stacked=True, workers=run.workers
)
if len(convolutions):
    convolutions = with_arms(convolutions, "convolutions", of_convolutions)

# %% tags=["hide-input"]
if len(images):
    set_names = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
    display(table(
        seed_means(in_symbols(images.assign(images=images.dataset.map(set_names))), ["images", "arm"], {
            "online": "online", "frozen": "frozen", "fresh labels": "fresh", "training": "train", "test accuracy": "test",
        }),
        f"Subsets of {number(int(images.n_train.iloc[0]))} images, chance {number(float(images.chance.iloc[0]))}: mean ± half of the 95 % interval",
    ))  # fmt: skip

# %% tags=["remove-input"]
if len(images):
    at_ten = images[(images.arm == "lambda 10") & images.test_change.notna()].assign(images=images.dataset.map(set_names))
    of_set = {name: one.set_index("seed") for name, one in at_ten.groupby("images", sort=False)}
    display(say("With unlearning (λ = " + number(float(strong.strength.iloc[0])) + ") test accuracy changes by " + listed(
        f"{number(100 * one.test_change.mean(), 2)} points on {name} ({compare(one.test_change, 0 * one.test_change)} plain training)" for name, one in of_set.items()
    ) + "; heads trained along find " + listed(f"{number(one.online.mean(), 2)} ({name})" for name, one in of_set.items()) + "."))  # fmt: skip

# %% tags=["hide-input"]
if len(convolutions):
    figure, axes = panels(3, columns=3, titles=["new heads", "heads trained along", "classes"], height=3.4)
    draw_by_depth(axes, in_symbols(convolutions))
    legend_above(figure)
    display(show(
        run, figure, in_symbols(convolutions), name="convolutions",
        title=f"Convolutions: from layer to layer what new heads find {trend(convolutions[convolutions.arm == 'none'], 'depth', 'frozen')} after training, {trend(convolutions[convolutions.arm == 'untrained'], 'depth', 'frozen')} before",
        alt="Against the stage. New heads, " + curves_in_words(convolutions, "depth", "frozen", "arm") + ". Online, "
        + curves_in_words(convolutions, "depth", "online", "arm") + ".",
    ))  # fmt: skip

# %% [markdown] tags=["theory"]
# ### The paper's scale
#
# **Paper.** CIFAR-100 is named by the summary. A wide ResNet (WRN-16-4) by the recipe that the same group published with another
# paper, which reports 76.9 % test accuracy with it, is what profile `paper` trains, with heads after every block: first as a
# probe, then with several strengths of unlearning.

# %%
strong_ones = [{"mode": "unlearning", "strength": strength} for strength in wide_strengths]
wide = run.recorded(
    random_label_wide, [{"mode": "probe"}, *strong_ones], "paper", seeds=wide_seeds,
    fixed={"dataset": wide_dataset, "epochs": wide_epochs, "recipe": {"precision": "bf16", "compiled": True}},
    unkeyed={"device": run.device, "checkpoints": str(run.build / "checkpoints")},
)  # fmt: skip

# %% tags=["hide-input"]
if len(wide):
    last_look = wide[wide["at"] == "end"].assign(**{"λ / n": wide.strength.astype(float).fillna(0.0)})  # a probe has none
    display(table(
        seed_means(last_look, ["mode", "λ / n", "site"], {"online": "online", "frozen": "frozen", "null": "null", "test accuracy": "test_accuracy"}),
        "The wide ResNet at the end of training: mean ± half of the 95 % interval",
    ))  # fmt: skip

# %% [markdown] tags=["theory"]
# ## What to know before the verdicts
#
# - **Two readings.** *Online* is what a head found that was trained along, with one rate and one length; *frozen* what a new head
#   finds on features that stay. They are never mixed, and every claim says which it is about.
# - **The null.** Heads find labels in features that mean nothing; whether a reading is high or low is judged against an untrained
#   network or against the same network trained otherwise, and across numbers of labels by the chance-corrected score.
# - **Whose claim.** Directions that the abstract, the summary or the follow-up state count as the paper's; what we derived, and
#   numbers from earlier runs of ours, are counted as ours.
# - **λ** is as the papers count it. The library counts it as a multiple of the number of labels.
# - **One labelling** is drawn for each network, but where single images are scored; of many images one labelling is enough, as the
#   section on signs says.
#
# ## Claims
#
# Each claim below is a line of
# [a data file](https://github.com/memorization-measured/memorization-measured/blob/main/notebooks/claims/random_label_heads.yaml);
# its verdict is computed from the records. A claim that this profile cannot test says so.

# %% tags=["hide-input"]
keys = ["arm", "seed", "depth"]
heads = pd.concat([meter, moved, regularized, against, rivals, hidden, wrong], ignore_index=True).drop_duplicates(keys)
one_head = ["none", "joint", "40 % noise"]
shared = run.sweep(random_label_heads, points("shared", one_head, **of_one_head), seeds=seeds, stacked=True, workers=run.workers)
shared = pd.concat([with_arms(shared, "shared", one_head, **of_one_head), scaled], ignore_index=True).drop_duplicates(keys)

# %% tags=["hide-input"]
tables = {
    "heads": heads, "chance": at_chance(heads), "shared": shared, "depth": depth_rows, "little": unlearned,
    "served": in_place_of(little, "joint", "lambda 10"), "probes": disturbed, "null": null, "null_large": null_large,
    "rademacher": rademacher, "regularizer": regularizer, "images": images, "image_chance": at_chance(images) if len(images) else images,
    "convolutions": convolutions, "wide": wide, "planted": finds, "membership": members,
}  # fmt: skip
drawn_data = {"null", "null_large", "rademacher", "regularizer"}
data = {name: "synthetic" if name in drawn_data else "digits" for name in tables} | {"images": "larger images"}
verdicts = judge(run, None, tables, dataset=data)
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
moved_by = {claim: f"{claim}: {outcome(verdicts, claim)}" for claim in ("RL-4a", "RL-4b")}
say(f"""
- Do heads tell memorization? They learn, RL-1: {outcome(verdicts, "RL-1")}; they see what is forced, RL-11: {outcome(verdicts, "RL-11")}.
- What else moves them? Shifts, {moved_by["RL-4a"]}; the length of training, {moved_by["RL-4b"]}.
- Does unlearning take memorization away? RL-6: {outcome(verdicts, "RL-6")}; with no gain in test accuracy, RL-7: {outcome(verdicts, "RL-7")}.
- **Where it ends:** what is hidden need not be removed, RL-13: {outcome(verdicts, "RL-13")}.
- What are heads good for? Heads against the loss, where examples are planted, RL-19: {outcome(verdicts, "RL-19")}; where members are hidden, RL-20: {outcome(verdicts, "RL-20")}.
""")

# %% [markdown]
# ## Exercises
#
# Each is an option of `python -m memorization run random_label_heads`. The solutions were computed at profile `book`, with a few
# draws each.
#
# 1. Two labels for each class: `-p count 2`. Does the network hold more of its images, or do heads find more?

# %% tags=["hide-input"]
tried = {"epochs": epochs, "n_train": n_train, "frozen_steps": frozen_steps}
if run.profile in ("smoke", "book"):
    pair = run.sweep(random_label_heads, [{"count": n} for n in sorted({2, count})], seeds=2, stacked=True, fixed=tried)
    by_count = pair.groupby("count")[["online", "online_rho"]].mean()
    display(solution("Heads trained along find " + listed(f"{number(row.online, 2)} with {n} labels, corrected for chance {number(row.online_rho, 2)}" for n, row in by_count.iterrows()) + "."))  # fmt: skip

# %% [markdown]
# 2. Much stronger: `-p strengths "[100]"`. What breaks, and what do heads find then?

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    hard = run.sweep(random_label_heads, points("class-wise", ["lambda 100"], count=count), seeds=2, stacked=True, fixed=tried)
    display(solution(f"Training accuracy is {number(hard.train.mean(), 3)}, test accuracy {number(hard.test.mean(), 3)}, and heads find {number(hard.online.mean(), 3)}, where a guess finds {number(1 / count, 3)}."))  # fmt: skip

# %% [markdown]
# 3. Fewer images: `-p n_train 700`. Which of the two readings moves with the number of images for a head?

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    sizes = run.sweep(random_label_heads, {"n_train": sorted({max(n_train // 2, 128), n_train})}, seeds=2, stacked=True, fixed={
        "epochs": epochs, "count": min(count, n_train // 40), "frozen_steps": frozen_steps,
    })  # fmt: skip
    by_size = sizes.groupby("n_train")[["online", "frozen"]].mean()
    display(solution("With " + listed(f"{size} images online {number(row.online, 2)} and frozen {number(row.frozen, 2)}" for size, row in by_size.iterrows()) + "."))  # fmt: skip

# %% [markdown]
# (heads-price)=
# ## What this page costs

# %% tags=["remove-input"]
from_elsewhere = {"images", "image_chance", "convolutions", "wide"}
write_price(run, tables if run.profile != "book" else {name: one for name, one in tables.items() if name not in from_elsewhere})
price_table(run)

# %% tags=["remove-input"]
foot(run, tables)

# %% [markdown] tags=["in-short"]
# ## In short

# %% tags=["in-short", "remove-input"]
says = (
    "Heads that learn random labels beside a network tell how much it memorizes; a network that is trained against them memorizes "
    "less, and generalizes no better."
)
in_short(verdicts, says, ["RL-1", "RL-6", "RL-7", "RL-5", "RL-13", "RL-14"], cost(run))
