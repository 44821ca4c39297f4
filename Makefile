# Each target sets up the virtual environment that it needs; only Python 3.11 or newer must be there.
IS_NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for python in $(PREFERRED) python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(IS_NEW_ENOUGH)' 2>/dev/null && echo $$python && break; done)
MISSING = $(if $(PREFERRED),$(if $(filter-out $(PREFERRED),$(PYTHON)), ($(PREFERRED) is missing)))
# --quiet twice: print errors only.
PIP_INSTALL := -m pip install --quiet --quiet --disable-pip-version-check
export TF_CPP_MIN_LOG_LEVEL ?= 3
# With more, glibc keeps much of the memory that tests have freed.
export MALLOC_ARENA_MAX ?= 2

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo quick test test-oldest test-colab test-kaggle test-versions test-consumers \
	test-servers test-slow lint bench fuzz kills process-kills clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*  ## /\1\t/p' Makefile | expand -t 16

demo: .venv/.installed  ## train a small detector on generated images, evaluate it, draw and export
	@.venv/bin/ssd-keras demo

# The tests of one file run in one process: they share models that take seconds to build.
EVERY_CORE := --numprocesses auto --dist loadfile

# Folders and files of fast tests, without the slower files in them.
QUICK := $(addprefix tests/,core boxes losses optimizers tflite drawing evaluation doctor data helpers \
	engine/test_recipes.py engine/test_training_time.py test_layers.py test_style.py)
QUICK += $(addprefix --ignore=tests/,data/test_pipeline.py data/test_augmentation.py \
	data/test_augmentation_pixels.py data/test_fuzz.py doctor/test_default_box_fit.py \
	evaluation/test_report.py)

quick: lint  ## lint and the fast tests, about a minute
	@KERAS_BACKEND=tensorflow .venv/bin/python -m pytest $(EVERY_CORE) $(QUICK)

# Other files are not even imported under JAX.
BACKENDS = $(shell grep -rlE "mark\.backends" tests --include='test_*.py')

# JAX comes first, so that the last lines sum up the whole suite.
test: lint  ## lint and all tests but slow ones and consumers, on both Keras backends
	@KERAS_BACKEND=jax .venv/bin/python -m pytest $(EVERY_CORE) \
		-m "backends and not slow and not consumers" $(BACKENDS)
	@KERAS_BACKEND=tensorflow .venv/bin/python -m pytest $(EVERY_CORE)

test-oldest:  ## all tests on the oldest versions that setup.cfg takes, on both backends
test-colab:  ## all tests on Colab's versions
test-kaggle:  ## all tests on Kaggle's versions
test-oldest test-colab test-kaggle: test-%: .venv-%/.installed
	@KERAS_BACKEND=jax .venv-$*/bin/python -m pytest $(EVERY_CORE) \
		-m "backends and not slow and not consumers" $(BACKENDS)
	@KERAS_BACKEND=tensorflow .venv-$*/bin/python -m pytest $(EVERY_CORE)

# Files that have failed on other versions, or call most of TensorFlow, Keras, NumPy and Pillow.
VERSIONED := $(addprefix tests/,core/test_read_image.py data/test_readers.py data/test_tfds.py \
	data/test_pipeline.py drawing losses models/test_keras_layers.py models/test_models.py \
	models/test_model_file.py exporters/test_export.py exporters/test_saved_model.py tflite)

test-versions: .venv-oldest/.installed .venv-colab/.installed  ## the tests that versions break, on the oldest and Colab's
	@for name in oldest colab; do echo "$$name:"; \
		KERAS_BACKEND=tensorflow .venv-$$name/bin/python -m pytest $(EVERY_CORE) $(VERSIONED) \
		|| exit 1; done

# As root on Debian this also installs Chromium.
test-consumers: .venv-consumers/.installed  ## test with PyTorch, MediaPipe, Chromium and others, in their own environments
	@KERAS_BACKEND=tensorflow .venv-consumers/bin/python tests/consumers.py $(EVERY_CORE)

# In one process: each server uses all cores.
test-servers: .venv/.installed  ## test with KServe, Ray Serve and TF Serving's loader, in a separate environment
	@KERAS_BACKEND=tensorflow .venv/bin/python tests/servers.py $(ARGS)

# In one process: some of these fill the machine or measure the time of a process.
test-slow: .venv/.installed  ## the slow tests alone
	@KERAS_BACKEND=tensorflow .venv/bin/python -m pytest -m "slow and not consumers"

lint: .venv/.installed  ## ruff and mypy
	@.venv/bin/ruff check --quiet .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy --no-error-summary

bench: .venv-bench/.installed  ## time this project and others side by side, in one table
	@.venv-bench/bin/python benchmarks/suite.py --results runs/benchmarks

fuzz: .venv/.installed  ## give 10,000 damaged and hostile files to what reads them; ARGS="--seed 7 --count 5000"
	@PYTHONPATH=tests:tests/helpers .venv/bin/python -m fuzz $(ARGS)

kills: .venv/.installed  ## kill training, export, conversion and split 30 times each; bad disks (as root)
	@KERAS_BACKEND=tensorflow .venv/bin/python tests/kills.py $(ARGS)

process-kills: .venv/.installed  ## kill one of two processes that train together 10 times, and resume
	@KERAS_BACKEND=jax .venv/bin/python tests/process_kills.py $(ARGS)

clean:  ## remove environments, builds and caches, but not runs/
	rm -rf .venv .venv-* build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.installed: REQUIREMENTS = --editable '.[test]'
.venv-consumers/.installed: REQUIREMENTS = --editable '.[tflite,serving]' pytest pytest-xdist
.venv-bench/.installed: REQUIREMENTS = --editable . --requirement benchmarks/requirements.txt
.venv-bench/.installed: benchmarks/requirements.txt


# The Python of each set comes first where it is installed.
SETS := .venv-oldest/.installed .venv-colab/.installed .venv-kaggle/.installed
.venv-oldest/.installed: PREFERRED := python3.11
.venv-colab/.installed: PREFERRED := python3.13
.venv-kaggle/.installed: PREFERRED := python3.12
$(SETS): REQUIREMENTS = --constraint tests/constraints/$(@D:.venv-%=%).txt --editable '.[test]'
$(SETS): .venv-%/.installed: tests/constraints/%.txt

.venv/.installed .venv-consumers/.installed .venv-bench/.installed $(SETS): setup.cfg pyproject.toml
	@$(PYTHON) -c '$(IS_NEW_ENOUGH)' 2>/dev/null || { echo "error: PYTHON='$(PYTHON)' is not\
	 Python 3.11 or newer: install one, or name it: make PYTHON=python3.11" >&2; exit 1; }
	@echo "Setting up $(@D) with $$($(PYTHON) --version)$(MISSING), about a minute ..."
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python $(PIP_INSTALL) --upgrade pip
	@$(@D)/bin/python $(PIP_INSTALL) $(REQUIREMENTS)
	@touch $@
