# make demo: a first study and its leaderboard.   make test: lint and tests.
# Both begin by building $(VENV), once. It needs Python 3.11 or newer: make demo PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
# processes of pytest
WORKERS ?= 2

BIN = $(VENV)/bin
READY = $(VENV)/ready

.PHONY: demo test env

demo: $(READY)
	@if [ -e results/digits/journal/events.jsonl ]; then \
		$(BIN)/kdsweep resume results/digits; \
	else \
		$(BIN)/kdsweep run digits; \
	fi

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadgroup

env: $(READY)

# Written last: an installation that was interrupted is begun again.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("make: Python 3.11 or newer is needed: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@
