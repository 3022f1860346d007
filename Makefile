# Each target installs what it needs into .venv; a second run installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)

.DEFAULT_GOAL := help
.PHONY: help demo test check fix azurite docs bench clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(BASE) ## See it work, on throw-away folders
	$(BIN)/trueup demo

test: $(DEV) ## Run the tests; core must be covered to the last branch
	$(BIN)/pytest tests/core --numprocesses=auto --cov=trueup.core --cov-report=
	$(BIN)/coverage report --include='src/trueup/core/*' --fail-under=100
	$(BIN)/pytest --ignore=tests/core --numprocesses=auto --dist=worksteal

check: $(DEV) ## Lint, check the format, the types, the layers and the reference
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/generate.py --check

fix: $(DEV) ## Repair what ruff can repair, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

azurite: ## Install the emulator of Azure Blob Storage that the tests use if it is there (needs Node.js)
	npm install --silent --no-fund --no-audit --prefix .azurite azurite@3.37.0

docs: $(DEV) ## Write what the documentation takes from the code: reference, output, picture
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/console.py --write
	$(BIN)/python docs/picture.py

bench: $(DEV) ## Measure against the peers
	$(BIN)/python benchmarks/run.py

clean: ## Remove .venv and everything that tools left behind
	rm -rf $(VENV) build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BASE): pyproject.toml | $(BIN)/pip
	@echo "Installing trueup into $(VENV) ..."
	@$(PIP) --editable .
	@touch $@

$(DEV): pyproject.toml | $(BIN)/pip
	@echo "Installing trueup and its development tools into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@touch $(BASE) $@

# Debian splits ensurepip off into python3-venv, and without it a virtual environment has no pip.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'trueup needs Python 3.11 or newer. Try: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'from ensurepip import version' 2>/dev/null \
		|| { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends python3-venv; } \
		|| { echo 'Python cannot make virtual environments yet. Type: sudo apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
