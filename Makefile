# Each target installs what it needs into .venv, .azurite and .aimock; a second run installs nothing.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
BASE := $(VENV)/.base-installed
DEV := $(VENV)/.dev-installed
MAPLE := 0.0.2
AZURITE := .azurite/.installed-3.37.0
AIMOCK := .aimock/.installed-1.43.0
TURSO := .tursodb/.installed-0.6.0-0.7.2
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)
INSTALL := $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300

.DEFAULT_GOAL := help
.PHONY: help demo test check fix azurite turso engine chromium docs bench blackbox agents compare simulate mutants trees aimock clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

demo: $(BASE) ## See it work, on throw-away folders and a throw-away bucket
	$(BIN)/trueup demo

test: $(DEV) ## Run the tests; core must be covered to the last branch
	@$(MAKE) -s azurite || { [ "$$CI" != true ] && echo 'Its tests are skipped.' >&2; }
	@$(MAKE) -s turso || { [ "$$CI" != true ] && echo 'Its tests are skipped.' >&2; }
	@$(MAKE) -s engine || { [ "$$CI" != true ] && echo 'Its tests are skipped.' >&2; }
	@$(MAKE) -s chromium || { [ "$$CI" != true ] && echo 'Its tests are skipped.' >&2; }
	$(BIN)/pytest tests/core --numprocesses=auto --cov=trueup.core --cov-report=
	$(BIN)/coverage report --include='src/trueup/core/*' --fail-under=100
	$(BIN)/pytest --ignore=tests/core --numprocesses=auto --dist=worksteal $(if $(filter true,$(CI)),--reruns=1 -rR)

check: $(DEV) ## Lint, check the format, the types, the layers and the reference
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/generate.py --check

fix: $(DEV) ## Repair what ruff can repair, and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

azurite: $(AZURITE) ## Install the emulator of Azure Blob Storage that the tests use; they do without if that fails

turso: $(TURSO) ## Install the reference server and the JavaScript client of the sync protocol; the tests do without if that fails

engine: ## Install the container engine that the tests use, and busybox for its images; they do without if that fails
	@for program in dockerd busybox; do command -v $$program >/dev/null || missing=1; done; \
		[ -z "$$missing" ] || { $(INSTALL) docker.io busybox-static; } \
		|| { echo 'Docker could not be installed. Type: sudo apt-get install docker.io busybox-static' >&2; exit 1; }

chromium: ## Install the browser that the tests of the pages use; they do without if that fails
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
		|| { $(INSTALL) chromium fonts-noto-core; } \
		|| { echo 'Chromium could not be installed. Type: sudo apt-get install chromium' >&2; exit 1; }

docs: $(DEV) chromium ## Write what the documentation takes from the code: reference, output, pictures, probes
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/console.py --write
	$(BIN)/python docs/picture.py
	$(BIN)/python docs/screens.py
	$(BIN)/python docs/services.py --write

bench: $(DEV) ## Measure against the peers
	$(BIN)/python benchmarks/run.py

ROUNDS ?= 200
blackbox: $(DEV) ## Play ROUNDS=200 rounds of edits, kills and faults; RECORD=1 keeps the figures
	PYTHONPATH=src:. $(BIN)/python -m tests.blackbox.run --rounds $(ROUNDS) $(if $(RECORD),--record)

agents: $(DEV) turso ## Play ROUNDS=200 rounds of agents that work offline, with kills; RECORD=1 keeps the figures
	PYTHONPATH=src:. $(BIN)/python -m tests.targets.agent_record --rounds $(ROUNDS) --jobs $$(nproc) $(if $(RECORD),--record)

compare: $(DEV) ## Play the scenarios with the peers too, and write docs/comparison.md
	@command -v unison >/dev/null || { $(INSTALL) unison; } || echo 'Without unison.' >&2
	PYTHONPATH=src:. $(BIN)/python -m benchmarks.compare.run

