# Everything a stranger needs: `make demo`, `make test`. Only Python 3.11+ and make are assumed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# e.g. PIP_ARGS="--extra-index-url URL" for the small CPU build of torch, see README.md
PIP_ARGS ?=

.PHONY: help install demo refresh-demo test coverage test-slow test-native test-faults test-mail test-helm test-deploy soak fuzz audit lint docs man hashes release clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

install: $(INSTALLED)  ## a virtual environment in .venv with everything in it

$(INSTALLED): pyproject.toml constraints.txt hatch_build.py $(wildcard stream_app/engine/native/*.cpp stream_app/engine/native/*.h stream_app/engine/native/*.py)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(PIP_ARGS) --editable ".[dev]"
	touch $@

demo: install  ## watch real messages being labelled, on an embedded broker
	$(BIN)/winnow demo

DATA ?= ../shared/data
refresh-demo: install  ## drift, feedback, refresh, promotion, roll-back, live on real mail in DATA
	$(BIN)/python -m bench.refresh_demo --data $(DATA)

test: install  ## the test suite, three files at a time: most of them wait for a broker
	$(BIN)/python -m pytest -m "not slow" --numprocesses 3 --dist loadfile --no-loadscope-reorder

coverage: install  ## the same, and which lines no test runs; a quarter longer
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not slow"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered

test-native: install  ## the CPU kernels: random models under sanitizers, a few minutes
	$(BIN)/python -m pytest --capture=no tests/unit/test_native.py

test-slow: install  ## the long ones: floors of the built-in models on whole test sets
	$(BIN)/python -m pytest -m slow

test-faults: install  ## every fault on every broker, each message accounted for: over an hour
	$(BIN)/python -m pytest --all-faults tests/integration/faults

test-mail: install  ## mail through Postfix, the filter and Dovecot, with faults; as root, with apt-packages.txt
	$(BIN)/python -m pytest tests/mail

test-helm: install  ## the Helm chart with a real helm, which is fetched, against the schemas of its objects
	HELM=$$($(BIN)/python -m tests.helm.fetch $(VENV)/helm) $(BIN)/python -m pytest tests/helm

REGISTRY := $(VENV)/registry
test-deploy: install $(REGISTRY)/.installed  ## docker-compose.yml at work without Docker, a quarter of an hour; as root, with apt-packages.txt
	unshare --net sh -c 'ip link set lo up && exec $(BIN)/python -m pytest tests/deploy'

$(REGISTRY)/.installed: deploy/mlflow/requirements.txt | $(INSTALLED)
	$(PYTHON) -m venv $(REGISTRY)
	$(REGISTRY)/bin/python -m pip install --quiet --requirement $<
	touch $@

MINUTES ?= 60
soak: install  ## full speed for an hour (MINUTES=60): nothing may grow
	$(BIN)/python -m pytest --broker apache --soak-minutes $(MINUTES) tests/integration/faults/test_soak.py

SECONDS ?= 600
fuzz: install  ## the codecs under a coverage-guided fuzzer: make fuzz SECONDS=3600
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[fuzz]"
	$(BIN)/python -m tests.property.fuzz --seconds $(SECONDS)

audit: install  ## the pinned dependencies against PyPI's advisories; fails where it cannot ask
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[audit]"
	$(BIN)/pip-audit --strict --no-deps --disable-pip --requirement constraints.txt

lint: install  ## formatting, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/clang-format --dry-run --Werror $(wildcard stream_app/engine/native/*.cpp stream_app/engine/native/*.h tests/native/*.h)
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: install  ## the documentation as a site in build/site, which opens as a file
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --config-file manual/mkdocs.yml
	@echo "open build/site/index.html"

man: install  ## the man pages in man/, which the next wheel takes along
	$(BIN)/python -m manual.man man

hashes: install  ## deploy/hashes.txt anew, from constraints.txt: what the image may install
	$(BIN)/python -m pip install --quiet --editable ".[release]"
	echo "torch; sys_platform == 'never'" | $(BIN)/uv pip compile pyproject.toml --quiet --upgrade \
	    --constraint constraints.txt --override /dev/stdin --generate-hashes --no-annotate --no-header \
	    --extra feeds --extra mail --extra postgres --extra registry --extra trace --extra train \
	    --python-version 3.12 --python-platform x86_64-manylinux_2_28 --output-file deploy/hashes.txt

release: install  ## the commit as a release in dist/: source, wheels, bill of materials, hashes; built twice, tried once
	$(BIN)/python -m pip install --quiet --editable ".[release]"
	$(BIN)/python deploy/release.py $(PIP_ARGS)

clean:  ## what was built here
	rm -rf $(VENV) build dist man .coverage* .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
