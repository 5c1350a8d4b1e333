# The only way that people and CI run things. Every target works in a fresh checkout.
PYTHON_OF_VENV := .venv/bin/python
# make passes its own flags on to programs that call make; ours do not
MAKEFLAGS += --no-print-directory

.DEFAULT_GOAL := help
.PHONY: help setup demo test check unit bench bench-proxy bench-orm lock test-containers up down clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup:  ## make .venv and install the project with everything
	@scripts/setup dev

demo:  ## from an empty machine to predictions on live data
	@scripts/setup demo
	@$(PYTHON_OF_VENV) -m pgpredict demo

test: check unit  ## check, unit tests, then all others on every PostgreSQL found
	@# each of the two has servers of its own; the longest single tests come first
	@$(PYTHON_OF_VENV) -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests/acceptance tests/integration

unit:  ## tests that need no server
	@scripts/setup dev
	@$(PYTHON_OF_VENV) -m pytest -q -n 2 tests/unit

check:  ## lint, format, types
	@scripts/setup dev
	@$(PYTHON_OF_VENV) -m ruff check .
	@$(PYTHON_OF_VENV) -m ruff format --check .
	@$(PYTHON_OF_VENV) -m mypy

bench:  ## measure against the alternatives, about 10 minutes
	@scripts/setup dev
	@$(PYTHON_OF_VENV) -m benchmarks

bench-proxy:  ## measure the proxy against none and against PgBouncer, 5 minutes
	@scripts/setup dev
	@$(PYTHON_OF_VENV) -m benchmarks.proxy

bench-orm:  ## measure SQLAlchemy and Django with PREDICT and without, 2 minutes
	@scripts/setup dev
	@$(PYTHON_OF_VENV) -m benchmarks.orm

lock:  ## pin the versions that the container images install, from pyproject.toml
	@scripts/setup dev
	@$(PYTHON_OF_VENV) scripts/lock

test-containers:  ## build the container images, run them as docker/compose.yaml says, and break them
	@scripts/setup dev
	@scripts/engine
	@PGPREDICT_TEST_CONTAINERS=$${PGPREDICT_TEST_CONTAINERS:-auto} $(PYTHON_OF_VENV) -m pytest -v tests/containers

up:  ## start the local server, the runtime and the proxy
	@scripts/setup demo
	@$(PYTHON_OF_VENV) -m pgpredict up

down:  ## stop them
	@$(PYTHON_OF_VENV) -m pgpredict down

clean:  ## stop and remove everything that was made, databases included
	@scripts/clean
