# Every target sets up the virtual environment it needs; nothing but Python 3.11+ is expected.
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
# Twice quiet: errors only.
PIP_INSTALL := -m pip install --quiet --quiet --disable-pip-version-check
export TF_CPP_MIN_LOG_LEVEL ?= 3

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow lint bench fuzz clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' Makefile | expand -t 12

demo: .venv/.installed  ## train a small detector on generated pictures, evaluate it, draw, export
	@.venv/bin/python training/demo.py

# A file's tests stay together: they share models that take seconds to build.
EVERY_CORE := --numprocesses auto --dist loadfile

# The tests of the JAX backend come first, so that the last lines sum up the whole suite.
test: lint  ## lint, then the tests on both Keras backends, without the slow ones
	@KERAS_BACKEND=jax .venv/bin/python -m pytest $(EVERY_CORE) -m "backends and not slow"
	@KERAS_BACKEND=tensorflow .venv/bin/python -m pytest $(EVERY_CORE)

# One by one: some of these fill the machine, or watch the time of a process.
test-slow: .venv/.installed  ## the slow tests alone
	@KERAS_BACKEND=tensorflow .venv/bin/python -m pytest -m slow

lint: .venv/.installed  ## ruff and mypy
	@.venv/bin/ruff check --quiet .
	@.venv/bin/mypy --no-error-summary

bench: .venv-bench/.installed  ## time everything beside other projects: one table
	@.venv-bench/bin/python benchmarks/suite.py --results runs/benchmarks

fuzz: .venv/.installed  ## feed the readers damaged and hostile files; ARGS="--seed 7 --count 5000"
	@PYTHONPATH=tests:tests/helpers .venv/bin/python -m fuzz $(ARGS)

clean:  ## remove environments, builds and caches; runs/ stays
	rm -rf .venv .venv-bench build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: WANTED = --editable '.[test]'
.venv-bench/.installed: WANTED = --editable . --requirement benchmarks/requirements.txt
.venv-bench/.installed: benchmarks/requirements.txt

.venv/.installed .venv-bench/.installed: setup.cfg pyproject.toml
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)' 2>/dev/null || { echo "error: PYTHON='$(PYTHON)' is not\
	 Python 3.11 or newer: install one, or name it: make PYTHON=python3.11" >&2; exit 1; }
	@echo "Setting up $(@D), about a minute ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python $(PIP_INSTALL) --upgrade pip
	@$(@D)/bin/python $(PIP_INSTALL) $(WANTED)
	@touch $@
