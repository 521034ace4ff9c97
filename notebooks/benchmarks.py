# ---
# jupyter:
#   kernelspec:
#     name: python3
#     display_name: Python 3
#     language: python
#   memorization:
#     reads: [results/benchmarks]
# ---

# %% [markdown]
# # Speed
#
# How much faster is the library than a straightforward way of doing the same work? Each row below was
# measured twice in one run on one machine: as somebody would write it plainly with PyTorch or NumPy, and
# our way. Both gave the same numbers, or the measurement would have stopped. Ratios can be compared between
# machines; seconds cannot.

# %% tags=["parameters", "remove-input"]
profile: str = "book"  # which parameter file | name | one of smoke, book, desktop, paper

# %% tags=["remove-input"]
from memorization.report.prices import benchmark_figure, benchmark_table, foot, read_benchmarks
from memorization.report.styles import apply_theme
from memorization.runs.start import start

run = start("benchmarks", globals())
apply_theme()

# %% [markdown]
# ## How large is the gain?
#
# The axis is logarithmic; left of the dashed line the plain way would be the faster one.

# %% tags=["hide-input"]
rows = read_benchmarks(run.published / "benchmarks")
benchmark_figure(run, rows)

# %% [markdown]
# ## What was measured?
#
# Peak memory is that of a fresh process which did nothing else.

# %% tags=["hide-input"]
benchmark_table(rows)

# %% [markdown]
# Where it comes from: regressions are solved in the small dimension, with a kernel that is never built from explicit
# features, and one factorization serves every training-set size of a curve; a batch of images is augmented as one
# operation, with random numbers per image and no worker processes; many small networks are trained as one; a linear
# model with more inputs than examples is trained in its dual form, one number an example, and many settings of it are
# columns of one product. Where a row is near 1, the work is the arithmetic itself, and nothing beside it costs time.
# Measure it on your machine with `make benchmarks`.
#
# ## Where this page comes from

# %%
foot(run)
