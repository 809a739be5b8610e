# Two commands are all one needs: `make demo` and `make test`. Each makes the environment first if it is not there.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
VLLM_VENV ?= .venv-vllm
.PHONY: help env demo test test-vllm check format bench clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

env: $(VENV)/ready ## make the environment in .venv

$(VENV)/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# torch first and by its exact version: a range could pick a build of several gigabytes for another machine
	$(BIN)/pip install --quiet --disable-pip-version-check $$(grep '^torch==' constraints.txt)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: env ## the real loop on the small model that ships with the package: three iterations, both languages, a growth table
	$(BIN)/selflengthen demo

test: env ## all tests
	@# tests run several processes that compute: they must not spin on each other's cores
	OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 $(BIN)/python -m pytest

test-vllm: env $(VLLM_VENV)/ready ## the tests that need a real vLLM, on the CPU: makes an environment for it (two minutes, 3.4 GB); SELFLENGTHEN_VLLM names another
	OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0 SELFLENGTHEN_VLLM="$${SELFLENGTHEN_VLLM:-$(abspath $(VLLM_VENV))/bin/python -m vllm.entrypoints.openai.api_server}" \
		$(BIN)/python -m pytest tests/vllm

$(VLLM_VENV)/ready: tests/vllm/requirements.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/pip install --quiet --disable-pip-version-check $$(grep '^torch==' tests/vllm/requirements.txt)
	$(VLLM_VENV)/bin/pip install --quiet --disable-pip-version-check -r tests/vllm/requirements.txt
	@# they come along, are built for GPUs, and break the import of the model that needs none of them
	$(VLLM_VENV)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

check: env ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: env ## format the code, and mend what the linter can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: env ## the benchmarks: each prints a table, and one JSON object as its last line
	@for file in bench/*.py; do echo "== $$file"; $(BIN)/python $$file || exit 1; done

clean: ## remove the environment and what tools left behind
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
