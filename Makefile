# Everyday tasks. Each makes the virtual environment it needs; `make` alone lists them.

PYTHON ?= python3
BIN := .venv/bin

help:                 ## this list
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

mnist: .venv/installed ## the main job: teacher, student alone, student distilled
	$(BIN)/python -m minikd.mnist --T 8

test: .venv/installed  ## the test suite
	$(BIN)/python -m pytest -n logical --dist loadfile

derivations: .venv/installed ## every equation: its code, its tests, whether it holds
	$(BIN)/python -m derivations

mutants: .venv/installed ## plant bugs in the gradients: the tests must fail on every one
	$(BIN)/python -m tests.mutants

lint: .venv/installed  ## lint, format and type checks, as CI runs them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/installed ## put the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed ## minikd against the machine's limit, PyTorch and scikit-learn: 20 minutes
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m benchmarks --write

site: .venv/installed ## the documentation, in build/site
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m sphinx -W -b html -d build/doctrees docs build/site

clean:                ## remove what these tasks made, but no runs
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: help mnist test derivations mutants lint format bench site clean
