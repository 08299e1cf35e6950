# The commands of this repository. `make` alone runs `make test`; `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
INSTALL := $(BIN)/python tools/install.py
AGAINST ?= HEAD
# Workers of a test run: one more than there are processors, as many tests wait. Each starts one service and one
# PostgreSQL at most: it keeps its share of the tests in order, and takes over half of what another has left when its
# own are done.
JOBS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

.DEFAULT_GOAL := test
.PHONY: help demo bench chaos failover lowest costs quick fix test check lint types mypy basedpyright gen drift breaking contract golden interop conformance recording dist docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## start the service, create the three documented secrets, show what went over the wire
	@$(BIN)/python tools/demo.py

bench: $(VENV)/.dev ## measure client and service beside their peers in 3 minutes; FULL=1: in 20; PUBLISH=1: into docs/
	@PYTHONPATH=tools $(BIN)/python -m bench $(if $(FULL),--full) $(if $(PUBLISH),--publish)

chaos: $(VENV)/.dev ## kill, stop and starve the service and its database while clients write, and count what was lost
	@$(BIN)/python tools/chaos.py $(if $(SEED),--seed $(SEED))

failover: $(VENV)/.dev ## kill, stop and switch the leader of a Patroni cluster while clients write
	@$(BIN)/python tools/failover.py $(if $(EVENTS),--events $(EVENTS))

lowest: $(VENV)/.dev ## use each part once with the lowest versions of libraries that are allowed, and with the newest
	@$(BIN)/python tools/lowest.py

costs: $(VENV)/.dev ## print what the costliest requests cost the service: processor time, memory, size of the answer
	@$(BIN)/python tools/costs.py

quick: $(VENV)/.dev ## lint, and run the quick tests that start no process: half a minute
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n auto --dist worksteal -q -rfE --quick -m "not slow and not hypothesis"

fix: $(VENV)/.dev ## format, and fix what ruff can fix safely
	$(BIN)/ruff check --fix --show-fixes .
	$(BIN)/ruff format .
	$(BIN)/buf format -w

test: lint types ## lint, type-check and test everything
	$(PYTEST)

check: lint types ## lint and type-check

lint: $(VENV)/.dev ## lint and check the format of Python and proto
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code

types: $(VENV)/.dev ## type-check with mypy and pyright, both of them, as each sees what the other does not
	@$(MAKE) --no-print-directory --keep-going --jobs=2 mypy basedpyright

mypy basedpyright: $(VENV)/.dev
	$(BIN)/$@

gen: $(VENV)/.dev build/google-rpc/.stamp ## generate gen/ from proto/
	$(BIN)/buf generate
	@$(BIN)/buf build proto --as-file-descriptor-set --exclude-source-info -o gen/gitpod_proto/contract.binpb

drift: gen ## fail when gen/ is not what proto/ generates
	@test -z "$$(git status --porcelain -- gen)" || { git status --short -- gen; echo "gen/ is stale: run make gen and commit it"; exit 1; }

breaking: $(VENV)/.dev ## fail when proto/ breaks the contract of revision AGAINST (HEAD by default)
	@git rev-parse --quiet --verify '$(AGAINST)^{commit}' >/dev/null || { echo "AGAINST=$(AGAINST) is no revision"; exit 1; }
	@rm -rf build/against && mkdir -p build/against
	@git archive $(AGAINST) | tar -x -C build/against
	@# A revision without proto-imports/ gets that of today.
	@test -e build/against/proto-imports || cp -R buf.yaml proto-imports build/against/
	$(BIN)/buf breaking --against build/against

contract: $(VENV)/.dev ## write the .proto files, their descriptors and the templates of other languages into dist/
	@$(BIN)/python tools/contract.py dist

golden: $(VENV)/.dev ## write the vectors of interop/golden/ anew, after a change of proto/ that is meant to change them
	@$(BIN)/python tools/golden.py

interop: $(VENV)/.dev ## run the programs of other languages against the service: all that can run, or LANGS=go
	@$(BIN)/python tools/interop.py $(LANGS)

conformance: $(VENV)/.dev ## run Connect's conformance suite against the SDK and the service, or SIDE=client
	@$(BIN)/python tools/conformance.py $(SIDE)

recording: $(VENV)/.dev ## record docs/pictures/session.svg anew, after a change of what the command prints
	@$(BIN)/python tools/record.py

docs: $(VENV)/.dev ## build the docs as a site in build/site; broken links and public names without docs fail; SERVE=1: show it while you write
	@$(if $(SERVE),,$(BIN)/python -m pytest -q tests/docs/test_reference.py)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -W error -m mkdocs $(if $(SERVE),serve,build)

dist: $(VENV)/.dev ## build the wheel and the source distribution
	$(BIN)/hatchling build

clean: ## remove everything that make made
	rm -rf $(VENV) build dist interop/*/gen interop/*/build interop/*/node_modules interop/*/target .mypy_cache .pytest_cache .ruff_cache .hypothesis

# The details that errors carry, from the installed googleapis-common-protos.
build/google-rpc/.stamp: $(VENV)/.dev
	@mkdir -p build/google-rpc/google/rpc
	@cp "$$($(BIN)/python -c 'from google.rpc import error_details_pb2 as m; print(m.__file__[:-7])').proto" build/google-rpc/google/rpc/
	@touch $@

$(VENV)/bin/python:
	@echo "setting up $(VENV), once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@# Debian makes half of one without python3-venv; the next run would take it for whole.
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.runtime: $(VENV)/bin/python pyproject.toml constraints.txt
	@$(INSTALL) "what builds the package" -c constraints.txt hatchling editables
	@$(INSTALL) "the client, the command and the service" -c constraints.txt --no-build-isolation -e '.[server,grpc]'
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements-dev.txt
	@$(INSTALL) "all extras and the development tools" -c constraints.txt --no-build-isolation -e '.[server,grpc,keyring,postgres,otel]' -r requirements-dev.txt
	@touch $@
