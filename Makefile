# One command each: make run, make lab, make test, make book. `make` alone prints the list.
PYTHON  ?= python3
PROFILE ?= $(or $(TWOSTREAM_PROFILE),mini)
DATA    ?=
GROUPS  ?=
SPLIT   ?=

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

# What `make run` makes from generated or given videos. UCF101 profiles are left alone by `clean`:
# their shards and checkpoints took hours.
MADE := mini folder weizmann

# Only where it was given: the variable goes before the word in a notebook's setup("mini").
ifneq ($(origin PROFILE),file)
export TWOSTREAM_PROFILE := $(PROFILE)
endif
ifneq ($(strip $(DATA)),)
export TWOSTREAM_DATA := $(shell $(PYTHON) -c 'import os, sys; print(os.path.abspath(os.path.expanduser(sys.argv[1])))' "$(DATA)")
endif
ifneq ($(strip $(SPLIT)),)
export TWOSTREAM_SPLIT := $(shell $(PYTHON) -c 'import os, sys; print(os.path.abspath(os.path.expanduser(sys.argv[1])))' "$(SPLIT)")
endif
ifneq ($(strip $(GROUPS)),)
export TWOSTREAM_GROUPS := $(value GROUPS)
endif

# A recipe whose result must not depend on the reader's own videos.
APART := env -u TWOSTREAM_DATA -u TWOSTREAM_GROUPS -u TWOSTREAM_SPLIT

.PHONY: help run lab test test-slow notebooks book slides ablations bench gpu-check colab-check clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PROFILE=mini|folder|weizmann|ucf10|ucf20|ucf101   the scale of the course (now: $(PROFILE))"
	@echo "  DATA=<folder>   your videos, <folder>/<class>/<clip>.avi, with PROFILE=folder or weizmann"
	@echo "  GROUPS='^([a-z]+)_'   what in a video's name tells its group, with PROFILE=folder"
	@echo "  SPLIT=<list>    your own split: trainlist01.txt, a CSV path,split, '*_test_split1.txt'"

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "The course needs Python 3.10 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1)."; \
	  echo "Name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments."; \
	  echo "On Debian and Ubuntu: sudo apt install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (torch is large: several GB on Linux, some minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,book]'
	@touch $@

run: $(STAMP) ## make the data, run all notebooks in order, print the results table
	@$(BIN)/python notebooks/make/run.py

# Containers work as root, whom Jupyter turns away otherwise.
AS_ROOT := $(if $(filter 0,$(shell id -u)),--allow-root)

lab: $(STAMP) ## open JupyterLab on notebook 00
	@cd notebooks && ../$(BIN)/jupyter lab $(AS_ROOT) $(notdir $(firstword $(wildcard notebooks/00_*.ipynb)))

test: export TWOSTREAM_PROFILE := mini
test: $(STAMP) ## run all tests, the notebooks among them
	@$(APART) $(BIN)/python -m pytest

test-slow: export TWOSTREAM_PROFILE := mini
test-slow: $(STAMP) ## run the tests of minutes or gigabytes that `make test` leaves out
	@$(APART) $(BIN)/python -m pytest -m slow tests

notebooks: export TWOSTREAM_PROFILE := mini
notebooks: $(STAMP) ## rebuild the committed notebooks from notebooks/source
	@$(APART) $(BIN)/python notebooks/make/build.py --execute

book: $(STAMP) ## the course with its outputs as a web site, in build/book
	@$(BIN)/python notebooks/make/book.py

slides: $(STAMP) ## a deck of slides a chapter, in build/slides
	@$(BIN)/python notebooks/make/slides.py

ablations: $(STAMP) ## what each choice is worth: the trainings behind notebook 12, 45 minutes on 2 cores
	@$(APART) -u TWOSTREAM_PROFILE $(BIN)/python -m twostream_utils.experiments.ablations

bench: $(STAMP) ## how fast it is, and against what: a table, and notebooks/kept/bench.json
	@$(APART) -u TWOSTREAM_PROFILE $(BIN)/python tests/bench/bench.py

gpu-check: $(STAMP) ## what this GPU does at full size, in ten minutes, kept for chapter 11; then its tests
	@$(BIN)/python tests/bench/gpu_check.py

# Colab's Python; another one if this machine does not have it.
COLAB_PYTHON ?= $(shell python3.13 -c '' 2>/dev/null && echo python3.13 || echo $(PYTHON))
COLAB_ENV    := build/colab-env

$(COLAB_ENV)/.installed: notebooks/make/colab_versions.txt
	@test -x $(COLAB_ENV)/bin/python || $(COLAB_PYTHON) -m venv $(COLAB_ENV)
	@echo "Installing Colab's versions into $(COLAB_ENV) (6 GB on Linux) ..."
	@$(COLAB_ENV)/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

# Colab's widgets, for a JupyterLab in the browser; jupyterlab_widgets 1 draws them there.
COLAB_WIDGETS := build/colab-widgets

$(COLAB_WIDGETS)/.installed: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --upgrade \
	  --target $(COLAB_WIDGETS) 'ipywidgets==7.7.1' 'jupyterlab_widgets<2' 'widgetsnbextension<4' ipython_genutils
	@touch $@

colab-check: export TWOSTREAM_PROFILE := mini
colab-check: $(STAMP) $(COLAB_ENV)/.installed $(COLAB_WIDGETS)/.installed ## open notebooks alone as Colab does, with its versions
	@$(APART) TWOSTREAM_COLAB_PYTHON=$(COLAB_ENV)/bin/python TWOSTREAM_WIDGETS=$(COLAB_WIDGETS) \
	  $(BIN)/python -m pytest -p no:nbval --override-ini addopts= tests/course/test_colab.py tests/lab/test_browser.py

clean: ## remove the environment, generated data, runs and caches
	rm -rf $(VENV) data/mini data/bench build *.egg-info .pytest_cache .ruff_cache
	rm -rf $(addprefix runs/,$(MADE))
	@for profile in folder weizmann; do \
	  rm -f data/$$profile/*.zip data/$$profile/*.partial data/$$profile/*.json data/$$profile/skipped.txt \
	    data/$$profile/.frame_index* data/$$profile/.lock; \
	done
	@rmdir data/* data runs 2>/dev/null || true
	@find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +
	@find notebooks -name .ipynb_checkpoints -prune -exec rm -rf {} +
