# up, check, test, lint and bench install what they need into .venv; nothing else is touched,
# but for Debian packages that the tests use, when root (NO_APT=1 keeps them out).
# With PYTHON=python3.13, say, into .venv-3.13: each interpreter has its own.

PYTHON ?= python3
STATE ?= .state
version = $(shell $(1) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
DEFAULT := $(call version,python3)
VERSION := $(call version,$(PYTHON))
VENV := .venv$(if $(filter $(DEFAULT),$(VERSION)),,-$(VERSION))
BIN := $(VENV)/bin
# Another Python behind the same name makes the environment anew.
ifneq ($(call version,$(BIN)/python),$(VERSION))
.PHONY: $(BIN)/python $(VENV)/.runtime $(VENV)/.development
endif
# Those on PATH besides, and `python3.13: command not found` of pyenv is none.
OTHERS = $(foreach each,3.11 3.12 3.13 3.14,$(if $(filter $(VERSION),$(each)),,$(if \
	$(filter $(each),$(call version,python$(each))),python$(each))))
DEBIAN := attr buildah chromium chromium-driver crun debootstrap docker-registry \
	podman redis-server skopeo squashfs-tools uidmap umoci

.PHONY: up check test unit lint format bench lock clean

up: $(VENV)/.runtime
	$(BIN)/cvmfs-webhook up --state $(STATE) $(if $(LISTEN),--listen $(LISTEN))

test: $(VENV)/.development debian
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)
	@set -e; for python in $(OTHERS); do \
		echo "unit tests under $$python"; \
		$(MAKE) --no-print-directory unit PYTHON=$$python ARGS=; \
	done

# The unit tests alone, as `test` runs them under each further Python.
unit: $(VENV)/.development
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -q -n 2 --dist worksteal \
		-m "not slow" $(ARGS) tests/unit

# What to run while at work, both at once; test is everything.
check:
	@$(MAKE) --no-print-directory -j2 lint quick

.PHONY: quick
quick: $(VENV)/.development
	HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -q -n 2 --dist worksteal \
		-m "not slow" $(ARGS) tests/unit tests/contracts

lint: $(VENV)/.development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: $(VENV)/.development
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.development debian
	$(BIN)/python -m tests.bench $(ARGS)

# Hashed requirements without the address of any index; anybody's index will do.
COMPILE := $(BIN)/pip-compile -q --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-header \
	--no-annotate
lock: $(VENV)/.development
	$(BIN)/pip install -q pip-tools dependency-groups
	$(BIN)/python -m dependency_groups dev -o $(VENV)/development.in
	$(COMPILE) -o requirements.lock pyproject.toml
	$(COMPILE) -o requirements-dev.lock pyproject.toml $(VENV)/development.in

clean:
	rm -rf .venv .venv-3.* .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON)" >&2; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"Python 3.11 or newer is needed; say which with make PYTHON=...")'
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(VENV)/bin/python
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/pip install -q --disable-pip-version-check --no-deps -e .
	touch $@

$(VENV)/.development: requirements-dev.lock $(VENV)/.runtime
	$(BIN)/pip install -q --disable-pip-version-check --require-hashes \
		-r requirements-dev.lock
	touch $@

.PHONY: debian
debian:
	@missing=$$(dpkg-query -W -f '$${db:Status-Status} $${Package}\n' $(DEBIAN) 2>/dev/null \
		| awk '$$1 == "installed" {print $$2}' | sort \
		| comm -13 - <(printf '%s\n' $(DEBIAN) | sort)); \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ -n "$(NO_APT)" ] || [ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then \
		echo "not installed, tests that need them are skipped:" $$missing; exit 0; fi; \
	echo "installing Debian packages:" $$missing; \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
		apt-get install -y -qq --no-install-recommends $$missing >/dev/null

SHELL := /bin/bash
