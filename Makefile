PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests wait for processes, servers and the network now and then, and the cores for a worker more than there are of them.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
PYTEST := --dist worksteal --durations 15
EXAMPLES ?= 200

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-postgres check lint types unit build bench bench-all bench-plots lock clean

help:  ## Say what there is.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

$(READY): requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: $(READY)  ## Copy two tables of a simulated org into sf.db, and look at them.
	@BIN=$(BIN) sh scripts/demo.sh

test: check  ## Environment, lint, types and tests.

test-slow: $(READY)  ## The tests that take minutes, and the random ones at full length.
	TEST_EXAMPLES=$(EXAMPLES) $(BIN)/pytest -m "slow or thorough" -n auto $(PYTEST)

test-postgres: $(READY)  ## The tests of PostgreSQL on another server: POSTGRES names the folder of its programs.
	TEST_POSTGRES=$(POSTGRES) $(BIN)/pytest -k "PostgreSQL or postgres" -m "not slow" -n auto $(PYTEST)

check: lint types unit

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-cache --no-logo

types: $(READY)
	$(BIN)/mypy

unit: $(READY)
	$(BIN)/pytest -m "not slow" -n $(WORKERS) $(PYTEST)

build: $(READY)  ## Build the wheel and the source archive into dist/.
	$(BIN)/python -m build --no-isolation

bench: $(READY)  ## Measure beside what one would use instead, some 20 minutes; writes benchmarks/RESULTS.md.
	$(BIN)/python benchmarks/run.py --write

bench-all: $(READY)  ## The same, with 10,000,000 leads and 5,000,000 accounts: 12 GB of memory, an hour or two.
	$(BIN)/python benchmarks/run.py --all --write

bench-plots: $(READY)  ## Draw how time and memory grow with the rows, from the numbers that were kept.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python benchmarks/plots.py

lock:  ## Choose the versions of the development environment and of the image anew.
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate pyproject.toml \
	  --extra jwt --extra postgres --extra simulator --extra simulator-tls --group dev -o requirements-dev.txt
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-annotate pyproject.toml \
	  --extra jwt --extra postgres -o examples/container/requirements.txt

clean:  ## Remove everything that was made.
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
