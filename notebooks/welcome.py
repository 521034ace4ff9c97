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
from memorization.studies.benign_memorization.figures import draw_known

run = start("welcome", globals())
apply_theme()

# %% [markdown]
# ## One network, two sets of labels
#
# The same network learns the same pictures of digits twice: with their true labels, and with labels drawn by lot. What does
# each of its layers know afterwards?

# %% tags=["remove-input"]
measured = run.build / "notebooks" / profile / "figures" / "benign_memorization" / "depth.csv"
known = pd.read_csv(measured) if measured.is_file() else pd.DataFrame()
if known.empty:
    display(say("*This figure is drawn once the page on random labels has been run at this profile.*"))

# %% tags=["remove-input"]
if not known.empty:
    figure, axes = panels(2, titles=["trained on true labels", "trained on random labels"])
    shown = draw_known(axes, known)
    legend_above(figure)
    at = shown.query("panel == 'random labels'").set_index(["quantity", "site"])["mean"]
    display(show(
        run, figure, shown, name="layers",
        title=f"Trained on random labels: the last layer gives back {number(100 * at['random label', 'logits'], 3)} % of them, the "
        f"layers before still tell {number(100 * at['true class', 'embedding'], 2)} % of the true classes",
        alt="What can be read at each layer, from the image to the answer. "
        + curves_in_words(shown, "site", by=["panel", "quantity"]) + ".",
    ))  # fmt: skip

# %% [markdown]
# A layer *knows* a label if the nearest neighbors of an image, in that layer, have it too.
# {doc}`Why this happens, and when it does not <benign_memorization>`, is one of the questions below.
#
# ## Five findings

# %% tags=["remove-input"]
board = scoreboard(run.build / "verdicts", run.published / "verdicts", run.claims_path.parent)
found = {
    "SM-15": "A model that generalizes better remembers less of a spurious feature",
    "BM-2": "A network that learns random labels by heart, under augmentation, ends with better features than it began with",
    "BM-5": "Augmentation moves the random labels into the last layers",
    "FC-3": "A network without errors can fail where only the background moved, which never told anything of the label",
    "FC-8": "The more diverse the backgrounds in training, the smaller that failure",
}
rows = {row["id"]: row for row in board.best()} | {row["id"]: row for row in board.rows if row["profile"] == profile}
pages = {claim: f"{rows[claim]['notebook']}.html" for claim in found}
say("\n".join(f"1. {finding(rows[claim], pages[claim], words)}" for claim, words in found.items()))

# %% [markdown]
# Each number is the one that the claim behind the link was judged by, with its 95 % interval over seeds. The
# {doc}`scoreboard <scoreboard>` has all claims, at every scale, with what did not hold:

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
#
# Two more papers are on their way: heads that learn or unlearn random labels {cite:p}`becker2024learned`, and training that
# is aware of memorization {cite:p}`bayat2025pitfalls`.
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
# `make book` makes all of it, with the same records and verdicts; [how](../book/read_and_rerun.md), and what each page costs.
# :::
#
# :::{grid-item-card} Change it
# Sizes, data, networks and seeds are parameters: `python -m memorization run spurious_memorization -p d 400 -o out.ipynb`.
# Each page ends with its parameters, and proposes changes with their solutions.
# :::
#
# :::{grid-item-card} Audit your own network
# [Is my network's memorization benign?](own-case) takes a network, images and labels of yours, and says layer by layer what
# was memorized.
# :::
# ::::
#
# ## What you can rely on
#
# - **No typed results.** A number in a sentence is computed by the notebook that the sentence is in.
# - **Failures stay.** A claim that does not hold is shown as such, with what was tried.
# - **Spread is shown.** Intervals are 95 % intervals of a mean over seeds, and they decide, not the mean.
# - **The price is measured.** Each notebook says how long it takes and how much memory it needs, on which machine and when.
# - **The code is beside the result.** Each figure links to its data and to the notebook that made it.
#
# Words with a special meaning are in the [glossary](../book/glossary.md), symbols in the [notation](../book/notation.md).
