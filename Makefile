# The two commands a fresh machine needs: `make demo` and `make test`. Both build .venv themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check -q

# For chaos runs.
SECONDS ?= 60
SEED    ?= 1

.DEFAULT_GOAL := help
.PHONY: help demo test test-redis browser browser-soak pictures check format bench chaos clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.runtime: $(VENV)/.python pyproject.toml
	$(PIP) install -e '.[all]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(PIP) install --group dev
	@touch $@

demo: $(VENV)/.runtime  ## One upstream feed for three processes through Redis, for 30 seconds
	$(BIN)/agentexchange demo $(ARGS)

test: $(VENV)/.dev  ## The whole test suite
	$(BIN)/python -m pytest -n 4 --dist worksteal

test-redis: $(VENV)/.dev  ## The tests of the real servers once more, against Debian's redis-server
	$(BIN)/python -m pytest -n 4 --dist worksteal --redis-servers redis tests/sdk tests/bridge tests/integration

browser: $(VENV)/.dev  ## The inspector's pages in a real Chromium, which must be installed (under two minutes)
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/browser

browser-soak: $(VENV)/.dev  ## 5,000 events/s before the inspector's pages: CPU and memory on both sides (SECONDS=300)
	$(BIN)/python -m tests.browser.soak --seconds $(SECONDS) $(ARGS)

pictures: $(VENV)/.dev  ## The pictures of docs/inspector.md anew, in docs/images
	$(BIN)/python -m pytest tests/browser/test_pictures.py --pictures

check: $(VENV)/.dev  ## Format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/typing
	$(BIN)/lint-imports

format: $(VENV)/.dev  ## Apply the formatter and the safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.dev  ## CPU per event of each stage beside its peers (about four minutes; ARGS="--only wire,shared" for some)
	$(BIN)/python -m bench $(ARGS)

chaos: $(VENV)/.dev  ## Faults by schedule against real processes, every event checked (SECONDS=60 SEED=1, or SEEDS=1-20)
	$(BIN)/python -m tests.chaos --seconds $(SECONDS) $(if $(SEEDS),--seeds $(SEEDS),--seed $(SEED)) $(ARGS)

clean:  ## Remove what the targets above built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis bench-results
