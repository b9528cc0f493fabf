SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz soak lint format lock docs transcript benchmark bench clean

help: ## List the targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

setup: $(VENV)/.installed ## Install everything into .venv, from pins with hashes.

$(VENV)/.installed: pyproject.toml requirements/development.txt
	@echo "installing Python packages into $(VENV) (pins with hashes: requirements/development.txt)"
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	@"$(PYTHON)" -m venv "$(VENV)"
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements/development.txt
	@"$(BIN)/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch "$@"

demo: setup ## Play the whole life of an emergency access; ARGS=--keep leaves it running.
	@"$(BIN)/python" -m breakglass demo $(ARGS)

test: setup ## Run every test; ARGS="-k name" selects.
	@"$(BIN)/python" -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

fuzz: setup ## Compare connectivity with a naive evaluator on 20,000 random clusters; ARGS="--seed 1" repeats.
	@"$(BIN)/python" tests/analysis/fuzz.py $(ARGS)

soak: setup ## Play 5,000 random emergencies on a real API server; ARGS="--seed 1 --runs 1" repeats one.
	@PYTHONPATH=tests "$(BIN)/python" -m chaos.soak $(ARGS)

lint: setup ## ruff, mypy, import-linter, zizmor, and a scan for secrets.
	@"$(BIN)/python" -m ruff check --no-cache .
	@"$(BIN)/python" -m ruff format --no-cache --check .
	@"$(BIN)/python" -m mypy
	@"$(BIN)/lint-imports" --no-cache
	@"$(BIN)/zizmor" --offline --quiet --persona pedantic .github
	@"$(BIN)/kingfisher" scan . --exclude .venv --no-validate --no-update-check --no-rule-cache --redact --quiet

format: setup ## Let ruff rewrite what it can.
	@"$(BIN)/python" -m ruff check --fix .
	@"$(BIN)/python" -m ruff format .

docs: setup ## Write the schemas and the reference of the command, and check the rest.
	@"$(BIN)/python" docs/generate.py

transcript: setup ## Play the demo and record it in README.md.
	@"$(BIN)/python" docs/transcript.py

benchmark: setup ## Measure, and write benchmarks/RESULTS.md; ARGS="startup render" selects.
	@"$(BIN)/python" benchmarks/run.py $(ARGS)

bench: setup ## Measure connectivity beside its peer, in about 20 minutes (the peer is slow).
	@"$(BIN)/python" benchmarks/run.py connectivity

lock: ## Renew the pins (needs uv).
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml --output-file requirements/product.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --group build --output-file requirements/build.txt
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url pyproject.toml --extra lab --group test --group lint --group build --output-file requirements/development.txt
	echo 'network-config-analyzer==2.1.0' | uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url - --output-file requirements/peer.txt

clean: ## Remove what the other targets made (the cache of the control plane stays).
	rm -rf "$(VENV)" .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
