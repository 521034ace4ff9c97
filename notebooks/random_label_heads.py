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
# $$ L_{\mathrm{rnd}} = -\log \hat p_r, \qquad L_{\mathrm{reg}} = -\log(1 - \hat p_r). $$ (eq-heads)
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
seeds: int = 5  # draws of images, weights, labels and batches | draws | 2..1000
n_train: int = 1400  # training images of the digits | images | 140..1400
labels: int = 14  # random labels of each class, class-wise heads | labels | 2..1000
epochs: int = 60  # passes of a training on digits | epochs | 1..10000
depth_epochs: int = 60  # passes where every layer is read | epochs | 1..10000
depth_seeds: int = 5  # draws where every layer is read | draws | 2..100
strengths: list[float] = [0.1, 0.3, 1.0, 3.0, 10.0, 30.0]  # strengths of unlearning | ratio | (0..100000]
lengths: list[int] = [5, 10, 20]  # shorter trainings, each with a schedule of its own | epochs | 1..10000
head_rates: list[float] = [0.05, 0.2, 1.0, 2.0]  # learning rates of the heads, beside the usual 0.5 | rate | (0..100]
decays: list[float] = [0.003, 0.01]  # weight decays | ratio | (0..10]
dropouts: list[float] = [0.1, 0.3, 0.5]  # shares of dropout | fraction | (0..0.95]
smoothings: list[float] = [0.1, 0.2]  # label smoothing of the class loss | fraction | (0..0.9]
null_dims: list[int] = [8, 16, 32, 61]  # dimensions of features without meaning | features | 1..1000
null_labels: list[int] = [2, 5, 14, 50, 140]  # numbers of random labels | labels | 2..100000
null_seeds: int = 5  # draws of features without meaning | draws | 2..100
planted: float = 0.1  # share of training images whose class is made wrong, to be found | fraction | (0..0.5]
device: str = "auto"  # where to compute; auto takes a GPU where there is one | name | one of auto, cpu, cuda

# %% tags=["setup", "hide-input"]
import pandas as pd

from memorization.report.explorations import explore
from memorization.report.figures import legend_above, panels, show
from memorization.report.judging import judge
from memorization.report.prices import cost, foot, price_table, write_price
from memorization.report.scoreboard import verdict_sentence, verdict_table
from memorization.report.styles import apply_theme
from memorization.report.tables import how_to_run, number, parameter_table, say, seed_means, solution, table
from memorization.report.words import compare, curves_in_words, in_short, listed, not_reproduced, ordered, outcome, rows_in_words, span, trend
from memorization.runs.start import start

run = start("random_label_heads", globals())
apply_theme()

# %% tags=["setup", "hide-input"]
from memorization.studies.random_label_heads.arms import at_chance, named, points
from memorization.studies.random_label_heads.experiments import probe_disturbance, random_label_heads
from memorization.studies.random_label_heads.figures import (
    changes, draw_by_strength, draw_changes, draw_depth, draw_over_epochs, draw_readings, draw_strengths, in_symbols,
)  # fmt: skip

# %% tags=["setup", "remove-input"]
how_to_run(run)

# %% tags=["setup", "remove-input"]
parameter_table(run)

# %% [markdown]
# ## Does a head that learns by lot tell memorization?
#
# The same network, trained in five ways beside class-wise heads at its last hidden layer: not at all; on its classes; with
# four in ten of them wrong; with all of them drawn by lot; and so that it serves the heads, too. The last three force it to
# memorize single images. Each head is read twice: as it was trained along (*online*), and as a new head trained to the end
# on the finished features (*frozen*).

