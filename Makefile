# Every command of this repository. `make` alone lists them; the README shows the two that most people need.
#   make book PROFILE=smoke JOBS=2      other sizes, other numbers of notebooks at a time
#   make book SCALES="desktop paper"     pages of published records at other scales, folded under each paper's page
#   make test PYTEST_ARGS="-k stability"
#   rm -rf .venv; make book PYTHON=python3.12      a Python of your choice (3.11 or newer)
SHELL := bash
PROFILE ?= book
SCALES ?=
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
PORT ?= 8000
EXTRAS ?= run,book,test,cluster
PYTEST_ARGS ?=
KIT_PYTHON ?= 3.12
KIT_DATA ?=

# Python keeps what it compiled. Where the surroundings forbid that (images of containers do), each of the hundreds of
# processes of `make book` and `make test` would compile torch and its like anew, for 10 s.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
PY := $(VENV)/bin/python
# The environment is made again when the ranges, the pins or the place of this folder (the library is installed from
# where it lies) change: the stamp's name is a checksum of all three, since file dates say nothing after a checkout.
KEY := $(shell { pwd; echo $(EXTRAS); cat pyproject.toml requirements.lock; } | cksum | cut -d' ' -f1)
ENV := $(VENV)/.installed-$(KEY)

.DEFAULT_GOAL := help
.PHONY: help env book notebooks scales html serve test lint types results benchmarks gpu-kit lock clean distclean
# `make -j` changes nothing: notebooks run side by side inside one command, and the other steps follow each other.
.NOTPARALLEL:

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile
	@echo
	@echo "  PROFILE=$(PROFILE) (smoke, book, desktop or paper)  JOBS=$(JOBS)  PORT=$(PORT)  PYTHON=$(PYTHON)"

$(ENV):
	@bash .ci/setup $(VENV) $(EXTRAS) $(if $(PYTHON),"$(PYTHON)")
	@rm -f $(VENV)/.installed-* && touch $@

env: $(ENV) ## make the virtual environment .venv with the pinned packages

book: notebooks $(if $(SCALES),scales) html ## execute every notebook that is out of date and build the book

notebooks: $(ENV) ## execute every notebook that is out of date
	$(PY) -m memorization run --all --profile $(PROFILE) --jobs $(JOBS)

scales: $(ENV) ## execute the papers' notebooks at SCALES too, those whose points are all published
	$(foreach scale,$(SCALES),$(PY) -m memorization run --all --recorded --profile $(scale) --jobs $(JOBS) &&) true

html: $(ENV) ## build the book from the notebooks executed so far
	$(PY) -m memorization book --profile $(PROFILE)

serve: ## show the built book at http://localhost:PORT
	@test -f _build/html/index.html || { echo "No book is built yet: run \"make book\" first." >&2; exit 1; }
	$(PY) -m http.server --bind 127.0.0.1 --directory _build/html $(PORT)

test: lint types ## check style and types, then run every test
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

lint: $(ENV) ## check the style of the code
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: $(ENV) ## check the types of the library
	$(PY) -m mypy

results: $(ENV) ## publish the records and verdicts of PROFILE into results/
	$(PY) -m memorization results --profile $(PROFILE)

benchmarks: $(ENV) ## time the library against the plain way of doing the same work
	@set -e; for script in benchmarks/[!_]*.py; do \
	  test -f "$$script" || { echo "No benchmark is in benchmarks/." >&2; exit 1; }; \
	  echo "$(PY) $$script"; $(PY) "$$script"; done

gpu-kit: $(ENV) ## pack wheels and KIT_DATA for .ci/gpu, a machine with a GPU and without a network
	PYTHON=$(PY) bash .ci/gpu-kit _build/gpu-kit $(KIT_PYTHON) $(KIT_DATA)

lock: ## resolve requirements.lock again (UPGRADE=1: to the newest versions that fit)
	@bash .ci/lock

clean: ## remove the built pages and the tools' caches; records of finished runs stay
	rm -rf _build/html _build/html.stamp _build/source _build/draft .pytest_cache .mypy_cache .ruff_cache

distclean: clean ## remove everything that was ever built: records of finished runs and .venv too
	rm -rf _build .venv
