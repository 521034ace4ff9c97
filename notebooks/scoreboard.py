# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
#   html_theme.sidebar_secondary.remove: true
#   memorization:
#     reads: [_build/verdicts, _build/prices, results, notebooks/claims]
# ---

# %% [markdown]
# # Scoreboard
#
# Which claims of the papers hold here, at which scale, and with what spread? Each notebook judges the
# claims of its paper by its own records. This page gathers the verdicts: those of this build where there
# are any, published ones elsewhere.
# {ref}`How to read a verdict <verdicts>`; words are in the {ref}`glossary <glossary>`.

# %% [markdown] tags=["setup"]
# ## Parameters

# %% tags=["parameters", "hide-input"]
profile: str = "book"  # which parameter file | name | one of smoke, book, desktop, paper
paper: str = "all"  # whose claims are shown | key of the paper, or all | any

# %% [markdown]
# ## How many claims hold?
#
# Each claim counts at the largest scale at which it was tested. Counted apart are claims that rest on
# bounds of ours, chosen from earlier runs, or ask what the paper does not, and those that hold by construction
# and so are no evidence.

# %% tags=["hide-input"]
from memorization.report.intervals import coverage_table, replicated_pools
from memorization.report.prices import every_price, foot
from memorization.report.scoreboard import downloads, scoreboard
from memorization.report.tables import say, table
from memorization.runs.start import start

run = start("scoreboard", globals())
live, published = run.build / "verdicts", run.published / "verdicts"
board = scoreboard(live, published, run.claims_path.parent)
board = board if paper == "all" else board.of(paper)
say(board.headline())

# %% [markdown]
# ## What is the evidence for each claim?
#
# A claim can be judged at several scales: minutes on two cores (`book`), the papers' data on a desktop
# (`desktop`), the papers' own settings (`paper`). A claim's name leads to where it was judged, the
# link below its statement to the definition of its checks.
#
# The drawing shows the primary check: the dot is value − bound, the bar its 95 % interval over seeds, and
# the check holds where the whole bar lies on the shaded side of the line. Each drawing has a scale of its
# own; the numbers are below it. *Null* is the verdict on records in which the effect is absent, such as those of
# untrained networks: *not reproduced* or *undecided* is good there, the effect vanishes where it must. A claim that
# is reproduced there, too, would say nothing, and the tests refuse it. *Replication* is how many disjoint sets of
# seeds gave the same verdict. Under *run*, *code* is a digest of all definitions that the experiment reaches, no
# commit: equal digests mean equal code.

# %%
board.table()

# %%
downloads(run, board)

# %% [markdown]
# ## How do the scales compare?

# %%
board.summary()

# %% [markdown]
# A claim that is not reproduced or undecided stays here, and so does what this book does not claim, with the
# reason. The notebook of its paper says what was tried.
#
# ## What has nobody tested yet?
#
# Some claims need the papers' data or a GPU. They are listed with the profiles that can judge them.

# %%
board.open_table()

# %% [markdown]
# To change that, run the notebook at one of these profiles and publish what it finds: `make notebooks
# PROFILE=paper`, then `make results PROFILE=paper`.
#
# (prices)=
# ## What does each page cost?
#
# *Time* is what a user waits for, from the page's first cell to its last. Where it is *summed over points*, it adds up the
# times of all points of its sweeps, though several may have run side by side: so older runs measured it, and so it is
# where a page was not run as a whole. *Load* is how many processes ran or waited on the machine when the page began: if
# these are more than its cores, the page waited for others.

# %%
every_price(run)

# %% [markdown]
# ## How far can an interval be trusted?
#
# Every verdict hangs on a 95 % interval over few seeds. Does it keep that promise on this book's own numbers? Pages
# were replicated on disjoint sets of seeds; of all these seeds a few are drawn again and again, and the interval of
# the few should hold the mean of all in 95 of 100 cases. The book uses Student's; the others were tried.

# %%
pools = replicated_pools(run.published / "replications")
covered = coverage_table(pools, [3, 4, 5, 10, 20])
table(
    covered,
    f"Share of intervals that hold the mean of all seeds; {len(pools)} places of checks of the replicated pages",
    dict.fromkeys(covered.columns[1:], ".3f"),
)

# %% [markdown]
# ## Where this page comes from

# %%
foot(run)
