# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
#   memorization:
#     reads:
#     - _build/verdicts
#     - results/verdicts
#     - notebooks/claims
#     - _build/notebooks/smoke/figures/benign_memorization/depth.csv
#     - _build/notebooks/book/figures/benign_memorization/depth.csv
#     - _build/notebooks/desktop/figures/benign_memorization/depth.csv
#     - _build/notebooks/paper/figures/benign_memorization/depth.csv
#     - _build/notebooks/smoke/figures/feature_contamination/risks.csv
#     - _build/notebooks/book/figures/feature_contamination/risks.csv
#     - _build/notebooks/desktop/figures/feature_contamination/risks.csv
#     - _build/notebooks/paper/figures/feature_contamination/risks.csv
# ---

# %% [markdown]
# (welcome)=
# # Memorization, Measured
#
# A network has *memorized* what it can give back about its own training examples and could not have known from the others.
# How much is that, where does it sit, and what does it cost? Papers answer with different measures. This book runs
# their experiments again on one small library, and judges each of their claims by what the data can decide.

# %% tags=["parameters", "remove-input"]
profile: str = "book"  # which parameter file | name | one of smoke, book, desktop, paper

# %% tags=["setup", "remove-input"]
import pandas as pd

from memorization.report.figures import legend_above, panels, show
from memorization.report.scoreboard import scoreboard
from memorization.report.styles import apply_theme
from memorization.report.tables import number, say
from memorization.report.words import curves_in_words, finding
from memorization.runs.start import start
from memorization.studies.benign_memorization.figures import BEFORE, draw_known

run = start("welcome", globals())
apply_theme()

# %% [markdown]
# ## One network, two sets of labels
#
# The same network learns the same pictures of digits twice: with their true labels, and with labels drawn by lot. Both times
# with *augmentation*: at each visit a picture is shown as another view, a little turned or shifted. What does each of its
# layers know afterwards, beside what it knew before training (dashed)?

# %% tags=["remove-input"]
figures = run.build / "notebooks" / profile / "figures"
measured = {name: figures / name / f"{data}.csv" for name, data in (("benign_memorization", "depth"), ("feature_contamination", "risks"))}
known, risks = (pd.read_csv(path) if path.is_file() else pd.DataFrame() for path in measured.values())
if known.empty:
    display(say("*This figure is drawn once the page on random labels has been run at this profile.*"))

# %% tags=["remove-input"]
if not known.empty:
    figure, axes = panels(2, titles=["true labels, augmentation", "random labels, augmentation"])
    shown = draw_known(axes, known)
    legend_above(figure)
    at = shown.query("panel == 'random labels'").set_index(["quantity", "site"])["mean"]
    display(show(
        run, figure, shown, name="layers",
        title=f"After training on random labels with augmentation the last layer gives back {number(100 * at['random label', 'logits'], 3)} % "
        f"of them, and the embedding tells {number(100 * at['true class', 'embedding'], 2)} % of the true classes; before training "
        f"{number(100 * at[BEFORE, 'embedding'], 2)} %",
        alt="What can be read at each layer, from the image to the answer. "
        + curves_in_words(shown, "site", by=["panel", "quantity"]) + ".",
    ))  # fmt: skip

# %% tags=["remove-input"]
if not known.empty:
    learned, begun = at["true class"], at[BEFORE]
    after = ", ".join(f"{100 * (learned - begun)[site]:+.1f} in `{site}`" for site in begun.index)
    display(say(f"""
    Before anything is learned, the untrained network tells {number(100 * begun.iloc[0], 2)} % of the true classes in
    `{begun.index[0]}` and {number(100 * begun["embedding"], 2)} % in its embedding, by its structure alone. What counts is the change, in percentage
    points: {after.replace("-", "−")}.
    """))

# %% [markdown]
# A layer *knows* a label if the nearest neighbors of an image, in that layer, have it too; the *embedding* is the output of
# the part that makes features, and the layers behind it answer. And without augmentation?
# {doc}`Why this happens, and when it does not <benign_memorization>`, is one of the questions below.
#
# ## Seven findings

# %% tags=["remove-input"]
board = scoreboard(run.build / "verdicts", run.published / "verdicts", run.claims_path.parent)
words = {
    "SM-15": "A model that generalizes better remembers less of a spurious feature",
    "BM-2": "A network that learns random labels by heart, under augmentation, ends with better features than it began with",
    "PM-2": "A model that can tell its training examples apart learns the exceptions to a spurious correlation by heart, and is wrong on new ones",
    "FC-3": "Where the background alone moves, which never told anything of the label, the risk of a network grows: its margins shrink",
    "PM-3": "Told in training what held-out predictions know of the label, it gets new exceptions right",
    "RL-6": "Trained against heads that look for labels drawn by lot, a network hides what tells single images apart",
    "RL-7": "It is no better on new images for that",
}

