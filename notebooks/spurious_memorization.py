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
# (nb-spurious-memorization)=
# # How much of a spurious feature is memorized?
#
# A *spurious feature* is a part of the input that has nothing to do with the label: the noisy frame around a
# digit, the watermark in a photograph. A model that fits its training labels exactly can still remember which
# frame came with which label. {cite:t}`bombari2024spurious` ask how much of it is remembered, and answer with
# a product of two numbers, each of which can be computed:
#
# $$
# \begin{aligned}
# & \underbrace{\operatorname{Cov}\bigl(f(z_i^s),\, g_i\bigr)}_{\text{memorization}} \\
# &\quad = \underbrace{\gamma}_{\text{alignment}} \cdot
# \underbrace{\operatorname{Cov}\bigl(S_i,\, g_i\bigr)}_{\text{stability}} \\
# &\quad \le \gamma\,\sqrt{R\,\operatorname{Var} g}.
# \end{aligned}
# $$ (eq-memorization-product)
#
# Here $z_i^s$ is the *spurious query* of training example $i$ (its spurious part, without its core), $g_i = \pm 1$
# its label, $S_i$ the change of the prediction at $z_i$ when example $i$ is left out, and $R$ the generalization
# error. These lines are about expectations, over examples and draws. Behind them is an identity that is exact for each
# example, $f(z_i^s) = f_{-i}(z_i^s) + F_i S_i$, with the feature alignment $F_i$ whose mean is $\gamma$, and the model
# $f_{-i}$ that never saw example $i$. So a model that generalizes well cannot memorize much, whatever the alignment $\gamma$; and $\gamma$
# depends on the activation, on how large the spurious part is, on a ridge if there is one and, until $N \gg d$, on $N/d$.

# %% [markdown] tags=["theory"]
# ## What is the same as in the paper, and what is not
#
# The models, the data laws and the measures are the
# paper's. The paper has $d = 1000$ inputs, $k = 100\,000$ random features, MNIST and CIFAR-10; the `book` profile has
# fewer inputs, fewer features and 8×8 digits, and `desktop` and `paper` go up to the paper's own
# sizes. Every prediction is drawn beside the measurement: closed forms at finite $N/d$ that need no fit.
# [The idea in one page](../book/ideas/spurious_features.md) explains where they come from, and
# [its own section](price) says what this page costs to run. Words are in the {ref}`glossary <glossary>`, symbols in the
# {ref}`notation <notation>`.

# %% [markdown] tags=["setup"]
# ## Parameters, and how to run this page
#
# Every number that this page depends on is a parameter; what titles, texts and tables say of results is computed by the
# run, as the verdicts are.

# %% tags=["parameters", "hide-input"]
profile: str = "book"  # which parameter file the values come from | name | one of smoke, book, desktop, paper
d: int = 200  # number of input coordinates D, synthetic data | coordinates | 8..100000
rf_width: int = 8000  # number of random features k | features | 10..1000000
ntk_width: int = 100  # number of neurons k of the tangent features | neurons | 2..100000
sizes: list[int] = [10, 20, 50, 100, 200, 400]  # numbers N of training examples, synthetic data | examples | 2..20000
n_test: int = 1000  # test examples a trial, synthetic data | examples | 10..100000
first_seed: int = 100  # first of the seeds; those below 100 chose bounds of ours, and do not judge them | seed | 0..1000000
seeds: int = 20  # trials of the synthetic curves | trials | 2..1000
nested: bool = True  # the training sets of one trial contain each other; false draws anew at each N | flag | any
theory_d: int = 400  # coordinates of the infinite-width checks | coordinates | 20..5000
theory_seeds: int = 10  # trials of the infinite-width checks | trials | 2..1000
theory_alphas: list[float] = [0.25, 0.5]  # spurious fractions of the infinite-width checks | fraction | (0..1)
limit_d: int = 100  # coordinates of the check at large N/d, up to 16 | coordinates | 8..1000
fractions: list[float] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]  # spurious fractions of the alignment figure | fraction | (0..1)
image_sets: list[str] = ["digits:1:7:3", "digits:1:7:2", "digits:3:8:2"]  # data set, class labelled -1, class labelled +1, frame in pixels | name | any
image_sizes: list[int] = [10, 20, 50, 100, 200]  # numbers N of training images | images | 2..50000
image_rf_width: int = 2000  # random features k on images | features | 10..1000000
image_ntk_width: int = 20  # neurons k of the tangent features on images | neurons | 2..100000
image_test: int = 100  # test images a trial | images | 10..10000
image_seeds: int = 20  # trials on images | trials | 2..1000
large_sizes: list[int] = [250]  # further, larger numbers N of training images, the first image set alone | images | 2..50000
extension_seeds: int = 20  # trials of what is beyond the paper's panels: larger N, preparations, frames, membership, correlated features | trials | 2..1000
border_fractions: list[float] = [0.2, 0.35, 0.5, 0.65, 0.8, 0.9]  # shares of the frame that are tried, as near as whole pixels come | fraction | (0..1)
fill: str = "zero"  # what a spurious query of an image shows inside its frame | name | one of zero, mean, fresh
identity_n: int = 25  # training examples of the identity check (as many models are refitted) | examples | 3..200
identity_d: int = 60  # coordinates of the identity check | coordinates | 4..1000
check_d: int = 200  # coordinates of the negative control, the finite-width and the even-activation check | coordinates | 8..10000
widths: list[int] = [1000, 2000, 8000, 32000]  # widths k of the finite-width check | features | 10..1000000
ridges: list[float] = [0.0, 0.1, 1.0]  # ridges of the ridge check, per unit of width | kernel units | 0..
correlated_ridges: list[float] = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]  # ridges with a correlated spurious feature | variance of x | 0.0001..
control_seeds: int = 20  # trials of the negative control | trials | 2..1000
network_panels: list[str] = ["synthetic:0:fc:200", "digits:3:fc:100", "digits:3:cnn:60"]  # data set, frame in pixels, network, epochs | name | any
network_sizes: list[int] = [20, 50, 200, 1000]  # numbers N of training examples of trained networks | examples | 2..50000
network_test: int = 500  # test examples a trained network | examples | 10..10000
network_seeds: int = 5  # trained networks at each N | networks | 2..100
left_out: int = 10  # examples left out in turn, each with a network trained without it | examples | 1..200
left_out_n: int = 50  # training examples there | examples | 2..201
left_out_epochs: int = 100  # full-batch steps there | epochs | 1..100000
left_out_seeds: int = 2  # trials there | trials | 2..100
device: str = "auto"  # where to compute; auto takes a GPU where there is one | name | one of auto, cpu, cuda

# %% tags=["setup", "hide-input"]
import numpy as np
import pandas as pd

from memorization.report.explorations import explore
from memorization.report.figures import (
    curve_with_band, legend_above, log_ticks, panels, show, theory_curve,
)  # fmt: skip
from memorization.report.judging import judge
from memorization.report.prices import cost, foot, price_table, write_price
from memorization.report.scoreboard import verdict_sentence, verdict_table
from memorization.report.styles import COLORS, apply_theme
from memorization.report.tables import how_to_run, number, parameter_table, say, seed_means, solution, table
from memorization.report.words import compare, curves_in_words, in_short, listed, not_reproduced, ordered, outcome, span, trend
from memorization.runs.start import start

run = start("spurious_memorization", globals())
apply_theme()

# %% tags=["setup", "hide-input"]
from memorization.data.frames import frame_fraction, frame_widths
from memorization.data.image_sets import EXTENTS
from memorization.studies.spurious_memorization.correlated_features import correlated_ridge
from memorization.studies.spurious_memorization.experiments import (
    Model, identity_check, image_curve, image_points, negative_control, synthetic_curve,
)  # fmt: skip
from memorization.studies.spurious_memorization.figures import (
    at_largest, draw_activation_rows, draw_against_width, draw_alignment, draw_alignment_decay, draw_borders,
    draw_correlated, draw_curves, draw_image_alignment, draw_image_panels, draw_left_out, draw_membership,
    draw_network_panels, draw_pictures, draw_products, example_pictures, measured_map, named_curves, named_networks,
    named_pairs, named_settings, predicted_map, ranked_pictures,
)  # fmt: skip
from memorization.studies.spurious_memorization.image_scores import image_scores, membership
from memorization.studies.spurious_memorization.trained_networks import left_out_examples, network_points, trained_networks

