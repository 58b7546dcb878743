# Every target sets up what it needs, once: .venv is rebuilt only when pyproject.toml or constraints.txt change.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.ready-bench
# torch comes first and by exact version: a bare `torch` brings gigabytes of CUDA (README, "Set-up").
TORCH := $(shell grep '^torch==' constraints.txt)
# pip compiles what it installs on one core: setup does it afterwards on all. Our own modules are compiled once, too.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
# Some packages hold files for other Pythons: they don't compile, which pip doesn't mind either.
COMPILE := $(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1 || true
# sqlfluff compiles the models: in a home of its own, so that it waits for no build.
LINT_HOME := CBP_HOME=data/lint DBT_TARGET_PATH=data/lint/target DBT_LOG_PATH=data/lint/logs
NAME ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-services lint lint-python lint-sql serve bench pictures clean

help: ## Show what there is to make
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-14s %s\n", $$1, $$2}'

setup: $(READY) ## Create the environment .venv

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) '$(TORCH)'
	$(PIP) -e '.[dev]'
	$(COMPILE)
	@touch $@

demo: $(READY) ## Run the main job end to end: from raw payments to scored payments over HTTP
	$(BIN)/cbp demo $(DEMO)

# As many files of tests at a time as there are cores; the files that take longest begin first (pyproject.toml).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist loadfile --no-loadscope-reorder

test: $(READY) ## Run all tests but those of test-services
	$(PYTEST)

test-fast: $(READY) ## Run what takes less than a minute: the quick unit and contract tests
	$(PYTEST) -m 'not services and not slow' tests/unit tests/contract

# One more at a time than there are cores: these tests wait for what they start.
test-services: $(READY) ## Run the tests that start and kill programs, or need PostgreSQL (Debian's package postgresql)
	$(PYTEST) -m services -n $(shell expr $$(nproc) + 1)

lint: $(READY) ## Check style, types and SQL
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint-python lint-sql

lint-python: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

lint-sql: $(READY)
	$(LINT_HOME) $(BIN)/sqlfluff lint dbt_project --disable-progress-bar

serve: $(READY) ## Serve the API on http://127.0.0.1:8000, with fresh local secrets in .env on first use
	@test -f .env || (umask 077 && $(BIN)/cbp keys generate > .env && echo 'Wrote fresh secrets to .env')
	$(BIN)/cbp serve

$(BENCH_READY): $(READY)
	$(PIP) -e '.[bench]'
	$(COMPILE)
	@touch $@

bench: $(BENCH_READY) ## Run the benchmarks, or one of them: make bench NAME=ground
	$(BIN)/python -m bench $(NAME)

pictures: $(READY) ## Draw the pictures of docs/architecture.md from the code
	$(BIN)/python -m docs.draw_architecture

clean: ## Remove the environment, caches and all state below data/
	rm -rf $(VENV) data target logs .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
