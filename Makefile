# The whole system from a fresh clone: `make demo`. What checks it: `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo up down status test lint migrations bench chaos install install-dev clean

VENV := .venv
PY := $(VENV)/bin/python
# The first Python that can run the project and make a virtual environment.
SUITABLE := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 13))
PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c '$(SUITABLE)' >/dev/null 2>&1 && { echo $$python; break; }; done)
PIP_INSTALL := $(PY) -m pip install --quiet --quiet --disable-pip-version-check --no-input
TORCH := $(shell grep -o '^torch==[^ ]*' requirements/worker.txt)
DATA ?=
JOBS ?= 2

# What reads the settings without using a server gets addresses where none is.
NO_SERVERS := UPS_DATABASE_URL=postgres://none:none@127.0.0.1:1/none \
	UPS_BROKER_URL=redis://127.0.0.1:1/0 \
	UPS_OBJECT_STORE_URL=http://none:none@127.0.0.1:1/none UPS_SECRET_KEY=none

help:
	@echo 'make demo [DATA=folder]  install, start everything, show one refresh from end to end'
	@echo 'make up | down | status  start the system, stop it (its data stays), see what runs'
	@echo 'make test | lint         everything that has to hold | only what needs no running'
	@echo 'make migrations          after a change of a Django model'
	@echo 'make bench [ONLY=rules]  what is fast, side by side with peers: the table and its JSON'
	@echo 'make chaos [ONLY=soak]   kill, cut, freeze and restart everything; nothing may be lost'
	@echo 'make clean               stop, and remove the environment and ALL DATA of this clone'

demo: install
	@$(PY) -m controlcenter.embedded up
	@$(PY) manage.py demo $(if $(DATA),--data '$(DATA)')

up: install
	@$(PY) -m controlcenter.embedded up

down:
	@if [ -x $(PY) ]; then $(PY) -m controlcenter.embedded down; fi

status:
	@if [ -x $(PY) ]; then $(PY) -m controlcenter.embedded status; \
	else echo 'nothing installed: run `make up`'; exit 1; fi

test: lint
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(JOBS)

lint: install-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/lint-imports
	$(NO_SERVERS) $(PY) -m mypy ml controlcenter workers benchmarks manage.py
	$(NO_SERVERS) $(PY) -W ignore::RuntimeWarning manage.py makemigrations --check --dry-run
	$(NO_SERVERS) $(PY) manage.py spectacular --validate --fail-on-warn --file /dev/null

# After a change of a Django model.
migrations: install-dev
	$(NO_SERVERS) $(PY) -W ignore::RuntimeWarning manage.py makemigrations

bench: install
	$(PY) -m benchmarks $(ONLY)

# The short form of it is a part of `make test`.
chaos: install-dev
	$(PY) -m tests.chaos $(if $(ONLY),--only $(ONLY))

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/installed: requirements/control.txt requirements/worker.txt requirements/embedded.txt \
		requirements/lock.txt | $(VENV)/made
	@echo 'Installing the pinned requirements into $(VENV) …'
	@$(PIP_INSTALL) $(TORCH)
	@$(PIP_INSTALL) -r requirements/worker.txt -r requirements/embedded.txt
	@touch $@

$(VENV)/installed-dev: requirements/dev.txt $(VENV)/installed
	@echo 'Installing what checks the code …'
	@$(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

$(VENV)/made:
	@if [ -z '$(PYTHON)' ]; then \
		echo 'No Python 3.11 or 3.12 with venv was found; give one: make PYTHON=/path/to/python'; \
		exit 1; fi
	@$(PYTHON) -m venv $(VENV)
	@touch $@

clean:
	@if [ -x $(PY) ]; then $(PY) -m controlcenter.embedded remove; fi
	@rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
