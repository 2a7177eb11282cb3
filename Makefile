# Every target does its own set-up: Python 3.11 or later and make are enough.
# `make WORK=folder demo` chooses the demo's work folder, `make ARGS="-k dedup" test`
# hands options to pytest.

BIN := .venv/bin
WORK ?= work/demo
ARGS ?=
SETUP := pyproject.toml constraints.txt scripts/setup.sh

.PHONY: demo labelstudio test check format docs bench constraints clean

demo: .venv/.ready
	$(BIN)/counterset demo --work "$(WORK)"

# Files that share a fixture stay on one worker (tests/conftest.py groups them).
test: .venv/.ready-dev
	scripts/browser.sh
	scripts/labelstudio.sh >/dev/null
	$(BIN)/pytest -n auto --maxprocesses 4 --dist loadgroup --no-loadscope-reorder $(ARGS)

check: .venv/.ready-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/.ready-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# The server in its own environment, on loopback, until Ctrl-C; WORK is the work folder.
labelstudio: .venv/.ready
	$(BIN)/python -m scripts.labelstudio --documents "$(WORK)/labels"

# Reference pages are written from the code; a test checks that they are current.
docs: .venv/.ready-dev
	$(BIN)/python -m scripts.reference

bench: .venv/.ready-dev
	$(BIN)/python -m benchmarks.cli_start
	$(BIN)/python -m benchmarks.demo
	$(BIN)/python -m benchmarks.large_tables

# The versions in .venv, written down after its tests passed.
constraints: .venv/.ready-dev
	$(BIN)/python -m scripts.constraints

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

.venv/.ready: $(SETUP)
	scripts/setup.sh

.venv/.ready-dev: $(SETUP)
	scripts/setup.sh dev
