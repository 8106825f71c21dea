# The few commands of the project; `make` lists them. Each installs what it needs first.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo chaos test test-deep test-fast lint bench lock clean

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/ready ## a whole Kubernetes with globaltx, and an order across two databases (KEEP=1 leaves it running, STORE=etcd)
	$(BIN)/python -m dev.demo $(if $(STORE),--store $(STORE))

test: $(VENV)/ready ## install what the tests need, then lint, types and all tests
	$(BIN)/python -m dev.check

test-deep: $(VENV)/ready ## the same, and MySQL (from Debian sid, once a machine)
	$(BIN)/python -m dev.check --deep

test-fast: $(VENV)/ready ## only what needs no database and no Kubernetes
	$(BIN)/pytest -q -m "not control_plane and not database and not mysql and not etcd and not full_cluster"

chaos: $(VENV)/ready ## break things at random, SEEDS (5) times for SECONDS (60), and look what is left
	$(BIN)/python -m tests.chaos --seeds $(or $(SEEDS),5) --seconds $(or $(SECONDS),60)

lint: $(VENV)/ready ## ruff, mypy, import-linter
	$(BIN)/python -m dev.check --only lint

bench: $(VENV)/ready ## measure beside the same work without globaltx (ONLY="plain order", ROUNDS=5, STORE=etcd)
	$(BIN)/python -m bench $(if $(ONLY),--only $(ONLY)) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(STORE),--store $(STORE))

lock: $(VENV)/ready ## resolve requirements.lock anew
	$(BIN)/python -m dev.lock

clean: ## remove what was made in this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build

$(VENV)/ready: requirements.lock pyproject.toml
	PYTHON="$(PYTHON)" sh dev/bootstrap.sh
