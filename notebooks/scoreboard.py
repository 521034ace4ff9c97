# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
#   memorization:
#     reads: [_build/verdicts, results/verdicts, notebooks/claims]
# ---

# %% [markdown]
# # Scoreboard
#
# Which claims of the papers hold here, at which scale, and with what spread? Each notebook judges the
# claims of its paper by its own records. This page gathers the verdicts: those of this build where there
# are any, published ones elsewhere.
# {doc}`How to read a verdict <../book/read_and_rerun>`.
#
# ## Parameters

# %% tags=["parameters", "hide-input"]
profile: str = "book"  # which parameter file | name | one of smoke, book, desktop, paper
paper: str = "all"  # whose claims are shown | key of the paper, or all | any

# %%
from memorization.report.prices import foot
from memorization.report.scoreboard import scoreboard
from memorization.report.tables import say
from memorization.runs.start import start

run = start("scoreboard", globals())

# %% [markdown]
# ## How many claims hold?
#
# A claim can be judged at several scales: minutes on two cores (`book`), the papers' data on a desktop
# (`desktop`), the papers' own settings (`paper`). How do they compare?

# %%
live, published = run.build / "verdicts", run.published / "verdicts"
board = scoreboard(live, published, run.claims_path.parent)
board = board if paper == "all" else board.of(paper)
board.summary()

# %%
say(board.headline())

# %% [markdown]
# ## What is the evidence for each claim?
#
# The table shows, for each claim, the largest scale at which it was tested, and the one number that
# decided: the check furthest beyond its bound or, where all checks hold, nearest to it. Unfold a claim to
# see all of its checks. Square brackets hold the 95 % interval over seeds.

# %%
board.table()

# %% [markdown]
# A claim that is not reproduced stays here. The notebook of its paper says what was tried.
#
# ## What has nobody tested yet?
#
# Some claims need the papers' data or a GPU. They are listed with the profiles that can judge them.

# %%
board.open_table()

# %% [markdown]
# To change that, run the notebook at one of these profiles and publish what it finds: `make notebooks
# PROFILE=desktop`, then `make results PROFILE=desktop`.
#
# ## Where this page comes from

# %%
foot(run)
