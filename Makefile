# Two commands are all one needs: `make demo` and `make test`. Each makes .venv when there is none
# and installs again when pyproject.toml, constraints.txt or the C++ of the kernels changed.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

KERNELS := CMakeLists.txt $(wildcard src/throughtime/kernels/*/*.h src/throughtime/kernels/*/*.cpp)

.PHONY: demo test test-all sanitize lint format bench docs clean

demo: .venv/installed
	$(BIN)/throughtime compare nyc-temperature --seeds 2

# A process for each core, one thread in each: tests compute on tiny tensors.
test: .venv/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadscope -m "not slow and not gpu"

test-all: .venv/installed-dev
	$(BIN)/python -m pytest

# The kernels' tests once more, under AddressSanitizer and UndefinedBehaviorSanitizer.
sanitize: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group native
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m tests.kernels.sanitize

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright

format: .venv/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed-dev
	$(BIN)/python -m benchmarks.recurrent

docs: .venv/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group docs
	$(BIN)/mkdocs build --strict

clean:
	rm -rf .venv build dist site

.venv/bin/python:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"

# torch first and by its exact version: pip then finds the CPU build and nothing pulls another one in.
.venv/installed: pyproject.toml constraints.txt $(KERNELS) | .venv/bin/python
	$(BIN)/python -m pip install --quiet $$(grep '^torch==' constraints.txt)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[all]"
	touch $@

.venv/installed-dev: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --group tests --group lint
	touch $@