# %% tags=["setup", "hide-input"]
unseen = max(first_seed, 100)  # no pilot of ours looked at seeds from here on
beyond = {"seeds": extension_seeds, "first_seed": unseen}

# %% tags=["setup", "remove-input"]
how_to_run(run)

# %% tags=["setup", "remove-input"]
parameter_table(run)

# %% [markdown]
# ## What is asked: the spurious query
#
# What does the model see when it is asked about the frame alone? Below: an image; the image inside its frame of
# uniform noise, which is what the model is trained on; and the spurious query, the same frame around nothing.
# The "right" answer at the query is the label of the image that is no longer there.

# %% tags=["hide-input"]
pairs = image_points(image_sets)
of_networks = network_points(network_panels, network_sizes, d)
first = pairs[0]
pictures = example_pictures(dataset=first["dataset"], pad=first["pad"], label=first["positive"])
figure, axes = panels(3, columns=3, titles=["image", "training example", "spurious query"], height=2.9)
shown = draw_pictures(axes, pictures)
show(
    run, figure, shown, name="query",
    title="A spurious query: the frame of a training example around nothing",
    alt=f"Three small pictures of {first['dataset']}: an image; the image inside a frame of random pixels; the "
    "same frame with a black square where the image was.",
)  # fmt: skip

# %% [markdown]
# A model that is right more often than chance at such queries has memorized frames: there is nothing else to go
# by. *Spurious accuracy* is the share of training examples whose label it gives back at their spurious query.
# One half means that nothing was memorized.

# %% [markdown] tags=["theory"]
# ## The paper in twenty lines
#
# Without the library, to copy: random features fit the labels of Gaussian data exactly. From one inverse $A$ of their
# kernel follow, for every example at once, its stability $S_i$, the feature alignment $F_i$ of its spurious query, and
# what the model remembers at that query. One example is really left out, to see that the product is exact.

# %% tags=["twenty-lines"]
import numpy as np