SEEDS ?= 2000
simulate: $(DEV) ## Tell SEEDS=2000 made-up stories of faults, crashes, others' edits; RECORD=1 keeps the figures
	PYTHONPATH=src:. $(BIN)/python -m tests.simulation --seeds $(SEEDS) --jobs $$(nproc) $(if $(RECORD),--record)

mutants: $(DEV) ## Put faults into the engine, one by one: the stories must catch each; RECORD=1 keeps the figures
	PYTHONPATH=src:. $(BIN)/python -m tests.simulation.mutants $(if $(RECORD),--record)

trees: $(DEV) ## Put every world of a few names through the rules of trees, against a second reading of them
	TRUEUP_TREES=large $(BIN)/pytest tests/core/test_tree_exhaustive.py --numprocesses=auto --timeout=0

aimock: $(DEV) $(AIMOCK) ## Ask a mock of AI providers that others wrote; RECORD=1 keeps the result
	PYTHONPATH=src:. $(BIN)/python benchmarks/aimock.py .aimock/node_modules/@copilotkit/aimock/dist/cli.js $(if $(RECORD),--record)

clean: ## Remove .venv and everything that tools left behind
	rm -rf $(VENV) .azurite .aimock .tursodb build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Where there is no S3 server for this machine the demo says so, and shows the rest.
$(BASE): pyproject.toml | $(BIN)/pip
	@echo "Installing trueup and an S3 server for the demo into $(VENV) ..."
	@$(PIP) --editable '.[demo]' || { $(PIP) --editable . && echo 'Without the S3 server.' >&2; }
	@touch $@

# MAPLE writes the registries of the tests. What writes them needs none of its many dependencies.
$(DEV): pyproject.toml | $(BIN)/pip
	@echo "Installing trueup and its development tools into $(VENV) ..."
	@$(PIP) --editable '.[dev]'
	@$(PIP) --no-deps maple-robotics==$(MAPLE)
	@touch $(BASE) $@

$(AZURITE):
	@echo "Installing Azurite into .azurite ..."
	@command -v npm >/dev/null && command -v node >/dev/null || { $(INSTALL) nodejs npm; } \
		|| { echo 'Azurite needs Node.js and npm. Type: sudo apt-get install nodejs npm' >&2; exit 1; }
	@npm install --silent --no-fund --no-audit --prefix .azurite azurite@$(@:.azurite/.installed-%=%) \
		|| { echo 'Azurite could not be installed. Look at the network, then: make azurite' >&2; exit 1; }
	@touch $@

$(AIMOCK):
	@echo "Installing aimock into .aimock ..."
	@command -v npm >/dev/null && command -v node >/dev/null || { $(INSTALL) nodejs npm; } \
		|| { echo 'aimock needs Node.js and npm. Type: sudo apt-get install nodejs npm' >&2; exit 1; }
	@npm install --silent --no-fund --no-audit --ignore-scripts --prefix .aimock @copilotkit/aimock@$(@:.aimock/.installed-%=%)
	@touch $@

$(TURSO):
	@echo "Installing tursodb and @tursodatabase/sync into .tursodb ..."
	@command -v npm >/dev/null && command -v node >/dev/null || { $(INSTALL) nodejs npm; } \
		|| { echo 'They need Node.js and npm. Type: sudo apt-get install nodejs npm' >&2; exit 1; }
	@npm install --silent --no-fund --no-audit --prefix .tursodb turso@0.6.0 @tursodatabase/sync@0.7.2 \
		|| { echo 'tursodb could not be installed. Look at the network, then: make turso' >&2; exit 1; }
	@touch $@

# Debian splits ensurepip off into python3-venv, and without it a virtual environment has no pip.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'trueup needs Python 3.11 or newer. Try: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'from ensurepip import version' 2>/dev/null \
		|| { $(INSTALL) python3-venv; } \
		|| { echo 'Python cannot make virtual environments yet. Type: sudo apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
