# Needs nothing but python3 (with venv and pip), make and git; whatever else it uses goes to .venv.

PYTHON ?= python3
IMAGES ?=
QUICK ?=
MINUTES ?= 10

VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

# Demo and tests start dozens of processes; each would compile anew all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo queue-demo test docs bench soak clean

help: ## show this list
	@echo 'Usage: make TARGET [PYTHON=python3]'
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 10

demo: $(READY) ## run the image balancer on loopback, with pictures from IMAGES=DIR or its own
	@$(PY) -m examples.tcpbalancer demo $(if $(IMAGES),--images "$(IMAGES)")

queue-demo: $(READY) ## resize pictures through a queue: redis-server, two workers, one is killed
	@$(PY) -m examples.resize_queue_demo

test: $(READY) ## check all that must hold: lint, format, types, tests, coverage, docs
	@$(PY) -m tests.queue.redis_server
	@echo 'lint: ruff check'
	@$(PY) -m ruff check --quiet
	@echo 'format: ruff format --check'
	@$(PY) -m ruff format --check --quiet
	@echo 'types: mypy --strict'
	@$(PY) -m mypy --no-error-summary
	@echo 'tests: pytest, with the code of README and docs; coverage: lines and branches of job/'
	@NO_REDIS=$$(command -v redis-server > /dev/null && echo none || echo "*") \
		$(PY) -m pytest -q -n auto --dist worksteal --cov

docs: $(READY) ## run the code of README and docs, and follow their links
	@echo 'docs: code blocks and links'
	@$(PY) -m pytest -q tests/test_docs.py

bench: $(VENV)/.bench ## measure jobs and relays beside their peers; QUICK=1 for about three minutes
	@$(PY) -m tests.benchmarks $(if $(QUICK),--quick)

soak: $(READY) ## let a proxy serve for MINUTES=10 while its peers are stopped, killed and reset
	@$(PY) -m tests.soak --minutes $(MINUTES)

clean: ## remove all that was made here: .venv, caches, the output of demo and bench
	@echo 'clean: .venv, caches, demo-output, bench-output'
	@rm -rf $(VENV) .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist demo-output bench-output
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@echo 'set-up: making $(VENV) and installing into it (once, and when pyproject.toml changes)'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install -qq --disable-pip-version-check --no-compile -e '.[dev]'
	@touch $@

$(VENV)/.bench: $(READY)
	@echo 'set-up: the peers of the benchmarks (once)'
	@$(PY) -m tests.benchmarks.install
	@touch $@