rng = np.random.default_rng(0)
N, D, P = 200, 200, 8000  # examples, inputs, random features
x, y, other = (rng.standard_normal((N, D // 2)) for _ in range(3))  # cores, spurious parts, fresh cores
g = np.sign(x @ rng.standard_normal(D // 2))  # labels: the core decides
V = rng.standard_normal((D, P)) / np.sqrt(D)


def features(core, spurious):
    return np.maximum(np.hstack([core, spurious]) @ V, 0)


Phi, query = features(x, y), features(other, y)  # a query shares the spurious part alone
A = np.linalg.inv(Phi @ Phi.T)
memory = query @ Phi.T @ A @ g  # answers of the model that fits every label
S = (A @ g) / np.diag(A)  # stability: what leaving an example out changes at it
F = np.einsum("ij,ji->i", query @ Phi.T, A)  # feature alignment of an example's query

kept = np.arange(N) > 0  # leave the first example out, and fit again
without = query[0] @ Phi[kept].T @ np.linalg.solve(Phi[kept] @ Phi[kept].T, g[kept])
assert np.isclose(memory[0], without + F[0] * S[0])
memorized, product = np.cov(memory, g)[0, 1], F.mean() * np.cov(S, g)[0, 1]

# %% [markdown]
# Does the library say the same of the same features?

# %%
import torch

from memorization.measures.stability import stability
from memorization.models.kernels import GramBlocks
from memorization.models.regression import fit

K, K_query = (torch.from_numpy(rows @ Phi.T) for rows in (Phi, query))
ours = stability(fit(GramBlocks(K, K_query, K_query, P), torch.from_numpy(g)).at())
assert np.allclose(ours.residuals, S)
assert np.allclose(ours.alignment, F)

# %% tags=["remove-input"]
say(f"""
It does. In these {N} examples the covariance of what is remembered with the label is {number(memorized)}; alignment times the
covariance of stability with the label is {number(product)}. Averages over few examples differ; the product of each example is exact.
""")

# %% [markdown]
# ## Random features: which curves coincide?
#
# Synthetic data make the question exact. The core $x$ and the spurious part $y$ are Gaussian, the label is the sign
# of a linear function of $x$, and $\alpha$ is the share of coordinates that are spurious. How do test and
# spurious accuracy move with the number $N$ of training examples, for two activations and two $\alpha$?
# $\varphi_2$ is the Hermite polynomial $h_1 + h_2$, $\varphi_4$ is $h_1 + h_4$; a query here has a fresh core.
# Each trial draws everything anew: the examples, the direction that decides the labels and the directions of the features; on
# real images below, which of them train and test, the frames and the directions.

# %%
curves = {"activation": ["phi2", "phi4"], "alpha": [0.5, 0.25]}
common = {"d": d, "sizes": sizes, "n_test": n_test, "nested": nested}
model = {"feature_map": "rf", "width": rf_width}
rf = run.sweep(synthetic_curve, curves, seeds=seeds, fixed=common | model)
rf = named_curves(rf)

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["test accuracy", "spurious accuracy"])
draw_curves(axes[0], rf, "test_accuracy", theory="theory_test_accuracy")
draw_curves(axes[1], rf, "spurious_accuracy", theory="theory_spurious_accuracy")
legend_above(figure)
show(
    run, figure, rf, name="rf",
    title=f"Random features, with more examples: test accuracy {trend(rf, 'N', 'test_accuracy', 'curve')}, "
    f"spurious accuracy {trend(rf, 'N', 'spurious_accuracy', 'curve')}",
    alt=f"Curves with dotted predictions. Test accuracy, {curves_in_words(rf, 'N', 'test_accuracy', 'curve')}. "
    f"Spurious accuracy, {curves_in_words(rf, 'N', 'spurious_accuracy', 'curve')}.",
)  # fmt: skip

# %% tags=["remove-input"]
at = at_largest(rf, "N", at_most=d)
means = at.groupby("curve")[["test_accuracy", "spurious_accuracy"]].mean()
say(f"""
At $N = {at.N.iloc[0]}$ the four test accuracies run from {span(means.test_accuracy)}; the theory says that they depend on $N/d$
alone. The spurious accuracies at the same $N$ run from {span(means.spurious_accuracy)}. Could test accuracy tell how much was
memorized? By test accuracy the order is {ordered(at, "curve", "test_accuracy")}; by spurious accuracy it is
{ordered(at, "curve", "spurious_accuracy")} (*>*: told apart by the trials; *and*: not).
""")

# %% [markdown]
# ## Tangent features: the same picture?
#
# Does it depend on the model being random features? The neural tangent kernel of a two-layer network has another
# feature map, $z \otimes \varphi'(Wz)$, and $dk$ parameters. With $\varphi' = h_0 + h_1$ and $h_0 + h_3$ its kernel has
# the same coefficients as before, so the theory predicts the very same eight curves.

# %%
model = {"feature_map": "ntk", "width": ntk_width}
ntk = run.sweep(synthetic_curve, curves, seeds=seeds, fixed=common | model)
ntk = named_curves(ntk)

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["test accuracy", "spurious accuracy"])
draw_curves(axes[0], ntk, "test_accuracy", theory="theory_test_accuracy")
draw_curves(axes[1], ntk, "spurious_accuracy", theory="theory_spurious_accuracy")
legend_above(figure)
show(
    run, figure, ntk, name="ntk",
    title=f"Tangent features, with more examples: test accuracy {trend(ntk, 'N', 'test_accuracy', 'curve')}, "
    f"spurious accuracy {trend(ntk, 'N', 'spurious_accuracy', 'curve')}",
    alt=f"Curves with dotted predictions. Test accuracy, {curves_in_words(ntk, 'N', 'test_accuracy', 'curve')}. "
    f"Spurious accuracy, {curves_in_words(ntk, 'N', 'spurious_accuracy', 'curve')}.",
)  # fmt: skip

# %% tags=["remove-input"]
synthetic = pd.concat([rf, ntk], ignore_index=True)
error = synthetic.eval("error = spurious_accuracy - theory_spurious_accuracy")
gap = error.groupby(["feature_map", "curve", "N"])["error"].mean().abs()
finite = rf.query("N == N.max()").eval("test_accuracy - theory_test_accuracy")
say(f"""
Averaged over {seeds} trials, the largest distance between a measured spurious accuracy and its prediction is
{number(gap["rf"].max())} for random features, at $N = {gap["rf"].idxmax()[1]}$, and {number(gap["ntk"].max())} for tangent features, at $N = {gap["ntk"].idxmax()[1]}$. (At a small
$N$ a trial has few examples to count.) The predictions are for infinite width: at the largest $N$ the test accuracy of
random features minus its prediction is {number(finite.mean())}. The section on width asks whether this is what a finite width costs.
""")

# %% [markdown] tags=["theory"]
# ## Is feature alignment a constant, and does a formula give it?
#
# In the theory curves differ by $\gamma$. What is it? The feature alignment of a query $z$ with training example
# $i$ is $\mathcal F(z, z_i) = \varphi(z)^\top P^\perp \varphi(z_i) / \lVert P^\perp \varphi(z_i)\rVert^2$: how much of what is
# *new* about $z_i$, beyond what the other examples already span, is present in $z$. It is not a cosine. Below,
# $N = d$ at infinite width, data on two spheres as in the theorems. Does the mean over examples follow
#
# $$
# \begin{aligned}
# \gamma(\psi) &= \frac{a_1 \alpha\, m + T(\alpha)}{a_1 m + s}, \\
# T(\alpha) &= \sum_{l\ge 2} a_l\alpha^l,\quad s = T(1),\quad \psi = N/d,
# \end{aligned}
# $$ (eq-alignment-constant)
#
# where $a_l$ are the squared Hermite coefficients of the kernel and $m(\psi) \in (0, 1]$ is the part of a linear
# feature that the other examples leave unexplained ({eq}`idea-m`)?

# %%
spheres = {"d": theory_d, "width": 0, "law": "spheres"}
grid = {"feature_map": ["rf", "ntk"], "activation": ["phi2", "phi4", "relu"]}
by_fraction = run.sweep(
    synthetic_curve,
    {**grid, "alpha": fractions},
    seeds=theory_seeds,
    fixed={**spheres, "sizes": [theory_d], "n_test": 200},
)

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["random features", "tangent features"])
for ax, (_, one) in zip(axes, by_fraction.groupby("feature_map", sort=False), strict=True):
    draw_alignment(ax, one)
legend_above(figure)
show(
    run, figure, by_fraction, name="alignment",
    title="With a larger spurious fraction alignment "
    f"{trend(by_fraction, 'alpha', 'alignment_mean', ['feature_map', 'activation'])}; dotted, the closed form",
    alt="Mean alignment against spurious fraction, with dotted closed forms, the diagonal and the theorem's bound: "
    + curves_in_words(by_fraction, "alpha", "alignment_mean", ["feature_map", "activation"]) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
means = by_fraction.groupby(["feature_map", "activation", "alpha"])[["alignment_mean", "gamma"]].mean().reset_index()
middle = at_largest(by_fraction, "alpha", 0.5)
two = middle[middle.feature_map == "rf"].pivot_table("alignment_mean", "seed", "activation")
say(f"""
The largest distance between a mean alignment and {{eq}}`eq-alignment-constant` is
{number((means.alignment_mean - means.gamma).abs().max(), 2)}. At $\\alpha = {middle.alpha.iloc[0]:g}$ the alignment of
$\\varphi_2$ is {number(two["phi2"].mean())}, {compare(two["phi2"], two["phi4"])} that of $\\varphi_4$, {number(two["phi4"].mean())}; the formula orders them by the
Hermite order of the activation. Alignment minus $\\alpha$ runs from {span(means.alignment_mean - means.alpha)}.
""")

# %% [markdown]
# The theorems give a lower bound (random features) and the limit $N \gg d$ (tangent features). The formula above
# also says how the alignment falls on the way there, as $N$ grows:

# %%
grid["activation"] = ["phi2", "phi4", "relu", "tanh"]
counts = [round(psi * theory_d) for psi in (0.1, 0.5, 1.0, 2.0)]
infinite = run.sweep(
    synthetic_curve,
    {**grid, "alpha": theory_alphas},
    seeds=theory_seeds,
    fixed={**spheres, "sizes": counts},
)

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["random features", "tangent features"])
half = at_largest(infinite, "alpha", 1)
for ax, (_, one) in zip(axes, half.groupby("feature_map", sort=False), strict=True):
    draw_alignment_decay(ax, one)
legend_above(figure)
show(
    run, figure, infinite, name="decay",
    title=f"With N/d alignment {trend(half, 'psi', 'alignment_mean', ['feature_map', 'activation'])}; dotted, the closed form",
    alt="Mean alignment against N/d, with dotted closed forms: "
    + curves_in_words(half, "psi", "alignment_mean", ["feature_map", "activation"], name="N/d") + ".",
)  # fmt: skip

# %% tags=["remove-input"]
means = infinite.groupby(["feature_map", "activation", "alpha", "psi"])[["alignment_mean", "gamma"]].mean()
say(f"""
The largest distance between a mean and its closed form, over both feature maps, four activations, and $\\alpha$ in
{{{", ".join(map(str, theory_alphas))}}}, is {number((means.alignment_mean - means.gamma).abs().max(), 2)}.
""")

# %% [markdown]
# ### More activations: can alignment and stability be chosen apart?
#
# What is memorized is their product. $h_1 + h_l$ with normalized Hermite polynomials has the same linear and the same
# curved weight for every $l$: do these activations share their stability and differ in alignment, as the closed forms say?
# Where do the activations stand that networks use? $\alpha = 1/2$, $N = d$, infinite width, two spheres.

# %%
family = ["phi2", "phi3", "phi4", "phi6"]
activations = run.sweep(
    synthetic_curve,
    {"feature_map": ["rf", "ntk"], "activation": [*family, "relu", "gelu", "erf", "tanh", "softplus", "sine"]},
    fixed={**spheres, "d": check_d, "sizes": [check_d], "alpha": 0.5, "n_test": 200},
    **beyond,
)

# %% tags=["hide-input"]
if not activations.empty:
    figure, axes = panels(2, titles=["alignment", "stability"], height=4.4)
    draw_activation_rows(*axes, activations)
    legend_above(figure)
    apart = (activations.alignment_mean - activations.gamma).groupby([activations.feature_map, activations.activation]).mean()
    display(show(
        run, figure, activations, name="activations",
        title=f"Ten activations: mean alignments differ from their closed forms by {number(apart.abs().max(), 2)} or less",
        alt="A row per activation: alignment and mean squared stability, each with a hollow diamond, the closed form. Alignment: "
        + curves_in_words(activations, "activation", "alignment_mean", "feature_map") + ". Stability: "
        + curves_in_words(activations, "activation", "stability_mse", "feature_map") + ".",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not activations.empty:
    means = activations.groupby(["feature_map", "activation"])[["alignment_mean", "stability_mse", "covariance"]].mean()
    of_family = means.loc["rf"].loc[family]
    display(say(f"""
Over the family $h_1 + h_l$, random features, mean squared stability runs from {span(of_family.stability_mse)} and alignment from
{span(of_family.alignment_mean)}: the order of the curvature moves one and not the other. Over all ten activations the covariance, which is
their product's work, runs from {span(means.covariance)}; by covariance the order with random features is
{ordered(activations.query("feature_map == 'rf'"), "activation", "covariance")}.
"""))

# %% [markdown]
# ### Try every spurious fraction
#
# Lines are the closed forms, marks what this page measured. Move $N/d$: how does what is remembered fall as data grow? Then
# choose test accuracy and spurious accuracy in turn: which of the two can tell activations and spurious fractions apart?

# %%
ratios = sorted({0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0, *infinite.psi})
parts = [0.03, *(i / 10 for i in range(1, 10)), 0.97]
predicted = predicted_map(d=theory_d, ratios=ratios, fractions=parts, activations=grid["activation"])
measured = measured_map(pd.concat([by_fraction, infinite], ignore_index=True))

# %% tags=["remove-input"]
at_d = predicted.query("ratio == 1 and features == 'random features'")
shown_at = 0.5
middle = at_d[at_d.alpha == shown_at]
quantities = {"gamma": "alignment", "spurious_accuracy": "spurious accuracy", "test_accuracy": "test accuracy"}

# %% tags=["hide-input"]
explore(
    run, predicted, marks=measured, name="explorer", x="alpha", y=["gamma", "spurious_accuracy", "test_accuracy"],
    lines="activation", controls=["features", "ratio"], start={"quantity": "spurious_accuracy", "ratio": 1.0}, read_at=shown_at,
    labels={
        "alpha": "spurious fraction α [fraction]", "features": "features [name]", "ratio": "N/d [ratio]",
        "gamma": "feature alignment γ [ratio]", "spurious_accuracy": "spurious accuracy [fraction]",
        "test_accuracy": "test accuracy [fraction]",
    },
    references={"spurious_accuracy": ("chance", 0.5)},
    title=f"At N = d, α = {shown_at}, random features: test accuracies {span(middle.test_accuracy)}, spurious accuracies {span(middle.spurious_accuracy)}",
    alt="Alignment, spurious or test accuracy against the spurious fraction, a line per activation, with a slider for N/d. At N = d, "
    "random features: " + "; ".join(
        f"{word} {curves_in_words(at_d, 'alpha', y, 'activation', name='α')}" for y, word in quantities.items()
    ) + ".",
)  # fmt: skip

# %% tags=["remove-input"]
beside = measured.merge(predicted, on=["features", "activation", "ratio", "alpha"], suffixes=("", "_predicted"))
away = {word: (beside[y] - beside[f"{y}_predicted"]).abs().max() for y, word in quantities.items()}
say(f"""
The largest distance between a mark and its line is {listed(f"{number(gap, 2)} in {word}" for word, gap in away.items())}.
""")

# %% [markdown]
# The NTK theorem names the constant that tangent features tend to when $N \gg d$, for ReLU $2\alpha\arcsin(\alpha)/\pi$. Does the
# alignment arrive there? With few coordinates $N/d$ can be large:

# %%
limit = run.sweep(
    synthetic_curve,
    {"alpha": theory_alphas},
    seeds=theory_seeds,
    fixed={
        "feature_map": "ntk", "activation": "relu", "width": 0, "law": "spheres",
        "d": limit_d, "sizes": [4 * limit_d, 8 * limit_d, 16 * limit_d], "n_test": 200,
    },
)  # fmt: skip

# %% tags=["hide-input"]
far = limit.assign(constant=2 * limit.alpha * np.arcsin(limit.alpha) / np.pi)
table(
    seed_means(far, ["alpha", "psi"], {"alignment": "alignment_mean", "theorem's constant": "constant"}),
    "ReLU tangent features at large N/d (psi): alignment and the theorem's constant, mean ± half of the 95 % interval",
)

# %% [markdown]
# ## Is stability the generalization error?
#
# The other factor of {eq}`eq-memorization-product` is stability. Leaving example $i$ out changes the prediction at $z_i$ by
# $S_i$, and since the full model fits $g_i$ exactly, $S_i$ is the error that the smaller model makes on an example
# that it has not seen. Is its mean square the test error?

# %% tags=["hide-input"]
chosen = rf.query("activation == 'phi2' and alpha == 0.5")
figure, (ax,) = panels(1)
curve_with_band(ax, chosen, "N", "stability_mse", label="mean squared stability", color=COLORS["stability"])
curve_with_band(ax, chosen, "N", "test_mse", label="test error", color=COLORS["test accuracy"], marker="s")
theory_curve(ax, chosen, "N", "theory_test_mse", label="closed form")
ax.set(xlabel="training examples N [examples]", ylabel="mean squared error [label²]")
log_ticks(ax, chosen.N)
ax.legend()
show(
    run, figure, chosen, name="stability",
    title=f"With more examples mean squared stability {trend(chosen, 'N', 'stability_mse')} and test error {trend(chosen, 'N', 'test_mse')}",
    alt=f"Against N, with a dotted closed form. Mean squared stability {curves_in_words(chosen, 'N', 'stability_mse')}; "
    f"test error {curves_in_words(chosen, 'N', 'test_mse')}.",
)  # fmt: skip

# %% tags=["remove-input"]
ratio = (rf.stability_mse / rf.test_mse).groupby(rf.N).mean()
say(f"""
On average over the four curves and {seeds} trials the ratio of the two is {number(ratio.iloc[-1])} at $N = {ratio.index[-1]}$, and {number(ratio.iloc[0])} at
$N = {ratio.index[0]}$, where a trial has {ratio.index[0]} stabilities to average. Over all $N$ it runs from {span(ratio)}.
""")

# %% [markdown] tags=["theory"]
# ## The product is exact, example by example
#
# Now both factors together, in two steps: an identity for each example (claims SM-1 and SM-2), and its expectation, an
# equality of covariances (claim SM-9). For every example and every model that interpolates,
# $f(z_i^s) = f_{-i}(z_i^s) + \mathcal F(z_i^s, z_i)\, S_i$, where $f_{-i}$ never saw example $i$. This is an identity, so it
# must hold to rounding error when each of the $N$ models is really refitted. All $N$ alignments and stabilities come
# from one factorization; the refits are only there to check it.

# %%
made = {"activation": "phi2", "n": identity_n, "d": identity_d}
real = {"activation": "relu", "n": 2 * identity_n, "dataset": "digits"}
checks = [
    {"feature_map": "rf", "width": 10 * identity_d, **made},
    {"feature_map": "ntk", "width": 12, **made},
    {"feature_map": "rf", "width": 1000, **real},
    {"feature_map": "ntk", "width": 20, **real},
]
identity = run.sweep(identity_check, checks, seeds=3)

# %% tags=["hide-input"]
gaps = {"decomposition_gap": "product", "residual_gap": "stability", "alignment_gap": "alignment"}
worst = identity.groupby(["dataset", "feature_map", "N"])[list(gaps)].max().reset_index()
table(
    worst.rename(columns={**gaps, "feature_map": "feature map"}),
    "Largest difference between one factorization and N refitted models (float64)",
    dict.fromkeys(gaps.values(), ".1e"),
)

# %% [markdown]
# In expectation, over examples and draws, the identity becomes {eq}`eq-memorization-product`: the held-out prediction knows
# nothing of the label, by definition, and $F_i$ is replaced by its mean. In a finite sample neither is exact. Each point on the left is one
# curve at one $N$: how far is memorization from the product of the means? And does it stay below the bound?

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["every curve, every N", "one curve, with its bound"])
products = draw_products(axes, synthetic)
legend_above(figure)
show(
    run, figure, products, name="product",
    title=f"Covariances, mean over trials: memorization differs from alignment times stability by {number((products.covariance - products['product']).abs().max(), 2)} or less",
    alt=f"Left, with a diagonal: the covariance of spurious predictions and labels, {span(products.covariance)}, against alignment "
    f"times stability covariance, {span(products['product'])}. Right, for {products.activation.iloc[0]}: covariance, this product and "
    f"the bound, {span(products.bound)}, against N. "
    f"Bound over covariance: {curves_in_words(products.eval('ratio = bound / covariance'), 'N', 'ratio')}.",
)  # fmt: skip

# %% tags=["remove-input"]
one = products.query("feature_map == 'rf' and activation == 'phi2' and alpha == 0.5 and N == N.max()").iloc[0]
held_out = rf.query("activation == 'phi2' and alpha == 0.5 and N == N.max()").held_out_covariance.mean()
over = synthetic.eval("covariance > bound").groupby(synthetic.N).mean()
say(f"""
For random features with $\\varphi_2$, $\\alpha = 1/2$ and $N = {one.N}$: covariance {number(one.covariance)}, product
{number(one["product"])}, bound {number(one.bound)}. What separates covariance and product is the covariance of
the held-out prediction with the label, which is zero in expectation and {number(held_out)} in these trials. The inequality of {{eq}}`eq-memorization-product` is about expectations, and for
$N \\ll d$ it is nearly an equality: next to nothing generalizes, so $S_i \\approx g_i$. A single trial can therefore
exceed it, and {number(100 * over.max(), 2)} % of them do at $N = {over.idxmax()}$. All curves of one trial share their data, so
points move up or down together.
""")

# %% [markdown]
# ## Real images, and why accuracy alone misleads
#
# Do images behave like Gaussians? The core is now a real image and the spurious part a frame of noise, raw
# pixel values as in the paper, and the query's core is black. The closed forms do not apply: the classes are not
# linear in a Gaussian, pixel values are not centered, and a black core is shorter than any image. So everything
# below is measured.

# %%
trial = {"sizes": image_sizes, "n_test": image_test, "nested": nested}
maps = [
    {"feature_map": "rf", "width": image_rf_width},
    {"feature_map": "ntk", "width": image_ntk_width},
]
images = run.sweep(
    image_curve,
    [{**pair, **model} for pair in pairs for model in maps],
    seeds=image_seeds,
    fixed={**trial, "fill": fill, "activation": "relu"},
)
images = named_pairs(images)

# %% [markdown]
# Chance enters twice: by which images and frames are drawn, and by the directions of the features. Kernels at infinite
# width have no directions: how much of the curves is left without them? And does the course go on at larger $N$, where random
# features get four times as many features as examples, if they have fewer?

# %%
at_infinity = [{**pair, **model, "width": 0} for pair in pairs for model in maps]
exact = run.sweep(
    image_curve, at_infinity, seeds=image_seeds, fixed={**trial, "fill": fill, "activation": "relu"}
)
many = {**maps[0], "width": max(image_rf_width, 4 * max(large_sizes))}
large = run.sweep(
    image_curve,
    [{**first, **model} for model in (many, maps[1])],
    fixed={**trial, "sizes": large_sizes, "fill": fill, "activation": "relu"},
    **beyond,
)
exact, large = named_pairs(exact), named_pairs(large)

# %% tags=["hide-input"]
measured = {"test_accuracy": "test accuracy", "spurious_accuracy": "spurious accuracy"}
measured |= {"spurious_auc": "area under the curve", "covariance": "covariance"}
of = ["pair", "pad"]
for feature_map, words in {"rf": "random features", "ntk": "tangent features"}.items():
    every = pd.concat([images, large], ignore_index=True)
    drawn, no_chance = (one if one.empty else one[one.feature_map == feature_map] for one in (every, exact))
    groups = drawn.groupby(of, sort=False)
    titles = [title for pair, pad in groups.groups for title in (f"{pair}, frame of {pad} pixels", "covariance")]
    figure, axes = panels(len(titles), titles=titles)
    for (key, one), *both in zip(groups, axes[::2], axes[1::2], strict=True):
        draw_image_panels(*both, one, no_chance if no_chance.empty else no_chance.set_index(of).loc[[key]])
    legend_above(figure)
    alike = listed(f"{word} {trend(images[images.feature_map == feature_map], 'N', column, of)}" for column, word in measured.items())
    told = " ".join(f"{word}: {curves_in_words(drawn, 'N', column, of)}." for column, word in measured.items())
    display(show(run, figure, drawn, name=f"images-{feature_map}", title=f"Images, {words}, with more examples: {alike}", alt="Against N: " + told))

# %% tags=["remove-input"]
last = (
    images.query("N == N.max() and feature_map == 'ntk'")
    .groupby(["pair", "pad"])
    .mean(numeric_only=True)
    .reset_index()
)
lines = [
    f"- {row.pair}, frame of {row.pad} pixels: spurious accuracy {number(row.spurious_accuracy)}, area under the curve "
    f"{number(row.spurious_auc)}, covariance {number(row.covariance, 3)} (bound {number(row.bound, 3)})"
    for row in last.itertuples()
]
say("At the largest $N$, tangent features:\n\n" + "\n".join(lines))

# %% [markdown]
# An accuracy of one half looks like "nothing memorized". It need not be. A black core can shift all queries to one side
# of the decision boundary: then the *sign* of the prediction tells little of the label, although its *value* may tell a
# lot. The area under the curve, which does not care for a shift, and the covariance, which the theory is about, show
# whether the frame is remembered. **Report the covariance or the area under the curve beside the accuracy.**
#
# ### What becomes of the alignment?
#
# On Gaussian data the closed form says that alignment falls with $N$. Raw pixels have a large common direction, a frame of noise
# has more energy than a digit, and a black core is no fresh one. What is measured?

# %% tags=["hide-input"]
if not exact.empty:
    groups = images.groupby(of, sort=False)
    figure, axes = panels(len(groups), titles=[f"{pair}, frame of {pad} pixels" for pair, pad in groups.groups])
    for ax, (key, one) in zip(axes, groups, strict=True):
        draw_image_alignment(ax, one, exact.set_index(of).loc[[key]])
    legend_above(figure)
    display(show(
        run, figure, images, name="image_alignment",
        title=f"On images, with more examples, alignment {trend(images, 'N', 'alignment_mean', ['feature_map', *of])}",
        alt="Mean alignment against N, dotted at infinite width: "
        + curves_in_words(images, "N", "alignment_mean", ["feature_map", *of]) + ".",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not exact.empty:
    both = images.merge(exact, on=["feature_map", *of, "N", "seed"], suffixes=("", "_exact"))
    columns = {"alignment_mean": "alignment", "covariance": "covariance", "test_accuracy": "test accuracy"}
    gaps = {word: (both[c] - both[f"{c}_exact"]).groupby([both.feature_map, both.pair, both.pad, both.N]).mean().abs().max() for c, word in columns.items()}
    display(say(f"""
Between finite and infinite width, trial by trial on the same images and frames, the largest mean distance is
{listed(f"{number(gap, 2)} in {word}" for word, gap in gaps.items())}.
"""))

# %% [markdown]
# ### Raw or centered pixels, a black core or another
#
# The theory has centered inputs and a fresh core; the paper's images have neither. Which of the measures depends on that? Tangent
# features at infinite width, at the largest $N$; *mean* shows the average image of both classes inside the frame, *fresh* another image.

# %%
shown_by = {(pair["dataset"], pair["negative"], pair["positive"]): pair for pair in (pairs[-1], pairs[0])}
ends = list(shown_by.values())[::-1]  # the first pair of classes and the last one, where it is another
tangent = {"feature_map": "ntk", "width": 0, "activation": "relu", **trial, "sizes": [max(image_sizes)]}
kinds = [{"center": center, "fill": inside} for center in ("none", "mean") for inside in ("zero", "mean", "fresh")]
prepared = run.sweep(
    image_curve, [{**pair, **kind} for pair in ends for kind in kinds], fixed=tangent, **beyond
)
prepared = named_pairs(prepared)

# %% tags=["hide-input"]
if not prepared.empty:
    columns = {"spurious accuracy": "spurious_accuracy", "AUC": "spurious_auc", "covariance": "covariance", "alignment": "alignment_mean"}
    shown = prepared.assign(pixels=prepared.center.map({"none": "raw", "mean": "centered"}), core=prepared.fill.replace("zero", "black"))
    display(table(
        seed_means(shown, ["pair", "pixels", "core"], columns),
        f"Of {len(ends) * len(kinds)} preparations, all at N = {max(image_sizes)}: spurious accuracies {span(shown.groupby(['pair', 'pixels', 'core']).spurious_accuracy.mean(), 2)}, "
        f"alignments {span(shown.groupby(['pair', 'pixels', 'core']).alignment_mean.mean(), 2)} (mean ± half of the 95 % interval)",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not prepared.empty:
    black = shown.query("core == 'black'").pivot_table("spurious_auc", ["pair", "seed"], "pixels")
    fresh = shown.query("pixels == 'raw'").pivot_table(["spurious_auc", "covariance"], "seed", "core")
    display(say(f"""
Around a black core, the area under the curve of centered pixels is {listed(f"{compare(one['centered'], one['raw'])} that of raw ones on {pair}" for pair, one in black.groupby("pair", sort=False))}.
A fresh core speaks for its own class: with raw pixels the area under the curve at fresh cores is
{compare(fresh["spurious_auc"]["fresh"], fresh["spurious_auc"]["black"])} that at black ones. What an image is framed with and what stands
inside are parts of the question; a number without them cannot be compared.
"""))

# %% [markdown]
# ### How large must the frame be?
#
# With Gaussian data alignment lies below $\alpha$, the share of the spurious coordinates, by the closed form. Does it follow the share of
# the frame on images?

# %%
framed = [
    {**pair, "pad": pad} for pair in ends for pad in frame_widths(EXTENTS[pair["dataset"]].side, border_fractions)
]
borders = run.sweep(
    image_curve,
    [{**point, "center": center} for point in framed for center in ("none", "mean")],
    fixed={**tangent, "fill": fill},
    **beyond,
)
borders = named_pairs(borders)
if not borders.empty:
    borders["alpha"] = [frame_fraction(EXTENTS[name].side, pad) for name, pad in zip(borders.dataset, borders.pad, strict=True)]

# %% tags=["hide-input"]
if not borders.empty:
    groups = borders.groupby("pair", sort=False)
    figure, axes = panels(2 * len(groups), titles=[title for pair in groups.groups for title in (pair, "covariance")])
    for (_, one), *both in zip(groups, axes[::2], axes[1::2], strict=True):
        draw_borders(*both, one)
    legend_above(figure)
    lines = ["pair", "center"]
    display(show(
        run, figure, borders, name="borders",
        title=f"With a larger frame alignment {trend(borders, 'alpha', 'alignment_mean', lines)} and covariance {trend(borders, 'alpha', 'covariance', lines)}",
        alt="Against the share of the frame. Alignment: " + curves_in_words(borders, "alpha", "alignment_mean", lines)
        + ". Covariance: " + curves_in_words(borders, "alpha", "covariance", lines) + ".",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not borders.empty:
    over = borders.eval("over = alignment_mean - alpha").groupby(["pair", "center", "alpha"])["over"].mean()
    display(say(f"""
Alignment minus the share of the frame runs from {span(over)}. The share of pixels is not the share of energy: a pixel of uniform noise
has another variance than a pixel of an image, so the closed forms, in which every coordinate counts alike, are no prediction here.
"""))

# %% [markdown]
# ### Which images are memorized?
#
# Every training image has its own product: $F_i S_i g_i$ is the part of the right answer at its frame that comes from having seen it. One
# model, tangent features at the largest $N$: whose frames does it remember, whose not?

# %%
scored = image_scores(
    Model(**maps[1], activation="relu"), **first, n=max(image_sizes), fill=fill, seed=first_seed
)
of_images = pd.DataFrame({"id": scored.scores.ids, **{name: column for name, column in scored.scores.columns.items()}})
digest_of_scores = scored.scores.save(run.figures_folder / "image_scores.csv")

# %% tags=["hide-input"]
pictures = ranked_pictures(scored)
figure, axes = panels(len(pictures), columns=3, titles=list(pictures), height=2.7)
draw_pictures(axes, pictures)
memory = of_images.memorization
show(
    run, figure, of_images, name="ranked",
    title=f"Both ends of a ranking of {len(of_images)} training images by alignment × stability × label",
    alt=f"Framed images of {first['dataset']} with the largest and the smallest products: {listed(pictures)}. Over all images it runs "
    f"from {span(memory)}.",
)  # fmt: skip

# %% tags=["remove-input"]
by_stability, by_alignment = (of_images.memorization.corr(of_images[name] * sign, method="spearman") for name, sign in (("residual", of_images.label), ("alignment", 1)))
say(f"""
The product runs from {span(memory)}, with a median of {number(float(memory.median()), 2)}: below zero the frame speaks against the label. What ranks images is
stability or alignment? The rank correlation of the product with $S_i g_i$ is {number(by_stability, 2)}, with $F_i$ {number(by_alignment, 2)}. The
<a href="{run.figures_href}/image_scores.csv" download>table of all scores</a> names images by their place in the data set's file (`{first["dataset"]}`, digest
`{scored.scores.dataset}`), and joins with scores of other measures by `memorization.measures.scores`.
""")

# %% [markdown]
# ### Does a frame give away who was trained on?
#
# Who holds frames and labels, and may ask the model at frames alone, suspects those where the answer speaks for the label. How often is
# the frame of a training image suspected more than a fresh frame beside the same label? A half is chance. As a control, fresh frames are
# held against other fresh ones.

# %%
kept = {"sizes": image_sizes, "fill": fill}
asking = [{**pair, **model, "asked": asked} for asked in ("own", "fresh") for pair in ends for model in maps]
asked = named_pairs(run.sweep(membership, asking, fixed=kept, **beyond))
members, strangers = (asked if asked.empty else asked[asked.asked == whose] for whose in ("own", "fresh"))

# %% tags=["hide-input"]
if not asked.empty:
    groups = members.groupby("pair", sort=False)
    figure, axes = panels(len(groups), titles=list(groups.groups))
    for ax, (pair, one) in zip(axes, groups, strict=True):
        draw_membership(ax, one, strangers[strangers.pair == pair])
    legend_above(figure)
    display(show(
        run, figure, asked, name="membership",
        title=f"With more examples the frame's membership AUC {trend(members, 'N', 'membership_auc', ['pair', 'feature_map'])}",
        alt="Area under the curve of frames that were trained on against fresh ones, against N: "
        + curves_in_words(members, "N", "membership_auc", ["pair", "feature_map"]) + ". Fresh against fresh: "
        + curves_in_words(strangers, "N", "membership_auc", ["pair", "feature_map"]) + ".",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not asked.empty:
    end = members.query("N == N.max()").groupby(["pair", "feature_map"])[["membership_auc", "raw_auc"]].mean()
    display(say(f"""
At $N = {members.N.max()}$ the areas run from {span(end.membership_auc)}. Answers are taken less their mean at fresh frames; without this, the shift by the core inside
moves the area by up to {number(float((members.membership_auc - members.raw_auc).groupby([members.pair, members.feature_map, members.N]).mean().max()), 2)}.
"""))

# %% [markdown]
# ## Trained networks: do they do the same?
#
# Everything so far is linear in its features. The paper's last figure asks networks that learn their features: a fully
# connected one (hidden layers of 500 and 200) and a small convolutional one, trained by Adam on raw pixel values, for a fixed
# number of epochs. On images there are now ten classes and as many outputs. Chance is $1/2$ or $1/10$; the gray line is the
# same network at queries whose spurious part is fresh, too: what it tells without having seen anything of them.

# %%
networks = named_networks(run.sweep(
    trained_networks,
    of_networks,
    seeds=network_seeds, first_seed=unseen, stacked=True,
    fixed={"n_test": network_test, "fill": fill},
    workers=run.workers,
    **({"missing": "skip"} if run.profile == "paper" and run.device == "cpu" else {}),
))  # fmt: skip

# %% tags=["hide-input"]
if networks.empty:
    display(say("*The networks of this profile wait for a GPU: none of them is recorded yet.*"))
else:
    by_panel = networks.groupby("panel", sort=False)
    figure, axes = panels(2 * by_panel.ngroups, titles=[title for panel in by_panel.groups for title in (panel, "covariance")])
    for (_, one), left, right in zip(by_panel, axes[::2], axes[1::2], strict=True):
        draw_network_panels(left, right, one)
    legend_above(figure)
    shown = {"test_accuracy": "test accuracy", "spurious_accuracy": "spurious accuracy", "covariance": "covariance"}
    told = [f"{word} {trend(networks, 'N', column, 'panel')}" for column, word in shown.items()]
    words = " ".join(f"{word}: {curves_in_words(networks, 'N', column, 'panel')}." for column, word in shown.items())
    display(show(
        run, figure, networks, name="networks", title="Trained networks, with more examples: " + listed(told),
        alt=f"For each data set and network, against N, with chance and a null. {words}",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not networks.empty:
    at_ends = networks.groupby("panel", sort=False).N.transform(lambda n: n.isin([n.min(), n.max()]))
    columns = {
        "training": "train_accuracy", "test": "test_accuracy", "spurious": "spurious_accuracy",
        "fresh spurious parts": "unrelated_accuracy", "AUC": "spurious_auc", "covariance": "covariance",
    }
    display(table(
        seed_means(networks[at_ends].assign(network=networks.panel), ["network", "N", "updates"], columns),
        f"Accuracies of {network_seeds} networks at the smallest and the largest N: mean ± half of the 95 % interval",
    ))  # fmt: skip
    excess = networks.eval("excess = spurious_accuracy - unrelated_accuracy")
    display(say(f"""
Spurious accuracy beyond what the same network gives at fresh spurious parts: {curves_in_words(excess, "N", "excess", "panel")}.
"""))

# %% [markdown]
# Does the network remember a frame *because* it has seen that very example? For models linear in their features the product
# $F_i S_i$ answers exactly. A network has no such formula, but it can be trained again: without example $i$, from the same
# initial weights and for as many steps. How far is the change of its answer at the query $z_i^s$ from $F_i S_i$, computed with
# two sets of features: the tangent features of the untrained network (gradients by all its weights), and the last layer of
# the trained one?

# %%
left_out_rows = run.sweep(
    left_out_examples,
    {"n": [left_out_n]},
    seeds=left_out_seeds,
    first_seed=unseen,
    fixed={"dataset": "synthetic", "left_out": left_out, "epochs": left_out_epochs, "d": check_d},
    workers=run.workers,
)

# %% tags=["hide-input"]
if not left_out_rows.empty:
    titles = ["tangent features", "last layer", "with measured S"]
    figure, axes = panels(3, columns=3, titles=titles)
    changes = draw_left_out(axes, left_out_rows)
    legend_above(figure)
    agreement = {title: changes.change.corr(changes[name]) for title, name in zip(titles, ["tangent", "last_layer", "mixed"], strict=True)}
    display(show(
        run, figure, changes, name="left-out",
        title="Leaving one example out: correlation of the change at its query with what is predicted, "
        + listed(f"{number(found, 2)} ({title})" for title, found in agreement.items()),
        alt=f"Three panels with a diagonal: measured change times label, {span(changes.change)}, against alignment times stability of the "
        f"tangent features, {span(changes.tangent)}; of the last layer, {span(changes.last_layer)}; and the last layer's alignment times "
        f"the measured stability, {span(changes.mixed)}.",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not left_out_rows.empty:
    mean = changes[["change", "tangent", "last_layer", "mixed"]].mean()
    answer = left_out_rows.dropna(subset="change").eval("spurious * label").mean()
    display(say(f"""
At the query of an example that was left out, the answer times the label is {number(answer, 2)} with the example; by
{number(mean.change, 2)} of it the network without the example differs. The tangent features predict {number(mean.tangent, 2)}, the trained
network's last layer {number(mean.last_layer, 2)}. That layer has been fitted to the very labels whose loss it is to predict, so by its own
features leaving one out costs little; with the stability that was measured ({number((left_out_rows.stability * left_out_rows.label).mean(), 2)}
times the label) in place of its own, its alignment gives {number(mean.mixed, 2)}.
"""))

# %% [markdown]
# ## Does it survive?
#
# ### A query that shares nothing
#
# If the same numbers came out for queries that share neither part with the training example, they would measure
# something else. Negative control: fresh core *and* fresh spurious part.

# %%
control = run.sweep(
    negative_control,
    {"feature_map": ["rf", "ntk"]},
    seeds=control_seeds,
    fixed={"activation": "phi2", "alpha": 0.5, "d": check_d, "width": 0, "n": check_d // 2},
)
control["trials"] = control_seeds

# %% tags=["hide-input"]
table(
    seed_means(
        control.assign(features=control.feature_map.map({"rf": "random", "ntk": "tangent"})), ["features"],
        {"spurious accuracy": "spurious_accuracy", "alignment": "alignment_mean", "covariance": "covariance"},
    ),
    f"At queries that share nothing: mean ± half of the 95 % interval over {control_seeds} trials",
)  # fmt: skip

# %% [markdown]
# ### A finite width
#
# The closed forms are for $k \to \infty$. What does a narrow model change, at $N = d$?

# %%
one_curve = {"feature_map": "rf", "activation": "phi2", "alpha": 0.5}
by_width = run.sweep(
    synthetic_curve,
    {"width": widths},
    seeds=seeds,
    fixed={**common, **one_curve, "d": check_d, "sizes": [check_d]},
)

# %% tags=["hide-input"]
figure, axes = panels(2, titles=["test accuracy", "feature alignment"])
draw_against_width(axes[0], by_width, "test_accuracy", "theory_test_accuracy", "accuracy [fraction]")
draw_against_width(axes[1], by_width, "alignment_mean", "gamma", "feature alignment [ratio]")
legend_above(figure)
show(
    run, figure, by_width, name="width",
    title=f"With a larger width test accuracy {trend(by_width, 'width', 'test_accuracy')} and alignment {trend(by_width, 'width', 'alignment_mean')}",
    alt=f"Against width: test accuracy {curves_in_words(by_width, 'width', 'test_accuracy')}, for infinite width dotted at "
    f"{number(by_width.theory_test_accuracy.mean(), 2)}; alignment {curves_in_words(by_width, 'width', 'alignment_mean')}, dotted at "
    f"{number(by_width.gamma.mean(), 2)}.",
)  # fmt: skip

# %% [markdown] tags=["theory"]
# ### A ridge
#
# Interpolation is an extreme. A ridge $\lambda$ added to the kernel gives up exact fit; the product identity stays
# exact (with $S_i$ the leave-one-out residual), and $\gamma$ changes in the denominator of {eq}`eq-alignment-constant` only, where
# $s$ becomes $s + \lambda$.

# %%
by_ridge = run.sweep(
    synthetic_curve,
    {"ridge": ridges},
    seeds=theory_seeds,
    fixed={**spheres, **one_curve, "sizes": [theory_d]},
)

# %% tags=["hide-input"]
columns = {
    "alignment": "alignment_mean", "closed form γ": "gamma", "spurious accuracy": "spurious_accuracy",
    "covariance": "covariance", "test accuracy": "test_accuracy",
}  # fmt: skip
table(
    seed_means(by_ridge, ["ridge"], columns),
    f"With the ridge alignment {trend(by_ridge, 'ridge', 'alignment_mean')}, covariance {trend(by_ridge, 'ridge', 'covariance')}, "
    f"spurious accuracy {trend(by_ridge, 'ridge', 'spurious_accuracy')} (mean ± half of the 95 % interval)",
)

# %% [markdown] tags=["theory"]
# ### A spurious feature that is correlated with the core
#
# So far $y$ was independent of $x$: the correlation with the label was in the training sample alone. In a follow-up paper,
# {cite:t}`bombari2025spurious` let $y$ be correlated with $x$ in the population, with a label that is linear in $x$, and ask what ridge regression
# makes of it on *new* data: $C = \operatorname{Cov}(f([x', y]), g)$ with a core $x'$ that is independent of $x$. Our closed form, with
# the blocks of the covariance $\Sigma$, the label's weights $\theta$ and a penalty $\kappa$:
#
# $$
# \begin{aligned}
# C(\kappa) &= \kappa\, \theta^\top \Sigma_{xy}\, S_\kappa^{-1}\, \Sigma_{yx} (\Sigma_{xx} + \kappa)^{-1} \theta, \\
# S_\kappa &= \Sigma_{yy} + \kappa - \Sigma_{yx} (\Sigma_{xx} + \kappa)^{-1} \Sigma_{xy}, \\
# \kappa &= \lambda + \tfrac{\kappa}{N} \operatorname{tr} \Sigma (\Sigma + \kappa)^{-1}.
# \end{aligned}
# $$ (eq-correlated)
#
# $S_\kappa$ is a Schur complement: what $y$ holds beyond $x$. At $\kappa = 0$ nothing is learned of $y$, which the label does not need; a ridge
# spreads the weight over both. Few examples act as a ridge ($\kappa > \lambda$), and so does the curvature of random features, by $\lambda = ds/(a_1 N)$.
# Does the form hold, and is there a ridge that is good for the test error and bad for $C$?

# %%
world = {"d": check_d, "correlation": 0.8, "n_test": 2000}
settings = [{"n": 2 * check_d}, {"n": 2 * check_d, "variance": 4.0}, {"n": check_d // 2}]
by_penalty = run.sweep(
    correlated_ridge, settings, fixed={**world, "activation": "identity", "ridges": correlated_ridges}, **beyond
)
bent = {"n": 2 * check_d, "ridges": [0.0]}
no_ridge = run.sweep(correlated_ridge, {"activation": ["erf", "relu", "phi2"]}, fixed={**world, **bent}, **beyond)
by_penalty = named_settings(by_penalty, check_d)
correlated = pd.concat([by_penalty, named_settings(no_ridge, check_d)], ignore_index=True)

# %% tags=["hide-input"]
if not correlated.empty:
    figure, axes = panels(2, titles=["what is learned of y", "test error"])
    draw_correlated(*axes, by_penalty, no_ridge)
    legend_above(figure)
    away = (correlated.spurious_covariance - correlated.theory_spurious_covariance).groupby([correlated.activation, correlated.setting, correlated.penalty]).mean()
    display(show(
        run, figure, correlated, name="correlated",
        title=f"A correlated spurious feature: mean C differs from its closed form by {number(away.abs().max(), 2)} or less",
        alt="Against the penalty, dotted the closed forms, for three settings of ridge regression and random features. C: "
        + curves_in_words(by_penalty, "penalty", "spurious_covariance", "setting") + ". Test error: "
        + curves_in_words(by_penalty, "penalty", "test_mse", "setting") + ".",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not correlated.empty:
    means = by_penalty.query("setting == setting.iloc[0]").groupby("penalty")[["spurious_covariance", "test_mse"]].mean()
    best, most = means.test_mse.idxmin(), means.spurious_covariance.idxmax()
    at_best = by_penalty.query("setting == setting.iloc[0] and penalty == @best").set_index("seed").spurious_covariance
    display(say(f"""
At {by_penalty.setting.iloc[0]} the test error is smallest at a ridge of {number(float(best))}, where $C$ is {number(float(means.spurious_covariance[best]), 2)}; at the smallest ridge it is
{number(float(means.spurious_covariance.iloc[0]), 2)}, and largest, {number(float(means.spurious_covariance.max()), 2)}, at {number(float(most))}. Does the ridge that predicts best use the spurious feature?
By an interval over trials, $C$ there is {compare(at_best, 0 * at_best)} zero. Random
features without any ridge have $C$ of {listed(f"{number(float(one.spurious_covariance.mean()), 2)} ({name})" for name, one in no_ridge.groupby("activation", sort=False))}: their curvature is one.
"""))

# %% [markdown] tags=["theory"]
# ### An even activation
#
# With $\varphi = h_2$ there is no linear part at all: nothing about the label can be learned, so stability is as bad
# as it gets, and the theory predicts alignment $\alpha^2$ and, for large $d$, perfect memorization.

# %%
infinite_width = {"feature_map": "rf", "width": 0, "law": "spheres"}
even = run.sweep(
    synthetic_curve,
    {"alpha": theory_alphas, "d": [check_d, 4 * check_d]},
    seeds=theory_seeds,
    fixed={**infinite_width, "activation": "h2", "sizes": [check_d // 2]},
)

# %% tags=["hide-input"]
table(
    seed_means(
        even, ["alpha", "d"],
        {"test accuracy": "test_accuracy", "spurious accuracy": "spurious_accuracy", "alignment": "alignment_mean"},
    ),
    f"The even activation at N = {check_d // 2}: mean ± half of the 95 % interval",
)  # fmt: skip

# %% [markdown]
# Where the spurious accuracy is below $1$, $d$ is too small for that $\alpha$: the signal $\alpha^2$ competes with the
# contributions of the other $N$ examples, whose spread is about $\sqrt{2N}/d$. The predicted alignment does not depend
# on $d$.

# %% [markdown]
# ## What to know before the verdicts
#
# - The **absolute numbers of the paper's panels** are not printed here: the data points behind its figures were not
#   released, and its scripts set no seeds. What can be compared is the order of the curves, their trend, and the
#   closed forms.
# - **Trained networks** have a fixed number of epochs in the paper, so beyond one batch a larger $N$ also means more updates;
#   the records count them. The released ResNet script cannot run; ours is trained on the frames of the other networks.
# - The theorems ask for Lipschitz activations, centered inputs on spheres and $N \gg d$ (tangent features). The
#   experiments, the paper's and ours, break each of these somewhere; whether the conclusions hold there is what claims
#   SM-10 to SM-15 judge. For $N \le d$ the closed form {eq}`eq-alignment-constant` stands in for the theorem's limit.
# - On images **spurious accuracy mixes what is remembered with a shift** (above). Claims SM-13 and SM-14 are about
#   images, at `desktop` and `paper` about the paper's own; the {doc}`scoreboard <scoreboard>` has their verdicts at
#   every scale.
#
# ## Claims
#
# Each claim below is a line of
# [a data file](https://github.com/memorization-measured/memorization-measured/blob/main/notebooks/claims/spurious_memorization.yaml);
# its verdict is computed from the records of this run. A claim that this profile cannot test says so.
# The summary below it takes its verdicts from there.

# %% tags=["hide-input"]
tables = {
    "identity": identity, "synthetic": synthetic, "infinite": infinite, "fractions": by_fraction,
    "images": images, "large": large, "prepared": prepared, "borders": borders, "membership": members,
    "strangers": strangers, "activations": activations, "correlated": correlated, "control": control, "even": even, "widths": by_width, "ridges": by_ridge, "limit": limit,
}  # fmt: skip
null = {"spurious_accuracy": "unrelated_accuracy", "covariance": "unrelated_covariance"}
unrelated = networks.assign(**{name: networks[other] for name, other in null.items()}) if len(networks) else networks
tables |= {"networks": networks, "unrelated": unrelated, "left_out": left_out_rows}
verdicts = judge(run, None, tables, dataset="synthetic")
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
- Memorization of a spurious feature is **alignment × stability**: for models that are linear in their features this is
  an identity. Here: {outcome(verdicts, "SM-1")}.
- **Alignment** is a property of the feature map and of the spurious fraction. That it depends on $\\alpha$ and on the
  activation's Hermite order as claim SM-8 says: {outcome(verdicts, "SM-8")}. The theorem's bound, SM-6:
  {outcome(verdicts, "SM-6")}.
- **Stability** is the generalization error, SM-4: {outcome(verdicts, "SM-4")}. That memorization weakens with
  generalization, SM-15: {outcome(verdicts, "SM-15")}.
- **Trained networks**, which learn their features, as claim SM-16 says: {outcome(verdicts, "SM-16")}.
- **Accuracy at the spurious query can hide memorization.** Use the covariance or the area under the curve.
""")

# %% [markdown]
# ## Exercises
#
# Each is an option of `python -m memorization run spurious_memorization`. The solutions were computed at profile `book`,
# with a few trials each.
#
# 1. Which activation aligns least? Add `"gelu"` and `"erf"` to the `grid` of the section on alignment.

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    half = at_largest(by_fraction, "alpha", 0.5)
    more = {"feature_map": ["rf", "ntk"], "activation": ["gelu", "erf"], "alpha": [half.alpha.iloc[0]]}
    others = run.sweep(synthetic_curve, more, seeds=3, fixed={**spheres, "sizes": [theory_d], "n_test": 200})
    orders = pd.concat([half, others]).groupby("feature_map", sort=False)
    maps_of = {"rf": "random features", "ntk": "tangent features"}
    display(solution(". ".join(f"With {maps_of[name]} the order is {ordered(one, 'activation', 'alignment_mean')}" for name, one in orders) + "."))

# %% [markdown]
# 2. Does the border have to be large? `-p image_sets '["digits:1:7:1", "digits:1:7:5"]'` moves the frame's width.

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    frames = [{**first, **maps[1], "pad": pad} for pad in (1, 5)]
    framed = run.sweep(image_curve, frames, seeds=5, fixed={**trial, "fill": fill, "activation": "relu"})
    wide = at_largest(framed, "N", np.inf).groupby("pad")[["spurious_accuracy", "covariance"]].mean()
    display(solution("At the largest $N$ the covariance is " + listed(
        f"{number(row.covariance, 2)} (spurious accuracy {number(row.spurious_accuracy, 2)}) with a frame of width {pad}"
        for pad, row in wide.iterrows()
    ) + "."))  # fmt: skip

# %% [markdown]
# 3. What if the query shows an average digit instead of black? `-p fill mean`; look at the spurious accuracy again.

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    points = [{**first, **maps[1], "fill": kind} for kind in ("zero", "mean")]
    filled = run.sweep(image_curve, points, seeds=5, fixed={**trial, "activation": "relu"})
    columns = ["spurious_accuracy", "spurious_auc", "covariance"]
    means = at_largest(filled, "N", np.inf).groupby("fill", sort=False)[columns].mean()
    display(solution("At the largest $N$, " + listed(
        f"filled with {kind}: spurious accuracy {number(row.spurious_accuracy, 2)}, area under the curve {number(row.spurious_auc, 2)}, "
        f"covariance {number(row.covariance, 2)}" for kind, row in means.iterrows()
    ) + "."))  # fmt: skip

# %% [markdown]
# 4. `-p nested false` draws new data at every $N$, as the paper's scripts do. What changes, and what does not?

# %% tags=["hide-input"]
if run.profile in ("smoke", "book"):
    kept = {key: value for key, value in common.items() if key != "nested"} | one_curve | {"width": rf_width}
    drawn_anew = run.sweep(synthetic_curve, {"nested": [True, False]}, seeds=5, fixed=kept)
    by_n = drawn_anew.groupby(["nested", "N"]).test_accuracy.mean().unstack("nested")
    spread = drawn_anew.groupby(["nested", "seed"]).test_accuracy.apply(lambda curve: curve.diff().std()).groupby("nested").mean()
    display(solution(f"""
The means differ by {number((by_n[True] - by_n[False]).abs().max(), 2)} or less: the law of the data at each $N$ is the same. What may change is how
smooth one trial's curve is: its steps from $N$ to $N$ have a standard deviation of {number(spread[True], 2)} nested, {number(spread[False], 2)} anew.
"""))

# %% [markdown]
# (price)=
# ## What this page costs
#
# The {ref}`scoreboard <prices>` has the prices of all pages, and says how to read one.

# %% tags=["remove-input"]
write_price(run, tables)
price_table(run)

# %% tags=["remove-input"]
foot(run, tables)

# %% [markdown] tags=["in-short"]
# ## In short

# %% tags=["in-short", "remove-input"]
says = (
    "What a model remembers of a spurious feature is feature alignment, which the feature map decides, "
    "times stability, which is the generalization error: better generalization, less memorization."
)
in_short(verdicts, says, ["SM-4", "SM-7", "SM-8", "SM-15", "SM-14"], cost(run))
