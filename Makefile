# Each target makes the environment it needs in .venv; Python 3.10 or later and make are enough.
#   make test ARGS="tests/test_cli.py -k stdin"      PYTHON=python3.12 make test

PYTHON ?= python3
ARGS ?=
COUNT ?= 10000
JOBS ?= 4
MINUTES ?= 60

# The lowest version of each dependency, as a requirement.
define LOWEST
import re
from importlib.metadata import requires
for each in requires("grequests"):
    if "extra ==" not in each:
        print(re.sub(r"([\w.-]+).*?>=([\w.]+).*", r"\1==\2", each))
endef
export LOWEST

BIN := .venv/bin
READY := .venv/.ready

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo test test-requests test-requests-short test-ecosystem lint format build bench bench-bulk bench-quick soak soak-short clean mitmproxy fuzz fuzz-short torture audit

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

env: $(READY) ## the environment in .venv, with everything for working on it

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or later is needed: PYTHON=python3.12 make ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --editable '.[dev,ecosystem,anywhere,socks,progress]'
	@touch $@

demo: $(READY) ## the command line on 10,000 URLs of a local server, some of them bad (COUNT=n)
	@$(BIN)/python -m grequests._demo --count $(COUNT)

test: $(READY) ## all tests, four at once, for most of them wait (ARGS="...": arguments of pytest; JOBS=0: one by one)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-requests: $(READY) ## the suites of Requests and urllib3, over GRequests and plain (ARGS="requests")
	$(BIN)/python tests/suites/run.py $(or $(ARGS),requests urllib3)

test-ecosystem: $(READY) ## the suites of sixteen packages used with Requests, likewise (ARGS="responses"); half an hour
	$(BIN)/python tests/suites/run.py $(or $(ARGS),ecosystem)
	$(BIN)/python tests/suites/figures.py

test-requests-short: $(READY) ## a minute of that, as CI runs it
	$(BIN)/python tests/suites/run.py --short requests urllib3 requests-mock

mitmproxy: .suites/mitmproxy/.ready ## mitmproxy, which some tests use, in an environment of its own

.suites/mitmproxy/.ready:
	$(PYTHON) -m venv .suites/mitmproxy
	.suites/mitmproxy/bin/python -m pip install -qq mitmproxy
	@touch $@

fuzz: .suites/fuzz/.ready ## the fuzz targets of tests/fuzz, an hour in all (MINUTES=10, ARGS="protocol")
	PYTHONPATH=tests .suites/fuzz/bin/python -m fuzz run --minutes $(MINUTES) $(ARGS)

fuzz-short: .suites/fuzz/.ready ## a minute of that, as CI runs it: the same inputs each time
	PYTHONPATH=tests .suites/fuzz/bin/python -m fuzz run --short $(ARGS)

.suites/fuzz/.ready:
	$(PYTHON) -m venv .suites/fuzz
	.suites/fuzz/bin/python -m pip install -qq --editable . atheris h11
	@touch $@

torture: $(READY) ## each call of the library's failing in each way, half an hour; prints a table
	GREQUESTS_TORTURE=full $(BIN)/python -m pytest -q tests/torture $(ARGS)

audit: $(READY) .suites/audit/.ready ## pip-audit on what is installed here, and on the oldest that may be; it asks the network
	$(BIN)/python -m pip freeze --exclude-editable > .suites/audit/installed.txt
	$(BIN)/python -c "$$LOWEST" > .suites/audit/lowest.txt
	for each in lowest installed; do \
		.suites/audit/bin/pip-audit --no-deps --disable-pip --requirement .suites/audit/$$each.txt || exit 1; \
	done

.suites/audit/.ready:
	$(PYTHON) -m venv .suites/audit
	.suites/audit/bin/python -m pip install -qq pip-audit
	@touch $@

lint: $(READY) ## ruff (all rules; in tests what cannot be right), its format, and mypy
	$(BIN)/ruff check --output-format concise .
	$(BIN)/ruff check --output-format concise --isolated --select E9,F --target-version py310 tests
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## let ruff put things right
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

build: $(READY) ## wheel and sdist in dist/, and whether the wheel works where nothing else is
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	$(PYTHON) -m venv "$$folder"; \
	"$$folder/bin/python" -m pip install -qq dist/*.whl; \
	cd "$$folder"; \
	bin/python -c 'import grequests, pathlib; p = pathlib.Path(grequests.__file__); assert p.with_name("py.typed").exists()'; \
	bin/grequests --version; \
	bin/python -m grequests._demo --count 400; \
	echo "the wheel installs and works"

bench: ## all benchmarks against all peers, about an hour; see benchmarks/README.md
	$(PYTHON) benchmarks/run.py --all

bench-quick: ## the same in short runs, nothing to cite
	$(PYTHON) benchmarks/run.py --all --quick

bench-bulk: $(READY) ## what the bulk layer and asyncio cost over imap, some minutes
	$(BIN)/python benchmarks/bulk.py

soak: $(READY) ## ten million requests, one in a hundred with a fault, 10,000 at once; up to half an hour (COUNT=n)
	$(BIN)/python benchmarks/soak.py --count $(if $(filter file default,$(origin COUNT)),10000000,$(COUNT))

soak-short: $(READY) ## a minute or two of that, as CI runs it; its figures are printed only
	$(BIN)/python benchmarks/soak.py --count 200000

clean: ## away with everything that can be made again
	rm -rf .venv .suites build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
