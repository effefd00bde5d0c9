# `make help` lists the targets. Python 3.11+, make and pip are all that must be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
MODEL := $(VENV)/.model
VSCODE := $(VENV)/.vscode
NVIM12 := $(VENV)/.nvim12
EMACS := $(VENV)/.emacs
KERNELS := $(VENV)/.kernels

.DEFAULT_GOAL := help
.PHONY: help setup vscode demo capture test check fmt generate bench bench-editors clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(READY) $(MODEL) ## Make .venv, install everything, fetch the embedded model's base weights.

vscode: $(VSCODE) ## Fetch a real VS Code, a browser and the extension's build tools, for its tests.

$(VSCODE): $(READY) scripts/get_vscode.py editors/vscode/package.json
	@$(BIN)/python scripts/get_vscode.py
	@touch $@

# Not pinned, since its suite rolls on: without it the tests of 0.12 alone are skipped, and say so.
$(NVIM12): $(READY) scripts/get_nvim
	@scripts/get_nvim $(VENV)/nvim12 || echo "No Neovim 0.12 here: what needs it is skipped."
	@touch $@

$(EMACS): $(READY) scripts/get_emacs
	@scripts/get_emacs || echo "No Emacs with eglot here: its tests are skipped."
	@touch $@

demo: setup ## Fill holes in examples/ with the real model and watch the canvas denoise.
	@$(BIN)/python scripts/demo.py

# Triton is large and only a GPU needs it; its interpreter runs the kernel's test on a CPU.
$(KERNELS): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[kernels]'
	@touch $@

capture: setup $(VSCODE) $(NVIM12) ## Take docs/images/uses.gif in real editors with the real model.
	@$(BIN)/python scripts/capture.py

test: setup $(VSCODE) $(NVIM12) $(EMACS) $(KERNELS) ## Run every test that runs on a CPU, the real model's included.
	@DGEMMA_REQUIRE_ALL=1 $(BIN)/python -m pytest -q -n 2 --dist loadgroup

check: $(READY) ## Format, lint and type checks.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright

fmt: $(READY) ## Format and fix what can be fixed.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

generate: $(READY) ## Write the generated files anew (a test fails when one is stale).
	$(BIN)/python scripts/generate.py

bench: setup ## Measure latency on the examples; see benchmarks/README.md for real rows.
	$(BIN)/python benchmarks/latency.py

bench-editors: setup $(VSCODE) $(NVIM12) ## Measure from keystroke to ghost text in real editors.
	$(BIN)/python benchmarks/keystroke.py

clean: ## Remove what set-up made in this folder; fetched weights stay in the user's cache.
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; one to three minutes)"
	@$(PYTHON) -c 'import sys; sys.exit("dgemma needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12 ...") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(MODEL): $(READY) runtime/dgemma_runtime/embedded/model.json
	@$(BIN)/dgemma-runtime --fetch
	@touch $@
