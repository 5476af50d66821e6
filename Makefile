# Everything a newcomer types. Each target that runs something calls the set-up first, which takes seconds once done.
SHELL := /bin/bash
VENV := $(CURDIR)/.venv
PYTHON_BIN := $(VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format wheel clean distclean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## prepare this machine: .venv from pinned lists, jars, the small model
	@scripts/setup.sh

demo: setup  ## generate the demo lake and run the whole nightly pipeline on it
	@$(VENV)/bin/isrf demo

lint: setup  ## style, formatting and types, as CI checks them
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy --strict isrf_pipeline

test: lint  ## lint, then every test
	@$(PYTHON_BIN) -m pytest tests

format: setup  ## put the code into shape
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

wheel: setup  ## build dist/isrf_pipeline-*.whl, for --py-files and for pip
	@$(PYTHON_BIN) setup.py --quiet bdist_wheel
	@rm -rf build isrf_pipeline.egg-info/SOURCES.txt
	@ls dist/*.whl

clean:  ## remove what builds and tools left behind; keeps .venv
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis spark-warehouse metastore_db derby.log
	@find . -path ./.venv -prune -o -type d -name __pycache__ -print0 | xargs -0r rm -rf

distclean: clean  ## also remove .venv with the jars and the model
	@rm -rf .venv