# %% tags=["remove-input"]
numbers = {  # what the number of each is
    "SM-15": "covariance of answers with labels that is lost, per unit of test accuracy gained",
    "BM-2": "gain of the share of true classes that its embedding tells",
    "PM-2": "accuracy on exceptions in training minus on new ones",
    "FC-3": "hinge risk there minus in distribution, where an untrained network's is 1",
    "PM-3": "accuracy on them that is gained",
    "RL-6": "share of random labels that heads no longer find",
    "RL-7": "change of accuracy on new digits",
}

# %% tags=["remove-input"]
rows = {row["id"]: row for row in board.best()} | {row["id"]: row for row in board.rows if row["profile"] == profile}
pages = {claim: f"{rows[claim]['notebook']}.html" for claim in words}
lines = [f"1. {finding(rows[claim], pages[claim], words[claim], numbers[claim])}" for claim in words]
if not risks.empty:
    right = risks[risks["step"] == risks["step"].max()].set_index(["arm", "quantity"])["mean"]["ReLU"]
    lines[3] += f" Of its answers {number(100 * right['ood_accuracy'], 3)} % are right there, {number(100 * right['id_accuracy'], 3)} % in distribution."
say("\n".join(lines))

# %% [markdown]
# Each number is the one that the claim behind the link was judged by, with its 95 % interval over seeds, at this page's
# scale. The {doc}`scoreboard <scoreboard>` has all claims, at every scale, with what did not hold. To count them, each claim
# is taken once, with its verdict at the largest scale at which it was tested, so the count differs from those of the pages, which
# are of one scale:

# %% tags=["remove-input"]
say(board.headline().splitlines()[0])

# %% [markdown] tags=["theory"]
# ## Find your way by question
#
# Question | Paper | Where
# --- | --- | ---
# Can a model memorize something that has nothing to do with the label? | {cite:t}`bombari2024spurious` | {doc}`spurious_memorization`
# Can memorization be predicted by a formula? | {cite:t}`bombari2024spurious` | {doc}`../book/ideas/spurious_features`
# Does a model that generalizes better memorize less? | {cite:t}`bombari2024spurious` | {doc}`spurious_memorization`
# Why do random labels plus augmentation still give useful features, and in which layers does memorization sit? | {cite:t}`anagnostidis2023curious` | {doc}`benign_memorization`
# Is *my* network's memorization benign? | {cite:t}`anagnostidis2023curious` | {ref}`own-case`
# Why do networks learn features that are uncorrelated with the label, and fail out of distribution? | {cite:t}`zhang2024feature` | {doc}`feature_contamination`
# What can be done against it? | {cite:t}`zhang2024feature` | {ref}`contamination-remedies`
# When does memorization turn a spurious correlation into bad generalization, and does training that is aware of it help? | {cite:t}`bayat2025pitfalls` | {doc}`pitfalls_of_memorization`
# Which training examples were memorized? | {cite:t}`bayat2025pitfalls` | {ref}`who-is-memorized`
# Can memorization be measured by labels drawn by lot, or reduced? | {cite:t}`becker2024learned` | {doc}`random_label_heads`
# What would any features allow? | {cite:t}`becker2024learned` | {ref}`any-features`
#
# ## What do you want to do?
#
# ::::{grid} 1 1 2 2
# :gutter: 3
#
# :::{grid-item-card} Read
# Begin with [one idea in one page](../book/ideas/spurious_features.md), then its experiments. Each page says in short what
# holds, shows the paper in twenty lines, and ends with what did not reproduce.
# :::
#
# :::{grid-item-card} Run it again
# `make book` makes all of it, with the same records and verdicts: [how](../book/read_and_rerun.md), and
# {ref}`what each page costs <prices>`.
# :::
#
# :::{grid-item-card} Change it
# Sizes, data, networks and seeds are parameters: `python -m memorization run spurious_memorization -p d 400 -o out.ipynb`.
# Each page ends with its parameters, and proposes changes with their solutions.
# :::
#
# :::{grid-item-card} Audit your own network
# [Is my network's memorization benign?](own-case) takes a network of yours that was trained on random labels, its images and
# labels, and says layer by layer what was memorized; and what to do with a network that learned true ones.
# :::
# ::::
#
# ## What you can rely on
#
# - **No typed results.** A number in a sentence is computed by the notebook that the sentence is in.
# - **Failures stay.** A claim that does not hold is shown as such, with what was tried.
# - **Spread is shown.** Intervals are 95 % intervals of a mean over seeds, and they decide, not the mean.
# - **The price is measured.** Each notebook says how long it takes and how much memory it needs, on which machine and when;
#   {ref}`one table <prices>` has all of them.
# - **The code is beside the result.** Each figure links to its data and to the notebook that made it.
#
# Words with a special meaning are in the [glossary](../book/glossary.md), symbols in the [notation](../book/notation.md).
