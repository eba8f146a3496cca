# make demo: from nothing to new music. make test: the whole suite. make help: the rest.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help demo test slow lint clean studio

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## / - /'

demo: $(VENV)/.installed  ## install, learn from the chorales, compose eight new ones, measure them
	$(BIN)/midifactory all experiment=demo hydra.run.dir=outputs/demo
	$(BIN)/python scripts/compare_with_corpus.py outputs/demo/music --corpus outputs/corpora/bach_chorales \
		--result outputs/demo/result.json

test: $(VENV)/.installed-dev  ## install what the tests need and run them, lint and types first
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

slow: $(VENV)/.installed-dev  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-dev  ## mend what ruff can mend
	$(BIN)/ruff check --fix . && $(BIN)/ruff format .

studio: $(VENV)/.installed-dev  ## build and test the page; needs node
	cd apps/studio && npm ci && npm run lint && npm test && \
		MIDIFACTORY_PYTHON=$(CURDIR)/$(BIN)/python npm run e2e

clean:  ## remove runs, corpora and prepared data; the environment stays
	find outputs -mindepth 1 ! -name .gitkeep -delete

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; run: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -e ".[dev]"
	touch $@