# %%
digits = {"n_train": n_train, "count": labels, "epochs": epochs}
forced = ["untrained", "none", "40 % noise", "100 % noise", "joint"]
meter = run.sweep(
    random_label_heads,
    points("class-wise", forced, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
meter = named(meter, "class-wise", forced, **digits)

# %% tags=["hide-input"]
figure, (ax,) = panels(1, height=3.6)
shown = draw_readings(ax, meter, 1 / labels)
legend_above(figure)
show(
    run, figure, shown, name="meter",
    title=f"By what new heads find: {ordered(meter, 'arm', 'frozen')}",
    alt="A row a way of training, random-label accuracy of heads trained along and of new heads: "
    + rows_in_words(shown, "arm", {"online": "online", "frozen": "frozen"}) + f"; guessing finds {number(1 / labels, 2)}.",
)  # fmt: skip

# %% tags=["remove-input"]
by = {name: meter.pivot_table(name, "seed", "arm") for name in ("online", "frozen", "fresh", "held_out", "train", "test")}
frozen = by["frozen"]
say(f"""
Both readings rise with what is forced: with four in ten classes wrong, new heads find {number(frozen["40 % noise"].mean(), 2)} of the labels in place of
{number(frozen["none"].mean(), 2)}. But an *untrained* network is at {number(frozen["untrained"].mean(), 2)}, {compare(frozen["untrained"], frozen["none"])} the trained
one: on easy data, training for classes takes information on single images away. What is memorized when the network serves the heads is *these* labels: new heads
for labels that it never saw find {number(by["fresh"]["joint"].mean(), 2)}. On images that it never saw heads find {number(by["held_out"]["none"].mean(), 3)}, which is
chance ({number(1 / labels, 3)}). Learning the labels costs test accuracy: {number(by["test"]["joint"].mean(), 3)} in place of {number(by["test"]["none"].mean(), 3)}.
""")

# %% [markdown]
# Does a probe disturb what it measures? The same training without a head, with one, with one at every hidden layer, and with
# one that the network serves:

# %%
disturbed = run.sweep(
    probe_disturbance,
    [{"n_train": n_train, "count": labels}],
    seeds=3,
    stacked=True,
    workers=run.workers,
)

# %% tags=["remove-input"]
largest = disturbed.groupby("heads", sort=False).difference.max()
say(f"""
The largest difference of any number of the network is {listed(f"{number(value)} with {name}" for name, value in largest.items())}.
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
against find {number(left_to_heads, 2)}. Of new digits the first network gets {number(looked_on, 3)} right and the second {number(hiding, 3)}.
""")


# %% [markdown]
# ## What else moves the reading?
#
# A meter of memorization should move with memorization alone. What of the learning rate of the heads, which the network
# never feels; of images that are shifted by a pixel; of a shorter training?

# %%
usual = points("class-wise", ["none"], **digits)[0]
rates = [{**usual, "head_rate": rate} for rate in head_rates]
by_rate = run.sweep(
    random_label_heads, rates, seeds=seeds, stacked=True, workers=run.workers
)

# %%
moves = ["none", "shifts", "smoothing 0.2"]
moved = run.sweep(
    random_label_heads,
    points("class-wise", moves, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
moved = named(moved, "class-wise", moves, **digits)
shorter = run.sweep(
    random_label_heads,
    [{**usual, "epochs": length} for length in lengths],
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)

# %% tags=["hide-input"]
slow = by_rate[by_rate.head_rate == min(head_rates)].assign(arm=f"heads learn at {min(head_rates):g}")
brief = shorter[shorter.epochs == min(lengths)].assign(arm=f"{min(lengths)} epochs")
named_moves = {"shifts": "shifts by a pixel", "smoothing 0.2": "label smoothing"}
moved_by = pd.concat([moved.replace({"arm": named_moves}), brief, slow], ignore_index=True)
gaps = changes(moved_by)
figure, (ax,) = panels(1, height=3.4)
shown = draw_changes(ax, gaps)
legend_above(figure)
show(
    run, figure, shown, name="down_and_up",
    title="Heads trained along find fewer labels, and new heads " + listed(
        f"{'more' if compare(one.frozen_change, one.frozen_change * 0) == 'above' else 'fewer' if compare(one.frozen_change, one.frozen_change * 0) == 'below' else 'as many'} ({arm})"
        for arm, one in gaps.set_index("seed").groupby("arm", sort=False)
    ),
    alt="A row a change of training, and how far both readings move from those of plain training: "
    + rows_in_words(shown, "arm", {"online_change": "online", "frozen_change": "frozen"}) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
online = {arm: one.set_index("seed") for arm, one in gaps.groupby("arm", sort=False)}
shifted = online["shifts by a pixel"]
same_trunk = pd.concat([by_rate, meter[meter.arm == "none"]]).groupby("head_rate").online.mean()
say(f"""
**Online down, frozen up.** Images that move make it harder for heads to learn along, {number(shifted.online_change.mean(), 2)}, while the features hold
*more* of single images: {number(shifted.frozen_change.mean(), 2)}. And one and the same network reads {listed(f"{number(value, 2)} with heads that learn at {number(rate)}" for rate, value in same_trunk.items())}.
So an online reading says how easily labels are *found while training*, and compares networks only at the same rate, length and input of the heads.
""")

# %% tags=["hide-input"]
over = pd.concat([shorter, meter[meter.arm == "none"]], ignore_index=True)
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
# **Paper** (by the summary) and **follow-up**: dropout, weight decay and label smoothing lower random-label accuracy.

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
regularized = named(regularized, "class-wise", ["none", *regularizers], **digits)

# %% tags=["hide-input"]
figure, (ax,) = panels(1, height=4.2)
shown = draw_readings(ax, regularized, 1 / labels)
legend_above(figure)
show(
    run, figure, shown, name="regularizers",
    title=f"By what heads trained along find: {ordered(regularized, 'arm', 'online')}",
    alt="A row a regularizer, random-label accuracy of heads trained along and of new heads: "
    + rows_in_words(shown, "arm", {"online": "online", "frozen": "frozen"}) + ".",
)  # fmt: skip

# %% tags=["hide-input"]
table(
    seed_means(regularized, ["arm"], {"online": "online", "frozen": "frozen", "test accuracy": "test"}),
    f"Regularizers on digits, chance {number(1 / labels, 3)}: mean ± half of the 95 % interval",
)

# %% [markdown]
# ## At which depth do classes take over?
#
# **Paper** (by the summary): depth shows where information on single samples turns into information on classes; which way, we do
# not know. **Follow-up**: the reading rises with depth. Here one shared head with 140 labels reads the pixels and four
# hidden layers of equal width, so that heads are of one size; beside them a linear probe of the classes.

# %%
at_depth = {"n_train": n_train, "epochs": depth_epochs}
deep = ["untrained", "none", "50 % noise", "joint", "lambda 10"]
depth = run.sweep(
    random_label_heads,
    points("depth", deep, **at_depth),
    seeds=depth_seeds,
    stacked=True,
    workers=run.workers,
)
depth = in_symbols(named(depth, "depth", deep, **at_depth))

# %% tags=["hide-input"]
figure, axes = panels(3, columns=3, titles=["new heads", "heads trained along", "classes"], height=3.4)
draw_depth(axes, depth)
legend_above(figure)
trained_only = depth[(depth.arm == "none") & (depth.depth > 0)]
show(
    run, figure, depth, name="depth",
    title=f"From layer to layer of a network trained on classes what new heads find {trend(trained_only, 'depth', 'frozen')}; in joint training it {trend(depth[(depth.arm == 'joint') & (depth.depth > 0)], 'depth', 'frozen')}",
    alt="Against depth, pixels at 0. New heads, " + curves_in_words(depth, "depth", "frozen", "arm")
    + ". Online, " + curves_in_words(depth, "depth", "online", "arm") + ".",
)  # fmt: skip

# %% tags=["remove-input"]
last = depth.depth.max()
ends = depth[depth.depth == last].pivot_table("frozen", "seed", "arm")
firsts = depth[depth.depth == 1].pivot_table("frozen", "seed", "arm")
say(f"""
Two readings of depth are both right, of different trainings. Trained on classes, the network *loses* information on single images on its way (new heads find
{number(firsts["none"].mean(), 2)} after the first layer, {number(ends["none"].mean(), 2)} after the last) and gains none on them. Where memorization is demanded, the
deep layers *gain* it ({number(firsts["joint"].mean(), 2)} and {number(ends["joint"].mean(), 2)}). An untrained network rises as well
({number(firsts["untrained"].mean(), 2)} to {number(ends["untrained"].mean(), 2)}), so a rise alone says nothing.
""")

# %% [markdown]
# ## Unlearning: less memorization, and better?
#
# **Paper**: unlearning lowers memorization, and generalization does not improve. **Follow-up**: the reading falls to chance, with
# training accuracy almost unchanged; on ImageNet test accuracy rises, on CIFAR-100 it falls.

# %%
levels = [f"lambda {value:g}" for value in strengths]
against = run.sweep(
    random_label_heads,
    points("class-wise", ["none", *levels], **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
against = named(against, "class-wise", ["none", *levels], **digits)

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
strong = against[against.strength == 10.0] if 10.0 in strengths else against[against.strength == max(strengths)]
strong_by_seed = strong.set_index("seed")
say(f"""
At λ = {number(float(strong.strength.iloc[0]))} heads trained along find {number(strong.online.mean(), 3)} of the labels (chance {number(1 / labels, 3)}), training accuracy is
{number(strong.train.mean(), 3)}, and test accuracy changes by {number(100 * strong.test_change.mean(), 2)} points: it is {compare(strong_by_seed.test_change, strong_by_seed.test_change * 0)} that of
plain training.
""")

# %% [markdown]
# ### Another loss?
#
# **Derived**: the gradient of $-\log(1 - \hat p_r)$ goes away as the label is forgotten, that of reversed cross-entropy does not;
# the confusion loss stops at chance. And the sign that notes on the follow-up print would reward memorization.

# %%
others = ["reversal 0.1", "reversal 0.3", "reversal 1", "confusion 1", "confusion 10", "confusion 30", "literal 0.1", "literal 1"]
rivals = run.sweep(
    random_label_heads,
    points("class-wise", others, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
rivals = named(rivals, "class-wise", others, **digits)

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

# %% [markdown]
# ### Is it gone, or only hidden?
#
# A network that fools the heads it is trained with need not have lost what they look for. What do new heads find, and does a
# stronger adversary help, one that takes ten steps for each one of the network?

# %%
stronger = ["lambda 10, 3 head steps", "lambda 10, 10 head steps", "lambda 10, late"]
hidden = run.sweep(
    random_label_heads,
    points("class-wise", stronger, **digits),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
hidden = named(hidden, "class-wise", stronger, **digits)

# %% tags=["hide-input"]
compared = in_symbols(pd.concat([meter[meter.arm.isin(["untrained", "none"])], strong, hidden], ignore_index=True))
figure, (ax,) = panels(1, height=3.8)
shown = draw_readings(ax, compared, 1 / labels)
legend_above(figure)
show(
    run, figure, shown, name="hidden",
    title=f"New heads still find: {ordered(compared, 'arm', 'frozen')}",
    alt="A row a training, random-label accuracy of heads trained along and of new heads: "
    + rows_in_words(shown, "arm", {"online": "online", "frozen": "frozen"}) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
ten = hidden[hidden.arm == "lambda 10, 10 head steps"]
say(f"""
Heads trained along are at {number(strong.online.mean(), 2)}, new ones at {number(strong.frozen.mean(), 2)}: much is **hidden, not removed**. With ten head steps for each step of the
network new heads find {number(ten.frozen.mean(), 2)}. What is left is hardly of these labels in particular: for labels that the network never saw they find
{number(strong.fresh.mean(), 2)} and {number(ten.fresh.mean(), 2)}.
""")

# %% [markdown]
# ### How strong, for how many labels?
#
# **Derived**: at chance the push is $1/(n-1)$ that of reversed cross-entropy, so the strength has to grow with the number of
# labels. One shared head, λ = 0.1 n:

# %%
counted = ["14 labels", "35 labels", "none"]
counted += [f"{n} labels, lambda {0.1 * n:g}" for n in (14, 35, 140)]
shared = {"n_train": n_train, "epochs": epochs}
scaled = run.sweep(
    random_label_heads,
    points("shared", counted, **shared),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
scaled = in_symbols(named(scaled, "shared", counted, **shared))

# %% tags=["hide-input"]
table(
    seed_means(scaled.assign(labels=scaled["count"], λ=scaled.strength), ["labels", "λ"], {
        "online": "online", "chance": "chance", "frozen": "frozen", "test accuracy": "test",
    }),
    "One shared head: mean ± half of the 95 % interval",
)  # fmt: skip

# %% [markdown]
# ## Who pays: little data, and wrong classes
#
# **Follow-up**: with less data unlearning no longer helps; with wrong classes it does. Left, 1,400 digits against 300. Right, four in
# ten classes wrong, with heads at the last layer and at all layers.

# %%
few = {"n_train": min(300, n_train), "epochs": max(1, 2 * epochs)}
little_arms = ["none", "lambda 3", "lambda 10", "lambda 30"]
little = run.sweep(
    random_label_heads,
    points("little", little_arms, **few),
    seeds=seeds,
    stacked=True,
    workers=run.workers,
)
little = named(little, "little", little_arms, **few)

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
wrong = named(wrong, "class-wise", wrong_arms, **digits)

# %% tags=["hide-input"]
both = pd.concat([against.assign(arm="1,400 images"), little.assign(arm="300 images")], ignore_index=True)
both = both[both.strength.isin([0.0, 3.0, 10.0, 30.0])]
zero = wrong[wrong.strength == 0.0]
noisy = pd.concat([
    zero.assign(arm="heads at the last layer"), wrong[(wrong.strength > 0) & (wrong.acting == "last")].assign(arm="heads at the last layer"),
    zero.assign(arm="heads at all layers"), wrong[(wrong.strength > 0) & (wrong.acting == "hidden")].assign(arm="heads at all layers"),
], ignore_index=True)  # fmt: skip
noisy = noisy[noisy.depth == noisy.groupby("acting").depth.transform("max")]
figure, axes = panels(2, titles=["right classes", "40 % wrong classes"])
draw_by_strength(axes[:1], both, {"test_change": "change of test accuracy [difference]"})
draw_by_strength(axes[1:], noisy, {"test": "test accuracy [fraction]"})
for ax in axes:
    ax.legend(fontsize=9)
show(
    run, figure, pd.concat([both, noisy], ignore_index=True), name="who_pays",
    title=f"At λ = 10 test accuracy changes by {number(100 * both[(both.arm == '300 images') & (both.strength == 10)].test_change.mean(), 2)} points with 300 images, by {number(100 * both[(both.arm == '1,400 images') & (both.strength == 10)].test_change.mean(), 2)} with 1,400",
    alt="Left, change of test accuracy against strength: " + curves_in_words(both, "strength", "test_change", "arm", digits=3)
    + ". Right, test accuracy with wrong classes: " + curves_in_words(noisy, "strength", "test", "arm") + ".",
)  # fmt: skip

# %% tags=["remove-input"]
at_all = noisy[noisy.arm == "heads at all layers"]
peak = at_all.groupby("strength").test.mean().idxmax()
best = at_all[at_all.strength == peak]
say(f"""
With wrong classes, heads at the last layer do not help; at all layers there is a narrow window, here at λ = {number(float(peak))}, where test accuracy is
{number(best.test.mean(), 3)} in place of {number(zero.test.mean(), 3)}. Training accuracy falls to {number(best.train.mean(), 2)} there: of the wrong classes
{number(best.wrong_fitted.mean(), 2)} are still fitted, {number(zero.wrong_fitted.mean(), 2)} without unlearning.
""")
