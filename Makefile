# Everything runs from a fresh clone with Python >= 3.11 and make: each target makes the environment that it needs, once.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
AIRFLOW_3 := 3.3
AIRFLOW_2 := 2.11
VENV := .venv
VENV_2 := .venv-2.11
LINES ?= 3.0 3.1 3.2
BIN := $(VENV)/bin
BIN_2 := $(VENV_2)/bin
STAMP := $(VENV)/.installed
STAMP_2 := $(VENV_2)/.installed
LINE_TESTS := tests/airflow/system/test_main_dag.py tests/airflow/system/test_catalog_dag.py tests/airflow/system/test_review_lines.py
# They start an Airflow of their own; all other system tests share one.
OWN_AIRFLOW := tests/airflow/system/test_commands.py tests/airflow/system/test_observed.py
IN_PROCESS := tests/unit tests/integration tests/airflow/harness tests/airflow/distributed tests/airflow/faults/test_judge.py tests/test_dags.py tests/test_layout.py tests/test_packaging.py
# What depends on Airflow's version. The other rooms import no Airflow: `make matrix` runs their tests on each line.
AIRFLOW_ROOMS := lifecycle operators plugins reporting storage submission
IN_PROCESS_2 := $(AIRFLOW_ROOMS:%=tests/unit/%) $(wildcard tests/unit/test_*.py) tests/integration tests/test_dags.py tests/test_packaging.py

.PHONY: help demo up test test-in-process test-in-airflow test-apart flaky test-airflow-3 test-airflow-2 test-distributed matrix test-matrix test-lowest test-commands test-lines $(LINES:%=test-line-%) chromium services test-system test-browser docs test-docs test-faults faults distributed lint bench bench-quick constraints clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## one run of the main DAG in a real Airflow; KLING_API_KEY=... uses CometAPI in place of the emulator
	@$(BIN)/python -m demo run

up: $(STAMP) ## Airflow with its UI on the same DAGs, until Ctrl-C
	@exec $(BIN)/python -m demo up

# Runs a target; its lines have its name before them, since two run at once.
phase = +@began=$$SECONDS; $(MAKE) --no-print-directory $(1) 2>&1 | sed -u 's/^/$(1) | /'; echo "$(1): passed after $$((SECONDS - began)) s"

# Two lanes, one for each of two cores: tests of one process, and those in a real Airflow, which wait most of the time.
test: $(STAMP) chromium services ## everything on Airflow 3.3 but what `make test-apart` runs, and a wheel loaded on each line
	@$(MAKE) --no-print-directory -j2 test-in-process test-in-airflow
	@echo "Airflow $(AIRFLOW_3): passed. make test-apart runs the rest."

test-in-process:
	$(call phase,test-airflow-3)

test-in-airflow:
	$(call phase,test-system)
	$(call phase,test-browser)
	$(call phase,test-matrix)

test-apart: ## Airflow 2.11, commands, docs, the lowest dependencies, the lines between, a few faults, a cluster; CI runs it after `make test`; SKIP_AIRFLOW_2=1 where no Python < 3.13 is
	$(if $(SKIP_AIRFLOW_2),,$(call phase,test-airflow-2))
	$(call phase,test-commands)
	$(call phase,test-docs)
	$(call phase,test-lowest)
	$(call phase,test-lines)
	$(call phase,test-faults)
	$(call phase,test-distributed)

flaky: $(STAMP) $(STAMP_2) ## all tests three times beside four busy loops on two cores, and twice on one core; until the first failure
	@tests/flaky.sh

test-airflow-3: $(STAMP) ## unit and integration tests on Airflow 3.3, branch coverage >= 95 %
	$(BIN)/python -m pytest $(IN_PROCESS) --cov --cov-report=term

chromium:
	@tests/browser/install-chromium.sh

services:
	@deploy/celery/install.sh

test-system: $(STAMP) chromium services ## real scheduler, triggerer and workers on Airflow 3.3
	$(BIN)/python -m pytest tests/airflow/system $(OWN_AIRFLOW:%=--ignore=%)

test-commands: $(STAMP) services ## the commands of make and the doctor, and what observers are told, each on an Airflow of its own
	$(BIN)/python -m pytest $(OWN_AIRFLOW)

test-lines: $(LINES:%=test-line-%) ## the three DAGs on a real Airflow 3.0, 3.1 and 3.2; LINES="3.0 3.1"

$(LINES:%=test-line-%): test-line-%: .venv-%/.installed services
	.venv-$*/bin/python -m pytest $(LINE_TESTS)

matrix: $(STAMP) services ## the provider on every Airflow and Python that docs/compatibility.md lists; MATRIX="--lines 3.1"
	$(BIN)/python -m tests.matrix $(MATRIX)

test-lowest: $(STAMP) ## the unit tests on the first release of each line, with the lowest dependencies that pyproject.toml allows
	$(BIN)/python -m tests.matrix --lowest

test-matrix: $(STAMP) ## each Airflow with one Python: the wheel installs, provider, plugins and DAGs load
	$(BIN)/python -m tests.matrix --load

test-browser: $(STAMP) chromium services ## the gallery in a real Chromium
	$(BIN)/python -m pytest tests/browser

test-docs: $(STAMP) chromium ## the documentation site, and every command in it
	$(BIN)/python -m pytest tests/docs

docs: $(STAMP) ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

test-faults: $(STAMP) services ## a few rows of the fault table, and what judges them
	$(BIN)/python -m pytest tests/airflow/faults

faults: $(STAMP) $(STAMP_2) services ## the whole fault table on both lines of Airflow, and random process kills; FAULTS="--seed 7"
	$(BIN)/python -m tests.airflow.faults $(FAULTS)

distributed: $(STAMP) services ## 200 generations on Celery, PostgreSQL and Redis, killing processes; DISTRIBUTED="--generations 20"
	@exec $(BIN)/python -m tests.airflow.distributed $(DISTRIBUTED)

test-distributed: $(STAMP) services ## the same with 24 generations
	$(BIN)/python -m tests.airflow.distributed --generations 24

test-airflow-2: $(STAMP_2) ## the tests that depend on Airflow's version, on Airflow 2.11
	$(BIN_2)/python -m pytest $(IN_PROCESS_2)

lint: $(STAMP) ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP) ## every benchmark, about 45 minutes; docs/performance.md explains the tables
	@$(BIN)/python -m benchmarks

bench-quick: $(STAMP) ## some of them with small sizes, under three minutes
	@$(BIN)/python -m benchmarks --quick

constraints: $(STAMP) ## resolve the pinned environments anew
	PATH=$(BIN):$$PATH constraints/compile.sh

clean: ## remove the environments and everything that runs have written
	rm -rf $(VENV) $(VENV_2) $(LINES:%=.venv-%) site .airflow .demo .matrix .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(STAMP): pyproject.toml constraints/airflow-$(AIRFLOW_3).txt constraints/install.sh
	@constraints/install.sh $(AIRFLOW_3) $(VENV) "$(PYTHON)"
	@touch $@

$(LINES:%=.venv-%/.installed): .venv-%/.installed: pyproject.toml constraints/airflow-%.txt constraints/install.sh
	@constraints/install.sh $* .venv-$* "$(PYTHON)"
	@touch $@

$(STAMP_2): pyproject.toml constraints/airflow-$(AIRFLOW_2).txt constraints/install.sh
	@constraints/install.sh $(AIRFLOW_2) $(VENV_2) "$(PYTHON)"
	@touch $@
